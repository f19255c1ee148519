/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A command is a row: its words, its help, the query it asks and how the reply is shown. A query
 * that would have to wait is given up; none of these does.
 */
#include "monitor/hmp.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/alloc.h"
#include "base/cleanup.h"
#include "base/value.h"
#include "monitor/hmp_show.h"
#include "monitor/hmp_words.h"

enum arg_kind { ARG_STRING, ARG_NUMBER };

struct arg {
	const char *name; /* the query's member; NULL ends */
	enum arg_kind kind;
	bool optional;
};

/* What follows `info`. Sorted by name, as help lists them. */
static const struct info_command {
	const char *name;
	const char *params; /* for help: "path queue [index]" */
	const char *help;
	const char *query;
	void (*show)(FILE *out, const char *path, struct json_object *reply);
	struct arg args[HMP_MAX_ARGS + 1];
} info_commands[] = {
	{ "iothreads", "", "show iothreads", "query-iothreads", hmp_show_iothreads },
	{ "name", "", "show the name of this run", "query-name", hmp_show_name },
	{ "negotiation", "path", "show who offered, acknowledged or dropped each feature",
		"query-virtio-negotiation", hmp_show_members, { { "path" } } },
	{ "status", "", "show whether the guest runs", "query-status", hmp_show_run_status },
	{ "version", "", "show the version of QEMU whose interface this is, and ours",
		"query-version", hmp_show_version },
	{ "virtio", "", "List all available virtio devices", "x-query-virtio", hmp_show_virtio },
	{ "virtio-queue-element", "path queue [index]", "Display element of a given virtio queue",
		"x-query-virtio-queue-element", hmp_show_queue_element,
		{ { "path" }, { "queue", ARG_NUMBER }, { "index", ARG_NUMBER, true } } },
	{ "virtio-queue-status", "path queue", "Display status of a given virtio queue",
		"x-query-virtio-queue-status", hmp_show_queue_status,
		{ { "path" }, { "queue", ARG_NUMBER } } },
	{ "virtio-sources", "path", "show where each number of a device comes from",
		"query-virtio-sources", hmp_show_members, { { "path" } } },
	{ "virtio-status", "path", "Display status of a given virtio device",
		"x-query-virtio-status", hmp_show_status, { { "path" } } },
	{ "virtio-vhost-queue-status", "path queue", "Display status of a given vhost queue",
		"x-query-virtio-vhost-queue-status", hmp_show_vhost_queue_status,
		{ { "path" }, { "queue", ARG_NUMBER } } },
	{ "virtqueue-health", "[path] [queue]",
		"show why each queue stands still, or that it works", "query-virtqueue-health",
		hmp_show_members, { { "path", ARG_STRING, true }, { "queue", ARG_NUMBER, true } } },
	{ "virtqueue-inflight", "path [queue]",
		"show requests that are taken and not answered, oldest first",
		"query-virtqueue-inflight", hmp_show_members,
		{ { "path" }, { "queue", ARG_NUMBER, true } } },
	{ "virtqueue-trace", "path queue [last]", "show the last events of a virtio queue",
		"query-virtqueue-trace", hmp_show_members,
		{ { "path" }, { "queue", ARG_NUMBER }, { "last", ARG_NUMBER, true } } },
};

static const struct {
	const char *names, *params, *help;
} commands[] = {
	{ "help|?", "[cmd]", "show the help" },
	{ "info", "[subcommand]", "show various information about the system state" },
};

struct run {
	const struct qapi_handlers *handlers;
	void *ctx;
	FILE *out;
};

static bool is_there(const struct run *run, const struct info_command *c)
{
	return qapi_command_find(run->handlers, c->query);
}

static const struct info_command *find(const struct run *run, const char *name)
{
	for (size_t i = 0; i < ARRAY_SIZE(info_commands); i++)
		if (!strcmp(info_commands[i].name, name) && is_there(run, &info_commands[i]))
			return &info_commands[i];
	return NULL;
}

static void help_info(const struct run *run, const struct info_command *c)
{
	fprintf(run->out, "info %s %s -- %s\n", c->name, c->params, c->help);
}

static void help_all_info(const struct run *run)
{
	for (size_t i = 0; i < ARRAY_SIZE(info_commands); i++)
		if (is_there(run, &info_commands[i]))
			help_info(run, &info_commands[i]);
}

static void unknown(const struct run *run, const char *prefix, const char *name)
{
	fprintf(run->out, "unknown command: '%s%s'\n", prefix, name);
}

static bool is_help(const char *word)
{
	return !strcmp(word, "help") || !strcmp(word, "?");
}

