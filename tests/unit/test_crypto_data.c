/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * virtio-crypto's data queues: the known answers through a ring in every layout, requests whose
 * lengths do not fit together, and work that is spread over rounds.
 */
#include "crypto_rig.h"

/* The shapes that chains are cut into. */
static const struct cuts shapes[] = {
	{ { 0 }, { 0 } },
	{ { 1, 1, 1, 21, 1, 47, 1 }, { 1, 1, 1 } },
	{ { 24, 48, 16 }, { 16 } },
	{ { 72 }, { 3, 2, 1 } },
};

static void check_cipher_in(enum mode mode, const struct cipher_vector *v, bool encrypts)
{
	const char *right = encrypts ? v->cipher : v->plain;
	uint32_t src = hex_len(encrypts ? v->plain : v->cipher), dst = hex_len(right), out, len;
	bool aead = v->service == CRYPTO_AEAD;
	struct request r;
	struct fix f;
	size_t i;

	start_crypto(&f, NULL, mode);
	for (i = 0; i < ARRAY_SIZE(shapes); i++) {
		uint64_t id = mode == STATELESS ? 0 : open_cipher(&f, v, encrypts);

		data_header(&r, &f, mode,
			(aead ? AEAD_ENCRYPT : CIPHER_ENCRYPT) + (encrypts ? 0 : 1), id);
		out = (aead ? put_aead : put_cipher)(&r, mode, v, encrypts, src, dst);
		assert_int_equal(send(&f, &r, out, &shapes[i], &len), CRYPTO_OK);
		assert_int_equal(len, out);
		check_out(&f, right);
	}
	fix_deinit(&f);
}

static void test_ciphers(void **state)
{
	enum mode mode;
	size_t i;

	(void)state;
	for (mode = LEGACY; mode < NUM_MODES; mode++) {
		for (i = 0; i < ARRAY_SIZE(cipher_vectors); i++) {
			check_cipher_in(mode, &cipher_vectors[i], true);
			check_cipher_in(mode, &cipher_vectors[i], false);
		}
	}
}

static void test_hashes(void **state)
{
	enum mode mode;
	struct request r;
	struct fix f;
	uint32_t len;
	size_t i;

	(void)state;
	for (mode = LEGACY; mode < NUM_MODES; mode++) {
		start_crypto(&f, NULL, mode);
		for (i = 0; i < ARRAY_SIZE(hash_vectors); i++) {
			const struct hash_vector *v = &hash_vectors[i];
			uint64_t id = mode == STATELESS ? 0 : open_hash(&f, v);
			uint32_t out, opcode = v->service == CRYPTO_MAC ? MAC_DIGEST : HASH_DIGEST;

			data_header(&r, &f, mode, opcode, id);
			out = put_hash(&r, mode, v, hex_len(v->result));
			assert_int_equal(send(&f, &r, out, &shapes[i % ARRAY_SIZE(shapes)], &len),
				CRYPTO_OK);
			assert_int_equal(len, out);
			check_out(&f, v->result);
		}
		fix_deinit(&f);
	}
}

/* --- chains --- */

/*
 * The second to fourth block of SP 800-38A, encrypted; behind the data the MAC of a byte that is
 * only authenticated, and of the first block as it was left.
 */
static void put_chain(struct request *r, enum mode mode, uint32_t order)
{
	bool own = mode == OWN_LAYOUT || mode == STATELESS;

	if (own) {
		put32(r, order);
		put32(r, 1);
		put32(r, 3);
		put32(r, 16);
		put32(r, 1);
		put32(r, 4);
		put32(r, 4);
		put32(r, CRYPTO_HASH_AUTH);
	}
	put32(r, 16);
	put32(r, 64);
	put32(r, 64);
	put32(r, 16);
	put32(r, 48);
	put32(r, 0);
	put32(r, 16);
	put32(r, 1);
	put32(r, 32);
	pad(r, own ? 72 : 40);
	put32(r, 2);
	if (!own)
		put32(r, 0);
	if (mode == STATELESS) {
		put_hex(r, AES_128);
		put_hex(r, JEFE);
	}
	put_hex(r, "7649abac8119b246cee98e9b12e9197d");
	if (own)
		put(r, "+", 1);
	put_hex(r, SP800_38A_PLAIN);
	if (!own)
		put(r, "+", 1);
}

