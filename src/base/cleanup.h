/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Ownership in locals: a variable that owns something is declared with one of these attributes and
 * is released when it leaves its scope, on every path; take_*() hands the thing over instead.
 */
#ifndef BASE_CLEANUP_H
#define BASE_CLEANUP_H

#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#define _cleanup_(fn) __attribute__((cleanup(fn)))

static inline void cleanup_fdp(int *fd)
{
	if (*fd >= 0)
		close(*fd);
}

static inline void cleanup_freep(void *pointer_to_pointer)
{
	free(*(void **)pointer_to_pointer);
}

static inline void cleanup_filep(FILE **file)
{
	if (*file)
		fclose(*file);
}

/* int fd; closed at the end of scope unless negative. */
#define _cleanup_fd_ _cleanup_(cleanup_fdp)
/* Any pointer that free() releases. */
#define _cleanup_free_ _cleanup_(cleanup_freep)
#define _cleanup_file_ _cleanup_(cleanup_filep)

/* Returns *fd and leaves -1 behind: the caller of the caller owns it now. */
static inline int take_fd(int *fd)
{
	int r = *fd;

	*fd = -1;
	return r;
}

/* Closes *fd if it is open and leaves -1 behind; idempotent. */
static inline void close_fd(int *fd)
{
	int old = take_fd(fd);

	if (old >= 0)
		close(old);
}

/* Returns the pointer in @p and leaves NULL behind. */
#define take_ptr(p)                               \
	({                                        \
		__typeof__(p) take_ptr_old = (p); \
		(p) = NULL;                       \
		take_ptr_old;                     \
	})

#endif
