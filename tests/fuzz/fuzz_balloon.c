/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * virtio-balloon: requests of every length on two of its five queues, with whatever features, and
 * the actions that the monitor has, in any order. What is answered had nothing written. The balloon
 * may take the pages that its own rings lie in: then the device breaks, and that is all.
 */
#include "tests/fuzz/device.h"

#include "devices/balloon.h"

#define QUEUES 5

struct run {
	struct guest g;
	struct bytes *in;
};

/* Queue @queue has the rig's ring @slot. */
static void give_ring(struct run *r, unsigned int queue, unsigned int slot)
{
	struct vq *vq = &r->g.dev->queues[queue];
	int kick = dup(r->g.kick), call = dup(r->g.call);

	r->g.num = DEVICE_RING;
	vq->cfg = (struct vq_config){ .num = DEVICE_RING,
		.desc = GUEST_RING(slot),
		.driver = GUEST_AVAIL(slot),
		.device = GUEST_USED(slot) };
	vq_set_kick_fd(vq, &kick);
	vq_set_call_fd(vq, &call);
	vq->enabled = true;
}

static void start(struct run *r)
{
	unsigned int first = take8(r->in) % QUEUES;

	give_ring(r, first, 0);
	give_ring(r, (first + 1 + take8(r->in) % (QUEUES - 1)) % QUEUES, 1);
	guest_run(&r->g, take8(r->in) & 0x3e);
}

static void op_request(struct run *r)
{
	unsigned int queue = take8(r->in) % 2;
	struct device_request req;

	if (guest_used_idx(&r->g, queue) != r->g.avail_idx[queue])
		return;
	device_take_request(&req, r->in);
	take_bytes(r->in, r->g.ram + DEVICE_IN, MIN(req.in, 64u));
	device_offer(&r->g, queue, &req);
	for (int i = 0; i < 50 && guest_used_idx(&r->g, queue) != r->g.avail_idx[queue]; i++)
		guest_pump(&r->g);
	if (guest_used_idx(&r->g, queue) == r->g.avail_idx[queue])
		FUZZ_CHECK(device_used_len(&r->g, queue) == 0);
}

static void op_config(struct run *r)
{
	uint8_t bytes[8], at = take8(r->in), len = take8(r->in) % sizeof(bytes);

	take_bytes(r->in, bytes, len);
	FUZZ_CHECK(vdev_set_config(r->g.dev, at, bytes, len) == (at + len <= 16));
	FUZZ_CHECK(balloon_actual_bytes(r->g.dev) <= vdev_mem_bytes(r->g.dev));
}

static void op_target(struct run *r)
{
	struct err err = { 0 };

	balloon_set_target(r->g.dev, (uint64_t)take16(r->in) << 12, &err);
}

static void op_reclaim(struct run *r)
{
	struct err err = { 0 };

	balloon_reclaim_free(r->g.dev, &err);
}

static void op_look(struct run *r)
{
	struct balloon_stats stats;

	FUZZ_CHECK(balloon_read_stats(r->g.dev, &stats));
	for (unsigned int i = 0; i < QUEUES; i++)
		guest_check_view(&r->g.dev->queues[i]);
}

static void (*const ops[])(struct run *r) = { op_request, op_request, op_request, op_config,
	op_target, op_reclaim, op_look };

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct bytes in = { data, size };
	struct run r = { .in = &in };

	guest_new(&r.g, &virtio_balloon_class,
		"{\"free-page-reporting\":true,\"free-page-hint\":true}");
	start(&r);
	while (in.left && !r.g.dev->broken)
		ops[take8(&in) % ARRAY_SIZE(ops)](&r);
	guest_free(&r.g);
	return 0;
}
