/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The reaper's process. Forked from a process that may have threads, so it calls little more than
 * the kernel; it holds none of our descriptors but its socket, so that none of them stays open
 * because of it.
 */
#include "machine/reaper_child.h"

#include <ctype.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "machine/reaper.h"
#include "machine/private_dir.h"

/* Descriptors are moved above this before they go to their places, so that none is overwritten. */
#define SCRATCH_FD 32
/* In the guest's first process, until it executes: after the extra ones. */
#define GUEST_ERROR_FD (REAPER_FIRST_EXTRA_FD + REAPER_EXTRA_FDS)

static void send_report(int fd, enum reaper_kind kind, int value)
{
	struct reaper_report report = { .kind = kind, .value = value };

	/* We may be gone; then nobody needs to know. */
	(void)!send(fd, &report, sizeof(report), MSG_NOSIGNAL);
}

static void close_from(unsigned int first)
{
	syscall(SYS_close_range, first, ~0U, 0);
}

/* The guest's own process group, default signals, its descriptors, and away. Never returns. */
static _Noreturn void guest_main(const struct reaper_spawn *spawn, pid_t reaper, int error_fd)
{
	struct rlimit none = { 0, 0 };
	sigset_t empty;
	int code, i;

	setpgid(0, 0);
	prctl(PR_SET_PDEATHSIG, SIGKILL);
	if (getppid() != reaper)
		_exit(1);
	/* A guest that panics aborts: its memory as a file helps nobody. */
	setrlimit(RLIMIT_CORE, &none);
	for (i = 0; i < 3; i++)
		dup2(spawn->stdio_fd, i);
	for (i = 0; i < REAPER_EXTRA_FDS; i++) {
		close(REAPER_FIRST_EXTRA_FD + i);
		if (spawn->extra_fds[i] >= 0)
			dup2(spawn->extra_fds[i], REAPER_FIRST_EXTRA_FD + i);
	}
	dup3(error_fd, GUEST_ERROR_FD, O_CLOEXEC);
	close_from(GUEST_ERROR_FD + 1);
	sigemptyset(&empty);
	sigprocmask(SIG_SETMASK, &empty, NULL);
	execve(spawn->program, spawn->argv, spawn->envp);
	code = errno;
	(void)!write(GUEST_ERROR_FD, &code, sizeof(code));
	_exit(127);
}

/* Starts the guest's first process; returns it, or -errno where its program could not run. */
static pid_t start_guest(const struct reaper_spawn *spawn)
{
	pid_t self = getpid(), pid;
	int error[2], code = 0;
	ssize_t n;

	if (pipe2(error, O_CLOEXEC) < 0)
		return -errno;
	pid = fork();
	if (pid == 0)
		guest_main(spawn, self, error[1]);
	code = pid < 0 ? errno : 0;
	close(error[1]);
	if (pid > 0) {
		/* Both sides do it, so that the group is there whoever comes first. */
		setpgid(pid, pid);
		do
			n = read(error[0], &code, sizeof(code));
		while (n < 0 && errno == EINTR);
		if (n != sizeof(code))
			code = 0;
	}
	close(error[0]);
	if (!code)
		return pid;
	if (pid > 0)
		waitpid(pid, NULL, 0);
	return -code;
}

/* The parent of a process, from the fourth field of its stat; the second is its name, in brackets.
 */
static pid_t parent_of(pid_t pid)
{
	char path[64], text[512], *bracket;
	ssize_t n;
	int fd;

	snprintf(path, sizeof(path), "/proc/%d/stat", (int)pid);
	fd = open(path, O_RDONLY | O_CLOEXEC);
	if (fd < 0)
		return 0;
	n = read(fd, text, sizeof(text) - 1);
	close(fd);
	if (n <= 0)
		return 0;
	text[n] = '\0';
	bracket = strrchr(text, ')');
	return bracket && strlen(bracket) > 4 ? atoi(bracket + 4) : 0;
}

static void kill_children(void)
{
	pid_t self = getpid();
	DIR *proc = opendir("/proc");
	struct dirent *entry;

	if (!proc)
		return;
	while ((entry = readdir(proc))) {
		pid_t pid = isdigit((unsigned char)entry->d_name[0]) ? atoi(entry->d_name) : 0;

		if (pid > 0 && parent_of(pid) == self)
			kill(pid, SIGKILL);
	}
	closedir(proc);
}

/* Collects whoever has ended; true when no child is left. */
static bool collect_children(pid_t guest, bool *guest_ended, int *guest_status)
{
	int status;
	pid_t pid;

	for (;;) {
		pid = waitpid(-1, &status, WNOHANG | __WALL);
		if (pid == guest) {
			*guest_ended = true;
			*guest_status = status;
		}
		if (pid < 0 && errno == EINTR)
			continue;
		if (pid <= 0)
			return pid < 0;
	}
}

