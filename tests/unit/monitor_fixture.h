/* SPDX-License-Identifier: BSD-3-Clause */
/* A monitor on a loop, and our end of a socket to it. For the tests of the monitor only. */
#ifndef TESTS_UNIT_MONITOR_FIXTURE_H
#define TESTS_UNIT_MONITOR_FIXTURE_H

#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <cmocka.h>

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "base/alloc.h"
#include "base/cleanup.h"
#include "base/log.h"
#include "base/value.h"
#include "monitor/framer.h"
#include "monitor/monitor.h"
#include "qapi/events.h"

/* Enough for the loop to come to rest: nothing here waits for time to pass. */
#define ROUNDS 40

struct fixture {
	struct loop loop;
	struct monitor *monitor;
	int client; /* our end */
	char path[64];
	char seen[1 << 20];
	size_t seen_len;
};

static struct qapi_call *pending;
/* A letter for each handler that ran. */
static char order[64];

static int stop_handler(struct qapi_call *call, _unused_ struct qapi_error *error)
{
	strcat(order, "s");
	pending = call;
	return QAPI_PENDING;
}

static int cont_handler(struct qapi_call *call, _unused_ struct qapi_error *error)
{
	assert_string_equal(call->ctx, "context");
	strcat(order, "c");
	return 0;
}

static int name_handler(
	_unused_ struct qapi_call *call, struct NameInfo **ret, _unused_ struct qapi_error *error)
{
	strcat(order, "n");
	*ret = xnew(struct NameInfo);
	return 0;
}

static int status_handler(_unused_ struct qapi_call *call, const char *path,
	_unused_ struct VirtioStatus **ret, struct qapi_error *error)
{
	return qapi_error_set(error, QAPI_GENERIC_ERROR, "Path %s is not a VirtIODevice", path);
}

static const struct qapi_handlers handlers = {
	.stop = stop_handler,
	.cont = cont_handler,
	.query_name = name_handler,
	.x_query_virtio_status = status_handler,
};

static struct monitor_config config_of(struct fixture *f, bool read_only)
{
	return (struct monitor_config){ .loop = &f->loop,
		.handlers = &handlers,
		.ctx = (char *)"context",
		.read_only = read_only };
}

static inline int setup(void **state)
{
	struct fixture *f = xnew(struct fixture);

	f->client = -1;
	pending = NULL;
	order[0] = '\0';
	log_set_level(LOG_LEVEL_ERROR);
	*state = f;
	return loop_init(&f->loop, "test", NULL);
}

static inline int teardown(void **state)
{
	struct fixture *f = *state;

	monitor_free(f->monitor);
	close_fd(&f->client);
	loop_deinit(&f->loop);
	free(f);
	return 0;
}

static inline void open_pair(struct fixture *f, bool read_only)
{
	struct monitor_config config = config_of(f, read_only);
	struct err err = { { 0 } };
	int pair[2];

	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair), 0);
	assert_int_equal(monitor_open_fds(&config, pair[0], pair[0], &f->monitor, &err), 0);
	close(pair[0]);
	f->client = pair[1];
}

/* Turns the loop and takes what the client is sent into f->seen; false at the end of file. */
static inline bool turn(struct fixture *f)
{
	bool open = true;

	for (int i = 0; i < ROUNDS; i++) {
		ssize_t n = recv(f->client, f->seen + f->seen_len,
			sizeof(f->seen) - 1 - f->seen_len, MSG_DONTWAIT);

		if (n > 0)
			f->seen_len += (size_t)n;
		open = n > 0 || (n < 0 && errno == EAGAIN);
		if (!open)
			break;
		loop_run_once(&f->loop, 0);
	}
	f->seen[f->seen_len] = '\0';
	return open;
}

/* Forgets what was seen, sends, and returns what comes. */
static inline const char *ask(struct fixture *f, const char *text, size_t len)
{
	f->seen_len = 0;
	assert_int_equal(send(f->client, text, len, MSG_NOSIGNAL), len);
	turn(f);
	return f->seen;
}

static inline const char *say(struct fixture *f, const char *text)
{
	return ask(f, text, strlen(text));
}

static inline void negotiate(struct fixture *f)
{
	turn(f);
	assert_string_equal(say(f, "{'execute':'qmp_capabilities'}"), "{\"return\": {}}\r\n");
}

#define GENERIC(desc)	"{\"error\": {\"class\": \"GenericError\", \"desc\": \"" desc "\"}}\r\n"
#define NOT_FOUND(desc) "{\"error\": {\"class\": \"CommandNotFound\", \"desc\": \"" desc "\"}}\r\n"
#define EXPECTING	NOT_FOUND("Expecting capabilities negotiation with 'qmp_capabilities'")
#define OK		"{\"return\": {}}\r\n"

#define CASE(fn) cmocka_unit_test_setup_teardown(fn, setup, teardown)

#endif
