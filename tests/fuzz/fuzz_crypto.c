/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * virtio-crypto: sessions of every service and operations of every layout, with numbers that mostly
 * make sense and bytes that do not. Each request is answered; the status is one that there is;
 * where it is an error nothing else was written; there are never more sessions than there may be.
 */
#include "tests/fuzz/device.h"

#include "devices/crypto.h"
#include "tests/unit/crypto_vectors.h"

enum { DATA, CONTROL };

#define SESSIONS    4
#define STATUS_LAST CRYPTO_KEY_REJECTED

struct run {
	struct guest g;
	struct bytes *in;
	uint64_t sessions[SESSIONS + 1]; /* as the device told them, and one that never was */
	uint32_t num_sessions;
	uint8_t *at; /* the request at hand, readable bytes */
	uint64_t features;
};

static const uint64_t layouts[] = { 0, 0x01, 0x3f, 0x0b };

static void put32(struct run *r, uint32_t v)
{
	le32 le = le32_make(v);

	memcpy(r->at, &le, 4);
	r->at += 4;
}

/* A number of a few, seldom another one. */
static uint32_t some(struct run *r, const uint16_t *from, size_t num)
{
	uint8_t which = take8(r->in);

	if (which >= 0xf0)
		return which & 1 ? UINT32_MAX - take8(r->in) : take16(r->in);
	return from[which % num];
}
#define SOME(r, ...)                                     \
	({                                               \
		const uint16_t from[] = { __VA_ARGS__ }; \
		some(r, from, ARRAY_SIZE(from));         \
	})

static uint32_t length(struct run *r)
{
	return SOME(r, 0, 1, 8, 15, 16, 17, 20, 32, 48, 63, 64, 100, 128, 256, 1000, 4096);
}

static uint32_t key_length(struct run *r)
{
	return SOME(r, 16, 24, 32, 64, 4, 0, 15, 65, 512, 513, 128);
}

static uint32_t algo(struct run *r)
{
	return SOME(r, 1, 2, 3, 4, 7, 8, 13, 26, 25, 6, 11, 12, 0, 5);
}

/* So many bytes, the first of them from the input. */
static void noise(struct run *r, uint32_t num)
{
	num = MIN(num, 2048u);
	take_bytes(r->in, r->at, MIN(num, 64u));
	r->at += num;
}

static void begin(struct run *r)
{
	r->at = r->g.ram + DEVICE_IN;
	memset(r->at, 0, 0x4000);
}

/* How the bytes written are cut, and how many more or fewer there are. */
static void shape(struct run *r, struct device_request *req, uint32_t out)
{
	uint8_t trim = take8(r->in);

	req->in = (uint32_t)(r->at - (r->g.ram + DEVICE_IN));
	req->out = MIN(out, DEVICE_LEN_MAX);
	if (trim & 0x80)
		req->in = MIN(req->in, (uint32_t)trim);
	if (trim & 0x40)
		req->out = MIN(req->out, trim & 0x3fu);
	if (trim & 0x20)
		req->out += trim & 3;
	req->num_cuts = take8(r->in) % (ARRAY_SIZE(req->cuts) + 1);
	take_bytes(r->in, req->cuts, req->num_cuts);
}

static void check_untouched(const uint8_t *room, uint32_t len)
{
	while (len--)
		FUZZ_CHECK(room[len] == DEVICE_MARK);
}

/* --- control --- */

static void put_key(struct run *r, const char *hex)
{
	uint8_t which = take8(r->in);
	uint32_t len = from_hex(hex, r->at);

	if (which & 0x80)
		r->at[(which & 0x7f) * 8 % len] ^= take8(r->in);
	r->at += len;
}

static void put_akcipher(struct run *r)
{
	static const char *const keys[] = { RSA_PUBLIC, RSA_PRIVATE, EC_PUBLIC, EC_PRIVATE };
	uint8_t which = take8(r->in) % ARRAY_SIZE(keys);

	put32(r, which / 2 + 1);
	put32(r, which % 2 + 1);
	put32(r, (uint32_t)strlen(keys[which]) / 2);
	put32(r, which / 2 ? SOME(r, 3, 1, 2, 4, 5, 6) : SOME(r, 0, 1, 2));
	put32(r, SOME(r, 0, 6, 5, 4, 1, 9));
	r->at += 36;
	put_key(r, keys[which]);
}

