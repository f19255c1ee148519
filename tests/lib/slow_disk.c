/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Loaded before a program (LD_PRELOAD): each transfer at an offset of a file takes a moment longer,
 * SLOW_DISK_US microseconds as a mean and never the same, so that requests overtake each other, as
 * on a disk. For processes that shall have requests in flight. While the file SLOW_DISK_HOLD is
 * there, transfers stay, some before and some after they were done: however busy the machine is,
 * requests in flight become more, and others are answered meanwhile.
 */
#include <errno.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <unistd.h>

/* Guests run on 64 bits only; elsewhere off_t and the calls' names differ. */
#ifdef __LP64__

/* How often a transfer that may stay is looked at. */
#define HOLD_STEP_US 1000

static unsigned int chance(void)
{
	static __thread unsigned int seed;

	if (!seed)
		seed = (unsigned int)(uintptr_t)&seed;
	return (unsigned int)rand_r(&seed);
}

static void hold_some(void)
{
	const char *path = getenv("SLOW_DISK_HOLD");

	if (!path || chance() % 4)
		return;
	while (!access(path, F_OK))
		usleep(HOLD_STEP_US);
}

static void before_transfer(void)
{
	const char *us = getenv("SLOW_DISK_US");

	if (us)
		usleep((useconds_t)(chance() % (2 * (unsigned int)atoi(us) + 1)));
	hold_some();
}

static ssize_t after_transfer(ssize_t r)
{
	int code = errno;

	hold_some();
	errno = code;
	return r;
}

ssize_t slow_pread(int fd, void *buf, size_t n, off_t at) __asm__("pread64");
ssize_t slow_pwrite(int fd, const void *buf, size_t n, off_t at) __asm__("pwrite64");
ssize_t slow_preadv(int fd, const struct iovec *iov, int n, off_t at) __asm__("preadv64");
ssize_t slow_preadv2(int fd, const struct iovec *iov, int n, off_t at, int flags) __asm__(
	"preadv64v2");
ssize_t slow_pwritev2(int fd, const struct iovec *iov, int n, off_t at, int flags) __asm__(
	"pwritev64v2");

ssize_t slow_pread(int fd, void *buf, size_t n, off_t at)
{
	before_transfer();
	return after_transfer(syscall(SYS_pread64, fd, buf, n, at));
}

ssize_t slow_pwrite(int fd, const void *buf, size_t n, off_t at)
{
	before_transfer();
	return after_transfer(syscall(SYS_pwrite64, fd, buf, n, at));
}

ssize_t slow_preadv(int fd, const struct iovec *iov, int n, off_t at)
{
	return slow_preadv2(fd, iov, n, at, 0);
}

ssize_t slow_preadv2(int fd, const struct iovec *iov, int n, off_t at, int flags)
{
	before_transfer();
	return after_transfer(syscall(SYS_preadv2, fd, iov, n, at, 0, flags));
}

ssize_t slow_pwritev2(int fd, const struct iovec *iov, int n, off_t at, int flags)
{
	before_transfer();
	return after_transfer(syscall(SYS_pwritev2, fd, iov, n, at, 0, flags));
}

#endif
