/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The classes of devices whose rings somebody else serves: a vhost-user back-end (vhost-user-blk
 * and its kin) or the kernel (vhost-net, vhost-vsock, vhost-scsi). docs/vhost.md is the user's
 * side. Constant; any thread.
 */
#ifndef VHOST_VHOST_H
#define VHOST_VHOST_H

#include "virtio/vdev.h"

/* By the name that --device takes; NULL where there is none. */
const struct vdev_class *vhost_class_find(const char *name);
/* By row; NULL after the last. */
const struct vdev_class *vhost_class_at(size_t row);

#endif
