/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * An input device of the host, /dev/input/eventN, grabbed: what it sends comes to us and to nobody
 * else. Opened and asked for what it is on the main loop, used on the loop that it is attached to.
 */
#ifndef BACKENDS_EVDEV_H
#define BACKENDS_EVDEV_H

#include "base/err.h"
#include "base/loop.h"

struct evdev;

/* A type, a code and a value of Linux's. */
struct evdev_event {
	uint16_t type, code;
	int32_t value;
};

struct evdev_axis {
	int32_t min, max, fuzz, flat, res;
};

struct evdev_ids {
	uint16_t bustype, vendor, product, version;
};

/*
 * @spec: what host_open() takes. -errno with a sentence, where it is no such device, or where
 * somebody else has grabbed it.
 */
int evdev_open(const char *spec, struct evdev **ret, struct err *err);
/* It is detached. NULL is fine. */
void evdev_free(struct evdev *evdev);

const char *evdev_name(const struct evdev *evdev);
/* "" where it tells none. */
const char *evdev_serial(const struct evdev *evdev);
struct evdev_ids evdev_ids(const struct evdev *evdev);
bool evdev_has_property(const struct evdev *evdev, unsigned int property);
bool evdev_has_code(const struct evdev *evdev, unsigned int type, unsigned int code);
/* Of an absolute axis that it has. */
struct evdev_axis evdev_axis(const struct evdev *evdev, unsigned int code);

/*
 * From now on @loop uses it; what the device sent before is forgotten. @ready is called while there
 * is something to read, or the device is gone. On @loop.
 */
int evdev_attach(struct evdev *evdev, struct loop *loop, void (*ready)(void *opaque), void *opaque,
	struct err *err);
/* It went away, for good; nothing is read, and nobody is called. */
bool evdev_is_gone(const struct evdev *evdev);
/* @ready is not called any more. Idempotent. On that loop. */
void evdev_detach(struct evdev *evdev);

/*
 * The next event: 1; 0 where there is none now; -errno where the device is gone, for good. What the
 * kernel had to drop shows as the differences that it made.
 */
int evdev_read(struct evdev *evdev, struct evdev_event *ret);
/* Sends it to the device, a light that goes on, say; what does not take it does not. Never waits.
 */
void evdev_write(struct evdev *evdev, const struct evdev_event *event);

#endif
