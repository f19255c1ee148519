/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Sessions by message: CREATE_CRYPTO_SESSION in the forms of struct vhu_session and struct
 * vhu_session2 becomes struct vdev_session_params, and what they mean is the device's. Refuses
 * other sizes, which end the connection, and keys longer than the message has room for. What cannot
 * be made is answered with a negative number, as the document asks. Keys are wiped from the
 * message, and no reply carries any.
 */
#include <errno.h>
#include <inttypes.h>
#include <string.h>

#include "transport/vhu_internal.h"

static int check_key(const char *what, uint32_t bytes, uint32_t room, struct err *err)
{
	if (bytes <= room)
		return 0;
	return err_set(
		err, -EINVAL, "%s of %u bytes: the message has room for %u", what, bytes, room);
}

static int take_symmetric(const struct vhu_sym_setup *setup, const uint8_t *key,
	const uint8_t *auth_key, struct vdev_session_params *ret, struct err *err)
{
	*ret = (struct vdev_session_params){
		.op_type = setup->op_type,
		.cipher_algo = le32_get(setup->cipher_algo),
		.direction = setup->direction,
		.chain_order = setup->chain_order,
		.hash_mode = setup->hash_mode,
		.hash_algo = le32_get(setup->hash_algo),
		.result_bytes = le32_get(setup->result_bytes),
		.aad_bytes = le32_get(setup->aad_bytes),
		.key = key,
		.key_bytes = le32_get(setup->key_bytes),
		.auth_key = auth_key,
		.auth_key_bytes = le32_get(setup->auth_key_bytes),
	};
	if (check_key("key", ret->key_bytes, VHU_SESSION_KEY_MAX, err) < 0)
		return -EINVAL;
	return check_key("authentication key", ret->auth_key_bytes, VHU_SESSION_AUTH_KEY_MAX, err);
}

static int take_asymmetric(
	const struct vhu_session2 *session, struct vdev_session_params *ret, struct err *err)
{
	const struct vhu_asym_setup *setup = &session->asym.setup;

	*ret = (struct vdev_session_params){
		.is_asymmetric = true,
		.algo = le32_get(setup->algo),
		.key_type = le32_get(setup->key_type),
		.rsa_padding = le32_get(setup->rsa_padding),
		.rsa_hash = le32_get(setup->rsa_hash),
		.key = session->asym.key,
		.key_bytes = le32_get(setup->key_bytes),
	};
	return check_key("key", ret->key_bytes, VHU_SESSION_ASYM_KEY_MAX, err);
}

static int take_session2(
	const struct vhu_session2 *session, struct vdev_session_params *ret, struct err *err)
{
	uint64_t op_code = le64_get(session->op_code);

	if (op_code == VHU_SESSION_AKCIPHER)
		return take_asymmetric(session, ret, err);
	if (op_code == VHU_SESSION_CIPHER)
		return take_symmetric(
			&session->sym.setup, session->sym.key, session->sym.auth_key, ret, err);
	return err_set(err, -EOPNOTSUPP,
		"operation 0x%" PRIx64 " makes no session of a cipher or of a key in two halves",
		op_code);
}

static bool is_session2(const struct vhu_call *call)
{
	return call->payload_bytes == sizeof(struct vhu_session2);
}

/* Keys and the front-end's pointers stay out. */
static void reply_session(struct vhu_call *call, uint64_t id)
{
	memcpy(call->reply.session_bytes, call->payload->bytes, VHU_SESSION_PUBLIC_BYTES);
	if (is_session2(call))
		call->reply.session2.id = le64_make(id);
	else
		call->reply.session.id = le64_make(id);
	call->reply_bytes = call->payload_bytes;
}

int vhu_create_session(struct vhu *vhu, struct vhu_call *call, struct err *err)
{
	const struct vhu_session *session = &call->payload->session;
	struct vdev_session_params params;
	uint64_t id = UINT64_MAX;
	int r;

	if (call->payload_bytes != sizeof(*session) && !is_session2(call))
		return err_set(err, -EINVAL, "a session of %u bytes, neither %zu nor %zu",
			call->payload_bytes, sizeof(*session), sizeof(struct vhu_session2));
	r = is_session2(call) ? take_session2(&call->payload->session2, &params, err)
			      : take_symmetric(&session->setup, session->key, session->auth_key,
					&params, err);
	if (r == 0)
		r = vhu->dev->cls->sessions->create(vhu->dev, &params, &id, err);
	if (r < 0)
		log_limited(&vhu->limit, LOG_LEVEL_WARN,
			"%s: no session for the front-end on %s: %s", vdev_label(vhu->dev),
			vhu_where(vhu), err->msg);
	reply_session(call, r < 0 ? UINT64_MAX : id);
	explicit_bzero(vhu->sock.payload, call->payload_bytes);
	return 0;
}

int vhu_close_session(struct vhu *vhu, struct vhu_call *call, struct err *err)
{
	return vhu->dev->cls->sessions->close(vhu->dev, le64_get(call->payload->u64.value), err);
}
