/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * `ringside info`: options, verbs, and the conversation with a monitor, ours or QEMU's. Refuses to
 * send QEMU a query that does harm there (client/harm.h) unless it is told to.
 */
#include "client/info.h"

#include <errno.h>
#include <getopt.h>
#include <stdlib.h>
#include <string.h>

#include "base/alloc.h"
#include "base/cleanup.h"
#include "base/value.h"
#include "client/harm.h"
#include "client/iothreads.h"
#include "client/qmp_client.h"
#include "client/qmp_connect.h"
#include "client/show.h"
#include "client/transcript.h"

#define MAX_TIMEOUT_S 3600
/* The summary looks at this many queues of a device. */
#define MAX_SUMMARY_QUEUES 64
#define ARGUMENT_MAX	   65535

static const char usage[] =
	"Usage: ringside info [OPTION]... [VERB]\n"
	"Shows virtio devices as their monitor sees them: Ringside's, or QEMU's (7.2 or newer).\n"
	"\n"
	"Verbs; without one, a summary of all devices:\n"
	"  virtio                     the list of devices\n"
	"  status PATH                state and features of a device, by name\n"
	"  queue PATH N               indices and addresses of its queue N\n"
	"  vhost-queue PATH N         the same for a queue that a vhost back-end serves\n"
	"  element PATH N [INDEX]     a request of queue N: the next one, or that of ring entry "
	"INDEX\n"
	"  sources PATH               where each number comes from (Ringside only)\n"
	"  transcript PATH            the control messages of a relayed device (Ringside only)\n"
	"  iothreads                  the threads that serve queues, and (Ringside only) which\n"
	"PATH is one of the list's, or a part of it that fits one device only, such as its id.\n"
	"\n"
	"Options:\n"
	"  --qmp ADDR      the monitor: unix:PATH, tcp:HOST:PORT, a path, or the name of a "
	"running\n"
	"                  instance; without it, the one instance that runs\n"
	"  --json          print the reply as it came, one JSON document\n"
	"  --allow-harm    send QEMU also those queries that stop a ring, break a device or end "
	"QEMU\n"
	"  --timeout S     wait S seconds for a reply (5)\n"
	"  --help          print this\n";

struct info;

/* What a verb takes and does. */
struct verb {
	const char *name;
	const char *operands; /* for messages */
	int min_operands, max_operands;
	const char *command;
	enum harm_query harm; /* looked at where the verb takes a PATH and may_harm */
	bool may_harm;
	bool wants_marks;
	void (*show)(const struct info *info, struct json_object *reply);
};

struct info {
	const struct verb *verb; /* NULL: the summary */
	const char *qmp, *word; /* as they were given */
	uint64_t timeout_s;
	bool json, allow_harm;
	uint64_t queue, index;
	bool has_index;
	char *path; /* canonical where it could be found */
	struct qmp_client *client;
	struct show show;
};

static void verb_list(const struct info *info, struct json_object *reply)
{
	show_list(&info->show, reply);
}

static void verb_status(const struct info *info, struct json_object *reply)
{
	show_status(&info->show, info->path, reply);
}

static void verb_queue(const struct info *info, struct json_object *reply)
{
	show_queue(&info->show, info->path, (unsigned int)info->queue, reply);
}

static void verb_vhost_queue(const struct info *info, struct json_object *reply)
{
	show_vhost_queue(&info->show, info->path, (unsigned int)info->queue, reply);
}

static void verb_element(const struct info *info, struct json_object *reply)
{
	show_element(&info->show, info->path, (unsigned int)info->queue, reply);
}

static void verb_sources(const struct info *info, struct json_object *reply)
{
	show_sources(&info->show, info->path, reply);
}

static void verb_transcript(const struct info *info, struct json_object *reply)
{
	transcript_show(&info->show, info->path, reply);
}

static void verb_iothreads(const struct info *info, struct json_object *reply)
{
	iothreads_show(&info->show, info->client, reply);
}

