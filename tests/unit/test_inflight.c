/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The in-flight region of a split queue: its layout, what a start makes of what it finds there, and
 * what it refuses. That a killed process leaves nothing lost is test_inflight_crash.c.
 */
#include "inflight_fixture.h"

#include <signal.h>

#include "base/cleanup.h"
#include "mem/guard.h"
#include "tests/unit/fault.h"

#define NUM 8

static void test_layout(void **state)
{
	(void)state;
	assert_int_equal(offsetof(struct inflight_split, version), 8);
	assert_int_equal(offsetof(struct inflight_split, desc_num), 10);
	assert_int_equal(offsetof(struct inflight_split, last_batch_head), 12);
	assert_int_equal(offsetof(struct inflight_split, used_idx), 14);
	assert_int_equal(offsetof(struct inflight_split, desc), 16);
	assert_int_equal(offsetof(struct inflight_split_desc, next), 6);
	assert_int_equal(offsetof(struct inflight_split_desc, counter), 8);
	assert_int_equal(offsetof(struct inflight_packed, version), 8);
	assert_int_equal(offsetof(struct inflight_packed, desc_num), 10);
	assert_int_equal(offsetof(struct inflight_packed, free_head), 12);
	assert_int_equal(offsetof(struct inflight_packed, old_free_head), 14);
	assert_int_equal(offsetof(struct inflight_packed, used_idx), 16);
	assert_int_equal(offsetof(struct inflight_packed, old_used_idx), 18);
	assert_int_equal(offsetof(struct inflight_packed, used_wrap_counter), 20);
	assert_int_equal(offsetof(struct inflight_packed, old_used_wrap_counter), 21);
	assert_int_equal(offsetof(struct inflight_packed, desc), 32);
	assert_int_equal(offsetof(struct inflight_packed_desc, next), 2);
	assert_int_equal(offsetof(struct inflight_packed_desc, last), 4);
	assert_int_equal(offsetof(struct inflight_packed_desc, num), 6);
	assert_int_equal(offsetof(struct inflight_packed_desc, counter), 8);
	assert_int_equal(offsetof(struct inflight_packed_desc, id), 16);
	assert_int_equal(offsetof(struct inflight_packed_desc, flags), 18);
	assert_int_equal(offsetof(struct inflight_packed_desc, len), 20);
	assert_int_equal(offsetof(struct inflight_packed_desc, addr), 24);
	/* As others that keep to the document's format count it. */
	assert_int_equal(vq_inflight_bytes(false, 1), 64);
	assert_int_equal(vq_inflight_bytes(false, 128), 2112);
	assert_int_equal(vq_inflight_bytes(true, 1), 64);
	assert_int_equal(vq_inflight_bytes(true, 128), 4160);
	assert_int_equal(vq_inflight_bytes(true, 32768), 1048640);
}

/* --- what a start finds --- */

struct mark {
	uint16_t head;
	uint64_t counter;
	uint16_t next;
	uint8_t inflight;
};

struct found {
	const char *name;
	uint16_t version, desc_num; /* desc_num 0: NUM */
	uint16_t ring_used, ring_avail;
	uint16_t used_idx, last_batch_head;
	struct mark marks[NUM];
	uint16_t base; /* what the front-end sets */
	const char *served; /* heads, in order, a digit each */
	const char *refused; /* part of the sentence; NULL: it runs */
	uint64_t features;
	uint32_t ring_num; /* 0: NUM */
};

