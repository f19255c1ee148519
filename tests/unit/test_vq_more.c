/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Answers that take several chains: all of them are shown at once or none, and whoever has too few
 * hears of the next, on either ring, with and without EVENT_IDX.
 */
#include "vq_fixture.h"

#include <errno.h>

#define RING   16u
#define PACKED (1ull << VIRTIO_F_RING_PACKED)
#define EVENT  (1ull << VIRTIO_F_EVENT_IDX)

static uint64_t wanted; /* bytes of an answer; 0: the device has none */
static int last_result; /* of the last vq_another() */
static unsigned int num_dropped;

static enum serve_verdict collect(struct vq *vq, struct chain *c)
{
	struct chain *chains[64] = { c };
	uint64_t room = c->writable.bytes, left = wanted;
	unsigned int n = 1, i;

	if (!wanted)
		return SERVE_RETRY;
	while (room < wanted) {
		last_result = vq_another(vq, &chains[n]);
		if (last_result == -ENOBUFS) {
			num_dropped++;
			wanted = 0;
			return SERVE_RETRY;
		}
		if (last_result <= 0)
			return SERVE_RETRY;
		room += chains[n++]->writable.bytes;
	}
	for (i = 0; i < n; i++) {
		uint64_t part = MIN(left, chains[i]->writable.bytes);

		chain_wrote(chains[i], part);
		left -= part;
	}
	wanted = 0;
	return SERVE_DONE;
}

static void start(struct fix *f, uint64_t features)
{
	wanted = 0;
	num_dropped = 0;
	fix_init(f, RING, features);
	test_device(f)->serve = collect;
}

/* --- split --- */

static uint32_t used_len(struct fix *f, uint16_t i)
{
	return le32_get(used(f)->ring[i % f->num].len);
}

static void want(struct fix *f, uint64_t bytes)
{
	wanted = bytes;
	vq_resume(f->vq);
	pump(f);
}

static void offer_buffer(struct fix *f, uint16_t head, uint32_t len)
{
	set_desc(f, DESC_AT, head, DATA_AT + head * 0x1000ull, len, WRITE, 0);
	offer(f, head);
}

static void test_split(void **state)
{
	uint64_t features[] = { 0, EVENT };
	struct fix f;
	size_t i;
	uint16_t k;

	(void)state;
	for (i = 0; i < ARRAY_SIZE(features); i++) {
		start(&f, features[i]);
		for (k = 0; k < 5; k++)
			offer_buffer(&f, k, 100);
		kick(&f);
		assert_int_equal(used_idx(&f), 0);
		want(&f, 250);
		assert_int_equal(used_idx(&f), 3);
		for (k = 0; k < 3; k++) {
			assert_int_equal(le32_get(used(&f)->ring[k].id), k);
			assert_int_equal(used_len(&f, k), k < 2 ? 100 : 50);
		}
		assert_int_equal(view(&f).last_avail_idx, 3);
		assert_int_equal(view(&f).counters.completed, 3);
		/* Too few: nothing moved, and the driver is asked to tell of the next. */
		want(&f, 301);
		assert_int_equal(last_result, 0);
		assert_int_equal(used_idx(&f), 3);
		assert_int_equal(view(&f).last_avail_idx, 3);
		if (features[i])
			assert_int_equal(avail_event(&f), 5);
		else
			assert_int_equal(le16_get(used(&f)->flags), 0);
		offer_buffer(&f, 5, 100);
		kick(&f);
		assert_int_equal(used_idx(&f), 3);
		offer_buffer(&f, 6, 100);
		kick(&f);
		assert_int_equal(used_idx(&f), 7);
		assert_int_equal(used_len(&f, 6), 1);
		assert_int_equal(view(&f).inuse, 0);
		fix_deinit(&f);
	}
}

/* A whole ring is not enough: that is said at once, and the next answer finds all as it was. */
static void test_never_enough(void **state)
{
	struct fix f;
	uint16_t k;

	(void)state;
	start(&f, 0);
	for (k = 0; k < RING; k++)
		offer_buffer(&f, k, 10);
	want(&f, 1000);
	assert_int_equal(num_dropped, 1);
	assert_int_equal(used_idx(&f), 0);
	want(&f, 10 * RING);
	assert_int_equal(used_idx(&f), RING);
	fix_deinit(&f);
}

