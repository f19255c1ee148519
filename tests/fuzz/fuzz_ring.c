/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Bytes to a ring of either format. The first bytes choose it, its size, its features and where it
 * begins; then each operation is one byte and its arguments: descriptors, raw memory, indices,
 * kicks, and what the device, the machine and the transport do meanwhile. Buffers may lie on the
 * rings themselves. After each of them somebody looks.
 */
#include "inspect/element.h"
#include "inspect/inflight.h"
#include "inspect/ring_list.h"
#include "inspect/trace.h"
#include "tests/fuzz/guest.h"

#define HELD_MAX 512

struct ring_device {
	struct vdev dev;
	enum serve_verdict verdict;
	bool complete_at_once;
	struct chain *held[HELD_MAX];
	unsigned int num_held;
};

static int ring_realize(struct vdev *dev, struct err *err)
{
	(void)err;
	vdev_set_queues(dev, 1, 16);
	return 0;
}

static enum serve_verdict ring_serve(struct vdev *dev, struct vq *vq, struct chain *c)
{
	struct ring_device *rd = container_of(dev, struct ring_device, dev);
	uint8_t bytes[100];
	size_t in, out;

	guest_check_cursor(vq, &c->readable);
	guest_check_cursor(vq, &c->writable);
	in = (size_t)MIN(c->readable.bytes, (uint64_t)sizeof(bytes));
	out = (size_t)MIN(c->writable.bytes, (uint64_t)sizeof(bytes));
	memset(bytes, 0x11, sizeof(bytes));
	FUZZ_CHECK(chain_take(c, bytes, in));
	FUZZ_CHECK(c->num_snap == MIN(in, (size_t)CHAIN_SNAP_BYTES));
	FUZZ_CHECK(!memcmp((const void *)c->snap, bytes, c->num_snap));
	if (rd->verdict == SERVE_RETRY)
		return SERVE_RETRY;
	FUZZ_CHECK(chain_put(c, bytes, out));
	guest_check_cursor(vq, &c->writable);
	if (rd->verdict == SERVE_DONE || rd->num_held == HELD_MAX)
		return SERVE_DONE;
	if (rd->complete_at_once) {
		vq_complete(vq, c);
		return SERVE_HELD;
	}
	rd->held[rd->num_held++] = c;
	return SERVE_HELD;
}

static const struct vdev_class ring_class = {
	.name = "fuzz-ring",
	.virtio_id = 4,
	.instance_bytes = sizeof(struct ring_device),
	.realize = ring_realize,
	.serve = ring_serve,
};

struct run {
	struct guest g;
	struct bytes *in;
	uint64_t features;
	unsigned int num_holds;
	uint32_t place; /* packed: where the driver goes on, rounds counted */
	uint16_t looks;
};

static bool is_packed(const struct run *r)
{
	return r->features & 1ull << VIRTIO_F_RING_PACKED;
}

static struct ring_device *device_of(struct run *r)
{
	return container_of(r->g.dev, struct ring_device, dev);
}

/* Mostly near something: the start and the end of regions, the rings, numbers that wrap. */
static uint64_t take_addr(struct bytes *in)
{
	static const uint64_t bases[] = { 0, GUEST_SPLIT - 0x40, GUEST_BYTES - 0x40, GUEST_FAR,
		GUEST_FAR + GUEST_FAR_BYTES - 0x40, GUEST_RING(0), GUEST_AVAIL(0), GUEST_USED(0),
		UINT64_MAX - 0x7f, 1ull << 63, 0x10000, 0x18000, 0x28000, UINT32_MAX - 0x20,
		GUEST_SPLIT, GUEST_BYTES };
	uint8_t which = take8(in);

	return bases[which % ARRAY_SIZE(bases)] + take8(in) * (which & 0x80 ? 256u : 1u);
}

static uint32_t take_len(struct bytes *in)
{
	static const uint32_t lens[] = { 0, 1, 16, 32, 15, 17, 0x1000, 0x20000, 0x40000, UINT32_MAX,
		UINT32_MAX - 15, 1u << 31, 160, 1600, 16384, 64 };
	uint8_t which = take8(in);

	return which & 0x80 ? which & 0x7f : lens[which % ARRAY_SIZE(lens)];
}

