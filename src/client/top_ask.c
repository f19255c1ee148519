/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Lenient with what comes, as all of this room. Rates without a counter come from the used index,
 * which has 16 bits: they are marked, as more than 65535 answers between two looks would not show.
 */
#include "client/top_ask.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/alloc.h"
#include "base/cleanup.h"
#include "base/value.h"
#include "client/human.h"
#include "client/show.h"
#include "client/show_parts.h"
#include "client/sources.h"

/* Of a device that is asked about for the first time: so many queues in one sample. */
#define FIRST_QUEUES 8
#define MAX_RATE     1e12 /* nothing is faster */

/* -1 where it is no number, or none that fits. */
static int64_t number(struct json_object *obj, const char *member)
{
	struct json_object *value = show_get(obj, member);

	return json_object_is_type(value, json_type_int) && json_object_get_int64(value) >= 0
		       ? json_object_get_int64(value)
		       : -1;
}

/* The same of what is never above 32 bits: a sum of such numbers overflows nothing. */
static int64_t count(struct json_object *obj, const char *member)
{
	int64_t n = number(obj, member);

	return n <= UINT32_MAX ? n : -1;
}

/* A rate, of a counter that may be anything. */
static int64_t per_second(double what, double s)
{
	return (int64_t)MIN(what / s + 0.5, MAX_RATE);
}

static const char *string(struct json_object *obj, const char *member)
{
	struct json_object *value = show_get(obj, member);

	return json_object_is_type(value, json_type_string) ? json_object_get_string(value) : NULL;
}

static bool is_true(struct json_object *obj, const char *member)
{
	struct json_object *value = show_get(obj, member);

	return json_object_is_type(value, json_type_boolean) && json_object_get_boolean(value);
}

static size_t length(struct json_object *list)
{
	return json_object_is_type(list, json_type_array) ? json_object_array_length(list) : 0;
}

static void say(struct top_queue *queue, enum top_severity severity, const char *verdict,
	const char *sentence, const char *advice)
{
	queue->asked = true;
	queue->severity = severity;
	top_set_text(&queue->verdict, verdict);
	top_set_text(&queue->sentence, sentence);
	top_set_text(&queue->advice, advice);
}

/* The used index has moved to @used, or not: a rate, and when something moved last. */
static void note_used(struct top_queue *queue, int64_t used)
{
	uint64_t now = now_ns();

	if (used < 0 || queue->used_idx < 0) {
		queue->moved_ns = now;
		queue->rate.value = -1;
	} else {
		uint16_t moved = (uint16_t)(used - queue->used_idx);
		double s = (double)(now - queue->used_ns) / NSEC_PER_SEC;

		if (moved || queue->in_flight == 0)
			queue->moved_ns = now;
		queue->rate.value = s > 0 ? per_second(moved, s) : -1;
		queue->rate.rough = moved;
	}
	queue->used_idx = used;
	queue->used_ns = now;
}

/* --- verdicts of the server --- */

static enum top_severity severity_of(const char *name)
{
	static const struct {
		const char *name;
		enum top_severity severity;
	} names[] = { { "ok", TOP_OK }, { "note", TOP_NOTED }, { "stuck", TOP_STUCK } };

	for (size_t i = 0; name && i < ARRAY_SIZE(names); i++)
		if (!strcmp(names[i].name, name))
			return names[i].severity;
	return TOP_UNKNOWN;
}

static void take_health(struct top_queue *queue, struct json_object *entry)
{
	struct json_object *evidence = show_get(entry, "evidence");
	int64_t outstanding = count(evidence, "outstanding");

	say(queue, severity_of(string(entry, "severity")), string(entry, "verdict"),
		string(entry, "sentence"), string(entry, "advice"));
	top_set_text(&queue->role, string(entry, "role"));
	queue->size = count(evidence, "queue-size");
	queue->avail_idx = count(evidence, "avail-idx");
	queue->last_avail_idx = count(evidence, "last-avail-idx");
	queue->waiting = count(evidence, "waiting");
	queue->in_flight = count(evidence, "in-flight");
	if (queue->in_flight < 0)
		queue->in_flight = outstanding;
	queue->oldest_ns = (struct top_number){ .value = number(evidence, "oldest-age-ns") };
	note_used(queue, count(evidence, "used-idx"));
	/* A verdict is one of a moment; between two looks more went on. */
	if (queue->rate.value > 0 && queue->verdict && !strcmp(queue->verdict, "idle"))
		say(queue, queue->severity, "busy", "requests come and go", NULL);
}