static uint64_t open_chain(struct fix *f, uint32_t order)
{
	uint8_t key[16], auth[4];
	struct crypto_params p = { .service = CRYPTO_CIPHER,
		.algo = 3,
		.op = CRYPTO_OP_ENCRYPT,
		.key = { key, from_hex(AES_128, key) },
		.chain = order,
		.hash_mode = CRYPTO_HASH_AUTH,
		.hash_algo = 4,
		.auth_key = { auth, from_hex(JEFE, auth) },
		.result_len = 32 };
	uint64_t id;

	assert_int_equal(crypto_sessions_open(virtio_crypto_sessions(f->dev), &p, &id), CRYPTO_OK);
	return id;
}

static void test_chains(void **state)
{
	struct crypto_chan *chan;
	struct crypto_session *alone;
	struct crypto_params p = { .service = CRYPTO_MAC, .algo = 4, .result_len = 32 };
	uint8_t auth[4], hashed[17] = "+", right[32];
	struct crypto_op op = {
		.data = hashed, .data_len = 17, .data_room = 17, .result = right, .result_len = 32
	};
	enum mode mode;
	struct request r;
	struct fix f;
	uint32_t order;

	(void)state;
	p.auth_key = (struct crypto_bytes){ auth, from_hex(JEFE, auth) };
	from_hex("6bc1bee22e409f96e93d7e117393172a", hashed + 1);
	for (mode = LEGACY; mode < NUM_MODES; mode++) {
		start_crypto(&f, NULL, mode);
		assert_int_equal(crypto_chan_open(&chan, NULL), 0);
		assert_int_equal(crypto_session_new(&p, &alone), CRYPTO_OK);
		op.result_len = 32;
		assert_int_equal(crypto_run(chan, alone, &op), CRYPTO_OK);
		for (order = CRYPTO_HASH_THEN_CIPHER; order <= CRYPTO_CIPHER_THEN_HASH; order++) {
			data_header(&r, &f, mode, CIPHER_ENCRYPT,
				mode == STATELESS ? 0 : open_chain(&f, order));
			put_chain(&r, mode, order);
			assert_int_equal(
				send(&f, &r, 64 + 32 + 1, &shapes[order], NULL), CRYPTO_OK);
			check_out(&f, "6bc1bee22e409f96e93d7e117393172a");
			assert_memory_equal((char *)ram(&f, OUT_AT) + 16,
				"\x50\x86\xcb\x9b\x50\x72\x19\xee", 8);
			assert_memory_equal((char *)ram(&f, OUT_AT) + 64, right, 32);
		}
		crypto_session_put(alone);
		crypto_chan_close(chan);
		fix_deinit(&f);
	}
}

/* --- keys in two halves --- */

static uint64_t open_rsa(struct fix *f, uint32_t type, uint32_t padding)
{
	uint8_t key[1024];
	struct crypto_params p = { .service = CRYPTO_AKCIPHER,
		.algo = CRYPTO_RSA,
		.key_type = type,
		.rsa_padding = padding,
		.rsa_hash = 6 };
	uint64_t id;

	p.key = (struct crypto_bytes){ key,
		from_hex(type == CRYPTO_KEY_PRIVATE ? RSA_PRIVATE : RSA_PUBLIC, key) };
	assert_int_equal(crypto_sessions_open(virtio_crypto_sessions(f->dev), &p, &id), CRYPTO_OK);
	return id;
}

static void put_rsa(struct request *r, enum mode mode, uint32_t type, uint32_t padding,
	const char *data, const char *more, uint32_t dst_len)
{
	const char *key = type == CRYPTO_KEY_PRIVATE ? RSA_PRIVATE : RSA_PUBLIC;

	if (mode == OWN_LAYOUT || mode == STATELESS) {
		put32(r, CRYPTO_RSA);
		put32(r, type);
		put32(r, hex_len(key));
		put32(r, padding);
		put32(r, 6);
	}
	put32(r, hex_len(data));
	put32(r, dst_len);
	end_fixed(r, mode);
	if (mode == STATELESS)
		put_hex(r, key);
	put_hex(r, data);
	put_hex(r, more);
}

#define ABC_SHA256 "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"