/* The available ring names heads in order: index i is head i % NUM. */
static const struct found found[] = {
	{ "never used: the front-end's base counts", 0, 0, 0, 3, 0, 0, { { 1, 1, 0, 1 } }, 1, "12",
		NULL, 0, 0 },
	{ "never used, a rest of something else", 0, 77, 5, 8, 3, 9, { { 1, 1, 9, 7 } }, 5, "567",
		NULL, 0, 0 },
	{ "nothing in flight", 1, 0, 4, 6, 4, 3, { { 0 } }, 4, "45", NULL, 0, 0 },
	{ "a base that is not so", 1, 0, 4, 6, 4, 3, { { 0 } }, 0, "45", NULL, 0, 0 },
	{ "in flight by counter, not by head", 1, 0, 2, 6, 2, 0,
		{ { 2, 30, 0, 1 }, { 3, 10, 0, 1 }, { 4, 20, 0, 1 } }, 2, "3425", NULL, 0, 0 },
	{ "an index near its end", 1, 0, 65534, 1, 65534, 0, { { 6, 9, 0, 1 }, { 7, 8, 0, 1 } },
		65534, "760", NULL, 0, 0 },
	{ "the last batch was shown", 1, 0, 3, 5, 1, 2,
		{ { 1, 4, 0, 1 }, { 2, 5, 1, 1 }, { 3, 6, 0, 1 } }, 3, "34", NULL, 0, 0 },
	{ "half of its marks are cleared", 1, 0, 3, 5, 1, 2,
		{ { 1, 4, 0, 1 }, { 2, 5, 1, 0 }, { 3, 6, 0, 1 } }, 3, "34", NULL, 0, 0 },
	{ "a batch across the index's end", 1, 0, 1, 2, 65535, 0,
		{ { 7, 4, 0, 1 }, { 0, 5, 7, 1 } }, 1, "1", NULL, 0, 0 },
	{ "a batch that was not shown leaves a list", 1, 0, 1, 4, 1, 2,
		{ { 1, 4, 0, 1 }, { 2, 5, 1, 1 } }, 1, "123", NULL, 0, 0 },
	{ "a batch whose list closes a loop", 1, 0, 3, 5, 1, 2, { { 2, 5, 2, 1 }, { 3, 6, 0, 1 } },
		3, "34", NULL, 0, 0 },
	{ "the same counter twice", 1, 0, 0, 3, 0, 0, { { 0, 7, 0, 1 }, { 1, 7, 0, 1 } }, 0, "012",
		NULL, 0, 0 },
	{ "every head", 1, 0, 0, 8, 0, 0,
		{ { 0, 7, 0, 1 }, { 1, 6, 0, 1 }, { 2, 5, 0, 1 }, { 3, 4, 0, 1 }, { 4, 3, 0, 1 },
			{ 5, 2, 0, 1 }, { 6, 1, 0, 1 }, { 7, 0, 0, 1 } },
		0, "76543210", NULL, 0, 0 },

	{ "a version to come", 2, 0, 0, 1, 0, 0, { { 0 } }, 0, "",
		"the in-flight region has version 2 and features 0x0, expected 1 and 0", 0, 0 },
	{ "a feature", 1, 0, 0, 1, 0, 0, { { 0 } }, 0, "",
		"version 1 and features 0x8000000000000000, expected 1 and 0", 1ull << 63, 0 },
	{ "another size", 1, 4, 0, 1, 0, 0, { { 0 } }, 0, "",
		"the in-flight region was made for 4 entries, expected 8", 0, 0 },
	{ "a ring that is larger", 1, 0, 0, 1, 0, 0, { { 0 } }, 0, "",
		"a ring of 16 is larger than its part of the in-flight region, 8 entries", 0, 16 },
	{ "a larger ring on a region never used", 0, 0, 0, 1, 0, 0, { { 0 } }, 0, "",
		"a ring of 16 is larger than its part of the in-flight region, 8 entries", 0, 16 },
	{ "a batch longer than the ring", 1, 0, 9, 9, 0, 1, { { 0 } }, 9, "",
		"knows of used index 0, the ring has 9, which is 9 further in a ring of 8", 0, 0 },
	{ "a used index that went back", 1, 0, 3, 5, 4, 1, { { 0 } }, 3, "",
		"knows of used index 4, the ring has 3, which is 65535 further in a ring of 8", 0,
		0 },
	{ "a batch that begins beyond the ring", 1, 0, 3, 5, 1, 8, { { 0 } }, 3, "",
		"the last batch of the in-flight region names head 8, beyond a ring of 8", 0, 0 },
	{ "a batch that goes on beyond the ring", 1, 0, 3, 5, 1, 2, { { 2, 1, 65535, 1 } }, 3, "",
		"the last batch of the in-flight region names head 65535, beyond a ring of 8", 0,
		0 },
	{ "a mark that is none", 1, 0, 0, 3, 0, 0, { { 2, 1, 0, 2 } }, 0, "",
		"the in-flight region marks head 2 with 2, in a ring of 8", 0, 0 },
	{ "a head beyond a smaller ring", 1, 0, 0, 3, 0, 0, { { 5, 1, 0, 1 } }, 0, "",
		"the in-flight region marks head 5 with 1, in a ring of 4", 0, 4 },
	{ "a counter that no queue reaches", 1, 0, 0, 3, 0, 0, { { 2, 1ull << 63, 0, 1 } }, 0, "",
		"entry 2 of the in-flight region has the counter 0x8000000000000000, which no", 0,
		0 },
	{ "more than the ring has", 1, 0, 4, 5, 4, 0, { { 4, 1, 0, 1 }, { 5, 2, 0, 1 } }, 4, "",
		"the in-flight region has 2 requests, and the ring 1 unanswered (available index "
		"5, used index 4)",
		0, 0 },
	{ "a chain that cannot be walked", 1, 0, 0, 8, 0, 0, { { 7, 1, 0, 1 } }, 0, "",
		"head 7: descriptor 7 at 0xfff000 of 16 bytes lies outside guest memory", 0, 0 },
};

