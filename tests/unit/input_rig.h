/* SPDX-License-Identifier: BSD-3-Clause */
/* An input device with one of its rings, for the tests of virtio-input. */
#ifndef TESTS_INPUT_RIG_H
#define TESTS_INPUT_RIG_H

#include "dev_fixture.h"

#include <errno.h>
#include <linux/input.h>

#include "devices/input.h"

#define EVENT_BYTES  8u
#define CONFIG_BYTES 136

enum { EVENTQ, STATUSQ };

static const struct vdev_class *const hid_classes[] = { &virtio_keyboard_class, &virtio_mouse_class,
	&virtio_tablet_class, &virtio_multitouch_class };

/* Queue @queue has the ring. */
static inline void start_on(
	struct fix *f, const struct vdev_class *cls, unsigned int queue, uint32_t num)
{
	fix_class = cls;
	fix_init(f, 0, 0);
	f->vq = &f->dev->queues[queue];
	fix_start_ring(f, num, 0);
}

static inline void start_plain(struct fix *f, const struct vdev_class *cls, unsigned int queue)
{
	fix_options = NULL;
	start_on(f, cls, queue, 64);
}

#endif
