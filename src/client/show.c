/* SPDX-License-Identifier: BSD-3-Clause */
/* Which members of which reply are shown where, and how. */
#include "client/show.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "base/alloc.h"
#include "base/cleanup.h"
#include "client/sources.h"

/* No honest list is longer; what follows is not shown. */
#define MAX_ENTRIES 256
/* A device with more queues than that has its unused ones counted in the summary, not listed. */
#define MAX_UNUSED_QUEUES 8
#define STATUS_PREFIX	  "VIRTIO_CONFIG_S_"

enum format { PLAIN, HEX, BAD_IF_TRUE };

/* A row: a member of the reply, or, without a format's member, a heading. */
struct member {
	const char *name;
	enum format format;
};

static const struct member status_members[] = {
	{ "device-id" },
	{ "num-vqs" },
	{ "device-endian" },
	{ "bus-name" },
	{ "vm-running" },
	{ "started" },
	{ "broken", BAD_IF_TRUE },
	{ "disabled", BAD_IF_TRUE },
	{ "isr" },
	{ "queue-sel" },
	{ "vhost-started" },
	{ "use-started" },
	{ "start-on-kick" },
	{ "disable-legacy-check" },
	{ "use-guest-notifier-mask" },
};

static const struct member vhost_members[] = {
	{ "nvqs" },
	{ "vq-index" },
	{ "max-queues" },
	{ "n-mem-sections" },
	{ "n-tmp-sections" },
	{ "backend-cap", HEX },
	{ "log-enabled" },
	{ "log-size" },
};

static const struct member queue_members[] = {
	{ "vring-num" },
	{ "vring-num-default" },
	{ "vring-align" },
	{ "vring-desc", HEX },
	{ "vring-avail", HEX },
	{ "vring-used", HEX },
	{ "inuse" },
	{ "last-avail-idx" },
	{ "shadow-avail-idx" },
	{ "used-idx" },
	{ "signalled-used" },
	{ "signalled-used-valid" },
};

static const struct member vhost_queue_members[] = {
	{ "num" },
	{ "kick" },
	{ "call" },
	{ "desc", HEX },
	{ "avail", HEX },
	{ "used", HEX },
	{ "desc-phys", HEX },
	{ "desc-size" },
	{ "avail-phys", HEX },
	{ "avail-size" },
	{ "used-phys", HEX },
	{ "used-size" },
};

static struct json_object *get(struct json_object *obj, const char *member)
{
	struct json_object *value = NULL;

	json_object_object_get_ex(obj, member, &value);
	return value;
}

/* The array at @member, with a length that is bearable; NULL and 0 where there is none. */
static struct json_object *get_list(struct json_object *obj, const char *member, size_t *ret_len)
{
	struct json_object *list = get(obj, member);

	*ret_len = 0;
	if (!json_object_is_type(list, json_type_array))
		return NULL;
	*ret_len = MIN(json_object_array_length(list), (size_t)MAX_ENTRIES);
	return list;
}

static const char *as_text(struct json_object *value)
{
	const char *text;

	switch (json_object_get_type(value)) {
	case json_type_boolean:
	case json_type_int:
	case json_type_string: text = json_object_get_string(value); return *text ? text : "-";
	default: return "-";
	}
}

const char *show_member(struct json_object *obj, const char *member)
{
	return as_text(get(obj, member));
}

static void heading(const struct show *show, const char *text, const char *mark)
{
	struct text_table t = { .num_columns = 2 };

	putc('\n', show->out.file);
	text_table_row(&t);
	text_table_cell(&t, 0, TEXT_BOLD, "%s", text);
	text_table_cell(&t, 1, TEXT_DIM, "%s", mark);
	text_table_print(&t, &show->out);
}

static void title(
	const struct show *show, struct json_object *reply, const char *what, const char *path)
{
	text_print(&show->out, TEXT_BOLD, "%s%s", show_member(reply, "name"), what);
	text_line(&show->out, TEXT_PLAIN, "  %s", path);
}

