/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Connections of virtio-vsock, packet by packet: whatever a guest says, it is answered as the
 * specification has it or ends its own connection, and no other.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <errno.h>
#include <sys/socket.h>
#include <sys/un.h>

#include "devices/vsock_conn.h"
#include "tmpdir.h"

#define CID   7
#define PORT  1000 /* the host's */
#define GUEST 2000

static struct vsock_conns all;
static struct loop loop;
static int listener = -1;
static unsigned int num_wants;

static void count_wants(struct vsock_conns *conns)
{
	(void)conns;
	num_wants++;
}

static int listen_at(const char *path, int type)
{
	struct sockaddr_un addr = { .sun_family = AF_UNIX };
	int fd = socket(AF_UNIX, type | SOCK_CLOEXEC, 0);

	snprintf(addr.sun_path, sizeof(addr.sun_path), "%s", path);
	unlink(path);
	assert_int_equal(bind(fd, (struct sockaddr *)&addr, sizeof(addr)), 0);
	assert_int_equal(listen(fd, 16), 0);
	return fd;
}

static int dial(const char *path, int type)
{
	struct sockaddr_un addr = { .sun_family = AF_UNIX };
	int fd = socket(AF_UNIX, type | SOCK_CLOEXEC, 0);

	snprintf(addr.sun_path, sizeof(addr.sun_path), "%s", path);
	assert_int_equal(connect(fd, (struct sockaddr *)&addr, sizeof(addr)), 0);
	return fd;
}

static void begin(unsigned int max, bool seqpacket)
{
	struct err err = { 0 };

	memset(&all, 0, sizeof(all));
	assert_int_equal(loop_init(&loop, "test", &err), 0);
	if (vsock_host_open(tmpdir_file("v"), NULL, NULL, &all.host, &err) < 0)
		fail_msg("%s", err.msg);
	all.want_rx = count_wants;
	all.max = max;
	all.guest_cid = CID;
	all.label = "v0";
	vsock_conns_init(&all);
	assert_int_equal(vsock_conns_attach(&all, &loop, &err), 0);
	listener = seqpacket ? listen_at(tmpdir_file("v.seqpacket_1000"), SOCK_SEQPACKET)
			     : listen_at(tmpdir_file("v_1000"), SOCK_STREAM);
}

static void end(void)
{
	vsock_conns_detach(&all);
	vsock_conns_clear(&all);
	assert_int_equal(all.num, 0);
	assert_null(all.ready_first);
	vsock_host_free(all.host);
	assert_null(loop.timers);
	loop_deinit(&loop);
	close(listener);
}

static void pump_loop(void)
{
	for (int i = 0; i < 10; i++)
		loop_run_once(&loop, 0);
}

static struct vsock_header header(enum vsock_op op, uint32_t flags)
{
	return (struct vsock_header){
		.src_cid = le64_make(CID),
		.dst_cid = le64_make(VSOCK_HOST_CID),
		.src_port = le32_make(GUEST),
		.dst_port = le32_make(PORT),
		.type = le16_make(VSOCK_TYPE_STREAM),
		.op = le16_make((uint16_t)op),
		.flags = le32_make(flags),
		.buf_alloc = le32_make(1 << 20),
	};
}

static void say(enum vsock_op op, uint32_t flags)
{
	struct vsock_header h = header(op, flags);

	vsock_conns_packet(&all, &h, NULL, 0);
}

static void say_data(const void *bytes, uint32_t len)
{
	struct vsock_header h = header(VSOCK_OP_RW, 0);

	h.len = le32_make(len);
	vsock_conns_packet(&all, &h, bytes, len);
}

/* The next packet's op, or -1. */
static int hear(struct vsock_header *ret)
{
	struct vsock_header h;

	if (!ret)
		ret = &h;
	pump_loop();
	if (!vsock_conns_next(&all, VSOCK_PACKET_MAX, ret))
		return -1;
	assert_int_equal(le64_get(ret->src_cid), VSOCK_HOST_CID);
	assert_int_equal(le64_get(ret->dst_cid), CID);
	return le16_get(ret->op);
}

/* A connection from the guest; the host's end of it. */
static int connected(void)
{
	struct vsock_header h;
	int fd;

	say(VSOCK_OP_REQUEST, 0);
	assert_int_equal(hear(&h), VSOCK_OP_RESPONSE);
	assert_int_equal(le32_get(h.src_port), PORT);
	assert_int_equal(le32_get(h.dst_port), GUEST);
	assert_int_equal(le32_get(h.buf_alloc), VSOCK_BUF_BYTES);
	fd = accept4(listener, NULL, NULL, SOCK_CLOEXEC);
	assert_true(fd >= 0);
	return fd;
}

