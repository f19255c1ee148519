/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * virtio-crypto's data queues. A request is copied, operated on in our own memory and copied out;
 * what was checked is what is used, and whether source and destination lie on each other does not
 * matter. Nothing but the status is written where anything is wrong.
 *
 * In one round of its loop a queue spends so much time and no more: what it took beyond that waits
 * for the next round, after others had their turn.
 *
 * Answered with ERR: parts that are not in the request or that together exceed max_size, a source
 * and a destination of different lengths (cipher, chain), a chain with a cipher's session and the
 * other way round. With INVSESS: a session that is not there, or is of another service. The rest is
 * backends/crypto.h's to judge. A request without a byte for its status is returned unanswered.
 */
#include "devices/crypto_int.h"

#include <stdlib.h>
#include <string.h>

#include "base/alloc.h"

/* For one round of a queue, in bytes of AES: about a millisecond. */
#define ROUND_CREDIT (1 << 20)

/* That a key in two halves comes with the request is a cost of its own. */
#define KEY_COST (128 << 10)

/* A request's parts, copied. */
struct parts {
	struct crypto_params params;
	struct crypto_op op;
	uint32_t key_bytes; /* at the beginning of the room */
};

/* --- copying in --- */

static bool take(struct chain *c, uint8_t **room, uint32_t len, struct crypto_bytes *ret)
{
	*ret = (struct crypto_bytes){ *room, len };
	if (!chain_take(c, *room, len))
		return false;
	*room += len;
	return true;
}

/* What the driver may say about lengths, before any of it is copied. */
static bool lengths_ok(
	const struct vcrypto *v, const struct chain *c, const struct vcrypto_fixed *f)
{
	static const uint8_t readable[] = { NUM_IV_LEN, NUM_AAD_LEN, NUM_SRC_LEN };
	const uint32_t *n = f->number;
	uint64_t in = 0, out = (uint64_t)n[NUM_DST_LEN] + n[NUM_RESULT_LEN];
	size_t i;

	if (f->stateless) {
		if (!vcrypto_keys_fit(f))
			return false;
		in = (uint64_t)n[NUM_KEY_LEN] + n[NUM_AUTH_KEY_LEN];
	}
	for (i = 0; i < ARRAY_SIZE(readable); i++)
		in += n[readable[i]];
	/* What was signed stands behind the signature, and nothing is written. */
	if (f->service == CRYPTO_AKCIPHER && (f->opcode & 0xff) == CRYPTO_VERIFY) {
		in += out;
		out = 0;
	}
	if (in + out > v->max_size || in > c->readable.bytes || out > c->writable.bytes)
		return false;
	return f->service != CRYPTO_CIPHER || n[NUM_SRC_LEN] == n[NUM_DST_LEN];
}

/*
 * The variable part, in its order: keys, iv, source, additional data; or with the source last. All
 * of it fits, with the destination's length too, into max_size. Operations work in place, where
 * AEAD has room for its tag.
 */
static bool copy_in(const struct vcrypto_fixed *f, struct chain *c, uint8_t *room, struct parts *p)
{
	bool verifies = f->service == CRYPTO_AKCIPHER && (f->opcode & 0xff) == CRYPTO_VERIFY;
	const uint32_t *n = f->number;
	struct crypto_op *op = &p->op;
	struct crypto_bytes src;

	if (f->stateless) {
		room = vcrypto_take_keys(c, f, room, &p->params);
		if (!room)
			return false;
		p->key_bytes = p->params.key.len + p->params.auth_key.len;
	}
	if (!take(c, &room, n[NUM_IV_LEN], &op->iv))
		return false;
	if (f->src_last && !take(c, &room, n[NUM_AAD_LEN], &op->aad))
		return false;
	op->data = room;
	op->data_len = n[NUM_SRC_LEN] + (verifies ? n[NUM_DST_LEN] : 0);
	op->data_room = op->data_len;
	if (!take(c, &room, op->data_len, &src))
		return false;
	if (f->service == CRYPTO_AEAD && n[NUM_DST_LEN] > op->data_len) {
		op->data_room = n[NUM_DST_LEN];
		room += op->data_room - op->data_len;
	}
	if (!f->src_last && !take(c, &room, n[NUM_AAD_LEN], &op->aad))
		return false;
	op->result = room;
	return true;
}

static void fill_op(const struct vcrypto_fixed *f, struct crypto_op *op)
{
	const uint32_t *n = f->number;

	op->opcode = (enum crypto_opcode)(f->opcode & 0xff);
	op->tag_len = n[NUM_TAG_LEN];
	op->cipher_start = n[NUM_CIPHER_START];
	op->cipher_len = n[NUM_CIPHER_LEN];
	op->hash_start = n[NUM_HASH_START];
	op->hash_len = n[NUM_HASH_LEN];
	op->signature_len = n[NUM_SRC_LEN];
	op->result_len = f->service == CRYPTO_AKCIPHER ? n[NUM_DST_LEN] : n[NUM_RESULT_LEN];
}

/* --- operating --- */

