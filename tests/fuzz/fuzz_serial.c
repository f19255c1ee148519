/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * virtio-serial: chains on both queues, a peer that writes, reads slowly and leaves, stops and
 * resets in between. Of what the peer gets, every byte is one that a chain held; chains come back
 * in order, and none is lost over a stop.
 */
#include "tests/fuzz/device.h"

#include <sys/socket.h>

#include "devices/serial.h"

enum { RX, TX };

struct run {
	struct guest g;
	struct bytes *in;
	int peer;
	uint8_t pattern;
};

static void start(struct run *r)
{
	guest_queue(&r->g, RX, DEVICE_RING, 0);
	guest_queue(&r->g, TX, DEVICE_RING, 0);
	guest_run(&r->g, 0);
}

/* A head that is still in the ring must not be used again: one chain at a time on each queue. */
static bool busy(struct run *r, unsigned int queue)
{
	return guest_used_idx(&r->g, queue) != r->g.avail_idx[queue];
}

static void op_receive(struct run *r)
{
	struct device_request req;

	device_take_request(&req, r->in);
	req.in = 0;
	if (busy(r, RX))
		return;
	device_offer(&r->g, RX, &req);
	if (!busy(r, RX))
		FUZZ_CHECK(device_used_len(&r->g, RX) <= req.out);
	device_check_room(&r->g, &req);
}

static void op_transmit(struct run *r)
{
	struct device_request req;

	device_take_request(&req, r->in);
	req.out = 0;
	if (busy(r, TX))
		return;
	memset(r->g.ram + DEVICE_IN, r->pattern, req.in);
	device_offer(&r->g, TX, &req);
	if (!busy(r, TX))
		FUZZ_CHECK(device_used_len(&r->g, TX) == 0);
}

static void op_peer_writes(struct run *r)
{
	static uint8_t bytes[0x10000];

	if (r->peer >= 0) {
		ssize_t n = send(r->peer, bytes, take16(r->in), MSG_DONTWAIT | MSG_NOSIGNAL);

		(void)n;
	}
	guest_pump(&r->g);
}

static void op_peer_reads(struct run *r)
{
	static uint8_t bytes[0x10000];
	ssize_t n = 0, i;

	if (r->peer >= 0)
		n = recv(r->peer, bytes, take16(r->in), MSG_DONTWAIT);
	for (i = 0; i < n; i++)
		FUZZ_CHECK(bytes[i] == r->pattern);
	guest_pump(&r->g);
}

static void op_peer_leaves(struct run *r)
{
	if (r->peer >= 0 && take8(r->in) < 32) {
		close(r->peer);
		r->peer = -1;
	}
	guest_pump(&r->g);
}

static void op_stop(struct run *r)
{
	uint16_t used[2] = { guest_used_idx(&r->g, RX), guest_used_idx(&r->g, TX) };
	int i;

	vdev_hold(r->g.dev);
	guest_pump(&r->g);
	FUZZ_CHECK(vdev_is_idle(r->g.dev));
	for (i = 0; i < 2; i++) {
		FUZZ_CHECK(r->g.dev->queues[i].cfg.next_avail == guest_used_idx(&r->g, i));
		FUZZ_CHECK((uint16_t)(guest_used_idx(&r->g, i) - used[i]) <= 1);
	}
	vdev_release(r->g.dev);
	guest_pump(&r->g);
}

static void op_reset(struct run *r)
{
	vdev_hold(r->g.dev);
	guest_pump(&r->g);
	vdev_reset(r->g.dev);
	vdev_release(r->g.dev);
	memset(r->g.ram, 0, 0xf000);
	start(r);
}

static void (*const ops[])(struct run *r) = { op_receive, op_transmit, op_transmit, op_peer_writes,
	op_peer_reads, op_peer_leaves, op_stop, op_reset };

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct bytes in = { data, size };
	struct run r = { .in = &in, .pattern = 0x5a };
	char options[64];
	int pair[2], small = 4096;

	FUZZ_CHECK(socketpair(AF_UNIX, SOCK_STREAM, 0, pair) == 0);
	setsockopt(pair[1], SOL_SOCKET, SO_SNDBUF, &small, sizeof(small));
	r.peer = pair[0];
	snprintf(options, sizeof(options), "{\"chardev\":\"connect:fd=%d\"}", pair[1]);
	guest_new(&r.g, &virtio_serial_class, options);
	close(pair[1]);
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
