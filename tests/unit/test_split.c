/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Split rings: what a device's verdicts do to the ring, the order of answers, stop and going on,
 * and who is notified when.
 */
#include "vq_fixture.h"

#define EVENT_IDX (1ull << VIRTIO_F_EVENT_IDX)

static struct vring_used_elem used_at(struct fix *f, uint16_t i)
{
	return used(f)->ring[i % f->num];
}

static void assert_used(struct fix *f, uint16_t i, uint32_t id, uint32_t len)
{
	assert_int_equal(le32_get(used_at(f, i).id), id);
	assert_int_equal(le32_get(used_at(f, i).len), len);
}

/* Offers @n chains of one writable descriptor each, heads from 0, without a kick. */
static void offer_n(struct fix *f, unsigned int n)
{
	unsigned int i;

	for (i = 0; i < n; i++) {
		set_desc(f, DESC_AT, i, DATA_AT + i * 64, 64, WRITE, 0);
		offer(f, (uint16_t)i);
	}
}

/* A ring that stands at @at: what the driver and the device did before is past. */
static void start_at(struct fix *f, uint32_t num, uint64_t features, uint16_t at)
{
	fix_reset(f);
	memset(ram(f, AVAIL_AT), 0, DATA_AT - AVAIL_AT);
	f->num = num;
	f->avail_idx = at;
	avail(f)->idx = le16_make(at);
	used(f)->idx = le16_make(at);
	vdev_set_driver_features(f->dev, virtio_features_from64(features | 1ull << 32));
	f->vq->cfg = (struct vq_config){ num, DESC_AT, AVAIL_AT, USED_AT, at, 0 };
	fix_run(f);
	num_calls(f);
}

static enum serve_verdict write_head(struct vq *vq, struct chain *c)
{
	uint8_t bytes[64];
	size_t n = MIN((size_t)c->head + 1, (size_t)c->writable.bytes);

	(void)vq;
	memset(bytes, c->head, sizeof(bytes));
	assert_true(chain_put(c, bytes, MIN(n, sizeof(bytes))));
	return SERVE_DONE;
}

static void test_done(void **state)
{
	struct fix f;
	uint16_t i;

	(void)state;
	fix_init(&f, 8, 0);
	test_device(&f)->serve = write_head;
	offer_n(&f, 8);
	kick(&f);
	assert_int_equal(used_idx(&f), 8);
	for (i = 0; i < 8; i++) {
		assert_used(&f, i, i, i + 1u);
		assert_int_equal(*(uint8_t *)ram(&f, DATA_AT + i * 64u), i);
	}
	/* One batch, one interrupt. */
	assert_int_equal(num_calls(&f), 1);
	assert_int_equal(view(&f).counters.popped, 8);
	assert_int_equal(view(&f).counters.completed, 8);
	assert_int_equal(view(&f).counters.bytes_written, 36);
	assert_int_equal(view(&f).inuse, 0);
	assert_int_equal(view(&f).last_avail_idx, 8);
	assert_int_equal(view(&f).used_idx, 8);
	fix_deinit(&f);
}

