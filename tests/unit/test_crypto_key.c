/* SPDX-License-Identifier: BSD-3-Clause */
/* Keys in two halves: known answers, what a key may do, and keys that are none. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "backends/crypto.h"
#include "backends/crypto_der.h"
#include "tests/unit/crypto_vectors.h"

enum {
	RSA_RAW_PRIVATE,
	RSA_RAW_PUBLIC,
	RSA_PRIVATE_KEY,
	RSA_PUBLIC_KEY,
	RSA_NO_HASH_KEY,
	RSA_NO_HASH_PUBLIC,
	EC_PRIVATE_KEY,
	EC_PUBLIC_KEY,
	NUM_KEYS
};

#define SHA256 6 /* VIRTIO_CRYPTO_RSA_SHA256 */
#define P256   3 /* VIRTIO_CRYPTO_CURVE_NIST_P256 */

static const struct {
	const char *key;
	uint32_t algo, type, padding, hash, curve;
} keys[NUM_KEYS] = {
	[RSA_RAW_PRIVATE] = { RSA_PRIVATE, CRYPTO_RSA, CRYPTO_KEY_PRIVATE, CRYPTO_RSA_RAW, 0, 0 },
	[RSA_RAW_PUBLIC] = { RSA_PUBLIC, CRYPTO_RSA, CRYPTO_KEY_PUBLIC, CRYPTO_RSA_RAW, 0, 0 },
	[RSA_PRIVATE_KEY] = { RSA_PRIVATE, CRYPTO_RSA, CRYPTO_KEY_PRIVATE, CRYPTO_RSA_PKCS1, SHA256,
		0 },
	[RSA_PUBLIC_KEY] = { RSA_PUBLIC, CRYPTO_RSA, CRYPTO_KEY_PUBLIC, CRYPTO_RSA_PKCS1, SHA256,
		0 },
	[RSA_NO_HASH_KEY] = { RSA_PRIVATE, CRYPTO_RSA, CRYPTO_KEY_PRIVATE, CRYPTO_RSA_PKCS1, 0, 0 },
	[RSA_NO_HASH_PUBLIC] = { RSA_PUBLIC, CRYPTO_RSA, CRYPTO_KEY_PUBLIC, CRYPTO_RSA_PKCS1, 0,
		0 },
	[EC_PRIVATE_KEY] = { EC_PRIVATE, CRYPTO_ECDSA, CRYPTO_KEY_PRIVATE, 0, 0, P256 },
	[EC_PUBLIC_KEY] = { EC_PUBLIC, CRYPTO_ECDSA, CRYPTO_KEY_PUBLIC, 0, 0, P256 },
};

static struct crypto_session *sessions[NUM_KEYS];
static struct crypto_chan *chan;

#define ABC_SHA256 "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
#define ZEROS_108                                                                          \
	"00000000000000000000000000000000000000000000000000000000000000000000000000000000" \
	"00000000000000000000000000000000000000000000000000000000000000000000000000000000" \
	"00000000000000000000000000000000000000000000000000000000"
/* The same signature with its last bit turned. */
#define FALSE_SIGNATURE 1

struct row {
	const char *name;
	int key;
	enum crypto_opcode opcode;
	const char *data, *more; /* more: what was signed */
	enum crypto_status status;
	const char *result; /* NULL: not looked at */
	uint32_t room; /* 0: as much as there can be */
	int spoilt;
};

