/* SPDX-License-Identifier: BSD-3-Clause */
/* Framing with descriptors over a socket pair. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cmocka.h>

#include "proto/usock.h"

/* One byte of length, one of nothing. */
static ssize_t payload_bytes(const void *header)
{
	const uint8_t *h = header;

	return h[1] ? -EPROTO : h[0];
}

static const struct usock_framing framing = {
	.header_bytes = 2,
	.payload_max = 100,
	.fds_max = 3,
	.payload_bytes = payload_bytes,
};

struct pair {
	struct usock us;
	int peer, lowest;
};

static int lowest_free_fd(void)
{
	int fd = dup(STDERR_FILENO);

	close(fd);
	return fd;
}

static void pair_open(struct pair *p)
{
	int fds[2];

	p->lowest = lowest_free_fd();
	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM, 0, fds), 0);
	usock_init(&p->us, fds[0], &framing);
	p->peer = fds[1];
}

/* Nothing may be left of what went back and forth. */
static void pair_close(struct pair *p)
{
	usock_deinit(&p->us);
	usock_deinit(&p->us);
	close(p->peer);
	assert_int_equal(lowest_free_fd(), p->lowest);
}

static void put(struct pair *p, const void *bytes, size_t len, unsigned int num_fds)
{
	union {
		char bytes[CMSG_SPACE(64 * sizeof(int))];
		struct cmsghdr align;
	} control = { 0 };
	struct iovec iov = { (void *)(uintptr_t)bytes, len };
	struct msghdr msg = { .msg_iov = &iov, .msg_iovlen = 1 };
	int fds[64];

	for (unsigned int i = 0; i < num_fds; i++)
		fds[i] = STDERR_FILENO;
	if (num_fds) {
		msg.msg_control = &control;
		msg.msg_controllen = CMSG_SPACE(num_fds * sizeof(int));
		control.align.cmsg_level = SOL_SOCKET;
		control.align.cmsg_type = SCM_RIGHTS;
		control.align.cmsg_len = CMSG_LEN(num_fds * sizeof(int));
		memcpy(CMSG_DATA(&control.align), fds, num_fds * sizeof(int));
	}
	assert_int_equal(sendmsg(p->peer, &msg, 0), len);
}

static void in_pieces(void **state)
{
	static const char bytes[] = "\5\0abcde\0\0\1\0z";
	struct pair p;

	(void)state;
	pair_open(&p);
	for (size_t i = 0; i < 6; i++) {
		put(&p, bytes + i, 1, i == 4);
		assert_int_equal(usock_recv(&p.us), 0);
	}
	/* The last byte of the first message, an empty one, one of a byte: never read ahead. */
	put(&p, bytes + 6, 6, 0);
	assert_int_equal(usock_recv(&p.us), 1);
	assert_int_equal(p.us.payload_bytes, 5);
	assert_memory_equal(p.us.payload, "abcde", 5);
	assert_int_equal(p.us.num_fds, 1);
	assert_int_equal(usock_recv(&p.us), 1);
	assert_int_equal(p.us.payload_bytes, 0);
	assert_int_equal(p.us.num_fds, 0);
	assert_int_equal(usock_recv(&p.us), 1);
	assert_int_equal(p.us.payload[0], 'z');
	assert_int_equal(usock_recv(&p.us), 0);
	pair_close(&p);
}

static void descriptors_belong_to_their_message(void **state)
{
	struct pair p;
	int fd;

	(void)state;
	pair_open(&p);
	put(&p, "\0\0", 2, 0);
	put(&p, "\0\0", 2, 2);
	put(&p, "\0\0", 2, 1);
	assert_int_equal(usock_recv(&p.us), 1);
	assert_int_equal(p.us.num_fds, 0);
	assert_int_equal(usock_recv(&p.us), 1);
	assert_int_equal(p.us.num_fds, 2);
	fd = usock_take_fd(&p.us, 1);
	assert_true(fd >= 0);
	assert_int_equal(fcntl(fd, F_GETFD), FD_CLOEXEC);
	assert_int_equal(usock_take_fd(&p.us, 1), -1);
	assert_int_equal(usock_take_fd(&p.us, 2), -1);
	assert_int_equal(usock_recv(&p.us), 1);
	assert_int_equal(p.us.num_fds, 1);
	close(fd);
	usock_drop(&p.us);
	assert_int_equal(lowest_free_fd(), p.lowest + 2);
	pair_close(&p);
}

