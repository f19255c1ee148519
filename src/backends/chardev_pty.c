/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A pseudo-terminal. While nobody has its slave open the master only ever says "hung up", which
 * cannot be waited for to end: it is looked at from time to time then.
 */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdlib.h>
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

static void look(struct loop_timer *timer)
{
	struct chardev *chr = container_of(timer, struct chardev, timer);

	if (somebody_is_there(chr))
		chardev_set_open(chr, true);
	else
		loop_timer_set(chr->loop, timer, now_ns() + PTY_LOOK_MS * NSEC_PER_MSEC);
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
	log_debug("chardev '%s' is the terminal %s", chr->id, path);
	return chardev_set_fds(chr, &fd, err);
}

static int pty_attach(struct chardev *chr, struct err *err)
{
	(void)err;
	if (!chr->is_open)
		look(&chr->timer);
	return 0;
}

static void pty_hangup(struct chardev *chr, bool output)
{
	(void)output;
	chardev_set_open(chr, false);
	loop_timer_set(chr->loop, &chr->timer, now_ns() + PTY_LOOK_MS * NSEC_PER_MSEC);
}

const struct chardev_class chardev_class_pty = {
	.name = "pty",
	.open = pty_open,
	.attach = pty_attach,
	.hangup = pty_hangup,
};
