/* SPDX-License-Identifier: BSD-3-Clause */
/* Blocks of 512 bytes: a header with octal numbers and a sum, then the file, then two of zeros. */
#include "client/tar.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "base/alloc.h"
#include "base/cleanup.h"
#include "base/host_open.h"

#define BLOCK 512

struct ustar {
	char name[100], mode[8], uid[8], gid[8], size[12], mtime[12], sum[8], type, link[100];
	char magic[6], version[2], user[32], group[32], major[8], minor[8], prefix[155], pad[12];
};

_Static_assert(sizeof(struct ustar) == BLOCK, "a header is a block");

int tar_create(struct tar *tar, const char *path, struct err *err)
{
	int fd = host_open(path, O_WRONLY | O_CREAT | O_EXCL, 0600, err);

	*tar = (struct tar){ 0 };
	if (fd < 0)
		return fd;
	tar->file = fdopen(fd, "w");
	if (!tar->file) {
		close(fd);
		return err_set(err, -ENOMEM, "no memory for a file");
	}
	tar->path = xstrdup(path);
	tar->mtime = time(NULL);
	return 0;
}

static void octal(char *to, size_t size, unsigned long long value)
{
	char text[24];

	snprintf(text, sizeof(text), "%0*llo", (int)size - 1, value);
	memcpy(to, text, size);
}

void tar_add(struct tar *tar, const char *name, const char *bytes, size_t len)
{
	static const char zeros[BLOCK];
	struct ustar h = { 0 };
	unsigned int sum = 0;

	assert(strlen(name) < sizeof(h.name));
	memcpy(h.name, name, strlen(name));
	octal(h.mode, sizeof(h.mode), 0644);
	octal(h.uid, sizeof(h.uid), 0);
	octal(h.gid, sizeof(h.gid), 0);
	octal(h.size, sizeof(h.size), len);
	octal(h.mtime, sizeof(h.mtime), (unsigned long long)tar->mtime);
	h.type = '0';
	memcpy(h.magic, "ustar", 6);
	memcpy(h.version, "00", 2);
	/* The sum is taken with spaces in its own place. */
	memset(h.sum, ' ', sizeof(h.sum));
	for (size_t i = 0; i < sizeof(h); i++)
		sum += ((const unsigned char *)&h)[i];
	octal(h.sum, 7, sum);
	fwrite(&h, 1, sizeof(h), tar->file);
	fwrite(bytes, 1, len, tar->file);
	fwrite(zeros, 1, (BLOCK - len % BLOCK) % BLOCK, tar->file);
}

int tar_finish(struct tar *tar, struct err *err)
{
	static const char zeros[2 * BLOCK];
	int code = 0;

	errno = 0;
	fwrite(zeros, 1, sizeof(zeros), tar->file);
	if (fflush(tar->file) != 0 || ferror(tar->file))
		code = errno ?: EIO;
	if (!code) {
		fclose(tar->file);
		tar->file = NULL;
		free(take_ptr(tar->path));
		return 0;
	}
	err_set(err, -code, "cannot write '%s': %s", tar->path, strerror(code));
	tar_abort(tar);
	return -code;
}

void tar_abort(struct tar *tar)
{
	int fd;

	if (!tar->file)
		return;
	fclose(tar->file);
	tar->file = NULL;
	if (!host_spec_fd(tar->path, &fd))
		unlink(tar->path);
	free(take_ptr(tar->path));
}
