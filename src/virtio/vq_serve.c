/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A queue on the loop that serves it: popping in batches, answering, calling the driver. Whatever
 * the ring's format, it is behind vq->ops. Nothing here is touched by another loop while the queue
 * runs; start and stop arrive as messages.
 */
#include <assert.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "virtio/vdev.h"
#include "virtio/vq_copies.h"
#include "virtio/vq_dirty.h"
#include "virtio/vq_inflight.h"
#include "virtio/vq_internal.h"
#include "virtio/vq_recorder.h"

/* --- chains --- */

/* What stays as it is as long as the queue runs; the memory reads as zeros. */
struct chain *vq_touch_slot(struct vq *vq)
{
	struct chain *c;

	assert(vq->num_touched_slots < vq->num);
	c = vq_slot(vq, vq->num_touched_slots);
	c->slot = (uint16_t)vq->num_touched_slots++;
	c->vq = vq;
	c->dirty = vq->dirty;
	c->iov_block = vq_own_iovs(c);
	return c;
}

void vq_chain_shrink(struct vq *vq, struct chain *c)
{
	size_t block = (size_t)(c->iov_block - vq->large) / (size_t)vq_large_iovs(vq);

	vq->large_free |= 1u << block;
	c->iov_block = vq_own_iovs(c);
	if (vq->dry)
		vq_resume(vq);
}

struct iovec *vq_chain_grow(struct vq *vq, struct chain *c, int used)
{
	int block = __builtin_ffs((int)vq->large_free) - 1;

	if (block < 0)
		return NULL;
	vq->large_free &= ~(1u << block);
	memcpy(vq->large + block * vq_large_iovs(vq), c->iov_block,
		(size_t)used * sizeof(struct iovec));
	c->iov_block = vq->large + block * vq_large_iovs(vq);
	return c->iov_block;
}

void vq_wait_large(struct vq *vq)
{
	vq->dry = true;
}

/* --- serving --- */

static enum vq_event_kind post_call(struct vq *vq)
{
	/* What was pushed comes before this: who takes the flag away, and then calls, shows it. */
	if (atomic_exchange(&vq->call_posted, true)) {
		vq_count_rare(vq, &vq->count.calls_full);
		return VQ_EVENT_CALL_FULL;
	}
	vq->count.calls++;
	loop_post(vq->dev->main_loop, &vq->call_post);
	return VQ_EVENT_CALL;
}

static enum vq_event_kind write_call(struct vq *vq)
{
	static const uint64_t one = 1;

	if (write(vq->call_fd, &one, sizeof(one)) == (ssize_t)sizeof(one)) {
		vq->count.calls++;
		vq->last_call = VQ_CALL_SENT;
		return VQ_EVENT_CALL;
	}
	if (errno == EAGAIN) {
		/* The driver has one pending that it did not take yet. Nobody waits for it. */
		vq_count_rare(vq, &vq->count.calls_full);
		vq->last_call = VQ_CALL_FULL;
		return VQ_EVENT_CALL_FULL;
	}
	vq_count_rare(vq, &vq->count.calls_lost);
	vq->last_call = VQ_CALL_LOST;
	return VQ_EVENT_CALL_LOST;
}

void vq_call_for(struct vq *vq, uint32_t answers)
{
	/* Nobody is there to be called: the driver polls. */
	enum vq_event_kind kind = VQ_EVENT_CALL_SUPPRESSED;

	if (vq->call_fd >= 0)
		kind = write_call(vq);
	else if (atomic_load(&vq->call_by_message))
		kind = post_call(vq);
	if (kind == VQ_EVENT_CALL)
		vq->call_ns = vq->clock_ns;
	vq_record(vq, kind, vq->used_idx, answers);
}

void vq_send_call(struct vq *vq)
{
	vq_read_clock(vq);
	vq_call_for(vq, 0);
}

