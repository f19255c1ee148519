/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * virtio-crypto's control queue: sessions of every service in both layouts, what is refused, and
 * how sessions end. And the turns of its data queues: what is in flight, stops, resets.
 */
#include "crypto_rig.h"

#include <pthread.h>

/* Where the fixed part of a data request begins. */
#define FLIP_FIXED 24

enum { CREATE = 2, DESTROY = 3, CREATE_AK = 4, DESTROY_AK = 5 };

#define OPCODE(service, op) ((uint32_t)(service) << 8 | (op))

/* Ends the fixed part as the mode has it. */
static void end_control(struct request *r, enum mode mode, uint32_t bytes)
{
	pad(r, mode == LEGACY ? 56 : bytes);
}

static void put_create_cipher(struct request *r, struct fix *f, enum mode mode)
{
	control_header(r, f, OPCODE(CRYPTO_CIPHER, CREATE), 3);
	put32(r, 3);
	put32(r, 16);
	put32(r, 1);
	pad(r, 48);
	put32(r, 1);
	end_control(r, mode, 56);
	put_hex(r, AES_128);
}

static void put_create_chain(struct request *r, struct fix *f, enum mode mode, uint32_t hash_mode)
{
	control_header(r, f, OPCODE(CRYPTO_CIPHER, CREATE), 3);
	put32(r, 2);
	put32(r, hash_mode);
	put32(r, 3);
	put32(r, 16);
	put32(r, 1);
	put32(r, 0);
	put32(r, 4);
	put32(r, 32);
	/* Of a plain hash this is padding, and whatever stands there is ignored. */
	put32(r, hash_mode == CRYPTO_HASH_AUTH ? 4 : UINT32_MAX);
	pad(r, 48);
	put32(r, 2);
	end_control(r, mode, 56);
	put_hex(r, AES_128);
	if (hash_mode == CRYPTO_HASH_AUTH)
		put_hex(r, JEFE);
}

static void put_create_chain_auth(struct request *r, struct fix *f, enum mode mode)
{
	put_create_chain(r, f, mode, CRYPTO_HASH_AUTH);
}

static void put_create_chain_plain(struct request *r, struct fix *f, enum mode mode)
{
	put_create_chain(r, f, mode, CRYPTO_HASH_PLAIN);
}

static void put_create_hash(struct request *r, struct fix *f, enum mode mode)
{
	control_header(r, f, OPCODE(CRYPTO_HASH, CREATE), 4);
	put32(r, 4);
	put32(r, 32);
	end_control(r, mode, 8);
}

static void put_create_mac(struct request *r, struct fix *f, enum mode mode)
{
	control_header(r, f, OPCODE(CRYPTO_MAC, CREATE), 4);
	put32(r, 4);
	put32(r, 32);
	put32(r, 4);
	put32(r, 0);
	end_control(r, mode, 16);
	put_hex(r, JEFE);
}

static void put_create_aead(struct request *r, struct fix *f, enum mode mode)
{
	control_header(r, f, OPCODE(CRYPTO_AEAD, CREATE), 1);
	put32(r, 1);
	put32(r, 16);
	put32(r, 16);
	put32(r, 20);
	put32(r, 1);
	put32(r, 0);
	end_control(r, mode, 24);
	put_hex(r, AES_128);
}

static void put_create_rsa(struct request *r, struct fix *f, enum mode mode)
{
	control_header(r, f, OPCODE(CRYPTO_AKCIPHER, CREATE_AK), 1);
	put32(r, 1);
	put32(r, CRYPTO_KEY_PRIVATE);
	put32(r, hex_len(RSA_PRIVATE));
	put32(r, CRYPTO_RSA_PKCS1);
	put32(r, 6);
	end_control(r, mode, 56);
	put_hex(r, RSA_PRIVATE);
}

static void put_create_ecdsa(struct request *r, struct fix *f, enum mode mode)
{
	control_header(r, f, OPCODE(CRYPTO_AKCIPHER, CREATE_AK), 2);
	put32(r, 2);
	put32(r, CRYPTO_KEY_PUBLIC);
	put32(r, hex_len(EC_PUBLIC));
	put32(r, 3);
	end_control(r, mode, 56);
	put_hex(r, EC_PUBLIC);
}

