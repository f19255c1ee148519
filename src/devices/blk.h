/* SPDX-License-Identifier: BSD-3-Clause */
/* virtio-blk: a disk with one or more request queues (virtio 1.3, "Block Device"). */
#ifndef DEVICES_BLK_H
#define DEVICES_BLK_H

#include "virtio/vdev.h"

extern const struct vdev_class virtio_blk_class;

#endif
