/* SPDX-License-Identifier: BSD-3-Clause */
/* What the functions that show replies are made of: members, rows of members, titles. */
#ifndef CLIENT_SHOW_PARTS_H
#define CLIENT_SHOW_PARTS_H

#include "client/show.h"

enum show_format { SHOW_PLAIN, SHOW_HEX, SHOW_BAD_IF_TRUE };

/* A row: a member of a reply, and how its value is written. */
struct show_row {
	const char *name;
	enum show_format format;
};

/* NULL where it is not there. */
struct json_object *show_get(struct json_object *obj, const char *member);
/* The array at @member, with a length that is bearable; NULL and 0 where there is none. */
struct json_object *show_get_list(struct json_object *obj, const char *member, size_t *ret_len);
/* Borrowed from @value; '-' for what is no value. */
const char *show_text(struct json_object *value);
/* Has the list at @member an entry with the same identifier, the part before ':', as @s? */
bool show_list_has(struct json_object *obj, const char *member, const char *s);

/* "virtio-blk queue 0  /machine/...": @what follows the reply's name. */
void show_title(
	const struct show *show, struct json_object *reply, const char *what, const char *path);
/* An empty line, and a heading with its mark ("" for none). */
void show_heading(const struct show *show, const char *text, const char *mark);
/* The rows with their marks. @prefix: of the members' names in the list of sources. */
void show_rows(const struct show *show, struct json_object *obj, const struct show_row *rows,
	size_t num, const char *prefix);
/* A row of bold titles, one for each of the table's columns. */
void show_add_titles(struct text_table *table, const char *const *columns);

#endif