static void put_symmetric(struct run *r)
{
	bool chain = take8(r->in) & 1;
	uint32_t key = key_length(r), auth = key_length(r);

	if (chain) {
		put32(r, SOME(r, 1, 2, 0, 3));
		put32(r, SOME(r, 2, 1, 3, 0));
	}
	put32(r, algo(r));
	put32(r, key);
	put32(r, SOME(r, 1, 2, 0, 3));
	put32(r, 0);
	if (chain) {
		put32(r, algo(r));
		put32(r, length(r));
		put32(r, auth);
		r->at += 12;
	} else {
		r->at += 32;
	}
	put32(r, SOME(r, 1 + chain, 0, 3));
	put32(r, 0);
	noise(r, key);
	if (chain)
		noise(r, auth);
}

static void put_rest(struct run *r, uint32_t service)
{
	uint32_t key = key_length(r);
	uint8_t *fixed = r->at;

	put32(r, algo(r));
	if (service == CRYPTO_AEAD) {
		put32(r, key);
		put32(r, SOME(r, 16, 12, 4, 8, 0));
		put32(r, length(r));
		put32(r, SOME(r, 1, 2));
		put32(r, 0);
	} else {
		put32(r, length(r));
		if (service == CRYPTO_MAC) {
			put32(r, key);
			put32(r, 0);
		}
	}
	if (!(r->features & 1))
		r->at = fixed + 56;
	if (service != CRYPTO_HASH)
		noise(r, key);
}

static void op_create(struct run *r)
{
	uint32_t service = take8(r->in) % 6, n = r->num_sessions;
	struct crypto_sessions *set = virtio_crypto_sessions(r->g.dev);
	const uint8_t *room = r->g.ram + DEVICE_OUT;
	struct device_request req;

	begin(r);
	put32(r, service << 8 | (service == CRYPTO_AKCIPHER ? 4 : 2));
	r->at += 12;
	if (service == CRYPTO_AKCIPHER)
		put_akcipher(r);
	else if (service == CRYPTO_CIPHER)
		put_symmetric(r);
	else
		put_rest(r, service);
	shape(r, &req, 16);
	device_offer(&r->g, CONTROL, &req);
	FUZZ_CHECK(device_wait(&r->g, CONTROL));
	device_check_room(&r->g, &req);
	if (req.out < 16) {
		FUZZ_CHECK(device_used_len(&r->g, CONTROL) == 0);
		check_untouched(room, req.out);
	} else if (!le32_read(room + 8)) {
		FUZZ_CHECK(n < SESSIONS && le64_read(room));
		r->sessions[r->num_sessions++] = le64_read(room);
	} else {
		FUZZ_CHECK(le32_read(room + 8) <= STATUS_LAST && !le64_read(room));
	}
	FUZZ_CHECK(crypto_sessions_num(set) == r->num_sessions);
}

static uint64_t some_session(struct run *r)
{
	return r->sessions[take8(r->in) % (SESSIONS + 1)];
}

static void op_destroy(struct run *r)
{
	uint32_t service = take8(r->in) % 6, i;
	uint64_t id = some_session(r);
	le64 le = le64_make(id);
	struct device_request req;

	begin(r);
	put32(r, service << 8 | (service == CRYPTO_AKCIPHER ? 5 : 3));
	r->at += 12;
	memcpy(r->at, &le, 8);
	r->at += r->features & 1 ? 8 : 56;
	shape(r, &req, 1);
	device_offer(&r->g, CONTROL, &req);
	FUZZ_CHECK(device_wait(&r->g, CONTROL));
	device_check_room(&r->g, &req);
	if (!req.out || r->g.ram[DEVICE_OUT])
		return;
	for (i = 0; i < r->num_sessions && r->sessions[i] != id; i++)
		;
	FUZZ_CHECK(i < r->num_sessions);
	r->sessions[i] = r->sessions[--r->num_sessions];
	r->sessions[r->num_sessions] = id;
}

/* --- data --- */

