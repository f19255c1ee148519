/* SPDX-License-Identifier: BSD-3-Clause */
/* The list of devices, and when who is asked. A device keeps what is known of it over samples. */
#include "client/top_model.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/alloc.h"
#include "base/cleanup.h"
#include "base/value.h"
#include "client/show.h"
#include "client/show_parts.h"
#include "client/top_ask.h"

void top_set_text(char **where, const char *text)
{
	free(*where);
	*where = text && *text ? xstrdup(text) : NULL;
}

void top_queue_clear(struct top_queue *queue)
{
	free(queue->verdict);
	free(queue->sentence);
	free(queue->advice);
	free(queue->role);
	free(queue->buckets);
	*queue = (struct top_queue){ 0 };
}

static void init_queue(struct top_queue *queue)
{
	*queue = (struct top_queue){ .size = -1,
		.waiting = -1,
		.in_flight = -1,
		.oldest_ns.value = -1,
		.rate.value = -1,
		.latency_ns = -1,
		.avail_idx = -1,
		.last_avail_idx = -1,
		.used_idx = -1,
		.completed = -1 };
}

struct top_queue *top_device_queue(struct top_device *device, unsigned int index)
{
	if (index >= TOP_MAX_QUEUES)
		return NULL;
	if (index >= device->num_queues) {
		device->queues = xreallocarray(device->queues, index + 1, sizeof(*device->queues));
		while (device->num_queues <= index)
			init_queue(&device->queues[device->num_queues++]);
	}
	return &device->queues[index];
}

void top_device_trim(struct top_device *device, unsigned int num)
{
	while (device->num_queues > num)
		top_queue_clear(&device->queues[--device->num_queues]);
}

static void clear_device(struct top_device *device)
{
	top_device_trim(device, 0);
	top_queue_clear(&device->self);
	free(device->queues);
	free(device->path);
	free(device->name);
	free(device->type);
	*device = (struct top_device){ 0 };
}

static void clear_devices(struct top_device *devices, size_t num)
{
	for (size_t i = 0; i < num; i++)
		clear_device(&devices[i]);
	free(devices);
}

void top_model_deinit(struct top_model *model)
{
	session_close(&model->session);
	clear_devices(model->devices, model->num_devices);
	free(model->server);
	free(model->vm_name);
	free(model->vm_status);
	*model = (struct top_model){ 0 };
}

/* The part of a path that people gave the device. The caller frees it. */
static char *short_name(const char *path)
{
	static const char backend[] = "/virtio-backend";
	size_t len = strlen(path), tail = strlen(backend), start;

	if (len > tail && !strcmp(path + len - tail, backend))
		len -= tail;
	for (start = len; start && path[start - 1] != '/'; start--)
		;
	return xstrndup(path + start, len - start);
}

struct top_device *top_find_device(struct top_model *model, const char *path)
{
	/* Replies have the devices one after the other: the last one found, or the next. */
	static size_t last;

	for (size_t i = 0; i < model->num_devices; i++) {
		size_t at = (last + i) % model->num_devices;

		if (!strcmp(model->devices[at].path, path)) {
			last = at;
			return &model->devices[at];
		}
	}
	return NULL;
}

/* --- the connection --- */

static int ask_abilities(struct top_model *model, struct err *err)
{
	struct top_abilities *can = &model->can;
	const struct {
		const char *command;
		bool *is_there;
	} known[] = {
		{ "query-virtqueue-health", &can->health },
		{ "query-stats", &can->stats },
		{ "query-virtqueue-inflight", &can->inflight },
		{ "query-virtqueue-elements", &can->elements },
		{ "query-vhost-user-transcript", &can->transcript },
	};
	_cleanup_value_ struct json_object *list = NULL;
	size_t num;
	int r;

	*can = (struct top_abilities){ 0 };
	/* QEMU's query-stats has other targets. */
	if (session_is_qemu(&model->session))
		return 0;
	r = session_execute(&model->session, "query-commands", NULL, &list, err);
	num = json_object_is_type(list, json_type_array) ? json_object_array_length(list) : 0;
	for (size_t i = 0; i < num; i++)
		for (size_t k = 0; k < ARRAY_SIZE(known); k++)
			*known[k].is_there |= !strcmp(known[k].command,
				show_member(json_object_array_get_idx(list, i), "name"));
	return r == -EREMOTEIO ? 0 : r;
}

