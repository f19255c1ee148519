/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Allocation for the control path: never NULL. Running out of memory for a few control bytes is not
 * something that a process can answer, so these log one line and abort. What a peer can scale has a
 * named limit before it comes here; the data path does not allocate at all.
 */
#ifndef BASE_ALLOC_H
#define BASE_ALLOC_H

#include <stdarg.h>
#include <stddef.h>

#include "base/util.h"

/* Zeroed memory for @n things of @size bytes; the product is checked. Released with free(). */
void *xcalloc(size_t n, size_t size);
/* Grows or shrinks @p to @n things of @size bytes; the product is checked; new bytes are not
 * zeroed. */
void *xreallocarray(void *p, size_t n, size_t size);
char *xstrdup(const char *s);
char *xstrndup(const char *s, size_t n);
char *xasprintf(const char *fmt, ...) _printf_(1, 2);
char *xvasprintf(const char *fmt, va_list ap) _printf_(1, 0);

#define xnew(type)	((type *)xcalloc(1, sizeof(type)))
#define xnew_n(type, n) ((type *)xcalloc((n), sizeof(type)))

#endif