static void put_desc(struct run *r, uint64_t table)
{
	uint8_t index = take8(r->in);
	uint64_t addr = take_addr(r->in);
	uint32_t len = take_len(r->in);
	uint8_t flags = take8(r->in), next = take8(r->in);

	guest_desc(&r->g, table + index * 16u, addr, len, (uint16_t)(flags & 7),
		flags & 0x80 ? (uint16_t)(next * 256) : next);
}

static void op_desc(struct run *r)
{
	put_desc(r, GUEST_RING(0));
}

/* Tables at 0x10000, and across the border of two regions. */
static void op_table_desc(struct run *r)
{
	put_desc(r, take8(r->in) & 1 ? 0x10000 : GUEST_SPLIT - 0x28);
}

/* A long chain, in the ring or in a table: each to the next, the first ones readable. */
static void op_many_descs(struct run *r)
{
	uint64_t table = take8(r->in) & 1 ? 0x10000 : GUEST_RING(0);
	unsigned int n = take16(r->in) % 1030 + 1, readable = take16(r->in) % 1030, i;
	uint32_t len = take_len(r->in);

	for (i = 0; i < n && (table != GUEST_RING(0) || i < 1024); i++)
		guest_desc(&r->g, table + i * 16, 0x28000 + i * 16 % 0x8000, len,
			(i < readable ? 0 : VRING_DESC_F_WRITE) |
				(i < n - 1 ? VRING_DESC_F_NEXT : 0),
			(uint16_t)(i + 1));
}

static void op_raw(struct run *r)
{
	uint64_t at = take_addr(r->in) % (GUEST_BYTES - 256);

	take_bytes(r->in, r->g.ram + at, take8(r->in) % 64);
}

static void op_offer(struct run *r)
{
	guest_offer(&r->g, 0, take8(r->in));
}

static void op_offer_many(struct run *r)
{
	unsigned int n = take8(r->in), head = take8(r->in);

	while (n--)
		guest_offer(&r->g, 0, (uint16_t)(head++ % r->g.num));
}

static void op_avail_idx(struct run *r)
{
	struct vring_avail *avail = (void *)(r->g.ram + GUEST_AVAIL(0));

	r->g.avail_idx[0] = take16(r->in);
	avail->idx = le16_make(r->g.avail_idx[0]);
}

static void op_events(struct run *r)
{
	struct vring_avail *avail = (void *)(r->g.ram + GUEST_AVAIL(0));

	avail->flags = le16_make(take8(r->in));
	avail->ring[r->g.num] = le16_make((uint16_t)(r->g.avail_idx[0] + (int8_t)take8(r->in)));
}

static void op_kick(struct run *r)
{
	guest_kick(&r->g);
}

static void op_verdict(struct run *r)
{
	uint8_t which = take8(r->in);

	device_of(r)->verdict = (enum serve_verdict)(which % 3);
	device_of(r)->complete_at_once = which & 4;
}

static void complete_one(struct run *r, unsigned int i)
{
	struct ring_device *rd = device_of(r);
	struct chain *c = rd->held[i];

	rd->held[i] = rd->held[--rd->num_held];
	vq_complete(&r->g.dev->queues[0], c);
}

static void op_complete(struct run *r)
{
	unsigned int i = take8(r->in);

	if (device_of(r)->num_held)
		complete_one(r, i % device_of(r)->num_held);
	guest_pump(&r->g);
}

static void op_complete_all(struct run *r)
{
	while (device_of(r)->num_held)
		complete_one(r, 0);
	guest_pump(&r->g);
}

static void op_resume(struct run *r)
{
	vq_resume(&r->g.dev->queues[0]);
	guest_pump(&r->g);
}

static void op_hold(struct run *r)
{
	if (r->num_holds) {
		r->num_holds--;
		vdev_release(r->g.dev);
	} else {
		r->num_holds++;
		vdev_hold(r->g.dev);
	}
	if (take8(r->in) & 1)
		guest_pump(&r->g);
}

static void op_machine(struct run *r)
{
	vdev_set_vm_running(r->g.dev, take8(r->in) & 1);
}

/* What is held comes back behind the stop: nothing is popped any more. */
static void stop(struct run *r)
{
	vdev_hold(r->g.dev);
	guest_pump(&r->g);
	op_complete_all(r);
}

