/* SPDX-License-Identifier: BSD-3-Clause */
/* virtio-rtc, whose id the monitor knows as virtio-clk. Virtio 1.4, "RTC Device". */
#include "describe/types.h"
#include "describe/wire.h"

#define F_ALARM 0

static const struct describe_bit features[] = {
	DESCRIBE_BIT(F_ALARM, "VIRTIO_RTC_F_ALARM", "Alarms supported"),
};

static const struct describe_queue queues[] = {
	{ .name = "requestq" },
	{ .name = "alarmq", .need1 = F_ALARM + 1 },
};

static const struct wire_value messages[] = {
	{ 0x0001, "READ" },
	{ 0x0002, "READ_CROSS" },
	{ 0x1000, "CFG" },
	{ 0x1001, "CLOCK_CAP" },
	{ 0x1002, "CROSS_CAP" },
	{ 0x1003, "READ_ALARM" },
	{ 0x1004, "SET_ALARM" },
	{ 0x1005, "SET_ALARM_ENABLED" },
};

static void rtc_request(const struct describe_in *in, struct describe_fields *ret)
{
	static const struct wire_field head[] = { WIRE_NAMED("message", 0, 2, messages) };
	static const struct wire_field clock[] = { WIRE("clock", 8, 2) };
	static const struct wire_field counter[] = { WIRE("counter", 10, 1) };
	static const struct wire_field alarm[] = {
		WIRE("time-ns", 8, 8),
		WIRE("clock", 16, 2),
		WIRE("flags", 18, 1),
	};
	uint64_t message;

	if (in->queue != 0)
		return;
	WIRE_DECODE(in, head, ret);
	if (!wire_get(in, 0, 2, &message) || message == 0x1000)
		return;
	if (message == 0x1004) {
		WIRE_DECODE(in, alarm, ret);
		return;
	}
	if (!WIRE_NAME(messages, message))
		return;
	WIRE_DECODE(in, clock, ret);
	if (message == 0x0002 || message == 0x1002)
		WIRE_DECODE(in, counter, ret);
}

const struct describe_type describe_rtc = {
	.id = 17,
	.name = "virtio-clk",
	.features = features,
	.num_features = ARRAY_SIZE(features),
	.queues = queues,
	.num_queues = ARRAY_SIZE(queues),
	.request = rtc_request,
};
