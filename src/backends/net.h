/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Networks: what a network card stands on. A struct net is the configuration and what was opened
 * for it, made on the main loop; a struct net_chan is one queue's way into it or out of it, on the
 * loop of that queue. Packets are Ethernet frames without their checksum.
 *
 * What comes in lies in memory of the back end's until net_next(), so a card can look at it and
 * copy it where it likes. What goes out is copied into the back end's memory (net_room()), or,
 * where net->takes_iov says so, handed to the kernel from where it lies, and to nobody else.
 * Nothing waits: without a packet, or without room, the caller hears of it by ready().
 */
#ifndef BACKENDS_NET_H
#define BACKENDS_NET_H

#include <pthread.h>
#include <stdatomic.h>
#include <sys/uio.h>

#include "base/err.h"
#include "base/loop.h"
#include "base/util.h"

/* Of one packet: 64 KiB that were not cut into segments yet, and the headers of a link. */
#define NET_PACKET_MAX (65536 + 64)
/* Pairs of queues of one card. */
#define NET_PAIRS_MAX 256

enum net_kind {
	NET_NULL, /* copies what is sent and forgets it; gives packets without end if asked to */
	NET_TAP, /* an interface of the host's kernel */
	NET_USER, /* a network of its own behind libslirp: no rights needed */
	NET_STREAM, /* a unix stream socket; a length of 4 bytes before each packet */
	NET_DGRAM, /* a unix datagram socket, a packet each */
};

struct net_config {
	enum net_kind kind;
	const char *id; /* for messages */
	unsigned int num_pairs;
	uint32_t source_bytes; /* NET_NULL: of each packet that comes in; 0: none does */
	uint8_t mac[6]; /* the card's */
	const char *ifname; /* NET_TAP */
	const char *path; /* NET_STREAM: path, or fd=N */
	bool server; /* NET_STREAM: listens, else connects, and again where it loses the peer */
	const char *local, *remote; /* NET_DGRAM: paths; local may be fd=N */
	const char *hostfwd; /* NET_USER: QEMU's words, several with a + between them; NULL: none */
	bool restricted; /* NET_USER: the guest reaches nobody but through hostfwd */
};

/*
 * What is left to do to a packet by whoever takes it: the members of struct virtio_net_hdr of
 * linux/virtio_net.h, which the kernel's tap speaks too, in the host's byte order.
 */
struct net_offload {
	uint8_t flags, gso_type;
	uint16_t hdr_len, gso_size, csum_start, csum_offset;
};

/* What may be left to do: enum net_offload.flags and gso_type, as somebody is able to take it. */
#define NET_CSUM (1u << 0)
#define NET_TSO4 (1u << 1) /* and NET_CSUM, as with all that follow */
#define NET_TSO6 (1u << 2)
#define NET_ECN	 (1u << 3) /* of TSO4 and TSO6 */
#define NET_USO	 (1u << 4)

/* Members are constant after net_open() and may be read by any thread, but the last part. */
struct net {
	enum net_kind kind;
	char *id, *name; /* name: "tap 'vnet0'", for messages */
	bool takes_iov;
	bool stays; /* packets that came in stay where they are, as long as their channel is open */
	unsigned int offloads; /* NET_CSUM and so on: takes such packets, and can give them */
	bool links; /* its link may be down: net_link_up() */
	unsigned int num_pairs;
	/* The rest is the room's own. */
	const struct net_ops *ops;
	void *state; /* the kind's */
	/* Under the lock: which loop serves all channels of a kind that has only one. */
	pthread_mutex_t lock;
	struct loop *one_loop;
	unsigned int num_chans;
	_Atomic bool link_up;
	struct net_link *link;
};

/* The link came up or went down. Main loop. */
typedef void net_link_fn(void *opaque);

/*
 * -errno with a sentence. @fn (may be NULL) is called on @main_loop when the link changed, until
 * net_free(). Main loop.
 */
int net_open(const struct net_config *config, struct loop *main_loop, net_link_fn *fn, void *opaque,
	struct net **ret, struct err *err);
/* All channels are closed. NULL is fine. Main loop. */
void net_free(struct net *net);
bool net_link_up(const struct net *net);
/* What net_open() takes. */
unsigned int net_max_pairs(enum net_kind kind);
/* "null", "tap", "user", "stream", "dgram"; NULL at the end. By enum net_kind. */
extern const char *const net_kinds[];

/*
 * Any loop: packets that come in from now on have nothing left to do but what @offloads says. Those
 * that are on their way may still have.
 */
void net_set_offloads(struct net *net, unsigned int offloads);

enum net_dir {
	NET_IN, /* from the network to the card */
	NET_OUT,
};

struct net_chan;

/* Called on the channel's loop: net_peek(), or net_room() and net_send_iov(), are worth a try. */
typedef void net_ready_fn(void *opaque);

/*
 * On @loop. -errno with a sentence; -EINVAL where the kind serves all its channels on one loop and
 * has one on another.
 */
int net_chan_open(struct net *net, unsigned int pair, enum net_dir dir, struct loop *loop,
	net_ready_fn *ready, void *opaque, struct net_chan **ret, struct err *err);
/* On its loop, not from within ready(). What comes in meanwhile is the kernel's to keep. NULL is
 * fine. */
void net_chan_close(struct net_chan *chan);

/* A packet that came in. */
struct net_packet {
	const uint8_t *bytes;
	uint32_t len; /* NET_PACKET_MAX at most, and it may be anything: 0 too */
	struct net_offload offload;
};

/* NET_IN, its loop: the packet that is next, until net_next(); false where none is there. */
bool net_peek(struct net_chan *chan, struct net_packet *ret);
void net_next(struct net_chan *chan);
/* Packets that the back end itself had no room for, since it was opened. Any thread. */
uint64_t net_num_lost(const struct net_chan *chan);

/*
 * NET_OUT, its loop, without takes_iov: where to put a packet of @len bytes, NET_PACKET_MAX at
 * most; NULL where there is no room now. net_send() sends what is there.
 */
void *net_room(struct net_chan *chan, uint32_t len);
void net_send(struct net_chan *chan, const struct net_offload *offload, uint32_t len);
/*
 * NET_OUT, its loop, with takes_iov: 0 sent; -EAGAIN not now, and nothing was sent; another -errno:
 * it is lost (nobody there, an interface that is down, a buffer that vanished, too many pieces).
 */
int net_send_iov(struct net_chan *chan, const struct net_offload *offload, const struct iovec *iov,
	unsigned int num_iov);
#endif