static const struct {
	const char *name;
	uint32_t service;
	void (*put)(struct request *r, struct fix *f, enum mode mode);
} creates[] = {
	{ "cipher", CRYPTO_CIPHER, put_create_cipher },
	{ "chain with a MAC", CRYPTO_CIPHER, put_create_chain_auth },
	{ "chain with a hash", CRYPTO_CIPHER, put_create_chain_plain },
	{ "hash", CRYPTO_HASH, put_create_hash },
	{ "MAC", CRYPTO_MAC, put_create_mac },
	{ "AEAD", CRYPTO_AEAD, put_create_aead },
	{ "RSA", CRYPTO_AKCIPHER, put_create_rsa },
	{ "ECDSA", CRYPTO_AKCIPHER, put_create_ecdsa },
};

/* struct virtio_crypto_create_session_input: the status, and the session where it is OK. */
static uint32_t create(struct fix *f, const struct request *r, uint64_t *ret)
{
	const uint8_t *at = ram(f, OUT_AT);

	assert_int_equal(request(f, r->len, 16, NULL), 16);
	*ret = le64_read(at);
	assert_int_equal(le32_read(at + 12), 0);
	return le32_read(at + 8);
}

static int destroy(struct fix *f, enum mode mode, uint32_t service, uint64_t id)
{
	struct request r;

	control_header(
		&r, f, OPCODE(service, service == CRYPTO_AKCIPHER ? DESTROY_AK : DESTROY), 0);
	put64(&r, id);
	end_control(&r, mode, 8);
	assert_int_equal(request(f, r.len, 1, NULL), 1);
	return *(uint8_t *)ram(f, OUT_AT);
}

static uint32_t num_sessions(struct fix *f)
{
	return crypto_sessions_num(virtio_crypto_sessions(f->dev));
}

static void test_every_service(void **state)
{
	enum mode mode;
	struct request r;
	uint64_t id, last = 0;
	struct fix f;
	size_t i;

	(void)state;
	for (mode = LEGACY; mode <= OWN_LAYOUT; mode++) {
		start_control(&f, NULL, mode);
		for (i = 0; i < ARRAY_SIZE(creates); i++) {
			uint32_t service = creates[i].service;
			uint32_t other = service == CRYPTO_HASH ? CRYPTO_MAC : CRYPTO_HASH;

			creates[i].put(&r, &f, mode);
			if (create(&f, &r, &id) != CRYPTO_OK)
				fail_msg("%s: %u", creates[i].name, le32_read(ram(&f, OUT_AT + 8)));
			assert_true(id && id != last);
			last = id;
			assert_int_equal(num_sessions(&f), 1);
			assert_int_equal(destroy(&f, mode, other, id), CRYPTO_ERR);
			assert_int_equal(num_sessions(&f), 1);
			assert_int_equal(destroy(&f, mode, service, id), CRYPTO_OK);
			assert_int_equal(destroy(&f, mode, service, id), CRYPTO_ERR);
			assert_int_equal(num_sessions(&f), 0);
		}
		fix_deinit(&f);
	}
}

/* Every service's request, cut at every byte: an error, and no session that nobody knows of. */
static void test_cuts(void **state)
{
	struct request r;
	uint32_t cut, status;
	uint64_t id;
	struct fix f;
	size_t i;

	(void)state;
	start_control(&f, NULL, REVISION_1);
	for (i = 0; i < ARRAY_SIZE(creates); i++) {
		creates[i].put(&r, &f, REVISION_1);
		for (cut = r.len; cut-- > 0;) {
			r.len = cut;
			status = create(&f, &r, &id);
			assert_true(status == CRYPTO_ERR && !id);
		}
	}
	assert_int_equal(num_sessions(&f), 0);
	/* And the answer: no room for all of it, nothing is done. */
	for (cut = 0; cut < 16; cut++) {
		put_create_cipher(&r, &f, REVISION_1);
		assert_int_equal(request(&f, r.len, cut, NULL), 0);
	}
	assert_int_equal(num_sessions(&f), 0);
	put_create_cipher(&r, &f, REVISION_1);
	assert_int_equal(create(&f, &r, &id), CRYPTO_OK);
	control_header(&r, &f, OPCODE(CRYPTO_CIPHER, DESTROY), 0);
	put64(&r, id);
	assert_int_equal(request(&f, r.len, 0, NULL), 0);
	assert_int_equal(num_sessions(&f), 1);
	fix_deinit(&f);
}

