/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Two kinds of looks: at what moves, each time, and a judgement with system calls, only of what has
 * been still for the threshold's time. What rests in peace is judged again ever more seldom.
 */
#include "control/watch.h"

#include <stdlib.h>

#include "base/alloc.h"
#include "control/devices.h"
#include "control/internal.h"
#include "control/news.h"
#include "control/stall_file.h"
#include "inspect/health_reply.h"

/* Quiet looks after which they come less often. */
#define QUIET_LOOKS	 8
#define JUDGE_GAP_MAX_NS (16 * NSEC_PER_SEC)

static uint64_t threshold_ns(const struct control *ctl)
{
	return ctl->watching.threshold_ms * (uint64_t)NSEC_PER_MSEC;
}

static bool is_watching(const struct control *ctl, uint64_t now)
{
	return ctl->watching.threshold_ms && (ctl->watching.always || now < ctl->watching.until_ns);
}

static const struct health_watch *watch_of(_unused_ void *opaque, const struct vq *vq)
{
	const struct control_device *cdev = vq->dev->owner;

	return cdev && vq->index < cdev->num_watches ? &cdev->watches[vq->index].look : NULL;
}

static struct health_scene scene_at(const struct control *ctl, uint64_t now)
{
	return (struct health_scene){
		.now_ns = now, .threshold_ns = threshold_ns(ctl), .watch_of = watch_of
	};
}

/* --- one queue --- */

static void judge(struct control_device *cdev, struct vq *vq, struct control_watch *w, uint64_t now)
{
	const struct health_scene scene = scene_at(cdev->ctl, now);
	char role[DESCRIBE_ROLE_BYTES];
	struct health_verdict v;
	struct health_picture p;
	bool is_stuck;

	health_gather(&scene, cdev->dev, vq, &p, role);
	health_judge(&p, &v);
	/* That a device broke has an event of its own. */
	is_stuck = v.severity == VIRT_QUEUE_SEVERITY_STUCK &&
		   v.verdict != VIRT_QUEUE_VERDICT_DEVICE_BROKEN;
	if (is_stuck && !w->is_stalled) {
		w->is_stalled = true;
		w->stalled_ns = w->look.since_ns;
		control_stall_file(cdev, vq, &v);
		control_news_stalled(cdev, vq->index, v.verdict, v.sentence);
	} else if (!is_stuck && w->is_stalled) {
		w->is_stalled = false;
		control_news_recovered(
			cdev, vq->index, v.verdict, (now - w->stalled_ns) / NSEC_PER_MSEC);
	}
}

/* True where it moved, or is stuck. */
static bool look_at(struct control_device *cdev, struct vq *vq, struct control_watch *w,
	bool has_message, uint64_t now)
{
	uint64_t threshold = threshold_ns(cdev->ctl);
	bool moved = health_watch_look(&w->look, vq, now);

	if (moved) {
		w->judge_gap_ns = threshold;
		w->judge_ns = now + threshold;
	}
	if (w->is_stalled || (has_message && now - w->look.since_ns >= threshold)) {
		judge(cdev, vq, w, now);
	} else if (now >= w->judge_ns) {
		w->judge_ns = now + w->judge_gap_ns;
		w->judge_gap_ns = MIN(w->judge_gap_ns * 2, (uint64_t)JUDGE_GAP_MAX_NS);
		judge(cdev, vq, w, now);
	}
	return moved || w->is_stalled || has_message;
}

/* --- all of them --- */

static void make_room(struct control_device *cdev, unsigned int num)
{
	if (num <= cdev->num_watches)
		return;
	cdev->watches = xreallocarray(cdev->watches, num, sizeof(struct control_watch));
	for (unsigned int i = cdev->num_watches; i < num; i++)
		cdev->watches[i] = (struct control_watch){ 0 };
	cdev->num_watches = num;
}

/* Queues that are not there any more are not stuck either. */
static void forget_from(struct control_device *cdev, unsigned int first, uint64_t now)
{
	for (unsigned int i = first; i < cdev->num_watches; i++) {
		struct control_watch *w = &cdev->watches[i];

		if (w->is_stalled)
			control_news_recovered(cdev, i, VIRT_QUEUE_VERDICT_NOT_CONNECTED,
				(now - w->stalled_ns) / NSEC_PER_MSEC);
		*w = (struct control_watch){ 0 };
	}
}

