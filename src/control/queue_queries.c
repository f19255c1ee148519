/* SPDX-License-Identifier: BSD-3-Clause */
/* The commands about what a queue does: they only name the reader that answers. */
#include "control/queue_queries.h"

#include "control/internal.h"
#include "inspect/inflight.h"
#include "inspect/memory.h"
#include "inspect/ring_list.h"
#include "inspect/stats.h"
#include "inspect/stats_text.h"
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

int control_cmd_query_virtqueue_elements(struct qapi_call *call, const char *path, uint16_t queue,
	bool has_start, uint16_t start, bool has_count, uint16_t count,
	struct VirtqueueElements **ret, struct qapi_error *error)
{
	const struct control *ctl = call->ctx;

	if (has_count && !count)
		return qapi_error_set(error, QAPI_GENERIC_ERROR, "Parameter 'count' is 0");
	return inspect_elements(ctl->root, path, queue, has_start ? start : 0,
		has_count ? count : 0, ret, &error->err);
}

int control_cmd_query_stats(struct qapi_call *call, const struct StatsFilter *filter,
	struct StatsResultList *ret, struct qapi_error *error)
{
	const struct control *ctl = call->ctx;

	return inspect_stats(ctl->root, filter, ret, &error->err);
}

/* There is one provider. */
int control_cmd_query_stats_schemas(_unused_ struct qapi_call *call, _unused_ bool has_provider,
	_unused_ enum StatsProvider provider, struct StatsSchemaList *ret,
	_unused_ struct qapi_error *error)
{
	inspect_stats_schemas(ret);
	return 0;
}

int control_cmd_query_virtio_memory(struct qapi_call *call, const char *path, uint64_t addr,
	uint32_t size, struct VirtioMemoryBytes **ret, struct qapi_error *error)
{
	const struct control *ctl = call->ctx;

	return inspect_memory(ctl->root, path, addr, size, ret, &error->err);
}

void control_write_metrics(struct control *ctl, FILE *out)
{
	inspect_metrics(ctl->root, out);
}
