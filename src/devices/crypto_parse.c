/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The layouts of virtio-crypto's requests as tables. Which one a data request has is the features'
 * choice (virtio 1.4, "Data Virtqueue"): padded to 48 bytes without REVISION_1; as long as its
 * structure with it; the stateless structure, in either mode, where the service's stateless bit was
 * taken. In session mode that structure's parameters are not looked at, and no key is in the
 * request.
 */
#include "devices/crypto_int.h"

#include <string.h>

#include "base/le.h"

/* VIRTIO_CRYPTO_CTRLQ_OP_SPEC_HDR_LEGACY, VIRTIO_CRYPTO_DATAQ_OP_SPEC_HDR_LEGACY */
#define CONTROL_FIXED_LEGACY 56
#define DATA_FIXED_LEGACY    48
#define FIXED_MAX	     76

#define VIRTIO_CRYPTO_FLAG_SESSION_MODE 1

/* VIRTIO_CRYPTO_SYM_OP_* */
#define SYM_OP_CIPHER 1
#define SYM_OP_CHAIN  2

struct control_header {
	le32 opcode, algo, flag, reserved;
};

struct data_header {
	le32 opcode, algo;
	le64 session;
	le32 flag, padding;
};

struct field {
	uint8_t offset, number; /* enum vcrypto_number */
};

struct layout {
	uint8_t bytes;
	uint8_t op_type_at; /* CIPHER: where it says whether it is a chain; 0: there is none */
	const struct field *fields; /* up to END; NULL: none of them is such a number */
	const struct field *chain_fields;
};

#define FIELDS(name) static const struct field name[]
#define END                        \
	{                          \
		0, VCRYPTO_NUMBERS \
	}

/* --- control: virtio 1.4, "Session operation" --- */

FIELDS(create_cipher) = { { 0, NUM_ALGO }, { 4, NUM_KEY_LEN }, { 8, NUM_OP }, END };
FIELDS(create_chain) = { { 0, NUM_ORDER }, { 4, NUM_HASH_MODE }, { 8, NUM_ALGO },
	{ 12, NUM_KEY_LEN }, { 16, NUM_OP }, { 24, NUM_HASH_ALGO }, { 28, NUM_RESULT_LEN },
	{ 32, NUM_AUTH_KEY_LEN }, END };
FIELDS(create_hash) = { { 0, NUM_ALGO }, { 4, NUM_RESULT_LEN }, END };
FIELDS(create_mac) = { { 0, NUM_ALGO }, { 4, NUM_RESULT_LEN }, { 8, NUM_AUTH_KEY_LEN }, END };
FIELDS(create_aead) = { { 0, NUM_ALGO }, { 4, NUM_KEY_LEN }, { 8, NUM_TAG_LEN }, { 16, NUM_OP },
	END };
FIELDS(create_akcipher) = { { 0, NUM_ALGO }, { 4, NUM_KEY_TYPE }, { 8, NUM_KEY_LEN },
	{ 12, NUM_PADDING }, { 16, NUM_RSA_HASH }, END };

static const struct layout create_layouts[CRYPTO_NUM_SERVICES] = {
	[CRYPTO_CIPHER] = { 56, 48, create_cipher, create_chain },
	[CRYPTO_HASH] = { 8, 0, create_hash, NULL },
	[CRYPTO_MAC] = { 16, 0, create_mac, NULL },
	[CRYPTO_AEAD] = { 24, 0, create_aead, NULL },
	[CRYPTO_AKCIPHER] = { 56, 0, create_akcipher, NULL },
};

static const struct layout destroy_layout = { .bytes = 8 };

/* --- data: virtio 1.4, "HASH Service Operation" and those that follow it --- */

FIELDS(data_hash) = { { 0, NUM_SRC_LEN }, { 4, NUM_RESULT_LEN }, END };
FIELDS(data_cipher) = { { 0, NUM_IV_LEN }, { 4, NUM_SRC_LEN }, { 8, NUM_DST_LEN }, END };
FIELDS(data_chain) = { { 0, NUM_IV_LEN }, { 4, NUM_SRC_LEN }, { 8, NUM_DST_LEN },
	{ 12, NUM_CIPHER_START }, { 16, NUM_CIPHER_LEN }, { 20, NUM_HASH_START },
	{ 24, NUM_HASH_LEN }, { 28, NUM_AAD_LEN }, { 32, NUM_RESULT_LEN }, END };
FIELDS(data_aead) = { { 0, NUM_IV_LEN }, { 4, NUM_AAD_LEN }, { 8, NUM_SRC_LEN },
	{ 12, NUM_DST_LEN }, { 16, NUM_TAG_LEN }, END };
FIELDS(data_akcipher) = { { 0, NUM_SRC_LEN }, { 4, NUM_DST_LEN }, END };

