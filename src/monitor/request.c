/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * From one JSON text to its one reply. Refuses what is not a request, in the wording that clients
 * know; a read-only monitor refuses actions. The monitor's own commands are here.
 */
#include "monitor/request.h"

#include <errno.h>
#include <string.h>

#include "base/alloc.h"
#include "base/cleanup.h"
#include "base/log.h"
#include "base/value.h"
#include "monitor/hmp.h"
#include "qapi/introspect.h"

/* The version of QEMU whose interface this is. */
#define QMP_VERSION_MAJOR 9
#define QMP_VERSION_MINOR 2
#define QMP_VERSION_MICRO 0

/* @body is taken over, under @key; the request's id goes with it. */
static void reply(struct session *s, const char *key, struct json_object *body)
{
	struct json_object *message = json_object_new_object();

	json_object_object_add(message, key, body);
	if (s->has_id)
		json_object_object_add(message, "id", s->id);
	s->has_id = false;
	s->id = NULL;
	session_send(s, message);
	json_object_put(message);
}

static void reply_error(struct session *s, const struct qapi_error *error)
{
	struct json_object *body = json_object_new_object();

	json_object_object_add(
		body, "class", json_object_new_string(qapi_error_class_name(error->class)));
	json_object_object_add(body, "desc", value_new_string(error->err.msg));
	reply(s, "error", body);
}

static void done(void *opaque, struct json_object *result, const struct qapi_error *error)
{
	struct session *s = opaque;
	bool late = s->call;

	s->busy = false;
	s->call = NULL;
	if (error)
		reply_error(s, error);
	else
		reply(s, "return", result);
	if (late)
		session_continue(s);
}

struct request {
	const char *command;
	struct json_object *args;
};

/* Takes the request's id for the reply, then its shape is looked at member by member. */
static int read_request(
	struct session *s, struct json_object *json, struct request *ret, struct qapi_error *error)
{
	struct json_object *id;

	if (!json_object_is_type(json, json_type_object))
		return qapi_error_set(error, QAPI_GENERIC_ERROR, "QMP input must be a JSON object");
	s->has_id = json_object_object_get_ex(json, "id", &id);
	s->id = s->has_id ? json_object_get(id) : NULL;
	json_object_object_foreach(json, name, value)
	{
		if (strcmp(name, "execute") == 0) {
			if (!json_object_is_type(value, json_type_string))
				return qapi_error_set(error, QAPI_GENERIC_ERROR,
					"QMP input member 'execute' must be a string");
			ret->command = json_object_get_string(value);
		} else if (strcmp(name, "arguments") == 0) {
			if (!json_object_is_type(value, json_type_object))
				return qapi_error_set(error, QAPI_GENERIC_ERROR,
					"QMP input member 'arguments' must be an object");
			ret->args = value;
		} else if (strcmp(name, "id") != 0) {
			return qapi_error_set(error, QAPI_GENERIC_ERROR,
				"QMP input member '%s' is unexpected", name);
		}
	}
	if (!ret->command)
		return qapi_error_set(
			error, QAPI_GENERIC_ERROR, "QMP input lacks member 'execute'");
	return 0;
}

static int find_command(struct session *s, const char *name, const struct qapi_command **ret,
	struct qapi_error *error)
{
	bool negotiates = strcmp(name, "qmp_capabilities") == 0;

	if (!s->negotiated && !negotiates)
		return qapi_error_set(error, QAPI_COMMAND_NOT_FOUND,
			"Expecting capabilities negotiation with 'qmp_capabilities'");
	if (s->negotiated && negotiates)
		return qapi_error_set(error, QAPI_COMMAND_NOT_FOUND,
			"Capabilities negotiation is already complete, command ignored");
	*ret = qapi_command_find(&s->monitor->handlers, name);
	if (!*ret)
		return qapi_error_set(
			error, QAPI_COMMAND_NOT_FOUND, "The command %s has not been found", name);
	if ((*ret)->action && s->monitor->config.read_only)
		return qapi_error_set(error, QAPI_GENERIC_ERROR,
			"This monitor is read-only, it does not run '%s'; use one that may change "
			"things",
			name);
	return 0;
}

static void refuse(struct session *s, const struct err *err)
{
	static struct log_limit limit;
	struct qapi_error error = { .class = QAPI_GENERIC_ERROR, .err = *err };

	reply_error(s, &error);
	/* Perhaps a web page that makes its browser post to us: it gets no second try. */
	if (s->monitor->is_tcp && !s->negotiated) {
		log_limited(&limit, LOG_LEVEL_WARN,
			"monitor %s: a client that does not speak QMP was disconnected",
			s->monitor->address);
		session_kill(s);
	}
}