static void put_region(struct keeper *k, const struct found *row)
{
	struct inflight_split *part = split_part(k);
	unsigned int i;

	part->features = le64_make(row->features);
	part->version = le16_make(row->version);
	part->desc_num = le16_make(row->desc_num ? row->desc_num : NUM);
	part->used_idx = le16_make(row->used_idx);
	part->last_batch_head = le16_make(row->last_batch_head);
	for (i = 0; i < NUM; i++) {
		const struct mark *m = &row->marks[i];

		if (m->inflight || m->next || m->counter)
			part->desc[m->head] = (struct inflight_split_desc){ .inflight = m->inflight,
				.next = le16_make(m->next),
				.counter = le64_make(m->counter) };
	}
}

static void put_ring(struct fix *f, const struct found *row, uint32_t num)
{
	uint32_t i;

	for (i = 0; i < num; i++) {
		set_desc(f, DESC_AT, i, DATA_AT + i * 16, 16, WRITE, 0);
		avail(f)->ring[i] = le16_make((uint16_t)i);
	}
	if (row->refused && strstr(row->refused, "0xfff000"))
		set_desc(f, DESC_AT, 7, 0xfff000, 16, WRITE, 0);
	avail(f)->idx = le16_make(row->ring_avail);
	used(f)->idx = le16_make(row->ring_used);
}

static void check_found(const struct found *row)
{
	uint32_t num = row->ring_num ? row->ring_num : NUM;
	struct keeper k;
	struct fix f;

	fix_init(&f, 0, 0);
	keeper_init(&k);
	test_device(&f)->serve = note_head;
	served[0] = '\0';
	put_ring(&f, row, num);
	put_region(&k, row);
	k.entries = NUM;
	fix_go_on(&f, &k, num, row->base, 0);
	if (row->refused) {
		assert_true(f.dev->broken);
		if (!strstr(f.dev->broken_reason, row->refused))
			fail_msg("%s: %s", row->name, f.dev->broken_reason);
		assert_memory_equal(f.dev->broken_reason, "queue 0: ", 9);
	} else if (f.dev->broken) {
		fail_msg("%s: %s", row->name, f.dev->broken_reason);
	} else {
		struct inflight_split *part = split_part(&k);
		uint16_t end = (uint16_t)(row->ring_used + strlen(row->served));
		unsigned int i;

		assert_int_equal(used_idx(&f), end);
		assert_int_equal(le16_get(part->version), 1);
		assert_int_equal(le16_get(part->desc_num), NUM);
		assert_int_equal(le16_get(part->used_idx), end);
		for (i = 0; i < NUM; i++)
			assert_int_equal(part->desc[i].inflight, 0);
	}
	if (strcmp(served, row->served) != 0)
		fail_msg("%s: served %s, expected %s", row->name, served, row->served);
	fix_deinit(&f);
	keeper_deinit(&k);
}