/* Until the guest's first process or we have ended. */
static void watch(int fd, int signals, pid_t guest, bool *guest_ended, int *guest_status)
{
	struct pollfd fds[] = { { .fd = fd, .events = POLLIN },
		{ .fd = signals, .events = POLLIN } };
	struct signalfd_siginfo info;

	for (;;) {
		collect_children(guest, guest_ended, guest_status);
		if (*guest_ended)
			return;
		fds[0].revents = fds[1].revents = 0;
		if (poll(fds, 2, -1) < 0 && errno != EINTR)
			return;
		if (fds[0].revents)
			return;
		if (fds[1].revents)
			(void)!read(signals, &info, sizeof(info));
	}
}

static void end_all(pid_t guest, bool *guest_ended, int *guest_status)
{
	for (;;) {
		/* An unreaped leader keeps the group's number from being used again. */
		if (!*guest_ended)
			kill(-guest, SIGKILL);
		/* Those that the dead leave behind come to us, round by round. */
		kill_children();
		if (collect_children(guest, guest_ended, guest_status))
			return;
		poll(NULL, 0, 5);
	}
}

static int peer_is_gone(int fd)
{
	struct pollfd pfd = { .fd = fd };

	return poll(&pfd, 1, 0) > 0 && (pfd.revents & (POLLHUP | POLLERR));
}

static void reset_signals(sigset_t *child_only)
{
	sigset_t all;
	int n;

	for (n = 1; n < NSIG; n++)
		signal(n, SIG_DFL);
	/* Ending is for those who close the socket: a signal to a whole session is not for us. */
	sigfillset(&all);
	sigprocmask(SIG_SETMASK, &all, NULL);
	sigemptyset(child_only);
	sigaddset(child_only, SIGCHLD);
}

static int move_up(int fd)
{
	return fd < 0 ? -1 : fcntl(fd, F_DUPFD_CLOEXEC, SCRATCH_FD);
}

/* Keeps the socket and what the guest gets, at known places from SCRATCH_FD on; returns the socket.
 */
static int keep_descriptors(struct reaper_spawn *spawn, int fd)
{
	int keep[2 + REAPER_EXTRA_FDS], last = -1, i, null;

	keep[0] = move_up(fd);
	keep[1] = move_up(spawn->stdio_fd);
	for (i = 0; i < REAPER_EXTRA_FDS; i++)
		keep[2 + i] = move_up(spawn->extra_fds[i]);
	/* From the highest number down nothing is kept between; what lies below is closed one by
	 * one. */
	for (i = 0; i < 2 + REAPER_EXTRA_FDS; i++)
		if (keep[i] > last)
			last = keep[i];
	close_from((unsigned int)last + 1);
	for (i = 0; i < last; i++)
		if (i != keep[0] && i != keep[1] && i != keep[2] && i != keep[3])
			close(i);
	null = open("/dev/null", O_RDWR);
	for (i = 0; i < 3; i++)
		if (null != i)
			dup2(null, i);
	spawn->stdio_fd = keep[1];
	for (i = 0; i < REAPER_EXTRA_FDS; i++)
		spawn->extra_fds[i] = keep[2 + i];
	return keep[0];
}

static _Noreturn void reaper_main(const struct reaper_spawn *given, int fd)
{
	struct reaper_spawn spawn = *given;
	bool guest_ended = false;
	int guest_status = SIGKILL, signals, i;
	sigset_t child_only;
	pid_t guest;

	setsid();
	prctl(PR_SET_CHILD_SUBREAPER, 1);
	prctl(PR_SET_NAME, "ringside-reaper");
	reset_signals(&child_only);
	fd = keep_descriptors(&spawn, fd);
	signals = signalfd(-1, &child_only, SFD_CLOEXEC | SFD_NONBLOCK);
	guest = signals < 0 ? -errno : start_guest(&spawn);
	if (guest < 0) {
		send_report(fd, REAPER_FAILED, -guest);
		_exit(1);
	}
	/* The guest alone has them now: the console ends when it does. */
	close(spawn.stdio_fd);
	for (i = 0; i < REAPER_EXTRA_FDS; i++)
		if (spawn.extra_fds[i] >= 0)
			close(spawn.extra_fds[i]);
	send_report(fd, REAPER_STARTED, guest);
	watch(fd, signals, guest, &guest_ended, &guest_status);
	end_all(guest, &guest_ended, &guest_status);
	if (spawn.dir && peer_is_gone(fd))
		private_dir_remove(spawn.dir);
	send_report(fd, REAPER_EXITED, guest_status);
	_exit(0);
}

pid_t reaper_child_fork(const struct reaper_spawn *spawn, int fd)
{
	pid_t pid = fork();

	if (pid == 0)
		reaper_main(spawn, fd);
	return pid;
}
