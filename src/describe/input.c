/* SPDX-License-Identifier: BSD-3-Clause */
/* virtio-input: the driver posts event buffers, and sends LED and sound states. Virtio 1.4, "Input
 * Device". */
#include "describe/types.h"
#include "describe/wire.h"

#include <inttypes.h>

static const struct describe_config config[] = {
	CFG("select", 0, 1),
	CFG("subsel", 1, 1),
	CFG("size", 2, 1),
	/* A string, a bitmap, ids or a range, as select and subsel say. */
	{ .name = "u", .offset = 8, .size = 128, .kind = DESCRIBE_BYTES },
};

static const struct describe_queue queues[] = { { .name = "eventq" }, { .name = "statusq" } };

static const struct wire_value types[] = {
	{ 0x00, "SYN" },
	{ 0x01, "KEY" },
	{ 0x02, "REL" },
	{ 0x03, "ABS" },
	{ 0x04, "MSC" },
	{ 0x05, "SW" },
	{ 0x11, "LED" },
	{ 0x12, "SND" },
	{ 0x14, "REP" },
	{ 0x15, "FF" },
};

static void input_request(const struct describe_in *in, struct describe_fields *ret)
{
	static const struct wire_field event[] = {
		WIRE_NAMED("type", 0, 2, types),
		WIRE("code", 2, 2),
		WIRE("value", 4, 4),
	};

	if (in->queue == 0)
		wire_line(ret, "event buffer of %" PRIu32 " bytes", in->writable);
	else
		WIRE_DECODE(in, event, ret);
}

const struct describe_type describe_input = {
	.id = 18,
	.name = "virtio-input",
	.config = config,
	.num_config = ARRAY_SIZE(config),
	.queues = queues,
	.num_queues = ARRAY_SIZE(queues),
	.request = input_request,
};
