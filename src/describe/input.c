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

/* Codes of the types that a driver sends. */
static const struct wire_value leds[] = {
	{ 0, "NUML" },
	{ 1, "CAPSL" },
	{ 2, "SCROLLL" },
	{ 3, "COMPOSE" },
	{ 4, "KANA" },
	{ 5, "SLEEP" },
	{ 6, "SUSPEND" },
	{ 7, "MUTE" },
	{ 8, "MISC" },
	{ 9, "MAIL" },
	{ 10, "CHARGING" },
};

static const struct wire_value sounds[] = { { 0, "CLICK" }, { 1, "BELL" }, { 2, "TONE" } };
static const struct wire_value repeats[] = { { 0, "DELAY" }, { 1, "PERIOD" } };

static const char *code_name(uint64_t type, uint64_t code)
{
	switch (type) {
	case 0x11: return WIRE_NAME(leds, code);
	case 0x12: return WIRE_NAME(sounds, code);
	case 0x14: return WIRE_NAME(repeats, code);
	default: return NULL;
	}
}

static void status_event(const struct describe_in *in, struct describe_fields *ret)
{
	const char *name, *type_name;
	uint64_t type, code, value;

	if (!wire_get(in, 0, 2, &type))
		return;
	type_name = WIRE_NAME(types, type);
	wire_add(ret, "type", type, type_name);
	if (!wire_get(in, 2, 2, &code))
		return;
	name = code_name(type, code);
	wire_add(ret, "code", code, name);
	if (!wire_get(in, 4, 4, &value))
		return;
	wire_add(ret, "value", value, NULL);
	if (name && type == 0x11)
		wire_line(ret, "LED %s %s", name, value ? "on" : "off");
	else if (name)
		wire_line(ret, "%s %s %" PRIu64, type_name, name, value);
}

static void input_request(const struct describe_in *in, struct describe_fields *ret)
{
	if (in->queue == 0)
		wire_line(ret, "event buffer of %" PRIu32 " bytes", in->writable);
	else
		status_event(in, ret);
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
