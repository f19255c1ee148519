/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Reads, writes and frees values by the tables of their types. Refuses with QEMU's sentences; the
 * name in them is the path from the arguments' object down: 'a.b[2].c'.
 */
#include "qapi/rt_walk.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "base/alloc.h"
#include "base/cleanup.h"
#include "base/value.h"

/* The way down to the value at hand, for messages. */
struct place {
	const struct place *up;
	const char *name; /* NULL: element @index of the list above */
	size_t index;
};

struct reading {
	enum qapi_mode mode;
	struct err *err;
};

static int read_value(const struct reading *r, const struct place *p, const struct qapi_type *type,
	struct json_object *json, void *at);

static bool *has_flag(const struct qapi_member *m, void *base)
{
	return m->has_offset == QAPI_NO_HAS ? NULL : (bool *)((char *)base + m->has_offset);
}

void qapi_struct_clear(const struct qapi_type *type, void *at)
{
	const struct qapi_type *branch = qapi_branch_of(type, at);

	if (branch) {
		void **p = (void **)((char *)at + type->branch_offset);

		if (*p)
			qapi_struct_clear(branch, *p);
		free(*p);
	}
	for (size_t i = 0; i < type->num; i++)
		qapi_value_clear(type->members[i].type, (char *)at + type->members[i].offset);
	memset(at, 0, type->size);
}

static void clear_list(const struct qapi_type *type, struct qapi_list *list)
{
	size_t step = qapi_item_size(type);

	for (size_t i = 0; i < list->num; i++)
		qapi_value_clear(type->element, (char *)list->items + i * step);
	free(list->items);
	*list = (struct qapi_list){ 0 };
}

void qapi_value_clear(const struct qapi_type *type, void *at)
{
	void **p = at;

	switch (type->kind) {
	case QAPI_KIND_STR:
		free(*p);
		*p = NULL;
		break;
	case QAPI_KIND_ANY:
		json_object_put(*p);
		*p = NULL;
		break;
	case QAPI_KIND_LIST: clear_list(type, at); break;
	case QAPI_KIND_STRUCT:
		if (*p)
			qapi_struct_clear(type, *p);
		free(*p);
		*p = NULL;
		break;
	case QAPI_KIND_ALTERNATE:
		if (*p) {
			const struct qapi_member *m = qapi_alternative_of(type, *p);

			qapi_value_clear(m->type, (char *)*p + m->offset);
		}
		free(*p);
		*p = NULL;
		break;
	default: memset(at, 0, type->size); break;
	}
}

void *qapi_list_grow(const struct qapi_type *type, struct qapi_list *list)
{
	size_t step = qapi_item_size(type);
	void *item;

	/* Room doubles at each power of two. */
	if ((list->num & (list->num - 1)) == 0)
		list->items = xreallocarray(list->items, list->num ? 2 * list->num : 1, step);
	item = (char *)list->items + list->num++ * step;
	memset(item, 0, step);
	return item;
}

/* --- to JSON --- */

static struct json_object *int_to_json(const struct qapi_type *type, const void *at)
{
	uint64_t u = qapi_int_bits(type, at);

	return type->is_signed || u <= INT64_MAX ? json_object_new_int64((int64_t)u)
						 : json_object_new_uint64(u);
}

static void add_members(const struct qapi_type *type, const void *base, struct json_object *obj)
{
	const struct qapi_type *branch = qapi_branch_of(type, base);

	for (size_t i = 0; i < type->num; i++) {
		const struct qapi_member *m = &type->members[i];

		if (qapi_is_present(m, base))
			/* Names are constants, and those of a struct and its branch differ. */
			json_object_object_add_ex(obj, m->name,
				qapi_value_to_json(m->type, (const char *)base + m->offset),
				JSON_C_OBJECT_ADD_KEY_IS_NEW | JSON_C_OBJECT_ADD_CONSTANT_KEY);
	}
	if (branch) {
		const void *p = *(void *const *)((const char *)base + type->branch_offset);

		if (p)
			add_members(branch, p, obj);
	}
}

struct json_object *qapi_struct_to_json(const struct qapi_type *type, const void *at)
{
	struct json_object *obj = json_object_new_object();

	add_members(type, at, obj);
	return obj;
}

