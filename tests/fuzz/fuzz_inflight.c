/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Bytes to an in-flight region and the ring beside it, of either format, before starts: the queue
 * runs, serving what the region says, or breaks the device with a reason. The first byte chooses
 * format and sizes; then each operation is one byte and its arguments. What runs is killed, or
 * stopped, between them.
 */
#include "tests/fuzz/guest.h"

#include "virtio/vq_inflight.h"

#define REGION_BYTES 0x2000
#define HELD_MAX     128

struct rest_device {
	struct vdev dev;
	enum serve_verdict verdict;
	struct chain *held[HELD_MAX];
	unsigned int num_held;
};

struct run {
	struct guest g;
	struct bytes *in;
	uint64_t features;
	uint32_t num, entries;
	int fd;
	uint8_t *bytes; /* the front-end's own mapping */
	struct gmem_region *region;
};

static int rest_realize(struct vdev *dev, struct err *err)
{
	(void)err;
	vdev_set_queues(dev, 1, 16);
	return 0;
}

static enum serve_verdict rest_serve(struct vdev *dev, struct vq *vq, struct chain *c)
{
	struct rest_device *rd = container_of(dev, struct rest_device, dev);

	guest_check_cursor(vq, &c->readable);
	guest_check_cursor(vq, &c->writable);
	FUZZ_CHECK(c->head < vq->num);
	if (rd->verdict != SERVE_HELD || rd->num_held == HELD_MAX)
		return rd->verdict == SERVE_RETRY ? SERVE_RETRY : SERVE_DONE;
	rd->held[rd->num_held++] = c;
	return SERVE_HELD;
}

static const struct vdev_class rest_class = {
	.name = "fuzz-inflight",
	.virtio_id = 4,
	.instance_bytes = sizeof(struct rest_device),
	.realize = rest_realize,
	.serve = rest_serve,
};

static struct rest_device *device_of(struct run *r)
{
	return container_of(r->g.dev, struct rest_device, dev);
}

static bool is_packed(const struct run *r)
{
	return r->features >> VIRTIO_F_RING_PACKED & 1;
}

static void op_region(struct run *r)
{
	uint32_t at = take16(r->in) % (REGION_BYTES - 256);

	take_bytes(r->in, r->bytes + at, take8(r->in) % 64);
}

/* A field of the head, or of an entry, by its offset. */
static void op_field(struct run *r)
{
	uint32_t each = is_packed(r) ? 32 : 16, at = take8(r->in), value = take16(r->in);

	at = (take8(r->in) % (r->entries + 1)) * each + at % each;
	r->bytes[at] = (uint8_t)value;
	if (at % 2 == 0)
		r->bytes[at + 1] = (uint8_t)(value >> 8);
}

/* Head as of a region in use: what follows is looked at. */
static void op_head(struct run *r)
{
	struct inflight_split *part = (void *)r->bytes;

	part->features = le64_make(0);
	part->version = le16_make(1);
	part->desc_num = le16_make((uint16_t)r->entries);
}

static void op_ring(struct run *r)
{
	static const uint32_t bases[] = { GUEST_RING(0), GUEST_AVAIL(0), GUEST_USED(0) };
	uint32_t at = bases[take8(r->in) % 3] + take8(r->in);

	take_bytes(r->in, r->g.ram + at, take8(r->in) % 32);
}

static void op_offer(struct run *r)
{
	uint8_t head = (uint8_t)(take8(r->in) % r->num), flags = take8(r->in);
	uint32_t at = is_packed(r) ? r->g.dev->queues[0].last_avail : head;
	bool wrap = at & VRING_PACKED_WRAP;

	at &= VRING_PACKED_POS;
	if (at >= r->num)
		return;
	if (!is_packed(r)) {
		guest_desc(&r->g, GUEST_RING(0) + at * 16, 0x10000 + head * 16u, 16, flags & 7,
			(uint16_t)((head + 1u) % r->num));
		guest_offer(&r->g, 0, head);
		return;
	}
	guest_desc(&r->g, GUEST_RING(0) + at * 16, 0x10000 + head * 16u, 16, head,
		(uint16_t)((flags & 7) |
			   (wrap ? VRING_PACKED_DESC_F_AVAIL : VRING_PACKED_DESC_F_USED)));
}

