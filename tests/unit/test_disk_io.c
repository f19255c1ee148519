/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Disk requests: one body of tests for io_uring, for the thread pool, and for what a channel does
 * by itself on a real file system and on one in memory.
 */
#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/mman.h>
#include <sys/stat.h>

#include <cmocka.h>

#include "base/cleanup.h"
#include "backends/disk_int.h"
#include "tests/unit/disk_rig.h"

static void test_round_trip(void **state)
{
	struct fixture f = open_for(state);
	static uint8_t a[5000], b[17], c[65536];
	struct iovec iov[] = { { a, sizeof(a) }, { NULL, 0 }, { b, sizeof(b) }, { c, sizeof(c) },
		{ NULL, 0 } };
	size_t total = sizeof(a) + sizeof(b) + sizeof(c);

	assert_int_equal(run_iov(&f, DISK_READ, 4097, iov, 5), 0);
	assert_pattern(a, sizeof(a), 4097);
	assert_pattern(b, sizeof(b), 4097 + sizeof(a));
	assert_pattern(c, sizeof(c), 4097 + sizeof(a) + sizeof(b));
	fill(a, sizeof(a), 77);
	fill(b, sizeof(b), 77 + sizeof(a));
	fill(c, sizeof(c), 77 + sizeof(a) + sizeof(b));
	assert_int_equal(run_iov(&f, DISK_WRITE, 511, iov, 5), 0);
	assert_file(511, total, 77);
	assert_file(0, 511, 0);
	assert_file(511 + total, 10000, 511 + total);
	assert_int_equal(run_op(&f, DISK_FLUSH, 0, 0, 0), 0);
	end(&f);
}

/* More entries than one system call takes, empty ones among them, and whole runs of empty ones. */
static void test_many_iovecs(void **state)
{
	struct fixture f = open_for(state);
	size_t num = 5000, total = 0, i;
	_cleanup_free_ uint8_t *buf = malloc(IMAGE_BYTES);
	_cleanup_free_ struct iovec *iov = calloc(num, sizeof(*iov));

	for (i = 0; i < num; i++) {
		size_t len = i >= 1000 && i < 3000 ? 0 : i % 7 * 100;

		iov[i] = (struct iovec){ buf + total, len };
		total += len;
	}
	assert_int_equal(run_iov(&f, DISK_READ, 3, iov, (unsigned int)num), 0);
	assert_pattern(buf, total, 3);
	fill(buf, total, 1234567);
	assert_int_equal(run_iov(&f, DISK_WRITE, 9, iov, (unsigned int)num), 0);
	assert_file(9, total, 1234567);
	end(&f);
}

static const struct {
	const char *what;
	enum disk_op op;
	uint64_t offset, bytes;
	size_t iov_len[3];
	int code;
} rows[] = {
	{ "nothing", DISK_READ, 0, 0, { 0 }, 0 },
	{ "nothing at the end", DISK_WRITE, IMAGE_BYTES, 0, { 0 }, 0 },
	{ "nothing past the end", DISK_READ, IMAGE_BYTES + 1, 0, { 0 }, -EINVAL },
	{ "the last byte", DISK_READ, IMAGE_BYTES - 1, 1, { 1 }, 0 },
	{ "one past the end", DISK_READ, IMAGE_BYTES - 1, 2, { 2 }, -EINVAL },
	{ "write past the end", DISK_WRITE, IMAGE_BYTES, 1, { 1 }, -EINVAL },
	{ "sum wraps", DISK_READ, UINT64_MAX - 3, 8, { 8 }, -EINVAL },
	{ "iovec too short", DISK_READ, 0, 8, { 7 }, -EINVAL },
	{ "iovec too long", DISK_WRITE, 0, 8, { 4, 5 }, -EINVAL },
	{ "iovec's sum wraps", DISK_READ, 0, 7, { SIZE_MAX, 8 }, -EINVAL },
	{ "no iovec", DISK_WRITE, 0, 8, { 0 }, -EINVAL },
	{ "discard past the end", DISK_DISCARD, IMAGE_BYTES, 512, { 0 }, -EINVAL },
	{ "zeroes that wrap", DISK_WRITE_ZEROES, 512, UINT64_MAX, { 0 }, -EINVAL },
	{ "no such operation", (enum disk_op)77, 0, 512, { 0 }, -EINVAL },
	{ "flush with nonsense", DISK_FLUSH, UINT64_MAX, UINT64_MAX, { 0 }, 0 },
};