static void ends(void **state)
{
	static const struct {
		const char *bytes;
		size_t len;
		unsigned int num_fds;
		int code;
	} rows[] = {
		{ "", 0, 0, -EPIPE },
		{ "\5", 1, 0, -ECONNRESET },
		{ "\5\0", 2, 1, -ECONNRESET },
		{ "\5\0abcd", 6, 0, -ECONNRESET },
		{ "\5\1", 2, 1, -EPROTO },
		{ "\145\0", 2, 0, -EMSGSIZE },
		{ "\0\0", 2, 4, -EBADMSG },
		{ "\0\0", 2, 64, -EBADMSG },
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		struct pair p;
		int r;

		pair_open(&p);
		if (rows[i].len)
			put(&p, rows[i].bytes, rows[i].len, rows[i].num_fds);
		shutdown(p.peer, SHUT_WR);
		r = usock_recv(&p.us);
		assert_int_equal(r, rows[i].code);
		pair_close(&p);
	}
}

static void too_many_in_pieces(void **state)
{
	struct pair p;

	(void)state;
	pair_open(&p);
	put(&p, "\2", 1, 2);
	assert_int_equal(usock_recv(&p.us), 0);
	put(&p, "\0", 1, 2);
	assert_int_equal(usock_recv(&p.us), -EBADMSG);
	pair_close(&p);
}

/* The process may have no more: then the kernel drops them, and says so. */
static void lost_at_the_limit(void **state)
{
	struct rlimit old, low;
	struct pair p;
	int r;

	(void)state;
	pair_open(&p);
	put(&p, "\0\0", 2, 3);
	assert_int_equal(getrlimit(RLIMIT_NOFILE, &old), 0);
	low = old;
	low.rlim_cur = (rlim_t)lowest_free_fd() + 1;
	assert_int_equal(setrlimit(RLIMIT_NOFILE, &low), 0);
	r = usock_recv(&p.us);
	assert_int_equal(setrlimit(RLIMIT_NOFILE, &old), 0);
	assert_int_equal(r, -ENFILE);
	pair_close(&p);
}

static unsigned int num_tapped[2];

static void tap(struct usock *us, bool sent, const void *header, const void *payload,
	size_t num_bytes, unsigned int num_fds)
{
	(void)us;
	(void)header;
	(void)payload;
	(void)num_bytes;
	num_tapped[sent] += 1 + num_fds;
}

static void sending(void **state)
{
	const int fds[] = { STDIN_FILENO, STDERR_FILENO };
	uint8_t payload[100], header[2] = { sizeof(payload), 0 }, small[50];
	unsigned int sent = 0, got = 0, num_fds = 0;
	struct pair p;
	struct usock peer;
	int r;

	(void)state;
	pair_open(&p);
	memset(payload, 'x', sizeof(payload));
	num_tapped[0] = num_tapped[1] = 0;
	p.us.tap = tap;
	setsockopt(p.us.fd, SOL_SOCKET, SO_SNDBUF, &(int){ 4096 }, sizeof(int));
	while ((r = usock_send(&p.us, header, payload, sizeof(payload), fds, 2)) == 0 &&
		sent < 10000)
		sent++;
	assert_int_equal(r, -ENOBUFS);
	assert_int_equal(num_tapped[1], 3 * sent);
	assert_true(p.us.out_bytes > USOCK_SEND_MAX_BYTES - 102);
	assert_int_equal(usock_flush(&p.us), 1);
	usock_init(&peer, dup(p.peer), &framing);
	peer.tap = tap;
	do {
		r = usock_flush(&p.us);
		while (usock_recv(&peer) == 1) {
			assert_int_equal(peer.payload_bytes, sizeof(payload));
			assert_memory_equal(peer.payload, payload, sizeof(payload));
			num_fds += peer.num_fds;
			got++;
		}
	} while (r == 1);
	assert_int_equal(r, 0);
	assert_int_equal(got, sent);
	assert_int_equal(num_fds, 2 * sent);
	assert_int_equal(num_tapped[0], 3 * got);
	assert_int_equal(p.us.out_bytes, 0);
	usock_deinit(&peer);
	close(p.peer);
	p.peer = dup(STDERR_FILENO);
	assert_int_equal(usock_send(&p.us, header, small, sizeof(small), NULL, 0), -EPIPE);
	pair_close(&p);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(in_pieces),
		cmocka_unit_test(descriptors_belong_to_their_message),
		cmocka_unit_test(ends),
		cmocka_unit_test(too_many_in_pieces),
		cmocka_unit_test(lost_at_the_limit),
		cmocka_unit_test(sending),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
