/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Standard input and output as a character device. The shell and its other children share our open
 * descriptions, so they are not made non-blocking where a description of our own can be had; where
 * not, the flags are put back at the end, as are a terminal's settings.
 */
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <termios.h>
#include <unistd.h>

#include "backends/chardev_int.h"
#include "base/cleanup.h"
#include "base/host_open.h"

/* There is one owner (host_stdio_claim()), so one state; a signal handler has to find it. */
static struct termios saved_termios;
static _Atomic bool terminal_is_raw;
static int saved_flags[2]; /* of descriptors 0 and 1, to be put back; 0: nothing to do */

/* A process in the background would be stopped for this by SIGTTOU. */
static void set_termios(const struct termios *t)
{
	sigset_t ttou, old;

	sigemptyset(&ttou);
	sigaddset(&ttou, SIGTTOU);
	pthread_sigmask(SIG_BLOCK, &ttou, &old);
	tcsetattr(STDIN_FILENO, TCSANOW, t);
	pthread_sigmask(SIG_SETMASK, &old, NULL);
}

void chardev_restore_terminal(void)
{
	if (atomic_exchange(&terminal_is_raw, false))
		set_termios(&saved_termios);
}

static void restore_all(void)
{
	int i;

	chardev_restore_terminal();
	for (i = 0; i < 2; i++)
		if (saved_flags[i])
			fcntl(i, F_SETFL, saved_flags[i]);
	saved_flags[0] = saved_flags[1] = 0;
}

static void make_raw(bool signals)
{
	static bool registered;
	struct termios t;

	/* In the background the terminal is somebody else's just now. */
	if (!isatty(STDIN_FILENO) || tcgetpgrp(STDIN_FILENO) != getpgrp() ||
		tcgetattr(STDIN_FILENO, &saved_termios) < 0)
		return;
	if (!registered)
		atexit(restore_all);
	registered = true;
	t = saved_termios;
	t.c_iflag &= ~(tcflag_t)(IGNBRK | BRKINT | PARMRK | ISTRIP | INLCR | IGNCR | ICRNL | IXON);
	t.c_lflag &= ~(tcflag_t)(ECHO | ECHONL | ICANON | IEXTEN);
	if (!signals)
		t.c_lflag &= ~(tcflag_t)ISIG;
	t.c_cflag &= ~(tcflag_t)(CSIZE | PARENB);
	t.c_cflag |= CS8;
	t.c_cc[VMIN] = 1;
	t.c_cc[VTIME] = 0;
	/* Output processing stays on: our log lines go to the same terminal. */
	atomic_store(&terminal_is_raw, true);
	set_termios(&t);
}

/* A descriptor for standard stream @n; -1 where the process was started without it. */
static int own_descriptor(int n, int access_mode)
{
	int fd = -1, flags = fcntl(n, F_GETFL);
	char path[32];
	struct stat st;

	if (flags < 0 || fstat(n, &st) < 0)
		return -1;
	/* Files never wait, and a new description of one would begin at its start. */
	if (S_ISREG(st.st_mode))
		return fcntl(n, F_DUPFD_CLOEXEC, 0);
	if (S_ISCHR(st.st_mode) || S_ISFIFO(st.st_mode)) {
		snprintf(path, sizeof(path), "/proc/self/fd/%d", n);
		fd = host_open(path, access_mode | O_NONBLOCK, 0, NULL);
	}
	if (fd >= 0)
		return fd;
	fd = fcntl(n, F_DUPFD_CLOEXEC, 0);
	if (fd >= 0 && !(flags & O_NONBLOCK)) {
		saved_flags[n] = flags;
		fcntl(n, F_SETFL, flags | O_NONBLOCK);
	}
	return fd;
}

static bool is_socket(int fd)
{
	struct stat st;

	return fd >= 0 && !fstat(fd, &st) && S_ISSOCK(st.st_mode);
}

static int stdio_open(struct chardev *chr, const struct chardev_config *config, struct err *err)
{
	char owner[128];
	int r;

	snprintf(owner, sizeof(owner), "chardev '%s'", chr->id);
	r = host_stdio_claim(owner, err);
	if (r < 0)
		return r;
	chr->in.fd = own_descriptor(STDIN_FILENO, O_RDONLY);
	chr->out.fd = own_descriptor(STDOUT_FILENO, O_WRONLY);
	chr->is_socket = is_socket(chr->out.fd);
	chr->is_open = true;
	make_raw(config->signal);
	return 0;
}

static void stdio_free(struct chardev *chr)
{
	/* Not open: it was another one's all along. */
	if (!chr->is_open)
		return;
	restore_all();
	host_stdio_release();
}

const struct chardev_class chardev_class_stdio = {
	.name = "stdio",
	.open = stdio_open,
	.free = stdio_free,
};
