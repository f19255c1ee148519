/* SPDX-License-Identifier: BSD-3-Clause */
/* virtio-sound. Virtio 1.4, "Sound Device". */
#include "describe/types.h"
#include "describe/wire.h"

#include <inttypes.h>

#define F_CTLS 0

static const struct describe_bit features[] = {
	DESCRIBE_BIT(F_CTLS, "VIRTIO_SND_F_CTLS", "Control elements supported"),
};

static const struct describe_config config[] = {
	CFG("jacks", 0, 4),
	CFG("streams", 4, 4),
	CFG("chmaps", 8, 4),
	CFG_IF("controls", 12, 4, F_CTLS),
};

static const struct describe_queue queues[] = {
	{ .name = "controlq" },
	{ .name = "eventq" },
	{ .name = "txq" },
	{ .name = "rxq" },
};

static const struct wire_value codes[] = {
	{ 0x001, "JACK_INFO" },
	{ 0x002, "JACK_REMAP" },
	{ 0x100, "PCM_INFO" },
	{ 0x101, "PCM_SET_PARAMS" },
	{ 0x102, "PCM_PREPARE" },
	{ 0x103, "PCM_RELEASE" },
	{ 0x104, "PCM_START" },
	{ 0x105, "PCM_STOP" },
	{ 0x200, "CHMAP_INFO" },
	{ 0x300, "CTL_INFO" },
	{ 0x301, "CTL_ENUM_ITEMS" },
	{ 0x302, "CTL_READ" },
	{ 0x303, "CTL_WRITE" },
	{ 0x304, "CTL_TLV_READ" },
	{ 0x305, "CTL_TLV_WRITE" },
	{ 0x306, "CTL_TLV_COMMAND" },
};

static void control(const struct describe_in *in, struct describe_fields *ret)
{
	static const struct wire_field head[] = { WIRE_NAMED("request", 0, 4, codes) };
	static const struct wire_field query[] = { WIRE("start-id", 4, 4), WIRE("count", 8, 4) };
	static const struct wire_field params[] = {
		WIRE("stream", 4, 4),
		WIRE("buffer-bytes", 8, 4),
		WIRE("period-bytes", 12, 4),
		WIRE("channels", 20, 1),
		WIRE("format", 21, 1),
		WIRE("rate", 22, 1),
	};
	static const struct wire_field stream[] = { WIRE("stream", 4, 4) };
	static const struct wire_field jack[] = { WIRE("jack", 4, 4) };
	static const struct wire_field element[] = { WIRE("control", 4, 4) };
	uint64_t code;

	WIRE_DECODE(in, head, ret);
	if (!wire_get(in, 0, 4, &code) || !WIRE_NAME(codes, code))
		return;
	if (code == 0x001 || code == 0x100 || code == 0x200 || code == 0x300)
		WIRE_DECODE(in, query, ret);
	else if (code == 0x101)
		WIRE_DECODE(in, params, ret);
	else if (code < 0x100)
		WIRE_DECODE(in, jack, ret);
	else if (code < 0x200)
		WIRE_DECODE(in, stream, ret);
	else
		WIRE_DECODE(in, element, ret);
}

static void sound_request(const struct describe_in *in, struct describe_fields *ret)
{
	static const struct wire_field transfer[] = { WIRE("stream", 0, 4) };
	uint32_t bytes;

	switch (in->queue) {
	case 0: control(in, ret); break;
	case 1: wire_line(ret, "event buffer of %" PRIu32 " bytes", in->writable); break;
	case 2:
	case 3:
		/* The stream's number before the frames, a status of 8 bytes behind them. */
		bytes = in->queue == 2 ? wire_minus(in->readable, 4) : wire_minus(in->writable, 8);
		WIRE_DECODE(in, transfer, ret);
		wire_add(ret, "bytes", bytes, NULL);
		wire_line(ret, "%s %" PRIu32 " bytes of sound", in->queue == 2 ? "play" : "record",
			bytes);
		break;
	}
}

const struct describe_type describe_sound = {
	.id = 25,
	.name = "virtio-sound",
	.features = features,
	.num_features = ARRAY_SIZE(features),
	.config = config,
	.num_config = ARRAY_SIZE(config),
	.queues = queues,
	.num_queues = ARRAY_SIZE(queues),
	.request = sound_request,
};
