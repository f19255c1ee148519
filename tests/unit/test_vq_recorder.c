/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * What a queue counts, how long its requests take and what its flight recorder holds; and a reader
 * beside a writer at full speed, which never gets half an event.
 */
#include "packed_driver.h"

#include "virtio/vq_recorder.h"

static struct vq_event events[VQ_EVENTS];

/* The kinds of the last events, oldest first. */
static void expect_last(struct fix *f, const enum vq_event_kind *kinds, size_t num)
{
	size_t n = vq_read_events(f->vq, num, events);

	assert_int_equal(n, num);
	for (size_t i = 0; i < num; i++)
		if (events[i].kind != kinds[i])
			fail_msg("event %zu of %zu is a %u, not a %u", i, num, events[i].kind,
				kinds[i]);
}

#define EXPECT_LAST(f, ...)                                         \
	expect_last(f, (const enum vq_event_kind[]){ __VA_ARGS__ }, \
		ARRAY_SIZE(((const enum vq_event_kind[]){ __VA_ARGS__ })))

static void test_a_request_as_events(void **state)
{
	struct fix f;

	(void)state;
	fix_init(&f, 8, 0);
	EXPECT_LAST(&f, VQ_EVENT_START, VQ_EVENT_NOTIFY_ON);
	assert_int_equal(events[0].arg, 8);
	push_one(&f, 3, DATA_AT, 100, 0);
	EXPECT_LAST(&f, VQ_EVENT_KICK, VQ_EVENT_POP, VQ_EVENT_COMPLETE, VQ_EVENT_NOTIFY_ON,
		VQ_EVENT_CALL);
	assert_int_equal(events[1].index, 3);
	assert_int_equal(events[1].arg, 100);
	assert_int_equal(events[2].index, 3);
	assert_int_equal(events[3].index, 1);
	assert_int_equal(events[4].index, 1);
	assert_int_equal(events[4].arg, 1);
	for (int i = 1; i < 5; i++) {
		assert_int_equal(events[i].serial, events[0].serial + (unsigned int)i);
		assert_true(events[i].ns >= events[i - 1].ns && events[i].ns <= now_ns());
	}
	avail(&f)->flags = le16_make(VRING_AVAIL_F_NO_INTERRUPT);
	push_one(&f, 3, DATA_AT, 100, 0);
	EXPECT_LAST(&f, VQ_EVENT_CALL_SUPPRESSED);
	fix_deinit(&f);
}

static void test_a_held_request(void **state)
{
	struct vq_latency latency;
	struct vq_view before, v;
	uint64_t sum = 0, took;
	struct fix f;

	(void)state;
	fix_init(&f, 8, 0);
	test_device(&f)->verdict = SERVE_HELD;
	push_one(&f, 0, DATA_AT, 8, 0);
	push_one(&f, 1, DATA_AT, 8, 0);
	before = view(&f);
	assert_true(before.pop_ns >= before.kick_ns && before.kick_ns);
	assert_false(before.complete_ns);
	assert_int_equal(before.progress_ns, before.pop_ns);
	EXPECT_LAST(&f, VQ_EVENT_KICK, VQ_EVENT_POP, VQ_EVENT_NOTIFY_ON);
	fix_complete_held(&f);
	pump(&f);
	EXPECT_LAST(&f, VQ_EVENT_COMPLETE, VQ_EVENT_COMPLETE, VQ_EVENT_CALL);
	assert_int_equal(events[2].arg, 2);
	v = view(&f);
	assert_int_equal(v.counters.calls_coalesced, 1);
	assert_true(v.call_ns >= v.complete_ns && v.complete_ns > v.pop_ns);
	vq_read_latency(f.vq, &latency);
	for (size_t i = 0; i < VQ_LATENCY_BUCKETS; i++)
		sum += latency.bucket[i];
	assert_int_equal(sum, 2);
	/* Both were answered at that time; the first was taken before the second. */
	took = v.complete_ns - v.pop_ns;
	assert_true(v.counters.service_ns > 2 * took);
	assert_true(v.counters.service_ns <= 2 * (v.complete_ns - events[0].ns) + 2 * NSEC_PER_SEC);
	fix_deinit(&f);
}

static void test_latency_buckets(void **state)
{
	static const struct {
		uint64_t ns;
		size_t bucket;
	} rows[] = { { 0, 0 }, { 1, 0 }, { 2, 1 }, { 3, 1 }, { 4, 2 }, { 1023, 9 }, { 1024, 10 },
		{ 1ull << 39, 39 }, { 1ull << 40, 39 }, { UINT64_MAX, 39 } };
	struct vq_latency latency;
	static struct vq vq;

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		memset(&vq, 0, sizeof(vq));
		vq_count_latency(&vq, rows[i].ns, 3);
		vq_read_latency(&vq, &latency);
		for (size_t b = 0; b < VQ_LATENCY_BUCKETS; b++)
			assert_int_equal(latency.bucket[b], b == rows[i].bucket ? 3 : 0);
		assert_true(vq.count.service_ns == rows[i].ns * 3);
	}
}

