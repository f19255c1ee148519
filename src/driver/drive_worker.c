/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The data path: a thread keeps its queues full. One look at the clock serves a whole batch: what
 * came back together came back at that time, and what goes out next starts with it. Nothing here
 * allocates; system calls are the kick where it is wanted, and the sleep.
 */
#include <assert.h>
#include <errno.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "driver/drive_internal.h"

static void cpu_relax(void)
{
#if defined(__x86_64__) || defined(__i386__)
	__builtin_ia32_pause();
#else
	__asm__ volatile("" ::: "memory");
#endif
}

static void notify(int fd)
{
	uint64_t one = 1;

	/* Full means that whoever reads it has not looked for a very long time, and will. */
	if (write(fd, &one, sizeof(one)) < 0)
		assert(errno == EAGAIN);
}

static void account(struct dqueue *q, const struct drive_request *req, uint64_t now)
{
	if (q->phase == DQUEUE_CHECKING)
		return;
	q->answered++;
	q->stats.ios[req->dir]++;
	if (q->role == DQUEUE_ACTIVE)
		histogram_add(&q->stats.lat[req->dir], now - req->start_ns);
}

/* Takes back what is done: how many, and *ret_now is when; or -errno with q->err. */
static int reap(struct dqueue *q, uint64_t *ret_now)
{
	struct drive_request *req;
	uint32_t token, len;
	int n = 0, r;

	while ((r = dring_get(&q->ring, &token, &len)) > 0) {
		if (!n++)
			*ret_now = now_ns();
		req = &q->reqs[token];
		req->outstanding = false;
		account(q, req, *ret_now);
		r = q->ops->done(q, req, len);
		if (unlikely(r < 0))
			return r;
		q->free[q->num_free++] = token;
	}
	if (unlikely(r < 0))
		return err_set(&q->err, r, "queue %u: %s", q->index, q->ring.err.msg);
	if (n)
		atomic_store_explicit(&q->shown, q->answered, memory_order_relaxed);
	return n;
}

static void publish(struct dqueue *q)
{
	if (dring_publish(&q->ring)) {
		q->stats.kicks++;
		notify(q->kick);
	} else {
		q->stats.kicks_suppressed++;
	}
}

static void fill(struct dqueue *q, uint64_t now)
{
	unsigned int added = 0;

	while (q->num_free && (q->submitted < q->quota || q->phase == DQUEUE_CHECKING)) {
		uint32_t token = q->free[q->num_free - 1];
		struct drive_request *req = &q->reqs[token];

		if (!q->ops->next(q, req))
			break;
		if (!added && !now)
			now = now_ns();
		req->start_ns = now;
		req->outstanding = true;
		/* The ring's size was chosen so that there is room. */
		if (!dring_add(&q->ring, req->bufs, req->num_out, req->num_in, token))
			assert(!"room in the ring");
		q->num_free--;
		q->submitted++;
		added++;
	}
	if (added)
		publish(q);
}

static bool must_stop(const struct dqueue *q)
{
	return atomic_load_explicit(&q->d->stop, memory_order_relaxed);
}

/* What is to be done next, now that nothing new is wanted. */
static void next_phase(struct dqueue *q)
{
	bool all_back = q->num_free == q->depth;

	switch (q->phase) {
	case DQUEUE_RUNNING:
		if (q->role == DQUEUE_LISTENING && (must_stop(q) || q->answered >= q->quota))
			q->phase = DQUEUE_DONE;
		if (q->role == DQUEUE_ACTIVE && (must_stop(q) || q->submitted >= q->quota))
			q->phase = DQUEUE_DRAINING;
		break;
	case DQUEUE_DRAINING:
		if (all_back)
			q->phase = q->blocks && drive_writes(q->d) &&
						   !atomic_load(&q->d->skip_check)
					   ? DQUEUE_CHECKING
					   : DQUEUE_DONE;
		break;
	case DQUEUE_CHECKING:
		if (all_back && (q->check_block >= q->num_blocks || atomic_load(&q->d->skip_check)))
			q->phase = DQUEUE_DONE;
		break;
	default: break;
	}
}

static bool wants_more(const struct dqueue *q)
{
	if (q->phase == DQUEUE_CHECKING)
		return !atomic_load_explicit(&q->d->skip_check, memory_order_relaxed);
	return q->phase == DQUEUE_RUNNING && q->role != DQUEUE_IDLE;
}