void vq_forbid_notify(struct vq *vq)
{
	vq->ops->ask_notify(vq, false);
	vq->count.notify_offs += RINGSIDE_RECORDER && vq->notify_on;
	vq->notify_on = false;
}

/* What a batch wrote is marked, and the log's reader told. False, the queue broken, if it is lost.
 */
static bool end_batch(struct vq *vq)
{
	if (vq_dirty_end_batch(vq))
		return true;
	vq_break(vq, "the dirty log is gone: its file was truncated");
	return false;
}

static void count_later(struct vq *vq)
{
	vq_count_latency(vq, vq->clock_ns - vq->later_since_ns, vq->num_later_last);
	vq->num_later += vq->num_later_last;
	vq->num_later_last = 0;
}

/* How many are about to be shown. Those that were answered at once have their time now. */
static uint32_t count_answers(struct vq *vq)
{
	uint64_t answers = vq->count.completed - vq->told;

	if (!RINGSIDE_RECORDER)
		return 0;
	if (vq->num_later_last)
		count_later(vq);
	if (answers != vq->num_later) {
		vq_read_clock(vq);
		vq_count_latency(vq, vq->clock_ns - vq->pop_ns, answers - vq->num_later);
	}
	vq->num_later = 0;
	vq->complete_ns = vq->clock_ns;
	vq->told = vq->count.completed;
	vq->count.calls_coalesced += answers - 1;
	return (uint32_t)answers;
}

void vq_suppress_call(struct vq *vq, uint32_t answers)
{
	vq->count.calls_suppressed++;
	vq_record(vq, VQ_EVENT_CALL_SUPPRESSED, vq->used_idx, answers);
}

static inline void end_answers(struct vq *vq, bool call, uint32_t answers)
{
	if (unlikely(vq->coalescing))
		vq_coalesce_answers(vq, call, answers);
	else if (call)
		vq_call_for(vq, answers);
	else
		vq_suppress_call(vq, answers);
}

/* Shows what was pushed, calls where that is wanted, and publishes for inspection. */
static void flush(struct vq *vq)
{
	bool pushed = vq->flushed_used != vq->used_idx;

	if (vq->copies)
		vq_make_copies(vq->copies);
	if (!vq->broken && pushed) {
		uint32_t answers = count_answers(vq);
		bool call = vq->ops->flush(vq);

		if (gmem_poisoned(vq->mem))
			vq_break(vq, "guest memory is gone: its file was truncated");
		else if (vq_ledger_lost(vq))
			vq_break(vq, "the in-flight region is gone: its file was truncated");
		else if (end_batch(vq))
			end_answers(vq, call, answers);
	} else if (!vq->broken) {
		/* What we ask for was written all the same. */
		end_batch(vq);
	}
	vq_publish(vq);
}

static void push(struct vq *vq, struct chain *c)
{
	vq->count.completed++;
	vq->count.bytes_read +=
		atomic_load_explicit(&c->readable_bytes, memory_order_relaxed) - c->readable.bytes;
	vq->count.bytes_written += c->written;
	vq_record(vq, VQ_EVENT_COMPLETE, c->head, c->written);
	vq->ops->push(vq, c);
}

/* Those that were taken together and are answered together are counted together. */
static inline void note_later(struct vq *vq, struct chain *c)
{
	uint64_t since = atomic_load_explicit(&c->since_ns, memory_order_relaxed);

	if (since != vq->later_since_ns) {
		if (vq->num_later_last)
			count_later(vq);
		vq->later_since_ns = since;
	}
	vq->num_later_last++;
}

/* A chain that was in flight is over. A broken ring is not written any more: its driver resets. */
static void finish_chain(struct vq *vq, struct chain *c)
{
	vq->inuse--;
	vq_unmark_in_flight(vq, c);
	if (!vq->broken) {
		push(vq, c);
		if (RINGSIDE_RECORDER)
			note_later(vq, c);
	}
	vq_chain_put(vq, c);
}

static void order_add(struct vq *vq, struct chain *c)
{
	if (vq->order_first)
		vq->order_last->order_next = c;
	else
		vq->order_first = c;
	vq->order_last = c;
}

