/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Where clients come from, and events to all of them. Turns clients away above
 * MONITOR_MAX_SESSIONS. Where the process has no descriptor left, clients wait for a moment instead
 * of keeping the loop busy.
 */
#include "monitor/monitor.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/alloc.h"
#include "base/cleanup.h"
#include "base/log.h"
#include "base/value.h"
#include "monitor/hmp_session.h"
#include "monitor/request.h"
#include "monitor/session.h"

/* How long new clients wait after the kernel gave us no descriptor for one. */
#define RETRY_MS 500

static struct monitor *new_monitor(const struct monitor_config *config)
{
	struct monitor *m = xnew(struct monitor);

	m->config = *config;
	m->protocol = config->human ? &hmp_protocol : &request_protocol;
	m->handlers = *config->handlers;
	request_own_handlers(&m->handlers);
	m->listener = (struct listener)LISTENER_INIT;
	return m;
}

static void on_retry(struct loop_timer *timer)
{
	struct monitor *m = container_of(timer, struct monitor, retry);

	if (loop_fd_add(m->config.loop, &m->listening, EPOLLIN, NULL) < 0)
		loop_timer_set(m->config.loop, timer, now_ns() + RETRY_MS * NSEC_PER_MSEC);
}

static void accept_one(struct monitor *m, int fd)
{
	static struct log_limit limit;
	_cleanup_fd_ int in = fd, out = -1;
	struct err err = { { 0 } };

	if (m->num_sessions >= MONITOR_MAX_SESSIONS) {
		log_limited(&limit, LOG_LEVEL_WARN,
			"monitor %s: turned a client away, %d are connected already", m->address,
			MONITOR_MAX_SESSIONS);
		return;
	}
	out = fcntl(in, F_DUPFD_CLOEXEC, 0);
	if (out < 0 || session_new(m, &in, &out, &err) < 0)
		log_limited(&limit, LOG_LEVEL_WARN, "monitor %s: cannot serve a client: %s",
			m->address, out < 0 ? strerror(errno) : err.msg);
}

static void on_client(struct loop_fd *node, _unused_ uint32_t revents)
{
	static struct log_limit limit;
	struct monitor *m = container_of(node, struct monitor, listening);
	int fd = listen_accept(&m->listener);

	if (fd >= 0) {
		accept_one(m, fd);
	} else if (fd != -EAGAIN) {
		log_limited(&limit, LOG_LEVEL_WARN, "monitor %s: cannot accept a client: %s",
			m->address, strerror(-fd));
		loop_fd_del(node);
		loop_timer_set(m->config.loop, &m->retry, now_ns() + RETRY_MS * NSEC_PER_MSEC);
	}
}

struct monitor *monitor_open_listener(
	const struct monitor_config *config, struct listener *listener, struct err *err)
{
	struct monitor *m = new_monitor(config);

	m->listener = *listener;
	*listener = (struct listener)LISTENER_INIT;
	m->address = xstrdup(m->listener.name);
	m->is_tcp = m->listener.port != 0;
	m->listening = (struct loop_fd){ .fd = m->listener.fd, .fn = on_client };
	m->retry.fn = on_retry;
	if (loop_fd_add(config->loop, &m->listening, EPOLLIN, err) == 0)
		return m;
	monitor_free(m);
	return NULL;
}

/*
 * A descriptor of our own that does not block. A second open file, since the mode of the first one
 * is shared with whoever started us; a socket has none, there each call says that it does not wait.
 */
static int open_own(int fd, int flags, const char *what, struct err *err)
{
	char path[40];
	struct stat st;
	int own;

	if (fstat(fd, &st) < 0)
		return err_set(err, -errno, "the monitor's %s (fd %d) is not open", what, fd);
	if (S_ISSOCK(st.st_mode)) {
		own = fcntl(fd, F_DUPFD_CLOEXEC, 0);
	} else {
		snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
		own = open(path, flags | O_NONBLOCK | O_CLOEXEC | O_NOCTTY);
	}
	if (own < 0)
		return err_set(err, -errno, "cannot use fd %d as the monitor's %s: %s", fd, what,
			strerror(errno));
	return own;
}

