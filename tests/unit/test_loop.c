/* SPDX-License-Identifier: BSD-3-Clause */
/* The event loop: messages, descriptors, timers, work, and its thread. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/loop.h"

static void start(struct loop *loop)
{
	struct err err = { 0 };

	assert_int_equal(loop_init(loop, "test", &err), 0);
	assert_null(loop_self());
}

/* --- messages --- */

#define POSTERS 4
#define POSTS	5000

struct note {
	struct loop_post post;
	unsigned int from, seq;
};

struct poster {
	pthread_t thread;
	struct loop *loop;
	struct note notes[POSTS];
	unsigned int next; /* the loop's */
};

static struct poster posters[POSTERS];
static unsigned int num_out_of_order, num_delivered;

static void on_note(struct loop_post *post)
{
	struct note *note = container_of(post, struct note, post);

	num_out_of_order += note->seq != posters[note->from].next++;
	num_delivered++;
}

static void *post_all(void *arg)
{
	struct poster *p = arg;
	unsigned int i;

	for (i = 0; i < POSTS; i++) {
		p->notes[i] = (struct note){ { .fn = on_note }, (unsigned int)(p - posters), i };
		loop_post(p->loop, &p->notes[i].post);
	}
	return NULL;
}

static void test_posts_in_order(void **state)
{
	struct err err = { 0 };
	struct loop loop;
	unsigned int i;

	(void)state;
	start(&loop);
	assert_int_equal(loop_thread_start(&loop, &err), 0);
	for (i = 0; i < POSTERS; i++) {
		posters[i].loop = &loop;
		pthread_create(&posters[i].thread, NULL, post_all, &posters[i]);
	}
	for (i = 0; i < POSTERS; i++)
		pthread_join(posters[i].thread, NULL);
	/* All were posted before the stop, so all are delivered. */
	loop_thread_join(&loop);
	assert_int_equal(num_delivered, POSTERS * POSTS);
	assert_int_equal(num_out_of_order, 0);
	loop_thread_join(&loop);
	loop_deinit(&loop);
	loop_deinit(&loop);
}

static struct loop *seen_self;
static sigset_t seen_mask;
static char seen_name[LOOP_THREAD_NAME_BYTES];

static void look_around(struct loop_post *post)
{
	(void)post;
	seen_self = loop_self();
	pthread_sigmask(SIG_BLOCK, NULL, &seen_mask);
	pthread_getname_np(pthread_self(), seen_name, sizeof(seen_name));
}

static void test_thread(void **state)
{
	struct loop_post post = { .fn = look_around };
	struct err err = { 0 };
	struct loop loop;

	(void)state;
	assert_int_equal(loop_init(&loop, "a name that is far too long", &err), 0);
	loop_post(&loop, &post);
	assert_int_equal(loop_thread_start(&loop, &err), 0);
	loop_thread_join(&loop);
	assert_ptr_equal(seen_self, &loop);
	assert_null(loop_self());
	assert_int_equal(sigismember(&seen_mask, SIGTERM), 1);
	assert_int_equal(sigismember(&seen_mask, SIGBUS), 0);
	assert_string_equal(seen_name, "a name that is ");
	assert_string_equal(loop.name, "a name that is far too long");
	loop_deinit(&loop);
}

static struct loop *chained_loop;
static struct loop_post again;

static void post_again(struct loop_post *post)
{
	static unsigned int n;

	if (++n < 3)
		loop_post(chained_loop, &again);
	else
		loop_stop(chained_loop);
	(void)post;
}

static void test_post_from_its_own_message(void **state)
{
	struct loop loop;

	(void)state;
	start(&loop);
	chained_loop = &loop;
	again.fn = post_again;
	loop_post(&loop, &again);
	/* Returns only where each message woke the loop for the next. */
	loop_run(&loop);
	loop_deinit(&loop);
}

/* --- descriptors --- */

