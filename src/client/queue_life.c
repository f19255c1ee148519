/* SPDX-License-Identifier: BSD-3-Clause */
/* One line an event, a request, an element. Lenient as everything that reads replies. */
#include "client/queue_life.h"

#include <inttypes.h>
#include <string.h>

#include "base/alloc.h"
#include "base/cleanup.h"

#define USEC 1000.0

static struct json_object *get(struct json_object *obj, const char *member)
{
	struct json_object *value = NULL;

	json_object_object_get_ex(obj, member, &value);
	return value;
}

static size_t list_length(struct json_object *list)
{
	return json_object_is_type(list, json_type_array) ? json_object_array_length(list) : 0;
}

static uint64_t number(struct json_object *obj, const char *member)
{
	return json_object_get_uint64(get(obj, member));
}

/* "12.3 ms", in the unit that fits. */
static char *duration(uint64_t ns)
{
	static const struct {
		double below, unit;
		const char *name;
	} units[] = { { 1e6, 1e3, "us" }, { 1e9, 1e6, "ms" } };

	for (size_t i = 0; i < ARRAY_SIZE(units); i++)
		if ((double)ns < units[i].below)
			return xasprintf("%.1f %s", (double)ns / units[i].unit, units[i].name);
	return xasprintf("%.1f s", (double)ns / 1e9);
}

/* --- trace --- */

/* What index and arg of an event are; no name: not worth a word. */
static const struct event_row {
	const char *event, *index, *arg;
	bool is_bad;
} event_rows[] = {
	{ "start", "at", "size" },
	{ "stop", "at" },
	{ "break", "at", .is_bad = true },
	{ "kick", "at" },
	{ "pop", "head", "readable" },
	{ "pop-polled", "head", "readable" },
	{ "again", "head" },
	{ "dry", "head" },
	{ "complete", "head", "written" },
	{ "call", "used", "answers" },
	{ "call-suppressed", "used", "answers" },
	{ "call-full", "used", "answers" },
	{ "call-lost", "used", "answers", .is_bad = true },
	{ "call-held", "used", "answers" },
	{ "notify-on", "from" },
	{ "notify-off", "at" },
};

static const struct event_row *find_row(const char *event)
{
	static const struct event_row unknown = { "", "index", "arg" };

	for (size_t i = 0; i < ARRAY_SIZE(event_rows); i++)
		if (!strcmp(event_rows[i].event, event))
			return &event_rows[i];
	return &unknown;
}

void queue_life_show_trace(
	const struct show *show, const char *path, unsigned int queue, struct json_object *reply)
{
	size_t num = list_length(reply);
	uint64_t before = 0;

	text_line(&show->out, TEXT_BOLD, "Last events of queue %u of %s", queue, path);
	if (!num)
		text_line(&show->out, TEXT_PLAIN, "  none so far");
	for (size_t i = 0; i < num; i++) {
		struct json_object *e = json_object_array_get_idx(reply, i);
		const struct event_row *row = find_row(show_member(e, "event"));
		_cleanup_free_ char *age = duration(number(e, "age-ns"));
		uint64_t now = number(e, "time-ns");

		text_print(&show->out, TEXT_PLAIN, "%8s %12s ago  +%-10.1f ",
			show_member(e, "serial"), age, i ? (double)(now - before) / USEC : 0);
		text_print(&show->out, row->is_bad ? TEXT_BAD : TEXT_BOLD, "%-16s",
			show_member(e, "event"));
		text_print(&show->out, TEXT_PLAIN, "%s %s", row->index, show_member(e, "index"));
		if (row->arg)
			text_print(
				&show->out, TEXT_PLAIN, ", %s %s", row->arg, show_member(e, "arg"));
		text_line(&show->out, TEXT_PLAIN, "%s", "");
		before = now;
	}
}

/* --- in flight --- */

static void show_request(const struct show *show, struct json_object *r)
{
	_cleanup_free_ char *age = get(r, "age-ns") ? duration(number(r, "age-ns")) : NULL;
	const char *thread = get(r, "iothread") ? show_member(r, "iothread") : NULL;

	text_print(&show->out, TEXT_PLAIN, "  queue %-3s head %-5s ", show_member(r, "queue"),
		show_member(r, "head"));
	text_print(&show->out, TEXT_BOLD, "%10s  ", age ? age : "-");
	if (get(r, "problem")) {
		text_line(&show->out, TEXT_BAD, "%s", show_member(r, "problem"));
		return;
	}
	text_print(&show->out, TEXT_PLAIN, "%s", show_member(r, "description"));
	text_print(&show->out, TEXT_DIM, "  %s bytes in, %s out", show_member(r, "readable-bytes"),
		show_member(r, "writable-bytes"));
	if (get(r, "thread-id"))
		text_print(&show->out, TEXT_DIM, "  thread %s%s%s", thread ? thread : "",
			thread ? " " : "", show_member(r, "thread-id"));
	if (!strcmp(show_member(r, "source"), "memory"))
		text_print(&show->out, TEXT_DIM, "  read from memory%s",
			json_object_get_boolean(get(r, "certain")) ? ""
								   : ", perhaps answered already");
	text_line(&show->out, TEXT_PLAIN, "%s", "");
}

