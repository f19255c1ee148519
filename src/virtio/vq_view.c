/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * What a queue's owner publishes, and how the main loop reads it: sequence-counted blocks of atomic
 * words. The owner never waits; a reader tries again a bounded number of times.
 */
#include <string.h>

#include "virtio/vq_internal.h"
#include "virtio/vring.h"

/* A reader gives up after so many torn reads and marks what it has. */
#define VIEW_TRIES 1000

void vq_mark_in_flight(struct vq *vq, struct chain *c)
{
	uint32_t seq = atomic_load_explicit(&c->seq, memory_order_relaxed);

	/* Odd first, even last; the fences pair with those of vq_read_inflight(). */
	atomic_store_explicit(&c->seq, seq + 1, memory_order_relaxed);
	atomic_thread_fence(memory_order_release);
	atomic_store_explicit(&c->inspect_head, c->head, memory_order_relaxed);
	atomic_store_explicit(&c->since_ns, vq->batch_ns, memory_order_relaxed);
	atomic_store_explicit(&c->in_flight, true, memory_order_relaxed);
	atomic_store_explicit(&c->seq, seq + 2, memory_order_release);
	atomic_store_explicit(
		&vq->inflight[c->head], (uint16_t)(c->slot + 1), memory_order_release);
}

void vq_unmark_in_flight(struct vq *vq, struct chain *c)
{
	atomic_store_explicit(&vq->inflight[c->head], 0, memory_order_relaxed);
	atomic_store_explicit(&c->in_flight, false, memory_order_relaxed);
	atomic_fetch_add_explicit(&c->seq, 2, memory_order_relaxed);
	/* Who sees what the slot's next request writes sees that this one is over. */
	atomic_thread_fence(memory_order_release);
}

void vq_publish_fds(struct vq *vq)
{
	atomic_store_explicit(&vq->signal_fds,
		(uint64_t)(uint32_t)vq->kick_fd | (uint64_t)(uint32_t)vq->call_fd << 32,
		memory_order_relaxed);
}

void vq_publish(struct vq *vq)
{
	uint32_t seq = atomic_load_explicit(&vq->view_seq, memory_order_relaxed);
	const uint64_t *count = (const uint64_t *)&vq->count;
	size_t i, num = VQ_NUM_HOT_COUNTERS;

	if (vq->rare_changed)
		num = VQ_NUM_COUNTERS;
	vq->rare_changed = false;
	atomic_store_explicit(&vq->view_seq, seq + 1, memory_order_relaxed);
	atomic_thread_fence(memory_order_release);
	atomic_store_explicit(&vq->view[0],
		(uint64_t)vq->last_avail | (uint64_t)vq->shadow_avail << 16 |
			(uint64_t)vq->flushed_used << 32 | (uint64_t)vq->signalled_used << 48,
		memory_order_relaxed);
	atomic_store_explicit(&vq->view[1],
		(uint64_t)vq->signalled_used_valid | (uint64_t)(vq->ops && vq->ops->packed) << 1 |
			(uint64_t)vq->notify_on << 2 | (uint64_t)vq->polled << 3 |
			(uint64_t)vq->dry << 4 | (uint64_t)vq->broken << 5 |
			(uint64_t)vq->last_call << 6 | (uint64_t)vq->packed.last_head << 16 |
			(uint64_t)vq->inuse << 32,
		memory_order_relaxed);
	atomic_store_explicit(&vq->view[2], vq->pop_ns, memory_order_relaxed);
	atomic_store_explicit(&vq->view[3], vq->complete_ns, memory_order_relaxed);
	if (RINGSIDE_RECORDER) {
		atomic_store_explicit(&vq->view[4], vq->kick_ns, memory_order_relaxed);
		atomic_store_explicit(&vq->view[5], vq->call_ns, memory_order_relaxed);
	}
	for (i = 0; i < num; i++)
		atomic_store_explicit(
			&vq->view[VQ_VIEW_COUNTERS_AT + i], count[i], memory_order_relaxed);
	vq_publish_fds(vq);
	atomic_store_explicit(&vq->view_seq, seq + 2, memory_order_release);
	if (atomic_load_explicit(&vq->used_seq, memory_order_relaxed) & 1)
		atomic_fetch_add_explicit(&vq->used_seq, 1, memory_order_release);
}

void vq_open_used(struct vq *vq)
{
	uint32_t seq = atomic_load_explicit(&vq->used_seq, memory_order_relaxed);

	if (seq & 1)
		return;
	atomic_store_explicit(&vq->used_seq, seq + 1, memory_order_relaxed);
	/* Who sees an answer in the ring sees that it was begun: vq_read_used_seq(). */
	atomic_thread_fence(memory_order_release);
}

uint32_t vq_read_used_seq(struct vq *vq)
{
	uint32_t seq;

	/* On either side, for it stands before a look at the ring and behind it. */
	atomic_thread_fence(memory_order_acquire);
	seq = atomic_load_explicit(&vq->used_seq, memory_order_relaxed);
	atomic_thread_fence(memory_order_acquire);
	return seq;
}