static void test_found(void **state)
{
	unsigned int i;

	(void)state;
	for (i = 0; i < ARRAY_SIZE(found); i++)
		check_found(&found[i]);
}

/* --- while it runs --- */

static void start_held(struct fix *f, struct keeper *k)
{
	fix_init(f, 0, 0);
	keeper_init(k);
	test_device(f)->verdict = SERVE_HELD;
	fix_go_on(f, k, NUM, 0, 0);
}

static void offer_many(struct fix *f, unsigned int n)
{
	unsigned int i;

	for (i = 0; i < n; i++) {
		set_desc(f, DESC_AT, i, DATA_AT + i * 16, 16, WRITE, 0);
		offer(f, (uint16_t)i);
	}
	kick(f);
}

static void complete(struct fix *f, unsigned int i)
{
	struct test_device *td = test_device(f);

	vq_complete(f->vq, take_ptr(td->held[i]));
	pump(f);
}

static void test_marks_follow_requests(void **state)
{
	struct inflight_split *part;
	struct keeper k;
	struct fix f;

	(void)state;
	start_held(&f, &k);
	part = split_part(&k);
	assert_int_equal(le16_get(part->version), 1);
	offer_many(&f, 3);
	assert_int_equal(part->desc[0].inflight, 1);
	assert_int_equal(part->desc[1].inflight, 1);
	assert_int_equal(part->desc[2].inflight, 1);
	assert_int_equal(part->desc[3].inflight, 0);
	assert_int_equal(le64_get(part->desc[2].counter), 2);
	complete(&f, 1);
	assert_int_equal(part->desc[0].inflight, 1);
	assert_int_equal(part->desc[1].inflight, 0);
	assert_int_equal(le16_get(part->last_batch_head), 1);
	assert_int_equal(le16_get(part->used_idx), 1);
	fix_deinit(&f);
	keeper_deinit(&k);
}

/* What the machine pauses on needs no region to go on. */
static void test_stop_leaves_nothing(void **state)
{
	struct inflight_split *part;
	struct keeper k;
	struct fix f;
	unsigned int i;

	(void)state;
	start_held(&f, &k);
	part = split_part(&k);
	offer_many(&f, 5);
	vdev_hold(f.dev);
	pump(&f);
	assert_false(vdev_is_idle(f.dev));
	fix_complete_held(&f);
	pump(&f);
	assert_true(vdev_is_idle(f.dev));
	assert_int_equal(f.vq->cfg.next_avail, 5);
	assert_int_equal(le16_get(part->used_idx), 5);
	for (i = 0; i < NUM; i++)
		assert_int_equal(part->desc[i].inflight, 0);
	vdev_release(f.dev);
	offer_many(&f, 2);
	fix_complete_held(&f);
	pump(&f);
	assert_int_equal(used_idx(&f), 7);
	fix_deinit(&f);
	keeper_deinit(&k);
}

/* A queue that is stopped before it came to what it had to serve again serves that first. */
static void test_stop_during_recovery(void **state)
{
	const struct found row = { "stop", 1, 0, 2, 6, 2, 0,
		{ { 2, 30, 0, 1 }, { 3, 10, 0, 1 }, { 4, 20, 0, 1 } }, 2, "", NULL, 0, 0 };
	struct keeper k;
	struct fix f;
	int fd;

	(void)state;
	fix_init(&f, 0, 0);
	keeper_init(&k);
	test_device(&f)->serve = note_head;
	served[0] = '\0';
	put_ring(&f, &row, NUM);
	put_region(&k, &row);
	k.entries = NUM;
	f.vq->cfg = (struct vq_config){
		.num = NUM, .desc = DESC_AT, .driver = AVAIL_AT, .device = USED_AT
	};
	vdev_set_mem(f.dev, f.mem);
	vq_set_inflight(f.vq, k.mapped, 0, NUM);
	fd = dup(f.kick);
	vq_set_kick_fd(f.vq, &fd);
	f.vq->enabled = true;
	vdev_write_status(f.dev, 0xf);
	/* Both messages arrive in the same round. */
	vdev_hold(f.dev);
	pump(&f);
	assert_true(vdev_is_idle(f.dev));
	assert_string_equal(served, "342");
	assert_int_equal(f.vq->cfg.next_avail, 5);
	assert_int_equal(le16_get(used(&f)->idx), 5);
	vdev_release(f.dev);
	fix_deinit(&f);
	keeper_deinit(&k);
}

