/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * What a queue counts, how long its requests take, and its flight recorder: the last events, with
 * their times. All of it is written by the loop that serves the queue and read on the main loop
 * without a lock (vq_read_view(), vq_read_latency(), vq_read_events()). RINGSIDE_RECORDER, a macro
 * of the build, is 0 only for measuring what all this costs: then times, latencies and events stay
 * 0.
 */
#ifndef VIRTIO_VQ_COUNTERS_H
#define VIRTIO_VQ_COUNTERS_H

#include <stdatomic.h>
#include <stddef.h>

#include "base/util.h"

/* Counters that only grow; from the queue's start of life, across restarts. */
struct vq_counters {
	/* These are published with each batch. */
	uint64_t kicks; /* notifications that woke the loop */
	uint64_t popped; /* chains taken */
	uint64_t completed; /* chains answered */
	uint64_t descs; /* descriptors loaded */
	uint64_t bytes_read; /* readable bytes of completed chains */
	uint64_t bytes_written;
	uint64_t calls; /* interrupts sent */
	uint64_t calls_suppressed; /* that the driver did not want */
	uint64_t polled_runs; /* that began because polling found a chain */
	uint64_t calls_coalesced; /* answers behind the first of those that went out together */
	uint64_t notify_offs; /* times that the driver was told, or left, not to kick */
	uint64_t service_ns; /* of all completed chains together; as in struct vq_latency */
	/* And these only where they changed. */
	uint64_t calls_full; /* that a full call descriptor did not take: one is pending there */
	uint64_t calls_lost; /* that it refused: its other end is gone, say */
	uint64_t empty_runs; /* woken with nothing to do */
	uint64_t empty_polls; /* looks of a polling loop that found nothing */
	uint64_t dry_runs; /* that ended because the device had nothing to serve a chain with */
	uint64_t errors_request; /* answered with the device's error status */
	uint64_t errors_ring; /* the ring, or what the device found in it, broke the queue */
	uint64_t errors_memory; /* guest memory, its log or the in-flight region was truncated */
	uint64_t errors_kick; /* the kick descriptor failed: no more kicks are heard */
};

#define VQ_NUM_COUNTERS	    (sizeof(struct vq_counters) / 8)
#define VQ_NUM_HOT_COUNTERS (offsetof(struct vq_counters, calls_full) / 8)

/*
 * Service times, from the beginning of the batch in which a chain was taken to the round of the
 * loop in which its answer was shown. A bucket i has those of at least 2^i ns and below 2^(i+1),
 * the first one also 0, the last one also all above.
 */
#define VQ_LATENCY_BUCKETS 40

struct vq_latency {
	uint64_t bucket[VQ_LATENCY_BUCKETS];
};

/* Of each queue the last ones, and the one in work; a power of two. */
#define VQ_EVENTS 512

/* What happened; index and arg are what stands behind. */
enum vq_event_kind {
	VQ_EVENT_START, /* its loop serves it: the next available index or position; its size */
	VQ_EVENT_STOP, /* at rest: the next available index or position; 0 */
	VQ_EVENT_BREAK, /* the next available index or position; 0 */
	VQ_EVENT_KICK, /* the driver's: the next available index as it came; 0 */
	VQ_EVENT_POP, /* a chain was taken: head; readable bytes */
	VQ_EVENT_POP_POLLED, /* likewise, by a loop that polls */
	VQ_EVENT_AGAIN, /* the chain taken next is one of the in-flight region: its head; 0 */
	VQ_EVENT_DRY, /* nothing to serve the next chain with: its head; 0 */
	VQ_EVENT_COMPLETE, /* a chain was answered: head; bytes written */
	VQ_EVENT_CALL, /* answers were shown, the driver called: used index; how many answers */
	VQ_EVENT_CALL_SUPPRESSED, /* likewise, and it did not want a call */
	VQ_EVENT_CALL_FULL, /* likewise, and one was pending already */
	VQ_EVENT_CALL_LOST, /* likewise, and the descriptor refused it; or there is none */
	VQ_EVENT_CALL_HELD, /* likewise, and the call waits for more (vq_coalesce.h) */
	VQ_EVENT_NOTIFY_ON, /* the driver is asked to kick: from this index or position on; 0 */
	VQ_EVENT_NOTIFY_OFF, /* it is told not to, for the loop polls: as above */
	VQ_NUM_EVENT_KINDS
};

struct vq_event {
	uint64_t serial; /* counts from 0 in the queue's life */
	uint64_t ns; /* CLOCK_MONOTONIC, read once a batch */
	enum vq_event_kind kind;
	uint16_t index;
	uint32_t arg;
};

/* As it lies in memory. In `what` the kind in bits 0-7, the index in 16-31. */
struct vq_event_slot {
	_Atomic uint64_t ns;
	_Atomic uint32_t what, arg;
};

#define VQ_EVENTS_BYTES (VQ_EVENTS * sizeof(struct vq_event_slot))

#endif
