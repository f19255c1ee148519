/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A loop that polls: what it finds, what it must not forget meanwhile, and that it goes to sleep.
 * Rounds are counted; no time is measured.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <sched.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/loop.h"

#define LONG_NS (3600 * NSEC_PER_SEC)

struct probe {
	struct loop_poll poll;
	struct loop *owner;
	unsigned int num_begun, num_ended, num_looks;
	unsigned int finds_from; /* every look from this one on; 0: none */
	bool end_finds, deletes, stops;
	struct probe *deletes_too;
	struct loop_post *posts; /* when it looks for the third time */
};

static bool on_look(struct loop_poll *poll)
{
	struct probe *p = container_of(poll, struct probe, poll);

	assert_ptr_equal(poll->loop, p->owner);
	p->num_looks++;
	if (p->deletes_too)
		loop_poll_del(&p->deletes_too->poll);
	if (p->deletes)
		loop_poll_del(poll);
	if (p->posts && p->num_looks == 3)
		loop_post(p->owner, p->posts);
	return p->finds_from && p->num_looks >= p->finds_from;
}

static void on_begin(struct loop_poll *poll)
{
	container_of(poll, struct probe, poll)->num_begun++;
}

static bool on_end(struct loop_poll *poll)
{
	struct probe *p = container_of(poll, struct probe, poll);

	p->num_ended++;
	return p->end_finds;
}

static void add(struct loop *loop, struct probe *p)
{
	p->poll.fn = on_look;
	p->poll.begin = on_begin;
	p->poll.end = on_end;
	p->owner = loop;
	loop_poll_add(loop, &p->poll);
}

/* A loop that polls for @poll_ns from the start. */
static void start(struct loop *loop, uint64_t max_ns, uint64_t poll_ns)
{
	struct loop_polling polling = { .max_ns = max_ns };
	struct err err = { 0 };

	assert_int_equal(loop_init(loop, "test", &err), 0);
	loop_set_polling(loop, &polling);
	loop->poll_ns = poll_ns;
}

struct watch {
	struct loop_fd node;
	unsigned int calls;
	uint64_t count;
};

static void on_ready(struct loop_fd *node, uint32_t revents)
{
	struct watch *w = container_of(node, struct watch, node);

	(void)revents;
	w->calls++;
	assert_int_equal(read(node->fd, &w->count, 8), 8);
}

static void watch(struct loop *loop, struct watch *w)
{
	struct err err = { 0 };

	*w = (struct watch){ .node.fn = on_ready };
	w->node.fd = eventfd(0, EFD_NONBLOCK);
	assert_int_equal(loop_fd_add(loop, &w->node, EPOLLIN, &err), 0);
}

static void unwatch(struct watch *w)
{
	loop_fd_del(&w->node);
	close(w->node.fd);
}

static unsigned int num_posts;

static void on_post(struct loop_post *post)
{
	(void)post;
	num_posts++;
}

static void on_timer(struct loop_timer *timer)
{
	(void)timer;
	num_posts++;
}

static void on_work(struct loop_work *work)
{
	(void)work;
	num_posts++;
}

/* --- how long --- */

static const struct {
	struct loop_polling polling; /* max, grow, shrink */
	uint64_t poll_ns, idle_ns;
	bool woken;
	uint64_t next_ns;
} adapt_rows[] = {
	/* From nothing, and doubling. */
	{ { 32768, 0, 0 }, 0, 100, true, LOOP_POLL_START_NS },
	{ { 32768, 0, 0 }, 4000, 5000, true, 8000 },
	{ { 32768, 3, 0 }, 4000, 5000, true, 12000 },
	{ { 32768, 1, 0 }, 4000, 5000, true, 4000 },
	/* Never above the limit, whatever the factor. */
	{ { 32768, 0, 0 }, 32000, 32600, true, 32768 },
	{ { 1000, 0, 0 }, 0, 100, true, 1000 },
	{ { INT64_MAX, INT64_MAX, 0 }, 4000, 5000, true, INT64_MAX },
	/* Long enough as it is: what was found late came from elsewhere. */
	{ { 32768, 0, 0 }, 8000, 7000, true, 8000 },
	/* A clock's wake-up says nothing of how soon something comes. */
	{ { 32768, 0, 0 }, 4000, 5000, false, 4000 },
	{ { 32768, 0, 0 }, 0, 5000, false, 0 },
	/* Slept longer than it may ever poll. */
	{ { 32768, 0, 0 }, 32000, 32769, true, 0 },
	{ { 32768, 0, 4 }, 32000, 32769, true, 8000 },
	{ { 32768, 0, 1 }, 32000, 32769, false, 32000 },
	{ { 32768, 0, INT64_MAX }, 32000, 32769, false, 0 },
	/* The limit was lowered. */
	{ { 1000, 0, 0 }, 32000, 500, true, 1000 },
	{ { 0, 0, 0 }, 32000, 1, true, 0 },
};