static void test_bounds(void **state)
{
	struct fixture f = open_for(state);
	static uint8_t buf[16];
	size_t i, k;

	for (i = 0; i < ARRAY_SIZE(rows); i++) {
		struct iovec iov[3];
		struct wait_req w = { .req = { .op = rows[i].op,
					      .offset_bytes = rows[i].offset,
					      .bytes = rows[i].bytes,
					      .iov = iov,
					      .num_iov = 3 } };
		int r;

		for (k = 0; k < 3; k++)
			iov[k] = (struct iovec){ buf, rows[i].iov_len[k] };
		r = run(&f, &w);
		if (r != rows[i].code)
			fail_msg("%s: %d, expected %d", rows[i].what, r, rows[i].code);
	}
	assert_file(0, IMAGE_BYTES, 0);
	end(&f);
}

static void test_read_only(void **state)
{
	static const enum disk_op changes[] = { DISK_WRITE, DISK_DISCARD, DISK_WRITE_ZEROES };
	struct disk_config config = DISK_CONFIG_INIT;
	struct fixture f;
	uint8_t buf[512] = { 0 };
	size_t i;

	config.aio = *(enum disk_aio *)*state;
	config.read_only = true;
	f = open_with(&config);
	for (i = 0; i < ARRAY_SIZE(changes); i++)
		assert_int_equal(run_buf(&f, changes[i], 0, buf, sizeof(buf)), -EROFS);
	assert_int_equal(run_buf(&f, DISK_READ, 0, buf, sizeof(buf)), 0);
	assert_pattern(buf, sizeof(buf), 0);
	assert_int_equal(run_op(&f, DISK_FLUSH, 0, 0, 0), 0);
	assert_file(0, IMAGE_BYTES, 0);
	end(&f);
}

static void test_image_that_shrinks(void **state)
{
	struct fixture f = open_for(state);
	static uint8_t buf[8192];

	assert_int_equal(truncate(tmpdir_file("img"), 6000), 0);
	assert_int_equal(run_buf(&f, DISK_READ, 4096, buf, 8192), -EIO);
	assert_int_equal(run_buf(&f, DISK_READ, 8192, buf, 512), -EIO);
	assert_int_equal(run_buf(&f, DISK_READ, 0, buf, 6000), 0);
	assert_pattern(buf, 6000, 0);
	/* A write brings the place back. */
	fill(buf, 512, 5);
	assert_int_equal(run_buf(&f, DISK_WRITE, 8192, buf, 512), 0);
	assert_int_equal(run_buf(&f, DISK_READ, 8192, buf, 512), 0);
	assert_pattern(buf, 512, 5);
	end(&f);
}

