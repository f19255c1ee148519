/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Channels: the check that every request passes, its progress in pieces, and the null engine. A
 * request is refused here for its range, its alignment, an iovec that does not add up, or because
 * the disk is read-only; engines see only what is sound.
 */
#include <assert.h>
#include <errno.h>
#include <limits.h>
#include <stdlib.h>
#include <sys/uio.h>

#include "backends/disk_int.h"
#include "base/alloc.h"
#include "base/log.h"

void disk_req_end(struct disk_req *req, int result)
{
	struct disk_chan *chan = req->chan;

	assert(chan->num_inflight > 0);
	chan->num_inflight--;
	chan->num_ended++;
	req->done(req, result);
}

const struct iovec *disk_req_next(struct disk_req *req, unsigned int *ret_num)
{
	const struct iovec *iov;

	assert(req->done_bytes < req->bytes);
	if (req->iov_skip) {
		iov = &req->iov[req->iov_at];
		req->part.iov_base = (char *)iov->iov_base + req->iov_skip;
		req->part.iov_len = iov->iov_len - req->iov_skip;
		*ret_num = 1;
		return &req->part;
	}
	/* A piece of nothing but empty entries would look like the end of the file. */
	while (!req->iov[req->iov_at].iov_len)
		req->iov_at++;
	*ret_num = MIN(req->num_iov - req->iov_at, (unsigned int)IOV_MAX);
	return &req->iov[req->iov_at];
}

void disk_req_advance(struct disk_req *req, size_t n)
{
	req->done_bytes += n;
	while (n) {
		size_t left = req->iov[req->iov_at].iov_len - req->iov_skip;

		if (n < left) {
			req->iov_skip += n;
			return;
		}
		n -= left;
		req->iov_skip = 0;
		req->iov_at++;
	}
}

int disk_req_account(struct disk_req *req, ssize_t n)
{
	if (n < 0)
		return (int)n;
	/* The image ends earlier than when it was opened, or a write found no room. */
	if (!n)
		return req->op == DISK_READ ? -EIO : -ENOSPC;
	disk_req_advance(req, (size_t)n);
	return req->done_bytes < req->bytes;
}

/* Does the iovec add up, and can O_DIRECT take it in place? */
static int check_iov(struct disk *disk, struct disk_req *req)
{
	uint64_t left = req->bytes;
	unsigned int i;

	for (i = 0; i < req->num_iov; i++) {
		size_t len = req->iov[i].iov_len;

		if (len > left)
			return -EINVAL;
		left -= len;
		if (disk->direct && len &&
			(len % disk->block_bytes ||
				(uintptr_t)req->iov[i].iov_base % disk->dio_mem_align))
			req->copy = true;
	}
	return left ? -EINVAL : 0;
}

/* 1: to be carried out, 0: nothing to do, or -errno. */
static int check(struct disk *disk, struct disk_req *req)
{
	bool transfer = req->op == DISK_READ || req->op == DISK_WRITE;
	int r;

	if (req->op == DISK_FLUSH)
		return 1;
	if ((unsigned int)req->op > DISK_WRITE_ZEROES ||
		!range_inside(req->offset_bytes, req->bytes, disk->size_bytes))
		return -EINVAL;
	if (req->op != DISK_READ && disk->read_only)
		return -EROFS;
	if (disk->direct && (req->offset_bytes | req->bytes) % disk->block_bytes)
		return -EINVAL;
	r = transfer ? check_iov(disk, req) : 0;
	return r < 0 ? r : req->bytes > 0;
}

void disk_submit(struct disk_chan *chan, struct disk_req *req)
{
	req->chan = chan;
	req->done_bytes = 0;
	req->iov_skip = 0;
	req->iov_at = 0;
	req->copy = false;
	req->result = check(chan->disk, req);
	chan->num_inflight++;
	if (req->result <= 0) {
		disk_list_push(&chan->refused, req);
	} else if (chan->in.mode) {
		disk_list_push(&chan->in.fresh, req);
		chan->in.num_fresh++;
	} else {
		disk_list_push(&chan->pending, req);
	}
	loop_work_add(chan->loop, &chan->work);
}

static void chan_round(struct disk_chan *chan)
{
	/* Only those that are here now: their owners may submit again from within done(). */
	struct disk_list refused = chan->refused;
	struct disk_req *req;

	loop_work_cancel(chan->loop, &chan->work);
	chan->refused.head = NULL;
	if (chan->in.fresh.head)
		disk_inline_round(chan);
	/* With everything done at once no engine needs to hear of it. */
	if (chan->pending.head || chan->engine->ready(chan))
		chan->engine->round(chan);
	while ((req = disk_list_pop(&refused)))
		disk_req_end(req, req->result);
}

