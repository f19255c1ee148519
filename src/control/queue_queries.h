/* SPDX-License-Identifier: BSD-3-Clause */
/* Commands about what a queue does; rows of control_handlers. Main loop. */
#ifndef CONTROL_QUEUE_QUERIES_H
#define CONTROL_QUEUE_QUERIES_H

#include "qapi/commands.h"

int control_cmd_query_virtqueue_trace(struct qapi_call *call, const char *path, uint16_t queue,
	bool has_last, uint32_t last, struct VirtqueueEventList *ret, struct qapi_error *error);
int control_cmd_query_virtqueue_inflight(struct qapi_call *call, const char *path, bool has_queue,
	uint16_t queue, struct VirtqueueRequestList *ret, struct qapi_error *error);
int control_cmd_query_virtqueue_elements(struct qapi_call *call, const char *path, uint16_t queue,
	bool has_start, uint16_t start, bool has_count, uint16_t count,
	struct VirtqueueElements **ret, struct qapi_error *error);
int control_cmd_query_stats(struct qapi_call *call, const struct StatsFilter *filter,
	struct StatsResultList *ret, struct qapi_error *error);
int control_cmd_query_stats_schemas(struct qapi_call *call, bool has_provider,
	enum StatsProvider provider, struct StatsSchemaList *ret, struct qapi_error *error);

int control_cmd_query_virtio_memory(struct qapi_call *call, const char *path, uint64_t addr,
	uint32_t size, struct VirtioMemoryBytes **ret, struct qapi_error *error);

#endif