static void test_held_out_of_order(void **state)
{
	static const uint16_t order[] = { 5, 0, 7, 2, 1, 6, 3, 4 };
	struct test_device *td;
	uint64_t now = 0;
	struct fix f;
	uint16_t i;

	(void)state;
	fix_init(&f, 8, 0);
	td = test_device(&f);
	td->verdict = SERVE_HELD;
	offer_n(&f, 8);
	kick(&f);
	assert_int_equal(td->num_held, 8);
	assert_int_equal(used_idx(&f), 0);
	assert_int_equal(view(&f).inuse, 8);
	assert_int_equal(num_calls(&f), 0);
	for (i = 0; i < 8; i++) {
		struct vq_inflight in;

		if (i % 2 == 0)
			now = now_ns();
		assert_true(vq_read_inflight(f.vq, order[i], &in));
		assert_int_equal(in.head, order[i]);
		assert_int_equal(in.writable_bytes, 64);
		assert_true(chain_put(td->held[order[i]], "xyz", order[i] % 4u));
		vq_complete(f.vq, td->held[order[i]]);
		assert_false(vq_read_inflight(f.vq, order[i], &in));
		if (i % 2) {
			pump(&f);
			/* An answer is progress as well. */
			assert_true(view(&f).progress_ns >= now);
		}
	}
	td->num_held = 0;
	assert_int_equal(used_idx(&f), 8);
	for (i = 0; i < 8; i++)
		assert_used(&f, i, order[i], order[i] % 4u);
	/* A flush each for every two: what is answered in one round of the loop is one interrupt.
	 */
	assert_int_equal(view(&f).counters.calls, 4);
	assert_int_equal(view(&f).inuse, 0);
	/* The heads may come again. */
	offer_n(&f, 8);
	kick(&f);
	assert_int_equal(td->num_held, 8);
	fix_deinit(&f);
}

static unsigned int retries;

static enum serve_verdict retry_some(struct vq *vq, struct chain *c)
{
	uint8_t byte;

	(void)vq;
	assert_true(chain_take(c, &byte, 1));
	assert_int_equal(byte, c->head + 1);
	return retries && retries-- ? SERVE_RETRY : SERVE_DONE;
}

static void test_retry(void **state)
{
	struct fix f;
	uint16_t i;

	(void)state;
	fix_init(&f, 8, 0);
	test_device(&f)->serve = retry_some;
	for (i = 0; i < 4; i++) {
		set_desc(&f, DESC_AT, i, DATA_AT + i * 64u, 8, 0, 0);
		*(uint8_t *)ram(&f, DATA_AT + i * 64u) = (uint8_t)(i + 1);
		offer(&f, i);
	}
	retries = 3;
	kick(&f);
	assert_int_equal(used_idx(&f), 0);
	assert_int_equal(view(&f).inuse, 0);
	assert_int_equal(view(&f).last_avail_idx, 0);
	for (i = 0; i < 2; i++) {
		vq_resume(f.vq);
		pump(&f);
		assert_int_equal(used_idx(&f), 0);
	}
	/* A kick is as good as a resume; and every time the chain was whole. */
	kick(&f);
	assert_int_equal(used_idx(&f), 4);
	for (i = 0; i < 4; i++)
		assert_used(&f, i, i, 0);
	assert_int_equal(test_device(&f)->num_served, 3 + 4);
	vq_resume(f.vq);
	pump(&f);
	assert_int_equal(used_idx(&f), 4);
	fix_deinit(&f);
}

static enum serve_verdict complete_at_once(struct vq *vq, struct chain *c)
{
	assert_true(chain_put(c, "now", 3));
	vq_complete(vq, c);
	return SERVE_HELD;
}

static void test_complete_within_serve(void **state)
{
	struct fix f;
	unsigned int i;

	(void)state;
	fix_init(&f, 8, 0);
	test_device(&f)->serve = complete_at_once;
	for (i = 0; i < 20; i++) {
		push_one(&f, 1, DATA_AT, 16, WRITE);
		assert_int_equal(used_idx(&f), i + 1);
		assert_used(&f, (uint16_t)i, 1, 3);
	}
	assert_int_equal(view(&f).inuse, 0);
	fix_deinit(&f);
}

static struct chain *first_held;

/* Holds the first; the second's serve() answers both. */
static enum serve_verdict complete_the_other(struct vq *vq, struct chain *c)
{
	if (!first_held) {
		first_held = c;
		return SERVE_HELD;
	}
	vq_complete(vq, first_held);
	first_held = NULL;
	return SERVE_DONE;
}

static void test_complete_another_within_serve(void **state)
{
	struct fix f;

	(void)state;
	fix_init(&f, 8, 0);
	test_device(&f)->serve = complete_the_other;
	offer_n(&f, 2);
	kick(&f);
	assert_int_equal(used_idx(&f), 2);
	assert_used(&f, 0, 0, 0);
	assert_used(&f, 1, 1, 0);
	assert_int_equal(view(&f).inuse, 0);
	fix_deinit(&f);
}

