/* SPDX-License-Identifier: BSD-3-Clause */
/* virtio-vsock: sockets between guest and host (virtio 1.3, "Socket Device"). */
#ifndef DEVICES_VSOCK_H
#define DEVICES_VSOCK_H

#include "virtio/vdev.h"

extern const struct vdev_class virtio_vsock_class;

#endif
