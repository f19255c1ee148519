/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * virtio-crypto: the operation's name, its algorithm and session, and lengths; never key material,
 * which lies behind the fixed parts. Virtio 1.4, "Crypto Device".
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

/* Algorithms by service. */
static const struct wire_value ciphers[] = {
	{ 1, "ARC4" },
	{ 2, "AES_ECB" },
	{ 3, "AES_CBC" },
	{ 4, "AES_CTR" },
	{ 5, "DES_ECB" },
	{ 6, "DES_CBC" },
	{ 7, "3DES_ECB" },
	{ 8, "3DES_CBC" },
	{ 9, "3DES_CTR" },
	{ 10, "KASUMI_F8" },
	{ 11, "SNOW3G_UEA2" },
	{ 12, "AES_F8" },
	{ 13, "AES_XTS" },
	{ 14, "ZUC_EEA3" },
};

static const struct wire_value hashes[] = {
	{ 1, "MD5" },
	{ 2, "SHA1" },
	{ 3, "SHA_224" },
	{ 4, "SHA_256" },
	{ 5, "SHA_384" },
	{ 6, "SHA_512" },
	{ 7, "SHA3_224" },
	{ 8, "SHA3_256" },
	{ 9, "SHA3_384" },
	{ 10, "SHA3_512" },
	{ 11, "SHA3_SHAKE128" },
	{ 12, "SHA3_SHAKE256" },
};

static const struct wire_value macs[] = {
	{ 1, "HMAC_MD5" },
	{ 2, "HMAC_SHA1" },
	{ 3, "HMAC_SHA_224" },
	{ 4, "HMAC_SHA_256" },
	{ 5, "HMAC_SHA_384" },
	{ 6, "HMAC_SHA_512" },
	{ 25, "CMAC_3DES" },
	{ 26, "CMAC_AES" },
	{ 27, "KASUMI_F9" },
	{ 28, "SNOW3G_UIA2" },
	{ 41, "GMAC_AES" },
	{ 42, "GMAC_TWOFISH" },
	{ 49, "CBCMAC_AES" },
	{ 50, "CBCMAC_KASUMI_F9" },
	{ 53, "XCBC_AES" },
	{ 54, "ZUC_EIA3" },
};

static const struct wire_value aeads[] = {
	{ 1, "GCM" },
	{ 2, "CCM" },
	{ 3, "CHACHA20_POLY1305" },
};

static const struct wire_value akciphers[] = { { 1, "RSA" }, { 2, "ECDSA" } };

static const struct wire_value key_types[] = { { 1, "PUBLIC" }, { 2, "PRIVATE" } };

/*
 * What of a service's fixed part lies within the bytes that are kept; which of two structures it is
 * stands behind them where it is a cipher's or a chain's, so there only what both share is told.
 */
static const struct wire_field create_cipher[] = { WIRE_NAMED("algo", 4, 4, ciphers) };
static const struct wire_field create_hash[] = { WIRE_NAMED("algo", 16, 4, hashes),
	WIRE("result-len", 20, 4) };
static const struct wire_field create_mac[] = { WIRE_NAMED("algo", 16, 4, macs),
	WIRE("result-len", 20, 4), WIRE("key-len", 24, 4) };
static const struct wire_field create_aead[] = { WIRE_NAMED("algo", 16, 4, aeads),
	WIRE("key-len", 20, 4), WIRE("tag-len", 24, 4), WIRE("aad-len", 28, 4) };
static const struct wire_field create_akcipher[] = { WIRE_NAMED("algo", 16, 4, akciphers),
	WIRE_NAMED("key-type", 20, 4, key_types), WIRE("key-len", 24, 4) };

static const struct wire_field in_cipher[] = { WIRE("iv-len", 24, 4), WIRE("src-len", 28, 4) };
static const struct wire_field in_hash[] = { WIRE("src-len", 24, 4), WIRE("result-len", 28, 4) };
static const struct wire_field in_aead[] = { WIRE("iv-len", 24, 4), WIRE("aad-len", 28, 4) };
static const struct wire_field in_akcipher[] = { WIRE("src-len", 24, 4), WIRE("dst-len", 28, 4) };