static void run_help(const struct run *run, const char *at)
{
	_cleanup_free_ char *word = NULL, *sub = NULL;
	const struct info_command *c;
	struct err ignored;

	if (hmp_word_string(&at, &word, &ignored) < 0) {
		for (size_t i = 0; i < ARRAY_SIZE(commands); i++)
			fprintf(run->out, "%s %s -- %s\n", commands[i].names, commands[i].params,
				commands[i].help);
		return;
	}
	if (is_help(word)) {
		fprintf(run->out, "%s %s -- %s\n", commands[0].names, commands[0].params,
			commands[0].help);
	} else if (strcmp(word, "info") != 0) {
		unknown(run, "", word);
	} else if (hmp_word_string(&at, &sub, &ignored) < 0) {
		help_all_info(run);
	} else {
		c = find(run, sub);
		if (c)
			help_info(run, c);
		else
			unknown(run, "info ", sub);
	}
}

/* The words behind a command as the query's arguments. */
static int read_args(
	const struct info_command *c, const char *at, struct json_object *ret, struct err *err)
{
	for (const struct arg *arg = c->args; arg->name; arg++) {
		_cleanup_free_ char *word = NULL;
		uint32_t number;

		if (arg->optional && !hmp_word_more(&at))
			return 0;
		if (arg->kind == ARG_NUMBER) {
			if (hmp_word_number(&at, c->name, &number, err) < 0)
				return -EINVAL;
			json_object_object_add(ret, arg->name, json_object_new_int64(number));
			continue;
		}
		switch (hmp_word_string(&at, &word, err)) {
		case 0: json_object_object_add(ret, arg->name, value_new_string(word)); break;
		case -ENOENT: return err_set(err, -EINVAL, "%s: string expected", c->name);
		default: return -EINVAL;
		}
	}
	if (hmp_word_more(&at))
		return err_set(
			err, -EINVAL, "%s: extraneous characters at the end of line", c->name);
	return 0;
}

struct answer {
	bool came, failed;
	struct json_object *reply;
	struct err err;
};

static void on_answer(void *opaque, struct json_object *result, const struct qapi_error *error)
{
	struct answer *answer = opaque;
	_cleanup_free_ char *text = error ? NULL : value_to_text(result, NULL);

	answer->came = true;
	answer->failed = error;
	if (error)
		answer->err = error->err;
	else
		/* A result is text already; a tree is what can be shown. */
		answer->reply = json_tokener_parse(text);
	json_object_put(result);
}

static void run_query(
	const struct run *run, const struct info_command *c, struct json_object *arguments)
{
	struct answer answer = { .failed = true };
	struct json_object *path = NULL;
	struct qapi_call *call = qapi_dispatch(run->handlers, run->ctx,
		qapi_command_find(run->handlers, c->query), arguments, on_answer, &answer);

	if (call)
		qapi_call_abandon(call);
	if (!answer.came)
		err_set(&answer.err, -EBUSY, "'%s' takes too long for this monitor", c->query);
	json_object_object_get_ex(arguments, "path", &path);
	if (!answer.failed)
		c->show(run->out, path ? json_object_get_string(path) : NULL, answer.reply);
	else
		fprintf(run->out, "Error: %s\n", answer.err.msg);
	json_object_put(answer.reply);
}

static void run_info(const struct run *run, const char *at)
{
	_cleanup_value_ struct json_object *arguments = json_object_new_object();
	_cleanup_free_ char *name = NULL;
	const struct info_command *c;
	struct err err = { { 0 } };

	if (hmp_word_string(&at, &name, &err) < 0) {
		help_all_info(run);
		return;
	}
	c = find(run, name);
	if (!c) {
		unknown(run, "info ", name);
		return;
	}
	if (read_args(c, at, arguments, &err) < 0)
		fprintf(run->out, "%s\nTry \"help info %s\" for more information\n", err.msg,
			c->name);
	else
		run_query(run, c, arguments);
}

/* Lines for a terminal: "\r\n", and nothing else that steers it. The caller frees it. */
static char *for_terminal(const char *text, size_t len)
{
	char *safe = xcalloc(2 * len + 1, 1), *to = safe;

	for (size_t i = 0; i < len; i++) {
		unsigned char c = (unsigned char)text[i];
		/* U+0080 to U+009F are control characters too. */
		bool wide = c == 0xc2 && i + 1 < len && (text[i + 1] & 0xe0) == 0x80;

		if (c == '\n')
			*to++ = '\r';
		if ((c < 0x20 && c != '\n' && c != '\t') || c == 0x7f || wide)
			*to++ = '?';
		else
			*to++ = (char)c;
		i += wide;
	}
	return safe;
}

char *hmp_run(const struct qapi_handlers *handlers, void *ctx, const char *line)
{
	_cleanup_free_ char *text = NULL, *word = NULL;
	struct run run = { .handlers = handlers, .ctx = ctx };
	struct err err = { { 0 } };
	size_t len;

	run.out = open_memstream(&text, &len);
	if (!run.out)
		return xstrdup("out of memory\r\n");
	switch (hmp_word_string(&line, &word, &err)) {
	case 0:
		if (is_help(word))
			run_help(&run, line);
		else if (!strcmp(word, "info"))
			run_info(&run, line);
		else
			unknown(&run, "", word);
		break;
	case -ENOENT: break;
	default: fprintf(run.out, "%s\n", err.msg);
	}
	fclose(run.out);
	return for_terminal(text, len);
}
