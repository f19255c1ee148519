/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A request that somebody else has, read from memory at this moment: what it is, and which one is
 * out the longest. Nobody is asked. Main loop.
 */
#ifndef INSPECT_RELAYED_REQUEST_H
#define INSPECT_RELAYED_REQUEST_H

#include "base/err.h"
#include "describe/describe.h"
#include "inspect/vhost.h"

struct relayed_request {
	uint16_t head; /* packed: the buffer id */
	bool certain; /* to be outstanding, and so to be what the driver meant */
	uint64_t readable_bytes, writable_bytes;
	uint8_t bytes[DESCRIBE_REQUEST_BYTES]; /* the first that the device may read */
	size_t num_bytes;
	struct err problem; /* why the four above are not known; an empty sentence: they are */
};

/* Of a split ring, by its head. A table is looked at only if it is @certain to be the driver's. */
void relayed_request_read(
	const struct vq *vq, uint16_t head, bool certain, struct relayed_request *ret);
/* Of a packed ring, as the in-flight region records it. */
void relayed_request_recorded(
	const struct vq *vq, const struct vhost_mark *mark, struct relayed_request *ret);
/*
 * The one that is out the longest: the region's with the lowest counter, the first that the split
 * ring's two sides prove, or the next of a packed one of which nothing was taken. False where
 * neither says which that is.
 */
bool relayed_request_oldest(struct vq *vq, struct relayed_request *ret);

#endif
