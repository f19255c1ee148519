/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The crypto back end: known answers, and tables of what is refused. Buffers are as long as they
 * have to be and no byte longer, so that the sanitizer sees any look behind them.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "backends/crypto.h"
#include "tests/unit/crypto_vectors.h"

static struct crypto_chan *chan;

/* Exactly the bytes of a vector. */
struct hex {
	uint8_t *at;
	uint32_t len;
};

static struct hex hex_new(const char *text, uint32_t more)
{
	struct hex h = { malloc(strlen(text) / 2 + more + 1), 0 };
	uint8_t bytes[4096];

	h.len = from_hex(text, bytes);
	/* malloc(0) may be NULL, and one byte more hides nothing where it is filled. */
	h.at = realloc(h.at, h.len + more ? h.len + more : 1);
	memcpy(h.at, bytes, h.len);
	return h;
}

static struct crypto_bytes bytes_of(const struct hex *h)
{
	return (struct crypto_bytes){ h->at, h->len };
}

static struct crypto_session *session(const struct crypto_params *p)
{
	struct crypto_session *s;
	enum crypto_status status = crypto_session_new(p, &s);

	if (status)
		fail_msg("no session of service %u, algorithm %u: %d", p->service, p->algo, status);
	return s;
}

/* One direction of a vector. */
static void check_cipher(const struct cipher_vector *v, bool encrypts)
{
	struct hex key = hex_new(v->key, 0), iv = hex_new(v->iv, 0), aad = hex_new(v->aad, 0);
	struct hex from = hex_new(encrypts ? v->plain : v->cipher, encrypts ? v->tag_len : 0);
	struct hex to = hex_new(encrypts ? v->cipher : v->plain, 0);
	struct crypto_params p = { .service = v->service,
		.algo = v->algo,
		.op = encrypts ? CRYPTO_OP_ENCRYPT : CRYPTO_OP_DECRYPT,
		.key = bytes_of(&key),
		.tag_len = v->tag_len };
	struct crypto_session *s = session(&p);
	struct crypto_op op = { .opcode = encrypts ? CRYPTO_ENCRYPT : CRYPTO_DECRYPT,
		.iv = bytes_of(&iv),
		.aad = bytes_of(&aad),
		.data = from.at,
		.data_len = from.len,
		.data_room = from.len + (encrypts ? v->tag_len : 0),
		.tag_len = v->tag_len };

	assert_int_equal(crypto_run(chan, s, &op), CRYPTO_OK);
	assert_int_equal(op.data_len, to.len);
	assert_memory_equal(op.data, to.at, to.len);
	assert_true(crypto_cost(s, &op) > 0);
	crypto_session_put(s);
	free(key.at);
	free(iv.at);
	free(aad.at);
	free(from.at);
	free(to.at);
}

static void test_ciphers(void **state)
{
	size_t i;

	(void)state;
	for (i = 0; i < ARRAY_SIZE(cipher_vectors); i++) {
		check_cipher(&cipher_vectors[i], true);
		check_cipher(&cipher_vectors[i], false);
	}
}

static void test_wrong_tags(void **state)
{
	size_t i;
	uint32_t at;

	(void)state;
	for (i = 0; i < ARRAY_SIZE(cipher_vectors); i++) {
		const struct cipher_vector *v = &cipher_vectors[i];
		struct hex key = hex_new(v->key, 0), iv = hex_new(v->iv, 0);
		struct hex aad = hex_new(v->aad, 0);
		struct crypto_params p = { .service = v->service,
			.algo = v->algo,
			.op = CRYPTO_OP_DECRYPT,
			.key = bytes_of(&key),
			.tag_len = v->tag_len };
		struct crypto_session *s;

		if (v->service == CRYPTO_AEAD) {
			s = session(&p);
			for (at = 0; at < strlen(v->cipher) / 2; at++) {
				struct hex data = hex_new(v->cipher, 0);
				struct crypto_op op = { .opcode = CRYPTO_DECRYPT,
					.iv = bytes_of(&iv),
					.aad = bytes_of(&aad),
					.data = data.at,
					.data_len = data.len,
					.data_room = data.len,
					.tag_len = v->tag_len };

				data.at[at] ^= 0x10;
				assert_int_equal(crypto_run(chan, s, &op), CRYPTO_BADMSG);
				free(data.at);
			}
			crypto_session_put(s);
		}
		free(key.at);
		free(iv.at);
		free(aad.at);
	}
}

