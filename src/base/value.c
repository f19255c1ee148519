/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * key=value,... to json-c objects, and typed access to option objects. Refuses what could be read
 * in two ways: a key given twice, a key that is a value and an object at once, list indices with
 * gaps.
 */
#include "base/value.h"

#include <ctype.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/alloc.h"
#include "base/cleanup.h"

/* Parts of one dotted key; nobody needs more. */
#define KEYVAL_MAX_PARTS 16

static bool is_key_char(char c)
{
	return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
	       c == '-' || c == '_';
}

/* Where the object stands into which @key's last part goes; makes the ones on the way. */
static int descend(struct json_object *root, const char *key, char *part, size_t part_room,
	struct json_object **ret, struct err *err)
{
	const char *at = key;

	for (int depth = 0;; depth++) {
		size_t len = 0;
		struct json_object *next;

		while (is_key_char(at[len]))
			len++;
		if (!len || len >= part_room || (at[len] && at[len] != '.') ||
			depth == KEYVAL_MAX_PARTS)
			return err_set(err, -EINVAL,
				"'%s' is not an option name; expected letters, digits, '-' and "
				"'_', "
				"with dots between the parts",
				key);
		memcpy(part, at, len);
		part[len] = '\0';
		if (!at[len])
			break;
		if (!json_object_object_get_ex(root, part, &next)) {
			next = json_object_new_object();
			json_object_object_add(root, part, next);
		} else if (!json_object_is_type(next, json_type_object)) {
			return err_set(err, -EINVAL,
				"option '%s': '%.*s' was given a value already, it cannot have "
				"parts too",
				key, (int)(at + len - key), key);
		}
		root = next;
		at += len + 1;
	}
	*ret = root;
	return 0;
}

static int add_option(
	struct json_object *root, const char *key, const char *value, size_t len, struct err *err)
{
	char part[128];
	struct json_object *obj = NULL;
	int r = descend(root, key, part, sizeof(part), &obj, err);

	if (r < 0)
		return r;
	if (json_object_object_get_ex(obj, part, NULL))
		return err_set(err, -EINVAL, "option '%s' is given more than once", key);
	json_object_object_add(obj, part, value_new_string_len(value, len));
	return 0;
}

/* Copies up to the comma that ends the part; ",," is a comma. Returns what follows, or NULL. */
static const char *copy_part(const char *at, char *out, size_t *ret_len)
{
	size_t len = 0;

	while (*at) {
		if (*at == ',') {
			if (at[1] != ',')
				break;
			at++;
		}
		out[len++] = *at++;
	}
	out[len] = '\0';
	*ret_len = len;
	return *at ? at + 1 : NULL;
}

/* 0, 1, 2... and nothing else: a list. Some of them: an error. None: stays an object. */
static int classify(struct json_object *obj, const char *key, size_t *ret_num, struct err *err)
{
	size_t num_members = (size_t)json_object_object_length(obj), num_digits = 0;

	json_object_object_foreach(obj, name, value)
	{
		(void)value;
		num_digits += strspn(name, "0123456789") == strlen(name);
	}
	*ret_num = 0;
	if (!num_digits)
		return 0;
	for (size_t i = 0; i < num_members; i++) {
		char index[24];

		snprintf(index, sizeof(index), "%zu", i);
		if (num_digits != num_members || !json_object_object_get_ex(obj, index, NULL))
			return err_set(err, -EINVAL,
				"list '%s' lacks element %zu; expected %s.0, %s.1 and so on", key,
				i, key, key);
	}
	*ret_num = num_members;
	return 0;
}

/* Returns @obj's replacement with the lists in it made: a list, or @obj itself with a reference. */
static int make_lists(struct json_object *obj, const char *key, bool is_root,
	struct json_object **ret, struct err *err)
{
	_cleanup_value_ struct json_object *made = NULL;
	size_t num = 0;
	int r = is_root ? 0 : classify(obj, key, &num, err);

	if (r < 0)
		return r;
	made = num ? json_object_new_array() : json_object_new_object();
	json_object_object_foreach(obj, name, value)
	{
		struct json_object *item = json_object_get(value);

		if (json_object_is_type(value, json_type_object)) {
			json_object_put(item);
			r = make_lists(value, name, false, &item, err);
			if (r < 0)
				return r;
		}
		if (num)
			json_object_array_put_idx(made, strtoul(name, NULL, 10), item);
		else
			json_object_object_add(made, name, item);
	}
	*ret = take_ptr(made);
	return 0;
}

int value_parse_keyval(
	const char *text, const char *implied_key, struct json_object **ret, struct err *err)
{
	_cleanup_value_ struct json_object *root = json_object_new_object();
	_cleanup_free_ char *part = xcalloc(strlen(text) + 1, 1);
	const char *at = *text ? text : NULL;
	int r;

	for (bool first = true; at; first = false) {
		size_t len;
		char *eq;

		at = copy_part(at, part, &len);
		if (at && !*at)
			at = NULL; /* a comma at the end is nothing */
		eq = strchr(part, '=');
		if (eq) {
			*eq = '\0';
			r = add_option(root, part, eq + 1, len - (size_t)(eq + 1 - part), err);
		} else if (first && implied_key) {
			r = add_option(root, implied_key, part, len, err);
		} else {
			r = err_set(err, -EINVAL, "'%s' has no value; expected KEY=VALUE", part);
		}
		if (r < 0)
			return r;
	}
	return make_lists(root, "", true, ret, err);
}

