/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Operations with keys in two halves: RSA without padding and with PKCS #1 v1.5, ECDSA on the named
 * curves. Keys are looked at before the library parses them (crypto_der.c).
 *
 * RSA without padding neither signs nor verifies; ECDSA does nothing else. A private RSA key does
 * what its public half does too; a private ECDSA key only signs.
 */
#include <endian.h>
#include <stdlib.h>
#include <string.h>

#include "backends/crypto_der.h"
#include "backends/crypto_lib.h"

#define LIB crypto_lib
/* The longest number of a curve: P-521. */
#define EC_BYTES_MAX 66

/* VIRTIO_CRYPTO_RSA_*: the hashes that a signature can name: VIRTIO_CRYPTO_HASH_*. */
static const uint8_t rsa_hashes[] = { [4] = 1, [5] = 2, [6] = 4, [7] = 5, [8] = 6, [9] = 3 };

/* VIRTIO_CRYPTO_CURVE_*, by number */
static const struct {
	const char *name;
	uint32_t bytes;
} curves[] = {
	[1] = { "P-192", 24 },
	[2] = { "P-224", 28 },
	[3] = { "P-256", 32 },
	[4] = { "P-384", 48 },
	[5] = { "P-521", EC_BYTES_MAX },
};

static const EVP_MD *find_hash(uint32_t rsa_hash)
{
	const struct crypto_algo *a;

	if (rsa_hash >= ARRAY_SIZE(rsa_hashes))
		return NULL;
	for (a = crypto_algo_table; a->name; a++)
		if (a->service == CRYPTO_HASH && a->number == rsa_hashes[rsa_hash])
			return a->lib;
	return NULL;
}

/* --- keys --- */

static enum crypto_status take_rsa(struct crypto_session *s, const struct crypto_params *p)
{
	const unsigned char *at = p->key.at;

	if (p->rsa_padding > CRYPTO_RSA_PKCS1)
		return CRYPTO_NOTSUPP;
	if (p->rsa_padding == CRYPTO_RSA_PKCS1 && p->rsa_hash && !find_hash(p->rsa_hash))
		return CRYPTO_NOTSUPP;
	if (!der_is_rsa(&p->key, s->is_private, CRYPTO_RSA_BITS_MAX))
		return CRYPTO_ERR;
	s->pkey = s->is_private ? LIB.d2i_PrivateKey(EVP_PKEY_RSA, NULL, &at, (long)p->key.len)
				: LIB.d2i_PublicKey(EVP_PKEY_RSA, NULL, &at, (long)p->key.len);
	return s->pkey ? CRYPTO_OK : CRYPTO_ERR;
}

/* A private number as the library's parameters have it. */
static bool native_number(const struct crypto_bytes *from, uint8_t *to, uint32_t len)
{
	BIGNUM *bn = LIB.BN_bin2bn(from->at, (int)from->len, NULL);
	bool ok = bn && LIB.BN_bn2nativepad(bn, to, (int)len) == (int)len;

	LIB.BN_clear_free(bn);
	return ok;
}

static void make_ec(struct crypto_session *s, const char *curve, OSSL_PARAM half)
{
	EVP_PKEY_CTX *ctx = LIB.EVP_PKEY_CTX_new_from_name(NULL, "EC", NULL);
	OSSL_PARAM params[3] = { LIB.OSSL_PARAM_construct_utf8_string(
					 OSSL_PKEY_PARAM_GROUP_NAME, (char *)(uintptr_t)curve, 0),
		half, LIB.OSSL_PARAM_construct_end() };
	EVP_PKEY *pkey = NULL;

	if (ctx && LIB.EVP_PKEY_fromdata_init(ctx) == 1 &&
		LIB.EVP_PKEY_fromdata(ctx, &pkey,
			s->is_private ? EVP_PKEY_KEYPAIR : EVP_PKEY_PUBLIC_KEY, params) == 1)
		s->pkey = pkey;
	LIB.EVP_PKEY_CTX_free(ctx);
}

static enum crypto_status take_ecdsa(struct crypto_session *s, const struct crypto_params *p)
{
	uint8_t number[EC_BYTES_MAX];
	struct crypto_bytes d;
	uint32_t bytes;

	if (p->curve >= ARRAY_SIZE(curves) || !curves[p->curve].name)
		return CRYPTO_NOTSUPP;
	bytes = curves[p->curve].bytes;
	if (!s->is_private) {
		make_ec(s, curves[p->curve].name,
			LIB.OSSL_PARAM_construct_octet_string(
				OSSL_PKEY_PARAM_PUB_KEY, (void *)(uintptr_t)p->key.at, p->key.len));
		return s->pkey ? CRYPTO_OK : CRYPTO_ERR;
	}
	if (!der_ec_private(&p->key, &d) || d.len > bytes || !native_number(&d, number, bytes))
		return CRYPTO_ERR;
	make_ec(s, curves[p->curve].name,
		LIB.OSSL_PARAM_construct_BN(OSSL_PKEY_PARAM_PRIV_KEY, number, bytes));
	explicit_bzero(number, sizeof(number));
	return s->pkey ? CRYPTO_OK : CRYPTO_ERR;
}

enum crypto_status crypto_lib_key(struct crypto_session *s, const struct crypto_params *p)
{
	enum crypto_status status = s->algo == CRYPTO_RSA ? take_rsa(s, p) : take_ecdsa(s, p);