/* One word of a request is another one. Offsets from its beginning. */
static const struct {
	const char *name;
	size_t create; /* in creates[] */
	uint32_t offset, value, status;
} bad_words[] = {
	{ "service that there is not", 0, 0, 0x602, CRYPTO_NOTSUPP },
	{ "service far away", 0, 0, 0xffffff02, CRYPTO_NOTSUPP },
	{ "operation on data", 0, 0, 0, CRYPTO_NOTSUPP },
	{ "an operation of AKCIPHER's numbers", 0, 0, 4, CRYPTO_NOTSUPP },
	{ "no cipher", 0, 16, 0, CRYPTO_NOTSUPP },
	{ "key a byte long", 0, 20, 17, CRYPTO_ERR },
	/* CVE-2020-10724, CVE-2020-14374 to -14378 */
	{ "key longer than any", 0, 20, 65, CRYPTO_ERR },
	{ "key of 4 GiB", 0, 20, UINT32_MAX, CRYPTO_ERR },
	{ "key longer by 4 GiB", 0, 20, 0x80000010, CRYPTO_ERR },
	{ "no direction", 0, 24, 0, CRYPTO_ERR },
	{ "no operation", 0, 64, 0, CRYPTO_NOTSUPP },
	{ "third operation", 0, 64, 3, CRYPTO_NOTSUPP },
	{ "chain of no order", 1, 16, 0, CRYPTO_ERR },
	{ "chain of a third order", 1, 16, 3, CRYPTO_ERR },
	{ "nested hash", 1, 20, 3, CRYPTO_NOTSUPP },
	{ "fourth hash mode", 1, 20, 4, CRYPTO_ERR },
	{ "chain's key longer than it is", 1, 48, 5, CRYPTO_ERR },
	{ "chain's key longer than any", 1, 48, 513, CRYPTO_ERR },
	{ "chain's key of 4 GiB", 1, 48, UINT32_MAX, CRYPTO_ERR },
	{ "chain's hash longer than it is", 1, 44, 33, CRYPTO_ERR },
	{ "no hash", 3, 16, 0, CRYPTO_NOTSUPP },
	{ "hash longer than it is", 3, 20, 33, CRYPTO_ERR },
	{ "hash of 4 GiB", 3, 20, UINT32_MAX, CRYPTO_ERR },
	{ "MAC's key of no bytes", 4, 24, 0, CRYPTO_ERR },
	{ "MAC's key longer than any", 4, 24, 513, CRYPTO_ERR },
	{ "MAC's key of 4 GiB", 4, 24, UINT32_MAX, CRYPTO_ERR },
	{ "tag of no length", 5, 24, 0, CRYPTO_ERR },
	{ "tag of 4 GiB", 5, 24, UINT32_MAX, CRYPTO_ERR },
	{ "AEAD key longer than any", 5, 20, 65, CRYPTO_ERR },
	{ "RSA key longer than any", 6, 24, CRYPTO_AKCIPHER_KEY_MAX + 1, CRYPTO_ERR },
	{ "RSA key of 4 GiB", 6, 24, UINT32_MAX, CRYPTO_ERR },
	{ "key of neither half", 6, 20, 0, CRYPTO_ERR },
	{ "RSA padding that there is not", 6, 28, 2, CRYPTO_NOTSUPP },
	{ "curve that there is not", 7, 28, 6, CRYPTO_NOTSUPP },
	{ "another curve", 7, 28, 4, CRYPTO_ERR },
};

