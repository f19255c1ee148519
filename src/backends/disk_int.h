/* SPDX-License-Identifier: BSD-3-Clause */
/* What the files of the disk back end share; nobody else includes it. */
#ifndef BACKENDS_DISK_INT_H
#define BACKENDS_DISK_INT_H

#include <stdatomic.h>

#include "backends/disk.h"

/* First in, first out, linked by disk_req.next. */
struct disk_list {
	struct disk_req *head, *tail;
};

static inline void disk_list_push(struct disk_list *list, struct disk_req *req)
{
	req->next = NULL;
	if (list->head)
		list->tail->next = req;
	else
		list->head = req;
	list->tail = req;
}

static inline struct disk_req *disk_list_pop(struct disk_list *list)
{
	struct disk_req *req = list->head;

	if (req)
		list->head = req->next;
	return req;
}

/* Who carries requests out. All on the channel's loop. */
struct disk_engine {
	/* -errno with @err set; nothing is left behind then. */
	int (*open)(struct disk_chan *chan, struct err *err);
	void (*close)(struct disk_chan *chan);
	/* Takes what it can from chan->pending, and ends with disk_req_end() what is complete. */
	void (*round)(struct disk_chan *chan);
	/* Without a system call: would round() find something complete? */
	bool (*ready)(struct disk_chan *chan);
	/* The loop polls ready() from now on, or (@on) has to be woken again. May be NULL. */
	void (*want_events)(struct disk_chan *chan, bool on);
};

extern const struct disk_engine disk_engine_null, disk_engine_uring, disk_engine_threads;

struct disk_uring;

/* What a channel carries out by itself, see disk_inline.c. */
enum disk_inline_mode {
	DISK_INLINE_OFF,
	DISK_INLINE_MEMORY, /* the image lies in memory: transfers and flushes */
	DISK_INLINE_CACHE, /* single reads of what the page cache has */
};

struct disk_inline {
	enum disk_inline_mode mode;
	struct disk_list fresh; /* submitted, not looked at yet */
	unsigned int num_fresh;
	unsigned int pause; /* so many reads go to the engine without an attempt */
	unsigned int pause_next; /* and so many after the next that fails */
};

struct disk_chan {
	struct disk *disk;
	struct loop *loop;
	const struct disk_engine *engine;
	struct disk_inline in;
	struct disk_list pending; /* the engine's: not handed to the kernel yet */
	struct disk_list refused; /* submitted and answered by the check already */
	struct loop_work work; /* one round */
	struct loop_poll poll;
	bool polled; /* the loop polls just now */
	unsigned int num_inflight;
	unsigned int num_ended; /* wraps; for disk_chan_poll() */
	struct disk_uring *uring;

	/* What the pool has finished: pushed by its threads, taken as a whole by pool_post. */
	struct disk_req *_Atomic pool_done;
	struct loop_post pool_post;
	/* Requests whose pool thread may still touch this channel. */
	_Atomic unsigned int num_in_pool;
};

/* Gives @req back to its owner. From engines, never from within disk_submit(). */
void disk_req_end(struct disk_req *req, int result);
/* The next piece of a read or write that is not complete: IOV_MAX entries at most. */
const struct iovec *disk_req_next(struct disk_req *req, unsigned int *ret_num);
/* @n bytes of that piece went through. */
void disk_req_advance(struct disk_req *req, size_t n);
/* What the kernel's answer @n to that piece means: 1 go on, 0 complete, or -errno. */
int disk_req_account(struct disk_req *req, ssize_t n);

/* A thread's aligned memory for what O_DIRECT cannot take in place. { .fd = -1 } is none. */
struct disk_bounce {
	int fd;
	void *map;
};

void disk_bounce_deinit(struct disk_bounce *bounce);
/* Does what is left of @req, blocking. Any thread. 0 or -errno. */
int disk_perform(struct disk *disk, struct disk_req *req, struct disk_bounce *bounce);
/* No block may be larger than what a bounce buffer holds. */
#define DISK_BOUNCE_BYTES (64 * 1024)

/* A disk's threads: there while a channel is, from the first request on. Get and put: any loop. */
struct disk_pool *disk_pool_new(void);
void disk_pool_free(struct disk_pool *pool);
void disk_pool_get(struct disk_pool *pool);
void disk_pool_put(struct disk_pool *pool);
/*
 * Hands the whole list over, which is one channel's and not empty; each comes back through
 * disk_req_end() on that channel's loop.
 */
void disk_pool_submit(struct disk_list *list);
/* Waits until no thread of the pool touches @chan, whose requests are all done. */
void disk_pool_settle(struct disk_chan *chan);
/* The loop_post.fn of disk_chan.pool_post. */
void disk_pool_deliver(struct loop_post *post);

void disk_inline_init(struct disk_chan *chan);
/* Ends what can be done at once, and leaves the rest in chan->pending. */
void disk_inline_round(struct disk_chan *chan);
/* Is @fd on a file system without a device? */
bool disk_lies_in_memory(int fd);

/* 0, or why the kernel gives us no io_uring. */
int disk_uring_probe(struct err *err);

/*
 * -errno with a sentence that says who may hold it. @patient: somebody else's lock, which may be a
 * killed process's, is waited for; the caller's loop stands still meanwhile.
 */
int disk_lock(int fd, const char *name, bool read_only, bool patient, struct err *err);
void disk_unlock(int fd);

#endif