static enum crypto_status find_session(struct vcrypto *v, struct vcrypto_queue *q,
	const struct vcrypto_fixed *f, struct crypto_params *params, struct crypto_session **ret)
{
	if (f->stateless) {
		q->credit -= f->service == CRYPTO_AKCIPHER ? KEY_COST : 0;
		return crypto_session_new(params, ret);
	}
	*ret = crypto_sessions_get(v->sessions, f->session);
	return *ret && crypto_session_service(*ret) == f->service ? CRYPTO_OK : CRYPTO_INVSESS;
}

static enum crypto_status copy_out(
	const struct vcrypto_fixed *f, struct chain *c, const struct crypto_op *op)
{
	bool data = f->service == CRYPTO_CIPHER || f->service == CRYPTO_AEAD;
	bool result = f->service != CRYPTO_AEAD && op->opcode != CRYPTO_VERIFY &&
		      (f->service != CRYPTO_CIPHER || f->chained);

	if (data && op->data_len > f->number[NUM_DST_LEN])
		return CRYPTO_ERR;
	if (data)
		chain_put(c, op->data, op->data_len);
	if (result)
		chain_put(c, op->result, op->result_len);
	return CRYPTO_OK;
}

static enum crypto_status operate(
	struct vcrypto *v, struct vcrypto_queue *q, struct vcrypto_req *req)
{
	const struct vcrypto_fixed *f = &req->fixed;
	struct crypto_session *session = NULL;
	struct parts parts = { 0 };
	enum crypto_status status;

	if (!lengths_ok(v, req->chain, f))
		return CRYPTO_ERR;
	vcrypto_params(f, &parts.params);
	if (!copy_in(f, req->chain, q->worker->room, &parts))
		return CRYPTO_ERR;
	fill_op(f, &parts.op);
	status = find_session(v, q, f, &parts.params, &session);
	explicit_bzero(q->worker->room, parts.key_bytes);
	if (!status && f->service == CRYPTO_CIPHER &&
		crypto_session_is_chain(session) != f->chained)
		status = CRYPTO_ERR;
	if (!status) {
		q->credit -= (int64_t)crypto_cost(session, &parts.op);
		status = crypto_run(q->worker->chan, session, &parts.op);
	}
	crypto_session_put(session);
	return status ? status : copy_out(f, req->chain, &parts.op);
}

/* The status stands at the very end; it counts where nothing before it was left out. */
static void answer(struct vcrypto_queue *q, struct vcrypto_req *req, enum crypto_status status)
{
	struct chain *c = req->chain;
	uint8_t byte = (uint8_t)status;

	if (status)
		vq_count_error(q->vq);
	/*
	 * virtio 1.4, "AKCIPHER Service Operation": the driver learns the result's length from what
	 * was written, its own status' byte included.
	 */
	if (req->fixed.service == CRYPTO_AKCIPHER && c->writable.bytes)
		chain_put(c, "", 1);
	else if (!c->writable.bytes)
		c->written++;
	chain_fill(c, &req->status, 1, &byte, 1);
}

static void spend(struct vcrypto_queue *q)
{
	loop_work_add(q->vq->loop, &q->work);
}

/* --- the queue --- */

static void on_round(struct loop_work *work)
{
	struct vcrypto_queue *q = container_of(work, struct vcrypto_queue, work);
	struct vcrypto *v = vcrypto_of(q->vq->dev);

	q->credit = ROUND_CREDIT;
	while (q->first && q->credit > 0) {
		struct vcrypto_req *req = q->first;

		q->first = req->next;
		answer(q, req, operate(v, q, req));
		vq_complete(q->vq, req->chain);
	}
	/* What was overdrawn is made good in the next round, whoever comes meanwhile. */
	if (q->first || q->credit <= 0)
		spend(q);
}

enum serve_verdict vcrypto_serve_data(struct vcrypto *v, struct vq *vq, struct chain *c)
{
	struct vcrypto_queue *q = &v->queues[vq->index];
	struct vcrypto_req *req = &q->reqs[c->slot];
	enum crypto_status status;

	if (chain_cut_tail(c, 1, &req->status, 1) < 0) {
		log_limited(&v->limit, LOG_LEVEL_WARN,
			"%s: queue %u: head %u has no byte to write a status to; returned "
			"unanswered",
			vdev_label(&v->dev), vq->index, c->head);
		return SERVE_DONE;
	}
	req->chain = c;
	req->next = NULL;
	status = vcrypto_take_data(v, c, &req->fixed);
	if (!status && (q->first || q->credit <= 0)) {
		if (q->first)
			q->last->next = req;
		else
			q->first = req;
		q->last = req;
		return SERVE_HELD;
	}
	if (!status) {
		status = operate(v, q, req);
		spend(q);
	}
	answer(q, req, status);
	return SERVE_DONE;
}

void vcrypto_start_data(struct vcrypto *v, struct vq *vq)
{
	struct vcrypto_queue *q = &v->queues[vq->index];

	q->vq = vq;
	q->reqs = xnew_n(struct vcrypto_req, vq->num);
	q->credit = ROUND_CREDIT;
	q->first = NULL;
	q->work.fn = on_round;
}

void vcrypto_stop_data(struct vcrypto *v, struct vq *vq)
{
	struct vcrypto_queue *q = &v->queues[vq->index];

	loop_work_cancel(vq->loop, &q->work);
	free(q->reqs);
	q->reqs = NULL;
}
