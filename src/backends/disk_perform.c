/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Requests carried out with blocking system calls: the pool's work, and what io_uring leaves to it:
 * freeing and zeroing ranges, and transfers that O_DIRECT cannot take in place. Those go through a
 * buffer that is a memory file, so that the kernel copies between it and the guest's memory and a
 * page that has vanished is -EFAULT instead of a signal.
 */
#include <errno.h>
#include <fcntl.h>
#include <linux/fs.h>
#include <stdlib.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/uio.h>
#include <unistd.h>

#include "backends/disk_int.h"
#include "base/cleanup.h"

#define ZEROES_BYTES (64 * 1024)

/* Never written: reading it takes no memory. */
static uint8_t zeroes[ZEROES_BYTES] __attribute__((aligned(4096)));

static int bounce_init(struct disk_bounce *bounce)
{
	_cleanup_fd_ int fd = -1;
	void *map;

	if (bounce->fd >= 0)
		return 0;
	fd = memfd_create("ringside-bounce", MFD_CLOEXEC);
	if (fd < 0 || ftruncate(fd, DISK_BOUNCE_BYTES) < 0)
		return -errno;
	map = mmap(NULL, DISK_BOUNCE_BYTES, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	if (map == MAP_FAILED)
		return -errno;
	bounce->map = map;
	bounce->fd = take_fd(&fd);
	return 0;
}

void disk_bounce_deinit(struct disk_bounce *bounce)
{
	if (bounce->fd < 0)
		return;
	munmap(bounce->map, DISK_BOUNCE_BYTES);
	close_fd(&bounce->fd);
}

static bool must_be_stable(const struct disk *disk, const struct disk_req *req)
{
	return req->op != DISK_READ && (!disk->writeback || req->flags & DISK_FUA);
}

static int sync_data(struct disk *disk)
{
	int r;

	do
		r = fdatasync(disk->fd);
	while (r < 0 && errno == EINTR);
	return r < 0 ? -errno : 0;
}

/* Where a write cannot be told to be stable by itself, a sync follows it. */
static int transfer(struct disk *disk, struct disk_req *req)
{
	bool sync_after = false;
	int flags = must_be_stable(disk, req) && !disk->in_memory ? RWF_DSYNC : 0, r = 1;

	while (r > 0) {
		unsigned int num;
		const struct iovec *iov = disk_req_next(req, &num);
		off_t at = (off_t)(req->offset_bytes + req->done_bytes);
		ssize_t n;

		/* One buffer needs no array to be copied in. */
		if (num == 1 && !flags)
			n = req->op == DISK_WRITE
				    ? pwrite(disk->fd, iov->iov_base, iov->iov_len, at)
				    : pread(disk->fd, iov->iov_base, iov->iov_len, at);
		else
			n = req->op == DISK_WRITE ? pwritev2(disk->fd, iov, (int)num, at, flags)
						  : preadv(disk->fd, iov, (int)num, at);
		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0 && flags && (errno == EOPNOTSUPP || errno == ENOSYS)) {
			flags = 0;
			sync_after = true;
			continue;
		}
		r = disk_req_account(req, n < 0 ? -errno : n);
	}
	return !r && sync_after ? sync_data(disk) : r;
}

/* Between the bounce buffer's first @len bytes and the request's next ones, which advances it. */
static int bounce_copy(struct disk_req *req, struct disk_bounce *bounce, size_t len)
{
	size_t at = 0;

	while (at < len) {
		unsigned int num;
		const struct iovec *iov = disk_req_next(req, &num);
		size_t want = MIN(iov->iov_len, len - at);
		ssize_t n = req->op == DISK_WRITE
				    ? pwrite(bounce->fd, iov->iov_base, want, (off_t)at)
				    : pread(bounce->fd, iov->iov_base, want, (off_t)at);

		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0)
			return n < 0 ? -errno : -EIO;
		at += (size_t)n;
		disk_req_advance(req, (size_t)n);
	}
	return 0;
}