static void check_hash(const struct hash_vector *v, uint32_t wanted)
{
	struct hex key = hex_new(v->key, 0), data = hex_new(v->data, 0);
	struct hex right = hex_new(v->result, 0);
	struct crypto_params p = { .service = v->service,
		.algo = v->algo,
		.auth_key = bytes_of(&key),
		.result_len = right.len };
	struct crypto_session *s = session(&p);
	uint8_t *result = malloc(wanted);
	struct crypto_op op = { .data = data.at,
		.data_len = data.len,
		.data_room = data.len,
		.result = result,
		.result_len = wanted };

	assert_int_equal(crypto_run(chan, s, &op), CRYPTO_OK);
	assert_memory_equal(result, right.at, wanted);
	crypto_session_put(s);
	free(key.at);
	free(data.at);
	free(right.at);
	free(result);
}

static void test_hashes(void **state)
{
	size_t i;

	(void)state;
	for (i = 0; i < ARRAY_SIZE(hash_vectors); i++) {
		check_hash(&hash_vectors[i], (uint32_t)strlen(hash_vectors[i].result) / 2);
		check_hash(&hash_vectors[i], 1);
	}
}

/* --- chains --- */

/*
 * Of 64 bytes of SP 800-38A the last 48 are ciphered, as if they were the first ones: with the
 * right iv that is the published text. The hash is of 40 bytes from 8 on, and of what is
 * authenticated with them; what it has to be is asked of a session that only hashes.
 */
static void check_chain(bool encrypts, uint32_t order, uint32_t mode)
{
	struct hex key = hex_new(AES_128, 0), iv = hex_new("7649abac8119b246cee98e9b12e9197d", 0);
	struct hex plain = hex_new(SP800_38A_PLAIN, 0), data, after;
	struct hex cipher = hex_new(cipher_vectors[1].cipher, 0);
	uint8_t aad[5] = "extra", result[32], right[32], hashed[45];
	struct crypto_params p = { .service = CRYPTO_CIPHER,
		.algo = 3,
		.op = encrypts ? CRYPTO_OP_ENCRYPT : CRYPTO_OP_DECRYPT,
		.key = bytes_of(&key),
		.chain = order,
		.hash_mode = mode,
		.hash_algo = 4,
		.auth_key = bytes_of(&iv),
		.result_len = sizeof(result) };
	struct crypto_params alone = { .service = mode == CRYPTO_HASH_AUTH ? CRYPTO_MAC
									   : CRYPTO_HASH,
		.algo = 4,
		.auth_key = bytes_of(&iv),
		.result_len = sizeof(result) };
	struct crypto_session *s = session(&p), *only = session(&alone);
	struct crypto_op op = { .opcode = encrypts ? CRYPTO_ENCRYPT : CRYPTO_DECRYPT,
		.iv = bytes_of(&iv),
		.aad = { aad, sizeof(aad) },
		.cipher_start = 16,
		.cipher_len = 48,
		.hash_start = 8,
		.hash_len = 40,
		.result = result,
		.result_len = sizeof(result) };
	struct crypto_op hash = { .data = hashed,
		.data_len = sizeof(hashed),
		.data_room = sizeof(hashed),
		.result = right,
		.result_len = sizeof(right) };

	memcpy(cipher.at, plain.at, 16);
	data = encrypts ? plain : cipher;
	after = encrypts ? cipher : plain;
	memcpy(hashed, aad, sizeof(aad));
	memcpy(hashed + sizeof(aad),
		(order == CRYPTO_HASH_THEN_CIPHER ? data.at : after.at) + op.hash_start, 40);
	op.data = data.at;
	op.data_len = op.data_room = data.len;
	assert_true(crypto_session_is_chain(s) && !crypto_session_is_chain(only));
	assert_int_equal(crypto_run(chan, s, &op), CRYPTO_OK);
	assert_int_equal(crypto_run(chan, only, &hash), CRYPTO_OK);
	assert_memory_equal(data.at, after.at, data.len);
	assert_memory_equal(result, right, sizeof(right));
	crypto_session_put(s);
	crypto_session_put(only);
	free(key.at);
	free(iv.at);
	free(plain.at);
	free(cipher.at);
}

