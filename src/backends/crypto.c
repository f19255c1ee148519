/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Sessions, and what has to hold of an operation before the library sees it. Lengths are 32 bits
 * wide and bounded one by one before any two of them are added, so no sum wraps.
 *
 * Refused with ERR: keys, ivs, tags and data of lengths that the algorithm does not have, ranges
 * that are not inside the data, more of a hash than the session said, a direction that is not the
 * session's. Refused with NOTSUPP: what no row of the table names, and nested hashes.
 */
#include "backends/crypto.h"

#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#include "backends/crypto_int.h"
#include "base/alloc.h"

/* Costs are rounded from what a processor with AES instructions does. */
#define COST_HASH 2
#define COST_3DES 32
/* Of one operation, whatever its length; and of a private RSA key of 512 bits. */
#define COST_OPERATION	 512
#define COST_PRIVATE_512 12288
#define COST_ECDSA	 524288

#define AES(num, kind, mode, iv, unit)                                          \
	{ CRYPTO_CIPHER, num, kind, 1, "AES-128-" mode, 16, iv, unit },         \
		{ CRYPTO_CIPHER, num, kind, 1, "AES-192-" mode, 24, iv, unit }, \
	{                                                                       \
		CRYPTO_CIPHER, num, kind, 1, "AES-256-" mode, 32, iv, unit      \
	}
#define AEAD(num, kind, mode, iv)                                          \
	{ CRYPTO_AEAD, num, kind, 2, "AES-128-" mode, 16, iv, 1 },         \
		{ CRYPTO_AEAD, num, kind, 2, "AES-192-" mode, 24, iv, 1 }, \
	{                                                                  \
		CRYPTO_AEAD, num, kind, 2, "AES-256-" mode, 32, iv, 1      \
	}
#define HASH(num, name, bytes)                                            \
	{                                                                 \
		CRYPTO_HASH, num, KIND_HASH, COST_HASH, name, 0, 0, bytes \
	}
#define HMAC(num, name, bytes)                                           \
	{                                                                \
		CRYPTO_MAC, num, KIND_HMAC, COST_HASH, name, 0, 0, bytes \
	}

/* virtio 1.4, "Supported crypto services" */
struct crypto_algo crypto_algo_table[] = {
	AES(2, KIND_BLOCK, "ECB", 0, 16),
	AES(3, KIND_BLOCK, "CBC", 16, 16),
	AES(4, KIND_STREAM, "CTR", 16, 1),
	{ CRYPTO_CIPHER, 7, KIND_BLOCK, COST_3DES, "DES-EDE3-ECB", 24, 0, 8 },
	{ CRYPTO_CIPHER, 8, KIND_BLOCK, COST_3DES, "DES-EDE3-CBC", 24, 8, 8 },
	{ CRYPTO_CIPHER, 13, KIND_XTS, 1, "AES-128-XTS", 32, 16, 16 },
	{ CRYPTO_CIPHER, 13, KIND_XTS, 1, "AES-256-XTS", 64, 16, 16 },

	HASH(1, "MD5", 16),
	HASH(2, "SHA1", 20),
	HASH(3, "SHA2-224", 28),
	HASH(4, "SHA2-256", 32),
	HASH(5, "SHA2-384", 48),
	HASH(6, "SHA2-512", 64),
	HASH(7, "SHA3-224", 28),
	HASH(8, "SHA3-256", 32),
	HASH(9, "SHA3-384", 48),
	HASH(10, "SHA3-512", 64),
	{ CRYPTO_HASH, 11, KIND_XOF, COST_HASH, "SHAKE128", 0, 0, 0 },
	{ CRYPTO_HASH, 12, KIND_XOF, COST_HASH, "SHAKE256", 0, 0, 0 },

