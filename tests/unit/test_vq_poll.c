/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A queue on a loop that polls: chains without a kick, what the driver is asked for and when, and
 * that no chain is forgotten between looking and sleeping.
 */
#include "packed_driver.h"

#include <sched.h>

#define LONG_NS	  (3600 * NSEC_PER_SEC)
#define EVENT_IDX (1ull << VIRTIO_F_EVENT_IDX)

static const uint64_t kinds[] = { 0, EVENT_IDX, PACKED, PACKED | EVENT_IDX };

static struct pdriver d; /* of a packed ring */
static uint16_t num_taken; /* from it */

static void set_polling(struct loop *loop, uint64_t ns)
{
	struct loop_polling polling = { .max_ns = ns };

	loop_set_polling(loop, &polling);
	/* What it adapts to is another test's. */
	loop->poll_ns = ns;
}

/* Some rounds of a loop that would wait; none of them for long. */
static void rounds(struct fix *f)
{
	for (int i = 0; i < 5; i++)
		loop_run_once(&f->loop, 1);
}

static void start_ring(struct fix *f, uint64_t features)
{
	fix_start_ring(f, 8, features);
	pd_init(&d, f);
	num_taken = 0;
}

static void start(struct fix *f, uint64_t features)
{
	fix_init(f, 0, 0);
	start_ring(f, features);
	set_polling(&f->loop, LONG_NS);
	rounds(f);
}

static bool is_packed(const struct fix *f)
{
	return f->vq->ops == &vq_packed_ops;
}

static bool packed_wants_kick(void)
{
	uint32_t raw = __atomic_load_n((uint32_t *)pd_device_event(&d), __ATOMIC_RELAXED);
	struct vring_packed_event event;

	memcpy(&event, &raw, sizeof(event));
	if (le16_get(event.flags) == VRING_PACKED_EVENT_DESC)
		return le16_get(event.off_wrap) == pd_off_wrap(&d, d.offered - 1);
	return le16_get(event.flags) == VRING_PACKED_EVENT_ENABLE;
}

/* Would a driver kick for the chain that it just offered? */
static bool wants_kick(struct fix *f)
{
	if (is_packed(f))
		return packed_wants_kick();
	if (f->vq->event_idx)
		return le16toh(__atomic_load_n(&((le16 *)&used(f)->ring[f->num])->raw,
			       __ATOMIC_RELAXED)) == (uint16_t)(f->avail_idx - 1);
	return !(le16toh(__atomic_load_n(&used(f)->flags.raw, __ATOMIC_RELAXED)) &
		 VRING_USED_F_NO_NOTIFY);
}

static void offer_one(struct fix *f)
{
	if (is_packed(f)) {
		pd_offer_one(&d, (uint16_t)(d.offered % d.num), WRITE);
		return;
	}
	set_desc(f, DESC_AT, 0, DATA_AT, 16, WRITE, 0);
	avail(f)->ring[f->avail_idx % f->num] = le16_make(0);
	__atomic_store_n(&avail(f)->idx.raw, htole16(++f->avail_idx), __ATOMIC_RELEASE);
}

static uint16_t num_used(struct fix *f)
{
	uint32_t len;
	uint16_t id;

	if (!is_packed(f))
		return le16toh(__atomic_load_n(&used(f)->idx.raw, __ATOMIC_ACQUIRE));
	while (pd_take(&d, &id, &len))
		num_taken++;
	return num_taken;
}

static void test_chain_without_a_kick(void **state)
{
	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(kinds); i++) {
		struct fix f;

		start(&f, kinds[i]);
		for (uint16_t n = 1; n <= 20; n++) {
			offer_one(&f);
			assert_false(wants_kick(&f));
			rounds(&f);
			assert_int_equal(num_used(&f), n);
		}
		assert_int_equal(view(&f).counters.kicks, 0);
		assert_true(view(&f).counters.polled_runs >= 20);
		assert_int_equal(view(&f).counters.completed, 20);
		fix_deinit(&f);
	}
}

static void test_kicks_are_asked_for_when_polling_ends(void **state)
{
	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(kinds); i++) {
		struct fix f;

		start(&f, kinds[i]);
		offer_one(&f);
		rounds(&f);
		set_polling(&f.loop, 0);
		rounds(&f);
		offer_one(&f);
		assert_true(wants_kick(&f));
		rounds(&f);
		assert_int_equal(num_used(&f), 1);
		kick(&f);
		assert_int_equal(num_used(&f), 2);
		/* A look for nothing is not counted as a wake-up for nothing. */
		assert_int_equal(view(&f).counters.polled_runs, 1);
		fix_deinit(&f);
	}
}

