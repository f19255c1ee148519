/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * HTTP/1.1 as far as a scraper needs it: a request line, headers that are passed over, an answer
 * with its length, and the end of the connection. Refused: methods but GET and HEAD (405), paths
 * but /metrics (404), requests that are no HTTP (400), longer than METRICS_MAX_REQUEST_BYTES (431)
 * or with a body (413). Who takes too long is dropped without a word.
 */
#include "monitor/metrics.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/alloc.h"
#include "base/cleanup.h"
#include "base/listen.h"
#include "base/log.h"

#define RETRY_MS 500

struct metrics_client {
	struct metrics_server *server; /* NULL: this place is free */
	struct loop_fd io;
	struct loop_timer timer;
	char *in;
	size_t in_len;
	char *out; /* the answer; NULL: the request is not complete */
	size_t out_at, out_len;
};

struct metrics_server {
	struct loop *loop;
	struct listener listener;
	struct loop_fd listening;
	struct loop_timer retry;
	void (*write)(void *opaque, FILE *out);
	void *opaque;
	struct metrics_client clients[METRICS_MAX_CLIENTS];
};

static void listen_again(struct metrics_server *server)
{
	if (server->listening.loop)
		return;
	if (loop_fd_add(server->loop, &server->listening, EPOLLIN, NULL) < 0)
		loop_timer_set(server->loop, &server->retry, now_ns() + RETRY_MS * NSEC_PER_MSEC);
}

static void client_end(struct metrics_client *c)
{
	struct metrics_server *server = c->server;

	if (!server)
		return;
	loop_fd_del(&c->io);
	loop_timer_cancel(&c->timer);
	close(c->io.fd);
	free(c->in);
	free(c->out);
	*c = (struct metrics_client){ 0 };
	listen_again(server);
}

static void on_timeout(struct loop_timer *timer)
{
	client_end(container_of(timer, struct metrics_client, timer));
}

/* --- answering --- */

static const struct answer {
	int code;
	const char *reason;
} answers[] = {
	{ 200, "OK" },
	{ 400, "Bad Request" },
	{ 404, "Not Found" },
	{ 405, "Method Not Allowed" },
	{ 413, "Content Too Large" },
	{ 431, "Request Header Fields Too Large" },
};

static const char *reason_of(int code)
{
	for (size_t i = 0; i < ARRAY_SIZE(answers); i++)
		if (answers[i].code == code)
			return answers[i].reason;
	return "";
}

static void make_body(struct metrics_client *c, int code, char **ret, size_t *ret_len)
{
	FILE *out = open_memstream(ret, ret_len);

	if (!out)
		abort();
	if (code == 200)
		c->server->write(c->server->opaque, out);
	else
		fprintf(out, "%d %s\n", code, reason_of(code));
	fclose(out);
}

static void answer(struct metrics_client *c, int code, bool with_body)
{
	_cleanup_free_ char *body = NULL;
	size_t body_len = 0;
	FILE *out;

	make_body(c, code, &body, &body_len);
	out = open_memstream(&c->out, &c->out_len);
	if (!out)
		abort();
	fprintf(out,
		"HTTP/1.1 %d %s\r\n"
		"Content-Type: %s\r\n"
		"Content-Length: %zu\r\n"
		"%s"
		"Connection: close\r\n"
		"\r\n",
		code, reason_of(code),
		code == 200 ? "application/openmetrics-text; version=1.0.0; charset=utf-8"
			    : "text/plain; charset=utf-8",
		body_len, code == 405 ? "Allow: GET, HEAD\r\n" : "");
	if (with_body)
		fwrite(body, 1, body_len, out);
	fclose(out);
	loop_fd_events(&c->io, EPOLLOUT);
}

/* Is there a header of that name with anything but 0 in it? The text ends with an empty line. */
static bool has_body(const char *headers)
{
	static const char *const names[] = { "\ncontent-length:", "\ntransfer-encoding:" };

	for (size_t i = 0; i < ARRAY_SIZE(names); i++) {
		const char *at = strcasestr(headers, names[i]);

		if (!at)
			continue;
		at += strlen(names[i]);
		at += strspn(at, " \t");
		if (*at != '0' || strspn(at, "0") != strcspn(at, " \t\r\n"))
			return true;
	}
	return false;
}

/* "GET /metrics HTTP/1.1": what to answer. */
static int judge(char *request, bool *ret_head)
{
	char *method = request, *path, *version, *end = strpbrk(request, "\r\n");
	bool body;

	/* Before the line is cut off. */
	body = has_body(request);
	*end = '\0';
	path = strchr(method, ' ');
	version = path ? strchr(path + 1, ' ') : NULL;
	*ret_head = false;
	if (!version || strncmp(version + 1, "HTTP/1.", 7) != 0 || path[1] != '/')
		return 400;
	*path++ = *version = '\0';
	*ret_head = !strcmp(method, "HEAD");
	if (strcmp(method, "GET") != 0 && !*ret_head)
		return 405;
	path[strcspn(path, "?")] = '\0';
	if (strcmp(path, "/metrics") != 0)
		return 404;
	return body ? 413 : 200;
}

