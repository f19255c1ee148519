/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Chains as inspection reads them, good and bad: a row each. Whatever lies in memory, there is an
 * answer or a sentence, and memory stays as it was.
 */
#include "vq_fixture.h"

#include "inspect/chain_walk.h"

struct raw_desc {
	uint64_t addr;
	uint32_t len;
	uint16_t flags, next;
};

struct row {
	const char *name;
	struct raw_desc ring[4]; /* descriptors 0 to 3 of a ring of 8; the others are blank */
	struct raw_desc table[4]; /* at TABLE_AT */
	uint16_t head;
	bool unfollowed; /* indirect tables are let alone */
	const char *sentence; /* part of it, or NULL: the lengths below are what comes */
	uint32_t lens[8]; /* of the descriptors that come, ended by 0 */
};

#define D DATA_AT

static const struct row rows[] = {
	{ "one", { { D, 1, WRITE, 7 } }, { { 0 } }, 0, false, NULL, { 1 } },
	{ "chain order",
		{ { D, 1, NEXT, 2 }, { D, 9, 0, 0 }, { D, 2, NEXT | WRITE, 3 },
			{ D, 3, WRITE, 0 } },
		{ { 0 } }, 0, false, NULL, { 1, 2, 3 } },
	{ "from another head", { { D, 1, 0, 0 }, { D, 2, NEXT, 0 } }, { { 0 } }, 1, false, NULL,
		{ 2, 1 } },
	{ "an address that nobody looks at", { { UINT64_MAX, 5, 0, 0 } }, { { 0 } }, 0, false, NULL,
		{ 5 } },
	{ "readable after writable is shown", { { D, 1, WRITE | NEXT, 1 }, { D, 2, 0, 0 } },
		{ { 0 } }, 0, false, NULL, { 1, 2 } },
	{ "table in place", { { TABLE_AT, 48, INDIRECT, 0 } },
		{ { D, 1, NEXT, 2 }, { D, 9, 0, 0 }, { D, 2, WRITE, 0 } }, 0, false, NULL,
		{ 1, 2 } },
	{ "table at the end of a chain", { { D, 7, NEXT, 1 }, { TABLE_AT, 32, INDIRECT, 0 } },
		{ { D, 1, NEXT, 1 }, { D, 2, WRITE, 0 } }, 0, false, NULL, { 7, 1, 2 } },
	{ "table let alone", { { TABLE_AT, 48, INDIRECT, 0 } }, { { D, 1, 0, 0 } }, 0, true, NULL,
		{ 48 } },
	{ "bad table let alone", { { D, 4, NEXT, 1 }, { RAM_END, 17, INDIRECT | NEXT, 2 } },
		{ { 0 } }, 0, true, NULL, { 4, 17 } },
	{ "head beyond", { { 0 } }, { { 0 } }, 8, false, "names descriptor 8 as a head", { 0 } },
	{ "largest head", { { 0 } }, { { 0 } }, 65535, false, "names descriptor 65535", { 0 } },
	{ "self-loop", { { D, 1, NEXT, 0 } }, { { 0 } }, 0, false, "has a loop at descriptor 0",
		{ 0 } },
	{ "loop of two, let alone", { { D, 1, NEXT, 1 }, { D, 1, NEXT, 0 } }, { { 0 } }, 0, true,
		"has a loop at descriptor 0", { 0 } },
	{ "next beyond", { { D, 1, NEXT, 8 } }, { { 0 } }, 0, false,
		"descriptor 0 names descriptor 8 as next", { 0 } },
	{ "next beyond, second", { { D, 1, NEXT, 3 }, { 0 }, { 0 }, { D, 1, NEXT, 65535 } },
		{ { 0 } }, 0, false, "descriptor 3 names descriptor 65535", { 0 } },
	{ "table and next", { { TABLE_AT, 16, INDIRECT | NEXT, 1 } }, { { D, 1, 0, 0 } }, 0, false,
		"descriptor 0 has both INDIRECT and NEXT", { 0 } },
	{ "empty table", { { TABLE_AT, 0, INDIRECT, 0 } }, { { 0 } }, 0, false, "table of 0 bytes",
		{ 0 } },
	{ "short table", { { TABLE_AT, 15, INDIRECT, 0 } }, { { 0 } }, 0, false,
		"table of 15 bytes", { 0 } },
	{ "ragged table", { { TABLE_AT, 40, INDIRECT, 0 } }, { { 0 } }, 0, false,
		"table of 40 bytes", { 0 } },
	{ "table outside", { { RAM_END, 16, INDIRECT, 0 } }, { { 0 } }, 0, false,
		"Cannot map indirect buffer: queue 3, entry 0 of the table of descriptor 0",
		{ 0 } },
	{ "table wraps", { { UINT64_MAX - 15, 32, INDIRECT, 0 } }, { { 0 } }, 0, false,
		"wraps around", { 0 } },
	{ "nested", { { TABLE_AT, 32, INDIRECT, 0 } },
		{ { D, 1, NEXT, 1 }, { TABLE_AT, 16, INDIRECT, 0 } }, 0, false,
		"entry 1 of the indirect table of descriptor 0 is indirect itself", { 0 } },
	{ "table loop", { { 0 }, { TABLE_AT, 32, INDIRECT, 0 } },
		{ { D, 1, NEXT, 1 }, { D, 1, NEXT, 0 } }, 1, false,
		"the indirect table of descriptor 1 has a loop", { 0 } },
	{ "table next beyond", { { TABLE_AT, 32, INDIRECT, 0 } }, { { D, 1, NEXT, 2 } }, 0, false,
		"names entry 2 as next, beyond its 2 entries", { 0 } },
};

