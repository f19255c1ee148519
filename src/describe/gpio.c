/* SPDX-License-Identifier: BSD-3-Clause */
/* virtio-gpio. Virtio 1.4, "GPIO Device". */
#include "describe/types.h"
#include "describe/wire.h"

#define F_IRQ 0

static const struct describe_bit features[] = {
	DESCRIBE_BIT(F_IRQ, "VIRTIO_GPIO_F_IRQ", "Interrupts of lines supported"),
};

static const struct describe_config config[] = { CFG("ngpio", 0, 2), CFG("gpio_names_size", 4, 4) };

static const struct describe_queue queues[] = {
	{ .name = "requestq" },
	{ .name = "eventq", .need1 = F_IRQ + 1 },
};

static const struct wire_value types[] = {
	{ 1, "GET_LINE_NAMES" },
	{ 2, "GET_DIRECTION" },
	{ 3, "SET_DIRECTION" },
	{ 4, "GET_VALUE" },
	{ 5, "SET_VALUE" },
	{ 6, "SET_IRQ_TYPE" },
};

static void gpio_request(const struct describe_in *in, struct describe_fields *ret)
{
	static const struct wire_field request[] = {
		WIRE_NAMED("type", 0, 2, types),
		WIRE("line", 2, 2),
		WIRE("value", 4, 4),
	};
	static const struct wire_field event[] = { WIRE("line", 0, 2) };

	if (in->queue == 0)
		WIRE_DECODE(in, request, ret);
	else
		WIRE_DECODE(in, event, ret);
}

const struct describe_type describe_gpio = {
	.id = 41,
	.name = "virtio-gpio",
	.features = features,
	.num_features = ARRAY_SIZE(features),
	.config = config,
	.num_config = ARRAY_SIZE(config),
	.queues = queues,
	.num_queues = ARRAY_SIZE(queues),
	.request = gpio_request,
};
