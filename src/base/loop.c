/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The event loop. Timers are a sorted list: a loop has few. Other threads reach it through a
 * lock-free stack of messages and an eventfd; nothing here takes a lock.
 */
#include "base/loop.h"

#include <assert.h>
#include <errno.h>
#include <semaphore.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "base/alloc.h"
#include "base/cleanup.h"
#include "base/loop_int.h"

#define LOOP_EVENTS_MAX 64

static __thread struct loop *current_loop;

struct loop *loop_self(void)
{
	return current_loop;
}

static void drain_wake(struct loop_fd *node, uint32_t revents)
{
	uint64_t count;
	ssize_t r;

	(void)revents;
	r = read(node->fd, &count, sizeof(count));
	(void)r;
}

static int open_descriptors(struct loop *loop, struct err *err)
{
	loop->epoll_fd = epoll_create1(EPOLL_CLOEXEC);
	if (loop->epoll_fd < 0)
		return err_set(err, -errno, "cannot create an event loop: %m");
	loop->wake_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	if (loop->wake_fd < 0)
		return err_set(err, -errno, "cannot create an eventfd for an event loop: %m");
	loop->wake.fd = loop->wake_fd;
	loop->wake.fn = drain_wake;
	return loop_fd_add(loop, &loop->wake, EPOLLIN, err);
}

int loop_init(struct loop *loop, const char *name, struct err *err)
{
	int r;

	memset(loop, 0, sizeof(*loop));
	loop->name = xstrdup(name);
	loop->wake_fd = -1;
	loop->wake.fd = -1;
	r = open_descriptors(loop, err);
	if (r < 0)
		loop_deinit(loop);
	return r;
}

void loop_deinit(struct loop *loop)
{
	if (!loop->name)
		return;
	assert(!loop->polls);
	loop_fd_del(&loop->wake);
	close_fd(&loop->wake_fd);
	close_fd(&loop->epoll_fd);
	free(loop->name);
	memset(loop, 0, sizeof(*loop));
	loop->wake_fd = -1;
	loop->epoll_fd = -1;
}

static void run_posts(struct loop *loop)
{
	struct loop_post *post, *in_order = NULL;

	/* A loop that polls comes here often. */
	if (!atomic_load_explicit(&loop->posts, memory_order_relaxed))
		return;
	/* Pairs with the release in loop_post(): what was written before the post is seen. */
	post = atomic_exchange_explicit(&loop->posts, NULL, memory_order_acquire);
	while (post) {
		struct loop_post *next = post->next;

		post->next = in_order;
		in_order = post;
		post = next;
	}
	while (in_order) {
		struct loop_post *next = in_order->next;

		in_order->fn(in_order);
		in_order = next;
	}
}

static void run_timers(struct loop *loop)
{
	uint64_t now;

	if (!loop->timers)
		return;
	now = now_ns();
	loop->timers_now_ns = now;
	while (loop->timers && loop->timers->deadline_ns <= now) {
		struct loop_timer *timer = loop->timers;

		loop_timer_cancel(timer);
		timer->fn(timer);
	}
	loop->timers_now_ns = 0;
}

/*
 * Each once a round: work that queues itself again lets the others have their turn, and what this
 * round's work leads to needs no look at descriptors first.
 */
static void run_work(struct loop *loop)
{
	loop->work_round++;
	while (loop->work_head && loop->work_head->round != loop->work_round) {
		struct loop_work *work = loop->work_head;

		loop_work_cancel(loop, work);
		work->round = loop->work_round;
		work->fn(work);
	}
}

static int next_timeout_ms(struct loop *loop, int timeout_ms)
{
	uint64_t now, wait_ms;

	if (loop->work_head || atomic_load_explicit(&loop->stop, memory_order_relaxed))
		return 0;
	if (!loop->timers)
		return timeout_ms;
	now = now_ns();
	if (loop->timers->deadline_ns <= now)
		return 0;
	wait_ms = (loop->timers->deadline_ns - now + NSEC_PER_MSEC - 1) / NSEC_PER_MSEC;
	if (wait_ms > 60 * 1000)
		wait_ms = 60 * 1000;
	return timeout_ms < 0 ? (int)wait_ms : MIN(timeout_ms, (int)wait_ms);
}