/* A ring of a size that its format allows, from the base on. */
static void set_up(struct run *r, uint8_t size, uint16_t base)
{
	struct vq *vq = &r->g.dev->queues[0];

	uint32_t num = is_packed(r) ? (size & 63) + 1u : 1u << (size & 15) % 11;

	guest_queue(&r->g, 0, num, base);
	if (!is_packed(r))
		return;
	r->place = base & VRING_PACKED_POS;
	if (!(base & VRING_PACKED_WRAP))
		r->place += base ? r->g.num : 0u;
	vq->cfg.has_base = base;
	vq->cfg.next_used = base;
}

/* The driver resets and begins anew, with another ring maybe. */
static void op_reset(struct run *r)
{
	uint8_t size = take8(r->in);
	uint16_t base = size & 0x80 ? take16(r->in) : 0;

	stop(r);
	FUZZ_CHECK(vdev_is_idle(r->g.dev));
	guest_check_view(&r->g.dev->queues[0]);
	vdev_reset(r->g.dev);
	if (size & 0x40)
		memset(r->g.ram + GUEST_AVAIL(0), 0, 0x2000);
	if ((size & 0x40) && is_packed(r))
		memset(r->g.ram + GUEST_RING(0), 0, 0x4000);
	set_up(r, size, base);
	vdev_release(r->g.dev);
	guest_run(&r->g, r->features);
}

static void op_descriptors(struct run *r)
{
	struct vq *vq = &r->g.dev->queues[0];
	uint8_t which = take8(r->in);
	int fd = which & 4 ? -1 : dup(which & 2 ? r->g.kick : r->g.call);

	if (which & 1)
		vq_set_call_fd(vq, &fd);
	else
		vq_set_kick_fd(vq, &fd);
	if (which & 8)
		vdev_sync(r->g.dev);
}

/* The ring's addresses and size, as a transport would let the driver write them while stopped. */
static void op_config(struct run *r)
{
	struct vq *vq = &r->g.dev->queues[0];
	uint64_t *const areas[] = { &vq->cfg.desc, &vq->cfg.driver, &vq->cfg.device };
	uint8_t which = take8(r->in);
	uint64_t addr = take_addr(r->in);

	if (vq->state != VQ_IDLE)
		return;
	if (which & 4)
		vq->cfg.num = (uint32_t)addr;
	else
		*areas[which % 3] = addr;
}

static void (*const ops[])(struct run *r) = { op_desc, op_desc, op_table_desc, op_many_descs,
	op_raw, op_offer, op_offer_many, op_avail_idx, op_events, op_kick, op_kick, op_verdict,
	op_complete, op_complete_all, op_resume, op_hold, op_machine, op_reset, op_descriptors,
	op_config };

/* --- packed --- */

static uint16_t round_flags(const struct run *r, uint32_t place)
{
	return place / r->g.num % 2 ? VRING_PACKED_DESC_F_USED : VRING_PACKED_DESC_F_AVAIL;
}

static void put_packed(struct run *r, uint32_t place, uint16_t id, uint16_t flags)
{
	guest_desc(&r->g, GUEST_RING(0) + place % r->g.num * 16, take_addr(r->in), take_len(r->in),
		id, flags);
}

/* Anything, anywhere. */
static void op_packed_desc(struct run *r)
{
	uint8_t index = take8(r->in);

	put_packed(r, index, take16(r->in), take16(r->in));
}

/* A chain as a driver makes it, but for its buffers. */
static void op_packed_chain(struct run *r)
{
	unsigned int n = take8(r->in) % 8 + 1, readable = take8(r->in) % 8, i;
	uint16_t id = take8(r->in);

	for (i = 0; i < n; i++, r->place++)
		put_packed(r, r->place, id,
			(uint16_t)((i < readable ? 0 : VRING_DESC_F_WRITE) |
				   (i + 1 < n ? VRING_DESC_F_NEXT : 0) | round_flags(r, r->place)));
}

/* Good ones of one descriptor each, with ids that rise: the ring goes round. */
static void op_packed_many(struct run *r)
{
	unsigned int n = take8(r->in), id = take8(r->in);

	for (; n--; r->place++)
		guest_desc(&r->g, GUEST_RING(0) + r->place % r->g.num * 16, 0x28000, 64,
			(uint16_t)(id++ % r->g.num),
			(uint16_t)(VRING_DESC_F_WRITE | round_flags(r, r->place)));
}

