/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Requests of the front-end, one at a time and in order. A request that is not well-formed, or
 * names a queue that is not there, ends the connection. One that is well-formed and cannot be done,
 * or is not supported, is answered with a non-zero acknowledgement where one was asked for; else
 * whoever sent it believes in something that is not so, and the connection ends too.
 */
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "base/cleanup.h"
#include "transport/vhu_internal.h"

/* Messages handled before the rest of the loop has its turn. */
#define VHU_BUDGET 32

#define BIT(n) (1ull << (n))

/* Without these there are no notifications as messages. */
#define INBAND_NEEDS (BIT(VHU_PF_BACKEND_REQ) | BIT(VHU_PF_REPLY_ACK))

/* Bits of the feature word that are the connection's and no driver's. */
#define CONNECTION_FEATURES (BIT(VHU_F_PROTOCOL_FEATURES) | BIT(VHU_F_LOG_ALL))

uint64_t vhu_offered_protocol_features(const struct vhu *vhu)
{
	uint64_t bits = BIT(VHU_PF_MQ) | BIT(VHU_PF_REPLY_ACK) | BIT(VHU_PF_BACKEND_REQ) |
			BIT(VHU_PF_RESET_DEVICE) | BIT(VHU_PF_STATUS) | BIT(VHU_PF_LOG_SHMFD) |
			BIT(VHU_PF_INFLIGHT_SHMFD) | BIT(VHU_PF_CONFIGURE_MEM_SLOTS);

	if (vhu->dev->handover)
		bits &= ~BIT(VHU_PF_INFLIGHT_SHMFD);
	if (vhu->dev->cannot_log)
		bits &= ~BIT(VHU_PF_LOG_SHMFD);
	if (vhu->offers_inband)
		bits |= BIT(VHU_PF_INBAND_NOTIFICATIONS);
	/* QEMU warns about the bit for device types that have nothing there. */
	if (vhu->dev->cls->config_bytes)
		bits |= BIT(VHU_PF_CONFIG);
	if (vhu->dev->cls->sessions)
		bits |= BIT(VHU_PF_CRYPTO_SESSION);
	return bits;
}

bool vhu_negotiated(const struct vhu *vhu, enum vhu_protocol_feature bit)
{
	return vhu->protocol_features >> bit & 1;
}

static int reply_u64(struct vhu_call *call, uint64_t value)
{
	call->reply.u64.value = le64_make(value);
	call->reply_bytes = sizeof(call->reply.u64);
	return 0;
}

static int get_features(struct vhu *vhu, struct vhu_call *call, struct err *err)
{
	(void)err;
	return reply_u64(call, vhu->dev->device_features.word[0] | BIT(VHU_F_PROTOCOL_FEATURES) |
				       (vhu->dev->cannot_log ? 0 : BIT(VHU_F_LOG_ALL)));
}

static uint64_t asked_features(const struct vhu_call *call)
{
	return le64_get(call->payload->u64.value) & ~CONNECTION_FEATURES;
}

static bool asks_for_log(const struct vhu_call *call)
{
	return le64_get(call->payload->u64.value) & BIT(VHU_F_LOG_ALL);
}

static bool has_protocol_bit(const struct vhu_call *call)
{
	return le64_get(call->payload->u64.value) & BIT(VHU_F_PROTOCOL_FEATURES);
}

/*
 * Who can neither switch a ring off nor send a status byte says by this alone that another driver
 * begins: user-mode Linux, where a driver took features back. The rings' memory may be anybody's.
 */
static bool begins_anew(struct vhu *vhu, const struct vhu_call *call)
{
	return !has_protocol_bit(call) && !vhu_negotiated(vhu, VHU_PF_STATUS) &&
	       vhu_any_ring(vhu) && asks_for_log(call) == vhu->log_all;
}

/* Migration sets features on running rings; what stays the same disturbs none. */
static bool features_change(struct vhu *vhu, const struct vhu_call *call)
{
	return asked_features(call) != vhu->dev->driver_features.word[0] ||
	       asks_for_log(call) != vhu->log_all || begins_anew(vhu, call);
}

