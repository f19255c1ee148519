/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * virtio-net: chains of any kind on its three queues, a peer that sends whole packets, pieces and
 * nonsense, reads slowly and leaves, stops and resets in between. Packets that go out have a legal
 * length; what comes in stays within the driver's buffers; every command gets an answer.
 */
#include "tests/fuzz/device.h"

#include <arpa/inet.h>
#include <sys/socket.h>

#include "devices/net_int.h"

enum { RX, TX };

/* Each queue has its heads, used in turns; buffers of the receive queue lie behind each other. */
#define HEADS	DEVICE_RING
#define RX_AT	(GUEST_SPLIT + 0x8000u)
#define RX_EACH 0x400u
/* Where the fourth queue's ring would be, which nobody uses. */
#define CTRL_AT	 0x14000u
#define REPLY_AT 0x15000u

struct run {
	struct guest g;
	struct bytes *in;
	int peer;
	uint64_t features;
	bool scales; /* two pairs and RSS */
	unsigned int ctrl; /* its queue */
	uint32_t left; /* of a packet that the peer reads */
};

static void queue(struct run *r, unsigned int i)
{
	guest_queue(&r->g, i, HEADS, 0);
}

static void start(struct run *r)
{
	memset(r->g.ram, 0, 0x1000 + (r->ctrl + 1) * 0x6000);
	queue(r, RX);
	queue(r, TX);
	if (r->scales)
		queue(r, 2);
	queue(r, r->ctrl);
	guest_run(&r->g, r->features);
}

static bool full(struct run *r, unsigned int q)
{
	return (uint16_t)(r->g.avail_idx[q] - guest_used_idx(&r->g, q)) >= HEADS;
}

static void op_buffers(struct run *r)
{
	unsigned int n = take8(r->in) % HEADS + 1;

	while (n-- && !full(r, RX)) {
		uint16_t head = r->g.avail_idx[RX] % HEADS;
		uint32_t len = take16(r->in) % (RX_EACH + 1);

		memset(r->g.ram + RX_AT + head * RX_EACH, DEVICE_MARK, RX_EACH);
		guest_desc(&r->g, GUEST_RING(RX) + head * 16u, RX_AT + head * RX_EACH, len,
			VRING_DESC_F_WRITE, 0);
		guest_offer(&r->g, RX, head);
	}
	guest_kick(&r->g);
}

static void check_buffers(struct run *r)
{
	uint16_t used = guest_used_idx(&r->g, RX), i;
	struct vring_used *ring = (void *)(r->g.ram + GUEST_USED(RX));

	for (i = used < HEADS ? 0 : (uint16_t)(used - HEADS); i != used; i++) {
		uint32_t head = le32_get(ring->ring[i % HEADS].id), k;
		uint32_t len = le32_get(ring->ring[i % HEADS].len);
		struct vring_desc d;

		FUZZ_CHECK(head < HEADS);
		memcpy(&d, r->g.ram + GUEST_RING(RX) + head * 16, sizeof(d));
		if (head != i % HEADS)
			continue;
		FUZZ_CHECK(len <= RX_EACH);
		for (k = le32_get(d.len); k < RX_EACH; k++)
			FUZZ_CHECK(r->g.ram[RX_AT + head * RX_EACH + k] == DEVICE_MARK);
	}
}

static void op_transmit(struct run *r)
{
	struct device_request req;

	if (r->g.avail_idx[TX] != guest_used_idx(&r->g, TX))
		return;
	device_take_request(&req, r->in);
	req.out = 0;
	take_bytes(r->in, r->g.ram + DEVICE_IN, sizeof(struct net_header));
	device_offer(&r->g, TX, &req);
	if (r->g.avail_idx[TX] == guest_used_idx(&r->g, TX))
		FUZZ_CHECK(device_used_len(&r->g, TX) == 0);
}

/* Parameters of RSS that are nearly right: up to four entries, most of them of pairs that there
 * are.
 */
static uint32_t shape_rss(uint8_t *command, uint32_t len)
{
	uint32_t num = 1u << (command[6] & 3), i;

	if (len < 60)
		return len;
	command[1] = 1;
	command[2] &= 0x3f;
	command[6] = (uint8_t)(num - 1);
	memset(command + 3, 0, 3);
	command[7] = 0;
	for (i = 8; i < 12 + 2 * num; i++)
		command[i] = i % 2 ? command[i] & command[i - 1] & 1 : command[i] & 1;
	command[12 + 2 * num] &= 63;
	return 2 + 8 + 2 * num + 3 + command[12 + 2 * num];
}

static void op_command(struct run *r)
{
	uint32_t len = take8(r->in) % 64, room = take8(r->in) % 200;
	uint64_t table = GUEST_RING(r->ctrl);

	take_bytes(r->in, r->g.ram + CTRL_AT, len);
	/* Mostly classes that there are. */
	r->g.ram[CTRL_AT] %= 10;
	if (r->scales && r->g.ram[CTRL_AT] == 4)
		len = shape_rss(r->g.ram + CTRL_AT, len);
	memset(r->g.ram + REPLY_AT, DEVICE_MARK, room + 33);
	guest_desc(&r->g, table, CTRL_AT, len, VRING_DESC_F_NEXT, 1);
	guest_desc(&r->g, table + 16, REPLY_AT, room + 1, VRING_DESC_F_WRITE, 0);
	guest_offer(&r->g, r->ctrl, 0);
	guest_kick(&r->g);
	FUZZ_CHECK(guest_used_idx(&r->g, r->ctrl) == r->g.avail_idx[r->ctrl]);
	FUZZ_CHECK(r->g.ram[REPLY_AT + (len > 1 && r->g.ram[CTRL_AT] == 8 ? 0 : room)] <= 1);
	FUZZ_CHECK(r->g.ram[REPLY_AT + room + 1] == DEVICE_MARK);
}