/* virtio 1.3, "In-order use of descriptors": whoever is done early waits for those before it. */
static void finish_in_order(struct vq *vq)
{
	while (vq->order_first && vq->order_first->phase == CHAIN_FINISHED) {
		struct chain *c = vq->order_first;

		vq->order_first = c->order_next;
		c->order_next = NULL;
		finish_chain(vq, c);
	}
}

/* In each request's way: a call would cost as much as a tenth of it. */
static inline __attribute__((always_inline)) void take_chain(
	struct vq *vq, struct chain *c, enum serve_verdict verdict)
{
	bool held = verdict == SERVE_HELD && c->phase != CHAIN_DONE_EARLY;

	vq->ops->advance(vq, c);
	vq->count.popped++;
	vq->count.descs += c->num_loaded;
	vq_record(vq, VQ_EVENT_POP + vq->polled, c->head,
		atomic_load_explicit(&c->readable_bytes, memory_order_relaxed));
	if (!held && !vq->order_first) {
		push(vq, c);
		vq_chain_put(vq, c);
		return;
	}
	c->phase = held ? CHAIN_HELD : CHAIN_FINISHED;
	vq->inuse++;
	vq_mark_in_flight(vq, c);
	if (vq->in_order)
		order_add(vq, c);
}

/* Gives back what serve() had at hand, its first and the others. */
static void put_chains(struct vq *vq, struct chain *c, struct chain *more)
{
	vq_chain_put(vq, c);
	while (unlikely(more)) {
		c = more;
		more = c->order_next;
		c->order_next = NULL;
		vq_chain_put(vq, c);
	}
}

static __attribute__((noinline)) void take_more(struct vq *vq, struct chain *c)
{
	while (c) {
		struct chain *next = c->order_next;

		c->order_next = NULL;
		take_chain(vq, c, SERVE_DONE);
		c = next;
	}
}

static void begin_batch(struct vq *vq)
{
	vq->batch_ns = vq->turn_ns ? vq->turn_ns : now_ns();
	vq->pop_ns = vq->clock_ns = vq->batch_ns;
}

/* One chain: 1 where another may follow, 0 where the queue rests, -errno where it broke. */
static int serve_one(struct vq *vq)
{
	enum serve_verdict verdict;
	struct chain *c, *more;
	int r = vq->ops->peek(vq, &c);

	if (r <= 0)
		return r;
	if (!vq->batch_ns)
		begin_batch(vq);
	vq->serving = c;
	verdict = vq->dev->cls->serve(vq->dev, vq, c);
	vq->serving = NULL;
	more = likely(!vq->more.looking) ? NULL : vq_look_back(vq);
	if (vq->broken && (verdict != SERVE_HELD || c->phase == CHAIN_DONE_EARLY)) {
		put_chains(vq, c, more);
		return -EPROTO;
	}
	if (verdict == SERVE_RETRY) {
		vq_record(vq, VQ_EVENT_DRY, c->head, 0);
		vq_count_rare(vq, &vq->count.dry_runs);
		put_chains(vq, c, more);
		vq->dry = true;
		return 0;
	}
	assert(verdict == SERVE_DONE || !more);
	/* One that is held is the device's even where it broke the queue meanwhile. */
	take_chain(vq, c, verdict);
	if (unlikely(more))
		take_more(vq, more);
	return vq->broken ? -EPROTO : 1;
}

/* The ring is empty, and the driver was asked to kick. */
static void note_asked(struct vq *vq)
{
	if (!vq->batch_ns && !vq->turn_ns)
		vq_read_clock(vq);
	vq->notify_on = true;
	vq_record(vq, VQ_EVENT_NOTIFY_ON, vq->last_avail, 0);
}

static void note_kick(struct vq *vq)
{
	vq->count.kicks++;
	if (!RINGSIDE_RECORDER)
		return;
	vq_record_now(vq, VQ_EVENT_KICK, vq->last_avail, 0);
	vq->kick_ns = vq->turn_ns = vq->clock_ns;
}

