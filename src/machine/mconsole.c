/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The management console's protocol, version 2: a request is magic, version, length and text; a
 * reply is error, more, length and text, in one or several packets without a number. So each
 * request is sent from a socket of its own name: a reply that comes too late finds nobody, instead
 * of answering the next request. A request that went to a kernel which then restarted is sent
 * again.
 *
 * A notification is magic, version, type, length and text. What does not have that form is ignored.
 */
#include "machine/mconsole.h"

#include <assert.h>
#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/alloc.h"
#include "base/cleanup.h"

#define MCONSOLE_MAGIC	 0xcafebabeu
#define MCONSOLE_VERSION 2

/* Datagrams taken in one go: a guest can send as many as it likes. */
#define NOTIFY_BATCH 16

/* The guest is of our own byte order. */
struct request_packet {
	uint32_t magic, version, len;
	char data[MCONSOLE_DATA_BYTES];
};

struct reply_packet {
	uint32_t err, more, len;
	char data[MCONSOLE_DATA_BYTES];
};

struct notify_packet {
	uint32_t magic, version, type, len;
	char data[MCONSOLE_DATA_BYTES];
};

enum notify_type { NOTIFY_SOCKET, NOTIFY_PANIC, NOTIFY_HANG, NOTIFY_USER };

static void send_oldest(struct mconsole *mc);

/* Text of the guest's as one printable line. */
static void printable(char *to, size_t size, const char *from, size_t len)
{
	size_t n = 0;

	for (; len && *from && n + 1 < size; from++, len--)
		to[n++] = *from >= ' ' && *from < 0x7f ? *from : ' ';
	while (n && to[n - 1] == ' ')
		n--;
	to[n] = '\0';
}

static int address(struct sockaddr_un *addr, struct err *err, const char *fmt, ...) _printf_(3, 4);

static int address(struct sockaddr_un *addr, struct err *err, const char *fmt, ...)
{
	va_list ap;
	int n;

	memset(addr, 0, sizeof(*addr));
	addr->sun_family = AF_UNIX;
	va_start(ap, fmt);
	n = vsnprintf(addr->sun_path, sizeof(addr->sun_path), fmt, ap);
	va_end(ap);
	if (n < 0 || (size_t)n >= sizeof(addr->sun_path))
		return err_set(err, -ENAMETOOLONG, "'%s...' is too long for a socket's name",
			addr->sun_path);
	return 0;
}

static int reply_address(const struct mconsole *mc, struct sockaddr_un *addr, struct err *err)
{
	return address(addr, err, "%s/reply%u", mc->dir, mc->num_sent);
}

static void close_reply(struct mconsole *mc)
{
	struct sockaddr_un addr;

	if (mc->reply.fd >= 0 && reply_address(mc, &addr, NULL) == 0)
		unlink(addr.sun_path);
	loop_fd_del(&mc->reply);
	close_fd(&mc->reply.fd);
	mc->sent = false;
}

/* The oldest request is answered; the next one has its turn. */
static void finish(struct mconsole *mc, int r, const struct err *err)
{
	struct mconsole_request *req = mc->requests;

	close_reply(mc);
	loop_timer_cancel(&mc->timeout);
	mc->requests = req->next;
	req->next = NULL;
	if (mc->requests)
		loop_timer_set(mc->loop, &mc->timeout, mc->requests->deadline_ns);
	send_oldest(mc);
	req->fn(req, r, err);
}

static void timed_out(struct loop_timer *timer)
{
	struct mconsole *mc = container_of(timer, struct mconsole, timeout);
	struct err err = { 0 };
	bool sent = mc->sent;

	err_set(&err, -ETIMEDOUT, "the guest's kernel did not answer '%s': %s",
		mc->requests->command,
		sent ? "does it wait for a device that does not answer?"
		     : "it has not come up far enough to listen");
	finish(mc, -ETIMEDOUT, &err);
}

static void reply_ready(struct loop_fd *node, uint32_t revents)
{
	struct mconsole *mc = container_of(node, struct mconsole, reply);
	struct reply_packet packet;
	char text[MCONSOLE_DATA_BYTES];
	struct err err = { 0 };
	ssize_t n;

	(void)revents;
	n = recv(node->fd, &packet, sizeof(packet), MSG_DONTWAIT);
	if (n < 0 && (errno == EAGAIN || errno == EINTR))
		return;
	if (n < (ssize_t)offsetof(struct reply_packet, data)) {
		/* The kernel went away: the deadline stands, or the next one that comes up is
		 * asked. */
		close_reply(mc);
		mc->up = false;
		return;
	}
	if (packet.more)
		return;
	if (!packet.err) {
		finish(mc, 0, NULL);
		return;
	}
	printable(text, sizeof(text), packet.data,
		MIN(packet.len, (size_t)n - offsetof(struct reply_packet, data)));
	err_set(&err, -EIO, "the guest's kernel refused '%s': %s", mc->requests->command,
		*text ? text : "no reason given");
	finish(mc, -EIO, &err);
}

