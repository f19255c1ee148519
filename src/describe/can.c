/* SPDX-License-Identifier: BSD-3-Clause */
/* virtio-can. Virtio 1.4, "CAN Device". */
#include "describe/types.h"
#include "describe/wire.h"

#include <inttypes.h>

static const struct describe_bit features[] = {
	DESCRIBE_BIT(
		3, "VIRTIO_CAN_F_LATE_TX_ACK", "A frame is acknowledged when it was on the bus"),
	DESCRIBE_BIT(2, "VIRTIO_CAN_F_RTR_FRAMES", "Remote frames supported"),
	DESCRIBE_BIT(1, "VIRTIO_CAN_F_CAN_FD", "CAN FD frames supported"),
	DESCRIBE_BIT(0, "VIRTIO_CAN_F_CAN_CLASSIC", "Classic CAN frames supported"),
};

static const struct describe_config config[] = { CFG("status", 0, 2) };

static const struct describe_queue queues[] = {
	{ .name = "txq" },
	{ .name = "rxq" },
	{ .name = "controlq" },
};

static const struct wire_value messages[] = {
	{ 0x0001, "TX" },
	{ 0x0201, "SET_CTRL_MODE_START" },
	{ 0x0202, "SET_CTRL_MODE_STOP" },
};

static void can_request(const struct describe_in *in, struct describe_fields *ret)
{
	static const struct wire_field head[] = { WIRE_NAMED("message", 0, 2, messages) };
	static const struct wire_field frame[] = {
		WIRE_HEX("can-id", 12, 4),
		WIRE("bytes", 2, 2),
		WIRE_HEX("flags", 8, 4),
	};

	if (in->queue == 1) {
		wire_line(ret, "receive buffer of %" PRIu32 " bytes", in->writable);
		return;
	}
	WIRE_DECODE(in, head, ret);
	if (in->queue == 0)
		WIRE_DECODE(in, frame, ret);
}

const struct describe_type describe_can = {
	.id = 36,
	.name = "virtio-can",
	.features = features,
	.num_features = ARRAY_SIZE(features),
	.config = config,
	.num_config = ARRAY_SIZE(config),
	.queues = queues,
	.num_queues = ARRAY_SIZE(queues),
	.request = can_request,
};