static void put(struct fix *f, const struct row *row)
{
	memset(ram(f, DESC_AT), 0, 8 * 16);
	memset(ram(f, TABLE_AT), 0, 4 * 16);
	for (uint32_t i = 0; i < 4; i++) {
		const struct raw_desc *d = &row->ring[i], *t = &row->table[i];

		set_desc(f, DESC_AT, i, d->addr, d->len, d->flags, d->next);
		set_desc(f, TABLE_AT, i, t->addr, t->len, t->flags, t->next);
	}
}

static void check_lens(const struct row *row, const struct walk_chain *chain)
{
	size_t n = 0;

	for (; row->lens[n]; n++) {
		assert_true(n < chain->num);
		assert_int_equal(chain->descs[n].len, row->lens[n]);
	}
	assert_int_equal(chain->num, n);
}

static void test_rows(void **state)
{
	struct fix f = { 0 };
	struct walk_ring ring = { .queue = 3, .desc = DESC_AT, .num = 8 };

	(void)state;
	fix_memory(&f);
	ring.mem = f.mem;
	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		const struct row *row = &rows[i];
		struct walk_chain chain = { 0 };
		struct err err = { 0 };
		int r;

		print_message("# %s\n", row->name);
		put(&f, row);
		r = walk_chain(&ring, row->head, !row->unfollowed, &chain, &err);
		if (row->sentence) {
			assert_true(r < 0);
			assert_non_null(strstr(err.msg, row->sentence));
			assert_int_equal(chain.num, 0);
		} else {
			assert_int_equal(r, 0);
			check_lens(row, &chain);
		}
		walk_chain_free(&chain);
	}
	gmem_unref(f.mem);
	munmap(f.ram, RAM_END);
	close(f.memfd);
}

static void test_descriptor_area(void **state)
{
	static const uint64_t at[] = { RAM_END, RAM_END - 64, UINT64_MAX - 15, UINT64_MAX };
	struct fix f = { 0 };

	(void)state;
	fix_memory(&f);
	for (size_t i = 0; i < ARRAY_SIZE(at); i++) {
		struct walk_ring ring = { .mem = f.mem, .desc = at[i], .num = 8 };
		struct walk_chain chain;
		struct err err = { 0 };

		assert_true(walk_chain(&ring, 5, true, &chain, &err) < 0);
		assert_non_null(strstr(err.msg, "Cannot map descriptor ring"));
	}
	gmem_unref(f.mem);
	munmap(f.ram, RAM_END);
	close(f.memfd);
}

/* As long as the device itself accepts, and one more. */
static void test_longest_chain(void **state)
{
	struct fix f = { 0 };
	struct walk_ring ring = { .desc = DESC_AT, .num = 8 };

	(void)state;
	fix_memory(&f);
	ring.mem = f.mem;
	for (uint32_t n = VQ_CHAIN_DESCS_MAX; n <= VQ_CHAIN_DESCS_MAX + 1; n++) {
		struct walk_chain chain;
		struct err err = { 0 };
		int r;

		for (uint32_t i = 0; i < n; i++)
			set_desc(&f, TABLE_AT, i, D, 1, i + 1 < n ? NEXT : 0, (uint16_t)(i + 1));
		set_desc(&f, DESC_AT, 0, TABLE_AT, n * 16, INDIRECT, 0);
		r = walk_chain(&ring, 0, true, &chain, &err);
		assert_int_equal(r<0, n> VQ_CHAIN_DESCS_MAX);
		if (r < 0)
			assert_non_null(strstr(err.msg, "longer than 1024 descriptors"));
		else
			assert_int_equal(chain.num, n);
		walk_chain_free(&chain);
	}
	gmem_unref(f.mem);
	munmap(f.ram, RAM_END);
	close(f.memfd);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_rows),
		cmocka_unit_test(test_descriptor_area),
		cmocka_unit_test(test_longest_chain),
	};

	(void)fix_num_queues;
	(void)test_class;
	(void)fix_reset_done;
	return cmocka_run_group_tests_name("inspect_walk", tests, NULL, NULL);
}
