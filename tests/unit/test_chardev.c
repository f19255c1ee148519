/* SPDX-License-Identifier: BSD-3-Clause */
/* Character devices: bytes both ways, peers that come and go, writers that are held up. */
#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/inotify.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/un.h>
#include <unistd.h>

#include <cmocka.h>

#include "tests/unit/chardev_rig.h"
#include "tests/unit/terminals.h"

static int dial(const char *path)
{
	struct sockaddr_un addr = { .sun_family = AF_UNIX };
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

	strcpy(addr.sun_path, path);
	assert_int_equal(connect(fd, (struct sockaddr *)&addr, sizeof(addr)), 0);
	return fd;
}

static struct chardev_config server_config(void)
{
	return (struct chardev_config){
		.kind = CHARDEV_SOCKET, .server = true, .path = tmpdir_file("sock")
	};
}

static void test_server(void **state)
{
	struct user u;
	struct stat st;
	int a, b;
	char c;

	(void)state;
	user_init(&u, server_config());
	assert_false(chardev_is_open(u.chr));
	assert_int_equal(user_write(&u, "nobody hears this"), 17);
	a = dial(tmpdir_file("sock"));
	run_until(u.events[0]);
	assert_string_equal(u.events, "O");
	assert_true(chardev_is_open(u.chr));
	say(a, "hello");
	run_until(u.len == 5);
	assert_string_equal(u.text, "hello");
	assert_int_equal(user_write(&u, "world"), 5);
	assert_reads(a, "world");
	/* A second one is turned away, and the first does not notice. */
	b = dial(tmpdir_file("sock"));
	settle();
	assert_int_equal(read(b, &c, 1), 0);
	close(b);
	say(a, "!");
	run_until(u.len == 6);
	close(a);
	run_until(strlen(u.events) == 2);
	assert_int_equal(user_write(&u, "dropped"), 7);
	a = dial(tmpdir_file("sock"));
	run_until(strlen(u.events) == 3);
	assert_string_equal(u.events, "OCO");
	close(a);
	user_deinit(&u);
	assert_int_equal(stat(tmpdir_file("sock"), &st), -1);
}

/* The successor of one that hung up is not taken for a second one, reading or not. */
static void test_successor(void **state)
{
	struct user u;
	int a, b;

	(void)state;
	user_init(&u, server_config());
	a = dial(tmpdir_file("sock"));
	run_until(u.events[0]);
	chardev_want_read(u.chr, false);
	close(a);
	a = dial(tmpdir_file("sock"));
	run_until(strlen(u.events) == 3);
	assert_string_equal(u.events, "OCO");
	/* What the first said is heard before the next one is. */
	say(a, "first ");
	close(a);
	b = dial(tmpdir_file("sock"));
	say(b, "second");
	settle();
	assert_string_equal(u.events, "OCO");
	chardev_want_read(u.chr, true);
	run_until(u.len == 12);
	assert_string_equal(u.text, "first second");
	settle();
	assert_string_equal(u.events, "OCOCO");
	close(b);
	user_deinit(&u);
}

/* An answer to one that has gone loses the answer, not what it said. */
/* Nobody reads what the first one left: the next one is served all the same. */
static void test_successor_of_one_unread(void **state)
{
	struct user u;
	int a, b;

	(void)state;
	user_init(&u, server_config());
	chardev_want_read(u.chr, false);
	a = dial(tmpdir_file("sock"));
	run_until(u.events[0]);
	say(a, "lost");
	close(a);
	b = dial(tmpdir_file("sock"));
	say(b, "kept");
	run_until(strlen(u.events) == 3);
	assert_string_equal(u.events, "OCO");
	assert_int_equal(user_write(&u, "hello"), 5);
	assert_reads(b, "hello");
	chardev_want_read(u.chr, true);
	run_until(u.len == 4);
	assert_string_equal(u.text, "kept");
	close(b);
	user_deinit(&u);
}

static void test_answer_to_one_that_left(void **state)
{
	struct user u;
	int a;

	(void)state;
	user_init(&u, server_config());
	a = dial(tmpdir_file("sock"));
	run_until(u.events[0]);
	chardev_want_read(u.chr, false);
	say(a, "bye");
	close(a);
	assert_int_equal(user_write(&u, "wait"), 4);
	assert_int_equal(user_write(&u, "wait"), 4);
	chardev_want_read(u.chr, true);
	run_until(strlen(u.events) == 2);
	assert_string_equal(u.text, "bye");
	assert_string_equal(u.events, "OC");
	user_deinit(&u);
}

static size_t write_until_full(struct user *u)
{
	static char block[65536];
	struct iovec iov[] = { { block, 1 }, { NULL, 0 }, { block, sizeof(block) } };
	size_t total = 0;
	ssize_t n;

	while ((n = chardev_writev(u->chr, iov, 3)) > 0) {
		total += (size_t)n;
		assert_true(total < 16u << 20);
	}
	assert_int_equal(n, 0);
	return total;
}

