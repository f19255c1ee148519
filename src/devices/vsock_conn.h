/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The connections of a virtio-vsock device (virtio 1.3, "Socket Device", "Device Operation"): what
 * each has to say to the guest, what the guest sent and the host has not taken yet, and credit.
 * Everything runs on the loop of the device's queues, or on the main loop while they are idle.
 */
#ifndef DEVICES_VSOCK_CONN_H
#define DEVICES_VSOCK_CONN_H

#include "backends/vsock_host.h"
#include "base/le.h"
#include "base/log.h"

#define VSOCK_HOST_CID 2
/* Room for what the guest sends and the host has not taken, of each connection. */
#define VSOCK_BUF_BYTES (256u << 10)
/* The largest payload of a packet to the guest; what Linux takes at most. */
#define VSOCK_PACKET_MAX (64u << 10)
/* Answers to packets of no connection that wait for room in the receive queue. */
#define VSOCK_ORPHANS_MAX 256
/* How long a peer that was told of the end may take to agree. */
#define VSOCK_CLOSE_MS 8000
#define VSOCK_HASH     1024
/* The host's ports for connections that programs on the host begin. */
#define VSOCK_FIRST_PORT (1u << 30)

enum vsock_op {
	VSOCK_OP_INVALID,
	VSOCK_OP_REQUEST,
	VSOCK_OP_RESPONSE,
	VSOCK_OP_RST,
	VSOCK_OP_SHUTDOWN,
	VSOCK_OP_RW,
	VSOCK_OP_CREDIT_UPDATE,
	VSOCK_OP_CREDIT_REQUEST,
};

enum { VSOCK_TYPE_STREAM = 1, VSOCK_TYPE_SEQPACKET = 2 };
enum { VSOCK_SHUTDOWN_RCV = 1, VSOCK_SHUTDOWN_SEND = 2, VSOCK_SHUTDOWN_BOTH = 3 };
enum { VSOCK_SEQ_EOM = 1 };

struct vsock_header {
	le64 src_cid, dst_cid;
	le32 src_port, dst_port;
	le32 len; /* bytes of payload */
	le16 type, op;
	le32 flags;
	le32 buf_alloc, fwd_cnt;
} __attribute__((packed));

struct vsock_conns;

struct vsock_conn {
	struct vsock_conns *all;
	struct vsock_peer peer;
	uint32_t host_port, guest_port;
	bool seqpacket;
	bool asked_guest; /* REQUEST went out, the guest has not answered */
	bool closing; /* both ways are over; waits for the guest's RST */
	uint8_t pending; /* a bit for each op that has to go out */
	uint8_t shutdown; /* VSOCK_SHUTDOWN_: that the guest was told, or is about to be */
	uint8_t guest_shutdown; /* that the guest said */
	bool readable; /* the peer may have bytes for the guest */
	uint32_t peer_buf_alloc, peer_fwd_cnt; /* the guest's room */
	uint32_t sent; /* bytes to the guest */
	uint32_t fwd_cnt, told_fwd_cnt; /* bytes that the host took; as the guest knows */
	uint32_t held; /* bytes of the guest that the host did not take yet */
	/* From the guest, not taken by the host: VSOCK_BUF_BYTES, or NULL while never needed. */
	uint8_t *buf;
	uint32_t buf_first, buf_num;
	/* Seqpacket: how many of the last bytes are of a message without its end yet. */
	uint32_t buf_open;
	/* Seqpacket, to the guest: a message of which a part went out. */
	uint8_t *msg;
	uint32_t msg_first, msg_num;
	struct loop_timer timer;
	struct vsock_conn *hash_next, *prev, *next; /* all of the device */
	struct vsock_conn *ready_next;
	bool is_ready; /* it stands in the line of those that have something to say */
};

/* An answer to a packet of no connection. */
struct vsock_orphan {
	uint32_t host_port, guest_port;
	uint16_t type;
};

struct vsock_conns {
	struct vsock_host *host;
	struct loop *loop; /* NULL: detached */
	void (*want_rx)(struct vsock_conns *all); /* something has to go out */
	struct vsock_conn *hash[VSOCK_HASH];
	struct vsock_conn *first;
	struct vsock_conn *ready_first, *ready_last;
	unsigned int num, max;
	uint32_t next_port;
	struct vsock_orphan orphans[VSOCK_ORPHANS_MAX];
	unsigned int first_orphan, num_orphans;
	uint64_t guest_cid;
	const char *label; /* of the device, for log lines */
	struct log_limit limit;
	uint8_t packet[VSOCK_PACKET_MAX]; /* on its way to the guest */
};

/* @host, @want_rx, @max, @guest_cid and @label are set. */
void vsock_conns_init(struct vsock_conns *all);
/* Every connection ends, without a word to the guest. */
void vsock_conns_clear(struct vsock_conns *all);
/* Peers are heard from now on, or are not. */
int vsock_conns_attach(struct vsock_conns *all, struct loop *loop, struct err *err);
void vsock_conns_detach(struct vsock_conns *all);

/*
 * A packet from the guest, whose payload of @len bytes at @payload is whole. What makes no sense is
 * answered with RST.
 */
void vsock_conns_packet(struct vsock_conns *all, const struct vsock_header *h,
	const uint8_t *payload, uint32_t len);
/*
 * The next packet to the guest, with a payload of at most @room bytes: its header, and the payload
 * in all->packet. False where there is nothing to say.
 */
bool vsock_conns_next(struct vsock_conns *all, uint32_t room, struct vsock_header *ret);

/* What the two files share. It has something to say: last in the line, or it leaves it. */
void vsock_conn_join_line(struct vsock_conn *c);
void vsock_conn_leave_line(struct vsock_conn *c);
/* The socket is done with, whatever it still had; the guest hears RST, and it is forgotten. */
void vsock_conn_reset(struct vsock_conn *c);
/* Our side closes these ways; with both, the guest has to agree in some time. */
void vsock_conn_say_shutdown(struct vsock_conn *c, uint8_t ways);
/* The socket is heard for what can be gone on with. */
void vsock_conn_watch(struct vsock_conn *c);
/* Without a word to anybody; frees it. */
void vsock_conn_drop(struct vsock_conn *c);

#endif