	HMAC(1, "MD5", 16),
	HMAC(2, "SHA1", 20),
	HMAC(3, "SHA2-224", 28),
	HMAC(4, "SHA2-256", 32),
	HMAC(5, "SHA2-384", 48),
	HMAC(6, "SHA2-512", 64),
	{ CRYPTO_MAC, 25, KIND_CMAC, COST_3DES, "DES-EDE3-CBC", 24, 0, 8 },
	{ CRYPTO_MAC, 26, KIND_CMAC, COST_HASH, "AES-128-CBC", 16, 0, 16 },
	{ CRYPTO_MAC, 26, KIND_CMAC, COST_HASH, "AES-192-CBC", 24, 0, 16 },
	{ CRYPTO_MAC, 26, KIND_CMAC, COST_HASH, "AES-256-CBC", 32, 0, 16 },

	AEAD(1, KIND_GCM, "GCM", 12),
	AEAD(2, KIND_CCM, "CCM", 13),
	{ CRYPTO_AEAD, 3, KIND_POLY1305, 2, "ChaCha20-Poly1305", 32, 12, 1 },
	{ 0 },
};

static enum crypto_status find_algo(uint32_t service, uint32_t number, uint32_t key_len,
	uint32_t key_max, const struct crypto_algo **ret)
{
	enum crypto_status found = CRYPTO_NOTSUPP;
	const struct crypto_algo *a;

	for (a = crypto_algo_table; a->name; a++) {
		if (a->service != service || a->number != number || !a->lib)
			continue;
		found = CRYPTO_ERR;
		if (a->key_len ? a->key_len == key_len : key_len <= key_max) {
			*ret = a;
			return CRYPTO_OK;
		}
	}
	return found;
}

int crypto_load(struct err *err)
{
	return crypto_lib_load(err);
}

void crypto_algos(struct crypto_algos *ret)
{
	const struct crypto_algo *a;

	*ret = (struct crypto_algos){ .akcipher = 1u << CRYPTO_RSA | 1u << CRYPTO_ECDSA,
		.services = 1u << CRYPTO_AKCIPHER };
	for (a = crypto_algo_table; a->name; a++) {
		uint64_t bit = 1ull << a->number;

		if (!a->lib)
			continue;
		ret->services |= 1u << a->service;
		switch (a->service) {
		case CRYPTO_CIPHER: ret->cipher |= bit; break;
		case CRYPTO_MAC: ret->mac |= bit; break;
		case CRYPTO_HASH: ret->hash |= (uint32_t)bit; break;
		case CRYPTO_AEAD: ret->aead |= (uint32_t)bit; break;
		}
	}
}

int crypto_chan_open(struct crypto_chan **ret, struct err *err)
{
	return crypto_lib_chan_open(ret, err);
}

void crypto_chan_close(struct crypto_chan *chan)
{
	if (chan)
		crypto_lib_chan_close(chan);
}

/* --- making a session --- */

static uint32_t longest_result(const struct crypto_algo *a)
{
	return a->kind == KIND_XOF ? CRYPTO_RESULT_MAX : a->unit;
}

/* The part of a session that hashes: a service's own, or a chain's. */
static enum crypto_status take_hash(
	struct crypto_session *s, uint32_t service, uint32_t number, const struct crypto_params *p)
{
	uint32_t key_len = service == CRYPTO_MAC ? p->auth_key.len : 0;
	enum crypto_status status =
		find_algo(service, number, key_len, CRYPTO_AUTH_KEY_MAX, &s->hash);

	if (status)
		return status;
	if ((service == CRYPTO_MAC && !key_len) || !p->result_len ||
		p->result_len > longest_result(s->hash))
		return CRYPTO_ERR;
	s->result_len = p->result_len;
	s->auth_key_len = key_len;
	if (key_len)
		memcpy(s->auth_key, p->auth_key.at, key_len);
	return CRYPTO_OK;
}