static struct json_object *list_to_json(const struct qapi_type *type, const struct qapi_list *list)
{
	size_t step = qapi_item_size(type);
	struct json_object *array = json_object_new_array();

	for (size_t i = 0; i < list->num; i++)
		json_object_array_add(array,
			qapi_value_to_json(type->element, (const char *)list->items + i * step));
	return array;
}

struct json_object *qapi_value_to_json(const struct qapi_type *type, const void *at)
{
	void *const *p = at;
	unsigned int n;

	switch (type->kind) {
	case QAPI_KIND_BOOL: return json_object_new_boolean(*(const bool *)at);
	case QAPI_KIND_INT: return int_to_json(type, at);
	case QAPI_KIND_NUMBER: return json_object_new_double(*(const double *)at);
	case QAPI_KIND_STR: return value_new_string(*p);
	case QAPI_KIND_NULL: return NULL;
	case QAPI_KIND_ANY: return json_object_get(*p);
	case QAPI_KIND_ENUM:
		memcpy(&n, at, sizeof(n));
		return json_object_new_string(type->names[n]);
	case QAPI_KIND_LIST: return list_to_json(type, at);
	case QAPI_KIND_STRUCT: return *p ? qapi_struct_to_json(type, *p) : json_object_new_object();
	case QAPI_KIND_ALTERNATE:
		if (*p) {
			const struct qapi_member *m = qapi_alternative_of(type, *p);

			return qapi_value_to_json(m->type, (const char *)*p + m->offset);
		}
		return NULL;
	}
	return NULL;
}

/* --- from JSON --- */

static void put_place(FILE *out, const struct place *p)
{
	if (p->up)
		put_place(out, p->up);
	if (p->name)
		fprintf(out, "%s%s", p->up ? "." : "", p->name);
	else
		fprintf(out, "[%zu]", p->index);
}

static char *place_text(const struct place *p)
{
	char *text = NULL;
	size_t len;
	FILE *out = p ? open_memstream(&text, &len) : NULL;

	if (out) {
		put_place(out, p);
		fclose(out);
	}
	return text ? text : xstrdup("null");
}

static int refuse_type(const struct reading *r, const struct place *p, const char *expected)
{
	_cleanup_free_ char *where = place_text(p);

	return err_set(
		r->err, -EINVAL, "Invalid parameter type for '%s', expected: %s", where, expected);
}

static int refuse_value(const struct reading *r, const struct place *p, const char *expected)
{
	_cleanup_free_ char *where = place_text(p);

	return err_set(r->err, -EINVAL, "Parameter '%s' expects %s", where, expected);
}

static int refuse_member(const struct reading *r, const struct place *p, const char *what)
{
	_cleanup_free_ char *where = place_text(p);

	return err_set(r->err, -EINVAL, "Parameter '%s' %s", where, what);
}

/*
 * For an unsigned type a negative number counts as the large number with the same bits, so that
 * it is out of range and not of the wrong type; QEMU's clients know it so.
 */
static int read_int(const struct reading *r, const struct place *p, const struct qapi_type *type,
	struct json_object *json, void *at)
{
	unsigned int bits = 8u * type->size;
	char expected[16];
	int64_t i;
	uint64_t u;

	if (!json_object_is_type(json, json_type_int))
		return type->is_signed ? refuse_type(r, p, "integer")
				       : refuse_value(r, p, "uint64");
	i = json_object_get_int64(json);
	u = i < 0 ? (uint64_t)i : json_object_get_uint64(json);
	if (type->is_signed && i >= 0 && u > INT64_MAX)
		return refuse_type(r, p, "integer");
	if (bits < 64 && (type->is_signed ? i < -(1ll << (bits - 1)) || i >= 1ll << (bits - 1)
					  : u >> bits != 0)) {
		snprintf(expected, sizeof(expected), "%sint%u_t", type->is_signed ? "" : "u", bits);
		return refuse_value(r, p, expected);
	}
	switch (type->size) {
	case 1: *(uint8_t *)at = (uint8_t)u; break;
	case 2: *(uint16_t *)at = (uint16_t)u; break;
	case 4: *(uint32_t *)at = (uint32_t)u; break;
	default: *(uint64_t *)at = u; break;
	}
	return 0;
}