static const struct layout session_layouts[CRYPTO_NUM_SERVICES] = {
	[CRYPTO_CIPHER] = { 48, 40, data_cipher, data_chain },
	[CRYPTO_HASH] = { 8, 0, data_hash, NULL },
	[CRYPTO_MAC] = { 8, 0, data_hash, NULL },
	[CRYPTO_AEAD] = { 24, 0, data_aead, NULL },
	[CRYPTO_AKCIPHER] = { 8, 0, data_akcipher, NULL },
};

FIELDS(own_hash) = { { 0, NUM_ALGO }, { 4, NUM_SRC_LEN }, { 8, NUM_RESULT_LEN }, END };
FIELDS(own_mac) = { { 0, NUM_ALGO }, { 4, NUM_AUTH_KEY_LEN }, { 8, NUM_SRC_LEN },
	{ 12, NUM_RESULT_LEN }, END };
FIELDS(own_cipher) = { { 0, NUM_ALGO }, { 4, NUM_KEY_LEN }, { 8, NUM_OP }, { 12, NUM_IV_LEN },
	{ 16, NUM_SRC_LEN }, { 20, NUM_DST_LEN }, END };
FIELDS(own_chain) = { { 0, NUM_ORDER }, { 8, NUM_ALGO }, { 12, NUM_KEY_LEN }, { 16, NUM_OP },
	{ 20, NUM_HASH_ALGO }, { 24, NUM_AUTH_KEY_LEN }, { 28, NUM_HASH_MODE }, { 32, NUM_IV_LEN },
	{ 36, NUM_SRC_LEN }, { 40, NUM_DST_LEN }, { 44, NUM_CIPHER_START }, { 48, NUM_CIPHER_LEN },
	{ 52, NUM_HASH_START }, { 56, NUM_HASH_LEN }, { 60, NUM_AAD_LEN }, { 64, NUM_RESULT_LEN },
	END };
FIELDS(own_aead) = { { 0, NUM_ALGO }, { 4, NUM_KEY_LEN }, { 8, NUM_OP }, { 12, NUM_IV_LEN },
	{ 16, NUM_TAG_LEN }, { 20, NUM_AAD_LEN }, { 24, NUM_SRC_LEN }, { 28, NUM_DST_LEN }, END };
FIELDS(own_akcipher) = { { 0, NUM_ALGO }, { 4, NUM_KEY_TYPE }, { 8, NUM_KEY_LEN },
	{ 12, NUM_PADDING }, { 16, NUM_RSA_HASH }, { 20, NUM_SRC_LEN }, { 24, NUM_DST_LEN }, END };

static const struct layout own_layouts[CRYPTO_NUM_SERVICES] = {
	[CRYPTO_CIPHER] = { FIXED_MAX, 72, own_cipher, own_chain },
	[CRYPTO_HASH] = { 16, 0, own_hash, NULL },
	[CRYPTO_MAC] = { 16, 0, own_mac, NULL },
	[CRYPTO_AEAD] = { 32, 0, own_aead, NULL },
	[CRYPTO_AKCIPHER] = { 28, 0, own_akcipher, NULL },
};

/* VIRTIO_CRYPTO_OPCODE(): of the operations on data how many a service has, from 0 on. */
static const uint8_t num_operations[CRYPTO_NUM_SERVICES] = {
	[CRYPTO_CIPHER] = 2,
	[CRYPTO_HASH] = 1,
	[CRYPTO_MAC] = 1,
	[CRYPTO_AEAD] = 2,
	[CRYPTO_AKCIPHER] = 4,
};

static bool has(const struct vcrypto *v, unsigned int feature)
{
	return virtio_features_has(&v->dev.driver_features, feature);
}

/* The fixed part behind the header: at least what the layout has, padded up to @padded. */
static enum crypto_status take_fixed(struct chain *c, const struct layout *l, size_t padded,
	uint8_t bytes[FIXED_MAX], struct vcrypto_fixed *ret)
{
	const struct field *f = l->fields;

	if (!chain_take(c, bytes, MAX((size_t)l->bytes, padded)))
		return CRYPTO_ERR;
	if (l->op_type_at) {
		uint32_t op_type = le32_read(bytes + l->op_type_at);

		if (op_type != SYM_OP_CIPHER && op_type != SYM_OP_CHAIN)
			return CRYPTO_NOTSUPP;
		ret->chained = op_type == SYM_OP_CHAIN;
		if (ret->chained)
			f = l->chain_fields;
	}
	for (; f && f->number < VCRYPTO_NUMBERS; f++)
		ret->number[f->number] = le32_read(bytes + f->offset);
	return CRYPTO_OK;
}

