/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * What only reads, and the table of all commands that control answers. What is about the monitor
 * itself is the monitor's.
 */
#include "control/handlers.h"

#include <stdlib.h>

#include "base/alloc.h"
#include "control/act.h"
#include "control/balloon.h"
#include "control/children.h"
#include "control/devices.h"
#include "control/input.h"
#include "control/internal.h"
#include "control/iothreads.h"
#include "control/media.h"
#include "control/network.h"
#include "control/objects.h"
#include "control/qom_commands.h"
#include "control/queue_queries.h"
#include "control/run.h"
#include "control/vq_mapping.h"
#include "control/watch.h"
#include "inspect/findings.h"
#include "inspect/negotiation.h"
#include "inspect/sources.h"
#include "inspect/vhost.h"
#include "inspect/virtio.h"

/* How long a request may wait for its reply before that is remarkable, unless somebody says else.
 */
#define CONTROL_UNANSWERED_MS 1000

static int query_name(
	struct qapi_call *call, struct NameInfo **ret, _unused_ struct qapi_error *error)
{
	struct control *ctl = call->ctx;

	*ret = xnew(struct NameInfo);
	(*ret)->name = ctl->name ? xstrdup(ctl->name) : NULL;
	return 0;
}

static enum RunState run_state(const struct control *ctl)
{
	if (ctl->machine && ctl->machine->state == MACHINE_PRELAUNCH)
		return RUN_STATE_PRELAUNCH;
	if (ctl->machine && ctl->machine->state == MACHINE_ENDED)
		return RUN_STATE_SHUTDOWN;
	return ctl->running ? RUN_STATE_RUNNING : RUN_STATE_PAUSED;
}

static int query_status(
	struct qapi_call *call, struct StatusInfo **ret, _unused_ struct qapi_error *error)
{
	*ret = xnew(struct StatusInfo);
	(*ret)->status = run_state(call->ctx);
	(*ret)->running = (*ret)->status == RUN_STATE_RUNNING;
	return 0;
}

static int quit(struct qapi_call *call, _unused_ struct qapi_error *error)
{
	control_quit(call->ctx, SHUTDOWN_CAUSE_HOST_QMP_QUIT);
	return 0;
}

static struct qom_object *root_of(const struct qapi_call *call)
{
	const struct control *ctl = call->ctx;

	return ctl->root;
}

static int x_query_virtio(
	struct qapi_call *call, struct VirtioInfoList *ret, _unused_ struct qapi_error *error)
{
	inspect_virtio(root_of(call), ret);
	return 0;
}

static int x_query_virtio_status(struct qapi_call *call, const char *path,
	struct VirtioStatus **ret, struct qapi_error *error)
{
	return inspect_status(root_of(call), path, ret, &error->err);
}

static int x_query_virtio_queue_status(struct qapi_call *call, const char *path, uint16_t queue,
	struct VirtQueueStatus **ret, struct qapi_error *error)
{
	return inspect_queue_status(root_of(call), path, queue, ret, &error->err);
}

static int x_query_virtio_vhost_queue_status(struct qapi_call *call, const char *path,
	uint16_t queue, struct VirtVhostQueueStatus **ret, struct qapi_error *error)
{
	return inspect_vhost_queue_status(root_of(call), path, queue, ret, &error->err);
}

static int x_query_virtio_queue_element(struct qapi_call *call, const char *path, uint16_t queue,
	bool has_index, uint16_t index, struct VirtioQueueElement **ret, struct qapi_error *error)
{
	return inspect_queue_element(
		root_of(call), path, queue, has_index ? &index : NULL, ret, &error->err);
}

static int query_virtio_sources(struct qapi_call *call, const char *path,
	struct VirtioMemberInfoList *ret, struct qapi_error *error)
{
	return inspect_sources(root_of(call), path, ret, &error->err);
}

static int query_vhost_user_transcript(struct qapi_call *call, const char *path, bool has_after,
	uint64_t after, struct VhostUserMessageList *ret, struct qapi_error *error)
{
	return inspect_transcript(root_of(call), path, has_after ? after : 0, ret, &error->err);
}

static int query_vhost_user_findings(struct qapi_call *call, const char *path,
	bool has_unanswered_ms, uint64_t unanswered_ms, struct VhostUserFindingList *ret,
	struct qapi_error *error)
{
	return inspect_findings(root_of(call), path,
		has_unanswered_ms ? unanswered_ms : CONTROL_UNANSWERED_MS, ret, &error->err);
}

static int query_virtio_negotiation(struct qapi_call *call, const char *path,
	struct VirtioNegotiation **ret, struct qapi_error *error)
{
	return inspect_negotiation(root_of(call), path, ret, &error->err);
}

const struct qapi_handlers control_handlers = {
	.query_name = query_name,
	.query_status = query_status,
	.quit = quit,
	.stop = control_cmd_stop,
	.cont = control_cmd_cont,
	.system_reset = control_cmd_system_reset,
	.balloon = control_cmd_balloon,
	.query_virtio_memory = control_cmd_query_virtio_memory,
	.query_balloon = control_cmd_query_balloon,
	.balloon_reclaim_free = control_cmd_balloon_reclaim_free,
	.block_resize = control_cmd_block_resize,
	.blockdev_change_medium = control_cmd_blockdev_change_medium,
	.blockdev_close_tray = control_cmd_blockdev_close_tray,
	.blockdev_open_tray = control_cmd_blockdev_open_tray,
	.console_resize = control_cmd_console_resize,
	.device_add = control_cmd_device_add,
	.device_del = control_cmd_device_del,
	.eject = control_cmd_eject,
	.input_send_event = control_cmd_input_send_event,
	.object_add = control_cmd_object_add,
	.object_del = control_cmd_object_del,
	.qom_list = control_cmd_qom_list,
	.qom_get = control_cmd_qom_get,
	.qom_set = control_cmd_qom_set,
	.qom_list_properties = control_cmd_qom_list_properties,
	.x_query_virtio = x_query_virtio,
	.x_query_virtio_status = x_query_virtio_status,
	.x_query_virtio_queue_status = x_query_virtio_queue_status,
	.x_query_virtio_vhost_queue_status = x_query_virtio_vhost_queue_status,
	.x_query_virtio_queue_element = x_query_virtio_queue_element,
	.query_iothreads = control_cmd_query_iothreads,
	.query_virtio_queue_threads = control_cmd_query_virtio_queue_threads,
	.query_virtio_sources = query_virtio_sources,
	.query_vhost_user_transcript = query_vhost_user_transcript,
	.query_vhost_user_findings = query_vhost_user_findings,
	.query_virtio_negotiation = query_virtio_negotiation,
	.query_virtqueue_health = control_cmd_query_virtqueue_health,
	.query_virtqueue_watch = control_cmd_query_virtqueue_watch,
	.virtqueue_set_stall_threshold = control_cmd_virtqueue_set_stall_threshold,
	.virtqueue_kick = control_cmd_virtqueue_kick,
	.virtqueue_call = control_cmd_virtqueue_call,
	.virtqueue_stop = control_cmd_virtqueue_stop,
	.virtqueue_resume = control_cmd_virtqueue_resume,
	.query_virtqueue_trace = control_cmd_query_virtqueue_trace,
	.query_virtqueue_inflight = control_cmd_query_virtqueue_inflight,
	.query_virtqueue_elements = control_cmd_query_virtqueue_elements,
	.set_link = control_cmd_set_link,
	.query_stats = control_cmd_query_stats,
	.query_stats_schemas = control_cmd_query_stats_schemas,
};
