/* SPDX-License-Identifier: BSD-3-Clause */
/* virtio-scmi: Arm's SCMI messages behind their 32-bit header. Virtio 1.4, "SCMI Device". */
#include "describe/types.h"
#include "describe/wire.h"

#include <inttypes.h>

#define F_P2A_CHANNELS 0

static const struct describe_bit features[] = {
	DESCRIBE_BIT(1, "VIRTIO_SCMI_F_SHARED_MEMORY", "Statistics in shared memory"),
	DESCRIBE_BIT(F_P2A_CHANNELS, "VIRTIO_SCMI_F_P2A_CHANNELS",
		"Notifications or delayed responses supported"),
};

static const struct describe_queue queues[] = {
	{ .name = "cmdq" },
	{ .name = "eventq", .need1 = F_P2A_CHANNELS + 1 },
};

static const struct wire_value protocols[] = {
	{ 0x10, "base" },
	{ 0x11, "power" },
	{ 0x12, "system power" },
	{ 0x13, "performance" },
	{ 0x14, "clock" },
	{ 0x15, "sensor" },
	{ 0x16, "reset" },
	{ 0x17, "voltage" },
	{ 0x18, "power capping" },
	{ 0x19, "pin control" },
};

static void scmi_request(const struct describe_in *in, struct describe_fields *ret)
{
	uint64_t header;

	if (in->queue == 1) {
		wire_line(ret, "event buffer of %" PRIu32 " bytes", in->writable);
		return;
	}
	if (!wire_get(in, 0, 4, &header))
		return;
	wire_add(ret, "protocol", header >> 10 & 0xff, WIRE_NAME(protocols, header >> 10 & 0xff));
	wire_add(ret, "message", header & 0xff, NULL);
	wire_add(ret, "message-type", header >> 8 & 3, NULL);
	wire_add(ret, "token", header >> 18 & 0x3ff, NULL);
}

const struct describe_type describe_scmi = {
	.id = 32,
	.name = "virtio-scmi",
	.features = features,
	.num_features = ARRAY_SIZE(features),
	.queues = queues,
	.num_queues = ARRAY_SIZE(queues),
	.request = scmi_request,
};
