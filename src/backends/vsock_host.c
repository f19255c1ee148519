/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Unix sockets for a guest's. A program that connects has to say within some seconds, in one line,
 * which port it wants; one that says anything else is hung up on. Refuses paths that leave no room
 * for a port behind them.
 */
#include "backends/vsock_host.h"

#include <errno.h>
#include <inttypes.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "base/alloc.h"
#include "base/cleanup.h"
#include "base/host_open.h"
#include "base/listen.h"
#include "base/log.h"

#define SEQPACKET_SUFFIX ".seqpacket"
#define PORT_SUFFIX	 "_4294967295"
/* How long until we accept again, where the kernel gave us no descriptor. */
#define ACCEPT_AGAIN_MS 500

enum { STREAM, SEQPACKET, NUM_KINDS };

/* Who has connected and not said yet what it wants. */
struct asking {
	struct vsock_host *host;
	int fd; /* -1: free */
	bool seqpacket;
	struct loop_fd node;
	struct loop_timer timer;
	char line[VSOCK_LINE_BYTES];
	size_t num;
};

struct door {
	struct vsock_host *host;
	struct listener listener;
	struct loop_fd node;
};

struct vsock_host {
	char *path;
	struct door doors[NUM_KINDS];
	struct asking asking[VSOCK_ASKING_MAX];
	struct loop_timer accept_again;
	struct loop *loop; /* NULL: detached */
	const struct vsock_host_ops *ops;
	void *opaque;
	struct log_limit limit;
};

/* --- who asks --- */

static void end_asking(struct asking *a)
{
	loop_fd_del(&a->node);
	loop_timer_cancel(&a->timer);
	if (a->fd >= 0)
		close(a->fd);
	a->fd = -1;
}

/* "CONNECT N", nothing before or behind it. */
static bool parse_line(const char *line, uint32_t *ret)
{
	static const char word[] = "CONNECT ";
	unsigned long long n;
	char *end;

	if (strncmp(line, word, sizeof(word) - 1) != 0)
		return false;
	line += sizeof(word) - 1;
	if (*line < '0' || *line > '9')
		return false;
	errno = 0;
	n = strtoull(line, &end, 10);
	if (*end || errno || n > UINT32_MAX)
		return false;
	*ret = (uint32_t)n;
	return true;
}

static void refuse_line(struct asking *a)
{
	log_limited(&a->host->limit, LOG_LEVEL_WARN,
		"a program on '%s' is hung up on: expected 'CONNECT PORT' and a newline",
		a->host->path);
	end_asking(a);
}

static void on_line(struct asking *a)
{
	struct vsock_host *host = a->host;
	bool seqpacket = a->seqpacket;
	_cleanup_fd_ int fd = -1;
	uint32_t port;

	if (!parse_line(a->line, &port)) {
		refuse_line(a);
		return;
	}
	fd = take_fd(&a->fd);
	end_asking(a);
	host->ops->asked(host->opaque, &fd, port, seqpacket);
}

/*
 * A stream is read byte by byte: what comes behind the line is the connection's. A message is the
 * line, with a newline or without.
 */
static void on_asking(struct loop_fd *node, _unused_ uint32_t revents)
{
	struct asking *a = container_of(node, struct asking, node);

	for (;;) {
		size_t room = sizeof(a->line) - 1 - a->num;
		ssize_t n =
			room ? recv(a->fd, a->line + a->num, a->seqpacket ? room : 1, MSG_DONTWAIT)
			     : 0;

		if (n < 0 && (errno == EAGAIN || errno == EINTR))
			return;
		if (n <= 0) {
			if (!room)
				refuse_line(a);
			else
				end_asking(a);
			return;
		}
		a->num += (size_t)n;
		if (!a->seqpacket && a->line[a->num - 1] != '\n')
			continue;
		if (a->line[a->num - 1] == '\n')
			a->num--;
		a->line[a->num] = '\0';
		on_line(a);
		return;
	}
}

static void on_asking_timer(struct loop_timer *timer)
{
	end_asking(container_of(timer, struct asking, timer));
}

