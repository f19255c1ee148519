/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Ciphers, hashes, message authentication and keys in two halves, by OpenSSL's libcrypto, which is
 * loaded on first use. Algorithms, modes and answers have the numbers that virtio 1.4, "Crypto
 * Device", gives them; vhost-user's session messages use the same.
 *
 * Two steps. A session is an algorithm and its key, checked and copied once; it never changes, may
 * be used on any thread, and its key is wiped when the last one lets go of it. An operation works
 * on flat buffers of the caller's, never on a guest's memory, on a channel of the caller's loop. A
 * set of sessions (struct crypto_sessions) gives them numbers and bounds how many there are.
 *
 * Whatever lengths and numbers a caller hands over, nothing outside its buffers is read or written:
 * what does not fit together is answered with a status. Nothing here waits for anything.
 *
 * For one AES-CBC session from a message:
 *
 *	struct crypto_params p = { .service = CRYPTO_CIPHER, .algo = algo, .op = direction,
 *		.key = { key, key_len } };
 *	status = crypto_sessions_open(set, &p, &id);
 *
 * and for one operation by its number:
 *
 *	struct crypto_session *s = crypto_sessions_get(set, id);
 *	struct crypto_op op = { .opcode = CRYPTO_ENCRYPT, .iv = { iv, iv_len }, .data = bytes,
 *		.data_len = len, .data_room = len };
 *	status = s ? crypto_run(chan, s, &op) : CRYPTO_INVSESS;
 *	crypto_session_put(s);
 */
#ifndef BACKENDS_CRYPTO_H
#define BACKENDS_CRYPTO_H

#include <stdatomic.h>

#include "base/err.h"
#include "base/util.h"

/* Longest keys, in bytes: of ciphers and AEAD, of MACs, of RSA and ECDSA. */
#define CRYPTO_CIPHER_KEY_MAX	64
#define CRYPTO_AUTH_KEY_MAX	512
#define CRYPTO_AKCIPHER_KEY_MAX 4096
/* Longest modulus: an operation with a private one takes some milliseconds. */
#define CRYPTO_RSA_BITS_MAX 4096
/* Longest iv; longest hash or MAC that can be asked for (SHAKE has no length of its own). */
#define CRYPTO_IV_MAX	  16
#define CRYPTO_RESULT_MAX 512
/* Longest data, and longest additional data, of one operation. */
#define CRYPTO_DATA_MAX (16u << 20)
#define CRYPTO_TAG_MAX	16
/* Longest answer of an operation with two-part keys. */
#define CRYPTO_AKCIPHER_RESULT_MAX (CRYPTO_RSA_BITS_MAX / 8)

/* virtio 1.4, "Operation Status" */
enum crypto_status {
	CRYPTO_OK,
	CRYPTO_ERR,
	CRYPTO_BADMSG, /* the tag of what was to be decrypted is wrong */
	CRYPTO_NOTSUPP, /* no such algorithm or mode, or not with such a key */
	CRYPTO_INVSESS, /* there is no such session */
	CRYPTO_NOSPC, /* there are as many sessions as there may be */
	CRYPTO_KEY_REJECTED, /* the signature is not one of this data by this key */
};

/* virtio 1.4, "Supported crypto services" */
enum crypto_service {
	CRYPTO_CIPHER,
	CRYPTO_HASH,
	CRYPTO_MAC,
	CRYPTO_AEAD,
	CRYPTO_AKCIPHER,
	CRYPTO_NUM_SERVICES
};

/* What a session of CIPHER or AEAD does: VIRTIO_CRYPTO_OP_* */
enum { CRYPTO_OP_ENCRYPT = 1, CRYPTO_OP_DECRYPT };
/* Chains: VIRTIO_CRYPTO_SYM_ALG_CHAIN_ORDER_*, VIRTIO_CRYPTO_SYM_HASH_MODE_* */
enum { CRYPTO_NO_CHAIN, CRYPTO_HASH_THEN_CIPHER, CRYPTO_CIPHER_THEN_HASH };
enum { CRYPTO_HASH_PLAIN = 1, CRYPTO_HASH_AUTH, CRYPTO_HASH_NESTED };
/* Keys in two halves: VIRTIO_CRYPTO_AKCIPHER_KEY_TYPE_*, VIRTIO_CRYPTO_RSA_*_PADDING */
enum { CRYPTO_KEY_PUBLIC = 1, CRYPTO_KEY_PRIVATE };
enum { CRYPTO_RSA_RAW, CRYPTO_RSA_PKCS1 };
/* Algorithms of AKCIPHER */
enum { CRYPTO_RSA = 1, CRYPTO_ECDSA };

/* What one operation does, as the low byte of a data request's opcode has it. */
enum crypto_opcode { CRYPTO_ENCRYPT, CRYPTO_DECRYPT, CRYPTO_SIGN, CRYPTO_VERIFY };

