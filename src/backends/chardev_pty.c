/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A pseudo-terminal. While nobody has its slave open the master only ever says "hung up", which
 * cannot be waited for to end. Who opens the slave is told by inotify; where that is not to be had
 * (a user has 128 of them, unless told otherwise), the master is looked at from time to time.
 */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdlib.h>
#include <sys/inotify.h>
#include <termios.h>
#include <unistd.h>

#include "backends/chardev_int.h"
#include "base/alloc.h"
#include "base/cleanup.h"
#include "base/host_open.h"

#define PTY_LOOK_MS 200

static bool somebody_is_there(struct chardev *chr)
{
	struct pollfd p = { .fd = chr->in.fd };

	return poll(&p, 1, 0) >= 0 && !(p.revents & POLLHUP);
}

static void forget_opened(struct chardev *chr)
{
	char events[4096];

	while (read(chr->listen_node.fd, events, sizeof(events)) > 0)
		;
}

/* What happened before is not waited for: it is looked at, once somebody would tell. */
static void wait_for_peer(struct chardev *chr)
{
	struct loop_fd *opened = &chr->listen_node;
	struct err ignored = { 0 };
	bool told = opened->fd >= 0 &&
		    (opened->loop || !loop_fd_add(chr->loop, opened, EPOLLIN, &ignored));

	if (told)
		forget_opened(chr);
	if (somebody_is_there(chr)) {
		loop_fd_del(opened);
		chardev_set_open(chr, true);
	} else if (!told) {
		loop_timer_set(chr->loop, &chr->timer, now_ns() + PTY_LOOK_MS * NSEC_PER_MSEC);
	}
}

static void look(struct loop_timer *timer)
{
	wait_for_peer(container_of(timer, struct chardev, timer));
}

static void on_opened(struct loop_fd *node, uint32_t revents)
{
	(void)revents;
	wait_for_peer(container_of(node, struct chardev, listen_node));
}

/*
 * Raw from the start, so that nothing is echoed to the guest. To open and close the slave once also
 * makes the master say "hung up" from the beginning.
 */
static int init_slave(const char *path, struct err *err)
{
	_cleanup_fd_ int fd = host_open(path, O_RDWR, 0, err);
	struct termios t;

	if (fd < 0)
		return fd;
	if (tcgetattr(fd, &t) < 0)
		return err_set(err, -errno, "cannot get the settings of '%s': %m", path);
	cfmakeraw(&t);
	if (tcsetattr(fd, TCSANOW, &t) < 0)
		return err_set(err, -errno, "cannot make '%s' raw: %m", path);
	return 0;
}

static int pty_open(struct chardev *chr, const struct chardev_config *config, struct err *err)
{
	_cleanup_fd_ int fd = posix_openpt(O_RDWR | O_NOCTTY | O_CLOEXEC | O_NONBLOCK);
	char path[64];
	int r;

	(void)config;
	if (fd < 0 || grantpt(fd) < 0 || unlockpt(fd) < 0)
		return err_set(
			err, -errno, "chardev '%s': cannot make a pseudo-terminal: %m", chr->id);
	r = ptsname_r(fd, path, sizeof(path));
	if (r)
		return err_set(err, -r, "chardev '%s': a pseudo-terminal has no name", chr->id);
	r = init_slave(path, err);
	if (r < 0)
		return r;
	chr->address = xstrdup(path);
	chr->timer.fn = look;
	chr->listen_node.fn = on_opened;
	chr->listen_node.fd = inotify_init1(IN_NONBLOCK | IN_CLOEXEC);
	if (inotify_add_watch(chr->listen_node.fd, path, IN_OPEN) < 0)
		close_fd(&chr->listen_node.fd);
	log_debug("chardev '%s' is the terminal %s", chr->id, path);
	return chardev_set_fds(chr, &fd, err);
}

static int pty_attach(struct chardev *chr, struct err *err)
{
	(void)err;
	if (!chr->is_open)
		wait_for_peer(chr);
	return 0;
}

static void pty_detach(struct chardev *chr)
{
	loop_fd_del(&chr->listen_node);
}

static void pty_hangup(struct chardev *chr, bool output)
{
	(void)output;
	chardev_set_open(chr, false);
	wait_for_peer(chr);
}

static void pty_free(struct chardev *chr)
{
	/* Where opening it failed before there was one, there is none. */
	if (chr->listen_node.fn)
		close_fd(&chr->listen_node.fd);
}

const struct chardev_class chardev_class_pty = {
	.name = "pty",
	.open = pty_open,
	.free = pty_free,
	.attach = pty_attach,
	.detach = pty_detach,
	.hangup = pty_hangup,
};
