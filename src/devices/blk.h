/* SPDX-License-Identifier: BSD-3-Clause */
/* virtio-blk: a disk with one or more request queues (virtio 1.3, "Block Device"). */
#ifndef DEVICES_BLK_H
#define DEVICES_BLK_H

#include "devices/media.h"
#include "virtio/vdev.h"

extern const struct vdev_class virtio_blk_class;

/*
 * Another size; the driver is told. A smaller one waits until what is in flight is answered, and
 * the device's queues rest meanwhile. -errno with a sentence, and @change is not called: it cannot
 * be, or another change is under way. Main loop, before vdev_destroy(), which waits for it.
 */
int blk_resize(struct vdev *dev, uint64_t size_bytes, struct media_change *change, struct err *err);

#endif
