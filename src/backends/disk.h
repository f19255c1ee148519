/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Disks: what a block device stands on. A struct disk is the configuration and the open image,
 * made once on the main loop and constant from then on; a struct disk_chan is one loop's way to it.
 * Requests are the caller's memory, are submitted and completed on the channel's loop, and their
 * number is not limited here: what the kernel's queue cannot take waits in a list.
 *
 * The contents of an image are never looked at: every image is raw. Buffers are handed to the
 * kernel and to nobody else, so a buffer that has vanished (a truncated memory file) is -EFAULT.
 */
#ifndef BACKENDS_DISK_H
#define BACKENDS_DISK_H

#include <stdatomic.h>
#include <sys/uio.h>

#include "base/err.h"
#include "base/loop.h"
#include "base/util.h"

enum disk_kind {
	DISK_FILE, /* a regular file or a block device */
	DISK_NULL, /* no storage at all: writes vanish, reads give zeroes; for measuring */
};

/* Who does the blocking work. */
enum disk_aio {
	/*
	 * The loop itself what does not wait for a device (an image in memory, a read that the page
	 * cache has), io_uring the rest, or threads where the kernel refuses that.
	 */
	DISK_AIO_AUTO,
	DISK_AIO_URING, /* disk_open() fails where the kernel refuses it */
	DISK_AIO_THREADS, /* a few threads that all channels of the disk share */
};

struct disk_config {
	enum disk_kind kind;
	const char *filename; /* DISK_FILE: what host_open() takes, a path or fd=N */
	uint64_t size_bytes; /* DISK_NULL: a multiple of 512 */
	bool read_only;
	/*
	 * Locks on the image, at the places where QEMU locks too, so that either excludes the
	 * other: one writer alone, or readers only. Off only for somebody who knows that it is
	 * safe.
	 */
	bool locking;
	/*
	 * A lock that somebody else holds is waited for, up to half a second: a killed process has
	 * its own for as long as its last requests take. The caller's loop stands still meanwhile.
	 */
	bool lock_patient;
	/*
	 * Past the host's page cache (O_DIRECT). Every request then has to begin and end at a
	 * multiple of disk->block_bytes, else it is -EINVAL; buffers may lie anywhere, but those
	 * that the hardware cannot address in place cost a copy.
	 */
	bool direct;
	/*
	 * False: every write is on stable storage before it is done, as if DISK_FUA stood on each.
	 */
	bool writeback;
	/* DISK_NULL: leaves what is read untouched in the buffer, which saves a system call. */
	bool skip_zeroes;
	enum disk_aio aio;
};

/* What most want. */
#define DISK_CONFIG_INIT                                              \
	{                                                             \
		.kind = DISK_FILE, .locking = true, .writeback = true \
	}

/*
 * All members but the size are constant after disk_open(), and all may be read by any thread.
 */
struct disk {
	enum disk_kind kind;
	char *name; /* the spec it was opened by, or "null"; for messages */
	/* A multiple of block_bytes; a rest of the image is left out. disk_resize() changes it. */
	_Atomic uint64_t size_bytes;
	/* The unit that requests keep to best, and have to keep to with direct; 512 or more. */
	uint32_t block_bytes;
	uint32_t physical_block_bytes; /* smaller writes are read-modify-write somewhere below */
	uint32_t min_io_bytes; /* 0: unknown */
	uint32_t opt_io_bytes; /* 0: unknown */
	bool read_only;
	bool direct;
	bool writeback;
	bool is_block_device;
	/* Discarding can free space; where it is false a discard succeeds and does nothing. */
	bool can_discard;
	uint32_t discard_granularity_bytes; /* 0: unknown */
	enum disk_aio aio; /* what it really is: never DISK_AIO_AUTO */
	/* The rest is the room's own. */
	struct disk_pool *pool;
	bool skip_zeroes;
	bool aio_auto; /* no engine was insisted on */
	bool in_memory; /* the image's file system has no device */
	int fd; /* of the image; of /dev/zero for DISK_NULL */
	uint32_t dio_mem_align; /* with direct: of a buffer's address, 1 where anything goes */
};