/* What is wrong with a header: then RST, to the ports that it named, and nothing else. */
static void test_nonsense(void **state)
{
	static const struct {
		const char *name;
		uint64_t src_cid, dst_cid;
		uint32_t dst_port;
		uint16_t type, op;
		bool silent;
	} cases[] = {
		{ "another source", 8, 2, PORT, 1, VSOCK_OP_REQUEST },
		{ "the host as source", 2, 2, PORT, 1, VSOCK_OP_REQUEST },
		{ "another guest", CID, 9, PORT, 1, VSOCK_OP_REQUEST },
		{ "high half of a number", CID, 2 | 1ull << 32, PORT, 1, VSOCK_OP_REQUEST },
		{ "no type", CID, 2, PORT, 0, VSOCK_OP_REQUEST },
		{ "a type of later days", CID, 2, PORT, 3, VSOCK_OP_REQUEST },
		{ "nobody listens", CID, 2, 1, 1, VSOCK_OP_REQUEST },
		{ "a stream's listener", CID, 2, PORT, 2, VSOCK_OP_REQUEST },
		{ "no operation", CID, 2, PORT, 1, VSOCK_OP_INVALID },
		{ "an operation of later days", CID, 2, PORT, 1, 8 },
		{ "the largest operation", CID, 2, PORT, 1, 0xffff },
		{ "data of no connection", CID, 2, PORT, 1, VSOCK_OP_RW },
		{ "an answer to nothing", CID, 2, PORT, 1, VSOCK_OP_RESPONSE },
		{ "credit of no connection", CID, 2, PORT, 1, VSOCK_OP_CREDIT_UPDATE },
		{ "end of no connection", CID, 2, PORT, 1, VSOCK_OP_SHUTDOWN },
		{ "reset of no connection", CID, 2, PORT, 1, VSOCK_OP_RST, true },
	};

	(void)state;
	begin(4, false);
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		struct vsock_header h = header((enum vsock_op)cases[i].op, 0), answer;

		h.src_cid = le64_make(cases[i].src_cid);
		h.dst_cid = le64_make(cases[i].dst_cid);
		h.dst_port = le32_make(cases[i].dst_port);
		h.type = le16_make(cases[i].type);
		vsock_conns_packet(&all, &h, NULL, 0);
		if (hear(&answer) != (cases[i].silent ? -1 : VSOCK_OP_RST))
			fail_msg("%s", cases[i].name);
		if (!cases[i].silent) {
			assert_int_equal(le32_get(answer.src_port), cases[i].dst_port);
			assert_int_equal(le32_get(answer.dst_port), GUEST);
		}
		assert_int_equal(hear(NULL), -1);
		assert_int_equal(all.num, 0);
	}
	/* A guest that takes no answers costs a bounded number of them. */
	for (int i = 0; i < 100000; i++)
		say(VSOCK_OP_RW, 0);
	for (int i = 0; i < VSOCK_ORPHANS_MAX; i++)
		assert_int_equal(hear(NULL), VSOCK_OP_RST);
	assert_int_equal(hear(NULL), -1);
	end();
}

/* What a guest says that breaks the rules of its connection: that one ends. */
static void test_rules(void **state)
{
	static const struct {
		const char *name;
		enum vsock_op first, second;
		uint32_t first_flags;
	} cases[] = {
		{ "asks again", VSOCK_OP_CREDIT_UPDATE, VSOCK_OP_REQUEST, 0 },
		{ "answers what it asked", VSOCK_OP_CREDIT_UPDATE, VSOCK_OP_RESPONSE, 0 },
		{ "no operation", VSOCK_OP_CREDIT_UPDATE, VSOCK_OP_INVALID, 0 },
		{ "data behind the end", VSOCK_OP_SHUTDOWN, VSOCK_OP_RW, VSOCK_SHUTDOWN_SEND },
		{ "both ends", VSOCK_OP_CREDIT_UPDATE, VSOCK_OP_SHUTDOWN, 0 },
	};

	(void)state;
	begin(4, false);
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		char byte;
		int fd = connected();

		say(cases[i].first, cases[i].first_flags);
		say(cases[i].second, VSOCK_SHUTDOWN_BOTH);
		if (hear(NULL) != VSOCK_OP_RST)
			fail_msg("%s", cases[i].name);
		assert_int_equal(hear(NULL), -1);
		assert_int_equal(all.num, 0);
		assert_int_equal(recv(fd, &byte, 1, 0), 0);
		close(fd);
	}
	end();
}