static void test_what_goes_wrong_is_counted(void **state)
{
	struct vq_view v;
	struct fix f;

	(void)state;
	fix_init(&f, 8, 0);
	kick(&f);
	assert_int_equal(view(&f).counters.empty_runs, 2);
	EXPECT_LAST(&f, VQ_EVENT_KICK, VQ_EVENT_NOTIFY_ON);
	test_device(&f)->verdict = SERVE_RETRY;
	push_one(&f, 5, DATA_AT, 8, 0);
	EXPECT_LAST(&f, VQ_EVENT_KICK, VQ_EVENT_DRY);
	assert_int_equal(events[1].index, 5);
	v = view(&f);
	assert_true(v.dry && !v.notify_on && !v.broken);
	assert_int_equal(v.counters.dry_runs, 1);
	test_device(&f)->verdict = SERVE_DONE;
	vq_resume(f.vq);
	vq_count_error(f.vq);
	pump(&f);
	v = view(&f);
	assert_true(!v.dry && v.notify_on);
	assert_int_equal(v.counters.errors_request, 1);
	offer(&f, 8);
	kick(&f);
	EXPECT_LAST(&f, VQ_EVENT_KICK, VQ_EVENT_BREAK, VQ_EVENT_STOP);
	v = view(&f);
	assert_true(v.broken);
	assert_int_equal(v.counters.errors_ring, 1);
	assert_int_equal(v.counters.errors_memory, 0);
	vdev_reset(f.dev);
	pump(&f);
	assert_false(view(&f).broken);
	/* What happened before the reset is still there. */
	assert_int_equal(view(&f).counters.errors_ring, 1);
	assert_true(vq_read_events(f.vq, VQ_EVENTS, events) > 8);
	fix_deinit(&f);
}

static void test_the_last_events_are_kept(void **state)
{
	struct fix f;
	size_t n;

	(void)state;
	fix_init(&f, 8, 0);
	for (uint16_t i = 0; i < 300; i++)
		push_one(&f, i % 8, DATA_AT, i, 0);
	n = vq_read_events(f.vq, VQ_EVENTS, events);
	assert_int_equal(n, VQ_EVENTS - 1);
	for (size_t i = 1; i < n; i++)
		assert_int_equal(events[i].serial, events[0].serial + i);
	assert_int_equal(events[n - 1].serial, 2 + 300 * 5 - 1);
	assert_int_equal(events[n - 4].kind, VQ_EVENT_POP);
	assert_int_equal(events[n - 4].arg, 299);
	assert_int_equal(vq_read_events(f.vq, 0, events), 0);
	fix_deinit(&f);
}

/* --- beside a writer --- */

static struct vq beside;
static _Atomic bool is_over;

/* Each event's parts tell of its serial. */
static void *write_events(void *arg)
{
	(void)arg;
	for (uint64_t i = 0; !is_over; i++) {
		beside.clock_ns = i;
		vq_record(&beside, i % VQ_NUM_EVENT_KINDS, (uint16_t)i, (uint32_t)(i * 7));
	}
	return NULL;
}

static void test_no_event_is_half_another(void **state)
{
	unsigned int rounds = getenv("TSAN_OPTIONS") ? 2000 : 20000, whole = 0;
	pthread_t thread;

	(void)state;
	memset(&beside, 0, sizeof(beside));
	assert_int_equal(vq_recorder_init(&beside, NULL), 0);
	assert_int_equal(pthread_create(&thread, NULL, write_events, NULL), 0);
	while (rounds) {
		size_t n = vq_read_events(&beside, rounds % 3 ? VQ_EVENTS : 40, events);

		rounds -= n || beside.events_end;
		whole += n > 0;
		for (size_t i = 0; i < n; i++) {
			uint64_t serial = events[0].serial + i;

			if (events[i].serial != serial || events[i].ns != serial ||
				events[i].kind != serial % VQ_NUM_EVENT_KINDS ||
				events[i].index != (uint16_t)serial ||
				events[i].arg != (uint32_t)(serial * 7))
				fail_msg("event %zu of %zu is torn", i, n);
		}
	}
	is_over = true;
	pthread_join(thread, NULL);
	assert_true(whole > 0);
	vq_recorder_deinit(&beside);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_a_request_as_events),
		cmocka_unit_test(test_a_held_request),
		cmocka_unit_test(test_latency_buckets),
		cmocka_unit_test(test_what_goes_wrong_is_counted),
		cmocka_unit_test(test_the_last_events_are_kept),
		cmocka_unit_test(test_no_event_is_half_another),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
