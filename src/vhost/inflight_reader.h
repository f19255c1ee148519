/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A look at an in-flight region that somebody else records in: what of a queue it says is on its
 * way. Pure readers: nothing is written, and nothing is believed without a check. Any thread.
 */
#ifndef VHOST_INFLIGHT_READER_H
#define VHOST_INFLIGHT_READER_H

#include "base/err.h"
#include "mem/gmem.h"

/* A queue's part of a region. */
struct inflight_part {
	const struct gmem *mem; /* the region, at address 0 */
	uint64_t offset;
	uint32_t entries;
	uint32_t num; /* the ring's */
};

struct inflight_reading {
	bool recorded; /* somebody used it; else nothing else is said */
	uint32_t num; /* requests on their way */
	/* Packed: places of the next answer, and behind what was taken. */
	uint16_t used, avail;
	bool drafted; /* ... and a batch was being shown: the places may be those before it */
};

/*
 * The ring's used index is @used_idx. -errno with a sentence: it cannot be read, or makes no sense
 * beside this ring. @marks: @part->num of them, by head; may be NULL.
 */
int inflight_read_split(const struct inflight_part *part, uint16_t used_idx, bool *marks,
	struct inflight_reading *ret, struct err *err);
int inflight_read_packed(
	const struct inflight_part *part, struct inflight_reading *ret, struct err *err);

#endif