static bool look_at_device(struct control_device *cdev, uint64_t now)
{
	struct vdev *dev = cdev->dev;
	bool moved = false, has_message;

	if (cdev->unplugging)
		return false;
	if (!dev->view.connected) {
		forget_from(cdev, 0, now);
		return false;
	}
	has_message = health_message_waits(dev);
	make_room(cdev, dev->num_queues);
	for (unsigned int i = 0; i < dev->num_queues; i++)
		moved |= look_at(cdev, &dev->queues[i], &cdev->watches[i], has_message, now);
	forget_from(cdev, dev->num_queues, now);
	return moved;
}

static void on_timer(struct loop_timer *timer)
{
	struct control *ctl = container_of(timer, struct control, watching.timer);
	struct control_watching *w = &ctl->watching;
	uint64_t now = now_ns();
	bool moved = false;

	if (!ctl->devices || ctl->quitting || !is_watching(ctl, now))
		return;
	for (struct control_device *cdev = ctl->devices; cdev; cdev = cdev->next)
		moved |= look_at_device(cdev, now);
	w->num_quiet = moved ? 0 : w->num_quiet + 1;
	loop_timer_set(ctl->config.loop, timer,
		now + (w->num_quiet < QUIET_LOOKS ? WATCH_PERIOD_NS : WATCH_IDLE_PERIOD_NS));
}

void control_watch_init(struct control *ctl)
{
	struct control_watching *w = &ctl->watching;

	w->timer.fn = on_timer;
	w->threshold_ms = ctl->config.has_stall_ms ? ctl->config.stall_ms
						   : WATCH_DEFAULT_THRESHOLD_MS;
	w->always = !ctl->config.relay || ctl->config.has_stall_ms;
}

void control_watch_wake(struct control *ctl)
{
	uint64_t now = now_ns();

	/* As often as news come: the next look is not put off by them. */
	if (!ctl->devices || ctl->quitting || !is_watching(ctl, now) ||
		(ctl->watching.timer.loop && ctl->watching.num_quiet < QUIET_LOOKS))
		return;
	ctl->watching.num_quiet = 0;
	loop_timer_set(ctl->config.loop, &ctl->watching.timer, now);
}

void control_watch_stop(struct control *ctl)
{
	loop_timer_cancel(&ctl->watching.timer);
}

/* --- commands --- */

int control_cmd_query_virtqueue_health(struct qapi_call *call, const char *path, bool has_queue,
	uint16_t queue, struct VirtQueueHealthList *ret, struct qapi_error *error)
{
	struct control *ctl = call->ctx;
	const struct health_scene scene = scene_at(ctl, now_ns());
	bool watched = is_watching(ctl, scene.now_ns);

	ctl->watching.until_ns = scene.now_ns + WATCH_AFTER_QUERY_NS;
	/* What was remembered from the last time would count the time between as stillness. */
	for (struct control_device *cdev = ctl->devices; !watched && cdev; cdev = cdev->next)
		forget_from(cdev, 0, scene.now_ns);
	if (!watched)
		control_watch_wake(ctl);
	return inspect_health(ctl->root, path, has_queue ? &queue : NULL, &scene, ret, &error->err);
}

int control_cmd_query_virtqueue_watch(
	struct qapi_call *call, struct VirtQueueWatch **ret, _unused_ struct qapi_error *error)
{
	const struct control *ctl = call->ctx;

	*ret = xnew(struct VirtQueueWatch);
	(*ret)->threshold_ms = ctl->watching.threshold_ms;
	(*ret)->watching = is_watching(ctl, now_ns());
	return 0;
}

int control_cmd_virtqueue_set_stall_threshold(
	struct qapi_call *call, uint32_t ms, _unused_ struct qapi_error *error)
{
	struct control *ctl = call->ctx;
	uint64_t now = now_ns();

	for (struct control_device *cdev = ctl->devices; cdev; cdev = cdev->next)
		forget_from(cdev, 0, now);
	control_watch_stop(ctl);
	ctl->watching.threshold_ms = ms;
	ctl->watching.always = true;
	control_watch_wake(ctl);
	return 0;
}
