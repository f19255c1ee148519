/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Interrupts that wait for more answers, where the driver asked for that: the first answer that is
 * worth a call begins a wait, which so many answers end, or so many microseconds. Serving loop,
 * unless it says otherwise.
 */
#ifndef VIRTIO_VQ_COALESCE_H
#define VIRTIO_VQ_COALESCE_H

#include <stdatomic.h>

#include "virtio/vq.h"

/* The device's own, zeroed. */
struct vq_coalescing {
	struct vq *vq; /* NULL while stopped */
	_Atomic bool runs; /* vq is there; any thread */
	uint32_t max_answers, max_usecs; /* either is 0: each batch calls at once */
	uint32_t num; /* answers that wait */
	bool held; /* a call does */
	struct loop_fd timer; /* without a loop: there is none */
};

/* From queue_start(): vq->coalescing is @c until the queue has stopped. */
void vq_coalesce_start(struct vq_coalescing *c, struct vq *vq);
/*
 * From now on these count, for a call that waits too. Where the kernel gives no timer nothing
 * waits. Nothing happens while the queue does not run.
 */
void vq_coalesce_set(struct vq_coalescing *c, uint32_t max_answers, uint32_t max_usecs);

#endif