struct watch {
	struct loop_fd node;
	struct watch *removes[3];
	unsigned int calls;
	uint32_t revents;
};

static void on_ready(struct loop_fd *node, uint32_t revents)
{
	struct watch *w = container_of(node, struct watch, node);
	size_t i;

	w->calls++;
	w->revents = revents;
	for (i = 0; i < ARRAY_SIZE(w->removes); i++)
		if (w->removes[i])
			loop_fd_del(&w->removes[i]->node);
}

static void watch(struct loop *loop, struct watch *w, int fd, uint32_t events)
{
	struct err err = { 0 };

	memset(w, 0, sizeof(*w));
	w->node.fd = fd;
	w->node.fn = on_ready;
	assert_int_equal(loop_fd_add(loop, &w->node, events, &err), 0);
}

static void test_removal_within_a_batch(void **state)
{
	struct watch w[3];
	struct loop loop;
	int i, fds[3];

	(void)state;
	start(&loop);
	for (i = 0; i < 3; i++) {
		fds[i] = eventfd(1, EFD_NONBLOCK);
		watch(&loop, &w[i], fds[i], EPOLLIN);
	}
	/* All three are ready; whoever comes first removes all, itself too. */
	for (i = 0; i < 9; i++)
		w[i / 3].removes[i % 3] = &w[i % 3];
	loop_run_once(&loop, 0);
	assert_int_equal(w[0].calls + w[1].calls + w[2].calls, 1);
	for (i = 0; i < 3; i++) {
		assert_null(w[i].node.loop);
		loop_fd_del(&w[i].node);
		/* The loop never closes what it watched, and it may be watched again. */
		watch(&loop, &w[i], fds[i], EPOLLIN);
	}
	loop_run_once(&loop, 0);
	for (i = 0; i < 3; i++) {
		assert_int_equal(w[i].calls, 1);
		loop_fd_del(&w[i].node);
		close(fds[i]);
	}
	loop_run_once(&loop, 0);
	loop_deinit(&loop);
}

static void test_events(void **state)
{
	struct loop_fd bad = { .fd = -1, .fn = on_ready };
	struct err err = { 0 };
	FILE *file = tmpfile();
	struct loop loop;
	struct watch w;
	int pair[2];

	(void)state;
	start(&loop);
	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0, pair), 0);
	watch(&loop, &w, pair[0], EPOLLIN);
	loop_run_once(&loop, 0);
	assert_int_equal(w.calls, 0);
	loop_fd_events(&w.node, EPOLLOUT);
	loop_run_once(&loop, 0);
	assert_int_equal(w.revents, EPOLLOUT);
	/* 0 keeps only hang-ups. */
	loop_fd_events(&w.node, 0);
	assert_int_equal(write(pair[1], "x", 1), 1);
	loop_run_once(&loop, 0);
	assert_int_equal(w.calls, 1);
	close(pair[1]);
	loop_run_once(&loop, 0);
	assert_int_equal(w.calls, 2);
	assert_true(w.revents & EPOLLHUP);
	loop_fd_del(&w.node);
	loop_fd_events(&w.node, EPOLLIN);
	close(pair[0]);
	assert_int_equal(loop_fd_add(&loop, &bad, EPOLLIN, &err), -EBADF);
	bad.fd = fileno(file);
	assert_int_equal(loop_fd_add(&loop, &bad, EPOLLIN, &err), -EPERM);
	assert_null(bad.loop);
	assert_non_null(strstr(err.msg, "cannot wait for descriptor"));
	fclose(file);
	loop_deinit(&loop);
}

/* --- timers --- */

static char order[16];
static unsigned int num_order;

struct named_timer {
	struct loop_timer timer;
	char name;
	struct named_timer *cancels;
	unsigned int repeats;
	uint64_t again_ns;
	struct loop *loop;
};

