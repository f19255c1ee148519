/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Packed rings: wrap counters, ids and places, batches, notification in both directions, stop and
 * going on.
 */
#include "packed_driver.h"
#include "virtio/notify.h"

#define EVENT_IDX (1ull << VIRTIO_F_EVENT_IDX)

static struct pdriver d;

static void init(struct fix *f, uint32_t num, uint64_t features)
{
	fix_init(f, num, features | PACKED);
	pd_init(&d, f);
	num_calls(f);
}

static void assert_taken(uint16_t want_id, uint32_t want_len)
{
	uint16_t id = 0xffff;
	uint32_t len = 0;

	assert_true(pd_take(&d, &id, &len));
	assert_int_equal(id, want_id);
	assert_int_equal(len, want_len);
}

static void assert_none_taken(void)
{
	assert_false(pd_is_used(&d, d.taken));
}

static enum serve_verdict write_id(struct vq *vq, struct chain *c)
{
	uint8_t bytes[64];
	size_t n = MIN((size_t)c->head % 64 + 1, (size_t)c->writable.bytes);

	(void)vq;
	memset(bytes, c->head, sizeof(bytes));
	assert_true(chain_put(c, bytes, n));
	return SERVE_DONE;
}

static void test_done(void **state)
{
	struct fix f;

	(void)state;
	init(&f, 8, 0);
	test_device(&f)->serve = write_id;
	for (uint16_t i = 0; i < 8; i++)
		pd_offer_one(&d, 7 - i, WRITE);
	kick(&f);
	for (uint16_t i = 0; i < 8; i++) {
		/* The device says that it wrote. */
		assert_true(le16_get(pd_at(&d, i)->flags) & WRITE);
		assert_taken(7 - i, 8u - i);
		assert_int_equal(*(uint8_t *)ram(&f, DATA_AT + (7u - i) * 64u), 7 - i);
	}
	assert_none_taken();
	/* One batch, one interrupt. */
	assert_int_equal(num_calls(&f), 1);
	assert_int_equal(view(&f).counters.completed, 8);
	assert_int_equal(view(&f).inuse, 0);
	/* Round 1 begins: the position without its wrap counter. */
	assert_true(view(&f).packed);
	assert_int_equal(view(&f).last_avail_idx, 0);
	assert_false(view(&f).avail_wrap);
	assert_int_equal(view(&f).shadow_avail_idx, 0);
	assert_int_equal(view(&f).used_idx, 0);
	assert_false(view(&f).used_wrap);
	assert_int_equal(view(&f).last_head, 7);
	fix_deinit(&f);
}

/* Nothing is written: the length means nothing, and the flag says so. */
static void test_read_only(void **state)
{
	struct fix f;

	(void)state;
	init(&f, 4, 0);
	pd_offer_one(&d, 2, 0);
	kick(&f);
	assert_false(le16_get(pd_at(&d, 0)->flags) & WRITE);
	assert_taken(2, 0);
	assert_int_equal(test_device(&f)->readable, 64);
	fix_deinit(&f);
}

static void test_every_size(void **state)
{
	static const uint32_t sizes[] = { 1, 2, 3, 5, 7, 8, 100, 255, 256, 1000, 32767, 32768 };
	struct fix f;

	(void)state;
	for (size_t s = 0; s < ARRAY_SIZE(sizes); s++) {
		uint32_t num = sizes[s];

		init(&f, num, 0);
		test_device(&f)->serve = write_id;
		/* Three rounds and a half, in steps that do not divide the ring. */
		for (uint32_t n = 0, step = num > 9 ? num / 3 + 1 : 1; n < num * 7 / 2; n += step) {
			for (uint32_t i = 0; i < step; i++)
				pd_offer_one(&d, (uint16_t)((n + i) % num), WRITE);
			kick(&f);
			for (unsigned int turns = 0; turns < step / VQ_BUDGET; turns++)
				pump(&f);
			for (uint32_t i = 0; i < step; i++) {
				uint16_t id = (uint16_t)((n + i) % num);

				assert_taken(id, id % 64 + 1u);
			}
			assert_none_taken();
		}
		assert_false(f.dev->broken);
		fix_deinit(&f);
	}
}

