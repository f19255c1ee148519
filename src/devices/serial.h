/* SPDX-License-Identifier: BSD-3-Clause */
/* virtio-serial with its one console: a receive and a transmit queue (virtio 1.3, "Console
 * Device"). */
#ifndef DEVICES_SERIAL_H
#define DEVICES_SERIAL_H

#include "virtio/vdev.h"

extern const struct vdev_class virtio_serial_class;

#endif