static const struct row rows[] = {
	{ "raw, encrypt", RSA_RAW_PUBLIC, CRYPTO_ENCRYPT, RSA_PLAIN, "", CRYPTO_OK,
		RSA_RAW_CIPHER },
	{ "raw, encrypt with the private half", RSA_RAW_PRIVATE, CRYPTO_ENCRYPT, RSA_PLAIN, "",
		CRYPTO_OK, RSA_RAW_CIPHER },
	{ "raw, decrypt", RSA_RAW_PRIVATE, CRYPTO_DECRYPT, RSA_RAW_CIPHER, "", CRYPTO_OK,
		ZEROS_108 RSA_PLAIN },
	{ "raw, no room", RSA_RAW_PUBLIC, CRYPTO_ENCRYPT, RSA_PLAIN, "", CRYPTO_ERR, NULL, 127 },
	{ "raw, longer than the modulus", RSA_RAW_PUBLIC, CRYPTO_ENCRYPT, RSA_RAW_CIPHER "00", "",
		CRYPTO_ERR },
	{ "raw, decrypt with the public half", RSA_RAW_PUBLIC, CRYPTO_DECRYPT, RSA_RAW_CIPHER, "",
		CRYPTO_NOTSUPP },
	{ "raw does not sign", RSA_RAW_PRIVATE, CRYPTO_SIGN, RSA_PLAIN, "", CRYPTO_NOTSUPP },
	{ "raw does not verify", RSA_RAW_PUBLIC, CRYPTO_VERIFY, RSA_RAW_CIPHER, RSA_PLAIN,
		CRYPTO_NOTSUPP },
	{ "decrypt", RSA_PRIVATE_KEY, CRYPTO_DECRYPT, RSA_PKCS1_CIPHER, "", CRYPTO_OK, RSA_PLAIN },
	{ "decrypt into just so much", RSA_PRIVATE_KEY, CRYPTO_DECRYPT, RSA_PKCS1_CIPHER, "",
		CRYPTO_OK, RSA_PLAIN, 20 },
	{ "decrypt into less", RSA_PRIVATE_KEY, CRYPTO_DECRYPT, RSA_PKCS1_CIPHER, "", CRYPTO_ERR,
		NULL, 19 },
	{ "decrypt what is none", RSA_PRIVATE_KEY, CRYPTO_DECRYPT, RSA_RAW_CIPHER, "", CRYPTO_ERR },
	{ "decrypt nothing", RSA_PRIVATE_KEY, CRYPTO_DECRYPT, "", "", CRYPTO_ERR },
	{ "encrypt too much", RSA_PUBLIC_KEY, CRYPTO_ENCRYPT, RSA_RAW_CIPHER, "", CRYPTO_ERR },
	{ "sign", RSA_PRIVATE_KEY, CRYPTO_SIGN, ABC_SHA256, "", CRYPTO_OK, RSA_SIGNATURE },
	{ "sign what is no digest", RSA_PRIVATE_KEY, CRYPTO_SIGN, "0102", "", CRYPTO_ERR },
	{ "sign with the public half", RSA_PUBLIC_KEY, CRYPTO_SIGN, ABC_SHA256, "",
		CRYPTO_NOTSUPP },
	{ "sign without a hash", RSA_NO_HASH_KEY, CRYPTO_SIGN, RSA_PLAIN, "", CRYPTO_OK,
		RSA_SIGNATURE_NO_HASH },
	{ "verify", RSA_PUBLIC_KEY, CRYPTO_VERIFY, RSA_SIGNATURE, ABC_SHA256, CRYPTO_OK },
	{ "verify with the private half", RSA_PRIVATE_KEY, CRYPTO_VERIFY, RSA_SIGNATURE, ABC_SHA256,
		CRYPTO_OK },
	{ "verify without a hash", RSA_NO_HASH_PUBLIC, CRYPTO_VERIFY, RSA_SIGNATURE_NO_HASH,
		RSA_PLAIN, CRYPTO_OK },
	{ "verify another's", RSA_PUBLIC_KEY, CRYPTO_VERIFY, RSA_SIGNATURE_NO_HASH, ABC_SHA256,
		CRYPTO_KEY_REJECTED },
	{ "verify a false one", RSA_PUBLIC_KEY, CRYPTO_VERIFY, RSA_SIGNATURE, ABC_SHA256,
		CRYPTO_KEY_REJECTED, NULL, 0, FALSE_SIGNATURE },
	{ "verify nothing", RSA_PUBLIC_KEY, CRYPTO_VERIFY, "", ABC_SHA256, CRYPTO_KEY_REJECTED },
	{ "verify of nothing", RSA_PUBLIC_KEY, CRYPTO_VERIFY, RSA_SIGNATURE, "",
		CRYPTO_KEY_REJECTED },
	{ "ECDSA, verify", EC_PUBLIC_KEY, CRYPTO_VERIFY, EC_SIGNATURE, EC_DIGEST, CRYPTO_OK },
	{ "ECDSA, verify a false one", EC_PUBLIC_KEY, CRYPTO_VERIFY, EC_SIGNATURE, EC_DIGEST,
		CRYPTO_KEY_REJECTED, NULL, 0, FALSE_SIGNATURE },
	{ "ECDSA, verify what is none", EC_PUBLIC_KEY, CRYPTO_VERIFY, "3000", EC_DIGEST,
		CRYPTO_KEY_REJECTED },
	{ "ECDSA, verify with the private half", EC_PRIVATE_KEY, CRYPTO_VERIFY, EC_SIGNATURE,
		EC_DIGEST, CRYPTO_NOTSUPP },
	{ "ECDSA, sign with the public half", EC_PUBLIC_KEY, CRYPTO_SIGN, EC_DIGEST, "",
		CRYPTO_NOTSUPP },
	{ "ECDSA does not encrypt", EC_PUBLIC_KEY, CRYPTO_ENCRYPT, EC_DIGEST, "", CRYPTO_NOTSUPP },
	{ "ECDSA does not decrypt", EC_PRIVATE_KEY, CRYPTO_DECRYPT, EC_DIGEST, "", CRYPTO_NOTSUPP },
	{ "ECDSA, sign, no room", EC_PRIVATE_KEY, CRYPTO_SIGN, EC_DIGEST, "", CRYPTO_ERR, NULL, 8 },
};

