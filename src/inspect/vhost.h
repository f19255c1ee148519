/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Devices whose rings somebody else serves: what the messages said and what memory shows. Pure
 * readers; nobody is asked. Main loop.
 */
#ifndef INSPECT_VHOST_H
#define INSPECT_VHOST_H

#include "base/err.h"
#include "inspect/chain_walk.h"
#include "qapi/types.h"
#include "qom/qom.h"
#include "virtio/vdev.h"

/* Where such a ring stands, as far as that can be known. */
struct vhost_ring_now {
	bool knows_avail; /* the index that is taken next, in last_avail */
	bool knows_used; /* the index of the used ring, in used */
	bool from_memory, by_message; /* used; else it is concluded */
	bool quiet; /* nothing is taken and not answered */
	bool knows_inuse; /* how many are, in inuse */
	uint16_t last_avail, used; /* packed: positions */
	bool avail_wrap, used_wrap; /* packed: their wrap counters */
	uint32_t inuse;
	const char *how; /* what last_avail was concluded from; NULL: it is not known */
};

/* @vq: of a device with view.vhost. */
void inspect_vhost_ring(const struct vq *vq, struct vhost_ring_now *ret);
/*
 * Where the device asked for a notification last: the index, or the position, that a driver has to
 * make available for one. False where it does not ask like that.
 */
bool inspect_vhost_event(const struct vq *vq, uint16_t *ret);
/* A request that the in-flight region marks. */
struct vhost_mark {
	uint16_t head; /* packed: buffer id */
	uint16_t entry; /* its first one in the region */
	uint64_t counter; /* rises with each request, where the back-end keeps it */
};

/*
 * What the in-flight region marks, by rising counter; the caller frees *ret. Returns how many; -1
 * where there is no region, or it cannot be believed.
 */
int inspect_vhost_marks(const struct vq *vq, struct vhost_mark **ret);
/* The same, heads alone and @max at most. */
int inspect_vhost_heads(const struct vq *vq, uint16_t *heads, unsigned int max);
/*
 * Packed: descriptor @i of the request as the back-end recorded it, for the ring's own may be
 * overwritten. False behind the last, and where it cannot be read.
 */
bool inspect_vhost_recorded(
	const struct vq *vq, const struct vhost_mark *mark, uint32_t i, struct walk_desc *ret);

/*
 * How many queues the device has where their roles go by that: of one whose sessions are made by
 * message a relay sees all but the control queue, which the front-end keeps.
 */
unsigned int inspect_num_queues(const struct vdev *dev);
/* Is any ring started? */
bool inspect_vhost_started(const struct vdev *dev);
/* The caller owns it. NULL where no ring is started. */
struct VhostStatus *inspect_vhost_status(const struct vdev *dev);
int inspect_vhost_queue_status(struct qom_object *root, const char *path, uint16_t queue,
	struct VirtVhostQueueStatus **ret, struct err *err);
/* Messages with a serial above @after. -ENODEV with a sentence where none are kept. */
int inspect_transcript(struct qom_object *root, const char *path, uint64_t after,
	struct VhostUserMessageList *ret, struct err *err);

/*
 * The number of a virtio type by its name, "virtio-blk", or as a number. -EINVAL with a sentence
 * that lists the names.
 */
int inspect_virtio_id(const char *text, uint16_t *ret, struct err *err);
/* For a device whose type nobody said: which types its features would fit; the caller frees it. */
char *inspect_types_that_fit(const struct vdev *dev);

#endif
