/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A unix stream socket: four bytes of length, big-endian, and the packet, as QEMU's -netdev stream
 * and socket have it. One peer at a time; without one the link is down and what is sent is lost. A
 * server waits for the next peer, a client dials again. A peer whose length nobody could mean is
 * hung up on.
 *
 * Both ways on one loop. Packets are gathered and go out once a round; a peer that does not read
 * holds the sender up as soon as that much waits.
 */
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "backends/net_int.h"
#include "base/alloc.h"
#include "base/cleanup.h"
#include "base/host_open.h"
#include "base/listen.h"

#define LENGTH_BYTES 4
#define BUF_BYTES    (4 * (LENGTH_BYTES + NET_PACKET_MAX))
#define REDIAL_MS    1000

struct stream_net {
	struct net *net;
	struct listener listener;
	char *path; /* to be dialled; NULL: an inherited socket, or a server */
	int fd; /* the peer; -1: none */
	/* Of the loop, while a channel is there: */
	struct loop *loop;
	struct net_chan *in, *out; /* NULL while closed */
	struct loop_fd node, listen_node;
	struct loop_timer redial;
	struct loop_work work;
	struct log_limit limit;
	size_t in_at, in_end; /* of in_buf: what was read and not delivered */
	size_t out_at, out_end; /* of out_buf: what waits to be written */
	uint8_t in_buf[BUF_BYTES], out_buf[BUF_BYTES];
};

static void watch_others(struct stream_net *s);

static void ready(struct net_chan *chan)
{
	if (chan)
		chan->ready(chan->opaque);
}

static void hang_up(struct stream_net *s, const char *why)
{
	if (s->fd < 0)
		return;
	log_limited(&s->limit, LOG_LEVEL_INFO, "%s: %s: %s", s->net->id, s->net->name, why);
	loop_fd_del(&s->node);
	close_fd(&s->fd);
	s->out_at = s->out_end = 0;
	net_set_link(s->net, false);
	/* Who waited for room finds that it is lost. */
	ready(s->out);
	watch_others(s);
}

/* Writes what it can. */
static void write_out(struct stream_net *s)
{
	while (s->fd >= 0 && s->out_at < s->out_end) {
		ssize_t n = send(s->fd, s->out_buf + s->out_at, s->out_end - s->out_at,
			MSG_NOSIGNAL | MSG_DONTWAIT);

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0 && errno == EAGAIN)
			return;
		if (n < 0) {
			hang_up(s, strerror(errno));
			return;
		}
		s->out_at += (size_t)n;
	}
	s->out_at = s->out_end = 0;
}

static void on_work(struct loop_work *work)
{
	write_out(container_of(work, struct stream_net, work));
}

static bool nothing_left(int fd)
{
	char byte;

	return recv(fd, &byte, 1, MSG_PEEK | MSG_DONTWAIT) <= 0;
}

static void on_peer(struct loop_fd *node, uint32_t revents)
{
	struct stream_net *s = container_of(node, struct stream_net, node);

	if (revents & EPOLLOUT && s->out_end) {
		write_out(s);
		ready(s->out);
	}
	/* What it said before it went is still read; its end is found then, or here. */
	if (revents & (EPOLLHUP | EPOLLRDHUP | EPOLLERR) && s->fd >= 0 &&
		(!s->in || nothing_left(s->fd)))
		hang_up(s, "the peer has gone");
	else if (revents & (EPOLLIN | EPOLLHUP | EPOLLERR | EPOLLRDHUP))
		ready(s->in);
}

static void watch_peer(struct stream_net *s)
{
	struct err err = { 0 };

	if (!s->loop || s->fd < 0 || s->node.loop)
		return;
	s->node.fd = s->fd;
	if (loop_fd_add(s->loop, &s->node, EPOLLIN | EPOLLOUT | EPOLLRDHUP | EPOLLET, &err) < 0)
		hang_up(s, err.msg);
}