static void test_ends(void **state)
{
	struct vsock_header h;
	char bytes[16];
	int fd;

	(void)state;
	begin(4, false);
	/* The guest sends no more: the host may go on. */
	fd = connected();
	say_data("abc", 3);
	say(VSOCK_OP_SHUTDOWN, VSOCK_SHUTDOWN_SEND);
	assert_int_equal(recv(fd, bytes, sizeof(bytes), 0), 3);
	assert_int_equal(recv(fd, bytes, sizeof(bytes), 0), 0);
	assert_int_equal(send(fd, "de", 2, 0), 2);
	assert_int_equal(hear(&h), VSOCK_OP_RW);
	assert_int_equal(le32_get(h.len), 2);
	assert_memory_equal(all.packet, "de", 2);
	/* The host sends no more either: then all of it is over once the guest agrees. */
	shutdown(fd, SHUT_WR);
	assert_int_equal(hear(&h), VSOCK_OP_SHUTDOWN);
	assert_true(le32_get(h.flags) & VSOCK_SHUTDOWN_SEND);
	assert_int_equal(hear(NULL), -1);
	say(VSOCK_OP_RST, 0);
	assert_int_equal(all.num, 0);
	close(fd);
	/* The host's program goes with bytes on their way to it. */
	fd = connected();
	close(fd);
	assert_int_equal(hear(&h), VSOCK_OP_SHUTDOWN);
	assert_int_equal(le32_get(h.flags), VSOCK_SHUTDOWN_BOTH);
	say_data("abc", 3);
	assert_int_equal(hear(NULL), -1);
	/* The guest does not agree: some time later it hears RST. */
	loop_timer_set(&loop, &all.first->timer, now_ns());
	assert_int_equal(hear(NULL), VSOCK_OP_RST);
	assert_int_equal(all.num, 0);
	end();
}

static void test_room_for_the_guest(void **state)
{
	static uint8_t bytes[VSOCK_BUF_BYTES];
	struct vsock_header h;
	uint64_t sent = 0, got = 0;
	int fd, op;

	(void)state;
	begin(4, false);
	fd = connected();
	/* The host does not read: what the guest was told is kept, and not a byte more. */
	while (all.first->held + 1000 <= VSOCK_BUF_BYTES) {
		memset(bytes, (int)(sent / 1000), 1000);
		say_data(bytes, 1000);
		sent += 1000;
	}
	while ((op = hear(&h)) == VSOCK_OP_CREDIT_UPDATE)
		;
	assert_int_equal(op, -1);
	while (got < sent) {
		ssize_t n = recv(fd, bytes, 999, MSG_DONTWAIT);

		if (n < 0) {
			pump_loop();
			continue;
		}
		for (ssize_t i = 0; i < n; i++)
			assert_int_equal(bytes[i], (uint8_t)((got + (uint64_t)i) / 1000));
		got += (uint64_t)n;
	}
	/* The guest is told that there is room before it believes that there is none. */
	assert_int_equal(hear(&h), VSOCK_OP_CREDIT_UPDATE);
	assert_int_equal(le32_get(h.fwd_cnt), (uint32_t)sent);
	assert_int_equal(all.first->held, 0);
	/* Beyond the room: the connection is over, others are not. */
	say_data(bytes, VSOCK_BUF_BYTES);
	say_data(bytes, VSOCK_BUF_BYTES);
	while ((op = hear(NULL)) == VSOCK_OP_CREDIT_UPDATE)
		;
	assert_int_equal(op, VSOCK_OP_RST);
	close(fd);
	end();
}

