/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * What the files of virtio-crypto share: requests taken apart (crypto_parse.c), the control queue
 * (crypto_ctrl.c), sessions by message (crypto_message.c), data queues (crypto_data.c), the class
 * (crypto.c).
 */
#ifndef DEVICES_CRYPTO_INT_H
#define DEVICES_CRYPTO_INT_H

#include "devices/crypto.h"

/* The 32-bit numbers that requests hold, whatever their layout. */
enum vcrypto_number {
	NUM_ALGO, /* of a chain the cipher's */
	NUM_KEY_LEN,
	NUM_OP,
	NUM_ORDER,
	NUM_HASH_ALGO,
	NUM_HASH_MODE,
	NUM_AUTH_KEY_LEN,
	NUM_KEY_TYPE,
	NUM_PADDING, /* RSA; ECDSA has its curve there */
	NUM_RSA_HASH,
	NUM_IV_LEN,
	NUM_AAD_LEN,
	NUM_SRC_LEN,
	NUM_DST_LEN,
	NUM_TAG_LEN,
	NUM_RESULT_LEN,
	NUM_CIPHER_START,
	NUM_CIPHER_LEN,
	NUM_HASH_START,
	NUM_HASH_LEN,
	VCRYPTO_NUMBERS
};

/* A request's fixed part, each field loaded once. */
struct vcrypto_fixed {
	uint32_t opcode;
	uint32_t service; /* enum crypto_service */
	bool stateless; /* data: the parameters are the request's own */
	bool chained;
	bool src_last; /* data: the additional data stand before the source's, not behind them */
	uint64_t session; /* data: in session mode; control: to be destroyed */
	uint32_t number[VCRYPTO_NUMBERS];
};

/* A data request, at the place of its chain's slot. */
struct vcrypto_req {
	struct chain *chain;
	struct vcrypto_req *next; /* in the backlog */
	struct iovec status; /* the last writable byte */
	struct vcrypto_fixed fixed;
};

/* What the queues of one loop share. */
struct vcrypto_worker {
	struct crypto_chan *chan;
	uint8_t *room; /* max_size bytes: a request's parts, copied */
};

/* What a queue's loop owns. */
struct vcrypto_queue {
	struct vcrypto_worker *worker;
	struct vcrypto_req *reqs; /* of a data queue */
	struct vcrypto_req *first, *last; /* taken and not begun */
	int64_t credit; /* what may still be spent in this round */
	struct loop_work work; /* the next round */
	struct vq *vq;
};

struct vcrypto {
	struct vdev dev;
	/* Options. */
	uint32_t num_data_queues, max_sessions;
	uint64_t max_size;
	bool stateless;

	struct crypto_algos algos;
	struct crypto_sessions *sessions;
	struct vcrypto_queue *queues;
	struct log_limit limit;
};

static inline struct vcrypto *vcrypto_of(struct vdev *dev)
{
	return container_of(dev, struct vcrypto, dev);
}

/*
 * Takes the fixed part off the chain, as the negotiated features lay it out. CRYPTO_ERR: it is cut
 * short. CRYPTO_NOTSUPP: what is asked for has no layout, or not in this mode.
 */
enum crypto_status vcrypto_take_data(
	const struct vcrypto *v, struct chain *c, struct vcrypto_fixed *ret);
/* The same of a control request; *ret_creates: a session, else one is destroyed. */
enum crypto_status vcrypto_take_control(
	const struct vcrypto *v, struct chain *c, struct vcrypto_fixed *ret, bool *ret_creates);
/* As the numbers have them, without keys. */
void vcrypto_params(const struct vcrypto_fixed *fixed, struct crypto_params *ret);
/* Are the keys no longer than any may be? */
bool vcrypto_keys_fit(const struct vcrypto_fixed *fixed);
/* Takes both keys to @room and says so in @params; NULL where they are not all there. */
uint8_t *vcrypto_take_keys(struct chain *c, const struct vcrypto_fixed *fixed, uint8_t *room,
	struct crypto_params *params);

/* crypto_message.c */
extern const struct vdev_session_ops vcrypto_message_sessions;

enum serve_verdict vcrypto_serve_control(struct vcrypto *v, struct vq *vq, struct chain *c);

enum serve_verdict vcrypto_serve_data(struct vcrypto *v, struct vq *vq, struct chain *c);
void vcrypto_start_data(struct vcrypto *v, struct vq *vq);
void vcrypto_stop_data(struct vcrypto *v, struct vq *vq);

#endif
