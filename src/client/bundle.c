/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * `ringside bundle`: asks everything that a monitor answers and puts each reply into an archive, as
 * it came. What was refused is there too, with the reason. Of QEMU only what does no harm there is
 * asked. No reply holds what the guest's programs wrote, but those of --payload.
 */
#include "client/bundle.h"

#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <sys/utsname.h>
#include <time.h>

#include "base/alloc.h"
#include "base/cleanup.h"
#include "base/value.h"
#include "client/session.h"
#include "client/tar.h"

#define PROGRAM "ringside bundle"
/* Of each buffer, and buffers of each queue. */
#define PAYLOAD_BYTES	64
#define PAYLOAD_BUFFERS 256

struct bundle {
	struct session session;
	struct cmd_list operands;
	const char *output;
	bool payload;
	struct tar tar;
	unsigned int num_files, num_refused;
	const char *folder; /* of the device at hand */
};

/* A query of the whole, of a device, or of each of its queues. */
struct question {
	const char *command;
	const char *
		file; /* "status": the reply is in status.json, of a queue in queue-N/status.json */
	enum harm_query harm;
	bool may_harm; /* in QEMU; else QEMU is not asked what it does not know */
	bool is_ours;
};

static const struct question of_all[] = {
	{ "query-version", "version" },
	{ "query-name", "name" },
	{ "query-status", "run-state" },
	{ "x-query-virtio", "devices" },
	{ "query-iothreads", "iothreads" },
	{ "query-virtqueue-health", "health", .is_ours = true },
	{ "query-virtqueue-watch", "watch", .is_ours = true },
};

static const struct question of_device[] = {
	{ "x-query-virtio-status", "status", HARM_STATUS, true },
	{ "query-virtio-sources", "sources", .is_ours = true },
	{ "query-virtio-negotiation", "negotiation", .is_ours = true },
	{ "query-virtio-queue-threads", "threads", .is_ours = true },
	{ "query-virtqueue-health", "health", .is_ours = true },
	{ "query-virtqueue-inflight", "inflight", .is_ours = true },
	{ "query-vhost-user-transcript", "transcript", .is_ours = true },
	{ "query-vhost-user-findings", "findings", .is_ours = true },
};

static const struct question of_queue[] = {
	{ "x-query-virtio-queue-status", "status", HARM_QUEUE, true },
	{ "x-query-virtio-vhost-queue-status", "vhost-status", HARM_VHOST_QUEUE, true },
	{ "query-virtqueue-elements", "elements", .is_ours = true },
	{ "query-virtqueue-trace", "trace", .is_ours = true },
};

/* --- the archive --- */

static void add_text(struct bundle *b, const char *name, const char *text)
{
	_cleanup_free_ char *path = xasprintf("ringside-bundle/%s", name);

	tar_add(&b->tar, path, text, strlen(text));
	b->num_files++;
}

static void add_json(struct bundle *b, const char *name, struct json_object *value)
{
	_cleanup_free_ char *path = xasprintf("%s.json", name);
	_cleanup_free_ char *text = value_to_text(value, NULL);
	_cleanup_free_ char *line = xasprintf("%s\n", text);

	add_text(b, path, line);
}

static void add_refusal(struct bundle *b, const char *name, const char *command, const char *why)
{
	_cleanup_value_ struct json_object *error = json_object_new_object();

	json_object_object_add(error, "command", value_new_string(command));
	json_object_object_add(error, "refused", value_new_string(why));
	add_json(b, name, error);
	b->num_refused++;
}

/* Asks, and files the reply or why there is none; only a lost connection fails. */
static int ask(struct bundle *b, const struct question *q, const char *name,
	struct json_object *arguments, struct json_object **ret, struct err *err)
{
	_cleanup_value_ struct json_object *reply = NULL;
	struct json_object *path = NULL;
	int r = 0;

	if (q->is_ours && session_is_qemu(&b->session))
		return 0;
	json_object_object_get_ex(arguments, "path", &path);
	if (q->may_harm)
		r = session_check_harm(&b->session, q->harm, json_object_get_string(path), err);
	if (r == 0)
		r = session_execute(&b->session, q->command, arguments, &reply, err);
	if (r == -EPERM || r == -EREMOTEIO) {
		add_refusal(b, name, q->command, err->msg);
		return 0;
	}
	if (r < 0)
		return r;
	add_json(b, name, reply);
	if (ret)
		*ret = take_ptr(reply);
	return 0;
}

