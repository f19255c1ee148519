/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * What connections have to say to the guest, one packet at a time: each in its turn, first what is
 * about the connection, then bytes of the socket as far as the guest has room.
 */
#include <errno.h>
#include <inttypes.h>
#include <string.h>

#include "base/alloc.h"
#include "devices/vsock_conn.h"

/* The program's end: of what it sends, or of all. */
static void host_ended(struct vsock_conn *c)
{
	c->readable = false;
	vsock_conn_say_shutdown(
		c, vsock_peer_hung_up(&c->peer) ? VSOCK_SHUTDOWN_BOTH : VSOCK_SHUTDOWN_SEND);
}

static uint32_t credit(const struct vsock_conn *c)
{
	uint32_t used = c->sent - c->peer_fwd_cnt;

	return used < c->peer_buf_alloc ? c->peer_buf_alloc - used : 0;
}

/* 1 where all->packet has *ret bytes; 0 where there is nothing now. */
static bool take_stream(struct vsock_conn *c, uint32_t room, uint32_t *ret)
{
	ssize_t n = vsock_peer_read(&c->peer, c->all->packet, MIN(room, VSOCK_PACKET_MAX));

	if (n == -EAGAIN)
		c->readable = false;
	else if (n <= 0)
		host_ended(c);
	*ret = n > 0 ? (uint32_t)n : 0;
	return n > 0;
}

/* A message is read whole and goes out in as many packets as the guest's room asks for. */
static bool take_message(struct vsock_conn *c, uint32_t room, uint32_t *ret, bool *ret_ends)
{
	ssize_t n;

	if (!c->msg_num) {
		n = vsock_peer_peek_len(&c->peer);
		if (n == -EAGAIN)
			c->readable = false;
		else if (n <= 0)
			host_ended(c);
		if (n <= 0)
			return false;
		if ((size_t)n > VSOCK_BUF_BYTES) {
			log_limited(&c->all->limit, LOG_LEVEL_WARN,
				"%s: a message of %zd bytes to the guest's port %" PRIu32
				" is too long, %u at most: its connection is reset",
				c->all->label, n, c->guest_port, VSOCK_BUF_BYTES);
			vsock_conn_reset(c);
			return false;
		}
		if (!c->msg)
			c->msg = xnew_n(uint8_t, VSOCK_BUF_BYTES);
		n = vsock_peer_read(&c->peer, c->msg, VSOCK_BUF_BYTES);
		c->msg_first = 0;
		c->msg_num = n > 0 ? (uint32_t)n : 0;
		if (!c->msg_num)
			return false;
	}
	room = MIN(room, VSOCK_PACKET_MAX);
	*ret = MIN(room, c->msg_num);
	memcpy(c->all->packet, c->msg + c->msg_first, *ret);
	c->msg_first += *ret;
	c->msg_num -= *ret;
	*ret_ends = !c->msg_num;
	return true;
}

static void fill(const struct vsock_conn *c, enum vsock_op op, struct vsock_header *ret)
{
	*ret = (struct vsock_header){
		.src_cid = le64_make(VSOCK_HOST_CID),
		.dst_cid = le64_make(c->all->guest_cid),
		.src_port = le32_make(c->host_port),
		.dst_port = le32_make(c->guest_port),
		.type = le16_make(c->seqpacket ? VSOCK_TYPE_SEQPACKET : VSOCK_TYPE_STREAM),
		.op = le16_make((uint16_t)op),
		.buf_alloc = le32_make(VSOCK_BUF_BYTES),
		.fwd_cnt = le32_make(c->fwd_cnt),
	};
}

/* What a connection says first of all that it has to say; RW last, and not over a shutdown. */
static const enum vsock_op order[] = { VSOCK_OP_RST, VSOCK_OP_REQUEST, VSOCK_OP_RESPONSE,
	VSOCK_OP_SHUTDOWN, VSOCK_OP_CREDIT_UPDATE };

static bool next_control(struct vsock_conn *c, struct vsock_header *ret)
{
	for (size_t i = 0; i < ARRAY_SIZE(order); i++) {
		if (!(c->pending & 1u << order[i]))
			continue;
		c->pending &= (uint8_t) ~(1u << order[i]);
		fill(c, order[i], ret);
		if (order[i] == VSOCK_OP_SHUTDOWN)
			ret->flags = le32_make(c->shutdown);
		return true;
	}
	return false;
}

static bool next_data(struct vsock_conn *c, uint32_t room, struct vsock_header *ret)
{
	uint32_t n = 0;
	bool ends = false, some;

	room = MIN(room, credit(c));
	if (!room || c->peer.fd < 0 || c->asked_guest || (!c->readable && !c->msg_num) ||
		(c->guest_shutdown & VSOCK_SHUTDOWN_RCV))
		return false;
	some = c->seqpacket ? take_message(c, room, &n, &ends) : take_stream(c, room, &n);
	if (!some)
		return false;
	c->sent += n;
	fill(c, VSOCK_OP_RW, ret);
	ret->len = le32_make(n);
	ret->flags = le32_make(ends ? VSOCK_SEQ_EOM : 0);
	return true;
}

static bool next_orphan(struct vsock_conns *all, struct vsock_header *ret)
{
	const struct vsock_orphan *o = &all->orphans[all->first_orphan];

	if (!all->num_orphans)
		return false;
	*ret = (struct vsock_header){
		.src_cid = le64_make(VSOCK_HOST_CID),
		.dst_cid = le64_make(all->guest_cid),
		.src_port = le32_make(o->host_port),
		.dst_port = le32_make(o->guest_port),
		.type = le16_make(o->type),
		.op = le16_make(VSOCK_OP_RST),
	};
	all->first_orphan = (all->first_orphan + 1) % VSOCK_ORPHANS_MAX;
	all->num_orphans--;
	return true;
}

/* One packet of the first in the line, who goes to its end while there is more. */
static bool next_of(struct vsock_conn *c, uint32_t room, struct vsock_header *ret)
{
	bool some = next_control(c, ret) || next_data(c, room, ret);

	/* Reading may have found the end: that is said too. */
	if (!some)
		some = next_control(c, ret);
	if (some)
		c->told_fwd_cnt = c->fwd_cnt;
	if (some && le16_get(ret->op) == VSOCK_OP_RST) {
		vsock_conn_drop(c);
		return true;
	}
	if (c->pending || (some && (c->readable || c->msg_num) && credit(c)))
		vsock_conn_join_line(c);
	vsock_conn_watch(c);
	return some;
}

bool vsock_conns_next(struct vsock_conns *all, uint32_t room, struct vsock_header *ret)
{
	if (next_orphan(all, ret))
		return true;
	while (all->ready_first) {
		struct vsock_conn *c = all->ready_first;

		vsock_conn_leave_line(c);
		if (next_of(c, room, ret))
			return true;
	}
	return false;
}
