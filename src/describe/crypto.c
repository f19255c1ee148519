/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * virtio-crypto: the operation's name, its algorithm and session; never key material, which lies
 * behind the headers. Virtio 1.4, "Crypto Device".
 */
#include "describe/types.h"
#include "describe/wire.h"

#include <stdio.h>

static const struct describe_bit features[] = {
	DESCRIBE_BIT(5, "VIRTIO_CRYPTO_F_AKCIPHER_STATELESS_MODE",
		"Asymmetric operations without a session"),
	DESCRIBE_BIT(4, "VIRTIO_CRYPTO_F_AEAD_STATELESS_MODE", "AEAD operations without a session"),
	DESCRIBE_BIT(3, "VIRTIO_CRYPTO_F_MAC_STATELESS_MODE", "MAC operations without a session"),
	DESCRIBE_BIT(2, "VIRTIO_CRYPTO_F_HASH_STATELESS_MODE", "Hash operations without a session"),
	DESCRIBE_BIT(
		1, "VIRTIO_CRYPTO_F_CIPHER_STATELESS_MODE", "Cipher operations without a session"),
	DESCRIBE_BIT(0, "VIRTIO_CRYPTO_F_REVISION_1", "Second layout of requests"),
};

static const struct describe_config config[] = {
	CFG("status", 0, 4),
	CFG("max_dataqueues", 4, 4),
	CFG("crypto_services", 8, 4),
	CFG("cipher_algo_l", 12, 4),
	CFG("cipher_algo_h", 16, 4),
	CFG("hash_algo", 20, 4),
	CFG("mac_algo_l", 24, 4),
	CFG("mac_algo_h", 28, 4),
	CFG("aead_algo", 32, 4),
	CFG("max_cipher_key_len", 36, 4),
	CFG("max_auth_key_len", 40, 4),
	CFG("akcipher_algo", 44, 4),
	CFG("max_size", 48, 8),
};

/* service << 8 | operation */
static const struct wire_value operations[] = {
	{ 0x000, "CIPHER_ENCRYPT" },
	{ 0x001, "CIPHER_DECRYPT" },
	{ 0x002, "CIPHER_CREATE_SESSION" },
	{ 0x003, "CIPHER_DESTROY_SESSION" },
	{ 0x100, "HASH" },
	{ 0x102, "HASH_CREATE_SESSION" },
	{ 0x103, "HASH_DESTROY_SESSION" },
	{ 0x200, "MAC" },
	{ 0x202, "MAC_CREATE_SESSION" },
	{ 0x203, "MAC_DESTROY_SESSION" },
	{ 0x300, "AEAD_ENCRYPT" },
	{ 0x301, "AEAD_DECRYPT" },
	{ 0x302, "AEAD_CREATE_SESSION" },
	{ 0x303, "AEAD_DESTROY_SESSION" },
	{ 0x400, "AKCIPHER_ENCRYPT" },
	{ 0x401, "AKCIPHER_DECRYPT" },
	{ 0x402, "AKCIPHER_SIGN" },
	{ 0x403, "AKCIPHER_VERIFY" },
	{ 0x404, "AKCIPHER_CREATE_SESSION" },
	{ 0x405, "AKCIPHER_DESTROY_SESSION" },
	{ 0x500, "IPSEC_OUTBOUND" },
	{ 0x501, "IPSEC_INBOUND" },
};

static bool is_control(unsigned index, unsigned num_queues)
{
	return index + 1 == num_queues;
}

static void crypto_queue_role(
	unsigned index, unsigned num_queues, const uint64_t *f _unused_, char *buf)
{
	if (is_control(index, num_queues))
		snprintf(buf, DESCRIBE_ROLE_BYTES, "controlq");
	else
		snprintf(buf, DESCRIBE_ROLE_BYTES, "dataq%u", index + 1);
}

static bool ends_session(uint64_t operation)
{
	switch (operation) {
	case 0x003:
	case 0x103:
	case 0x203:
	case 0x303:
	case 0x405: return true;
	}
	return false;
}

static void crypto_request(const struct describe_in *in, struct describe_fields *ret)
{
	static const struct wire_field head[] = {
		WIRE_NAMED("operation", 0, 4, operations),
		WIRE("algo", 4, 4),
	};
	static const struct wire_field session[] = { WIRE("session", 8, 8) };
	static const struct wire_field destroyed[] = { WIRE("session", 16, 8) };
	uint64_t operation;

	WIRE_DECODE(in, head, ret);
	if (!is_control(in->queue, in->num_queues)) {
		WIRE_DECODE(in, session, ret);
	} else if (wire_get(in, 0, 4, &operation) && ends_session(operation)) {
		WIRE_DECODE(in, destroyed, ret);
	}
}

const struct describe_type describe_crypto = {
	.id = 20,
	.name = "virtio-crypto",
	.features = features,
	.num_features = ARRAY_SIZE(features),
	.config = config,
	.num_config = ARRAY_SIZE(config),
	.queue_role = crypto_queue_role,
	.request = crypto_request,
};