int top_ask_health(struct top_model *model, struct top_device *device, struct err *err)
{
	_cleanup_value_ struct json_object *arguments = device ? session_path_argument(device->path)
							       : NULL;
	_cleanup_value_ struct json_object *reply = NULL;
	_cleanup_free_ unsigned int *num_queues = xnew_n(unsigned int, model->num_devices + 1);
	int r = session_execute(&model->session, "query-virtqueue-health", arguments, &reply, err);

	if (r < 0)
		return r == -EREMOTEIO ? 0 : r;
	for (size_t i = 0; i < length(reply); i++) {
		struct json_object *entry = json_object_array_get_idx(reply, i);
		struct top_device *d = top_find_device(model, show_member(entry, "path"));
		int64_t index = number(entry, "queue");
		struct top_queue *queue;

		if (!d)
			continue;
		queue = index < 0 ? &d->self
				  : top_device_queue(d, (unsigned int)MIN(index, INT32_MAX));
		if (!queue)
			continue;
		take_health(queue, entry);
		if (index >= 0)
			num_queues[d - model->devices] = (unsigned int)index + 1;
	}
	for (size_t i = 0; i < model->num_devices; i++)
		if (!device || device == &model->devices[i])
			top_device_trim(&model->devices[i], num_queues[i]);
	return 0;
}

/* --- statistics of the server --- */

/* Names of the counter of answers, and of the histogram of how long they took. */
static const char counter[] = "completed", histogram[] = "service-time";

/* The middle one of what came since the last sample: bucket N ends at 2^N ns. -1: nothing came. */
static int64_t median(const struct top_queue *queue, struct json_object *list)
{
	size_t num = MIN(length(list), (size_t)63);
	uint64_t total = 0, sum = 0;

	if (queue->num_buckets != num)
		return -1;
	for (size_t i = 0; i < num; i++)
		total += json_object_get_uint64(json_object_array_get_idx(list, i)) -
			 queue->buckets[i];
	for (size_t i = 0; total && i < num; i++) {
		sum += json_object_get_uint64(json_object_array_get_idx(list, i)) -
		       queue->buckets[i];
		if (sum * 2 >= total)
			return INT64_C(1) << i;
	}
	return -1;
}

static void take_histogram(struct top_queue *queue, struct json_object *list)
{
	size_t num = MIN(length(list), (size_t)63);

	queue->latency_ns = median(queue, list);
	queue->buckets = xreallocarray(queue->buckets, num + 1, sizeof(*queue->buckets));
	queue->num_buckets = num;
	for (size_t i = 0; i < num; i++)
		queue->buckets[i] = json_object_get_uint64(json_object_array_get_idx(list, i));
}

static void take_counter(struct top_queue *queue, int64_t completed)
{
	uint64_t now = now_ns();
	double s = (double)(now - queue->counted_ns) / NSEC_PER_SEC;

	queue->rate = (struct top_number){ .value = -1 };
	if (queue->completed >= 0 && completed >= queue->completed && s > 0)
		queue->rate.value = per_second((double)(completed - queue->completed), s);
	queue->completed = completed;
	queue->counted_ns = now;
}

static void take_stats(struct top_queue *queue, struct json_object *stats)
{
	for (size_t i = 0; i < length(stats); i++) {
		struct json_object *entry = json_object_array_get_idx(stats, i);
		const char *name = show_member(entry, "name");

		if (!strcmp(name, counter))
			take_counter(queue, number(entry, "value"));
		else if (!strcmp(name, histogram))
			take_histogram(queue, show_get(entry, "value"));
	}
}

