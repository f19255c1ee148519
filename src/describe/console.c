/* SPDX-License-Identifier: BSD-3-Clause */
/* virtio-console, which the monitor calls virtio-serial. Virtio 1.4, "Console Device". */
#include "describe/types.h"
#include "describe/wire.h"

#include <inttypes.h>
#include <stdio.h>

#define F_SIZE	      0
#define F_MULTIPORT   1
#define F_EMERG_WRITE 2

static const struct describe_bit features[] = {
	DESCRIBE_BIT(F_EMERG_WRITE, "VIRTIO_CONSOLE_F_EMERG_WRITE", "Emergency write supported"),
	DESCRIBE_BIT(
		F_MULTIPORT, "VIRTIO_CONSOLE_F_MULTIPORT", "Multiple ports for device supported"),
	DESCRIBE_BIT(F_SIZE, "VIRTIO_CONSOLE_F_SIZE", "Device tells the console's size"),
};

static const struct describe_config config[] = {
	CFG_IF("cols", 0, 2, F_SIZE),
	CFG_IF("rows", 2, 2, F_SIZE),
	CFG_IF("max_nr_ports", 4, 4, F_MULTIPORT),
	CFG_IF("emerg_wr", 8, 4, F_EMERG_WRITE),
};

/* Queues 2 and 3 are the control pair; the ports' pairs lie around it. */
static void console_queue_role(
	unsigned index, unsigned num_queues _unused_, const uint64_t *f, char *buf)
{
	const char *way = index % 2 ? "transmitq" : "receiveq";

	if (index >= 2 && !wire_feature(f, F_MULTIPORT, true))
		snprintf(buf, DESCRIBE_ROLE_BYTES, "unused");
	else if (index / 2 == 1)
		snprintf(buf, DESCRIBE_ROLE_BYTES, "control %s", way);
	else
		snprintf(
			buf, DESCRIBE_ROLE_BYTES, "%s(port%u)", way, index < 2 ? 0 : index / 2 - 1);
}

static const struct wire_value events[] = {
	{ 0, "DEVICE_READY" },
	{ 1, "DEVICE_ADD" },
	{ 2, "DEVICE_REMOVE" },
	{ 3, "PORT_READY" },
	{ 4, "CONSOLE_PORT" },
	{ 5, "RESIZE" },
	{ 6, "PORT_OPEN" },
	{ 7, "PORT_NAME" },
};

static void console_request(const struct describe_in *in, struct describe_fields *ret)
{
	static const struct wire_field message[] = {
		WIRE_NAMED("event", 4, 2, events),
		WIRE("port", 0, 4),
		WIRE("value", 6, 2),
	};

	if (in->queue % 2 == 0) {
		wire_line(ret, "receive buffer of %" PRIu32 " bytes", in->writable);
	} else if (in->queue == 3) {
		WIRE_DECODE(in, message, ret);
	} else {
		wire_add(ret, "bytes", in->readable, NULL);
		wire_add_text(ret, in, "text", 0);
		wire_line(ret, "write %" PRIu32 " bytes", in->readable);
	}
}

const struct describe_type describe_console = {
	.id = 3,
	.name = "virtio-serial",
	.features = features,
	.num_features = ARRAY_SIZE(features),
	.config = config,
	.num_config = ARRAY_SIZE(config),
	.queue_role = console_queue_role,
	.request = console_request,
};
