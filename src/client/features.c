/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The matrix as a table that fits 80 columns: a letter a party, a sign a word. What nobody offers
 * is a list behind it. Lenient as everything that reads replies.
 */
#include "client/features.h"

#include <string.h>

#include "base/alloc.h"
#include "base/cleanup.h"
#include "client/show_parts.h"

/* Paragraphs are as wide as that, unless the terminal is narrower. */
#define WIDTH 78

static const struct {
	const char *name, *letter;
} parties[] = {
	{ "device", "D" },
	{ "back-end", "B" },
	{ "transport", "T" },
	{ "front-end", "F" },
	{ "driver", "G" },
};

static const struct {
	const char *state, *sign;
	enum text_style style;
} signs[] = {
	{ "offered", "+", TEXT_PLAIN },
	{ "acked", "+", TEXT_PLAIN },
	{ "added", "+", TEXT_PLAIN },
	{ "kept", "=", TEXT_DIM },
	{ "not-offered", "-", TEXT_PLAIN },
	{ "not-acked", "-", TEXT_PLAIN },
	{ "removed", "x", TEXT_BAD },
	{ "unknown", "?", TEXT_DIM },
};

static const struct {
	const char *prefix, *instead;
} prefixes[] = {
	{ "VHOST_USER_PROTOCOL_F_", "" },
	{ "VIRTIO_RING_F_", "RING_" },
	{ "VIRTIO_F_", "" },
	{ "VIRTIO_", "" },
};

/* Without what all of a table have in common. */
static char *short_name(const char *name)
{
	for (size_t i = 0; i < ARRAY_SIZE(prefixes); i++) {
		size_t len = strlen(prefixes[i].prefix);

		if (!strncmp(name, prefixes[i].prefix, len) && name[len])
			return xasprintf("%s%s", prefixes[i].instead, name + len);
	}
	return xstrdup(name);
}

/* Words up to the paragraph's width, @indent spaces in front of each line. */
static void paragraph(
	const struct show *show, enum text_style style, unsigned int indent, const char *text)
{
	size_t width = show->out.width && show->out.width < WIDTH ? show->out.width : WIDTH;
	size_t room = width > indent + 20 ? width - indent : 20;

	do {
		size_t len = strlen(text), end = len;

		if (len > room)
			for (end = room; end && text[end] != ' '; end--)
				;
		if (!end)
			end = strcspn(text, " ");
		text_line(&show->out, style, "%*s%.*s", (int)indent, "", (int)end, text);
		text += end;
		text += strspn(text, " ");
	} while (*text);
}

static bool is_named(struct json_object *list, const char *name)
{
	size_t num = json_object_is_type(list, json_type_array) ? json_object_array_length(list)
								: 0;

	for (size_t i = 0; i < num; i++)
		if (!strcmp(show_text(json_object_array_get_idx(list, i)), name))
			return true;
	return false;
}

/* "negotiated", "dropped: driver" */
static void add_outcome(struct text_table *t, unsigned int column, struct json_object *row)
{
	const char *outcome = show_member(row, "outcome"), *by = show_member(row, "dropped-by");
	bool is_good = !strcmp(outcome, "negotiated");
	enum text_style style = !strcmp(outcome, "unoffered") ? TEXT_BAD : TEXT_PLAIN;

	if (is_good)
		style = TEXT_GOOD;
	/* What stands behind the colon is a sentence's. */
	if (!strcmp(by, "-"))
		text_table_cell(t, column, style, "%s", outcome);
	else
		text_table_cell(t, column, style, "%s: %.*s", outcome, (int)strcspn(by, ":"), by);
}

static void add_row(struct text_table *t, struct json_object *present, struct json_object *row)
{
	_cleanup_free_ char *name = short_name(show_member(row, "name"));
	unsigned int column = 2;

	text_table_row(t);
	text_table_cell(t, 0, TEXT_DIM, "%s", show_member(row, "bit"));
	text_table_cell(t, 1, TEXT_PLAIN, "%s", name);
	for (size_t i = 0; i < ARRAY_SIZE(parties); i++) {
		const char *state = show_member(row, parties[i].name);

		if (!is_named(present, parties[i].name))
			continue;
		for (size_t k = 0; k < ARRAY_SIZE(signs); k++)
			if (!strcmp(signs[k].state, state))
				text_table_cell(t, column, signs[k].style, "%s", signs[k].sign);
		column++;
	}
	add_outcome(t, column, row);
}

