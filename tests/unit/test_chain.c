/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * What a chain looks like to a device, however the driver cut it: many descriptors, buffers and
 * tables that cross memory regions, empty pieces; and the cursors' functions one by one.
 */
#include "vq_fixture.h"

#include "virtio/vq_internal.h"

#define BYTES 64

/* --- cursors alone --- */

struct pieces {
	struct chain c;
	struct iovec iov[16];
	uint8_t bytes[256];
};

/* @cut: lengths of readable pieces, a 0, lengths of writable ones, a 0. */
static void make_chain(struct pieces *p, const uint8_t *cut)
{
	uint8_t *at = p->bytes;
	int n = 0, part;

	memset(p, 0, sizeof(*p));
	for (part = 0; part < 2; part++) {
		struct chain_cursor *cur = part ? &p->c.writable : &p->c.readable;

		cur->iov = &p->iov[n];
		for (; *cut; cut++, n++, cur->num_iov++) {
			p->iov[n] = (struct iovec){ at, *cut };
			at += *cut;
			cur->bytes += *cut;
		}
		cut++;
	}
}

static void check_take(bool (*take)(struct chain *, void *, size_t), bool keeps)
{
	/* Every way to cut 6 bytes: bit i says that a piece ends behind byte i. */
	struct pieces p;
	unsigned int cuts, i, first;

	for (cuts = 0; cuts < 32; cuts++)
		for (first = 0; first <= 7; first++) {
			uint8_t cut[10] = { 0 }, got[8] = { 0 };
			unsigned int n = 0;

			for (i = 0; i < 6; i++) {
				cut[n]++;
				n += i < 5 && cuts >> i & 1;
			}
			make_chain(&p, cut);
			memcpy(p.bytes, "abcdef", 6);
			assert_int_equal(take(&p.c, got, first), first <= 6);
			if (first > 6) {
				assert_int_equal(p.c.readable.bytes, 6);
				first = 0;
				assert_false(chain_skip(&p.c, 7));
				assert_true(take(&p.c, got, 6));
				assert_memory_equal(got, "abcdef", 6);
				break;
			}
			assert_memory_equal(got, "abcdef", first);
			assert_int_equal(p.c.readable.bytes, 6 - first);
			assert_true(chain_skip(&p.c, 6 - first));
			assert_int_equal(p.c.readable.num_iov, 0);
			assert_false(take(&p.c, got, 1));
			assert_true(take(&p.c, got, 0));
			/* The snapshot is what was taken, and no more. */
			assert_int_equal(p.c.num_snap, keeps ? first : 0);
			assert_memory_equal(&p.c.snap, "abcdef", p.c.num_snap);
		}
}

static void test_take(void **state)
{
	(void)state;
	check_take(chain_take, true);
}

static void test_read(void **state)
{
	(void)state;
	check_take(chain_read, false);
}

static void test_put(void **state)
{
	struct pieces p;

	(void)state;
	make_chain(&p, (const uint8_t[]){ 3, 0, 2, 1, 4, 0 });
	assert_false(chain_put(&p.c, "abcdefgh", 8));
	assert_int_equal(p.c.written, 0);
	assert_int_equal(p.bytes[3], 0);
	assert_true(chain_put(&p.c, "abcde", 5));
	assert_true(chain_put(&p.c, "", 0));
	assert_int_equal(p.c.written, 5);
	chain_wrote(&p.c, 1);
	assert_true(chain_put(&p.c, "g", 1));
	assert_memory_equal(p.bytes + 3, "abcde\0g", 7);
	assert_int_equal(p.c.written, 7);
	assert_int_equal(p.c.writable.num_iov, 0);
	assert_false(chain_put(&p.c, "x", 1));
}

static void test_snapshot_is_bounded(void **state)
{
	struct pieces p;
	uint8_t got[100];
	unsigned int i;

	(void)state;
	make_chain(&p, (const uint8_t[]){ 100, 0, 0 });
	for (i = 0; i < 100; i++)
		p.bytes[i] = (uint8_t)i;
	assert_true(chain_take(&p.c, got, 5));
	assert_true(chain_take(&p.c, got, 11));
	assert_true(chain_take(&p.c, got, 80));
	assert_int_equal(p.c.num_snap, CHAIN_SNAP_BYTES);
	assert_memory_equal(&p.c.snap, p.bytes, CHAIN_SNAP_BYTES);
}

