/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Options as data. Values come as JSON of the right type or as text (key=value gives text for
 * everything); anything else is refused with a sentence.
 */
#include "base/option.h"

#include <ctype.h>
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/alloc.h"

static void *field(const struct option_spec *spec, const void *base)
{
	return (char *)base + spec->offset;
}

static int wrong(
	const struct option_spec *spec, const char *value, const char *expected, struct err *err)
{
	return err_set(err, -EINVAL, "option '%s': '%s' is not %s", spec->name, value, expected);
}

static int set_string(const struct option_spec *spec, void *base, const char *text, struct err *err)
{
	char **at = field(spec, base);

	(void)err;
	free(*at);
	*at = text ? xstrdup(text) : NULL;
	return 0;
}

static int set_bool(const struct option_spec *spec, void *base, const char *text, struct err *err)
{
	static const struct {
		const char *word;
		bool value;
	} words[] = { { "on", true }, { "off", false }, { "true", true }, { "false", false },
		{ "yes", true }, { "no", false } };
	size_t i;

	for (i = 0; text && i < ARRAY_SIZE(words); i++) {
		if (strcmp(text, words[i].word) != 0)
			continue;
		*(bool *)field(spec, base) = words[i].value;
		return 0;
	}
	if (text)
		return wrong(spec, text, "'on' or 'off'", err);
	*(bool *)field(spec, base) = false;
	return 0;
}

/* A suffix of a size: the power of 1024, or -1. */
static int suffix_shift(const char *s)
{
	static const char letters[] = "KMGTPE";
	const char *at;

	if (!*s)
		return 0;
	at = strchr(letters, toupper((unsigned char)*s));
	if (!at || s[1])
		return -1;
	return 10 * (int)(at - letters + 1);
}

static bool parse_number(const char *text, bool suffixes, uint64_t *ret)
{
	char *end;
	int shift;

	if (!isdigit((unsigned char)*text))
		return false;
	errno = 0;
	*ret = strtoull(text, &end, 0);
	if (errno)
		return false;
	if (!suffixes)
		return !*end;
	shift = suffix_shift(end);
	if (shift < 0 || (shift && *ret >> (64 - shift)))
		return false;
	*ret <<= shift;
	return true;
}

static int set_number(const struct option_spec *spec, void *base, const char *text, struct err *err)
{
	bool is_size = spec->type == OPTION_SIZE;
	uint64_t max = spec->max ? spec->max : is_size ? UINT64_MAX : UINT32_MAX;
	char expected[96];
	uint64_t value = 0;

	if (text && (!parse_number(text, is_size, &value) || value < spec->min || value > max)) {
		snprintf(expected, sizeof(expected), "a %s within %" PRIu64 " and %" PRIu64,
			is_size ? "size in bytes (K, M, G, T may follow)" : "number", spec->min,
			max);
		return wrong(spec, text, expected, err);
	}
	if (is_size)
		*(uint64_t *)field(spec, base) = value;
	else
		*(uint32_t *)field(spec, base) = (uint32_t)value;
	return 0;
}

static int set_int(const struct option_spec *spec, void *base, const char *text, struct err *err)
{
	int64_t max = spec->max ? (int64_t)spec->max : INT64_MAX;
	long long value = 0;
	char *end;

	errno = 0;
	if (text)
		value = strtoll(text, &end, 0);
	if (text && (errno || *end || !(*text == '-' || isdigit((unsigned char)*text))))
		return err_set(err, -EINVAL, "Parameter '%s' expects integer", spec->name);
	if (text && (value < (int64_t)spec->min || value > max))
		return err_set(err, -EINVAL, "%s value must be in range [%" PRId64 ", %" PRId64 "]",
			spec->name, (int64_t)spec->min, max);
	*(int64_t *)field(spec, base) = value;
	return 0;
}

static int set_enum(const struct option_spec *spec, void *base, const char *text, struct err *err)
{
	char expected[256] = "one of";
	size_t used;
	int i;

	for (i = 0; text && spec->choices[i]; i++) {
		if (strcmp(text, spec->choices[i]) != 0)
			continue;
		*(int *)field(spec, base) = i;
		return 0;
	}
	if (!text) {
		*(int *)field(spec, base) = 0;
		return 0;
	}
	for (i = 0; spec->choices[i]; i++) {
		used = strlen(expected);
		snprintf(expected + used, sizeof(expected) - used, "%s %s", i ? "," : "",
			spec->choices[i]);
	}
	return wrong(spec, text, expected, err);
}

static int set_json(const struct option_spec *spec, void *base, const char *text, struct err *err)
{
	struct json_object **at = field(spec, base);

	if (text)
		return err_set(err, -EINVAL, "Invalid parameter type for '%s', expected: array",
			spec->name);
	json_object_put(*at);
	*at = NULL;
	return 0;
}