/*
 * Without the bit rings are enabled from the start. With it they are not; but QEMU's cryptodev,
 * which nobody else is with CRYPTO_SESSION, takes the bit and never enables a ring.
 */
static void enable_rings(struct vhu *vhu, const struct vhu_call *call)
{
	bool has_protocol = has_protocol_bit(call);

	if (has_protocol && !vhu_negotiated(vhu, VHU_PF_CRYPTO_SESSION))
		return;
	for (unsigned int i = 0; i < vhu->dev->num_queues; i++)
		if (!has_protocol || !vhu->rings[i].told)
			vhu->rings[i].enabled = true;
}

static int set_features(struct vhu *vhu, struct vhu_call *call, struct err *err)
{

	(void)err;
	if (begins_anew(vhu, call))
		vhu_reset(vhu, false);
	/* user-mode Linux says no more than this when another driver is bound. */
	if (vhu->started && !vhu_any_ring(vhu) && vhu_status_is_derived(vhu))
		vhu->reset_pending = true;
	vdev_set_driver_features(vhu->dev, virtio_features_from64(asked_features(call)));
	vhu->features_set = true;
	vhu_log_switch(vhu, asks_for_log(call));
	enable_rings(vhu, call);
	if (!vhu_negotiated(vhu, VHU_PF_STATUS))
		vdev_derive_status(vhu->dev,
			VIRTIO_STATUS_ACKNOWLEDGE | VIRTIO_STATUS_DRIVER |
				VIRTIO_STATUS_FEATURES_OK,
			0);
	return 0;
}

static int get_protocol_features(struct vhu *vhu, struct vhu_call *call, struct err *err)
{
	(void)err;
	return reply_u64(call, vhu_offered_protocol_features(vhu));
}

static int set_protocol_features(struct vhu *vhu, struct vhu_call *call, struct err *err)
{
	uint64_t asked = le64_get(call->payload->u64.value);
	uint64_t offered = vhu_offered_protocol_features(vhu);

	if (asked & offered & BIT(VHU_PF_INBAND_NOTIFICATIONS) &&
		(asked & INBAND_NEEDS) != INBAND_NEEDS) {
		/* Nothing is negotiated, acknowledgements neither: the connection closes. */
		vhu->protocol_features = 0;
		return err_set(err, -EPROTO,
			"INBAND_NOTIFICATIONS without BACKEND_REQ and REPLY_ACK (0x%" PRIx64 ")",
			asked);
	}
	if (asked & ~offered)
		log_limited(&vhu->limit, LOG_LEVEL_WARN,
			"%s: the front-end accepted protocol features 0x%" PRIx64
			" that were not offered (0x%" PRIx64 " were)",
			vdev_label(vhu->dev), asked & ~offered, offered);
	vhu->protocol_features = asked & offered;
	vhu->dev->view.protocol_features = vhu->protocol_features;
	if (!vhu_negotiated(vhu, VHU_PF_STATUS))
		vhu->status_kind = VHU_STATUS_UNKNOWN;
	vhu->dev->view.status_known = !vhu_status_is_derived(vhu);
	return 0;
}

static int set_owner(struct vhu *vhu, struct vhu_call *call, struct err *err)
{
	(void)vhu;
	(void)call;
	(void)err;
	return 0;
}

static bool not_idle(struct vhu *vhu, const struct vhu_call *call)
{
	(void)call;
	return !vdev_is_idle(vhu->dev);
}

/* The document's advice for this old message: all rings are disabled, nothing is forgotten. */
static int reset_owner(struct vhu *vhu, struct vhu_call *call, struct err *err)
{
	unsigned int i;

	(void)call;
	(void)err;
	for (i = 0; i < vhu->dev->num_queues; i++)
		vhu->rings[i].enabled = false;
	return 0;
}

static int reset_device(struct vhu *vhu, struct vhu_call *call, struct err *err)
{
	(void)call;
	(void)err;
	vhu_reset(vhu, false);
	return 0;
}

static int get_queue_num(struct vhu *vhu, struct vhu_call *call, struct err *err)
{
	(void)err;
	return reply_u64(call,
		vhu->dev->num_queue_groups ? vhu->dev->num_queue_groups : vhu->dev->num_queues);
}

