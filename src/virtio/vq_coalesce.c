/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Calls that wait. Whether a call was due is decided when answers are shown, as ever; one that
 * waits stays due whatever the driver says meanwhile, so that none gets lost. A timer of its own,
 * since the loop's count milliseconds.
 */
#include "virtio/vq_coalesce.h"

#include <errno.h>
#include <string.h>
#include <sys/timerfd.h>
#include <unistd.h>

#include "virtio/vdev.h"
#include "virtio/vq_internal.h"
#include "virtio/vq_recorder.h"

static void release(struct vq_coalescing *c)
{
	uint32_t num = c->num;

	c->held = false;
	c->num = 0;
	c->vq->last_call = VQ_CALL_NONE;
	vq_call_for(c->vq, num);
}

static void on_timer(struct loop_fd *node, uint32_t revents)
{
	struct vq_coalescing *c = container_of(node, struct vq_coalescing, timer);
	uint64_t times;

	(void)revents;
	/* Nothing to read: it was set anew meanwhile. */
	if (read(node->fd, &times, sizeof(times)) < 0 || !c->held || c->vq->broken)
		return;
	vq_read_clock(c->vq);
	release(c);
	vq_publish(c->vq);
}

static void arm(struct vq_coalescing *c)
{
	const struct itimerspec in = { .it_value = { c->max_usecs / 1000000,
					       c->max_usecs % 1000000 * 1000l } };

	timerfd_settime(c->timer.fd, 0, &in, NULL);
}

static bool has_timer(struct vq_coalescing *c)
{
	struct err err = { 0 };

	if (c->timer.loop)
		return true;
	c->timer.fn = on_timer;
	c->timer.fd = timerfd_create(CLOCK_MONOTONIC, TFD_NONBLOCK | TFD_CLOEXEC);
	if (c->timer.fd < 0)
		err_set(&err, -errno, "%s", strerror(errno));
	else if (loop_fd_add(c->vq->loop, &c->timer, EPOLLIN, &err) < 0)
		close(c->timer.fd);
	if (!c->timer.loop)
		log_warn("%s: queue %u: no timer for interrupts that wait, so none does: %s",
			vdev_label(c->vq->dev), c->vq->index, err.msg);
	return c->timer.loop;
}

void vq_coalesce_start(struct vq_coalescing *c, struct vq *vq)
{
	c->vq = vq;
	c->max_answers = c->num = 0;
	c->held = false;
	atomic_store(&c->runs, true);
	vq->coalescing = c;
}

void vq_coalesce_set(struct vq_coalescing *c, uint32_t max_answers, uint32_t max_usecs)
{
	bool waits = max_answers && max_usecs;

	if (!c->vq)
		return;
	if (waits && !has_timer(c))
		waits = false;
	c->max_answers = waits ? max_answers : 0;
	c->max_usecs = max_usecs;
	if (!c->held || c->vq->broken)
		return;
	if (waits && c->num < max_answers) {
		arm(c);
		return;
	}
	vq_read_clock(c->vq);
	release(c);
	vq_publish(c->vq);
}

void vq_coalesce_answers(struct vq *vq, bool call, uint32_t answers)
{
	struct vq_coalescing *c = vq->coalescing;

	if (!c->held && !call) {
		vq_suppress_call(vq, answers);
		return;
	}
	if (!c->held && c->max_answers && answers < c->max_answers)
		arm(c);
	c->held = true;
	c->num += MAX(answers, 1u);
	if (!c->max_answers || c->num >= c->max_answers) {
		release(c);
		return;
	}
	vq->last_call = VQ_CALL_HELD;
	vq_record(vq, VQ_EVENT_CALL_HELD, vq->used_idx, answers);
}

void vq_coalesce_end(struct vq *vq)
{
	struct vq_coalescing *c = vq->coalescing;

	/* Whoever serves the ring next does not know of it. */
	if (c->held && !vq->broken) {
		release(c);
		vq_publish(vq);
	}
	if (c->timer.loop) {
		loop_fd_del(&c->timer);
		close(c->timer.fd);
	}
	vq->coalescing = NULL;
	c->vq = NULL;
	atomic_store(&c->runs, false);
}
