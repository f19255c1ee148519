/* SPDX-License-Identifier: BSD-3-Clause */
/* Entropy sources: the kernel's, files, pipes that run dry and come back. */
#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/mman.h>
#include <sys/stat.h>

#include <cmocka.h>

#include "backends/entropy.h"
#include "base/cleanup.h"
#include "tests/unit/tmpdir.h"

static struct loop loop;
static unsigned int num_ready;

static void count_ready(void *opaque)
{
	assert_ptr_equal(opaque, &loop);
	num_ready++;
}

static struct entropy *attached(const char *filename)
{
	struct entropy *e = NULL;
	struct err err = { 0 };

	if (entropy_open(filename, &e, &err) < 0)
		fail_msg("%s", err.msg);
	num_ready = 0;
	assert_int_equal(entropy_attach(e, &loop, count_ready, &loop, &err), 0);
	return e;
}

static void finish(struct entropy *e)
{
	entropy_detach(e);
	entropy_detach(e);
	entropy_free(e);
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

static void test_kernel(void **state)
{
	static uint8_t a[700], b[300], zero[700];
	struct iovec iov[] = { { NULL, 0 }, { a, sizeof(a) }, { NULL, 0 }, { b, sizeof(b) } };
	struct entropy *e = attached(NULL);

	(void)state;
	assert_int_equal(entropy_read(e, iov, 4), 1000);
	assert_memory_not_equal(a, zero, sizeof(a));
	assert_memory_not_equal(b, zero, sizeof(b));
	assert_int_equal(entropy_attach(e, &loop, count_ready, &loop, NULL), -EBUSY);
	finish(e);
}

static void test_bounds(void **state)
{
	size_t len = ENTROPY_READ_MAX_BYTES * 2;
	_cleanup_free_ uint8_t *buf = calloc(1, len);
	struct iovec two[] = { { buf, len / 2 - 1 }, { buf, len / 2 } };
	struct iovec empty[] = { { buf, 0 }, { NULL, 0 } };
	struct iovec one = { buf, len };
	struct entropy *e = attached(NULL);

	(void)state;
	assert_int_equal(entropy_read(e, &one, 1), ENTROPY_READ_MAX_BYTES);
	assert_int_equal(entropy_read(e, two, 2), ENTROPY_READ_MAX_BYTES);
	assert_int_equal(entropy_read(e, empty, 2), -EINVAL);
	assert_int_equal(entropy_read(e, NULL, 0), -EINVAL);
	finish(e);
}

static void test_vanished_buffer(void **state)
{
	static const char *const sources[] = { NULL, "/dev/urandom" };
	uint8_t *gone = mmap(NULL, 4096, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	uint8_t good[16];
	struct iovec bad = { gone, 16 };
	struct iovec mixed[] = { { good, 16 }, { gone, 16 } };
	size_t i;

	(void)state;
	for (i = 0; i < ARRAY_SIZE(sources); i++) {
		struct entropy *e = attached(sources[i]);

		assert_int_equal(entropy_read(e, &bad, 1), -EFAULT);
		assert_int_equal(entropy_read(e, mixed, 2), 16);
		finish(e);
	}
	munmap(gone, 4096);
}

static void test_file_ends(void **state)
{
	const char *path = tmpdir_file("seed");
	uint8_t buf[8];
	struct iovec iov = { buf, sizeof(buf) };
	struct entropy *e;
	FILE *f = fopen(path, "w");

	(void)state;
	fputs("0123456789", f);
	fclose(f);
	e = attached(path);
	assert_int_equal(entropy_read(e, &iov, 1), 8);
	assert_memory_equal(buf, "01234567", 8);
	assert_int_equal(entropy_read(e, &iov, 1), 2);
	assert_int_equal(entropy_read(e, &iov, 1), -ENODATA);
	assert_int_equal(num_ready, 0);
	finish(e);
}

static void run_until_ready(unsigned int wanted)
{
	while (num_ready < wanted)
		loop_run_once(&loop, -1);
}

static void test_pipe_runs_dry(void **state)
{
	const char *path = tmpdir_file("pipe");
	uint8_t buf[8];
	struct iovec iov = { buf, sizeof(buf) };
	struct entropy *e;
	int out;

	(void)state;
	assert_int_equal(mkfifo(path, 0600), 0);
	e = attached(path);
	/* Nobody writes at all: it stands at its end, and is tried again. */
	assert_int_equal(entropy_read(e, &iov, 1), -EAGAIN);
	run_until_ready(1);
	out = open(path, O_WRONLY);
	assert_int_equal(entropy_read(e, &iov, 1), -EAGAIN);
	assert_int_equal(entropy_read(e, &iov, 1), -EAGAIN);
	loop_run_once(&loop, 0);
	assert_int_equal(num_ready, 1);
	assert_int_equal(write(out, "abc", 3), 3);
	run_until_ready(2);
	assert_int_equal(entropy_read(e, &iov, 1), 3);
	/* Detached while it waits: not called any more. */
	assert_int_equal(entropy_read(e, &iov, 1), -EAGAIN);
	entropy_detach(e);
	assert_int_equal(write(out, "abc", 3), 3);
	loop_run_once(&loop, 0);
	assert_int_equal(num_ready, 2);
	close(out);
	finish(e);
}

static const struct {
	const char *filename;
	int code;
	const char *says;
} bad[] = {
	{ "/nonexistent/rng", -ENOENT, "/nonexistent/rng" },
	{ "/", -EINVAL, "is a folder" },
	{ "fd=77", -EBADF, "not open" },
	{ "", -EINVAL, "empty" },
};

static void test_bad_sources(void **state)
{
	size_t i;

	(void)state;
	for (i = 0; i < ARRAY_SIZE(bad); i++) {
		struct entropy *e = NULL;
		struct err err = { 0 };

		assert_int_equal(entropy_open(bad[i].filename, &e, &err), bad[i].code);
		assert_null(e);
		if (!strstr(err.msg, bad[i].says))
			fail_msg("'%s' said: %s", bad[i].filename, err.msg);
	}
	entropy_free(NULL);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_kernel),
		cmocka_unit_test(test_bounds),
		cmocka_unit_test(test_vanished_buffer),
		cmocka_unit_test(test_file_ends),
		cmocka_unit_test(test_pipe_runs_dry),
		cmocka_unit_test(test_bad_sources),
	};

	return cmocka_run_group_tests_name("entropy", tests, setup, teardown);
}
