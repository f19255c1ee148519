/* SPDX-License-Identifier: BSD-3-Clause */
/* One timer for all that wait. A device that goes takes its news along. */
#include "control/news.h"

#include <stdlib.h>

#include "base/alloc.h"
#include "base/cleanup.h"
#include "control/children.h"
#include "control/devices.h"
#include "control/internal.h"
#include "control/watch.h"
#include "devices/balloon.h"
#include "inspect/vhost.h"
#include "inspect/virtio.h"

static struct news_slot *slot_of(struct news *news, enum news_kind kind, unsigned int queue)
{
	struct news_slot *slot;

	for (slot = news->slots; slot; slot = slot->next)
		if (slot->kind == kind && slot->queue == queue)
			return slot;
	slot = xnew(struct news_slot);
	*slot = (struct news_slot){ .kind = kind, .queue = queue, .next = news->slots };
	news->slots = slot;
	return slot;
}

/* Takes @event. */
static void send_news(struct control *ctl, struct news *news, enum news_kind kind,
	unsigned int queue, struct json_object *event)
{
	struct news_slot *slot = slot_of(news, kind, queue);
	uint64_t now = now_ns();

	if (!slot->pending && (!slot->sent_ns || now - slot->sent_ns >= NEWS_PERIOD_NS)) {
		slot->sent_ns = now;
		control_emit(ctl, event);
		return;
	}
	json_object_put(slot->pending);
	slot->pending = event;
	/* Those before are due sooner, and the timer looks at all. */
	if (!ctl->news_timer.loop)
		loop_timer_set(ctl->config.loop, &ctl->news_timer, slot->sent_ns + NEWS_PERIOD_NS);
}

static void send(struct control_device *cdev, enum news_kind kind, unsigned int queue,
	struct json_object *event)
{
	send_news(cdev->ctl, &cdev->news, kind, queue, event);
}

/* The earlier of two times, of which 0 is none. */
static uint64_t earlier(uint64_t a, uint64_t b)
{
	return a && b ? MIN(a, b) : a + b;
}

/* The earliest time at which another one is due, or 0. */
static uint64_t send_due(struct control *ctl, struct news *news, uint64_t now)
{
	uint64_t next = 0;

	for (struct news_slot *slot = news->slots; slot; slot = slot->next) {
		uint64_t due = slot->sent_ns + NEWS_PERIOD_NS;

		if (!slot->pending)
			continue;
		if (due > now) {
			next = earlier(next, due);
			continue;
		}
		slot->sent_ns = now;
		control_emit(ctl, take_ptr(slot->pending));
	}
	return next;
}

void control_news_on_timer(struct loop_timer *timer)
{
	struct control *ctl = container_of(timer, struct control, news_timer);
	uint64_t now = now_ns(), next = 0;

	for (struct control_device *cdev = ctl->devices; cdev; cdev = cdev->next)
		next = earlier(next, send_due(ctl, &cdev->news, now));
	for (struct control_child *child = ctl->children; child; child = child->next)
		next = earlier(next, send_due(ctl, &child->news, now));
	if (next)
		loop_timer_set(ctl->config.loop, timer, next);
}

void control_news_free(struct news *news)
{
	while (news->slots) {
		struct news_slot *slot = news->slots;

		news->slots = slot->next;
		json_object_put(slot->pending);
		free(slot);
	}
}

/* --- what can be told --- */

/* NULL for a device that is not there yet, or not any more. */
static struct control_device *device_of(const struct vdev *dev)
{
	struct control_device *cdev = dev->owner;

	return cdev && !cdev->unplugging && !cdev->ctl->quitting ? cdev : NULL;
}

static void on_broken(struct vdev *dev)
{
	struct control_device *cdev = device_of(dev);
	_cleanup_free_ char *path = cdev ? control_device_path(cdev) : NULL;

	if (cdev)
		send(cdev, NEWS_BROKEN, 0,
			qapi_event_virtio_device_broken(path, dev->broken_reason));
}

static void on_status(struct vdev *dev)
{
	struct control_device *cdev = device_of(dev);
	_cleanup_free_ char *path = cdev ? control_device_path(cdev) : NULL;
	struct VirtioDeviceStatus *status;

	if (!cdev)
		return;
	status = inspect_status_byte(dev);
	send(cdev, NEWS_STATUS, 0, qapi_event_virtio_status_changed(path, status));
	qapi_free_VirtioDeviceStatus(status);
	control_watch_wake(cdev->ctl);
}

static void on_vhost(struct vdev *dev)
{
	struct control_device *cdev = device_of(dev);
	bool started = inspect_vhost_started(dev);
	_cleanup_free_ char *path = NULL;

	if (!cdev || cdev->news.vhost_started == started)
		return;
	path = control_device_path(cdev);
	cdev->news.vhost_started = started;
	send(cdev, NEWS_VHOST, 0,
		started ? qapi_event_vhost_started(path) : qapi_event_vhost_stopped(path));
}

static void on_config_written(struct vdev *dev)
{
	struct control_device *cdev = device_of(dev);
	_cleanup_free_ char *path = NULL;
	uint64_t actual;

	if (!cdev || dev->cls != &virtio_balloon_class)
		return;
	actual = balloon_actual_bytes(dev);
	if (!actual || actual == cdev->news.balloon_actual)
		return;
	path = control_device_path(cdev);
	cdev->news.balloon_actual = actual;
	send(cdev, NEWS_BALLOON, 0, qapi_event_balloon_change((int64_t)actual, path));
}

const struct vdev_listener control_vdev_listener = {
	.config_written = on_config_written,
	.broken = on_broken,
	.status_changed = on_status,
	.vhost_changed = on_vhost,
};

void control_news_stalled(struct control_device *cdev, unsigned int queue,
	enum VirtQueueVerdict verdict, const char *sentence)
{
	_cleanup_free_ char *path = control_device_path(cdev);

	send(cdev, NEWS_PROGRESS, queue,
		qapi_event_virtqueue_stalled(path, (uint16_t)queue, verdict, sentence));
}

void control_news_recovered(struct control_device *cdev, unsigned int queue,
	enum VirtQueueVerdict verdict, uint64_t stalled_ms)
{
	_cleanup_free_ char *path = control_device_path(cdev);

	send(cdev, NEWS_PROGRESS, queue,
		qapi_event_virtqueue_recovered(path, (uint16_t)queue, verdict, stalled_ms));
}

void control_news_port(struct control_child *child, bool open)
{
	if (child->id && !child->unplugging && !child->ctl->quitting)
		send_news(child->ctl, &child->news, NEWS_PORT, 0,
			qapi_event_vserport_change(child->id, open));
}

void control_news_tray(struct control_child *child, bool open)
{
	_cleanup_free_ char *path = qom_path(child->obj);

	if (!child->unplugging && !child->ctl->quitting)
		send_news(child->ctl, &child->news, NEWS_TRAY, 0,
			qapi_event_device_tray_moved(child->id ? child->id : "", path, open));
}
