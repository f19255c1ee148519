/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A guest for fuzz targets: memory in three regions, one device on one loop with its rings, and a
 * reader of the input's bytes. The device is checked from inside (FUZZ_CHECK) and by the
 * sanitizers.
 */
#ifndef TESTS_FUZZ_GUEST_H
#define TESTS_FUZZ_GUEST_H

#include <string.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <unistd.h>

#include <json-c/json.h>

#include "base/le.h"
#include "base/log.h"
#include "mem/gmem.h"
#include "tests/fuzz/fuzz.h"
#include "virtio/vdev.h"
#include "virtio/vring.h"

#define GUEST_BYTES 0x40000u
#define GUEST_SPLIT 0x20000u
/* An odd region behind a hole. */
#define GUEST_FAR	0x80000u
#define GUEST_FAR_BYTES 0x1003u
/* The rings of queue i, a page each part. */
#define GUEST_RING(i)  (0x1000u + (i)*0x6000u)
#define GUEST_AVAIL(i) (GUEST_RING(i) + 0x4000u)
#define GUEST_USED(i)  (GUEST_RING(i) + 0x5000u)

struct guest {
	struct loop loop;
	struct vdev *dev;
	struct gmem *mem;
	uint8_t *ram;
	int memfd, kick, call;
	uint16_t avail_idx[5];
	uint32_t num;
	bool idle;
};

/* What is left of the input. */
struct bytes {
	const uint8_t *at;
	size_t left;
};

static inline uint8_t take8(struct bytes *in)
{
	if (!in->left)
		return 0;
	in->left--;
	return *in->at++;
}

static inline uint16_t take16(struct bytes *in)
{
	uint16_t low = take8(in);

	return (uint16_t)(low | take8(in) << 8);
}

static inline void take_bytes(struct bytes *in, void *to, size_t len)
{
	uint8_t *p = to;

	while (len--)
		*p++ = take8(in);
}

static inline void guest_memory(struct guest *g)
{
	static const struct gmem_region_desc descs[] = { { 0, GUEST_SPLIT, 0x10000000, 0 },
		{ GUEST_SPLIT, GUEST_BYTES - GUEST_SPLIT, 0x20000000, GUEST_SPLIT },
		{ GUEST_FAR, GUEST_FAR_BYTES, 0x30000000, GUEST_BYTES + 0x7 } };
	struct gmem_region *regions[ARRAY_SIZE(descs)];
	const size_t file_bytes = GUEST_BYTES + 0x2000;
	size_t i;

	g->memfd = memfd_create("ram", MFD_CLOEXEC);
	FUZZ_CHECK(ftruncate(g->memfd, (off_t)file_bytes) == 0);
	g->ram = mmap(NULL, file_bytes, PROT_READ | PROT_WRITE, MAP_SHARED, g->memfd, 0);
	FUZZ_CHECK(g->ram != MAP_FAILED);
	for (i = 0; i < ARRAY_SIZE(descs); i++)
		FUZZ_CHECK(!gmem_region_new(&descs[i], g->memfd, &regions[i], NULL));
	FUZZ_CHECK(!gmem_new(regions, ARRAY_SIZE(descs), &g->mem, NULL));
	for (i = 0; i < ARRAY_SIZE(descs); i++)
		gmem_region_unref(regions[i]);
}

static inline void guest_new(struct guest *g, const struct vdev_class *cls, const char *options)
{
	struct json_object *args = options ? json_tokener_parse(options) : NULL;
	struct err err = { 0 };

	log_set_level((enum log_level) - 1);
	memset(g, 0, sizeof(*g));
	FUZZ_CHECK(!loop_init(&g->loop, "fuzz", NULL));
	g->dev = vdev_new(cls, "fuzz", &g->loop, &g->loop);
	if (args && options_take(cls->options, g->dev, args, &err) < 0)
		fprintf(stderr, "%s\n", err.msg);
	json_object_put(args);
	if (vdev_realize(g->dev, &err) < 0)
		fprintf(stderr, "%s\n", err.msg);
	FUZZ_CHECK(g->dev->realized);
	g->kick = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
	g->call = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
	guest_memory(g);
	vdev_set_mem(g->dev, g->mem);
}

static inline void guest_pump(struct guest *g)
{
	int i;

	for (i = 0; i < 8; i++)
		loop_run_once(&g->loop, 0);
}

