/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * What the ring formats share while they walk a chain: its descriptors become two lists of pieces,
 * each checked once (virtio 1.3, "Message Framing", "Indirect Descriptors"). Serving loop; for
 * split.c and packed.c alone.
 */
#ifndef VIRTIO_WALK_H
#define VIRTIO_WALK_H

#include <string.h>

#include "virtio/vq_internal.h"

/* A descriptor of either format, loaded and in the host's byte order. */
struct walk_desc {
	uint64_t addr;
	uint32_t len;
	uint16_t flags;
	uint16_t next; /* split: of the chain's next descriptor; packed: the buffer id */
};

/* The fields of a split ring's descriptor, wherever it lies: each is loaded once. */
struct walk_fields {
	uint64_t addr;
	uint32_t len;
	uint16_t flags, next;
} __attribute__((packed, may_alias));

struct walk {
	struct vq *vq;
	struct chain *c;
	struct iovec *iov;
	int num_iov, max_iov, num_readable;
	uint64_t readable_bytes, writable_bytes;
	uint32_t num_descs;
	bool writing;
};

/* An indirect table whose place was checked. */
struct walk_table {
	const void *host; /* NULL where it crosses regions */
	uint64_t gpa;
	uint32_t num; /* entries, above 0 */
};

/* Entry @i, 16 bytes, of a table in guest memory: loaded once, the copy is what counts. */
static inline void walk_load(const void *table, uint32_t i, void *ret)
{
	memcpy(ret, (const char *)table + (size_t)i * 16, 16);
	/* The compiler must not fetch from the table again. */
	__asm__ volatile("" : : "r"(ret) : "memory");
}

/*
 * Main loop, at a start: the @name area of a ring, @bytes at @gpa. -EINVAL where it is not aligned
 * to @align, in the guest or here: words of a ring are loaded and stored whole. -EFAULT where it
 * is not in one region.
 */
int walk_map_area(struct vq *vq, const char *name, uint64_t gpa, uint64_t bytes, uint64_t align,
	void **ret, struct err *err);
/* Makes the region of @gpa vq->near; false where there is none. */
bool walk_come_near(struct vq *vq, uint64_t gpa);
/* Takes a free chain for @head. */
void walk_begin(struct walk *w, struct vq *vq, uint16_t head);
/* Breaks the queue: "head H: descriptor INDEX WHAT". Returns -EPROTO. */
int walk_bad(struct walk *w, const char *what, uint32_t index);
/* Adds a buffer: 0, -EAGAIN where a large block must be waited for, or -EPROTO, the queue broken.
 */
int walk_take(struct walk *w, const struct walk_desc *d, uint32_t index);
/* Looks at where @outer points to: 0, or -EPROTO, the queue broken. */
int walk_table(struct walk *w, const struct walk_desc *outer, uint32_t outer_index,
	struct walk_table *ret);
/* Copies the 16 bytes of entry @i, below table->num; they may cross regions. */
void walk_table_load(const struct walk *w, const struct walk_table *table, uint32_t i, void *ret);
/*
 * The walk ended with @r. 0: the chain is whole, 1 and *ret. -EAGAIN: it is given back, and the
 * queue waits for a large block, 0. Else it is given back and @r returned.
 */
int walk_end(struct walk *w, int r, struct chain **ret);

/*
 * The quick way for the chains that drivers make: few descriptors, each buffer within one region
 * and not empty, in order. Whatever else a chain is, the quick way gives up without a word, and
 * what it loaded is forgotten: the walk above begins anew, and says what is wrong where something
 * is.
 */
struct walk_quick {
	struct vq *vq;
	struct chain *c;
	struct iovec *iov, *end;
	uint64_t bytes; /* of the part at hand */
};

/* @c is fresh: its pieces are its slot's own. */
static inline void walk_quick_begin(struct walk_quick *q, struct vq *vq, struct chain *c)
{
	*q = (struct walk_quick){
		.vq = vq, .c = c, .iov = c->iov_block, .end = c->iov_block + VQ_INLINE_IOVS
	};
}

/* @len bytes at @gpa, above 0 and in one region: true with the address. */
static inline bool walk_quick_ptr(struct vq *vq, uint64_t gpa, uint64_t len, void *ret)
{
	uint64_t room = vq->near.end_gpa - gpa;

	/* No room wraps, and is too much: at the end, and where nothing is near yet. */
	if (unlikely(room - 1 >= vq->near.bytes)) {
		if (!walk_come_near(vq, gpa))
			return false;
		room = vq->near.end_gpa - gpa;
	}
	*(void **)ret = vq->near.end_host - room;
	/* A length of 0 wraps, and is too long. */
	return likely(len - 1 < room);
}

/* Adds a buffer, for which there is room; false where the quick way is at its end. */
static inline bool walk_quick_take(struct walk_quick *q, uint64_t gpa, uint64_t len)
{
	if (!walk_quick_ptr(q->vq, gpa, len, &q->iov->iov_base))
		return false;
	q->iov->iov_len = len;
	q->iov++;
	q->bytes += len;
	return true;
}

/* Is there room for another? For the first there always is. */
static inline bool walk_quick_room(const struct walk_quick *q)
{
	return likely(q->iov != q->end);
}

/* All readable buffers are there; writable ones may follow. */
static inline void walk_quick_turn(struct walk_quick *q)
{
	struct chain *c = q->c;

	c->readable.iov = c->iov_block;
	c->readable.num_iov = (int)(q->iov - c->iov_block);
	c->readable.bytes = q->bytes;
	c->writable.iov = q->iov;
	q->bytes = 0;
}

/* The chain is complete: true, unless it is too long. */
static inline bool walk_quick_end(struct walk_quick *q)
{
	struct chain *c = q->c;

	c->writable.num_iov = (int)(q->iov - c->writable.iov);
	c->writable.bytes = q->bytes;
	c->num_loaded = (uint32_t)(q->iov - c->iov_block);
	atomic_store_explicit(
		&c->readable_bytes, (uint32_t)c->readable.bytes, memory_order_relaxed);
	atomic_store_explicit(&c->writable_bytes, (uint32_t)q->bytes, memory_order_relaxed);
	return likely((c->readable.bytes | q->bytes) <= UINT32_MAX);
}

#endif
