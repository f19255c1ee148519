/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The conversation with a monitor, ours or QEMU's. Refuses to send QEMU a query that does harm
 * there (client/harm.h) unless it is told to.
 */
#include "client/session.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/alloc.h"
#include "base/cleanup.h"
#include "base/value.h"
#include "client/qmp_connect.h"
#include "client/show.h"

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

/* Commands that a monitor may lack, and what to say then; the others came with QEMU 7.2. */
static const struct {
	const char *command, *sentence;
	bool only_qemu; /* said of QEMU's monitor only */
} absent[] = {
	{ "query-virtio-sources",
		"QEMU does not know where its numbers come from: 'sources' needs a Ringside "
		"monitor",
		true },
	{ "query-virtqueue-health",
		"QEMU does not say why a queue stands still: 'why' needs a Ringside monitor; "
		"'ringside relay' between QEMU and a vhost-user back-end has one",
		true },
	{ "query-vhost-user-transcript", "this monitor keeps no transcript of messages" },
};

static void say_waiting(void *opaque, const char *sentence)
{
	const struct session *session = opaque;

	fprintf(stderr, "%s: %s\n", session->program, sentence);
}

int session_open(struct session *session, struct err *err)
{
	uint64_t timeout_s = session->timeout_s ? session->timeout_s : SESSION_DEFAULT_TIMEOUT_S;
	struct qmp_client_options options = {
		.timeout_ms = (unsigned int)timeout_s * 1000,
		.on_wait = session->quiet ? NULL : say_waiting,
		.opaque = session,
	};
	_cleanup_free_ char *address = NULL;
	int r = 0;

	if (session->qmp)
		address = qmp_address_of(session->qmp);
	else
		r = qmp_discover(&address, err);
	if (r < 0)
		return r;
	options.address = address;
	return qmp_client_open(&options, &session->client, err);
}

void session_close(struct session *session)
{
	qmp_client_close(session->client);
	session->client = NULL;
}

bool session_is_qemu(const struct session *session)
{
	return !qmp_client_server(session->client)->is_ringside;
}

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

static int explain_absent(
	const struct session *session, const char *command, int code, struct err *err)
{
	const struct qmp_client_server *server = qmp_client_server(session->client);

	for (size_t i = 0; i < ARRAY_SIZE(absent); i++)
		if (!strcmp(absent[i].command, command) &&
			!(absent[i].only_qemu && server->is_ringside))
			return err_set(err, code, "%s", absent[i].sentence);
	return err_set(err, code,
		"the monitor of QEMU %u.%u does not know '%s'; it came with QEMU 7.2",
		server->major, server->minor, command);
}

int session_execute(struct session *session, const char *command, struct json_object *arguments,
	struct json_object **ret, struct err *err)
{
	int r = qmp_client_execute(session->client, command, arguments, ret, err);

	if (r != -EREMOTEIO)
		return r;
	if (!strcmp(qmp_client_error_class(session->client), "CommandNotFound"))
		return explain_absent(session, command, r, err);
	return add_hint(r, err);
}

/* Newer QEMU calls it an error where there is no device. */
int session_list(struct session *session, struct json_object **ret, struct err *err)
{
	int r = session_execute(session, "x-query-virtio", NULL, ret, err);

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

int session_resolve(struct session *session, const char *word, char **ret, struct err *err)
{
	_cleanup_value_ struct json_object *list = NULL;
	_cleanup_free_ char *found = NULL;
	size_t num = 0;
	int r;

	*ret = xstrdup(word);
	if (!*word || word[0] == '/')
		return 0;
	r = session_list(session, &list, err);
	if (r < 0)
		return r == -EREMOTEIO ? 0 : r;
	for (size_t i = 0; i < json_object_array_length(list); i++) {
		const char *path = show_member(json_object_array_get_idx(list, i), "path");
		_cleanup_free_ char *old = NULL;

		if (!path_contains(path, word))
			continue;
		old = found;
		found = num++ ? xasprintf("%s, %s", old, path) : xstrdup(path);
	}
	if (num > 1) {
		qmp_client_make_printable(found);
		return err_set(err, -ENOTUNIQ, "'%s' fits %zu devices: %s", word, num, found);
	}
	if (num == 1) {
		free(*ret);
		*ret = take_ptr(found);
	}
	return 0;
}

int session_check_harm(
	struct session *session, enum harm_query query, const char *path, struct err *err)
{
	return session->allow_harm ? 0 : harm_check(session->client, query, path, err);
}

struct json_object *session_path_argument(const char *path)
{
	struct json_object *arguments = json_object_new_object();

	json_object_object_add(arguments, "path", value_new_string(path));
	return arguments;
}

struct json_object *session_sources(struct session *session, const char *path)
{
	_cleanup_value_ struct json_object *arguments = NULL;
	struct json_object *sources = NULL;
	struct err ignored;

	if (session_is_qemu(session))
		return NULL;
	arguments = session_path_argument(path);
	if (qmp_client_execute(
		    session->client, "query-virtio-sources", arguments, &sources, &ignored) < 0)
		return NULL;
	return sources;
}

#define FIELD(name) offsetof(struct session, name)

const struct cmd_option session_options[] = {
	{ "qmp", CMD_STRING, FIELD(qmp), "ADDR",
		"the monitor: unix:PATH, tcp:HOST:PORT, a path, or the\n"
		"name of a running instance; without it, the one instance\n"
		"that runs" },
	{ NULL },
};

const struct cmd_option session_timeout_options[] = {
	{ "timeout", CMD_NUMBER, FIELD(timeout_s), "S", "wait S seconds for a reply (5)",
		.max = SESSION_MAX_TIMEOUT_S },
	{ NULL },
};

const struct cmd_option session_harm_options[] = {
	{ "allow-harm", CMD_FLAG, FIELD(allow_harm), NULL,
		"ask QEMU also what stops a ring, breaks a device or ends\n"
		"QEMU" },
	{ NULL },
};

static void print_help(const struct session_command *command)
{
	fputs(command->usage, stdout);
	if (command->print_more)
		command->print_more();
	printf("\nOptions:\n");
	cmd_print_options(stdout, command->tables);
	if (command->after)
		fputs(command->after, stdout);
	printf("Exit status: 0 when there was an answer, 1 for a failure, 2 for usage.\n");
}

bool session_parse(
	const struct session_command *command, int argc, char **argv, void *base, int *ret_status)
{
	struct session *session = base;
	struct err err = { 0 };
	bool help;
	int r;

	session->program = command->program;
	r = cmd_parse(argc, argv, command->tables, base, &help, &err);
	if (help) {
		print_help(command);
		*ret_status = session_finish(command->program, 0, &err);
		return false;
	}
	if (r == 0)
		r = command->check(base, &err);
	if (r < 0) {
		fprintf(stderr, "%s: %s\nTry '%s --help'.\n", command->program, err.msg,
			command->program);
		*ret_status = 2;
	}
	return r == 0;
}

int session_finish(const char *program, int r, struct err *err)
{
	if (fflush(stdout) != 0 || ferror(stdout))
		if (r == 0)
			r = err_set(
				err, -EIO, "cannot write to standard output: %s", strerror(errno));
	if (r < 0) {
		qmp_client_make_printable(err->msg);
		fprintf(stderr, "%s: %s\n", program, err->msg);
	}
	/* Only an address that is none is -EINVAL. */
	return r == -EINVAL ? 2 : r < 0 ? 1 : 0;
}