static int set_backend_req_fd(struct vhu *vhu, struct vhu_call *call, struct err *err)
{
	(void)call;
	return vhu_channel_open(vhu, usock_take_fd(&vhu->sock, 0), err);
}

/*
 * A front-end of a later version may know a longer space than the device has: the rest reads as
 * zeros, as it does on other transports. A range that no device can have is an error, which is said
 * by a reply without a payload.
 */
static int get_config(struct vhu *vhu, struct vhu_call *call, struct err *err)
{
	const struct vhu_config *asked = &call->payload->config;
	uint32_t offset = le32_get(asked->offset), size = le32_get(asked->size);
	uint8_t space[VHU_CONFIG_MAX] = { 0 };

	(void)err;
	call->reply_bytes = 0;
	if (!range_inside(offset, size, sizeof(space))) {
		log_limited(&vhu->limit, LOG_LEVEL_WARN,
			"%s: GET_CONFIG of %u bytes at %u is beyond %zu", vdev_label(vhu->dev),
			size, offset, sizeof(space));
		return 0;
	}
	vdev_get_config(vhu->dev, space);
	call->reply.config.offset = asked->offset;
	call->reply.config.size = asked->size;
	call->reply.config.flags = asked->flags;
	memcpy(call->reply.config.data, space + offset, size);
	call->reply_bytes = VHU_CONFIG_HEADER_BYTES + size;
	return 0;
}

static int set_config(struct vhu *vhu, struct vhu_call *call, struct err *err)
{
	const struct vhu_config *asked = &call->payload->config;
	uint32_t offset = le32_get(asked->offset), size = le32_get(asked->size);
	uint32_t flags = le32_get(asked->flags);

	if (flags != VHU_CONFIG_WRITABLE)
		return err_set(err, -EOPNOTSUPP,
			"configuration written with flags %u; only %d, a driver's write, is "
			"supported",
			flags, VHU_CONFIG_WRITABLE);
	if (!vdev_set_config(vhu->dev, offset, asked->data, size))
		return err_set(err, -ERANGE, "configuration of %zu bytes: %u at %u are beyond it",
			vhu->dev->cls->config_bytes, size, offset);
	return 0;
}

static bool status_resets(struct vhu *vhu, const struct vhu_call *call)
{
	return !le64_get(call->payload->u64.value) && !vdev_is_idle(vhu->dev);
}

/*
 * A driver shows itself before it is done. Whoever says FEATURES_OK without it, or all at once,
 * made that up.
 */
static void learn_status_kind(struct vhu *vhu, uint8_t status)
{
	bool has_driver = status & (VIRTIO_STATUS_ACKNOWLEDGE | VIRTIO_STATUS_DRIVER);

	if (vhu->status_kind != VHU_STATUS_UNKNOWN || !status)
		return;
	vhu->status_kind = has_driver && !(status & VIRTIO_STATUS_DRIVER_OK) ? VHU_STATUS_DRIVER
									     : VHU_STATUS_COMPOSED;
	vhu->dev->view.status_known = !vhu_status_is_derived(vhu);
}

/* The rings stop and stay where they stand: SET_VRING_BASE will tell a reset from a pause. */
static void status_pauses(struct vhu *vhu)
{
	unsigned int i;

	for (i = 0; i < vhu->dev->num_queues; i++)
		vhu->rings[i].enabled = false;
	vhu->reset_pending = vhu->started;
	vdev_derive_status(vhu->dev, 0, (uint8_t)~VIRTIO_STATUS_NEEDS_RESET);
}

static int set_status(struct vhu *vhu, struct vhu_call *call, struct err *err)
{
	uint64_t status = le64_get(call->payload->u64.value);

	if (status > UINT8_MAX)
		return err_set(
			err, -EINVAL, "status 0x%" PRIx64 " is above 0x%x", status, UINT8_MAX);
	learn_status_kind(vhu, (uint8_t)status);
	if (status)
		vdev_write_status(vhu->dev, (uint8_t)status);
	else if (vhu->status_kind == VHU_STATUS_COMPOSED)
		status_pauses(vhu);
	else
		vhu_reset(vhu, false);
	return 0;
}

