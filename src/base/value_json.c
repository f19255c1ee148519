/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Text to json-c objects. json-c's own reader drops duplicate members, saturates large numbers and
 * has other words for its errors, so this is ours: strict, bounded in depth and tokens, and each
 * refusal is one sentence in the wording that QMP clients know.
 */
#include "base/value.h"

#include <errno.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/alloc.h"
#include "base/cleanup.h"
#include "base/utf8.h"

struct reader {
	const char *at, *end;
	unsigned int num_tokens, depth;
	struct err *err;
};

struct text {
	char *bytes;
	size_t len, room;
};

#define TEXT_FIRST_BYTES 64

static void text_add(struct text *t, const char *bytes, size_t len)
{
	if (t->len + len + 1 > t->room) {
		t->room = 2 * t->room + len + TEXT_FIRST_BYTES;
		t->bytes = xreallocarray(t->bytes, t->room, 1);
	}
	memcpy(t->bytes + t->len, bytes, len);
	t->len += len;
	t->bytes[t->len] = '\0';
}

/* The longest piece of refused text that a sentence repeats. */
#define MAX_QUOTED_BYTES 64

static int refuse(struct reader *r, const char *what)
{
	return err_set(r->err, -EINVAL, "JSON parse error, %s", what);
}

static int refuse_stray(struct reader *r, const char *from, const char *to, const char *how)
{
	return err_set(r->err, -EINVAL, "JSON parse error, %s '%.*s'", how,
		(int)MIN(to - from, MAX_QUOTED_BYTES), from);
}

static void skip_space(struct reader *r)
{
	while (r->at < r->end && strchr(" \t\r\n", *r->at) && *r->at)
		r->at++;
}

/* Counts a token; false where there are too many. */
static bool take_token(struct reader *r)
{
	if (++r->num_tokens <= VALUE_MAX_TOKENS)
		return true;
	err_set(r->err, -EINVAL, "JSON token count limit exceeded");
	return false;
}

/* The next character that is not space, or 0 at the end of the text. */
static char peek(struct reader *r)
{
	skip_space(r);
	return r->at < r->end ? *r->at : '\0';
}

static int read_hex4(struct reader *r, unsigned int *ret)
{
	unsigned int v = 0;

	if (r->end - r->at < 4)
		return -EINVAL;
	for (int i = 0; i < 4; i++) {
		char c = *r->at++;

		if (c >= '0' && c <= '9')
			v = v * 16 + (unsigned int)(c - '0');
		else if ((c | 32) >= 'a' && (c | 32) <= 'f')
			v = v * 16 + (unsigned int)((c | 32) - 'a' + 10);
		else
			return -EINVAL;
	}
	*ret = v;
	return 0;
}

static bool is_high(unsigned int c)
{
	return c >= 0xd800 && c <= 0xdbff;
}

static bool is_low(unsigned int c)
{
	return c >= 0xdc00 && c <= 0xdfff;
}

/* After "\u": one code point, of two escapes where it is a surrogate pair. */
static int read_unicode(struct reader *r, struct text *t)
{
	unsigned int c, low;
	char bytes[UTF8_MAX_BYTES];

	if (read_hex4(r, &c) < 0)
		return refuse(r, "invalid escape sequence in string");
	if (is_high(c) && r->end - r->at >= 2 && r->at[0] == '\\' && r->at[1] == 'u') {
		r->at += 2;
		if (read_hex4(r, &low) < 0)
			return refuse(r, "invalid escape sequence in string");
		if (!is_low(low))
			return err_set(r->err, -EINVAL,
				"JSON parse error, \\u%04x\\u%04x is not a valid Unicode character",
				c, low);
		c = 0x10000 + ((c - 0xd800) << 10) + (low - 0xdc00);
	}
	if (is_high(c) || is_low(c))
		return err_set(r->err, -EINVAL,
			"JSON parse error, \\u%04x is not a valid Unicode character", c);
	text_add(t, bytes, utf8_encode(c, bytes));
	return 0;
}

