/* SPDX-License-Identifier: BSD-3-Clause */
/* What the driver measures and verifies with: histograms, patterns, memory in regions. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "driver/histogram.h"
#include "driver/memory.h"
#include "driver/pattern.h"

static bool near(double value, double expected)
{
	return value > expected * 0.983 && value < expected * 1.017;
}

/* Every bucket begins where the one before ends, up to the largest value. */
static void test_buckets_follow_each_other(void **state)
{
	unsigned int last = 0;

	(void)state;
	for (uint64_t v = 0; v < 1 << 20; v++) {
		unsigned int bucket = histogram_bucket(v);

		assert_true(bucket == last || bucket == last + 1);
		last = bucket;
	}
	for (unsigned int bit = 20; bit < 64; bit++)
		assert_int_equal(
			histogram_bucket(1ull << bit), histogram_bucket((1ull << bit) - 1) + 1);
	assert_int_equal(histogram_bucket(UINT64_MAX), HISTOGRAM_BUCKETS - 1);
}

static void test_percentiles(void **state)
{
	struct histogram *h = calloc(1, sizeof(*h)), *sum = calloc(1, sizeof(*sum));

	(void)state;
	assert_int_equal(histogram_percentile(h, 50), 0);
	for (uint64_t v = 1; v <= 100000; v++)
		histogram_add(h, v);
	assert_int_equal(h->min, 1);
	assert_int_equal(h->max, 100000);
	assert_true(near(histogram_mean(h), 50000.5));
	assert_true(near(histogram_deviation(h), 28867.7));
	assert_true(near((double)histogram_percentile(h, 1), 1000));
	assert_true(near((double)histogram_percentile(h, 50), 50000));
	assert_true(near((double)histogram_percentile(h, 99.99), 99990));
	assert_int_equal(histogram_percentile(h, 100), 100000);
	/* Two of them are as one. */
	histogram_merge(sum, h);
	histogram_merge(sum, h);
	assert_int_equal(sum->num, 200000);
	assert_int_equal(histogram_percentile(sum, 90), histogram_percentile(h, 90));
	memset(h, 0, sizeof(*h));
	histogram_merge(sum, h);
	assert_int_equal(sum->min, 1);
	/* One value is every percentile. */
	histogram_add(h, 12345);
	assert_int_equal(histogram_percentile(h, 1), 12345);
	assert_int_equal(histogram_percentile(h, 99.99), 12345);
	free(h);
	free(sum);
}

#define BLOCK  4096
#define OFFSET 65536
#define SEED   42

static uint8_t block[BLOCK], other[BLOCK];

static enum pattern_fault check(uint32_t generation, struct pattern_info *info)
{
	return pattern_check(block, BLOCK, OFFSET, SEED, generation, NULL, info);
}

static void test_patterns(void **state)
{
	struct pattern_info info;
	uint32_t generation;

	(void)state;
	pattern_fill(block, BLOCK, OFFSET, SEED, 7);
	assert_int_equal(check(7, &info), PATTERN_OK);
	assert_int_equal(pattern_check(block, BLOCK, OFFSET, SEED, PATTERN_ANY, &generation, &info),
		PATTERN_OK);
	assert_int_equal(generation, 7);
	assert_int_equal(check(8, &info), PATTERN_STALE);
	assert_true(info.offset == OFFSET && info.expected == 8 && info.found == 7);
	assert_int_equal(
		pattern_check(block, BLOCK, OFFSET, SEED + 1, 7, NULL, &info), PATTERN_SEED);
	assert_int_equal(
		pattern_check(block, BLOCK, OFFSET + 512, SEED, 7, NULL, &info), PATTERN_PLACE);
	memset(other, 0, BLOCK);
	assert_int_equal(pattern_check(other, BLOCK, OFFSET, SEED, PATTERN_ANY, NULL, &info),
		PATTERN_FOREIGN);
	/* A sector of another generation is a tear, whatever was asked for. */
	pattern_fill(other, BLOCK, OFFSET, SEED, 6);
	memcpy(block + 1024, other + 1024, 512);
	assert_int_equal(check(7, &info), PATTERN_TORN);
	assert_true(info.offset == OFFSET + 1024 && info.expected == 7 && info.found == 6);
	assert_int_equal(check(PATTERN_ANY, &info), PATTERN_TORN);
}

/* No byte is left out. */
static void test_every_byte_counts(void **state)
{
	struct pattern_info info;

	(void)state;
	pattern_fill(block, BLOCK, OFFSET, SEED, 7);
	for (unsigned int i = 0; i < BLOCK; i++) {
		block[i] ^= 1;
		assert_int_not_equal(check(7, &info), PATTERN_OK);
		assert_true(info.offset / 512 == (OFFSET + i) / 512);
		block[i] ^= 1;
	}
	assert_int_equal(check(7, &info), PATTERN_OK);
}

/* Allocations lie in one region each, apart from each other, in all of them. */
static void test_memory(void **state)
{
	uint64_t addr, seen = 0;
	struct err err = { 0 };
	struct dmem m;

	(void)state;
	assert_int_equal(dmem_init(&m, 64 << 10, 4, &err), 0);
	for (int i = 0; i < 16; i++) {
		uint8_t *p = dmem_alloc(&m, 3000, 64, &addr, &err);

		assert_non_null(p);
		assert_int_equal(addr % 64, 0);
		for (unsigned int s = 0; s < 4; s++) {
			uint64_t start = m.slots[s].guest_addr;

			if (addr < start || addr - start >= m.slot_bytes)
				continue;
			assert_true(range_inside(addr - start, 3000, m.slot_bytes));
			assert_ptr_equal(p, m.base + s * m.slot_bytes + (addr - start));
			seen |= 1ull << s;
		}
		for (int b = 0; b < 3000; b++)
			assert_int_equal(p[b], 0);
		memset(p, 0xff, 3000);
	}
	assert_int_equal(seen, 15);
	assert_null(dmem_alloc(&m, 64 << 10, 64, &addr, &err));
	assert_non_null(strstr(err.msg, "--memory"));
	dmem_deinit(&m);
	dmem_deinit(&m);
	assert_int_equal(dmem_init(&m, 4096, DMEM_SLOTS_MAX + 1, &err), -EINVAL);
	dmem_deinit(&m);
	assert_int_equal(dmem_init(&m, UINT64_MAX, 1, &err), -EINVAL);
	dmem_deinit(&m);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_buckets_follow_each_other),
		cmocka_unit_test(test_percentiles),
		cmocka_unit_test(test_patterns),
		cmocka_unit_test(test_every_byte_counts),
		cmocka_unit_test(test_memory),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
