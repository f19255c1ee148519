/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Elements and queue status of packed rings: positions without wrap counters, buffer ids, event
 * suppression; next or last, by position, available, in flight or used; and that looking changes
 * nothing.
 */
#include "packed_driver.h"

#include "base/alloc.h"
#include "inspect/element.h"
#include "inspect/sources.h"
#include "inspect/virtio.h"
#include "qom/qom.h"

#define NUM	  7
#define EVENT_IDX (1ull << VIRTIO_F_EVENT_IDX)

static struct pdriver d;

static void init(struct fix *f, uint64_t features)
{
	fix_init(f, NUM, features | PACKED);
	pd_init(&d, f);
}

static struct element look(struct fix *f, int index)
{
	uint16_t at = (uint16_t)index;
	struct element e;
	struct err err = { 0 };
	int r = element_read(f->vq, index < 0 ? NULL : &at, &e, &err);

	if (r < 0)
		fail_msg("%s", err.msg);
	return e;
}

/* The element at @index, -1 the next one: whose, its id, where it begins, its descriptors' bytes.
 */
static void expect(struct fix *f, int index, bool owned, uint16_t id, uint16_t ring, size_t n,
	const uint32_t *lens)
{
	struct element e = look(f, index);

	assert_false(e.none);
	assert_int_equal(e.owned, owned);
	assert_int_equal(e.head, id);
	assert_int_equal(e.ring, ring);
	assert_int_equal(e.chain.num, n);
	for (size_t i = 0; i < n; i++)
		assert_int_equal(e.chain.descs[i].len, lens[i]);
	element_free(&e);
}

static void expect_error(struct fix *f, int index, const char *part)
{
	uint16_t at = (uint16_t)index;
	struct element e;
	struct err err = { 0 };

	assert_true(element_read(f->vq, index < 0 ? NULL : &at, &e, &err) < 0);
	if (!strstr(err.msg, part))
		fail_msg("'%s' does not say '%s'", err.msg, part);
	assert_int_equal(e.chain.num, 0);
}

static const struct pdesc two[] = { { DATA_AT, 16, 0 }, { DATA_AT + 64, 512, WRITE } };
static const uint32_t two_lens[] = { 16, 512 };

/* A chain of one indirect descriptor with two entries, which look like @two. */
static void offer_indirect(struct fix *f, uint16_t id)
{
	uint64_t at = TABLE_AT + id * 64u;
	struct pdesc table = { at, 32, INDIRECT };

	set_desc(f, at, 0, DATA_AT, 16, 0xbad, 0);
	set_desc(f, at, 1, DATA_AT + 64, 512, 0xbad, WRITE);
	pd_offer(&d, id, &table, 1);
}

static void test_nothing_yet(void **state)
{
	struct fix f;

	(void)state;
	init(&f, 0);
	for (int index = -1; index < 8; index++) {
		struct element e = look(&f, index);

		assert_true(e.none);
		assert_int_equal(e.chain.num, 0);
		assert_int_equal(e.head, 0);
		element_free(&e);
	}
	fix_deinit(&f);
}

/* Every place of four rounds: waiting, in flight, used. */
static void test_waits_in_flight_used(void **state)
{
	struct test_device *td;
	struct fix f;

	(void)state;
	init(&f, 0);
	td = test_device(&f);
	for (unsigned int i = 0; i < 4 * NUM; i++) {
		uint16_t pos = (uint16_t)(d.offered % NUM), next = (uint16_t)((pos + 2) % NUM);
		uint16_t id;
		uint32_t len;

		td->num_held = 0;
		td->verdict = SERVE_RETRY;
		pd_offer(&d, i % NUM, two, 2);
		offer_indirect(&f, (i + 1) % NUM);
		expect(&f, -1, true, i % NUM, pos, 2, two_lens);
		expect(&f, pos, true, i % NUM, pos, 2, two_lens);
		expect(&f, pos + 5 * NUM, true, i % NUM, pos, 2, two_lens);
		expect(&f, next, true, (uint16_t)((i + 1) % NUM), next, 2, two_lens);
		td->verdict = SERVE_HELD;
		kick(&f);
		assert_int_equal(td->num_held, 2);
		expect(&f, pos, true, i % NUM, pos, 2, two_lens);
		/* None waits: the one taken last. */
		expect(&f, -1, true, (uint16_t)((i + 1) % NUM), next, 2, two_lens);
		/* Out of order: the answer lies in the place of the other one, which is whole. */
		vq_complete(f.vq, td->held[1]);
		pump(&f);
		assert_true(pd_take(&d, &id, &len));
		assert_int_equal(id, (i + 1) % NUM);
		vq_complete(f.vq, td->held[0]);
		pump(&f);
		assert_true(pd_take(&d, &id, &len));
		td->num_held = 0;
		/* All the driver's: the table is not followed. */
		expect(&f, next, false, (uint16_t)((i + 1) % NUM), next, 1,
			(const uint32_t[]){ 32 });
		assert_int_equal(view(&f).last_avail_idx, d.offered % NUM);
	}
	fix_deinit(&f);
}

