/* SPDX-License-Identifier: BSD-3-Clause */
/* The monitor, through socket pairs: wording, order, bounds, hostile input, and who is thrown out.
 */
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

static int setup(void **state)
{
	struct fixture *f = xnew(struct fixture);

	f->client = -1;
	pending = NULL;
	order[0] = '\0';
	log_set_level(LOG_LEVEL_ERROR);
	*state = f;
	return loop_init(&f->loop, "test", NULL);
}

static int teardown(void **state)
{
	struct fixture *f = *state;

	monitor_free(f->monitor);
	close_fd(&f->client);
	loop_deinit(&f->loop);
	free(f);
	return 0;
}

static void open_pair(struct fixture *f, bool read_only)
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
static bool turn(struct fixture *f)
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
static const char *ask(struct fixture *f, const char *text, size_t len)
{
	f->seen_len = 0;
	assert_int_equal(send(f->client, text, len, MSG_NOSIGNAL), len);
	turn(f);
	return f->seen;
}

static const char *say(struct fixture *f, const char *text)
{
	return ask(f, text, strlen(text));
}

static void negotiate(struct fixture *f)
{
	turn(f);
	assert_string_equal(say(f, "{'execute':'qmp_capabilities'}"), "{\"return\": {}}\r\n");
}

static void test_greeting(void **state)
{
	struct fixture *f = *state;

	open_pair(f, false);
	turn(f);
	assert_string_equal(f->seen,
		"{\"QMP\": {\"version\": {\"qemu\": {\"major\": 9, \"minor\": 2, \"micro\": 0}, "
		"\"package\": \"ringside " RINGSIDE_VERSION "\"}, \"capabilities\": []}}\r\n");
	assert_string_equal(monitor_address(f->monitor), "stdio");
}

#define GENERIC(desc)	"{\"error\": {\"class\": \"GenericError\", \"desc\": \"" desc "\"}}\r\n"
#define NOT_FOUND(desc) "{\"error\": {\"class\": \"CommandNotFound\", \"desc\": \"" desc "\"}}\r\n"
#define EXPECTING	NOT_FOUND("Expecting capabilities negotiation with 'qmp_capabilities'")
#define OK		"{\"return\": {}}\r\n"

struct row {
	const char *in, *out;
};

static const struct row before_rows[] = {
	{ "{\"execute\":\"query-name\"}", EXPECTING },
	{ "{\"execute\":\"nosuch\"}", EXPECTING },
	{ "{}", GENERIC("QMP input lacks member 'execute'") },
	{ "{'exec-oob':'query-name'}", GENERIC("QMP input member 'exec-oob' is unexpected") },
	{ "{'execute':'qmp_capabilities','arguments':{'enable':['bogus']}}",
		GENERIC("Parameter 'enable[0]' does not accept value 'bogus'") },
	{ "{'execute':'qmp_capabilities','arguments':{'enable':['oob']}}",
		GENERIC("Capability oob not available") },
	{ "{'execute':'qmp_capabilities','arguments':{'enable':[]},'id':'first'}",
		"{\"return\": {}, \"id\": \"first\"}\r\n" },
	{ "{'execute':'qmp_capabilities'}",
		NOT_FOUND("Capabilities negotiation is already complete, command ignored") },
};