/* Not more than the guest has room for, wherever its numbers wrap. */
static void test_room_in_the_guest(void **state)
{
	struct vsock_header h, update;
	int fd;

	(void)state;
	begin(4, false);
	fd = connected();
	all.first->sent = UINT32_MAX - 5;
	update = header(VSOCK_OP_CREDIT_UPDATE, 0);
	update.fwd_cnt = le32_make(UINT32_MAX - 5);
	update.buf_alloc = le32_make(10);
	vsock_conns_packet(&all, &update, NULL, 0);
	assert_int_equal(send(fd, "0123456789abcdef", 16, 0), 16);
	assert_int_equal(hear(&h), VSOCK_OP_RW);
	assert_int_equal(le32_get(h.len), 10);
	assert_int_equal(hear(NULL), -1);
	/* Less room than it had, and more taken than was sent: no room. */
	update.buf_alloc = le32_make(3);
	vsock_conns_packet(&all, &update, NULL, 0);
	assert_int_equal(hear(NULL), -1);
	update.fwd_cnt = le32_make(1000);
	vsock_conns_packet(&all, &update, NULL, 0);
	assert_int_equal(hear(NULL), -1);
	update.fwd_cnt = le32_make(4);
	update.buf_alloc = le32_make(5);
	vsock_conns_packet(&all, &update, NULL, 0);
	assert_int_equal(hear(&h), VSOCK_OP_RW);
	assert_int_equal(le32_get(h.len), 5);
	assert_memory_equal(all.packet, "abcde", 5);
	say(VSOCK_OP_CREDIT_REQUEST, 0);
	assert_int_equal(hear(NULL), VSOCK_OP_CREDIT_UPDATE);
	close(fd);
	end();
}

static void say_piece(const void *bytes, uint32_t len, bool last)
{
	struct vsock_header h = header(VSOCK_OP_RW, last ? VSOCK_SEQ_EOM : 0);

	h.type = le16_make(VSOCK_TYPE_SEQPACKET);
	h.len = le32_make(len);
	vsock_conns_packet(&all, &h, bytes, len);
}

static void test_messages(void **state)
{
	static uint8_t bytes[VSOCK_BUF_BYTES];
	struct vsock_header h = header(VSOCK_OP_REQUEST, 0);
	unsigned int n = 0, got = 0;
	int fd;

	(void)state;
	begin(4, true);
	h.type = le16_make(VSOCK_TYPE_SEQPACKET);
	vsock_conns_packet(&all, &h, NULL, 0);
	assert_int_equal(hear(&h), VSOCK_OP_RESPONSE);
	assert_int_equal(le16_get(h.type), VSOCK_TYPE_SEQPACKET);
	fd = accept4(listener, NULL, NULL, SOCK_CLOEXEC);
	/* In pieces, and one after the other. */
	say_piece("ab", 2, false);
	assert_int_equal(recv(fd, bytes, sizeof(bytes), MSG_DONTWAIT), -1);
	say_piece("cde", 3, true);
	say_piece("f", 1, true);
	assert_int_equal(recv(fd, bytes, sizeof(bytes), 0), 5);
	assert_memory_equal(bytes, "abcde", 5);
	assert_int_equal(recv(fd, bytes, sizeof(bytes), 0), 1);
	/* A reader that is slow: all are kept, in order and whole. */
	for (; n < 2000; n++) {
		memset(bytes, (int)n, 100);
		say_piece(bytes, 60, false);
		say_piece(bytes, 40, true);
	}
	for (; got < n; got++) {
		ssize_t r = recv(fd, bytes, sizeof(bytes), MSG_DONTWAIT);

		if (r < 0) {
			pump_loop();
			got--;
			continue;
		}
		assert_int_equal(r, 100);
		assert_int_equal(bytes[0], (uint8_t)got);
		assert_int_equal(bytes[99], (uint8_t)got);
	}
	assert_int_equal(all.first->held, 0);
	while (hear(NULL) == VSOCK_OP_CREDIT_UPDATE)
		;
	/* To the guest in as many packets as it has room for; the last one says so. */
	memset(bytes, 7, 3000);
	assert_int_equal(send(fd, bytes, 3000, 0), 3000);
	pump_loop();
	for (int i = 0; i < 3; i++) {
		assert_true(vsock_conns_next(&all, 1024, &h));
		assert_int_equal(le32_get(h.len), i < 2 ? 1024 : 952);
		assert_int_equal(le32_get(h.flags), i < 2 ? 0 : VSOCK_SEQ_EOM);
	}
	/* Messages of nothing cost no credit, and are not kept without end. */
	for (int i = 0; i < 300000; i++)
		say_piece(NULL, 0, true);
	while ((n = (unsigned int)hear(NULL)) == VSOCK_OP_CREDIT_UPDATE)
		;
	assert_int_equal(n, VSOCK_OP_RST);
	close(fd);
	end();
}

static void ask_line(const char *line, size_t len, int type, int *ret)
{
	*ret = dial(tmpdir_file(type == SOCK_SEQPACKET ? "v.seqpacket" : "v"), type);
	pump_loop();
	assert_int_equal(send(*ret, line, len, MSG_NOSIGNAL), (ssize_t)len);
	pump_loop();
}

