/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Guest memory tables: what is refused, and every look-up at the borders of regions.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include <cmocka.h>

#include "mem/gmem.h"

#define FILE_BYTES 0x10000ull
#define PAGE	   0x1000ull

static int ram_fd(uint64_t bytes)
{
	int fd = memfd_create("ram", MFD_CLOEXEC);

	assert_true(fd >= 0);
	assert_int_equal(ftruncate(fd, (off_t)bytes), 0);
	return fd;
}

/* One region against a file of FILE_BYTES. */
static const struct {
	const char *name;
	struct gmem_region_desc desc;
	int r;
	const char *says;
} regions[] = {
	{ "whole file", { 0, FILE_BYTES, 0x1000, 0 }, 0, NULL },
	{ "one byte", { 5, 1, 5, 0 }, 0, NULL },
	{ "odd size", { 0, 0x1235, 0, 0 }, 0, NULL },
	{ "odd offset", { 0, 0x1000, 0, 0x123 }, 0, NULL },
	{ "odd offset up to the end", { 0, FILE_BYTES - 0x1001, 0, 0x1001 }, 0, NULL },
	{ "last byte of the file", { 0, 1, 0, FILE_BYTES - 1 }, 0, NULL },
	{ "top of the address space", { UINT64_MAX - PAGE, PAGE, UINT64_MAX - PAGE, 0 }, 0, NULL },
	/* CVE-2026-86561 */
	{ "size 0", { 0x1000, 0, 0, 0 }, -EINVAL, "0x1000 has size 0" },
	{ "file one byte short", { 0, FILE_BYTES + 1, 0, 0 }, -EINVAL,
		"needs bytes up to 0x10001" },
	{ "offset makes it short", { 0, FILE_BYTES, 0, 1 }, -EINVAL, "of a file of 0x10000" },
	{ "offset at the end", { 0, 1, 0, FILE_BYTES }, -EINVAL, "of a file of 0x10000" },
	{ "largest size", { 0, UINT64_MAX, 0, 0 }, -EINVAL, "wraps" },
	{ "gpa wraps", { UINT64_MAX - 0xfff, PAGE + 1, 0, 0 }, -EINVAL, "wraps" },
	{ "user address wraps", { 0, PAGE, UINT64_MAX - 1, 0 }, -EINVAL, "wraps" },
	{ "offset and size wrap", { 0, PAGE, 0, UINT64_MAX - 0xfff }, -EINVAL, "wraps" },
	{ "offset is negative", { 0, PAGE, 0, 1ull << 63 }, -EINVAL, "wraps" },
	{ "size is 2^63", { 0, 1ull << 63, 0, 0 }, -EINVAL, "" },
};

static void test_regions(void **state)
{
	size_t i;
	int fd = ram_fd(FILE_BYTES);

	(void)state;
	for (i = 0; i < ARRAY_SIZE(regions); i++) {
		struct gmem_region *region = NULL;
		struct err err = { 0 };
		int r = gmem_region_new(&regions[i].desc, fd, &region, &err);
		uint8_t byte = (uint8_t)(i + 1), got = 0;

		if (r != regions[i].r)
			fail_msg("%s: %d, %s", regions[i].name, r, err.msg);
		if (r < 0) {
			if (!strstr(err.msg, regions[i].says))
				fail_msg("%s: '%s'", regions[i].name, err.msg);
			continue;
		}
		/* Its first and last byte are the file's, at the offset given. */
		region->host[0] = byte;
		assert_int_equal(pread(fd, &got, 1, (off_t)regions[i].desc.fd_offset), 1);
		assert_int_equal(got, byte);
		region->host[regions[i].desc.size - 1] = (uint8_t)~byte;
		assert_int_equal(
			pread(fd, &got, 1,
				(off_t)(regions[i].desc.fd_offset + regions[i].desc.size - 1)),
			1);
		assert_int_equal(got, (uint8_t)~byte);
		gmem_region_unref(region);
	}
	close(fd);
}

static void test_bad_descriptors(void **state)
{
	const struct gmem_region_desc desc = { 0, PAGE, 0, 0 };
	int fds[3] = { -1, open("/dev/null", O_RDWR | O_CLOEXEC), 0 }, pipe_fds[2];
	struct gmem_region *region;
	struct err err = { 0 };
	size_t i;

	(void)state;
	assert_int_equal(pipe(pipe_fds), 0);
	fds[2] = pipe_fds[0];
	for (i = 0; i < 3; i++)
		assert_true(gmem_region_new(&desc, fds[i], &region, &err) < 0);
	close(fds[1]);
	close(pipe_fds[0]);
	close(pipe_fds[1]);
	gmem_region_unref(NULL);
	gmem_unref(NULL);
}

