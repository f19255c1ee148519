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
#include "base/util.h"

#define TEXT_FIRST_BYTES 2048

static void put_bytes(struct value_writer *out, const char *s, size_t len)
{
	if (len >= out->room - out->len) {
		out->room = 2 * out->room + len + TEXT_FIRST_BYTES;
		out->bytes = xreallocarray(out->bytes, out->room, 1);
	}
	memcpy(out->bytes + out->len, s, len);
	out->len += len;
}

void value_write(struct value_writer *out, const char *json)
{
	put_bytes(out, json, strlen(json));
}

/* Is any of the eight bytes below 0x20, above 0x7e, a quote or a backslash? */
static bool has_special(uint64_t word)
{
	const uint64_t ones = ~(uint64_t)0 / 255, tops = ones * 0x80;
	uint64_t quote = word ^ (ones * '"'), slash = word ^ (ones * '\\'),
		 del = word ^ (ones * 0x7f);

	/* A top bit in the bytes that are smaller than what is taken off; those above 0x7f as well.
	 */
	return ((word - ones * 0x20) | (quote - ones) | (slash - ones) | (del - ones) | word) &
	       tops;
}

/* How many bytes from @s on stand for themselves in a string. */
static size_t num_plain(const char *s, size_t len)
{
	uint64_t word;
	size_t n = 0;

	for (; n + sizeof(word) <= len; n += sizeof(word)) {
		memcpy(&word, s + n, sizeof(word));
		if (has_special(word))
			break;
	}
	while (n < len && s[n] >= 0x20 && s[n] < 0x7f && s[n] != '"' && s[n] != '\\')
		n++;
	return n;
}

static void put_char(struct value_writer *out, unsigned int c)
{
	static const char from[] = "\"\\\b\f\n\r\t", to[] = "\"\\bfnrt";
	const char *found = c && c < 0x80 ? strchr(from, (int)c) : NULL;
	char buf[16];

	if (found)
		snprintf(buf, sizeof(buf), "\\%c", to[found - from]);
	else if (c >= 0x10000)
		snprintf(buf, sizeof(buf), "\\u%04X\\u%04X", 0xd800 + ((c - 0x10000) >> 10),
			0xdc00 + ((c - 0x10000) & 0x3ff));
	else
		snprintf(buf, sizeof(buf), "\\u%04X", c);
	value_write(out, buf);
}

static void put_string(struct value_writer *out, const char *s, size_t len)
{
	put_bytes(out, "\"", 1);
	while (len) {
		size_t n = num_plain(s, len);
		unsigned int c;

		if (n) {
			put_bytes(out, s, n);
		} else {
			n = utf8_decode(s, len, &c);
			put_char(out, n ? c : UTF8_REPLACEMENT);
			n = n ? n : 1;
		}
		s += n;
		len -= n;
	}
	put_bytes(out, "\"", 1);
}

/* The shortest digits that read back as the same number. */
void value_write_double(struct value_writer *out, double d)
{
	char buf[40];

	if (!isfinite(d)) {
		value_write(out, "null");
		return;
	}
	for (int digits = 15; digits <= 17; digits++) {
		snprintf(buf, sizeof(buf), "%.*g", digits, d);
		if (strtod(buf, NULL) == d)
			break;
	}
	value_write(out, buf);
}

void value_write_int(struct value_writer *out, uint64_t bits, bool is_signed)
{
	char buf[24], *at = buf + sizeof(buf);
	bool is_negative = is_signed && (int64_t)bits < 0;
	uint64_t left = is_negative ? 0 - bits : bits;

	do
		*--at = (char)('0' + left % 10);
	while (left /= 10);
	if (is_negative)
		*--at = '-';
	put_bytes(out, at, (size_t)(buf + sizeof(buf) - at));
}

static void put_int(struct value_writer *out, struct json_object *v)
{
	int64_t i = json_object_get_int64(v);

	value_write_int(out, i < 0 ? (uint64_t)i : json_object_get_uint64(v), i < 0);
}

static void put_list(struct value_writer *out, struct json_object *v)
{
	size_t num = json_object_array_length(v);

	for (size_t i = 0; i < num; i++) {
		value_write(out, i ? ", " : "[");
		value_write_value(out, json_object_array_get_idx(v, i));
	}
	value_write(out, num ? "]" : "[]");
}

static void put_object(struct value_writer *out, struct json_object *v)
{
	struct json_object_iterator it = json_object_iter_begin(v), end = json_object_iter_end(v);
	const char *before = "{";

	while (!json_object_iter_equal(&it, &end)) {
		const char *key = json_object_iter_peek_name(&it);

		value_write(out, before);
		put_string(out, key, strlen(key));
		value_write(out, ": ");
		value_write_value(out, json_object_iter_peek_value(&it));
		before = ", ";
		json_object_iter_next(&it);
	}
	value_write(out, before[0] == '{' ? "{}" : "}");
}

static void put_text(struct value_writer *out, struct json_object *v)
{
	const struct value_writer *written = json_object_get_userdata(v);

	/* Only value_new_written() gives strings a companion. */
	if (written)
		put_bytes(out, written->bytes, written->len);
	else
		put_string(out, json_object_get_string(v), (size_t)json_object_get_string_len(v));
}

void value_write_value(struct value_writer *out, struct json_object *v)
{
	switch (json_object_get_type(v)) {
	case json_type_boolean:
		value_write(out, json_object_get_boolean(v) ? "true" : "false");
		break;
	case json_type_int: put_int(out, v); break;
	case json_type_double: value_write_double(out, json_object_get_double(v)); break;
	case json_type_string: put_text(out, v); break;
	case json_type_array: put_list(out, v); break;
	case json_type_object: put_object(out, v); break;
	case json_type_null: value_write(out, "null"); break;
	}
}

char *value_to_text(struct json_object *value, size_t *ret_len)
{
	struct value_writer out = { 0 };

	value_write_value(&out, value);
	out.bytes[out.len] = '\0';
	if (ret_len)
		*ret_len = out.len;
	return out.bytes;
}

static void free_written(struct json_object *value, void *written)
{
	(void)value;
	free(((struct value_writer *)written)->bytes);
	free(written);
}

struct json_object *value_new_written(struct value_writer *out)
{
	struct json_object *value = json_object_new_string("");
	struct value_writer *written = xnew(struct value_writer);

	*written = *out;
	*out = (struct value_writer){ 0 };
	json_object_set_userdata(value, written, free_written);
	return value;
}

void value_write_string(struct value_writer *out, const char *s)
{
	put_string(out, s, strlen(s));
}

struct json_object *value_new_string_len(const char *s, size_t len)
{
	struct json_object *ret;
	size_t num = 0;
	char *clean;

	if (num_plain(s, len) == len)
		return json_object_new_string_len(s, (int)len);
	clean = xcalloc(len + 1, 3); /* U+FFFD has three bytes */
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
