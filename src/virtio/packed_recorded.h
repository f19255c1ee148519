/* SPDX-License-Identifier: BSD-3-Clause */
/* The packed ring with an in-flight region (vq_inflight.h). */
#ifndef VIRTIO_PACKED_RECORDED_H
#define VIRTIO_PACKED_RECORDED_H

#include "virtio/vq.h"
#include "virtio/walk.h"

extern const struct vq_ops vq_packed_recorded_ops;

/*
 * packed.c: takes what the indirect table of @outer, descriptor @outer_index, names: its entries
 * follow one after the other (virtio 1.3, "Indirect Flag: Scatter-Gather Support"). 0, or -errno,
 * the ring broken.
 */
int vq_packed_walk_table(struct walk *w, const struct walk_desc *outer, uint32_t outer_index);

#endif
