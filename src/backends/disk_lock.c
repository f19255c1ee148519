/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Locks on images: open file description locks, which end with the descriptor and not with any
 * other descriptor of the process. They lie on the bytes where QEMU puts its own, with the same
 * meaning, so that either program keeps the other away: byte USED + p says "somebody does p", byte
 * UNSHARED + p says "somebody cannot bear that others do p". All are shared locks; a conflict is
 * found by asking whether an exclusive one would be possible on the opposite byte. Taking first and
 * asking then means that of two who come at once at least one is refused, never none.
 *
 * A process that was killed keeps its locks for as long as its last requests are in the kernel
 * (io_uring's are ended after the process is gone), and so it must be: whoever comes after it may
 * not write what those still overwrite. A program's start waits for a moment that this takes as a
 * rule; a device that is plugged in later does not, since other devices' connections would wait
 * too.
 */
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <time.h>

#include "backends/disk_int.h"

#define LOCK_USED     100
#define LOCK_UNSHARED 200
#define LOCK_BYTES    8

/* How long somebody else's lock is waited for, and how often it is tried meanwhile. */
#define LOCK_WAIT_MS 500
#define LOCK_STEP_MS 5

enum lock_perm { LOCK_PERM_READ, LOCK_PERM_WRITE, LOCK_PERM_WRITE_UNCHANGED, LOCK_PERM_RESIZE };

/* Every holder needs the contents and their size to stand still under it. */
#define UNSHARED ((1u << LOCK_PERM_WRITE) | (1u << LOCK_PERM_RESIZE))

static int lock_byte(int fd, int cmd, short type, off_t at)
{
	struct flock lock = { .l_type = type, .l_whence = SEEK_SET, .l_start = at, .l_len = 1 };

	if (fcntl(fd, cmd, &lock) < 0)
		return -errno;
	return cmd == F_OFD_GETLK && lock.l_type != F_UNLCK ? -EAGAIN : 0;
}

static int lock_bytes(int fd, int cmd, short type, off_t base, unsigned int perms)
{
	unsigned int p;
	int r;

	for (p = 0; p < LOCK_BYTES; p++) {
		if (!(perms & (1u << p)))
			continue;
		r = lock_byte(fd, cmd, type, base + p);
		if (r < 0)
			return r;
	}
	return 0;
}

void disk_unlock(int fd)
{
	struct flock lock = { .l_type = F_UNLCK,
		.l_whence = SEEK_SET,
		.l_start = LOCK_USED,
		.l_len = LOCK_UNSHARED + LOCK_BYTES - LOCK_USED };

	fcntl(fd, F_OFD_SETLK, &lock);
}

static int try_lock(int fd, bool read_only)
{
	unsigned int used = (1u << LOCK_PERM_READ) | (read_only ? 0 : 1u << LOCK_PERM_WRITE);
	int r;

	r = lock_bytes(fd, F_OFD_SETLK, F_RDLCK, LOCK_USED, used);
	if (!r)
		r = lock_bytes(fd, F_OFD_SETLK, F_RDLCK, LOCK_UNSHARED, UNSHARED);
	if (!r)
		r = lock_bytes(fd, F_OFD_GETLK, F_WRLCK, LOCK_UNSHARED, used);
	if (!r)
		r = lock_bytes(fd, F_OFD_GETLK, F_WRLCK, LOCK_USED, UNSHARED);
	if (r < 0)
		disk_unlock(fd);
	return r;
}

int disk_lock(int fd, const char *name, bool read_only, bool patient, struct err *err)
{
	static const struct timespec step = { .tv_nsec = LOCK_STEP_MS * (long)NSEC_PER_MSEC };
	uint64_t end = now_ns() + LOCK_WAIT_MS * NSEC_PER_MSEC;
	int r = try_lock(fd, read_only);

	while (patient && (r == -EAGAIN || r == -EACCES) && now_ns() < end) {
		nanosleep(&step, NULL);
		r = try_lock(fd, read_only);
	}
	if (!r)
		return 0;
	if (r == -EAGAIN || r == -EACCES)
		return err_set(err, -EAGAIN,
			"cannot lock disk image '%s' for %s: another disk of this process, another "
			"Ringside, QEMU or qemu-img has it (fuser tells which); end that one, make "
			"all "
			"of them read-only, or say locking=off if they know of each other",
			name, read_only ? "reading" : "writing");
	return err_set(err, r,
		"cannot lock disk image '%s': %s; a file system without locks needs locking=off",
		name, strerror(-r));
}
