/* SPDX-License-Identifier: BSD-3-Clause */
/* virtio-rng: no features, no config; a request is an empty buffer. Virtio 1.4, "Entropy Device".
 */
#include "describe/types.h"
#include "describe/wire.h"

#include <inttypes.h>

static const struct describe_queue queues[] = { { .name = "requestq" } };

static void rng_request(const struct describe_in *in, struct describe_fields *ret)
{
	wire_add(ret, "bytes", in->writable, NULL);
	wire_line(ret, "%" PRIu32 " random bytes wanted", in->writable);
}

const struct describe_type describe_rng = {
	.id = 4,
	.name = "virtio-rng",
	.queues = queues,
	.num_queues = ARRAY_SIZE(queues),
	.request = rng_request,
};
