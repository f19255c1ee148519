/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Connections between a guest's ports and unix sockets. What the guest sends goes to the socket at
 * once or, where that is full, into a buffer whose size the guest knows: who sends more than that
 * is reset. What the socket has goes to the guest as far as the guest has room. One that has no
 * room holds up nobody but itself.
 */
#include "devices/vsock_conn.h"

#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

#include "base/alloc.h"
#include "base/cleanup.h"

/* A message's length in the buffer, before its bytes. */
#define LEN_BYTES sizeof(uint32_t)

static void on_peer(struct loop_fd *node, uint32_t revents);
static void on_close_timer(struct loop_timer *timer);

/* --- tables --- */

static struct vsock_conn **bucket(struct vsock_conns *all, uint32_t host_port, uint32_t guest_port)
{
	uint32_t h = (host_port * 2654435761u) ^ (guest_port * 2246822519u);

	return &all->hash[(h >> 16) % VSOCK_HASH];
}

static struct vsock_conn *find(
	struct vsock_conns *all, uint32_t host_port, uint32_t guest_port, bool seqpacket)
{
	struct vsock_conn *c = *bucket(all, host_port, guest_port);

	while (c && (c->host_port != host_port || c->guest_port != guest_port ||
			    c->seqpacket != seqpacket))
		c = c->hash_next;
	return c;
}

static struct vsock_conn *add(
	struct vsock_conns *all, int *fd, uint32_t host_port, uint32_t guest_port, bool seqpacket)
{
	struct vsock_conn **at = bucket(all, host_port, guest_port);
	struct vsock_conn *c = xnew(struct vsock_conn);

	c->all = all;
	c->host_port = host_port;
	c->guest_port = guest_port;
	c->seqpacket = seqpacket;
	c->timer.fn = on_close_timer;
	vsock_peer_open(&c->peer, take_fd(fd), on_peer);
	c->hash_next = *at;
	*at = c;
	c->next = all->first;
	if (c->next)
		c->next->prev = c;
	all->first = c;
	all->num++;
	return c;
}

void vsock_conn_leave_line(struct vsock_conn *c)
{
	struct vsock_conns *all = c->all;
	struct vsock_conn **at = &all->ready_first, *before = NULL;

	if (!c->is_ready)
		return;
	for (; *at != c; at = &(*at)->ready_next)
		before = *at;
	*at = c->ready_next;
	if (all->ready_last == c)
		all->ready_last = before;
	c->is_ready = false;
}

void vsock_conn_drop(struct vsock_conn *c)
{
	struct vsock_conns *all = c->all;
	struct vsock_conn **at = bucket(all, c->host_port, c->guest_port);

	vsock_conn_leave_line(c);
	loop_timer_cancel(&c->timer);
	vsock_peer_close(&c->peer);
	while (*at != c)
		at = &(*at)->hash_next;
	*at = c->hash_next;
	if (c->next)
		c->next->prev = c->prev;
	if (c->prev)
		c->prev->next = c->next;
	else
		all->first = c->next;
	all->num--;
	free(c->buf);
	free(c->msg);
	free(c);
}

/* It has something to say: last in the line. */
void vsock_conn_join_line(struct vsock_conn *c)
{
	struct vsock_conns *all = c->all;

	if (!c->is_ready) {
		c->is_ready = true;
		c->ready_next = NULL;
		if (all->ready_first)
			all->ready_last->ready_next = c;
		else
			all->ready_first = c;
		all->ready_last = c;
	}
	all->want_rx(all);
}

static void say(struct vsock_conn *c, enum vsock_op op)
{
	c->pending |= (uint8_t)(1u << op);
	vsock_conn_join_line(c);
}

/* The guest speaks of a connection that is none. A guest that takes no answers gets some of them.
 */
static void say_rst(struct vsock_conns *all, const struct vsock_header *h)
{
	unsigned int at = (all->first_orphan + all->num_orphans) % VSOCK_ORPHANS_MAX;

	if (le16_get(h->op) == VSOCK_OP_RST || all->num_orphans == VSOCK_ORPHANS_MAX)
		return;
	all->orphans[at] = (struct vsock_orphan){ le32_get(h->dst_port), le32_get(h->src_port),
		le16_get(h->type) };
	all->num_orphans++;
	all->want_rx(all);
}

/* --- ends --- */

/* The socket is done with, whatever it still had; the guest hears RST, and it is forgotten. */
void vsock_conn_reset(struct vsock_conn *c)
{
	vsock_peer_close(&c->peer);
	c->buf_num = c->msg_num = 0;
	c->readable = false;
	c->pending = 0;
	say(c, VSOCK_OP_RST);
}

static void on_close_timer(struct loop_timer *timer)
{
	vsock_conn_reset(container_of(timer, struct vsock_conn, timer));
}