static void op_packed_table(struct run *r)
{
	uint64_t table = take8(r->in) & 1 ? 0x10000 : GUEST_SPLIT - 0x28;
	uint32_t n = take8(r->in) % 40;
	uint16_t flags = take8(r->in) & 15, id = take8(r->in);

	guest_desc(&r->g, GUEST_RING(0) + r->place % r->g.num * 16, table, n * 16 + (flags >> 3),
		id,
		(uint16_t)(VRING_DESC_F_INDIRECT | (flags & VRING_DESC_F_NEXT) |
			   round_flags(r, r->place)));
	r->place++;
}

static void op_packed_place(struct run *r)
{
	r->place += take8(r->in);
}

static void op_packed_events(struct run *r)
{
	take_bytes(r->in, r->g.ram + GUEST_AVAIL(0), 4);
	if (take8(r->in) & 1)
		take_bytes(r->in, r->g.ram + GUEST_USED(0), 4);
}

static void (*const packed_ops[])(struct run *r) = { op_packed_desc, op_packed_chain,
	op_packed_chain, op_packed_many, op_packed_many, op_packed_table, op_table_desc, op_raw,
	op_packed_place, op_packed_events, op_kick, op_kick, op_verdict, op_complete,
	op_complete_all, op_resume, op_hold, op_machine, op_reset, op_descriptors, op_config };

/* What is in flight is no more than was counted, and the ring's states agree with it. */
static void look_at_ring(struct run *r)
{
	struct VirtqueueRequestList requests = { 0 };
	struct VirtqueueElements *ring = NULL;
	struct VirtqueueEventList events = { 0 };
	struct qom_object *root = qom_new_root();
	struct qom_object *obj = qom_add(root, "r0", "fuzz-ring");
	struct vq_view view;
	struct err err;

	obj->vdev = r->g.dev;
	FUZZ_CHECK(vq_read_view(&r->g.dev->queues[0], &view));
	FUZZ_CHECK(inspect_inflight(root, "/r0", NULL, NULL, &requests, &err) == 0);
	FUZZ_CHECK(requests.num == view.inuse);
	qapi_clear_VirtqueueRequestList(&requests);
	if (inspect_elements(root, "/r0", 0, 0, 0, &ring, &err) == 0) {
		FUZZ_CHECK(ring->elements.num == ring->num);
		for (size_t i = 0; i < ring->elements.num; i++)
			FUZZ_CHECK(!ring->elements.items[i]->has_since_ns ||
				   ring->elements.items[i]->state ==
					   VIRTQUEUE_ELEMENT_STATE_IN_FLIGHT);
		qapi_free_VirtqueueElements(ring);
	}
	FUZZ_CHECK(inspect_trace(root, "/r0", 0, 16, &events, &err) == 0);
	qapi_clear_VirtqueueEventList(&events);
	obj->vdev = NULL;
	qom_free(root);
}

/* Pure peeking, whatever lies there. */
static void look(struct run *r)
{
	const uint16_t index = r->looks++;
	struct element element = { 0 };

	element_read(&r->g.dev->queues[0], index % 3 ? &index : NULL, &element, NULL);
	element_free(&element);
	look_at_ring(r);
}

static void one_op(struct run *r)
{
	uint8_t op = take8(r->in);

	if (is_packed(r))
		packed_ops[op % ARRAY_SIZE(packed_ops)](r);
	else
		ops[op % ARRAY_SIZE(ops)](r);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct bytes in = { data, size };
	struct run r = { .in = &in };
	uint8_t shape = take8(&in);

	guest_new(&r.g, &ring_class, NULL);
	r.features = shape & 0x80 ? 1ull << VIRTIO_F_EVENT_IDX : 0;
	if (shape & 0x20) {
		r.features |= 1ull << VIRTIO_F_RING_PACKED;
		r.features |= shape & 0x10 ? 1ull << VIRTIO_F_IN_ORDER : 0;
	}
	set_up(&r, shape & 0x20 ? take8(&in) : shape, shape & 0x40 ? take16(&in) : 0);
	guest_run(&r.g, r.features);
	while (in.left) {
		one_op(&r);
		look(&r);
		guest_check_view(&r.g.dev->queues[0]);
		FUZZ_CHECK(!r.g.dev->broken || r.g.dev->status & VIRTIO_STATUS_NEEDS_RESET);
	}
	stop(&r);
	guest_free(&r.g);
	return 0;
}