/* Between the image and the bounce buffer's first @len bytes. */
static int bounce_move(struct disk *disk, struct disk_req *req, struct disk_bounce *bounce,
	size_t len, uint64_t offset)
{
	struct iovec iov = { bounce->map, len };
	struct disk_req sub = { .op = req->op,
		.flags = req->flags,
		.offset_bytes = offset,
		.bytes = len,
		.iov = &iov,
		.num_iov = 1 };

	return transfer(disk, &sub);
}

static int transfer_bounced(struct disk *disk, struct disk_req *req, struct disk_bounce *bounce)
{
	int r = bounce_init(bounce);

	while (!r && req->done_bytes < req->bytes) {
		size_t len = (size_t)MIN(req->bytes - req->done_bytes, (uint64_t)DISK_BOUNCE_BYTES);
		uint64_t offset = req->offset_bytes + req->done_bytes;

		if (req->op == DISK_WRITE)
			r = bounce_copy(req, bounce, len);
		if (!r)
			r = bounce_move(disk, req, bounce, len, offset);
		if (!r && req->op == DISK_READ)
			r = bounce_copy(req, bounce, len);
	}
	return r;
}

static int do_transfer(struct disk *disk, struct disk_req *req, struct disk_bounce *bounce)
{
	return req->copy ? transfer_bounced(disk, req, bounce) : transfer(disk, req);
}

static int do_flush(struct disk *disk, struct disk_req *req, struct disk_bounce *bounce)
{
	(void)req;
	(void)bounce;
	return sync_data(disk);
}

static int try_fallocate(struct disk *disk, const struct disk_req *req, int mode)
{
	int r;

	do
		r = fallocate(disk->fd, mode | FALLOC_FL_KEEP_SIZE, (off_t)req->offset_bytes,
			(off_t)req->bytes);
	while (r < 0 && errno == EINTR);
	return r < 0 ? -errno : 0;
}

/* Not "it went wrong" but "not here, or not with this alignment". */
static bool is_unsupported(int r)
{
	return r == -EOPNOTSUPP || r == -ENOSYS || r == -EINVAL || r == -ENOTTY || r == -ENODEV;
}

static int do_discard(struct disk *disk, struct disk_req *req, struct disk_bounce *bounce)
{
	uint64_t range[2] = { req->offset_bytes, req->bytes };
	int r;

	(void)bounce;
	if (!disk->can_discard)
		return 0;
	if (disk->is_block_device)
		r = ioctl(disk->fd, BLKDISCARD, range) < 0 ? -errno : 0;
	else
		r = try_fallocate(disk, req, FALLOC_FL_PUNCH_HOLE);
	/* It is a hint: not to follow it is no failure. */
	return is_unsupported(r) ? 0 : r;
}

static int write_zeroes(struct disk *disk, const struct disk_req *req)
{
	uint64_t done = 0;

	while (done < req->bytes) {
		size_t len = (size_t)MIN(req->bytes - done, (uint64_t)ZEROES_BYTES);
		ssize_t n = pwrite(disk->fd, zeroes, len, (off_t)(req->offset_bytes + done));

		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0)
			return n < 0 ? -errno : -ENOSPC;
		done += (uint64_t)n;
	}
	return 0;
}

static int do_write_zeroes(struct disk *disk, struct disk_req *req, struct disk_bounce *bounce)
{
	int r = -EOPNOTSUPP;

	(void)bounce;
	if (req->flags & DISK_UNMAP)
		r = try_fallocate(disk, req, FALLOC_FL_PUNCH_HOLE);
	if (is_unsupported(r))
		r = try_fallocate(disk, req, FALLOC_FL_ZERO_RANGE);
	if (is_unsupported(r))
		r = write_zeroes(disk, req);
	if (!r && must_be_stable(disk, req))
		r = sync_data(disk);
	return r;
}

static int (*const performers[])(struct disk *, struct disk_req *, struct disk_bounce *) = {
	[DISK_READ] = do_transfer,
	[DISK_WRITE] = do_transfer,
	[DISK_FLUSH] = do_flush,
	[DISK_DISCARD] = do_discard,
	[DISK_WRITE_ZEROES] = do_write_zeroes,
};

int disk_perform(struct disk *disk, struct disk_req *req, struct disk_bounce *bounce)
{
	return performers[req->op](disk, req, bounce);
}