static const struct verb verbs[] = {
	{ "virtio", "", 0, 0, "x-query-virtio", .show = verb_list },
	{ "status", " PATH", 1, 1, "x-query-virtio-status", HARM_STATUS, true, true, verb_status },
	{ "queue", " PATH N", 2, 2, "x-query-virtio-queue-status", HARM_QUEUE, true, true,
		verb_queue },
	{ "vhost-queue", " PATH N", 2, 2, "x-query-virtio-vhost-queue-status", HARM_VHOST_QUEUE,
		true, false, verb_vhost_queue },
	{ "element", " PATH N [INDEX]", 2, 3, "x-query-virtio-queue-element", HARM_ELEMENT, true,
		true, verb_element },
	{ "sources", " PATH", 1, 1, "query-virtio-sources", .show = verb_sources },
	{ "transcript", " PATH", 1, 1, "query-vhost-user-transcript", .show = verb_transcript },
	{ "iothreads", "", 0, 0, "query-iothreads", .show = verb_iothreads },
};

/* -EINVAL is a usage error: the caller points at --help. */
static int parse_number(
	const char *what, const char *text, uint64_t max, uint64_t *ret, struct err *err)
{
	char *end;
	unsigned long long n;

	errno = 0;
	n = strtoull(text, &end, 0);
	if (text[0] < '0' || text[0] > '9' || *end || errno || n > max)
		return err_set(err, -EINVAL, "%s '%s' is no number from 0 to %llu", what, text,
			(unsigned long long)max);
	*ret = n;
	return 0;
}

static int parse_operands(struct info *info, int num, char **operands, struct err *err)
{
	const struct verb *v = NULL;
	int r = 0;

	if (num == 0)
		return 0;
	for (size_t i = 0; i < ARRAY_SIZE(verbs); i++)
		if (!strcmp(verbs[i].name, operands[0]))
			v = &verbs[i];
	if (!v)
		return err_set(err, -EINVAL,
			"unknown verb '%s': expected virtio, status, queue, vhost-queue, element, "
			"sources, transcript or iothreads",
			operands[0]);
	info->verb = v;
	if (num - 1 < v->min_operands || num - 1 > v->max_operands)
		return err_set(err, -EINVAL,
			"expected 'ringside info %s%s', got %d argument%s after "
			"'%s'",
			v->name, v->operands, num - 1, num == 2 ? "" : "s", v->name);
	if (num > 1)
		info->word = operands[1];
	if (num > 2)
		r = parse_number("queue", operands[2], ARGUMENT_MAX, &info->queue, err);
	if (r == 0 && num > 3) {
		info->has_index = true;
		r = parse_number("index", operands[3], ARGUMENT_MAX, &info->index, err);
	}
	return r;
}

/* 1: help was printed, and that is all. */
static int parse_options(struct info *info, int argc, char **argv, struct err *err)
{
	enum { QMP = 256, JSON, ALLOW_HARM, TIMEOUT };
	static const struct option options[] = {
		{ "qmp", required_argument, NULL, QMP },
		{ "json", no_argument, NULL, JSON },
		{ "allow-harm", no_argument, NULL, ALLOW_HARM },
		{ "timeout", required_argument, NULL, TIMEOUT },
		{ "help", no_argument, NULL, 'h' },
		{ 0 },
	};
	int c, r = 0;

	opterr = 0;
	optind = 0; /* whoever called us may have used getopt already */
	while (r == 0 && (c = getopt_long(argc, argv, ":h", options, NULL)) != -1) {
		switch (c) {
		case QMP: info->qmp = optarg; break;
		case JSON: info->json = true; break;
		case ALLOW_HARM: info->allow_harm = true; break;
		case TIMEOUT:
			r = parse_number("--timeout", optarg, MAX_TIMEOUT_S, &info->timeout_s, err);
			break;
		case 'h': fputs(usage, stdout); return 1;
		case ':':
			return err_set(err, -EINVAL, "option '%s' needs a value", argv[optind - 1]);
		default:
			return err_set(err, -EINVAL,
				"option '%s' is not one of --qmp, --json, --allow-harm, --timeout, "
				"--help",
				argv[optind - 1]);
		}
	}
	return r < 0 ? r : parse_operands(info, argc - optind, argv + optind, err);
}

/* Sentences that are the interface's, and so cannot say themselves what to do. */
static const struct {
	const char *part, *hint;
} hints[] = {
	{ "Region caches not initialized", "no driver has set this queue up" },
	{ "vhost device has not started", "no vhost back-end serves this device; see 'queue'" },
	{ "Invalid virtqueue number", "num-vqs of 'status' says how many there are" },
	{ "is not a realized VirtIODevice", "'ringside info virtio' lists the paths" },
	{ "is not a VirtIO", "'ringside info virtio' lists the paths" },
};

