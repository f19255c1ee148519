/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A unix datagram socket: a packet each, as QEMU's -netdev dgram has them. One socket, bound to
 * local=, receives from whoever sends; another, connected to remote=, sends, and so hears when that
 * one's queue has room again. While nobody is there what is sent is lost; who comes is found by the
 * next packet.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "backends/net_int.h"
#include "base/alloc.h"
#include "base/cleanup.h"
#include "base/host_open.h"

struct dgram_net {
	int in_fd, out_fd;
	struct sockaddr_un remote;
	char *local; /* to be removed at the end, if it is still ours; NULL: an inherited socket */
	dev_t dev;
	ino_t ino;
	bool connected; /* of the loop that sends */
};

struct dgram_chan {
	struct loop_fd node;
	struct net_chan *chan;
	size_t len;
	bool full; /* a packet is there */
	uint8_t buf[NET_PACKET_MAX];
};

static void dgram_close(struct net *net)
{
	struct dgram_net *d = net->state;
	struct stat st;

	if (!d)
		return;
	if (d->local && lstat(d->local, &st) == 0 && st.st_dev == d->dev && st.st_ino == d->ino)
		unlink(d->local);
	close_fd(&d->in_fd);
	close_fd(&d->out_fd);
	free(d->local);
	free(d);
}

static int address(const char *what, const char *path, struct sockaddr_un *ret, struct err *err)
{
	if (!path || !path[0])
		return err_set(err, -EINVAL, "netdev 'dgram' needs %s=PATH", what);
	if (strlen(path) >= sizeof(ret->sun_path))
		return err_set(err, -EINVAL, "%s='%s': a socket's path has %zu bytes at most", what,
			path, sizeof(ret->sun_path) - 1);
	*ret = (struct sockaddr_un){ .sun_family = AF_UNIX };
	strcpy(ret->sun_path, path);
	return 0;
}

/* A socket file that nobody receives from any more is replaced; one that is alive is not. */
static int make_way(const struct sockaddr_un *addr, struct err *err)
{
	_cleanup_fd_ int probe = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	struct stat st;

	if (lstat(addr->sun_path, &st) < 0)
		return 0;
	if (!S_ISSOCK(st.st_mode))
		return err_set(
			err, -EEXIST, "local='%s' is there and is no socket", addr->sun_path);
	if (connect(probe, (const struct sockaddr *)addr, sizeof(*addr)) == 0 ||
		errno != ECONNREFUSED)
		return err_set(
			err, -EADDRINUSE, "local='%s': somebody receives there", addr->sun_path);
	unlink(addr->sun_path);
	return 0;
}

static int bind_local(struct dgram_net *d, const char *local, struct err *err)
{
	struct sockaddr_un addr;
	struct stat st;
	int r = address("local", local, &addr, err);

	if (!r)
		r = make_way(&addr, err);
	if (r < 0)
		return r;
	d->in_fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	/* Of the descriptor, before the file is there: it is never wider open than this. */
	if (d->in_fd < 0 || fchmod(d->in_fd, 0600) < 0 ||
		bind(d->in_fd, (struct sockaddr *)&addr, sizeof(addr)) < 0)
		return err_set(err, -errno, "local='%s': %s", local, strerror(errno));
	if (lstat(local, &st) == 0) {
		d->local = xstrdup(local);
		d->dev = st.st_dev;
		d->ino = st.st_ino;
	}
	return 0;
}

static int take_inherited(struct dgram_net *d, int fd, const char *local, struct err *err)
{
	int type = 0;
	socklen_t len = sizeof(type);

	if (fd < 0 || getsockopt(fd, SOL_SOCKET, SO_TYPE, &type, &len) < 0 || type != SOCK_DGRAM)
		return err_set(err, -EBADF,
			"local='%s': expected fd=N with a datagram socket that the process was "
			"started with",
			local);
	d->in_fd = fcntl(fd, F_DUPFD_CLOEXEC, 0);
	if (d->in_fd < 0 || fcntl(d->in_fd, F_SETFL, O_NONBLOCK) < 0)
		return err_set(err, -errno, "local='%s': %s", local, strerror(errno));
	return 0;
}