/* The guest takes, or resets, what it was asked for. */
static void answer(const struct vsock_header *asked, enum vsock_op op)
{
	struct vsock_header h = header(op, 0);

	h.src_port = asked->dst_port;
	h.dst_port = asked->src_port;
	vsock_conns_packet(&all, &h, NULL, 0);
}

static const struct {
	const char *line;
	bool ok;
	uint32_t port;
} lines[] = {
	{ "CONNECT 5\n", true, 5 },
	{ "CONNECT 4294967295\n", true, UINT32_MAX },
	{ "CONNECT 4294967296\n", false, 0 },
	{ "CONNECT -1\n", false, 0 },
	{ "CONNECT  5\n", false, 0 },
	{ "CONNECT 5 \n", false, 0 },
	{ "CONNECT\n", false, 0 },
	{ "connect 5\n", false, 0 },
	{ "\n", false, 0 },
	{ "CONNECT 000000000000000000000000000000005\n", false, 0 },
	{ "GET / HTTP/1.1\r\n", false, 0 },
};

static void test_lines_of_programs(void **state)
{
	struct vsock_header h;
	char bytes[64];
	int fd;

	(void)state;
	begin(4, false);
	for (size_t i = 0; i < ARRAY_SIZE(lines); i++) {
		ask_line(lines[i].line, strlen(lines[i].line), SOCK_STREAM, &fd);
		if (!lines[i].ok) {
			if (recv(fd, bytes, 1, MSG_DONTWAIT) == -1 && errno != ECONNRESET)
				fail_msg("'%s' was not hung up on", lines[i].line);
			close(fd);
			continue;
		}
		assert_int_equal(hear(&h), VSOCK_OP_REQUEST);
		assert_int_equal(le32_get(h.dst_port), lines[i].port);
		assert_true(le32_get(h.src_port) >= VSOCK_FIRST_PORT);
		/* Not before the guest has taken it. */
		assert_int_equal(recv(fd, bytes, 1, MSG_DONTWAIT), -1);
		answer(&h, VSOCK_OP_RESPONSE);
		assert_true(recv(fd, bytes, sizeof(bytes), MSG_DONTWAIT) > 4);
		assert_memory_equal(bytes, "OK ", 3);
		answer(&h, VSOCK_OP_RST);
		assert_int_equal(recv(fd, bytes, 1, 0), 0);
		close(fd);
	}
	assert_int_equal(all.num, 0);
	/* Bytes behind the line are the guest's. */
	ask_line("CONNECT 5\nhello", 15, SOCK_STREAM, &fd);
	assert_int_equal(hear(&h), VSOCK_OP_REQUEST);
	answer(&h, VSOCK_OP_RESPONSE);
	assert_int_equal(hear(&h), VSOCK_OP_RW);
	assert_memory_equal(all.packet, "hello", 5);
	close(fd);
	end();
}

static void test_too_many_programs(void **state)
{
	int fds[VSOCK_ASKING_MAX + 1];
	char byte;

	(void)state;
	begin(4, false);
	/* Who says nothing takes no place for ever, and one too many is turned away. */
	for (size_t i = 0; i < ARRAY_SIZE(fds); i++) {
		fds[i] = dial(tmpdir_file("v"), SOCK_STREAM);
		pump_loop();
	}
	assert_int_equal(recv(fds[VSOCK_ASKING_MAX], &byte, 1, MSG_DONTWAIT), 0);
	assert_int_equal(recv(fds[0], &byte, 1, MSG_DONTWAIT), -1);
	for (size_t i = 0; i < ARRAY_SIZE(fds); i++)
		close(fds[i]);
	pump_loop();
	/* As many connections as there may be, and one more. */
	for (size_t i = 0; i < 5; i++)
		ask_line("CONNECT 5\n", 10, SOCK_STREAM, &fds[i]);
	assert_int_equal(recv(fds[4], &byte, 1, MSG_DONTWAIT), 0);
	assert_int_equal(all.num, 4);
	for (size_t i = 0; i < 5; i++)
		close(fds[i]);
	end();
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_nonsense),
		cmocka_unit_test(test_rules),
		cmocka_unit_test(test_ends),
		cmocka_unit_test(test_room_for_the_guest),
		cmocka_unit_test(test_room_in_the_guest),
		cmocka_unit_test(test_messages),
		cmocka_unit_test(test_lines_of_programs),
		cmocka_unit_test(test_too_many_programs),
	};

	log_set_level((enum log_level) - 1);
	return cmocka_run_group_tests(tests, tmpdir_setup, tmpdir_teardown);
}