/* A socket for one request and its reply; -1 where the kernel's is not there. */
static int open_reply(struct mconsole *mc)
{
	struct sockaddr_un addr;
	_cleanup_fd_ int fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);

	mc->num_sent++;
	if (fd < 0 || reply_address(mc, &addr, NULL) < 0)
		return -1;
	unlink(addr.sun_path);
	if (bind(fd, (void *)&addr, sizeof(addr)) < 0)
		return -1;
	if (connect(fd, (void *)&mc->server, sizeof(mc->server)) < 0) {
		unlink(addr.sun_path);
		return -1;
	}
	return take_fd(&fd);
}

/* Whatever does not work here may work when the kernel comes up again; else the deadline passes. */
static void send_oldest(struct mconsole *mc)
{
	struct mconsole_request *req = mc->requests;
	struct request_packet packet = { .magic = MCONSOLE_MAGIC, .version = MCONSOLE_VERSION };

	if (!req || mc->sent || !mc->up)
		return;
	packet.len = (uint32_t)strlen(req->command);
	assert(packet.len < sizeof(packet.data));
	memcpy(packet.data, req->command, packet.len);
	mc->reply.fd = open_reply(mc);
	mc->reply.fn = reply_ready;
	mc->sent = mc->reply.fd >= 0 &&
		   send(mc->reply.fd, &packet, sizeof(packet), MSG_NOSIGNAL) > 0 &&
		   loop_fd_add(mc->loop, &mc->reply, EPOLLIN, NULL) == 0;
	if (!mc->sent) {
		close_reply(mc);
		mc->up = false;
	}
}

static void notified(struct mconsole *mc, const struct notify_packet *packet, size_t bytes)
{
	char text[MCONSOLE_DATA_BYTES];

	if (bytes < offsetof(struct notify_packet, data) || packet->magic != MCONSOLE_MAGIC ||
		packet->version != MCONSOLE_VERSION)
		return;
	if (packet->type == NOTIFY_SOCKET) {
		/* Where it listens is known; what was sent before this reached an earlier kernel.
		 */
		close_reply(mc);
		mc->up = true;
		mc->booted(mc);
		send_oldest(mc);
	} else if (packet->type == NOTIFY_PANIC) {
		printable(text, sizeof(text), packet->data,
			MIN(packet->len, bytes - offsetof(struct notify_packet, data)));
		mc->panicked(mc, text);
	}
}

static void notify_ready(struct loop_fd *node, uint32_t revents)
{
	struct mconsole *mc = container_of(node, struct mconsole, notify);
	struct notify_packet packet;
	int i;

	(void)revents;
	for (i = 0; i < NOTIFY_BATCH && node->fd >= 0; i++) {
		ssize_t n = recv(node->fd, &packet, sizeof(packet), MSG_DONTWAIT);

		if (n < 0)
			return;
		notified(mc, &packet, (size_t)n);
	}
}

int mconsole_init(
	struct mconsole *mc, struct loop *loop, const char *dir, const char *umid, struct err *err)
{
	struct sockaddr_un addr;
	_cleanup_fd_ int fd = -1;
	int r;

	mc->loop = loop;
	mc->notify.fd = mc->reply.fd = -1;
	mc->timeout.fn = timed_out;
	mc->dir = xstrdup(dir);
	r = address(&addr, err, "%s/notify", dir);
	if (r == 0)
		r = address(&mc->server, err, "%s/%s/mconsole", dir, umid);
	if (r < 0)
		return r;
	fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (fd < 0 || bind(fd, (void *)&addr, sizeof(addr)) < 0)
		return err_set(err, -errno, "cannot make the socket '%s': %m", addr.sun_path);
	mc->notify.fd = fd;
	mc->notify.fn = notify_ready;
	r = loop_fd_add(loop, &mc->notify, EPOLLIN, err);
	if (r < 0) {
		mc->notify.fd = -1;
		return r;
	}
	fd = -1;
	return 0;
}

void mconsole_cancel(struct mconsole *mc, const char *reason)
{
	struct mconsole_request *req = take_ptr(mc->requests);
	struct err err = { 0 };

	err_set(&err, -ECANCELED, "%s", reason);
	close_reply(mc);
	loop_timer_cancel(&mc->timeout);
	while (req) {
		struct mconsole_request *next = take_ptr(req->next);

		req->fn(req, -ECANCELED, &err);
		req = next;
	}
}

void mconsole_drain(struct mconsole *mc)
{
	notify_ready(&mc->notify, EPOLLIN);
}

void mconsole_deinit(struct mconsole *mc, const char *reason)
{
	if (!mc->loop)
		return;
	mconsole_cancel(mc, reason);
	loop_fd_del(&mc->notify);
	close_fd(&mc->notify.fd);
	free(take_ptr(mc->dir));
	mc->loop = NULL;
}

void mconsole_send(struct mconsole *mc, struct mconsole_request *req, uint64_t timeout_ms)
{
	struct mconsole_request **at = &mc->requests;

	while (*at)
		at = &(*at)->next;
	req->next = NULL;
	req->deadline_ns = now_ns() + timeout_ms * NSEC_PER_MSEC;
	*at = req;
	if (at != &mc->requests)
		return;
	loop_timer_set(mc->loop, &mc->timeout, req->deadline_ns);
	send_oldest(mc);
}

void mconsole_restarting(struct mconsole *mc)
{
	mc->up = false;
}