/*
 * Opens, sizes and locks it. -errno with a sentence: -EAGAIN where somebody else has the image,
 * -EINVAL for what is neither a regular file nor a block device, is empty, or cannot do what is
 * asked for. Main loop.
 */
int disk_open(const struct disk_config *config, struct disk **ret, struct err *err);
/* All its channels are closed. NULL is fine. Main loop. */
void disk_free(struct disk *disk);

/*
 * Another size, more than 0 and a multiple of block_bytes: an image grows by a hole, or is cut. A
 * block device has to have that size already. Before it gets smaller, what reaches beyond the new
 * end has come back, and no such thing is submitted any more: a write would make the image larger
 * again. -errno with a sentence, and the size is what it was. Main loop.
 */
int disk_resize(struct disk *disk, uint64_t size_bytes, struct err *err);
/* Whether that may be: 0, or the -errno with which it would be refused. */
int disk_check_resize(struct disk *disk, uint64_t size_bytes, struct err *err);

enum disk_op {
	DISK_READ,
	DISK_WRITE,
	DISK_FLUSH, /* what was done before this was submitted is stable when this is done */
	DISK_DISCARD, /* the range's contents are undefined afterwards */
	DISK_WRITE_ZEROES, /* the range reads as zeroes afterwards */
};

/* enum disk_req.flags */
#define DISK_FUA   (1u << 0) /* DISK_WRITE, DISK_WRITE_ZEROES: stable when done */
#define DISK_UNMAP (1u << 1) /* DISK_WRITE_ZEROES: may free the space as well */

struct disk_chan;

struct disk_req {
	/* The caller's; constant until @done is called. */
	enum disk_op op;
	uint32_t flags;
	uint64_t offset_bytes; /* not looked at for DISK_FLUSH */
	uint64_t bytes; /* for reads and writes the sum of @iov, which is checked */
	const struct iovec *iov; /* any number of entries, empty ones too; untouched */
	unsigned int num_iov;
	/*
	 * Called once, on the channel's loop, never from within disk_submit(). @result is 0 or
	 * -errno: -EINVAL outside the disk, badly aligned or malformed; -EROFS a change to a
	 * read-only disk; -EFAULT a buffer that is not there; -EIO also a read of a part that the
	 * image lost since it was opened (buffers may then be filled in part). The node is the
	 * caller's again: it may be submitted anew or freed. The channel must not be closed from
	 * within.
	 */
	void (*done)(struct disk_req *req, int result);

	/* The engine's; needs no initialisation. */
	struct disk_chan *chan;
	struct disk_req *next;
	uint64_t done_bytes;
	struct iovec part; /* the rest of an entry that was transferred in part */
	size_t iov_skip;
	unsigned int iov_at;
	bool copy; /* O_DIRECT cannot take the buffers in place */
	int result;
};

/*
 * A channel for @loop, opened on the thread that runs @loop (or will: before it was started nothing
 * may be submitted from elsewhere). -errno with a sentence.
 */
int disk_chan_open(struct disk *disk, struct loop *loop, struct disk_chan **ret, struct err *err);
/* All its requests are done. NULL is fine. On its loop, not from within a done(). */
void disk_chan_close(struct disk_chan *chan);
/* Submitted but not done yet. */
unsigned int disk_chan_inflight(const struct disk_chan *chan);

/*
 * Queues @req; the kernel hears of it once a round of the loop, together with the others. On the
 * channel's loop.
 */
void disk_submit(struct disk_chan *chan, struct disk_req *req);
/*
 * For a loop that polls: submits what is queued and reaps what is complete, without a system call
 * where there is nothing of either. Returns how many requests it ended. On the channel's loop. What
 * the thread pool does comes by loop_post() and not through here.
 */
unsigned int disk_chan_poll(struct disk_chan *chan);

#endif