static int read_escape(struct reader *r, struct text *t)
{
	static const char from[] = "\"'\\/bfnrt", to[] = "\"'\\/\b\f\n\r\t";
	const char *found;
	char c;

	c = r->at < r->end ? *r->at++ : '\0';
	if (c == 'u')
		return read_unicode(r, t);
	found = c ? strchr(from, c) : NULL;
	if (!found)
		return refuse(r, "invalid escape sequence in string");
	text_add(t, &to[found - from], 1);
	return 0;
}

/* How many of the next bytes stand for themselves in a string. */
static size_t num_plain(const struct reader *r, char quote)
{
	const char *at = r->at;

	while (at < r->end && *at >= 0x20 && *at < 0x7f && *at != quote && *at != '\\')
		at++;
	return (size_t)(at - r->at);
}

/* The text of a string whose opening quote is next. */
static int read_text(struct reader *r, struct text *t)
{
	const char *start = r->at;
	char quote = *r->at++;

	text_add(t, "", 0);
	while (r->at < r->end && *r->at != quote) {
		size_t n = num_plain(r, quote);
		unsigned int c;
		int e = 0;

		if (n) {
			text_add(t, r->at, n);
			r->at += n;
			continue;
		}

		if ((unsigned char)*r->at < 0x20)
			return refuse_stray(r, start, r->at, "stray");
		if (*r->at == '\\') {
			r->at++;
			e = read_escape(r, t);
			if (e < 0)
				return e;
			continue;
		}
		n = utf8_decode(r->at, (size_t)(r->end - r->at), &c);
		if (!n)
			return refuse(r, "invalid UTF-8 sequence in string");
		text_add(t, r->at, n);
		r->at += n;
	}
	if (r->at == r->end)
		return refuse_stray(r, start, r->end, "stray");
	r->at++;
	return 0;
}

static int read_string(struct reader *r, struct json_object **ret)
{
	struct text t = { 0 };
	int e = read_text(r, &t);

	if (e == 0)
		*ret = json_object_new_string_len(t.bytes, (int)t.len);
	free(t.bytes);
	return e;
}

static bool skip_digits(const char **at)
{
	const char *start = *at;

	while (**at >= '0' && **at <= '9')
		(*at)++;
	return *at > start;
}

/* Is @text a JSON number, and one without fraction and exponent? */
static bool is_number(const char *text, bool *is_int)
{
	const char *at = text + (*text == '-');

	*is_int = true;
	if (*at == '0')
		at++;
	else if (!skip_digits(&at))
		return false;
	if (*at == '.') {
		*is_int = false;
		at++;
		if (!skip_digits(&at))
			return false;
	}
	if (*at == 'e' || *at == 'E') {
		*is_int = false;
		at++;
		if (*at == '+' || *at == '-')
			at++;
		if (!skip_digits(&at))
			return false;
	}
	return !*at;
}

static int read_number(struct reader *r, const char *word, struct json_object **ret)
{
	bool is_int;
	double d;

	if (!is_number(word, &is_int))
		return refuse_stray(r, word, word + strlen(word), "stray");
	errno = 0;
	if (is_int && word[0] == '-') {
		int64_t i = strtoll(word, NULL, 10);

		if (errno == 0) {
			*ret = json_object_new_int64(i);
			return 0;
		}
	} else if (is_int) {
		uint64_t u = strtoull(word, NULL, 10);

		if (errno == 0) {
			*ret = u <= INT64_MAX ? json_object_new_int64((int64_t)u)
					      : json_object_new_uint64(u);
			return 0;
		}
	}
	d = strtod(word, NULL);
	if (!isfinite(d))
		return refuse_stray(r, word, word + strlen(word), "number out of range:");
	*ret = json_object_new_double(d);
	return 0;
}

