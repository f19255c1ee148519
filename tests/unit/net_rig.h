/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A network card, its rings and a peer at the other end of a stream socket, for tests. The
 * driver's side of the rings is written by hand.
 */
#ifndef TESTS_NET_RIG_H
#define TESTS_NET_RIG_H

#include "dev_fixture.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <sys/socket.h>

#include "devices/net_int.h"

#define RIG_RING 64u
/* No test runs two queues that share a place. */
#define QUEUE_AT(i) (DESC_AT + (i) % 9u * 0x8000ull)
#define RX_AT	    (SPLIT + 0x20000ull)
#define TX_AT	    (SPLIT - 0x800) /* crosses the two regions of memory */
#define CTRL_AT	    0x140000ull
#define REPLY_AT    0x148000ull

/* The address that CARD gives it. */
static const uint8_t card[6] = { 0x52, 0x54, 0, 1, 2, 3 };
#define CARD ",\"mac\":\"52:54:00:01:02:03\""

#define F(bit)	    (1ull << VIRTIO_NET_F_##bit)
#define HEADER	    sizeof(struct net_header)
#define FRAME_BYTES 60u

#define RIG_FEATURES                                                                            \
	(F(MRG_RXBUF) | F(CTRL_VQ) | F(CTRL_RX) | F(CTRL_RX_EXTRA) | F(CTRL_VLAN) | F(STATUS) | \
		F(CTRL_MAC_ADDR) | F(GUEST_ANNOUNCE) | F(DEVICE_STATS))

struct rig {
	struct fix f;
	struct vnet *net;
	int peer;
	uint16_t avail[2 * NET_PAIRS_MAX + 1];
};

static inline struct vring_used *rig_used(struct rig *r, unsigned int q)
{
	return ram(&r->f, QUEUE_AT(q) + 0x2000);
}

static inline uint16_t rig_used_idx(struct rig *r, unsigned int q)
{
	return le16_get(rig_used(r, q)->idx);
}

static inline uint32_t rig_used_len(struct rig *r, unsigned int q, unsigned int i)
{
	return le32_get(rig_used(r, q)->ring[i % RIG_RING].len);
}

static inline void rig_queue(struct rig *r, unsigned int q)
{
	struct vq *vq = &r->f.dev->queues[q];
	int kick_fd = eventfd(0, EFD_NONBLOCK), call = dup(r->f.call);

	memset(ram(&r->f, QUEUE_AT(q)), 0, 0x3000);
	r->avail[q] = 0;
	vq->cfg = (struct vq_config){ .num = RIG_RING,
		.desc = QUEUE_AT(q),
		.driver = QUEUE_AT(q) + 0x1000,
		.device = QUEUE_AT(q) + 0x2000 };
	vq_set_kick_fd(vq, &kick_fd);
	vq_set_call_fd(vq, &call);
	vq->enabled = true;
}

/* Features without VERSION_1 where @features has bit 63 (which no test negotiates else). */
#define LEGACY (1ull << 63)

/* Starts the queues [@first, @end) of a device that no driver has. */
static inline void rig_run_some(
	struct rig *r, uint64_t features, unsigned int first, unsigned int end)
{
	unsigned int i;

	vdev_set_mem(r->f.dev, r->f.mem);
	vdev_set_driver_features(
		r->f.dev, virtio_features_from64(
				  features & LEGACY ? features & ~LEGACY : features | 1ull << 32));
	for (i = first; i < end; i++)
		rig_queue(r, i);
	vdev_write_status(r->f.dev, 0xf);
	pump(&r->f);
}

static inline void rig_run(struct rig *r, uint64_t features)
{
	rig_run_some(r, features, 0, r->f.dev->num_queues);
}

/* A device whose driver has not come yet. @options: what stands behind netdev, with a comma before
 * it. */
static inline void rig_open(struct rig *r, const char *netdev, const char *options)
{
	static char text[256];
	int pair[2] = { -1, -1 };

	memset(r, 0, sizeof(*r));
	if (!strcmp(netdev, "stream")) {
		assert_int_equal(
			socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, pair),
			0);
		snprintf(text, sizeof(text), "{\"netdev\":\"stream\",\"path\":\"fd=%d\"%s}",
			pair[1], options);
	} else if (!strcmp(netdev, "server")) {
		snprintf(text, sizeof(text), "{\"netdev\":\"stream\",\"server\":true%s}", options);
	} else {
		snprintf(text, sizeof(text), "{\"netdev\":\"%s\"%s}", netdev, options);
	}
	fix_class = &virtio_net_class;
	fix_options = text;
	fix_init(&r->f, 0, 0);
	if (pair[1] >= 0)
		close(pair[1]);
	r->peer = pair[0];
	r->net = vnet_of(r->f.dev);
}

static inline void rig_start(
	struct rig *r, const char *netdev, const char *options, uint64_t features)
{
	rig_open(r, netdev, options);
	rig_run(r, features);
}

static inline void rig_stop(struct rig *r)
{
	if (r->peer >= 0)
		close(r->peer);
	fix_deinit(&r->f);
}

/* Offers head @head of queue @q, whose descriptors stand there. */
static inline void rig_offer(struct rig *r, unsigned int q, uint16_t head)
{
	struct vring_avail *a = ram(&r->f, QUEUE_AT(q) + 0x1000);

	a->ring[r->avail[q] % RIG_RING] = le16_make(head);
	__atomic_thread_fence(__ATOMIC_SEQ_CST);
	a->idx = le16_make(++r->avail[q]);
}

static inline void rig_kick(struct rig *r, unsigned int q)
{
	eventfd_write(r->f.dev->queues[q].kick_fd, 1);
	pump(&r->f);
}