static void take_peer(struct stream_net *s, int fd)
{
	s->fd = fd;
	s->in_at = s->in_end = s->out_at = s->out_end = 0;
	loop_fd_del(&s->listen_node);
	watch_peer(s);
	if (s->fd >= 0)
		net_set_link(s->net, true);
}

static void on_connection(struct loop_fd *node, uint32_t revents)
{
	struct stream_net *s = container_of(node, struct stream_net, listen_node);
	int fd = listen_accept(&s->listener);

	(void)revents;
	if (fd >= 0) {
		take_peer(s, fd);
	} else if (fd != -EAGAIN) {
		log_limited(&s->limit, LOG_LEVEL_WARN, "%s: %s: cannot accept: %s", s->net->id,
			s->net->name, strerror(-fd));
		/* For want of descriptors, say: not at once again. */
		loop_fd_del(node);
		loop_timer_set(s->loop, &s->redial, now_ns() + REDIAL_MS * NSEC_PER_MSEC);
	}
}

/* Without a peer: for the next one. */
static void watch_others(struct stream_net *s)
{
	struct err err = { 0 };

	if (!s->loop || s->fd >= 0)
		return;
	if (s->listener.fd >= 0 && !s->listen_node.loop) {
		s->listen_node.fd = s->listener.fd;
		if (loop_fd_add(s->loop, &s->listen_node, EPOLLIN, &err) < 0)
			log_limited(&s->limit, LOG_LEVEL_ERROR, "%s: %s", s->net->id, err.msg);
	} else if (s->path && !s->redial.loop) {
		loop_timer_set(s->loop, &s->redial, now_ns() + REDIAL_MS * NSEC_PER_MSEC);
	}
}

static void on_redial(struct loop_timer *timer)
{
	struct stream_net *s = container_of(timer, struct stream_net, redial);
	struct err err = { 0 };
	int fd = s->path && s->fd < 0 ? host_connect_unix(s->path, &err) : -1;

	if (fd >= 0)
		take_peer(s, fd);
	else
		watch_others(s);
}

/* --- life --- */

static int open_server(struct stream_net *s, const char *path, struct err *err)
{
	struct listen_options opts = LISTEN_OPTIONS_INIT;
	int r = listen_parse(&opts, path, NULL, NULL, err);

	return r < 0 ? r : listen_unix(&s->listener, &opts, err);
}

static int stream_open(struct net *net, const struct net_config *config, struct err *err)
{
	struct stream_net *s = xnew(struct stream_net);
	int fd;

	net->state = s;
	s->net = net;
	s->fd = -1;
	s->listener = (struct listener)LISTENER_INIT;
	s->node.fn = on_peer;
	s->listen_node.fn = on_connection;
	s->redial.fn = on_redial;
	s->work.fn = on_work;
	if (!config->path)
		return err_set(err, -EINVAL, "netdev 'stream' needs path=SOCKET");
	net->name = xasprintf("stream '%s'", config->path);
	if (config->server) {
		atomic_store(&net->link_up, false);
		return open_server(s, config->path, err);
	}
	s->fd = host_connect_unix(config->path, err);
	if (s->fd < 0)
		return s->fd;
	if (!host_spec_fd(config->path, &fd))
		s->path = xstrdup(config->path);
	return 0;
}

static void stream_close(struct net *net)
{
	struct stream_net *s = net->state;

	if (!s)
		return;
	close_fd(&s->fd);
	listen_close(&s->listener);
	free(s->path);
	free(s);
}

static int stream_chan_open(struct net_chan *chan, struct err *err)
{
	struct stream_net *s = chan->net->state;

	(void)err;
	if (!s->loop) {
		s->loop = chan->loop;
		watch_peer(s);
		watch_others(s);
	}
	*(chan->dir == NET_IN ? &s->in : &s->out) = chan;
	chan->state = s;
	return 0;
}

