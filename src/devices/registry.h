/* SPDX-License-Identifier: BSD-3-Clause */
/* The device classes that there are. A new device is a row here. Constant; any thread. */
#ifndef DEVICES_REGISTRY_H
#define DEVICES_REGISTRY_H

#include "virtio/vdev.h"

/* Ends with NULL. */
extern const struct vdev_class *const device_classes[];

/* By the name that --device takes; NULL where there is none. */
const struct vdev_class *device_class_find(const char *name);

#endif
