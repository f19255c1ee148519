/* SPDX-License-Identifier: BSD-3-Clause */
/* An image with a known pattern, a disk on it, and requests that are waited for. After cmocka.h. */
#ifndef TESTS_UNIT_DISK_RIG_H
#define TESTS_UNIT_DISK_RIG_H

#include <fcntl.h>

#include "backends/disk.h"
#include "base/cleanup.h"
#include "tests/unit/skip.h"
#include "tests/unit/tmpdir.h"

#define IMAGE_BYTES (8u << 20)

static struct loop loop;

struct wait_req {
	struct disk_req req;
	bool finished;
	int result;
};

struct fixture {
	struct disk *disk;
	struct disk_chan *chan;
};

static void finished(struct disk_req *req, int result)
{
	struct wait_req *w = container_of(req, struct wait_req, req);

	assert_false(w->finished);
	w->finished = true;
	w->result = result;
}

static void submit(struct fixture *f, struct wait_req *w)
{
	w->finished = false;
	w->req.done = finished;
	disk_submit(f->chan, &w->req);
	assert_false(w->finished);
}

static int run(struct fixture *f, struct wait_req *w)
{
	submit(f, w);
	while (!w->finished)
		loop_run_once(&loop, -1);
	assert_int_equal(disk_chan_inflight(f->chan), 0);
	return w->result;
}

static int run_op(
	struct fixture *f, enum disk_op op, uint32_t flags, uint64_t offset, uint64_t bytes)
{
	struct wait_req w = {
		.req = { .op = op, .flags = flags, .offset_bytes = offset, .bytes = bytes }
	};

	return run(f, &w);
}

static int run_iov(struct fixture *f, enum disk_op op, uint64_t offset, const struct iovec *iov,
	unsigned int num_iov)
{
	struct wait_req w = {
		.req = { .op = op, .offset_bytes = offset, .iov = iov, .num_iov = num_iov }
	};
	unsigned int i;

	for (i = 0; i < num_iov; i++)
		w.req.bytes += iov[i].iov_len;
	return run(f, &w);
}

static int run_buf(struct fixture *f, enum disk_op op, uint64_t offset, void *buf, size_t len)
{
	struct iovec iov = { buf, len };

	return run_iov(f, op, offset, &iov, 1);
}

static uint8_t pattern(uint64_t at)
{
	return (uint8_t)(at * 2654435761u >> 13 ^ at >> 9);
}

static void fill(uint8_t *buf, size_t len, uint64_t seed)
{
	size_t i;

	for (i = 0; i < len; i++)
		buf[i] = pattern(seed + i);
}

static void assert_pattern(const uint8_t *buf, size_t len, uint64_t seed)
{
	size_t i;

	for (i = 0; i < len; i++)
		if (buf[i] != pattern(seed + i))
			fail_msg("byte %zu is %02x, expected %02x", i, buf[i], pattern(seed + i));
}

static void assert_file(uint64_t offset, size_t len, uint64_t seed)
{
	_cleanup_free_ uint8_t *buf = malloc(len);
	_cleanup_fd_ int fd = open(tmpdir_file("img"), O_RDONLY);

	assert_int_equal(pread(fd, buf, len, (off_t)offset), (ssize_t)len);
	assert_pattern(buf, len, seed);
}

static void make_image(void)
{
	_cleanup_free_ uint8_t *buf = malloc(IMAGE_BYTES);
	_cleanup_fd_ int fd = open(tmpdir_file("img"), O_RDWR | O_CREAT | O_TRUNC, 0600);

	fill(buf, IMAGE_BYTES, 0);
	assert_int_equal(write(fd, buf, IMAGE_BYTES), IMAGE_BYTES);
}

/* Skips the test where all but io_uring is there. */
static void need_uring(const struct disk_config *wanted)
{
	struct disk_config config = *wanted;
	struct err why = { 0 };
	struct disk *disk;

	if (disk_open(wanted, &disk, &why) == 0) {
		disk_free(disk);
		return;
	}
	config.aio = DISK_AIO_THREADS;
	if (disk_open(&config, &disk, NULL) < 0)
		return;
	disk_free(disk);
	skip_because("%s", why.msg);
}

static struct fixture open_with(const struct disk_config *wanted)
{
	struct disk_config config = *wanted;
	struct fixture f;
	struct err err = { 0 };

	make_image();
	config.filename = tmpdir_file("img");
	if (config.aio == DISK_AIO_URING)
		need_uring(&config);
	if (disk_open(&config, &f.disk, &err) < 0 ||
		disk_chan_open(f.disk, &loop, &f.chan, &err) < 0)
		fail_msg("%s", err.msg);
	return f;
}

static struct fixture open_for(void **state)
{
	struct disk_config config = DISK_CONFIG_INIT;

	config.aio = *(enum disk_aio *)*state;
	return open_with(&config);
}

static void end(struct fixture *f)
{
	disk_chan_close(f->chan);
	disk_free(f->disk);
}

#endif