static void stream_chan_close(struct net_chan *chan)
{
	struct stream_net *s = chan->state;

	*(chan->dir == NET_IN ? &s->in : &s->out) = NULL;
	if (s->in || s->out)
		return;
	write_out(s);
	loop_fd_del(&s->node);
	loop_fd_del(&s->listen_node);
	loop_timer_cancel(&s->redial);
	loop_work_cancel(s->loop, &s->work);
	s->loop = NULL;
}

/* --- packets --- */

/* More bytes into in_buf; false where there are none now. */
static bool read_in(struct stream_net *s)
{
	ssize_t n;

	if (s->fd < 0)
		return false;
	memmove(s->in_buf, s->in_buf + s->in_at, s->in_end - s->in_at);
	s->in_end -= s->in_at;
	s->in_at = 0;
	do
		n = recv(s->fd, s->in_buf + s->in_end, sizeof(s->in_buf) - s->in_end, MSG_DONTWAIT);
	while (n < 0 && errno == EINTR);
	if (n < 0 && errno == EAGAIN)
		return false;
	if (n <= 0) {
		hang_up(s, n ? strerror(errno) : "the peer has gone");
		return false;
	}
	s->in_end += (size_t)n;
	return true;
}

static bool stream_peek(struct net_chan *chan, struct net_packet *ret)
{
	struct stream_net *s = chan->state;
	size_t have;
	uint32_t len;

	for (;;) {
		have = s->in_end - s->in_at;
		if (have >= LENGTH_BYTES) {
			memcpy(&len, s->in_buf + s->in_at, LENGTH_BYTES);
			len = ntohl(len);
			if (len > NET_PACKET_MAX) {
				s->in_at = s->in_end = 0;
				hang_up(s, "the peer sends a packet that is longer than any");
				return false;
			}
			if (have - LENGTH_BYTES >= len)
				break;
		}
		if (!read_in(s))
			return false;
	}
	*ret = (struct net_packet){ .bytes = s->in_buf + s->in_at + LENGTH_BYTES, .len = len };
	return true;
}

static void stream_next(struct net_chan *chan)
{
	struct stream_net *s = chan->state;
	uint32_t len;

	memcpy(&len, s->in_buf + s->in_at, LENGTH_BYTES);
	s->in_at += LENGTH_BYTES + ntohl(len);
}

static void *stream_room(struct net_chan *chan, uint32_t len)
{
	struct stream_net *s = chan->state;

	if (s->out_end + LENGTH_BYTES + len > sizeof(s->out_buf))
		write_out(s);
	/* What waits is moved only where that helps. */
	if (s->out_end + LENGTH_BYTES + len > sizeof(s->out_buf) && s->out_at) {
		memmove(s->out_buf, s->out_buf + s->out_at, s->out_end - s->out_at);
		s->out_end -= s->out_at;
		s->out_at = 0;
	}
	if (s->out_end + LENGTH_BYTES + len > sizeof(s->out_buf))
		return NULL;
	return s->out_buf + s->out_end + LENGTH_BYTES;
}

static void stream_send(struct net_chan *chan, const struct net_offload *offload, uint32_t len)
{
	struct stream_net *s = chan->state;
	uint32_t wire = htonl(len);

	(void)offload;
	if (s->fd < 0) {
		net_count_lost(chan);
		return;
	}
	memcpy(s->out_buf + s->out_end, &wire, LENGTH_BYTES);
	s->out_end += LENGTH_BYTES + len;
	loop_work_add(s->loop, &s->work);
}

const struct net_ops net_ops_stream = {
	.one_loop = true,
	.links = true,
	.max_pairs = 1,
	.open = stream_open,
	.close = stream_close,
	.chan_open = stream_chan_open,
	.chan_close = stream_chan_close,
	.peek = stream_peek,
	.next = stream_next,
	.room = stream_room,
	.send = stream_send,
};