static const struct row rows[] = {
	{ "{'execute':'query-name','id':1}", "{\"return\": {}, \"id\": 1}\r\n" },
	{ "{'execute':'query-name','id':null}", "{\"return\": {}, \"id\": null}\r\n" },
	{ "{'id':{'a':[1,2.50,null,true,'\\u00e9']},'execute':'query-name'}",
		"{\"return\": {}, \"id\": {\"a\": [1, 2.5, null, true, \"\\u00E9\"]}}\r\n" },
	{ "{'execute':'query-name','id':'\\u0000'}", "{\"return\": {}, \"id\": \"\\u0000\"}\r\n" },
	{ "{'execute':'nosuch','id':'x'}",
		"{\"error\": {\"class\": \"CommandNotFound\", \"desc\": \"The command nosuch has "
		"not been found\"}, \"id\": \"x\"}\r\n" },
	{ "{'execute':'quit'}", NOT_FOUND("The command quit has not been found") },
	{ "{'execute':1,'id':'x'}",
		"{\"error\": {\"class\": \"GenericError\", \"desc\": \"QMP input member 'execute' "
		"must be a string\"}, \"id\": \"x\"}\r\n" },
	{ "{'execute':'query-name','bogus':1}", GENERIC("QMP input member 'bogus' is unexpected") },
	{ "{'execute':'query-name','arguments':[]}",
		GENERIC("QMP input member 'arguments' must be an object") },
	{ "{'execute':'query-name','arguments':{'x':1}}", GENERIC("Parameter 'x' is unexpected") },
	{ "{'execute':'x-query-virtio-status','arguments':{}}",
		GENERIC("Parameter 'path' is missing") },
	{ "{'execute':'x-query-virtio-status','arguments':{'path':'/\\u00e9'}}",
		GENERIC("Path /\\u00E9 is not a VirtIODevice") },
	{ "{'arguments':{}}", GENERIC("QMP input lacks member 'execute'") },
	{ "[]", GENERIC("QMP input must be a JSON object") },
	{ "'str'", GENERIC("QMP input must be a JSON object") },
	{ "1\n", GENERIC("QMP input must be a JSON object") },
	{ "nonsense\n", GENERIC("JSON parse error, invalid keyword 'nonsense'") },
	{ "{'execute':", "" },
	{ "{'execute':\n}", GENERIC("JSON parse error, expecting value") },
	{ "}\n", GENERIC("JSON parse error, expecting value") },
	{ "}}]\n", GENERIC("JSON parse error, expecting value") },
	{ "{'execute':'query-name','execute':'query-status'}",
		GENERIC("JSON parse error, duplicate key") },
	{ "{'execute':'query-name' 'x':1}",
		GENERIC("JSON parse error, expected separator in dict") },
	{ "\xff", GENERIC("JSON parse error, stray '\\uFFFD'") },
	{ "{'execute':\xff{'execute':'cont'}", GENERIC("JSON parse error, stray '\\uFFFD'") OK },
	{ "\x01\n", GENERIC("JSON parse error, stray '\\u0001'") },
	{ "{'execute':'query-name','id':%d}", GENERIC("JSON parse error, stray '%'") },
	{ "{'execute':'query-name','id':01}", GENERIC("JSON parse error, stray '01'") },
	{ "{'execute':'query-name','id':'a\\q'}",
		GENERIC("JSON parse error, invalid escape sequence in string") },
	{ "{'execute':'query-name','id':'\\ud800'}",
		GENERIC("JSON parse error, \\\\ud800 is not a valid Unicode character") },
	{ "{'execute':'query-name','id':'raw\ttab'}", GENERIC("JSON parse error, stray ''raw'") },
	/* A string that is left open ends with its line. */
	{ "{'execute':'open\n{'execute':'cont'}\n", GENERIC("JSON parse error, stray ''open'") OK },
	{ "{'execute':'a}]{[\\'','id':2}",
		"{\"error\": {\"class\": \"CommandNotFound\", \"desc\": \"The command a}]{[' has "
		"not been found\"}, \"id\": 2}\r\n" },
	{ "{'execute':'cont'}{'execute':'cont','id':2} \r\n {'execute':'cont','id':3}",
		OK "{\"return\": {}, \"id\": 2}\r\n{\"return\": {}, \"id\": 3}\r\n" },
	{ "{'execute':\n'cont'\n}\n", OK },
};

static void check_rows(struct fixture *f, const struct row *table, size_t num)
{
	for (size_t i = 0; i < num; i++) {
		assert_string_equal(say(f, table[i].in), table[i].out);
		if (!table[i].out[0])
			say(f, "\xff"); /* leaves nothing half said behind */
		/* Byte by byte it is the same; qmp_capabilities works only once, though. */
		if (table != rows)
			continue;
		f->seen_len = 0;
		for (const char *c = table[i].in; *c; c++) {
			assert_int_equal(send(f->client, c, 1, MSG_NOSIGNAL), 1);
			loop_run_once(&f->loop, 0);
		}
		turn(f);
		assert_string_equal(f->seen, table[i].out);
		if (!table[i].out[0])
			say(f, "\xff");
	}
}

static void test_negotiation(void **state)
{
	struct fixture *f = *state;

	open_pair(f, false);
	turn(f);
	check_rows(f, before_rows, ARRAY_SIZE(before_rows));
}

static void test_wording(void **state)
{
	struct fixture *f = *state;

	open_pair(f, false);
	negotiate(f);
	check_rows(f, rows, ARRAY_SIZE(rows));
}