static void look_at_request(struct metrics_client *c)
{
	bool head = false;
	int code;

	c->in[c->in_len] = '\0';
	/* A zero byte would hide what stands behind it. */
	if (memchr(c->in, '\0', c->in_len)) {
		answer(c, 400, true);
	} else if (strstr(c->in, "\r\n\r\n") || strstr(c->in, "\n\n")) {
		code = judge(c->in, &head);
		answer(c, code, !head);
	} else if (c->in_len == METRICS_MAX_REQUEST_BYTES) {
		answer(c, 431, true);
	}
}

/* --- bytes --- */

static void read_some(struct metrics_client *c)
{
	ssize_t n = recv(
		c->io.fd, c->in + c->in_len, METRICS_MAX_REQUEST_BYTES - c->in_len, MSG_DONTWAIT);

	if (n < 0 && (errno == EAGAIN || errno == EINTR))
		return;
	if (n <= 0) {
		client_end(c);
		return;
	}
	c->in_len += (size_t)n;
	look_at_request(c);
}

static void write_some(struct metrics_client *c)
{
	ssize_t n = send(
		c->io.fd, c->out + c->out_at, c->out_len - c->out_at, MSG_DONTWAIT | MSG_NOSIGNAL);

	if (n < 0 && (errno == EAGAIN || errno == EINTR))
		return;
	if (n > 0)
		c->out_at += (size_t)n;
	if (n < 0 || c->out_at == c->out_len) {
		/* Not with what it sent unread: that would take back the answer. */
		while (n >= 0 && recv(c->io.fd, c->in, METRICS_MAX_REQUEST_BYTES, MSG_DONTWAIT) ==
					 METRICS_MAX_REQUEST_BYTES)
			n = -1;
		client_end(c);
	}
}

static void on_io(struct loop_fd *node, uint32_t revents)
{
	struct metrics_client *c = container_of(node, struct metrics_client, io);

	if (c->out)
		write_some(c);
	else if (revents & (EPOLLIN | EPOLLHUP | EPOLLERR))
		read_some(c);
}

static void on_client(struct loop_fd *node, _unused_ uint32_t revents)
{
	struct metrics_server *server = container_of(node, struct metrics_server, listening);
	struct metrics_client *c = NULL;
	int fd;

	for (size_t i = 0; i < METRICS_MAX_CLIENTS && !c; i++)
		if (!server->clients[i].server)
			c = &server->clients[i];
	if (!c) {
		/* Until one of them ends. */
		loop_fd_del(node);
		return;
	}
	fd = listen_accept(&server->listener);
	if (fd == -EAGAIN)
		return;
	if (fd < 0) {
		loop_fd_del(node);
		loop_timer_set(server->loop, &server->retry, now_ns() + RETRY_MS * NSEC_PER_MSEC);
		return;
	}
	c->server = server;
	c->in = xcalloc(METRICS_MAX_REQUEST_BYTES + 1, 1);
	c->io = (struct loop_fd){ .fd = fd, .fn = on_io };
	c->timer.fn = on_timeout;
	loop_timer_set(server->loop, &c->timer, now_ns() + METRICS_CLIENT_MS * NSEC_PER_MSEC);
	if (loop_fd_add(server->loop, &c->io, EPOLLIN, NULL) < 0)
		client_end(c);
}

static void on_retry(struct loop_timer *timer)
{
	listen_again(container_of(timer, struct metrics_server, retry));
}

int metrics_open(struct loop *loop, const char *address, void (*write)(void *opaque, FILE *out),
	void *opaque, struct metrics_server **ret, struct err *err)
{
	struct metrics_server *server = xnew(struct metrics_server);
	struct listen_options options = LISTEN_OPTIONS_INIT;
	int r;

	server->loop = loop;
	server->listener = (struct listener)LISTENER_INIT;
	server->write = write;
	server->opaque = opaque;
	server->retry.fn = on_retry;
	if (!strncmp(address, "unix:", 5)) {
		options.path = address + 5;
		r = listen_unix(&server->listener, &options, err);
	} else {
		r = listen_tcp(&server->listener, address, err);
	}
	server->listening = (struct loop_fd){ .fd = server->listener.fd, .fn = on_client };
	if (!r)
		r = loop_fd_add(loop, &server->listening, EPOLLIN, err);
	if (r < 0) {
		metrics_free(server);
		return r;
	}
	*ret = server;
	return 0;
}

void metrics_free(struct metrics_server *server)
{
	if (!server)
		return;
	for (size_t i = 0; i < METRICS_MAX_CLIENTS; i++)
		client_end(&server->clients[i]);
	loop_fd_del(&server->listening);
	loop_timer_cancel(&server->retry);
	listen_close(&server->listener);
	free(server);
}

const char *metrics_address(const struct metrics_server *server)
{
	return server->listener.name;
}
