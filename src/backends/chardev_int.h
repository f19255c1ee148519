/* SPDX-License-Identifier: BSD-3-Clause */
/* What the files of the chardev back end share; nobody else includes it. */
#ifndef BACKENDS_CHARDEV_INT_H
#define BACKENDS_CHARDEV_INT_H

#include "backends/chardev.h"
#include "base/listen.h"
#include "base/log.h"

/* A kind. Null members: nothing to do. */
struct chardev_class {
	const char *name;
	/* Sets descriptors and address; -errno with @err set, and free() is called then too. */
	int (*open)(struct chardev *chr, const struct chardev_config *config, struct err *err);
	void (*free)(struct chardev *chr);
	int (*attach)(struct chardev *chr, struct err *err);
	void (*detach)(struct chardev *chr);
	/* Input has ended, or (@output) output failed for good. On the loop it is attached to. */
	void (*hangup)(struct chardev *chr, bool output);
};

/* One direction. Watched only while something is wanted, so that a hang-up cannot spin the loop. */
struct chardev_end {
	int fd; /* -1: none */
	bool always; /* cannot be waited for because it never waits: a file, /dev/null */
	struct loop_fd node; /* armed while wanted */
	struct loop_work work; /* instead of node where always is set */
};

struct chardev {
	const struct chardev_class *class;
	char *id, *address, *user;
	struct chardev_end in, out; /* two descriptors even where they mean the same thing */
	bool is_open; /* a peer is there */
	bool want_read;
	struct loop *loop; /* NULL while detached */
	const struct chardev_ops *ops;
	void *opaque;

	/* Peers are counted, so that one who follows another at once is told as CLOSED, OPENED. */
	unsigned int num_peers, peer_told;
	bool open_told;
	struct loop_work tell;

	struct log_limit limit; /* for what a peer can provoke */
	bool is_socket;
	struct listener listener;
	struct loop_fd listen_node; /* the listener's; pty: told who opens the slave */
	struct loop_timer timer; /* pty: look for a peer; socket: look at the listener again */
	int left_unread; /* by a peer that is gone, when its successor came */
};

extern const struct chardev_class chardev_class_stdio, chardev_class_pty, chardev_class_socket;

/* A peer is there, or gone: changes is_open, tells the user soon, and (de)activates both ends. */
void chardev_set_open(struct chardev *chr, bool is_open);
/* Stops watching @end and closes its descriptor. */
void chardev_end_close(struct chardev *chr, struct chardev_end *end);
/* Gives @chr the descriptor *@fd for both directions, and consumes it. */
int chardev_set_fds(struct chardev *chr, int *fd, struct err *err);

#endif