/* Our side closes these ways; with both, the guest has to agree in some time. */
void vsock_conn_say_shutdown(struct vsock_conn *c, uint8_t ways)
{
	if ((c->shutdown | ways) == c->shutdown)
		return;
	c->shutdown |= ways;
	say(c, VSOCK_OP_SHUTDOWN);
	if (c->shutdown != VSOCK_SHUTDOWN_BOTH || c->closing)
		return;
	c->closing = true;
	loop_timer_set(c->all->loop, &c->timer, now_ns() + VSOCK_CLOSE_MS * NSEC_PER_MSEC);
}

void vsock_conn_watch(struct vsock_conn *c)
{
	uint32_t events = 0;

	/* Readable and not read yet: the receive queue has no room, or the guest. */
	if (!c->asked_guest && !c->readable && !c->msg_num &&
		!(c->shutdown & VSOCK_SHUTDOWN_SEND) && !(c->guest_shutdown & VSOCK_SHUTDOWN_RCV))
		events |= EPOLLIN;
	if (c->buf_num > c->buf_open)
		events |= EPOLLOUT;
	vsock_peer_want(&c->peer, c->all->loop, events);
}

/* The guest sends no more and all of it is delivered: the socket hears of it. */
static void check_guest_end(struct vsock_conn *c)
{
	if (!(c->guest_shutdown & VSOCK_SHUTDOWN_SEND) || c->buf_num)
		return;
	if (c->guest_shutdown == VSOCK_SHUTDOWN_BOTH)
		vsock_conn_reset(c);
	else
		vsock_peer_shutdown(&c->peer, SHUT_WR);
}

/* --- from the guest to the socket --- */

static void forwarded(struct vsock_conn *c, uint32_t bytes)
{
	c->fwd_cnt += bytes;
	c->held -= bytes;
	/* Before the guest believes that there is no room. */
	if (c->fwd_cnt - c->told_fwd_cnt >= VSOCK_BUF_BYTES / 4)
		say(c, VSOCK_OP_CREDIT_UPDATE);
}

static void buf_put(struct vsock_conn *c, const void *from, uint32_t len)
{
	uint32_t at = (c->buf_first + c->buf_num) % VSOCK_BUF_BYTES;
	uint32_t n = MIN(len, VSOCK_BUF_BYTES - at);

	if (!c->buf)
		c->buf = xnew_n(uint8_t, VSOCK_BUF_BYTES);
	memcpy(c->buf + at, from, n);
	memcpy(c->buf, (const uint8_t *)from + n, len - n);
	c->buf_num += len;
}

/* The host takes no more: what there is of it goes nowhere. */
static void host_is_deaf(struct vsock_conn *c)
{
	forwarded(c, c->held);
	c->buf_first = c->buf_num = c->buf_open = 0;
	vsock_conn_say_shutdown(c, VSOCK_SHUTDOWN_RCV);
}

/* As much of the buffer as the socket takes. */
static void flush(struct vsock_conn *c)
{
	while (c->buf_num) {
		uint32_t n = MIN(c->buf_num, VSOCK_BUF_BYTES - c->buf_first);
		ssize_t r = vsock_peer_write(&c->peer, c->buf + c->buf_first, n);

		if (r == -EAGAIN)
			break;
		if (r < 0) {
			host_is_deaf(c);
			break;
		}
		c->buf_first = (c->buf_first + (uint32_t)r) % VSOCK_BUF_BYTES;
		c->buf_num -= (uint32_t)r;
		forwarded(c, (uint32_t)r);
	}
}

static void stream_data(struct vsock_conn *c, const uint8_t *bytes, uint32_t len)
{
	ssize_t r = c->buf_num ? -EAGAIN : vsock_peer_write(&c->peer, bytes, len);

	if (r < 0 && r != -EAGAIN) {
		host_is_deaf(c);
		return;
	}
	if (r > 0)
		forwarded(c, (uint32_t)r);
	else
		r = 0;
	if ((uint32_t)r < len)
		buf_put(c, bytes + r, len - (uint32_t)r);
}

/*
 * Seqpacket: the buffer has a message's bytes in one piece, moved to its beginning, so that it can
 * be handed over whole. Messages that are whole go first; of the last one the end may be missing.
 * Each stands behind its length.
 */
static void flush_messages(struct vsock_conn *c)
{
	uint32_t at = 0;

	while (c->buf_num - at > c->buf_open) {
		uint32_t len;
		ssize_t r;

		memcpy(&len, c->buf + at, LEN_BYTES);
		r = vsock_peer_write(&c->peer, c->buf + at + LEN_BYTES, len);
		if (r == -EAGAIN)
			break;
		if (r < 0) {
			host_is_deaf(c);
			return;
		}
		at += (uint32_t)LEN_BYTES + len;
		forwarded(c, len);
	}
	c->buf_num -= at;
	memmove(c->buf, c->buf + at, c->buf_num);
}