static void op_kick(struct run *r)
{
	guest_kick(&r->g);
}

static void op_verdict(struct run *r)
{
	device_of(r)->verdict = (enum serve_verdict)(take8(r->in) % 3);
}

static void op_complete(struct run *r)
{
	struct rest_device *rd = device_of(r);
	unsigned int i = take8(r->in);

	if (rd->num_held) {
		i %= rd->num_held;
		vq_complete(&r->g.dev->queues[0], rd->held[i]);
		rd->held[i] = rd->held[--rd->num_held];
	}
	guest_pump(&r->g);
}

static void stop(struct run *r)
{
	struct rest_device *rd = device_of(r);

	vdev_hold(r->g.dev);
	do {
		while (rd->num_held)
			vq_complete(&r->g.dev->queues[0], rd->held[--rd->num_held]);
		guest_pump(&r->g);
	} while (rd->num_held);
	FUZZ_CHECK(vdev_is_idle(r->g.dev));
}

static void start(struct run *r, uint16_t base)
{
	guest_queue(&r->g, 0, r->num, base);
	r->g.avail_idx[0] = le16_get(((struct vring_avail *)(r->g.ram + GUEST_AVAIL(0)))->idx);
	r->g.dev->queues[0].cfg.next_used = base;
	r->g.dev->queues[0].cfg.has_base = true;
	vq_set_inflight(&r->g.dev->queues[0], r->region, 0, r->entries);
	vdev_release(r->g.dev);
	guest_run(&r->g, r->features);
}

/* Another process goes on: what this one still does is not in what that one finds. */
static void op_killed(struct run *r)
{
	static uint8_t region[REGION_BYTES], ring[0x6000];
	uint16_t base = take8(r->in) & 1 ? take16(r->in) : VRING_PACKED_START;

	memcpy(region, r->bytes, sizeof(region));
	memcpy(ring, r->g.ram + GUEST_RING(0), sizeof(ring));
	stop(r);
	vq_set_inflight(&r->g.dev->queues[0], NULL, 0, 0);
	vdev_reset(r->g.dev);
	memcpy(r->bytes, region, sizeof(region));
	memcpy(r->g.ram + GUEST_RING(0), ring, sizeof(ring));
	start(r, base);
}

static void op_stopped(struct run *r)
{
	uint16_t next = 0;

	stop(r);
	next = r->g.dev->queues[0].cfg.next_avail;
	start(r, next);
}

static void (*const ops[])(struct run *r) = { op_region, op_field, op_field, op_head, op_ring,
	op_offer, op_offer, op_kick, op_verdict, op_complete, op_killed, op_killed, op_stopped };

static void make_region(struct run *r)
{
	const struct gmem_region_desc desc = { .size = REGION_BYTES };

	r->fd = memfd_create("inflight", MFD_CLOEXEC);
	FUZZ_CHECK(ftruncate(r->fd, REGION_BYTES) == 0);
	r->bytes = mmap(NULL, REGION_BYTES, PROT_READ | PROT_WRITE, MAP_SHARED, r->fd, 0);
	FUZZ_CHECK(r->bytes != MAP_FAILED);
	FUZZ_CHECK(!gmem_region_new(&desc, r->fd, &r->region, NULL));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct bytes in = { data, size };
	struct run r = { .in = &in };
	uint8_t shape = take8(&in);

	guest_new(&r.g, &rest_class, NULL);
	make_region(&r);
	r.features = shape & 0x80 ? 1ull << VIRTIO_F_RING_PACKED : 0;
	r.num = shape & 0x80 ? 1u + shape % 13 : 1u << shape % 5;
	r.entries = shape & 0x40 ? r.num : 2 * r.num;
	vdev_hold(r.g.dev);
	start(&r, shape & 0x80 ? VRING_PACKED_START : 0);
	while (in.left) {
		ops[take8(&in) % ARRAY_SIZE(ops)](&r);
		guest_check_view(&r.g.dev->queues[0]);
		FUZZ_CHECK(!r.g.dev->broken || r.g.dev->broken_reason[0]);
	}
	stop(&r);
	vq_set_inflight(&r.g.dev->queues[0], NULL, 0, 0);
	guest_free(&r.g);
	gmem_region_unref(r.region);
	munmap(r.bytes, REGION_BYTES);
	close(r.fd);
	return 0;
}