static void test_chains(void **state)
{
	uint32_t order, mode;

	(void)state;
	for (order = CRYPTO_HASH_THEN_CIPHER; order <= CRYPTO_CIPHER_THEN_HASH; order++) {
		for (mode = CRYPTO_HASH_PLAIN; mode <= CRYPTO_HASH_AUTH; mode++) {
			check_chain(true, order, mode);
			check_chain(false, order, mode);
		}
	}
}

/* --- what is refused --- */

struct bad_session {
	const char *name;
	enum crypto_status status;
	struct crypto_params params;
};

static const uint8_t some[CRYPTO_AKCIPHER_KEY_MAX + 1] = { 1, 2, 3, 4, 5, 6, 7, 8 };

#define KEY(n)	  .key = { some, n }
#define CIPHER(a) .service = CRYPTO_CIPHER, .algo = a, .op = CRYPTO_OP_ENCRYPT
#define CHAIN(a)  CIPHER(3), KEY(16), .chain = 1, .hash_mode = CRYPTO_HASH_AUTH, .hash_algo = a

static const struct bad_session bad_sessions[] = {
	{ "service that there is not", CRYPTO_NOTSUPP, { .service = CRYPTO_NUM_SERVICES } },
	{ "service far away", CRYPTO_NOTSUPP, { .service = UINT32_MAX } },
	{ "no cipher", CRYPTO_NOTSUPP, { CIPHER(0), KEY(16) } },
	{ "ARC4", CRYPTO_NOTSUPP, { CIPHER(1), KEY(16) } },
	{ "cipher beyond the table", CRYPTO_NOTSUPP, { CIPHER(UINT32_MAX), KEY(16) } },
	{ "cipher whose low byte is known", CRYPTO_NOTSUPP, { CIPHER(0x103), KEY(16) } },
	{ "no key", CRYPTO_ERR, { CIPHER(3) } },
	{ "key a byte short", CRYPTO_ERR, { CIPHER(3), KEY(15) } },
	{ "key a byte long", CRYPTO_ERR, { CIPHER(3), KEY(33) } },
	{ "key of 4 GiB", CRYPTO_ERR, { CIPHER(3), KEY(UINT32_MAX) } },
	{ "XTS key of a half", CRYPTO_ERR, { CIPHER(13), KEY(16) } },
	{ "XTS with one key twice", CRYPTO_ERR,
		{ .service = CRYPTO_CIPHER, .algo = 13, .op = 1, .key = { some + 64, 32 } } },
	{ "no direction", CRYPTO_ERR, { .service = CRYPTO_CIPHER, .algo = 3, KEY(16) } },
	{ "third direction", CRYPTO_ERR,
		{ .service = CRYPTO_CIPHER, .algo = 3, .op = 3, KEY(16) } },
	{ "third order", CRYPTO_ERR,
		{ CIPHER(3), KEY(16), .chain = 3, .hash_mode = 1, .hash_algo = 4,
			.result_len = 32 } },
	{ "nested hash", CRYPTO_NOTSUPP,
		{ CIPHER(3), KEY(16), .chain = 1, .hash_mode = 3, .hash_algo = 4,
			.result_len = 32 } },
	{ "no hash mode", CRYPTO_ERR,
		{ CIPHER(3), KEY(16), .chain = 1, .hash_algo = 4, .result_len = 32 } },
	{ "chain without a hash", CRYPTO_NOTSUPP, { CHAIN(0), .result_len = 32 } },
	{ "chain's key of 0", CRYPTO_ERR, { CHAIN(4), .result_len = 32 } },
	{ "chain's key of 513", CRYPTO_ERR,
		{ CHAIN(4), .auth_key = { some, 513 }, .result_len = 32 } },
	{ "chain's result too long", CRYPTO_ERR,
		{ CHAIN(4), .auth_key = { some, 16 }, .result_len = 33 } },
	{ "hash of 0 bytes", CRYPTO_ERR, { .service = CRYPTO_HASH, .algo = 4 } },
	{ "hash longer than it is", CRYPTO_ERR,
		{ .service = CRYPTO_HASH, .algo = 4, .result_len = 33 } },
	{ "SHAKE without an end", CRYPTO_ERR,
		{ .service = CRYPTO_HASH, .algo = 11, .result_len = CRYPTO_RESULT_MAX + 1 } },
	{ "hash beyond the table", CRYPTO_NOTSUPP,
		{ .service = CRYPTO_HASH, .algo = 13, .result_len = 16 } },
	{ "MAC without a key", CRYPTO_ERR, { .service = CRYPTO_MAC, .algo = 4, .result_len = 32 } },
	{ "MAC with a long key", CRYPTO_ERR,
		{ .service = CRYPTO_MAC, .algo = 4, .auth_key = { some, 513 }, .result_len = 32 } },
	{ "CMAC key of no length", CRYPTO_ERR,
		{ .service = CRYPTO_MAC, .algo = 26, .auth_key = { some, 17 }, .result_len = 16 } },
	{ "GMAC", CRYPTO_NOTSUPP,
		{ .service = CRYPTO_MAC, .algo = 41, .auth_key = { some, 16 }, .result_len = 16 } },
	{ "GCM tag of 11", CRYPTO_ERR,
		{ .service = CRYPTO_AEAD, .algo = 1, .op = 1, KEY(16), .tag_len = 11 } },
	{ "GCM tag of 17", CRYPTO_ERR,
		{ .service = CRYPTO_AEAD, .algo = 1, .op = 1, KEY(16), .tag_len = 17 } },
	{ "GCM without a tag", CRYPTO_ERR,
		{ .service = CRYPTO_AEAD, .algo = 1, .op = 1, KEY(16) } },
	{ "CCM tag of 5", CRYPTO_ERR,
		{ .service = CRYPTO_AEAD, .algo = 2, .op = 1, KEY(16), .tag_len = 5 } },
	{ "ChaCha20 tag of 12", CRYPTO_ERR,
		{ .service = CRYPTO_AEAD, .algo = 3, .op = 1, KEY(32), .tag_len = 12 } },
	{ "ChaCha20 key of 16", CRYPTO_ERR,
		{ .service = CRYPTO_AEAD, .algo = 3, .op = 1, KEY(16), .tag_len = 16 } },
	{ "no AEAD", CRYPTO_NOTSUPP, { .service = CRYPTO_AEAD, .op = 1, KEY(16), .tag_len = 16 } },
	{ "akcipher beyond the table", CRYPTO_NOTSUPP,
		{ .service = CRYPTO_AKCIPHER, .algo = 3, .key_type = 1, KEY(16) } },
	{ "key of neither half", CRYPTO_ERR,
		{ .service = CRYPTO_AKCIPHER, .algo = 1, .key_type = 3, KEY(16) } },
	{ "RSA key that is none", CRYPTO_ERR,
		{ .service = CRYPTO_AKCIPHER, .algo = 1, .key_type = 1, KEY(16) } },
	{ "RSA key of 0 bytes", CRYPTO_ERR,
		{ .service = CRYPTO_AKCIPHER, .algo = 1, .key_type = 1 } },
	{ "RSA key longer than any", CRYPTO_ERR,
		{ .service = CRYPTO_AKCIPHER,
			.algo = 1,
			.key_type = 1,
			KEY(CRYPTO_AKCIPHER_KEY_MAX + 1) } },
	{ "RSA padding that there is not", CRYPTO_NOTSUPP,
		{ .service = CRYPTO_AKCIPHER,
			.algo = 1,
			.key_type = 1,
			.rsa_padding = 2,
			KEY(16) } },
	{ "RSA with MD2", CRYPTO_NOTSUPP,
		{ .service = CRYPTO_AKCIPHER,
			.algo = 1,
			.key_type = 1,
			.rsa_padding = 1,
			.rsa_hash = 1,
			KEY(16) } },
	{ "RSA with a hash beyond the table", CRYPTO_NOTSUPP,
		{ .service = CRYPTO_AKCIPHER,
			.algo = 1,
			.key_type = 1,
			.rsa_padding = 1,
			.rsa_hash = 10,
			KEY(16) } },
	{ "curve unknown", CRYPTO_NOTSUPP,
		{ .service = CRYPTO_AKCIPHER, .algo = 2, .key_type = 1, KEY(16) } },
	{ "curve beyond the table", CRYPTO_NOTSUPP,
		{ .service = CRYPTO_AKCIPHER, .algo = 2, .key_type = 1, .curve = 6, KEY(16) } },
	{ "point that is none", CRYPTO_ERR,
		{ .service = CRYPTO_AKCIPHER, .algo = 2, .key_type = 1, .curve = 3, KEY(65) } },
	{ "private number that is none", CRYPTO_ERR,
		{ .service = CRYPTO_AKCIPHER, .algo = 2, .key_type = 2, .curve = 3, KEY(32) } },
};