/* Which columns there are; returns their number with bit, name and outcome. */
static unsigned int add_head(struct text_table *t, struct json_object *present)
{
	unsigned int column = 2;

	text_table_row(t);
	text_table_cell(t, 0, TEXT_BOLD, "bit");
	text_table_cell(t, 1, TEXT_BOLD, "name");
	for (size_t i = 0; i < ARRAY_SIZE(parties); i++)
		if (is_named(present, parties[i].name))
			text_table_cell(t, column++, TEXT_BOLD, "%s", parties[i].letter);
	text_table_cell(t, column, TEXT_BOLD, "outcome");
	return column + 1;
}

static bool is_absent(struct json_object *row)
{
	return !strcmp(show_member(row, "outcome"), "not-offered");
}

/* Those that @by does not offer, in one paragraph. */
static void show_absent(
	const struct show *show, struct json_object *rows, size_t num, const char *by)
{
	_cleanup_free_ char *all = xasprintf("not offered by the %s:", by);
	bool any = false;

	for (size_t i = 0; i < num; i++) {
		struct json_object *row = json_object_array_get_idx(rows, i);
		_cleanup_free_ char *name = short_name(show_member(row, "name"));
		_cleanup_free_ char *old = NULL;

		if (!is_absent(row) || strcmp(show_member(row, "dropped-by"), by) != 0)
			continue;
		old = all;
		all = xasprintf("%s %s", old, name);
		any = true;
	}
	if (any)
		paragraph(show, TEXT_DIM, 2, all);
}

static void show_notes(const struct show *show, struct json_object *rows, size_t num)
{
	for (size_t i = 0; i < num; i++) {
		struct json_object *row = json_object_array_get_idx(rows, i);
		_cleanup_free_ char *name = short_name(show_member(row, "name"));
		_cleanup_free_ char *text = NULL;

		if (!show_get(row, "note"))
			continue;
		text = xasprintf("%s: %s", name, show_member(row, "note"));
		paragraph(show, TEXT_PLAIN, 2, text);
	}
}

static void show_word(const struct show *show, struct json_object *reply, const char *member,
	const char *title, struct json_object *present)
{
	struct text_table t = { .indent = 2, .right = 1, .num_columns = TEXT_MAX_COLUMNS };
	size_t num;
	struct json_object *rows = show_get_list(reply, member, &num);

	if (!num)
		return;
	show_heading(show, title, "");
	add_head(&t, present);
	for (size_t i = 0; i < num; i++)
		if (!is_absent(json_object_array_get_idx(rows, i)))
			add_row(&t, present, json_object_array_get_idx(rows, i));
	text_table_print(&t, &show->out);
	show_notes(show, rows, num);
	show_absent(show, rows, num, "back-end");
	show_absent(show, rows, num, "device");
}

static void show_legend(const struct show *show, struct json_object *present)
{
	_cleanup_free_ char *all = xstrdup("");

	for (size_t i = 0; i < ARRAY_SIZE(parties); i++) {
		_cleanup_free_ char *old = NULL;

		if (!is_named(present, parties[i].name))
			continue;
		old = all;
		all = xasprintf(
			"%s%s%s %s", old, *old ? ", " : "", parties[i].letter, parties[i].name);
	}
	text_line(&show->out, TEXT_DIM, "%s", all);
	text_line(&show->out, TEXT_DIM,
		"+ offered or acknowledged, - not, = passed on, x removed, ? not said");
}

static void show_capabilities(const struct show *show, struct json_object *reply)
{
	size_t num;
	struct json_object *list = show_get_list(reply, "capabilities", &num);

	if (num)
		show_heading(show, "what hangs on them", "");
	for (size_t i = 0; i < num; i++) {
		struct json_object *c = json_object_array_get_idx(list, i);
		struct json_object *possible = show_get(c, "possible");
		bool yes = json_object_get_boolean(possible);

		text_print(&show->out, possible ? yes ? TEXT_GOOD : TEXT_BAD : TEXT_DIM, "  %-4s",
			possible ? yes ? "yes" : "no" : "?");
		text_line(&show->out, TEXT_PLAIN, "%s", show_member(c, "name"));
		if (show_get(c, "because"))
			paragraph(show, TEXT_DIM, 8, show_member(c, "because"));
	}
}

