/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Options as data: a table says each option's name, type, default and place in a struct; one parser
 * reads JSON objects and key=value text alike (base/value.h makes the tree). The same table answers
 * --help, qom-list-properties and qom-get.
 */
#ifndef BASE_OPTION_H
#define BASE_OPTION_H

#include <json-c/json.h>

#include "base/err.h"
#include "base/util.h"

enum option_type {
	OPTION_STRING, /* char *, owned by the struct; NULL: not given */
	OPTION_BOOL, /* bool: on, off, true, false, yes, no */
	OPTION_U32, /* uint32_t, within [min, max] */
	OPTION_INT, /* int64_t, within [min, max]; refused in QEMU's words */
	OPTION_SIZE, /* uint64_t bytes, within [min, max]; suffixes k M G T are powers of 1024 */
	OPTION_ENUM, /* int: the index into choices[] */
	OPTION_JSON, /* struct json_object *, a reference owned by the struct; JSON syntax only */
};

struct option_spec {
	const char *name; /* NULL ends a table */
	enum option_type type;
	size_t offset; /* of the field in the struct */
	const char *def; /* default as text; NULL: zero */
	uint64_t min, max; /* max 0: the type's */
	/* OPTION_ENUM: ends with NULL. OPTION_JSON: the first names its type; may be NULL. */
	const char *const *choices;
	const char *help; /* one line */
};

/* Sets every field of the table to its default. */
void options_defaults(const struct option_spec *specs, void *base);
/*
 * Moves every member of @args that a table knows into its struct and deletes it from @args. -EINVAL
 * with a sentence that names the option, the value and what was expected.
 */
int options_take(
	const struct option_spec *specs, void *base, struct json_object *args, struct err *err);
/*
 * -EINVAL where @args still has a member; the sentence lists what the NULL-ended list of tables
 * knows.
 * @what is the thing that has no such option ("device 'virtio-blk'").
 */
int options_none_left(const char *what, struct json_object *args,
	const struct option_spec *const *tables, struct err *err);
/* The value as JSON (a new reference): string, bool, int; null for a string that was not given. */
struct json_object *options_get(const struct option_spec *spec, const void *base);
/* A word for the type as qom-list-properties names it: "str", "bool", "int", "size". */
const char *options_type_name(const struct option_spec *spec);
/* Frees what the fields own. */
void options_free(const struct option_spec *specs, void *base);

#endif
