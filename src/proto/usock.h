/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Messages with descriptors over a unix stream socket, non-blocking: a header of fixed size that
 * says how long the payload is, then the payload. Knows no protocol beyond that, waits for nothing
 * and watches nothing: whoever owns the loop calls usock_recv() when the socket is readable and
 * usock_flush() when it is writable. One thread at a time.
 */
#ifndef PROTO_USOCK_H
#define PROTO_USOCK_H

#include <sys/types.h>

#include "base/err.h"
#include "base/util.h"

#define USOCK_HEADER_MAX 64
/* Descriptors that a message may have at most; a framing can allow fewer. */
#define USOCK_FDS_MAX 32
/* Bytes that wait to be sent before usock_send() says -ENOBUFS. */
#define USOCK_SEND_MAX_BYTES (256u << 10)

/* How a protocol cuts its stream. */
struct usock_framing {
	size_t header_bytes; /* at most USOCK_HEADER_MAX */
	size_t payload_max;
	unsigned int fds_max; /* at most USOCK_FDS_MAX */
	/* The payload's length by the header, or -EPROTO: the header is not to be followed. */
	ssize_t (*payload_bytes)(const void *header);
};

struct usock_out;
struct usock;

/* Sees every whole message, before it is handed out or sent. For a transcript. */
typedef void (*usock_tap)(struct usock *us, bool sent, const void *header, const void *payload,
	size_t payload_bytes, unsigned int num_fds);

struct usock {
	int fd; /* owned; -1: closed */
	const struct usock_framing *framing;
	usock_tap tap; /* NULL: none */
	void *tap_opaque;

	/* The message that is coming in. After usock_recv() said 1, the message that came. */
	uint8_t header[USOCK_HEADER_MAX];
	uint8_t *payload; /* payload_max bytes */
	size_t payload_bytes;
	int fds[USOCK_FDS_MAX];
	unsigned int num_fds;
	/* Descriptors that came with this message and were closed, being too many. */
	unsigned int num_surplus;
	bool leads_back; /* one was a connection to this process; closed as well */

	size_t got; /* bytes of header and payload */
	bool whole;
	struct usock_out *out_head, *out_tail;
	size_t out_bytes;
};

/* Takes @fd over, non-blocking from now on. */
void usock_init(struct usock *us, int fd, const struct usock_framing *framing);
/* Closes the socket, and every descriptor that nobody took. Idempotent. */
void usock_deinit(struct usock *us);

/*
 * Goes on with the message at hand: 1: it is whole, and stays in @us until the next call or
 * usock_drop(); 0: more has to come. -EPIPE: end of file between messages; -ECONNRESET: within one,
 * or the peer is gone; -EPROTO: the framing refused the header, which is whole in us->header;
 * -EMSGSIZE: payload too long; -EBADMSG: more descriptors than may be, which are closed; -ENFILE:
 * descriptors were lost, most likely at our own limit; -ELOOP: one is a connection to ourselves.
 * After an error only usock_deinit() makes sense.
 */
int usock_recv(struct usock *us);
/* The descriptor @i of the message, which the caller owns now; -1 where there is none. */
int usock_take_fd(struct usock *us, unsigned int i);
/* Done with the message: closes what was not taken. */
void usock_drop(struct usock *us);

/*
 * Sends a message, or queues what the socket does not take now; @fds stay the caller's. 0, -ENOBUFS
 * where too much waits already, or the socket's -errno.
 */
int usock_send(struct usock *us, const void *header, const void *payload, size_t payload_bytes,
	const int *fds, unsigned int num_fds);
/* 0: nothing waits any more. 1: something does. Else -errno. */
int usock_flush(struct usock *us);

#endif
