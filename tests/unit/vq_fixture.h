/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A device, a ring and the memory between them, all in one process and on one loop, for tests of
 * the virtio core. The driver's side is written here by hand and shares no code with src/virtio.
 *
 * Guest memory: two regions that touch, [0, SPLIT) and [SPLIT, RAM_END), mapped apart.
 */
#ifndef TESTS_VQ_FIXTURE_H
#define TESTS_VQ_FIXTURE_H

#include <semaphore.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <unistd.h>

#include <cmocka.h>

#include <json-c/json.h>

#include "base/le.h"
#include "mem/gmem.h"
#include "virtio/vdev.h"
#include "virtio/vring.h"

#define RAM_END	 0x400000ull
#define SPLIT	 0x200000ull
#define DESC_AT	 0x10000ull
#define AVAIL_AT 0x100000ull
#define USED_AT	 0x120000ull
#define TABLE_AT 0x180000ull
#define DATA_AT	 0x1a0000ull

#define NEXT	 VRING_DESC_F_NEXT
#define WRITE	 VRING_DESC_F_WRITE
#define INDIRECT VRING_DESC_F_INDIRECT

struct fix {
	struct loop loop;
	struct vdev *dev;
	struct vq *vq;
	struct gmem *mem;
	int memfd, kick, call, call_end;
	uint8_t *ram; /* the driver's own mapping of all of it */
	uint16_t avail_idx;
	uint32_t num;
};

/* What the device does; tests set it and look at what it saw. */
struct test_device {
	struct vdev dev;
	enum serve_verdict verdict;
	enum serve_verdict (*serve)(struct vq *vq, struct chain *c);
	unsigned int num_served, num_resets;
	uint64_t readable, writable; /* of the last chain */
	uint16_t head;
	struct chain *held[4096];
	unsigned int num_held;
};

static inline struct test_device *test_device(struct fix *f)
{
	return container_of(f->dev, struct test_device, dev);
}

static unsigned int fix_num_queues = 1;

static int td_realize(struct vdev *dev, struct err *err)
{
	(void)err;
	virtio_features_set(&dev->device_features, 5, true);
	vdev_set_queues(dev, fix_num_queues, 256);
	return 0;
}

static enum serve_verdict td_serve(struct vdev *dev, struct vq *vq, struct chain *c)
{
	struct test_device *td = container_of(dev, struct test_device, dev);

	td->num_served++;
	td->readable = c->readable.bytes;
	td->writable = c->writable.bytes;
	td->head = c->head;
	if (td->serve)
		return td->serve(vq, c);
	if (td->verdict == SERVE_HELD) {
		assert_true(td->num_held < ARRAY_SIZE(td->held));
		td->held[td->num_held++] = c;
	}
	return td->verdict;
}

static void td_reset(struct vdev *dev)
{
	container_of(dev, struct test_device, dev)->num_resets++;
}

static const struct vdev_class test_class = {
	.name = "virtio-test",
	.virtio_id = 4,
	.instance_bytes = sizeof(struct test_device),
	.config_bytes = 8,
	.realize = td_realize,
	.serve = td_serve,
	.reset = td_reset,
};

/* What fix_init() makes; a test of a real device sets these first. */
static const struct vdev_class *fix_class = &test_class;
static const char *fix_options; /* a JSON object, or NULL */
static struct loop *fix_data_loop; /* NULL: the fixture's own */

static inline void *ram(struct fix *f, uint64_t gpa)
{
	return f->ram + gpa;
}

static inline void pump(struct fix *f)
{
	int i;

	for (i = 0; i < 20; i++)
		loop_run_once(&f->loop, 0);
}

static inline void set_desc(struct fix *f, uint64_t table, uint32_t i, uint64_t addr, uint32_t len,
	uint16_t flags, uint16_t next)
{
	struct vring_desc d = { le64_make(addr), le32_make(len), le16_make(flags),
		le16_make(next) };

	memcpy(ram(f, table + i * sizeof(d)), &d, sizeof(d));
}

static inline struct vring_avail *avail(struct fix *f)
{
	return ram(f, AVAIL_AT);
}