static void on_idle(struct vdev_wait *wait)
{
	wait->fn = NULL;
}

static void test_stop_waits_and_goes_on(void **state)
{
	struct vdev_wait wait = { .fn = on_idle };
	struct test_device *td;
	struct fix f;

	(void)state;
	fix_init(&f, 8, 0);
	td = test_device(&f);
	td->verdict = SERVE_HELD;
	offer_n(&f, 3);
	kick(&f);
	vdev_hold(f.dev);
	vdev_when_idle(f.dev, &wait);
	pump(&f);
	offer_n(&f, 4);
	kick(&f);
	/* Nothing more is popped, and nobody is told before the last one is back. */
	assert_int_equal(td->num_held, 3);
	assert_int_equal(f.vq->state, VQ_STOPPING);
	vq_complete(f.vq, td->held[1]);
	vq_complete(f.vq, td->held[0]);
	pump(&f);
	assert_non_null(wait.fn);
	assert_int_equal(used_idx(&f), 2);
	vq_complete(f.vq, td->held[2]);
	pump(&f);
	assert_null(wait.fn);
	td->num_held = 0;
	assert_int_equal(f.vq->state, VQ_IDLE);
	assert_int_equal(f.vq->cfg.next_avail, 3);
	assert_int_equal(used_idx(&f), 3);
	td->verdict = SERVE_DONE;
	vdev_release(f.dev);
	pump(&f);
	/* What was offered meanwhile is found without a kick. */
	assert_int_equal(used_idx(&f), 7);
	assert_int_equal(f.vq->state, VQ_RUNNING);
	fix_deinit(&f);
}

/* The driver wants a call at used index @event; chains come one by one. Where does it get calls? */
static void test_event_idx_calls(void **state)
{
	static const uint16_t starts[] = { 0, 1, 32767, 65533, 65535 };
	struct fix f;
	size_t s;
	unsigned int i;

	(void)state;
	fix_init(&f, 4, EVENT_IDX);
	for (s = 0; s < ARRAY_SIZE(starts); s++) {
		start_at(&f, 4, EVENT_IDX, starts[s]);
		/* Nothing is known of what the driver saw: the first answer always calls. */
		set_used_event(&f, (uint16_t)(starts[s] + 4));
		push_one(&f, 0, DATA_AT, 16, WRITE);
		assert_int_equal(num_calls(&f), 1);
		for (i = 1; i < 9; i++) {
			push_one(&f, 0, DATA_AT, 16, WRITE);
			assert_int_equal(num_calls(&f), i == 4);
		}
		/* A batch that passes the index calls once. */
		set_used_event(&f, (uint16_t)(starts[s] + 10));
		offer_n(&f, 4);
		kick(&f);
		assert_int_equal(num_calls(&f), 1);
		/* An index that is past is silence until the numbers come round. */
		offer_n(&f, 4);
		kick(&f);
		assert_int_equal(num_calls(&f), 0);
		assert_int_equal(used_idx(&f), (uint16_t)(starts[s] + 17));
		assert_true(view(&f).signalled_used_valid);
	}
	fix_deinit(&f);
}

static void test_event_idx_kicks(void **state)
{
	static const uint16_t starts[] = { 0, 65534, 65535 };
	struct fix f;
	size_t s;
	unsigned int i;

	(void)state;
	fix_init(&f, 4, EVENT_IDX);
	for (s = 0; s < ARRAY_SIZE(starts); s++) {
		start_at(&f, 4, EVENT_IDX, starts[s]);
		assert_int_equal(avail_event(&f), starts[s]);
		for (i = 1; i < 12; i++) {
			push_one(&f, 0, DATA_AT, 16, WRITE);
			/* At rest it asks to hear of the very next chain. */
			assert_int_equal(avail_event(&f), (uint16_t)(starts[s] + i));
		}
		/* The flag is not this feature's way. */
		assert_int_equal(le16_get(used(&f)->flags), 0);
	}
	fix_deinit(&f);
}