/* A memory file that its owner cut short, as a guest's memory may be. */
static void test_vanished_buffer(void **state)
{
	struct fixture f = open_for(state);
	_cleanup_fd_ int fd = memfd_create("gone", MFD_CLOEXEC);
	uint8_t *map;

	assert_int_equal(ftruncate(fd, 65536), 0);
	map = mmap(NULL, 65536, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	assert_int_equal(ftruncate(fd, 4096), 0);
	assert_int_equal(run_buf(&f, DISK_READ, 0, map + 8192, 4096), -EFAULT);
	assert_int_equal(run_buf(&f, DISK_READ, 0, map, 65536), -EFAULT);
	assert_int_equal(run_buf(&f, DISK_WRITE, 0, map + 8192, 4096), -EFAULT);
	assert_int_equal(run_buf(&f, DISK_READ, 0, map, 4096), 0);
	assert_pattern(map, 4096, 0);
	munmap(map, 65536);
	end(&f);
}

#define DEPTH 1000

/* Far more than the ring holds. */
static void test_depth(void **state)
{
	struct fixture f = open_for(state);
	static struct wait_req reqs[DEPTH];
	static struct iovec iov[DEPTH];
	_cleanup_free_ uint8_t *buf = malloc((size_t)DEPTH * 4096);
	size_t i;

	for (i = 0; i < DEPTH; i++) {
		iov[i] = (struct iovec){ buf + i * 4096, 4096 };
		reqs[i].req = (struct disk_req){ .op = DISK_READ,
			.offset_bytes = i * 8000,
			.bytes = 4096,
			.iov = &iov[i],
			.num_iov = 1 };
		submit(&f, &reqs[i]);
	}
	assert_int_equal(disk_chan_inflight(f.chan), DEPTH);
	while (disk_chan_inflight(f.chan))
		loop_run_once(&loop, -1);
	for (i = 0; i < DEPTH; i++) {
		assert_true(reqs[i].finished);
		assert_int_equal(reqs[i].result, 0);
		assert_pattern(buf + i * 4096, 4096, i * 8000);
	}
	end(&f);
}

struct repeat {
	struct disk_req req;
	struct disk_chan *chan;
	unsigned int left;
	struct iovec iov;
	uint8_t buf[512];
};

static void again(struct disk_req *req, int result)
{
	struct repeat *r = container_of(req, struct repeat, req);

	assert_int_equal(result, 0);
	if (r->left--)
		disk_submit(r->chan, req);
}

static void test_submit_from_done(void **state)
{
	struct fixture f = open_for(state);
	struct repeat r = { .chan = f.chan, .left = 500 };

	r.iov = (struct iovec){ r.buf, sizeof(r.buf) };
	r.req = (struct disk_req){
		.op = DISK_READ, .bytes = 512, .iov = &r.iov, .num_iov = 1, .done = again
	};
	disk_submit(f.chan, &r.req);
	while (disk_chan_inflight(f.chan))
		loop_run_once(&loop, -1);
	assert_int_equal(r.left, UINT32_MAX);
	end(&f);
}

static void assert_zero(struct fixture *f, uint64_t offset, size_t len)
{
	_cleanup_free_ uint8_t *buf = malloc(len);
	size_t i;

	memset(buf, 0xff, len);
	assert_int_equal(run_buf(f, DISK_READ, offset, buf, len), 0);
	for (i = 0; i < len; i++)
		if (buf[i])
			fail_msg("byte %zu is not zero", i);
}

static void test_zeroes_and_discard(void **state)
{
	static const uint32_t flags[] = { 0, DISK_UNMAP, DISK_FUA, DISK_UNMAP | DISK_FUA };
	struct fixture f = open_for(state);
	size_t i;

	for (i = 0; i < ARRAY_SIZE(flags); i++) {
		uint64_t at = (i + 1) * 1000000;

		assert_int_equal(run_op(&f, DISK_WRITE_ZEROES, flags[i], at, 300001), 0);
		assert_zero(&f, at, 300001);
		assert_file(at - 512, 512, at - 512);
		assert_file(at + 300001, 512, at + 300001);
	}
	assert_int_equal(run_op(&f, DISK_DISCARD, 0, 65536, 65536), 0);
	assert_file(0, 65536, 0);
	assert_file(131072, 512, 131072);
	end(&f);
}

static void test_stable_writes(void **state)
{
	struct disk_config config = DISK_CONFIG_INIT;
	struct fixture f;
	static uint8_t buf[4096];
	struct iovec iov = { buf, sizeof(buf) };
	struct wait_req w = { .req = { .op = DISK_WRITE,
				      .flags = DISK_FUA,
				      .bytes = sizeof(buf),
				      .iov = &iov,
				      .num_iov = 1 } };

	config.aio = *(enum disk_aio *)*state;
	config.writeback = false;
	f = open_with(&config);
	fill(buf, sizeof(buf), 42);
	assert_int_equal(run(&f, &w), 0);
	assert_int_equal(run_buf(&f, DISK_WRITE, 4096, buf, sizeof(buf)), 0);
	assert_file(0, 4096, 42);
	assert_file(4096, 4096, 42);
	end(&f);
}

static void test_polling(void **state)
{
	struct fixture f = open_for(state);
	struct repeat r = { .chan = f.chan, .left = 50 };

	r.iov = (struct iovec){ r.buf, sizeof(r.buf) };
	r.req = (struct disk_req){
		.op = DISK_READ, .bytes = 512, .iov = &r.iov, .num_iov = 1, .done = again
	};
	assert_int_equal(disk_chan_poll(f.chan), 0);
	disk_submit(f.chan, &r.req);
	while (disk_chan_inflight(f.chan))
		if (!disk_chan_poll(f.chan) && f.disk->aio == DISK_AIO_THREADS)
			loop_run_once(&loop, -1);
	assert_int_equal(disk_chan_poll(f.chan), 0);
	end(&f);
}

/* Skips what this machine's kernel or file system does not have. */
static void need(const struct disk_config *wanted)
{
	struct disk_config config = *wanted;
	struct disk *disk;
	struct err err = { 0 };

	make_image();
	config.filename = tmpdir_file("img");
	if (disk_open(&config, &disk, &err) < 0) {
		skip_because("%s", err.msg);
	}
	disk_free(disk);
}

static struct fixture open_direct(void **state)
{
	struct disk_config config = DISK_CONFIG_INIT;

	config.aio = *(enum disk_aio *)*state;
	config.direct = true;
	need(&config);
	return open_with(&config);
}

static void test_direct(void **state)
{
	struct fixture f = open_direct(state);
	uint32_t block = f.disk->block_bytes;
	size_t len = 300 * (size_t)block;
	void *base = NULL;
	uint8_t *buf;

	assert_int_equal(posix_memalign(&base, 65536, len + 4096), 0);
	buf = base;
	assert_int_equal(run_buf(&f, DISK_READ, block, buf, len), 0);
	assert_pattern(buf, len, block);
	/* Buffers anywhere. */
	assert_int_equal(run_buf(&f, DISK_READ, 3 * block, buf + 1, len), 0);
	assert_pattern(buf + 1, len, 3 * block);
	fill(buf + 3, len, 99);
	assert_int_equal(run_buf(&f, DISK_WRITE, 5 * block, buf + 3, len), 0);
	assert_file(5 * block, len, 99);
	assert_file(0, 5 * block, 0);
	/* Ranges only in whole blocks. */
	assert_int_equal(run_buf(&f, DISK_READ, 1, buf, block), -EINVAL);
	assert_int_equal(run_buf(&f, DISK_WRITE, 0, buf, block - 1), -EINVAL);
	assert_int_equal(run_op(&f, DISK_WRITE_ZEROES, 0, 0, 16 * block), 0);
	assert_zero(&f, 0, 16 * (size_t)block);
	free(base);
	end(&f);
}

static void test_direct_odd_pieces(void **state)
{
	struct fixture f = open_direct(state);
	uint32_t block = f.disk->block_bytes;
	struct iovec iov[3000];
	size_t total = 0, i;
	void *base = NULL;

	assert_int_equal(posix_memalign(&base, 65536, 3000 * 200 + block), 0);
	for (i = 0; i < 2999; i++) {
		iov[i] = (struct iovec){ (uint8_t *)base + total, i % 200 };
		total += i % 200;
	}
	iov[2999] = (struct iovec){ (uint8_t *)base + total, block - total % block };
	total += block - total % block;
	assert_int_equal(run_iov(&f, DISK_READ, 0, iov, 3000), 0);
	assert_pattern(base, total, 0);
	fill(base, total, 4321);
	assert_int_equal(run_iov(&f, DISK_WRITE, 2 * block, iov, 3000), 0);
	assert_file(2 * block, total, 4321);
	/* A copy that faults. */
	iov[0] = (struct iovec){ (void *)4096, block };
	assert_int_equal(run_iov(&f, DISK_WRITE, 0, iov, 1), -EFAULT);
	iov[0] = (struct iovec){ (void *)4097, block };
	assert_int_equal(run_iov(&f, DISK_WRITE, 0, iov, 1), -EFAULT);
	assert_int_equal(run_iov(&f, DISK_READ, 0, iov, 1), -EFAULT);
	free(base);
	end(&f);
}

static void test_null_disk(void **state)
{
	struct disk_config config = DISK_CONFIG_INIT;
	struct fixture f;
	static uint8_t a[5000], b[3000];
	struct iovec iov[] = { { a, sizeof(a) }, { b, sizeof(b) } };
	unsigned int pass;

	(void)state;
	config.kind = DISK_NULL;
	config.size_bytes = 1 << 20;
	for (pass = 0; pass < 2; pass++) {
		config.skip_zeroes = pass;
		assert_int_equal(disk_open(&config, &f.disk, NULL), 0);
		assert_int_equal(disk_chan_open(f.disk, &loop, &f.chan, NULL), 0);
		memset(a, 0xee, sizeof(a));
		memset(b, 0xee, sizeof(b));
		assert_int_equal(run_iov(&f, DISK_READ, 100, iov, 2), 0);
		assert_int_equal(a[0] | a[4999] | b[0] | b[2999], pass ? 0xee : 0);
		assert_int_equal(run_iov(&f, DISK_WRITE, 0, iov, 2), 0);
		assert_int_equal(run_op(&f, DISK_FLUSH, 0, 0, 0), 0);
		assert_int_equal(run_op(&f, DISK_DISCARD, 0, 0, 4096), 0);
		assert_int_equal(run_op(&f, DISK_READ, 0, 1 << 20, 512), -EINVAL);
		iov[1].iov_base = (void *)4096;
		assert_int_equal(run_iov(&f, DISK_READ, 0, iov, 2), pass ? 0 : -EFAULT);
		iov[1].iov_base = b;
		end(&f);
	}
}

/* The image becomes a file in memory, under the same name. */
static int memory_setup(void **state)
{
	char target[64];
	int fd = memfd_create("img", MFD_CLOEXEC);

	(void)state;
	snprintf(target, sizeof(target), "/proc/self/fd/%d", fd);
	unlink(tmpdir_file("img"));
	return fd < 0 || symlink(target, tmpdir_file("img"));
}

static int memory_teardown(void **state)
{
	int fd = open(tmpdir_file("img"), O_RDONLY | O_CLOEXEC);
	char target[64] = "";

	(void)state;
	close(fd);
	if (readlink(tmpdir_file("img"), target, sizeof(target) - 1) > 14)
		close(atoi(target + 14));
	return unlink(tmpdir_file("img"));
}

/*
 * Who asks for an engine gets it; with auto an image in memory, and what the page cache has, needs
 * none: the request is done by the round after it was submitted, with nothing to wait for.
 */
static const struct {
	const char *what;
	bool in_memory;
	enum disk_aio aio;
	enum disk_op op;
	size_t bytes;
	bool at_once;
} at_once_rows[] = {
	{ "read in memory", true, DISK_AIO_AUTO, DISK_READ, 4096, true },
	{ "write in memory", true, DISK_AIO_AUTO, DISK_WRITE, 4096, true },
	{ "flush in memory", true, DISK_AIO_AUTO, DISK_FLUSH, 0, true },
	{ "read too long for the loop", true, DISK_AIO_AUTO, DISK_READ, 1 << 20, false },
	{ "discard in memory", true, DISK_AIO_AUTO, DISK_DISCARD, 4096, false },
	{ "cached read", false, DISK_AIO_AUTO, DISK_READ, 4096, true },
	{ "write that may wait", false, DISK_AIO_AUTO, DISK_WRITE, 4096, false },
	{ "threads asked for", true, DISK_AIO_THREADS, DISK_READ, 4096, false },
};

/* Does the folder's file system know of reads that do not wait, and of waiting? */
static bool is_ordinary(struct fixture *f)
{
	char byte;
	struct iovec iov = { &byte, 1 };

	return !f->disk->in_memory && preadv2(f->disk->fd, &iov, 1, 0, RWF_NOWAIT) == 1;
}

static void test_at_once(void **state)
{
	static uint8_t buf[1 << 20];
	size_t i;

	for (i = 0; i < ARRAY_SIZE(at_once_rows); i++) {
		struct disk_config config = DISK_CONFIG_INIT;
		struct iovec iov = { buf, at_once_rows[i].bytes };
		struct wait_req w = { .req = { .op = at_once_rows[i].op,
					      .bytes = at_once_rows[i].bytes,
					      .iov = &iov,
					      .num_iov = 1 } };
		struct fixture f;

		if (at_once_rows[i].in_memory)
			memory_setup(state);
		config.aio = at_once_rows[i].aio;
		f = open_with(&config);
		if (!at_once_rows[i].in_memory && !is_ordinary(&f)) {
			end(&f);
			continue;
		}
		submit(&f, &w);
		/* No engine has a part in this. */
		if (f.chan->in.mode)
			disk_inline_round(f.chan);
		if (w.finished != at_once_rows[i].at_once)
			fail_msg("%s", at_once_rows[i].what);
		while (!w.finished)
			loop_run_once(&loop, -1);
		assert_int_equal(w.result, 0);
		end(&f);
		if (at_once_rows[i].in_memory)
			memory_teardown(state);
	}
}

static int setup(void **state)
{
	return tmpdir_setup(state) || loop_init(&loop, "test", NULL);
}

static int teardown(void **state)
{
	loop_deinit(&loop);
	return tmpdir_teardown(state);
}

static enum disk_aio uring_aio = DISK_AIO_URING, threads_aio = DISK_AIO_THREADS,
		     auto_aio = DISK_AIO_AUTO;

#define ALL(name)                                                                      \
	{ "uring_" #name, test_##name, NULL, NULL, &uring_aio },                       \
		{ "threads_" #name, test_##name, NULL, NULL, &threads_aio },           \
		{ "auto_" #name, test_##name, NULL, NULL, &auto_aio },                 \
	{                                                                              \
		"memory_" #name, test_##name, memory_setup, memory_teardown, &auto_aio \
	}

int main(void)
{
	const struct CMUnitTest tests[] = {
		ALL(round_trip),
		ALL(many_iovecs),
		ALL(bounds),
		ALL(read_only),
		ALL(image_that_shrinks),
		ALL(vanished_buffer),
		ALL(depth),
		ALL(submit_from_done),
		ALL(zeroes_and_discard),
		ALL(stable_writes),
		ALL(polling),
		ALL(direct),
		ALL(direct_odd_pieces),
		cmocka_unit_test(test_at_once),
		cmocka_unit_test(test_null_disk),
	};

	return cmocka_run_group_tests_name("disk_io", tests, setup, teardown);
}