static void test_bad_words(void **state)
{
	struct request r;
	uint32_t status;
	uint64_t id;
	struct fix f;
	size_t i;

	(void)state;
	start_control(&f, NULL, REVISION_1);
	for (i = 0; i < ARRAY_SIZE(bad_words); i++) {
		le32 word = le32_make(bad_words[i].value);

		creates[bad_words[i].create].put(&r, &f, REVISION_1);
		memcpy(ram(&f, IN_AT + bad_words[i].offset), &word, 4);
		status = create(&f, &r, &id);
		if (status != bad_words[i].status || id || num_sessions(&f))
			fail_msg("%s: %u", bad_words[i].name, status);
	}
	assert_true(view(&f).counters.errors_request == ARRAY_SIZE(bad_words));
	assert_int_equal(destroy(&f, REVISION_1, CRYPTO_CIPHER, UINT64_MAX), CRYPTO_ERR);
	assert_false(f.dev->broken);
	fix_deinit(&f);
}

/* As many as there may be; who did not take REVISION_1 knows no NOSPC. */
static void test_no_space(void **state)
{
	enum mode mode;
	struct request r;
	uint64_t ids[5], id;
	struct fix f;
	int i;

	(void)state;
	for (mode = LEGACY; mode <= REVISION_1; mode++) {
		start_control(&f, "{\"max-sessions\":5}", mode);
		put_create_cipher(&r, &f, mode);
		for (i = 0; i < 5; i++)
			assert_int_equal(create(&f, &r, &ids[i]), CRYPTO_OK);
		assert_int_equal(create(&f, &r, &id), mode == LEGACY ? CRYPTO_ERR : CRYPTO_NOSPC);
		assert_int_equal(id, 0);
		assert_int_equal(destroy(&f, mode, CRYPTO_CIPHER, ids[3]), CRYPTO_OK);
		put_create_cipher(&r, &f, mode);
		assert_int_equal(create(&f, &r, &id), CRYPTO_OK);
		fix_deinit(&f);
	}
}

/* Used with an operation of another service, and after they were destroyed. */
static void test_sessions_of_others(void **state)
{
	const struct cipher_vector *cbc = &cipher_vectors[1];
	const struct hash_vector *sha = &hash_vectors[3];
	struct request r;
	struct fix f;
	uint64_t id;

	(void)state;
	start_crypto(&f, NULL, LEGACY);
	data_header(&r, &f, LEGACY, CIPHER_ENCRYPT, open_hash(&f, sha));
	put_cipher(&r, LEGACY, cbc, true, 64, 64);
	assert_int_equal(send(&f, &r, 65, NULL, NULL), CRYPTO_INVSESS);
	data_header(&r, &f, LEGACY, MAC_DIGEST, open_hash(&f, sha));
	put_hash(&r, LEGACY, sha, 32);
	assert_int_equal(send(&f, &r, 33, NULL, NULL), CRYPTO_INVSESS);
	id = open_cipher(&f, cbc, true);
	assert_int_equal(crypto_sessions_close(virtio_crypto_sessions(f.dev), id), CRYPTO_OK);
	data_header(&r, &f, LEGACY, CIPHER_ENCRYPT, id);
	put_cipher(&r, LEGACY, cbc, true, 64, 64);
	assert_int_equal(send(&f, &r, 65, NULL, NULL), CRYPTO_INVSESS);
	fix_deinit(&f);
}

/* A reset ends every session, and the numbers stay used. */
static void test_reset(void **state)
{
	struct request r;
	uint64_t first, second;
	struct fix f;

	(void)state;
	start_control(&f, NULL, REVISION_1);
	put_create_cipher(&r, &f, REVISION_1);
	assert_int_equal(create(&f, &r, &first), CRYPTO_OK);
	fix_reset(&f);
	assert_int_equal(num_sessions(&f), 0);
	fix_start_ring(&f, 64, mode_features[REVISION_1]);
	assert_int_equal(destroy(&f, REVISION_1, CRYPTO_CIPHER, first), CRYPTO_ERR);
	put_create_cipher(&r, &f, REVISION_1);
	assert_int_equal(create(&f, &r, &second), CRYPTO_OK);
	assert_true(second != first);
	vdev_hold(f.dev);
	pump(&f);
	vdev_release(f.dev);
	pump(&f);
	assert_int_equal(destroy(&f, REVISION_1, CRYPTO_CIPHER, second), CRYPTO_OK);
	fix_deinit(&f);
}

/* --- turns --- */