static void test_adapt(void **state)
{
	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(adapt_rows); i++)
		assert_int_equal(loop_poll_adapt(&adapt_rows[i].polling, adapt_rows[i].poll_ns,
					 adapt_rows[i].idle_ns, adapt_rows[i].woken),
			adapt_rows[i].next_ns);
}

static void test_settings(void **state)
{
	struct loop_polling set = { 1, 2, 3 }, got;
	struct loop loop;

	(void)state;
	start(&loop, 0, 0);
	loop_set_polling(&loop, &set);
	got = loop_get_polling(&loop);
	assert_memory_equal(&set, &got, sizeof(set));
	loop_deinit(&loop);
}

static void test_lowered_limit(void **state)
{
	struct loop_polling less = { .max_ns = 2000 };
	struct probe p = { 0 };
	struct loop loop;

	(void)state;
	start(&loop, LONG_NS, LONG_NS);
	add(&loop, &p);
	loop_run_once(&loop, 1);
	assert_int_equal(p.num_begun, 1);
	assert_int_equal(p.num_ended, 0);
	/* Hours of polling are over at once. */
	loop_set_polling(&loop, &less);
	while (!p.num_ended)
		loop_run_once(&loop, 1);
	loop_poll_del(&p.poll);
	loop_deinit(&loop);
}

static void test_no_polling_without_a_limit(void **state)
{
	struct probe p = { .finds_from = 1 };
	struct loop loop;

	(void)state;
	start(&loop, 0, LONG_NS);
	add(&loop, &p);
	loop_run_once(&loop, 1);
	loop_run_once(&loop, 0);
	assert_int_equal(p.num_looks + p.num_begun + p.num_ended, 0);
	loop_poll_del(&p.poll);
	loop_poll_del(&p.poll);
	loop_deinit(&loop);
}

/* --- finding --- */

static void test_found_while_polling(void **state)
{
	struct probe p = { .finds_from = 5 };
	struct loop loop;

	(void)state;
	start(&loop, LONG_NS, LONG_NS);
	add(&loop, &p);
	/* Would sleep for ever otherwise. On a slow machine a slice of time ends a round before. */
	while (p.num_looks < 6)
		loop_run_once(&loop, -1);
	assert_int_equal(p.num_looks, 6);
	assert_int_equal(p.num_begun, 1);
	assert_int_equal(p.num_ended, 0);
	loop_poll_del(&p.poll);
	loop_deinit(&loop);
}

static void test_one_added_while_polling_is_told(void **state)
{
	struct probe p = { .finds_from = 1 }, late = { 0 };
	struct loop loop;

	(void)state;
	start(&loop, LONG_NS, LONG_NS);
	add(&loop, &p);
	loop_run_once(&loop, -1);
	add(&loop, &late);
	assert_int_equal(late.num_begun, 1);
	loop_poll_del(&late.poll);
	loop_poll_del(&p.poll);
	/* Nobody is left: the loop sleeps, and tells whoever comes next anew. */
	loop_run_once(&loop, 1);
	add(&loop, &late);
	assert_int_equal(late.num_begun, 1);
	assert_int_equal(late.num_ended, 0);
	loop_poll_del(&late.poll);
	loop_deinit(&loop);
}

