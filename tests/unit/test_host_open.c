/* SPDX-License-Identifier: BSD-3-Clause */
/* The door to the host's files: what it opens, what it refuses, and whether it says so. */
#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/socket.h>
#include <sys/un.h>

#include <cmocka.h>

#include "base/cleanup.h"
#include "base/host_open.h"
#include "tests/unit/tmpdir.h"

/* Descriptor numbers that the rows below name. */
#define FD_READ	  50
#define FD_WRITE  51
#define FD_BOTH	  52
#define FD_CLOSED 53
#define FD_PATH	  54
#define FD_SOCKET 55
#define FD_DGRAM  56

static void put(int fd, int at)
{
	assert_true(fd >= 0);
	assert_int_equal(dup2(fd, at), at);
	close(fd);
}

static int setup(void **state)
{
	int pair[2];

	if (tmpdir_setup(state))
		return -1;
	put(open(tmpdir_file("f"), O_RDWR | O_CREAT, 0600), FD_BOTH);
	put(open(tmpdir_file("f"), O_RDONLY), FD_READ);
	put(open(tmpdir_file("f"), O_WRONLY), FD_WRITE);
	put(open(tmpdir_file("f"), O_PATH), FD_PATH);
	close(FD_CLOSED);
	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM, 0, pair), 0);
	put(pair[0], FD_SOCKET);
	assert_int_equal(socketpair(AF_UNIX, SOCK_DGRAM, 0, pair), 0);
	put(pair[0], FD_DGRAM);
	return 0;
}

static const struct {
	const char *spec;
	int flags;
	int code; /* 0: opens */
	const char *says;
} opens[] = {
	{ "@f", O_RDONLY, 0, NULL },
	{ "@f", O_RDWR, 0, NULL },
	{ "@none", O_RDONLY, -ENOENT, "is the name right" },
	{ "@f/x", O_RDONLY, -ENOTDIR, "a part of the path is a file" },
	{ "@", O_RDWR, -EISDIR, "expected a file" },
	{ "", O_RDONLY, -EINVAL, "empty" },
	{ "fd=50", O_RDONLY, 0, NULL },
	{ "fd=50", O_RDWR, -EBADF, "open for reading: expected one open for reading and writing" },
	{ "fd=50", O_WRONLY, -EBADF, "expected one open for writing" },
	{ "fd=51", O_RDONLY, -EBADF, "open for writing: expected one open for reading" },
	{ "fd=51", O_WRONLY, 0, NULL },
	{ "fd=52", O_RDONLY, 0, NULL },
	{ "fd=52", O_RDWR, 0, NULL },
	{ "fd=53", O_RDONLY, -EBADF, "'fd=53' is not open" },
	{ "fd=54", O_RDONLY, -EBADF, "naming only" },
	{ "fd=0", O_RDONLY, -EINVAL, "standard stream" },
	{ "fd=2", O_WRONLY, -EINVAL, "standard stream" },
	{ "fd=", O_RDONLY, -EINVAL, "no descriptor" },
	{ "fd=-1", O_RDONLY, -EINVAL, "no descriptor" },
	{ "fd= 50", O_RDONLY, -EINVAL, "no descriptor" },
	{ "fd=50x", O_RDONLY, -EINVAL, "no descriptor" },
	{ "fd=4294967346", O_RDONLY, -EINVAL, "no descriptor" },
	{ "fd=99999999999999999999999", O_RDONLY, -EINVAL, "no descriptor" },
};

static void test_open(void **state)
{
	size_t i;

	(void)state;
	for (i = 0; i < ARRAY_SIZE(opens); i++) {
		const char *spec = opens[i].spec[0] == '@' ? tmpdir_file(opens[i].spec + 1)
							   : opens[i].spec;
		struct err err = { 0 };
		_cleanup_fd_ int fd = host_open(spec, opens[i].flags, 0600, &err);

		if (!opens[i].code) {
			if (fd < 0)
				fail_msg("'%s': %s", spec, err.msg);
			assert_true(fcntl(fd, F_GETFD) & FD_CLOEXEC);
			continue;
		}
		if (fd != opens[i].code || !strstr(err.msg, opens[i].says) ||
			(*spec && !strstr(err.msg, spec)))
			fail_msg("'%s' gave %d, expected %d, and said: %s", spec, fd, opens[i].code,
				err.msg);
	}
}

