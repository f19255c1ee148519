/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The io_uring engine: one ring a channel, driven by the one thread that opened it. What is queued
 * in a round goes to the kernel in one system call, and what that call completes (a read from the
 * page cache, mostly) is answered in the same round, without a trip through the event loop.
 * Anything else wakes the loop through an eventfd: a ring with DEFER_TASKRUN does not wake those
 * who poll the ring's own descriptor when a worker of the kernel has finished (seen with
 * Linux 6.18). What io_uring has no good operation for goes to the thread pool.
 */
#include <errno.h>
#include <liburing.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/uio.h>

#include "backends/disk_int.h"
#include "base/alloc.h"
#include "base/cleanup.h"

/* So many requests are with the kernel at once; the others wait in chan->pending. */
#define URING_ENTRIES 128
/* A result is an int; what is left over is asked for next. */
#define URING_MAX_BYTES (1u << 30)

/*
 * The kernel says "there is news" and then looks whether we want to be woken; we say that we want
 * to and then look for news. That needs a full barrier between the two on either side, and the
 * kernel's is an atomic operation which is one on x86 only. Elsewhere the eventfd stays on all the
 * time.
 */
#if defined(__x86_64__)
#define CAN_MUTE 1
#else
#define CAN_MUTE 0
#endif

struct disk_uring {
	struct io_uring ring;
	int event_fd; /* never read: edge-triggered, every signal counts */
	struct loop_fd node; /* event_fd's */
	struct disk_chan *chan;
	unsigned int num_in_kernel;
	bool fixed_file; /* the image is the ring's file 0 */
};

/*
 * Best first. With DEFER_TASKRUN (Linux 6.1) completions wait until we ask, and cost no interrupt;
 * TASKRUN_FLAG tells in shared memory that there is something to ask for.
 */
static const unsigned int flag_sets[] = {
	IORING_SETUP_SUBMIT_ALL | IORING_SETUP_SINGLE_ISSUER | IORING_SETUP_DEFER_TASKRUN |
		IORING_SETUP_TASKRUN_FLAG,
	IORING_SETUP_SUBMIT_ALL | IORING_SETUP_COOP_TASKRUN | IORING_SETUP_TASKRUN_FLAG,
	0,
};

/*
 * Of all loops. A ring's memory may lie where another loop's ring lay before: the kernel orders the
 * two, and this says so to ThreadSanitizer, which does not see liburing's system calls.
 */
static _Atomic unsigned int num_rings;

static int ring_init(struct io_uring *ring, unsigned int entries, struct err *err)
{
	int r = -EINVAL;
	size_t i;

	for (i = 0; i < ARRAY_SIZE(flag_sets) && r == -EINVAL; i++)
		r = io_uring_queue_init(entries, ring, flag_sets[i]);
	if (r < 0)
		return err_set(err, r, "the kernel refuses io_uring: %s (aio=threads does without)",
			strerror(-r));
	/* Reads and writes of plain buffers came with Linux 5.6, as did this. */
	if (!(ring->features & IORING_FEAT_RW_CUR_POS)) {
		io_uring_queue_exit(ring);
		return err_set(err, -EOPNOTSUPP,
			"the kernel's io_uring is too old (aio=threads does without)");
	}
	return 0;
}

int disk_uring_probe(struct err *err)
{
	struct io_uring ring;
	int r = ring_init(&ring, 1, err);

	if (r < 0)
		return r;
	io_uring_queue_exit(&ring);
	return 0;
}

static void prep_transfer(struct disk_uring *u, struct io_uring_sqe *sqe, struct disk_req *req)
{
	int fd = u->fixed_file ? 0 : u->chan->disk->fd;
	uint64_t at = req->offset_bytes + req->done_bytes;
	unsigned int num;
	const struct iovec *iov = disk_req_next(req, &num);
	unsigned int len = (unsigned int)MIN(iov->iov_len, (size_t)URING_MAX_BYTES);

	/* One buffer needs no array to be copied in. */
	if (req->op == DISK_READ && num == 1)
		io_uring_prep_read(sqe, fd, iov->iov_base, len, at);
	else if (req->op == DISK_READ)
		io_uring_prep_readv(sqe, fd, iov, num, at);
	else if (num == 1)
		io_uring_prep_write(sqe, fd, iov->iov_base, len, at);
	else
		io_uring_prep_writev(sqe, fd, iov, num, at);
	if (req->op == DISK_WRITE && (!u->chan->disk->writeback || req->flags & DISK_FUA))
		sqe->rw_flags = RWF_DSYNC;
}

static void prep(struct disk_uring *u, struct io_uring_sqe *sqe, struct disk_req *req)
{
	if (req->op == DISK_FLUSH)
		io_uring_prep_fsync(
			sqe, u->fixed_file ? 0 : u->chan->disk->fd, IORING_FSYNC_DATASYNC);
	else
		prep_transfer(u, sqe, req);
	if (u->fixed_file)
		io_uring_sqe_set_flags(sqe, IOSQE_FIXED_FILE);
	io_uring_sqe_set_data(sqe, req);
}

static bool is_ours(const struct disk_req *req)
{
	return req->op == DISK_FLUSH ||
	       ((req->op == DISK_READ || req->op == DISK_WRITE) && !req->copy);
}

