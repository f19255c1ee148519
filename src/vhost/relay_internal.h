/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * What the parts of a relay know of each other: relay.c (the ends, and messages as they pass),
 * relay_outage.c (from a back-end's end to the next one's start), relay_replay.c (what the relay
 * says itself), relay_rings.c (where a ring goes on). Main loop.
 */
#ifndef VHOST_RELAY_INTERNAL_H
#define VHOST_RELAY_INTERNAL_H

#include "base/seat.h"
#include "proto/transcript.h"
#include "vhost/pump.h"
#include "vhost/relay.h"
#include "vhost/relay_journal.h"
#include "vhost/ring_witness.h"
#include "vhost/shadow.h"

/* How long until a back-end is dialled, doubled each time up to the second. */
#define REDIAL_FIRST_MS 10
#define REDIAL_LAST_MS	1000
/* How long it may take for an answer to a message of the relay's own. */
#define OWN_REPLY_MS 5000

enum relay_state {
	RELAY_PASSING, /* messages pass */
	RELAY_ASKING, /* ... but the front-end's wait while the relay asks something itself */
	RELAY_DOWN, /* there is no back-end; it is dialled from time to time */
	RELAY_REPLAYING, /* a new one is told what it has to know */
};

/* A message that the relay makes itself; everything but the numbers is the builder's to set. */
struct own_message {
	uint32_t request; /* 0: none */
	uint8_t payload[sizeof(union vhu_payload)];
	size_t bytes;
	int fds[VHU_FDS_MAX]; /* borrowed */
	unsigned int num_fds;
};

struct relay;

/* A step of a script; called with @i counting from 0 until it says false. */
struct own_step {
	bool (*make)(struct relay *relay, unsigned int i, struct own_message *ret);
	/* What came back; false where it does not do. NULL: anything does. */
	bool (*answer)(struct relay *relay, struct usock *us);
};

struct relay {
	struct vdev dev;
	/* Options. */
	char *listen, *connect, *mode, *group, *type;
	bool log_messages, reconnect;
	uint32_t outage_ms;

	struct vdev_class cls; /* relay_class with the type's number */
	struct seat seat;
	struct pump main, channel;
	struct shadow shadow;
	struct transcript transcript;
	struct log_limit visits, limit;

	/* With reconnect=on. */
	enum relay_state state;
	struct journal journal;
	const struct own_step *script; /* while asking or replaying */
	unsigned int step, step_at;
	uint32_t awaited; /* the request whose answer is due; 0: none */
	struct loop_timer answer_due, redial, patience, watch;
	uint64_t redial_ms, down_since_ns;
	bool out_of_patience;
	bool channel_nonblock;
	int channel_end; /* the back-end's end of a channel that is on its way to it; -1: none */
	/* A region for what is in flight that the front-end does not know of. */
	bool region_asked, region_is_own;
	struct vhu_inflight region; /* its own, or the front-end's */
	struct gmem *region_mem; /* mapped; NULL: there is none */
	struct ring_witness rings[SHADOW_QUEUES_MAX];
	char stopped_reason[SHADOW_QUEUES_MAX][160];
};

/* --- relay.c --- */

/* Notes a message of the relay's own, said to @to or heard from the back-end. */
void relay_note_own(struct relay *relay, bool from_backend, const struct vhu_header *header,
	const void *payload, unsigned int num_fds);
/* For who looks: how it is with the connection, or with the back-end while the front-end stays. */
void relay_note_end(struct relay *relay, enum vdev_end end);
/* A channel for another back-end: its end, which is the caller's, or -1. */
int relay_new_channel(struct relay *relay);

/* --- relay_outage.c --- */

/* Nothing of one front-end is left for the next. Idempotent. */
void relay_forget(struct relay *relay);
void relay_outage_init(struct relay *relay);
/* The back-end is gone, or was not there. False: the front-end has to go too. */
bool relay_lost(struct relay *relay, const char *why);
/* A message of the front-end, while they do not pass. */
enum pump_verdict relay_front_waits(struct relay *relay, struct usock *us);
/* The back-end that answers knows everything: messages pass again. */
void relay_resume(struct relay *relay);
/* It does not do, but another may; or no other will. */
void relay_try_again(struct relay *relay, const char *why);
void relay_give_up(struct relay *relay, const char *why);

/* --- relay_replay.c --- */

/* Tells a new back-end everything; relay_resume(), relay_try_again() or relay_give_up() follows. */
void relay_replay(struct relay *relay);
/*
 * Would a region for what is in flight be of use, and was it not asked for yet? Then asks, for
 * rings of @num entries.
 */
bool relay_ask_region(struct relay *relay, uint32_t num);
/* A reply of the back-end: was it for the relay itself? */
bool relay_own_reply(struct relay *relay, struct usock *us);
/* Whatever was being asked is not any more. */
void relay_stop_asking(struct relay *relay);
/* Says one to the back-end, or to the front-end in the back-end's place. */
void relay_say_reply(struct relay *relay, uint32_t request, const void *payload, size_t bytes);

/* --- relay_rings.c --- */

/* A region for what is in flight is in use from now on; @fd is borrowed. */
void relay_set_region(struct relay *relay, const struct vhu_inflight *region, int fd, bool is_own);
/* A ring starts, or goes on at another back-end, at @base. */
void relay_ring_starts(struct relay *relay, uint32_t index, uint32_t base);
/* It rests, at the front-end's wish. */
void relay_ring_rests(struct relay *relay, uint32_t index);
/* The back-end is gone: a last look at every ring. */
void relay_rings_look(struct relay *relay);
/* Where the ring goes on at another back-end. -errno with a sentence: nobody can tell. */
int relay_ring_base(struct relay *relay, uint32_t index, uint32_t *ret, struct err *err);
/*
 * What GET_VRING_BASE is answered with while nobody serves: a base that stands for exactly what
 * was not answered, with the front-end's region where it has one.
 */
int relay_ring_rest_base(struct relay *relay, uint32_t index, uint32_t *ret, struct err *err);
void relay_ring_stop(struct relay *relay, uint32_t index, const char *why);
void relay_rings_forget(struct relay *relay);
/* The timer by which rings without a record are followed. */
void relay_watch(struct loop_timer *timer);

#endif
