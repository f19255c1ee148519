/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Two connections that are one: whole messages with their descriptors go from each end to the
 * other, unchanged and in order. Who does not read is not read for; nothing waits; a hang-up of one
 * end closes the other once what was sent is delivered. One loop.
 */
#ifndef VHOST_PUMP_H
#define VHOST_PUMP_H

#include "base/loop.h"
#include "proto/usock.h"
#include "proto/vhost_user.h"

/* The largest payload of a message that passes, known or not. */
#define PUMP_PAYLOAD_MAX 65536
/* Messages of one end at a time before others of the loop have their turn. */
#define PUMP_BUDGET 64
/* How long one end may take to read what the other sent before it hung up, while others wait. */
#define PUMP_LINGER_MS 5000

enum { PUMP_FRONT, PUMP_BACK };

struct pump;

struct pump_ops {
	/*
	 * A whole message, in end[from].sock, before it goes on. A descriptor there may be replaced
	 * by another, which the message owns then.
	 */
	void (*message)(struct pump *pump, unsigned int from);
	/* Both are closed. @from ended it; @why is a sentence, or NULL where it hung up. */
	void (*closed)(struct pump *pump, unsigned int from, const char *why);
};

struct pump_end {
	struct pump *pump;
	struct usock sock;
	struct loop_fd node;
	bool ended; /* no more comes from it */
	bool deaf; /* it takes no more */
};

/* Zero-initialised it is closed. */
struct pump {
	const struct pump_ops *ops;
	struct loop *loop;
	struct pump_end end[2];
	struct loop_timer linger;
	bool open;
	unsigned int ended_by; /* the end that ended first */
	char why[128]; /* "": it hung up */
};

/* Takes both descriptors over. -errno with a sentence; then both are closed. */
int pump_open(struct pump *pump, struct loop *loop, const struct pump_ops *ops, int front, int back,
	struct err *err);
/* At once, without a word to ops. Idempotent. */
void pump_close(struct pump *pump);
/* Looks at both ends now, for who wants to know whether one is gone. May call closed(). */
void pump_look(struct pump *pump);
/*
 * Has the front end hung up, while what it said is not delivered yet? Somebody waits for that then:
 * from now on the other has PUMP_LINGER_MS to read it.
 */
bool pump_is_ending(struct pump *pump);

#endif