static int get_status(struct vhu *vhu, struct vhu_call *call, struct err *err)
{
	(void)err;
	return reply_u64(call, vhu->dev->status);
}

static const struct vhu_handler handlers[VHU_REQUEST_END] = {
	[VHU_GET_FEATURES] = { get_features },
	[VHU_SET_FEATURES] = { set_features, features_change },
	[VHU_GET_PROTOCOL_FEATURES] = { get_protocol_features },
	[VHU_SET_PROTOCOL_FEATURES] = { set_protocol_features },
	[VHU_SET_OWNER] = { set_owner },
	[VHU_RESET_OWNER] = { reset_owner, not_idle },
	[VHU_RESET_DEVICE] = { reset_device, not_idle },
	[VHU_GET_QUEUE_NUM] = { get_queue_num },
	[VHU_SET_BACKEND_REQ_FD] = { set_backend_req_fd },
	[VHU_GET_CONFIG] = { get_config },
	[VHU_SET_CONFIG] = { set_config },
	[VHU_SET_STATUS] = { set_status, status_resets },
	[VHU_GET_STATUS] = { get_status },
	[VHU_SET_MEM_TABLE] = { vhu_set_mem_table, not_idle },
	[VHU_GET_MAX_MEM_SLOTS] = { vhu_get_max_mem_slots },
	[VHU_ADD_MEM_REG] = { vhu_add_mem_reg, not_idle },
	[VHU_REM_MEM_REG] = { vhu_rem_mem_reg, not_idle },
	[VHU_SET_LOG_BASE] = { vhu_set_log_base, vhu_log_not_idle },
	[VHU_SET_LOG_FD] = { vhu_set_log_fd, vhu_log_not_idle },
	[VHU_SET_VRING_NUM] = { vhu_set_vring_num, vhu_ring_stopping, .one_ring = true },
	[VHU_SET_VRING_ADDR] = { vhu_set_vring_addr, vhu_ring_not_idle, .one_ring = true },
	[VHU_SET_VRING_BASE] = { vhu_set_vring_base, vhu_base_not_idle },
	[VHU_GET_VRING_BASE] = { vhu_get_vring_base, vhu_ring_not_idle, .one_ring = true },
	[VHU_VRING_KICK] = { vhu_vring_kick },
	[VHU_SET_VRING_KICK] = { vhu_set_vring_kick },
	[VHU_SET_VRING_CALL] = { vhu_set_vring_call },
	[VHU_SET_VRING_ERR] = { vhu_set_vring_err },
	[VHU_SET_VRING_ENABLE] = { vhu_set_vring_enable, vhu_ring_disabled, .one_ring = true },
	[VHU_CREATE_CRYPTO_SESSION] = { vhu_create_session },
	[VHU_CLOSE_CRYPTO_SESSION] = { vhu_close_session, .harmless = true },
	[VHU_GET_INFLIGHT_FD] = { vhu_get_inflight_fd },
	[VHU_SET_INFLIGHT_FD] = { vhu_set_inflight_fd, not_idle },
};

static const struct vhu_handler *handler_of(const struct vhu *vhu, uint32_t request)
{
	const struct vhu_rule *rule = vhu_rule(request);

	if (!rule || !handlers[request].fn)
		return NULL;
	if (rule->feature >= 0 && !vhu_negotiated(vhu, (enum vhu_protocol_feature)rule->feature))
		return NULL;
	return &handlers[request];
}

static void log_fault(
	struct vhu *vhu, const struct vhu_header *header, const struct vhu_fault_info *info)
{
	char name[32], range[48];

	if (info->min == info->max)
		snprintf(range, sizeof(range), "%" PRIu64, info->min);
	else
		snprintf(range, sizeof(range), "%" PRIu64 " to %" PRIu64, info->min, info->max);
	log_limited(&vhu->limit, LOG_LEVEL_WARN,
		"%s: closing the connection on %s: %s: %s is %" PRIu64 ", expected %s",
		vdev_label(vhu->dev), vhu_where(vhu),
		vhu_request_name(le32_get(header->request), name, sizeof(name)), info->what,
		info->value, range);
}

