/* SPDX-License-Identifier: BSD-3-Clause */
/* virtio-crypto: data queues, and behind them a control queue (virtio 1.4, "Crypto Device"). */
#ifndef DEVICES_CRYPTO_H
#define DEVICES_CRYPTO_H

#include "backends/crypto.h"
#include "virtio/vdev.h"

/* virtio 1.4, "Crypto Device", feature bits: of the stateless modes one behind the other */
#define VIRTIO_CRYPTO_F_REVISION_1		0
#define VIRTIO_CRYPTO_F_STATELESS_MODE(service) (1 + (service))

extern const struct vdev_class virtio_crypto_class;

/*
 * The sessions of a virtio-crypto: opened and closed on any thread, so by a transport too that has
 * messages for it. A reset closes all of them.
 */
struct crypto_sessions *virtio_crypto_sessions(struct vdev *dev);

#endif