/* Chains of many pieces borrow large blocks; an answer may want more than there are. */
static void test_no_more_large_blocks(void **state)
{
	struct fix f;
	uint32_t i, k;

	(void)state;
	wanted = 0;
	num_dropped = 0;
	fix_init(&f, 64, 0);
	test_device(&f)->serve = collect;
	for (k = 0; k < 40; k++) {
		uint64_t table = TABLE_AT + k * 0x200ull;

		for (i = 0; i < 25; i++)
			set_desc(&f, table, i, DATA_AT + i, 1, i < 24 ? WRITE | NEXT : WRITE,
				(uint16_t)(i + 1));
		set_desc(&f, DESC_AT, k, table, 25 * 16, INDIRECT, 0);
		offer(&f, (uint16_t)k);
	}
	want(&f, 40 * 25);
	assert_int_equal(num_dropped, 1);
	want(&f, 30 * 25);
	assert_int_equal(used_idx(&f), 30);
	/* An empty ring is told apart from one without blocks: the driver's next kick is heard. */
	want(&f, 10 * 25 + 1);
	assert_int_equal(last_result, 0);
	set_desc(&f, DESC_AT, 50, DATA_AT, 1, WRITE, 0);
	offer(&f, 50);
	kick(&f);
	assert_int_equal(used_idx(&f), 41);
	fix_deinit(&f);
}

/* An index that runs away while it is read ahead breaks the device as it does elsewhere. */
static void test_index_runs_away(void **state)
{
	struct fix f;

	(void)state;
	start(&f, 0);
	offer_buffer(&f, 0, 1);
	kick(&f);
	avail(&f)->idx = le16_make(RING + 1);
	want(&f, 3);
	assert_true(f.dev->broken);
	assert_non_null(strstr(f.dev->broken_reason, "in a ring of 16"));
	fix_deinit(&f);
}

static void test_bad_chain_behind(void **state)
{
	struct fix f;

	(void)state;
	start(&f, 0);
	offer_buffer(&f, 0, 1);
	set_desc(&f, DESC_AT, 1, RAM_END, 16, WRITE, 0);
	offer(&f, 1);
	want(&f, 3);
	assert_int_equal(last_result, -EPROTO);
	assert_true(f.dev->broken);
	assert_int_equal(used_idx(&f), 0);
	fix_deinit(&f);
}

/* --- packed --- */

static struct vring_packed_desc *packed_desc(struct fix *f, unsigned int i)
{
	return (struct vring_packed_desc *)ram(f, DESC_AT) + i;
}

/* Chain number @n since the ring began, of one descriptor. */
static void offer_packed(struct fix *f, unsigned int n, uint32_t len)
{
	struct vring_packed_desc *d = packed_desc(f, n % RING);
	bool wrap = !(n / RING % 2);

	d->addr = le64_make(DATA_AT + (n % RING) * 0x1000ull);
	d->len = le32_make(len);
	d->id = le16_make((uint16_t)(n % RING));
	store_le16(&d->flags,
		(uint16_t)(WRITE | (wrap ? VRING_PACKED_DESC_F_AVAIL : VRING_PACKED_DESC_F_USED)));
}

static bool packed_used(struct fix *f, unsigned int n)
{
	uint16_t flags = load_le16(&packed_desc(f, n % RING)->flags);
	bool wrap = !(n / RING % 2);

	return !(flags & VRING_PACKED_DESC_F_AVAIL) == !wrap &&
	       !(flags & VRING_PACKED_DESC_F_USED) == !wrap;
}

static void test_packed(void **state)
{
	uint64_t features[] = { PACKED, PACKED | EVENT };
	unsigned int k, round, n;
	struct fix f;
	size_t i;

	(void)state;
	for (i = 0; i < ARRAY_SIZE(features); i++) {
		start(&f, features[i]);
		/* 5 at a time: over the wrap too. */
		for (round = 0, n = 0; round < 20; round++, n += 5) {
			for (k = 0; k < 4; k++)
				offer_packed(&f, n + k, 10);
			kick(&f);
			want(&f, 41);
			assert_int_equal(last_result, 0);
			assert_false(packed_used(&f, n));
			offer_packed(&f, n + 4, 10);
			kick(&f);
			for (k = 0; k < 5; k++) {
				assert_true(packed_used(&f, n + k));
				assert_int_equal(le32_get(packed_desc(&f, (n + k) % RING)->len),
					k < 4 ? 10 : 1);
			}
		}
		for (k = 0; k < RING; k++)
			offer_packed(&f, n + k, 10);
		kick(&f);
		want(&f, 1000);
		assert_int_equal(num_dropped, 1);
		want(&f, 10 * RING);
		assert_true(packed_used(&f, n + RING - 1));
		assert_int_equal(view(&f).inuse, 0);
		assert_false(f.dev->broken);
		fix_deinit(&f);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_split),
		cmocka_unit_test(test_never_enough),
		cmocka_unit_test(test_no_more_large_blocks),
		cmocka_unit_test(test_index_runs_away),
		cmocka_unit_test(test_bad_chain_behind),
		cmocka_unit_test(test_packed),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