static void add_value(struct text_table *t, struct json_object *value, enum format format)
{
	bool is_true = json_object_is_type(value, json_type_boolean) &&
		       json_object_get_boolean(value);

	if (format == HEX && json_object_is_type(value, json_type_int))
		text_table_cell(t, 1, TEXT_PLAIN, "0x%" PRIx64, json_object_get_uint64(value));
	else
		text_table_cell(t, 1, format == BAD_IF_TRUE && is_true ? TEXT_BAD : TEXT_PLAIN,
			"%s", as_text(value));
}

/* @prefix: of the member's name in the list of sources. */
static void show_members(const struct show *show, struct json_object *obj,
	const struct member *members, size_t num, const char *prefix)
{
	struct text_table t = { .num_columns = 3, .indent = 2 };

	for (size_t i = 0; i < num; i++) {
		_cleanup_free_ char *mark = sources_mark(show->sources, prefix, members[i].name);

		text_table_row(&t);
		text_table_cell(&t, 0, TEXT_PLAIN, "%s", members[i].name);
		add_value(&t, get(obj, members[i].name), members[i].format);
		text_table_cell(&t, 2, TEXT_DIM, "%s", mark);
	}
	text_table_print(&t, &show->out);
}

/* "IDENTIFIER: text" into two cells. */
static void add_identifier(
	struct text_table *t, unsigned int column, enum text_style style, const char *s)
{
	const char *colon = strchr(s, ':');

	text_table_cell(t, column, style, "%.*s", colon ? (int)(colon - s) : (int)strlen(s), s);
	if (colon)
		text_table_cell(
			t, column + 1, TEXT_PLAIN, "%s", colon + 1 + strspn(colon + 1, " "));
}

static bool same_identifier(const char *a, const char *b)
{
	size_t len = strcspn(a, ":");

	return len == strcspn(b, ":") && strncmp(a, b, len) == 0;
}

static bool list_has(struct json_object *obj, const char *member, const char *s)
{
	size_t len;
	struct json_object *list = get_list(obj, member, &len);

	for (size_t i = 0; i < len; i++)
		if (same_identifier(as_text(json_object_array_get_idx(list, i)), s))
			return true;
	return false;
}

/* A list of identifiers, one a line, or a line that says why there is none. */
static void show_identifiers(
	const struct show *show, struct json_object *obj, const char *member, const char *unknown)
{
	struct text_table t = { .num_columns = 2, .indent = 2 };
	size_t len;
	struct json_object *list = get_list(obj, member, &len);
	struct json_object *bits = get(obj, unknown);

	for (size_t i = 0; i < len; i++) {
		text_table_row(&t);
		add_identifier(&t, 0, TEXT_PLAIN, as_text(json_object_array_get_idx(list, i)));
	}
	if (json_object_is_type(bits, json_type_int)) {
		text_table_row(&t);
		text_table_cell(
			&t, 0, TEXT_BAD, "unknown bits 0x%" PRIx64, json_object_get_uint64(bits));
	}
	if (!t.num_rows) {
		text_table_row(&t);
		text_table_cell(&t, 0, TEXT_DIM, "%s", list ? "none" : "-");
	}
	text_table_print(&t, &show->out);
}

/* What is in one of two sets of features; @accepted may be NULL: then there is nothing to compare.
 */
static void add_features(struct text_table *t, struct json_object *offered,
	struct json_object *accepted, const char *member)
{
	size_t len;
	struct json_object *list = get_list(offered, member, &len);

	for (size_t i = 0; i < len; i++) {
		const char *s = as_text(json_object_array_get_idx(list, i));
		bool both = list_has(accepted, member, s);

		text_table_row(t);
		text_table_cell(t, 0, TEXT_GOOD, "%s", both ? "*" : "");
		add_identifier(t, 1, both ? TEXT_GOOD : TEXT_PLAIN, s);
	}
	list = get_list(accepted, member, &len);
	for (size_t i = 0; i < len; i++) {
		const char *s = as_text(json_object_array_get_idx(list, i));

		if (list_has(offered, member, s))
			continue;
		text_table_row(t);
		text_table_cell(t, 0, TEXT_BAD, "!");
		add_identifier(t, 1, TEXT_BAD, s);
	}
}

static void add_unknown_bits(
	struct text_table *t, struct json_object *features, const char *member, const char *who)
{
	struct json_object *bits = get(features, member);

