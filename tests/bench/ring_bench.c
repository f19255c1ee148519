/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * ring_bench FORMAT WALK SHAPE CORES COUNT [REGIONS]: requests through the core of virtio/ alone: a
 * driver that fills the ring and looks for what came back, and a device that answers at once.
 *
 * FORMAT split or packed; WALK checked (the product's) or unchecked (ring_unchecked.c's); SHAPE
 * one (a single descriptor), chain (three, as a disk's request) or table (the same three,
 * indirect); CORES 1 (driver and device take turns, in batches) or 2 (each polls on a thread of its
 * own). Prints one JSON object. Under callgrind, --toggle-collect=vq_on_run_work counts the
 * device's side alone.
 */
#include <errno.h>
#include <pthread.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <unistd.h>

#include "tests/bench/ring_bench.h"
#include "virtio/vdev.h"
#include "virtio/vq_internal.h"

#define RING	    256
#define BATCH	    32
#define IDLE_TURNS  10000
#define RAM_END	    (64ull << 20)
#define DESC_AT	    0x10000ull
#define DRIVER_AT   0x20000ull
#define DEVICE_AT   0x30000ull
#define TABLES_AT   0x40000ull /* one of TABLE_BYTES for each slot */
#define TABLE_BYTES 64
/* Headers, payload and status of each slot, spread over all regions. */
#define DATA_AT	   0x100000ull
#define DATA_STEP  ((RAM_END - DATA_AT) / RING)
#define NUM_SHAPES 3

const char *const bench_shapes[NUM_SHAPES] = { "one", "chain", "table" };

struct bench_ring ring;

static struct loop loop;
static struct vdev *dev;
static const struct bench_driver *driver;
static bool is_packed;
static _Atomic bool is_over;

static enum serve_verdict serve(struct vdev *d, struct vq *vq, struct chain *c)
{
	(void)d;
	(void)vq;
	c->written = (uint32_t)c->writable.bytes;
	return SERVE_DONE;
}

static int realize(struct vdev *d, struct err *err)
{
	(void)err;
	virtio_features_set(&d->device_features, VIRTIO_F_RING_PACKED, is_packed);
	vdev_set_queues(d, 1, RING);
	return 0;
}

static const struct vdev_class bench_class = {
	.name = "virtio-bench",
	.virtio_id = 4,
	.instance_bytes = sizeof(struct vdev),
	.realize = realize,
	.serve = serve,
};

static void die(const char *what, const struct err *err)
{
	fprintf(stderr, "ring_bench: %s: %s\n", what, err ? err->msg : strerror(errno));
	exit(1);
}

static struct gmem *make_memory(unsigned int num_regions)
{
	struct gmem_region *regions[GMEM_REGIONS_MAX];
	int fd = memfd_create("ram", MFD_CLOEXEC);
	uint64_t each = RAM_END / num_regions;
	struct gmem *mem;
	struct err err = { 0 };
	unsigned int i;

