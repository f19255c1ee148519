/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Operations with one key or none. A context is emptied after each: no key schedule outlives its
 * operation. Lengths were checked, and are far below INT_MAX.
 */
#include <string.h>

#include "backends/crypto_lib.h"

#define LIB crypto_lib

static enum crypto_status ended(struct crypto_chan *chan, enum crypto_status status)
{
	LIB.EVP_CIPHER_CTX_reset(chan->cipher);
	if (status)
		LIB.ERR_clear_error();
	return status;
}

static int encrypts(const struct crypto_session *s)
{
	return s->op == CRYPTO_OP_ENCRYPT;
}

enum crypto_status crypto_lib_cipher(struct crypto_chan *chan, const struct crypto_session *s,
	const struct crypto_bytes *iv, uint8_t *data, uint32_t len)
{
	EVP_CIPHER_CTX *ctx = chan->cipher;
	int n = 0, rest = 0;

	if (LIB.EVP_CipherInit_ex2(
		    ctx, s->cipher->lib, s->key, iv->len ? iv->at : NULL, encrypts(s), NULL) != 1 ||
		LIB.EVP_CIPHER_CTX_set_padding(ctx, 0) != 1 ||
		LIB.EVP_CipherUpdate(ctx, data, &n, data, (int)len) != 1 ||
		LIB.EVP_CipherFinal_ex(ctx, data + n, &rest) != 1 || n + rest != (int)len)
		return ended(chan, CRYPTO_ERR);
	return ended(chan, CRYPTO_OK);
}

/* Everything before the data: false where the library refuses it. */
static bool aead_begin(EVP_CIPHER_CTX *ctx, const struct crypto_session *s,
	const struct crypto_op *op, uint32_t len, uint8_t *tag)
{
	bool ccm = s->cipher->kind == KIND_CCM;
	int n;

	if (LIB.EVP_CipherInit_ex2(ctx, s->cipher->lib, NULL, NULL, encrypts(s), NULL) != 1 ||
		LIB.EVP_CIPHER_CTX_ctrl(ctx, EVP_CTRL_AEAD_SET_IVLEN, (int)op->iv.len, NULL) != 1)
		return false;
	/* CCM has to know the tag's length even before it makes one. */
	if ((ccm || !encrypts(s)) && LIB.EVP_CIPHER_CTX_ctrl(ctx, EVP_CTRL_AEAD_SET_TAG,
					     (int)s->tag_len, encrypts(s) ? NULL : tag) != 1)
		return false;
	if (LIB.EVP_CipherInit_ex2(ctx, NULL, s->key, op->iv.at, encrypts(s), NULL) != 1)
		return false;
	if (ccm && LIB.EVP_CipherUpdate(ctx, NULL, &n, NULL, (int)len) != 1)
		return false;
	return !op->aad.len ||
	       LIB.EVP_CipherUpdate(ctx, NULL, &n, op->aad.at, (int)op->aad.len) == 1;
}

enum crypto_status crypto_lib_aead(
	struct crypto_chan *chan, const struct crypto_session *s, struct crypto_op *op)
{
	uint32_t len = encrypts(s) ? op->data_len : op->data_len - s->tag_len;
	uint8_t *tag = op->data + len;
	EVP_CIPHER_CTX *ctx = chan->cipher;
	int n = 0, rest = 0;

	if (!aead_begin(ctx, s, op, len, tag))
		return ended(chan, CRYPTO_ERR);
	/* CCM says at once whether the tag is right, the others at the end. */
	if (LIB.EVP_CipherUpdate(ctx, op->data, &n, op->data, (int)len) != 1 ||
		LIB.EVP_CipherFinal_ex(ctx, op->data + n, &rest) != 1)
		return ended(chan, encrypts(s) ? CRYPTO_ERR : CRYPTO_BADMSG);
	if (n + rest != (int)len)
		return ended(chan, CRYPTO_ERR);
	if (encrypts(s) &&
		LIB.EVP_CIPHER_CTX_ctrl(ctx, EVP_CTRL_AEAD_GET_TAG, (int)s->tag_len, tag) != 1)
		return ended(chan, CRYPTO_ERR);
	op->data_len = encrypts(s) ? len + s->tag_len : len;
	return ended(chan, CRYPTO_OK);
}

static enum crypto_status plain_hash(struct crypto_chan *chan, const struct crypto_session *s,
	const struct crypto_bytes *first, const struct crypto_bytes *second, uint8_t *result,
	uint32_t result_len)
{
	bool any_length = s->hash->kind == KIND_XOF, ok;
	uint8_t whole[EVP_MAX_MD_SIZE];
	EVP_MD_CTX *ctx = chan->hash;
	unsigned int n;

	ok = LIB.EVP_DigestInit_ex2(ctx, s->hash->lib, NULL) == 1 &&
	     LIB.EVP_DigestUpdate(ctx, first->at, first->len) == 1 &&
	     LIB.EVP_DigestUpdate(ctx, second->at, second->len) == 1 &&
	     (any_length ? LIB.EVP_DigestFinalXOF(ctx, result, result_len)
			 : LIB.EVP_DigestFinal_ex(ctx, whole, &n)) == 1;
	LIB.EVP_MD_CTX_reset(ctx);
	if (!ok) {
		LIB.ERR_clear_error();
		return CRYPTO_ERR;
	}
	if (!any_length)
		memcpy(result, whole, result_len);
	return CRYPTO_OK;
}

static enum crypto_status keyed_hash(const struct crypto_session *s,
	const struct crypto_bytes *first, const struct crypto_bytes *second, uint8_t *result,
	uint32_t result_len)
{
	const char *what = s->hash->kind == KIND_HMAC ? OSSL_MAC_PARAM_DIGEST
						      : OSSL_MAC_PARAM_CIPHER;
	EVP_MAC_CTX *ctx = LIB.EVP_MAC_CTX_new(s->hash->lib);
	/* The library has no const there, and does not write to it. */
	OSSL_PARAM params[2] = { LIB.OSSL_PARAM_construct_utf8_string(
					 what, (char *)(uintptr_t)s->hash->name, 0),
		LIB.OSSL_PARAM_construct_end() };
	uint8_t whole[EVP_MAX_MD_SIZE];
	size_t n;
	bool ok;

	ok = ctx && LIB.EVP_MAC_init(ctx, s->auth_key, s->auth_key_len, params) == 1 &&
	     LIB.EVP_MAC_update(ctx, first->at, first->len) == 1 &&
	     LIB.EVP_MAC_update(ctx, second->at, second->len) == 1 &&
	     LIB.EVP_MAC_final(ctx, whole, &n, sizeof(whole)) == 1 && n >= result_len;
	LIB.EVP_MAC_CTX_free(ctx);
	if (!ok) {
		LIB.ERR_clear_error();
		return CRYPTO_ERR;
	}
	memcpy(result, whole, result_len);
	return CRYPTO_OK;
}

enum crypto_status crypto_lib_hash(struct crypto_chan *chan, const struct crypto_session *s,
	const struct crypto_bytes *first, const struct crypto_bytes *second, uint8_t *result,
	uint32_t result_len)
{
	if (s->hash->service == CRYPTO_MAC)
		return keyed_hash(s, first, second, result, result_len);
	return plain_hash(chan, s, first, second, result, result_len);
}
