/* SPDX-License-Identifier: BSD-3-Clause */
/* virtio-rng: one queue of buffers that are filled with random bytes (virtio 1.3, "Entropy
 * Device"). */
#ifndef DEVICES_RNG_H
#define DEVICES_RNG_H

#include "virtio/vdev.h"

extern const struct vdev_class virtio_rng_class;

#endif
