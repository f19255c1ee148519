/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * One line a log message on standard error, written with a single write() so that lines of several
 * threads never mix. Callable from any thread. Colour only on a terminal. Never waits: what
 * standard error does not take now is lost.
 */
#ifndef BASE_LOG_H
#define BASE_LOG_H

#include <stdarg.h>
#include <stdatomic.h>

#include "base/util.h"

enum log_level { LOG_LEVEL_ERROR, LOG_LEVEL_WARN, LOG_LEVEL_INFO, LOG_LEVEL_DEBUG };

/* Messages above @level are dropped; the default is LOG_LEVEL_INFO. */
void log_set_level(enum log_level level);
void log_message(enum log_level level, const char *fmt, ...) _printf_(2, 3);

#define log_error(...) log_message(LOG_LEVEL_ERROR, __VA_ARGS__)
#define log_warn(...)  log_message(LOG_LEVEL_WARN, __VA_ARGS__)
#define log_info(...)  log_message(LOG_LEVEL_INFO, __VA_ARGS__)
#define log_debug(...) log_message(LOG_LEVEL_DEBUG, __VA_ARGS__)

/*
 * For lines that a guest or a peer can provoke: at most LOG_LIMIT_BURST in LOG_LIMIT_PERIOD_MS for
 * each place; the next line that passes says how many were left out. Zero-initialise it; one may be
 * shared by threads.
 */
#define LOG_LIMIT_BURST	    10
#define LOG_LIMIT_PERIOD_MS 5000

struct log_limit {
	_Atomic uint64_t period_start_ns;
	_Atomic unsigned int num_in_period;
	_Atomic unsigned int num_dropped;
};

void log_limited(struct log_limit *limit, enum log_level level, const char *fmt, ...)
	_printf_(3, 4);

#endif
