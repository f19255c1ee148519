/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Machine uml. Starts the kernel below a reaper, speaks to it through its management console,
 * passes its console on, and says how it ended.
 *
 * What user-mode Linux does: on a restart it executes itself again, in the same process, and its
 * devices see their sockets close and a new connection; the kernel reports on the notification
 * socket whenever it has come up. A panic is reported there too, then the process aborts. Power-off
 * and halt are an exit with the status that /proc/exitcode of the guest was set to, 0 else.
 * A guest that waits in the kernel for a device that does not answer hears nothing: only killing
 * ends it.
 *
 * Refuses hot-plugging: its virtio driver knows the devices of its command line.
 */
#include "machine/uml.h"

#include <errno.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/alloc.h"
#include "base/cleanup.h"
#include "machine/console.h"
#include "machine/mconsole.h"
#include "machine/reaper.h"
#include "machine/uml_cmdline.h"
#include "machine/uml_host.h"

/* For an answer of the management console. */
#define COMMAND_TIMEOUT_MS 5000

struct uml {
	struct machine m;
	struct reaper reaper;
	struct mconsole mconsole;
	struct console console;
	unsigned int num_boots; /* that the kernel reported */
	bool resetting; /* machine_reset() was done, the kernel has not come up since */
	bool stop_again; /* it was reset while stopped */
	bool quitting;
	bool panicked;
	char panic[CONSOLE_LINE_BYTES];
	int wait_status; /* of the guest, once it is gone */
};

/* One request to the kernel, and who waits for it. */
struct command {
	struct mconsole_request req;
	struct uml *uml;
	struct machine_wait *wait;
	void (*done)(struct uml *uml); /* it worked; may be NULL */
	void (*failed)(struct uml *uml); /* may be NULL */
};

static struct uml *to_uml(struct machine *m)
{
	return container_of(m, struct uml, m);
}

static void command_finished(struct mconsole_request *req, int r, const struct err *err)
{
	_cleanup_free_ struct command *cmd = container_of(req, struct command, req);

	if (r == 0 && cmd->done)
		cmd->done(cmd->uml);
	if (r < 0 && r != -ECANCELED && cmd->failed)
		cmd->failed(cmd->uml);
	machine_answer(cmd->wait, r, err);
}

static void command(struct uml *uml, const char *text, uint64_t timeout_ms,
	struct machine_wait *wait, void (*done)(struct uml *uml), void (*failed)(struct uml *uml))
{
	struct command *cmd = xnew(struct command);

	cmd->req.command = text;
	cmd->req.fn = command_finished;
	cmd->uml = uml;
	cmd->wait = wait;
	cmd->done = done;
	cmd->failed = failed;
	mconsole_send(&uml->mconsole, &cmd->req, timeout_ms);
}

static void stop_done(struct uml *uml)
{
	if (uml->m.state == MACHINE_RUNNING)
		uml->m.state = MACHINE_PAUSED;
}

/* The order may lie in the kernel's queue and be obeyed long after: let its reverse lie behind it.
 */
static void stop_failed(struct uml *uml)
{
	command(uml, "go", COMMAND_TIMEOUT_MS, NULL, NULL, NULL);
}

static void uml_stop(struct machine *m, struct machine_wait *wait)
{
	if (m->state == MACHINE_PAUSED)
		machine_answer(wait, 0, NULL);
	else
		command(to_uml(m), "stop", COMMAND_TIMEOUT_MS, wait, stop_done, stop_failed);
}

static void cont_done(struct uml *uml)
{
	if (uml->m.state == MACHINE_PAUSED)
		uml->m.state = MACHINE_RUNNING;
}

static void uml_cont(struct machine *m, struct machine_wait *wait)
{
	struct uml *uml = to_uml(m);

	if (m->state == MACHINE_RUNNING) {
		machine_answer(wait, 0, NULL);
		return;
	}
	if (uml->stop_again) {
		/* It starts afresh at this moment and was not stopped again yet. */
		uml->stop_again = false;
		m->state = MACHINE_RUNNING;
		machine_answer(wait, 0, NULL);
		return;
	}
	command(uml, "go", COMMAND_TIMEOUT_MS, wait, cont_done, NULL);
}

