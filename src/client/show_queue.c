/* SPDX-License-Identifier: BSD-3-Clause */
/* A queue and one of its requests, member by member. */
#include "client/show_queue.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "base/alloc.h"
#include "base/cleanup.h"
#include "client/show_parts.h"
#include "client/sources.h"

static const struct show_row queue_members[] = {
	{ "vring-num" },
	{ "vring-num-default" },
	{ "vring-align" },
	{ "vring-desc", SHOW_HEX },
	{ "vring-avail", SHOW_HEX },
	{ "vring-used", SHOW_HEX },
	{ "inuse" },
	{ "last-avail-idx" },
	{ "shadow-avail-idx" },
	{ "used-idx" },
	{ "signalled-used" },
	{ "signalled-used-valid" },
};

static const struct show_row vhost_queue_members[] = {
	{ "num" },
	{ "kick" },
	{ "call" },
	{ "desc", SHOW_HEX },
	{ "avail", SHOW_HEX },
	{ "used", SHOW_HEX },
	{ "desc-phys", SHOW_HEX },
	{ "desc-size" },
	{ "avail-phys", SHOW_HEX },
	{ "avail-size" },
	{ "used-phys", SHOW_HEX },
	{ "used-size" },
};

/* How many the driver made available that the device has not taken; -1 where that is not told. */
static int num_waiting(struct json_object *queue)
{
	struct json_object *last = show_get(queue, "last-avail-idx");
	struct json_object *shadow = show_get(queue, "shadow-avail-idx");

	if (!json_object_is_type(last, json_type_int) ||
		!json_object_is_type(shadow, json_type_int))
		return -1;
	/* Ring indices are of 16 bits and wrap. */
	return (uint16_t)(json_object_get_int64(shadow) - json_object_get_int64(last));
}

/* Such a ring's driver counts nothing: how many wait is known to nobody. */
static bool is_packed(const struct show *show, unsigned int queue)
{
	static const char prefix[] = "packed ring";

	return !strncmp(sources_queue_note(show->sources, queue, "shadow-avail-idx"), prefix,
		strlen(prefix));
}

void show_queue(
	const struct show *show, const char *path, unsigned int queue, struct json_object *reply)
{
	const char *role = sources_role(show->sources, queue);
	_cleanup_free_ char *what =
		xasprintf(" queue %u%s%s%s", queue, *role ? " (" : "", role, *role ? ")" : "");
	_cleanup_free_ char *prefix = xasprintf("queue.%u.", queue);
	int waiting = num_waiting(reply);

	show_title(show, reply, what, path);
	show_rows(show, reply, queue_members, ARRAY_SIZE(queue_members), prefix);
	if (*sources_queue_note(show->sources, queue, "thread"))
		text_line(&show->out, TEXT_PLAIN, "  %s",
			sources_queue_note(show->sources, queue, "thread"));
	if (is_packed(show, queue))
		text_line(&show->out, TEXT_DIM, "  %s taken by the device and not answered",
			show_member(reply, "inuse"));
	else if (waiting >= 0)
		text_line(&show->out, TEXT_DIM,
			"  %d made available and not taken by the device, %s taken and not "
			"answered",
			waiting, show_member(reply, "inuse"));
}

void show_vhost_queue(
	const struct show *show, const char *path, unsigned int queue, struct json_object *reply)
{
	_cleanup_free_ char *what = xasprintf(" vhost queue %u", queue);

	show_title(show, reply, what, path);
	show_rows(show, reply, vhost_queue_members, ARRAY_SIZE(vhost_queue_members), "");
}

static void add_descriptor(struct text_table *t, size_t number, struct json_object *desc)
{
	struct json_object *addr = show_get(desc, "addr");
	_cleanup_free_ char *flags = xstrdup("");
	size_t len;
	struct json_object *list = show_get_list(desc, "flags", &len);

	for (size_t i = 0; i < len; i++) {
		_cleanup_free_ char *old = flags;

		flags = xasprintf(
			"%s%s%s", old, i ? " " : "", show_text(json_object_array_get_idx(list, i)));
	}
	text_table_row(t);
	text_table_cell(t, 0, TEXT_PLAIN, "%zu", number);
	if (json_object_is_type(addr, json_type_int))
		text_table_cell(t, 1, TEXT_PLAIN, "0x%" PRIx64, json_object_get_uint64(addr));
	else
		text_table_cell(t, 1, TEXT_PLAIN, "-");
	text_table_cell(t, 2, TEXT_PLAIN, "%s", show_member(desc, "len"));
	text_table_cell(t, 3, TEXT_PLAIN, "%s", list ? flags : "-");
}

static void show_area(
	const struct show *show, const char *name, struct json_object *area, const char *third)
{
	text_print(&show->out, TEXT_BOLD, "%-5s", name);
	text_line(&show->out, TEXT_PLAIN, "  flags %s  idx %s%s%s%s%s", show_member(area, "flags"),
		show_member(area, "idx"), third ? "  " : "", third ? third : "", third ? " " : "",
		third ? show_member(area, third) : "");
}

void show_element(
	const struct show *show, const char *path, unsigned int queue, struct json_object *reply)
{
	_cleanup_free_ char *what =
		xasprintf(" queue %u element %s", queue, show_member(reply, "index"));
	struct text_table t = { .num_columns = 4, .right = 1 << 0 | 1 << 1 | 1 << 2, .indent = 2 };
	static const char *const columns[] = { "#", "addr", "len", "flags" };
	struct json_object *descs = show_get(reply, "descs");
	/* A chain is as long as its ring: nothing is left out here. */
	size_t len = json_object_is_type(descs, json_type_array) ? json_object_array_length(descs)
								 : 0;
	const char *note;

	show_title(show, reply, what, path);
	if (len)
		show_add_titles(&t, columns);
	for (size_t i = 0; i < len; i++)
		add_descriptor(&t, i, json_object_array_get_idx(descs, i));
	text_table_print(&t, &show->out);
	if (!len)
		text_line(&show->out, TEXT_DIM, "  %s", descs ? "no descriptors" : "-");
	if (!show->is_qemu && len == 1 &&
		show_list_has(json_object_array_get_idx(descs, 0), "flags", "indirect"))
		text_line(&show->out, TEXT_DIM,
			"  (its indirect table is not followed: by now it may be the driver's "
			"again)");
	if (show->is_qemu && len > 1)
		text_line(&show->out, TEXT_DIM,
			"  (QEMU lists the last descriptor of a chain first)");
	show_area(show, "avail", show_get(reply, "avail"), "ring");
	show_area(show, "used", show_get(reply, "used"), NULL);
	note = sources_queue_note(show->sources, queue, "inuse");
	if (*note)
		text_line(&show->out, TEXT_PLAIN, "  by now: %s", note);
}
