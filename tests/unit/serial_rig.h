/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * virtio-serial with ports, its driver and whoever is at the ports' other ends: messages over the
 * control queues, said and expected.
 */
#ifndef TESTS_SERIAL_RIG_H
#define TESTS_SERIAL_RIG_H

#include "dev_fixture.h"

#include <errno.h>
#include <sys/socket.h>

#include "devices/serial.h"

enum { READY, ADD, REMOVE, PORT_READY, CONSOLE_PORT, RESIZE, PORT_OPEN, PORT_NAME };
enum { RX0, TX0, CTRL_RX, CTRL_TX, RX1, TX1, NUM_RINGS = 8 };

#define MULTIPORT 2u
#define SIZE	  1u
/* A ring of 16 for queue @i; its buffers behind it, 512 bytes each. */
#define RING	   16u
#define RING_AT(i) (0x10000ull + (i)*0x4000ull)
#define BUF_AT(i)  (RING_AT(i) + 0x1000)
#define BUF_BYTES  512u

struct rig {
	struct fix f;
	uint16_t avail[NUM_RINGS], seen[NUM_RINGS];
};

static inline void set_ring(struct rig *r, unsigned int i)
{
	struct vq *vq = &r->f.dev->queues[i];
	uint64_t at = RING_AT(i);
	int fd = dup(r->f.kick);

	memset(ram(&r->f, at), 0, 0x4000);
	r->avail[i] = r->seen[i] = 0;
	vq->cfg = (struct vq_config){
		.num = RING, .desc = at, .driver = at + 0x200, .device = at + 0x400
	};
	vq_set_kick_fd(vq, &fd);
	vq->enabled = true;
}

static inline void run_driver(struct rig *r, uint64_t features)
{
	unsigned int i;

	vdev_set_mem(r->f.dev, r->f.mem);
	vdev_set_driver_features(r->f.dev, virtio_features_from64(features | 1ull << 32));
	for (i = 0; i < NUM_RINGS && i < r->f.dev->num_queues; i++)
		set_ring(r, i);
	vdev_write_status(r->f.dev, 0xf);
	pump(&r->f);
}

static inline void rig_init(struct rig *r, const char *options)
{
	memset(r, 0, sizeof(*r));
	fix_class = &virtio_serial_class;
	fix_options = options;
	fix_init(&r->f, 0, 0);
}

static inline void offer_buf(struct rig *r, unsigned int i, uint32_t len, uint16_t flags)
{
	struct vring_avail *ring = ram(&r->f, RING_AT(i) + 0x200);
	uint16_t head = r->avail[i] % RING;

	set_desc(&r->f, RING_AT(i), head, BUF_AT(i) + head * BUF_BYTES, len, flags, 0);
	ring->ring[head] = le16_make(head);
	ring->idx = le16_make(++r->avail[i]);
	kick(&r->f);
}

static inline uint16_t num_used(struct rig *r, unsigned int i)
{
	return le16_get(((struct vring_used *)ram(&r->f, RING_AT(i) + 0x400))->idx);
}

static inline uint32_t used_len(struct rig *r, unsigned int i, uint16_t n)
{
	return le32_get(((struct vring_used *)ram(&r->f, RING_AT(i) + 0x400))->ring[n % RING].len);
}

/* The driver sends @len bytes of a control message and what follows it. */
static inline void say_bytes(
	struct rig *r, uint32_t id, uint16_t event, uint16_t value, uint32_t len)
{
	uint8_t *p = ram(&r->f, BUF_AT(CTRL_TX) + r->avail[CTRL_TX] % RING * BUF_BYTES);
	uint8_t m[8] = { (uint8_t)id, (uint8_t)(id >> 8), (uint8_t)(id >> 16), (uint8_t)(id >> 24),
		(uint8_t)event, (uint8_t)(event >> 8), (uint8_t)value, (uint8_t)(value >> 8) };

	memset(p, 0xee, BUF_BYTES);
	memcpy(p, m, MIN(len, 8u));
	offer_buf(r, CTRL_TX, len, 0);
	/* Whatever it was, it is answered. */
	assert_int_equal(num_used(r, CTRL_TX), r->avail[CTRL_TX]);
	assert_false(r->f.dev->broken);
}

