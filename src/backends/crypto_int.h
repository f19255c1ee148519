/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * What the files of the crypto back end share: the table of algorithms, a session from within, and
 * what has to be done by the library (crypto_lib.c, crypto_sym.c, crypto_key.c; crypto_none.c where
 * its headers were missing).
 */
#ifndef BACKENDS_CRYPTO_INT_H
#define BACKENDS_CRYPTO_INT_H

#include "backends/crypto.h"

enum crypto_kind {
	KIND_BLOCK, /* whole blocks: ECB, CBC */
	KIND_STREAM, /* any length: CTR */
	KIND_XTS, /* a block at least */
	KIND_GCM,
	KIND_CCM,
	KIND_POLY1305,
	KIND_HASH,
	KIND_XOF, /* a hash of any length */
	KIND_HMAC,
	KIND_CMAC,
};

/* An algorithm with one length of key. */
struct crypto_algo {
	uint8_t service, number;
	uint8_t kind; /* enum crypto_kind */
	uint8_t cost; /* of a byte, against AES's */
	const char *name; /* the library's; of an HMAC the hash's, of a CMAC the cipher's */
	uint16_t key_len; /* 0: any up to the service's longest */
	uint8_t iv_len; /* CCM: the longest */
	uint8_t unit; /* BLOCK: of the data; HASH, MAC: of the longest result, in bytes */
	void *lib; /* the library's; NULL: this one does not have it */
};

/* Ends with a row without a name. */
extern struct crypto_algo crypto_algo_table[];

struct crypto_session {
	_Atomic uint32_t refs;
	uint64_t id;
	enum crypto_service service;
	uint32_t op, chain, tag_len, result_len;
	const struct crypto_algo *cipher; /* CIPHER, AEAD */
	const struct crypto_algo *hash; /* HASH, MAC, chain */
	uint32_t key_len, auth_key_len;
	/* AKCIPHER: */
	uint32_t algo, rsa_padding, rsa_hash, bits;
	bool is_private;
	void *pkey; /* the library's, owned */
	uint8_t key[CRYPTO_CIPHER_KEY_MAX];
	uint8_t auth_key[CRYPTO_AUTH_KEY_MAX];
};

/* Main loop: the library and all that the table names of it. */
int crypto_lib_load(struct err *err);
int crypto_lib_chan_open(struct crypto_chan **ret, struct err *err);
void crypto_lib_chan_close(struct crypto_chan *chan);

/* Lengths are checked before these. */
enum crypto_status crypto_lib_cipher(struct crypto_chan *chan, const struct crypto_session *s,
	const struct crypto_bytes *iv, uint8_t *data, uint32_t len);
enum crypto_status crypto_lib_aead(
	struct crypto_chan *chan, const struct crypto_session *s, struct crypto_op *op);
/* The hash or MAC of @first and @second. */
enum crypto_status crypto_lib_hash(struct crypto_chan *chan, const struct crypto_session *s,
	const struct crypto_bytes *first, const struct crypto_bytes *second, uint8_t *result,
	uint32_t result_len);

/* Sets pkey, bits and what is asked of it. */
enum crypto_status crypto_lib_key(struct crypto_session *s, const struct crypto_params *p);
void crypto_lib_key_free(struct crypto_session *s);
enum crypto_status crypto_lib_akcipher(const struct crypto_session *s, struct crypto_op *op);

#endif