static void test_removal_while_looking(void **state)
{
	struct loop loop;

	(void)state;
	/* Whoever is looked at first removes another one, or itself, or both. */
	for (unsigned int row = 0; row < 16; row++) {
		struct probe p[3] = { { .finds_from = 1 }, { .finds_from = 1 },
			{ .finds_from = 1 } };

		start(&loop, LONG_NS, LONG_NS);
		for (int i = 0; i < 3; i++)
			add(&loop, &p[i]);
		p[row % 3].deletes = row & 4;
		p[row % 3].deletes_too = row & 8 ? &p[(row + 1) % 3] : &p[(row + 2) % 3];
		loop_run_once(&loop, -1);
		for (int i = 0; i < 3; i++)
			assert_true(p[i].num_looks <= 1);
		assert_int_equal(p[row % 3].num_looks, 1);
		for (int i = 0; i < 3; i++)
			loop_poll_del(&p[i].poll);
		assert_null(loop.polls);
		loop_deinit(&loop);
	}
}

/* --- what must not be forgotten --- */

static void test_descriptors_beside_constant_progress(void **state)
{
	struct probe p = { .finds_from = 1 };
	struct loop_timer timer = { .fn = on_timer };
	struct loop_work work = { .fn = on_work };
	struct loop loop;
	struct watch w;

	(void)state;
	start(&loop, LONG_NS, LONG_NS);
	add(&loop, &p);
	watch(&loop, &w);
	/* Polling has begun, and finds something from here on. */
	loop_run_once(&loop, -1);
	assert_int_equal(p.num_begun, 1);
	for (unsigned int turn = 1; turn <= 3; turn++) {
		unsigned int before = p.num_looks;

		num_posts = 0;
		assert_int_equal(eventfd_write(w.node.fd, 1), 0);
		loop_timer_set(&loop, &timer, 1);
		loop_work_add(&loop, &work);
		loop_run_once(&loop, -1);
		/* A timer and work wait for nothing. */
		assert_int_equal(num_posts, 2);
		while (w.calls < turn)
			loop_run_once(&loop, -1);
		assert_true(p.num_looks - before <= LOOP_POLL_ROUNDS);
	}
	assert_int_equal(p.num_ended, 0);
	unwatch(&w);
	loop_poll_del(&p.poll);
	loop_deinit(&loop);
}

static void test_descriptors_beside_no_progress(void **state)
{
	struct probe p = { 0 };
	struct loop_timer timer = { .fn = on_timer };
	struct loop loop;
	struct watch w;

	(void)state;
	start(&loop, LONG_NS, LONG_NS);
	add(&loop, &p);
	watch(&loop, &w);
	assert_int_equal(eventfd_write(w.node.fd, 1), 0);
	/* Hours of polling are ahead, and the descriptor does not wait for their end. */
	loop_run_once(&loop, -1);
	assert_int_equal(w.calls, 1);
	num_posts = 0;
	loop_timer_set(&loop, &timer, now_ns() + NSEC_PER_MSEC);
	while (!num_posts)
		loop_run_once(&loop, -1);
	assert_int_equal(p.num_ended, 0);
	unwatch(&w);
	loop_poll_del(&p.poll);
	loop_deinit(&loop);
}

static void test_post_needs_no_wake_up(void **state)
{
	struct loop_post post = { .fn = on_post };
	struct probe p = { .posts = &post };
	struct loop loop;
	uint64_t count;

	(void)state;
	start(&loop, LONG_NS, LONG_NS);
	add(&loop, &p);
	num_posts = 0;
	loop_run_once(&loop, -1);
	assert_int_equal(num_posts, 1);
	assert_int_equal(p.num_looks, 3);
	/* Nobody wrote to the descriptor that wakes a sleeper. */
	assert_int_equal(read(loop.wake_fd, &count, sizeof(count)), -1);
	/* Posted before a loop without polling sleeps: seen, and not slept upon. */
	loop_poll_del(&p.poll);
	loop_post(&loop, &post);
	loop_run_once(&loop, -1);
	assert_int_equal(num_posts, 2);
	loop_deinit(&loop);
}

/* --- going to sleep --- */

static void test_idle_ends_in_sleep(void **state)
{
	struct probe p = { 0 };
	struct loop loop;
	unsigned int looks;
	struct watch w;

	(void)state;
	start(&loop, NSEC_PER_MSEC / 4, NSEC_PER_MSEC / 4);
	add(&loop, &p);
	watch(&loop, &w);
	/* Polls for its time, asks to be woken, sleeps for longer than it may ever poll. */
	while (!p.num_ended)
		loop_run_once(&loop, 5);
	assert_int_equal(p.num_begun, 1);
	assert_int_equal(loop.poll_ns, 0);
	looks = p.num_looks;
	for (int i = 0; i < 3; i++)
		loop_run_once(&loop, 5);
	/* From now on it is a loop that does not poll ... */
	assert_int_equal(p.num_looks, looks);
	assert_int_equal(p.num_begun, 1);
	unwatch(&w);
	loop_poll_del(&p.poll);
	loop_deinit(&loop);
}

