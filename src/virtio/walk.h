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

#endif