static const struct wire_field own_hash[] = { WIRE_NAMED("algo", 24, 4, hashes),
	WIRE("src-len", 28, 4) };
static const struct wire_field own_mac[] = { WIRE_NAMED("algo", 24, 4, macs),
	WIRE("key-len", 28, 4) };
static const struct wire_field own_aead[] = { WIRE_NAMED("algo", 24, 4, aeads),
	WIRE("key-len", 28, 4) };
static const struct wire_field own_akcipher[] = { WIRE_NAMED("algo", 24, 4, akciphers),
	WIRE_NAMED("key-type", 28, 4, key_types) };

#define SHOWN(table) table, ARRAY_SIZE(table)

/* By service, from CIPHER on. */
static const struct {
	const struct wire_value *algos;
	size_t num_algos;
	const struct wire_field *create;
	size_t num_create;
	const struct wire_field *in; /* data, in session mode */
	size_t num_in;
	const struct wire_field *own; /* data, with its own parameters */
	size_t num_own;
	uint8_t first_control; /* the operation that makes a session; the next one destroys it */
	uint8_t stateless; /* the feature bit */
} services[] = {
	{ SHOWN(ciphers), SHOWN(create_cipher), SHOWN(in_cipher), NULL, 0, 2, 1 },
	{ SHOWN(hashes), SHOWN(create_hash), SHOWN(in_hash), SHOWN(own_hash), 2, 2 },
	{ SHOWN(macs), SHOWN(create_mac), SHOWN(in_hash), SHOWN(own_mac), 2, 3 },
	{ SHOWN(aeads), SHOWN(create_aead), SHOWN(in_aead), SHOWN(own_aead), 2, 4 },
	{ SHOWN(akciphers), SHOWN(create_akcipher), SHOWN(in_akcipher), SHOWN(own_akcipher), 4, 5 },
};

static void control(const struct describe_in *in, uint64_t operation, struct describe_fields *ret)
{
	static const struct wire_field destroyed[] = { WIRE_HEX("session", 16, 8) };
	uint64_t service = operation >> 8;

	if (service >= ARRAY_SIZE(services))
		return;
	if ((operation & 0xff) == services[service].first_control)
		wire_decode(in, services[service].create, services[service].num_create, ret);
	else if ((operation & 0xff) == services[service].first_control + 1u)
		WIRE_DECODE(in, destroyed, ret);
}

static void data(const struct describe_in *in, uint64_t operation, struct describe_fields *ret)
{
	static const struct wire_field session[] = { WIRE_HEX("session", 8, 8) };
	bool revision_1 = wire_feature(in->features, 0, false), own;
	uint64_t service = operation >> 8, algo, flag;

	if (!wire_get(in, 4, 4, &algo) || !wire_get(in, 16, 4, &flag))
		return;
	/* Many drivers leave it to the session. */
	if (algo && service < ARRAY_SIZE(services))
		wire_add(ret, "algo", algo,
			wire_name(services[service].algos, services[service].num_algos, algo));
	if (!revision_1 || flag & 1)
		WIRE_DECODE(in, session, ret);
	else
		wire_add(ret, "stateless", 1, NULL);
	if (service >= ARRAY_SIZE(services))
		return;
	own = revision_1 && wire_feature(in->features, services[service].stateless, false);
	/* In a session the parameters that come along mean nothing. */
	if (!own)
		wire_decode(in, services[service].in, services[service].num_in, ret);
	else if (!(flag & 1) && services[service].own)
		wire_decode(in, services[service].own, services[service].num_own, ret);
}

static void crypto_request(const struct describe_in *in, struct describe_fields *ret)
{
	static const struct wire_field head[] = { WIRE_NAMED("operation", 0, 4, operations) };
	uint64_t operation;

	WIRE_DECODE(in, head, ret);
	if (!wire_get(in, 0, 4, &operation))
		return;
	if (is_control(in->queue, in->num_queues))
		control(in, operation, ret);
	else
		data(in, operation, ret);
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
