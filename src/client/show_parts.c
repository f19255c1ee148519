/* SPDX-License-Identifier: BSD-3-Clause */
/* Lenient, as client/show.h says: what is not there is '-'. */
#include "client/show_parts.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "base/cleanup.h"
#include "client/sources.h"

/* No honest list is longer; what follows is not shown. */
#define MAX_ENTRIES 256

struct json_object *show_get(struct json_object *obj, const char *member)
{
	struct json_object *value = NULL;

	json_object_object_get_ex(obj, member, &value);
	return value;
}

struct json_object *show_get_list(struct json_object *obj, const char *member, size_t *ret_len)
{
	struct json_object *list = show_get(obj, member);

	*ret_len = 0;
	if (!json_object_is_type(list, json_type_array))
		return NULL;
	*ret_len = MIN(json_object_array_length(list), (size_t)MAX_ENTRIES);
	return list;
}

const char *show_text(struct json_object *value)
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
	return show_text(show_get(obj, member));
}

void show_heading(const struct show *show, const char *text, const char *mark)
{
	struct text_table t = { .num_columns = 2 };

	putc('\n', show->out.file);
	text_table_row(&t);
	text_table_cell(&t, 0, TEXT_BOLD, "%s", text);
	text_table_cell(&t, 1, TEXT_DIM, "%s", mark);
	text_table_print(&t, &show->out);
}

void show_title(
	const struct show *show, struct json_object *reply, const char *what, const char *path)
{
	text_print(&show->out, TEXT_BOLD, "%s%s", show_member(reply, "name"), what);
	text_line(&show->out, TEXT_PLAIN, "  %s", path);
}

static void add_value(struct text_table *t, struct json_object *value, enum show_format format)
{
	bool is_true = json_object_is_type(value, json_type_boolean) &&
		       json_object_get_boolean(value);

	if (format == SHOW_HEX && json_object_is_type(value, json_type_int))
		text_table_cell(t, 1, TEXT_PLAIN, "0x%" PRIx64, json_object_get_uint64(value));
	else
		text_table_cell(t, 1, format == SHOW_BAD_IF_TRUE && is_true ? TEXT_BAD : TEXT_PLAIN,
			"%s", show_text(value));
}

void show_rows(const struct show *show, struct json_object *obj, const struct show_row *members,
	size_t num, const char *prefix)
{
	struct text_table t = { .num_columns = 3, .indent = 2 };

	for (size_t i = 0; i < num; i++) {
		_cleanup_free_ char *mark = sources_mark(show->sources, prefix, members[i].name);

		text_table_row(&t);
		text_table_cell(&t, 0, TEXT_PLAIN, "%s", members[i].name);
		add_value(&t, show_get(obj, members[i].name), members[i].format);
		text_table_cell(&t, 2, TEXT_DIM, "%s", mark);
	}
	text_table_print(&t, &show->out);
}

static bool same_identifier(const char *a, const char *b)
{
	size_t len = strcspn(a, ":");

	return len == strcspn(b, ":") && strncmp(a, b, len) == 0;
}

bool show_list_has(struct json_object *obj, const char *member, const char *s)
{
	size_t len;
	struct json_object *list = show_get_list(obj, member, &len);

	for (size_t i = 0; i < len; i++)
		if (same_identifier(show_text(json_object_array_get_idx(list, i)), s))
			return true;
	return false;
}

void show_add_titles(struct text_table *t, const char *const *columns)
{
	text_table_row(t);
	for (unsigned int i = 0; i < t->num_columns; i++)
		text_table_cell(t, i, TEXT_BOLD, "%s", columns[i]);
}