static void test_busy_begins_to_poll(void **state)
{
	struct probe p = { 0 };
	struct loop loop;
	struct watch w;

	(void)state;
	/* ... until it is woken soon after it went idle. */
	start(&loop, LONG_NS, 0);
	add(&loop, &p);
	watch(&loop, &w);
	assert_int_equal(eventfd_write(w.node.fd, 1), 0);
	loop_run_once(&loop, -1);
	assert_int_equal(loop.poll_ns, LOOP_POLL_START_NS);
	assert_int_equal(p.num_begun, 0);
	assert_int_equal(eventfd_write(w.node.fd, 1), 0);
	while (w.calls < 2)
		loop_run_once(&loop, -1);
	assert_int_equal(p.num_begun, 1);
	assert_true(p.num_looks > 0);
	unwatch(&w);
	loop_poll_del(&p.poll);
	loop_deinit(&loop);
}

static void test_what_came_while_polling_ended(void **state)
{
	struct probe p = { .end_finds = true };
	struct loop loop;

	(void)state;
	start(&loop, LOOP_POLL_START_NS, LOOP_POLL_START_NS);
	add(&loop, &p);
	/* Returns only where it does not sleep. */
	while (p.num_ended < 3)
		loop_run_once(&loop, -1);
	assert_int_equal(p.num_begun, 3);
	/* Not polling any more from one round to the next: what was begun is ended. */
	p.finds_from = 1;
	loop_run_once(&loop, -1);
	loop_set_polling(&loop, &(struct loop_polling){ 0 });
	loop_run_once(&loop, -1);
	assert_int_equal(p.num_begun, 4);
	assert_int_equal(p.num_ended, 4);
	loop_poll_del(&p.poll);
	loop_deinit(&loop);
}

/* --- another thread --- */

#define NOTES 20000

static _Atomic unsigned int num_notes, num_tokens, num_taken;

static void on_note(struct loop_post *post)
{
	(void)post;
	num_notes++;
}

/* Takes tokens that another thread puts there, as a queue takes chains. */
static bool take_token(struct loop_poll *poll)
{
	(void)poll;
	if (num_tokens == num_taken)
		return false;
	num_taken++;
	return true;
}

static bool recheck(struct loop_poll *poll)
{
	return take_token(poll);
}

static void test_posts_at_any_moment(void **state)
{
	static struct loop_post posts[NOTES];
	struct loop_poll poll = { .fn = take_token, .end = recheck };
	struct err err = { 0 };
	struct loop loop;

	(void)state;
	/* So short that the loop sleeps, polls, and is on its way from one to the other. */
	start(&loop, 2000, 2000);
	loop_poll_add(&loop, &poll);
	assert_int_equal(loop_thread_start(&loop, &err), 0);
	for (unsigned int i = 0; i < NOTES; i++) {
		posts[i].fn = on_note;
		num_tokens++;
		loop_post(&loop, &posts[i]);
		/* One by one: each has to be noticed for itself. */
		while (i % 2 && num_notes <= i)
			sched_yield();
	}
	loop_thread_join(&loop);
	assert_int_equal(num_notes, NOTES);
	loop_poll_del(&poll);
	loop_deinit(&loop);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_adapt),
		cmocka_unit_test(test_settings),
		cmocka_unit_test(test_lowered_limit),
		cmocka_unit_test(test_no_polling_without_a_limit),
		cmocka_unit_test(test_found_while_polling),
		cmocka_unit_test(test_one_added_while_polling_is_told),
		cmocka_unit_test(test_removal_while_looking),
		cmocka_unit_test(test_descriptors_beside_constant_progress),
		cmocka_unit_test(test_descriptors_beside_no_progress),
		cmocka_unit_test(test_post_needs_no_wake_up),
		cmocka_unit_test(test_idle_ends_in_sleep),
		cmocka_unit_test(test_busy_begins_to_poll),
		cmocka_unit_test(test_what_came_while_polling_ended),
		cmocka_unit_test(test_posts_at_any_moment),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