/* At most @timeout_ms, and not at all where a message came before we said that we sleep. */
static int wait_ready(struct loop *loop, struct epoll_event *ready, int timeout_ms)
{
	int n;

	if (timeout_ms) {
		/* Sequentially consistent, as in loop_post(): it sees that we sleep, or we see it.
		 */
		atomic_store(&loop->asleep, true);
		if (atomic_load(&loop->posts))
			timeout_ms = 0;
	}
	n = epoll_wait(loop->epoll_fd, ready, LOOP_EVENTS_MAX, timeout_ms);
	atomic_store_explicit(&loop->asleep, false, memory_order_relaxed);
	loop_poll_waited(loop, timeout_ms != 0, n > 0);
	return n < 0 ? 0 : n;
}

static void run_descriptors(struct loop *loop, int timeout_ms)
{
	struct epoll_event ready[LOOP_EVENTS_MAX];
	int i;

	loop->num_ready = wait_ready(loop, ready, timeout_ms);
	loop->ready = ready;
	for (i = 0; i < loop->num_ready; i++) {
		struct loop_fd *node = ready[i].data.ptr;

		if (node)
			node->fn(node, ready[i].events);
	}
	loop->ready = NULL;
	loop->num_ready = 0;
}

void loop_run_once(struct loop *loop, int timeout_ms)
{
	struct loop *outer = current_loop;

	current_loop = loop;
	timeout_ms = next_timeout_ms(loop, timeout_ms);
	if (!loop_poll_round(loop, &timeout_ms))
		run_descriptors(loop, timeout_ms);
	run_posts(loop);
	run_timers(loop);
	run_work(loop);
	current_loop = outer;
}

void loop_run(struct loop *loop)
{
	atomic_store(&loop->tid, (int)syscall(SYS_gettid));
	/* Acquire pairs with the release in loop_stop(): posts made before it are seen below. */
	while (!atomic_load_explicit(&loop->stop, memory_order_acquire))
		loop_run_once(loop, -1);
	current_loop = loop;
	run_posts(loop);
	current_loop = NULL;
}

static void wake(struct loop *loop)
{
	uint64_t one = 1;
	ssize_t r;

	/* Full means that a wake-up is pending already. */
	r = write(loop->wake_fd, &one, sizeof(one));
	(void)r;
}

void loop_stop(struct loop *loop)
{
	atomic_store_explicit(&loop->stop, true, memory_order_release);
	wake(loop);
}

struct thread_start {
	struct loop *loop;
	sem_t begun;
};

static void *thread_main(void *arg)
{
	struct thread_start *start = arg;
	struct loop *loop = start->loop;
	char name[LOOP_THREAD_NAME_BYTES];

	snprintf(name, sizeof(name), "%s", loop->name);
	pthread_setname_np(pthread_self(), name);
	atomic_store(&loop->tid, (int)syscall(SYS_gettid));
	sem_post(&start->begun);
	loop_run(loop);
	return NULL;
}

int loop_thread_start(struct loop *loop, struct err *err)
{
	struct thread_start start = { .loop = loop };
	sigset_t all, old;
	int r;

	sem_init(&start.begun, 0, 0);
	sigfillset(&all);
	/* The SIGBUS guard of mem/ runs on the thread that touched the memory. */
	sigdelset(&all, SIGBUS);
	sigdelset(&all, SIGSEGV);
	pthread_sigmask(SIG_BLOCK, &all, &old);
	r = pthread_create(&loop->thread, NULL, thread_main, &start);
	pthread_sigmask(SIG_SETMASK, &old, NULL);
	if (r)
		return err_set(err, -r, "cannot start thread '%s': %s", loop->name, strerror(r));
	loop->has_thread = true;
	/* From here on its number and its name can be seen. */
	while (sem_wait(&start.begun) < 0)
		;
	sem_destroy(&start.begun);
	return 0;
}