static void test_own_commands(void **state)
{
	struct fixture *f = *state;

	open_pair(f, false);
	negotiate(f);
	assert_string_equal(say(f, "{'execute':'query-commands'}"),
		"{\"return\": [{\"name\": \"cont\"}, {\"name\": \"qmp_capabilities\"}, {\"name\": "
		"\"query-commands\"}, {\"name\": \"query-name\"}, {\"name\": "
		"\"query-qmp-schema\"}, {\"name\": \"query-version\"}, {\"name\": \"stop\"}, "
		"{\"name\": \"x-query-virtio-status\"}]}\r\n");
	assert_non_null(strstr(say(f, "{'execute':'query-version'}"), "\"major\": 9"));
	assert_non_null(strstr(say(f, "{'execute':'query-qmp-schema'}"), "\"meta-type\""));
	assert_string_equal(say(f, "{'execute':'query-qmp-schema','arguments':{'a':1}}"),
		GENERIC("Parameter 'a' is unexpected"));
}

static void test_read_only(void **state)
{
	struct fixture *f = *state;

	open_pair(f, true);
	negotiate(f);
	assert_string_equal(say(f, "{'execute':'cont'}"),
		GENERIC("This monitor is read-only, it does not run 'cont'; use one that may "
			"change things"));
	assert_string_equal(order, "");
	assert_string_equal(say(f, "{'execute':'query-name'}"), OK);
}

static void test_one_at_a_time(void **state)
{
	struct fixture *f = *state;

	open_pair(f, false);
	negotiate(f);
	assert_string_equal(say(f, "{'execute':'stop','id':1}{'execute':'cont','id':2}"
				   "{'execute':'stop','id':3}"),
		"");
	assert_string_equal(order, "s");
	qapi_call_return(pending, NULL);
	turn(f);
	assert_string_equal(
		f->seen, "{\"return\": {}, \"id\": 1}\r\n{\"return\": {}, \"id\": 2}\r\n");
	assert_string_equal(order, "scs");
	f->seen_len = 0;
	qapi_call_fail(pending, QAPI_GENERIC_ERROR, "no");
	turn(f);
	assert_string_equal(f->seen, "{\"error\": {\"class\": \"GenericError\", \"desc\": "
				     "\"no\"}, \"id\": 3}\r\n");
}

/* Whoever goes away while a request is pending is not told, and does no harm. */
static void test_gone_while_pending(void **state)
{
	struct fixture *f = *state;

	open_pair(f, false);
	negotiate(f);
	say(f, "{'execute':'stop'}{'execute':'cont'}");
	close_fd(&f->client);
	for (int i = 0; i < ROUNDS; i++)
		loop_run_once(&f->loop, 0);
	qapi_call_return(pending, NULL);
	for (int i = 0; i < ROUNDS; i++)
		loop_run_once(&f->loop, 0);
	monitor_free(take_ptr(f->monitor));
	open_pair(f, false);
	negotiate(f);
	say(f, "{'execute':'stop'}");
	monitor_free(take_ptr(f->monitor));
	qapi_call_return(pending, NULL);
}

/* A client that closes its half still gets its answers. */
static void test_half_closed(void **state)
{
	struct fixture *f = *state;
	bool open;

	open_pair(f, false);
	negotiate(f);
	f->seen_len = 0;
	assert_int_equal(send(f->client, "{'execute':'stop'}{'execute':'cont'}{'exec", 42, 0), 42);
	shutdown(f->client, SHUT_WR);
	assert_true(turn(f));
	qapi_call_return(pending, NULL);
	open = turn(f);
	assert_string_equal(f->seen, OK OK);
	assert_false(open);
}

static void test_events(void **state)
{
	_cleanup_value_ struct json_object *event = qapi_event_stop();
	struct fixture *f = *state;

	open_pair(f, false);
	turn(f);
	f->seen_len = 0;
	monitor_emit(f->monitor, event);
	turn(f);
	assert_int_equal(f->seen_len, 0);
	negotiate(f);
	f->seen_len = 0;
	monitor_emit(f->monitor, event);
	turn(f);
	assert_non_null(strstr(f->seen, "\"event\": \"STOP\"}\r\n"));
}

/* Too much, in every direction: one error, and the next request works. */
static void test_over_limits(void **state)
{
	static const struct {
		const char *what;
		size_t num; /* of opening brackets or 'a's */
		bool closed;
		const char *reply;
	} limits[] = {
		{ "[", VALUE_MAX_DEPTH, true, GENERIC("QMP input must be a JSON object") },
		{ "[", VALUE_MAX_DEPTH + 1, true, GENERIC("JSON nesting depth limit exceeded") },
		{ "[", 5000, true, GENERIC("JSON nesting depth limit exceeded") },
		{ "[", 5000, false, GENERIC("JSON nesting depth limit exceeded") },
		{ "a", FRAMER_MAX_BYTES + 1, false, GENERIC("JSON token size limit exceeded") },
	};
	struct fixture *f = *state;
	char *text = xcalloc(FRAMER_MAX_BYTES + 100, 1);

	open_pair(f, false);
	negotiate(f);
	for (size_t i = 0; i < ARRAY_SIZE(limits); i++) {
		size_t len = limits[i].num;

		memset(text, limits[i].what[0], len);
		if (limits[i].closed) {
			memset(text + len, ']', len);
			len *= 2;
		} else {
			text[len++] = '\n';
		}
		f->seen_len = 0;
		for (size_t at = 0; at < len; at += 4096) {
			size_t n = MIN(len - at, (size_t)4096);

			assert_int_equal(send(f->client, text + at, n, MSG_NOSIGNAL), n);
			turn(f);
		}
		assert_string_equal(f->seen, limits[i].reply);
		assert_string_equal(say(f, "{'execute':'cont'}"), OK);
	}
	free(text);
}