static int ask_server(struct top_model *model, struct err *err)
{
	const struct qmp_client_server *server = qmp_client_server(model->session.client);
	_cleanup_value_ struct json_object *name = NULL;
	_cleanup_free_ char *qemu =
		xasprintf("QEMU %u.%u.%u", server->major, server->minor, server->micro);
	int r = qmp_client_execute(model->session.client, "query-name", NULL, &name, err);

	top_set_text(&model->server, server->is_ringside ? server->package : qemu);
	top_set_text(&model->vm_name, json_object_get_string(show_get(name, "name")));
	return r == -EREMOTEIO ? 0 : r;
}

void top_model_lost(struct top_model *model, const struct err *err)
{
	if (!model->problem.msg[0])
		model->problem_ns = now_ns();
	model->problem = *err;
	qmp_client_make_printable(model->problem.msg);
	session_close(&model->session);
}

int top_connect(struct top_model *model, struct err *err)
{
	int r = session_open(&model->session, err);

	if (r == 0)
		r = ask_abilities(model, err);
	if (r == 0)
		r = ask_server(model, err);
	if (r < 0)
		top_model_lost(model, err);
	else
		model->problem.msg[0] = '\0';
	return r;
}

/* --- a sample --- */

/* Takes over what is known of the device, or makes it new. */
static void take_device(struct top_model *model, struct json_object *entry, struct top_device *to)
{
	const char *path = show_member(entry, "path");
	struct top_device *old = top_find_device(model, path);

	if (old) {
		*to = *old;
		/* An empty one stays in its place: it is found no more. */
		*old = (struct top_device){ .path = xstrdup("") };
	} else {
		*to = (struct top_device){ .path = xstrdup(path), .name = short_name(path) };
		init_queue(&to->self);
	}
	top_set_text(&to->type, show_member(entry, "name"));
}

static int read_list(struct top_model *model, struct err *err)
{
	_cleanup_value_ struct json_object *list = NULL, *status = NULL;
	struct top_device *devices;
	size_t num;
	int r = session_list(&model->session, &list, err);

	if (r < 0)
		return r;
	num = MIN(json_object_array_length(list), (size_t)TOP_MAX_DEVICES);
	devices = xnew_n(struct top_device, num + 1);
	/* Newest first is how monitors list them: people count from the oldest. */
	for (size_t i = 0; i < num; i++)
		take_device(model, json_object_array_get_idx(list, num - 1 - i), &devices[i]);
	clear_devices(model->devices, model->num_devices);
	model->devices = devices;
	model->num_devices = num;
	r = qmp_client_execute(model->session.client, "query-status", NULL, &status, err);
	top_set_text(&model->vm_status, show_member(status, "status"));
	return r == -EREMOTEIO ? 0 : r;
}

static int ask_device(struct top_model *model, struct top_device *device, struct err *err)
{
	int r = model->can.health ? top_ask_health(model, device, err)
				  : top_ask_basic(model, device, err);

	return r == 0 && model->can.stats ? top_ask_stats(model, device, err) : r;
}

static int ask_all_at_once(struct top_model *model, struct err *err)
{
	int r = top_ask_health(model, NULL, err);

	return r == 0 && model->can.stats ? top_ask_stats(model, NULL, err) : r;
}

static int sample(struct top_model *model, const size_t *wanted, size_t num_wanted, struct err *err)
{
	bool few = model->num_devices <= TOP_BULK_DEVICES;
	bool bulk = model->can.health &&
		    (few || !wanted || model->num_samples % TOP_BULK_EVERY == 0);
	int r = read_list(model, err);

	model->all = !wanted;
	if (r == 0 && bulk)
		return ask_all_at_once(model, err);
	for (size_t i = 0; r == 0 && i < (wanted ? num_wanted : model->num_devices); i++) {
		size_t at = wanted ? wanted[i] : i;

		if (at < model->num_devices)
			r = ask_device(model, &model->devices[at], err);
	}
	return r;
}

void top_sample(struct top_model *model, const size_t *wanted, size_t num_wanted)
{
	struct err err = { { 0 } };
	int r = 0;

	if (!model->session.client)
		r = top_connect(model, &err);
	if (r == 0)
		r = sample(model, wanted, num_wanted, &err);
	model->num_samples++;
	/* A refusal of what every monitor knows is no connection to go on with either. */
	if (r < 0)
		top_model_lost(model, &err);
	else
		model->sampled_ns = now_ns();
}
