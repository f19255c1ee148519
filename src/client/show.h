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

/* The five, and what our own monitor adds. @path: canonical, for the title. */
void show_list(const struct show *show, struct json_object *reply);
void show_status(const struct show *show, const char *path, struct json_object *reply);
void show_queue(
	const struct show *show, const char *path, unsigned int queue, struct json_object *reply);
void show_vhost_queue(
	const struct show *show, const char *path, unsigned int queue, struct json_object *reply);
void show_element(
	const struct show *show, const char *path, unsigned int queue, struct json_object *reply);
void show_sources(const struct show *show, const char *path, struct json_object *reply);

/*
 * A device in the summary: its list entry, its status or the sentence that stands for it, and its
 * queues' status (an array; NULL entries are left out) or a sentence.
 */
struct show_device {
	const char *name, *path;
	struct json_object *status;
	const char *no_status;
	struct json_object *queues;
	const char *no_queues;
	struct json_object *sources; /* as in struct show; NULL: the monitor does not tell */
};
void show_summary(const struct show *show, const struct show_device *device);

/* The member as text: decimal, true or false, a string as it is; '-' where it is not there. */
const char *show_member(struct json_object *obj, const char *member);

#endif
