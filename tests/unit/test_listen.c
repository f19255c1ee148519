/* SPDX-License-Identifier: BSD-3-Clause */
/* base/listen: whose socket file may be taken, with which mode, and what is left behind. */
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
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "base/alloc.h"
#include "base/cleanup.h"
#include "base/listen.h"

struct fixture {
	char folder[64];
	char path[96];
};

static int setup(void **state)
{
	struct fixture *f = xnew(struct fixture);

	strcpy(f->folder, "/tmp/test-listen-XXXXXX");
	if (!mkdtemp(f->folder))
		return -1;
	snprintf(f->path, sizeof(f->path), "%s/s", f->folder);
	*state = f;
	return 0;
}

static int teardown(void **state)
{
	struct fixture *f = *state;

	unlink(f->path);
	rmdir(f->folder);
	free(f);
	return 0;
}

static mode_t mode_of(const char *path)
{
	struct stat st;

	assert_int_equal(lstat(path, &st), 0);
	return st.st_mode & 07777;
}

static void test_mode(void **state)
{
	static const mode_t masks[] = { 0, 022, 0777 };
	struct fixture *f = *state;

	for (size_t i = 0; i < ARRAY_SIZE(masks); i++) {
		struct listen_options opts = { .path = f->path, .fd = -1 };
		struct listener l = LISTENER_INIT;
		struct err err = { { 0 } };
		mode_t old = umask(masks[i]);

		assert_int_equal(listen_unix(&l, &opts, &err), 0);
		assert_int_equal(mode_of(f->path), LISTEN_DEFAULT_MODE);
		listen_close(&l);
		assert_int_equal(access(f->path, F_OK), -1);
		opts.mode = 0660;
		assert_int_equal(listen_unix(&l, &opts, &err), 0);
		assert_int_equal(mode_of(f->path), 0660);
		listen_close(&l);
		listen_close(&l);
		umask(old);
	}
}

static void test_live_and_stale(void **state)
{
	struct fixture *f = *state;
	struct listen_options opts = { .path = f->path, .fd = -1 };
	struct listener first = LISTENER_INIT, second = LISTENER_INIT;
	struct err err = { { 0 } };

	assert_int_equal(listen_unix(&first, &opts, &err), 0);
	assert_int_equal(listen_unix(&second, &opts, &err), -EADDRINUSE);
	assert_non_null(strstr(err.msg, "in use by a running process"));
	assert_int_equal(second.fd, -1);
	/* The owner dies without cleaning up. */
	close_fd(&first.fd);
	assert_int_equal(access(f->path, F_OK), 0);
	assert_int_equal(listen_unix(&second, &opts, &err), 0);
	/* The first one's end leaves the second one's file alone. */
	listen_close(&first);
	assert_int_equal(access(f->path, F_OK), 0);
	listen_close(&second);
	assert_int_equal(access(f->path, F_OK), -1);
}

static void test_foreign_file(void **state)
{
	struct fixture *f = *state;
	struct listen_options opts = { .path = f->path, .fd = -1 };
	struct listener l = LISTENER_INIT;
	struct err err = { { 0 } };

	close(open(f->path, O_CREAT | O_WRONLY, 0600));
	assert_int_equal(listen_unix(&l, &opts, &err), -EEXIST);
	assert_non_null(strstr(err.msg, "is not a socket"));
	assert_int_equal(access(f->path, F_OK), 0);
}

static void test_bad_options(void **state)
{
	static const struct {
		struct listen_options opts;
		int code;
	} rows[] = {
		{ { .path = "", .fd = -1 }, -EINVAL },
		{ { .path = "/nonexistent/folder/s", .fd = -1 }, -ENOENT },
		{ { .path = "/tmp/0123456789012345678901234567890123456789012345678901234567890123"
			    "45678901234567890123456789012345678901234567",
			  .fd = -1 },
			-ENAMETOOLONG },
		{ { .fd = 999 }, -EBADF },
		{ { .fd = 0, .path = NULL }, 0 /* any failure */ },
	};
	struct listener l = LISTENER_INIT;
	_unused_ struct fixture *f = *state;

	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		struct err err = { { 0 } };
		int r = listen_unix(&l, &rows[i].opts, &err);

		assert_true(rows[i].code ? r == rows[i].code : r < 0);
		assert_true(err.msg[0]);
		assert_int_equal(l.fd, -1);
	}
}

