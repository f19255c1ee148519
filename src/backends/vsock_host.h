/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The host's side of a guest's sockets: unix sockets. A program on the host reaches port N of the
 * guest by connecting to PATH and sending "CONNECT N\n"; it reads "OK M\n" once the guest has taken
 * the connection, and from then on both talk. Whoever listens on PATH_N is the host's port N for
 * the guest. SOCK_SEQPACKET has the same on PATH.seqpacket and PATH.seqpacket_N, where the line is
 * a message.
 *
 * Everything but opening and closing the host belongs to the loop that it is attached to. Nothing
 * waits.
 */
#ifndef BACKENDS_VSOCK_HOST_H
#define BACKENDS_VSOCK_HOST_H

#include <stdint.h>
#include <sys/types.h>

#include "base/err.h"
#include "base/loop.h"

/* Programs that have connected and not said yet what they want. */
#define VSOCK_ASKING_MAX 64
/* How long they may take. */
#define VSOCK_ASKING_MS 5000
/* The longest line, "CONNECT 4294967295\n", and some. */
#define VSOCK_LINE_BYTES 32

struct vsock_host;

/* A connection, embedded in whoever has it. Zero-initialised plus fd -1 it is closed. */
struct vsock_peer {
	int fd;
	struct loop_fd node;
	uint32_t events; /* what is waited for, attached or not */
};

struct vsock_host_ops {
	/* A program asks for @port of the guest. *fd is taken (vsock_peer_open()), or refused. */
	void (*asked)(void *opaque, int *fd, uint32_t port, bool seqpacket);
};

/* Listens on both paths. -errno with a sentence. Main loop. */
int vsock_host_open(const char *path, const char *mode, const char *group, struct vsock_host **ret,
	struct err *err);
/* Detached; the sockets' files are removed. NULL is fine. Main loop. */
void vsock_host_free(struct vsock_host *host);

/* From now on programs are heard. -errno with a sentence. */
int vsock_host_attach(struct vsock_host *host, struct loop *loop, const struct vsock_host_ops *ops,
	void *opaque, struct err *err);
/* Who has not said yet what it wants is hung up on. Idempotent. */
void vsock_host_detach(struct vsock_host *host);

/* Connects to the host's @port: a descriptor, or -errno. */
int vsock_host_dial(struct vsock_host *host, uint32_t port, bool seqpacket);

/* @fn is called on @loop when what vsock_peer_want() asked for may be done, or the peer hung up. */
void vsock_peer_open(struct vsock_peer *peer, int fd, void (*fn)(struct loop_fd *, uint32_t));
int vsock_peer_attach(struct vsock_peer *peer, struct loop *loop, struct err *err);
void vsock_peer_detach(struct vsock_peer *peer);
/* EPOLLIN, EPOLLOUT, both or none: then nothing is heard, a hang-up neither. */
void vsock_peer_want(struct vsock_peer *peer, struct loop *loop, uint32_t events);
/* The guest has taken the connection: the program learns which port is its own. */
void vsock_peer_ok(struct vsock_peer *peer, uint32_t port);
/* Bytes, 0 at the end of what the peer sends, -errno: -EAGAIN where there is nothing. */
ssize_t vsock_peer_read(struct vsock_peer *peer, void *buf, size_t len);
/* The length of the message that waits, which is read whole or cut; else as above. */
ssize_t vsock_peer_peek_len(struct vsock_peer *peer);
/* Bytes taken, -EAGAIN, or another -errno where the peer takes no more. */
ssize_t vsock_peer_write(struct vsock_peer *peer, const void *buf, size_t len);
/* SHUT_RD, SHUT_WR or SHUT_RDWR. */
void vsock_peer_shutdown(struct vsock_peer *peer, int how);
/* Has the peer closed both ways? */
bool vsock_peer_hung_up(const struct vsock_peer *peer);
/* Idempotent. */
void vsock_peer_close(struct vsock_peer *peer);

#endif