/* Sets queue @i up at its place; it runs once DRIVER_OK is set. */
static inline void guest_queue(struct guest *g, unsigned int i, uint32_t num, uint16_t base)
{
	struct vq *vq = &g->dev->queues[i];
	int kick = dup(g->kick), call = dup(g->call);

	g->num = num;
	g->avail_idx[i] = base;
	vq->cfg = (struct vq_config){ .num = num,
		.desc = GUEST_RING(i),
		.driver = GUEST_AVAIL(i),
		.device = GUEST_USED(i),
		.next_avail = base };
	vq_set_kick_fd(vq, &kick);
	vq_set_call_fd(vq, &call);
	vq->enabled = true;
}

static inline void guest_run(struct guest *g, uint64_t features)
{
	vdev_set_driver_features(g->dev, virtio_features_from64(features | 1ull << 32));
	vdev_write_status(g->dev, 0xf);
	guest_pump(g);
}

static inline void guest_desc(
	struct guest *g, uint64_t at, uint64_t addr, uint32_t len, uint16_t flags, uint16_t next)
{
	struct vring_desc d = { le64_make(addr), le32_make(len), le16_make(flags),
		le16_make(next) };

	memcpy(g->ram + at, &d, sizeof(d));
}

static inline void guest_offer(struct guest *g, unsigned int i, uint16_t head)
{
	struct vring_avail *avail = (void *)(g->ram + GUEST_AVAIL(i));

	avail->ring[g->avail_idx[i] % g->num] = le16_make(head);
	avail->idx = le16_make(++g->avail_idx[i]);
}

static inline void guest_kick(struct guest *g)
{
	unsigned int i;

	for (i = 0; i < g->dev->num_queues; i++)
		if (g->dev->queues[i].kick_fd >= 0)
			eventfd_write(g->dev->queues[i].kick_fd, 1);
	guest_pump(g);
}

static inline uint16_t guest_used_idx(struct guest *g, unsigned int i)
{
	return le16_get(((struct vring_used *)(g->ram + GUEST_USED(i)))->idx);
}

/* Does every piece lie in one region, and do they add up? */
static inline void guest_check_cursor(const struct vq *vq, const struct chain_cursor *cur)
{
	uint64_t sum = 0;
	unsigned int k;
	int i;

	FUZZ_CHECK(cur->num_iov >= 0);
	for (i = 0; i < cur->num_iov; i++) {
		const uint8_t *p = cur->iov[i].iov_base;
		bool inside = false;

		for (k = 0; k < vq->mem->num_regions; k++) {
			const struct gmem_region *r = vq->mem->regions[k];

			inside |= p >= r->host && range_inside((uint64_t)(p - r->host),
							  cur->iov[i].iov_len, r->desc.size);
		}
		FUZZ_CHECK(inside && cur->iov[i].iov_len);
		sum += cur->iov[i].iov_len;
	}
	FUZZ_CHECK(sum == cur->bytes);
}

/* What holds of a queue whatever the guest did. */
static inline void guest_check_view(struct vq *vq)
{
	struct vq_view v;

	FUZZ_CHECK(vq_read_view(vq, &v));
	FUZZ_CHECK(v.counters.popped >= v.counters.completed);
	FUZZ_CHECK(v.inuse <= vq->num || vq->state == VQ_IDLE);
	FUZZ_CHECK(v.counters.calls + v.counters.calls_suppressed <=
		   v.counters.completed + v.counters.kicks + 1000);
}

static void guest_on_idle(struct vdev_wait *wait);

struct guest_wait {
	struct vdev_wait wait;
	bool done;
};

static void guest_on_idle(struct vdev_wait *wait)
{
	container_of(wait, struct guest_wait, wait)->done = true;
}

/* Nothing is held any more: everything has to come to an end. */
static inline void guest_free(struct guest *g)
{
	struct guest_wait wait = { .wait.fn = guest_on_idle };
	unsigned int i;

	vdev_destroy(g->dev, &wait.wait);
	for (i = 0; i < 100 && !wait.done; i++)
		loop_run_once(&g->loop, i < 10 ? 0 : 50);
	FUZZ_CHECK(wait.done);
	FUZZ_CHECK(!g->loop.work_head && !g->loop.timers);
	loop_deinit(&g->loop);
	gmem_unref(g->mem);
	munmap(g->ram, GUEST_BYTES + 0x2000);
	close(g->memfd);
	close(g->kick);
	close(g->call);
}

#endif