/* Room for lengths too: a message of nothing costs the guest no credit. */
#define SEQ_BUF_BYTES (2 * VSOCK_BUF_BYTES)

static bool message_data(struct vsock_conn *c, const uint8_t *bytes, uint32_t len, bool ends)
{
	uint32_t whole;

	if (!c->buf)
		c->buf = xnew_n(uint8_t, SEQ_BUF_BYTES);
	if (c->buf_num + LEN_BYTES + len > SEQ_BUF_BYTES)
		return false;
	if (!c->buf_open) {
		c->buf_num += LEN_BYTES;
		c->buf_open = LEN_BYTES;
	}
	memcpy(c->buf + c->buf_num, bytes, len);
	c->buf_num += len;
	c->buf_open += len;
	if (!ends)
		return true;
	whole = c->buf_open - (uint32_t)LEN_BYTES;
	memcpy(c->buf + c->buf_num - c->buf_open, &whole, LEN_BYTES);
	c->buf_open = 0;
	flush_messages(c);
	return true;
}

static void guest_data(
	struct vsock_conn *c, const struct vsock_header *h, const uint8_t *bytes, uint32_t len)
{
	bool ok = true;

	if (c->asked_guest || (c->guest_shutdown & VSOCK_SHUTDOWN_SEND)) {
		vsock_conn_reset(c);
		return;
	}
	if (len <= VSOCK_BUF_BYTES - c->held) {
		c->held += len;
		/* What was on its way before the guest knew that nobody reads it goes nowhere. */
		if (c->shutdown & VSOCK_SHUTDOWN_RCV)
			forwarded(c, len);
		else if (c->seqpacket)
			ok = message_data(c, bytes, len, le32_get(h->flags) & VSOCK_SEQ_EOM);
		else
			stream_data(c, bytes, len);
		if (ok)
			return;
	}
	log_limited(&c->all->limit, LOG_LEVEL_WARN,
		"%s: connection of the guest's port %" PRIu32 " to the host's %" PRIu32
		" is reset: %u bytes came, beyond the room of %u that the guest was told",
		c->all->label, c->guest_port, c->host_port, len, VSOCK_BUF_BYTES);
	vsock_conn_reset(c);
}

/* --- requests --- */

static void guest_asks(struct vsock_conns *all, const struct vsock_header *h)
{
	bool seqpacket = le16_get(h->type) == VSOCK_TYPE_SEQPACKET;
	uint32_t port = le32_get(h->dst_port);
	_cleanup_fd_ int fd = -1;
	struct vsock_conn *c;

	if (all->num >= all->max)
		log_limited(&all->limit, LOG_LEVEL_WARN,
			"%s: the guest's connection to port %" PRIu32
			" is refused: %u are open, max-connections says no more",
			all->label, port, all->num);
	else
		fd = vsock_host_dial(all->host, port, seqpacket);
	if (fd < 0) {
		say_rst(all, h);
		return;
	}
	c = add(all, &fd, port, le32_get(h->src_port), seqpacket);
	c->peer_buf_alloc = le32_get(h->buf_alloc);
	c->peer_fwd_cnt = le32_get(h->fwd_cnt);
	say(c, VSOCK_OP_RESPONSE);
	vsock_conn_watch(c);
}

static bool port_is_free(struct vsock_conns *all, uint32_t host_port, uint32_t guest_port)
{
	return !find(all, host_port, guest_port, false) && !find(all, host_port, guest_port, true);
}

static void host_asks(void *opaque, int *fd, uint32_t port, bool seqpacket)
{
	struct vsock_conns *all = opaque;
	struct vsock_conn *c;

	if (all->num >= all->max) {
		log_limited(&all->limit, LOG_LEVEL_WARN,
			"%s: a program's connection to the guest's port %" PRIu32
			" is refused: %u are open, max-connections says no more",
			all->label, port, all->num);
		return;
	}
	while (!port_is_free(all, all->next_port, port))
		all->next_port = MAX(all->next_port + 1, VSOCK_FIRST_PORT);
	c = add(all, fd, all->next_port, port, seqpacket);
	all->next_port = MAX(all->next_port + 1, VSOCK_FIRST_PORT);
	c->asked_guest = true;
	say(c, VSOCK_OP_REQUEST);
	loop_timer_set(all->loop, &c->timer, now_ns() + VSOCK_CLOSE_MS * NSEC_PER_MSEC);
}

static const struct vsock_host_ops host_ops = { .asked = host_asks };

static void guest_answers(struct vsock_conn *c)
{
	if (!c->asked_guest) {
		vsock_conn_reset(c);
		return;
	}
	c->asked_guest = false;
	loop_timer_cancel(&c->timer);
	vsock_peer_ok(&c->peer, c->host_port);
}

