/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The part of a queue's picture that lies in memory: indices and event suppression, of either
 * format. Main loop.
 */
#ifndef INSPECT_HEALTH_RING_H
#define INSPECT_HEALTH_RING_H

#include "inspect/health.h"
#include "virtio/vdev.h"

/*
 * Fills in what the ring's memory tells; @view is where our device stands (element_view()), and not
 * looked at where somebody else serves the ring. What cannot be read is left out, with
 * memory_reason.
 */
void health_read_ring(struct vq *vq, const struct vq_view *view, struct health_picture *ret);

/* A number that changes whenever the driver's or a server's part of the ring does. */
uint64_t health_ring_key(struct vq *vq, uint64_t seed);
/* Mixes a number into such a key. */
uint64_t health_mix(uint64_t key, uint64_t n);

#endif