static void test_bad_group(void **state)
{
	struct fixture *f = *state;
	struct listen_options opts = { .path = f->path, .fd = -1, .group = "no such group" };
	struct listener l = LISTENER_INIT;
	struct err err = { { 0 } };

	assert_int_equal(listen_unix(&l, &opts, &err), -EINVAL);
	assert_non_null(strstr(err.msg, "no such group"));
	assert_int_equal(access(f->path, F_OK), -1);
}

static int dial(const char *path)
{
	struct sockaddr_un addr = { .sun_family = AF_UNIX };
	int fd = socket(AF_UNIX, SOCK_STREAM, 0);

	strcpy(addr.sun_path, path);
	assert_int_equal(connect(fd, (struct sockaddr *)&addr, sizeof(addr)), 0);
	return fd;
}

static void test_inherited(void **state)
{
	struct fixture *f = *state;
	struct listen_options opts = { .path = f->path, .fd = -1 };
	struct listener first = LISTENER_INIT, second = LISTENER_INIT, third = LISTENER_INIT;
	struct err err = { { 0 } };
	int client, served;

	assert_int_equal(listen_unix(&first, &opts, &err), 0);
	opts = (struct listen_options){ .fd = first.fd };
	assert_int_equal(listen_unix(&second, &opts, &err), 0);
	/* Named twice, it has no owner who could close it under the other. */
	assert_int_equal(listen_unix(&third, &opts, &err), 0);
	assert_true(second.fd != first.fd && third.fd != first.fd && third.fd != second.fd);
	listen_close(&third);
	assert_int_equal(listen_accept(&second), -EAGAIN);
	client = dial(f->path);
	served = listen_accept(&second);
	assert_true(served >= 0);
	assert_true(fcntl(served, F_GETFL) & O_NONBLOCK);
	assert_true(fcntl(served, F_GETFD) & FD_CLOEXEC);
	close(client);
	close(served);
	/* Whose file it is not, it does not remove. */
	listen_close(&second);
	assert_int_equal(access(f->path, F_OK), 0);
	listen_close(&first);
}

static void test_tcp(_unused_ void **state)
{
	static const char *const bad[] = { "", "4444", "host", ":", ":x", ":65536", ":-1", ":1x" };
	struct listener l = LISTENER_INIT;
	struct err err = { { 0 } };
	char again[32];
	struct listener second = LISTENER_INIT;

	for (size_t i = 0; i < ARRAY_SIZE(bad); i++)
		assert_int_equal(listen_tcp(&l, bad[i], &err), -EINVAL);
	assert_int_equal(listen_tcp(&l, ":0", &err), 0);
	assert_true(l.port > 0);
	assert_memory_equal(l.name, "tcp:127.0.0.1:", 14);
	snprintf(again, sizeof(again), "127.0.0.1:%u", l.port);
	assert_int_equal(listen_tcp(&second, again, &err), -EADDRINUSE);
	listen_close(&l);
}

int main(void)
{
	static const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_mode, setup, teardown),
		cmocka_unit_test_setup_teardown(test_live_and_stale, setup, teardown),
		cmocka_unit_test_setup_teardown(test_foreign_file, setup, teardown),
		cmocka_unit_test_setup_teardown(test_bad_options, setup, teardown),
		cmocka_unit_test_setup_teardown(test_bad_group, setup, teardown),
		cmocka_unit_test_setup_teardown(test_inherited, setup, teardown),
		cmocka_unit_test(test_tcp),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