static void test_slow_peer(void **state)
{
	_cleanup_free_ char *buf = malloc(16u << 20);
	struct user u;
	size_t total;
	int a;

	(void)state;
	user_init(&u, server_config());
	a = dial(tmpdir_file("sock"));
	run_until(u.events[0]);
	total = write_until_full(&u);
	settle();
	assert_int_equal(u.num_writable, 0);
	while (total) {
		ssize_t n = read(a, buf, total);

		assert_true(n > 0);
		total -= (size_t)n;
	}
	run_until(u.num_writable);
	settle();
	assert_int_equal(u.num_writable, 1);
	/* One that leaves while it holds the writer up frees it. */
	write_until_full(&u);
	u.num_writable = 0;
	close(a);
	run_until(u.num_writable);
	assert_int_equal(user_write(&u, "dropped"), 7);
	run_until(strlen(u.events) == 2);
	settle();
	assert_int_equal(u.num_writable, 1);
	user_deinit(&u);
}

static void test_pause_and_attach_again(void **state)
{
	struct user u;
	int a;

	(void)state;
	user_init(&u, server_config());
	assert_int_equal(chardev_attach(u.chr, &loop, &user_ops, &u, NULL), -EBUSY);
	a = dial(tmpdir_file("sock"));
	run_until(u.events[0]);
	chardev_want_read(u.chr, false);
	say(a, "abc");
	settle();
	assert_int_equal(u.len, 0);
	/* The peer outlives its user. */
	chardev_detach(u.chr);
	settle();
	assert_int_equal(chardev_attach(u.chr, &loop, &user_ops, &u, NULL), 0);
	assert_true(chardev_is_open(u.chr));
	settle();
	assert_int_equal(u.len, 0);
	chardev_want_read(u.chr, true);
	run_until(u.len == 3);
	assert_string_equal(u.events, "O");
	close(a);
	user_deinit(&u);
}

static void test_vanished_buffer(void **state)
{
	void *gone = mmap(NULL, 4096, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	struct iovec iov = { gone, 16 };
	struct user u;
	int a;

	(void)state;
	user_init(&u, server_config());
	a = dial(tmpdir_file("sock"));
	run_until(u.events[0]);
	chardev_want_read(u.chr, false);
	say(a, "abc");
	assert_int_equal(chardev_readv(u.chr, &iov, 1), -EFAULT);
	assert_int_equal(chardev_writev(u.chr, &iov, 1), -EFAULT);
	assert_true(chardev_is_open(u.chr));
	close(a);
	user_deinit(&u);
	munmap(gone, 4096);
}

static void test_client(void **state)
{
	struct chardev_config config = { .kind = CHARDEV_SOCKET, .path = "fd=70" };
	struct user u;
	int pair[2];

	(void)state;
	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair), 0);
	assert_int_equal(dup2(pair[0], 70), 70);
	close(pair[0]);
	user_init(&u, config);
	close(70);
	assert_true(chardev_is_open(u.chr));
	say(pair[1], "x");
	run_until(u.len == 1);
	assert_int_equal(user_write(&u, "y"), 1);
	assert_reads(pair[1], "y");
	close(pair[1]);
	run_until(u.events[0]);
	assert_string_equal(u.events, "C");
	assert_false(chardev_is_open(u.chr));
	user_deinit(&u);
}

static int open_slave(struct user *u)
{
	return open(chardev_address(u->chr), O_RDWR | O_NOCTTY | O_CLOEXEC);
}

static bool no_inotify;

/* The C library's, unless it shall not be had. */
int inotify_init1(int flags)
{
	if (!no_inotify)
		return (int)syscall(SYS_inotify_init1, flags);
	errno = EMFILE;
	return -1;
}

static void pty_life(void)
{
	struct chardev_config config = { .kind = CHARDEV_PTY };
	struct user u;
	int slave;

	user_init(&u, config);
	assert_false(chardev_is_open(u.chr));
	assert_int_equal(user_write(&u, "nobody there"), 12);
	slave = open_slave(&u);
	assert_true(slave >= 0);
	run_until(u.events[0]);
	assert_int_equal(user_write(&u, "a\n"), 2);
	assert_reads(slave, "a\n");
	/* Raw: no echo, no line editing, no signals. */
	say(slave, "b\r\x03");
	run_until(u.len == 3);
	assert_string_equal(u.text, "b\r\x03");
	close(slave);
	run_until(strlen(u.events) == 2);
	assert_int_equal(user_write(&u, "nobody there"), 12);
	slave = open_slave(&u);
	run_until(strlen(u.events) == 3);
	assert_string_equal(u.events, "OCO");
	say(slave, "c");
	run_until(u.len == 4);
	/* One that does not read holds us up, and frees us when it goes. */
	write_until_full(&u);
	close(slave);
	u.num_writable = 0;
	run_until(u.num_writable);
	assert_int_equal(user_write(&u, "nobody there"), 12);
	user_deinit(&u);
}

static void test_pty(void **state)
{
	(void)state;
	pty_life();
	no_inotify = true;
	pty_life();
	no_inotify = false;
}

