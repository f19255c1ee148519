/* SPDX-License-Identifier: BSD-3-Clause */
/* Text to a chardev's configuration, by one table. */
#include "backends/chardev_spec.h"

#include <errno.h>
#include <string.h>

static const struct {
	const char *word; /* one that ends with ':' is followed by a path */
	enum chardev_kind kind;
	bool server;
} forms[] = {
	{ "stdio", CHARDEV_STDIO, false },
	{ "pty", CHARDEV_PTY, false },
	{ "null", CHARDEV_NULL, false },
	{ "unix:", CHARDEV_SOCKET, true },
	{ "connect:", CHARDEV_SOCKET, false },
	{ "file:", CHARDEV_FILE, false },
};

int chardev_parse_spec(const char *spec, struct chardev_config *ret, struct err *err)
{
	size_t i;

	for (i = 0; i < ARRAY_SIZE(forms); i++) {
		size_t len = strlen(forms[i].word);
		bool has_path = forms[i].word[len - 1] == ':';

		if (strncmp(spec, forms[i].word, len) != 0 || !has_path == !!spec[len])
			continue;
		memset(ret, 0, sizeof(*ret));
		ret->kind = forms[i].kind;
		ret->server = forms[i].server;
		ret->path = has_path ? spec + len : NULL;
		return 0;
	}
	return err_set(err, -EINVAL,
		"chardev '%s' is none of stdio, pty, null, unix:PATH, connect:PATH, file:PATH",
		spec);
}
