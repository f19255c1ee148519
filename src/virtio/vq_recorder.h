/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The flight recorder's writing end, for vq_serve.c and its kin. Serving loop. An event is four
 * stores: no allocation, no lock, no clock of its own.
 */
#ifndef VIRTIO_VQ_RECORDER_H
#define VIRTIO_VQ_RECORDER_H

#include "virtio/vq.h"

/* At a start: the memory for events, once in the queue's life. Main loop. -ENOMEM. */
int vq_recorder_init(struct vq *vq, struct err *err);
/* The queue is idle. Idempotent. */
void vq_recorder_deinit(struct vq *vq);

/* At the time that the loop read last for this queue. */
static inline void vq_record(struct vq *vq, enum vq_event_kind kind, uint16_t index, uint32_t arg)
{
	uint64_t end;
	struct vq_event_slot *slot;

	if (!RINGSIDE_RECORDER)
		return;
	end = atomic_load_explicit(&vq->events_end, memory_order_relaxed);
	slot = (struct vq_event_slot *)((char *)vq->events + end % VQ_EVENTS_BYTES);
	/* Who finds something of this event in the slot finds that the one before it is complete.
	 */
	atomic_thread_fence(memory_order_release);
	atomic_store_explicit(&slot->ns, vq->clock_ns, memory_order_relaxed);
	atomic_store_explicit(&slot->what, kind | (uint32_t)index << 16, memory_order_relaxed);
	atomic_store_explicit(&slot->arg, arg, memory_order_relaxed);
	atomic_store_explicit(
		&vq->events_end, end + sizeof(struct vq_event_slot), memory_order_release);
}

static inline void vq_read_clock(struct vq *vq)
{
	if (RINGSIDE_RECORDER)
		vq->clock_ns = now_ns();
}

static inline void vq_record_now(
	struct vq *vq, enum vq_event_kind kind, uint16_t index, uint32_t arg)
{
	vq_read_clock(vq);
	vq_record(vq, kind, index, arg);
}

/* @n chains took that long. */
static inline void vq_count_latency(struct vq *vq, uint64_t ns, uint64_t n)
{
	unsigned int i = 63 - (unsigned int)__builtin_clzll(ns | 1);
	_Atomic uint64_t *bucket = &vq->latency[MIN(i, VQ_LATENCY_BUCKETS - 1u)];

	if (!RINGSIDE_RECORDER)
		return;
	/* One writer. */
	atomic_store_explicit(bucket, atomic_load_explicit(bucket, memory_order_relaxed) + n,
		memory_order_relaxed);
	vq->count.service_ns += ns * n;
}

/* One of the counters that are published only where they changed. */
static inline void vq_count_rare(struct vq *vq, uint64_t *counter)
{
	++*counter;
	vq->rare_changed = true;
}

#endif