static void test_event_idx_off(void **state)
{
	struct fix f;

	(void)state;
	/* Not negotiated: what stands at the end of the rings is not looked at nor written. */
	fix_init(&f, 4, 0);
	*(le16 *)&used(&f)->ring[4] = le16_make(0xbeef);
	set_used_event(&f, 100);
	push_one(&f, 0, DATA_AT, 16, WRITE);
	push_one(&f, 0, DATA_AT, 16, WRITE);
	assert_int_equal(num_calls(&f), 2);
	assert_int_equal(avail_event(&f), 0xbeef);
	fix_deinit(&f);
}

static void test_no_interrupt(void **state)
{
	struct fix f;

	(void)state;
	fix_init(&f, 8, 0);
	avail(&f)->flags = le16_make(VRING_AVAIL_F_NO_INTERRUPT);
	push_one(&f, 0, DATA_AT, 16, WRITE);
	assert_int_equal(num_calls(&f), 0);
	assert_int_equal(view(&f).counters.calls_suppressed, 1);
	avail(&f)->flags = le16_make(0xfffe);
	push_one(&f, 0, DATA_AT, 16, WRITE);
	assert_int_equal(num_calls(&f), 1);
	assert_int_equal(view(&f).counters.calls_suppressed, 1);
	fix_deinit(&f);
}

static struct fix *watched;
static uint16_t flags_while_serving;

static enum serve_verdict look_at_flags(struct vq *vq, struct chain *c)
{
	(void)vq;
	(void)c;
	flags_while_serving = le16_get(used(watched)->flags);
	return SERVE_DONE;
}

static void test_no_notify(void **state)
{
	struct fix f;

	(void)state;
	fix_init(&f, 8, 0);
	watched = &f;
	test_device(&f)->serve = look_at_flags;
	assert_int_equal(le16_get(used(&f)->flags), 0);
	push_one(&f, 0, DATA_AT, 16, WRITE);
	/* Busy: kicks are not wanted. At rest: they are. */
	assert_int_equal(flags_while_serving, VRING_USED_F_NO_NOTIFY);
	assert_int_equal(le16_get(used(&f)->flags), 0);
	fix_deinit(&f);
}

static void test_start_in_the_middle(void **state)
{
	static const struct {
		uint16_t avail, used;
	} rows[] = { { 0, 0 }, { 5, 3 }, { 65535, 65535 }, { 65535, 65530 }, { 0, 65530 },
		{ 32768, 0 } };
	struct fix f;
	size_t i;

	(void)state;
	fix_init(&f, 8, 0);
	for (i = 0; i < ARRAY_SIZE(rows); i++) {
		start_at(&f, 8, 0, rows[i].avail);
		vdev_hold(f.dev);
		pump(&f);
		assert_int_equal(f.vq->cfg.next_avail, rows[i].avail);
		used(&f)->idx = le16_make(rows[i].used);
		vdev_release(f.dev);
		pump(&f);
		/* Answers that another back-end left are called for once. */
		assert_int_equal(num_calls(&f), rows[i].used != 0);
		push_one(&f, 3, DATA_AT, 16, WRITE);
		assert_int_equal(used_idx(&f), (uint16_t)(rows[i].used + 1));
		assert_used(&f, rows[i].used, 3, 0);
		assert_int_equal(view(&f).last_avail_idx, (uint16_t)(rows[i].avail + 1));
	}
	fix_deinit(&f);
}