static void begin_asking(struct vsock_host *host, int fd, bool seqpacket)
{
	struct asking *a = NULL;

	for (size_t i = 0; i < VSOCK_ASKING_MAX && !a; i++)
		if (host->asking[i].fd < 0)
			a = &host->asking[i];
	if (!a) {
		log_limited(&host->limit, LOG_LEVEL_WARN,
			"a program on '%s' is turned away: %d others have not said yet which port "
			"they want",
			host->path, VSOCK_ASKING_MAX);
		close(fd);
		return;
	}
	*a = (struct asking){ .host = host, .fd = fd, .seqpacket = seqpacket };
	a->node.fd = fd;
	a->node.fn = on_asking;
	a->timer.fn = on_asking_timer;
	if (loop_fd_add(host->loop, &a->node, EPOLLIN, NULL) < 0) {
		end_asking(a);
		return;
	}
	loop_timer_set(host->loop, &a->timer, now_ns() + VSOCK_ASKING_MS * NSEC_PER_MSEC);
}

static void on_accept_again(struct loop_timer *timer)
{
	struct vsock_host *host = container_of(timer, struct vsock_host, accept_again);

	for (size_t i = 0; i < NUM_KINDS; i++)
		loop_fd_events(&host->doors[i].node, EPOLLIN);
}

static void on_accept(struct loop_fd *node, _unused_ uint32_t revents)
{
	struct door *door = container_of(node, struct door, node);
	struct vsock_host *host = door->host;
	int fd = listen_accept(&door->listener);

	if (fd >= 0) {
		begin_asking(host, fd, door == &host->doors[SEQPACKET]);
		return;
	}
	if (fd == -EAGAIN)
		return;
	log_limited(&host->limit, LOG_LEVEL_WARN, "cannot accept a program on '%s': %s", host->path,
		strerror(-fd));
	loop_fd_events(node, 0);
	loop_timer_set(host->loop, &host->accept_again, now_ns() + ACCEPT_AGAIN_MS * NSEC_PER_MSEC);
}

/* --- the host --- */

static int open_door(struct vsock_host *host, unsigned int kind, const char *mode,
	const char *group, struct err *err)
{
	_cleanup_free_ char *path =
		xasprintf("%s%s", host->path, kind == SEQPACKET ? SEQPACKET_SUFFIX : "");
	struct listen_options opts = LISTEN_OPTIONS_INIT;
	struct door *door = &host->doors[kind];
	struct err why = { 0 };
	int r = listen_parse(&opts, path, mode, group, &why);

	/* It begins with mode=, which is path-mode= here. */
	if (r < 0)
		return err_set(err, r, "path-%s", why.msg);
	opts.seqpacket = kind == SEQPACKET;
	r = listen_unix(&door->listener, &opts, err);
	door->host = host;
	door->node.fd = door->listener.fd;
	door->node.fn = on_accept;
	return r;
}

int vsock_host_open(const char *path, const char *mode, const char *group, struct vsock_host **ret,
	struct err *err)
{
	const size_t room = sizeof(((struct sockaddr_un *)NULL)->sun_path) -
			    sizeof(SEQPACKET_SUFFIX PORT_SUFFIX);
	struct vsock_host *host;
	int fd, r = 0;

	if (host_spec_fd(path, &fd))
		return err_set(err, -EINVAL,
			"path=%s: expected a path, since the guest's ports are files beside it",
			path);
	if (strlen(path) > room)
		return err_set(err, -ENAMETOOLONG,
			"path=%s has %zu bytes: with a port behind it, expected %zu at most", path,
			strlen(path), room);
	host = xnew(struct vsock_host);
	host->path = xstrdup(path);
	host->accept_again.fn = on_accept_again;
	for (size_t i = 0; i < VSOCK_ASKING_MAX; i++)
		host->asking[i].fd = -1;
	for (unsigned int i = 0; i < NUM_KINDS; i++)
		host->doors[i].listener = (struct listener)LISTENER_INIT;
	for (unsigned int i = 0; i < NUM_KINDS && !r; i++)
		r = open_door(host, i, mode, group, err);
	if (r < 0) {
		vsock_host_free(host);
		return r;
	}
	*ret = host;
	return 0;
}

void vsock_host_free(struct vsock_host *host)
{
	if (!host)
		return;
	for (size_t i = 0; i < NUM_KINDS; i++)
		listen_close(&host->doors[i].listener);
	free(host->path);
	free(host);
}