/* Somebody else on the loop, who offers a chain at the moment when polling ends. */
struct late {
	struct loop_poll poll;
	struct fix *f;
	bool wants_kick;
};

static bool find_nothing(struct loop_poll *poll)
{
	(void)poll;
	return false;
}

static bool offer_late(struct loop_poll *poll)
{
	struct late *late = container_of(poll, struct late, poll);

	offer_one(late->f);
	late->wants_kick = wants_kick(late->f);
	return false;
}

static void test_chain_at_the_last_moment(void **state)
{
	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(kinds); i++) {
		for (int first = 0; first < 2; first++) {
			struct late late = { { .fn = find_nothing, .end = offer_late } };
			struct fix f;

			fix_init(&f, 0, 0);
			late.f = &f;
			/* Who came last is asked first. */
			if (!first)
				loop_poll_add(&f.loop, &late.poll);
			start_ring(&f, kinds[i]);
			if (first)
				loop_poll_add(&f.loop, &late.poll);
			set_polling(&f.loop, LONG_NS);
			offer_one(&f);
			rounds(&f);
			set_polling(&f.loop, 0);
			/* Before the queue asks for kicks it looks once more; after, it is kicked.
			 */
			loop_run_once(&f.loop, 1);
			assert_int_equal(late.wants_kick, !first);
			if (late.wants_kick)
				kick(&f);
			rounds(&f);
			assert_int_equal(num_used(&f), 2);
			loop_poll_del(&late.poll);
			fix_deinit(&f);
		}
	}
}

static void test_out_of_supplies(void **state)
{
	struct test_device *td;
	struct fix f;

	(void)state;
	start(&f, 0);
	td = test_device(&f);
	td->verdict = SERVE_RETRY;
	offer_one(&f);
	rounds(&f);
	/* Tried once: looking again would give nothing but heat. */
	assert_int_equal(td->num_served, 1);
	set_polling(&f.loop, 0);
	rounds(&f);
	assert_int_equal(td->num_served, 1);
	set_polling(&f.loop, LONG_NS);
	rounds(&f);
	td->verdict = SERVE_DONE;
	vq_resume(f.vq);
	rounds(&f);
	assert_int_equal(num_used(&f), 1);
	offer_one(&f);
	rounds(&f);
	assert_int_equal(num_used(&f), 2);
	fix_deinit(&f);
}

static void test_stop_leaves_the_ring_asking(void **state)
{
	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(kinds); i++) {
		struct fix f;

		start(&f, kinds[i]);
		offer_one(&f);
		rounds(&f);
		vdev_hold(f.dev);
		rounds(&f);
		assert_true(vdev_is_idle(f.dev));
		assert_null(f.vq->poll.loop);
		offer_one(&f);
		assert_true(wants_kick(&f));
		rounds(&f);
		assert_int_equal(num_used(&f), 1);
		vdev_release(f.dev);
		rounds(&f);
		assert_int_equal(num_used(&f), 2);
		offer_one(&f);
		rounds(&f);
		assert_int_equal(num_used(&f), 3);
		fix_deinit(&f);
	}
}

/* Out of supplies, with a loop that does not poll, and while others wait behind the first. */
static void test_stop_out_of_supplies_leaves_the_ring_asking(void **state)
{
	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(kinds); i++) {
		struct fix f;

		start(&f, kinds[i]);
		set_polling(&f.loop, 0);
		rounds(&f);
		test_device(&f)->verdict = SERVE_RETRY;
		offer_one(&f);
		kick(&f);
		assert_int_equal(test_device(&f)->num_served, 1);
		vdev_hold(f.dev);
		rounds(&f);
		assert_true(vdev_is_idle(f.dev));
		assert_true(wants_kick(&f));
		test_device(&f)->verdict = SERVE_DONE;
		vdev_release(f.dev);
		rounds(&f);
		assert_int_equal(num_used(&f), 1);
		fix_deinit(&f);
	}
}

static void test_broken_while_polled(void **state)
{
	struct fix f;

	(void)state;
	start(&f, 0);
	offer(&f, 77);
	rounds(&f);
	assert_true(f.dev->broken);
	assert_null(f.vq->poll.loop);
	fix_reset(&f);
	start_ring(&f, 0);
	offer_one(&f);
	rounds(&f);
	assert_int_equal(num_used(&f), 1);
	fix_deinit(&f);
}

