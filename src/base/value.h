/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * One tree for everything that is written down as text: QMP's JSON and the command line's
 * key=value,... both become json-c objects. Control path, any thread; a tree belongs to one thread
 * at a time. Trees are counted: json_object_get() and json_object_put().
 */
#ifndef BASE_VALUE_H
#define BASE_VALUE_H

#include <json-c/json.h>

#include "base/err.h"
#include "base/util.h"

/* What one JSON text may hold. Far above what any command needs, far below what would hurt. */
#define VALUE_MAX_DEPTH	 256
#define VALUE_MAX_TOKENS 65536

/* A local of this kind drops its reference at the end of its scope. */
#define _cleanup_value_ __attribute__((cleanup(cleanup_valuep)))

static inline void cleanup_valuep(struct json_object **value)
{
	json_object_put(*value);
}

/*
 * Reads one whole JSON text of @len bytes: RFC 8259 plus QEMU's single-quoted strings. Refused with
 * QEMU's wording ("JSON parse error, ..."): duplicate members, bad escapes, bad UTF-8, numbers that
 * fit nowhere, more than VALUE_MAX_DEPTH levels or VALUE_MAX_TOKENS tokens. An integer outside
 * int64_t and uint64_t becomes a double. A JSON null is *ret == NULL. 0 or -EINVAL.
 */
int value_parse_json(const char *text, size_t len, struct json_object **ret, struct err *err);

/*
 * Reads "first,key=value,a.b=c,list.0=x" into an object whose leaves are strings. ",," is a comma
 * inside a value. A first part without '=' is the value of @implied_key (NULL: there is none); any
 * other part needs its '='. A dotted key makes nested objects; an object whose keys are exactly 0,
 * 1, 2... is a list. A key given twice is refused. 0 or -EINVAL.
 */
int value_parse_keyval(
	const char *text, const char *implied_key, struct json_object **ret, struct err *err);

/* An option's argument: JSON where it starts with '{', else key=value. The result is an object. */
int value_parse_option(
	const char *text, const char *implied_key, struct json_object **ret, struct err *err);

/*
 * @value as one line of ASCII: members separated by ", " and ": ", other characters as \uXXXX, what
 * is not UTF-8 as \uFFFD. The caller frees it; @ret_len may be NULL.
 */
char *value_to_text(struct json_object *value, size_t *ret_len);

/*
 * Text of JSON that is written piece by piece, without a tree. All members 0 to begin with;
 * value_new_written() takes what it holds, which is one whole value then.
 */
struct value_writer {
	char *bytes;
	size_t len, room;
};

/* As it is: punctuation, true, null. */
void value_write(struct value_writer *out, const char *json);
/* With its quotes; what is not UTF-8 becomes U+FFFD. */
void value_write_string(struct value_writer *out, const char *s);
/* The bits of an int64_t or a uint64_t. */
void value_write_int(struct value_writer *out, uint64_t bits, bool is_signed);
void value_write_double(struct value_writer *out, double d);
void value_write_value(struct value_writer *out, struct json_object *value);
/* A value that is text already: only value_to_text() and its like know what it holds. */
struct json_object *value_new_written(struct value_writer *out);

/* A string value of any bytes: what is not UTF-8 becomes U+FFFD. NULL is "". */
struct json_object *value_new_string(const char *s);
struct json_object *value_new_string_len(const char *s, size_t len);

/*
 * Typed access to a member of an option object; strings are read as the type that is asked for,
 * since key=value has nothing else. 1: found, @ret is set. 0: absent (or null), @ret is untouched.
 * -EINVAL: there, but not of that kind; the sentence names key, value and what was expected.
 */
/* @ret points into the tree. */
int value_get_str(struct json_object *obj, const char *key, const char **ret, struct err *err);
/* true, false, "on", "off", "true", "false", "yes", "no". */
int value_get_bool(struct json_object *obj, const char *key, bool *ret, struct err *err);
/* A number, decimal or 0x..., between @min and @max, both included. */
int value_get_u64(struct json_object *obj, const char *key, uint64_t min, uint64_t max,
	uint64_t *ret, struct err *err);
/* Bytes: a number, with a suffix K M G T (powers of 1024) in strings. */
int value_get_size(struct json_object *obj, const char *key, uint64_t *ret, struct err *err);
/* @ret is borrowed. */
int value_get_list(
	struct json_object *obj, const char *key, struct json_object **ret, struct err *err);
int value_get_object(
	struct json_object *obj, const char *key, struct json_object **ret, struct err *err);

/* -EINVAL where @obj has a member that is not in @known; the sentence lists what @what takes. */
int value_check_known(struct json_object *obj, const char *what, const char *const *known,
	size_t num_known, struct err *err);

#endif
