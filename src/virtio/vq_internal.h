/* SPDX-License-Identifier: BSD-3-Clause */
/* What vq.c offers to the ring formats, and to nobody outside virtio/. Serving loop. */
#ifndef VIRTIO_VQ_INTERNAL_H
#define VIRTIO_VQ_INTERNAL_H

#include "virtio/vq.h"

/* Pieces that a chain holds in its own slot; longer ones borrow one of the queue's large blocks. */
#define VQ_INLINE_IOVS	20
#define VQ_LARGE_CHAINS 32
/* Room beyond one piece a descriptor, for buffers that cross memory regions. */
#define VQ_LARGE_SPARE_IOVS 512

/* Descriptors that one chain may have. */
static inline uint32_t vq_chain_limit(const struct vq *vq)
{
	return MAX(vq->num, (uint32_t)VQ_CHAIN_DESCS_MAX);
}

static inline int vq_large_iovs(const struct vq *vq)
{
	return (int)vq_chain_limit(vq) + VQ_LARGE_SPARE_IOVS;
}

static inline struct chain *vq_slot(const struct vq *vq, uint32_t slot)
{
	size_t each = sizeof(struct chain) + VQ_INLINE_IOVS * sizeof(struct iovec);

	return (struct chain *)(vq->slots + slot * each);
}

static inline struct iovec *vq_own_iovs(struct chain *c)
{
	return (struct iovec *)(c + 1);
}

/* For the two below: a slot that was never used; gives a large block back. */
struct chain *vq_touch_slot(struct vq *vq);
void vq_chain_shrink(struct vq *vq, struct chain *c);

/*
 * A free chain, reset, for @head. There is one: no more are in flight than the ring has heads. In
 * each request's way, and few stores: what is rarely set is taken back where it was set.
 */
static inline struct chain *vq_chain_get(struct vq *vq, uint16_t head)
{
	struct chain *c = likely(vq->num_free_slots)
				  ? vq_slot(vq, vq->free_slots[--vq->num_free_slots])
				  : vq_touch_slot(vq);

	c->head = head;
	c->written = 0;
	c->phase = CHAIN_FRESH;
	atomic_store_explicit(&c->num_snap, 0, memory_order_relaxed);
	return c;
}

/* Gives it back; it is not in flight. */
static inline void vq_chain_put(struct vq *vq, struct chain *c)
{
	if (unlikely(c->iov_block != vq_own_iovs(c)))
		vq_chain_shrink(vq, c);
	vq->free_slots[vq->num_free_slots++] = c->slot;
}

/* Swaps the chain's iovecs, @used of them filled, for a large block; NULL where all are taken. */
struct iovec *vq_chain_grow(struct vq *vq, struct chain *c, int used);
/* Publishes for inspection: the queue's view; only its descriptors; that a chain is in flight, or
 * no longer. */
void vq_publish(struct vq *vq);
void vq_publish_fds(struct vq *vq);
/* Packed: before an answer is written into the ring; the next vq_publish() ends it. */
void vq_open_used(struct vq *vq);
void vq_mark_in_flight(struct vq *vq, struct chain *c);
void vq_unmark_in_flight(struct vq *vq, struct chain *c);
/* serve(), which took further chains, is over: the ring stands where it stood before, and these are
 * what vq_another() took. */
struct chain *vq_look_back(struct vq *vq);
/* A chain wants a large block and none is free: the queue waits for one. */
void vq_wait_large(struct vq *vq);

/* Answers of a batch were shown, and the driver is called, or did not want to be. */
void vq_call_for(struct vq *vq, uint32_t answers);
void vq_suppress_call(struct vq *vq, uint32_t answers);
/* Likewise where calls may wait (vq_coalesce.c); @call: it wants to be called. And the queue stops.
 */
void vq_coalesce_answers(struct vq *vq, bool call, uint32_t answers);
void vq_coalesce_end(struct vq *vq);

/* Sends an interrupt; a full descriptor is counted, nobody waits for it. */
void vq_send_call(struct vq *vq);

/* Forbids notifications, or lets them rest for a batch. */
void vq_forbid_notify(struct vq *vq);
/* Takes and serves a batch. The queue's driver is asked for notifications once it is empty. */
void vq_run(struct vq *vq);

/*
 * Polling (vq_poll.c): from start to stop the queue's loop may look for chains by itself. Stop
 * leaves it to the caller to ask the driver for notifications again, and may come twice.
 */
void vq_poll_init(struct vq *vq);
void vq_poll_start(struct vq *vq);
void vq_poll_stop(struct vq *vq);

/* What vq.c hands to the serving loop: its messages, work and kick descriptor. */
void vq_on_start(struct loop_post *post);
void vq_on_stop(struct loop_post *post);
void vq_on_kick_post(struct loop_post *post);
void vq_on_extra_call(struct loop_post *post);
void vq_on_run_work(struct loop_work *work);
void vq_on_flush_work(struct loop_work *work);
void vq_on_kick(struct loop_fd *node, uint32_t revents);

#endif
