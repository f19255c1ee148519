/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * virtio-rpmb. The kind of a frame is its last member, 510 bytes in and out of sight here, so only
 * the frames are counted. Virtio 1.4, "RPMB Device".
 */
#include "describe/types.h"
#include "describe/wire.h"

#include <inttypes.h>

#define FRAME_BYTES 512

static const struct describe_config config[] = {
	CFG("capacity", 0, 1),
	CFG("max_wr_cnt", 1, 1),
	CFG("max_rd_cnt", 2, 1),
};

static const struct describe_queue queues[] = { { .name = "requestq" } };

static void rpmb_request(const struct describe_in *in, struct describe_fields *ret)
{
	wire_add(ret, "frames", in->readable / FRAME_BYTES, NULL);
	wire_line(ret, "%" PRIu32 " frames", in->readable / FRAME_BYTES);
}

const struct describe_type describe_rpmb = {
	.id = 28,
	.name = "virtio-rpmb",
	.config = config,
	.num_config = ARRAY_SIZE(config),
	.queues = queues,
	.num_queues = ARRAY_SIZE(queues),
	.request = rpmb_request,
};