static enum crypto_status take_chain(struct crypto_session *s, const struct crypto_params *p)
{
	if (p->chain > CRYPTO_CIPHER_THEN_HASH)
		return CRYPTO_ERR;
	s->chain = p->chain;
	switch (p->hash_mode) {
	case CRYPTO_HASH_PLAIN: return take_hash(s, CRYPTO_HASH, p->hash_algo, p);
	case CRYPTO_HASH_AUTH: return take_hash(s, CRYPTO_MAC, p->hash_algo, p);
	case CRYPTO_HASH_NESTED: return CRYPTO_NOTSUPP;
	}
	return CRYPTO_ERR;
}

static enum crypto_status take_key(struct crypto_session *s, const struct crypto_params *p)
{
	enum crypto_status status =
		find_algo(p->service, p->algo, p->key.len, CRYPTO_CIPHER_KEY_MAX, &s->cipher);

	if (status)
		return status;
	if (p->op != CRYPTO_OP_ENCRYPT && p->op != CRYPTO_OP_DECRYPT)
		return CRYPTO_ERR;
	/* IEEE 1619: the halves are two keys, and one key twice is none. */
	if (s->cipher->kind == KIND_XTS &&
		!memcmp(p->key.at, p->key.at + p->key.len / 2, p->key.len / 2))
		return CRYPTO_ERR;
	s->op = p->op;
	s->key_len = p->key.len;
	memcpy(s->key, p->key.at, p->key.len);
	return CRYPTO_OK;
}

static enum crypto_status make_cipher(struct crypto_session *s, const struct crypto_params *p)
{
	enum crypto_status status = take_key(s, p);

	return status || !p->chain ? status : take_chain(s, p);
}

static enum crypto_status make_hash(struct crypto_session *s, const struct crypto_params *p)
{
	return take_hash(s, CRYPTO_HASH, p->algo, p);
}

static enum crypto_status make_mac(struct crypto_session *s, const struct crypto_params *p)
{
	return take_hash(s, CRYPTO_MAC, p->algo, p);
}

/* NIST SP 800-38D, 5.2.1.2; SP 800-38C, A.1; RFC 8439, 2.8 */
static bool tag_ok(enum crypto_kind kind, uint32_t len)
{
	switch (kind) {
	case KIND_GCM: return len == 4 || len == 8 || (len >= 12 && len <= CRYPTO_TAG_MAX);
	case KIND_CCM: return len >= 4 && len <= CRYPTO_TAG_MAX && !(len % 2);
	default: return len == CRYPTO_TAG_MAX;
	}
}

static enum crypto_status make_aead(struct crypto_session *s, const struct crypto_params *p)
{
	enum crypto_status status = take_key(s, p);

	if (status)
		return status;
	s->tag_len = p->tag_len;
	return tag_ok(s->cipher->kind, p->tag_len) ? CRYPTO_OK : CRYPTO_ERR;
}

static enum crypto_status make_akcipher(struct crypto_session *s, const struct crypto_params *p)
{
	if (p->algo != CRYPTO_RSA && p->algo != CRYPTO_ECDSA)
		return CRYPTO_NOTSUPP;
	if (p->key_type != CRYPTO_KEY_PUBLIC && p->key_type != CRYPTO_KEY_PRIVATE)
		return CRYPTO_ERR;
	if (!p->key.len || p->key.len > CRYPTO_AKCIPHER_KEY_MAX)
		return CRYPTO_ERR;
	s->algo = p->algo;
	s->is_private = p->key_type == CRYPTO_KEY_PRIVATE;
	s->rsa_padding = p->rsa_padding;
	s->rsa_hash = p->rsa_hash;
	return crypto_lib_key(s, p);
}

static enum crypto_status (*const makers[CRYPTO_NUM_SERVICES])(
	struct crypto_session *s, const struct crypto_params *p) = {
	[CRYPTO_CIPHER] = make_cipher,
	[CRYPTO_HASH] = make_hash,
	[CRYPTO_MAC] = make_mac,
	[CRYPTO_AEAD] = make_aead,
	[CRYPTO_AKCIPHER] = make_akcipher,
};