static void chan_work(struct loop_work *work)
{
	chan_round(container_of(work, struct disk_chan, work));
}

unsigned int disk_chan_poll(struct disk_chan *chan)
{
	unsigned int before = chan->num_ended;

	if (chan->in.fresh.head || chan->pending.head || chan->refused.head ||
		chan->engine->ready(chan))
		chan_round(chan);
	return chan->num_ended - before;
}

static bool on_look(struct loop_poll *poll)
{
	return disk_chan_poll(container_of(poll, struct disk_chan, poll)) > 0;
}

static void on_begin(struct loop_poll *poll)
{
	struct disk_chan *chan = container_of(poll, struct disk_chan, poll);

	chan->polled = true;
	if (chan->engine->want_events)
		chan->engine->want_events(chan, false);
}

static bool on_end(struct loop_poll *poll)
{
	struct disk_chan *chan = container_of(poll, struct disk_chan, poll);

	chan->polled = false;
	if (chan->engine->want_events)
		chan->engine->want_events(chan, true);
	if (!chan->engine->ready(chan))
		return false;
	loop_work_add(chan->loop, &chan->work);
	return true;
}

unsigned int disk_chan_inflight(const struct disk_chan *chan)
{
	return chan->num_inflight;
}

static const struct disk_engine *choose_engine(const struct disk *disk)
{
	if (disk->kind == DISK_NULL)
		return &disk_engine_null;
	return disk->aio == DISK_AIO_URING ? &disk_engine_uring : &disk_engine_threads;
}

int disk_chan_open(struct disk *disk, struct loop *loop, struct disk_chan **ret, struct err *err)
{
	static struct log_limit limit;
	struct disk_chan *chan = xnew(struct disk_chan);
	struct err why = { 0 };
	int r;

	chan->disk = disk;
	chan->loop = loop;
	chan->work.fn = chan_work;
	chan->poll.fn = on_look;
	chan->poll.begin = on_begin;
	chan->poll.end = on_end;
	chan->pool_post.fn = disk_pool_deliver;
	chan->engine = choose_engine(disk);
	r = chan->engine->open(chan, &why);
	if (r < 0 && chan->engine == &disk_engine_uring && disk->aio_auto) {
		log_limited(&limit, LOG_LEVEL_WARN, "disk '%s': %s; this channel uses threads",
			disk->name, why.msg);
		chan->engine = &disk_engine_threads;
		r = chan->engine->open(chan, &why);
	}
	if (r < 0) {
		free(chan);
		return err_set(err, r, "disk '%s': %s", disk->name, why.msg);
	}
	disk_inline_init(chan);
	disk_pool_get(disk->pool);
	loop_poll_add(loop, &chan->poll);
	*ret = chan;
	return 0;
}

void disk_chan_close(struct disk_chan *chan)
{
	if (!chan)
		return;
	assert(!chan->num_inflight);
	disk_pool_settle(chan);
	loop_work_cancel(chan->loop, &chan->work);
	loop_poll_del(&chan->poll);
	chan->engine->close(chan);
	disk_pool_put(chan->disk->pool);
	free(chan);
}

static int null_open(struct disk_chan *chan, struct err *err)
{
	(void)chan;
	(void)err;
	return 0;
}

static void null_close(struct disk_chan *chan)
{
	(void)chan;
}

static int null_read(struct disk *disk, struct disk_req *req)
{
	int r = 1;

	while (r > 0) {
		unsigned int n;
		const struct iovec *iov = disk_req_next(req, &n);
		ssize_t got = preadv(disk->fd, iov, (int)n, 0);

		r = disk_req_account(req, got < 0 ? -errno : got);
	}
	return r;
}

static void null_round(struct disk_chan *chan)
{
	struct disk_list list = chan->pending;
	struct disk_req *req;

	chan->pending.head = NULL;
	while ((req = disk_list_pop(&list)))
		disk_req_end(req, req->op == DISK_READ && !chan->disk->skip_zeroes
					  ? null_read(chan->disk, req)
					  : 0);
}

static bool null_ready(struct disk_chan *chan)
{
	(void)chan;
	return false;
}

const struct disk_engine disk_engine_null = {
	.open = null_open,
	.close = null_close,
	.round = null_round,
	.ready = null_ready,
};
