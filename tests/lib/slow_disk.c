/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Loaded before a program (LD_PRELOAD): each transfer at an offset of a file takes a moment longer,
 * SLOW_DISK_US microseconds as a mean and never the same, so that requests overtake each other, as
 * on a disk. For processes that shall have requests in flight.
 */
#include <stdint.h>
#include <stdlib.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <unistd.h>

static void wait_a_moment(void)
{
	static __thread unsigned int seed;
	const char *us = getenv("SLOW_DISK_US");

	if (!seed)
		seed = (unsigned int)(uintptr_t)&seed;
	if (us)
		usleep((useconds_t)(rand_r(&seed) % (2 * atoi(us) + 1)));
}

#ifdef __LP64__

ssize_t slow_pread(int fd, void *buf, size_t n, off_t at) __asm__("pread64");
ssize_t slow_pwrite(int fd, const void *buf, size_t n, off_t at) __asm__("pwrite64");
ssize_t slow_preadv(int fd, const struct iovec *iov, int n, off_t at) __asm__("preadv64");
ssize_t slow_preadv2(int fd, const struct iovec *iov, int n, off_t at, int flags) __asm__(
	"preadv64v2");
ssize_t slow_pwritev2(int fd, const struct iovec *iov, int n, off_t at, int flags) __asm__(
	"pwritev64v2");

ssize_t slow_pread(int fd, void *buf, size_t n, off_t at)
{
	wait_a_moment();
	return syscall(SYS_pread64, fd, buf, n, at);
}

ssize_t slow_pwrite(int fd, const void *buf, size_t n, off_t at)
{
	wait_a_moment();
	return syscall(SYS_pwrite64, fd, buf, n, at);
}

ssize_t slow_preadv(int fd, const struct iovec *iov, int n, off_t at)
{
	return slow_preadv2(fd, iov, n, at, 0);
}

ssize_t slow_preadv2(int fd, const struct iovec *iov, int n, off_t at, int flags)
{
	wait_a_moment();
	return syscall(SYS_preadv2, fd, iov, n, at, 0, flags);
}

ssize_t slow_pwritev2(int fd, const struct iovec *iov, int n, off_t at, int flags)
{
	wait_a_moment();
	return syscall(SYS_pwritev2, fd, iov, n, at, 0, flags);
}

#endif