enum crypto_status crypto_session_new(
	const struct crypto_params *params, struct crypto_session **ret)
{
	struct crypto_session *s;
	enum crypto_status status;

	*ret = NULL;
	if (params->service >= CRYPTO_NUM_SERVICES)
		return CRYPTO_NOTSUPP;
	s = xnew(struct crypto_session);
	atomic_init(&s->refs, 1);
	s->service = (enum crypto_service)params->service;
	status = makers[params->service](s, params);
	if (status)
		crypto_session_put(s);
	else
		*ret = s;
	return status;
}

void crypto_session_put(struct crypto_session *s)
{
	if (!s || atomic_fetch_sub_explicit(&s->refs, 1, memory_order_acq_rel) > 1)
		return;
	crypto_lib_key_free(s);
	explicit_bzero(s, sizeof(*s));
	free(s);
}

uint32_t crypto_session_service(const struct crypto_session *s)
{
	return s->service;
}

bool crypto_session_is_chain(const struct crypto_session *s)
{
	return s->service == CRYPTO_CIPHER && s->chain;
}

/* --- operations --- */

static bool iv_ok(const struct crypto_algo *a, const struct crypto_bytes *iv)
{
	if (a->kind == KIND_CCM)
		return iv->len >= 7 && iv->len <= a->iv_len;
	return iv->len == a->iv_len;
}

static bool cipher_len_ok(const struct crypto_algo *a, uint32_t len)
{
	if (a->kind == KIND_XTS)
		return !len || len >= a->unit;
	return !(len % a->unit);
}

static bool direction_ok(const struct crypto_session *s, const struct crypto_op *op)
{
	return op->opcode == (s->op == CRYPTO_OP_ENCRYPT ? CRYPTO_ENCRYPT : CRYPTO_DECRYPT);
}

static bool result_ok(const struct crypto_session *s, const struct crypto_op *op)
{
	return op->result_len && op->result_len <= s->result_len;
}

static enum crypto_status run_part(struct crypto_chan *chan, const struct crypto_session *s,
	const struct crypto_op *op, uint32_t start, uint32_t len)
{
	return len ? crypto_lib_cipher(chan, s, &op->iv, op->data + start, len) : CRYPTO_OK;
}

static enum crypto_status run_hash_of(struct crypto_chan *chan, const struct crypto_session *s,
	const struct crypto_op *op, uint32_t start, uint32_t len)
{
	const struct crypto_bytes range = { op->data + start, len };

	return crypto_lib_hash(chan, s, &op->aad, &range, op->result, op->result_len);
}

static enum crypto_status run_chain(
	struct crypto_chan *chan, const struct crypto_session *s, struct crypto_op *op)
{
	enum crypto_status status = CRYPTO_OK;

	if (!range_inside(op->cipher_start, op->cipher_len, op->data_len) ||
		!range_inside(op->hash_start, op->hash_len, op->data_len) || !result_ok(s, op) ||
		!cipher_len_ok(s->cipher, op->cipher_len))
		return CRYPTO_ERR;
	if (s->chain == CRYPTO_HASH_THEN_CIPHER)
		status = run_hash_of(chan, s, op, op->hash_start, op->hash_len);
	if (!status)
		status = run_part(chan, s, op, op->cipher_start, op->cipher_len);
	if (!status && s->chain == CRYPTO_CIPHER_THEN_HASH)
		status = run_hash_of(chan, s, op, op->hash_start, op->hash_len);
	return status;
}

static enum crypto_status run_cipher(
	struct crypto_chan *chan, const struct crypto_session *s, struct crypto_op *op)
{
	if (!direction_ok(s, op) || !iv_ok(s->cipher, &op->iv))
		return CRYPTO_ERR;
	if (s->chain)
		return run_chain(chan, s, op);
	if (!cipher_len_ok(s->cipher, op->data_len))
		return CRYPTO_ERR;
	return run_part(chan, s, op, 0, op->data_len);
}

