/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Requests to virtio-crypto as virtio 1.4 lays them out, written by hand and sharing no table with
 * the device: header, fixed part, variable part.
 */
#ifndef TESTS_CRYPTO_RIG_H
#define TESTS_CRYPTO_RIG_H

#include "dev_fixture.h"

#include "devices/crypto.h"
#include "tests/unit/crypto_vectors.h"

/* What was negotiated, and which of the two modes a request is in. */
enum mode { LEGACY, REVISION_1, OWN_LAYOUT, STATELESS, NUM_MODES };

static const uint64_t mode_features[NUM_MODES] = { 0, 0x01, 0x3f, 0x3f };

enum {
	CIPHER_ENCRYPT,
	CIPHER_DECRYPT,
	HASH_DIGEST = 0x100,
	MAC_DIGEST = 0x200,
	AEAD_ENCRYPT = 0x300,
	AEAD_DECRYPT,
	AK_ENCRYPT = 0x400,
	AK_DECRYPT,
	AK_SIGN,
	AK_VERIFY
};

/* The readable bytes of the request at hand. */
struct request {
	struct fix *f;
	uint32_t len;
	uint32_t fixed_at; /* where the fixed part begins */
};

static inline void put(struct request *r, const void *bytes, uint32_t len)
{
	memcpy(ram(r->f, IN_AT + r->len), bytes, len);
	r->len += len;
}

static inline void put32(struct request *r, uint32_t v)
{
	le32 le = le32_make(v);

	put(r, &le, 4);
}

static inline void put64(struct request *r, uint64_t v)
{
	le64 le = le64_make(v);

	put(r, &le, 8);
}

static inline void put_hex(struct request *r, const char *hex)
{
	r->len += from_hex(hex, ram(r->f, IN_AT + r->len));
}

/* Zeros up to @bytes of the fixed part. */
static inline void pad(struct request *r, uint32_t bytes)
{
	while (r->len < r->fixed_at + bytes)
		put(r, "", 1);
}

static inline void data_header(
	struct request *r, struct fix *f, enum mode mode, uint32_t opcode, uint64_t session)
{
	*r = (struct request){ .f = f };
	put32(r, opcode);
	put32(r, 0);
	put64(r, session);
	/* Who did not take REVISION_1 does not look at it. */
	put32(r, mode == REVISION_1 || mode == OWN_LAYOUT);
	put32(r, 0);
	r->fixed_at = r->len;
}

static inline void end_fixed(struct request *r, enum mode mode)
{
	if (mode == LEGACY)
		pad(r, 48);
}

static inline void control_header(struct request *r, struct fix *f, uint32_t opcode, uint32_t algo)
{
	*r = (struct request){ .f = f };
	put32(r, opcode);
	put32(r, algo);
	put32(r, 0);
	put32(r, 0);
	r->fixed_at = r->len;
}

static inline uint32_t hex_len(const char *hex)
{
	return (uint32_t)strlen(hex) / 2;
}

/* virtio_crypto_cipher_data_flf, ..._stateless, and what follows them. Returns the room wanted. */
static inline uint32_t put_cipher(struct request *r, enum mode mode, const struct cipher_vector *v,
	bool encrypts, uint32_t src_len, uint32_t dst_len)
{
	bool own = mode == OWN_LAYOUT || mode == STATELESS;

	if (own) {
		put32(r, mode == STATELESS ? v->algo : UINT32_MAX);
		put32(r, mode == STATELESS ? hex_len(v->key) : UINT32_MAX);
		put32(r, encrypts ? 1 : 2);
	}
	put32(r, hex_len(v->iv));
	put32(r, src_len);
	put32(r, dst_len);
	pad(r, own ? 72 : 40);
	put32(r, 1);
	if (!own)
		put32(r, 0);
	if (mode == STATELESS)
		put_hex(r, v->key);
	put_hex(r, v->iv);
	put_hex(r, encrypts ? v->plain : v->cipher);
	return dst_len + 1;
}

