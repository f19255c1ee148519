/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Requests carried out at once, on the loop itself, where that cannot wait for a device: all of a
 * transfer on a file system that lies in memory, and reads of what the page cache has. A kernel's
 * io_uring would hand the former to threads of its own (a memory file system has no attempt that
 * does not wait), and for single requests costs more than the transfer. What may wait, and what is
 * large enough to hold up the loop's other queues, is left to the engine.
 */
#include <errno.h>
#include <linux/magic.h>
#include <sys/uio.h>
#include <sys/vfs.h>

#include "backends/disk_int.h"

/* A larger one would be copied by the loop alone for longer than handing it over takes. */
#define INLINE_REQ_BYTES (128 * 1024)
/* So much in one round; then the loop's other work has its turn. */
#define INLINE_ROUND_BYTES (512 * 1024)
#define INLINE_ROUND_REQS  64
/* From so many on io_uring's one system call for all of them is cheaper than one for each. */
#define INLINE_CACHE_REQS 4
/* After reads that the page cache did not have, at most so many go without an attempt. */
#define INLINE_PAUSE_MAX 255

bool disk_lies_in_memory(int fd)
{
	struct statfs fs;

	/* Such a file may be swapped out: so may the guest's memory, and either costs a wait. */
	return fstatfs(fd, &fs) == 0 &&
	       ((uint32_t)fs.f_type == TMPFS_MAGIC || (uint32_t)fs.f_type == RAMFS_MAGIC);
}

/* In memory: true where @req is done, with its result. */
static bool perform_in_memory(struct disk_chan *chan, struct disk_req *req)
{
	struct disk_bounce none = { .fd = -1 };

	if (req->op > DISK_FLUSH || req->bytes > INLINE_REQ_BYTES || req->copy)
		return false;
	req->result = disk_perform(chan->disk, req, &none);
	return true;
}

/* From the page cache: true where @req is done. What it got is accounted for, also in part. */
static bool read_cached(struct disk_chan *chan, struct disk_req *req)
{
	struct disk_inline *in = &chan->in;
	const struct iovec *iov;
	unsigned int num;
	ssize_t n;

	if (req->op != DISK_READ || req->bytes > INLINE_REQ_BYTES)
		return false;
	if (in->pause) {
		in->pause--;
		return false;
	}
	iov = disk_req_next(req, &num);
	n = preadv2(chan->disk->fd, iov, (int)num, (off_t)req->offset_bytes, RWF_NOWAIT);
	if (n > 0) {
		req->result = disk_req_account(req, n);
		if (!req->result) {
			in->pause_next = 1;
			return true;
		}
	}
	/* Not there, or not all of it, or an error that the engine will find as well. */
	if (n < 0 && errno == EOPNOTSUPP)
		in->mode = DISK_INLINE_OFF;
	in->pause = in->pause_next;
	in->pause_next = MIN(in->pause_next * 2 + 1, (unsigned int)INLINE_PAUSE_MAX);
	return false;
}

void disk_inline_init(struct disk_chan *chan)
{
	const struct disk *disk = chan->disk;

	chan->in.pause_next = 1;
	/* Who asks for an engine by name gets it. Directly, a read always waits for the device. */
	if (disk->kind != DISK_FILE || !disk->aio_auto)
		chan->in.mode = DISK_INLINE_OFF;
	else if (disk->in_memory)
		chan->in.mode = DISK_INLINE_MEMORY;
	else
		chan->in.mode = disk->direct ? DISK_INLINE_OFF : DISK_INLINE_CACHE;
}

void disk_inline_round(struct disk_chan *chan)
{
	unsigned int num = 0, num_fresh = chan->in.num_fresh;
	struct disk_req *req;
	uint64_t bytes = 0;

	while ((req = disk_list_pop(&chan->in.fresh))) {
		enum disk_inline_mode mode = chan->in.mode;
		bool is_done = false;

		chan->in.num_fresh--;
		if (mode == DISK_INLINE_MEMORY)
			is_done = perform_in_memory(chan, req);
		else if (mode == DISK_INLINE_CACHE && num_fresh < INLINE_CACHE_REQS)
			is_done = read_cached(chan, req);
		if (!is_done) {
			disk_list_push(&chan->pending, req);
			continue;
		}
		bytes += req->bytes;
		disk_req_end(req, req->result);
		if (++num == INLINE_ROUND_REQS || bytes >= INLINE_ROUND_BYTES)
			break;
	}
	if (chan->in.fresh.head)
		loop_work_add(chan->loop, &chan->work);
}
