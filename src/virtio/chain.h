/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * One request: a chain of descriptors that was loaded once, validated and translated, seen as two
 * cursors. What the device may read comes first, what it may write after it (virtio 1.3, "Message
 * Framing": nothing depends on how the driver cut the bytes into descriptors).
 *
 * A chain belongs to the loop that serves its queue. A device holds it from serve() until it
 * returns SERVE_DONE or calls vq_complete(); SERVE_RETRY gives it back untouched. A device parses
 * bytes only from the copy that chain_take() makes; payload goes on unread as iovecs.
 */
#ifndef VIRTIO_CHAIN_H
#define VIRTIO_CHAIN_H

#include <stdatomic.h>
#include <string.h>
#include <sys/uio.h>

#include "base/util.h"

/* The readable bytes that a request keeps for inspection. */
#define CHAIN_SNAP_BYTES 32

/* A position in a list of iovecs; the elements from @iov on are what remains. */
struct chain_cursor {
	struct iovec *iov; /* the first one may be consumed in part: it is trimmed in place */
	int num_iov;
	uint64_t bytes; /* that remain */
};

enum chain_phase {
	CHAIN_FRESH, /* 0: beside written, it is reset in one store */
	CHAIN_DONE_EARLY, /* vq_complete() came while serve() still had it */
	CHAIN_HELD,
	CHAIN_FINISHED, /* in_order: it was answered, and waits for those before it */
};

struct vq;
struct dirty_log;

struct chain {
	struct chain_cursor readable;
	struct chain_cursor writable;
	uint16_t head; /* split: the index of the first descriptor; packed: the buffer id */
	uint16_t num_ring_descs; /* packed: places of the ring that it takes */
	uint32_t num_loaded; /* descriptors that were read for it, an indirect table's included */
	/* Bytes that went into the writable part from its start without a gap: the used length. */
	uint32_t written;
	enum chain_phase phase;
	uint16_t slot; /* which of the queue's chain slots this is */
	struct chain *order_next; /* in_order: the one taken after it */
	struct vq *vq;
	struct dirty_log *dirty; /* the queue's: what is written is marked there; NULL: nowhere */
	struct iovec
		*iov_block; /* all the iovecs: the slot's own, or one of the queue's large ones */

	/*
	 * For inspection, read on the main loop while the owner runs: seq is odd while the fields
	 * below it change; a reader that finds it odd, or changed, tries again.
	 */
	_Atomic uint32_t seq;
	_Atomic bool in_flight;
	_Atomic uint64_t since_ns; /* when the batch that it was popped in began */
	_Atomic uint32_t readable_bytes, writable_bytes; /* as offered by the driver */
	_Atomic uint16_t inspect_head;
	_Atomic uint8_t num_snap;
	_Atomic uint64_t
		snap[CHAIN_SNAP_BYTES / 8]; /* first readable bytes, as the device took them */
};

/* Copies the next @len readable bytes out; false, and nothing consumed, where fewer remain. The
 * first ones of a request are kept for inspection. */
bool chain_take(struct chain *c, void *dst, size_t len);
/* For chain_read(): where the bytes are not within one piece. */
bool chain_read_pieces(struct chain *c, void *dst, size_t len);
/* As chain_take(), and nothing is kept: of requests that serve() answers itself, always. */
static inline bool chain_read(struct chain *c, void *dst, size_t len)
{
	struct iovec *iov = c->readable.iov;

	if (unlikely(len >= c->readable.bytes || len >= iov->iov_len))
		return chain_read_pieces(c, dst, len);
	memcpy(dst, iov->iov_base, len);
	/* From here on only the copy counts: the compiler must not read guest memory again for it.
	 */
	__asm__ volatile("" : : "r"(dst) : "memory");
	iov->iov_base = (char *)iov->iov_base + len;
	iov->iov_len -= len;
	c->readable.bytes -= len;
	return true;
}
/* Copies @len bytes into the writable part; false, and nothing written, where fewer fit. */
bool chain_put(struct chain *c, const void *src, size_t len);
/* Skips @len readable bytes; false, and nothing consumed, where fewer remain. */
bool chain_skip(struct chain *c, uint64_t len);

/*
 * Cuts the last @len bytes off the writable part into @tail (filled with at most @max pieces), for
 * replies that stand at the end. Returns the number of pieces, or -1 where fewer bytes fit or the
 * pieces are more than @max; then nothing is cut.
 */
int chain_cut_tail(struct chain *c, size_t len, struct iovec *tail, int max);

/* For chain_wrote(): where the bytes are not within one piece. */
void chain_wrote_pieces(struct chain *c, uint64_t len);
/*
 * Payload as iovecs, to hand to a back end: c->readable.iov, c->readable.num_iov and the like for
 * writable. The memory stays the guest's: nobody parses it. After the back end wrote @len bytes at
 * the start of what remained writable, this accounts for them.
 */
static inline void chain_wrote(struct chain *c, uint64_t len)
{
	struct iovec *iov = c->writable.iov;

	if (unlikely(len >= c->writable.bytes || len >= iov->iov_len || c->dirty)) {
		chain_wrote_pieces(c, len);
		return;
	}
	iov->iov_base = (char *)iov->iov_base + len;
	iov->iov_len -= (size_t)len;
	c->writable.bytes -= len;
	c->written += (uint32_t)len;
}
/*
 * A back end failed and may have written any of the next @len writable bytes: they count as
 * nothing, but the guest's memory is not what it was. Moves no cursor.
 */
void chain_touched(struct chain *c, uint64_t len);

/*
 * Gives the guest's whole pages in the writable part back to the host: they read as zeros from then
 * on. 0, or the -errno of the last piece that the kernel refused. Moves no cursor.
 */
int chain_discard(struct chain *c);

/* Copies @len bytes into a list of pieces that chain_cut_tail() gave of @c. */
void chain_fill(struct chain *c, const struct iovec *iov, int num_iov, const void *src, size_t len);

#endif