void vq_run(struct vq *vq)
{
	unsigned int budget = VQ_BUDGET;
	int r = 1;

	if (vq->broken || vq->stopping)
		return;
	atomic_store_explicit(&vq->in_turn, true, memory_order_relaxed);
	vq->dry = false;
	vq->batch_ns = 0;
	if (!vq->polled || vq->more.asked)
		vq_forbid_notify(vq);
	vq->more.asked = false;
	while (budget--) {
		r = serve_one(vq);
		if (r > 0)
			continue;
		/* Empty: ask to be told of the next one, and look again for what came meanwhile. */
		if (r < 0 || vq->dry || vq->polled || !vq->ops->ask_notify(vq, true))
			break;
		vq->ops->ask_notify(vq, false);
		r = 1;
	}
	if (!r && !vq->dry && !vq->polled)
		note_asked(vq);
	if (!vq->batch_ns && !r)
		vq_count_rare(vq, &vq->count.empty_runs);
	if (r > 0)
		loop_work_add(vq->loop, &vq->run_work);
	flush(vq);
	vq->turn_ns = 0;
	atomic_store_explicit(&vq->in_turn, false, memory_order_relaxed);
}

void vq_on_run_work(struct loop_work *work)
{
	vq_run(container_of(work, struct vq, run_work));
}

void vq_on_kick(struct loop_fd *node, uint32_t revents)
{
	struct vq *vq = container_of(node, struct vq, kick);
	uint64_t buf[64];
	ssize_t n = read(node->fd, buf, sizeof(buf));

	if (n < 0 && errno == EAGAIN && (revents & (EPOLLERR | EPOLLHUP)))
		errno = EPIPE;
	if (n == 0 || (n < 0 && errno != EAGAIN && errno != EINTR)) {
		/* A descriptor that is always ready and never readable would burn the loop. */
		log_limited(&vq->log, LOG_LEVEL_WARN,
			"%s: queue %u: the kick descriptor %s; the queue hears no more kicks",
			vdev_label(vq->dev), vq->index, n ? strerror(errno) : "was closed");
		vq_count_rare(vq, &vq->count.errors_kick);
		vq_publish(vq);
		loop_fd_del(node);
		return;
	}
	if (n > 0)
		note_kick(vq);
	loop_work_cancel(vq->loop, &vq->run_work);
	vq_run(vq);
}

void vq_on_kick_post(struct loop_post *post)
{
	struct vq *vq = container_of(post, struct vq, kick_post);

	/* Before the look at the ring: a kick for what it does not see is posted again. */
	atomic_store(&vq->kick_posted, false);
	if (vq->stopping)
		return;
	if (atomic_exchange(&vq->kick_told, false))
		note_kick(vq);
	loop_work_cancel(vq->loop, &vq->run_work);
	vq_run(vq);
}

void vq_on_extra_call(struct loop_post *post)
{
	struct vq *vq = container_of(post, struct vq, extra_call_post);

	atomic_store(&vq->extra_call_posted, false);
	if (!vq->stopping && !vq->broken)
		vq_send_call(vq);
}

void vq_resume(struct vq *vq)
{
	if (!vq->broken && !vq->stopping)
		loop_work_add(vq->loop, &vq->run_work);
}

static void finish_stop(struct vq *vq)
{
	if (!vq->stopping || vq->inuse)
		return;
	loop_work_cancel(vq->loop, &vq->run_work);
	loop_work_cancel(vq->loop, &vq->flush_work);
	loop_fd_del(&vq->kick);
	vq_poll_stop(vq);
	/* Whoever serves the ring next finds it as if nobody had been busy, out of supplies or
	 * polling: its driver kicks. */
	if (!vq->broken) {
		vq->ops->ask_notify(vq, true);
		vq->notify_on = true;
	}
	flush(vq);
	if (vq->coalescing)
		vq_coalesce_end(vq);
	vq_record_now(vq, VQ_EVENT_STOP, vq->last_avail, 0);
	if (vq->dev->cls->queue_stop)
		vq->dev->cls->queue_stop(vq->dev, vq);
	loop_post(vq->dev->main_loop, &vq->stopped_post);
}