static enum crypto_status run_hash(
	struct crypto_chan *chan, const struct crypto_session *s, struct crypto_op *op)
{
	op->aad.len = 0;
	return result_ok(s, op) ? run_hash_of(chan, s, op, 0, op->data_len) : CRYPTO_ERR;
}

/*
 * SP 800-38D, 7.1: of an iv of 12 bytes the first counter block is that and a one, which is all
 * that the library takes. An iv of 16 bytes is such a block.
 */
static bool cut_counter_block(const struct crypto_algo *a, struct crypto_bytes *iv)
{
	static const uint8_t one[4] = { 0, 0, 0, 1 };

	if (a->kind != KIND_GCM || iv->len != 16)
		return true;
	iv->len = a->iv_len;
	return !memcmp(iv->at + a->iv_len, one, sizeof(one));
}

static enum crypto_status run_aead(
	struct crypto_chan *chan, const struct crypto_session *s, struct crypto_op *op)
{
	bool encrypts = s->op == CRYPTO_OP_ENCRYPT;
	uint32_t len;

	if (!direction_ok(s, op) || op->tag_len != s->tag_len)
		return CRYPTO_ERR;
	if (!cut_counter_block(s->cipher, &op->iv))
		return CRYPTO_NOTSUPP;
	if (!iv_ok(s->cipher, &op->iv))
		return CRYPTO_ERR;
	if (encrypts ? op->data_room - op->data_len < s->tag_len : op->data_len < s->tag_len)
		return CRYPTO_ERR;
	/* SP 800-38C, A.1: the length has 15 - n bytes. */
	len = encrypts ? op->data_len : op->data_len - s->tag_len;
	if (s->cipher->kind == KIND_CCM && op->iv.len == 13 && len > 0xffff)
		return CRYPTO_ERR;
	return crypto_lib_aead(chan, s, op);
}

static enum crypto_status run_akcipher(
	struct crypto_chan *chan, const struct crypto_session *s, struct crypto_op *op)
{
	(void)chan;
	if (op->opcode == CRYPTO_VERIFY && op->signature_len > op->data_len)
		return CRYPTO_ERR;
	return crypto_lib_akcipher(s, op);
}

static enum crypto_status (*const runners[CRYPTO_NUM_SERVICES])(
	struct crypto_chan *chan, const struct crypto_session *s, struct crypto_op *op) = {
	[CRYPTO_CIPHER] = run_cipher,
	[CRYPTO_HASH] = run_hash,
	[CRYPTO_MAC] = run_hash,
	[CRYPTO_AEAD] = run_aead,
	[CRYPTO_AKCIPHER] = run_akcipher,
};

enum crypto_status crypto_run(
	struct crypto_chan *chan, struct crypto_session *session, struct crypto_op *op)
{
	if (op->data_len > CRYPTO_DATA_MAX || op->aad.len > CRYPTO_DATA_MAX ||
		op->iv.len > CRYPTO_IV_MAX || op->data_room < op->data_len)
		return CRYPTO_ERR;
	return runners[session->service](chan, session, op);
}

uint64_t crypto_cost(const struct crypto_session *s, const struct crypto_op *op)
{
	uint64_t bytes = (uint64_t)op->data_len + op->aad.len, scale = s->bits / 512 + 1, cost;

	if (s->service == CRYPTO_AKCIPHER && s->algo == CRYPTO_ECDSA)
		return COST_ECDSA;
	if (s->service == CRYPTO_AKCIPHER) {
		cost = COST_PRIVATE_512 * scale * scale * scale;
		return s->is_private && op->opcode != CRYPTO_ENCRYPT && op->opcode != CRYPTO_VERIFY
			       ? cost
			       : cost / 16;
	}
	cost = COST_OPERATION;
	if (s->cipher)
		cost += bytes * s->cipher->cost;
	if (s->hash)
		cost += bytes * s->hash->cost;
	return cost;
}