static void show_diff(const struct show *show, struct json_object *reply)
{
	static const struct {
		const char *member, *text;
	} lists[] = {
		{ "no-longer-offered", "no longer offered:" },
		{ "newly-offered", "newly offered:" },
		{ "no-longer-acked", "no longer acknowledged:" },
		{ "newly-acked", "newly acknowledged:" },
	};
	struct json_object *diff = show_get(reply, "previous");
	_cleanup_free_ char *title = NULL;
	bool any = false;

	if (!diff)
		return;
	title = xasprintf("since connection %s", show_member(diff, "connection"));
	show_heading(show, title, "");
	for (size_t i = 0; i < ARRAY_SIZE(lists); i++) {
		size_t num;
		struct json_object *names = show_get_list(diff, lists[i].member, &num);
		_cleanup_free_ char *all = xstrdup(lists[i].text);

		for (size_t k = 0; k < num; k++) {
			_cleanup_free_ char *old = all;

			all = xasprintf(
				"%s %s", old, show_text(json_object_array_get_idx(names, k)));
		}
		any |= num > 0;
		if (num)
			paragraph(show, i % 2 ? TEXT_PLAIN : TEXT_BAD, 2, all);
	}
	if (!any)
		text_line(&show->out, TEXT_PLAIN, "  the same");
}

void features_show(const struct show *show, const char *path, struct json_object *reply)
{
	struct json_object *present = show_get(reply, "parties");
	/* The connection's own have two parties at most. */
	struct json_object *ends = json_object_new_array();

	json_object_array_add(ends, json_object_new_string("back-end"));
	json_object_array_add(ends, json_object_new_string("front-end"));
	show_title(show, reply, " features", path);
	show_legend(show, present);
	show_word(show, reply, "features", "features", present);
	show_word(show, reply, "protocol-features", "protocol features of vhost-user", ends);
	show_capabilities(show, reply);
	show_diff(show, reply);
	json_object_put(ends);
}

/* --- findings --- */

static enum text_style style_of(const char *severity)
{
	if (!strcmp(severity, "error"))
		return TEXT_BAD;
	return !strcmp(severity, "warning") ? TEXT_BOLD : TEXT_DIM;
}

/* "message 3, 9; 4 times, last 20" */
static void show_where(const struct show *show, struct json_object *finding)
{
	size_t num;
	struct json_object *serials = show_get_list(finding, "serials", &num);
	_cleanup_free_ char *all = xasprintf("connection %s, message%s",
		show_member(finding, "connection"), num == 1 ? "" : "s");

	for (size_t i = 0; i < num; i++) {
		_cleanup_free_ char *old = all;

		all = xasprintf("%s%s %s", old, i ? "," : "",
			show_text(json_object_array_get_idx(serials, i)));
	}
	if (strcmp(show_member(finding, "count"), "1") != 0) {
		_cleanup_free_ char *old = all;

		all = xasprintf("%s; %s times, the last is %s", old, show_member(finding, "count"),
			show_member(finding, "last"));
	}
	text_line(&show->out, TEXT_DIM, "(%s)", all);
}

static void show_finding(const struct show *show, struct json_object *finding)
{
	const char *severity = show_member(finding, "severity");
	size_t num;
	struct json_object *names = show_get_list(finding, "features", &num);
	_cleanup_free_ char *text = xstrdup(show_member(finding, "text"));

	for (size_t i = 0; i < num; i++) {
		_cleanup_free_ char *old = text;

		text = xasprintf("%s%s %s", old, i ? "," : ":",
			show_text(json_object_array_get_idx(names, i)));
	}
	text_print(&show->out, style_of(severity), "%-8s", severity);
	text_print(&show->out, TEXT_BOLD, "%s ", show_member(finding, "rule"));
	show_where(show, finding);
	paragraph(show, TEXT_PLAIN, 4, text);
	paragraph(show, TEXT_DIM, 4, show_member(finding, "meaning"));
}

void findings_show(const struct show *show, const char *path, struct json_object *reply)
{
	size_t num = json_object_is_type(reply, json_type_array) ? json_object_array_length(reply)
								 : 0;

	text_line(&show->out, TEXT_BOLD, "findings in the vhost-user messages of %s", path);
	if (!num)
		text_line(&show->out, TEXT_GOOD, "  nothing remarkable");
	for (size_t i = 0; i < num; i++)
		show_finding(show, json_object_array_get_idx(reply, i));
}