enum crypto_status vcrypto_take_data(
	const struct vcrypto *v, struct chain *c, struct vcrypto_fixed *ret)
{
	bool revision_1 = has(v, VIRTIO_CRYPTO_F_REVISION_1), own, in_session;
	uint8_t bytes[FIXED_MAX];
	struct data_header header;

	memset(ret, 0, sizeof(*ret));
	if (!chain_take(c, &header, sizeof(header)))
		return CRYPTO_ERR;
	ret->opcode = le32_get(header.opcode);
	ret->service = ret->opcode >> 8;
	ret->session = le64_get(header.session);
	if (ret->service >= CRYPTO_NUM_SERVICES ||
		(ret->opcode & 0xff) >= num_operations[ret->service])
		return CRYPTO_NOTSUPP;
	own = revision_1 && has(v, VIRTIO_CRYPTO_F_STATELESS_MODE(ret->service));
	in_session = !revision_1 || le32_get(header.flag) & VIRTIO_CRYPTO_FLAG_SESSION_MODE;
	if (!own && !in_session)
		return CRYPTO_NOTSUPP;
	ret->stateless = !in_session;
	ret->src_last = own && ret->service == CRYPTO_CIPHER;
	return take_fixed(c, (own ? own_layouts : session_layouts) + ret->service,
		revision_1 ? 0 : DATA_FIXED_LEGACY, bytes, ret);
}

enum crypto_status vcrypto_take_control(
	const struct vcrypto *v, struct chain *c, struct vcrypto_fixed *ret, bool *ret_creates)
{
	size_t padded = has(v, VIRTIO_CRYPTO_F_REVISION_1) ? 0 : CONTROL_FIXED_LEGACY;
	struct control_header header;
	uint8_t bytes[FIXED_MAX];
	enum crypto_status status;
	uint32_t create;

	memset(ret, 0, sizeof(*ret));
	*ret_creates = true;
	if (!chain_take(c, &header, sizeof(header)))
		return CRYPTO_ERR;
	ret->opcode = le32_get(header.opcode);
	ret->service = ret->opcode >> 8;
	/* 2 and 3; those of AKCIPHER stand behind its operations on data. */
	create = ret->service == CRYPTO_AKCIPHER ? 4 : 2;
	*ret_creates = (ret->opcode & 0xff) != create + 1;
	if (ret->service >= CRYPTO_NUM_SERVICES || (*ret_creates && (ret->opcode & 0xff) != create))
		return CRYPTO_NOTSUPP;
	status = take_fixed(c, *ret_creates ? &create_layouts[ret->service] : &destroy_layout,
		padded, bytes, ret);
	if (!status && !*ret_creates)
		ret->session = le64_read(bytes);
	/* A plain hash has no key: what stands at its length's place is padding. */
	if (ret->chained && ret->number[NUM_HASH_MODE] != CRYPTO_HASH_AUTH)
		ret->number[NUM_AUTH_KEY_LEN] = 0;
	return status;
}

void vcrypto_params(const struct vcrypto_fixed *f, struct crypto_params *ret)
{
	const uint32_t *n = f->number;

	*ret = (struct crypto_params){
		.service = f->service,
		.algo = n[NUM_ALGO],
		.op = n[NUM_OP],
		.hash_mode = n[NUM_HASH_MODE],
		.hash_algo = n[NUM_HASH_ALGO],
		.result_len = n[NUM_RESULT_LEN],
		.tag_len = n[NUM_TAG_LEN],
		.key_type = n[NUM_KEY_TYPE],
		.rsa_padding = n[NUM_PADDING],
		.rsa_hash = n[NUM_RSA_HASH],
		.curve = n[NUM_PADDING],
		/* A chain without an order is one that there is not. */
		.chain = !f->chained	? (uint32_t)CRYPTO_NO_CHAIN
			 : n[NUM_ORDER] ? n[NUM_ORDER]
					: UINT32_MAX,
	};
}

bool vcrypto_keys_fit(const struct vcrypto_fixed *f)
{
	return f->number[NUM_KEY_LEN] <= (f->service == CRYPTO_AKCIPHER ? CRYPTO_AKCIPHER_KEY_MAX
									: CRYPTO_CIPHER_KEY_MAX) &&
	       f->number[NUM_AUTH_KEY_LEN] <= CRYPTO_AUTH_KEY_MAX;
}

uint8_t *vcrypto_take_keys(
	struct chain *c, const struct vcrypto_fixed *f, uint8_t *room, struct crypto_params *params)
{
	params->key = (struct crypto_bytes){ room, f->number[NUM_KEY_LEN] };
	room += params->key.len;
	params->auth_key = (struct crypto_bytes){ room, f->number[NUM_AUTH_KEY_LEN] };
	if (!chain_take(c, (void *)(uintptr_t)params->key.at, params->key.len) ||
		!chain_take(c, room, params->auth_key.len))
		return NULL;
	return room + params->auth_key.len;
}