/* A buffer of @len bytes at place @i, for receiving; filled with what is not written. */
static inline uint8_t *rig_buffer(struct rig *r, unsigned int i, uint32_t len)
{
	uint64_t at = RX_AT + i * 0x1000ull;

	memset(ram(&r->f, at), UNTOUCHED, 0x1000);
	set_desc(&r->f, QUEUE_AT(0), i % RIG_RING, at, len, WRITE, 0);
	rig_offer(r, 0, (uint16_t)(i % RIG_RING));
	return ram(&r->f, at);
}

static inline uint8_t rig_byte(size_t i)
{
	return (uint8_t)(i * 7 >> 2);
}

/* A frame to @mac of @len bytes. */
static inline void rig_frame(uint8_t *ret, const uint8_t *mac, size_t len)
{
	size_t i;

	for (i = 0; i < len; i++)
		ret[i] = rig_byte(i);
	memcpy(ret, mac, MIN(len, (size_t)6));
}

static inline void rig_peer_sends(struct rig *r, const uint8_t *frame, uint32_t len)
{
	uint32_t wire = htonl(len);
	struct iovec iov[2] = { { &wire, 4 }, { (void *)frame, len } };

	assert_int_equal(writev(r->peer, iov, 2), (ssize_t)len + 4);
	pump(&r->f);
}

/* The next frame at the peer, or -1. */
static inline ssize_t rig_peer_takes(struct rig *r, uint8_t *ret, size_t room)
{
	uint32_t wire;
	ssize_t n = recv(r->peer, &wire, 4, MSG_DONTWAIT);

	if (n < 0)
		return -1;
	assert_int_equal(n, 4);
	assert_true(ntohl(wire) <= room);
	assert_int_equal(recv(r->peer, ret, ntohl(wire), MSG_DONTWAIT), ntohl(wire));
	return (ssize_t)ntohl(wire);
}

/* Transmits @len bytes from TX_AT, cut as @cuts says; returns the used length. */
static inline uint32_t rig_transmit(struct rig *r, uint32_t len, const uint32_t *cuts)
{
	static const uint32_t whole[] = { 0 };
	uint16_t before = rig_used_idx(r, 1);
	uint64_t at = TX_AT;
	uint32_t n = 0;

	for (cuts = cuts ? cuts : whole; len || !n; n++) {
		uint32_t part = *cuts ? MIN(*cuts, len) : len;

		cuts += *cuts != 0;
		len -= part;
		set_desc(&r->f, QUEUE_AT(1), n, at, part, len ? NEXT : 0, (uint16_t)(n + 1));
		at += part;
	}
	rig_offer(r, 1, 0);
	rig_kick(r, 1);
	assert_int_equal(rig_used_idx(r, 1), (uint16_t)(before + 1));
	return rig_used_len(r, 1, before);
}

/* The control queue's index. */
static inline unsigned int rig_ctrl(const struct rig *r)
{
	return r->f.dev->num_queues - 1;
}

/* Classes of commands. */
enum { RX, MAC, VLAN, ANNOUNCE, MQ, OFFLOADS, STATS = 8 };

/* Sends a command of @len bytes, with @room writable ones before the answer's (behind it with class
 * STATS); the answer, or -1 where none was written. */
static inline int rig_command(struct rig *r, const void *bytes, uint32_t len, uint32_t room)
{
	unsigned int q = rig_ctrl(r);
	uint16_t before = rig_used_idx(r, q);
	uint8_t *reply = ram(&r->f, REPLY_AT);

	memcpy(ram(&r->f, CTRL_AT), bytes, len);
	memset(reply, UNTOUCHED, room + 64);
	set_desc(&r->f, QUEUE_AT(q), 0, CTRL_AT, len, NEXT, 1);
	set_desc(&r->f, QUEUE_AT(q), 1, REPLY_AT, room + 1, WRITE, 0);
	rig_offer(r, q, 0);
	rig_kick(r, q);
	assert_int_equal(rig_used_idx(r, q), (uint16_t)(before + 1));
	assert_int_equal(reply[room + 1], UNTOUCHED);
	/* What was written without a gap. */
	assert_in_range(rig_used_len(r, q, before), !room && reply[0] != UNTOUCHED, room + 1);
	if (len > 1 && *(const uint8_t *)bytes == STATS)
		room = 0;
	return reply[room] == UNTOUCHED ? -1 : reply[room];
}

#define RIG_OK	0
#define RIG_ERR 1

static inline void rig_must(
	struct rig *r, uint8_t class, uint8_t cmd, const void *data, uint32_t len)
{
	uint8_t bytes[2048] = { class, cmd };

	memcpy(bytes + 2, data, len);
	assert_int_equal(rig_command(r, bytes, 2 + len, 0), RIG_OK);
}

/* Does a frame to @mac, tagged with @vlan unless that is below 0, reach the driver? */
static inline bool rig_passes(struct rig *r, const uint8_t *mac, int vlan)
{
	uint16_t before = rig_used_idx(r, 0);
	uint8_t frame[64];

	if (r->avail[0] == before)
		rig_buffer(r, r->avail[0], 500);
	rig_kick(r, 0);
	rig_frame(frame, mac, sizeof(frame));
	if (vlan >= 0) {
		const uint8_t tag[4] = { 0x81, 0, (uint8_t)(0xe0 | vlan >> 8), (uint8_t)vlan };

		memcpy(frame + 12, tag, 4);
	}
	rig_peer_sends(r, frame, sizeof(frame));
	return rig_used_idx(r, 0) != before;
}

#endif
