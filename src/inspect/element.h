/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * One element of a queue of either format, found and read while the queue runs: nothing is written,
 * no lock is taken, nothing is asked of anybody. Main loop.
 */
#ifndef INSPECT_ELEMENT_H
#define INSPECT_ELEMENT_H

#include "inspect/chain_walk.h"
#include "virtio/vdev.h"

/* How often to look for a moment in which the device gives nothing back. */
#define ELEMENT_TRIES 64

struct element {
	bool none; /* the queue never had an element; no descriptors, head 0 */
	bool owned; /* waits for the device or is in flight; else used or stale */
	uint16_t head; /* what the available ring's entry says; packed: the buffer id */
	uint16_t ring; /* the entry itself; packed: the position where the element begins */
	struct walk_chain chain;
	/* As they lie in guest memory; packed: flags and off_wrap of the event suppression areas.
	 */
	uint16_t avail_flags, avail_idx, used_flags, used_idx;
};

/*
 * The queue's state as its owner last published it; where an idle queue goes on is what the
 * transport set. False where it stayed torn.
 */
bool element_view(struct vq *vq, struct vq_view *ret);

/*
 * The element at position @index of the available ring, or of the packed ring (modulo its size);
 * NULL: the next one that
 * the device would take or, where none waits, the one taken last. Indirect tables are followed only
 * where the element is owned all the while. -errno with a sentence where memory or the chain cannot
 * be read.
 */
int element_read(struct vq *vq, const uint16_t *index, struct element *ret, struct err *err);
/* Its half for packed rings; the queue has its areas. */
int element_read_packed(struct vq *vq, const uint16_t *index, struct element *ret, struct err *err);
/* Idempotent. */
void element_free(struct element *element);

#endif
