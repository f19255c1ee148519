/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Lines to the monitor for people. What comes out are lines that end in "\r\n", and nothing in them
 * steers a terminal, whatever was asked and whatever a reply holds.
 */
#include "tests/fuzz/fuzz.h"

#include <string.h>

#include "base/alloc.h"
#include "monitor/hmp.h"

static int list(_unused_ struct qapi_call *call, struct VirtioInfoList *ret,
	_unused_ struct qapi_error *error)
{
	struct VirtioInfo *info = xnew(struct VirtioInfo);

	info->path = xstrdup("/machine/x\033[2J\302\233");
	info->name = xstrdup("virtio-\n\rblk");
	qapi_append_VirtioInfoList(ret, info);
	return 0;
}

static int status(_unused_ struct qapi_call *call, const char *path,
	_unused_ struct VirtioStatus **ret, struct qapi_error *error)
{
	return qapi_error_set(error, QAPI_GENERIC_ERROR, "Path %s is not a VirtIODevice", path);
}

static int queue_status(_unused_ struct qapi_call *call, const char *path, uint16_t queue,
	struct VirtQueueStatus **ret, _unused_ struct qapi_error *error)
{
	*ret = xnew(struct VirtQueueStatus);
	(*ret)->name = xstrdup(path);
	(*ret)->queue_index = queue;
	(*ret)->vring_desc = UINT64_MAX;
	return 0;
}

static const struct qapi_handlers handlers = {
	.x_query_virtio = list,
	.x_query_virtio_status = status,
	.x_query_virtio_queue_status = queue_status,
};

static void check(const char *text)
{
	size_t len = strlen(text);

	FUZZ_CHECK(!len || (len >= 2 && !strcmp(text + len - 2, "\r\n")));
	for (size_t i = 0; i < len; i++) {
		unsigned char c = (unsigned char)text[i];

		FUZZ_CHECK(c >= 0x20 || c == '\t' || c == '\r' || c == '\n');
		FUZZ_CHECK(c != 0x7f && (c != '\r' || text[i + 1] == '\n'));
		FUZZ_CHECK(c != '\n' || (i && text[i - 1] == '\r'));
		FUZZ_CHECK(c != 0xc2 || (text[i + 1] & 0xe0) != 0x80);
	}
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	char *text = xstrndup((const char *)data, size), *rest = text, *line;

	while ((line = strsep(&rest, "\n"))) {
		char *answer = hmp_run(&handlers, NULL, line);

		check(answer);
		free(answer);
	}
	free(text);
	return 0;
}
