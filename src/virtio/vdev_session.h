/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Sessions that a front-end makes by messages of its own, past the device's control queue: QEMU's
 * cryptodev-vhost-user keeps that queue to itself. A transport takes the message apart and knows no
 * more of it; every number is the specification's for a crypto device, and nobody has checked it.
 * Main loop, while queues run.
 */
#ifndef VIRTIO_VDEV_SESSION_H
#define VIRTIO_VDEV_SESSION_H

#include "base/err.h"
#include "base/util.h"

struct vdev;

struct vdev_session_params {
	bool is_asymmetric;
	/* symmetric: VIRTIO_CRYPTO_SYM_OP_* and what belongs to it */
	uint32_t op_type, cipher_algo, direction;
	uint32_t chain_order, hash_mode, hash_algo, result_bytes, aad_bytes;
	/* asymmetric */
	uint32_t algo, key_type, rsa_padding, rsa_hash;
	/* The caller's, who wipes them; each inside its message. */
	const uint8_t *key, *auth_key;
	uint32_t key_bytes, auth_key_bytes;
};

/* They belong to the device, and end with its reset, as a connection's end is one. */
struct vdev_session_ops {
	/*
	 * *ret_id: its number, below 2^63, by which requests on data queues name it. -errno with a
	 * sentence, which has nothing of a key.
	 */
	int (*create)(struct vdev *dev, const struct vdev_session_params *params, uint64_t *ret_id,
		struct err *err);
	/* -ENOENT with a sentence: there is none. Requests that use it end as they would have. */
	int (*close)(struct vdev *dev, uint64_t id, struct err *err);
};

#endif
