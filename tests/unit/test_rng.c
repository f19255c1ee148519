/* SPDX-License-Identifier: BSD-3-Clause */
/* virtio-rng through a ring: sources that run dry and end, and buffers of every shape. */
#include "dev_fixture.h"

#include <fcntl.h>
#include <sys/stat.h>

#include "backends/entropy.h"
#include "devices/rng.h"
#include "tmpdir.h"

static void start_rng(struct fix *f, const char *filename)
{
	static char options[256];

	fix_class = &virtio_rng_class;
	fix_options = NULL;
	if (filename) {
		snprintf(options, sizeof(options), "{\"filename\":\"%s\"}", filename);
		fix_options = options;
	}
	fix_init(f, 64, 0);
}

static void test_buffers(void **state)
{
	const struct cuts cuts = { { 0 }, { 1, 1, 2, 3, 1, 1, 1 } };
	uint8_t bytes[200];
	struct fix f;
	size_t i;
	FILE *file = fopen(tmpdir_file("bytes"), "w");

	(void)state;
	for (i = 0; i < sizeof(bytes); i++)
		bytes[i] = (uint8_t)(i + 1);
	assert_int_equal(fwrite(bytes, 1, sizeof(bytes), file), sizeof(bytes));
	fclose(file);
	start_rng(&f, tmpdir_file("bytes"));
	/* Nothing to fill, and bytes to read that a source has no use for. */
	assert_int_equal(request(&f, 0, 0, NULL), 0);
	assert_int_equal(request(&f, 16, 0, NULL), 0);
	assert_int_equal(request(&f, 16, 50, &cuts), 50);
	assert_memory_equal(ram(&f, OUT_AT), bytes, 50);
	assert_int_equal(request(&f, 0, 1, NULL), 1);
	assert_int_equal(*(uint8_t *)ram(&f, OUT_AT), 51);
	/* The last bytes, then the end for good: answered empty, untouched. */
	assert_int_equal(request(&f, 0, 1000, NULL), 149);
	assert_memory_equal(ram(&f, OUT_AT), bytes + 51, 149);
	assert_int_equal(*(uint8_t *)ram(&f, OUT_AT + 149), UNTOUCHED);
	for (i = 0; i < 20; i++)
		assert_int_equal(request(&f, 0, 100, NULL), 0);
	fix_deinit(&f);
}

static void test_many_segments(void **state)
{
	struct descs d = { 0 };
	struct fix f;
	unsigned int i, n = 0;

	(void)state;
	start_rng(&f, NULL);
	d.f = &f;
	for (i = 0; i < 64; i++)
		add_desc(&d, OUT_AT + i * 2, i % 3 ? 1 : 0, WRITE);
	memset(ram(&f, OUT_AT), 0, 256);
	offer(&f, 0);
	kick_only(&f);
	wait_used(&f, 1);
	assert_int_equal(le32_get(used(&f)->ring[0].len), 42);
	for (i = 0; i < 64; i++)
		n += *(uint8_t *)ram(&f, OUT_AT + i * 2) != 0;
	/* 42 random bytes: all but a few are not zero. */
	assert_true(n > 30 && n <= 42);
	for (i = 0; i < 64; i++)
		assert_int_equal(*(uint8_t *)ram(&f, OUT_AT + i * 2 + 1), 0);
	fix_deinit(&f);
}

static void test_big_request(void **state)
{
	struct fix f;
	uint32_t len;

	(void)state;
	start_rng(&f, "/dev/urandom");
	/* firecracker #5762: what one request costs us is bounded. */
	len = request(&f, 0, 0x100000, NULL);
	assert_true(len >= 1 && len <= ENTROPY_READ_MAX_BYTES);
	fix_deinit(&f);
}

static void test_dry_source(void **state)
{
	struct fix f;
	const char *path = tmpdir_file("fifo");
	int fd;

	(void)state;
	assert_int_equal(mkfifo(path, 0600), 0);
	fd = open(path, O_RDWR | O_NONBLOCK | O_CLOEXEC);
	start_rng(&f, path);
	offer_request(&f, 0, 8, NULL);
	kick(&f);
	assert_int_equal(used_idx(&f), 0);
	assert_int_equal(write(fd, "abc", 3), 3);
	wait_used(&f, 1);
	assert_int_equal(le32_get(used(&f)->ring[0].len), 3);
	assert_memory_equal(ram(&f, OUT_AT), "abc", 3);
	/* Stopped while it waits: nothing is in flight, and the place is kept. */
	offer_request(&f, 0, 8, NULL);
	kick(&f);
	vdev_hold(f.dev);
	pump(&f);
	assert_true(vdev_is_idle(f.dev));
	assert_int_equal(f.vq->cfg.next_avail, 1);
	assert_int_equal(write(fd, "defg", 4), 4);
	pump(&f);
	assert_int_equal(used_idx(&f), 1);
	vdev_release(f.dev);
	wait_used(&f, 2);
	assert_memory_equal(ram(&f, OUT_AT), "defg", 4);
	close(fd);
	fix_deinit(&f);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_buffers),
		cmocka_unit_test(test_many_segments),
		cmocka_unit_test(test_big_request),
		cmocka_unit_test(test_dry_source),
	};

	log_set_level((enum log_level) - 1);
	return cmocka_run_group_tests(tests, tmpdir_setup, tmpdir_teardown);
}
