/* SPDX-License-Identifier: BSD-3-Clause */
/* Which members of which reply are shown where, and how. */
#include "client/show.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "base/alloc.h"
#include "base/cleanup.h"
#include "client/show_parts.h"
#include "client/sources.h"

static const struct show_row status_members[] = {
	{ "device-id" },
	{ "num-vqs" },
	{ "device-endian" },
	{ "bus-name" },
	{ "vm-running" },
	{ "started" },
	{ "broken", SHOW_BAD_IF_TRUE },
	{ "disabled", SHOW_BAD_IF_TRUE },
	{ "isr" },
	{ "queue-sel" },
	{ "vhost-started" },
	{ "use-started" },
	{ "start-on-kick" },
	{ "disable-legacy-check" },
	{ "use-guest-notifier-mask" },
};

static const struct show_row vhost_members[] = {
	{ "nvqs" },
	{ "vq-index" },
	{ "max-queues" },
	{ "n-mem-sections" },
	{ "n-tmp-sections" },
	{ "backend-cap", SHOW_HEX },
	{ "log-enabled" },
	{ "log-size" },
};

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

/* A list of identifiers, one a line, or a line that says why there is none. */
static void show_identifiers(
	const struct show *show, struct json_object *obj, const char *member, const char *unknown)
{
	struct text_table t = { .num_columns = 2, .indent = 2 };
	size_t len;
	struct json_object *list = show_get_list(obj, member, &len);
	struct json_object *bits = show_get(obj, unknown);

	for (size_t i = 0; i < len; i++) {
		text_table_row(&t);
		add_identifier(&t, 0, TEXT_PLAIN, show_text(json_object_array_get_idx(list, i)));
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
	struct json_object *list = show_get_list(offered, member, &len);

	for (size_t i = 0; i < len; i++) {
		const char *s = show_text(json_object_array_get_idx(list, i));
		bool both = show_list_has(accepted, member, s);

		text_table_row(t);
		text_table_cell(t, 0, TEXT_GOOD, "%s", both ? "*" : "");
		add_identifier(t, 1, both ? TEXT_GOOD : TEXT_PLAIN, s);
	}
	list = show_get_list(accepted, member, &len);
	for (size_t i = 0; i < len; i++) {
		const char *s = show_text(json_object_array_get_idx(list, i));

		if (show_list_has(offered, member, s))
			continue;
		text_table_row(t);
		text_table_cell(t, 0, TEXT_BAD, "!");
		add_identifier(t, 1, TEXT_BAD, s);
	}
}

static void add_unknown_bits(
	struct text_table *t, struct json_object *features, const char *member, const char *who)
{
	struct json_object *bits = show_get(features, member);

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

	show_heading(show, what, mark);
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
	struct json_object *vhost = show_get(reply, "vhost-dev");
	_cleanup_free_ char *status = sources_mark(show->sources, "", "status");
	_cleanup_free_ char *guest = sources_mark(show->sources, "", "guest-features");

	show_title(show, reply, "", path);
	show_rows(show, reply, status_members, ARRAY_SIZE(status_members), "");
	show_heading(show, "status", status);
	show_identifiers(show, show_get(reply, "status"), "statuses", "unknown-statuses");
	show_features(show, "features (* accepted by the driver, ! accepted but not offered)",
		show_get(reply, "host-features"), show_get(reply, "guest-features"), guest);
	show_features(show, "backend-features", show_get(reply, "backend-features"), NULL, "");
	if (!vhost)
		return;
	show_heading(show, "vhost-dev", "");
	show_rows(show, vhost, vhost_members, ARRAY_SIZE(vhost_members), "vhost-dev.");
	show_features(show, "vhost-dev features (* acked, ! acked but not offered)",
		show_get(vhost, "features"), show_get(vhost, "acked-features"), "");
	show_features(
		show, "vhost-dev backend-features", show_get(vhost, "backend-features"), NULL, "");
	show_heading(show, "vhost-dev protocol-features", "");
	show_identifiers(
		show, show_get(vhost, "protocol-features"), "protocols", "unknown-protocols");
}

void show_sources(const struct show *show, const char *path, struct json_object *reply)
{
	struct text_table t = { .num_columns = 3, .indent = 2 };
	size_t len = json_object_is_type(reply, json_type_array) ? json_object_array_length(reply)
								 : 0;

	text_line(&show->out, TEXT_BOLD, "%s", path);
	for (size_t i = 0; i < len; i++) {
		struct json_object *entry = json_object_array_get_idx(reply, i);
		struct json_object *note = show_get(entry, "note");

		text_table_row(&t);
		text_table_cell(&t, 0, TEXT_PLAIN, "%s", show_member(entry, "member"));
		text_table_cell(&t, 1, TEXT_PLAIN, "%s", show_member(entry, "source"));
		text_table_cell(&t, 2, TEXT_DIM, "%s", note ? show_text(note) : "");
	}
	text_table_print(&t, &show->out);
}
