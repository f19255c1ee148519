/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A device whose rings somebody else serves, as inspection sees it: what the messages between the
 * two said. Written on the main loop by who watches or drives that back-end; inspection reads it
 * and asks nobody.
 */
#ifndef VIRTIO_VHOST_VIEW_H
#define VIRTIO_VHOST_VIEW_H

#include "base/util.h"

struct gmem;
struct transcript;

/* One queue. */
struct vhost_view_ring {
	/*
	 * Duplicates of the peers' descriptors, for a look at what they are; never read or waited
	 * for, and written only where an operator asks for it. -1: none.
	 */
	int kick, call, err;
	bool has_areas; /* the front-end said where they lie */
	bool has_base; /* it, or the back-end as the ring stopped, said where the ring goes on */
	bool enabled; /* SET_VRING_ENABLE said so, or no such message comes here */
	bool enable_said; /* SET_VRING_ENABLE came */
	bool started; /* from its kick descriptor to GET_VRING_BASE or the end */
	/* Its back-end died, and nobody can tell where another would go on: why. NULL: it is not.
	 */
	const char *stopped_reason;
	bool ran; /* started at least once: the base is not where the ring stands any more */
};

struct vhost_view {
	bool has_offer; /* of features; else the word is 0 */
	bool has_type; /* somebody said which virtio type it is: it is not on the wire */
	uint64_t features; /* offered by the back-end, all 64 bits */
	uint64_t acked_features; /* by the front-end, likewise */
	uint64_t protocol_offered, protocol_acked;
	uint64_t max_queues; /* 0: nobody asked */
	bool log_enabled;
	uint64_t log_bytes;
	/*
	 * That region, to be read, at address 0; NULL: there is none, or it cannot be mapped. With
	 * parts for so many queues of so many entries.
	 */
	const struct gmem *inflight;
	uint32_t inflight_queues, inflight_entries;
	bool has_inflight; /* the front-end handed over a region for what is in flight */
	bool is_translated; /* addresses are an IOMMU's: areas cannot be found in memory */
	bool memory_away; /* a migration fills the memory: a look would disturb it */
	const char *memory_reason; /* why the memory table cannot be looked at; NULL: it can */
	const struct vhost_view_ring *rings; /* one for each queue */
	const struct transcript *transcript; /* of the connection; NULL: none is kept */
};

#endif
