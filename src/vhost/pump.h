/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Two connections that are one: whole messages with their descriptors go from each end to the
 * other, unchanged and in order. Who does not read is not read for; nothing waits; a hang-up of one
 * end closes the other once what was sent is delivered. Whoever wants to keep the front end when
 * the back end goes says so in lost(), and brings another. One loop.
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

enum pump_verdict {
	PUMP_PASS, /* it goes on */
	PUMP_DROP, /* it does not */
	PUMP_WAIT, /* it stays where it is, and those behind it too, until pump_resume() */
};

struct pump_ops {
	/*
	 * A whole message, in end[from].sock, before it goes on. A descriptor there may be replaced
	 * by another, which the message owns then. Without a back end nothing can pass.
	 */
	enum pump_verdict (*message)(struct pump *pump, unsigned int from);
	/*
	 * The back end is gone, @why as in closed(). True: the front end stays, and pump_attach()
	 * follows some time. NULL: it never does.
	 */
	bool (*lost)(struct pump *pump, const char *why);
	/* Both are closed. @from ended it; @why is a sentence, or NULL where it hung up. */
	void (*closed)(struct pump *pump, unsigned int from, const char *why);
};

struct pump_end {
	struct pump *pump;
	struct usock sock;
	struct loop_fd node;
	bool ended; /* no more comes from it */
	bool deaf; /* it takes no more */
	bool parked; /* its message waits */
};

/* Zero-initialised it is closed. */
struct pump {
	const struct pump_ops *ops;
	struct loop *loop;
	struct pump_end end[2];
	struct loop_timer linger;
	struct loop_work again; /* pump_resume() */
	bool open;
	bool alone; /* without a back end for now */
	bool is_over; /* pump_end() */
	unsigned int ended_by; /* the end that ended first */
	char why[128]; /* "": it hung up */
};

/*
 * Takes both descriptors over; @back -1: none for now. -errno with a sentence; then both are
 * closed.
 */
int pump_open(struct pump *pump, struct loop *loop, const struct pump_ops *ops, int front, int back,
	struct err *err);
/* Another back end in the place of the one that was lost. -errno, and it is closed. */
int pump_attach(struct pump *pump, int back, struct err *err);
/* Closes the back end and goes on without, as if it had been lost; ops hears nothing. */
void pump_detach(struct pump *pump);
/* The message that waits is offered again, and all behind it. Soon: not from within this call. */
void pump_resume(struct pump *pump);
/* A message of ours to an end that is there; an end that does not take it is found to have gone. */
void pump_say(struct pump *pump, unsigned int to, const struct vhu_header *header,
	const void *payload, const int *fds, unsigned int num_fds);
/* As if @from had ended by itself, for the reason that is given. Soon, as pump_resume(). */
void pump_end(struct pump *pump, unsigned int from, const char *why);
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