#define BIG   (200u << 10)
#define HEADS 8

/* Eight requests of 3DES over 200 KiB: each is dearer than one round's credit. */
static void offer_big(struct fix *f, uint64_t id)
{
	struct cipher_vector v = cipher_vectors[6];
	struct descs d = { .f = f };
	struct request r;
	uint32_t i;

	v.plain = "";
	data_header(&r, f, LEGACY, CIPHER_ENCRYPT, id);
	put_cipher(&r, LEGACY, &v, true, BIG, BIG);
	memset(ram(f, IN_AT + r.len), 0, 64);
	for (i = 0; i < HEADS; i++) {
		set_desc(f, DESC_AT, d.n, IN_AT, r.len + BIG, NEXT, (uint16_t)(d.n + 1));
		set_desc(f, DESC_AT, d.n + 1, OUT_AT, BIG, NEXT | WRITE, (uint16_t)(d.n + 2));
		set_desc(f, DESC_AT, d.n + 2, OUT_AT + BIG + i, 1, WRITE, 0);
		offer(f, (uint16_t)d.n);
		d.n += 3;
	}
}

static uint64_t start_big(struct fix *f)
{
	start_crypto(f, NULL, LEGACY);
	memset(ram(f, OUT_AT + BIG), UNTOUCHED, HEADS);
	return open_cipher(f, &cipher_vectors[6], true);
}

static void check_big(struct fix *f, int status)
{
	uint32_t i;

	for (i = 0; i < HEADS; i++)
		assert_int_equal(*(uint8_t *)ram(f, OUT_AT + BIG + i), status);
}

static void test_rounds(void **state)
{
	uint16_t seen = 0, rounds = 0;
	struct fix f;
	uint64_t id;
	int i;

	(void)state;
	id = start_big(&f);
	offer_big(&f, id);
	kick_only(&f);
	/*
	 * One round answers one of them (the first one two: when they come, and when their turn
	 * begins), and the rest is in flight meanwhile.
	 */
	while (used_idx(&f) < HEADS) {
		loop_run_once(&f.loop, 50);
		assert_true(used_idx(&f) <= (seen ? seen + 1 : 2));
		rounds += used_idx(&f) != seen;
		seen = used_idx(&f);
		if (seen && seen < HEADS)
			assert_int_equal(view(&f).inuse, HEADS - seen);
	}
	assert_true(rounds >= HEADS - 1);
	check_big(&f, CRYPTO_OK);
	/* Who comes behind the last one that was overdrawn for has its turn too. */
	memset(ram(&f, OUT_AT + BIG), UNTOUCHED, HEADS);
	offer_big(&f, id);
	kick_only(&f);
	for (i = 0; i < 1000 && used_idx(&f) < 2 * HEADS; i++)
		loop_run_once(&f.loop, 10);
	assert_int_equal(used_idx(&f), 2 * HEADS);
	check_big(&f, CRYPTO_OK);
	fix_deinit(&f);
}

/* A stop waits for what was taken; nothing of it is lost, and nothing is done twice. */
static void test_stop_in_flight(void **state)
{
	struct vq_inflight inflight;
	struct fix f;

	(void)state;
	offer_big(&f, start_big(&f));
	kick_only(&f);
	while (!used_idx(&f))
		loop_run_once(&f.loop, 50);
	assert_true(used_idx(&f) < HEADS);
	/* Seen meanwhile as the device took it: header and the lengths behind it. */
	assert_true(vq_read_inflight(f.vq, (HEADS - 1) * 3, &inflight));
	assert_int_equal(inflight.num_snap, 32);
	assert_int_equal(le32_read(inflight.snap + 28), BIG);
	vdev_hold(f.dev);
	assert_false(vdev_is_idle(f.dev));
	while (!vdev_is_idle(f.dev))
		loop_run_once(&f.loop, 50);
	assert_int_equal(used_idx(&f), HEADS);
	check_big(&f, CRYPTO_OK);
	vdev_release(f.dev);
	pump(&f);
	assert_int_equal(used_idx(&f), HEADS);
	fix_deinit(&f);
}