static void reset_done(struct uml *uml)
{
	uml->resetting = true;
	uml->stop_again = uml->m.state == MACHINE_PAUSED;
	mconsole_restarting(&uml->mconsole);
	if (uml->m.listener->reset)
		uml->m.listener->reset(&uml->m, uml->m.opaque, false);
}

static void reset_failed(struct uml *uml)
{
	if (uml->m.state == MACHINE_PAUSED)
		command(uml, "stop", COMMAND_TIMEOUT_MS, NULL, NULL, NULL);
}

static void uml_reset(struct machine *m, struct machine_wait *wait)
{
	/* The kernel crashes where it has to restart while it is stopped. */
	if (m->state == MACHINE_PAUSED)
		command(to_uml(m), "go", COMMAND_TIMEOUT_MS, NULL, NULL, NULL);
	command(to_uml(m), "reboot", COMMAND_TIMEOUT_MS, wait, reset_done, reset_failed);
}

static void uml_quit(struct machine *m, _unused_ bool kill)
{
	struct uml *uml = to_uml(m);

	/*
	 * Its "halt" would write nothing back either, crashes a kernel that is stopped, and is not
	 * heard by one that waits for a device.
	 */
	uml->quitting = true;
	mconsole_cancel(&uml->mconsole, "the guest is being ended");
	reaper_kill(&uml->reaper);
}

static void stop_again_done(struct uml *uml)
{
	uml->stop_again = false;
}

static void booted(struct mconsole *mc)
{
	struct uml *uml = container_of(mc, struct uml, mconsole);
	struct machine *m = &uml->m;
	bool again = uml->num_boots++ > 0;

	if (again && !uml->resetting && m->listener->reset)
		m->listener->reset(m, m->opaque, true);
	uml->resetting = false;
	if (uml->stop_again)
		command(uml, "stop", COMMAND_TIMEOUT_MS, NULL, stop_again_done, NULL);
	if (m->listener->booted)
		m->listener->booted(m, m->opaque);
}

static void panicked(struct mconsole *mc, const char *text)
{
	struct uml *uml = container_of(mc, struct uml, mconsole);

	uml->panicked = true;
	snprintf(uml->panic, sizeof(uml->panic), "%.*s", (int)sizeof(uml->panic) - 1, text);
	if (uml->m.listener->panicked)
		uml->m.listener->panicked(&uml->m, uml->m.opaque, uml->panic);
}

static void console_closed(struct console *con)
{
	struct machine *m = &container_of(con, struct uml, console)->m;

	if (m->listener->console_closed)
		m->listener->console_closed(m, m->opaque);
}

static void console_quit(struct console *con)
{
	struct machine *m = &container_of(con, struct uml, console)->m;

	if (m->listener->quit_requested)
		m->listener->quit_requested(m, m->opaque);
}

static void failed(struct machine_exit *ex, enum machine_end end, const char *fmt, ...)
	_printf_(3, 4);

static void failed(struct machine_exit *ex, enum machine_end end, const char *fmt, ...)
{
	va_list ap;

	ex->end = end;
	ex->status = 1;
	va_start(ap, fmt);
	vsnprintf(ex->message, sizeof(ex->message), fmt, ap);
	va_end(ap);
}

static void describe_end(const struct uml *uml, struct machine_exit *ex)
{
	int status = uml->wait_status;
	const char *line = uml->console.line;

	if (uml->panicked)
		failed(ex, MACHINE_END_GUEST_PANIC, "the guest's kernel panicked: %s", uml->panic);
	else if (uml->quitting)
		ex->end = MACHINE_END_HOST_QUIT;
	else if (uml->num_boots == 0 && !WIFSIGNALED(status))
		failed(ex, MACHINE_END_FAILED,
			"the guest's kernel ended with status %d before it was up; the last that "
			"it said: %s",
			WEXITSTATUS(status), *line ? line : "nothing");
	else if (WIFSIGNALED(status))
		failed(ex, MACHINE_END_FAILED, "the guest's kernel was ended by signal %d (%s)",
			WTERMSIG(status), strsignal(WTERMSIG(status)));
	else if (WEXITSTATUS(status) != 0)
		failed(ex, MACHINE_END_GUEST_SHUTDOWN, "the guest ended with status %d",
			WEXITSTATUS(status));
	else
		ex->end = MACHINE_END_GUEST_SHUTDOWN;
}

