/* SPDX-License-Identifier: BSD-3-Clause */
/* Gathers bytes to lines. A byte that no line has (NUL) becomes one that no command has. */
#include "monitor/hmp_session.h"

#include <stdlib.h>
#include <string.h>

#include "base/alloc.h"
#include "base/cleanup.h"
#include "monitor/hmp.h"

#define PROMPT "(ringside) "

struct hmp_line {
	char text[HMP_MAX_LINE_BYTES + 1];
	size_t len;
	bool too_long;
};

void hmp_session_line_free(struct hmp_line *line)
{
	free(line);
}

static void send_string(struct session *s, const char *text)
{
	session_send_text(s, text, strlen(text));
}

static void greet(struct session *s)
{
	s->line = xnew(struct hmp_line);
	send_string(s, "Ringside " RINGSIDE_VERSION
		       " monitor - type 'help' for more information\r\n" PROMPT);
}

static void append(struct hmp_line *line, const char *bytes, size_t len)
{
	line->too_long |= len > HMP_MAX_LINE_BYTES - line->len;
	if (line->too_long)
		return;
	for (size_t i = 0; i < len; i++)
		line->text[line->len++] = bytes[i] ? bytes[i] : '?';
}

/* Answer and prompt go out together: whoever drops the client does so once. */
static void run(struct session *s)
{
	struct hmp_line *line = s->line;
	_cleanup_free_ char *answer = NULL, *all = NULL;

	line->text[line->len] = '\0';
	answer = line->too_long
			 ? xasprintf("line too long: more than %d bytes\r\n", HMP_MAX_LINE_BYTES)
			 : hmp_run(&s->monitor->handlers, s->monitor->config.ctx, line->text);
	line->len = 0;
	line->too_long = false;
	all = xasprintf("%s" PROMPT, answer);
	send_string(s, all);
}

/* To the end of one line at most: while much waits to be read, the next one is not run. */
static size_t feed(struct session *s, const char *bytes, size_t len)
{
	const char *end = memchr(bytes, '\n', len);

	append(s->line, bytes, end ? (size_t)(end - bytes) : len);
	if (!end)
		return len;
	run(s);
	return (size_t)(end - bytes) + 1;
}

const struct session_protocol hmp_protocol = { .greet = greet, .feed = feed };