/* Without one byte read, the answers stop at a bound and the client is dropped by events. */
static void test_does_not_read(void **state)
{
	_cleanup_value_ struct json_object *event = qapi_event_stop();
	static const char request[] = "{'execute':'query-qmp-schema'}\n";
	struct fixture *f = *state;
	ssize_t n = 0;

	open_pair(f, false);
	negotiate(f);
	log_set_level(LOG_LEVEL_ERROR);
	for (int i = 0; i < 5000 && n >= 0; i++) {
		n = send(f->client, request, strlen(request), MSG_DONTWAIT | MSG_NOSIGNAL);
		loop_run_once(&f->loop, 0);
	}
	/* Not dropped yet, but nothing is taken from it any more. */
	assert_int_equal(n, -1);
	assert_int_equal(errno, EAGAIN);
	for (size_t sent = 0; sent < 2 * MONITOR_MAX_OUTPUT_BYTES; sent += 60)
		monitor_emit(f->monitor, event);
	for (int i = 0; i < ROUNDS; i++)
		loop_run_once(&f->loop, 0);
	assert_int_equal(send(f->client, request, 1, MSG_DONTWAIT | MSG_NOSIGNAL), -1);
	assert_int_equal(errno, EPIPE);
}

/* A client that reads, however much it asks for at once, gets everything. */
static void test_reads_late(void **state)
{
	static const char request[] = "{'execute':'query-qmp-schema'}\n";
	struct fixture *f = *state;
	unsigned int num_lines = 0;
	char all[300 * sizeof(request)];

	open_pair(f, false);
	negotiate(f);
	for (int i = 0; i < 300; i++)
		memcpy(all + i * strlen(request), request, strlen(request));
	assert_int_equal(
		send(f->client, all, 300 * strlen(request), MSG_NOSIGNAL), 300 * strlen(request));
	for (int i = 0; i < 20000 && num_lines < 300; i++) {
		ssize_t n;

		loop_run_once(&f->loop, 0);
		n = recv(f->client, f->seen, sizeof(f->seen), MSG_DONTWAIT);
		for (ssize_t at = 0; at < n; at++)
			num_lines += f->seen[at] == '\n';
	}
	assert_int_equal(num_lines, 300);
}

static int dial(struct fixture *f)
{
	struct sockaddr_un addr = { .sun_family = AF_UNIX };
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

	strcpy(addr.sun_path, f->path);
	assert_int_equal(connect(fd, (struct sockaddr *)&addr, sizeof(addr)), 0);
	return fd;
}

static void test_clients(void **state)
{
	struct fixture *f = *state;
	struct monitor_config config = config_of(f, false);
	char address[80], c;
	struct err err = { { 0 } };
	int fds[MONITOR_MAX_SESSIONS + 1];

	snprintf(f->path, sizeof(f->path), "/tmp/test-monitor-%d", (int)getpid());
	snprintf(address, sizeof(address), "unix:%s,mode=0660", f->path);
	assert_int_equal(monitor_open(&config, address, &f->monitor, &err), 0);
	for (int i = 0; i <= MONITOR_MAX_SESSIONS; i++) {
		fds[i] = dial(f);
		f->client = fds[i];
		f->seen_len = 0;
		/* Each has its greeting; the last one is turned away. */
		assert_int_equal(turn(f), i < MONITOR_MAX_SESSIONS);
	}
	f->client = fds[0];
	negotiate(f);
	f->client = fds[1];
	assert_string_equal(say(f, "{'execute':'cont'}"), EXPECTING);
	/* Room again when one has gone. */
	close(fds[2]);
	close(fds[MONITOR_MAX_SESSIONS]);
	turn(f);
	fds[2] = f->client = dial(f);
	assert_true(turn(f));
	monitor_free(take_ptr(f->monitor));
	assert_int_equal(access(f->path, F_OK), -1);
	f->client = -1;
	for (int i = 0; i < MONITOR_MAX_SESSIONS; i++) {
		while (recv(fds[i], &c, 1, MSG_DONTWAIT) > 0)
			;
		close(fds[i]);
	}
}

