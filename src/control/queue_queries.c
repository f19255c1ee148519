/* SPDX-License-Identifier: BSD-3-Clause */
/* The commands about what a queue does: they only name the reader that answers. */
#include "control/queue_queries.h"

#include "control/internal.h"
#include "inspect/inflight.h"
#include "inspect/trace.h"
#include "virtio/vq.h"

int control_cmd_query_virtqueue_trace(struct qapi_call *call, const char *path, uint16_t queue,
	bool has_last, uint32_t last, struct VirtqueueEventList *ret, struct qapi_error *error)
{
	const struct control *ctl = call->ctx;

	return inspect_trace(ctl->root, path, queue, has_last ? last : VQ_EVENTS, ret, &error->err);
}

int control_cmd_query_virtqueue_inflight(struct qapi_call *call, const char *path, bool has_queue,
	uint16_t queue, struct VirtqueueRequestList *ret, struct qapi_error *error)
{
	const struct control *ctl = call->ctx;

	return inspect_inflight(
		ctl->root, path, has_queue ? &queue : NULL, &ctl->data_loop, ret, &error->err);
}
