/* SPDX-License-Identifier: BSD-3-Clause */
/* virtio-pmem: the one request is a flush. Virtio 1.4, "PMEM Device". */
#include "describe/types.h"
#include "describe/wire.h"

static const struct describe_bit features[] = {
	DESCRIBE_BIT(0, "VIRTIO_PMEM_F_SHMEM_REGION", "Memory is given as a shared memory region"),
};

static const struct describe_config config[] = { CFG("start", 0, 8), CFG("size", 8, 8) };

static const struct describe_queue queues[] = { { .name = "req_vq" } };

static void pmem_request(const struct describe_in *in, struct describe_fields *ret)
{
	static const struct wire_value types[] = { { 0, "FLUSH" } };
	static const struct wire_field request[] = { WIRE_NAMED("type", 0, 4, types) };

	WIRE_DECODE(in, request, ret);
}

const struct describe_type describe_pmem = {
	.id = 27,
	.name = "virtio-pmem",
	.features = features,
	.num_features = ARRAY_SIZE(features),
	.config = config,
	.num_config = ARRAY_SIZE(config),
	.queues = queues,
	.num_queues = ARRAY_SIZE(queues),
	.request = pmem_request,
};
