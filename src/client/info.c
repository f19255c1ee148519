/* SPDX-License-Identifier: BSD-3-Clause */
/* `ringside info`: options, and one verb or the summary. */
#include "client/info.h"

#include <errno.h>
#include <getopt.h>
#include <stdlib.h>
#include <string.h>

#include "base/alloc.h"
#include "base/cleanup.h"
#include "base/value.h"
#include "client/info_verbs.h"
#include "client/summary.h"

#define PROGRAM	     "ringside info"
#define ARGUMENT_MAX 65535

static const char usage_head[] =
	"Usage: " PROGRAM " [OPTION]... [VERB]\n"
	"Shows virtio devices as their monitor sees them: Ringside's, or QEMU's (7.2 or newer).\n"
	"\n"
	"Verbs; without one, a summary of all devices:\n";

static const char usage_tail[] =
	"PATH is one of the list's, or a part of it that fits one device only, such as its id.\n"
	"\n"
	"Options:\n" SESSION_USAGE
	"  --json          print the reply as it came, one JSON document\n"
	"  --allow-harm    send QEMU also those queries that stop a ring, break a device or end "
	"QEMU\n"
	"  --timeout S     wait S seconds for a reply (5)\n"
	"  --help          print this\n";

struct info {
	struct session session;
	const struct info_verb *verb; /* NULL: the summary */
	const char *word; /* PATH as it was given */
	bool json;
	struct info_call call;
};

static void print_usage(void)
{
	fputs(usage_head, stdout);
	info_verbs_print_usage();
	fputs(usage_tail, stdout);
}

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
		r = session_parse_number(
			"queue", operands[2], ARGUMENT_MAX, &info->call.queue, err);
	if (r == 0 && num > 3) {
		info->call.has_index = true;
		r = session_parse_number(
			"index", operands[3], ARGUMENT_MAX, &info->call.index, err);
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
		case QMP: info->session.qmp = optarg; break;
		case JSON: info->json = true; break;
		case ALLOW_HARM: info->session.allow_harm = true; break;
		case TIMEOUT:
			r = session_parse_number("--timeout", optarg, SESSION_MAX_TIMEOUT_S,
				&info->session.timeout_s, err);
			break;
		case 'h': print_usage(); return 1;
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
	struct info info = { .session.program = PROGRAM };
	struct err err = { 0 };
	int r = parse_options(&info, argc, argv, &err);

	if (r == 1)
		return 0;
	if (r < 0) {
		fprintf(stderr, PROGRAM ": %s\nTry '" PROGRAM " --help'.\n", err.msg);
		return 2;
	}
	r = connect_and_run(&info, &err);
	free(info.call.path);
	return session_finish(PROGRAM, r, &err);
}