static inline struct vring_used *used(struct fix *f)
{
	return ram(f, USED_AT);
}

/* An index or another word of a ring that somebody else reads or writes meanwhile. */
static inline uint16_t load_le16(volatile const le16 *p)
{
	return le16toh(__atomic_load_n(&p->raw, __ATOMIC_ACQUIRE));
}

static inline void store_le16(volatile le16 *p, uint16_t v)
{
	__atomic_store_n(&p->raw, htole16(v), __ATOMIC_RELEASE);
}

static inline void set_used_event(struct fix *f, uint16_t v)
{
	avail(f)->ring[f->num] = le16_make(v);
}

static inline uint16_t avail_event(struct fix *f)
{
	return le16_get(*(le16 *)&used(f)->ring[f->num]);
}

/* Puts a head into the available ring and shows it, without a kick. */
static inline void offer(struct fix *f, uint16_t head)
{
	avail(f)->ring[f->avail_idx % f->num] = le16_make(head);
	__atomic_thread_fence(__ATOMIC_SEQ_CST);
	avail(f)->idx = le16_make(++f->avail_idx);
}

static inline void kick(struct fix *f)
{
	uint64_t one = 1;

	assert_int_equal(write(f->kick, &one, 8), 8);
	pump(f);
}

/* One descriptor, offered and kicked. */
static inline void push_one(
	struct fix *f, uint16_t head, uint64_t addr, uint32_t len, uint16_t flags)
{
	set_desc(f, DESC_AT, head, addr, len, flags, 0);
	offer(f, head);
	kick(f);
}

static inline unsigned int num_calls(struct fix *f)
{
	uint64_t n = 0;

	if (read(f->call_end, &n, 8) != 8)
		return 0;
	return (unsigned int)n;
}

static inline uint16_t used_idx(struct fix *f)
{
	return le16_get(used(f)->idx);
}

static inline struct vq_view view(struct fix *f)
{
	struct vq_view v;

	assert_true(vq_read_view(f->vq, &v));
	return v;
}

static inline void fix_memory(struct fix *f)
{
	struct gmem_region *regions[2];
	struct gmem_region_desc desc[2] = { { 0, SPLIT, 0x7f0000000000, 0 },
		{ SPLIT, RAM_END - SPLIT, 0x7f8000000000, SPLIT } };
	struct err err = { 0 };
	int i;

	f->memfd = memfd_create("ram", MFD_CLOEXEC);
	assert_int_equal(ftruncate(f->memfd, RAM_END), 0);
	f->ram = mmap(NULL, RAM_END, PROT_READ | PROT_WRITE, MAP_SHARED, f->memfd, 0);
	for (i = 0; i < 2; i++)
		assert_int_equal(gmem_region_new(&desc[i], f->memfd, &regions[i], &err), 0);
	assert_int_equal(gmem_new(regions, 2, &f->mem, &err), 0);
	for (i = 0; i < 2; i++)
		gmem_region_unref(regions[i]);
}

/* Lets queue 0, which is configured, run. */
static inline void fix_run(struct fix *f)
{
	int fd = dup(f->kick);

	vq_set_kick_fd(f->vq, &fd);
	fd = dup(f->call);
	vq_set_call_fd(f->vq, &fd);
	f->vq->enabled = true;
	vdev_write_status(f->dev, 0xf);
	pump(f);
}

/* Configures queue 0 with a fresh ring of @num and lets it run. */
static inline void fix_start_ring(struct fix *f, uint32_t num, uint64_t features)
{
	f->num = num;
	f->avail_idx = 0;
	memset(ram(f, AVAIL_AT), 0, DATA_AT - AVAIL_AT);
	if (features & 1ull << VIRTIO_F_RING_PACKED)
		memset(ram(f, DESC_AT), 0, num * sizeof(struct vring_packed_desc));
	vdev_set_mem(f->dev, f->mem);
	vdev_set_driver_features(f->dev, virtio_features_from64(features | 1ull << 32));
	f->vq->cfg = (struct vq_config){
		.num = num, .desc = DESC_AT, .driver = AVAIL_AT, .device = USED_AT
	};
	fix_run(f);
}