	if (status)
		LIB.ERR_clear_error();
	else
		s->bits = (uint32_t)LIB.EVP_PKEY_get_bits(s->pkey);
	return status;
}

void crypto_lib_key_free(struct crypto_session *s)
{
	if (s->pkey)
		LIB.EVP_PKEY_free(s->pkey);
	s->pkey = NULL;
}

/* --- operations --- */

static bool set_padding(EVP_PKEY_CTX *ctx, const struct crypto_session *s)
{
	if (s->algo != CRYPTO_RSA)
		return true;
	return LIB.EVP_PKEY_CTX_set_rsa_padding(ctx,
		       s->rsa_padding == CRYPTO_RSA_RAW ? RSA_NO_PADDING : RSA_PKCS1_PADDING) == 1;
}

static bool set_hash(EVP_PKEY_CTX *ctx, const struct crypto_session *s)
{
	if (s->algo != CRYPTO_RSA || !s->rsa_hash)
		return true;
	return LIB.EVP_PKEY_CTX_set_signature_md(ctx, find_hash(s->rsa_hash)) == 1;
}

/* What is to be ciphered; without padding zeros stand before it, up to the modulus' length. */
static const uint8_t *fill_up(
	const struct crypto_session *s, const struct crypto_op *op, uint8_t *room, size_t *len)
{
	size_t bytes = (s->bits + 7) / 8;

	*len = op->data_len;
	if (s->rsa_padding != CRYPTO_RSA_RAW || op->data_len >= bytes)
		return op->data;
	memset(room, 0, bytes - op->data_len);
	memcpy(room + bytes - op->data_len, op->data, op->data_len);
	*len = bytes;
	return room;
}

static bool crypt(EVP_PKEY_CTX *ctx, const struct crypto_session *s, const struct crypto_op *op,
	uint8_t *out, size_t *len)
{
	uint8_t room[CRYPTO_AKCIPHER_RESULT_MAX];
	size_t in_len;
	const uint8_t *in = fill_up(s, op, room, &in_len);
	bool ok;

	if (op->opcode == CRYPTO_ENCRYPT)
		ok = LIB.EVP_PKEY_encrypt_init(ctx) == 1 && set_padding(ctx, s) &&
		     LIB.EVP_PKEY_encrypt(ctx, out, len, in, in_len) == 1;
	else
		ok = LIB.EVP_PKEY_decrypt_init(ctx) == 1 && set_padding(ctx, s) &&
		     LIB.EVP_PKEY_decrypt(ctx, out, len, in, in_len) == 1;
	explicit_bzero(room, sizeof(room));
	return ok;
}

static enum crypto_status verify(
	EVP_PKEY_CTX *ctx, const struct crypto_session *s, const struct crypto_op *op)
{
	if (LIB.EVP_PKEY_verify_init(ctx) != 1 || !set_padding(ctx, s) || !set_hash(ctx, s))
		return CRYPTO_ERR;
	return LIB.EVP_PKEY_verify(ctx, op->data, op->signature_len, op->data + op->signature_len,
		       op->data_len - op->signature_len) == 1
		       ? CRYPTO_OK
		       : CRYPTO_KEY_REJECTED;
}

static enum crypto_status perform(
	EVP_PKEY_CTX *ctx, const struct crypto_session *s, struct crypto_op *op)
{
	/* The library wants room for the longest answer, whatever it will be. */
	uint8_t out[CRYPTO_AKCIPHER_RESULT_MAX];
	size_t len = sizeof(out);
	enum crypto_status status = CRYPTO_ERR;
	bool ok;

	if (op->opcode == CRYPTO_VERIFY)
		return verify(ctx, s, op);
	if (op->opcode == CRYPTO_SIGN)
		ok = LIB.EVP_PKEY_sign_init(ctx) == 1 && set_padding(ctx, s) && set_hash(ctx, s) &&
		     LIB.EVP_PKEY_sign(ctx, out, &len, op->data, op->data_len) == 1;
	else
		ok = crypt(ctx, s, op, out, &len);
	if (ok && len <= op->result_len) {
		memcpy(op->result, out, len);
		op->result_len = (uint32_t)len;
		status = CRYPTO_OK;
	}
	explicit_bzero(out, sizeof(out));
	return status;
}

static bool is_supported(const struct crypto_session *s, enum crypto_opcode opcode)
{
	bool signs = opcode == CRYPTO_SIGN || opcode == CRYPTO_VERIFY;
	bool wants_private = opcode == CRYPTO_SIGN || opcode == CRYPTO_DECRYPT;

	if (wants_private && !s->is_private)
		return false;
	if (s->algo == CRYPTO_ECDSA)
		return signs && wants_private == s->is_private;
	return !signs || s->rsa_padding != CRYPTO_RSA_RAW;
}

enum crypto_status crypto_lib_akcipher(const struct crypto_session *s, struct crypto_op *op)
{
	enum crypto_status status;
	EVP_PKEY_CTX *ctx;

	if (!is_supported(s, op->opcode))
		return CRYPTO_NOTSUPP;
	ctx = LIB.EVP_PKEY_CTX_new_from_pkey(NULL, s->pkey, NULL);
	status = ctx ? perform(ctx, s, op) : CRYPTO_ERR;
	LIB.EVP_PKEY_CTX_free(ctx);
	LIB.ERR_clear_error();
	return status;
}
