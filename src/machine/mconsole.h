/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A client of user-mode Linux's management console: datagrams on unix sockets, one for requests
 * that the guest's kernel makes when it is up, and one of ours for its notifications. One request
 * at a time, the others wait in order. Main loop; nothing here blocks.
 */
#ifndef MACHINE_MCONSOLE_H
#define MACHINE_MCONSOLE_H

#include <sys/un.h>

#include "base/err.h"
#include "base/loop.h"

/* Of a request and of one packet of a reply. */
#define MCONSOLE_DATA_BYTES 512

struct mconsole_request {
	const char *command; /* lives until fn() */
	/* @r: 0, -ETIMEDOUT, -ECANCELED or -EIO (the kernel refused) with a sentence in @err. */
	void (*fn)(struct mconsole_request *req, int r, const struct err *err);
	uint64_t deadline_ns; /* set by mconsole_send() */
	struct mconsole_request *next;
};

struct mconsole {
	struct loop *loop;
	/* The kernel came up, again after each restart. Its requests are taken from here on. */
	void (*booted)(struct mconsole *mc);
	/* @text is printable. */
	void (*panicked)(struct mconsole *mc, const char *text);

	struct sockaddr_un server; /* where requests go */
	char *dir;
	unsigned int num_sent; /* numbers our sockets */
	struct loop_fd notify; /* notifications */
	struct loop_fd reply; /* of the request that was sent; -1 while none was */
	struct loop_timer timeout; /* of the oldest request */
	struct mconsole_request *requests; /* oldest first */
	bool up;
	bool sent; /* the oldest one was */
};

/*
 * Makes the socket for notifications, @dir/notify; the kernel is told `mconsole=notify:` with that,
 * `uml_dir=@dir` and `umid=@umid`. The callbacks are set. -errno with a sentence.
 */
int mconsole_init(
	struct mconsole *mc, struct loop *loop, const char *dir, const char *umid, struct err *err);
/* Requests that wait are answered with -ECANCELED and @reason. Idempotent, zeroed is fine. */
void mconsole_deinit(struct mconsole *mc, const char *reason);
/* The same for the requests only; the kernel can be asked further. */
void mconsole_cancel(struct mconsole *mc, const char *reason);
/* Takes the notifications that lie there, of a kernel that has ended. */
void mconsole_drain(struct mconsole *mc);

/*
 * Sends @req as soon as the kernel is up and those before it are answered. The node is the caller's
 * until fn(), which is called in any case, @timeout_ms from now at the latest, never from in here.
 */
void mconsole_send(struct mconsole *mc, struct mconsole_request *req, uint64_t timeout_ms);

/* The kernel was told to start again: what is not sent waits until it is up. */
void mconsole_restarting(struct mconsole *mc);

#endif