static void test_bad_sessions(void **state)
{
	struct crypto_session *s;
	enum crypto_status status;
	size_t i;

	(void)state;
	for (i = 0; i < ARRAY_SIZE(bad_sessions); i++) {
		status = crypto_session_new(&bad_sessions[i].params, &s);
		if (status != bad_sessions[i].status || s)
			fail_msg("%s: %d", bad_sessions[i].name, status);
	}
}

struct bad_op {
	const char *name;
	enum crypto_status status;
	struct crypto_params params;
	struct crypto_op op;
};

static uint8_t room[64];

#define IV(n)	  .iv = { some, n }
#define DATA(n)	  .data = room, .data_len = n, .data_room = n
#define RESULT(n) .result = room, .result_len = n
#define GCM	  .service = CRYPTO_AEAD, .algo = 1, .op = 1, KEY(16), .tag_len = 16
#define CCM(dir)  .service = CRYPTO_AEAD, .algo = 2, .op = dir, KEY(16), .tag_len = 16
#define CHAINED	  CHAIN(4), .auth_key = { some, 16 }, .result_len = 32

static const struct bad_op bad_ops[] = {
	{ "iv a byte short", CRYPTO_ERR, { CIPHER(3), KEY(16) }, { IV(15), DATA(16) } },
	{ "iv a byte long", CRYPTO_ERR, { CIPHER(3), KEY(16) }, { IV(17), DATA(16) } },
	{ "iv of 4 GiB", CRYPTO_ERR, { CIPHER(3), KEY(16) }, { IV(UINT32_MAX), DATA(16) } },
	{ "iv where there is none", CRYPTO_ERR, { CIPHER(2), KEY(16) }, { IV(16), DATA(16) } },
	{ "part of a block", CRYPTO_ERR, { CIPHER(3), KEY(16) }, { IV(16), DATA(17) } },
	{ "part of a small block", CRYPTO_ERR, { CIPHER(8), KEY(24) }, { IV(8), DATA(9) } },
	{ "XTS below a block", CRYPTO_ERR, { CIPHER(13), KEY(32) }, { IV(16), DATA(15) } },
	{ "the other direction", CRYPTO_ERR, { CIPHER(3), KEY(16) },
		{ .opcode = CRYPTO_DECRYPT, IV(16), DATA(16) } },
	{ "signing with a cipher", CRYPTO_ERR, { CIPHER(3), KEY(16) },
		{ .opcode = CRYPTO_SIGN, IV(16), DATA(16) } },
	{ "data of 4 GiB", CRYPTO_ERR, { CIPHER(4), KEY(16) }, { IV(16), DATA(UINT32_MAX) } },
	{ "data longer than any", CRYPTO_ERR, { CIPHER(4), KEY(16) },
		{ IV(16), DATA(CRYPTO_DATA_MAX + 1) } },
	{ "room shorter than the data", CRYPTO_ERR, { CIPHER(4), KEY(16) },
		{ IV(16), .data = room, .data_len = 16, .data_room = 15 } },
	{ "no result", CRYPTO_ERR, { .service = CRYPTO_HASH, .algo = 4, .result_len = 32 },
		{ DATA(16), RESULT(0) } },
	{ "more than was said", CRYPTO_ERR, { .service = CRYPTO_HASH, .algo = 4, .result_len = 16 },
		{ DATA(16), RESULT(17) } },
	{ "result of 4 GiB", CRYPTO_ERR, { .service = CRYPTO_HASH, .algo = 4, .result_len = 32 },
		{ DATA(16), RESULT(UINT32_MAX) } },
	{ "another tag", CRYPTO_ERR, { GCM },
		{ IV(12), .data = room, .data_len = 16, .data_room = 32, .tag_len = 12 } },
	{ "no room for the tag", CRYPTO_ERR, { GCM },
		{ IV(12), .data = room, .data_len = 16, .data_room = 31, .tag_len = 16 } },
	{ "GCM iv of 11", CRYPTO_ERR, { GCM },
		{ IV(11), .data = room, .data_len = 16, .data_room = 32, .tag_len = 16 } },
	{ "GCM counter block that counts", CRYPTO_NOTSUPP, { GCM },
		{ IV(16), .data = room, .data_len = 16, .data_room = 32, .tag_len = 16 } },
	{ "shorter than its tag", CRYPTO_ERR, { CCM(2) },
		{ .opcode = CRYPTO_DECRYPT, IV(12), DATA(15), .tag_len = 16 } },
	{ "CCM nonce of 6", CRYPTO_ERR, { CCM(1) },
		{ IV(6), .data = room, .data_len = 16, .data_room = 32, .tag_len = 16 } },
	{ "CCM nonce of 14", CRYPTO_ERR, { CCM(1) },
		{ IV(14), .data = room, .data_len = 16, .data_room = 32, .tag_len = 16 } },
	{ "CCM whose length does not fit", CRYPTO_ERR, { CCM(1) },
		{ IV(13), .data = room, .data_len = 0x10000, .data_room = 0x20000,
			.tag_len = 16 } },
	{ "ciphered range behind the data", CRYPTO_ERR, { CHAINED },
		{ IV(16), DATA(32), .cipher_start = 32, .cipher_len = 16, RESULT(32) } },
	{ "ciphered range that wraps", CRYPTO_ERR, { CHAINED },
		{ IV(16), DATA(32), .cipher_start = 0xfffffff0, .cipher_len = 32, RESULT(32) } },
	{ "hashed range behind the data", CRYPTO_ERR, { CHAINED },
		{ IV(16), DATA(32), .hash_start = 1, .hash_len = 32, RESULT(32) } },
	{ "hashed range that wraps", CRYPTO_ERR, { CHAINED },
		{ IV(16), DATA(32), .hash_start = 0xffffffff, .hash_len = 2, RESULT(32) } },
	{ "part of a block in a chain", CRYPTO_ERR, { CHAINED },
		{ IV(16), DATA(32), .cipher_len = 17, RESULT(32) } },
	{ "no result of a chain", CRYPTO_ERR, { CHAINED }, { IV(16), DATA(32) } },
};