static void test_reset_forgets(void **state)
{
	struct keeper k;
	struct fix f;

	(void)state;
	start_held(&f, &k);
	offer_many(&f, 3);
	fix_complete_held(&f);
	pump(&f);
	fix_reset(&f);
	assert_int_equal(le16_get(split_part(&k)->version), 0);
	/* The driver begins anew, with the ring at 0 again. */
	f.avail_idx = 0;
	memset(ram(&f, AVAIL_AT), 0, DATA_AT - AVAIL_AT);
	fix_go_on(&f, &k, NUM, 0, 0);
	offer_many(&f, 2);
	fix_complete_held(&f);
	pump(&f);
	assert_false(f.dev->broken);
	assert_int_equal(used_idx(&f), 2);
	assert_int_equal(le16_get(split_part(&k)->used_idx), 2);
	fix_deinit(&f);
	keeper_deinit(&k);
}

/* A head that comes again before its answer was shown: the batch of a careless driver ends early.
 */
static void test_head_again_in_batch(void **state)
{
	struct keeper k;
	struct fix f;
	unsigned int i;

	(void)state;
	fix_init(&f, 0, 0);
	keeper_init(&k);
	test_device(&f)->verdict = SERVE_DONE;
	fix_go_on(&f, &k, NUM, 0, 0);
	set_desc(&f, DESC_AT, 3, DATA_AT, 16, WRITE, 0);
	for (i = 0; i < 5 * NUM; i++) {
		offer(&f, 3);
		if (i % NUM == NUM - 1)
			kick(&f);
	}
	assert_false(f.dev->broken);
	assert_int_equal(used_idx(&f), 5 * NUM);
	assert_int_equal(le16_get(split_part(&k)->used_idx), 5 * NUM);
	fix_deinit(&f);
	keeper_deinit(&k);
}

/* --- the memory behind it goes --- */

/* As main() found it: cmocka has a handler of its own for every test. */
static struct sigaction guard;

static void test_truncated_while_running(void **state)
{
	struct keeper k;
	struct fix f;

	(void)state;
	need_fault_in_atomics();
	sigaction(SIGBUS, &guard, NULL);
	start_held(&f, &k);
	offer_many(&f, 1);
	assert_int_equal(ftruncate(k.fd, 0), 0);
	fix_complete_held(&f);
	pump(&f);
	assert_true(f.dev->broken);
	assert_string_equal(f.dev->broken_reason,
		"queue 0: the in-flight region is gone: its file was truncated");
	fix_deinit(&f);
	keeper_deinit(&k);
}

static void test_truncated_before_start(void **state)
{
	struct keeper k;
	struct fix f;

	(void)state;
	need_fault_in_atomics();
	sigaction(SIGBUS, &guard, NULL);
	fix_init(&f, 0, 0);
	keeper_init(&k);
	assert_int_equal(ftruncate(k.fd, 0), 0);
	fix_go_on(&f, &k, NUM, 0, 0);
	assert_true(f.dev->broken);
	assert_string_equal(f.dev->broken_reason,
		"queue 0: the in-flight region is gone: its file was truncated");
	fix_deinit(&f);
	keeper_deinit(&k);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_layout),
		cmocka_unit_test(test_found),
		cmocka_unit_test(test_marks_follow_requests),
		cmocka_unit_test(test_stop_leaves_nothing),
		cmocka_unit_test(test_stop_during_recovery),
		cmocka_unit_test(test_reset_forgets),
		cmocka_unit_test(test_head_again_in_batch),
		cmocka_unit_test(test_truncated_while_running),
		cmocka_unit_test(test_truncated_before_start),
	};

	guard_install();
	sigaction(SIGBUS, NULL, &guard);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