struct crypto_bytes {
	const uint8_t *at; /* may be NULL where len is 0 */
	uint32_t len;
};

/* What a session is made of; nothing of it needs to be checked before. */
struct crypto_params {
	uint32_t service; /* enum crypto_service */
	uint32_t algo; /* the service's; of a chain the cipher's */
	uint32_t op; /* CIPHER, AEAD: CRYPTO_OP_* */
	struct crypto_bytes key; /* CIPHER, AEAD, AKCIPHER (DER) */
	/* HASH (algo is the hash's), MAC (algo is the MAC's), and CIPHER with a chain: */
	uint32_t chain; /* CIPHER: CRYPTO_NO_CHAIN or an order */
	uint32_t hash_mode; /* chain */
	uint32_t hash_algo; /* chain: number of a hash or, with CRYPTO_HASH_AUTH, of a MAC */
	struct crypto_bytes auth_key; /* MAC, chain */
	uint32_t result_len; /* of the hash; one operation may ask for less */
	uint32_t tag_len; /* AEAD */
	/* AKCIPHER: */
	uint32_t key_type, rsa_padding, rsa_hash, curve;
};

/*
 * One operation. CIPHER, chain and AEAD work in place; HASH, MAC and AKCIPHER only read the data.
 * A VERIFY's data are the signature and behind it what was signed.
 */
struct crypto_op {
	enum crypto_opcode opcode; /* CIPHER, AEAD: as the session's op; HASH, MAC: not looked at */
	struct crypto_bytes iv; /* CIPHER, chain, AEAD */
	struct crypto_bytes aad; /* chain: hashed before the range; AEAD */
	uint8_t *data; /* never NULL */
	/*
	 * AEAD: a tag stands behind what is to be decrypted, and is put behind what was encrypted;
	 * then data_len says how much there is now.
	 */
	uint32_t data_len;
	uint32_t data_room; /* at least data_len; AEAD, encrypting: for the tag too */
	uint32_t tag_len; /* AEAD: the session's */
	/* Chain: what of the data is ciphered and what hashed, in the order of the session. */
	uint32_t cipher_start, cipher_len, hash_start, hash_len;
	uint32_t signature_len; /* VERIFY */
	uint8_t *result; /* HASH, MAC, chain, AKCIPHER */
	/*
	 * HASH, MAC, chain: how much of the hash is wanted, at least a byte and at most the
	 * session's. AKCIPHER: the room; and then the length of what was put there.
	 */
	uint32_t result_len;
};

/* Bits of the algorithms that this libcrypto has, by number. */
struct crypto_algos {
	uint32_t services;
	uint64_t cipher, mac;
	uint32_t hash, aead, akcipher;
};

struct crypto_session;
struct crypto_sessions;
struct crypto_chan;

/* Main loop. Loads the library once: -errno with a sentence where there is none. */
int crypto_load(struct err *err);
/* After crypto_load(). */
void crypto_algos(struct crypto_algos *ret);

/* For the thread that it is used on alone. -ENOMEM with a sentence. */
int crypto_chan_open(struct crypto_chan **ret, struct err *err);
void crypto_chan_close(struct crypto_chan *chan); /* NULL is allowed */

/* Any thread. A session without a number, for one operation say; *ret is NULL unless CRYPTO_OK. */
enum crypto_status crypto_session_new(
	const struct crypto_params *params, struct crypto_session **ret);
void crypto_session_put(struct crypto_session *session); /* NULL is allowed */
uint32_t crypto_session_service(const struct crypto_session *session);
bool crypto_session_is_chain(const struct crypto_session *session);

/* The channel's thread. */
enum crypto_status crypto_run(
	struct crypto_chan *chan, struct crypto_session *session, struct crypto_op *op);
/* About what crypto_run() would cost, in bytes that AES encrypts in the same time. */
uint64_t crypto_cost(const struct crypto_session *session, const struct crypto_op *op);

/*
 * A set of at most @max sessions, used by any number of threads. Numbers are above 0, below 2^63,
 * and never given twice.
 */
struct crypto_sessions *crypto_sessions_new(uint32_t max);
/* Nobody uses the set any more; sessions that are held live on. NULL is allowed. */
void crypto_sessions_free(struct crypto_sessions *set);
enum crypto_status crypto_sessions_open(
	struct crypto_sessions *set, const struct crypto_params *params, uint64_t *ret_id);
/* Operations that hold it end as they would have. CRYPTO_INVSESS: there is none. */
enum crypto_status crypto_sessions_close(struct crypto_sessions *set, uint64_t id);
void crypto_sessions_close_all(struct crypto_sessions *set);
/* NULL: there is none. The caller puts it back. */
struct crypto_session *crypto_sessions_get(struct crypto_sessions *set, uint64_t id);
uint32_t crypto_sessions_num(const struct crypto_sessions *set);

#endif
