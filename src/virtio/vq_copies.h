/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Copies into the guest's buffers that a device leaves for later: they are made together, at the
 * latest before the answers of the batch are shown. Of copies in a row the processor waits for many
 * cache lines and translations at once, and for one at a time where a request's work lies between
 * them. For devices whose bytes stay where they are. Serving loop.
 */
#ifndef VIRTIO_VQ_COPIES_H
#define VIRTIO_VQ_COPIES_H

#include "virtio/chain.h"

#define VQ_COPIES_MAX	 32
#define VQ_COPY_HEAD_MAX 16

struct vq_copy {
	uint8_t *to;
	const uint8_t *from;
	uint32_t len, num_head;
	uint8_t head[VQ_COPY_HEAD_MAX] __attribute__((aligned(8)));
};

/* The device's own, zeroed; vq->copies points to it from queue_start() on. */
struct vq_copies {
	uint32_t num;
	struct vq_copy list[VQ_COPIES_MAX];
};

/* Makes them. The queue does so before it shows answers. */
void vq_make_copies(struct vq_copies *copies);

/*
 * Puts @num_head bytes, VQ_COPY_HEAD_MAX at most, and then @len bytes from @from into the writable
 * part, later: @from stays as it is until the queue has shown what serve() answered. Returns where
 * the caller puts the head's bytes now; NULL, and nothing done, where it must be chain_put(): the
 * bytes do not fit, are in several pieces or fewer than a whole head, or somebody wants to hear of
 * each write.
 */
static inline void *vq_copy_later(struct vq_copies *copies, struct chain *c, uint32_t num_head,
	const void *from, uint32_t len)
{
	uint64_t all = (uint64_t)num_head + len;
	struct vq_copy *copy;

	if (unlikely(all > c->writable.bytes || all > c->writable.iov->iov_len ||
		     all < VQ_COPY_HEAD_MAX || c->dirty))
		return NULL;
	if (copies->num == VQ_COPIES_MAX)
		vq_make_copies(copies);
	copy = &copies->list[copies->num++];
	copy->to = c->writable.iov->iov_base;
	copy->from = from;
	copy->len = len;
	copy->num_head = num_head;
	chain_wrote(c, all);
	return copy->head;
}

#endif