static void console_finished(struct console *con)
{
	struct uml *uml = container_of(con, struct uml, console);
	struct machine *m = &uml->m;
	struct machine_exit ex = { 0 };

	describe_end(uml, &ex);
	if (m->listener->exited)
		m->listener->exited(m, m->opaque, &ex);
}

static void guest_exited(struct reaper *reaper, int wait_status)
{
	struct uml *uml = container_of(reaper, struct uml, reaper);

	uml->wait_status = wait_status;
	uml->m.state = MACHINE_ENDED;
	/* A last notification, of a panic, may lie there. */
	mconsole_drain(&uml->mconsole);
	mconsole_cancel(&uml->mconsole, "the guest has ended");
	console_finish(&uml->console);
}

/* What is prepared for the guest's process and not needed any more once it runs. */
struct launch {
	struct uml_file kernel, initrd;
	char **argv, **envp;
	int console_fd;
};

static void launch_deinit(struct launch *launch)
{
	uml_file_deinit(&launch->kernel);
	uml_file_deinit(&launch->initrd);
	uml_argv_free(launch->argv);
	uml_argv_free(launch->envp);
	close_fd(&launch->console_fd);
}

static int prepare(
	struct launch *launch, const struct machine_config *cfg, const char *dir, struct err *err)
{
	const char *kernel = cfg->kernel ? cfg->kernel : uml_default_kernel(err);
	const char *folder;
	int r;

	if (!kernel)
		return -ENOENT;
	r = uml_file_init(
		&launch->kernel, kernel, "the guest's kernel", REAPER_FIRST_EXTRA_FD, err);
	if (r == 0 && cfg->initrd)
		r = uml_file_init(&launch->initrd, cfg->initrd, "the guest's initrd",
			REAPER_FIRST_EXTRA_FD + 1, err);
	if (r == 0)
		r = uml_cmdline(
			cfg, dir, launch->kernel.name, launch->initrd.name, &launch->argv, err);
	if (r == 0)
		r = uml_check_ptrace(err);
	if (r < 0)
		return r;
	folder = uml_memory_folder(cfg->memory_bytes, dir, err);
	if (!folder)
		return -ENOSPC;
	launch->envp = uml_environment(environ, folder);
	return 0;
}

static int uml_start(struct machine *m, const struct machine_config *cfg, struct err *err)
{
	_cleanup_(launch_deinit) struct launch launch = {
		.kernel.fd = -1, .initrd.fd = -1, .console_fd = -1
	};
	struct uml *uml = to_uml(m);
	struct reaper_spawn spawn = { .dir = m->dir };
	int r = prepare(&launch, cfg, m->dir, err);

	if (r < 0)
		return r;
	uml->mconsole.booted = booted;
	uml->mconsole.panicked = panicked;
	uml->console.finished = console_finished;
	uml->console.closed = console_closed;
	uml->console.quit = console_quit;
	uml->reaper.exited = guest_exited;
	r = mconsole_init(&uml->mconsole, m->loop, m->dir, UML_UMID, err);
	if (r == 0)
		r = console_init(&uml->console, m->loop, cfg->console, cfg->console_escape,
			&launch.console_fd, err);
	if (r < 0)
		return r;
	spawn.program = launch.kernel.name;
	spawn.argv = launch.argv;
	spawn.envp = launch.envp;
	spawn.stdio_fd = launch.console_fd;
	spawn.extra_fds[0] = launch.kernel.fd;
	spawn.extra_fds[1] = launch.initrd.fd;
	return reaper_start(&uml->reaper, m->loop, &spawn, err);
}

static void uml_release(struct machine *m)
{
	struct uml *uml = to_uml(m);

	reaper_deinit(&uml->reaper);
	mconsole_deinit(&uml->mconsole, "the machine is being removed");
	console_deinit(&uml->console);
	if (m->state != MACHINE_PRELAUNCH)
		m->state = MACHINE_ENDED;
}

const struct machine_ops uml_machine_ops = {
	.name = "uml",
	.description = "user-mode Linux: a kernel as an ordinary process, without KVM and root",
	.instance_bytes = sizeof(struct uml),
	.hotplug = false,
	.start = uml_start,
	.stop = uml_stop,
	.cont = uml_cont,
	.reset = uml_reset,
	.quit = uml_quit,
	.release = uml_release,
};