/* --- what the buffers hold --- */

static int add_bytes(struct bundle *b, const char *path, struct json_object *desc,
	struct json_object *list, struct err *err)
{
	_cleanup_value_ struct json_object *arguments = session_path_argument(path);
	struct json_object *addr = NULL, *len = NULL, *reply = NULL;
	uint64_t size;
	int r;

	if (!json_object_object_get_ex(desc, "addr", &addr) ||
		!json_object_object_get_ex(desc, "len", &len))
		return 0;
	size = MIN(json_object_get_uint64(len), (uint64_t)PAYLOAD_BYTES);
	json_object_object_add(arguments, "addr", json_object_get(addr));
	json_object_object_add(arguments, "size", json_object_new_uint64(size));
	r = session_execute(&b->session, "query-virtio-memory", arguments, &reply, err);
	if (r == 0)
		json_object_array_add(list, reply);
	return r == -EREMOTEIO ? 0 : r;
}

/* The buffers of what is in the ring: @elements is the reply of query-virtqueue-elements. */
static int add_payload(struct bundle *b, const char *path, const char *name,
	struct json_object *elements, struct err *err)
{
	_cleanup_value_ struct json_object *list = json_object_new_array();
	struct json_object *all = NULL;
	int r = 0;

	json_object_object_get_ex(elements, "elements", &all);
	for (size_t i = 0; r == 0 && all && i < json_object_array_length(all); i++) {
		struct json_object *descs = NULL;

		json_object_object_get_ex(json_object_array_get_idx(all, i), "descs", &descs);
		for (size_t k = 0; r == 0 && descs && k < json_object_array_length(descs); k++) {
			if (json_object_array_length(list) == PAYLOAD_BUFFERS)
				break;
			r = add_bytes(b, path, json_object_array_get_idx(descs, k), list, err);
		}
	}
	if (r == 0)
		add_json(b, name, list);
	return r;
}

/* --- devices --- */

static int add_queue(struct bundle *b, const char *path, int queue, struct err *err)
{
	int r = 0;

	for (size_t i = 0; r == 0 && i < ARRAY_SIZE(of_queue); i++) {
		_cleanup_value_ struct json_object *arguments = session_path_argument(path);
		_cleanup_value_ struct json_object *reply = NULL;
		_cleanup_free_ char *name =
			xasprintf("%s/queue-%d/%s", b->folder, queue, of_queue[i].file);
		_cleanup_free_ char *payload = xasprintf("%s-payload", name);

		json_object_object_add(arguments, "queue", json_object_new_int(queue));
		r = ask(b, &of_queue[i], name, arguments, &reply, err);
		if (r == 0 && reply && b->payload && !strcmp(of_queue[i].file, "elements"))
			r = add_payload(b, path, payload, reply, err);
	}
	return r;
}

static int add_device(struct bundle *b, size_t number, const char *path, struct err *err)
{
	_cleanup_free_ char *folder = xasprintf("device-%zu", number);
	_cleanup_value_ struct json_object *arguments = session_path_argument(path);
	struct json_object *num = NULL;
	int num_queues = 0, r = 0;

	b->folder = folder;
	add_json(b, folder, arguments);
	for (size_t i = 0; r == 0 && i < ARRAY_SIZE(of_device); i++) {
		_cleanup_free_ char *name = xasprintf("%s/%s", folder, of_device[i].file);
		_cleanup_value_ struct json_object *reply = NULL;

		r = ask(b, &of_device[i], name, arguments, &reply, err);
		if (json_object_object_get_ex(reply, "num-vqs", &num))
			num_queues = json_object_get_int(num);
	}
	for (int q = 0; r == 0 && q < num_queues; q++)
		r = add_queue(b, path, q, err);
	return r;
}

static void add_stats(struct bundle *b)
{
	static const struct question stats = { "query-stats", "stats", .is_ours = true };
	_cleanup_value_ struct json_object *arguments = json_object_new_object();
	struct err ignored = { 0 };

	json_object_object_add(arguments, "target", value_new_string("virtqueue"));
	ask(b, &stats, stats.file, arguments, NULL, &ignored);
}

