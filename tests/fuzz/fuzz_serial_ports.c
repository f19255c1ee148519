/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * virtio-serial with ports: control messages of any kind, buffers of any size, ports that come and
 * go, peers, stops and resets. The driver hears of a port's end only where it knows the port, and
 * of what a port is at only between the two; nothing is answered with more than there was room for.
 */
#include <sys/socket.h>

#include "devices/serial.h"
#include "tests/fuzz/guest.h"

enum { CTRL_RX = 2, CTRL_TX, NUM_RINGS = 8 };
enum { READY, ADD, REMOVE, PORT_READY, CONSOLE_PORT, RESIZE, PORT_OPEN, PORT_NAME };

#define PORTS	   3u
#define RING	   8u
#define RING_AT(i) (0x1000u + (i)*0x1000u)
#define BUF_AT(i)  (0x10000u + (i)*0x2000u)
#define BUF_BYTES  0x400u

struct port {
	struct serial_port *port;
	int peer;
	bool open, gone;
};

struct run {
	struct guest g;
	struct bytes *in;
	uint16_t avail[NUM_RINGS], seen[NUM_RINGS];
	uint32_t offered[NUM_RINGS][RING];
	struct port ports[PORTS];
	bool knows[PORTS];
};

static uint16_t used_idx(struct run *r, unsigned int i)
{
	return le16_get(((struct vring_used *)(r->g.ram + RING_AT(i) + 0x400))->idx);
}

static void hear(struct run *r, const uint8_t *m, uint32_t len)
{
	uint32_t id = le32_read(m);
	uint16_t event = le16_read(m + 4);

	if (!len)
		return;
	FUZZ_CHECK(len >= 8 && id < PORTS);
	if (event == ADD) {
		FUZZ_CHECK(!r->knows[id]);
		r->knows[id] = true;
		return;
	}
	FUZZ_CHECK(r->knows[id]);
	if (event == REMOVE)
		r->knows[id] = false;
	else
		FUZZ_CHECK(event == CONSOLE_PORT || event == RESIZE || event == PORT_OPEN ||
			   event == PORT_NAME);
}

/* What was answered. */
static void look(struct run *r)
{
	guest_pump(&r->g);
	FUZZ_CHECK(!r->g.dev->broken);
	for (unsigned int i = 0; i < NUM_RINGS; i++) {
		struct vring_used *used = (void *)(r->g.ram + RING_AT(i) + 0x400);

		for (; r->seen[i] != used_idx(r, i); r->seen[i]++) {
			uint32_t slot = r->seen[i] % RING;
			uint32_t head = le32_get(used->ring[slot].id);
			uint32_t len = le32_get(used->ring[slot].len);

			FUZZ_CHECK(head < RING && len <= r->offered[i][head]);
			if (i == CTRL_RX)
				hear(r, r->g.ram + BUF_AT(i) + head * BUF_BYTES, len);
		}
	}
}

static void offer(struct run *r, unsigned int i, uint32_t len)
{
	struct vring_avail *avail = (void *)(r->g.ram + RING_AT(i) + 0x200);
	uint16_t head = r->avail[i] % RING;

	if ((uint16_t)(r->avail[i] - r->seen[i]) == RING)
		return;
	r->offered[i][head] = i % 2 ? 0 : len;
	guest_desc(&r->g, RING_AT(i) + head * 16u, BUF_AT(i) + head * BUF_BYTES, len,
		i % 2 ? 0 : VRING_DESC_F_WRITE, 0);
	avail->ring[head] = le16_make(head);
	avail->idx = le16_make(++r->avail[i]);
	guest_kick(&r->g);
	look(r);
}

static void op_say(struct run *r)
{
	uint8_t *p = r->g.ram + BUF_AT(CTRL_TX) + r->avail[CTRL_TX] % RING * BUF_BYTES;
	uint8_t what = take8(r->in);
	struct {
		le32 id;
		le16 event, value;
	} m = { le32_make(what & 3), le16_make(what >> 2 & 7), le16_make(!(what & 0x20)) };
	uint32_t len = 8;

	if (what & 0x80)
		m.id = le32_make((uint32_t)take16(r->in) << 16 | what);
	if (what & 0x40)
		len = take8(r->in);
	memcpy(p, &m, sizeof(m));
	/* A driver that begins anew has heard of no port. */
	if (len >= 8 && le16_get(m.event) == READY && le16_get(m.value))
		memset(r->knows, 0, sizeof(r->knows));
	offer(r, CTRL_TX, len);
}

static void op_offer(struct run *r)
{
	unsigned int queue = take8(r->in) % NUM_RINGS;

	if (queue != CTRL_TX)
		offer(r, queue, take16(r->in) % (BUF_BYTES + 1));
}

static void op_listen(struct run *r)
{
	offer(r, CTRL_RX, BUF_BYTES);
}

static void on_open(void *opaque, bool open)
{
	struct port *p = opaque;

	FUZZ_CHECK(p->open != open);
	p->open = open;
}

