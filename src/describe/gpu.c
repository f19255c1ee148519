/* SPDX-License-Identifier: BSD-3-Clause */
/* virtio-gpu: control and cursor commands by name. Virtio 1.4, "GPU Device". */
#include "describe/types.h"
#include "describe/wire.h"

#define F_BLOB_ALIGNMENT 5

static const struct describe_bit features[] = {
	DESCRIBE_BIT(F_BLOB_ALIGNMENT, "VIRTIO_GPU_F_BLOB_ALIGNMENT",
		"Device tells the alignment of blobs"),
	DESCRIBE_BIT(
		4, "VIRTIO_GPU_F_CONTEXT_INIT", "Context types and several timelines supported"),
	DESCRIBE_BIT(3, "VIRTIO_GPU_F_RESOURCE_BLOB", "Blob resources supported"),
	DESCRIBE_BIT(2, "VIRTIO_GPU_F_RESOURCE_UUID", "Resources can be exported by UUID"),
	DESCRIBE_BIT(1, "VIRTIO_GPU_F_EDID", "EDID supported"),
	DESCRIBE_BIT(0, "VIRTIO_GPU_F_VIRGL", "Virgl 3D mode supported"),
};

static const struct describe_config config[] = {
	CFG("events_read", 0, 4),
	CFG("events_clear", 4, 4),
	CFG("num_scanouts", 8, 4),
	CFG("num_capsets", 12, 4),
	CFG_IF("blob_alignment", 16, 4, F_BLOB_ALIGNMENT),
};

static const struct describe_queue queues[] = { { .name = "controlq" }, { .name = "cursorq" } };

static const struct wire_value commands[] = {
	{ 0x100, "GET_DISPLAY_INFO" },
	{ 0x101, "RESOURCE_CREATE_2D" },
	{ 0x102, "RESOURCE_UNREF" },
	{ 0x103, "SET_SCANOUT" },
	{ 0x104, "RESOURCE_FLUSH" },
	{ 0x105, "TRANSFER_TO_HOST_2D" },
	{ 0x106, "RESOURCE_ATTACH_BACKING" },
	{ 0x107, "RESOURCE_DETACH_BACKING" },
	{ 0x108, "GET_CAPSET_INFO" },
	{ 0x109, "GET_CAPSET" },
	{ 0x10a, "GET_EDID" },
	{ 0x10b, "RESOURCE_ASSIGN_UUID" },
	{ 0x10c, "RESOURCE_CREATE_BLOB" },
	{ 0x10d, "SET_SCANOUT_BLOB" },
	{ 0x200, "CTX_CREATE" },
	{ 0x201, "CTX_DESTROY" },
	{ 0x202, "CTX_ATTACH_RESOURCE" },
	{ 0x203, "CTX_DETACH_RESOURCE" },
	{ 0x204, "RESOURCE_CREATE_3D" },
	{ 0x205, "TRANSFER_TO_HOST_3D" },
	{ 0x206, "TRANSFER_FROM_HOST_3D" },
	{ 0x207, "SUBMIT_3D" },
	{ 0x208, "RESOURCE_MAP_BLOB" },
	{ 0x209, "RESOURCE_UNMAP_BLOB" },
	{ 0x300, "UPDATE_CURSOR" },
	{ 0x301, "MOVE_CURSOR" },
};

/* The commands whose first member after the header is the resource. */
static bool starts_with_resource(uint64_t type)
{
	switch (type) {
	case 0x101:
	case 0x102:
	case 0x106:
	case 0x107:
	case 0x10b:
	case 0x10c:
	case 0x202:
	case 0x203:
	case 0x204:
	case 0x208:
	case 0x209: return true;
	}
	return false;
}

static void gpu_request(const struct describe_in *in, struct describe_fields *ret)
{
	static const struct wire_field head[] = {
		WIRE_NAMED("command", 0, 4, commands),
		WIRE_HEX("flags", 4, 4),
		WIRE("fence", 8, 8),
		WIRE("context", 16, 4),
		WIRE("ring", 20, 1),
	};
	static const struct wire_field resource[] = { WIRE("resource", 24, 4) };
	uint64_t type;

	WIRE_DECODE(in, head, ret);
	if (wire_get(in, 0, 4, &type) && starts_with_resource(type))
		WIRE_DECODE(in, resource, ret);
}

const struct describe_type describe_gpu = {
	.id = 16,
	.name = "virtio-gpu",
	.features = features,
	.num_features = ARRAY_SIZE(features),
	.config = config,
	.num_config = ARRAY_SIZE(config),
	.queues = queues,
	.num_queues = ARRAY_SIZE(queues),
	.request = gpu_request,
};
