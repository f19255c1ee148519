/* SPDX-License-Identifier: BSD-3-Clause */
/* `ringside info`: options, and one verb or the summary. */
#include "client/info.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/alloc.h"
#include "base/cleanup.h"
#include "base/value.h"
#include "client/info_verbs.h"
#include "client/summary.h"

#define PROGRAM	     "ringside info"
#define ARGUMENT_MAX 65535

struct info {
	struct session session;
	struct cmd_list operands;
	const struct info_verb *verb; /* NULL: the summary */
	const char *word; /* PATH as it was given */
	bool json;
	struct info_call call;
};

static int parse_operands(struct info *info, int num, char **operands, struct err *err)
{
	const struct info_verb *v;
	int r = 0;

	if (num == 0)
		return 0;
	info->verb = v = info_verb_find(operands[0], err);
	if (!v)
		return -EINVAL;
	if (num - 1 < v->min_operands || num - 1 > v->max_operands)
		return err_set(err, -EINVAL, "expected '%s %s%s', got %d argument%s after '%s'",
			PROGRAM, v->name, v->operands, num - 1, num == 2 ? "" : "s", v->name);
	if (num > 1)
		info->word = operands[1];
	info->call.has_queue = num > 2;
	if (num > 2)
		r = cmd_parse_number("queue", operands[2], ARGUMENT_MAX, &info->call.queue, err);
	if (r == 0 && num > 3) {
		info->call.has_index = true;
		r = cmd_parse_number("index", operands[3], ARGUMENT_MAX, &info->call.index, err);
	}
	return r;
}

#define FIELD(name) offsetof(struct info, name)

static const struct cmd_option options[] = {
	{ "json", CMD_FLAG, FIELD(json), NULL, "print the reply as it came, one JSON document" },
	{ "", CMD_LIST, FIELD(operands) },
	{ NULL },
};

static const struct cmd_option *const tables[] = { session_options, options, session_harm_options,
	session_timeout_options, NULL };

static int check(void *base, struct err *err)
{
	struct info *info = base;

	return parse_operands(info, (int)info->operands.num, info->operands.values, err);
}

static const struct session_command command = {
	.program = PROGRAM,
	.tables = tables,
	.usage = "Usage: " PROGRAM " [OPTION]... [VERB]\n"
		 "Shows virtio devices as their monitor sees them: Ringside's, or QEMU's (7.2 or "
		 "newer).\n"
		 "\n"
		 "Verbs; without one, a summary of all devices:\n",
	.print_more = info_verbs_print_usage,
	.check = check,
};

static struct json_object *make_arguments(const struct info *info)
{
	const struct info_call *call = &info->call;
	struct json_object *arguments;

	if (!call->path)
		return NULL;
	arguments = session_path_argument(call->path);
	if (call->has_queue)
		json_object_object_add(arguments, "queue", json_object_new_uint64(call->queue));
	if (call->has_index)
		json_object_object_add(arguments, "index", json_object_new_uint64(call->index));
	return arguments;
}

static void print_json(const struct info *info, struct json_object *reply)
{
	_cleanup_free_ char *line = NULL;

	if (info->call.show.out.is_terminal) {
		puts(json_object_to_json_string_ext(reply, JSON_C_TO_STRING_PRETTY |
								   JSON_C_TO_STRING_SPACED |
								   JSON_C_TO_STRING_NOSLASHESCAPE));
		return;
	}
	line = value_to_text(reply, NULL);
	puts(line);
}

static int run_verb(struct info *info, struct err *err)
{
	const struct info_verb *v = info->verb;
	struct info_call *call = &info->call;
	_cleanup_value_ struct json_object *reply = NULL, *arguments = NULL, *sources = NULL;
	int r = info->word ? session_resolve(call->session, info->word, &call->path, err) : 0;

	if (r == 0 && v->may_harm) {
		r = session_check_harm(call->session, v->harm, call->path, err);
		if (r == -EPERM)
			return err_prefix(err, r, "refused (--allow-harm sends it anyway)");
	}
	if (r < 0)
		return r;
	arguments = make_arguments(info);
	r = v->is_list ? session_list(call->session, &reply, err)
		       : session_execute(call->session, v->command, arguments, &reply, err);
	if (r < 0)
		return r;
	if (info->json) {
		print_json(info, reply);
		return 0;
	}
	if (v->wants_marks)
		sources = session_sources(call->session, call->path);
	call->show.sources = sources;
	v->show(call, reply);
	call->show.sources = NULL;
	return 0;
}

static int run_summary(struct info *info, struct err *err)
{
	_cleanup_value_ struct json_object *document = info->json ? json_object_new_array() : NULL;
	int r = summary_run(&info->session, &info->call.show, document, err);

	if (r == 0 && document)
		print_json(info, document);
	return r;
}

static int connect_and_run(struct info *info, struct err *err)
{
	int r = session_open(&info->session, err);

	if (r < 0)
		return r;
	info->call.session = &info->session;
	text_out_init(&info->call.show.out, stdout);
	info->call.show.is_qemu = session_is_qemu(&info->session);
	r = info->verb ? run_verb(info, err) : run_summary(info, err);
	session_close(&info->session);
	return r;
}

int client_info_main(int argc, char **argv)
{
	struct info info = { 0 };
	struct err err = { 0 };
	int r;

	if (session_parse(&command, argc, argv, &info, &r)) {
		r = connect_and_run(&info, &err);
		r = session_finish(PROGRAM, r, &err);
	}
	free(info.call.path);
	cmd_list_free(&info.operands);
	return r;
}