static void on_timer(struct loop_timer *timer)
{
	struct named_timer *t = container_of(timer, struct named_timer, timer);

	if (num_order < sizeof(order) - 1)
		order[num_order++] = t->name;
	if (t->cancels)
		loop_timer_cancel(&t->cancels->timer);
	if (t->repeats && t->repeats--)
		loop_timer_set(t->loop, timer, t->again_ns);
}

static const struct {
	uint64_t deadline[4]; /* 0: not armed; small ones have passed */
	int cancels[4]; /* whom it cancels when it fires, + 1 */
	unsigned int repeats[4];
	const char *first, *second; /* what fires in the first round, in the second */
} timer_rows[] = {
	{ { 1, 2, 3, 4 }, { 0 }, { 0 }, "abcd", "" },
	{ { 4, 3, 2, 1 }, { 0 }, { 0 }, "dcba", "" },
	{ { 2, 2, 1, 2 }, { 0 }, { 0 }, "cabd", "" },
	{ { 1, 2, UINT64_MAX, UINT64_MAX - 1 }, { 0 }, { 0 }, "ab", "" },
	{ { 1, 2, 3, 4 }, { 3, 0, 0, 0 }, { 0 }, "abd", "" },
	{ { 1, 2, 3, 4 }, { 1, 0, 0, 0 }, { 0 }, "abcd", "" },
	/* Set again for a moment that has passed: the next round, and the others before it. */
	{ { 1, 2, 0, 0 }, { 0 }, { 9, 0 }, "ab", "a" },
	{ { 2, 1, 0, 0 }, { 0 }, { 9, 9 }, "ba", "ba" },
};

static void test_timers(void **state)
{
	size_t row, i;

	(void)state;
	for (row = 0; row < ARRAY_SIZE(timer_rows); row++) {
		struct named_timer t[4];
		struct loop loop;
		uint64_t now = now_ns();

		start(&loop);
		memset(t, 0, sizeof(t));
		for (i = 0; i < 4; i++) {
			int other = timer_rows[row].cancels[i];

			t[i] = (struct named_timer){ .timer.fn = on_timer,
				.name = (char)('a' + i),
				.cancels = other ? &t[other - 1] : NULL,
				.repeats = timer_rows[row].repeats[i],
				.again_ns = i,
				.loop = &loop };
			if (timer_rows[row].deadline[i])
				loop_timer_set(&loop, &t[i].timer, timer_rows[row].deadline[i]);
		}
		for (i = 0; i < 2; i++) {
			num_order = 0;
			memset(order, 0, sizeof(order));
			loop_run_once(&loop, 0);
			assert_string_equal(
				order, i ? timer_rows[row].second : timer_rows[row].first);
			/* Moments, as the clock counts them, are enough to be in the past again. */
			while (now_ns() - now < 1000)
				;
			now = now_ns();
		}
		for (i = 0; i < 4; i++)
			loop_timer_cancel(&t[i].timer);
		assert_null(loop.timers);
		loop_deinit(&loop);
	}
}

static void test_timer_moves(void **state)
{
	struct named_timer t = { .timer.fn = on_timer, .name = 'x' };
	struct loop loop;

	(void)state;
	start(&loop);
	memset(order, 0, sizeof(order));
	num_order = 0;
	loop_timer_set(&loop, &t.timer, 1);
	loop_timer_set(&loop, &t.timer, UINT64_MAX);
	loop_run_once(&loop, 0);
	assert_int_equal(num_order, 0);
	loop_timer_set(&loop, &t.timer, now_ns() + 2 * NSEC_PER_MSEC);
	/* Waits no longer than for the timer, however long it may. */
	while (!num_order)
		loop_run_once(&loop, -1);
	assert_null(t.timer.loop);
	loop_timer_cancel(&t.timer);
	loop_deinit(&loop);
}

/* --- work --- */

struct named_work {
	struct loop_work work;
	char name;
	bool again;
	struct named_work *cancels;
	struct loop *loop;
};

