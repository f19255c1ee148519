/* SPDX-License-Identifier: BSD-3-Clause */
/* virtio-mem. Virtio 1.4, "Memory Device". */
#include "describe/types.h"
#include "describe/wire.h"

static const struct describe_bit features[] = {
	DESCRIBE_BIT(2, "VIRTIO_MEM_F_PERSISTENT_SUSPEND",
		"Plugged memory survives a suspend of the guest"),
	DESCRIBE_BIT(
		1, "VIRTIO_MEM_F_UNPLUGGED_INACCESSIBLE", "Driver never touches unplugged memory"),
	DESCRIBE_BIT(0, "VIRTIO_MEM_F_ACPI_PXM", "node_id is an ACPI proximity domain"),
};

static const struct describe_config config[] = {
	CFG("block_size", 0, 8),
	CFG_IF("node_id", 8, 2, 0),
	CFG("addr", 16, 8),
	CFG("region_size", 24, 8),
	CFG("usable_region_size", 32, 8),
	CFG("plugged_size", 40, 8),
	CFG("requested_size", 48, 8),
};

static const struct describe_queue queues[] = { { .name = "guest-request" } };

static const struct wire_value types[] = {
	{ 0, "PLUG" },
	{ 1, "UNPLUG" },
	{ 2, "UNPLUG_ALL" },
	{ 3, "STATE" },
};

static void mem_request(const struct describe_in *in, struct describe_fields *ret)
{
	static const struct wire_field head[] = { WIRE_NAMED("type", 0, 2, types) };
	static const struct wire_field range[] = { WIRE_HEX("addr", 8, 8), WIRE("blocks", 16, 2) };
	uint64_t type;

	WIRE_DECODE(in, head, ret);
	if (wire_get(in, 0, 2, &type) && type <= 3 && type != 2)
		WIRE_DECODE(in, range, ret);
}

const struct describe_type describe_mem = {
	.id = 24,
	.name = "virtio-mem",
	.features = features,
	.num_features = ARRAY_SIZE(features),
	.config = config,
	.num_config = ARRAY_SIZE(config),
	.queues = queues,
	.num_queues = ARRAY_SIZE(queues),
	.request = mem_request,
};
