/* SPDX-License-Identifier: BSD-3-Clause */
/* A sample for scripts: what is not known is not there. */
#include <stdio.h>

#include "base/cleanup.h"
#include "base/value.h"
#include "client/top_ui.h"

static void add_number(struct json_object *obj, const char *name, int64_t value)
{
	if (value >= 0)
		json_object_object_add(obj, name, json_object_new_int64(value));
}

static void add_text(struct json_object *obj, const char *name, const char *text)
{
	if (text)
		json_object_object_add(obj, name, value_new_string(text));
}

static struct json_object *queue_object(
	const struct top_device *device, int index, const struct top_queue *queue)
{
	static const char *const severities[] = { [TOP_UNKNOWN] = "unknown",
		[TOP_OK] = "ok",
		[TOP_NOTED] = "note",
		[TOP_STUCK] = "stuck" };
	struct json_object *obj = json_object_new_object();

	add_text(obj, "path", device->path);
	add_text(obj, "name", device->type);
	add_number(obj, "queue", index);
	add_text(obj, "role", queue->role);
	add_text(obj, "severity", severities[queue->severity]);
	add_text(obj, "verdict", queue->verdict);
	add_text(obj, "sentence", queue->sentence);
	add_text(obj, "advice", queue->advice);
	add_number(obj, "size", queue->size);
	add_number(obj, "waiting", queue->waiting);
	add_number(obj, "in-flight", queue->in_flight);
	add_number(obj, queue->oldest_ns.rough ? "oldest-ns-at-least" : "oldest-ns",
		queue->oldest_ns.value);
	add_number(obj, queue->rate.rough ? "rate-by-index" : "rate", queue->rate.value);
	add_number(obj, "latency-ns-below", queue->latency_ns);
	return obj;
}

void top_json_print(const struct top_model *model)
{
	_cleanup_value_ struct json_object *document = json_object_new_object();
	struct json_object *queues = json_object_new_array();
	_cleanup_free_ char *line = NULL;

	add_text(document, "server", model->server);
	add_text(document, "name", model->vm_name);
	add_text(document, "status", model->vm_status);
	if (model->problem.msg[0])
		add_text(document, "problem", model->problem.msg);
	for (size_t i = 0; i < model->num_devices; i++) {
		const struct top_device *device = &model->devices[i];

		for (unsigned int q = 0; q < device->num_queues; q++)
			json_object_array_add(
				queues, queue_object(device, (int)q, &device->queues[q]));
		if (!device->num_queues)
			json_object_array_add(queues, queue_object(device, -1, &device->self));
	}
	json_object_object_add(document, "queues", queues);
	line = value_to_text(document, NULL);
	puts(line);
	fflush(stdout);
}