static void test_bad_ops(void **state)
{
	enum crypto_status status;
	size_t i;

	(void)state;
	for (i = 0; i < ARRAY_SIZE(bad_ops); i++) {
		struct crypto_session *s = session(&bad_ops[i].params);
		struct crypto_op op = bad_ops[i].op;

		memset(room, 0x5a, sizeof(room));
		status = crypto_run(chan, s, &op);
		if (status != bad_ops[i].status || room[0] != 0x5a)
			fail_msg("%s: %d", bad_ops[i].name, status);
		crypto_session_put(s);
	}
}

/* --- the set --- */

static void test_sets(void **state)
{
	struct crypto_params p = { CIPHER(3), KEY(16) }, bad = { CIPHER(3), KEY(5) };
	struct crypto_sessions *set = crypto_sessions_new(3);
	uint64_t ids[3], seen[64], id;
	struct crypto_session *held;
	unsigned int i, k;

	(void)state;
	for (i = 0; i < 3; i++)
		assert_int_equal(crypto_sessions_open(set, &p, &ids[i]), CRYPTO_OK);
	assert_int_equal(crypto_sessions_open(set, &p, &id), CRYPTO_NOSPC);
	assert_int_equal(crypto_sessions_num(set), 3);
	assert_int_equal(crypto_sessions_close(set, ids[1]), CRYPTO_OK);
	assert_int_equal(crypto_sessions_close(set, ids[1]), CRYPTO_INVSESS);
	assert_null(crypto_sessions_get(set, ids[1]));
	assert_int_equal(crypto_sessions_open(set, &bad, &id), CRYPTO_ERR);
	assert_int_equal(crypto_sessions_num(set), 2);
	/* The place comes back, its number does not. */
	for (i = 0; i < ARRAY_SIZE(seen); i++) {
		assert_int_equal(crypto_sessions_open(set, &p, &seen[i]), CRYPTO_OK);
		assert_true(seen[i] && seen[i] >> 63 == 0);
		for (k = 0; k < i; k++)
			assert_true(seen[k] != seen[i]);
		assert_int_equal(crypto_sessions_close(set, seen[i]), CRYPTO_OK);
	}
	assert_null(crypto_sessions_get(set, 0));
	assert_null(crypto_sessions_get(set, UINT64_MAX));
	assert_null(crypto_sessions_get(set, ids[0] ^ 1ull << 40));
	/* Who holds one goes on with it after it was closed. */
	held = crypto_sessions_get(set, ids[0]);
	assert_non_null(held);
	crypto_sessions_close_all(set);
	assert_int_equal(crypto_sessions_num(set), 0);
	assert_null(crypto_sessions_get(set, ids[0]));
	assert_int_equal(crypto_session_service(held), CRYPTO_CIPHER);
	crypto_session_put(held);
	crypto_sessions_free(set);
	crypto_sessions_free(NULL);
}

static void test_algos(void **state)
{
	struct crypto_algos a;

	(void)state;
	crypto_algos(&a);
	assert_int_equal(a.services, 0x1f);
	assert_int_equal(a.cipher, 1 << 2 | 1 << 3 | 1 << 4 | 1 << 7 | 1 << 8 | 1 << 13);
	assert_int_equal(a.hash, 0x1ffe);
	assert_true(a.mac == (0x7eull | 3ull << 25));
	assert_int_equal(a.aead, 0xe);
	assert_int_equal(a.akcipher, 6);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_algos),
		cmocka_unit_test(test_ciphers),
		cmocka_unit_test(test_wrong_tags),
		cmocka_unit_test(test_hashes),
		cmocka_unit_test(test_chains),
		cmocka_unit_test(test_bad_sessions),
		cmocka_unit_test(test_bad_ops),
		cmocka_unit_test(test_sets),
	};
	struct err err = { 0 };
	int r;

	if (crypto_load(&err) < 0) {
		printf("1..0 # SKIP %s\n", err.msg);
		return 0;
	}
	r = crypto_chan_open(&chan, &err);
	if (!r)
		r = cmocka_run_group_tests(tests, NULL, NULL);
	crypto_chan_close(chan);
	return r;
}
