/* SPDX-License-Identifier: BSD-3-Clause */
/* virtio-iommu. Virtio 1.4, "IOMMU Device". */
#include "describe/types.h"
#include "describe/wire.h"

#include <inttypes.h>

static const struct describe_bit features[] = {
	DESCRIBE_BIT(6, "VIRTIO_IOMMU_F_BYPASS_CONFIG", "Bypass field of IOMMU config available"),
	DESCRIBE_BIT(5, "VIRTIO_IOMMU_F_MMIO", "VIRTIO_IOMMU_MAP_F_MMIO flag available"),
	DESCRIBE_BIT(4, "VIRTIO_IOMMU_F_PROBE", "Probe requests available"),
	DESCRIBE_BIT(3, "VIRTIO_IOMMU_F_BYPASS", "Endpoints without a domain bypass the IOMMU"),
	DESCRIBE_BIT(2, "VIRTIO_IOMMU_F_MAP_UNMAP", "Map and unmap requests available"),
	DESCRIBE_BIT(1, "VIRTIO_IOMMU_F_DOMAIN_RANGE", "Number of supported domains available"),
	DESCRIBE_BIT(
		0, "VIRTIO_IOMMU_F_INPUT_RANGE", "Range of available virtual addrs. available"),
};

static const struct describe_config config[] = {
	CFG("page_size_mask", 0, 8),
	CFG_IF("input_range.start", 8, 8, 0),
	CFG_IF("input_range.end", 16, 8, 0),
	CFG_IF("domain_range.start", 24, 4, 1),
	CFG_IF("domain_range.end", 28, 4, 1),
	CFG_IF("probe_size", 32, 4, 4),
	CFG_IF("bypass", 36, 1, 6),
};

static const struct describe_queue queues[] = { { .name = "requestq" }, { .name = "eventq" } };

enum {
	ATTACH = 1,
	DETACH,
	MAP,
	UNMAP,
	PROBE,
};

static const struct wire_value types[] = {
	{ ATTACH, "ATTACH" },
	{ DETACH, "DETACH" },
	{ MAP, "MAP" },
	{ UNMAP, "UNMAP" },
	{ PROBE, "PROBE" },
};

static void iommu_request(const struct describe_in *in, struct describe_fields *ret)
{
	static const struct wire_field head[] = { WIRE_NAMED("type", 0, 1, types) };
	static const struct wire_field endpoint[] = { WIRE("domain", 4, 4),
		WIRE("endpoint", 8, 4) };
	static const struct wire_field range[] = {
		WIRE("domain", 4, 4),
		WIRE_HEX("virt-start", 8, 8),
		WIRE_HEX("virt-end", 16, 8),
	};
	static const struct wire_field phys[] = { WIRE_HEX("phys-start", 24, 8) };
	static const struct wire_field probed[] = { WIRE("endpoint", 4, 4) };
	uint64_t type;

	if (in->queue == 1) {
		wire_line(ret, "fault buffer of %" PRIu32 " bytes", in->writable);
		return;
	}
	WIRE_DECODE(in, head, ret);
	if (!wire_get(in, 0, 1, &type))
		return;
	if (type == ATTACH || type == DETACH)
		WIRE_DECODE(in, endpoint, ret);
	if (type == MAP || type == UNMAP)
		WIRE_DECODE(in, range, ret);
	if (type == MAP)
		WIRE_DECODE(in, phys, ret);
	if (type == PROBE)
		WIRE_DECODE(in, probed, ret);
}

const struct describe_type describe_iommu = {
	.id = 23,
	.name = "virtio-iommu",
	.features = features,
	.num_features = ARRAY_SIZE(features),
	.config = config,
	.num_config = ARRAY_SIZE(config),
	.queues = queues,
	.num_queues = ARRAY_SIZE(queues),
	.request = iommu_request,
};
