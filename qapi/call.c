/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A call from its arguments to its one answer. Refuses arguments that the schema does not know. An
 * answer that a handler gives before it returns QAPI_PENDING is delivered after it returned.
 */
#include "qapi/call.h"

#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/alloc.h"

static const char *const class_names[] = {
	[QAPI_GENERIC_ERROR] = "GenericError",
	[QAPI_COMMAND_NOT_FOUND] = "CommandNotFound",
	[QAPI_DEVICE_NOT_ACTIVE] = "DeviceNotActive",
	[QAPI_DEVICE_NOT_FOUND] = "DeviceNotFound",
	[QAPI_KVM_MISSING_CAP] = "KVMMissingCap",
};

const char *qapi_error_class_name(enum qapi_error_class class)
{
	return class_names[class];
}

int qapi_error_set(struct qapi_error *error, enum qapi_error_class class, const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	err_vset(&error->err, -EINVAL, fmt, ap);
	va_end(ap);
	error->class = class;
	return -EINVAL;
}

static int compare_name(const void *name, const void *command)
{
	return strcmp(name, ((const struct qapi_command *)command)->name);
}

const struct qapi_command *qapi_command_find(const struct qapi_handlers *handlers, const char *name)
{
	const struct qapi_command *c = bsearch(
		name, qapi_commands, qapi_num_commands, sizeof(qapi_commands[0]), compare_name);

	return c && c->is_there(handlers) ? c : NULL;
}

/* Tells who waits, and ends the call. Takes @result. */
static void finish(
	struct qapi_call *call, struct json_object *result, const struct qapi_error *error)
{
	if (!error && !result)
		result = json_object_new_object();
	if (call->done)
		call->done(call->opaque, result, error);
	else
		json_object_put(result);
	free(call->error);
	free(call);
}

/* Runs the handler with @args, the struct; gives its result as JSON. */
static int invoke(const struct qapi_handlers *handlers, struct qapi_call *call, void *args,
	struct qapi_error *error)
{
	const struct qapi_command *c = call->command;
	/* Room for whatever a result is before it is JSON: a pointer, a list, a number. */
	union {
		void *pointer;
		struct qapi_list list;
		uint64_t number;
	} ret = { .list = { 0 } };
	int r = c->invoke(handlers, call, args, &ret, error);

	if (c->ret && r == 0)
		call->result = qapi_value_to_text(c->ret, &ret);
	if (c->ret)
		qapi_value_clear(c->ret, &ret);
	return r;
}

static int check_and_invoke(const struct qapi_handlers *handlers, struct qapi_call *call,
	struct json_object *args, struct qapi_error *error)
{
	const struct qapi_command *c = call->command;
	void *parsed;
	int r;

	if (c->raw)
		return c->invoke(handlers, call, args, &call->result, error);
	if (!c->args) {
		json_object_object_foreach(args, name, value)
		{
			(void)value;
			return qapi_error_set(
				error, QAPI_GENERIC_ERROR, "Parameter '%s' is unexpected", name);
		}
		return invoke(handlers, call, NULL, error);
	}
	parsed = xcalloc(1, c->args->size);
	r = qapi_struct_from_json(c->args, args, QAPI_STRICT, parsed, &error->err);
	if (r == 0) {
		r = invoke(handlers, call, parsed, error);
		qapi_struct_clear(c->args, parsed);
	}
	free(parsed);
	return r;
}

struct qapi_call *qapi_dispatch(const struct qapi_handlers *handlers, void *ctx,
	const struct qapi_command *command, struct json_object *args, qapi_done_fn *done,
	void *opaque)
{
	struct qapi_call *call = xnew(struct qapi_call);
	struct qapi_error error = { 0 };
	struct json_object *no_args = args ? NULL : json_object_new_object();
	int r;

	*call = (struct qapi_call){
		.ctx = ctx, .command = command, .done = done, .opaque = opaque, .in_handler = true
	};
	r = check_and_invoke(handlers, call, args ? args : no_args, &error);
	json_object_put(no_args);
	call->in_handler = false;
	if (r == QAPI_PENDING && !call->has_answer)
		return call;
	if (r == QAPI_PENDING) {
		finish(call, call->result, call->error);
	} else {
		/* A handler either answers by its call or by its return value. */
		assert(!call->has_answer);
		if (r < 0 && !error.err.msg[0])
			err_set(&error.err, r, "%s failed: %s", command->name, strerror(-r));
		if (r < 0)
			json_object_put(call->result);
		finish(call, r < 0 ? NULL : call->result, r < 0 ? &error : NULL);
	}
	return NULL;
}

void qapi_call_abandon(struct qapi_call *call)
{
	call->done = NULL;
	call->opaque = NULL;
}

void qapi_call_return(struct qapi_call *call, struct json_object *result)
{
	if (!call->in_handler) {
		finish(call, result, NULL);
		return;
	}
	assert(!call->has_answer);
	call->has_answer = true;
	call->result = result;
}

void qapi_call_fail(struct qapi_call *call, enum qapi_error_class class, const char *fmt, ...)
{
	struct qapi_error *error = xnew(struct qapi_error);
	va_list ap;

	va_start(ap, fmt);
	err_vset(&error->err, -EINVAL, fmt, ap);
	va_end(ap);
	error->class = class;
	assert(!call->has_answer);
	call->has_answer = true;
	call->error = error;
	if (!call->in_handler)
		finish(call, NULL, error);
}