/* Pairs of regions of PAGE bytes each. */
static const struct {
	uint64_t gpa[2], user[2];
	int r;
} pairs[] = {
	{ { 0, PAGE }, { 0, PAGE }, 0 },
	{ { PAGE, 0 }, { PAGE, 0 }, 0 },
	{ { PAGE, 0 }, { 0x100000, 0x900000 }, 0 },
	{ { 0, PAGE - 1 }, { 0, 0x100000 }, -EINVAL },
	{ { PAGE - 1, 0 }, { 0, 0x100000 }, -EINVAL },
	{ { 0, 0 }, { 0, 0x100000 }, -EINVAL },
	{ { 0, 0x100000 }, { 0, PAGE - 1 }, -EINVAL },
	{ { 0, 0x100000 }, { PAGE - 1, 0 }, -EINVAL },
	{ { UINT64_MAX - PAGE, 0 }, { UINT64_MAX - PAGE, 0 }, 0 },
};

static void test_overlaps(void **state)
{
	int fd = ram_fd(FILE_BYTES);
	size_t i, k;

	(void)state;
	for (i = 0; i < ARRAY_SIZE(pairs); i++) {
		struct gmem_region *r[2];
		struct gmem *mem = NULL;
		struct err err = { 0 };

		for (k = 0; k < 2; k++) {
			struct gmem_region_desc desc = { pairs[i].gpa[k], PAGE, pairs[i].user[k],
				k * PAGE };

			assert_int_equal(gmem_region_new(&desc, fd, &r[k], &err), 0);
		}
		assert_int_equal(gmem_new(r, 2, &mem, &err), pairs[i].r);
		if (pairs[i].r < 0)
			assert_non_null(strstr(err.msg, "overlap"));
		else
			assert_true(mem->regions[0]->desc.gpa < mem->regions[1]->desc.gpa);
		gmem_unref(mem);
		gmem_region_unref(r[0]);
		gmem_region_unref(r[1]);
	}
	close(fd);
}

static void test_number_of_regions(void **state)
{
	static struct gmem_region *r[GMEM_REGIONS_MAX + 1];
	int fd = ram_fd(PAGE);
	struct err err = { 0 };
	struct gmem *mem;
	unsigned int i;

	(void)state;
	/* Every second page, from the top down: each look-up has to find its own. */
	for (i = 0; i <= GMEM_REGIONS_MAX; i++) {
		struct gmem_region_desc desc = { (GMEM_REGIONS_MAX - i) * 2 * PAGE, PAGE, i * PAGE,
			0 };

		assert_int_equal(gmem_region_new(&desc, fd, &r[i], &err), 0);
	}
	assert_int_equal(gmem_new(r, GMEM_REGIONS_MAX + 1, &mem, &err), -E2BIG);
	assert_non_null(strstr(err.msg, "513 memory regions, at most 512"));
	assert_int_equal(gmem_new(r, GMEM_REGIONS_MAX, &mem, &err), 0);
	for (i = 0; i <= GMEM_REGIONS_MAX; i++) {
		uint64_t gpa = (GMEM_REGIONS_MAX - i) * 2 * PAGE;

		assert_ptr_equal(gmem_find(mem, gpa), i < GMEM_REGIONS_MAX ? r[i] : NULL);
		assert_ptr_equal(
			gmem_find(mem, gpa + PAGE - 1), i < GMEM_REGIONS_MAX ? r[i] : NULL);
		assert_null(gmem_find(mem, gpa + PAGE));
		gmem_region_unref(r[i]);
	}
	/* The snapshot has its own references. */
	*(uint8_t *)gmem_ptr(mem, 2 * PAGE, 1) = 7;
	gmem_unref(mem);
	assert_int_equal(gmem_new(NULL, 0, &mem, &err), 0);
	assert_null(gmem_find(mem, 0));
	assert_false(gmem_covers(mem, 0, 1));
	assert_true(gmem_covers(mem, 0, 0));
	gmem_unref(mem);
	close(fd);
}

/* Three regions: [0x1000, 0x2000) and [0x2000, 0x3000) touch, then a hole, [0x8000, 0x9000). */
static struct gmem *table(int fd)
{
	static const struct gmem_region_desc desc[3] = { { 0x1000, PAGE, 0xa000, 0 },
		{ 0x2000, PAGE, 0xd000, PAGE }, { 0x8000, PAGE, 0xb000, 2 * PAGE } };
	struct gmem_region *r[3];
	struct err err = { 0 };
	struct gmem *mem;
	int i;

	for (i = 0; i < 3; i++)
		assert_int_equal(gmem_region_new(&desc[i], fd, &r[i], &err), 0);
	assert_int_equal(gmem_new(r, 3, &mem, &err), 0);
	for (i = 0; i < 3; i++)
		gmem_region_unref(r[i]);
	return mem;
}

