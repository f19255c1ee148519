/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Listening sockets, unix and tcp, for the monitor and for vhost-user. Control path, any thread. A
 * socket file is never wider open than it is meant to be, not even for a moment; it is removed at
 * the end if it is still ours.
 */
#ifndef BASE_LISTEN_H
#define BASE_LISTEN_H

#include <stdbool.h>
#include <sys/types.h>

#include "base/err.h"

/* The mode of a socket file for which nobody asked for another. */
#define LISTEN_DEFAULT_MODE 0600

struct listen_options {
	/* Of the socket file; not looked at where fd >= 0. */
	const char *path;
	/* A listening unix or tcp socket that we were started with, or -1. */
	int fd;
	/* Permission bits of the socket file; 0 is LISTEN_DEFAULT_MODE. */
	mode_t mode;
	/* Name or number of the group that shall own the socket file, or NULL. */
	const char *group;
	/* SOCK_SEQPACKET, which keeps messages apart, in the place of a stream. A path alone. */
	bool seqpacket;
};

#define LISTEN_OPTIONS_INIT \
	{                   \
		.fd = -1    \
	}

/*
 * Options from text: @listen is a path or fd=N, @mode octal permissions or NULL, @group as above.
 * -EINVAL with a sentence. The text is not copied.
 */
int listen_parse(struct listen_options *ret, const char *listen, const char *mode,
	const char *group, struct err *err);

/* Zero-initialised plus fd -1 (LISTENER_INIT) it is closed. */
struct listener {
	int fd;
	/* What to call it in messages: "unix:/run/x", "tcp:127.0.0.1:4444", "fd=5". */
	char *name;
	/* The file to remove at the end; NULL for tcp and for an inherited socket. */
	char *path;
	/*
	 * Identify that file: if somebody replaced it, it stays. An inode's number comes back soon
	 * after the file went, so its birth counts too (0 where the file system knows none).
	 */
	dev_t dev;
	ino_t ino;
	uint64_t birth_ns;
	/* Of a tcp socket, the port that it got; else 0. */
	unsigned int port;
};

#define LISTENER_INIT    \
	{                \
		.fd = -1 \
	}

/*
 * Listens on @opts->path, or on a duplicate of the socket @opts->fd, which stays the caller's. A
 * socket file without a listener is replaced; one with a listener, or a file that is no socket,
 * fails with -EADDRINUSE or -EEXIST. The descriptor is non-blocking and close-on-exec.
 */
int listen_unix(struct listener *l, const struct listen_options *opts, struct err *err);
/*
 * Listens on "HOST:PORT", "[HOST]:PORT" or ":PORT". An empty host is the loopback address; any
 * other address is taken as it is written ("0.0.0.0" is everywhere). PORT 0 lets the kernel choose.
 */
int listen_tcp(struct listener *l, const char *host_port, struct err *err);
/*
 * The next connection, non-blocking and close-on-exec, or -errno: -EAGAIN where none waits. A
 * connection that was lost meanwhile is passed over.
 */
int listen_accept(struct listener *l);
/* Idempotent. */
void listen_close(struct listener *l);

#endif
