/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A queue's ring, entry by entry, each with its state. Nothing is written, no lock is taken; what
 * was answered already is not followed into memory. Main loop.
 */
#ifndef INSPECT_RING_LIST_H
#define INSPECT_RING_LIST_H

#include "base/err.h"
#include "inspect/chain_walk.h"
#include "inspect/vhost.h"
#include "qapi/types.h"
#include "qom/qom.h"

/* Of all elements of one reply. */
#define RING_LIST_MAX_DESCS 65536
/* How often to look for a moment in which the device gives nothing back, in a ring of 256. */
#define RING_LIST_TRIES 64

/* One reply in the making. */
struct ring_list {
	struct vq *vq;
	uint32_t num;
	struct vq_view view; /* where the device stands */
	bool knows_avail, knows_used; /* these members of it are right */
	struct vhost_ring_now now; /* relayed */
	uint64_t now_ns;
	uint32_t num_descs; /* of all elements so far */
	struct VirtqueueElements *ret;
};

/* @count: 0: to the ring's end. -errno with the sentence for the client. */
int inspect_elements(struct qom_object *root, const char *path, uint16_t queue, uint32_t start,
	uint32_t count, struct VirtqueueElements **ret, struct err *err);

/* The formats' halves: [start, end) is within the ring. -errno with a sentence. */
int ring_list_split(struct ring_list *list, uint32_t start, uint32_t end, struct err *err);
int ring_list_packed(struct ring_list *list, uint32_t start, uint32_t end, struct err *err);

/* Looks where the device stands; false where that was torn. */
bool ring_list_look(struct ring_list *list);
struct VirtqueueElement *ring_list_add(
	struct ring_list *list, uint32_t index, uint16_t head, enum VirtqueueElementState state);
/* It is in flight: since when. @in: NULL where that is not known. */
void ring_list_since(
	const struct ring_list *list, struct VirtqueueElement *e, const struct vq_inflight *in);
/* Its descriptors, taken over; unless they are too many. */
void ring_list_descs(struct ring_list *list, struct VirtqueueElement *e, struct walk_chain *chain);
struct walk_ring ring_list_ring(const struct ring_list *list);
int ring_list_peek(const struct ring_list *list, const char *what, uint64_t gpa, void *ret,
	size_t bytes, struct err *err);
/* Does somebody other than us have this head, by the in-flight region? */
bool ring_list_marked(const uint16_t *heads, int num, uint16_t head);
static inline int ring_list_tries(const struct ring_list *list)
{
	/* Larger rings take longer to read, and fewer looks are worth it. */
	return (int)MAX(4u, MIN((uint32_t)RING_LIST_TRIES, 64u * 256u / list->num));
}

#endif
