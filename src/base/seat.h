/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A listening unix socket whose visitors are served one at a time. Another one that comes meanwhile
 * waits a moment for the first one's end, and is then turned away with a line that says who has the
 * seat, and since when. Main loop.
 */
#ifndef BASE_SEAT_H
#define BASE_SEAT_H

#include <sys/types.h>

#include "base/listen.h"
#include "base/log.h"
#include "base/loop.h"

/*
 * How long another one waits for the first one's end. A guest that reboots by executing itself
 * (user-mode Linux) may be back while its helpers, which die, still hold the first socket.
 */
#define SEAT_WAIT_MS 1000

enum seat_state {
	SEAT_FREE,
	SEAT_TAKEN,
	SEAT_ENDING, /* whoever has it is gone; seat_vacant() follows */
};

/* Room for a process's name and its terminator, as the kernel keeps it. */
#define SEAT_COMM_BYTES 16

/* Who made a connection. It may have gone on to another process since then. */
struct seat_visitor {
	pid_t pid; /* 0: of another PID namespace, or nobody came */
	char comm[SEAT_COMM_BYTES]; /* as it came, fit for a log; "": unknown */
	uint64_t since_ns; /* CLOCK_MONOTONIC */
};

struct seat;

struct seat_ops {
	/* How is it now? May look at what the first one said before it went, and so end it. */
	enum seat_state (*look)(struct seat *seat);
	/* It is @fd's turn (taken over). */
	void (*serve)(struct seat *seat, int fd);
	/*
	 * @next is here while the seat is taken. True: the first one is certainly over, though its
	 * connection is still held; its end has begun, and seat_vacant() follows or was called.
	 * NULL: that is never known.
	 */
	bool (*evict)(struct seat *seat, const struct seat_visitor *next);
};

/* Zero-initialised plus SEAT_INIT it is closed. */
struct seat {
	const struct seat_ops *ops;
	const char *label, *where; /* for the log: whose seat, and at which socket */
	struct loop *loop;
	struct listener listener;
	struct loop_fd node;
	struct loop_timer timer; /* for who waits, or until we accept again */
	int next_fd; /* owned. Who waits; -1: nobody */
	struct seat_visitor first, next;
	struct log_limit limit;
};

#define SEAT_INIT                                        \
	{                                                \
		.listener = LISTENER_INIT, .next_fd = -1 \
	}

/*
 * Listens as listen_unix() does and lets in who comes, by @ops. @label and @where outlive it.
 * -errno with a sentence; then it is closed.
 */
int seat_open(struct seat *seat, struct loop *loop, const struct listen_options *opts,
	const struct seat_ops *ops, const char *label, const char *where, struct err *err);
/* The first one's end was dealt with: the next one's turn, also while it is closed. */
void seat_vacant(struct seat *seat);
/* Turns away who waits, and listens no more. Who is served is not touched. Idempotent. */
void seat_close(struct seat *seat);

/* "linux.uml, pid 3584" or what else is known of a visitor, in @buf, which is returned. */
#define SEAT_NAME_BYTES 80
const char *seat_visitor_name(const struct seat_visitor *visitor, char buf[SEAT_NAME_BYTES]);

#endif
