/* SPDX-License-Identifier: BSD-3-Clause */
/* virtio-media: V4L2 calls. Virtio 1.4, "Media Device". */
#include "describe/types.h"
#include "describe/wire.h"

#include <inttypes.h>

static const struct describe_config config[] = {
	CFG("device_caps", 0, 4),
	CFG("device_type", 4, 4),
	{ .name = "card", .offset = 8, .size = 32, .kind = DESCRIBE_STRING },
};

static const struct describe_queue queues[] = { { .name = "commandq" }, { .name = "eventq" } };

enum {
	OPEN = 1,
	CLOSE,
	IOCTL,
	MMAP,
	MUNMAP,
};

static const struct wire_value commands[] = {
	{ OPEN, "OPEN" },
	{ CLOSE, "CLOSE" },
	{ IOCTL, "IOCTL" },
	{ MMAP, "MMAP" },
	{ MUNMAP, "MUNMAP" },
};

static void media_request(const struct describe_in *in, struct describe_fields *ret)
{
	static const struct wire_field head[] = { WIRE_NAMED("command", 0, 4, commands) };
	static const struct wire_field session[] = { WIRE("session", 8, 4) };
	static const struct wire_field ioctl[] = { WIRE("code", 12, 4) };
	static const struct wire_field mmap[] = { WIRE_HEX("flags", 12, 4), WIRE("offset", 16, 4) };
	static const struct wire_field munmap[] = { WIRE_HEX("address", 8, 8) };
	uint64_t command;

	if (in->queue == 1) {
		wire_line(ret, "event buffer of %" PRIu32 " bytes", in->writable);
		return;
	}
	WIRE_DECODE(in, head, ret);
	if (!wire_get(in, 0, 4, &command))
		return;
	if (command == CLOSE || command == IOCTL || command == MMAP)
		WIRE_DECODE(in, session, ret);
	if (command == IOCTL)
		WIRE_DECODE(in, ioctl, ret);
	if (command == MMAP)
		WIRE_DECODE(in, mmap, ret);
	if (command == MUNMAP)
		WIRE_DECODE(in, munmap, ret);
}

const struct describe_type describe_media = {
	.id = 48,
	.name = "virtio-media",
	.config = config,
	.num_config = ARRAY_SIZE(config),
	.queues = queues,
	.num_queues = ARRAY_SIZE(queues),
	.request = media_request,
};