static void test_held_while_polled(void **state)
{
	struct test_device *td;
	struct fix f;

	(void)state;
	start(&f, 0);
	td = test_device(&f);
	td->verdict = SERVE_HELD;
	for (uint16_t head = 0; head < 8; head++) {
		set_desc(&f, DESC_AT, head, DATA_AT, 16, WRITE, 0);
		offer(&f, head);
		rounds(&f);
	}
	assert_int_equal(view(&f).inuse, 8);
	/* A stop that waits for them still ends. */
	vdev_hold(f.dev);
	rounds(&f);
	assert_false(vdev_is_idle(f.dev));
	fix_complete_held(&f);
	rounds(&f);
	assert_true(vdev_is_idle(f.dev));
	assert_int_equal(num_used(&f), 8);
	vdev_release(f.dev);
	fix_deinit(&f);
}

/* --- another thread as the driver, that kicks only where it is asked to --- */

#define CHAINS 30000

struct driver {
	struct fix *f;
	pthread_t thread;
	_Atomic bool done, stuck;
	unsigned int num_kicks;
	uint32_t order; /* of its pauses */
};

static uint32_t next_random(uint32_t *state)
{
	*state = *state * 1664525 + 1013904223;
	return *state >> 16;
}

static void *drive(void *arg)
{
	struct driver *driver = arg;
	struct fix *f = driver->f;
	uint64_t one = 1, deadline;

	for (unsigned int i = 0; i < CHAINS && !driver->stuck; i++) {
		offer_one(f);
		__atomic_thread_fence(__ATOMIC_SEQ_CST);
		if (wants_kick(f)) {
			driver->num_kicks++;
			driver->stuck |= write(f->kick, &one, 8) != 8;
		}
		/* Each is waited for, so that each may be the one that nobody looks at. */
		deadline = now_ns() + 30 * NSEC_PER_SEC;
		while (num_used(f) != (uint16_t)(i + 1) && !driver->stuck) {
			sched_yield();
			driver->stuck = now_ns() > deadline;
		}
		for (uint32_t pause = next_random(&driver->order) % 64; pause; pause--)
			now_ns();
	}
	driver->done = true;
	return NULL;
}

static void test_no_lost_wake_up(void **state)
{
	static const uint64_t limits[] = { 0, 5000, 50000, 10 * NSEC_PER_MSEC };
	static struct loop data_loop;
	struct err err = { 0 };

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(kinds); i++) {
		struct driver driver = { .order = 1 };
		uint32_t order = 7, round = 0;
		struct vq_view v;
		struct fix f;

		assert_int_equal(loop_init(&data_loop, "data", &err), 0);
		set_polling(&data_loop, 4000);
		assert_int_equal(loop_thread_start(&data_loop, &err), 0);
		fix_data_loop = &data_loop;
		fix_init(&f, 0, 0);
		start_ring(&f, kinds[i]);
		driver.f = &f;
		assert_int_equal(pthread_create(&driver.thread, NULL, drive, &driver), 0);
		/* Long times for a while, then short ones, so that polling begins and ends. */
		while (!driver.done) {
			struct loop_polling polling = {
				.max_ns = limits[round++ % 16 < 8 ? 3 : next_random(&order) % 4],
				.shrink = next_random(&order) % 3
			};

			loop_set_polling(&data_loop, &polling);
			loop_run_once(&f.loop, 1);
		}
		pthread_join(driver.thread, NULL);
		assert_false(driver.stuck);
		/* Published a moment after the driver saw the answer. */
		while (vq_read_view(f.vq, &v) && v.counters.completed != CHAINS)
			loop_run_once(&f.loop, 1);
		print_message("# %u chains: %u kicks, %u found by polling\n", CHAINS,
			driver.num_kicks, (unsigned int)v.counters.polled_runs);
		assert_true(v.counters.polled_runs > 0 && driver.num_kicks > 0);
		fix_deinit(&f);
		fix_data_loop = NULL;
		loop_thread_join(&data_loop);
		loop_deinit(&data_loop);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_chain_without_a_kick),
		cmocka_unit_test(test_kicks_are_asked_for_when_polling_ends),
		cmocka_unit_test(test_chain_at_the_last_moment),
		cmocka_unit_test(test_out_of_supplies),
		cmocka_unit_test(test_stop_leaves_the_ring_asking),
		cmocka_unit_test(test_stop_out_of_supplies_leaves_the_ring_asking),
		cmocka_unit_test(test_broken_while_polled),
		cmocka_unit_test(test_held_while_polled),
		cmocka_unit_test(test_no_lost_wake_up),
	};

	/* Devices are broken on purpose here. */
	log_set_level((enum log_level) - 1);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