	if (fd < 0 || ftruncate(fd, (off_t)RAM_END) < 0)
		die("memory", NULL);
	ring.ram = mmap(NULL, RAM_END, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	for (i = 0; i < num_regions; i++) {
		struct gmem_region_desc desc = { i * each, each, (i + 1ull) << 40, i * each };

		if (gmem_region_new(&desc, fd, &regions[i], &err) < 0)
			die("memory", &err);
	}
	if (gmem_new(regions, num_regions, &mem, &err) < 0)
		die("memory", &err);
	close(fd);
	return mem;
}

static void start_device(unsigned int num_regions, uint64_t features)
{
	struct err err = { 0 };
	int fd;

	if (loop_init(&loop, "bench", &err) < 0)
		die("loop", &err);
	dev = vdev_new(&bench_class, "b0", &loop, &loop);
	if (vdev_realize(dev, &err) < 0)
		die("device", &err);
	vdev_set_mem(dev, make_memory(num_regions));
	vdev_set_driver_features(dev, virtio_features_from64(features | 1ull << 32));
	dev->queues[0].cfg = (struct vq_config){
		.num = RING, .desc = DESC_AT, .driver = DRIVER_AT, .device = DEVICE_AT
	};
	fd = eventfd(0, EFD_NONBLOCK);
	vq_set_kick_fd(&dev->queues[0], &fd);
	dev->queues[0].enabled = true;
	vdev_write_status(dev, 0xf);
	while (dev->queues[0].state != VQ_RUNNING || dev->queues[0].run_work.queued ||
		!dev->queues[0].kick.loop)
		loop_run_once(&loop, 0);
}

static void device_turn(void)
{
	vq_on_run_work(&dev->queues[0].run_work);
}

/* Where the other side has no processor just now, spinning keeps it from one. */
static void give_way(unsigned int *idle, bool progress)
{
	*idle = progress ? 0 : *idle + 1;
	if (*idle == IDLE_TURNS) {
		*idle = 0;
		sched_yield();
	}
}

static void *device_thread(void *arg)
{
	unsigned int idle = 0;
	uint64_t before;

	(void)arg;
	while (!atomic_load_explicit(&is_over, memory_order_relaxed)) {
		before = dev->queues[0].count.completed;
		device_turn();
		give_way(&idle, dev->queues[0].count.completed != before);
	}
	return NULL;
}

static void run_one_core(uint64_t count)
{
	uint64_t done = 0;

	while (done < count && !dev->queues[0].broken) {
		driver->offer(BATCH);
		device_turn();
		done += driver->collect();
	}
}

static void run_two_cores(uint64_t count)
{
	uint64_t offered = 0, done = 0, n;
	unsigned int idle = 0;
	pthread_t thread;

	pthread_create(&thread, NULL, device_thread, NULL);
	while (done < count && !dev->queues[0].broken) {
		uint64_t room = RING / 4 - (offered - done);

		if (room) {
			driver->offer((unsigned int)MIN(room, (uint64_t)BATCH));
			offered += MIN(room, (uint64_t)BATCH);
		}
		n = driver->collect();
		done += n;
		give_way(&idle, n);
	}
	atomic_store(&is_over, true);
	pthread_join(thread, NULL);
}

/* The descriptors of slot @i, as the shape has them: how many. */
unsigned int bench_describe(unsigned int i, struct bench_desc *ret)
{
	uint64_t at = DATA_AT + i * DATA_STEP;

	ret[0] = (struct bench_desc){ at, ring.shape == BENCH_ONE ? 4096 : 16,
		ring.shape == BENCH_ONE ? BENCH_WRITE : 0 };
	ret[1] = (struct bench_desc){ at + 4096, 4096, BENCH_WRITE };
	ret[2] = (struct bench_desc){ at + 8192, 1, BENCH_WRITE };
	return ring.shape == BENCH_ONE ? 1 : 3;
}

uint64_t bench_table_at(unsigned int i)
{
	return TABLES_AT + i * TABLE_BYTES;
}

static void parse(char **argv)
{
	size_t i;

	for (i = 0; i < NUM_SHAPES && strcmp(argv[3], bench_shapes[i]); i++)
		;
	is_packed = !strcmp(argv[1], "packed");
	driver = is_packed ? &bench_packed_driver : &bench_split_driver;
	if (i == NUM_SHAPES || (!is_packed && strcmp(argv[1], "split")))
		die("unknown format or shape", NULL);
	ring.shape = (enum bench_shape)i;
	ring.num = RING;
}

int main(int argc, char **argv)
{
	uint64_t count, start;
	double ns;

	if (argc != 6 && argc != 7) {
		fprintf(stderr,
			"usage: ring_bench split|packed checked|unchecked one|chain|table 1|2 "
			"COUNT [REGIONS]\n");
		return 2;
	}
	parse(argv);
	start_device(argc == 7 ? (unsigned int)atoi(argv[6]) : 2,
		is_packed ? 1ull << VIRTIO_F_RING_PACKED : 0);
	ring.desc = ring.ram + DESC_AT;
	ring.driver = ring.ram + DRIVER_AT;
	ring.device = ring.ram + DEVICE_AT;
	if (!strcmp(argv[2], "unchecked"))
		dev->queues[0].ops = is_packed ? bench_unchecked_packed() : bench_unchecked_split();
	driver->prepare();
	count = strtoull(argv[5], NULL, 0);
	start = now_ns();
	if (!strcmp(argv[4], "1"))
		run_one_core(count);
	else
		run_two_cores(count);
	ns = (double)(now_ns() - start) / (double)count;
	if (dev->queues[0].broken || dev->queues[0].count.completed < count)
		die("the queue broke",
			&(struct err){ .msg = "its walk refused what the driver wrote" });
	printf("{\"requests\": %llu, \"ns\": %.2f, \"per_second\": %.0f}\n",
		(unsigned long long)count, ns, 1e9 / ns);
	/* Ends with the process: stopping is not what is measured. */
	return 0;
}
