/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * virtio-bt: HCI packets with their H4 type byte. The virtio specification only reserves the id;
 * bits and config are those of the Linux driver.
 */
#include "describe/types.h"
#include "describe/wire.h"

#include <inttypes.h>

static const struct describe_bit features[] = {
	DESCRIBE_BIT(3, "VIRTIO_BT_F_CONFIG_V2", "Second layout of the configuration"),
	DESCRIBE_BIT(2, "VIRTIO_BT_F_AOSP_EXT", "AOSP extensions supported"),
	DESCRIBE_BIT(1, "VIRTIO_BT_F_MSFT_EXT", "MSFT extensions supported"),
	DESCRIBE_BIT(0, "VIRTIO_BT_F_VND_HCI", "Vendor commands supported"),
};

/* CONFIG_V2 has the same members one byte further, behind a pad; only the type stays. */
static const struct describe_config config[] = { CFG("type", 0, 1) };

static const struct describe_queue queues[] = { { .name = "tx" }, { .name = "rx" } };

static void bt_request(const struct describe_in *in, struct describe_fields *ret)
{
	static const struct wire_value types[] = {
		{ 1, "command" },
		{ 2, "ACL data" },
		{ 3, "SCO data" },
		{ 4, "event" },
		{ 5, "ISO data" },
	};
	static const struct wire_field head[] = { WIRE_NAMED("packet", 0, 1, types) };
	static const struct wire_field command[] = { WIRE_HEX("opcode", 1, 2) };
	uint64_t type;

	if (in->queue == 1) {
		wire_line(ret, "receive buffer of %" PRIu32 " bytes", in->writable);
		return;
	}
	WIRE_DECODE(in, head, ret);
	if (wire_get(in, 0, 1, &type) && type == 1)
		WIRE_DECODE(in, command, ret);
	wire_add(ret, "bytes", in->readable, NULL);
}

const struct describe_type describe_bt = {
	.id = 40,
	.name = "virtio-bluetooth",
	.features = features,
	.num_features = ARRAY_SIZE(features),
	.config = config,
	.num_config = ARRAY_SIZE(config),
	.queues = queues,
	.num_queues = ARRAY_SIZE(queues),
	.request = bt_request,
};
