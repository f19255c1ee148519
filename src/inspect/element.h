/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * One element of a split queue, found and read while the queue runs: nothing is written, no lock is
 * taken, nothing is asked of anybody. Main loop.
 */
#ifndef INSPECT_ELEMENT_H
#define INSPECT_ELEMENT_H

#include "inspect/chain_walk.h"
#include "virtio/vdev.h"

struct element {
	bool none; /* the queue never had an element; no descriptors, head 0 */
	bool owned; /* waits for the device or is in flight; else used or stale */
	uint16_t head; /* what the available ring's entry says */
	struct walk_chain chain;
	uint16_t avail_flags, avail_idx, used_flags, used_idx; /* as they lie in guest memory */
};

/*
 * The queue's state as its owner last published it; an idle queue's next available index is what
 * the transport set. False where it stayed torn.
 */
bool element_view(struct vq *vq, struct vq_view *ret);

/*
 * The element at position @index of the available ring (modulo its size); NULL: the next one that
 * the device would take or, where none waits, the one taken last. Indirect tables are followed only
 * where the element is owned all the while. -errno with a sentence where memory or the chain cannot
 * be read.
 */
int element_read(struct vq *vq, const uint16_t *index, struct element *ret, struct err *err);
/* Idempotent. */
void element_free(struct element *element);

#endif