static int read_text(
	const struct reading *r, const struct place *p, struct json_object *json, const char **ret)
{
	if (!json_object_is_type(json, json_type_string))
		return refuse_type(r, p, "string");
	*ret = json_object_get_string(json);
	if (strlen(*ret) != (size_t)json_object_get_string_len(json))
		return refuse_member(r, p, "contains a NUL character");
	return 0;
}

int qapi_enum_parse(const struct qapi_type *type, const char *name)
{
	for (size_t i = 0; i < type->num; i++) {
		if (strcmp(type->names[i], name) == 0)
			return (int)i;
	}
	return -1;
}

static int read_enum(const struct reading *r, const struct place *p, const struct qapi_type *type,
	struct json_object *json, void *at)
{
	_cleanup_free_ char *where = NULL;
	const char *name = NULL;
	int e = read_text(r, p, json, &name), n;

	if (e < 0)
		return e;
	n = qapi_enum_parse(type, name);
	if (n < 0) {
		where = place_text(p);
		return err_set(
			r->err, -EINVAL, "Parameter '%s' does not accept value '%s'", where, name);
	}
	memcpy(at, &n, sizeof(n));
	return 0;
}

static int read_list(const struct reading *r, const struct place *p, const struct qapi_type *type,
	struct json_object *json, struct qapi_list *list)
{
	size_t num;

	if (!json_object_is_type(json, json_type_array))
		return refuse_type(r, p, "array");
	num = json_object_array_length(json);
	for (size_t i = 0; i < num; i++) {
		struct place here = { .up = p, .index = i };
		int e = read_value(r, &here, type->element, json_object_array_get_idx(json, i),
			qapi_list_grow(type, list));

		if (e < 0)
			return e;
	}
	return 0;
}

/* A newer server's value: to the lenient reader as if it were not there. */
static bool is_foreign_value(
	const struct reading *r, const struct qapi_type *type, struct json_object *json)
{
	return r->mode == QAPI_LENIENT && type->kind == QAPI_KIND_ENUM &&
	       json_object_is_type(json, json_type_string) &&
	       qapi_enum_parse(type, json_object_get_string(json)) < 0;
}

static int read_members(const struct reading *r, const struct place *p,
	const struct qapi_type *type, struct json_object *json, void *base)
{
	for (size_t i = 0; i < type->num; i++) {
		const struct qapi_member *m = &type->members[i];
		struct place here = { .up = p, .name = m->name };
		struct json_object *v = NULL;
		bool *has = has_flag(m, base);
		int e;

		if (!json_object_object_get_ex(json, m->name, &v)) {
			if (m->optional || r->mode == QAPI_LENIENT)
				continue;
			return refuse_member(r, &here, "is missing");
		}
		if (is_foreign_value(r, m->type, v))
			continue;
		e = read_value(r, &here, m->type, v, (char *)base + m->offset);
		if (e < 0)
			return e;
		if (has)
			*has = true;
	}
	return 0;
}

static bool is_member(const struct qapi_type *type, const char *name)
{
	for (size_t i = 0; i < type->num; i++) {
		if (strcmp(type->members[i].name, name) == 0)
			return true;
	}
	return false;
}

/* Was the union's tag read? The lenient reader may have found none. */
static bool has_tag(const struct qapi_type *type, void *base)
{
	for (size_t i = 0; i < type->num; i++) {
		if (type->members[i].offset == type->tag_offset)
			return *has_flag(&type->members[i], base);
	}
	return false;
}

static int read_struct(const struct reading *r, const struct place *p, const struct qapi_type *type,
	struct json_object *json, void *base)
{
	const struct qapi_type *branch = NULL;
	int e;

	if (!json_object_is_type(json, json_type_object))
		return refuse_type(r, p, "object");
	e = read_members(r, p, type, json, base);
	if (e == 0 && type->branches && has_tag(type, base))
		branch = qapi_branch_of(type, base);
	if (e == 0 && branch) {
		void *inner = xcalloc(1, branch->size);

		*(void **)((char *)base + type->branch_offset) = inner;
		e = read_members(r, p, branch, json, inner);
	}
	if (e < 0 || r->mode == QAPI_LENIENT)
		return e;
	json_object_object_foreach(json, name, value)
	{
		struct place here = { .up = p, .name = name };

		(void)value;
		if (!is_member(type, name) && !(branch && is_member(branch, name)))
			return refuse_member(r, &here, "is unexpected");
	}
	return 0;
}