static void test_akcipher(void **state)
{
	static const struct {
		uint32_t opcode, type, padding;
		const char *data, *more;
		uint32_t dst, out; /* out: the room, and what of it counts: used */
		int status;
		uint32_t used;
		const char *result;
	} rows[] = {
		{ AK_ENCRYPT, 1, 0, RSA_PLAIN, "", 128, 129, CRYPTO_OK, 129, RSA_RAW_CIPHER },
		/* The length that was written tells how long the result is. */
		{ AK_DECRYPT, 2, 1, RSA_PKCS1_CIPHER, "", 128, 129, CRYPTO_OK, 21, RSA_PLAIN },
		{ AK_DECRYPT, 2, 1, RSA_PKCS1_CIPHER, "", 20, 21, CRYPTO_OK, 21, RSA_PLAIN },
		{ AK_SIGN, 2, 1, ABC_SHA256, "", 128, 129, CRYPTO_OK, 129, RSA_SIGNATURE },
		{ AK_VERIFY, 1, 1, RSA_SIGNATURE, ABC_SHA256, 32, 1, CRYPTO_OK, 1, "" },
		{ AK_VERIFY, 1, 1, RSA_SIGNATURE_NO_HASH, ABC_SHA256, 32, 1, CRYPTO_KEY_REJECTED, 1,
			"" },
		{ AK_DECRYPT, 1, 1, RSA_PKCS1_CIPHER, "", 128, 1, CRYPTO_ERR, 1, "" },
		{ AK_VERIFY, 1, 1, RSA_SIGNATURE, "", 32, 1, CRYPTO_ERR, 1, "" },
	};
	enum mode mode;
	struct request r;
	struct fix f;
	uint32_t used_len;
	size_t i;

	(void)state;
	for (mode = LEGACY; mode < NUM_MODES; mode++) {
		start_crypto(&f, NULL, mode);
		for (i = 0; i < ARRAY_SIZE(rows); i++) {
			data_header(&r, &f, mode, rows[i].opcode,
				mode == STATELESS ? 0
						  : open_rsa(&f, rows[i].type, rows[i].padding));
			put_rsa(&r, mode, rows[i].type, rows[i].padding, rows[i].data, rows[i].more,
				rows[i].dst);
			assert_int_equal(send(&f, &r, rows[i].out, &shapes[i % ARRAY_SIZE(shapes)],
						 &used_len),
				rows[i].status);
			assert_int_equal(used_len, rows[i].used);
			check_out(&f, rows[i].result);
		}
		fix_deinit(&f);
	}
}

/* Its error, too, has a length that its driver subtracts a byte from. */
static void test_akcipher_error_with_room(void **state)
{
	struct request r;
	struct fix f;
	uint32_t used_len;

	(void)state;
	start_crypto(&f, NULL, LEGACY);
	data_header(&r, &f, LEGACY, AK_DECRYPT, open_rsa(&f, 2, 1));
	put_rsa(&r, LEGACY, 2, 1, RSA_RAW_CIPHER, "", 128);
	assert_int_equal(request(&f, r.len, 129, NULL), 1);
	used_len = *((uint8_t *)ram(&f, OUT_AT) + 128);
	assert_int_equal(used_len, CRYPTO_ERR);
	fix_deinit(&f);
}

/* --- what is refused --- */

/* AES-CBC of 64 bytes, with one word of it another one. */
struct bad {
	const char *name;
	enum mode mode;
	uint32_t offset; /* in bytes, from the request's beginning */
	uint32_t value;
	int status;
};

#define FLF 24

