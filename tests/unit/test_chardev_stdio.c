/* SPDX-License-Identifier: BSD-3-Clause */
/* Standard input and output as a character device: pipes, files, and a terminal that is put back.
 */
#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/ioctl.h>
#include <sys/wait.h>
#include <termios.h>

#include <cmocka.h>

#include "base/host_open.h"
#include "tests/unit/chardev_rig.h"
#include "tests/unit/terminals.h"

/* Standard streams @in and @out for the time being. */
static void swap_stdio(int in, int out, int saved[2])
{
	fflush(stdout);
	saved[0] = fcntl(0, F_DUPFD_CLOEXEC, 10);
	saved[1] = fcntl(1, F_DUPFD_CLOEXEC, 10);
	dup2(in, 0);
	dup2(out, 1);
}

static void restore_stdio(int saved[2])
{
	dup2(saved[0], 0);
	dup2(saved[1], 1);
	close(saved[0]);
	close(saved[1]);
}

static void test_stdio_pipes(void **state)
{
	struct chardev_config config = { .kind = CHARDEV_STDIO };
	struct chardev *second = NULL;
	int in[2], out[2], saved[2], out_flags;
	struct user u;

	(void)state;
	assert_int_equal(pipe2(in, O_CLOEXEC) | pipe2(out, O_CLOEXEC), 0);
	swap_stdio(in[0], out[1], saved);
	user_init(&u, config);
	out_flags = fcntl(1, F_GETFL);
	assert_int_equal(chardev_open(&config, &second, NULL), -EBUSY);
	say(in[1], "input");
	run_until(u.len == 5);
	assert_int_equal(user_write(&u, "output"), 6);
	assert_reads(out[0], "output");
	/* The end of input ends nothing else. */
	close(in[0]);
	close(in[1]);
	settle();
	assert_int_equal(user_write(&u, "more"), 4);
	assert_reads(out[0], "more");
	assert_string_equal(u.events, "");
	user_deinit(&u);
	restore_stdio(saved);
	/* Others who share the description are not disturbed. */
	assert_false(out_flags & O_NONBLOCK);
	assert_int_equal(host_stdio_claim("test", NULL), 0);
	host_stdio_release();
	close(out[0]);
	close(out[1]);
}

static void test_stdio_file_and_null(void **state)
{
	struct chardev_config config = { .kind = CHARDEV_STDIO };
	int in = open(tmpdir_file("input"), O_RDWR | O_CREAT | O_CLOEXEC, 0600);
	int out = open("/dev/null", O_WRONLY | O_CLOEXEC), saved[2];
	struct user u;

	(void)state;
	say(in, "from a file");
	lseek(in, 0, SEEK_SET);
	swap_stdio(in, out, saved);
	user_init(&u, config);
	run_until(u.len == 11);
	settle();
	assert_int_equal(user_write(&u, "x"), 1);
	user_deinit(&u);
	restore_stdio(saved);
	assert_string_equal(u.text, "from a file");
	close(in);
	close(out);
}

#define COOKED (ICANON | ECHO | ISIG)

static tcflag_t cooked_flags(int tty)
{
	struct termios t;

	return tcgetattr(tty, &t) < 0 ? 0 : t.c_lflag & COOKED;
}

static const struct {
	const char *what;
	bool signal, free;
	tcflag_t during;
} terminals[] = {
	{ "keys make signals", true, true, ISIG },
	{ "keys are the guest's", false, true, 0 },
	{ "exit without free", true, false, ISIG },
};

/* In a session of its own, whose terminal @tty becomes. Returns an exit status, 0 for right. */
static int on_terminal(int tty, size_t row)
{
	struct chardev_config config = { .kind = CHARDEV_STDIO, .signal = terminals[row].signal };
	static struct chardev *chr; /* still reachable at an exit without free */

	if (setsid() < 0 || ioctl(tty, TIOCSCTTY, 0) < 0 || dup2(tty, 0) < 0 || dup2(tty, 1) < 0)
		return 10;
	if (chardev_open(&config, &chr, NULL) < 0)
		return 11;
	if (cooked_flags(tty) != terminals[row].during)
		return 12;
	if (!terminals[row].free)
		return 0;
	chardev_free(chr);
	if (cooked_flags(tty) != COOKED)
		return 13;
	/* Nothing is left to restore. */
	chardev_restore_terminal();
	return cooked_flags(tty) == COOKED ? 0 : 14;
}

static void test_terminal(void **state)
{
	size_t i;

	(void)state;
	for (i = 0; i < ARRAY_SIZE(terminals); i++) {
		int master = posix_openpt(O_RDWR | O_NOCTTY | O_CLOEXEC), slave, status;
		pid_t pid;

		assert_int_equal(grantpt(master) | unlockpt(master), 0);
		slave = open(ptsname(master), O_RDWR | O_NOCTTY);
		assert_int_equal(cooked_flags(slave), COOKED);
		pid = fork();
		if (!pid)
			exit(on_terminal(slave, i));
		assert_int_equal(waitpid(pid, &status, 0), pid);
		if (status)
			fail_msg("%s: status %x", terminals[i].what, status);
		assert_int_equal(cooked_flags(slave), COOKED);
		close(slave);
		close(master);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_stdio_pipes),
		cmocka_unit_test(test_stdio_file_and_null),
		/* The last one: left out where there are no terminals. */
		cmocka_unit_test(test_terminal),
	};

	return _cmocka_run_group_tests(
		"chardev_stdio", tests, ARRAY_SIZE(tests) - !have_terminals(), setup, teardown);
}
