/* SPDX-License-Identifier: BSD-3-Clause */
/* Log lines on standard error, and a limit for those that others can provoke. */
#include "base/log.h"

#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#define LOG_LINE_BYTES 1024

static _Atomic int log_max_level = LOG_LEVEL_INFO;

static const struct {
	const char *word;
	const char *colour;
} log_levels[] = {
	[LOG_LEVEL_ERROR] = { "error", "\033[31m" },
	[LOG_LEVEL_WARN] = { "warning", "\033[33m" },
	[LOG_LEVEL_INFO] = { "info", "" },
	[LOG_LEVEL_DEBUG] = { "debug", "\033[2m" },
};

void log_set_level(enum log_level level)
{
	atomic_store_explicit(&log_max_level, level, memory_order_relaxed);
}

/* Guests and peers choose some of the bytes: nothing that steers a terminal gets through. */
static void make_printable(char *s)
{
	for (; *s; s++)
		if ((unsigned char)*s < 0x20 || *s == 0x7f)
			*s = '?';
}

static void log_write(enum log_level level, const char *fmt, va_list ap, unsigned int num_dropped)
{
	char text[LOG_LINE_BYTES - 128], line[LOG_LINE_BYTES], left_out[48] = "";
	/* Ready means that a whole line fits: a pipe's PIPE_BUF is longer. */
	struct pollfd room = { .fd = STDERR_FILENO, .events = POLLOUT };
	bool tty = isatty(STDERR_FILENO);
	ssize_t r;
	int n;

	vsnprintf(text, sizeof(text), fmt, ap);
	make_printable(text);
	if (num_dropped)
		snprintf(left_out, sizeof(left_out), " (%u such lines left out)", num_dropped);
	n = snprintf(line, sizeof(line), "%sringside: %s:%s %s%s\n",
		tty ? log_levels[level].colour : "", log_levels[level].word,
		tty && *log_levels[level].colour ? "\033[0m" : "", text, left_out);
	/* Who does not read the log must not stop a loop: then the line is lost. */
	if (poll(&room, 1, 0) <= 0)
		return;
	/* A log that cannot be written has nowhere to complain to. */
	r = write(STDERR_FILENO, line, MIN((size_t)n, sizeof(line) - 1));
	(void)r;
}

static bool level_is_on(enum log_level level)
{
	return (int)level <= atomic_load_explicit(&log_max_level, memory_order_relaxed);
}

void log_message(enum log_level level, const char *fmt, ...)
{
	va_list ap;

	if (!level_is_on(level))
		return;
	va_start(ap, fmt);
	log_write(level, fmt, ap, 0);
	va_end(ap);
}

void log_limited(struct log_limit *limit, enum log_level level, const char *fmt, ...)
{
	uint64_t now = now_ns();
	uint64_t start = atomic_load_explicit(&limit->period_start_ns, memory_order_relaxed);
	va_list ap;

	if (!level_is_on(level))
		return;
	if (!start || now - start > LOG_LIMIT_PERIOD_MS * NSEC_PER_MSEC) {
		atomic_store_explicit(&limit->period_start_ns, now, memory_order_relaxed);
		atomic_store_explicit(&limit->num_in_period, 0, memory_order_relaxed);
	}
	if (atomic_fetch_add_explicit(&limit->num_in_period, 1, memory_order_relaxed) >=
		LOG_LIMIT_BURST) {
		atomic_fetch_add_explicit(&limit->num_dropped, 1, memory_order_relaxed);
		return;
	}
	va_start(ap, fmt);
	log_write(level, fmt, ap,
		atomic_exchange_explicit(&limit->num_dropped, 0, memory_order_relaxed));
	va_end(ap);
}