static const struct {
	uint8_t cut[8];
	size_t len;
	int max, ret;
	uint64_t left;
	int left_iovs;
} tails[] = {
	{ { 0, 0 }, 1, 1, -1, 0, 0 },
	{ { 0, 1, 0 }, 1, 1, 1, 0, 0 },
	{ { 0, 5, 0 }, 1, 1, 1, 4, 1 },
	{ { 0, 5, 1, 0 }, 1, 1, 1, 5, 1 },
	{ { 0, 5, 1, 0 }, 2, 2, 2, 4, 1 },
	{ { 0, 5, 1, 0 }, 2, 1, -1, 6, 2 },
	{ { 0, 1, 1, 1, 0 }, 3, 3, 3, 0, 0 },
	{ { 0, 1, 1, 1, 0 }, 4, 3, -1, 3, 3 },
	{ { 0, 2, 2, 0 }, 0, 1, 0, 4, 2 },
	{ { 9, 9, 9, 0, 1, 1, 0 }, 3, 16, -1, 2, 2 },
};

static void test_cut_tail(void **state)
{
	size_t i, k;

	(void)state;
	for (i = 0; i < ARRAY_SIZE(tails); i++) {
		struct iovec tail[16];
		struct pieces p;
		size_t total;

		make_chain(&p, tails[i].cut);
		total = (size_t)p.c.writable.bytes;
		assert_int_equal(
			chain_cut_tail(&p.c, tails[i].len, tail, tails[i].max), tails[i].ret);
		assert_int_equal(p.c.writable.bytes, tails[i].left);
		assert_int_equal(p.c.writable.num_iov, tails[i].left_iovs);
		if (tails[i].ret < 0)
			continue;
		chain_fill(&p.c, tail, tails[i].ret, "\1\2\3\4", tails[i].len);
		for (k = 0; k < total; k++)
			assert_int_equal(p.bytes[k], k < tails[i].left ? 0 : k - tails[i].left + 1);
		for (k = 0; k < tails[i].left; k++)
			assert_true(chain_put(&p.c, "\7", 1));
		assert_false(chain_put(&p.c, "\7", 1));
		if (tails[i].len)
			assert_int_equal(p.bytes[tails[i].left], 1);
	}
}

/* --- chains from rings --- */

static uint8_t seen[1 << 17];
static size_t num_seen;

/* Copies what is readable to what is writable. */
static enum serve_verdict echo(struct vq *vq, struct chain *c)
{
	(void)vq;
	num_seen = (size_t)c->readable.bytes;
	assert_true(num_seen <= sizeof(seen));
	assert_true(chain_take(c, seen, num_seen));
	assert_true(chain_put(c, seen, MIN(num_seen, (size_t)c->writable.bytes)));
	return SERVE_DONE;
}

static void expect_echo(struct fix *f, uint64_t from, uint64_t to, size_t len)
{
	assert_false(f->dev->broken);
	assert_int_equal(num_seen, len);
	assert_memory_equal(seen, ram(f, from), len);
	assert_memory_equal(ram(f, from), ram(f, to), len);
	assert_int_equal(le32_get(used(f)->ring[(used_idx(f) - 1) % f->num].len), len);
}

static void fill(struct fix *f, uint64_t at, size_t len, unsigned int seed)
{
	uint8_t *p = ram(f, at);
	size_t i;

	for (i = 0; i < len; i++)
		p[i] = (uint8_t)(i * 7 + seed + 1);
}

/* @n descriptors of one byte each way, in the ring or in a table. */
static void many_descs(uint32_t num, uint32_t n, bool indirect)
{
	uint64_t table = indirect ? TABLE_AT : DESC_AT;
	struct fix f;
	uint32_t i;

	fix_init(&f, num, 0);
	test_device(&f)->serve = echo;
	fill(&f, SPLIT + 0x1000, n, n);
	for (i = 0; i < n; i++)
		set_desc(&f, table, i, i < n / 2 ? SPLIT + 0x1000 + i : SPLIT + 0x20000 + i - n / 2,
			1, (i < n / 2 ? 0 : WRITE) | (i < n - 1 ? NEXT : 0), (uint16_t)(i + 1));
	if (indirect)
		set_desc(&f, DESC_AT, 0, TABLE_AT, n * 16, INDIRECT, 0);
	for (i = 0; i < 3; i++) {
		offer(&f, 0);
		kick(&f);
		assert_int_equal(used_idx(&f), i + 1);
		expect_echo(&f, SPLIT + 0x1000, SPLIT + 0x20000, n / 2);
	}
	assert_int_equal(view(&f).counters.descs, 3 * n);
	/* The large block came back every time. */
	assert_int_equal(f.vq->large_free, UINT32_MAX);
	fix_deinit(&f);
}

