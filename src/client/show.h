/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Replies as text for people. Lenient: a member that this program does not know is passed over, one
 * that should be there and is not, or has another type, is shown as '-'.
 */
#ifndef CLIENT_SHOW_H
#define CLIENT_SHOW_H

#include <json-c/json.h>

#include "client/text.h"

struct show {
	struct text_out out;
	/* The reply of query-virtio-sources for the device at hand, borrowed; NULL: no marks. */
	struct json_object *sources;
	/* The server is QEMU, which lists the last descriptor of a chain first. */
	bool is_qemu;
};

/* @path: canonical, for the title. */
void show_list(const struct show *show, struct json_object *reply);
void show_status(const struct show *show, const char *path, struct json_object *reply);
void show_sources(const struct show *show, const char *path, struct json_object *reply);

/* The member as text: decimal, true or false, a string as it is; '-' where it is not there. */
const char *show_member(struct json_object *obj, const char *member);

#endif