static void guest_shuts_down(struct vsock_conn *c, uint32_t flags)
{
	c->guest_shutdown |= flags & VSOCK_SHUTDOWN_BOTH;
	if (c->guest_shutdown & VSOCK_SHUTDOWN_RCV)
		vsock_peer_shutdown(&c->peer, SHUT_RD);
	/* The end of a message never comes. */
	if (c->guest_shutdown & VSOCK_SHUTDOWN_SEND) {
		c->buf_num -= c->buf_open;
		c->held -= c->buf_open ? c->buf_open - (uint32_t)LEN_BYTES : 0;
		c->buf_open = 0;
	}
	check_guest_end(c);
}

static void conn_packet(
	struct vsock_conn *c, const struct vsock_header *h, const uint8_t *payload, uint32_t len)
{
	c->peer_buf_alloc = le32_get(h->buf_alloc);
	c->peer_fwd_cnt = le32_get(h->fwd_cnt);
	switch (le16_get(h->op)) {
	case VSOCK_OP_RESPONSE: guest_answers(c); break;
	case VSOCK_OP_RST: vsock_conn_drop(c); return;
	case VSOCK_OP_SHUTDOWN: guest_shuts_down(c, le32_get(h->flags)); break;
	case VSOCK_OP_RW: guest_data(c, h, payload, len); break;
	case VSOCK_OP_CREDIT_UPDATE: break;
	case VSOCK_OP_CREDIT_REQUEST: say(c, VSOCK_OP_CREDIT_UPDATE); break;
	default: vsock_conn_reset(c);
	}
	/* There may be room in the guest now. */
	if (c->readable || c->msg_num)
		vsock_conn_join_line(c);
	vsock_conn_watch(c);
}

void vsock_conns_packet(
	struct vsock_conns *all, const struct vsock_header *h, const uint8_t *payload, uint32_t len)
{
	uint16_t type = le16_get(h->type);
	struct vsock_conn *c = NULL;

	if (le64_get(h->src_cid) != all->guest_cid || le64_get(h->dst_cid) != VSOCK_HOST_CID ||
		(type != VSOCK_TYPE_STREAM && type != VSOCK_TYPE_SEQPACKET)) {
		say_rst(all, h);
		return;
	}
	c = find(all, le32_get(h->dst_port), le32_get(h->src_port), type == VSOCK_TYPE_SEQPACKET);
	/* One whose RST is on its way is over. */
	if (c && c->peer.fd >= 0)
		conn_packet(c, h, payload, len);
	else if (c && le16_get(h->op) == VSOCK_OP_RST)
		vsock_conn_drop(c);
	else if (!c && le16_get(h->op) == VSOCK_OP_REQUEST)
		guest_asks(all, h);
	else if (!c)
		say_rst(all, h);
}

/* --- the socket --- */

static void on_peer(struct loop_fd *node, uint32_t revents)
{
	struct vsock_conn *c = container_of(node, struct vsock_conn, peer.node);

	if (c->buf_num > c->buf_open) {
		if (c->seqpacket)
			flush_messages(c);
		else
			flush(c);
		check_guest_end(c);
	}
	if (c->peer.fd < 0)
		return;
	/* After a hang-up the rest can be read, and then its end. */
	if (revents & (EPOLLIN | EPOLLHUP | EPOLLERR)) {
		c->readable = true;
		vsock_conn_join_line(c);
	}
	vsock_conn_watch(c);
}

/* --- life --- */

void vsock_conns_init(struct vsock_conns *all)
{
	all->next_port = VSOCK_FIRST_PORT;
}

void vsock_conns_clear(struct vsock_conns *all)
{
	while (all->first)
		vsock_conn_drop(all->first);
	all->num_orphans = 0;
}

int vsock_conns_attach(struct vsock_conns *all, struct loop *loop, struct err *err)
{
	int r = vsock_host_attach(all->host, loop, &host_ops, all, err);

	if (r < 0)
		return r;
	all->loop = loop;
	for (struct vsock_conn *c = all->first, *next; c; c = next) {
		next = c->next;
		if (vsock_peer_attach(&c->peer, loop, err) < 0)
			vsock_conn_reset(c);
		else if (c->closing || c->asked_guest)
			loop_timer_set(loop, &c->timer, now_ns() + VSOCK_CLOSE_MS * NSEC_PER_MSEC);
	}
	return 0;
}

void vsock_conns_detach(struct vsock_conns *all)
{
	vsock_host_detach(all->host);
	for (struct vsock_conn *c = all->first; c; c = c->next) {
		vsock_peer_detach(&c->peer);
		loop_timer_cancel(&c->timer);
	}
	all->loop = NULL;
}
