/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Requests of a vhost-user back-end, over the socket of SET_BACKEND_REQ_FD: we are the one who
 * answers. Main loop, so that a back-end that waits for the answer to its own request while we wait
 * for one of its answers is not kept waiting.
 */
#ifndef VHOST_VHOST_CHANNEL_H
#define VHOST_VHOST_CHANNEL_H

#include "base/log.h"
#include "base/loop.h"
#include "proto/usock.h"

struct vhost_channel {
	struct usock sock;
	struct loop_fd node;
	bool open;
	const char *label; /* for log lines */
	void (*config_changed)(void *opaque);
	void *opaque;
	struct log_limit limit;
};

/*
 * Makes the socket pair. *ret_theirs is the back-end's end, the caller's to send and close. -errno
 * with a sentence.
 */
int vhost_channel_open(
	struct vhost_channel *channel, struct loop *loop, int *ret_theirs, struct err *err);
/* Idempotent; right for a zeroed struct. */
void vhost_channel_close(struct vhost_channel *channel);

#endif
