/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * virtio-9p: a 9P2000.L message a request. The virtio specification only reserves the id; the bit
 * and the config field are those of the Linux driver.
 */
#include "describe/types.h"
#include "describe/wire.h"

static const struct describe_bit features[] = {
	DESCRIBE_BIT(0, "VIRTIO_9P_MOUNT_TAG", "Mount tag in configuration space"),
};

/* The tag itself follows, tag_len bytes of it. */
static const struct describe_config config[] = { CFG_IF("tag_len", 0, 2, 0) };

static const struct wire_value messages[] = {
	{ 8, "Tstatfs" },
	{ 12, "Tlopen" },
	{ 14, "Tlcreate" },
	{ 16, "Tsymlink" },
	{ 18, "Tmknod" },
	{ 20, "Trename" },
	{ 22, "Treadlink" },
	{ 24, "Tgetattr" },
	{ 26, "Tsetattr" },
	{ 30, "Txattrwalk" },
	{ 32, "Txattrcreate" },
	{ 40, "Treaddir" },
	{ 50, "Tfsync" },
	{ 52, "Tlock" },
	{ 54, "Tgetlock" },
	{ 70, "Tlink" },
	{ 72, "Tmkdir" },
	{ 74, "Trenameat" },
	{ 76, "Tunlinkat" },
	{ 100, "Tversion" },
	{ 102, "Tauth" },
	{ 104, "Tattach" },
	{ 108, "Tflush" },
	{ 110, "Twalk" },
	{ 112, "Topen" },
	{ 114, "Tcreate" },
	{ 116, "Tread" },
	{ 118, "Twrite" },
	{ 120, "Tclunk" },
	{ 122, "Tremove" },
	{ 124, "Tstat" },
	{ 126, "Twstat" },
};

static const struct describe_queue queues[] = { { .name = "requestq" } };

static void p9_request(const struct describe_in *in, struct describe_fields *ret)
{
	static const struct wire_field head[] = {
		WIRE_NAMED("message", 4, 1, messages),
		WIRE("tag", 5, 2),
		WIRE("size", 0, 4),
	};
	static const struct wire_field extent[] = {
		WIRE("fid", 7, 4),
		WIRE("offset", 11, 8),
		WIRE("count", 19, 4),
	};
	uint64_t message;

	WIRE_DECODE(in, head, ret);
	if (wire_get(in, 4, 1, &message) && (message == 116 || message == 118))
		WIRE_DECODE(in, extent, ret);
}

const struct describe_type describe_9p = {
	.id = 9,
	.name = "virtio-9p",
	.features = features,
	.num_features = ARRAY_SIZE(features),
	.config = config,
	.num_config = ARRAY_SIZE(config),
	.queues = queues,
	.num_queues = ARRAY_SIZE(queues),
	.request = p9_request,
};
