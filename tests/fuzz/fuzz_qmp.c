/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Bytes to a monitor's session. The first byte chooses: read-only or not, negotiated first or not,
 * and in pieces of what size the rest arrives. Whatever comes, each line that goes out is one JSON
 * object that is a reply, an event or the greeting, and the session ends after the client's end of
 * file.
 */
#include "tests/fuzz/fuzz.h"

#include <errno.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/alloc.h"
#include "base/log.h"
#include "base/value.h"
#include "monitor/monitor.h"

#define READ_ONLY  1
#define NEGOTIATED 2
#define SMALL	   4

#define MAX_LINE_BYTES (16u << 20)

/* Rounds of the loop without anything to read before the session counts as stuck. */
#define MAX_IDLE_ROUNDS 100

static struct qapi_call *pending;

static int later(struct qapi_call *call, _unused_ struct qapi_error *error)
{
	pending = call;
	return QAPI_PENDING;
}

static int status(_unused_ struct qapi_call *call, const char *path,
	_unused_ struct VirtioStatus **ret, struct qapi_error *error)
{
	return qapi_error_set(error, QAPI_GENERIC_ERROR, "Path %s is not a VirtIODevice", path);
}

static int element(_unused_ struct qapi_call *call, const char *path, uint16_t queue,
	_unused_ bool has_index, uint16_t index, struct VirtioQueueElement **ret,
	_unused_ struct qapi_error *error)
{
	*ret = xnew(struct VirtioQueueElement);
	(*ret)->name = xstrdup(path);
	(*ret)->index = index + queue;
	return 0;
}

static int device_add(_unused_ struct qapi_call *call, struct json_object *args,
	struct json_object **ret, _unused_ struct qapi_error *error)
{
	*ret = json_object_get(args);
	return 0;
}

static const struct qapi_handlers handlers = {
	.stop = later,
	.x_query_virtio_status = status,
	.x_query_virtio_queue_element = element,
	.device_add = device_add,
};

struct client {
	int fd;
	char *line;
	size_t len, room;
};

static void check_line(const char *line, size_t len)
{
	struct json_object *json = NULL;
	struct err err = { { 0 } };

	FUZZ_CHECK(len >= 2 && line[len - 2] == '\r');
	for (size_t i = 0; i < len - 2; i++)
		FUZZ_CHECK(line[i] >= 0x20 && line[i] < 0x7f);
	/* An id may be as large as the request, and one level deeper than a text may be here. */
	if (value_parse_json(line, len, &json, &err) < 0)
		FUZZ_CHECK(strstr(err.msg, "limit exceeded"));
	else
		FUZZ_CHECK(json_object_object_get_ex(json, "return", NULL) ||
			   json_object_object_get_ex(json, "error", NULL) ||
			   json_object_object_get_ex(json, "QMP", NULL));
	json_object_put(json);
}

/* Takes what there is; 0 nothing, 1 something, -1 at the end of the file. */
static int take(struct client *c)
{
	static char buf[65536];
	ssize_t n = recv(c->fd, buf, sizeof(buf), MSG_DONTWAIT);

	if (n <= 0)
		return n < 0 && errno == EAGAIN ? 0 : -1;
	for (ssize_t i = 0; i < n; i++) {
		if (c->len == c->room) {
			c->room = c->room ? 2 * c->room : 4096;
			FUZZ_CHECK(c->room <= MAX_LINE_BYTES);
			c->line = xreallocarray(c->line, c->room, 1);
		}
		c->line[c->len++] = buf[i];
		if (buf[i] == '\n') {
			check_line(c->line, c->len);
			c->len = 0;
		}
	}
	return 1;
}

static int turn(struct loop *loop, struct client *c)
{
	loop_run_once(loop, 0);
	if (pending) {
		struct qapi_call *call = pending;

		pending = NULL;
		qapi_call_return(call, NULL);
	}
	return take(c);
}

static void put(struct loop *loop, struct client *c, const void *data, size_t len, size_t piece)
{
	const char *at = data;

	while (len) {
		ssize_t n = send(c->fd, at, MIN(len, piece), MSG_DONTWAIT | MSG_NOSIGNAL);

		if (n < 0 && errno != EAGAIN)
			return;
		at += MAX(n, 0);
		len -= (size_t)MAX(n, 0);
		if (turn(loop, c) < 0)
			return;
	}
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static const char hello[] = "{'execute':'qmp_capabilities'}";
	unsigned int how = size ? data[0] : 0;
	struct client client = { .fd = -1 };
	struct monitor *monitor = NULL;
	struct loop loop;
	struct monitor_config config = {
		.loop = &loop, .handlers = &handlers, .read_only = how & READ_ONLY
	};
	int pair[2], r = 0;

	log_set_level(LOG_LEVEL_ERROR);
	pending = NULL;
	FUZZ_CHECK(loop_init(&loop, "fuzz", NULL) == 0);
	FUZZ_CHECK(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair) == 0);
	FUZZ_CHECK(monitor_open_fds(&config, pair[0], pair[0], &monitor, NULL) == 0);
	close(pair[0]);
	client.fd = pair[1];
	if (how & NEGOTIATED)
		put(&loop, &client, hello, strlen(hello), strlen(hello));
	if (size)
		put(&loop, &client, data + 1, size - 1, how & SMALL ? 7 : 8192);
	shutdown(client.fd, SHUT_WR);
	for (int idle = 0; r >= 0; idle = r ? 0 : idle + 1) {
		FUZZ_CHECK(idle < MAX_IDLE_ROUNDS);
		r = turn(&loop, &client);
	}
	FUZZ_CHECK(client.len == 0);
	monitor_free(monitor);
	loop_deinit(&loop);
	close(client.fd);
	free(client.line);
	return 0;
}
