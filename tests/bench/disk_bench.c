/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * disk_bench IMAGE ENGINE RW DEPTH COUNT: requests of 4 KiB at random places through a channel of
 * backends/disk, or (ENGINE `bare`) by a plain loop over pread() and pwrite() in the same pattern.
 * IMAGE `null` is the disk without storage. Prints one JSON object: seconds, processor time of
 * the whole process, and what one request took of each.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "backends/disk.h"

#define BLOCK_BYTES 4096
#define DEPTH_MAX   1024

static const char *const aio_names[] = { "auto", "io_uring", "threads" };

static struct loop loop;
static struct disk *disk;
static struct disk_chan *chan;
static uint64_t num_blocks, num_left, num_out, seed = 88172645463325252ull;
static uint8_t *buffers;
static unsigned int num_buffers; /* as many as there are requests at a time */
static bool is_write;

struct slot {
	struct disk_req req;
	struct iovec iov;
};

static uint64_t next_random(void)
{
	seed ^= seed << 13;
	seed ^= seed >> 7;
	seed ^= seed << 17;
	return seed;
}

static uint8_t *next_buffer(void)
{
	static unsigned int at;

	return buffers + (size_t)(at++ % num_buffers) * BLOCK_BYTES;
}

static void start(struct slot *s)
{
	s->iov.iov_base = next_buffer();
	s->req.offset_bytes = next_random() % num_blocks * BLOCK_BYTES;
	num_left--;
	num_out++;
	disk_submit(chan, &s->req);
}

static void on_done(struct disk_req *req, int result)
{
	if (result < 0) {
		fprintf(stderr, "disk_bench: a request failed: %s\n", strerror(-result));
		exit(1);
	}
	num_out--;
	if (num_left)
		start(container_of(req, struct slot, req));
}

static void run_channel(unsigned int depth)
{
	static struct slot slots[DEPTH_MAX];
	unsigned int i;

	for (i = 0; i < depth; i++) {
		slots[i].iov.iov_len = BLOCK_BYTES;
		slots[i].req = (struct disk_req){ .op = is_write ? DISK_WRITE : DISK_READ,
			.bytes = BLOCK_BYTES,
			.iov = &slots[i].iov,
			.num_iov = 1,
			.done = on_done };
	}
	for (i = 0; i < depth && num_left; i++)
		start(&slots[i]);
	while (num_out)
		loop_run_once(&loop, -1);
}

static void run_bare(int fd)
{
	while (num_left--) {
		off_t at = (off_t)(next_random() % num_blocks * BLOCK_BYTES);
		ssize_t n = is_write ? pwrite(fd, next_buffer(), BLOCK_BYTES, at)
				     : pread(fd, next_buffer(), BLOCK_BYTES, at);

		if (n != BLOCK_BYTES) {
			fprintf(stderr, "disk_bench: a request failed: %s\n", strerror(errno));
			exit(1);
		}
	}
}

static uint64_t clock_ns(clockid_t clock)
{
	struct timespec ts;

	clock_gettime(clock, &ts);
	return (uint64_t)ts.tv_sec * NSEC_PER_SEC + (uint64_t)ts.tv_nsec;
}

static void open_channel(const char *image, const char *engine)
{
	struct disk_config config = DISK_CONFIG_INIT;
	struct err err = { 0 };
	size_t i;

	config.filename = image;
	if (!strcmp(image, "null")) {
		config.kind = DISK_NULL;
		config.size_bytes = 1 << 30;
	}
	for (i = 0; i < ARRAY_SIZE(aio_names); i++)
		if (!strcmp(engine, aio_names[i]))
			config.aio = (enum disk_aio)i;
	if (loop_init(&loop, "bench", &err) < 0 || disk_open(&config, &disk, &err) < 0 ||
		disk_chan_open(disk, &loop, &chan, &err) < 0) {
		fprintf(stderr, "disk_bench: %s\n", err.msg);
		exit(1);
	}
	num_blocks = disk->size_bytes / BLOCK_BYTES;
}

static int open_bare(const char *image)
{
	int fd = open(image, O_RDWR | O_CLOEXEC);
	struct stat st;

	if (fd < 0 || fstat(fd, &st) < 0) {
		fprintf(stderr, "disk_bench: %s: %s\n", image, strerror(errno));
		exit(1);
	}
	num_blocks = (uint64_t)st.st_size / BLOCK_BYTES;
	return fd;
}

int main(int argc, char **argv)
{
	uint64_t wall, cpu, count;
	unsigned int depth;
	bool bare;
	int fd = -1;

	if (argc != 6) {
		fprintf(stderr, "usage: disk_bench IMAGE|null auto|io_uring|threads|bare "
				"read|write DEPTH COUNT\n");
		return 2;
	}
	bare = !strcmp(argv[2], "bare");
	is_write = !strcmp(argv[3], "write");
	depth = (unsigned int)MIN(strtoul(argv[4], NULL, 0), (unsigned long)DEPTH_MAX);
	num_buffers = MAX(depth, 1u);
	count = num_left = strtoull(argv[5], NULL, 0);
	/* As a guest's memory is: a shared memory file. */
	fd = memfd_create("buffers", MFD_CLOEXEC);
	if (fd < 0 || ftruncate(fd, num_buffers * BLOCK_BYTES) < 0)
		return 1;
	buffers = mmap(NULL, num_buffers * BLOCK_BYTES, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	if (buffers == MAP_FAILED)
		return 1;
	memset(buffers, 1, num_buffers * BLOCK_BYTES);
	if (bare)
		fd = open_bare(argv[1]);
	else
		open_channel(argv[1], argv[2]);
	wall = clock_ns(CLOCK_MONOTONIC);
	cpu = clock_ns(CLOCK_PROCESS_CPUTIME_ID);
	if (bare)
		run_bare(fd);
	else
		run_channel(depth);
	cpu = clock_ns(CLOCK_PROCESS_CPUTIME_ID) - cpu;
	wall = clock_ns(CLOCK_MONOTONIC) - wall;
	printf("{\"requests\": %llu, \"seconds\": %.6f, \"cpu_seconds\": %.6f, "
	       "\"ns\": %.0f, \"cpu_ns\": %.0f}\n",
		(unsigned long long)count, (double)wall / NSEC_PER_SEC, (double)cpu / NSEC_PER_SEC,
		(double)wall / (double)count, (double)cpu / (double)count);
	if (!bare) {
		disk_chan_close(chan);
		disk_free(disk);
		loop_deinit(&loop);
	}
	return 0;
}