static void test_file(void **state)
{
	struct chardev_config config = { .kind = CHARDEV_FILE, .path = tmpdir_file("log") };
	_cleanup_fd_ int fd = -1;
	struct user u;
	int i;

	(void)state;
	for (i = 0; i < 4; i++) {
		config.append = i == 1;
		user_init(&u, config);
		assert_true(chardev_is_open(u.chr));
		assert_int_equal(user_write(&u, "line\n"), 5);
		if (i == 3)
			assert_int_equal(user_write(&u, "last\n"), 5);
		settle();
		assert_string_equal(u.events, "");
		user_deinit(&u);
		if (i == 1) {
			fd = open(config.path, O_RDONLY | O_CLOEXEC);
			assert_reads(fd, "line\nline\n");
		}
	}
	assert_int_equal(lseek(fd, 0, SEEK_SET), 0);
	assert_reads(fd, "line\nlast\n");
	/* A full disk loses output and stays. */
	config.path = "/dev/full";
	user_init(&u, config);
	assert_int_equal(user_write(&u, "line\n"), 5);
	assert_true(chardev_is_open(u.chr));
	user_deinit(&u);
}

static void test_many_iovecs(void **state)
{
	struct chardev_config config = { .kind = CHARDEV_FILE, .path = tmpdir_file("many") };
	static struct iovec iov[2500];
	struct user u;
	size_t i;

	(void)state;
	for (i = 0; i < ARRAY_SIZE(iov); i++)
		iov[i] = (struct iovec){ (void *)"x", 1 };
	user_init(&u, config);
	assert_int_equal(chardev_writev(u.chr, iov, 2500), 1024);
	/* It cannot be waited for, and yet the call to go on comes. */
	run_until(u.num_writable);
	assert_int_equal(u.num_writable, 1);
	user_deinit(&u);
}

static void test_null(void **state)
{
	struct chardev_config config = { .kind = CHARDEV_NULL };
	struct user u;

	(void)state;
	user_init(&u, config);
	assert_int_equal(user_write(&u, "abc"), 3);
	settle();
	assert_false(chardev_is_open(u.chr));
	user_deinit(&u);
}

static const struct {
	struct chardev_config config;
	int code;
	const char *says;
} bad[] = {
	{ { .kind = CHARDEV_SOCKET, .server = true }, -EINVAL, "path=" },
	{ { .kind = CHARDEV_SOCKET, .path = "/nonexistent/s" }, -ENOENT, "/nonexistent/s" },
	{ { .kind = CHARDEV_SOCKET, .server = true, .path = "fd=99" }, -EBADF, "fd=99" },
	{ { .kind = CHARDEV_SOCKET, .server = true, .path = "fd=2x" }, -EBADF, "fd=2x" },
	{ { .kind = CHARDEV_SOCKET, .path = "fd=99" }, -EBADF, "fd=99" },
	{ { .kind = CHARDEV_FILE }, -EINVAL, "path=" },
	{ { .kind = CHARDEV_FILE, .path = "/nonexistent/f" }, -ENOENT, "/nonexistent/f" },
	{ { .kind = CHARDEV_FILE, .path = "/" }, -EISDIR, "'/'" },
};

static void test_refused(void **state)
{
	struct chardev_config config = { .kind = CHARDEV_NULL, .id = "c9" };
	struct chardev *chr = NULL;
	struct err err = { 0 };
	size_t i;

	(void)state;
	for (i = 0; i < ARRAY_SIZE(bad); i++) {
		int r = chardev_open(&bad[i].config, &chr, &err);

		if (r != bad[i].code || chr || !strstr(err.msg, bad[i].says))
			fail_msg("row %zu: %d, expected %d: %s", i, r, bad[i].code, err.msg);
	}
	chardev_free(NULL);
	assert_int_equal(chardev_open(&config, &chr, &err), 0);
	assert_int_equal(chardev_claim(chr, "device 'a'", &err), 0);
	assert_int_equal(chardev_claim(chr, "device 'b'", &err), -EBUSY);
	assert_non_null(strstr(err.msg, "device 'a' has it"));
	chardev_release(chr);
	assert_null(chardev_user(chr));
	assert_int_equal(chardev_claim(chr, "device 'b'", &err), 0);
	assert_string_equal(chardev_user(chr), "device 'b'");
	assert_string_equal(chardev_id(chr), "c9");
	chardev_free(chr);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_server),
		cmocka_unit_test(test_successor),
		cmocka_unit_test(test_successor_of_one_unread),
		cmocka_unit_test(test_answer_to_one_that_left),
		cmocka_unit_test(test_slow_peer),
		cmocka_unit_test(test_pause_and_attach_again),
		cmocka_unit_test(test_vanished_buffer),
		cmocka_unit_test(test_client),
		cmocka_unit_test(test_file),
		cmocka_unit_test(test_many_iovecs),
		cmocka_unit_test(test_null),
		cmocka_unit_test(test_refused),
		/* The last one: left out where there are no terminals. */
		cmocka_unit_test(test_pty),
	};

	return _cmocka_run_group_tests(
		"chardev", tests, ARRAY_SIZE(tests) - !have_terminals(), setup, teardown);
}
