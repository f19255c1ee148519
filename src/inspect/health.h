/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Why a queue stands still: from a picture of all that can be seen of it to one verdict, by a table
 * of rules. A pure function; any thread.
 *
 * Nobody is accused lightly. Drivers and devices that work show every picture for a moment, so what
 * means that somebody waits in vain counts only once nothing has moved for the threshold's time. A
 * fact that is not known speaks against nobody.
 */
#ifndef INSPECT_HEALTH_H
#define INSPECT_HEALTH_H

#include "base/util.h"
#include "qapi/types.h"
#include "virtio/vq.h"

#define HEALTH_SENTENCE_BYTES 320
#define HEALTH_REQUEST_BYTES  160

/* A number that may be not known. */
struct health_num {
	bool known;
	uint64_t n;
};

static inline struct health_num health_num(uint64_t n)
{
	return (struct health_num){ true, n };
}

/* Whether a side of the ring wants to be notified of what the other side did last. */
enum health_wish {
	HEALTH_WISH_UNKNOWN,
	HEALTH_WISH_DUE, /* it asked, and what is there is beyond what it asked for */
	HEALTH_WISH_AHEAD, /* EVENT_IDX: it asked to hear of an element that is not there yet */
	HEALTH_WISH_PASSED, /* EVENT_IDX: the element lies behind: the other side sees no reason */
	HEALTH_WISH_OFF, /* it asked not to be notified */
};

struct health_picture {
	/* The device. */
	bool relayed; /* somebody else serves it */
	bool connected;
	bool has_peers; /* connected means something: it is driven over a connection */
	bool ended_by_back, no_back; /* and not connected: how the last one ended */
	uint64_t ended_ns; /* how long ago */
	bool paused;
	uint8_t status;
	bool status_known; /* else it follows from the rings: DRIVER_OK while one can run */
	bool broken, broke_here; /* broke_here: this queue did */
	const char *broken_reason;
	/* A control message that is not answered; NULL: none. */
	const char *message;
	uint64_t message_ns;
	bool message_is_ours; /* we wait for our queues; else the back-end is silent */

	/* The queue. */
	bool whole_device; /* there is no queue yet: only what is above counts */
	unsigned int queue;
	uint32_t num; /* entries */
	const char *role; /* "" where it is not known */
	/*
	 * Its buffers are supplies for what the device may have to say: it may keep them for ever.
	 * Not known where the type is not.
	 */
	bool holds_supplies, knows_role;
	bool packed;
	bool held; /* by virtqueue-stop */
	bool is_set_up; /* the driver said where it lies */
	bool is_enabled;
	bool is_stopped; /* it ran, and a control message stopped it */
	const char *stopped_reason; /* then: a relay did, and why; NULL: the message alone */
	bool is_draining; /* it stops, and waits for what is in flight */
	struct health_num served_queues; /* so many the server has, in all */
	const char *memory_reason; /* why the ring cannot be read; NULL: it can */
	bool others_move; /* other queues of the device moved within the threshold's time */

	/* The ring, as its memory and its server say. */
	struct health_num avail_idx, last_avail, used_idx;
	struct health_num waiting; /* not taken; packed: descriptors */
	struct health_num in_flight; /* taken and not answered */
	struct health_num outstanding; /* either, where the two are not told apart */
	bool impossible; /* the indices cannot be */
	bool ever_used; /* there was an answer */
	bool was_in_use; /* of ours: and be it under a driver before this one */
	struct health_num avail_event, used_event;
	enum health_wish kick_wish, call_wish;
	uint32_t unseen; /* HEALTH_WISH_DUE of a call, by EVENT_IDX: answers behind the event */
	/* used_event is a value that drivers also write to switch calls off. */
	bool call_wish_is_vague;
	struct health_num kicks_unread, calls_unread;
	struct health_num calls_lost;
	enum vq_call_fate last_call;
	bool dry; /* the device has nothing to serve the next request with */
	bool in_turn; /* its loop serves it at this moment */
	int thread; /* 0: not known */

	/* The oldest request in flight; of a relay, the one that is out the longest. */
	bool has_oldest;
	bool knows_age; /* oldest_ns */
	uint16_t oldest_head;
	uint64_t oldest_ns;
	char oldest_request[HEALTH_REQUEST_BYTES];

	/* Over time. */
	struct health_num still_ns; /* nothing moved for so long; known where somebody watched */
	struct health_num empty_runs; /* a second, while nothing was taken */
	uint64_t threshold_ns; /* 0: nothing counts as stuck */
};

struct health_verdict {
	enum VirtQueueVerdict verdict;
	enum VirtQueueSeverity severity;
	char sentence[HEALTH_SENTENCE_BYTES];
	const char *advice; /* NULL: nothing to do */
};

/* More empty looks than this a second, and nothing taken, is a spin. */
#define HEALTH_SPIN_RUNS 1000

void health_judge(const struct health_picture *p, struct health_verdict *ret);

#endif