/* One turn: how many requests came back, or -errno. */
static int turn(struct dqueue *q)
{
	uint64_t now = 0;
	enum dqueue_phase phase = q->phase;
	int n = reap(q, &now);

	if (unlikely(n < 0))
		return n;
	next_phase(q);
	if (wants_more(q))
		fill(q, now);
	/* A change is followed by another turn at once. */
	return n + (q->phase != phase);
}

static bool all_done(const struct drive_worker *w)
{
	for (unsigned int i = 0; i < w->num_queues; i++) {
		const struct dqueue *q = w->queues[i];

		if (q->role <= DQUEUE_LISTENING && q->phase != DQUEUE_DONE)
			return false;
	}
	return true;
}

static void sleep_until_called(struct drive_worker *w)
{
	struct epoll_event events[16];
	bool more = false;

	for (unsigned int i = 0; i < w->num_queues; i++)
		more |= dring_ask_calls(&w->queues[i]->ring, true);
	/* Edges are enough: nothing is read, and the calls stay counted in their descriptors. */
	if (!more && epoll_wait(w->epoll, events, ARRAY_SIZE(events), -1) < 0)
		assert(errno == EINTR);
	for (unsigned int i = 0; i < w->num_queues; i++)
		dring_ask_calls(&w->queues[i]->ring, false);
}

static int work(struct drive_worker *w)
{
	struct drive *d = w->d;

	while (!all_done(w) && !atomic_load_explicit(&d->abandon, memory_order_relaxed)) {
		bool busy = false;

		for (unsigned int i = 0; i < w->num_queues; i++) {
			int r = turn(w->queues[i]);

			if (unlikely(r < 0))
				return r;
			busy |= r > 0;
		}
		if (busy)
			continue;
		if (d->opts.poll)
			cpu_relax();
		else if (!all_done(w))
			sleep_until_called(w);
	}
	return 0;
}

static void *worker_main(void *arg)
{
	struct drive_worker *w = arg;

	if (work(w) < 0)
		atomic_store(&w->d->failed, true);
	atomic_store(&w->done, true);
	notify(w->d->done_fd);
	return NULL;
}

static int watch(struct drive_worker *w, int fd, struct err *err)
{
	struct epoll_event event = { .events = EPOLLIN | EPOLLET };

	if (epoll_ctl(w->epoll, EPOLL_CTL_ADD, fd, &event) == 0)
		return 0;
	return err_set(err, -errno, "cannot wait for calls: %s", strerror(errno));
}

static int start_worker(struct drive *d, unsigned int n, struct err *err)
{
	struct drive_worker *w = &d->workers[n];
	int r = 0;

	w->d = d;
	w->wake = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	w->epoll = epoll_create1(EPOLL_CLOEXEC);
	if (w->wake < 0 || w->epoll < 0)
		return err_set(err, -errno, "cannot wait for calls: %s", strerror(errno));
	r = watch(w, w->wake, err);
	for (unsigned int i = 0; r >= 0 && i < d->num_rings; i++) {
		/* The rings of a pair stay together. */
		if (i / d->kind->rings_each % d->num_workers != n)
			continue;
		w->queues[w->num_queues++] = &d->queues[i];
		r = watch(w, d->queues[i].call, err);
	}
	if (r < 0)
		return r;
	r = -pthread_create(&w->thread, NULL, worker_main, w);
	w->started = r >= 0;
	return r < 0 ? err_set(err, r, "cannot start a thread: %s", strerror(-r)) : 0;
}

int drive_start_workers(struct drive *d, struct err *err)
{
	int r = 0;

	d->num_workers = MIN(d->opts.threads, d->opts.queues);
	for (unsigned int i = 0; i < d->num_workers; i++)
		d->workers[i].wake = d->workers[i].epoll = -1;
	d->start_ns = now_ns();
	for (unsigned int i = 0; r >= 0 && i < d->num_workers; i++)
		r = start_worker(d, i, err);
	return r;
}

void drive_wake_workers(struct drive *d)
{
	for (unsigned int i = 0; i < d->num_workers; i++) {
		if (d->workers[i].started)
			notify(d->workers[i].wake);
	}
}

void drive_join_workers(struct drive *d)
{
	for (unsigned int i = 0; i < d->num_workers; i++) {
		struct drive_worker *w = &d->workers[i];

		if (w->started)
			pthread_join(w->thread, NULL);
		w->started = false;
		close_fd(&w->wake);
		close_fd(&w->epoll);
	}
	for (unsigned int i = 0; i < d->num_rings; i++) {
		uint64_t calls;

		if (read(d->queues[i].call, &calls, sizeof(calls)) == sizeof(calls))
			d->queues[i].stats.calls += calls;
	}
}