/* The reply as a client sees it. */
static void test_reply(void **state)
{
	struct VirtioQueueElement *e = NULL;
	struct VirtQueueStatus *q = NULL;
	struct qom_object *root = qom_new_root();
	struct err err = { 0 };
	uint16_t index = 1;
	struct fix f;

	(void)state;
	init(&f, EVENT_IDX);
	qom_add(root, "t0", "virtio-test")->vdev = f.dev;
	test_device(&f)->verdict = SERVE_HELD;
	pd_offer(&d, 5, two, 1);
	kick(&f);
	pd_want(&d, VRING_PACKED_EVENT_DESC, 0x8003);
	pd_offer(&d, 6, two, 2);
	assert_int_equal(inspect_queue_element(root, "/t0", 0, &index, &e, &err), 0);
	assert_int_equal(e->index, 6);
	assert_int_equal(e->avail->flags, VRING_PACKED_EVENT_DESC);
	assert_int_equal(e->avail->idx, 0x8003);
	assert_int_equal(e->avail->ring, 1);
	assert_int_equal(e->used->flags, VRING_PACKED_EVENT_DESC);
	assert_int_equal(e->used->idx, 0x8001);
	assert_int_equal(e->descs.num, 2);
	/* The flags of a packed descriptor, in the contract's words. */
	assert_int_equal(e->descs.items[0]->flags.num, 2);
	assert_string_equal(e->descs.items[0]->flags.items[0], "avail");
	assert_string_equal(e->descs.items[0]->flags.items[1], "next");
	qapi_free_VirtioQueueElement(e);

	assert_int_equal(inspect_queue_status(root, "/t0", 0, &q, &err), 0);
	assert_int_equal(q->vring_num, NUM);
	assert_int_equal(q->last_avail_idx, 1);
	assert_int_equal(q->shadow_avail_idx, 1);
	assert_int_equal(q->used_idx, 0);
	assert_int_equal(q->inuse, 1);
	assert_int_equal(q->vring_desc, DESC_AT);
	assert_int_equal(q->vring_avail, AVAIL_AT);
	assert_int_equal(q->vring_used, USED_AT);
	qapi_free_VirtQueueStatus(q);
	qom_free(root);
	fix_deinit(&f);
}

/* An idle queue goes on where the transport says, and shows it. */
static void test_idle(void **state)
{
	struct vq_view v;
	struct fix f;

	(void)state;
	init(&f, 0);
	for (uint16_t i = 0; i < 10; i++) {
		pd_offer(&d, i % NUM, two, 1);
		kick(&f);
	}
	vdev_hold(f.dev);
	pump(&f);
	assert_true(element_view(f.vq, &v));
	assert_true(v.packed);
	assert_int_equal(v.last_avail_idx, 3);
	assert_int_equal(v.used_idx, 3);
	assert_false(v.avail_wrap || v.used_wrap);
	pd_offer(&d, 4, two, 2);
	expect(&f, -1, true, 4, 3, 2, two_lens);
	f.vq->cfg.next_avail = f.vq->cfg.next_used = 0x8005;
	assert_true(element_view(f.vq, &v));
	assert_int_equal(v.last_avail_idx, 5);
	assert_true(v.avail_wrap);
	vdev_release(f.dev);
	fix_deinit(&f);
}

static const struct bad_row {
	const char *name;
	struct pdesc descs[3];
	uint32_t n;
	const char *reason;
} bad_rows[] = {
	{ "table in a list", { { DATA_AT, 16, 0 }, { TABLE_AT, 16, INDIRECT } }, 2,
		"descriptor 1 is INDIRECT within a list" },
	{ "table and next", { { TABLE_AT, 16, INDIRECT | NEXT } }, 1, "both INDIRECT and NEXT" },
	{ "ragged table", { { TABLE_AT, 17, INDIRECT } }, 1, "not a multiple of 16" },
	{ "table outside memory", { { RAM_END, 16, INDIRECT } }, 1, "Cannot map indirect buffer" },
	{ "huge table", { { TABLE_AT, 0xfffffff0, INDIRECT } }, 1, "longer than 1024" },
};

