/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A client's input and output. One request at a time: while one is under way, or the client has too
 * much to read, nothing is read from it. It cannot make us wait: what it does not read is queued up
 * to a bound, and then it is dropped with one log line.
 */
#include "monitor/session.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/alloc.h"
#include "base/cleanup.h"
#include "base/log.h"
#include "base/value.h"
#include "monitor/hmp_session.h"

static size_t waiting(const struct session *s)
{
	return s->output_len - s->output_at;
}

static void unwatch(struct session *s)
{
	loop_fd_del(&s->in);
	loop_fd_del(&s->out);
	loop_timer_cancel(&s->stall);
}

void session_kill(struct session *s)
{
	if (s->dead)
		return;
	s->dead = true;
	unwatch(s);
	if (s->call)
		qapi_call_abandon(take_ptr(s->call));
	loop_work_add(s->monitor->config.loop, &s->work);
}

static void drop(struct session *s, const char *why)
{
	static struct log_limit limit;

	log_limited(&limit, LOG_LEVEL_WARN, "monitor %s: dropped a client that %s",
		s->monitor->address, why);
	session_kill(s);
}

/* Watches a descriptor, or does not; the kernel may refuse one (a regular file). */
static int watch(struct session *s, struct loop_fd *node, uint32_t events, bool on, struct err *err)
{
	if (!on)
		loop_fd_del(node);
	else if (!node->loop)
		return loop_fd_add(s->monitor->config.loop, node, events, err);
	return 0;
}

static bool is_paused(const struct session *s)
{
	return s->busy || waiting(s) > MONITOR_PAUSE_OUTPUT_BYTES;
}

/* Watches what the session's state asks for, and ends it where nothing more can come. */
static void settle(struct session *s)
{
	struct err err = { { 0 } };
	bool stuck = waiting(s) > MONITOR_PAUSE_OUTPUT_BYTES;

	if (s->dead)
		return;
	if (s->eof && !s->busy && s->input_at == s->input_len && !waiting(s)) {
		session_kill(s);
		return;
	}
	if (watch(s, &s->in, EPOLLIN, !s->eof && !is_paused(s), &err) < 0 ||
		watch(s, &s->out, EPOLLOUT, waiting(s), &err) < 0) {
		log_error("monitor %s: %s", s->monitor->address, err.msg);
		session_kill(s);
		return;
	}
	if (!stuck)
		loop_timer_cancel(&s->stall);
	else if (!s->stall.loop)
		loop_timer_set(s->monitor->config.loop, &s->stall,
			now_ns() + MONITOR_STALL_MS * NSEC_PER_MSEC);
}

static ssize_t put(struct session *s, const char *bytes, size_t len)
{
	return s->is_socket ? send(s->out.fd, bytes, len, MSG_NOSIGNAL | MSG_DONTWAIT)
			    : write(s->out.fd, bytes, len);
}

/* Sends what the client takes now. */
static void flush(struct session *s)
{
	while (!s->dead && waiting(s)) {
		ssize_t n = put(s, s->output + s->output_at, waiting(s));

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0 && errno == EAGAIN)
			break;
		if (n < 0) {
			session_kill(s);
			return;
		}
		s->output_at += (size_t)n;
		loop_timer_cancel(&s->stall);
	}
	if (!waiting(s)) {
		free(take_ptr(s->output));
		s->output_at = s->output_len = s->output_room = 0;
	}
}

static void append(struct session *s, const char *bytes, size_t len)
{
	if (s->output_at > s->output_room / 2) {
		memmove(s->output, s->output + s->output_at, waiting(s));
		s->output_len -= s->output_at;
		s->output_at = 0;
	}
	if (s->output_len + len > s->output_room) {
		s->output_room = MAX(2 * s->output_room, s->output_len + len);
		s->output = xreallocarray(s->output, s->output_room, 1);
	}
	memcpy(s->output + s->output_len, bytes, len);
	s->output_len += len;
}

