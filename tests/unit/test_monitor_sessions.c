/* SPDX-License-Identifier: BSD-3-Clause */
/* The monitor's sessions: order, bounds, who is turned away or thrown out, and where it listens. */
#include "tests/unit/monitor_fixture.h"

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

int main(void)
{
	static const struct CMUnitTest tests[] = {
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