/* @fd goes along, unless it is -1; it stays the caller's. */
static void send_reply(
	struct vhu *vhu, uint32_t request, const void *payload, uint32_t bytes, int fd)
{
	struct vhu_header header = vhu_header_make(request, VHU_FLAG_REPLY, bytes);
	int r;

	vhu_note(vhu, TRANSCRIPT_MAIN, true, &header, payload, bytes, fd < 0 ? 0 : 1);
	r = usock_send(&vhu->sock, &header, payload, bytes, &fd, fd < 0 ? 0 : 1);

	if (r < 0) {
		log_limited(&vhu->limit, LOG_LEVEL_WARN,
			"%s: cannot answer the front-end on %s: %s", vdev_label(vhu->dev),
			vhu_where(vhu), strerror(-r));
		vhu_close(vhu);
	}
}

static bool wants_ack(const struct vhu *vhu)
{
	const struct vhu_header *header = (const void *)vhu->sock.header;
	const struct vhu_rule *rule = vhu_rule(le32_get(header->request));

	return (!rule || rule->reply == VHU_REPLY_ACK) && vhu_negotiated(vhu, VHU_PF_REPLY_ACK) &&
	       (le32_get(header->flags) & VHU_NEED_REPLY);
}

static void send_ack(struct vhu *vhu, uint32_t request, int code)
{
	struct vhu_u64 u64 = { le64_make((uint64_t)-code) };

	send_reply(vhu, request, &u64, sizeof(u64), -1);
}

static void refuse(struct vhu *vhu, uint32_t request, int code, const char *sentence)
{
	const struct vhu_handler *handler = handler_of(vhu, request);
	bool ack = wants_ack(vhu), goes_on = ack || (handler && handler->harmless);
	char name[32];

	log_limited(&vhu->limit, LOG_LEVEL_WARN, "%s: %s on %s%s: %s", vdev_label(vhu->dev),
		vhu_request_name(request, name, sizeof(name)), vhu_where(vhu),
		goes_on ? " refused" : ": closing the connection", sentence);
	if (ack)
		send_ack(vhu, request, code);
	else if (!goes_on)
		vhu_close(vhu);
}

static void make_call(struct vhu *vhu, struct vhu_call *ret)
{
	const struct vhu_header *header = (const void *)vhu->sock.header;

	memset(ret, 0, sizeof(*ret));
	ret->reply_fd = -1;
	ret->request = le32_get(header->request);
	ret->payload = (const union vhu_payload *)vhu->sock.payload;
	ret->payload_bytes = le32_get(header->size);
	vhu_queue_index(ret->request, ret->payload, &ret->index);
}

/* The message was checked, and the queues are as idle as it needs them. */
static void run_message(struct vhu *vhu, bool held)
{
	const struct vhu_handler *handler;
	bool was_broken = vhu->dev->broken;
	struct err err = { 0 };
	struct vhu_call call;
	int r, late;

	make_call(vhu, &call);
	handler = handler_of(vhu, call.request);
	r = handler->fn(vhu, &call, &err);
	late = vhu_update(vhu, r < 0 ? NULL : &err);
	if (r >= 0)
		r = late;
	if (held)
		vhu_release(vhu);
	if (r < 0)
		refuse(vhu, call.request, r, err.msg);
	else if (vhu_rule(call.request)->reply == VHU_REPLY_OWN)
		send_reply(vhu, call.request, &call.reply, call.reply_bytes, call.reply_fd);
	else if (wants_ack(vhu))
		/* A ring that broke as it started: the socket stays, but nobody is told all is
		 * well. */
		send_ack(vhu, call.request, vhu->dev->broken && !was_broken ? -EIO : 0);
	close_fd(&call.reply_fd);
	/* Descriptors are not kept until the next message. */
	usock_drop(&vhu->sock);
}

static void resume_message(struct vhu *vhu)
{
	vhu->dev->view.waits_for[0] = '\0';
	run_message(vhu, true);
	vhu_process(vhu);
}

