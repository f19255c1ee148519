/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The host's failure channel: a negative errno and one sentence, made at the place where it
 * happened. The sentence names the thing, its value, what was expected and what to do.
 */
#ifndef BASE_ERR_H
#define BASE_ERR_H

#include <stdarg.h>

#include "base/util.h"

#define ERR_MAX_BYTES 512

/* Zero-initialise it: { 0 } is "no error". Longer sentences are cut at ERR_MAX_BYTES - 1. */
struct err {
	char msg[ERR_MAX_BYTES];
};

/*
 * Writes the sentence and returns @code (a negative errno), so that a failing function can end with
 * `return err_set(err, -EINVAL, ...)`. @err may be NULL: then only the code is passed on.
 */
int err_set(struct err *err, int code, const char *fmt, ...) _printf_(3, 4);
int err_vset(struct err *err, int code, const char *fmt, va_list ap) _printf_(3, 0);
/* Puts "context: " in front of a sentence that is already there; returns @code. */
int err_prefix(struct err *err, int code, const char *fmt, ...) _printf_(3, 4);

#endif