void vq_on_flush_work(struct loop_work *work)
{
	struct vq *vq = container_of(work, struct vq, flush_work);

	flush(vq);
	finish_stop(vq);
}

void vq_complete(struct vq *vq, struct chain *c)
{
	if (vq->serving == c) {
		c->phase = CHAIN_DONE_EARLY;
		return;
	}
	assert(c->phase == CHAIN_HELD && vq->inuse);
	if (!vq->flush_work.queued)
		vq->batch_ns = vq->clock_ns = now_ns();
	c->phase = CHAIN_FINISHED;
	if (vq->in_order)
		finish_in_order(vq);
	else
		finish_chain(vq, c);
	loop_work_add(vq->loop, &vq->flush_work);
}

void vq_count_error(struct vq *vq)
{
	vq_count_rare(vq, &vq->count.errors_request);
}

static void count_break(struct vq *vq)
{
	bool lost = gmem_poisoned(vq->mem) || vq_ledger_lost(vq) ||
		    (vq->dirty && dirty_log_is_lost(vq->dirty));

	vq_count_rare(vq, lost ? &vq->count.errors_memory : &vq->count.errors_ring);
	vq_record_now(vq, VQ_EVENT_BREAK, vq->last_avail, 0);
}

void vq_break(struct vq *vq, const char *fmt, ...)
{
	va_list ap;

	if (vq->broken)
		return;
	vq->broken = true;
	count_break(vq);
	if (gmem_poisoned(vq->mem)) {
		/* Zeros stand where the ring was: whatever the walk found is a consequence. */
		snprintf(vq->reason, sizeof(vq->reason),
			"guest memory is gone: its file was truncated");
	} else {
		va_start(ap, fmt);
		vsnprintf(vq->reason, sizeof(vq->reason), fmt, ap);
		va_end(ap);
	}
	loop_fd_del(&vq->kick);
	vq_poll_stop(vq);
	loop_post(vq->dev->main_loop, &vq->broken_post);
}

/* --- messages between the loops --- */

void vq_on_start(struct loop_post *post)
{
	struct vq *vq = container_of(post, struct vq, start_post);
	struct err err = { 0 };

	vq_record_now(vq, VQ_EVENT_START, vq->last_avail, vq->num);
	if (vq->dev->cls->queue_start && vq->dev->cls->queue_start(vq->dev, vq, &err) < 0) {
		vq_break(vq, "%s", err.msg);
		return;
	}
	vq->kick.fd = vq->kick_fd;
	if (vq->kick_fd >= 0 && loop_fd_add(vq->loop, &vq->kick, EPOLLIN, &err) < 0) {
		vq_break(vq, "kick descriptor: %s", err.msg);
		return;
	}
	/* Chains may have come before the kick descriptor did; and whoever served the ring before
	 * us may have left answers that the driver was not called for. */
	loop_work_add(vq->loop, &vq->run_work);
	vq_poll_start(vq);
	if (vq->used_idx != vq->ops->first_used)
		vq_send_call(vq);
	vq_publish(vq);
}

/*
 * What is still to be served again stands in the region alone, and not between the ring's indices:
 * it is taken before the queue rests. What the device cannot serve now stays in the region.
 */
static void finish_recovery(struct vq *vq)
{
	vq->batch_ns = 0;
	while (!vq->broken && vq_ledger_pending(vq))
		if (serve_one(vq) <= 0)
			break;
}

void vq_on_stop(struct loop_post *post)
{
	struct vq *vq = container_of(post, struct vq, stop_post);

	finish_recovery(vq);
	vq->stopping = true;
	finish_stop(vq);
}