/* A chain that begins at the ring's end and goes on at its start; its id is the last one's. */
static void test_chain_across_the_end(void **state)
{
	const struct pdesc descs[] = { { DATA_AT, 16, 0 }, { DATA_AT + 64, 8, 0 },
		{ DATA_AT + 128, 32, WRITE } };
	struct fix f;

	(void)state;
	init(&f, 5, 0);
	for (uint16_t i = 0; i < 9; i++) {
		pd_offer(&d, i % 5, descs, 3);
		kick(&f);
		assert_int_equal(test_device(&f)->readable, 24);
		assert_int_equal(test_device(&f)->writable, 32);
		assert_int_equal(test_device(&f)->head, i % 5);
		assert_taken(i % 5, 0);
		assert_int_equal(view(&f).last_avail_idx, (i + 1) * 3 % 5);
		assert_int_equal(view(&f).used_idx, (i + 1) * 3 % 5);
	}
	/* As long as the ring. */
	pd_offer(&d, 4,
		(struct pdesc[]){ { DATA_AT, 1, 0 }, { DATA_AT, 2, 0 }, { DATA_AT, 3, 0 },
			{ DATA_AT, 4, 0 }, { DATA_AT, 5, 0 } },
		5);
	kick(&f);
	assert_int_equal(test_device(&f)->readable, 15);
	assert_taken(4, 0);
	assert_false(f.dev->broken);
	fix_deinit(&f);
}

static void test_out_of_order(void **state)
{
	static const uint16_t order[] = { 3, 0, 2, 1 };
	/* Lengths 1, 3, 2, 2: eight places in all. */
	static const uint32_t lens[] = { 1, 3, 2, 2 };
	const struct pdesc descs[] = { { DATA_AT, 16, WRITE }, { DATA_AT, 16, WRITE },
		{ DATA_AT, 16, WRITE } };
	struct test_device *td;
	struct fix f;

	(void)state;
	init(&f, 9, 0);
	td = test_device(&f);
	td->verdict = SERVE_HELD;
	for (unsigned int round = 0; round < 5; round++) {
		uint64_t base = d.taken;

		td->num_held = 0;
		for (uint16_t i = 0; i < 4; i++)
			pd_offer(&d, i, descs, lens[i]);
		kick(&f);
		assert_int_equal(td->num_held, 4);
		assert_int_equal(view(&f).inuse, 4);
		for (unsigned int i = 0; i < 4; i++) {
			struct vq_inflight in;

			assert_true(vq_read_inflight(f.vq, order[i], &in));
			assert_true(chain_put(td->held[order[i]], "xyz!", order[i] + 1u));
			vq_complete(f.vq, td->held[order[i]]);
			if (i == 1)
				pump(&f);
		}
		/* The second batch is not there before it is flushed, though it was written. */
		assert_taken(3, 4);
		assert_taken(0, 1);
		assert_none_taken();
		pump(&f);
		assert_taken(2, 3);
		assert_taken(1, 2);
		assert_int_equal(d.taken - base, 8);
		assert_int_equal(view(&f).used_idx, d.taken % 9);
		assert_int_equal(view(&f).inuse, 0);
	}
	td->num_held = 0;
	assert_false(f.dev->broken);
	fix_deinit(&f);
}

static void test_indirect(void **state)
{
	struct pdesc table = { TABLE_AT, 48, INDIRECT };
	struct fix f;

	(void)state;
	init(&f, 4, 1ull << VIRTIO_F_INDIRECT_DESC);
	for (uint16_t i = 0; i < 10; i++) {
		/* One behind the other, whatever NEXT and the ids say. */
		set_desc(&f, TABLE_AT, 0, DATA_AT, 16, i % 2 ? 9 : 0, i % 2 ? NEXT : 0);
		set_desc(&f, TABLE_AT, 1, DATA_AT + 64, 100, 77, i % 3 ? NEXT : INDIRECT);
		set_desc(&f, TABLE_AT, 2, DATA_AT + 256, 32, 3, WRITE | NEXT | P_AVAIL);
		/* Its own WRITE flag means nothing. */
		table.flags = i % 2 ? INDIRECT | WRITE : INDIRECT;
		pd_offer(&d, i % 4, &table, 1);
		kick(&f);
		assert_int_equal(test_device(&f)->num_served, i + 1u);
		assert_int_equal(test_device(&f)->readable, 116);
		assert_int_equal(test_device(&f)->writable, 32);
		assert_taken(i % 4, 0);
	}
	fix_deinit(&f);
}