int value_parse_option(
	const char *text, const char *implied_key, struct json_object **ret, struct err *err)
{
	return text[0] == '{' ? value_parse_json(text, strlen(text), ret, err)
			      : value_parse_keyval(text, implied_key, ret, err);
}

static struct json_object *get(struct json_object *obj, const char *key)
{
	struct json_object *v = NULL;

	json_object_object_get_ex(obj, key, &v);
	return v;
}

static int refuse(struct json_object *v, const char *key, const char *expected, struct err *err)
{
	_cleanup_free_ char *text = value_to_text(v, NULL);

	return err_set(err, -EINVAL, "'%s' is %.*s; expected %s", key, 100, text, expected);
}

/* The text of a string value without NUL bytes, else NULL. */
static const char *as_text(struct json_object *v)
{
	if (!json_object_is_type(v, json_type_string) ||
		strlen(json_object_get_string(v)) != (size_t)json_object_get_string_len(v))
		return NULL;
	return json_object_get_string(v);
}

int value_get_str(struct json_object *obj, const char *key, const char **ret, struct err *err)
{
	struct json_object *v = get(obj, key);

	if (!v)
		return 0;
	if (!as_text(v))
		return refuse(v, key, "a string", err);
	*ret = as_text(v);
	return 1;
}

int value_get_bool(struct json_object *obj, const char *key, bool *ret, struct err *err)
{
	static const struct {
		const char *word;
		bool value;
	} words[] = {
		{ "on", true },
		{ "off", false },
		{ "true", true },
		{ "false", false },
		{ "yes", true },
		{ "no", false },
	};
	struct json_object *v = get(obj, key);
	const char *text = as_text(v);

	if (!v)
		return 0;
	if (json_object_is_type(v, json_type_boolean)) {
		*ret = json_object_get_boolean(v);
		return 1;
	}
	for (size_t i = 0; text && i < ARRAY_SIZE(words); i++) {
		if (strcmp(text, words[i].word) == 0) {
			*ret = words[i].value;
			return 1;
		}
	}
	return refuse(v, key, "on or off", err);
}

/* Digits, then a suffix if @suffixes has any; false where it is something else. */
static bool parse_number(const char *text, const char *suffixes, uint64_t *ret)
{
	char *end;
	const char *suffix;
	unsigned int shift = 0;

	if (text[0] < '0' || text[0] > '9')
		return false;
	errno = 0;
	*ret = strtoull(text, &end, text[0] == '0' && (text[1] | 32) == 'x' ? 16 : 10);
	if (errno)
		return false;
	if (*end) {
		suffix = strchr(suffixes, toupper((unsigned char)*end));
		if (!suffix || end[1])
			return false;
		shift = 10 * (unsigned int)(suffix - suffixes + 1);
	}
	if (*ret > UINT64_MAX >> shift)
		return false;
	*ret <<= shift;
	return true;
}

static bool as_number(struct json_object *v, const char *suffixes, uint64_t *ret)
{
	if (json_object_is_type(v, json_type_int)) {
		*ret = json_object_get_uint64(v);
		return json_object_get_int64(v) >= 0;
	}
	return as_text(v) && parse_number(as_text(v), suffixes, ret);
}

int value_get_u64(struct json_object *obj, const char *key, uint64_t min, uint64_t max,
	uint64_t *ret, struct err *err)
{
	struct json_object *v = get(obj, key);
	char expected[96];
	uint64_t n;

	if (!v)
		return 0;
	if (!as_number(v, "", &n) || n < min || n > max) {
		snprintf(expected, sizeof(expected), "a whole number from %llu to %llu",
			(unsigned long long)min, (unsigned long long)max);
		return refuse(v, key, expected, err);
	}
	*ret = n;
	return 1;
}

int value_get_size(struct json_object *obj, const char *key, uint64_t *ret, struct err *err)
{
	struct json_object *v = get(obj, key);
	uint64_t n;

	if (!v)
		return 0;
	if (!as_number(v, "KMGT", &n))
		return refuse(
			v, key, "a number of bytes, with K, M, G or T behind it if you like", err);
	*ret = n;
	return 1;
}

int value_get_list(
	struct json_object *obj, const char *key, struct json_object **ret, struct err *err)
{
	struct json_object *v = get(obj, key);

	if (!v)
		return 0;
	if (!json_object_is_type(v, json_type_array))
		return refuse(v, key, "a list", err);
	*ret = v;
	return 1;
}

int value_get_object(
	struct json_object *obj, const char *key, struct json_object **ret, struct err *err)
{
	struct json_object *v = get(obj, key);

	if (!v)
		return 0;
	if (!json_object_is_type(v, json_type_object))
		return refuse(v, key, "an object", err);
	*ret = v;
	return 1;
}

int value_check_known(struct json_object *obj, const char *what, const char *const *known,
	size_t num_known, struct err *err)
{
	json_object_object_foreach(obj, name, value)
	{
		bool found = false;
		char list[ERR_MAX_BYTES] = "";
		size_t len = 0;

		(void)value;
		for (size_t i = 0; i < num_known && !found; i++)
			found = strcmp(name, known[i]) == 0;
		if (found)
			continue;
		for (size_t i = 0; i < num_known && len < sizeof(list); i++)
			len += (size_t)snprintf(
				list + len, sizeof(list) - len, "%s%s", i ? ", " : "", known[i]);
		return err_set(err, -EINVAL, "%s has no option '%s'; it takes: %s", what, name,
			num_known ? list : "nothing");
	}
	return 0;
}