	if (!json_object_is_type(bits, json_type_int))
		return;
	text_table_row(t);
	text_table_cell(t, 1, TEXT_PLAIN, "%s 0x%" PRIx64, member, json_object_get_uint64(bits));
	text_table_cell(t, 2, TEXT_PLAIN, "%s", who);
}

static void show_features(const struct show *show, const char *what, struct json_object *offered,
	struct json_object *accepted, const char *mark)
{
	static const char *const unknown[] = { "unknown-dev-features", "unknown-dev-features2" };
	struct text_table t = { .num_columns = 3, .indent = 2 };

	heading(show, what, mark);
	add_features(&t, offered, accepted, "transports");
	add_features(&t, offered, accepted, "dev-features");
	for (size_t i = 0; i < ARRAY_SIZE(unknown); i++) {
		add_unknown_bits(&t, offered, unknown[i], accepted ? "offered" : "");
		add_unknown_bits(&t, accepted, unknown[i], "accepted");
	}
	if (!t.num_rows) {
		text_table_row(&t);
		text_table_cell(&t, 0, TEXT_DIM, "%s", offered ? "none" : "-");
	}
	text_table_print(&t, &show->out);
}

void show_list(const struct show *show, struct json_object *reply)
{
	struct text_table t = { .num_columns = 2 };
	size_t len = json_object_is_type(reply, json_type_array) ? json_object_array_length(reply)
								 : 0;

	for (size_t i = 0; i < len; i++) {
		struct json_object *entry = json_object_array_get_idx(reply, i);

		text_table_row(&t);
		text_table_cell(&t, 0, TEXT_BOLD, "%s", show_member(entry, "name"));
		text_table_cell(&t, 1, TEXT_PLAIN, "%s", show_member(entry, "path"));
	}
	if (!len)
		text_line(&show->out, TEXT_PLAIN, "no virtio devices");
	text_table_print(&t, &show->out);
}

void show_status(const struct show *show, const char *path, struct json_object *reply)
{
	struct json_object *vhost = get(reply, "vhost-dev");
	_cleanup_free_ char *status = sources_mark(show->sources, "", "status");
	_cleanup_free_ char *guest = sources_mark(show->sources, "", "guest-features");

	title(show, reply, "", path);
	show_members(show, reply, status_members, ARRAY_SIZE(status_members), "");
	heading(show, "status", status);
	show_identifiers(show, get(reply, "status"), "statuses", "unknown-statuses");
	show_features(show, "features (* accepted by the driver, ! accepted but not offered)",
		get(reply, "host-features"), get(reply, "guest-features"), guest);
	show_features(show, "backend-features", get(reply, "backend-features"), NULL, "");
	if (!vhost)
		return;
	heading(show, "vhost-dev", "");
	show_members(show, vhost, vhost_members, ARRAY_SIZE(vhost_members), "vhost-dev.");
	show_features(show, "vhost-dev features (* acked, ! acked but not offered)",
		get(vhost, "features"), get(vhost, "acked-features"), "");
	show_features(show, "vhost-dev backend-features", get(vhost, "backend-features"), NULL, "");
	heading(show, "vhost-dev protocol-features", "");
	show_identifiers(show, get(vhost, "protocol-features"), "protocols", "unknown-protocols");
}

/* How many the driver made available that the device has not taken; -1 where that is not told. */
static int num_waiting(struct json_object *queue)
{
	struct json_object *last = get(queue, "last-avail-idx");
	struct json_object *shadow = get(queue, "shadow-avail-idx");

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

	title(show, reply, what, path);
	show_members(show, reply, queue_members, ARRAY_SIZE(queue_members), prefix);
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

	title(show, reply, what, path);
	show_members(show, reply, vhost_queue_members, ARRAY_SIZE(vhost_queue_members), "");
}

static void add_titles(struct text_table *t, const char *const *columns)
{
	text_table_row(t);
	for (unsigned int i = 0; i < t->num_columns; i++)
		text_table_cell(t, i, TEXT_BOLD, "%s", columns[i]);
}

