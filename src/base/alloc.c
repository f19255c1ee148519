/* SPDX-License-Identifier: BSD-3-Clause */
/* Allocation that does not fail: one log line and abort. */
#include "base/alloc.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/log.h"

static void *checked(void *p, size_t n, size_t size)
{
	if (p)
		return p;
	log_error("out of memory: %zu x %zu bytes", n, size);
	abort();
}

void *xcalloc(size_t n, size_t size)
{
	/* A zero-sized thing still gets an address, so that NULL means "none" everywhere. */
	return checked(calloc(n ? n : 1, size ? size : 1), n, size);
}

void *xreallocarray(void *p, size_t n, size_t size)
{
	return checked(reallocarray(p, n ? n : 1, size ? size : 1), n, size);
}

char *xstrdup(const char *s)
{
	return checked(strdup(s), 1, strlen(s) + 1);
}

char *xstrndup(const char *s, size_t n)
{
	return checked(strndup(s, n), 1, n + 1);
}

char *xvasprintf(const char *fmt, va_list ap)
{
	char *s = NULL;

	if (vasprintf(&s, fmt, ap) < 0)
		s = NULL;
	return checked(s, 1, 0);
}

char *xasprintf(const char *fmt, ...)
{
	va_list ap;
	char *s;

	va_start(ap, fmt);
	s = xvasprintf(fmt, ap);
	va_end(ap);
	return s;
}
