/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A folder of a test's own, for real files. It lies in the folder that the test is run in (the
 * build folder, a real file system) and is removed with everything in it at the end.
 */
#ifndef TESTS_UNIT_TMPDIR_H
#define TESTS_UNIT_TMPDIR_H

#include <ftw.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static char tmpdir_path[64];

static inline int tmpdir_remove_one(
	const char *path, const struct stat *st, int flag, struct FTW *ftw)
{
	(void)st;
	(void)flag;
	(void)ftw;
	return remove(path);
}

/* A cmocka group's setup. The name is short and relative, as a socket's path has to be. */
static inline int tmpdir_setup(void **state)
{
	(void)state;
	strcpy(tmpdir_path, "tmp-unit-XXXXXX");
	return mkdtemp(tmpdir_path) ? 0 : -1;
}

static inline int tmpdir_teardown(void **state)
{
	(void)state;
	return nftw(tmpdir_path, tmpdir_remove_one, 8, FTW_DEPTH | FTW_PHYS);
}

/* The path of @name in it; one of four static buffers in turn. */
static inline const char *tmpdir_file(const char *name)
{
	static char paths[4][128];
	static unsigned int next;
	char *path = paths[next++ % 4];

	snprintf(path, sizeof(paths[0]), "%s/%s", tmpdir_path, name);
	return path;
}

#endif