/* {"target": "virtqueue", "providers": [...], "paths": [...]} */
static struct json_object *stats_arguments(const struct top_device *device)
{
	struct json_object *arguments = json_object_new_object(), *list, *provider;

	json_object_object_add(arguments, "target", json_object_new_string("virtqueue"));
	provider = json_object_new_object();
	json_object_object_add(provider, "provider", json_object_new_string("virtio"));
	list = json_object_new_array();
	json_object_array_add(list, json_object_new_string(counter));
	json_object_array_add(list, json_object_new_string(histogram));
	json_object_object_add(provider, "names", list);
	list = json_object_new_array();
	json_object_array_add(list, provider);
	json_object_object_add(arguments, "providers", list);
	if (device) {
		list = json_object_new_array();
		json_object_array_add(list, value_new_string(device->path));
		json_object_object_add(arguments, "paths", list);
	}
	return arguments;
}

int top_ask_stats(struct top_model *model, struct top_device *device, struct err *err)
{
	_cleanup_value_ struct json_object *arguments = stats_arguments(device);
	_cleanup_value_ struct json_object *reply = NULL;
	int r = session_execute(&model->session, "query-stats", arguments, &reply, err);

	if (r < 0)
		return r == -EREMOTEIO ? 0 : r;
	for (size_t i = 0; i < length(reply); i++) {
		struct json_object *entry = json_object_array_get_idx(reply, i);
		struct top_device *d = top_find_device(model, show_member(entry, "qom-path"));
		int64_t index = number(entry, "queue");

		/* A queue that the verdicts do not know is not made here. */
		if (d && index >= 0 && index < d->num_queues)
			take_stats(&d->queues[index], show_get(entry, "stats"));
	}
	return 0;
}

/* --- the five commands --- */

/* 0, also where it is refused: then *ret is NULL, and @err has the sentence. */
static int ask(struct top_model *model, const char *command, enum harm_query harm,
	const struct top_device *device, int queue, struct json_object **ret, struct err *err)
{
	_cleanup_value_ struct json_object *arguments = session_path_argument(device->path);
	int r = session_check_harm(&model->session, harm, device->path, err);

	*ret = NULL;
	if (queue >= 0)
		json_object_object_add(arguments, "queue", json_object_new_int(queue));
	if (r == 0)
		r = session_execute(&model->session, command, arguments, ret, err);
	return r == -EPERM || r == -EREMOTEIO ? 0 : r;
}

/* A device of these holds one request for as long as it lives, and that is as it should be. */
static bool may_keep_one(const struct top_device *device)
{
	return device->type && !strcmp(device->type, "virtio-balloon");
}

/* Nobody says how old the requests are: for as long as nothing has moved, at least. */
static void judge_moving(const struct top_device *device, struct top_queue *queue)
{
	uint64_t still_ns = now_ns() - queue->moved_ns;
	bool expected = may_keep_one(device) && queue->in_flight == 1;
	_cleanup_free_ char *sentence = NULL;
	char age[HUMAN_BYTES];

	queue->oldest_ns = (struct top_number){ .value = -1 };
	if (queue->in_flight <= 0) {
		say(queue, TOP_OK, queue->rate.value > 0 ? "busy" : "idle", NULL, NULL);
		return;
	}
	queue->oldest_ns = (struct top_number){ .value = (int64_t)still_ns, .rough = true };
	if (still_ns < TOP_STUCK_S * NSEC_PER_SEC || expected) {
		say(queue, TOP_OK, "busy", NULL, NULL);
		return;
	}
	sentence = xasprintf("%d taken and not answered, and nothing has moved for %s",
		(int)queue->in_flight, human_time(age, still_ns));
	say(queue, TOP_STUCK, "no-answer", sentence,
		"see what the device's back end (disk, network) does");
}

static void take_queue_status(
	const struct top_device *device, struct top_queue *queue, struct json_object *reply)
{
	struct json_object *desc = show_get(reply, "vring-desc");
	int64_t last = count(reply, "last-avail-idx"), shadow = count(reply, "shadow-avail-idx");

	queue->size = count(reply, "vring-num");
	queue->in_flight = count(reply, "inuse");
	queue->last_avail_idx = last;
	queue->avail_idx = shadow;
	queue->waiting = last >= 0 && shadow >= 0 ? (uint16_t)(shadow - last) : -1;
	note_used(queue, count(reply, "used-idx"));
	if (json_object_is_type(desc, json_type_int) && !json_object_get_uint64(desc))
		say(queue, TOP_OK, "not-set-up", "no driver has set this queue up", NULL);
	else
		judge_moving(device, queue);
}