/* Who changes something, and what: looking leaves no trace. */
static void log_action(const struct session *s, const char *command, struct json_object *args)
{
	_cleanup_free_ char *text = args ? value_to_text(args, NULL) : NULL;

	log_info("monitor %s%s: %s %.200s", s->monitor->address, s->who, command, text ? text : "");
}

static void run(struct session *s, const char *text, size_t len)
{
	_cleanup_value_ struct json_object *json = NULL;
	const struct qapi_command *command = NULL;
	struct qapi_error error = { 0 };
	struct request request = { 0 };
	struct qapi_call *call;

	if (value_parse_json(text, len, &json, &error.err) < 0) {
		refuse(s, &error.err);
		return;
	}
	if (read_request(s, json, &request, &error) < 0 ||
		find_command(s, request.command, &command, &error) < 0) {
		reply_error(s, &error);
		return;
	}
	if (command->action)
		log_action(s, request.command, request.args);
	s->busy = true;
	call = qapi_dispatch(
		&s->monitor->handlers, s->monitor->config.ctx, command, request.args, done, s);
	if (s->busy)
		s->call = call;
}

/* --- the monitor's own commands; the opaque pointer of their calls is the session --- */

static int own_qmp_capabilities(struct qapi_call *call, bool has_enable,
	const struct QMPCapabilityList *enable, struct qapi_error *error)
{
	struct session *s = call->opaque;

	if (has_enable && enable->num)
		return qapi_error_set(error, QAPI_GENERIC_ERROR, "Capability %s not available",
			qapi_name_QMPCapability(enable->items[0]));
	s->negotiated = true;
	return 0;
}

static struct VersionInfo *version(void)
{
	struct VersionInfo *v = xnew(struct VersionInfo);

	v->qemu = xnew(struct VersionTriple);
	v->qemu->major = QMP_VERSION_MAJOR;
	v->qemu->minor = QMP_VERSION_MINOR;
	v->qemu->micro = QMP_VERSION_MICRO;
	v->package = xstrdup("ringside " RINGSIDE_VERSION);
	return v;
}

static void greet(struct session *s)
{
	_cleanup_value_ struct json_object *greeting = json_object_new_object();
	struct json_object *qmp = json_object_new_object();
	struct VersionInfo *v = version();

	json_object_object_add(qmp, "version", qapi_to_json_VersionInfo(v));
	json_object_object_add(qmp, "capabilities", json_object_new_array());
	json_object_object_add(greeting, "QMP", qmp);
	qapi_free_VersionInfo(v);
	session_send(s, greeting);
}

static size_t feed(struct session *s, const char *bytes, size_t len)
{
	struct err err = { { 0 } };
	size_t used;

	switch (framer_feed(&s->framer, bytes, len, &used, &err)) {
	case FRAMER_TEXT:
		run(s, s->framer.text, s->framer.len);
		framer_next(&s->framer);
		break;
	case FRAMER_BAD: refuse(s, &err); break;
	case FRAMER_MORE: break;
	}
	return used;
}

const struct session_protocol request_protocol = { .greet = greet, .feed = feed };

static int own_query_version(_unused_ struct qapi_call *call, struct VersionInfo **ret,
	_unused_ struct qapi_error *error)
{
	*ret = version();
	return 0;
}

static int own_query_commands(
	struct qapi_call *call, struct CommandInfoList *ret, _unused_ struct qapi_error *error)
{
	struct session *s = call->opaque;

	for (size_t i = 0; i < qapi_num_commands; i++) {
		struct CommandInfo *info;

		if (!qapi_commands[i].is_there(&s->monitor->handlers))
			continue;
		info = xnew(struct CommandInfo);
		info->name = xstrdup(qapi_commands[i].name);
		qapi_append_CommandInfoList(ret, info);
	}
	return 0;
}

static int own_query_qmp_schema(_unused_ struct qapi_call *call, struct json_object *args,
	struct json_object **ret, struct qapi_error *error)
{
	json_object_object_foreach(args, name, value)
	{
		(void)value;
		return qapi_error_set(
			error, QAPI_GENERIC_ERROR, "Parameter '%s' is unexpected", name);
	}
	*ret = json_tokener_parse(qapi_schema_text);
	return *ret ? 0 : -ENOMEM;
}

static int own_human_monitor_command(struct qapi_call *call, const char *command_line,
	_unused_ bool has_cpu_index, _unused_ int64_t cpu_index, char **ret,
	_unused_ struct qapi_error *error)
{
	struct session *s = call->opaque;

	*ret = hmp_run(&s->monitor->handlers, call->ctx, command_line);
	return 0;
}

void request_own_handlers(struct qapi_handlers *handlers)
{
	handlers->qmp_capabilities = own_qmp_capabilities;
	handlers->query_version = own_query_version;
	handlers->query_commands = own_query_commands;
	handlers->query_qmp_schema = own_query_qmp_schema;
	handlers->human_monitor_command = own_human_monitor_command;
}