/* Closed while requests that name it wait: they are answered as ones of no session. */
static void test_close_in_flight(void **state)
{
	struct fix f;
	uint64_t id;
	uint32_t i, answered;

	(void)state;
	id = start_big(&f);
	offer_big(&f, id);
	kick_only(&f);
	while (!used_idx(&f))
		loop_run_once(&f.loop, 50);
	answered = used_idx(&f);
	assert_true(answered < HEADS);
	assert_int_equal(crypto_sessions_close(virtio_crypto_sessions(f.dev), id), CRYPTO_OK);
	wait_used(&f, HEADS);
	for (i = 0; i < HEADS; i++)
		assert_int_equal(*(uint8_t *)ram(&f, OUT_AT + BIG + i),
			i < answered ? CRYPTO_OK : CRYPTO_INVSESS);
	fix_deinit(&f);
}

/* The device goes with requests in flight. */
static void test_destroy_in_flight(void **state)
{
	struct fix f;

	(void)state;
	offer_big(&f, start_big(&f));
	kick_only(&f);
	while (!used_idx(&f))
		loop_run_once(&f.loop, 50);
	assert_true(used_idx(&f) < HEADS);
	fix_deinit(&f);
}

/* --- somebody writes meanwhile --- */

struct flipper {
	uint8_t *at;
	uint32_t words[2];
	_Atomic bool stop;
};

static void *flip(void *opaque)
{
	struct flipper *flipper = opaque;
	unsigned int i = 0;

	while (!atomic_load(&flipper->stop)) {
		le32 word = le32_make(flipper->words[i++ & 1]);

		__atomic_store_n((uint32_t *)(void *)flipper->at, word.raw, __ATOMIC_RELAXED);
	}
	return NULL;
}

/* What was checked is what is used, whichever of two values a length had (CVE-2020-14374). */
static void test_flipping_lengths(void **state)
{
	static const struct {
		uint32_t offset, other;
	} rows[] = { { FLIP_FIXED, 0xfffffff0 }, { FLIP_FIXED + 4, 0x7fffffff },
		{ FLIP_FIXED + 8, 0x100000 }, { FLIP_FIXED + 40, 2 }, { 0, 0x301 } };
	const struct cipher_vector *v = &cipher_vectors[1];
	struct request r;
	struct fix f;
	size_t i;
	int k;

	(void)state;
	start_crypto(&f, NULL, LEGACY);
	data_header(&r, &f, LEGACY, CIPHER_ENCRYPT, open_cipher(&f, v, true));
	put_cipher(&r, LEGACY, v, true, 64, 64);
	for (i = 0; i < ARRAY_SIZE(rows); i++) {
		struct flipper flipper = { .at = ram(&f, IN_AT + rows[i].offset) };
		pthread_t thread;

		flipper.words[0] = le32_read(flipper.at);
		flipper.words[1] = rows[i].other;
		assert_int_equal(pthread_create(&thread, NULL, flip, &flipper), 0);
		for (k = 0; k < 300; k++) {
			int status = send(&f, &r, 65, NULL, NULL);

			if (!status)
				check_out(&f, v->cipher);
			assert_true(status <= CRYPTO_INVSESS);
		}
		atomic_store(&flipper.stop, true);
		pthread_join(thread, NULL);
		memcpy(flipper.at, &(le32){ htole32(flipper.words[0]) }, 4);
	}
	assert_int_equal(send(&f, &r, 65, NULL, NULL), CRYPTO_OK);
	fix_deinit(&f);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_every_service),
		cmocka_unit_test(test_cuts),
		cmocka_unit_test(test_bad_words),
		cmocka_unit_test(test_no_space),
		cmocka_unit_test(test_sessions_of_others),
		cmocka_unit_test(test_reset),
		cmocka_unit_test(test_rounds),
		cmocka_unit_test(test_stop_in_flight),
		cmocka_unit_test(test_close_in_flight),
		cmocka_unit_test(test_destroy_in_flight),
		cmocka_unit_test(test_flipping_lengths),
	};
	struct err err = { 0 };

	if (crypto_load(&err) < 0) {
		printf("1..0 # SKIP %s\n", err.msg);
		return 0;
	}
	log_set_level((enum log_level) - 1);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