static void test_retry(void **state)
{
	struct test_device *td;
	struct fix f;

	(void)state;
	init(&f, 3, 0);
	td = test_device(&f);
	td->verdict = SERVE_RETRY;
	pd_offer_one(&d, 1, WRITE);
	kick(&f);
	assert_int_equal(td->num_served, 1);
	assert_none_taken();
	assert_int_equal(view(&f).last_avail_idx, 0);
	td->verdict = SERVE_DONE;
	vq_resume(f.vq);
	pump(&f);
	assert_int_equal(td->num_served, 2);
	assert_taken(1, 0);
	fix_deinit(&f);
}

/* --- notification --- */

static const struct call_row {
	const char *name;
	uint64_t features;
	uint16_t flags;
	int at; /* the place asked for, relative to the first of the batch; -100: 0x7fff */
	bool called;
} call_rows[] = {
	{ "enabled", 0, 0, 0, true },
	{ "disabled", 0, 1, 0, false },
	{ "at a place, not negotiated", 0, 2, 5, true },
	{ "reserved flags value", 0, 3, 0, true },
	{ "reserved bits beside disable", 0, 0xfffd, 0, false },
	{ "enabled, with EVENT_IDX", EVENT_IDX, 0, 5, true },
	{ "disabled, with EVENT_IDX", EVENT_IDX, 1, 0, false },
	{ "reserved flags value, with EVENT_IDX", EVENT_IDX, 3, 5, true },
	{ "at the first of the batch", EVENT_IDX, 2, 0, true },
	{ "within it, inside a chain", EVENT_IDX, 2, 1, true },
	{ "at its last place", EVENT_IDX, 2, 3, true },
	{ "behind it", EVENT_IDX, 2, 4, false },
	{ "far behind it", EVENT_IDX, 2, 6, false },
	{ "just before it", EVENT_IDX, 2, -1, false },
	{ "garbage", EVENT_IDX, 2, -100, true },
};

/* Two chains of two from each place of the ring on, so that every row wraps somewhere. */
static void call_row(struct fix *f, const struct call_row *row)
{
	const struct pdesc descs[] = { { DATA_AT, 16, 0 }, { DATA_AT, 16, WRITE } };

	for (unsigned int i = 0; i < 2 * d.num; i++) {
		uint64_t at = d.taken + 2 * d.num;

		pd_want(&d, row->flags,
			row->at == -100 ? 0x7fff : pd_off_wrap(&d, at + (uint64_t)row->at));
		num_calls(f);
		pd_offer(&d, 0, descs, 2);
		pd_offer(&d, 1, descs, 2);
		kick(f);
		assert_taken(0, 0);
		assert_taken(1, 0);
		if (i && num_calls(f) != row->called)
			fail_msg("%s: at %u", row->name, i);
		/* One step aside. */
		pd_want(&d, 0, 0);
		pd_offer_one(&d, 2, 0);
		kick(f);
		assert_taken(2, 0);
	}
}

static void test_calls(void **state)
{
	struct fix f;

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(call_rows); i++) {
		init(&f, 7, call_rows[i].features);
		call_row(&f, &call_rows[i]);
		fix_deinit(&f);
	}
}

static uint16_t event_flags_in_serve;

static enum serve_verdict look_at_event(struct vq *vq, struct chain *c)
{
	(void)vq;
	(void)c;
	event_flags_in_serve = le16_get(pd_device_event(&d)->flags);
	return SERVE_DONE;
}

static void test_kicks_by_flags(void **state)
{
	struct fix f;

	(void)state;
	init(&f, 3, 0);
	test_device(&f)->serve = look_at_event;
	for (uint16_t i = 0; i < 7; i++) {
		assert_int_equal(le16_get(pd_device_event(&d)->flags), VRING_PACKED_EVENT_ENABLE);
		pd_offer_one(&d, i % 3, 0);
		kick(&f);
		assert_int_equal(event_flags_in_serve, VRING_PACKED_EVENT_DISABLE);
		assert_taken(i % 3, 0);
	}
	fix_deinit(&f);
}

static void test_kicks_by_place(void **state)
{
	struct fix f;

	(void)state;
	init(&f, 3, EVENT_IDX);
	for (uint16_t i = 0; i < 14; i++) {
		assert_int_equal(le16_get(pd_device_event(&d)->flags), VRING_PACKED_EVENT_DESC);
		assert_int_equal(
			le16_get(pd_device_event(&d)->off_wrap), pd_off_wrap(&d, d.offered));
		pd_offer_one(&d, i % 3, 0);
		kick(&f);
		assert_taken(i % 3, 0);
	}
	fix_deinit(&f);
}