static enum crypto_status new_key(int key, struct crypto_session **ret)
{
	uint8_t bytes[2048];
	struct crypto_params p = { .service = CRYPTO_AKCIPHER,
		.algo = keys[key].algo,
		.key_type = keys[key].type,
		.rsa_padding = keys[key].padding,
		.rsa_hash = keys[key].hash,
		.curve = keys[key].curve };

	p.key = (struct crypto_bytes){ bytes, from_hex(keys[key].key, bytes) };
	return crypto_session_new(&p, ret);
}

static int setup(void **state)
{
	int i;

	(void)state;
	for (i = 0; i < NUM_KEYS; i++)
		assert_int_equal(new_key(i, &sessions[i]), CRYPTO_OK);
	return 0;
}

static int teardown(void **state)
{
	int i;

	(void)state;
	for (i = 0; i < NUM_KEYS; i++)
		crypto_session_put(sessions[i]);
	return 0;
}

static void check(const struct row *row)
{
	uint8_t data[1024], right[1024], *result;
	uint32_t first = from_hex(row->data, data),
		 len = row->result ? from_hex(row->result, right) : 0;
	uint32_t whole = first + from_hex(row->more, data + first);
	uint8_t *exact = malloc(whole ? whole : 1);
	struct crypto_op op = { .opcode = row->opcode,
		.data_len = whole,
		.data_room = whole,
		.signature_len = first,
		.result_len = row->room ? row->room : CRYPTO_AKCIPHER_RESULT_MAX };
	enum crypto_status status;

	memcpy(exact, data, whole);
	if (row->spoilt)
		exact[first - 1] ^= 1;
	op.data = exact;
	op.result = result = malloc(op.result_len);
	status = crypto_run(chan, sessions[row->key], &op);
	if (status != row->status)
		fail_msg("%s: %d", row->name, status);
	if (row->result && (op.result_len != len || memcmp(result, right, len)))
		fail_msg("%s: %u bytes that are others", row->name, op.result_len);
	free(exact);
	free(result);
}

static void test_rows(void **state)
{
	size_t i;

	(void)state;
	for (i = 0; i < ARRAY_SIZE(rows); i++)
		check(&rows[i]);
}

static void run(int key, enum crypto_opcode opcode, uint8_t *data, uint32_t len,
	uint32_t signature_len, uint8_t *result, uint32_t *result_len)
{
	struct crypto_op op = { .opcode = opcode,
		.data = data,
		.data_len = len,
		.data_room = len,
		.signature_len = signature_len,
		.result = result,
		.result_len = CRYPTO_AKCIPHER_RESULT_MAX };

	assert_int_equal(crypto_run(chan, sessions[key], &op), CRYPTO_OK);
	if (result_len)
		*result_len = op.result_len;
}

/* What is random in the making is looked at by undoing it. */
static void test_there_and_back(void **state)
{
	uint8_t bytes[1024], result[CRYPTO_AKCIPHER_RESULT_MAX], plain[64];
	uint32_t len = from_hex(RSA_PLAIN, plain), n;

	(void)state;
	run(RSA_PUBLIC_KEY, CRYPTO_ENCRYPT, plain, len, 0, bytes, &n);
	assert_int_equal(n, 128);
	run(RSA_PRIVATE_KEY, CRYPTO_DECRYPT, bytes, n, 0, result, &n);
	assert_int_equal(n, len);
	assert_memory_equal(result, plain, len);

	len = from_hex(EC_DIGEST, plain);
	run(EC_PRIVATE_KEY, CRYPTO_SIGN, plain, len, 0, bytes, &n);
	memcpy(bytes + n, plain, len);
	run(EC_PUBLIC_KEY, CRYPTO_VERIFY, bytes, n + len, n, result, NULL);
}

/* --- keys that are none --- */