static void test_inherited_is_duplicated(void **state)
{
	int a = host_open("fd=50", O_RDONLY, 0, NULL), b = host_open("fd=50", O_RDONLY, 0, NULL);

	(void)state;
	assert_true(a > FD_READ || a >= 3);
	assert_int_not_equal(a, b);
	close(a);
	close(b);
	assert_true(fcntl(FD_READ, F_GETFD) >= 0);
}

static void test_late_flags(void **state)
{
	int fd = host_open("fd=52", O_RDWR | O_NONBLOCK | O_TRUNC, 0, NULL);

	(void)state;
	assert_true(fd >= 0);
	assert_true(fcntl(fd, F_GETFL) & O_NONBLOCK);
	close(fd);
}

static int listener(const char *path, int type)
{
	struct sockaddr_un addr = { .sun_family = AF_UNIX };
	int fd = socket(AF_UNIX, type, 0);

	strcpy(addr.sun_path, path);
	assert_int_equal(bind(fd, (struct sockaddr *)&addr, sizeof(addr)), 0);
	if (type == SOCK_STREAM)
		assert_int_equal(listen(fd, 5), 0);
	return fd;
}

static const struct {
	const char *spec;
	int code;
	const char *says;
} connects[] = {
	{ "@stream", 0, NULL },
	{ "@dgram", -EPROTOTYPE, "not a stream socket" },
	{ "@closed", -ECONNREFUSED, "nobody listens" },
	{ "@none", -ENOENT, "start the other side first" },
	{ "@f", -ECONNREFUSED, "nobody listens" },
	{ "", -EINVAL, "empty" },
	{ "/a/path/of/more/than/107/bytes/"
	  "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"
	  "aaaaaaaaaaaaaaaaaaaaaaaa",
		-ENAMETOOLONG, "107 at most" },
	{ "fd=55", 0, NULL },
	{ "fd=56", -EINVAL, "expected a connected unix stream socket" },
	{ "fd=50", -EINVAL, "expected a connected unix stream socket" },
	{ "fd=53", -EBADF, "not open" },
	{ "fd=x", -EINVAL, "no descriptor" },
};

static void test_connect(void **state)
{
	int stream = listener(tmpdir_file("stream"), SOCK_STREAM);
	int dgram = listener(tmpdir_file("dgram"), SOCK_DGRAM);
	size_t i;

	(void)state;
	close(listener(tmpdir_file("closed"), SOCK_STREAM));
	for (i = 0; i < ARRAY_SIZE(connects); i++) {
		const char *spec = connects[i].spec[0] == '@' ? tmpdir_file(connects[i].spec + 1)
							      : connects[i].spec;
		struct err err = { 0 };
		_cleanup_fd_ int fd = host_connect_unix(spec, &err);

		if (!connects[i].code) {
			if (fd < 0)
				fail_msg("'%s': %s", spec, err.msg);
			assert_true(fcntl(fd, F_GETFD) & FD_CLOEXEC);
			assert_true(fcntl(fd, F_GETFL) & O_NONBLOCK);
			continue;
		}
		if (fd != connects[i].code || !strstr(err.msg, connects[i].says))
			fail_msg("'%s' gave %d, expected %d, and said: %s", spec, fd,
				connects[i].code, err.msg);
	}
	close(stream);
	close(dgram);
}

static void test_stdio_has_one_owner(void **state)
{
	struct err err = { 0 };

	(void)state;
	assert_int_equal(host_stdio_claim("monitor", &err), 0);
	assert_int_equal(host_stdio_claim("chardev 'c0'", &err), -EBUSY);
	assert_non_null(strstr(err.msg, "monitor"));
	assert_non_null(strstr(err.msg, "c0"));
	host_stdio_release();
	assert_int_equal(host_stdio_claim("chardev 'c0'", &err), 0);
	host_stdio_release();
	host_stdio_release();
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_open),
		cmocka_unit_test(test_inherited_is_duplicated),
		cmocka_unit_test(test_late_flags),
		cmocka_unit_test(test_connect),
		cmocka_unit_test(test_stdio_has_one_owner),
	};

	return cmocka_run_group_tests_name("host_open", tests, setup, tmpdir_teardown);
}