int vsock_host_attach(struct vsock_host *host, struct loop *loop, const struct vsock_host_ops *ops,
	void *opaque, struct err *err)
{
	int r = 0;

	host->loop = loop;
	host->ops = ops;
	host->opaque = opaque;
	for (size_t i = 0; i < NUM_KINDS && !r; i++)
		r = loop_fd_add(loop, &host->doors[i].node, EPOLLIN, err);
	if (r < 0)
		vsock_host_detach(host);
	return r;
}

void vsock_host_detach(struct vsock_host *host)
{
	loop_timer_cancel(&host->accept_again);
	for (size_t i = 0; i < NUM_KINDS; i++)
		loop_fd_del(&host->doors[i].node);
	for (size_t i = 0; i < VSOCK_ASKING_MAX; i++)
		end_asking(&host->asking[i]);
	host->loop = NULL;
}

int vsock_host_dial(struct vsock_host *host, uint32_t port, bool seqpacket)
{
	_cleanup_free_ char *path =
		xasprintf("%s%s_%" PRIu32, host->path, seqpacket ? SEQPACKET_SUFFIX : "", port);
	struct err ignored;

	return seqpacket ? host_connect_seqpacket(path, &ignored)
			 : host_connect_unix(path, &ignored);
}

/* --- connections --- */

void vsock_peer_open(struct vsock_peer *peer, int fd, void (*fn)(struct loop_fd *, uint32_t))
{
	*peer = (struct vsock_peer){ .fd = fd };
	peer->node.fd = fd;
	peer->node.fn = fn;
}

int vsock_peer_attach(struct vsock_peer *peer, struct loop *loop, struct err *err)
{
	/* With no event wanted a hang-up would still be told, again and again. */
	if (!peer->events || peer->node.loop)
		return 0;
	return loop_fd_add(loop, &peer->node, peer->events, err);
}

void vsock_peer_detach(struct vsock_peer *peer)
{
	loop_fd_del(&peer->node);
}

void vsock_peer_want(struct vsock_peer *peer, struct loop *loop, uint32_t events)
{
	struct err ignored;

	if (peer->fd < 0 || events == peer->events)
		return;
	peer->events = events;
	if (!events)
		loop_fd_del(&peer->node);
	else if (peer->node.loop)
		loop_fd_events(&peer->node, events);
	else if (loop && loop_fd_add(loop, &peer->node, events, &ignored) < 0)
		peer->events = 0;
}

void vsock_peer_ok(struct vsock_peer *peer, uint32_t port)
{
	char line[VSOCK_LINE_BYTES];
	int n = snprintf(line, sizeof(line), "OK %" PRIu32 "\n", port);

	/* The first bytes of a new connection fit; to whoever has gone there is nothing to say. */
	vsock_peer_write(peer, line, (size_t)n);
}

ssize_t vsock_peer_read(struct vsock_peer *peer, void *buf, size_t len)
{
	ssize_t n;

	do
		n = recv(peer->fd, buf, len, MSG_DONTWAIT);
	while (n < 0 && errno == EINTR);
	return n < 0 ? -errno : n;
}

ssize_t vsock_peer_peek_len(struct vsock_peer *peer)
{
	ssize_t n;
	char byte;

	do
		n = recv(peer->fd, &byte, 1, MSG_DONTWAIT | MSG_PEEK | MSG_TRUNC);
	while (n < 0 && errno == EINTR);
	return n < 0 ? -errno : n;
}

ssize_t vsock_peer_write(struct vsock_peer *peer, const void *buf, size_t len)
{
	ssize_t n;

	do
		n = send(peer->fd, buf, len, MSG_DONTWAIT | MSG_NOSIGNAL);
	while (n < 0 && errno == EINTR);
	return n < 0 ? -errno : n;
}

void vsock_peer_shutdown(struct vsock_peer *peer, int how)
{
	if (peer->fd >= 0)
		shutdown(peer->fd, how);
}

bool vsock_peer_hung_up(const struct vsock_peer *peer)
{
	struct pollfd p = { .fd = peer->fd };

	return peer->fd < 0 || (poll(&p, 1, 0) > 0 && (p.revents & (POLLHUP | POLLERR)));
}

void vsock_peer_close(struct vsock_peer *peer)
{
	loop_fd_del(&peer->node);
	if (peer->fd >= 0)
		close(peer->fd);
	peer->fd = -1;
	peer->events = 0;
}
