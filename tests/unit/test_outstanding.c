/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * What memory says of requests that somebody else has in flight, against a model that knows: by
 * random, in order and out of it, young rings and such whose indices have wrapped.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "inspect/outstanding.h"

#define MAX_NUM 64

static uint32_t seed;

static uint32_t any(uint32_t below)
{
	seed = seed * 1664525u + 1013904223u;
	return (seed >> 8) % below;
}

struct model {
	uint32_t num;
	uint16_t avail[MAX_NUM], avail_idx, used_idx;
	uint32_t used[MAX_NUM];
	bool is_out[MAX_NUM];
	uint16_t order[MAX_NUM]; /* outstanding, oldest first */
	uint32_t num_out;
	uint64_t num_made;
};

static void make_available(struct model *m)
{
	uint32_t head;

	if (m->num_out == m->num)
		return;
	do
		head = any(m->num);
	while (m->is_out[head]);
	m->is_out[head] = true;
	m->num_made++;
	m->order[m->num_out++] = (uint16_t)head;
	m->avail[m->avail_idx++ % m->num] = (uint16_t)head;
}

static void answer(struct model *m, uint32_t disorder)
{
	uint32_t i, head;

	if (!m->num_out)
		return;
	i = any(m->num_out < disorder ? m->num_out : disorder);
	head = m->order[i];
	memmove(m->order + i, m->order + i + 1, (m->num_out - i - 1) * sizeof(m->order[0]));
	m->num_out--;
	m->is_out[head] = false;
	m->used[m->used_idx++ % m->num] = head;
}

/* Is its entry still in the available ring? */
static bool is_named(const struct model *m, uint16_t head)
{
	for (uint32_t back = 0; back < m->num && back < m->num_made; back++)
		if (m->avail[(uint16_t)(m->avail_idx - 1 - back) % m->num] == head)
			return true;
	return false;
}

/* Returns how many are certain. */
static size_t check(const struct model *m, bool in_order)
{
	size_t num_certain = 0, at = 0;
	struct outstanding o;

	assert_int_equal(outstanding_find(m->avail, m->avail_idx, m->used, m->used_idx, m->num,
				 in_order, &o),
		0);
	for (size_t i = 0; i < o.num; i++) {
		if (o.certain[i] && !m->is_out[o.heads[i]])
			fail_msg("head %u is not in flight, size %u", o.heads[i], m->num);
		num_certain += o.certain[i];
		/* In the order in which they were made available. */
		while (at < m->num_out && m->order[at] != o.heads[i] && !is_named(m, m->order[at]))
			at++;
		at += at < m->num_out && m->order[at] == o.heads[i];
	}
	assert_int_equal(at, m->num_out);
	assert_true(o.num + o.num_unnamed >= m->num_out);
	/* All that there ever was is in sight. */
	if (m->num_made <= m->num)
		assert_int_equal(num_certain, m->num_out);
	outstanding_free(&o);
	return num_certain;
}

static void test_against_a_model(void **state)
{
	static const struct {
		uint32_t num, disorder, steps;
		bool all_certain;
	} rows[] = { { 1, 1, 1000, true }, { 4, 1, 2000, true }, { 16, 1, 150000, true },
		{ 4, 4, 200000 }, { 8, 2, 200000 }, { 64, 64, 100000 }, { 64, 3, 200000 } };

	(void)state;
	for (size_t r = 0; r < ARRAY_SIZE(rows); r++) {
		struct model m = { .num = rows[r].num };
		uint64_t certain = 0, all = 0;

		seed = (uint32_t)r + 1;
		for (uint32_t i = 0; i < rows[r].steps; i++) {
			/* In phases, so that it is full at times and empty at others. */
			if (any(64) < (i / 100 % 2 ? 40u : 24u))
				make_available(&m);
			else
				answer(&m, rows[r].disorder);
			if (m.num <= 8 || !any(8)) {
				certain += check(&m, rows[r].disorder == 1);
				all += m.num_out;
			}
		}
		if (rows[r].all_certain)
			assert_true(certain == all);
		assert_true(certain > all / 20);
	}
}

static void test_hostile_rings(void **state)
{
	static const struct {
		const char *name;
		uint16_t avail_idx, used_idx;
		uint16_t avail[4];
		uint32_t used[4];
		int r;
		size_t num;
	} rows[] = {
		{ "nothing", 0, 0, { 0 }, { 0 }, 0, 0 },
		{ "too far ahead", 5, 0, { 0 }, { 0 }, -1, 0 },
		{ "used ahead of available", 3, 4, { 0, 1, 2, 3 }, { 0, 1, 2, 3 }, -1, 0 },
		{ "heads beyond the ring", 2, 0, { 4, 0xffff }, { 0 }, 0, 0 },
		{ "ids beyond the ring", 6, 4, { 1, 2, 3, 0 }, { 4, 5, UINT32_MAX, 77 }, 0, 4 },
		{ "one head four times", 4, 0, { 2, 2, 2, 2 }, { 0 }, 0, 1 },
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		struct outstanding o;
		int r = outstanding_find(rows[i].avail, rows[i].avail_idx, rows[i].used,
			rows[i].used_idx, 4, false, &o);

		if (r != rows[i].r || o.num != rows[i].num)
			fail_msg("%s: %d, %zu", rows[i].name, r, o.num);
		/* A number that cannot be is no proof of anything. */
		for (size_t k = 0; k < o.num; k++)
			assert_false(o.certain[k] && o.num < 4);
		outstanding_free(&o);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_against_a_model),
		cmocka_unit_test(test_hostile_rings),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
