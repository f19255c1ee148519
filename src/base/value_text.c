/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * json-c objects to text, and strings of unknown bytes to strings that are UTF-8. What leaves is
 * ASCII and always valid JSON: a number that JSON cannot say (inf, nan) becomes null.
 */
#include "base/value.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/alloc.h"
#include "base/utf8.h"

static void put(FILE *out, const char *s)
{
	fputs(s, out);
}

static void put_char(FILE *out, unsigned int c)
{
	static const char from[] = "\"\\\b\f\n\r\t", to[] = "\"\\bfnrt";
	const char *found = c && c < 0x80 ? strchr(from, (int)c) : NULL;

	if (found)
		fprintf(out, "\\%c", to[found - from]);
	else if (c >= 0x10000)
		fprintf(out, "\\u%04X\\u%04X", 0xd800 + ((c - 0x10000) >> 10),
			0xdc00 + ((c - 0x10000) & 0x3ff));
	else if (c < 0x20 || c >= 0x7f)
		fprintf(out, "\\u%04X", c);
	else
		fputc((int)c, out);
}

static void put_string(FILE *out, const char *s, size_t len)
{
	fputc('"', out);
	while (len) {
		unsigned int c;
		size_t n = utf8_decode(s, len, &c);

		put_char(out, n ? c : UTF8_REPLACEMENT);
		n = n ? n : 1;
		s += n;
		len -= n;
	}
	fputc('"', out);
}

/* The shortest digits that read back as the same number. */
static void put_double(FILE *out, double d)
{
	char buf[40];

	if (!isfinite(d)) {
		put(out, "null");
		return;
	}
	for (int digits = 15; digits <= 17; digits++) {
		snprintf(buf, sizeof(buf), "%.*g", digits, d);
		if (strtod(buf, NULL) == d)
			break;
	}
	put(out, buf);
}

static void put_int(FILE *out, struct json_object *v)
{
	int64_t i = json_object_get_int64(v);

	if (i < 0)
		fprintf(out, "%lld", (long long)i);
	else
		fprintf(out, "%llu", (unsigned long long)json_object_get_uint64(v));
}

static void put_value(FILE *out, struct json_object *v);

static void put_list(FILE *out, struct json_object *v)
{
	size_t num = json_object_array_length(v);

	for (size_t i = 0; i < num; i++) {
		put(out, i ? ", " : "[");
		put_value(out, json_object_array_get_idx(v, i));
	}
	put(out, num ? "]" : "[]");
}

static void put_object(FILE *out, struct json_object *v)
{
	struct json_object_iterator it = json_object_iter_begin(v), end = json_object_iter_end(v);
	const char *before = "{";

	while (!json_object_iter_equal(&it, &end)) {
		const char *key = json_object_iter_peek_name(&it);

		put(out, before);
		put_string(out, key, strlen(key));
		put(out, ": ");
		put_value(out, json_object_iter_peek_value(&it));
		before = ", ";
		json_object_iter_next(&it);
	}
	put(out, before[0] == '{' ? "{}" : "}");
}

static void put_value(FILE *out, struct json_object *v)
{
	switch (json_object_get_type(v)) {
	case json_type_boolean: put(out, json_object_get_boolean(v) ? "true" : "false"); break;
	case json_type_int: put_int(out, v); break;
	case json_type_double: put_double(out, json_object_get_double(v)); break;
	case json_type_string:
		put_string(out, json_object_get_string(v), (size_t)json_object_get_string_len(v));
		break;
	case json_type_array: put_list(out, v); break;
	case json_type_object: put_object(out, v); break;
	case json_type_null: put(out, "null"); break;
	}
}

char *value_to_text(struct json_object *value, size_t *ret_len)
{
	char *text = NULL;
	size_t len = 0;
	FILE *out = open_memstream(&text, &len);

	if (out) {
		put_value(out, value);
		fclose(out);
	}
	if (ret_len)
		*ret_len = text ? len : 0;
	return text ? text : xstrdup("");
}

struct json_object *value_new_string_len(const char *s, size_t len)
{
	char *clean = xcalloc(len + 1, 3); /* U+FFFD has three bytes */
	size_t num = 0;
	struct json_object *ret;

	while (len) {
		unsigned int c;
		size_t n = utf8_decode(s, len, &c);

		num += utf8_encode(n ? c : UTF8_REPLACEMENT, clean + num);
		n = n ? n : 1;
		s += n;
		len -= n;
	}
	ret = json_object_new_string_len(clean, (int)num);
	free(clean);
	return ret;
}

struct json_object *value_new_string(const char *s)
{
	return value_new_string_len(s ? s : "", s ? strlen(s) : 0);
}