/* A chain that comes without a kick, just as the device asks for one, is served. */
static enum serve_verdict offer_another(struct vq *vq, struct chain *c)
{
	(void)vq;
	if (c->head < 2)
		pd_offer_one(&d, c->head + 1, 0);
	return SERVE_DONE;
}

static void test_looks_again(void **state)
{
	struct fix f;

	(void)state;
	init(&f, 3, EVENT_IDX);
	test_device(&f)->serve = offer_another;
	pd_offer_one(&d, 0, 0);
	kick(&f);
	assert_int_equal(test_device(&f)->num_served, 3);
	fix_deinit(&f);
}

/* --- stop and going on --- */

static void test_stop_and_go_on(void **state)
{
	struct test_device *td;
	struct fix f;

	(void)state;
	init(&f, 5, 0);
	td = test_device(&f);
	for (uint16_t round = 0; round < 30; round++) {
		td->verdict = SERVE_HELD;
		td->num_held = 0;
		pd_offer_one(&d, 3, WRITE);
		pd_offer_one(&d, 1, WRITE);
		kick(&f);
		vdev_hold(f.dev);
		pump(&f);
		assert_int_equal(f.vq->state, VQ_STOPPING);
		fix_complete_held(&f);
		/* Waits until it runs again. */
		pd_offer_one(&d, 2, WRITE);
		pump(&f);
		assert_true(vdev_is_idle(f.dev));
		assert_true(f.vq->cfg.has_base);
		assert_int_equal(f.vq->cfg.next_avail, pd_off_wrap(&d, d.offered - 1));
		assert_int_equal(f.vq->cfg.next_used, f.vq->cfg.next_avail);
		td->verdict = SERVE_DONE;
		vdev_release(f.dev);
		pump(&f);
		assert_taken(3, 0);
		assert_taken(1, 0);
		assert_taken(2, 0);
		assert_none_taken();
	}
	assert_false(f.dev->broken);
	/* Reset: from the beginning, whatever lies in the ring. */
	fix_reset(&f);
	fix_start_ring(&f, 6, PACKED);
	pd_init(&d, &f);
	pd_offer_one(&d, 5, WRITE);
	kick(&f);
	assert_taken(5, 0);
	fix_deinit(&f);
}

/* Both formats, one after the other, in the same memory. */
static void test_other_format(void **state)
{
	struct fix f;

	(void)state;
	init(&f, 8, 0);
	pd_offer_one(&d, 5, WRITE);
	kick(&f);
	assert_taken(5, 0);
	fix_reset(&f);
	fix_start_ring(&f, 8, 0);
	assert_false(view(&f).packed);
	push_one(&f, 3, DATA_AT, 64, WRITE);
	assert_int_equal(used_idx(&f), 1);
	fix_reset(&f);
	fix_start_ring(&f, 8, PACKED);
	pd_init(&d, &f);
	pd_offer_one(&d, 6, WRITE);
	kick(&f);
	assert_taken(6, 0);
	fix_deinit(&f);
}

/* What a front-end says at the start of a ring that it or another one has used. */
static const struct base_row {
	const char *name;
	uint16_t avail, used;
	uint64_t place; /* where the driver stands */
	bool is_used; /* the ring carries an answer of the round before */
} base_rows[] = {
	{ "the beginning", 0x8000, 0x8000, 0, false },
	{ "nothing known of wrap counters, a new ring", 0, 0, 0, false },
	{ "the second round", 0, 0, 8, true },
	{ "the third round", 0x8000, 0x8000, 16, true },
	{ "amid the first round", 0x8003, 0x8003, 3, false },
	{ "amid the second round", 5, 5, 13, true },
};

static void start_at(struct fix *f, const struct base_row *row)
{
	fix_reset(f);
	fix_start_ring(f, 8, PACKED);
	vdev_hold(f->dev);
	pump(f);
	assert_true(vdev_is_idle(f->dev));
	f->vq->cfg.next_avail = row->avail;
	f->vq->cfg.next_used = row->used;
	pd_init(&d, f);
	d.offered = d.taken = row->place;
	if (row->is_used)
		pd_show(&d, 2, P_AVAIL | P_USED);
	pd_offer_one(&d, 4, WRITE);
	vdev_release(f->dev);
	pump(f);
}