static int dgram_open(struct net *net, const struct net_config *config, struct err *err)
{
	struct dgram_net *d = xnew(struct dgram_net);
	int r, fd;

	net->state = d;
	d->in_fd = d->out_fd = -1;
	r = address("remote", config->remote, &d->remote, err);
	if (r < 0)
		return r;
	if (config->local && host_spec_fd(config->local, &fd))
		r = take_inherited(d, fd, config->local, err);
	else
		r = bind_local(d, config->local, err);
	if (r < 0)
		return r;
	d->out_fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (d->out_fd < 0)
		return err_set(err, -errno, "netdev 'dgram': %s", strerror(errno));
	net->name = xasprintf("dgram '%s'", config->remote);
	return 0;
}

static void on_event(struct loop_fd *node, uint32_t revents)
{
	struct dgram_chan *c = container_of(node, struct dgram_chan, node);

	(void)revents;
	c->chan->ready(c->chan->opaque);
}

static int dgram_chan_open(struct net_chan *chan, struct err *err)
{
	const struct dgram_net *d = chan->net->state;
	struct dgram_chan *c = xnew(struct dgram_chan);
	bool in = chan->dir == NET_IN;
	int r;

	c->chan = chan;
	c->node.fn = on_event;
	r = net_watch(chan, &c->node, in ? d->in_fd : d->out_fd, in ? EPOLLIN : EPOLLOUT, err);
	if (r < 0) {
		free(c);
		return r;
	}
	chan->state = c;
	return 0;
}

static void dgram_chan_close(struct net_chan *chan)
{
	struct dgram_chan *c = chan->state;

	loop_fd_del(&c->node);
	free(c);
}

static bool dgram_peek(struct net_chan *chan, struct net_packet *ret)
{
	struct dgram_chan *c = chan->state;
	ssize_t n;

	while (!c->full) {
		n = recv(c->node.fd, c->buf, sizeof(c->buf), MSG_TRUNC);
		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return false;
		if ((size_t)n > sizeof(c->buf)) {
			net_count_lost(chan);
			continue;
		}
		c->len = (size_t)n;
		c->full = true;
	}
	*ret = (struct net_packet){ .bytes = c->buf, .len = (uint32_t)c->len };
	return true;
}

static void dgram_next(struct net_chan *chan)
{
	((struct dgram_chan *)chan->state)->full = false;
}

static int send_once(struct dgram_net *d, const struct iovec *iov, unsigned int num_iov)
{
	struct msghdr msg = { .msg_iov = (struct iovec *)iov, .msg_iovlen = num_iov };

	if (!d->connected &&
		connect(d->out_fd, (struct sockaddr *)&d->remote, sizeof(d->remote)) < 0)
		return -errno;
	d->connected = true;
	return sendmsg(d->out_fd, &msg, MSG_NOSIGNAL) < 0 ? -errno : 0;
}

static int dgram_send_iov(struct net_chan *chan, const struct net_offload *offload,
	const struct iovec *iov, unsigned int num_iov)
{
	struct dgram_net *d = chan->net->state;
	int r = send_once(d, iov, num_iov);

	(void)offload;
	if (r == -ECONNREFUSED && d->connected) {
		/* The one that we knew is gone; its place may have another. */
		d->connected = false;
		r = send_once(d, iov, num_iov);
	}
	if (r < 0 && r != -EAGAIN && r != -EFAULT)
		d->connected = false;
	return r;
}

const struct net_ops net_ops_dgram = {
	.takes_iov = true,
	.max_pairs = 1,
	.open = dgram_open,
	.close = dgram_close,
	.chan_open = dgram_chan_open,
	.chan_close = dgram_chan_close,
	.peek = dgram_peek,
	.next = dgram_next,
	.send_iov = dgram_send_iov,
};
