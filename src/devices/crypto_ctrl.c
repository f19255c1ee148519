/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * virtio-crypto's control queue: sessions are made and destroyed (virtio 1.4, "Session operation").
 * A session that its driver could not be told of is not made: the room for the answer is looked at
 * first.
 */
#include "devices/crypto_int.h"

#include <string.h>

#include "base/le.h"

struct create_answer {
	le64 session;
	le32 status, padding;
};

static enum crypto_status create(struct vcrypto *v, struct vcrypto_worker *worker, struct chain *c,
	const struct vcrypto_fixed *fixed, uint64_t *ret)
{
	struct crypto_params params;
	enum crypto_status status = CRYPTO_ERR;
	uint8_t *end;

	if (!vcrypto_keys_fit(fixed))
		return CRYPTO_ERR;
	vcrypto_params(fixed, &params);
	end = vcrypto_take_keys(c, fixed, worker->room, &params);
	if (end)
		status = crypto_sessions_open(v->sessions, &params, ret);
	explicit_bzero(worker->room, params.key.len + params.auth_key.len);
	/* Only who took REVISION_1 knows of it. */
	if (status == CRYPTO_NOSPC &&
		!virtio_features_has(&v->dev.driver_features, VIRTIO_CRYPTO_F_REVISION_1))
		return CRYPTO_ERR;
	return status;
}

static enum crypto_status destroy(struct vcrypto *v, const struct vcrypto_fixed *fixed)
{
	struct crypto_session *session = crypto_sessions_get(v->sessions, fixed->session);
	bool ours = session && crypto_session_service(session) == fixed->service;

	crypto_session_put(session);
	if (!ours || crypto_sessions_close(v->sessions, fixed->session))
		return CRYPTO_ERR;
	return CRYPTO_OK;
}

enum serve_verdict vcrypto_serve_control(struct vcrypto *v, struct vq *vq, struct chain *c)
{
	struct create_answer answer = { 0 };
	struct vcrypto_fixed fixed;
	uint64_t session = 0;
	bool creates;
	enum crypto_status status = vcrypto_take_control(v, c, &fixed, &creates);
	size_t bytes = creates ? sizeof(answer) : 1;
	uint8_t byte;

	if (c->writable.bytes < bytes) {
		log_limited(&v->limit, LOG_LEVEL_WARN,
			"%s: queue %u: head %u has room for %llu bytes of an answer of %zu; "
			"returned unanswered, and nothing was done",
			vdev_label(&v->dev), vq->index, c->head,
			(unsigned long long)c->writable.bytes, bytes);
		vq_count_error(vq);
		return SERVE_DONE;
	}
	if (!status)
		status = creates ? create(v, v->queues[vq->index].worker, c, &fixed, &session)
				 : destroy(v, &fixed);
	if (status)
		vq_count_error(vq);
	answer.session = le64_make(session);
	answer.status = le32_make(status);
	byte = (uint8_t)status;
	chain_put(c, creates ? (const void *)&answer : &byte, bytes);
	return SERVE_DONE;
}