static void test_bad_chains(void **state)
{
	struct fix f;

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(bad_rows); i++) {
		init(&f, 0);
		pd_offer(&d, 3, bad_rows[i].descs, bad_rows[i].n);
		expect_error(&f, -1, bad_rows[i].reason);
		expect_error(&f, 0, bad_rows[i].reason);
		assert_false(f.dev->broken);
		/* Broken by its device, it still can be looked at. */
		kick(&f);
		assert_true(f.dev->broken);
		expect_error(&f, -1, bad_rows[i].reason);
		fix_deinit(&f);
	}
	init(&f, 0);
	for (uint16_t i = 0; i < NUM; i++)
		pd_at(&d, i)->flags = le16_make(NEXT | P_AVAIL);
	expect_error(&f, -1, "after all 7");
	expect_error(&f, 4, "after all 3");
	f.vq->cfg.driver = RAM_END;
	expect_error(&f, -1, "driver event suppression area");
	f.vq->cfg.desc = UINT64_MAX - 64;
	f.vq->cfg.driver = AVAIL_AT;
	expect_error(&f, -1, "Queue 0: the descriptor area");
	f.vq->cfg.num = 0;
	expect_error(&f, 3, "size 0 is not within");
	f.vq->cfg.num = VQ_SIZE_MAX + 1;
	expect_error(&f, 3, "size 32769 is not within");
	fix_deinit(&f);
}

static void test_nothing_is_touched(void **state)
{
	static uint8_t before[RAM_END];
	struct vq_view view_before, view_after;
	struct fix f;

	(void)state;
	init(&f, EVENT_IDX);
	test_device(&f)->verdict = SERVE_HELD;
	offer_indirect(&f, 3);
	kick(&f);
	offer_indirect(&f, 4);
	memcpy(before, f.ram, RAM_END);
	view_before = view(&f);
	for (int i = -1; i < 1000; i++) {
		struct element e = look(&f, i);

		element_free(&e);
	}
	assert_memory_equal(before, f.ram, RAM_END);
	view_after = view(&f);
	assert_memory_equal(
		&view_before.counters, &view_after.counters, sizeof(struct vq_counters));
	fix_deinit(&f);
}

static void expect_note(struct qom_object *root, const char *member, const char *part)
{
	struct VirtioMemberInfoList list = { 0 };
	struct err err = { 0 };
	bool found = false;

	assert_int_equal(inspect_sources(root, "/t0", &list, &err), 0);
	for (size_t i = 0; i < list.num; i++)
		if (!strcmp(list.items[i]->member, member))
			found = list.items[i]->note && strstr(list.items[i]->note, part);
	qapi_clear_VirtioMemberInfoList(&list);
	if (!found)
		fail_msg("%s does not say '%s'", member, part);
}

static void test_notes(void **state)
{
	struct qom_object *root = qom_new_root();
	struct fix f;

	(void)state;
	init(&f, 0);
	qom_add(root, "t0", "virtio-test")->vdev = f.dev;
	expect_note(root, "queue.0.last-avail-idx", "the wrap counter is 1");
	for (uint16_t i = 0; i < 9; i++) {
		pd_offer(&d, i % NUM, two, 1);
		kick(&f);
	}
	expect_note(root, "queue.0.last-avail-idx", "the wrap counter is 0");
	expect_note(root, "queue.0.used-idx", "the wrap counter is 0");
	expect_note(root, "queue.0.shadow-avail-idx", "packed ring");
	expect_note(root, "queue.0.element.index", "buffer id");
	expect_note(root, "queue.0.element.avail", "off_wrap");
	fix_deinit(&f);
	qom_free(root);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_nothing_yet),
		cmocka_unit_test(test_waits_in_flight_used),
		cmocka_unit_test(test_reply),
		cmocka_unit_test(test_idle),
		cmocka_unit_test(test_bad_chains),
		cmocka_unit_test(test_nothing_is_touched),
		cmocka_unit_test(test_notes),
	};

	log_set_level((enum log_level) - 1);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
