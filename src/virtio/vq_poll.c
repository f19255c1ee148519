/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A queue on a loop that polls. While the loop polls, the driver is told not to notify (virtio 1.3,
 * "Available Buffer Notification Suppression") and the loop looks for chains; before it sleeps, the
 * driver is asked for notifications again and the ring is looked at once more, so that a chain of
 * any moment is either seen or notified. A queue whose device is out of supplies (SERVE_RETRY) is
 * left alone: its chains wait for the device, not for us.
 */
#include "virtio/vq_internal.h"
#include "virtio/vq_recorder.h"

static bool rests(const struct vq *vq)
{
	return vq->broken || vq->stopping || vq->dry;
}

static bool on_look(struct loop_poll *poll)
{
	struct vq *vq = container_of(poll, struct vq, poll);

	if (rests(vq))
		return false;
	if (!vq->ops->waits(vq)) {
		vq->count.empty_polls += RINGSIDE_RECORDER;
		return false;
	}
	vq->count.polled_runs++;
	loop_work_cancel(vq->loop, &vq->run_work);
	vq_run(vq);
	return true;
}

static void on_begin(struct loop_poll *poll)
{
	struct vq *vq = container_of(poll, struct vq, poll);

	vq->polled = true;
	if (rests(vq))
		return;
	vq_forbid_notify(vq);
	vq_record_now(vq, VQ_EVENT_NOTIFY_OFF, vq->last_avail, 0);
}

static bool on_end(struct loop_poll *poll)
{
	struct vq *vq = container_of(poll, struct vq, poll);
	bool came;

	vq->polled = false;
	/* Out of supplies: vq_resume() runs the queue, and that asks. */
	if (rests(vq))
		return false;
	came = vq->ops->ask_notify(vq, true);
	vq->notify_on = true;
	vq_record_now(vq, VQ_EVENT_NOTIFY_ON, vq->last_avail, 0);
	/* What polling counted since the last batch. */
	vq->rare_changed = true;
	vq_publish(vq);
	if (!came)
		return false;
	loop_work_add(vq->loop, &vq->run_work);
	return true;
}

void vq_poll_init(struct vq *vq)
{
	vq->poll.fn = on_look;
	vq->poll.begin = on_begin;
	vq->poll.end = on_end;
}

void vq_poll_start(struct vq *vq)
{
	vq->polled = false;
	if (vq->ops->waits)
		loop_poll_add(vq->loop, &vq->poll);
}

void vq_poll_stop(struct vq *vq)
{
	loop_poll_del(&vq->poll);
	vq->polled = false;
}
