/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A unix stream socket, as server or as client. A server has one peer at a time: who comes while
 * one is there is turned away with a log line; who comes after one that has hung up gets its place,
 * once what that one sent has been read. Where it is not read (a guest that has not opened its
 * console), what is left of it is dropped after a while, or nobody could ever look in again.
 */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include "backends/chardev_int.h"
#include "base/alloc.h"
#include "base/cleanup.h"
#include "base/host_open.h"

/* After an accept that failed for want of descriptors or memory. */
#define ACCEPT_AGAIN_MS 1000
/* So long may nothing be read of what a peer has left while its successor waits. */
#define LEFT_UNREAD_MS 1000

static void watch_listener(struct chardev *chr)
{
	struct err err = { 0 };

	if (!chr->loop || chr->listener.fd < 0 || chr->listen_node.loop)
		return;
	chr->listen_node.fd = chr->listener.fd;
	if (loop_fd_add(chr->loop, &chr->listen_node, EPOLLIN, &err) < 0)
		log_limited(&chr->limit, LOG_LEVEL_ERROR, "chardev '%s': %s", chr->id, err.msg);
}

static int num_unread(struct chardev *chr)
{
	int unread = 0;

	ioctl(chr->in.fd, FIONREAD, &unread);
	return unread;
}

static void socket_hangup(struct chardev *chr, bool output)
{
	/* What it said before it went is still heard; what is written meanwhile is dropped. */
	if (output && num_unread(chr)) {
		chardev_end_close(chr, &chr->out);
		return;
	}
	chr->left_unread = 0;
	chardev_set_open(chr, false);
	chardev_end_close(chr, &chr->in);
	/* The work of a writer that waited for this peer stays queued: it may write on. */
	close_fd(&chr->out.fd);
	watch_listener(chr);
}

static bool peer_has_hung_up(struct chardev *chr)
{
	struct pollfd p = { .fd = chr->in.fd, .events = POLLRDHUP };

	return poll(&p, 1, 0) > 0 && p.revents & (POLLRDHUP | POLLHUP | POLLERR);
}

/* After an accept that failed, or with a successor waiting for what its predecessor left. */
static void look_again(struct loop_timer *timer)
{
	struct chardev *chr = container_of(timer, struct chardev, timer);

	if (chr->left_unread && num_unread(chr) >= chr->left_unread) {
		log_limited(&chr->limit, LOG_LEVEL_WARN,
			"chardev '%s': %d bytes of a peer that left are not read; dropped for the "
			"next one",
			chr->id, num_unread(chr));
		socket_hangup(chr, false);
	}
	watch_listener(chr);
}

static void take_connection(struct chardev *chr)
{
	_cleanup_fd_ int fd = listen_accept(&chr->listener);
	struct err err = { 0 };

	if (fd == -EAGAIN)
		return;
	if (fd < 0) {
		log_limited(&chr->limit, LOG_LEVEL_WARN, "chardev '%s': cannot accept: %s", chr->id,
			strerror(-fd));
		loop_fd_del(&chr->listen_node);
		loop_timer_set(chr->loop, &chr->timer, now_ns() + ACCEPT_AGAIN_MS * NSEC_PER_MSEC);
		return;
	}
	if (chr->is_open) {
		log_limited(&chr->limit, LOG_LEVEL_WARN,
			"chardev '%s': turned a second connection to %s away", chr->id,
			chr->address);
		return;
	}
	if (chardev_set_fds(chr, &fd, &err) < 0)
		log_limited(&chr->limit, LOG_LEVEL_WARN, "%s", err.msg);
	else
		chardev_set_open(chr, true);
}

static void connection_waits(struct loop_fd *node, uint32_t revents)
{
	struct chardev *chr = container_of(node, struct chardev, listen_node);
	(void)revents;
	if (chr->is_open && peer_has_hung_up(chr)) {
		chr->left_unread = num_unread(chr);
		if (chr->left_unread) {
			/* First come, first served: watched again by socket_hangup(). */
			loop_fd_del(node);
			loop_timer_set(
				chr->loop, &chr->timer, now_ns() + LEFT_UNREAD_MS * NSEC_PER_MSEC);
			return;
		}
		socket_hangup(chr, false);
	}
	take_connection(chr);
}

static int open_server(struct chardev *chr, const struct chardev_config *config, struct err *err)
{
	struct listen_options opts = LISTEN_OPTIONS_INIT;
	int n, r;

	opts.path = config->path;
	opts.mode = config->mode;
	opts.group = config->group;
	if (host_spec_fd(config->path, &n)) {
		opts.fd = n;
		if (n < 0 || fcntl(n, F_GETFD) < 0)
			return err_set(err, -EBADF,
				"'%s' is not open: expected fd=N with a listening unix socket that "
				"the process was started with",
				config->path);
	}
	r = listen_unix(&chr->listener, &opts, err);
	if (r < 0)
		return r;
	chr->listen_node.fn = connection_waits;
	chr->timer.fn = look_again;
	return 0;
}

static int open_client(struct chardev *chr, const struct chardev_config *config, struct err *err)
{
	int fd = host_connect_unix(config->path, err);
	int r = fd < 0 ? fd : chardev_set_fds(chr, &fd, err);

	chr->is_open = !r;
	return r;
}

static int socket_open(struct chardev *chr, const struct chardev_config *config, struct err *err)
{
	struct err why = { 0 };
	int r;

	if (!config->path)
		return err_set(err, -EINVAL, "chardev '%s' of kind 'socket' needs path=", chr->id);
	chr->is_socket = true;
	chr->address = xstrdup(config->path);
	r = config->server ? open_server(chr, config, &why) : open_client(chr, config, &why);
	return r < 0 ? err_set(err, r, "chardev '%s': %s", chr->id, why.msg) : 0;
}

static int socket_attach(struct chardev *chr, struct err *err)
{
	(void)err;
	watch_listener(chr);
	return 0;
}

static void socket_detach(struct chardev *chr)
{
	loop_fd_del(&chr->listen_node);
}

const struct chardev_class chardev_class_socket = {
	.name = "socket",
	.open = socket_open,
	.attach = socket_attach,
	.detach = socket_detach,
	.hangup = socket_hangup,
};