/* The layouts' own order of numbers; what is behind them are as many bytes as they say, or not. */
static uint32_t put_numbers(struct run *r, uint32_t service, bool own)
{
	uint32_t in = 0, out = 0, i, n, same = length(r);
	bool chain = take8(r->in) & 1;
	uint8_t *fixed = r->at;

	if (own) {
		n = service == CRYPTO_HASH ? 1 : service == CRYPTO_MAC ? 2 : chain ? 8 : 3;
		put32(r, service == CRYPTO_CIPHER && chain ? SOME(r, 1, 2) : algo(r));
		for (i = 1; i < n; i++)
			put32(r, i == 1 ? key_length(r) : SOME(r, 1, 2, 3, 4, 16, 32, 64));
	}
	n = service == CRYPTO_CIPHER ? (chain ? 9 : 3) : service == CRYPTO_AEAD ? 5 : 2;
	for (i = 0; i < n; i++) {
		uint32_t v = i && i < 4 && !(take8(r->in) & 7) ? length(r)
			     : i			       ? same
							       : SOME(r, 16, 12, 8, 0, 13, 7);

		put32(r, v);
		in += MIN(v, 4096u);
		out += MIN(v, 4096u);
	}
	if (service == CRYPTO_CIPHER) {
		r->at = fixed + (own ? 72 : 40);
		put32(r, SOME(r, 1 + chain, 0, 3));
	}
	r->at = fixed + (service == CRYPTO_CIPHER	     ? (own ? 76 : 48)
				: service == CRYPTO_AEAD     ? (own ? 32 : 24)
				: service == CRYPTO_AKCIPHER ? (own ? 28 : 8)
				: own			     ? 16
							     : 8);
	if (!(r->features & 1))
		r->at = fixed + 48;
	noise(r, in);
	r->at = MIN(r->at + take16(r->in) % 4096, r->g.ram + DEVICE_IN + DEVICE_LEN_MAX);
	return out;
}

/* What has to hold of an answer, whatever was asked. */
static void check_data(struct run *r, const struct device_request *req)
{
	bool akcipher = le32_read(r->g.ram + DEVICE_IN) >> 8 == CRYPTO_AKCIPHER;
	const uint8_t *room = r->g.ram + DEVICE_OUT;
	uint8_t status;

	FUZZ_CHECK(device_wait(&r->g, DATA));
	device_check_room(&r->g, req);
	FUZZ_CHECK(device_used_len(&r->g, DATA) <= req->out);
	if (!req->out)
		return;
	status = room[req->out - 1];
	FUZZ_CHECK(status <= STATUS_LAST);
	if (status && !akcipher)
		check_untouched(room, req->out - 1);
	else if (status && req->out > 1)
		check_untouched(room + 1, req->out - 2);
}

/* One of the published vectors, with a session of its own while there is room for one. */
static uint64_t open_vector(struct run *r, const struct cipher_vector *v, bool encrypts)
{
	uint8_t key[64];
	struct crypto_params p = { .service = v->service,
		.algo = v->algo,
		.op = encrypts ? 1 : 2,
		.tag_len = v->tag_len };
	uint64_t id = 0;

	p.key = (struct crypto_bytes){ key, from_hex(v->key, key) };
	if (!crypto_sessions_open(virtio_crypto_sessions(r->g.dev), &p, &id))
		r->sessions[r->num_sessions++] = id;
	return id;
}

static void put_hex(struct run *r, const char *hex)
{
	r->at += from_hex(hex, r->at);
}

static void put_lengths(
	struct run *r, const struct cipher_vector *v, const char *from, const char *to, bool own)
{
	bool aead = v->service == CRYPTO_AEAD;
	uint8_t *fixed = r->at;

	if (own) {
		put32(r, v->algo);
		put32(r, (uint32_t)strlen(v->key) / 2);
		put32(r, from == v->plain ? 1 : 2);
	}
	put32(r, (uint32_t)strlen(v->iv) / 2);
	if (own && aead)
		put32(r, v->tag_len);
	if (aead)
		put32(r, (uint32_t)strlen(v->aad) / 2);
	put32(r, (uint32_t)strlen(from) / 2);
	put32(r, (uint32_t)strlen(to) / 2);
	if (!own && aead)
		put32(r, v->tag_len);
	if (!aead) {
		r->at = fixed + (own ? 72 : 40);
		put32(r, 1);
	}
	r->at = fixed + (aead ? (own ? 32 : 24) : (own ? 76 : 48));
	if (!(r->features & 1))
		r->at = fixed + 48;
}

