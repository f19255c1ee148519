/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Makes and removes private folders. A base folder whose name is too long for socket addresses, or
 * that is not absolute (it becomes part of the guest's command line), is passed over.
 */
#include "machine/private_dir.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/alloc.h"
#include "base/cleanup.h"

/* Folders in folders, deeper than anything that is made in there. */
#define PRIVATE_DIR_DEPTH_MAX 8

/* The guest's command line separates by spaces, and its device arguments by colons. */
static bool usable(const char *base)
{
	const char *c;

	if (!base || *base != '/' ||
		strlen(base) + sizeof("/ringside-XXXXXX") > PRIVATE_DIR_PATH_MAX)
		return false;
	for (c = base; *c; c++)
		if (*c <= ' ' || *c >= 0x7f || strchr(":\"'\\", *c))
			return false;
	return true;
}

int private_dir_make(char **ret, struct err *err)
{
	const char *bases[] = { getenv("XDG_RUNTIME_DIR"), getenv("TMPDIR"), "/tmp" };
	int code = ENOENT;
	size_t i;

	for (i = 0; i < ARRAY_SIZE(bases); i++) {
		_cleanup_free_ char *path = NULL;

		if (!usable(bases[i]))
			continue;
		path = xasprintf("%s/ringside-XXXXXX", bases[i]);
		if (mkdtemp(path)) {
			*ret = take_ptr(path);
			return 0;
		}
		code = errno;
	}
	return err_set(err, -code,
		"cannot make a private folder in /tmp: %s; set TMPDIR to a folder that can be "
		"written and has a short name",
		strerror(code));
}

static void remove_content(int dir_fd, int depth)
{
	DIR *dir = fdopendir(dir_fd);
	struct dirent *entry;

	if (!dir) {
		close(dir_fd);
		return;
	}
	while ((entry = readdir(dir))) {
		int fd;

		if (!strcmp(entry->d_name, ".") || !strcmp(entry->d_name, ".."))
			continue;
		if (!unlinkat(dirfd(dir), entry->d_name, 0) || depth == 0)
			continue;
		fd = openat(
			dirfd(dir), entry->d_name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
		if (fd < 0)
			continue;
		remove_content(fd, depth - 1);
		unlinkat(dirfd(dir), entry->d_name, AT_REMOVEDIR);
	}
	closedir(dir);
}

void private_dir_remove(const char *dir)
{
	int fd;

	if (!dir)
		return;
	fd = open(dir, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	if (fd >= 0)
		remove_content(fd, PRIVATE_DIR_DEPTH_MAX);
	rmdir(dir);
}
