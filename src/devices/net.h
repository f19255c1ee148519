/* SPDX-License-Identifier: BSD-3-Clause */
/* virtio-net: a network card (virtio 1.4, "Network Device"). */
#ifndef DEVICES_NET_H
#define DEVICES_NET_H

#include "virtio/vdev.h"

extern const struct vdev_class virtio_net_class;

#endif
