/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Refuses by size and depth before anything is parsed. A line end inside a string ends the text: no
 * string has one, so it is better taken as the sender's next line.
 */
#include "monitor/framer.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/alloc.h"
#include "base/util.h"
#include "base/value.h"

#define RESYNC_BYTE	   '\xff'
#define FRAMER_FIRST_BYTES 256

static bool is_space(char c)
{
	return c == ' ' || c == '\t' || c == '\r' || c == '\n';
}

static bool is_quote(char c)
{
	return c == '"' || c == '\'';
}

static bool is_opening(char c)
{
	return c == '{' || c == '[';
}

void framer_next(struct framer *framer)
{
	framer->len = 0;
	framer->depth = 0;
	framer->state = FRAMER_IDLE;
	framer->escaped = false;
	framer->discarding = false;
}

void framer_deinit(struct framer *framer)
{
	free(framer->text);
	*framer = (struct framer){ 0 };
}

static enum framer_result discard(struct framer *framer, struct err *err, const char *sentence)
{
	err_set(err, -EINVAL, "%s", sentence);
	framer->discarding = true;
	framer->len = 0;
	return FRAMER_BAD;
}

static void append(struct framer *framer, const char *bytes, size_t len)
{
	if (framer->len + len > framer->room) {
		framer->room = 2 * framer->room + len + FRAMER_FIRST_BYTES;
		framer->text = xreallocarray(framer->text, framer->room, 1);
	}
	memcpy(framer->text + framer->len, bytes, len);
	framer->len += len;
}

static enum framer_result keep(struct framer *framer, char c, struct err *err)
{
	if (framer->discarding)
		return FRAMER_MORE;
	if (framer->len == FRAMER_MAX_BYTES)
		return discard(framer, err, "JSON token size limit exceeded");
	append(framer, &c, 1);
	return FRAMER_MORE;
}

/* Within a string: keeps what neither ends it nor means anything; how many bytes that were. */
static size_t keep_plain(struct framer *framer, const char *bytes, size_t len)
{
	size_t n = 0;

	if (framer->state != FRAMER_STRING || framer->escaped || framer->discarding)
		return 0;
	len = MIN(len, FRAMER_MAX_BYTES - framer->len);
	while (n < len && bytes[n] >= 0x20 && bytes[n] < 0x7f && bytes[n] != '\\' &&
		bytes[n] != framer->quote)
		n++;
	if (n)
		append(framer, bytes, n);
	return n;
}

/*
 * The text is whole: hand it out, unless it was refused, before or (@last, what its last byte came
 * to) just now.
 */
static enum framer_result end(struct framer *framer, enum framer_result last)
{
	if (!framer->discarding)
		return FRAMER_TEXT;
	framer_next(framer);
	return last;
}

static enum framer_result in_string(struct framer *framer, char c, struct err *err)
{
	enum framer_result r;

	if (c == '\n' || c == '\r')
		return end(framer, FRAMER_MORE);
	r = keep(framer, c, err);
	if (framer->escaped) {
		framer->escaped = false;
	} else if (c == '\\') {
		framer->escaped = true;
	} else if (c == framer->quote) {
		framer->state = FRAMER_NESTED;
		if (!framer->depth)
			return end(framer, r);
	}
	return r;
}

static enum framer_result in_nested(struct framer *framer, char c, struct err *err)
{
	enum framer_result r;

	if (framer->discarding && c == '\n')
		return end(framer, FRAMER_MORE);
	r = keep(framer, c, err);
	if (is_quote(c)) {
		framer->state = FRAMER_STRING;
		framer->quote = c;
	} else if (is_opening(c)) {
		framer->state = FRAMER_NESTED;
		if (++framer->depth > VALUE_MAX_DEPTH && !framer->discarding)
			return discard(framer, err, "JSON nesting depth limit exceeded");
	} else if (c == '}' || c == ']') {
		if (--framer->depth == 0)
			return end(framer, r);
	}
	return r;
}

/* One byte; *@used stays false where the byte belongs to the next text. */
static enum framer_result take(struct framer *framer, char c, bool *used, struct err *err)
{
	*used = true;
	if (c == RESYNC_BYTE) {
		bool told = framer->discarding;

		framer_next(framer);
		err_set(err, -EINVAL, "JSON parse error, stray '\xff'");
		return told ? FRAMER_MORE : FRAMER_BAD;
	}
	switch (framer->state) {
	case FRAMER_STRING: return in_string(framer, c, err);
	case FRAMER_NESTED: return in_nested(framer, c, err);
	case FRAMER_IDLE:
		if (is_space(c))
			return FRAMER_MORE;
		if (is_opening(c) || is_quote(c))
			return in_nested(framer, c, err);
		framer->state = FRAMER_WORD;
		return keep(framer, c, err);
	case FRAMER_WORD:
		if (is_space(c) || is_opening(c) || is_quote(c)) {
			*used = false;
			return end(framer, FRAMER_MORE);
		}
		return keep(framer, c, err);
	}
	return FRAMER_MORE;
}

enum framer_result framer_feed(
	struct framer *framer, const char *bytes, size_t len, size_t *ret_used, struct err *err)
{
	enum framer_result r = FRAMER_MORE;
	bool used;

	for (*ret_used = 0; *ret_used < len && r == FRAMER_MORE; *ret_used += used) {
		*ret_used += keep_plain(framer, bytes + *ret_used, len - *ret_used);
		if (*ret_used == len)
			break;
		r = take(framer, bytes[*ret_used], &used, err);
	}
	return r;
}