static const struct bad bad_words[] = {
	{ "service that there is not", LEGACY, 0, 0x600, CRYPTO_NOTSUPP },
	{ "IPsec", LEGACY, 0, 0x500, CRYPTO_NOTSUPP },
	{ "operation that there is not", LEGACY, 0, 2, CRYPTO_NOTSUPP },
	{ "opcode with high bytes", LEGACY, 0, 0x10000, CRYPTO_NOTSUPP },
	{ "the other direction", LEGACY, 0, 1, CRYPTO_ERR },
	{ "session of another service", LEGACY, 0, 0x300, CRYPTO_ERR },
	{ "no such session", LEGACY, 8, 0, CRYPTO_INVSESS },
	{ "no such session, high half", LEGACY, 12, 1, CRYPTO_INVSESS },
	{ "without a session, without the layout for it", REVISION_1, 16, 0, CRYPTO_NOTSUPP },
	{ "flags but session mode", REVISION_1, 16, ~1u, CRYPTO_NOTSUPP },
	{ "iv a byte long", LEGACY, FLF, 17, CRYPTO_ERR },
	{ "iv of 4 GiB", LEGACY, FLF, UINT32_MAX, CRYPTO_ERR },
	{ "source longer than it is", LEGACY, FLF + 4, 65, CRYPTO_ERR },
	{ "source of 4 GiB", LEGACY, FLF + 4, UINT32_MAX, CRYPTO_ERR },
	/* CVE-2023-3180 */
	{ "source longer than the destination", LEGACY, FLF + 4, 80, CRYPTO_ERR },
	{ "source shorter than the destination", LEGACY, FLF + 4, 48, CRYPTO_ERR },
	{ "destination shorter than the source", LEGACY, FLF + 8, 48, CRYPTO_ERR },
	{ "destination longer than the source", LEGACY, FLF + 8, 80, CRYPTO_ERR },
	{ "destination of 4 GiB", LEGACY, FLF + 8, UINT32_MAX, CRYPTO_ERR },
	{ "no operation", LEGACY, FLF + 40, 0, CRYPTO_NOTSUPP },
	{ "operation of a kind that there is not", LEGACY, FLF + 40, 3, CRYPTO_NOTSUPP },
	{ "chain with a session of a cipher", LEGACY, FLF + 40, 2, CRYPTO_ERR },
	{ "cipher that there is not", STATELESS, FLF, 99, CRYPTO_NOTSUPP },
	{ "key a byte short", STATELESS, FLF + 4, 15, CRYPTO_ERR },
	/* CVE-2020-10724, CVE-2020-14374 to -14378 */
	{ "key longer than any", STATELESS, FLF + 4, 65, CRYPTO_ERR },
	{ "key of 4 GiB", STATELESS, FLF + 4, UINT32_MAX, CRYPTO_ERR },
	{ "direction that there is not", STATELESS, FLF + 8, 3, CRYPTO_ERR },
	{ "direction against the opcode", STATELESS, FLF + 8, 2, CRYPTO_ERR },
	{ "iv of 4 GiB, own layout", STATELESS, FLF + 12, UINT32_MAX, CRYPTO_ERR },
	{ "source of 4 GiB, own layout", STATELESS, FLF + 16, UINT32_MAX, CRYPTO_ERR },
	{ "destination of 4 GiB, own layout", STATELESS, FLF + 20, UINT32_MAX, CRYPTO_ERR },
};

static void test_bad_words(void **state)
{
	const struct cipher_vector *v = &cipher_vectors[1];
	struct request r;
	struct fix f;
	size_t i;

	(void)state;
	for (i = 0; i < ARRAY_SIZE(bad_words); i++) {
		const struct bad *b = &bad_words[i];
		le32 word = le32_make(b->value);
		struct vq_view before;
		int status;

		start_crypto(&f, NULL, b->mode);
		data_header(&r, &f, b->mode, CIPHER_ENCRYPT,
			b->mode == STATELESS ? 0 : open_cipher(&f, v, true));
		put_cipher(&r, b->mode, v, true, 64, 64);
		memcpy(ram(&f, IN_AT + b->offset), &word, 4);
		before = view(&f);
		status = send(&f, &r, 65, NULL, NULL);
		if (status != b->status)
			fail_msg("%s: %d", b->name, status);
		assert_true(view(&f).counters.errors_request == before.counters.errors_request + 1);
		/* And the next one is answered as ever. */
		data_header(&r, &f, b->mode, CIPHER_ENCRYPT,
			b->mode == STATELESS ? 0 : open_cipher(&f, v, true));
		put_cipher(&r, b->mode, v, true, 64, 64);
		assert_int_equal(send(&f, &r, 65, NULL, NULL), CRYPTO_OK);
		check_out(&f, v->cipher);
		fix_deinit(&f);
	}
}

/* Cut at every byte, readable and writable. */
static void test_cuts(void **state)
{
	const struct cipher_vector *v = &cipher_vectors[10];
	uint32_t src = hex_len(v->plain), dst = hex_len(v->cipher), cut, whole;
	enum mode mode;
	struct request r;
	struct fix f;

	(void)state;
	for (mode = LEGACY; mode < NUM_MODES; mode++) {
		start_crypto(&f, NULL, mode);
		data_header(&r, &f, mode, AEAD_ENCRYPT,
			mode == STATELESS ? 0 : open_cipher(&f, v, true));
		put_aead(&r, mode, v, true, src, dst);
		whole = r.len;
		for (cut = 0; cut < whole; cut++) {
			r.len = cut;
			assert_int_equal(send(&f, &r, dst + 1, NULL, NULL), CRYPTO_ERR);
		}
		r.len = whole;
		assert_int_equal(send(&f, &r, 0, NULL, NULL), -1);
		for (cut = 1; cut <= dst; cut++)
			assert_int_equal(send(&f, &r, cut, NULL, NULL), CRYPTO_ERR);
		assert_int_equal(send(&f, &r, dst + 1, NULL, NULL), CRYPTO_OK);
		check_out(&f, v->cipher);
		/* More of both than it needs is no fault; what is not written does not count. */
		r.len += 7;
		assert_int_equal(send(&f, &r, dst + 4, NULL, &cut), CRYPTO_OK);
		assert_int_equal(cut, dst);
		check_out(&f, v->cipher);
		fix_deinit(&f);
	}
}