/* A web page can make a browser post to a tcp port of ours; the body is not listened to. */
static void test_web_page(void **state)
{
	struct fixture *f = *state;
	struct monitor_config config = config_of(f, false);
	struct sockaddr_storage addr;
	socklen_t len = sizeof(addr);
	struct listener l = LISTENER_INIT;
	struct err err = { { 0 } };
	int listening;

	assert_int_equal(listen_tcp(&l, ":0", &err), 0);
	listening = dup(l.fd);
	f->monitor = monitor_open_listener(&config, &l, &err);
	assert_non_null(f->monitor);
	assert_int_equal(getsockname(listening, (struct sockaddr *)&addr, &len), 0);
	close(listening);
	f->client = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	assert_int_equal(connect(f->client, (struct sockaddr *)&addr, len), 0);
	turn(f);
	say(f, "POST / HTTP/1.1\r\nHost: localhost\r\n\r\n{'execute':'qmp_capabilities'}"
	       "{'execute':'cont'}");
	for (int i = 0; i < 1000 && turn(f); i++)
		;
	assert_string_equal(order, "");
	assert_false(turn(f));
}

static void test_addresses(void **state)
{
	static const struct {
		const char *address, *part;
	} bad[] = {
		{ "", "none of unix:PATH" },
		{ "vsock:1", "none of unix:PATH" },
		{ "unix:", "neither a path nor fd=" },
		{ "unix:mode=0600", "neither a path nor fd=" },
		{ "unix:/tmp/x,mode=9", "octal" },
		{ "unix:/tmp/x,mode=0", "octal" },
		{ "unix:/tmp/x,mod=0600", "it takes: path, fd, mode, group" },
		{ "unix:fd=998", "fd=998" },
		{ "tcp:1", "HOST:PORT" },
	};
	struct fixture *f = *state;
	struct monitor_config config = config_of(f, false);

	for (size_t i = 0; i < ARRAY_SIZE(bad); i++) {
		struct err err = { { 0 } };

		assert_true(monitor_open(&config, bad[i].address, &f->monitor, &err) < 0);
		assert_non_null(strstr(err.msg, bad[i].part));
		assert_null(f->monitor);
	}
}

/* Pipes, as on a terminal or from a shell; the caller's descriptors keep their mode. */
static void test_pipes(void **state)
{
	struct fixture *f = *state;
	struct monitor_config config = config_of(f, false);
	int in[2], out[2], devnull = open("/dev/null", O_RDWR | O_CLOEXEC);
	struct err err = { { 0 } };
	char buf[1024];
	ssize_t n;

	assert_int_equal(pipe2(in, O_CLOEXEC), 0);
	assert_int_equal(pipe2(out, O_CLOEXEC), 0);
	assert_int_equal(monitor_open_fds(&config, in[0], out[1], &f->monitor, &err), 0);
	assert_false(fcntl(in[0], F_GETFL) & O_NONBLOCK);
	assert_int_equal(write(in[1], "{'execute':'qmp_capabilities'}", 30), 30);
	for (int i = 0; i < ROUNDS; i++)
		loop_run_once(&f->loop, 0);
	n = read(out[0], buf, sizeof(buf) - 1);
	assert_true(n > 0);
	buf[n] = '\0';
	assert_non_null(strstr(buf, "]}}\r\n" OK));
	monitor_free(take_ptr(f->monitor));
	assert_true(monitor_open_fds(&config, devnull, devnull, &f->monitor, &err) < 0);
	assert_non_null(strstr(err.msg, "must be a terminal, a pipe or a socket"));
	close(devnull);
	for (int i = 0; i < 2; i++) {
		close(in[i]);
		close(out[i]);
	}
}

#define CASE(fn) cmocka_unit_test_setup_teardown(fn, setup, teardown)

int main(void)
{
	static const struct CMUnitTest tests[] = {
		CASE(test_greeting),
		CASE(test_negotiation),
		CASE(test_wording),
		CASE(test_own_commands),
		CASE(test_read_only),
		CASE(test_one_at_a_time),
		CASE(test_gone_while_pending),
		CASE(test_half_closed),
		CASE(test_events),
		CASE(test_over_limits),
		CASE(test_does_not_read),
		CASE(test_reads_late),
		CASE(test_clients),
		CASE(test_web_page),
		CASE(test_addresses),
		CASE(test_pipes),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
