/* SPDX-License-Identifier: BSD-3-Clause */
/* The dirty log: which bits a write sets, at every edge, and that nothing beyond the log is. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include <cmocka.h>

#include "mem/dirty.h"

#define PAGE	   4096ull
#define LOG_BYTES  64
#define FILE_BYTES 4096

/* A log at @offset of a file whose bytes the test sees. */
struct rig {
	int fd;
	uint8_t *file, *bits;
	struct dirty_log *log;
};

static void rig_open(struct rig *rig, uint64_t offset, uint64_t size)
{
	struct err err = { { 0 } };

	rig->fd = memfd_create("log", MFD_CLOEXEC);
	assert_true(rig->fd >= 0 && ftruncate(rig->fd, FILE_BYTES) == 0);
	rig->file = mmap(NULL, FILE_BYTES, PROT_READ | PROT_WRITE, MAP_SHARED, rig->fd, 0);
	assert_true(rig->file != MAP_FAILED);
	rig->bits = rig->file + offset;
	assert_int_equal(dirty_log_new(rig->fd, offset, size, &rig->log, &err), 0);
}

static void rig_close(struct rig *rig)
{
	dirty_log_unref(rig->log);
	munmap(rig->file, FILE_BYTES);
	close(rig->fd);
}

static void check_bits(const struct rig *rig, uint64_t first, uint64_t num)
{
	for (uint64_t page = 0; page < LOG_BYTES * 8; page++)
		assert_int_equal(
			rig->bits[page / 8] >> page % 8 & 1, page >= first && page - first < num);
	for (uint64_t i = 0; i < FILE_BYTES; i++)
		if (rig->file + i < rig->bits || rig->file + i >= rig->bits + LOG_BYTES)
			assert_int_equal(rig->file[i], 0);
}

static void every_range(void **state)
{
	struct rig rig;

	(void)state;
	rig_open(&rig, 1003, LOG_BYTES);
	for (uint64_t first = 0; first < 20; first++)
		for (uint64_t num = 1; num < 20; num++) {
			memset(rig.file, 0, FILE_BYTES);
			assert_true(dirty_log_mark(rig.log, first * PAGE, num * PAGE));
			check_bits(&rig, first, num);
		}
	assert_int_equal(dirty_log_num_beyond(rig.log), 0);
	rig_close(&rig);
}

static const struct {
	const char *name;
	uint64_t gpa, len, first, num;
	bool inside;
} edges[] = {
	{ "nothing", 5 * PAGE, 0, 0, 0, true },
	{ "a byte", 5 * PAGE, 1, 5, 1, true },
	{ "a page's last byte", 6 * PAGE - 1, 1, 5, 1, true },
	{ "two bytes of two pages", 6 * PAGE - 1, 2, 5, 2, true },
	{ "the last page", 511 * PAGE, PAGE, 511, 1, true },
	{ "a byte beyond", 511 * PAGE, PAGE + 1, 511, 1, false },
	{ "all of it and far more", 0, 1ull << 62, 0, 512, false },
	{ "the first page beyond", 512 * PAGE, 1, 0, 0, false },
	{ "the last byte there is", UINT64_MAX, 1, 0, 0, false },
	{ "wraps around", 500 * PAGE, UINT64_MAX, 500, 12, false },
	{ "wraps around from far", UINT64_MAX - 5, 100, 0, 0, false },
};

static void at_the_edges(void **state)
{
	struct rig rig;
	uint64_t beyond = 0;

	(void)state;
	rig_open(&rig, 0, LOG_BYTES);
	for (size_t i = 0; i < ARRAY_SIZE(edges); i++) {
		memset(rig.file, 0, FILE_BYTES);
		if (dirty_log_mark(rig.log, edges[i].gpa, edges[i].len) != edges[i].inside)
			fail_msg("%s", edges[i].name);
		check_bits(&rig, edges[i].first, edges[i].num);
		beyond += !edges[i].inside;
		assert_int_equal(dirty_log_num_beyond(rig.log), beyond);
	}
	rig_close(&rig);
}

static void by_our_own_address(void **state)
{
	struct err err = { { 0 } };
	struct gmem_region *regions[2];
	struct gmem *mem;
	struct rig rig;
	uint64_t gpa;

	(void)state;
	rig_open(&rig, 0, LOG_BYTES);
	for (uint64_t i = 0; i < 2; i++) {
		const struct gmem_region_desc desc = { i * 100 * PAGE, 4000, i << 40, 96 * i };

		assert_int_equal(gmem_region_new(&desc, rig.fd, &regions[i], &err), 0);
	}
	assert_int_equal(gmem_new(regions, 2, &mem, &err), 0);
	assert_true(gmem_host_to_gpa(mem, gmem_ptr(mem, 100 * PAGE + 77, 1), &gpa));
	assert_int_equal(gpa, 100 * PAGE + 77);
	assert_false(gmem_host_to_gpa(mem, &gpa, &gpa));
	assert_false(gmem_host_to_gpa(NULL, &gpa, &gpa));
	assert_true(dirty_log_mark_host(rig.log, mem, gmem_ptr(mem, 100 * PAGE + 77, 10), 10));
	check_bits(&rig, 100, 1);
	gmem_region_unref(regions[0]);
	gmem_region_unref(regions[1]);
	gmem_unref(mem);
	rig_close(&rig);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(every_range),
		cmocka_unit_test(at_the_edges),
		cmocka_unit_test(by_our_own_address),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