/* A number or a keyword: everything up to the next space, quote or structural character. */
static int read_word(struct reader *r, struct json_object **ret)
{
	const char *start = r->at;
	_cleanup_free_ char *word = NULL;

	while (r->at < r->end && (unsigned char)*r->at > ' ' && !strchr("{}[]:,\"'", *r->at))
		r->at++;
	if (r->at == start)
		return refuse_stray(r, start, start + 1, "stray");
	word = xstrndup(start, (size_t)(r->at - start));
	if (strcmp(word, "null") == 0)
		*ret = NULL;
	else if (strcmp(word, "true") == 0 || strcmp(word, "false") == 0)
		*ret = json_object_new_boolean(word[0] == 't');
	else if ((word[0] >= '0' && word[0] <= '9') || word[0] == '-')
		return read_number(r, word, ret);
	else if ((word[0] | 32) >= 'a' && (word[0] | 32) <= 'z')
		return refuse_stray(r, start, r->at, "invalid keyword");
	else if (word[0] == '%')
		return refuse_stray(r, start, start + 1, "stray");
	else
		return refuse_stray(r, start, r->at, "stray");
	return 0;
}

static int read_value(struct reader *r, struct json_object **ret);

/* After a value in a container: 1 for "another follows", 0 for "that was the last". */
static int read_separator(struct reader *r, char closing, const char *missing)
{
	char c = peek(r);

	if (c != ',' && c != closing)
		return refuse(r, missing);
	r->at++;
	return !take_token(r) ? -EINVAL : c == ',';
}

static int read_list(struct reader *r, struct json_object *list)
{
	struct json_object *item;
	int e;

	r->at++;
	if (peek(r) == ']') {
		r->at++;
		return take_token(r) ? 0 : -EINVAL;
	}
	do {
		item = NULL;
		e = read_value(r, &item);
		if (e < 0)
			return e;
		json_object_array_add(list, item);
		e = read_separator(r, ']', "expected separator in list");
	} while (e > 0);
	return e;
}

static int read_member(struct reader *r, struct json_object *obj)
{
	struct text key = { 0 };
	struct json_object *value = NULL;
	char c = peek(r);
	int e;

	if (c != '"' && c != '\'')
		return refuse(r, "key is not a string in object");
	e = take_token(r) ? read_text(r, &key) : -EINVAL;
	if (e == 0 && strlen(key.bytes) != key.len)
		e = refuse(r, "\\u0000 in a key");
	if (e == 0 && peek(r) != ':')
		e = refuse(r, "missing : in object pair");
	if (e == 0) {
		r->at++;
		e = read_value(r, &value);
	}
	if (e == 0 && json_object_object_get_ex(obj, key.bytes, NULL)) {
		json_object_put(value);
		e = refuse(r, "duplicate key");
	}
	if (e == 0)
		json_object_object_add(obj, key.bytes, value);
	free(key.bytes);
	return e;
}

static int read_object(struct reader *r, struct json_object *obj)
{
	int e;

	r->at++;
	if (peek(r) == '}') {
		r->at++;
		return take_token(r) ? 0 : -EINVAL;
	}
	do {
		e = read_member(r, obj);
		if (e < 0)
			return e;
		e = read_separator(r, '}', "expected separator in dict");
	} while (e > 0);
	return e;
}

static int read_value(struct reader *r, struct json_object **ret)
{
	_cleanup_value_ struct json_object *container = NULL;
	char c = peek(r);
	int e;

	if (!take_token(r))
		return -EINVAL;
	if (r->at == r->end || strchr("}]:,", c))
		return refuse(r, "expecting value");
	if (c == '"' || c == '\'')
		return read_string(r, ret);
	if (c != '{' && c != '[')
		return read_word(r, ret);
	if (++r->depth > VALUE_MAX_DEPTH)
		return err_set(r->err, -EINVAL, "JSON nesting depth limit exceeded");
	container = c == '{' ? json_object_new_object() : json_object_new_array();
	e = c == '{' ? read_object(r, container) : read_list(r, container);
	r->depth--;
	if (e == 0)
		*ret = take_ptr(container);
	return e;
}

int value_parse_json(const char *text, size_t len, struct json_object **ret, struct err *err)
{
	struct reader r = { .at = text, .end = text + len, .err = err };
	struct json_object *value = NULL;
	int e = read_value(&r, &value);

	if (e == 0) {
		skip_space(&r);
		if (r.at < r.end) {
			json_object_put(value);
			return refuse(&r, "text after the value");
		}
		*ret = value;
	}
	return e;
}