static enum crypto_status try_key(int key, const uint8_t *bytes, uint32_t len)
{
	struct crypto_params p = { .service = CRYPTO_AKCIPHER,
		.algo = keys[key].algo,
		.key_type = keys[key].type,
		.rsa_padding = keys[key].padding,
		.curve = keys[key].curve };
	uint8_t *exact = malloc(len ? len : 1);
	struct crypto_session *s;
	enum crypto_status status;

	memcpy(exact, bytes, len);
	p.key = (struct crypto_bytes){ exact, len };
	status = crypto_session_new(&p, &s);
	crypto_session_put(s);
	free(exact);
	return status;
}

/* Cut at every byte; one too many; of the other half. */
static void test_cut_keys(void **state)
{
	static const int whole[] = { RSA_PRIVATE_KEY, RSA_PUBLIC_KEY, EC_PRIVATE_KEY,
		EC_PUBLIC_KEY };
	uint8_t bytes[2048] = { 0 };
	size_t i;

	(void)state;
	for (i = 0; i < ARRAY_SIZE(whole); i++) {
		uint32_t len = from_hex(keys[whole[i]].key, bytes), cut;

		assert_int_equal(try_key(whole[i], bytes, len), CRYPTO_OK);
		for (cut = 0; cut < len; cut++)
			assert_int_equal(try_key(whole[i], bytes, cut), CRYPTO_ERR);
		assert_int_equal(try_key(whole[i], bytes, len + 1), CRYPTO_ERR);
		assert_int_equal(try_key(whole[i] ^ 1, bytes, len), CRYPTO_ERR);
	}
}

struct der_row {
	const char *name, *bytes;
	bool is_private, ok;
};

static const struct der_row der_rows[] = {
	{ "modulus 33, exponent 3", "3006020121020103", false, true },
	{ "leading zeros do not count", "3008020200c102020003", false, true },
	{ "even modulus", "3006020122020103", false, false },
	{ "negative modulus", "30060201a1020103", false, false },
	{ "no modulus", "30050200020103", false, false },
	{ "exponent longer than the modulus", "300702012102020103", false, false },
	{ "a third number", "3009020121020103020101", false, false },
	{ "something behind it", "300602012102010300", false, false },
	{ "another kind of number", "3006040121020103", false, false },
	{ "set in the place of a sequence", "3106020121020103", false, false },
	{ "length beyond the end", "3007020121020103", false, false },
	{ "inner length beyond the end", "3006020121020403", false, false },
	{ "length in a longer form", "308106020121020103", false, false },
	{ "length in a form without end", "30800201210201030000", false, false },
	{ "length of four bytes", "308400000006020121020103", false, false },
	{ "two primes", "301b020100020121020103020107020103020107020101020103020101", true, true },
	{ "more primes", "301b020101020121020103020107020103020107020101020103020101", true,
		false },
	{ "a part longer than the modulus",
		"301c02010002012102010302020107020103020107020101020103020101", true, false },
	{ "a part missing", "3018020100020121020103020107020103020107020101020103", true, false },
	{ "nothing at all", "", false, false },
};

static void test_der(void **state)
{
	uint8_t bytes[64];
	size_t i;

	(void)state;
	for (i = 0; i < ARRAY_SIZE(der_rows); i++) {
		const struct der_row *r = &der_rows[i];
		struct crypto_bytes key = { bytes, from_hex(r->bytes, bytes) };

		if (der_is_rsa(&key, r->is_private, 4096) != r->ok)
			fail_msg("%s", r->name);
	}
}

/* A modulus of 513 bytes would keep everybody else waiting. */
static void test_long_modulus(void **state)
{
	uint8_t bytes[600] = { 0x30, 0x82, 2, 8, 2, 0x82, 2, 1, 0x41 };
	struct crypto_bytes key = { bytes, 4 + 4 + 513 + 3 };

	(void)state;
	memset(bytes + 9, 0x55, 512);
	memcpy(bytes + 8 + 513, "\2\1\3", 3);
	assert_false(der_is_rsa(&key, false, 4096));
	assert_true(der_is_rsa(&key, false, 4104));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_rows),
		cmocka_unit_test(test_there_and_back),
		cmocka_unit_test(test_cut_keys),
		cmocka_unit_test(test_der),
		cmocka_unit_test(test_long_modulus),
	};
	struct err err = { 0 };
	int r;

	if (crypto_load(&err) < 0) {
		printf("1..0 # SKIP %s\n", err.msg);
		return 0;
	}
	r = crypto_chan_open(&chan, &err);
	if (!r)
		r = cmocka_run_group_tests(tests, setup, teardown);
	crypto_chan_close(chan);
	return r;
}