int monitor_open_fds(const struct monitor_config *config, int in_fd, int out_fd,
	struct monitor **ret, struct err *err)
{
	_cleanup_fd_ int in = open_own(in_fd, O_RDONLY, "input", err);
	_cleanup_fd_ int out = in < 0 ? -1 : open_own(out_fd, O_WRONLY, "output", err);
	struct monitor *m;
	int r;

	if (in < 0 || out < 0)
		return in < 0 ? in : out;
	m = new_monitor(config);
	m->address = xstrdup("stdio");
	r = session_new(m, &in, &out, err);
	if (r < 0) {
		monitor_free(m);
		return err_prefix(
			err, r, "the monitor's input must be a terminal, a pipe or a socket");
	}
	*ret = m;
	return 0;
}

/* "PATH,mode=0660,group=kvm" or "fd=5" into what listen_unix() takes. @tree keeps the strings. */
static int parse_unix(
	const char *text, struct listen_options *opts, struct json_object **tree, struct err *err)
{
	static const char *const known[] = { "path", "fd", "mode", "group" };
	const char *mode = NULL;
	uint64_t fd = 0;
	char *end;
	int r;

	r = value_parse_keyval(text, "path", tree, err);
	if (r == 0)
		r = value_check_known(*tree, "unix:", known, ARRAY_SIZE(known), err);
	if (r == 0 && (r = value_get_str(*tree, "path", &opts->path, err)) >= 0 &&
		(r = value_get_str(*tree, "group", &opts->group, err)) >= 0 &&
		(r = value_get_str(*tree, "mode", &mode, err)) >= 0)
		r = value_get_u64(*tree, "fd", 0, INT32_MAX, &fd, err);
	if (r < 0)
		return r;
	if (r > 0)
		opts->fd = (int)fd;
	else if (!opts->path)
		return err_set(err, -EINVAL, "'unix:%s' has neither a path nor fd=", text);
	if (mode) {
		opts->mode = (mode_t)strtoul(mode, &end, 8);
		if (!*mode || *end || opts->mode > 0777 || !opts->mode)
			return err_set(err, -EINVAL,
				"mode '%s' is not an octal number from 001 to 777", mode);
	}
	return 0;
}

int monitor_open(const struct monitor_config *config, const char *address, struct monitor **ret,
	struct err *err)
{
	_cleanup_value_ struct json_object *tree = NULL;
	struct listen_options opts = LISTEN_OPTIONS_INIT;
	struct listener listener = LISTENER_INIT;
	int r;

	if (strcmp(address, "stdio") == 0)
		return monitor_open_fds(config, STDIN_FILENO, STDOUT_FILENO, ret, err);
	if (strncmp(address, "unix:", 5) == 0) {
		r = parse_unix(address + 5, &opts, &tree, err);
		if (r == 0)
			r = listen_unix(&listener, &opts, err);
	} else if (strncmp(address, "tcp:", 4) == 0 && !config->human) {
		r = listen_tcp(&listener, address + 4, err);
	} else {
		r = err_set(err, -EINVAL, "monitor address '%s' is none of unix:PATH,%s stdio",
			address, config->human ? "" : " tcp:HOST:PORT,");
	}
	if (r < 0)
		return r;
	*ret = monitor_open_listener(config, &listener, err);
	return *ret ? 0 : -EIO;
}

void monitor_free(struct monitor *m)
{
	if (!m)
		return;
	loop_fd_del(&m->listening);
	loop_timer_cancel(&m->retry);
	while (m->sessions)
		session_free(m->sessions);
	listen_close(&m->listener);
	free(m->address);
	free(m);
}

void monitor_emit(struct monitor *m, struct json_object *event)
{
	for (struct session *s = m->sessions; s; s = s->next) {
		if (s->negotiated)
			session_send(s, event);
	}
}

const char *monitor_address(const struct monitor *m)
{
	return m->address;
}