static void add_descriptor(struct text_table *t, size_t number, struct json_object *desc)
{
	struct json_object *addr = get(desc, "addr");
	_cleanup_free_ char *flags = xstrdup("");
	size_t len;
	struct json_object *list = get_list(desc, "flags", &len);

	for (size_t i = 0; i < len; i++) {
		_cleanup_free_ char *old = flags;

		flags = xasprintf(
			"%s%s%s", old, i ? " " : "", as_text(json_object_array_get_idx(list, i)));
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
	struct json_object *descs = get(reply, "descs");
	/* A chain is as long as its ring: nothing is left out here. */
	size_t len = json_object_is_type(descs, json_type_array) ? json_object_array_length(descs)
								 : 0;
	const char *note;

	title(show, reply, what, path);
	if (len)
		add_titles(&t, columns);
	for (size_t i = 0; i < len; i++)
		add_descriptor(&t, i, json_object_array_get_idx(descs, i));
	text_table_print(&t, &show->out);
	if (!len)
		text_line(&show->out, TEXT_DIM, "  %s", descs ? "no descriptors" : "-");
	if (!show->is_qemu && len == 1 &&
		list_has(json_object_array_get_idx(descs, 0), "flags", "indirect"))
		text_line(&show->out, TEXT_DIM,
			"  (its indirect table is not followed: by now it may be the driver's "
			"again)");
	if (show->is_qemu && len > 1)
		text_line(&show->out, TEXT_DIM,
			"  (QEMU lists the last descriptor of a chain first)");
	show_area(show, "avail", get(reply, "avail"), "ring");
	show_area(show, "used", get(reply, "used"), NULL);
	note = sources_queue_note(show->sources, queue, "inuse");
	if (*note)
		text_line(&show->out, TEXT_PLAIN, "  by now: %s", note);
}

void show_sources(const struct show *show, const char *path, struct json_object *reply)
{
	struct text_table t = { .num_columns = 3, .indent = 2 };
	size_t len = json_object_is_type(reply, json_type_array) ? json_object_array_length(reply)
								 : 0;

	text_line(&show->out, TEXT_BOLD, "%s", path);
	for (size_t i = 0; i < len; i++) {
		struct json_object *entry = json_object_array_get_idx(reply, i);
		struct json_object *note = get(entry, "note");

		text_table_row(&t);
		text_table_cell(&t, 0, TEXT_PLAIN, "%s", show_member(entry, "member"));
		text_table_cell(&t, 1, TEXT_PLAIN, "%s", show_member(entry, "source"));
		text_table_cell(&t, 2, TEXT_DIM, "%s", note ? as_text(note) : "");
	}
	text_table_print(&t, &show->out);
}

/* "ACKNOWLEDGE DRIVER": the identifiers without what they have in common. */
static void show_short_status(
	const struct show *show, struct json_object *reply, struct json_object *sources)
{
	const char *reason;
	size_t len;
	struct json_object *status = get(reply, "status");
	struct json_object *list = get_list(status, "statuses", &len);
	struct json_object *value = get(reply, "broken");
	bool broken = json_object_is_type(value, json_type_boolean) &&
		      json_object_get_boolean(value);

	for (size_t i = 0; i < len; i++) {
		const char *s = as_text(json_object_array_get_idx(list, i));

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

	get_list(features, "transports", &a);
	get_list(features, "dev-features", &b);
	return a + b;
}

static bool is_set_up(struct json_object *queue)
{
	struct json_object *desc = get(queue, "vring-desc");

	return queue &&
	       !(json_object_is_type(desc, json_type_int) && json_object_get_uint64(desc) == 0);
}

/* Nothing went through it and nothing waits. */
static bool is_unused(struct json_object *queue)
{
	static const char *const members[] = { "inuse", "last-avail-idx", "shadow-avail-idx",
		"used-idx" };

	for (size_t i = 0; i < ARRAY_SIZE(members); i++) {
		struct json_object *value = get(queue, members[i]);

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
			add_titles(&t, columns);
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
			count_features(get(d->status, "guest-features")),
			count_features(get(d->status, "host-features")));
	}
	if (d->no_queues) {
		text_line(&show->out, TEXT_DIM, "  queues    not shown: %s", d->no_queues);
	} else if (d->queues) {
		show_queue_lines(show, d->queues, d->sources);
	}
}