static void on_work(struct loop_work *work)
{
	struct named_work *w = container_of(work, struct named_work, work);

	if (num_order < sizeof(order) - 1)
		order[num_order++] = w->name;
	if (w->again)
		loop_work_add(w->loop, work);
	if (w->cancels)
		loop_work_cancel(w->loop, &w->cancels->work);
}

static void test_work(void **state)
{
	struct named_work w[3];
	struct loop loop;
	unsigned int i;

	(void)state;
	start(&loop);
	memset(order, 0, sizeof(order));
	num_order = 0;
	for (i = 0; i < 3; i++) {
		w[i] = (struct named_work){
			.work.fn = on_work, .name = (char)('a' + i), .loop = &loop
		};
		loop_work_add(&loop, &w[i].work);
		loop_work_add(&loop, &w[i].work);
	}
	w[0].again = true;
	loop_run_once(&loop, -1);
	assert_string_equal(order, "abc");
	/* One that always has more to do waits behind the others, and does not let the loop sleep.
	 */
	loop_work_add(&loop, &w[1].work);
	loop_run_once(&loop, -1);
	loop_run_once(&loop, -1);
	assert_string_equal(order, "abcaba");
	w[0].again = false;
	w[0].cancels = &w[2];
	loop_work_add(&loop, &w[2].work);
	loop_work_add(&loop, &w[1].work);
	loop_run_once(&loop, -1);
	assert_string_equal(order, "abcabaab");
	loop_work_cancel(&loop, &w[2].work);
	assert_null(loop.work_head);
	assert_null(loop.work_tail);
	loop_deinit(&loop);
}

struct leading_work {
	struct loop_work first, second;
	struct loop *loop;
	unsigned int num_second;
};

static void on_first(struct loop_work *work)
{
	struct leading_work *w = container_of(work, struct leading_work, first);

	loop_work_add(w->loop, &w->second);
}

static void on_second(struct loop_work *work)
{
	struct leading_work *w = container_of(work, struct leading_work, second);

	w->num_second++;
	loop_work_add(w->loop, &w->first);
}

/* What work leads to has its turn in the same round, and once: two that lead to each other wait. */
static void test_work_that_leads_to_work(void **state)
{
	struct leading_work w = { .first.fn = on_first, .second.fn = on_second };
	struct loop loop;
	unsigned int i;

	(void)state;
	start(&loop);
	w.loop = &loop;
	loop_work_add(&loop, &w.first);
	for (i = 1; i < 4; i++) {
		loop_run_once(&loop, -1);
		assert_int_equal(w.num_second, i);
	}
	loop_work_cancel(&loop, &w.first);
	loop_deinit(&loop);
}

static void test_work_does_not_starve_descriptors(void **state)
{
	struct named_work w = { .work.fn = on_work, .name = 'w', .again = true };
	struct loop loop;
	struct watch fd;
	int event = eventfd(0, EFD_NONBLOCK);

	(void)state;
	start(&loop);
	w.loop = &loop;
	loop_work_add(&loop, &w.work);
	watch(&loop, &fd, event, EPOLLIN);
	assert_int_equal(eventfd_write(event, 1), 0);
	loop_run_once(&loop, -1);
	assert_int_equal(fd.calls, 1);
	loop_work_cancel(&loop, &w.work);
	loop_fd_del(&fd.node);
	close(event);
	loop_deinit(&loop);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_posts_in_order),
		cmocka_unit_test(test_thread),
		cmocka_unit_test(test_post_from_its_own_message),
		cmocka_unit_test(test_removal_within_a_batch),
		cmocka_unit_test(test_events),
		cmocka_unit_test(test_timers),
		cmocka_unit_test(test_timer_moves),
		cmocka_unit_test(test_work),
		cmocka_unit_test(test_work_that_leads_to_work),
		cmocka_unit_test(test_work_does_not_starve_descriptors),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