/* virtio_crypto_aead_data_flf and its sister. */
static inline uint32_t put_aead(struct request *r, enum mode mode, const struct cipher_vector *v,
	bool encrypts, uint32_t src_len, uint32_t dst_len)
{
	bool own = mode == OWN_LAYOUT || mode == STATELESS;

	if (own) {
		put32(r, v->algo);
		put32(r, hex_len(v->key));
		put32(r, encrypts ? 1 : 2);
		put32(r, hex_len(v->iv));
		put32(r, v->tag_len);
		put32(r, hex_len(v->aad));
		put32(r, src_len);
		put32(r, dst_len);
	} else {
		put32(r, hex_len(v->iv));
		put32(r, hex_len(v->aad));
		put32(r, src_len);
		put32(r, dst_len);
		put32(r, v->tag_len);
		put32(r, 0);
	}
	end_fixed(r, mode);
	if (mode == STATELESS)
		put_hex(r, v->key);
	put_hex(r, v->iv);
	put_hex(r, encrypts ? v->plain : v->cipher);
	put_hex(r, v->aad);
	return dst_len + 1;
}

/* virtio_crypto_hash_data_flf, virtio_crypto_mac_data_flf and their sisters. */
static inline uint32_t put_hash(
	struct request *r, enum mode mode, const struct hash_vector *v, uint32_t result_len)
{
	if (mode == OWN_LAYOUT || mode == STATELESS) {
		put32(r, v->algo);
		if (v->service == CRYPTO_MAC)
			put32(r, hex_len(v->key));
		put32(r, hex_len(v->data));
		put32(r, result_len);
		pad(r, 16);
	} else {
		put32(r, hex_len(v->data));
		put32(r, result_len);
	}
	end_fixed(r, mode);
	if (mode == STATELESS)
		put_hex(r, v->key);
	put_hex(r, v->data);
	return result_len + 1;
}

/* Sends it; returns the status, the last byte of @out, and checks that nothing else was written
 * where it is not OK. */
static inline int send(struct fix *f, const struct request *r, uint32_t out,
	const struct cuts *cuts, uint32_t *ret_used)
{
	const uint8_t *at = ram(f, OUT_AT);
	uint32_t used_len = request(f, r->len, out, cuts), i;

	if (ret_used)
		*ret_used = used_len;
	if (!out)
		return -1;
	for (i = 0; at[out - 1] && i + 1 < out; i++)
		assert_int_equal(at[i], UNTOUCHED);
	return at[out - 1];
}

static inline void start_crypto(struct fix *f, const char *options, enum mode mode)
{
	fix_class = &virtio_crypto_class;
	fix_options = options;
	fix_init(f, 64, mode_features[mode]);
}

/* The same with the control queue in the place of the first data queue. */
static inline void start_control(struct fix *f, const char *options, enum mode mode)
{
	fix_class = &virtio_crypto_class;
	fix_options = options;
	fix_init(f, 0, 0);
	f->vq = &f->dev->queues[f->dev->num_queues - 1];
	fix_start_ring(f, 64, mode_features[mode]);
}

/* A session of a vector, without the control queue. */
static inline uint64_t open_cipher(struct fix *f, const struct cipher_vector *v, bool encrypts)
{
	uint8_t key[64];
	uint64_t id;
	struct crypto_params p = { .service = v->service,
		.algo = v->algo,
		.op = encrypts ? CRYPTO_OP_ENCRYPT : CRYPTO_OP_DECRYPT,
		.tag_len = v->tag_len };

	p.key = (struct crypto_bytes){ key, from_hex(v->key, key) };
	assert_int_equal(crypto_sessions_open(virtio_crypto_sessions(f->dev), &p, &id), CRYPTO_OK);
	return id;
}

static inline uint64_t open_hash(struct fix *f, const struct hash_vector *v)
{
	uint8_t key[64];
	uint64_t id;
	struct crypto_params p = {
		.service = v->service, .algo = v->algo, .result_len = hex_len(v->result)
	};

	p.auth_key = (struct crypto_bytes){ key, from_hex(v->key, key) };
	assert_int_equal(crypto_sessions_open(virtio_crypto_sessions(f->dev), &p, &id), CRYPTO_OK);
	return id;
}

static inline void check_out(struct fix *f, const char *hex)
{
	uint8_t right[1024];
	uint32_t len = from_hex(hex, right);

	assert_memory_equal(ram(f, OUT_AT), right, len);
}

#endif