/* A request that is right, but for up to three bytes. */
static void op_vector(struct run *r)
{
	const struct cipher_vector *v = &cipher_vectors[take8(r->in) % ARRAY_SIZE(cipher_vectors)];
	uint8_t how = take8(r->in), changes = how >> 4 & 3;
	bool own = r->features & 1 && r->features >> (v->service + 1) & 1, encrypts = how & 1;
	bool stateless = own && how & 2;
	const char *from = encrypts ? v->plain : v->cipher, *to = encrypts ? v->cipher : v->plain;
	le64 id = le64_make(stateless ? 0 : open_vector(r, v, encrypts));
	struct device_request req;
	uint32_t len;

	begin(r);
	put32(r, (uint32_t)v->service << 8 | !encrypts);
	put32(r, 0);
	memcpy(r->at, &id, 8);
	r->at += 8;
	put32(r, !stateless);
	put32(r, 0);
	put_lengths(r, v, from, to, own);
	if (stateless)
		put_hex(r, v->key);
	put_hex(r, v->iv);
	put_hex(r, from);
	put_hex(r, v->aad);
	len = (uint32_t)(r->at - (r->g.ram + DEVICE_IN));
	for (uint8_t i = 0; i < changes; i++)
		r->g.ram[DEVICE_IN + take16(r->in) % len] ^= take8(r->in);
	shape(r, &req, (uint32_t)strlen(to) / 2 + 1);
	device_offer(&r->g, DATA, &req);
	check_data(r, &req);
	if (!changes && le64_get(id) && req.in == len && req.out == strlen(to) / 2 + 1)
		FUZZ_CHECK(!r->g.ram[DEVICE_OUT + req.out - 1]);
}

static void op_data(struct run *r)
{
	uint32_t service = take8(r->in) % 6, out;
	le64 id = le64_make(some_session(r));
	struct device_request req;

	begin(r);
	put32(r, service << 8 | SOME(r, 0, 1, 2, 3, 4));
	put32(r, 0);
	memcpy(r->at, &id, 8);
	r->at += 8;
	put32(r, take8(r->in) & 1);
	put32(r, 0);
	out = put_numbers(r, service, r->features & 1 && r->features >> (service + 1) & 1);
	shape(r, &req, out % 5000 + 1);
	device_offer(&r->g, DATA, &req);
	check_data(r, &req);
}

/* Bytes of no layout, on either queue. */
static void op_noise(struct run *r)
{
	unsigned int queue = take8(r->in) & 1;
	struct device_request req;
	uint32_t before = crypto_sessions_num(virtio_crypto_sessions(r->g.dev));

	begin(r);
	noise(r, take8(r->in));
	shape(r, &req, queue == CONTROL ? 15 : 64);
	req.out = queue == CONTROL ? MIN(req.out, 15u) : req.out;
	device_offer(&r->g, queue, &req);
	FUZZ_CHECK(device_wait(&r->g, queue));
	device_check_room(&r->g, &req);
	/* A session needs 16 bytes to be told in; one that is named right may be destroyed. */
	FUZZ_CHECK(crypto_sessions_num(virtio_crypto_sessions(r->g.dev)) <= before);
	if (crypto_sessions_num(virtio_crypto_sessions(r->g.dev)) < before)
		crypto_sessions_close_all(virtio_crypto_sessions(r->g.dev));
	if (!crypto_sessions_num(virtio_crypto_sessions(r->g.dev)))
		r->num_sessions = 0;
}

static void (*const ops[])(struct run *r) = { op_create, op_create, op_data, op_data, op_vector,
	op_vector, op_destroy, op_noise };

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct bytes in = { data, size };
	struct run r = { .in = &in };

	if (crypto_load(NULL) < 0)
		return 0;
	r.features = layouts[take8(&in) % ARRAY_SIZE(layouts)];
	guest_new(&r.g, &virtio_crypto_class, "{\"max-sessions\":4,\"max-size\":16384}");
	guest_queue(&r.g, DATA, DEVICE_RING, 0);
	guest_queue(&r.g, CONTROL, DEVICE_RING, 0);
	guest_run(&r.g, r.features);
	while (in.left)
		ops[take8(&in) % ARRAY_SIZE(ops)](&r);
	FUZZ_CHECK(!r.g.dev->broken);
	guest_free(&r.g);
	return 0;
}
