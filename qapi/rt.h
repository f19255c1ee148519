/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * What the generated code stands on: each schema type is a constant table (struct qapi_type), and
 * the functions here read, write and free any value by its table. Generated headers wrap them with
 * the right C types; other rooms call those wrappers. Control path, any thread.
 *
 * How a schema type looks in C, as the member `x` of a struct:
 *   bool, int8..uint64, int, size, number, an enum -> T x and bool has_x
 *   any -> struct json_object *x and bool has_x (NULL is JSON's null)
 *   str -> char *x; struct, union, alternate -> struct T *x
 *   ['T'] -> struct TList x, its items and their number in it, and bool has_x
 * Absent is has_x == false, or NULL. Of a member that the schema requires, has_x says what the
 * lenient reader found; who fills in a struct for sending need not set it. A required str that is
 * NULL is sent as "". Whoever holds a struct owns all that it points to.
 */
#ifndef QAPI_RT_H
#define QAPI_RT_H

#include <json-c/json.h>

#include "base/err.h"
#include "base/util.h"

enum qapi_kind {
	QAPI_KIND_BOOL,
	QAPI_KIND_INT,
	QAPI_KIND_NUMBER,
	QAPI_KIND_STR,
	QAPI_KIND_NULL, /* kept as a char that nobody looks at */
	QAPI_KIND_ANY,
	QAPI_KIND_ENUM,
	QAPI_KIND_LIST,
	QAPI_KIND_STRUCT,
	QAPI_KIND_ALTERNATE,
};

struct qapi_type;

#define QAPI_NO_HAS 0xffffu

struct qapi_member {
	const char *name;
	const struct qapi_type *type;
	uint16_t offset;
	uint16_t has_offset; /* of bool has_..., or QAPI_NO_HAS */
	bool optional;
};

struct qapi_type {
	const char *name;
	enum qapi_kind kind;
	/* In a list, or behind a pointer: of the thing itself. */
	uint16_t size;
	/* INT: an integer with a sign. */
	bool is_signed;
	/* ENUM: the names. */
	const char *const *names;
	/* LIST: what it is a list of. */
	const struct qapi_type *element;
	/* STRUCT: in schema order. ALTERNATE: the branches, all at one offset. */
	const struct qapi_member *members;
	/* Of names or members. */
	uint16_t num;
	/*
	 * STRUCT that is a union: where the tag's enum value lies, and for each tag value the
	 * branch (its members stand among ours on the wire) or NULL. ALTERNATE: where the branch
	 * number lies.
	 */
	uint16_t tag_offset;
	const struct qapi_type *const *branches;
	/* STRUCT that is a union: where the pointer to the branch lies. */
	uint16_t branch_offset;
};

/* Every generated `struct TList` has this layout. */
struct qapi_list {
	void *items;
	size_t num;
};

enum qapi_mode {
	/* A request: an unknown member, or a missing one, is an error. */
	QAPI_STRICT,
	/* A reply of any server: unknown members are passed over, missing ones are marked. */
	QAPI_LENIENT,
};

/*
 * @at is the address of a member as described above: of a pointer for struct, str and so on.
 * Frees what it owns and zeroes it.
 */
void qapi_value_clear(const struct qapi_type *type, void *at);
/* A new tree; NULL is JSON's null. */
struct json_object *qapi_value_to_json(const struct qapi_type *type, const void *at);
/* The same for somebody who only writes it on: value_new_written(). */
struct json_object *qapi_value_to_text(const struct qapi_type *type, const void *at);
/*
 * Fills the zeroed @at from @json. 0, or -EINVAL with QEMU's sentence ("Parameter 'a.b' is
 * missing"); then @at is zeroed again. @name is what the sentence calls the whole, NULL for
 * nothing.
 */
int qapi_value_from_json(const struct qapi_type *type, struct json_object *json,
	enum qapi_mode mode, const char *name, void *at, struct err *err);
/* For a struct that lies at @at itself, not behind a pointer: a command's arguments. */
int qapi_struct_from_json(const struct qapi_type *type, struct json_object *json,
	enum qapi_mode mode, void *at, struct err *err);
struct json_object *qapi_struct_to_json(const struct qapi_type *type, const void *at);
void qapi_struct_clear(const struct qapi_type *type, void *at);

/* Room for one more zeroed item at the end of @list; its address. */
void *qapi_list_grow(const struct qapi_type *type, struct qapi_list *list);

/* The number of the enum value @name, or -1. */
int qapi_enum_parse(const struct qapi_type *type, const char *name);

/* {"timestamp": now, "event": @name, "data": @data unless NULL}; takes @data. */
struct json_object *qapi_event_new(const char *name, struct json_object *data);

#endif
