/* SPDX-License-Identifier: BSD-3-Clause */
/* A verb is its row, and a function that shows the reply. */
#include "client/info_verbs.h"

#include <errno.h>
#include <string.h>

#include "base/alloc.h"
#include "base/cleanup.h"
#include "client/features.h"
#include "client/iothreads.h"
#include "client/queue_life.h"
#include "client/show_queue.h"
#include "client/transcript.h"

static void verb_list(const struct info_call *call, struct json_object *reply)
{
	show_list(&call->show, reply);
}

static void verb_status(const struct info_call *call, struct json_object *reply)
{
	show_status(&call->show, call->path, reply);
}

static void verb_queue(const struct info_call *call, struct json_object *reply)
{
	show_queue(&call->show, call->path, (unsigned int)call->queue, reply);
}

static void verb_vhost_queue(const struct info_call *call, struct json_object *reply)
{
	show_vhost_queue(&call->show, call->path, (unsigned int)call->queue, reply);
}

static void verb_element(const struct info_call *call, struct json_object *reply)
{
	show_element(&call->show, call->path, (unsigned int)call->queue, reply);
}

static void verb_sources(const struct info_call *call, struct json_object *reply)
{
	show_sources(&call->show, call->path, reply);
}

static void verb_transcript(const struct info_call *call, struct json_object *reply)
{
	transcript_show(&call->show, call->path, reply);
}

static void verb_features(const struct info_call *call, struct json_object *reply)
{
	features_show(&call->show, call->path, reply);
}

static void verb_findings(const struct info_call *call, struct json_object *reply)
{
	findings_show(&call->show, call->path, reply);
}

static void verb_iothreads(const struct info_call *call, struct json_object *reply)
{
	iothreads_show(&call->show, call->session->client, reply);
}

static void verb_trace(const struct info_call *call, struct json_object *reply)
{
	queue_life_show_trace(&call->show, call->path, (unsigned int)call->queue, reply);
}

static void verb_inflight(const struct info_call *call, struct json_object *reply)
{
	queue_life_show_inflight(&call->show, call->path, reply);
}

static void verb_elements(const struct info_call *call, struct json_object *reply)
{
	queue_life_show_elements(&call->show, call->path, (unsigned int)call->queue, reply);
}

static const struct info_verb verbs[] = {
	{ "virtio", "", "the list of devices", 0, 0, "x-query-virtio", verb_list, .is_list = true },
	{ "status", " PATH", "state and features of a device, by name", 1, 1,
		"x-query-virtio-status", verb_status, true, true, HARM_STATUS },
	{ "queue", " PATH N", "indices and addresses of its queue N", 2, 2,
		"x-query-virtio-queue-status", verb_queue, true, true, HARM_QUEUE },
	{ "vhost-queue", " PATH N", "the same for a queue that a vhost back-end serves", 2, 2,
		"x-query-virtio-vhost-queue-status", verb_vhost_queue, false, true,
		HARM_VHOST_QUEUE },
	{ "element", " PATH N [INDEX]",
		"a request of queue N: the next one, or that of ring entry INDEX", 2, 3,
		"x-query-virtio-queue-element", verb_element, true, true, HARM_ELEMENT },
	{ "sources", " PATH", "where each number comes from (Ringside only)", 1, 1,
		"query-virtio-sources", verb_sources },
	{ "features", " PATH", "who offered, took and dropped each feature (Ringside only)", 1, 1,
		"query-virtio-negotiation", verb_features },
	{ "transcript", " PATH", "the vhost-user messages of a device (Ringside only)", 1, 1,
		"query-vhost-user-transcript", verb_transcript },
	{ "findings", " PATH", "what is remarkable in these messages (Ringside only)", 1, 1,
		"query-vhost-user-findings", verb_findings },
	{ "trace", " PATH N", "the last events of its queue N (Ringside only)", 2, 2,
		"query-virtqueue-trace", verb_trace },
	{ "elements", " PATH N", "its queue N, entry by entry, and their states (Ringside only)", 2,
		2, "query-virtqueue-elements", verb_elements },
	{ "inflight", " PATH [N]",
		"requests taken and not answered, of queue N or all (Ringside only)", 1, 2,
		"query-virtqueue-inflight", verb_inflight },
	{ "iothreads", "", "the threads that serve queues, and (Ringside only) which", 0, 0,
		"query-iothreads", verb_iothreads },
};

const struct info_verb *info_verb_find(const char *name, struct err *err)
{
	_cleanup_free_ char *all = xstrdup("");

	for (size_t i = 0; i < ARRAY_SIZE(verbs); i++) {
		_cleanup_free_ char *old = all;

		all = xasprintf("%s%s%s", old,
			!i			     ? ""
			: i + 1 == ARRAY_SIZE(verbs) ? " or "
						     : ", ",
			verbs[i].name);
		if (!strcmp(verbs[i].name, name))
			return &verbs[i];
	}
	err_set(err, -EINVAL, "unknown verb '%s': expected %s", name, all);
	return NULL;
}

void info_verbs_print_usage(void)
{
	for (size_t i = 0; i < ARRAY_SIZE(verbs); i++) {
		_cleanup_free_ char *call = xasprintf("%s%s", verbs[i].name, verbs[i].operands);

		printf("  %-26s %s\n", call, verbs[i].help);
	}
	puts("PATH is one of the list's, or a part of it that fits one device only, such as its "
	     "id.");
}