static void add_about(struct bundle *b)
{
	const struct qmp_client_server *server = qmp_client_server(b->session.client);
	_cleanup_free_ char *text = NULL;
	struct utsname system = { 0 };
	char date[32] = "";
	time_t now = time(NULL);
	struct tm tm;

	if (gmtime_r(&now, &tm))
		strftime(date, sizeof(date), "%Y-%m-%dT%H:%M:%SZ", &tm);
	uname(&system);
	text = xasprintf("%s\nby ringside %s\nfrom %s (QEMU %u.%u.%u, %s)\non %s %s %s\n"
			 "what the guest's programs wrote: %s\n",
		date, RINGSIDE_VERSION, qmp_client_address(b->session.client), server->major,
		server->minor, server->micro, server->package, system.sysname, system.release,
		system.machine,
		b->payload ? "the first bytes of buffers are in *-payload.json" : "left out");
	add_text(b, "about.txt", text);
}

static int collect(struct bundle *b, struct err *err)
{
	_cleanup_value_ struct json_object *list = NULL;
	int r = 0;

	add_about(b);
	for (size_t i = 0; r == 0 && i < ARRAY_SIZE(of_all); i++)
		r = ask(b, &of_all[i], of_all[i].file, NULL, NULL, err);
	if (r == 0)
		add_stats(b);
	if (r == 0)
		r = session_list(&b->session, &list, err);
	for (size_t i = 0; r == 0 && i < json_object_array_length(list); i++) {
		struct json_object *path = NULL;

		json_object_object_get_ex(json_object_array_get_idx(list, i), "path", &path);
		if (path)
			r = add_device(b, i, json_object_get_string(path), err);
	}
	return r;
}

/* --- command line --- */

#define FIELD(name) offsetof(struct bundle, name)

static const struct cmd_option options[] = {
	{ "output", CMD_STRING, FIELD(output), "FILE",
		"the archive, a new file (ringside-DATE-TIME.tar)", .letter = 'o' },
	{ "payload", CMD_FLAG, FIELD(payload), NULL,
		"with the first bytes of the buffers in the rings: what\n"
		"the guest's programs write and read. Without it none of\n"
		"that is in the archive" },
	{ "", CMD_LIST, FIELD(operands) },
	{ NULL },
};

static const struct cmd_option *const tables[] = { options, session_options, session_harm_options,
	session_timeout_options, NULL };

static int check(void *base, struct err *err)
{
	struct bundle *b = base;

	if (b->operands.num)
		return err_set(err, -EINVAL, "'%s' is one word too many: all devices are asked",
			b->operands.values[0]);
	return 0;
}

static const struct session_command command = {
	.program = PROGRAM,
	.tables = tables,
	.usage = "Usage: " PROGRAM " [OPTION]...\n"
		 "Writes all that a monitor says of its devices into one archive, to attach to a "
		 "report:\n"
		 "state, features, rings, requests in flight, verdicts, counters, recorders, "
		 "transcripts.\n",
	.check = check,
};

static char *default_output(void)
{
	char name[64] = "ringside.tar";
	time_t now = time(NULL);
	struct tm tm;

	if (localtime_r(&now, &tm))
		strftime(name, sizeof(name), "ringside-%Y%m%d-%H%M%S.tar", &tm);
	return xstrdup(name);
}

static int run(struct bundle *b, struct err *err)
{
	int r = tar_create(&b->tar, b->output, err);

	if (r < 0)
		return r;
	r = collect(b, err);
	if (r == 0)
		r = tar_finish(&b->tar, err);
	tar_abort(&b->tar);
	if (r == 0)
		printf("%s: %u files, %u queries refused, with the reason in their place%s\n",
			b->output, b->num_files, b->num_refused,
			b->payload ? "; it holds what the guest's programs wrote" : "");
	return r;
}

int client_bundle_main(int argc, char **argv)
{
	_cleanup_free_ char *name = NULL;
	struct bundle b = { 0 };
	struct err err = { 0 };
	int r;

	if (session_parse(&command, argc, argv, &b, &r)) {
		if (!b.output)
			b.output = name = default_output();
		r = session_open(&b.session, &err);
		if (r == 0) {
			r = run(&b, &err);
			session_close(&b.session);
		}
		r = session_finish(PROGRAM, r, &err);
	}
	cmd_list_free(&b.operands);
	return r;
}