static inline void fix_take_options(struct fix *f)
{
	struct json_object *args;
	struct err err = { 0 };

	if (!fix_options)
		return;
	args = json_tokener_parse(fix_options);
	assert_non_null(args);
	if (options_take(f->dev->cls->options, f->dev, args, &err) < 0)
		fail_msg("%s", err.msg);
	assert_int_equal(json_object_object_length(args), 0);
	json_object_put(args);
}

/* @num 0: no ring is started. */
static inline void fix_init(struct fix *f, uint32_t num, uint64_t features)
{
	struct err err = { 0 };

	memset(f, 0, sizeof(*f));
	assert_int_equal(loop_init(&f->loop, "test", &err), 0);
	f->dev = vdev_new(fix_class, "t0", &f->loop, fix_data_loop ? fix_data_loop : &f->loop);
	fix_take_options(f);
	f->dev->opt_packed = features >> VIRTIO_F_RING_PACKED & 1;
	f->dev->opt_in_order = features >> VIRTIO_F_IN_ORDER & 1;
	if (vdev_realize(f->dev, &err) < 0)
		fail_msg("%s", err.msg);
	f->vq = &f->dev->queues[0];
	f->kick = eventfd(0, EFD_NONBLOCK);
	f->call = eventfd(0, EFD_NONBLOCK);
	f->call_end = f->call;
	fix_memory(f);
	if (num)
		fix_start_ring(f, num, features);
}

/* Answers what the test device holds, oldest first. Its loop. */
static inline void fix_complete_held(struct fix *f)
{
	struct test_device *td = test_device(f);
	unsigned int i;

	for (i = 0; i < td->num_held; i++)
		if (td->held[i])
			vq_complete(td->held[i]->vq, td->held[i]);
	td->num_held = 0;
}

static bool fix_is_destroyed;

static void fix_destroyed(struct vdev_wait *wait)
{
	(void)wait;
	fix_is_destroyed = true;
}

struct fix_pass {
	struct loop_post post;
	sem_t passed;
};

static void fix_on_pass(struct loop_post *post)
{
	sem_post(&container_of(post, struct fix_pass, post)->passed);
}

/* Waits until another thread's loop is out of its last message to ours, which may then go. */
static inline void fix_settle(struct loop *loop)
{
	struct fix_pass pass = { .post.fn = fix_on_pass };

	if (!loop || !loop->has_thread)
		return;
	sem_init(&pass.passed, 0, 0);
	loop_post(loop, &pass.post);
	while (sem_wait(&pass.passed) < 0)
		;
	sem_destroy(&pass.passed);
}

static inline void fix_deinit(struct fix *f)
{
	struct vdev_wait wait = { .fn = fix_destroyed };
	struct loop *loops[8] = { fix_data_loop };
	unsigned int i;

	for (i = 0; i + 1 < ARRAY_SIZE(loops) && i < f->dev->num_queues; i++)
		loops[i + 1] = f->dev->queues[i].loop;
	if (f->dev->cls == &test_class)
		fix_complete_held(f);
	fix_is_destroyed = false;
	vdev_destroy(f->dev, &wait);
	while (!fix_is_destroyed)
		loop_run_once(&f->loop, 10);
	for (i = 0; i < ARRAY_SIZE(loops); i++)
		fix_settle(loops[i]);
	loop_deinit(&f->loop);
	gmem_unref(f->mem);
	munmap(f->ram, RAM_END);
	close(f->memfd);
	close(f->kick);
	if (f->call_end != f->call)
		close(f->call_end);
	close(f->call);
}

static void fix_reset_done(struct vdev_wait *wait)
{
	(void)wait;
}

/* Whole reset, as a transport does it. */
static inline void fix_reset(struct fix *f)
{
	struct vdev_wait wait = { .fn = fix_reset_done };

	vdev_hold(f->dev);
	vdev_when_idle(f->dev, &wait);
	pump(f);
	assert_true(vdev_is_idle(f->dev));
	vdev_reset(f->dev);
	vdev_release(f->dev);
}

#endif