static int add_hint(int code, struct err *err)
{
	for (size_t i = 0; i < ARRAY_SIZE(hints); i++) {
		_cleanup_free_ char *sentence = NULL;

		if (!strstr(err->msg, hints[i].part))
			continue;
		sentence = xstrdup(err->msg);
		return err_set(err, code, "%s (%s)", sentence, hints[i].hint);
	}
	return code;
}

/* Passes a server's sentence on, with a hint where the command is not known there. */
static int explain(struct info *info, const char *command, int code, struct err *err)
{
	const struct qmp_client_server *server = qmp_client_server(info->client);

	if (code != -EREMOTEIO)
		return code;
	if (strcmp(qmp_client_error_class(info->client), "CommandNotFound") != 0)
		return add_hint(code, err);
	if (!strcmp(command, "query-virtio-sources") && !server->is_ringside)
		return err_set(err, code,
			"QEMU does not know where its numbers come from: 'sources' "
			"needs a Ringside monitor");
	if (!strcmp(command, "query-vhost-user-transcript"))
		return err_set(err, code, "this monitor keeps no transcript of messages");
	return err_set(err, code,
		"the monitor of QEMU %u.%u does not know '%s'; it came with QEMU 7.2",
		server->major, server->minor, command);
}

static int execute(struct info *info, const char *command, struct json_object *arguments,
	struct json_object **ret, struct err *err)
{
	return explain(
		info, command, qmp_client_execute(info->client, command, arguments, ret, err), err);
}

/* Newer QEMU calls it an error where there is no device; then the list is empty for us. */
static int get_list(struct info *info, struct json_object **ret, struct err *err)
{
	int r = execute(info, "x-query-virtio", NULL, ret, err);

	if (r == -EREMOTEIO && !strcmp(err->msg, "No virtio devices found")) {
		*ret = json_object_new_array();
		r = 0;
	}
	if (r == 0 && !json_object_is_type(*ret, json_type_array))
		return err_set(err, -EPROTO, "the reply to 'x-query-virtio' is no list");
	return r;
}

/* Are @word's components some of @path's, one after the other? */
static bool path_contains(const char *path, const char *word)
{
	_cleanup_free_ char *p = xasprintf("%s/", path);
	_cleanup_free_ char *w = xasprintf("/%s/", word);

	return strstr(p, w) != NULL;
}

/*
 * A part of a path that fits one device becomes that device's path, which old versions of QEMU
 * need; one that fits none is the server's to judge.
 */
static int resolve(struct info *info, struct err *err)
{
	_cleanup_value_ struct json_object *list = NULL;
	_cleanup_free_ char *found = NULL;
	size_t num = 0;
	int r;

	info->path = xstrdup(info->word);
	if (!*info->word || info->word[0] == '/')
		return 0;
	r = get_list(info, &list, err);
	if (r < 0)
		return r == -EREMOTEIO ? 0 : r;
	for (size_t i = 0; i < json_object_array_length(list); i++) {
		const char *path = show_member(json_object_array_get_idx(list, i), "path");
		_cleanup_free_ char *old = NULL;

		if (!path_contains(path, info->word))
			continue;
		old = found;
		found = num++ ? xasprintf("%s, %s", old, path) : xstrdup(path);
	}
	if (num > 1) {
		qmp_client_make_printable(found);
		return err_set(err, -ENOTUNIQ, "'%s' fits %zu devices: %s", info->word, num, found);
	}
	if (num == 1) {
		free(info->path);
		info->path = take_ptr(found);
	}
	return 0;
}

static int check_harm(struct info *info, enum harm_query query, const char *path, struct err *err)
{
	return info->allow_harm ? 0 : harm_check(info->client, query, path, err);
}

static struct json_object *make_arguments(const struct info *info)
{
	struct json_object *arguments;

	if (!info->path)
		return NULL;
	arguments = json_object_new_object();
	json_object_object_add(arguments, "path", value_new_string(info->path));
	if (info->verb->min_operands > 1)
		json_object_object_add(arguments, "queue", json_object_new_uint64(info->queue));
	if (info->has_index)
		json_object_object_add(arguments, "index", json_object_new_uint64(info->index));
	return arguments;
}

