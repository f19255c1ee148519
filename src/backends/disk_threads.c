/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The thread pool: one a disk, so that a disk whose storage does not answer holds up no other; its
 * channels share it. It has threads while there is a channel, gets one when there is work and none
 * is idle, up to DISK_POOL_THREADS_MAX, and keeps it. It is an engine of its own where io_uring is
 * refused, and does for io_uring what that leaves to it.
 */
#include <assert.h>
#include <errno.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>

#include "backends/disk_int.h"
#include "base/alloc.h"
#include "base/log.h"

#define DISK_POOL_THREADS_MAX 8
/* Plenty for a few system calls; sanitizers need some as well. */
#define DISK_POOL_STACK_BYTES (256 * 1024)

struct disk_pool {
	pthread_mutex_t lock;
	pthread_cond_t wake;
	struct disk_list queue;
	pthread_t threads[DISK_POOL_THREADS_MAX];
	unsigned int num_threads, num_idle, num_queued, num_users;
	bool stop;
	/* Serialises the beginning and the end, which joins threads outside of lock. */
	pthread_mutex_t users_lock;
};

struct disk_pool *disk_pool_new(void)
{
	struct disk_pool *pool = xnew(struct disk_pool);

	pthread_mutex_init(&pool->lock, NULL);
	pthread_cond_init(&pool->wake, NULL);
	pthread_mutex_init(&pool->users_lock, NULL);
	return pool;
}

void disk_pool_free(struct disk_pool *pool)
{
	if (!pool)
		return;
	assert(!pool->num_users && !pool->num_threads);
	pthread_mutex_destroy(&pool->users_lock);
	pthread_cond_destroy(&pool->wake);
	pthread_mutex_destroy(&pool->lock);
	free(pool);
}

static void give_back(struct disk_req *req)
{
	struct disk_chan *chan = req->chan;
	struct disk_req *head = atomic_load_explicit(&chan->pool_done, memory_order_relaxed);

	/*
	 * Release pairs with the acquire in disk_pool_deliver(): the result and the data are seen.
	 * Acquire pairs with its release: the post has been taken before it is posted anew.
	 */
	do
		req->next = head;
	while (!atomic_compare_exchange_weak_explicit(
		&chan->pool_done, &head, req, memory_order_acq_rel, memory_order_relaxed));
	/* Whoever finds the stack empty posts, and the post takes the whole: never posted twice. */
	if (!head)
		loop_post(chan->loop, &chan->pool_post);
	/* Pairs with the acquire in disk_pool_settle(): nothing of the channel is touched later. */
	atomic_fetch_sub_explicit(&chan->num_in_pool, 1, memory_order_release);
}

void disk_pool_deliver(struct loop_post *post)
{
	struct disk_chan *chan = container_of(post, struct disk_chan, pool_post);
	struct disk_req *req =
		atomic_exchange_explicit(&chan->pool_done, NULL, memory_order_acq_rel);
	struct disk_req *in_order = NULL;

	while (req) {
		struct disk_req *next = req->next;

		req->next = in_order;
		in_order = req;
		req = next;
	}
	while (in_order) {
		req = in_order;
		in_order = req->next;
		disk_req_end(req, req->result);
	}
}

void disk_pool_settle(struct disk_chan *chan)
{
	/* A few instructions of a thread that is about to leave give_back(). */
	while (atomic_load_explicit(&chan->num_in_pool, memory_order_acquire))
		sched_yield();
}

static void *pool_main(void *arg)
{
	struct disk_bounce bounce = { .fd = -1 };
	struct disk_pool *pool = arg;

	pthread_mutex_lock(&pool->lock);
	for (;;) {
		struct disk_req *req = disk_list_pop(&pool->queue);

		if (req) {
			pool->num_queued--;
			pthread_mutex_unlock(&pool->lock);
			req->result = disk_perform(req->chan->disk, req, &bounce);
			give_back(req);
			pthread_mutex_lock(&pool->lock);
			continue;
		}
		if (pool->stop)
			break;
		pool->num_idle++;
		pthread_cond_wait(&pool->wake, &pool->lock);
		pool->num_idle--;
	}
	pthread_mutex_unlock(&pool->lock);
	disk_bounce_deinit(&bounce);
	return NULL;
}

/* With the lock held. */
static void start_thread(struct disk_pool *pool)
{
	static struct log_limit limit;
	sigset_t all, old;
	pthread_attr_t attr;
	int r;

	sigfillset(&all);
	pthread_attr_init(&attr);
	pthread_attr_setstacksize(&attr, DISK_POOL_STACK_BYTES);
	pthread_sigmask(SIG_BLOCK, &all, &old);
	r = pthread_create(&pool->threads[pool->num_threads], &attr, pool_main, pool);
	pthread_sigmask(SIG_SETMASK, &old, NULL);
	pthread_attr_destroy(&attr);
	if (!r)
		pthread_setname_np(pool->threads[pool->num_threads++], "disk-pool");
	else
		log_limited(&limit, LOG_LEVEL_WARN, "cannot start a thread for disk I/O: %s",
			strerror(r));
}

void disk_pool_submit(struct disk_list *list)
{
	struct disk_pool *pool = list->head->chan->disk->pool;
	struct disk_list failed = { 0 };
	struct disk_req *req;

	pthread_mutex_lock(&pool->lock);
	while ((req = disk_list_pop(list))) {
		atomic_fetch_add_explicit(&req->chan->num_in_pool, 1, memory_order_relaxed);
		disk_list_push(&pool->queue, req);
		pool->num_queued++;
		if (pool->num_queued > pool->num_idle && pool->num_threads < DISK_POOL_THREADS_MAX)
			start_thread(pool);
		pthread_cond_signal(&pool->wake);
	}
	if (!pool->num_threads) {
		failed = pool->queue;
		pool->queue.head = NULL;
		pool->num_queued = 0;
	}
	pthread_mutex_unlock(&pool->lock);
	/* Not one thread to be had: better an answer than silence. */
	while ((req = disk_list_pop(&failed))) {
		req->result = -EAGAIN;
		give_back(req);
	}
}

void disk_pool_get(struct disk_pool *pool)
{
	pthread_mutex_lock(&pool->users_lock);
	pool->num_users++;
	pthread_mutex_unlock(&pool->users_lock);
}

void disk_pool_put(struct disk_pool *pool)
{
	unsigned int i;

	pthread_mutex_lock(&pool->users_lock);
	assert(pool->num_users > 0);
	if (!--pool->num_users && pool->num_threads) {
		pthread_mutex_lock(&pool->lock);
		pool->stop = true;
		pthread_cond_broadcast(&pool->wake);
		pthread_mutex_unlock(&pool->lock);
		for (i = 0; i < pool->num_threads; i++)
			pthread_join(pool->threads[i], NULL);
		pool->num_threads = 0;
		pool->stop = false;
	}
	pthread_mutex_unlock(&pool->users_lock);
}

static int threads_open(struct disk_chan *chan, struct err *err)
{
	(void)chan;
	(void)err;
	return 0;
}

static void threads_close(struct disk_chan *chan)
{
	(void)chan;
}

static void threads_round(struct disk_chan *chan)
{
	if (chan->pending.head)
		disk_pool_submit(&chan->pending);
}

static bool threads_ready(struct disk_chan *chan)
{
	(void)chan;
	return false;
}

const struct disk_engine disk_engine_threads = {
	.open = threads_open,
	.close = threads_close,
	.round = threads_round,
	.ready = threads_ready,
};