static void on_removed(void *opaque)
{
	((struct port *)opaque)->gone = true;
}

static void op_add(struct run *r)
{
	uint8_t what = take8(r->in);
	unsigned int nr = what % PORTS;
	struct port *p = &r->ports[nr];
	struct serial_port_config config = { .nr = nr,
		.label = "p",
		.console = !nr || what & 0x40,
		.name = what & 0x80 ? "a name" : NULL,
		.guest_opened = on_open,
		.removed = on_removed,
		.opaque = p };
	char chardev[32];
	int pair[2], small = 4096;

	FUZZ_CHECK(socketpair(AF_UNIX, SOCK_STREAM, 0, pair) == 0);
	setsockopt(pair[1], SOL_SOCKET, SO_SNDBUF, &small, sizeof(small));
	snprintf(chardev, sizeof(chardev), "connect:fd=%d", pair[1]);
	config.chardev = chardev;
	if (p->port || serial_port_add(r->g.dev, &config, &p->port, NULL) < 0) {
		close(pair[0]);
	} else {
		p->peer = pair[0];
		p->open = p->gone = false;
	}
	close(pair[1]);
	if (what & 0x20)
		look(r);
}

static void leave(struct port *p)
{
	if (p->peer >= 0)
		close(p->peer);
	p->peer = -1;
}

static void op_remove(struct run *r)
{
	struct port *p = &r->ports[take8(r->in) % PORTS];

	if (!p->port)
		return;
	serial_port_remove(p->port);
	guest_pump(&r->g);
	FUZZ_CHECK(p->gone);
	p->port = NULL;
	leave(p);
	look(r);
}

static void op_peer(struct run *r)
{
	static uint8_t bytes[0x4000];
	uint8_t what = take8(r->in);
	struct port *p = &r->ports[what % PORTS];
	ssize_t n = 0;

	if (p->peer >= 0 && what & 0x80)
		n = send(
			p->peer, bytes, take16(r->in) % sizeof(bytes), MSG_DONTWAIT | MSG_NOSIGNAL);
	else if (p->peer >= 0)
		n = recv(p->peer, bytes, sizeof(bytes), MSG_DONTWAIT);
	if ((what & 0x70) == 0x70)
		leave(p);
	(void)n;
	look(r);
}

static void op_resize(struct run *r)
{
	struct port *p = &r->ports[take8(r->in) % PORTS];

	if (p->port)
		serial_port_resize(p->port, take16(r->in), take16(r->in));
}

/* Ports may come and go while nothing runs, and while all are about to rest. */
static void op_stop(struct run *r)
{
	uint8_t what = take8(r->in);

	vdev_hold(r->g.dev);
	if (what & 1)
		guest_pump(&r->g);
	if (what & 2)
		op_add(r);
	if (what & 4)
		op_remove(r);
	guest_pump(&r->g);
	FUZZ_CHECK(vdev_is_idle(r->g.dev));
	vdev_release(r->g.dev);
	look(r);
}

static void start(struct run *r, uint64_t features)
{
	for (unsigned int i = 0; i < NUM_RINGS; i++) {
		struct vq *vq = &r->g.dev->queues[i];
		int kick = dup(r->g.kick), call = dup(r->g.call);

		memset(r->g.ram + RING_AT(i), 0, 0x800);
		r->avail[i] = r->seen[i] = 0;
		vq->cfg = (struct vq_config){ .num = RING,
			.desc = RING_AT(i),
			.driver = RING_AT(i) + 0x200,
			.device = RING_AT(i) + 0x400 };
		vq_set_kick_fd(vq, &kick);
		vq_set_call_fd(vq, &call);
		vq->enabled = true;
	}
	guest_run(&r->g, features);
}

static void op_reset(struct run *r)
{
	vdev_hold(r->g.dev);
	guest_pump(&r->g);
	vdev_reset(r->g.dev);
	vdev_release(r->g.dev);
	memset(r->knows, 0, sizeof(r->knows));
	for (unsigned int i = 0; i < PORTS; i++)
		FUZZ_CHECK(!r->ports[i].port || !r->ports[i].open);
	start(r, take8(r->in) < 0xf0 ? 3 : 1);
}

static void (*const ops[])(struct run *r) = { op_say, op_say, op_say, op_listen, op_listen,
	op_offer, op_offer, op_add, op_remove, op_peer, op_peer, op_resize, op_stop, op_reset };

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct bytes in = { data, size };
	struct run r = { .in = &in };
	unsigned int i;

	guest_new(&r.g, &virtio_serial_class, "{\"max_ports\":3}");
	for (i = 0; i < PORTS; i++)
		r.ports[i].peer = -1;
	start(&r, 3);
	while (in.left)
		ops[take8(&in) % ARRAY_SIZE(ops)](&r);
	for (i = 0; i < PORTS; i++)
		leave(&r.ports[i]);
	guest_free(&r.g);
	return 0;
}
