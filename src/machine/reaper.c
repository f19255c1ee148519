/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Our side of the reaper: starts it, hears what became of the guest. A reaper that was killed
 * itself counts as a guest that was killed: its parent-death signal ends the guest, and we end its
 * group.
 */
#include "machine/reaper.h"

#include <errno.h>
#include <signal.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "machine/reaper_child.h"

/* Waits for the reaper's process itself; it ends right after its report. */
static void collect(struct reaper *reaper)
{
	if (reaper->guest > 0)
		kill(-reaper->guest, SIGKILL);
	if (reaper->pid > 0)
		while (waitpid(reaper->pid, NULL, 0) < 0 && errno == EINTR)
			;
	reaper->pid = 0;
	reaper->guest = 0;
}

static ssize_t receive(int fd, struct reaper_report *report, int flags)
{
	ssize_t n;

	do
		n = recv(fd, report, sizeof(*report), flags);
	while (n < 0 && errno == EINTR);
	return n;
}

static void report_ready(struct loop_fd *node, uint32_t revents)
{
	struct reaper *reaper = container_of(node, struct reaper, node);
	struct reaper_report report;
	ssize_t n = receive(node->fd, &report, MSG_DONTWAIT);
	int status = SIGKILL;

	(void)revents;
	if (n < 0 && errno == EAGAIN)
		return;
	if (n == sizeof(report) && report.kind == REAPER_EXITED)
		status = report.value;
	loop_fd_del(node);
	close_fd(&node->fd);
	/* Its pid is free for others once everything was reaped: the group is only ours until then.
	 */
	if (n == sizeof(report))
		reaper->guest = 0;
	collect(reaper);
	reaper->exited(reaper, status);
}

static int wait_for_start(
	struct reaper *reaper, int fd, const struct reaper_spawn *spawn, struct err *err)
{
	struct reaper_report report;
	ssize_t n = receive(fd, &report, 0);

	if (n != sizeof(report))
		return err_set(err, -EIO, "the process that watches the guest ended at once");
	if (report.kind == REAPER_STARTED) {
		reaper->guest = report.value;
		return 0;
	}
	if (report.value == ENOEXEC)
		return err_set(err, -ENOEXEC,
			"'%s' is no program: expected a user-mode Linux kernel", spawn->program);
	return err_set(err, -report.value, "cannot start '%s': %s%s", spawn->program,
		strerror(report.value),
		report.value == EACCES ? "; the file has to be executable" : "");
}

int reaper_start(
	struct reaper *reaper, struct loop *loop, const struct reaper_spawn *spawn, struct err *err)
{
	int pair[2], r;

	if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair) < 0)
		return err_set(err, -errno, "cannot make a socket pair: %m");
	reaper->pid = reaper_child_fork(spawn, pair[1]);
	r = reaper->pid < 0 ? -errno : 0;
	close(pair[1]);
	reaper->node.fd = pair[0];
	reaper->node.fn = report_ready;
	if (r < 0) {
		reaper->pid = 0;
		close_fd(&reaper->node.fd);
		return err_set(err, r, "cannot start a process for the guest: %s", strerror(-r));
	}
	r = wait_for_start(reaper, pair[0], spawn, err);
	if (r == 0)
		r = loop_fd_add(loop, &reaper->node, EPOLLIN, err);
	if (r < 0)
		reaper_deinit(reaper);
	return r;
}

void reaper_kill(struct reaper *reaper)
{
	if (reaper->pid > 0)
		shutdown(reaper->node.fd, SHUT_WR);
}

void reaper_deinit(struct reaper *reaper)
{
	struct reaper_report report;

	if (reaper->pid <= 0)
		return;
	loop_fd_del(&reaper->node);
	reaper_kill(reaper);
	/* A report, or the end: everything is gone. Only then is the group's number not ours any
	 * more. */
	while (receive(reaper->node.fd, &report, 0) == sizeof(report))
		if (report.kind == REAPER_EXITED)
			reaper->guest = 0;
	close_fd(&reaper->node.fd);
	collect(reaper);
}