/* Nothing of what was decrypted gets out where the tag is wrong: send() looks. */
static void test_wrong_tag(void **state)
{
	const struct cipher_vector *v = &cipher_vectors[10];
	struct request r;
	struct fix f;

	(void)state;
	start_crypto(&f, NULL, LEGACY);
	data_header(&r, &f, LEGACY, AEAD_DECRYPT, open_cipher(&f, v, false));
	put_aead(&r, LEGACY, v, false, hex_len(v->cipher), hex_len(v->plain));
	*(uint8_t *)ram(&f, IN_AT + 100) ^= 1;
	assert_int_equal(send(&f, &r, hex_len(v->plain) + 1, NULL, NULL), CRYPTO_BADMSG);
	fix_deinit(&f);
}

/* All that has no fixed length counts, the destination too; exactly so much is taken. */
static void test_max_size(void **state)
{
	struct cipher_vector v = cipher_vectors[4];
	uint32_t most = (16384 - 16) / 2;
	struct request r;
	struct fix f;

	(void)state;
	start_crypto(&f, "{\"max-size\":16384}", LEGACY);
	v.plain = "";
	data_header(&r, &f, LEGACY, CIPHER_ENCRYPT, open_cipher(&f, &v, true));
	put_cipher(&r, LEGACY, &v, true, most, most);
	memset(ram(&f, IN_AT + r.len), 0, most + 1);
	r.len += most;
	assert_int_equal(send(&f, &r, most + 1, NULL, NULL), CRYPTO_OK);
	data_header(&r, &f, LEGACY, CIPHER_ENCRYPT, open_cipher(&f, &v, true));
	put_cipher(&r, LEGACY, &v, true, most + 1, most + 1);
	r.len += most + 1;
	assert_int_equal(send(&f, &r, most + 2, NULL, NULL), CRYPTO_ERR);
	fix_deinit(&f);
}

/* The source is copied before the destination is written: they may be the same bytes. */
static void test_in_place(void **state)
{
	const struct cipher_vector *v = &cipher_vectors[1];
	struct descs d = { 0 };
	struct request r;
	struct fix f;

	(void)state;
	start_crypto(&f, NULL, LEGACY);
	data_header(&r, &f, LEGACY, CIPHER_ENCRYPT, open_cipher(&f, v, true));
	put_cipher(&r, LEGACY, v, true, 64, 64);
	d.f = &f;
	add_desc(&d, IN_AT, r.len, 0);
	/* Eight bytes before the source: each block lands where the next one is read from. */
	add_desc(&d, IN_AT + r.len - 64 - 8, 64, WRITE);
	add_desc(&d, OUT_AT, 1, WRITE);
	offer(&f, 0);
	kick_only(&f);
	wait_used(&f, 1);
	assert_int_equal(*(uint8_t *)ram(&f, OUT_AT), CRYPTO_OK);
	memcpy(ram(&f, OUT_AT), ram(&f, IN_AT + r.len - 64 - 8), 64);
	check_out(&f, v->cipher);
	fix_deinit(&f);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_ciphers),
		cmocka_unit_test(test_hashes),
		cmocka_unit_test(test_chains),
		cmocka_unit_test(test_akcipher),
		cmocka_unit_test(test_akcipher_error_with_room),
		cmocka_unit_test(test_bad_words),
		cmocka_unit_test(test_cuts),
		cmocka_unit_test(test_wrong_tag),
		cmocka_unit_test(test_max_size),
		cmocka_unit_test(test_in_place),
	};
	struct err err = { 0 };

	if (crypto_load(&err) < 0) {
		printf("1..0 # SKIP %s\n", err.msg);
		return 0;
	}
	log_set_level((enum log_level) - 1);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