static void test_bases(void **state)
{
	struct fix f;

	(void)state;
	init(&f, 8, 0);
	for (size_t i = 0; i < ARRAY_SIZE(base_rows); i++) {
		uint16_t id;
		uint32_t len;

		start_at(&f, &base_rows[i]);
		if (!pd_take(&d, &id, &len) || id != 4)
			fail_msg("%s: not served %s", base_rows[i].name, f.dev->broken_reason);
	}
	fix_deinit(&f);
}

/* virtio 1.3, "Driver Notifications": the word under NOTIFICATION_DATA. */
static const struct {
	uint8_t bytes[4];
	struct vq_notification want;
	uint16_t next_avail;
} notifications[] = {
	{ { 0, 0, 0, 0 }, { 0, 0, false }, 0 },
	{ { 1, 0, 0, 0x80 }, { 1, 0, true }, 0x8000 },
	{ { 0x34, 0x12, 0x78, 0x56 }, { 0x1234, 0x5678, false }, 0x5678 },
	{ { 0xff, 0xff, 0xff, 0x7f }, { 0xffff, 0x7fff, false }, 0x7fff },
	{ { 0, 0, 0xfe, 0xff }, { 0, 0x7ffe, true }, 0xfffe },
};

static void test_notification_data(void **state)
{
	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(notifications); i++) {
		struct vq_notification got;
		le32 word;

		memcpy(&word, notifications[i].bytes, 4);
		got = vq_notification_decode(word);
		assert_int_equal(got.queue, notifications[i].want.queue);
		assert_int_equal(got.next_off, notifications[i].want.next_off);
		assert_int_equal(got.next_wrap, notifications[i].want.next_wrap);
		assert_int_equal(vq_notification_next_avail(&got), notifications[i].next_avail);
	}
}

/* The chain taken last is the ring's only while it goes on where it stood. */
static void test_last_head_of_another_ring(void **state)
{
	static const struct {
		uint32_t num;
		uint16_t base;
		bool has_last_head;
	} rows[] = { { 8, 0x0001, true }, { 8, 0x0002, false }, { 8, 0x8001, false },
		{ 7, 0x0001, true }, { 6, 0x0001, false } };
	const struct pdesc three[3] = { { DATA_AT, 16, 0 }, { DATA_AT, 16, 0 },
		{ DATA_AT, 16, 0 } };

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		struct fix f;

		init(&f, 8, 0);
		for (uint16_t id = 0; id < 3; id++) {
			pd_offer(&d, id, three, 3);
			kick(&f);
			assert_taken(id, 0);
		}
		assert_int_equal(view(&f).last_head, 6);
		vdev_hold(f.dev);
		pump(&f);
		f.vq->cfg.num = rows[i].num;
		f.vq->cfg.next_avail = f.vq->cfg.next_used = rows[i].base;
		vdev_release(f.dev);
		assert_int_equal(view(&f).has_last_head, rows[i].has_last_head);
		fix_deinit(&f);
	}
}

/* Whether the driver was called for what was there before the start is not known. */
static void test_first_call(void **state)
{
	struct fix f;

	(void)state;
	init(&f, 8, 1ull << VIRTIO_F_EVENT_IDX);
	pd_want(&d, VRING_PACKED_EVENT_DESC, VRING_PACKED_WRAP | 5);
	for (uint16_t i = 0; i < 3; i++) {
		pd_offer_one(&d, i, 0);
		kick(&f);
		assert_int_equal(num_calls(&f), !i);
	}
	fix_deinit(&f);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_done),
		cmocka_unit_test(test_read_only),
		cmocka_unit_test(test_every_size),
		cmocka_unit_test(test_chain_across_the_end),
		cmocka_unit_test(test_out_of_order),
		cmocka_unit_test(test_indirect),
		cmocka_unit_test(test_retry),
		cmocka_unit_test(test_calls),
		cmocka_unit_test(test_first_call),
		cmocka_unit_test(test_kicks_by_flags),
		cmocka_unit_test(test_kicks_by_place),
		cmocka_unit_test(test_looks_again),
		cmocka_unit_test(test_stop_and_go_on),
		cmocka_unit_test(test_other_format),
		cmocka_unit_test(test_bases),
		cmocka_unit_test(test_last_head_of_another_ring),
		cmocka_unit_test(test_notification_data),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