static void test_many_descriptors(void **state)
{
	static const uint32_t sizes[] = { 2, 16, VQ_INLINE_IOVS, VQ_INLINE_IOVS + 2, 128, 1024 };
	size_t i;

	(void)state;
	for (i = 0; i < ARRAY_SIZE(sizes); i++) {
		many_descs(1024, sizes[i], false);
		many_descs(8, sizes[i], true);
	}
	/* As long as the ring is, above the limit for small rings. */
	many_descs(16384, 16384, false);
	many_descs(4096, 4096, true);
}

static void test_one_too_many(void **state)
{
	struct fix f;
	uint32_t i;

	(void)state;
	fix_init(&f, 8, 0);
	for (i = 0; i <= VQ_CHAIN_DESCS_MAX; i++)
		set_desc(&f, TABLE_AT, i, DATA_AT, 1, i < VQ_CHAIN_DESCS_MAX ? NEXT : 0,
			(uint16_t)(i + 1));
	set_desc(&f, DESC_AT, 0, TABLE_AT, (VQ_CHAIN_DESCS_MAX + 1) * 16, INDIRECT, 0);
	offer(&f, 0);
	kick(&f);
	assert_true(f.dev->broken);
	assert_non_null(strstr(f.dev->broken_reason, "longer than its limit"));
	fix_deinit(&f);
}

static void test_all_large_blocks(void **state)
{
	const uint32_t n = VQ_INLINE_IOVS + 1, chains = VQ_LARGE_CHAINS + 8;
	struct test_device *td;
	struct fix f;
	uint32_t i;

	(void)state;
	fix_init(&f, 64, 0);
	td = test_device(&f);
	td->verdict = SERVE_HELD;
	for (i = 0; i < n; i++)
		set_desc(&f, TABLE_AT, i, DATA_AT + i, 1, WRITE | (i < n - 1 ? NEXT : 0),
			(uint16_t)(i + 1));
	for (i = 0; i < chains; i++) {
		set_desc(&f, DESC_AT, i, TABLE_AT, n * 16, INDIRECT, 0);
		offer(&f, (uint16_t)i);
	}
	/* A short one behind them has to keep its turn. */
	set_desc(&f, DESC_AT, chains, DATA_AT, 16, WRITE, 0);
	offer(&f, (uint16_t)chains);
	kick(&f);
	assert_int_equal(td->num_held, VQ_LARGE_CHAINS);
	assert_int_equal(f.vq->large_free, 0);
	kick(&f);
	assert_int_equal(td->num_held, VQ_LARGE_CHAINS);
	/* Each that is answered lets one in, without a kick. */
	for (i = 0; i < 8; i++) {
		vq_complete(f.vq, td->held[i]);
		td->held[i] = NULL;
		pump(&f);
		assert_int_equal(td->num_held, VQ_LARGE_CHAINS + i + 1 + (i == 7));
	}
	assert_int_equal(td->held[chains]->head, chains);
	fix_complete_held(&f);
	pump(&f);
	assert_int_equal(f.vq->large_free, UINT32_MAX);
	assert_int_equal(used_idx(&f), chains + 1);
	fix_deinit(&f);
}

static void test_buffers_across_regions(void **state)
{
	struct fix f;
	unsigned int at;

	(void)state;
	fix_init(&f, 8, 0);
	test_device(&f)->serve = echo;
	for (at = 0; at <= BYTES; at++) {
		uint64_t from = SPLIT - at;

		/* Readable across the border, then writable across it. */
		fill(&f, from, BYTES, at);
		set_desc(&f, DESC_AT, 0, from, BYTES, NEXT, 1);
		set_desc(&f, DESC_AT, 1, DATA_AT, BYTES, WRITE, 0);
		offer(&f, 0);
		kick(&f);
		expect_echo(&f, from, DATA_AT, BYTES);
		fill(&f, DATA_AT, BYTES, at + 100);
		set_desc(&f, DESC_AT, 0, DATA_AT, BYTES, NEXT, 1);
		set_desc(&f, DESC_AT, 1, from, BYTES, WRITE, 0);
		offer(&f, 0);
		kick(&f);
		expect_echo(&f, DATA_AT, from, BYTES);
	}
	fix_deinit(&f);
}