/* What each look-up says of a range: pieces of gmem_iov, -1 where it has a byte outside. */
static const struct {
	uint64_t gpa, len;
	int pieces;
	bool ptr;
} ranges[] = {
	{ 0x1000, 1, 1, true },
	{ 0x0fff, 1, -1, false },
	{ 0x0fff, 2, -1, false },
	{ 0x1fff, 1, 1, true },
	{ 0x1fff, 2, 2, false },
	{ 0x1000, 0x1000, 1, true },
	{ 0x1000, 0x1001, 2, false },
	{ 0x1000, 0x2000, 2, false },
	{ 0x1000, 0x2001, -1, false },
	{ 0x2fff, 1, 1, true },
	{ 0x3000, 1, -1, false },
	{ 0x2fff, 2, -1, false },
	{ 0x7fff, 2, -1, false },
	{ 0x8000, 0x1000, 1, true },
	{ 0x8fff, 2, -1, false },
	{ 0x1000, UINT64_MAX, -1, false },
	{ 0x2000, UINT64_MAX - 0x1fff, -1, false },
	{ UINT64_MAX, 1, -1, false },
	{ UINT64_MAX, UINT64_MAX, -1, false },
	{ 0x8800, UINT64_MAX - 0x87ff, -1, false },
};

static void test_look_ups(void **state)
{
	static uint8_t buf[3 * PAGE], want[3 * PAGE];
	int fd = ram_fd(3 * PAGE);
	struct gmem *mem = table(fd);
	size_t i, k;

	(void)state;
	for (i = 0; i < sizeof(want); i++)
		want[i] = (uint8_t)(i * 31 >> 3);
	assert_int_equal(pwrite(fd, want, sizeof(want), 0), sizeof(want));
	for (i = 0; i < ARRAY_SIZE(ranges); i++) {
		uint64_t gpa = ranges[i].gpa, len = ranges[i].len;
		struct iovec iov[4];
		int n = gmem_iov(mem, gpa, len, iov, 4);
		size_t sum = 0;

		assert_int_equal(n, ranges[i].pieces < 0 ? -EFAULT : ranges[i].pieces);
		assert_int_equal(gmem_covers(mem, gpa, len), n > 0);
		assert_int_equal(gmem_ptr(mem, gpa, len) != NULL, ranges[i].ptr);
		if (n < 0) {
			size_t some = (size_t)MIN(len, (uint64_t)sizeof(buf));

			assert_int_equal(
				gmem_read(mem, gpa, buf, some), gmem_covers(mem, gpa, some));
			assert_int_equal(gmem_peek(mem, gpa, buf, some),
				gmem_covers(mem, gpa, some) ? 0 : -EFAULT);
			continue;
		}
		assert_int_equal(gmem_iov(mem, gpa, len, iov, n - 1), -ENOBUFS);
		for (k = 0; k < (size_t)n; k++)
			sum += iov[k].iov_len;
		assert_int_equal(sum, len);
		k = (size_t)(gpa >= 0x8000 ? gpa - 0x6000 : gpa - 0x1000);
		assert_true(gmem_read(mem, gpa, buf, (size_t)len));
		assert_memory_equal(buf, want + k, len);
		memset(buf, 0, sizeof(buf));
		assert_int_equal(gmem_peek(mem, gpa, buf, (size_t)len), 0);
		assert_memory_equal(buf, want + k, len);
	}
	assert_int_equal(gmem_iov(mem, 0, 0, NULL, 0), 0);
	assert_null(gmem_find(NULL, 0x1000));
	assert_null(gmem_ptr(NULL, 0x1000, 1));
	assert_false(gmem_read(NULL, 0x1000, buf, 1));
	assert_false(gmem_poisoned(NULL));
	gmem_unref(mem);
	close(fd);
}

static const struct {
	uint64_t addr, len, gpa;
	bool ok;
} users[] = {
	{ 0xa000, 1, 0x1000, true },
	{ 0xafff, 1, 0x1fff, true },
	{ 0xa000, 0x1000, 0x1000, true },
	{ 0xa000, 0x1001, 0, false },
	/* Neighbours there, strangers here: a ring must not go across. */
	{ 0xafff, 2, 0, false },
	{ 0xb000, 8, 0x8000, true },
	{ 0xd010, 16, 0x2010, true },
	{ 0x9fff, 1, 0, false },
	{ 0xc000, 1, 0, false },
	{ 0xa000, UINT64_MAX, 0, false },
	{ UINT64_MAX, 1, 0, false },
	/* A guest's address is not the front-end's. */
	{ 0x1000, 1, 0, false },
};

static void test_user_to_gpa(void **state)
{
	int fd = ram_fd(3 * PAGE);
	struct gmem *mem = table(fd);
	size_t i;

	(void)state;
	for (i = 0; i < ARRAY_SIZE(users); i++) {
		uint64_t gpa = 0;

		assert_int_equal(
			gmem_user_to_gpa(mem, users[i].addr, users[i].len, &gpa), users[i].ok);
		assert_int_equal(gpa, users[i].gpa);
	}
	assert_false(gmem_user_to_gpa(NULL, 0, 1, &(uint64_t){ 0 }));
	gmem_unref(mem);
	close(fd);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_regions),
		cmocka_unit_test(test_bad_descriptors),
		cmocka_unit_test(test_overlaps),
		cmocka_unit_test(test_number_of_regions),
		cmocka_unit_test(test_look_ups),
		cmocka_unit_test(test_user_to_gpa),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
