/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A relay: stands on the socket between a front-end and a vhost-user back-end, passes every message
 * with its descriptors, and keeps the device's state in a struct vdev that inspection reads. The
 * data path is the two ends' own: memory, kick and call descriptors are handed through. Main loop.
 */
#ifndef VHOST_RELAY_H
#define VHOST_RELAY_H

#include "virtio/vdev.h"

/*
 * Its options are relay_class.options; vdev_realize() listens, vdev_destroy() ends it. Its
 * instances have a class of their own, a copy with the type's number.
 */
extern const struct vdev_class relay_class;

/* What type= says, or NULL; before vdev_realize(). */
const char *relay_type_option(const struct vdev *dev);
/* The virtio type that the option means; before vdev_realize(). Not called: 0, unknown. */
void relay_set_virtio_id(struct vdev *dev, uint16_t virtio_id);

#endif