static inline void say(struct rig *r, uint32_t id, uint16_t event, uint16_t value)
{
	say_bytes(r, id, event, value, 8);
}

/* A buffer for a message is there: what comes has to be that. */
static inline void expect(
	struct rig *r, uint32_t id, uint16_t event, uint16_t value, const char *more)
{
	uint16_t n = r->seen[CTRL_RX];
	const uint8_t *p = ram(&r->f, BUF_AT(CTRL_RX) + n % RING * BUF_BYTES);

	if (r->avail[CTRL_RX] == n)
		offer_buf(r, CTRL_RX, BUF_BYTES, WRITE);
	pump(&r->f);
	assert_int_equal(num_used(r, CTRL_RX), (uint16_t)(n + 1));
	assert_int_equal(used_len(r, CTRL_RX, n), 8 + (more ? strlen(more) : 0));
	assert_int_equal(le32_read(p), id);
	assert_int_equal(le16_read(p + 4), event);
	assert_int_equal(le16_read(p + 6), value);
	if (more)
		assert_memory_equal(p + 8, more, strlen(more));
	r->seen[CTRL_RX]++;
}

static inline void expect_nothing(struct rig *r)
{
	if (r->avail[CTRL_RX] == r->seen[CTRL_RX])
		offer_buf(r, CTRL_RX, BUF_BYTES, WRITE);
	pump(&r->f);
	assert_int_equal(num_used(r, CTRL_RX), r->seen[CTRL_RX]);
}

/* --- ports --- */

struct owner {
	struct serial_port *port;
	int peer; /* the other end; -1: none */
	bool open, is_removed;
	unsigned int num_told;
};

static inline void on_open(void *opaque, bool open)
{
	struct owner *o = opaque;

	o->num_told++;
	o->open = open;
}

static inline void on_removed(void *opaque)
{
	((struct owner *)opaque)->is_removed = true;
}

static inline int try_add(
	struct rig *r, struct owner *o, uint32_t nr, const char *name, bool console)
{
	struct serial_port_config config = { .nr = nr,
		.name = name,
		.chardev = "null",
		.label = "p",
		.console = console,
		.guest_opened = on_open,
		.removed = on_removed,
		.opaque = o };
	struct err err = { 0 };
	char chardev[32];
	int pair[2], small = 4096, ret;

	*o = (struct owner){ .peer = -1 };
	if (!console) {
		assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0, pair), 0);
		setsockopt(pair[1], SOL_SOCKET, SO_SNDBUF, &small, sizeof(small));
		snprintf(chardev, sizeof(chardev), "connect:fd=%d", pair[1]);
		config.chardev = chardev;
		o->peer = pair[0];
	}
	ret = serial_port_add(r->f.dev, &config, &o->port, &err);
	if (!console)
		close(pair[1]);
	pump(&r->f);
	return ret;
}

static inline void add(struct rig *r, struct owner *o, uint32_t nr, const char *name)
{
	assert_int_equal(try_add(r, o, nr, name, false), 0);
	assert_int_equal(serial_port_nr(o->port), nr);
}

static inline void hang_up(struct owner *o)
{
	if (o->peer >= 0)
		close(o->peer);
	o->peer = -1;
}

static inline void take_out(struct rig *r, struct owner *o)
{
	serial_port_remove(o->port);
	pump(&r->f);
	assert_true(o->is_removed);
	hang_up(o);
}

/* The driver knows the port, and a program of the guest has it open. */
static inline void open_port(struct rig *r, struct owner *o, uint32_t nr, const char *name)
{
	expect(r, nr, ADD, 1, NULL);
	say(r, nr, PORT_READY, 1);
	expect(r, nr, PORT_NAME, 1, name);
	expect(r, nr, PORT_OPEN, 1, NULL);
	say(r, nr, PORT_OPEN, 1);
	pump(&r->f);
	assert_true(o->open);
}

#endif