static const struct {
	const char *name;
	int (*set)(const struct option_spec *spec, void *base, const char *text, struct err *err);
	/* JSON types that are taken besides text, as a mask of 1 << json_type. */
	unsigned int json_types;
} option_types[] = {
	[OPTION_STRING] = { "str", set_string, 0 },
	[OPTION_BOOL] = { "bool", set_bool, 1u << json_type_boolean },
	[OPTION_U32] = { "uint32", set_number, 1u << json_type_int },
	[OPTION_INT] = { "int", set_int, 1u << json_type_int },
	[OPTION_SIZE] = { "size", set_number, 1u << json_type_int },
	[OPTION_ENUM] = { "enum", set_enum, 0 },
	[OPTION_JSON] = { "json", set_json, 1u << json_type_array | 1u << json_type_object },
};

const char *options_type_name(const struct option_spec *spec)
{
	if (spec->type == OPTION_JSON && spec->choices)
		return spec->choices[0];
	return option_types[spec->type].name;
}

void options_defaults(const struct option_spec *specs, void *base)
{
	for (; specs && specs->name; specs++)
		option_types[specs->type].set(specs, base, specs->def, NULL);
}

static int set_from_json(
	const struct option_spec *spec, void *base, struct json_object *value, struct err *err)
{
	enum json_type type = json_object_get_type(value);

	if (type == json_type_string)
		return option_types[spec->type].set(spec, base, json_object_get_string(value), err);
	if (spec->type == OPTION_INT && type != json_type_int)
		return err_set(err, -EINVAL, "Invalid parameter type for '%s', expected: integer",
			spec->name);
	if (spec->type == OPTION_JSON && type != json_type_array && type != json_type_object)
		return set_json(spec, base, "", err);
	if (!(option_types[spec->type].json_types & 1u << type))
		return wrong(spec, json_object_to_json_string(value),
			spec->type == OPTION_STRING || spec->type == OPTION_ENUM ? "a string"
			: spec->type == OPTION_BOOL				 ? "a boolean"
						    : "of the type expected",
			err);
	if (spec->type == OPTION_JSON) {
		set_json(spec, base, NULL, err);
		*(struct json_object **)field(spec, base) = json_object_get(value);
		return 0;
	}
	return option_types[spec->type].set(spec, base, json_object_to_json_string(value), err);
}

int options_take(
	const struct option_spec *specs, void *base, struct json_object *args, struct err *err)
{
	struct json_object *value;
	int r;

	for (; specs && specs->name; specs++) {
		if (!json_object_object_get_ex(args, specs->name, &value))
			continue;
		r = set_from_json(specs, base, value, err);
		if (r < 0)
			return r;
		json_object_object_del(args, specs->name);
	}
	return 0;
}

int options_none_left(const char *what, struct json_object *args,
	const struct option_spec *const *tables, struct err *err)
{
	struct json_object_iterator it = json_object_iter_begin(args);
	struct json_object_iterator end = json_object_iter_end(args);
	char known[ERR_MAX_BYTES] = "";

	if (json_object_iter_equal(&it, &end))
		return 0;
	for (; *tables; tables++) {
		const struct option_spec *spec;

		for (spec = *tables; spec->name; spec++) {
			size_t used = strlen(known);

			snprintf(known + used, sizeof(known) - used, "%s%s", used ? ", " : "",
				spec->name);
		}
	}
	return err_set(err, -EINVAL, "%s has no option '%s'; it knows: %s", what,
		json_object_iter_peek_name(&it), *known ? known : "none");
}

struct json_object *options_get(const struct option_spec *spec, const void *base)
{
	const void *at = field(spec, base);
	const char *text;

	switch (spec->type) {
	case OPTION_STRING:
		text = *(char *const *)at;
		return text ? json_object_new_string(text) : NULL;
	case OPTION_BOOL: return json_object_new_boolean(*(const bool *)at);
	case OPTION_U32: return json_object_new_int64(*(const uint32_t *)at);
	case OPTION_INT: return json_object_new_int64(*(const int64_t *)at);
	case OPTION_SIZE: return json_object_new_uint64(*(const uint64_t *)at);
	case OPTION_ENUM: return json_object_new_string(spec->choices[*(const int *)at]);
	case OPTION_JSON: return json_object_get(*(struct json_object *const *)at);
	}
	return NULL;
}

void options_free(const struct option_spec *specs, void *base)
{
	for (; specs && specs->name; specs++)
		if (specs->type == OPTION_STRING || specs->type == OPTION_JSON)
			option_types[specs->type].set(specs, base, NULL, NULL);
}
