/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * An event loop: descriptors (epoll), timers, work to do again soon, and messages from other
 * threads. A loop belongs to the thread that runs it; every function here is called on that thread
 * except loop_post() and loop_stop(), which any thread may call. All the nodes are the caller's
 * memory: the loop allocates nothing after loop_init() and a node lives until it was removed.
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
	bool queued;
};

/* A message to a loop of another thread. Not to be posted again before it ran. */
struct loop_post {
	void (*fn)(struct loop_post *post);
	struct loop_post *next;
};

#define LOOP_NAME_BYTES 16

struct loop {
	char name[LOOP_NAME_BYTES];
	int epoll_fd;
	int wake_fd;
	struct loop_fd wake;
	struct loop_timer *timers; /* sorted by deadline */
	uint64_t timers_now_ns; /* while timers fire: the moment they are measured by, else 0 */
	struct loop_work *work_head, *work_tail;
	struct loop_post *_Atomic posts; /* newest first */
	_Atomic bool stop;
	struct epoll_event *ready; /* the batch at hand; a removed node's entry is cleared */
	int num_ready;
	pthread_t thread;
	bool has_thread;
	_Atomic int tid; /* of the thread that runs it, 0 before */
};

/* -errno with @err set where the kernel gives no descriptor. @name also names the thread. */
int loop_init(struct loop *loop, const char *name, struct err *err);
/* The loop has stopped and watches nothing any more. Idempotent. */
void loop_deinit(struct loop *loop);

/* Runs until loop_stop(); messages that were posted before the stop are delivered. */
void loop_run(struct loop *loop);
/* One round: waits @timeout_ms at most (-1: for ever) and dispatches what is ready. For tests. */
void loop_run_once(struct loop *loop, int timeout_ms);
/* Any thread. */
void loop_stop(struct loop *loop);

/* Runs @loop on a thread of its own, with all signals blocked there. */
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

/* Any thread, any time, wait-free. Messages of one thread arrive in the order they were posted. */
void loop_post(struct loop *loop, struct loop_post *post);

#endif
