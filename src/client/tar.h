/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * An archive that is written once, file by file: POSIX' ustar format, which every tar reads. Names
 * are relative and have 99 bytes at most.
 */
#ifndef CLIENT_TAR_H
#define CLIENT_TAR_H

#include <stdio.h>

#include "base/err.h"

struct tar {
	FILE *file; /* owned; NULL: not open */
	char *path;
	long long mtime; /* of all files, seconds since 1970 */
};

/* A new file, readable by its owner alone. -EEXIST, or another -errno, with a sentence. */
int tar_create(struct tar *tar, const char *path, struct err *err);
/* One file with @len bytes. What cannot be written is said by tar_finish(). */
void tar_add(struct tar *tar, const char *name, const char *bytes, size_t len);
/* Ends and closes it; -errno with a sentence, the file removed, where something was not written. */
int tar_finish(struct tar *tar, struct err *err);
/* Closes and removes what was begun. Idempotent. */
void tar_abort(struct tar *tar);

#endif
