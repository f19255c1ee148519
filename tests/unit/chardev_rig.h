/* SPDX-License-Identifier: BSD-3-Clause */
/* A user of a character device that keeps what it hears, and a loop to wait with. After cmocka.h.
 */
#ifndef TESTS_UNIT_CHARDEV_RIG_H
#define TESTS_UNIT_CHARDEV_RIG_H

#include "backends/chardev.h"
#include "base/cleanup.h"
#include "tests/unit/tmpdir.h"

static struct loop loop;

/* A user that keeps what it reads. */
struct user {
	struct chardev *chr;
	char text[256];
	size_t len;
	unsigned int num_writable;
	char events[16]; /* O and C */
};

static void user_readable(void *opaque)
{
	struct user *u = opaque;
	struct iovec iov[] = { { NULL, 0 }, { u->text + u->len, sizeof(u->text) - 1 - u->len } };
	ssize_t n = chardev_readv(u->chr, iov, 2);

	assert_true(n >= 0);
	u->len += (size_t)n;
	u->text[u->len] = '\0';
	if (u->len == sizeof(u->text) - 1)
		chardev_want_read(u->chr, false);
}

static void user_writable(void *opaque)
{
	((struct user *)opaque)->num_writable++;
}

static void user_event(void *opaque, enum chardev_event event)
{
	struct user *u = opaque;
	size_t n = strlen(u->events);

	assert_true(n + 1 < sizeof(u->events));
	u->events[n] = event == CHARDEV_OPENED ? 'O' : 'C';
}

static const struct chardev_ops user_ops = { user_readable, user_writable, user_event };

static void user_init(struct user *u, struct chardev_config config)
{
	struct err err = { 0 };

	memset(u, 0, sizeof(*u));
	config.id = "c0";
	if (chardev_open(&config, &u->chr, &err) < 0 ||
		chardev_attach(u->chr, &loop, &user_ops, u, &err) < 0)
		fail_msg("%s", err.msg);
	chardev_want_read(u->chr, true);
}

static void user_deinit(struct user *u)
{
	chardev_detach(u->chr);
	chardev_detach(u->chr);
	chardev_free(u->chr);
}

static ssize_t user_write(struct user *u, const char *text)
{
	struct iovec iov = { (void *)text, strlen(text) };

	return chardev_writev(u->chr, &iov, 1);
}

#define run_until(condition)                      \
	do {                                      \
		while (!(condition))              \
			loop_run_once(&loop, -1); \
	} while (0)

/* Everything that is due now. */
static void settle(void)
{
	int i;

	for (i = 0; i < 10; i++)
		loop_run_once(&loop, 0);
}

static void assert_reads(int fd, const char *expected)
{
	char buf[256] = "";
	size_t len = 0;

	while (len < strlen(expected)) {
		ssize_t n = read(fd, buf + len, sizeof(buf) - 1 - len);

		assert_true(n > 0);
		len += (size_t)n;
	}
	assert_string_equal(buf, expected);
}

static void say(int fd, const char *text)
{
	assert_int_equal(write(fd, text, strlen(text)), (ssize_t)strlen(text));
}

static int setup(void **state)
{
	return tmpdir_setup(state) || loop_init(&loop, "test", NULL);
}

static int teardown(void **state)
{
	loop_deinit(&loop);
	return tmpdir_teardown(state);
}

#endif
