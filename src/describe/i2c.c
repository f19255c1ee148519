/* SPDX-License-Identifier: BSD-3-Clause */
/* virtio-i2c. Virtio 1.4, "I2C Adapter Device". */
#include "describe/types.h"
#include "describe/wire.h"

#include <inttypes.h>

static const struct describe_bit features[] = {
	DESCRIBE_BIT(0, "VIRTIO_I2C_F_ZERO_LENGTH_REQUEST", "Requests without data supported"),
};

static const struct describe_queue queues[] = { { .name = "requestq" } };

#define HEADER_BYTES	8
#define FLAGS_FAIL_NEXT 1
#define FLAGS_M_RD	2

/* 7 bits lie in 7..1; an address of 10 bits is marked by 11110 there, and its low byte is above. */
static uint64_t address(uint64_t addr)
{
	if ((addr & 0xf9) == 0xf0)
		return (addr & 0x06) << 7 | addr >> 8;
	return addr >> 1;
}

static void i2c_request(const struct describe_in *in, struct describe_fields *ret)
{
	uint64_t addr, flags;
	uint32_t bytes;
	bool read;

	if (!wire_get(in, 0, 2, &addr))
		return;
	addr = address(addr);
	wire_add(ret, "address", addr, NULL);
	if (!wire_get(in, 4, 4, &flags))
		return;
	read = flags & FLAGS_M_RD;
	bytes = read ? wire_minus(in->writable, 1) : wire_minus(in->readable, HEADER_BYTES);
	wire_add(ret, "read", read, NULL);
	wire_add(ret, "fail-next", flags & FLAGS_FAIL_NEXT, NULL);
	wire_add(ret, "bytes", bytes, NULL);
	wire_line(ret, "%s %" PRIu32 " bytes, address 0x%02" PRIx64, read ? "read" : "write", bytes,
		addr);
}

const struct describe_type describe_i2c = {
	.id = 34,
	.name = "vhost-user-i2c",
	.features = features,
	.num_features = ARRAY_SIZE(features),
	.queues = queues,
	.num_queues = ARRAY_SIZE(queues),
	.request = i2c_request,
};