static bool has_status(struct json_object *status, const char *name)
{
	_cleanup_free_ char *full = xasprintf("VIRTIO_CONFIG_S_%s", name);

	return show_list_has(show_get(status, "status"), "statuses", full);
}

/* What the whole device has is said of each queue. True where there is such a thing. */
static bool judge_device(
	struct top_queue *queue, struct json_object *status, struct json_object *sources)
{
	const char *reason = sources_note(sources, "broken");

	if (is_true(status, "broken") || has_status(status, "NEEDS_RESET"))
		say(queue, TOP_STUCK, "device-broken",
			*reason ? reason : "the device is broken and needs a reset",
			"only a reset by its driver helps: reload it, or reboot the guest");
	else if (has_status(status, "FAILED"))
		say(queue, TOP_STUCK, "driver-failed", "the driver has given up on the device",
			"see the guest's kernel log");
	else if (!has_status(status, "DRIVER_OK"))
		say(queue, TOP_NOTED,
			has_status(status, "DRIVER") ? "driver-not-ready" : "no-driver",
			has_status(status, "DRIVER") ? "the driver has not set DRIVER_OK"
						     : "no driver has taken the device",
			NULL);
	else
		return false;
	return true;
}

static int ask_queue(struct top_model *model, struct top_device *device, unsigned int index,
	struct json_object *status, struct json_object *sources, struct err *err)
{
	struct top_queue *queue = &device->queues[index];
	struct err refused = { { 0 } };
	_cleanup_value_ struct json_object *reply = NULL;
	int r = ask(model, "x-query-virtio-queue-status", HARM_QUEUE, device, (int)index, &reply,
		&refused);

	if (r < 0) {
		*err = refused;
		return r;
	}
	if (reply)
		take_queue_status(device, queue, reply);
	else
		say(queue, TOP_UNKNOWN, "not-asked", refused.msg, NULL);
	top_set_text(&queue->role, sources_role(sources, index));
	judge_device(queue, status, sources);
	return 0;
}

/* Those on the screen, some that were never asked about, and one that is looked at now and then. */
static int ask_queues(struct top_model *model, struct top_device *device,
	struct json_object *status, struct json_object *sources, struct err *err)
{
	unsigned int new = 0;
	int r = 0;

	for (unsigned int i = 0; r == 0 && i < device->num_queues; i++) {
		struct top_queue *queue = &device->queues[i];
		bool is_turn = i == model->num_samples % device->num_queues;

		if (model->all || queue->on_screen || is_turn ||
			(!queue->asked && new ++ < FIRST_QUEUES))
			r = ask_queue(model, device, i, status, sources, err);
	}
	return r;
}

int top_ask_basic(struct top_model *model, struct top_device *device, struct err *err)
{
	_cleanup_value_ struct json_object *status = NULL, *sources = NULL;
	struct err refused = { { 0 } };
	int64_t num;
	int r = ask(model, "x-query-virtio-status", HARM_STATUS, device, -1, &status, &refused);

	if (r < 0) {
		*err = refused;
		return r;
	}
	if (!status) {
		say(&device->self, TOP_UNKNOWN, "not-asked", refused.msg, NULL);
		top_device_trim(device, 0);
		return 0;
	}
	sources = session_sources(&model->session, device->path);
	if (!judge_device(&device->self, status, sources))
		say(&device->self, TOP_OK, "ready", NULL, NULL);
	num = MIN(count(status, "num-vqs"), TOP_MAX_QUEUES);
	top_device_trim(device, num > 0 ? (unsigned int)num : 0);
	if (num > 0)
		top_device_queue(device, (unsigned int)num - 1);
	return ask_queues(model, device, status, sources, err);
}