void vq_read_signal_fds(struct vq *vq, int *ret_kick, int *ret_call)
{
	uint64_t both;

	/* Behind what was looked at, on either side. */
	atomic_thread_fence(memory_order_seq_cst);
	both = atomic_load_explicit(&vq->signal_fds, memory_order_relaxed);
	atomic_thread_fence(memory_order_seq_cst);
	*ret_kick = (int)(uint32_t)both;
	*ret_call = (int)(uint32_t)(both >> 32);
}

bool vq_in_turn(struct vq *vq)
{
	return atomic_load_explicit(&vq->in_turn, memory_order_relaxed);
}

static void unpack_packed(struct vq_view *ret, uint16_t last_head)
{
	ret->avail_wrap = ret->last_avail_idx & VRING_PACKED_WRAP;
	ret->used_wrap = ret->used_idx & VRING_PACKED_WRAP;
	ret->last_avail_idx &= VRING_PACKED_POS;
	ret->shadow_avail_idx &= VRING_PACKED_POS;
	ret->used_idx &= VRING_PACKED_POS;
	ret->signalled_used &= VRING_PACKED_POS;
	ret->has_last_head = !(last_head & VRING_PACKED_WRAP);
	ret->last_head = last_head & VRING_PACKED_POS;
}

static void unpack_view(const uint64_t *word, struct vq_view *ret)
{
	ret->last_avail_idx = (uint16_t)word[0];
	ret->shadow_avail_idx = (uint16_t)(word[0] >> 16);
	ret->used_idx = (uint16_t)(word[0] >> 32);
	ret->signalled_used = (uint16_t)(word[0] >> 48);
	ret->signalled_used_valid = word[1] & 1;
	ret->inuse = (uint32_t)(word[1] >> 32);
	ret->notify_on = word[1] >> 2 & 1;
	ret->polled = word[1] >> 3 & 1;
	ret->dry = word[1] >> 4 & 1;
	ret->broken = word[1] >> 5 & 1;
	ret->pop_ns = word[2];
	ret->complete_ns = word[3];
	ret->kick_ns = word[4];
	ret->call_ns = word[5];
	ret->progress_ns = MAX(ret->pop_ns, ret->complete_ns);
	memcpy(&ret->counters, word + VQ_VIEW_COUNTERS_AT, sizeof(ret->counters));
	ret->packed = word[1] >> 1 & 1;
	ret->last_call = (enum vq_call_fate)(word[1] >> 6 & 7);
	ret->avail_wrap = ret->used_wrap = ret->has_last_head = false;
	ret->last_head = 0;
	if (ret->packed)
		unpack_packed(ret, (uint16_t)(word[1] >> 16));
}

bool vq_read_view(struct vq *vq, struct vq_view *ret)
{
	uint64_t word[VQ_VIEW_WORDS];
	unsigned int tries;
	size_t i;

	for (tries = 0; tries < VIEW_TRIES; tries++) {
		uint32_t seq = atomic_load_explicit(&vq->view_seq, memory_order_acquire);

		for (i = 0; i < VQ_VIEW_WORDS; i++)
			word[i] = atomic_load_explicit(&vq->view[i], memory_order_relaxed);
		atomic_thread_fence(memory_order_acquire);
		unpack_view(word, ret);
		if (!(seq & 1) && seq == atomic_load_explicit(&vq->view_seq, memory_order_relaxed))
			return true;
	}
	return false;
}

static void copy_inflight(struct chain *c, struct vq_inflight *ret)
{
	size_t i;

	ret->head = atomic_load_explicit(&c->inspect_head, memory_order_relaxed);
	ret->since_ns = atomic_load_explicit(&c->since_ns, memory_order_relaxed);
	ret->readable_bytes = atomic_load_explicit(&c->readable_bytes, memory_order_relaxed);
	ret->writable_bytes = atomic_load_explicit(&c->writable_bytes, memory_order_relaxed);
	ret->num_snap = atomic_load_explicit(&c->num_snap, memory_order_relaxed);
	for (i = 0; i < CHAIN_SNAP_BYTES / 8; i++) {
		uint64_t word = atomic_load_explicit(&c->snap[i], memory_order_relaxed);

		memcpy(ret->snap + i * 8, &word, 8);
	}
}

bool vq_read_inflight(struct vq *vq, uint16_t head, struct vq_inflight *ret)
{
	unsigned int tries;

	/* Of a queue that was handed over nothing is noted. */
	if (vq->state == VQ_IDLE || head >= vq->num || !vq->inflight)
		return false;
	for (tries = 0; tries < VIEW_TRIES; tries++) {
		uint16_t slot = atomic_load_explicit(&vq->inflight[head], memory_order_acquire);
		struct chain *c;
		uint32_t seq;
		bool in_flight;

		if (!slot)
			return false;
		c = vq_slot(vq, slot - 1u);
		seq = atomic_load_explicit(&c->seq, memory_order_acquire);
		in_flight = atomic_load_explicit(&c->in_flight, memory_order_relaxed);
		copy_inflight(c, ret);
		atomic_thread_fence(memory_order_acquire);
		if (!(seq & 1) && in_flight && ret->head == head &&
			seq == atomic_load_explicit(&c->seq, memory_order_relaxed))
			return true;
	}
	return false;
}
