/* SPDX-License-Identifier: BSD-3-Clause */
/* virtio-net: a network card (virtio 1.4, "Network Device"). */
#ifndef DEVICES_NET_H
#define DEVICES_NET_H

#include "virtio/vdev.h"

extern const struct vdev_class virtio_net_class;

/*
 * Main loop: the card's own cable is in, or out; it is in at first, and stays as it is over resets.
 * While it is out packets of both directions are dropped.
 */
void virtio_net_set_link(struct vdev *dev, bool up);

#endif