void queue_life_show_inflight(const struct show *show, const char *path, struct json_object *reply)
{
	size_t num = list_length(reply);

	text_line(&show->out, TEXT_BOLD, "In flight at %s, oldest first", path);
	if (!num)
		text_line(&show->out, TEXT_PLAIN, "  nothing");
	for (size_t i = 0; i < num; i++)
		show_request(show, json_object_array_get_idx(reply, i));
}

/* --- the ring --- */

static void show_descs(const struct show *show, struct json_object *element)
{
	struct json_object *descs = get(element, "descs");

	for (size_t i = 0; i < list_length(descs); i++) {
		struct json_object *d = json_object_array_get_idx(descs, i);
		struct json_object *flags = get(d, "flags");

		text_print(&show->out, TEXT_DIM, " 0x%" PRIx64 "+%s", number(d, "addr"),
			show_member(d, "len"));
		for (size_t k = 0; k < list_length(flags); k++)
			text_print(&show->out, TEXT_DIM, "%s%s", k ? "," : ":",
				json_object_get_string(json_object_array_get_idx(flags, k)));
	}
}

static void show_element(const struct show *show, struct json_object *e)
{
	const char *state = show_member(e, "state");
	bool is_live = !strcmp(state, "available") || !strcmp(state, "in-flight");

	text_print(&show->out, is_live ? TEXT_BOLD : TEXT_PLAIN, "  %5s  head %-5s %-10s",
		show_member(e, "index"), show_member(e, "head"), state);
	if (get(e, "age-ns")) {
		_cleanup_free_ char *age = duration(number(e, "age-ns"));

		text_print(&show->out, TEXT_PLAIN, " since %s", age);
	}
	if (get(e, "written"))
		text_print(&show->out, TEXT_PLAIN, " wrote %s", show_member(e, "written"));
	if (get(e, "problem"))
		text_print(&show->out, TEXT_BAD, " %s", show_member(e, "problem"));
	show_descs(show, e);
	text_line(&show->out, TEXT_PLAIN, "%s", "");
}

static void show_place(const struct show *show, struct json_object *reply, const char *label,
	const char *member, const char *wrap)
{
	text_print(&show->out, TEXT_PLAIN, "  %s %s", label, show_member(reply, member));
	if (get(reply, wrap))
		text_print(&show->out, TEXT_PLAIN, " (wrap counter %d)",
			json_object_get_boolean(get(reply, wrap)));
}

void queue_life_show_elements(
	const struct show *show, const char *path, unsigned int queue, struct json_object *reply)
{
	struct json_object *elements = get(reply, "elements");
	bool packed = json_object_get_boolean(get(reply, "packed"));

	text_line(&show->out, TEXT_BOLD, "Ring of queue %u of %s: %s, size %s", queue, path,
		packed ? "packed" : "split", show_member(reply, "num"));
	show_place(show, reply, "the device takes next:", "last-avail", "avail-wrap");
	show_place(show, reply, "answers next:", "used", "used-wrap");
	text_line(&show->out, TEXT_PLAIN, "%s", "");
	if (!packed)
		text_line(&show->out, TEXT_PLAIN, "  available index %s, used index %s",
			show_member(reply, "avail-idx"), show_member(reply, "used-idx"));
	text_line(&show->out, TEXT_PLAIN,
		"  driver: flags %s, used_event %s; device: flags %s, avail_event %s",
		show_member(reply, "driver-flags"), show_member(reply, "used-event"),
		show_member(reply, "device-flags"), show_member(reply, "avail-event"));
	if (!json_object_get_boolean(get(reply, "consistent")))
		text_line(&show->out, TEXT_BAD, "  the ring moved on while it was read");
	for (size_t i = 0; i < list_length(elements); i++)
		show_element(show, json_object_array_get_idx(elements, i));
	if (json_object_get_boolean(get(reply, "truncated")))
		text_line(
			&show->out, TEXT_BAD, "  too many descriptors: the last ones are missing");
}