void session_send(struct session *s, struct json_object *message)
{
	_cleanup_free_ char *text = NULL;
	size_t len;

	if (s->dead)
		return;
	text = value_to_text(message, &len);
	append(s, text, len);
	session_send_text(s, "\r\n", 2);
}

void session_send_text(struct session *s, const char *text, size_t len)
{
	if (s->dead)
		return;
	append(s, text, len);
	flush(s);
	if (waiting(s) > MONITOR_MAX_OUTPUT_BYTES)
		drop(s, "does not read what it is sent");
	settle(s);
}

/* Answers what was read, until a request stays under way or nothing is left. */
static void process(struct session *s)
{
	while (!s->dead && !is_paused(s) && s->input_at < s->input_len)
		s->input_at += s->monitor->protocol->feed(
			s, s->input + s->input_at, s->input_len - s->input_at);
}

static void on_readable(struct loop_fd *node, _unused_ uint32_t revents)
{
	struct session *s = container_of(node, struct session, in);
	ssize_t n;

	if (s->input_at == s->input_len) {
		n = s->is_socket ? recv(s->in.fd, s->input, sizeof(s->input), MSG_DONTWAIT)
				 : read(s->in.fd, s->input, sizeof(s->input));
		if (n < 0 && (errno == EAGAIN || errno == EINTR))
			return;
		if (n < 0) {
			session_kill(s);
			return;
		}
		s->eof = n == 0;
		s->input_at = 0;
		s->input_len = (size_t)n;
	}
	process(s);
	settle(s);
}

static void on_writable(struct loop_fd *node, _unused_ uint32_t revents)
{
	struct session *s = container_of(node, struct session, out);

	flush(s);
	process(s);
	settle(s);
}

static void on_stall(struct loop_timer *timer)
{
	drop(container_of(timer, struct session, stall), "stopped reading");
}

static void on_work(struct loop_work *work)
{
	struct session *s = container_of(work, struct session, work);

	if (s->dead) {
		session_free(s);
		return;
	}
	process(s);
	settle(s);
}

void session_continue(struct session *s)
{
	if (!s->dead)
		loop_work_add(s->monitor->config.loop, &s->work);
}

/* For the log, where somebody changes something. */
static void note_peer(struct session *s)
{
	struct ucred cred;
	socklen_t len = sizeof(cred);

	if (getsockopt(s->in.fd, SOL_SOCKET, SO_PEERCRED, &cred, &len) == 0 && cred.pid > 0)
		snprintf(s->who, sizeof(s->who), ", process %d of user %u", cred.pid, cred.uid);
}

int session_new(struct monitor *monitor, int *in_fd, int *out_fd, struct err *err)
{
	struct session *s = xnew(struct session);
	struct stat st;
	int r;

	s->monitor = monitor;
	s->in = (struct loop_fd){ .fd = take_fd(in_fd), .fn = on_readable };
	s->out = (struct loop_fd){ .fd = take_fd(out_fd), .fn = on_writable };
	s->work.fn = on_work;
	s->stall.fn = on_stall;
	s->is_socket = fstat(s->out.fd, &st) == 0 && S_ISSOCK(st.st_mode);
	note_peer(s);
	s->next = monitor->sessions;
	monitor->sessions = s;
	monitor->num_sessions++;
	r = watch(s, &s->in, EPOLLIN, true, err);
	if (r < 0) {
		session_free(s);
		return r;
	}
	monitor->protocol->greet(s);
	return 0;
}

void session_free(struct session *s)
{
	struct session **at = &s->monitor->sessions;

	flush(s);
	while (*at != s)
		at = &(*at)->next;
	*at = s->next;
	s->monitor->num_sessions--;
	unwatch(s);
	loop_work_cancel(s->monitor->config.loop, &s->work);
	if (s->call)
		qapi_call_abandon(s->call);
	close_fd(&s->in.fd);
	close_fd(&s->out.fd);
	json_object_put(s->id);
	framer_deinit(&s->framer);
	hmp_session_line_free(s->line);
	free(s->output);
	free(s);
}
