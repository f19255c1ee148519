/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Commands: the table that the generator makes, and a call's life. Control registers its handlers
 * in `struct qapi_handlers` (commands.h); a monitor hands a request to qapi_dispatch(). Main loop
 * only.
 */
#ifndef QAPI_CALL_H
#define QAPI_CALL_H

#include "base/util.h"
#include "qapi/rt.h"

/* What a handler returns that keeps its call and finishes it later. */
#define QAPI_PENDING 1

enum qapi_error_class {
	QAPI_GENERIC_ERROR,
	QAPI_COMMAND_NOT_FOUND,
	QAPI_DEVICE_NOT_ACTIVE,
	QAPI_DEVICE_NOT_FOUND,
	QAPI_KVM_MISSING_CAP,
};

/* Zeroed, it is a GenericError without words. Give &error->err to whatever fills a struct err. */
struct qapi_error {
	enum qapi_error_class class;
	struct err err;
};

const char *qapi_error_class_name(enum qapi_error_class class);
/* Returns -EINVAL, for `return qapi_error_set(...)` at the end of a handler. */
int qapi_error_set(struct qapi_error *error, enum qapi_error_class class, const char *fmt, ...)
	_printf_(3, 4);

struct qapi_handlers;
struct qapi_call;

/*
 * Runs once a call, from within qapi_dispatch() or later. @result is the reply's "return" as
 * value_to_text() takes it (taken over by the callee) where @error is NULL.
 */
typedef void qapi_done_fn(void *opaque, struct json_object *result, const struct qapi_error *error);

/* One command that is under way. */
struct qapi_call {
	/* Whatever qapi_dispatch() was given for the handlers. */
	void *ctx;
	const struct qapi_command *command;
	qapi_done_fn *done; /* NULL: nobody waits any more */
	void *opaque;
	/* While the handler runs, an answer is kept here until it returned. */
	bool in_handler, has_answer;
	struct json_object *result;
	struct qapi_error *error;
};

struct qapi_command {
	const char *name;
	/* The struct of its arguments, or NULL: no argument. */
	const struct qapi_type *args;
	/* NULL: nothing, sent as {}. */
	const struct qapi_type *ret;
	/* Changes something: refused by a read-only monitor. */
	bool action;
	/* gen: false. The handler gets the arguments and gives the result as JSON. */
	bool raw;
	bool (*is_there)(const struct qapi_handlers *handlers);
	/* @args: the struct; raw: the arguments object. @ret: as qapi_value_*() have it; raw: json.
	 */
	int (*invoke)(const struct qapi_handlers *handlers, struct qapi_call *call, void *args,
		void *ret, struct qapi_error *error);
};

/* All commands of the schema, sorted by name. */
extern const struct qapi_command qapi_commands[];
extern const size_t qapi_num_commands;

/* The command, or NULL where the schema has none or @handlers has no handler for it. */
const struct qapi_command *qapi_command_find(
	const struct qapi_handlers *handlers, const char *name);

/*
 * Checks @args (an object, or NULL for none) and calls the handler. @done may run before this
 * returns. The result is NULL where it has run, else the call: qapi_call_abandon() it when nobody
 * waits for it any more.
 */
struct qapi_call *qapi_dispatch(const struct qapi_handlers *handlers, void *ctx,
	const struct qapi_command *command, struct json_object *args, qapi_done_fn *done,
	void *opaque);

/* @done will not run; the handler still finishes the call when it gets there. */
void qapi_call_abandon(struct qapi_call *call);

/*
 * Finish a pending call, exactly once; it is gone afterwards. @result is taken over; NULL is {}.
 * commands.h has a typed qapi_return_COMMAND() for each command that returns something.
 */
void qapi_call_return(struct qapi_call *call, struct json_object *result);
void qapi_call_fail(struct qapi_call *call, enum qapi_error_class class, const char *fmt, ...)
	_printf_(3, 4);

#endif
