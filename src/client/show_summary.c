/* SPDX-License-Identifier: BSD-3-Clause */
/* A device in a few lines: what is set, what is accepted, and what its queues did. */
#include "client/show_summary.h"

#include <string.h>

#include "base/util.h"
#include "client/show_parts.h"
#include "client/sources.h"

/* A device with more queues than that has its unused ones counted, not listed. */
#define MAX_UNUSED_QUEUES 8
#define STATUS_PREFIX	  "VIRTIO_CONFIG_S_"

/* "ACKNOWLEDGE DRIVER": the identifiers without what they have in common. */
static void show_short_status(
	const struct show *show, struct json_object *reply, struct json_object *sources)
{
	const char *reason;
	size_t len;
	struct json_object *status = show_get(reply, "status");
	struct json_object *list = show_get_list(status, "statuses", &len);
	struct json_object *value = show_get(reply, "broken");
	bool broken = json_object_is_type(value, json_type_boolean) &&
		      json_object_get_boolean(value);

	for (size_t i = 0; i < len; i++) {
		const char *s = show_text(json_object_array_get_idx(list, i));

		if (strncmp(s, STATUS_PREFIX, strlen(STATUS_PREFIX)) == 0)
			s += strlen(STATUS_PREFIX);
		text_print(&show->out, TEXT_GOOD, "%s%.*s", i ? " " : "", (int)strcspn(s, ":"), s);
	}
	if (!len)
		text_print(&show->out, TEXT_DIM, "%s", list ? "no driver yet" : "-");
	reason = broken ? sources_note(sources, "broken") : "";
	text_line(&show->out, TEXT_BAD, "%s%s%s", broken ? " broken" : "", *reason ? ": " : "",
		reason);
}

static size_t count_features(struct json_object *features)
{
	size_t a, b;

	show_get_list(features, "transports", &a);
	show_get_list(features, "dev-features", &b);
	return a + b;
}

static bool is_set_up(struct json_object *queue)
{
	struct json_object *desc = show_get(queue, "vring-desc");

	return queue &&
	       !(json_object_is_type(desc, json_type_int) && json_object_get_uint64(desc) == 0);
}

/* Nothing went through it and nothing waits. */
static bool is_unused(struct json_object *queue)
{
	static const char *const members[] = { "inuse", "last-avail-idx", "shadow-avail-idx",
		"used-idx" };

	for (size_t i = 0; i < ARRAY_SIZE(members); i++) {
		struct json_object *value = show_get(queue, members[i]);

		if (!json_object_is_type(value, json_type_int) || json_object_get_int64(value))
			return false;
	}
	return true;
}

static void add_queue_line(struct text_table *t, struct json_object *queue, const char *role)
{
	static const char *const members[] = { "queue-index", "vring-num", "inuse",
		"last-avail-idx", "shadow-avail-idx", "used-idx" };
	unsigned int i;

	text_table_row(t);
	for (i = 0; i < ARRAY_SIZE(members); i++)
		text_table_cell(t, i, TEXT_PLAIN, "%s", show_member(queue, members[i]));
	if (i < t->num_columns)
		text_table_cell(t, i, TEXT_DIM, "%s", role);
}

static void show_queue_lines(
	const struct show *show, struct json_object *queues, struct json_object *sources)
{
	static const char *const columns[] = { "queue", "size", "inuse", "last-avail",
		"shadow-avail", "used", "role" };
	struct text_table t = { .num_columns = sources ? 7 : 6, .right = 0x3f, .indent = 2 };
	size_t len = json_object_array_length(queues), idle = 0, unused = 0;

	for (size_t q = 0; q < len; q++) {
		struct json_object *queue = json_object_array_get_idx(queues, q);

		if (!is_set_up(queue)) {
			idle++;
			continue;
		}
		if (len > MAX_UNUSED_QUEUES && is_unused(queue)) {
			unused++;
			continue;
		}
		if (!t.num_rows)
			show_add_titles(&t, columns);
		add_queue_line(&t, queue, sources_role(sources, (unsigned int)q));
	}
	text_table_print(&t, &show->out);
	if (unused)
		text_line(&show->out, TEXT_DIM, "  %zu of %zu queues set up and never used", unused,
			len);
	if (idle)
		text_line(&show->out, TEXT_DIM, "  %zu of %zu queues not set up by a driver", idle,
			len);
}

void show_summary(const struct show *show, const struct show_device *d)
{
	text_print(&show->out, TEXT_BOLD, "%s", d->name);
	text_line(&show->out, TEXT_PLAIN, "  %s", d->path);
	if (d->no_status) {
		text_line(&show->out, TEXT_DIM, "  status    not shown: %s", d->no_status);
	} else {
		text_print(&show->out, TEXT_PLAIN, "  status    ");
		show_short_status(show, d->status, d->sources);
		text_line(&show->out, TEXT_PLAIN, "  features  %zu of %zu offered are accepted",
			count_features(show_get(d->status, "guest-features")),
			count_features(show_get(d->status, "host-features")));
	}
	if (d->no_queues) {
		text_line(&show->out, TEXT_DIM, "  queues    not shown: %s", d->no_queues);
	} else if (d->queues) {
		show_queue_lines(show, d->queues, d->sources);
	}
}
