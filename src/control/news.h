/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Events about devices: what the layers below tell by struct vdev_listener, and what the watch
 * finds. Of one kind about one device (or queue) at most one a second goes out at once; of those
 * that come sooner the last one goes out late, the others not at all. Main loop.
 */
#ifndef CONTROL_NEWS_H
#define CONTROL_NEWS_H

#include <json-c/json.h>

#include "base/loop.h"
#include "qapi/types.h"
#include "virtio/vdev.h"

struct control;
struct control_child;
struct control_device;

#define NEWS_PERIOD_NS NSEC_PER_SEC

/* Events of one kind take each other's place: what counts is how it is now. */
enum news_kind {
	NEWS_BROKEN,
	NEWS_STATUS,
	NEWS_VHOST,
	NEWS_PROGRESS,
	NEWS_BALLOON,
	NEWS_PORT,
	NEWS_TRAY
};

/* The last event of a kind. */
struct news_slot {
	enum news_kind kind;
	unsigned int queue; /* of NEWS_PROGRESS */
	uint64_t sent_ns;
	struct json_object *pending; /* owned; NULL: none waits */
	struct news_slot *next;
};

/* Of one device, or a part of one; zero-initialised. */
struct news {
	struct news_slot *slots;
	bool vhost_started; /* as it was told last */
	uint64_t balloon_actual; /* likewise; bytes */
};

/* For vdev_set_listener(). Devices without an owner are passed over. */
extern const struct vdev_listener control_vdev_listener;

/* VIRTQUEUE_STALLED, or RECOVERED with how long it was stuck. */
void control_news_stalled(struct control_device *cdev, unsigned int queue,
	enum VirtQueueVerdict verdict, const char *sentence);
void control_news_recovered(struct control_device *cdev, unsigned int queue,
	enum VirtQueueVerdict verdict, uint64_t stalled_ms);

/* VSERPORT_CHANGE. */
void control_news_port(struct control_child *child, bool open);

/* DEVICE_TRAY_MOVED. */
void control_news_tray(struct control_child *child, bool open);

/* For control's timer. */
void control_news_on_timer(struct loop_timer *timer);
/* What waits is told no more. Idempotent. */
void control_news_free(struct news *news);

#endif
