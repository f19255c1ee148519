/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Cuts a stream of bytes into JSON texts by its brackets and quotes, without understanding more, so
 * that whatever is wrong with one request says nothing about where the next one starts. Any thread.
 */
#ifndef MONITOR_FRAMER_H
#define MONITOR_FRAMER_H

#include <stdbool.h>
#include <stddef.h>

#include "base/err.h"

/* The longest request; commands need a few hundred bytes. */
#define FRAMER_MAX_BYTES (1u << 20)

struct framer {
	char *text; /* what there is of the text at hand */
	size_t len, room;
	unsigned int depth;
	enum { FRAMER_IDLE, FRAMER_WORD, FRAMER_NESTED, FRAMER_STRING } state;
	char quote;
	bool escaped;
	/* An error was reported; the rest of the text is passed over. */
	bool discarding;
};

enum framer_result {
	FRAMER_MORE, /* all bytes are used up */
	FRAMER_TEXT, /* framer->text has framer->len bytes of one text; framer_next() before feeding
			on */
	FRAMER_BAD, /* one text was refused; the sentence tells why */
};

/*
 * Feeds up to @len bytes; @ret_used says how many were taken. A text that is too long or too deep
 * is refused once and then passed over to its end: the closing bracket, or the end of the line. The
 * byte 0xff, which no text contains, ends whatever is at hand and is refused.
 */
enum framer_result framer_feed(
	struct framer *framer, const char *bytes, size_t len, size_t *ret_used, struct err *err);
/* Forgets the text at hand. */
void framer_next(struct framer *framer);
void framer_deinit(struct framer *framer);

#endif
