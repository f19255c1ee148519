/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The flight recorder's memory and its reading end. The reader takes what it finds and then looks
 * how far the writer has come: a slot that was, or may have been, taken into use again meanwhile is
 * left out, so that no event is ever a mixture. The writer never waits and never hears of it.
 */
#include "virtio/vq_recorder.h"

#include <errno.h>
#include <sys/mman.h>

_Static_assert(sizeof(struct vq_event_slot) == 16 && !(VQ_EVENTS & (VQ_EVENTS - 1)),
	"an event is found by masking");

int vq_recorder_init(struct vq *vq, struct err *err)
{
	void *p;

	if (!RINGSIDE_RECORDER || vq->events)
		return 0;
	/* Mapped, not allocated: of a queue that idles one page becomes memory. */
	p = mmap(NULL, VQ_EVENTS_BYTES, PROT_READ | PROT_WRITE,
		MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	if (p == MAP_FAILED)
		return err_set(
			err, -ENOMEM, "queue %u: no address space for its recorder", vq->index);
	vq->events = p;
	return 0;
}

void vq_recorder_deinit(struct vq *vq)
{
	if (vq->events)
		munmap(vq->events, VQ_EVENTS_BYTES);
	vq->events = NULL;
}

static struct vq_event read_slot(struct vq *vq, uint64_t serial)
{
	struct vq_event_slot *slot = &vq->events[serial % VQ_EVENTS];
	uint32_t what = atomic_load_explicit(&slot->what, memory_order_relaxed);

	return (struct vq_event){
		.serial = serial,
		.ns = atomic_load_explicit(&slot->ns, memory_order_relaxed),
		.kind = what & 0xff,
		.index = (uint16_t)(what >> 16),
		.arg = atomic_load_explicit(&slot->arg, memory_order_relaxed),
	};
}

size_t vq_read_events(struct vq *vq, size_t max, struct vq_event *ret)
{
	const uint64_t each = sizeof(struct vq_event_slot);
	uint64_t end = atomic_load_explicit(&vq->events_end, memory_order_acquire) / each, first,
		 now;
	size_t n = 0, gone;

	if (!vq->events || !end || !max)
		return 0;
	max = MIN(max, (size_t)VQ_EVENTS - 1);
	first = end - MIN(end, (uint64_t)max);
	for (uint64_t i = first; i < end; i++)
		ret[n++] = read_slot(vq, i);
	/* Pairs with the writer's fence: the slot after the last complete event may be in work. */
	atomic_thread_fence(memory_order_acquire);
	now = atomic_load_explicit(&vq->events_end, memory_order_relaxed) / each;
	if (now < first + VQ_EVENTS)
		return n;
	gone = (size_t)MIN(now + 1 - VQ_EVENTS - first, (uint64_t)n);
	for (size_t i = gone; i < n; i++)
		ret[i - gone] = ret[i];
	return n - gone;
}

void vq_read_latency(struct vq *vq, struct vq_latency *ret)
{
	for (size_t i = 0; i < VQ_LATENCY_BUCKETS; i++)
		ret->bucket[i] = atomic_load_explicit(&vq->latency[i], memory_order_relaxed);
}