static bool fits(const struct qapi_type *type, struct json_object *json)
{
	static const enum json_type wanted[] = {
		[QAPI_KIND_BOOL] = json_type_boolean,
		[QAPI_KIND_INT] = json_type_int,
		[QAPI_KIND_NUMBER] = json_type_double,
		[QAPI_KIND_STR] = json_type_string,
		[QAPI_KIND_NULL] = json_type_null,
		[QAPI_KIND_ENUM] = json_type_string,
		[QAPI_KIND_LIST] = json_type_array,
		[QAPI_KIND_STRUCT] = json_type_object,
	};

	return json_object_is_type(json, wanted[type->kind]);
}

static int read_alternate(const struct reading *r, const struct place *p,
	const struct qapi_type *type, struct json_object *json, void **at)
{
	for (unsigned int i = 0; i < type->num; i++) {
		const struct qapi_member *m = &type->members[i];

		/* An integer is a number too, where no branch takes integers. */
		if (!fits(m->type, json) && !(m->type->kind == QAPI_KIND_NUMBER &&
						    json_object_is_type(json, json_type_int)))
			continue;
		*at = xcalloc(1, type->size);
		memcpy((char *)*at + type->tag_offset, &i, sizeof(i));
		return read_value(r, p, m->type, json, (char *)*at + m->offset);
	}
	return refuse_type(r, p, type->name);
}

static int read_value(const struct reading *r, const struct place *p, const struct qapi_type *type,
	struct json_object *json, void *at)
{
	const char *text = NULL;
	int e;

	switch (type->kind) {
	case QAPI_KIND_BOOL:
		if (!json_object_is_type(json, json_type_boolean))
			return refuse_type(r, p, "boolean");
		*(bool *)at = json_object_get_boolean(json);
		return 0;
	case QAPI_KIND_INT: return read_int(r, p, type, json, at);
	case QAPI_KIND_NUMBER:
		if (!json_object_is_type(json, json_type_double) &&
			!json_object_is_type(json, json_type_int))
			return refuse_type(r, p, "number");
		*(double *)at = json_object_get_double(json);
		return 0;
	case QAPI_KIND_STR:
		e = read_text(r, p, json, &text);
		if (e == 0)
			*(char **)at = xstrdup(text);
		return e;
	case QAPI_KIND_NULL: return json ? refuse_type(r, p, "null") : 0;
	case QAPI_KIND_ANY: *(struct json_object **)at = json_object_get(json); return 0;
	case QAPI_KIND_ENUM: return read_enum(r, p, type, json, at);
	case QAPI_KIND_LIST: return read_list(r, p, type, json, at);
	case QAPI_KIND_STRUCT:
		if (!json_object_is_type(json, json_type_object))
			return refuse_type(r, p, "object");
		*(void **)at = xcalloc(1, type->size);
		return read_struct(r, p, type, json, *(void **)at);
	case QAPI_KIND_ALTERNATE: return read_alternate(r, p, type, json, at);
	}
	return -EINVAL;
}

int qapi_value_from_json(const struct qapi_type *type, struct json_object *json,
	enum qapi_mode mode, const char *name, void *at, struct err *err)
{
	const struct reading r = { .mode = mode, .err = err };
	const struct place p = { .name = name };
	int e = read_value(&r, name ? &p : NULL, type, json, at);

	if (e < 0)
		qapi_value_clear(type, at);
	return e;
}

int qapi_struct_from_json(const struct qapi_type *type, struct json_object *json,
	enum qapi_mode mode, void *at, struct err *err)
{
	const struct reading r = { .mode = mode, .err = err };
	int e = read_struct(&r, NULL, type, json, at);

	if (e < 0)
		qapi_struct_clear(type, at);
	return e;
}

struct json_object *qapi_event_new(const char *name, struct json_object *data)
{
	struct json_object *event = json_object_new_object(), *when = json_object_new_object();
	struct timespec now;

	clock_gettime(CLOCK_REALTIME, &now);
	json_object_object_add(when, "seconds", json_object_new_int64(now.tv_sec));
	json_object_object_add(when, "microseconds", json_object_new_int64(now.tv_nsec / 1000));
	json_object_object_add(event, "timestamp", when);
	json_object_object_add(event, "event", json_object_new_string(name));
	if (data)
		json_object_object_add(event, "data", data);
	return event;
}
