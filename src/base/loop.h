/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * An event loop: descriptors (epoll), timers, work to do again soon, messages from other threads,
 * and what can be looked at without a system call (struct loop_poll). A loop belongs to the thread
 * that runs it; every function here is called on that thread except loop_post(), loop_stop() and
 * the polling settings, which any thread may call. All the nodes are the caller's memory: the loop
 * allocates nothing after loop_init() and a node lives until it was removed.
 */
#ifndef BASE_LOOP_H
#define BASE_LOOP_H

#include <pthread.h>
#include <stdatomic.h>
#include <sys/epoll.h>

#include "base/err.h"
#include "base/util.h"

struct loop;

/* A watched descriptor. The loop never closes it. */
struct loop_fd {
	int fd;
	uint32_t events; /* EPOLLIN and so on; level-triggered unless EPOLLET is asked for */
	/* @revents: what is ready, EPOLLERR and EPOLLHUP among it. May remove any node, itself too.
	 */
	void (*fn)(struct loop_fd *node, uint32_t revents);
	struct loop *loop; /* set while watched, else NULL */
};

/* One deadline. Set again from within @fn for a period. */
struct loop_timer {
	void (*fn)(struct loop_timer *timer);
	uint64_t deadline_ns; /* CLOCK_MONOTONIC */
	struct loop *loop; /* set while armed, else NULL */
	struct loop_timer *next;
};

/* Something to run once, on this loop, after the events at hand; queued twice it runs once. */
struct loop_work {
	void (*fn)(struct loop_work *work);
	struct loop_work *next, *prev;
	uint64_t round; /* the loop's in which it ran last */
	bool queued;
};

/* A message to a loop of another thread. Not to be posted again before it ran. */
struct loop_post {
	void (*fn)(struct loop_post *post);
	struct loop_post *next;
};

/*
 * Something that the loop may look at again and again before it sleeps. Its hooks run on the loop
 * and may remove any node, itself too.
 */
struct loop_poll {
	/* Looks, without a system call, and handles what it finds. True where there was something.
	 */
	bool (*fn)(struct loop_poll *poll);
	/* Polling begins: who would wake the loop need not do so from now on. May be NULL. */
	void (*begin)(struct loop_poll *poll);
	/*
	 * Polling ends: asks to be woken again and then looks once more. True where something came
	 * meanwhile: it is handled, or queued as work, and the loop does not sleep. May be NULL.
	 */
	bool (*end)(struct loop_poll *poll);
	struct loop *loop; /* set while added, else NULL */
	struct loop_poll *next, *prev;
};

/*
 * How long a loop polls before it sleeps; QEMU's settings of an iothread. The time adapts: it grows
 * where the loop is woken sooner than @max_ns after it went idle, and shrinks where it sleeps
 * longer than that.
 */
struct loop_polling {
	uint64_t max_ns; /* 0: never polls */
	uint64_t grow; /* factor; 0: 2 */
	uint64_t shrink; /* divisor; 0: back to no polling at once */
};

/* The first step of growth from nothing. */
#define LOOP_POLL_START_NS 4000
/* Descriptors and timers are looked at after so many rounds that polling alone kept busy ... */
#define LOOP_POLL_ROUNDS 64
/* ... and after so long a time in which polling found nothing. */
#define LOOP_POLL_SLICE_NS 50000

/* Of a thread's name, as the kernel keeps it. */
#define LOOP_THREAD_NAME_BYTES 16

struct loop {
	char *name; /* owned; NULL: not initialised. The thread's name is its beginning */
	int epoll_fd;
	int wake_fd;
	struct loop_fd wake;
	struct loop_timer *timers; /* sorted by deadline */
	uint64_t timers_now_ns; /* while timers fire: the moment they are measured by, else 0 */
	struct loop_work *work_head, *work_tail;
	uint64_t work_round; /* counts, from 1 on */
	struct loop_post *_Atomic posts; /* newest first */
	_Atomic bool asleep; /* a post has to wake it */
	_Atomic bool stop;
	struct epoll_event *ready; /* the batch at hand; a removed node's entry is cleared */
	int num_ready;
	pthread_t thread;
	bool has_thread;
	_Atomic int tid; /* of the thread that runs it, 0 before */

	/* Polling: the settings, and where it stands. */
	_Atomic uint64_t poll_max_ns, poll_grow, poll_shrink;
	struct loop_poll *polls, *polls_at; /* all; the next one to look at */
	bool polling; /* begin() was called for all */
	uint64_t poll_ns; /* how long it polls now */
	uint64_t idle_since_ns; /* nothing was found since; 0: not idle */
	unsigned int num_unseen; /* rounds since the descriptors were looked at */
};

/* -errno with @err set where the kernel gives no descriptor. @name, copied, names the thread too.
 */
int loop_init(struct loop *loop, const char *name, struct err *err);
/*
 * The loop has stopped and watches nothing any more, and no thread is within loop_post() on it:
 * those that post to it are joined before. Idempotent.
 */
void loop_deinit(struct loop *loop);

/* Runs until loop_stop(); messages that were posted before the stop are delivered. */
void loop_run(struct loop *loop);
/* One round: waits @timeout_ms at most (-1: for ever) and dispatches what is ready. For tests. */
void loop_run_once(struct loop *loop, int timeout_ms);
/* Any thread. */
void loop_stop(struct loop *loop);

/* Runs @loop on a thread of its own, with all signals blocked there; it has its tid on return. */
int loop_thread_start(struct loop *loop, struct err *err);
/* Stops it and joins; nothing happens where no thread was started. */
void loop_thread_join(struct loop *loop);

/* The loop that the calling thread runs, or NULL. */
struct loop *loop_self(void);

/* @node->fd and @node->fn are set. -errno where the kernel refuses (a regular file, say). */
int loop_fd_add(struct loop *loop, struct loop_fd *node, uint32_t events, struct err *err);
/* Changes what is waited for; 0 keeps only errors and hang-ups. */
void loop_fd_events(struct loop_fd *node, uint32_t events);
/* After this @node->fn is not called any more, not even for an event already fetched. Idempotent.
 */
void loop_fd_del(struct loop_fd *node);

/* Arms, or moves, the timer. A deadline that has passed fires in the next round. */
void loop_timer_set(struct loop *loop, struct loop_timer *timer, uint64_t deadline_ns);
void loop_timer_cancel(struct loop_timer *timer);

void loop_work_add(struct loop *loop, struct loop_work *work);
void loop_work_cancel(struct loop *loop, struct loop_work *work);

/* A loop polls only while a node is added and its settings say so; until then this costs nothing.
 */
void loop_poll_add(struct loop *loop, struct loop_poll *poll);
/* Its hooks are not called any more, end() neither. Idempotent. */
void loop_poll_del(struct loop_poll *poll);
/* Any thread, any time; from the next round on. A new loop does not poll. */
void loop_set_polling(struct loop *loop, const struct loop_polling *polling);
struct loop_polling loop_get_polling(const struct loop *loop);
/*
 * How long to poll the next time, when it was @poll_ns and the loop then slept, idle for @idle_ns
 * in all; @woken: by an event, not by the clock.
 */
uint64_t loop_poll_adapt(
	const struct loop_polling *polling, uint64_t poll_ns, uint64_t idle_ns, bool woken);

/*
 * Any thread, any time, wait-free. Messages of one thread arrive in the order they were posted. The
 * loop has to be there until the call returns, which may be after the message has run.
 */
void loop_post(struct loop *loop, struct loop_post *post);

#endif