static void test_every_size(void **state)
{
	struct fix f;
	uint32_t num, i, rounds;

	(void)state;
	fix_init(&f, 8, 0);
	for (num = 1; num <= VQ_SIZE_MAX; num *= 2) {
		fix_reset(&f);
		fix_start_ring(&f, num, 0);
		test_device(&f)->num_served = 0;
		for (rounds = 0; rounds < 3; rounds++) {
			for (i = 0; i < num; i++) {
				set_desc(&f, DESC_AT, i, DATA_AT, 16, WRITE, 0);
				offer(&f, (uint16_t)(num - 1 - i));
			}
			kick(&f);
			while (le16_get(used(&f)->idx) != f.avail_idx && !f.dev->broken)
				pump(&f);
		}
		assert_false(f.dev->broken);
		assert_int_equal(test_device(&f)->num_served, 3 * num);
		for (i = 0; i < num; i++)
			assert_used(&f, (uint16_t)i, num - 1 - i, 0);
	}
	fix_deinit(&f);
}

/* More than a budget's worth in flight, over restarts with other sizes (QEMU work item 3882). */
static void test_restart_with_other_sizes(void **state)
{
	static const uint32_t sizes[] = { 4, 1024, 2, 4096, 1, 256 };
	struct test_device *td;
	struct fix f;
	size_t s;
	uint32_t i;

	(void)state;
	fix_init(&f, 8, 0);
	td = test_device(&f);
	for (s = 0; s < ARRAY_SIZE(sizes); s++) {
		struct vq_inflight in;

		vdev_hold(f.dev);
		pump(&f);
		vdev_release(f.dev);
		fix_reset(&f);
		fix_start_ring(&f, sizes[s], 0);
		td->verdict = SERVE_HELD;
		for (i = 0; i < sizes[s]; i++) {
			set_desc(&f, DESC_AT, i, DATA_AT, 16, WRITE, 0);
			offer(&f, (uint16_t)i);
		}
		for (kick(&f); td->num_held < sizes[s] && !f.dev->broken;)
			pump(&f);
		assert_int_equal(td->num_held, sizes[s]);
		assert_int_equal(view(&f).inuse, sizes[s]);
		assert_true(vq_read_inflight(f.vq, (uint16_t)(sizes[s] - 1), &in));
		assert_false(vq_read_inflight(f.vq, (uint16_t)sizes[s], &in));
		assert_false(vq_read_inflight(f.vq, 65535, &in));
		fix_complete_held(&f);
		pump(&f);
		assert_int_equal(used_idx(&f), sizes[s]);
	}
	fix_deinit(&f);
}

/* The ring is set up anew without a reset: old numbers must not silence the first interrupt. */
static void test_new_ring_same_numbers(void **state)
{
	struct fix f;

	(void)state;
	fix_init(&f, 8, EVENT_IDX);
	set_used_event(&f, 0);
	push_one(&f, 0, DATA_AT, 16, WRITE);
	assert_int_equal(num_calls(&f), 1);
	vdev_hold(f.dev);
	pump(&f);
	memset(ram(&f, AVAIL_AT), 0, DATA_AT - AVAIL_AT);
	f.avail_idx = 0;
	f.vq->cfg.next_avail = 0;
	vdev_release(f.dev);
	pump(&f);
	num_calls(&f);
	push_one(&f, 0, DATA_AT, 16, WRITE);
	assert_int_equal(used_idx(&f), 1);
	assert_int_equal(num_calls(&f), 1);
	fix_deinit(&f);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_done),
		cmocka_unit_test(test_held_out_of_order),
		cmocka_unit_test(test_retry),
		cmocka_unit_test(test_complete_within_serve),
		cmocka_unit_test(test_complete_another_within_serve),
		cmocka_unit_test(test_stop_waits_and_goes_on),
		cmocka_unit_test(test_event_idx_calls),
		cmocka_unit_test(test_event_idx_kicks),
		cmocka_unit_test(test_event_idx_off),
		cmocka_unit_test(test_no_interrupt),
		cmocka_unit_test(test_no_notify),
		cmocka_unit_test(test_start_in_the_middle),
		cmocka_unit_test(test_every_size),
		cmocka_unit_test(test_restart_with_other_sizes),
		cmocka_unit_test(test_new_ring_same_numbers),
	};

	log_set_level(LOG_LEVEL_ERROR);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