static void fill(struct disk_uring *u)
{
	struct disk_chan *chan = u->chan;
	struct disk_list to_pool = { 0 };
	struct disk_req *req;

	while ((req = chan->pending.head)) {
		struct io_uring_sqe *sqe;

		if (!is_ours(req)) {
			disk_list_push(&to_pool, disk_list_pop(&chan->pending));
			continue;
		}
		/* Fewer than the completion ring holds, so that none is ever dropped. */
		if (u->num_in_kernel == URING_ENTRIES)
			break;
		sqe = io_uring_get_sqe(&u->ring);
		if (!sqe)
			break;
		disk_list_pop(&chan->pending);
		prep(u, sqe, req);
		u->num_in_kernel++;
	}
	if (to_pool.head)
		disk_pool_submit(&to_pool);
}

static void to_pool(struct disk_req *req)
{
	struct disk_list list = { 0 };

	disk_list_push(&list, req);
	disk_pool_submit(&list);
}

static void complete(struct disk_req *req, int res)
{
	int r;

	/* What the ring cannot do now or at all, a thread can; it goes on where this stopped. */
	if (res == -EAGAIN || res == -EINTR || res == -EOPNOTSUPP || res == -ECANCELED) {
		to_pool(req);
		return;
	}
	r = req->op == DISK_FLUSH ? res : disk_req_account(req, res);
	if (r <= 0) {
		disk_req_end(req, r);
		return;
	}
	disk_list_push(&req->chan->pending, req);
	loop_work_add(req->chan->loop, &req->chan->work);
}

static bool kernel_has_news(struct disk_uring *u)
{
	return IO_URING_READ_ONCE(*u->ring.sq.kflags) & (IORING_SQ_TASKRUN | IORING_SQ_CQ_OVERFLOW);
}

static void reap(struct disk_uring *u)
{
	struct io_uring_cqe *cqe;
	/* What is there now; done() may bring more, which have their turn in the next round. */
	unsigned int n = io_uring_cq_ready(&u->ring);

	while (n-- && !io_uring_peek_cqe(&u->ring, &cqe)) {
		struct disk_req *req = io_uring_cqe_get_data(cqe);
		int res = cqe->res;

		io_uring_cqe_seen(&u->ring, cqe);
		u->num_in_kernel--;
		complete(req, res);
	}
}

/* While we are about to look anyway no event is needed. */
static void mute(struct disk_uring *u, bool muted)
{
	if (CAN_MUTE && u->ring.flags & IORING_SETUP_DEFER_TASKRUN)
		io_uring_cq_eventfd_toggle(&u->ring, !muted);
}

static void uring_round(struct disk_chan *chan)
{
	struct disk_uring *u = chan->uring;

	mute(u, true);
	fill(u);
	if (io_uring_sq_ready(&u->ring) || kernel_has_news(u)) {
		io_uring_submit_and_get_events(&u->ring);
		/* The kernel is short of memory just now: again in the next round. */
		if (io_uring_sq_ready(&u->ring))
			loop_work_add(chan->loop, &chan->work);
	}
	reap(u);
	mute(u, chan->polled);
	/* Pairs with the kernel's atomic_or of IORING_SQ_TASKRUN, see CAN_MUTE. */
	atomic_thread_fence(memory_order_seq_cst);
	if ((chan->pending.head && u->num_in_kernel < URING_ENTRIES) ||
		io_uring_cq_ready(&u->ring) || kernel_has_news(u))
		loop_work_add(chan->loop, &chan->work);
}

static void uring_want_events(struct disk_chan *chan, bool on)
{
	mute(chan->uring, !on);
	/* As in uring_round(): the caller looks for news after this. */
	if (on)
		atomic_thread_fence(memory_order_seq_cst);
}

static bool uring_ready(struct disk_chan *chan)
{
	return io_uring_cq_ready(&chan->uring->ring) || kernel_has_news(chan->uring) ||
	       io_uring_sq_ready(&chan->uring->ring);
}

static void ring_has_news(struct loop_fd *node, uint32_t revents)
{
	(void)revents;
	uring_round(container_of(node, struct disk_uring, node)->chan);
}

static void uring_close(struct disk_chan *chan)
{
	struct disk_uring *u = chan->uring;

	loop_fd_del(&u->node);
	if (u->fixed_file)
		io_uring_unregister_files(&u->ring);
	atomic_fetch_sub(&num_rings, 1);
	io_uring_queue_exit(&u->ring);
	close_fd(&u->event_fd);
	free(u);
	chan->uring = NULL;
}

static int watch(struct disk_uring *u, struct err *err)
{
	int r;

	u->event_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	if (u->event_fd < 0)
		return err_set(err, -errno, "cannot create an eventfd for io_uring: %m");
	r = io_uring_register_eventfd(&u->ring, u->event_fd);
	if (r < 0)
		return err_set(err, r, "io_uring refuses an eventfd: %s", strerror(-r));
	u->node.fd = u->event_fd;
	u->node.fn = ring_has_news;
	return loop_fd_add(u->chan->loop, &u->node, EPOLLIN | EPOLLET, err);
}

static int uring_open(struct disk_chan *chan, struct err *err)
{
	struct disk_uring *u = xnew(struct disk_uring);
	int r;

	u->chan = chan;
	u->event_fd = -1;
	r = ring_init(&u->ring, URING_ENTRIES, err);
	if (r < 0) {
		free(u);
		return r;
	}
	atomic_fetch_add(&num_rings, 1);
	chan->uring = u;
	/* Both only save look-ups on each call; nothing is lost where they are refused. */
	u->fixed_file = !io_uring_register_files(&u->ring, &chan->disk->fd, 1);
	io_uring_register_ring_fd(&u->ring);
	r = watch(u, err);
	if (r < 0)
		uring_close(chan);
	return r;
}

const struct disk_engine disk_engine_uring = {
	.open = uring_open,
	.close = uring_close,
	.round = uring_round,
	.ready = uring_ready,
	.want_events = uring_want_events,
};