static void print_json(const struct info *info, struct json_object *reply)
{
	_cleanup_free_ char *line = NULL;

	if (info->show.out.is_terminal) {
		puts(json_object_to_json_string_ext(reply, JSON_C_TO_STRING_PRETTY |
								   JSON_C_TO_STRING_SPACED |
								   JSON_C_TO_STRING_NOSLASHESCAPE));
		return;
	}
	line = value_to_text(reply, NULL);
	puts(line);
}

/* NULL where the monitor does not tell: without the marks the numbers are still worth showing. */
static struct json_object *get_sources(struct info *info, const char *path)
{
	_cleanup_value_ struct json_object *arguments = NULL;
	struct json_object *sources = NULL;
	struct err ignored;

	if (!qmp_client_server(info->client)->is_ringside)
		return NULL;
	arguments = json_object_new_object();
	json_object_object_add(arguments, "path", value_new_string(path));
	if (qmp_client_execute(
		    info->client, "query-virtio-sources", arguments, &sources, &ignored) < 0)
		return NULL;
	return sources;
}

static int run_verb(struct info *info, struct err *err)
{
	const struct verb *v = info->verb;
	_cleanup_value_ struct json_object *reply = NULL, *arguments = NULL, *sources = NULL;
	int r = info->word ? resolve(info, err) : 0;

	if (r == 0 && v->may_harm) {
		r = check_harm(info, v->harm, info->path, err);
		if (r == -EPERM)
			return err_prefix(err, r, "refused (--allow-harm sends it anyway)");
	}
	if (r < 0)
		return r;
	arguments = make_arguments(info);
	r = v->show == verb_list ? get_list(info, &reply, err)
				 : execute(info, v->command, arguments, &reply, err);
	if (r < 0)
		return r;
	if (info->json) {
		print_json(info, reply);
		return 0;
	}
	if (v->wants_marks)
		sources = get_sources(info, info->path);
	info->show.sources = sources;
	v->show(info, reply);
	info->show.sources = NULL;
	return 0;
}

/* One query of the summary: 0, or a sentence for the screen in *why; only a lost connection fails.
 */
static int ask(struct info *info, const char *command, enum harm_query harm,
	struct json_object *arguments, struct json_object **ret, char **why, struct err *err)
{
	struct json_object *path;
	int r;

	json_object_object_get_ex(arguments, "path", &path);
	r = check_harm(info, harm, json_object_get_string(path), err);
	if (r == 0)
		r = execute(info, command, arguments, ret, err);
	if (r != -EPERM && r != -EREMOTEIO)
		return r;
	*why = xstrdup(err->msg);
	return 0;
}

static int ask_queues(struct info *info, const char *path, int num, struct json_object *queues,
	char **why, struct err *err)
{
	for (int q = 0; q < num && q < MAX_SUMMARY_QUEUES && !*why; q++) {
		_cleanup_value_ struct json_object *arguments = json_object_new_object();
		struct json_object *reply = NULL;
		int r;

		json_object_object_add(arguments, "path", value_new_string(path));
		json_object_object_add(arguments, "queue", json_object_new_int(q));
		r = ask(info, "x-query-virtio-queue-status", HARM_QUEUE, arguments, &reply, why,
			err);
		if (r < 0)
			return r;
		if (reply)
			json_object_array_add(queues, reply);
	}
	return 0;
}

/* Shows one device, or adds it to @document. */
static int summarize(
	struct info *info, struct json_object *entry, struct json_object *document, struct err *err)
{
	_cleanup_value_ struct json_object *arguments = json_object_new_object();
	_cleanup_value_ struct json_object *status = NULL, *queues = json_object_new_array();
	_cleanup_value_ struct json_object *sources = NULL;
	_cleanup_free_ char *no_status = NULL, *no_queues = NULL;
	const char *path = show_member(entry, "path");
	struct show_device device = { .name = show_member(entry, "name"), .path = path };
	struct json_object *num = NULL;
	int r;