void loop_thread_join(struct loop *loop)
{
	if (!loop->has_thread)
		return;
	loop_stop(loop);
	pthread_join(loop->thread, NULL);
	loop->has_thread = false;
}

int loop_fd_add(struct loop *loop, struct loop_fd *node, uint32_t events, struct err *err)
{
	struct epoll_event ev = { .events = events, .data.ptr = node };

	assert(!node->loop && node->fn);
	if (epoll_ctl(loop->epoll_fd, EPOLL_CTL_ADD, node->fd, &ev) < 0)
		return err_set(err, -errno, "cannot wait for descriptor %d: %m", node->fd);
	node->events = events;
	node->loop = loop;
	return 0;
}

void loop_fd_events(struct loop_fd *node, uint32_t events)
{
	struct epoll_event ev = { .events = events, .data.ptr = node };

	if (!node->loop || node->events == events)
		return;
	node->events = events;
	epoll_ctl(node->loop->epoll_fd, EPOLL_CTL_MOD, node->fd, &ev);
}

void loop_fd_del(struct loop_fd *node)
{
	struct loop *loop = node->loop;
	int i;

	if (!loop)
		return;
	epoll_ctl(loop->epoll_fd, EPOLL_CTL_DEL, node->fd, NULL);
	for (i = 0; i < loop->num_ready; i++)
		if (loop->ready[i].data.ptr == node)
			loop->ready[i].data.ptr = NULL;
	node->loop = NULL;
}

void loop_timer_set(struct loop *loop, struct loop_timer *timer, uint64_t deadline_ns)
{
	struct loop_timer **at;

	loop_timer_cancel(timer);
	/* A timer that is set again by its own fn, for a moment that has passed, waits its turn. */
	if (loop->timers_now_ns)
		deadline_ns = MAX(deadline_ns, loop->timers_now_ns + 1);
	timer->deadline_ns = deadline_ns;
	timer->loop = loop;
	for (at = &loop->timers; *at && (*at)->deadline_ns <= deadline_ns; at = &(*at)->next)
		;
	timer->next = *at;
	*at = timer;
}

void loop_timer_cancel(struct loop_timer *timer)
{
	struct loop_timer **at;

	if (!timer->loop)
		return;
	for (at = &timer->loop->timers; *at != timer; at = &(*at)->next)
		;
	*at = timer->next;
	timer->next = NULL;
	timer->loop = NULL;
}

void loop_work_add(struct loop *loop, struct loop_work *work)
{
	if (work->queued)
		return;
	work->queued = true;
	work->next = NULL;
	work->prev = loop->work_tail;
	if (loop->work_tail)
		loop->work_tail->next = work;
	else
		loop->work_head = work;
	loop->work_tail = work;
}

void loop_work_cancel(struct loop *loop, struct loop_work *work)
{
	if (!work->queued)
		return;
	if (work->prev)
		work->prev->next = work->next;
	else
		loop->work_head = work->next;
	if (work->next)
		work->next->prev = work->prev;
	else
		loop->work_tail = work->prev;
	work->next = NULL;
	work->prev = NULL;
	work->queued = false;
}

void loop_post(struct loop *loop, struct loop_post *post)
{
	struct loop_post *head = atomic_load_explicit(&loop->posts, memory_order_relaxed);

	do
		post->next = head;
	while (!atomic_compare_exchange_weak(&loop->posts, &head, post));
	/*
	 * Only the first message of a batch needs to wake, since the loop takes the whole stack,
	 * and only a loop that sleeps; see wait_ready() for the order.
	 */
	if (!head && atomic_load(&loop->asleep))
		wake(loop);
}
