/* SPDX-License-Identifier: BSD-3-Clause */
/* virtio-vsock: packets with a header of 44 bytes, of which the first 32 are told. Virtio 1.4,
 * "Socket Device". */
#include "describe/types.h"
#include "describe/wire.h"

#include <inttypes.h>

static const struct describe_bit features[] = {
	DESCRIBE_BIT(2, "VIRTIO_VSOCK_F_NO_IMPLIED_STREAM", "Stream sockets are not implied"),
	DESCRIBE_BIT(1, "VIRTIO_VSOCK_F_SEQPACKET", "Seqpacket sockets supported"),
	DESCRIBE_BIT(0, "VIRTIO_VSOCK_F_STREAM", "Stream sockets supported"),
};

static const struct describe_config config[] = { CFG("guest_cid", 0, 8) };

static const struct describe_queue queues[] = {
	{ .name = "rx" },
	{ .name = "tx" },
	{ .name = "event" },
};

static const struct wire_value operations[] = {
	{ 0, "INVALID" },
	{ 1, "REQUEST" },
	{ 2, "RESPONSE" },
	{ 3, "RST" },
	{ 4, "SHUTDOWN" },
	{ 5, "RW" },
	{ 6, "CREDIT_UPDATE" },
	{ 7, "CREDIT_REQUEST" },
};

static const struct wire_value socket_types[] = { { 1, "STREAM" }, { 2, "SEQPACKET" } };

static void vsock_request(const struct describe_in *in, struct describe_fields *ret)
{
	static const struct wire_field header[] = {
		WIRE_NAMED("op", 30, 2, operations),
		WIRE("src-cid", 0, 8),
		WIRE("src-port", 16, 4),
		WIRE("dst-cid", 8, 8),
		WIRE("dst-port", 20, 4),
		WIRE("bytes", 24, 4),
		WIRE_NAMED("type", 28, 2, socket_types),
	};
	const struct describe_field *op;

	if (in->queue != 1) {
		wire_line(ret, "%s buffer of %" PRIu32 " bytes", in->queue ? "event" : "receive",
			in->writable);
		return;
	}
	WIRE_DECODE(in, header, ret);
	op = describe_field_get(ret, "op");
	if (!op || !op->text[0])
		return;
	/* All the others lie before op. */
	wire_line(ret, "%s %" PRIu64 " bytes from port %" PRIu64 " to %" PRIu64 ":%" PRIu64,
		op->text, describe_field_get(ret, "bytes")->value,
		describe_field_get(ret, "src-port")->value,
		describe_field_get(ret, "dst-cid")->value,
		describe_field_get(ret, "dst-port")->value);
}

const struct describe_type describe_vsock = {
	.id = 19,
	.name = "vhost-vsock",
	.features = features,
	.num_features = ARRAY_SIZE(features),
	.config = config,
	.num_config = ARRAY_SIZE(config),
	.queues = queues,
	.num_queues = ARRAY_SIZE(queues),
	.request = vsock_request,
};
