/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Sessions of virtio-crypto that a front-end makes by message. They stand beside those of the
 * control queue, with numbers of one set, and what no session can be made of is judged where theirs
 * is. Refuses operation types that are neither a cipher nor a chain.
 */
#include "devices/crypto_int.h"

#include <errno.h>
#include <inttypes.h>

/* virtio 1.4, "Session operation: Symmetric algorithms" */
#define SYM_OP_CIPHER 1
#define SYM_OP_CHAIN  2

static const char *const reasons[] = {
	[CRYPTO_ERR] = "lengths or numbers that do not go together",
	[CRYPTO_BADMSG] = "it is not well-formed",
	[CRYPTO_NOTSUPP] = "no such algorithm or mode, or not with such a key",
	[CRYPTO_INVSESS] = "there is no such session",
	[CRYPTO_NOSPC] = "there are as many sessions as max-sessions allows",
	[CRYPTO_KEY_REJECTED] = "the key is none",
};

static const char *reason_of(enum crypto_status status)
{
	return status < ARRAY_SIZE(reasons) && reasons[status] ? reasons[status] : "it failed";
}

static bool take_params(const struct vdev_session_params *p, struct crypto_params *ret)
{
	*ret = (struct crypto_params){
		.service = p->is_asymmetric ? CRYPTO_AKCIPHER : CRYPTO_CIPHER,
		.algo = p->is_asymmetric ? p->algo : p->cipher_algo,
		.op = p->direction,
		.key = { p->key, p->key_bytes },
		.key_type = p->key_type,
		.rsa_padding = p->rsa_padding,
		.rsa_hash = p->rsa_hash,
	};
	if (p->is_asymmetric || p->op_type == SYM_OP_CIPHER)
		return true;
	ret->chain = p->chain_order;
	ret->hash_mode = p->hash_mode;
	ret->hash_algo = p->hash_algo;
	ret->auth_key = (struct crypto_bytes){ p->auth_key, p->auth_key_bytes };
	ret->result_len = p->result_bytes;
	return p->op_type == SYM_OP_CHAIN && p->chain_order != CRYPTO_NO_CHAIN;
}

static int create_session(
	struct vdev *dev, const struct vdev_session_params *p, uint64_t *ret_id, struct err *err)
{
	struct crypto_params params;
	enum crypto_status status;

	if (!take_params(p, &params))
		return err_set(err, -EOPNOTSUPP,
			"operation type %u with chain order %u is neither a cipher (%d) nor a "
			"chain (%d, order 1 or 2)",
			p->op_type, p->chain_order, SYM_OP_CIPHER, SYM_OP_CHAIN);
	status = crypto_sessions_open(vcrypto_of(dev)->sessions, &params, ret_id);
	if (status == CRYPTO_OK)
		return 0;
	return err_set(err, status == CRYPTO_NOSPC ? -ENOSPC : -EINVAL,
		"algorithm %u, key of %u bytes: %s", params.algo, params.key.len,
		reason_of(status));
}

static int close_session(struct vdev *dev, uint64_t id, struct err *err)
{
	if (crypto_sessions_close(vcrypto_of(dev)->sessions, id) == CRYPTO_OK)
		return 0;
	return err_set(err, -ENOENT, "there is no session %" PRIu64, id);
}

const struct vdev_session_ops vcrypto_message_sessions = {
	.create = create_session,
	.close = close_session,
};