static void test_tables_across_regions(void **state)
{
	struct fix f;
	unsigned int at;

	(void)state;
	fix_init(&f, 8, 0);
	test_device(&f)->serve = echo;
	/* A table may begin at any address; its descriptors then lie in two regions. */
	for (at = 0; at <= 4 * 16; at++) {
		uint64_t table = SPLIT - at;

		fill(&f, DATA_AT, BYTES, at);
		set_desc(&f, table, 0, DATA_AT, 16, NEXT, 2);
		set_desc(&f, table, 1, DATA_AT + 0x1000, BYTES, WRITE, 0);
		set_desc(&f, table, 2, DATA_AT + 16, BYTES - 16, NEXT, 1);
		set_desc(&f, table, 3, UINT64_MAX, UINT32_MAX, 0xffff, 0xffff);
		set_desc(&f, DESC_AT, 0, table, 64, INDIRECT, 0);
		offer(&f, 0);
		kick(&f);
		expect_echo(&f, DATA_AT, DATA_AT + 0x1000, BYTES);
	}
	fix_deinit(&f);
}

/* Bit i: descriptor i of four is empty; two are readable, two writable. */
static void test_zero_lengths(void **state)
{
	struct fix f;
	unsigned int empty, i;

	(void)state;
	fix_init(&f, 8, 0);
	test_device(&f)->serve = echo;
	for (empty = 0; empty < 16; empty++) {
		uint32_t len[4];
		size_t in, out;

		for (i = 0; i < 4; i++) {
			len[i] = empty >> i & 1 ? 0 : 8;
			set_desc(&f, DESC_AT, i, len[i] ? DATA_AT + i * 8 : UINT64_MAX - i, len[i],
				(i < 2 ? 0 : WRITE) | (i < 3 ? NEXT : 0), (uint16_t)(i + 1));
		}
		in = len[0] + len[1];
		out = len[2] + len[3];
		offer(&f, 0);
		kick(&f);
		assert_false(f.dev->broken);
		assert_int_equal(num_seen, in);
		assert_int_equal(
			le32_get(used(&f)->ring[(used_idx(&f) - 1) % 8].len), MIN(in, out));
		assert_int_equal(used_idx(&f), empty + 1);
	}
	fix_deinit(&f);
}

/* CVE-2024-3446 and its kin: the device's own answer changes what it walks. */
static void test_buffers_on_the_ring(void **state)
{
	static const uint64_t places[] = { DESC_AT, DESC_AT + 16, AVAIL_AT, USED_AT, USED_AT + 2,
		TABLE_AT };
	static const uint8_t bytes[] = { 0, 1, 0x80, 0xff };
	unsigned int i, k, indirect;

	(void)state;
	for (i = 0; i < ARRAY_SIZE(places) * ARRAY_SIZE(bytes) * 2; i++) {
		uint64_t place = places[i / 2 / ARRAY_SIZE(bytes)];
		struct fix f;

		indirect = i % 2;
		fix_init(&f, 8, 0);
		test_device(&f)->serve = echo;
		memset(ram(&f, DATA_AT), bytes[i / 2 % ARRAY_SIZE(bytes)], 128);
		for (k = 0; k < 8; k++) {
			set_desc(&f, indirect ? TABLE_AT : DESC_AT, 0, DATA_AT, 128, NEXT, 1);
			set_desc(&f, indirect ? TABLE_AT : DESC_AT, 1, place, 128, WRITE, 0);
			if (indirect)
				set_desc(&f, DESC_AT, 0, TABLE_AT, 32, INDIRECT, 0);
			offer(&f, 0);
			kick(&f);
		}
		/* Whatever came of it, a reset brings a device that works. */
		fix_reset(&f);
		fix_start_ring(&f, 8, 0);
		push_one(&f, 3, DATA_AT, 16, WRITE);
		assert_int_equal(used_idx(&f), 1);
		assert_false(f.dev->broken);
		fix_deinit(&f);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_take),
		cmocka_unit_test(test_read),
		cmocka_unit_test(test_put),
		cmocka_unit_test(test_snapshot_is_bounded),
		cmocka_unit_test(test_cut_tail),
		cmocka_unit_test(test_many_descriptors),
		cmocka_unit_test(test_one_too_many),
		cmocka_unit_test(test_all_large_blocks),
		cmocka_unit_test(test_buffers_across_regions),
		cmocka_unit_test(test_tables_across_regions),
		cmocka_unit_test(test_zero_lengths),
		cmocka_unit_test(test_buffers_on_the_ring),
	};

	log_set_level(LOG_LEVEL_ERROR);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