	json_object_object_add(arguments, "path", value_new_string(path));
	r = ask(info, "x-query-virtio-status", HARM_STATUS, arguments, &status, &no_status, err);
	json_object_object_get_ex(status, "num-vqs", &num);
	if (r == 0 && num)
		r = ask_queues(info, path, json_object_get_int(num), queues, &no_queues, err);
	if (r < 0)
		return r;
	if (document) {
		struct json_object *item = json_object_new_object();

		json_object_object_add(item, "name", value_new_string(device.name));
		json_object_object_add(item, "path", value_new_string(path));
		if (status)
			json_object_object_add(item, "status", json_object_get(status));
		if (!no_queues && num)
			json_object_object_add(item, "queues", json_object_get(queues));
		json_object_array_add(document, item);
		return 0;
	}
	device.status = status;
	device.no_status = no_status;
	device.queues = num ? queues : NULL;
	device.no_queues = no_queues;
	device.sources = sources = get_sources(info, path);
	putchar('\n');
	show_summary(&info->show, &device);
	return 0;
}

/* "virtual machine 'x', running": what the monitor tells about the whole. */
static int show_server(struct info *info, struct err *err)
{
	const struct qmp_client_server *server = qmp_client_server(info->client);
	_cleanup_value_ struct json_object *name = NULL, *status = NULL;
	int r = qmp_client_execute(info->client, "query-name", NULL, &name, err);

	if (r == 0 || r == -EREMOTEIO)
		r = qmp_client_execute(info->client, "query-status", NULL, &status, err);
	if (r < 0 && r != -EREMOTEIO)
		return r;
	if (server->is_ringside)
		text_print(&info->show.out, TEXT_BOLD, "%s", server->package);
	else
		text_print(&info->show.out, TEXT_BOLD, "QEMU %u.%u.%u", server->major,
			server->minor, server->micro);
	if (json_object_object_get_ex(name, "name", NULL))
		text_print(&info->show.out, TEXT_PLAIN, "  %s", show_member(name, "name"));
	text_line(&info->show.out, TEXT_PLAIN, "  %s  %s", show_member(status, "status"),
		qmp_client_address(info->client));
	return 0;
}

static int run_summary(struct info *info, struct err *err)
{
	_cleanup_value_ struct json_object *list = NULL, *document = NULL;
	int r = get_list(info, &list, err);

	if (r < 0)
		return r;
	if (info->json)
		document = json_object_new_array();
	else
		r = show_server(info, err);
	for (size_t i = 0; r == 0 && i < json_object_array_length(list); i++)
		r = summarize(info, json_object_array_get_idx(list, i), document, err);
	if (r == 0 && info->json)
		print_json(info, document);
	else if (r == 0 && json_object_array_length(list) == 0)
		show_list(&info->show, list);
	return r;
}

static void say_waiting(_unused_ void *opaque, const char *sentence)
{
	fprintf(stderr, "ringside info: %s\n", sentence);
}

static int connect_and_run(struct info *info, struct err *err)
{
	struct qmp_client_options options = {
		.timeout_ms = (unsigned int)info->timeout_s * 1000,
		.on_wait = say_waiting,
	};
	_cleanup_free_ char *address = NULL;
	int r = 0;

	if (info->qmp)
		address = qmp_address_of(info->qmp);
	else
		r = qmp_discover(&address, err);
	if (r < 0)
		return r;
	options.address = address;
	r = qmp_client_open(&options, &info->client, err);
	if (r < 0)
		return r;
	text_out_init(&info->show.out, stdout);
	info->show.is_qemu = !qmp_client_server(info->client)->is_ringside;
	r = info->verb ? run_verb(info, err) : run_summary(info, err);
	qmp_client_close(info->client);
	if (r == 0 && (fflush(stdout) != 0 || ferror(stdout)))
		return err_set(err, -EIO, "cannot write to standard output: %s", strerror(errno));
	return r;
}

int client_info_main(int argc, char **argv)
{
	struct info info = { 0 };
	struct err err = { 0 };
	int r = parse_options(&info, argc, argv, &err);

	if (r == 1)
		return 0;
	if (r < 0) {
		fprintf(stderr, "ringside info: %s\nTry 'ringside info --help'.\n", err.msg);
		return 2;
	}
	r = connect_and_run(&info, &err);
	free(info.path);
	if (r < 0) {
		qmp_client_make_printable(err.msg);
		fflush(stdout);
		fprintf(stderr, "ringside info: %s\n", err.msg);
	}
	/* Only an address that is none is -EINVAL. */
	return r == -EINVAL ? 2 : r < 0 ? 1 : 0;
}