/* For who looks: that takes as long as what is in flight does. */
static void note_wait(struct vhu *vhu, uint32_t request)
{
	struct vdev_transport_view *view = &vhu->dev->view;
	char buf[32];

	snprintf(view->waits_for, sizeof(view->waits_for), "%s",
		vhu_request_name(request, buf, sizeof(buf)));
	view->waits_since_ns = now_ns();
}

static void handle_message(struct vhu *vhu)
{
	const struct vhu_header *header = (const void *)vhu->sock.header;
	const union vhu_payload *payload = (const union vhu_payload *)vhu->sock.payload;
	uint32_t request = le32_get(header->request), index;
	const struct vhu_handler *handler = handler_of(vhu, request);
	struct vhu_fault_info info;
	struct vhu_call call;

	vhu_note(vhu, TRANSCRIPT_MAIN, false, header, payload, vhu->sock.payload_bytes,
		vhu->sock.num_fds);
	if (vhu_check(header, payload, vhu->sock.num_fds, &info)) {
		log_fault(vhu, header, &info);
		vhu_close(vhu);
		return;
	}
	if (vhu_queue_index(request, payload, &index) && index >= vhu->dev->num_queues) {
		info = (struct vhu_fault_info){ VHU_FAULT_INDEX, "queue index", index, 0,
			vhu->dev->num_queues - 1 };
		log_fault(vhu, header, &info);
		vhu_close(vhu);
		return;
	}
	if (!handler) {
		refuse(vhu, request, -EOPNOTSUPP, "not supported, or not negotiated");
		usock_drop(&vhu->sock);
		return;
	}
	make_call(vhu, &call);
	if (!handler->needs_idle || !handler->needs_idle(vhu, &call)) {
		run_message(vhu, false);
		return;
	}
	note_wait(vhu, request);
	vhu_when_idle(
		vhu, handler->one_ring ? &vhu->dev->queues[call.index] : NULL, resume_message);
}

static void receive_failed(struct vhu *vhu, int code)
{
	const struct vhu_header *header = (const void *)vhu->sock.header;
	struct vhu_fault_info info;

	if (code == -EPIPE)
		log_limited(&vhu->visits, LOG_LEVEL_INFO, "%s: the front-end on %s is gone",
			vdev_label(vhu->dev), vhu_where(vhu));
	else if (code == -EPROTO && vhu_check_header(header, &info)) {
		/* Its payload is not waited for. */
		vhu_note(vhu, TRANSCRIPT_MAIN, false, header, NULL, 0, vhu->sock.num_fds);
		log_fault(vhu, header, &info);
	} else if (code == -EBADMSG)
		log_limited(&vhu->limit, LOG_LEVEL_WARN,
			"%s: closing the connection on %s: %u descriptors with one message, at "
			"most %d may be",
			vdev_label(vhu->dev), vhu_where(vhu),
			vhu->sock.num_fds + vhu->sock.num_surplus, VHU_FDS_MAX);
	else if (code == -ELOOP)
		log_limited(&vhu->limit, LOG_LEVEL_WARN,
			"%s: closing the connection on %s: it sent a descriptor that is a "
			"connection to this process",
			vdev_label(vhu->dev), vhu_where(vhu));
	else if (code == -ENFILE)
		log_limited(&vhu->limit, LOG_LEVEL_WARN,
			"%s: closing the connection on %s: descriptors were lost; is the limit of "
			"open files (ulimit -n) reached?",
			vdev_label(vhu->dev), vhu_where(vhu));
	else
		log_limited(&vhu->limit, LOG_LEVEL_WARN,
			"%s: the connection on %s ended within a message: %s", vdev_label(vhu->dev),
			vhu_where(vhu), strerror(-code));
	vhu_close(vhu);
}

void vhu_process(struct vhu *vhu)
{
	int r;

	/* Who does not read its answers is not read either. */
	for (int budget = VHU_BUDGET; budget && vhu->connected && !vhu->wait && !vhu->sock.out_head;
		budget--) {
		r = usock_recv(&vhu->sock);
		if (r == 0)
			break;
		if (r < 0) {
			receive_failed(vhu, r);
			return;
		}
		handle_message(vhu);
	}
	vhu_watch(vhu);
}