static void send_all(struct run *r, const void *bytes, size_t len)
{
	ssize_t n = r->peer < 0 ? 0 : send(r->peer, bytes, len, MSG_DONTWAIT | MSG_NOSIGNAL);

	(void)n;
}

static void op_peer_sends(struct run *r)
{
	static uint8_t packet[4 + 0x1000];
	uint32_t len = take16(r->in) % 0x1000, wire = htonl(len);

	memcpy(packet, &wire, 4);
	take_bytes(r->in, packet + 4, MIN(len, r->scales ? 64u : 18u));
	send_all(r, packet, 4 + len);
	guest_pump(&r->g);
	check_buffers(r);
}

static void op_peer_sends_bytes(struct run *r)
{
	uint8_t bytes[8];
	size_t len = take8(r->in) % sizeof(bytes);

	take_bytes(r->in, bytes, len);
	send_all(r, bytes, len);
	guest_pump(&r->g);
	check_buffers(r);
}

static void op_peer_reads(struct run *r)
{
	static uint8_t bytes[0x10000];
	uint32_t room = take16(r->in), wire;
	ssize_t n = 1;

	while (r->peer >= 0 && room && n > 0) {
		if (!r->left) {
			n = recv(r->peer, &wire, 4, MSG_DONTWAIT | MSG_PEEK);
			if (n < 4)
				break;
			recv(r->peer, &wire, 4, MSG_DONTWAIT);
			r->left = ntohl(wire);
			FUZZ_CHECK(r->left >= NET_FRAME_MIN && r->left <= NET_PACKET_MAX);
		}
		n = recv(r->peer, bytes, MIN(r->left, room), MSG_DONTWAIT);
		r->left -= n > 0 ? (uint32_t)n : 0;
		room -= n > 0 ? (uint32_t)n : 0;
	}
	guest_pump(&r->g);
}

static void op_peer_leaves(struct run *r)
{
	if (r->peer >= 0 && take8(r->in) < 16) {
		close(r->peer);
		r->peer = -1;
	}
	guest_pump(&r->g);
}

static void op_stop(struct run *r)
{
	vdev_hold(r->g.dev);
	guest_pump(&r->g);
	FUZZ_CHECK(vdev_is_idle(r->g.dev));
	vdev_release(r->g.dev);
	guest_pump(&r->g);
}

static void op_reset(struct run *r)
{
	vdev_hold(r->g.dev);
	guest_pump(&r->g);
	vdev_reset(r->g.dev);
	vdev_release(r->g.dev);
	start(r);
}

static void (*const ops[])(struct run *r) = { op_buffers, op_buffers, op_transmit, op_transmit,
	op_command, op_command, op_peer_sends, op_peer_sends, op_peer_sends_bytes, op_peer_reads,
	op_peer_leaves, op_stop, op_reset };

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	const uint64_t rings = 1ull << VIRTIO_F_RING_PACKED | 1ull << VIRTIO_F_IN_ORDER |
			       1ull << VIRTIO_F_EVENT_IDX;
	struct bytes in = { data, size };
	uint8_t kind = take8(&in);
	struct run r = { .in = &in, .scales = !(kind & 1) && kind & 8, .ctrl = 2 };
	const char *coal = kind & 16 ? ",\"notf_coal\":true" : "";
	char options[128];
	int pair[2];

	/* The first bytes: with a peer or without, and which features. */
	FUZZ_CHECK(socketpair(AF_UNIX, SOCK_STREAM, 0, pair) == 0);
	r.peer = pair[0];
	if (kind & 1)
		snprintf(options, sizeof(options), "{\"netdev\":\"null\",\"source\":%u%s}",
			kind & 2 ? 600 : 0, coal);
	else
		snprintf(options, sizeof(options), "{\"netdev\":\"stream\",\"path\":\"fd=%d\"%s%s}",
			pair[1], r.scales ? ",\"queues\":2,\"rss\":true" : "", coal);
	guest_new(&r.g, &virtio_net_class, options);
	close(pair[1]);
	take_bytes(&in, &r.features, 4);
	r.features = (r.features & ~rings & 0xffffffff) | 1ull << VIRTIO_NET_F_CTRL_VQ |
		     (kind & 4 ? 1ull << VIRTIO_NET_F_DEVICE_STATS : 0);
	if (kind & 16)
		r.features |= 1ull << VIRTIO_NET_F_NOTF_COAL | 1ull << VIRTIO_NET_F_VQ_NOTF_COAL;
	if (r.scales) {
		r.features |= 1ull << VIRTIO_NET_F_RSS;
		r.ctrl = 4;
	}
	start(&r);
	while (in.left) {
		ops[take8(&in) % ARRAY_SIZE(ops)](&r);
		FUZZ_CHECK(!r.g.dev->broken);
	}
	if (r.peer >= 0)
		close(r.peer);
	guest_free(&r.g);
	return 0;
}
