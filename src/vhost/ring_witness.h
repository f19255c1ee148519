/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Which requests of a split ring are on their way, while somebody else serves it and leaves no
 * record: concluded from looks at the ring, each soon enough after the one before. What the memory
 * holds at one moment alone does not say it: a request that outlasted a whole round of the ring is
 * in neither list any more, and the rest looks as if all had been answered in order.
 *
 * So a look says what came since the last one, and is believed only while neither side went further
 * than half a ring meanwhile: what a side has written ahead of its index, at most half a ring, lies
 * over none of it. Once that was too late, what is known begins anew at a moment that proves it
 * alone: all was answered, or all heads are ruled out but as many as there are requests. Main loop.
 */
#ifndef VHOST_RING_WITNESS_H
#define VHOST_RING_WITNESS_H

#include "base/err.h"
#include "mem/gmem.h"
#include "virtio/vq.h"

/*
 * Two looks further apart than this prove nothing: the indices could have gone all round. No disk
 * does 65536 requests in it, and no network device in the shorter time.
 */
#define WITNESS_MAX_NS	   (40 * NSEC_PER_MSEC)
#define WITNESS_MAX_NET_NS (4 * NSEC_PER_MSEC)

/* Zero-initialised it knows nothing. */
struct ring_witness {
	uint32_t num; /* entries; 0: it was not begun */
	bool known;
	uint16_t avail, used; /* at the last look */
	uint32_t moved; /* requests and answers that the last look found */
	uint64_t max_ns; /* between looks; 0: WITNESS_MAX_NS. Stays over a start */
	uint64_t at_ns; /* the last look, CLOCK_MONOTONIC */
	uint16_t *out; /* by head: made available, and not answered; owned */
	char why[120]; /* not known: why */
};

/* The ring starts: the front-end says that all before @base was answered. */
void witness_begin(struct ring_witness *w, const struct gmem *mem, const struct vq_config *cfg,
	uint16_t base, uint64_t now_ns);
void witness_look(struct ring_witness *w, const struct gmem *mem, const struct vq_config *cfg,
	uint64_t now_ns);
/* Idempotent. */
void witness_end(struct ring_witness *w);

/*
 * Nobody serves the ring any more, and a look was taken since: the index from which on exactly
 * those requests lie that were not answered. What is on its way is not overwritten, so it does not
 * matter how long ago that was. @in_order: the ring's answers come in order, by negotiation. -errno
 * with a sentence where there is no such index, or nobody can tell.
 */
int witness_base(struct ring_witness *w, const struct gmem *mem, const struct vq_config *cfg,
	bool in_order, uint16_t *ret, struct err *err);

#endif
