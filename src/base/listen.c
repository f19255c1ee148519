/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Opens listening sockets. Refuses to take a path away from a live listener or from a file that is
 * not a socket. The mode is set on the socket before it is bound, so the file appears with it: the
 * process's umask, which other threads share, is left alone.
 */
#include "base/listen.h"

#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <libgen.h>
#include <netdb.h>
#include <netinet/in.h>
#include <string.h>
#include <sys/file.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <sys/un.h>

#include "base/alloc.h"
#include "base/cleanup.h"
#include "base/host_open.h"

#define LISTEN_BACKLOG 16

/* How often, and for how long each time, we wait for another starter to leave the folder's lock. */
#define LISTEN_LOCK_TRIES   50
#define LISTEN_LOCK_WAIT_MS 10

static int parse_group(const char *group, gid_t *ret, struct err *err)
{
	char buf[4096];
	struct group entry, *found = NULL;
	char *end;
	unsigned long n;

	if (getgrnam_r(group, &entry, buf, sizeof(buf), &found) == 0 && found) {
		*ret = found->gr_gid;
		return 0;
	}
	errno = 0;
	n = strtoul(group, &end, 10);
	if (group[0] < '0' || group[0] > '9' || *end || errno || n >= (gid_t)-1)
		return err_set(err, -EINVAL,
			"group '%s' is neither a known group nor a number; see 'getent group'",
			group);
	*ret = (gid_t)n;
	return 0;
}

int listen_parse(struct listen_options *ret, const char *listen, const char *mode,
	const char *group, struct err *err)
{
	unsigned long bits = 0;
	char *end;

	*ret = (struct listen_options)LISTEN_OPTIONS_INIT;
	if (mode)
		bits = strtoul(mode, &end, 8);
	if (mode && (mode[0] < '0' || mode[0] > '7' || *end || !bits || bits > 0777))
		return err_set(err, -EINVAL,
			"mode=%s: expected permissions in octal from 0001 to 0777", mode);
	ret->mode = (mode_t)bits;
	ret->group = group;
	if (!host_spec_fd(listen, &ret->fd))
		ret->path = listen;
	else if (ret->fd < 0)
		return err_set(err, -EINVAL,
			"listen=%s: expected the number of an open descriptor after fd=", listen);
	return 0;
}

/*
 * Starters of the same path take turns from the look at a stale file to the new one's listen().
 * Whoever holds the lock for ever does not stop us: then we go on without it.
 */
static int lock_folder(const char *path)
{
	_cleanup_free_ char *copy = xstrdup(path);
	int fd = open(dirname(copy), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	const struct timespec wait = { .tv_nsec = LISTEN_LOCK_WAIT_MS * (long)NSEC_PER_MSEC };

	for (int i = 0; fd >= 0 && i < LISTEN_LOCK_TRIES; i++) {
		if (flock(fd, LOCK_EX | LOCK_NB) == 0 || errno != EWOULDBLOCK)
			break;
		nanosleep(&wait, NULL);
	}
	return fd;
}

/* Removes what a dead process left at @addr; a live listener and a foreign file stay. */
static int remove_stale(const struct sockaddr_un *addr, struct err *err)
{
	const char *path = addr->sun_path;
	struct stat st;
	_cleanup_fd_ int fd = -1;

	if (lstat(path, &st) < 0)
		return errno == ENOENT ? 0
				       : err_set(err, -errno, "cannot look at socket path '%s': %s",
						 path, strerror(errno));
	if (!S_ISSOCK(st.st_mode))
		return err_set(err, -EEXIST,
			"'%s' exists and is not a socket; remove it or choose another path", path);
	fd = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	if (fd < 0)
		return err_set(err, -errno, "cannot make a unix socket: %s", strerror(errno));
	/* One of another type that has a listener is EPROTOTYPE. */
	if (connect(fd, (const struct sockaddr *)addr, sizeof(*addr)) == 0 || errno != ECONNREFUSED)
		return err_set(err, -EADDRINUSE,
			"socket '%s' is in use by a running process; stop that one or choose "
			"another "
			"path",
			path);
	if (unlink(path) < 0 && errno != ENOENT)
		return err_set(err, -errno, "cannot replace the unused socket '%s': %s", path,
			strerror(errno));
	return 0;
}

/* Widens the file to what was asked for, now that it belongs to the right group. */
static int set_owner(const struct listen_options *opts, const char *path, struct err *err)
{
	mode_t mode = opts->mode ? opts->mode : LISTEN_DEFAULT_MODE;
	gid_t gid;
	int r;

	if (opts->group) {
		r = parse_group(opts->group, &gid, err);
		if (r < 0)
			return r;
		if (chown(path, (uid_t)-1, gid) < 0)
			return err_set(err, -errno, "cannot give socket '%s' to group '%s': %s",
				path, opts->group, strerror(errno));
	}
	if (chmod(path, mode) < 0)
		return err_set(err, -errno, "cannot set mode %03o on socket '%s': %s",
			(unsigned int)mode, path, strerror(errno));
	return 0;
}

/* Which file is at @path now? Zeroes where there is none. */
static void identify(const char *path, dev_t *dev, ino_t *ino, uint64_t *birth_ns)
{
	struct statx stx = { 0 };
	bool known = statx(AT_FDCWD, path, AT_SYMLINK_NOFOLLOW, STATX_INO | STATX_BTIME, &stx) == 0;

	*dev = known ? makedev(stx.stx_dev_major, stx.stx_dev_minor) : 0;
	*ino = known ? stx.stx_ino : 0;
	*birth_ns = known && stx.stx_mask & STATX_BTIME
			    ? (uint64_t)stx.stx_btime.tv_sec * NSEC_PER_SEC + stx.stx_btime.tv_nsec
			    : 0;
}

static int bind_path(struct listener *l, const struct listen_options *opts, struct err *err)
{
	struct sockaddr_un addr = { .sun_family = AF_UNIX };
	size_t len = strlen(opts->path);
	_cleanup_fd_ int lock = -1;
	int r;

	if (!len)
		return err_set(err, -EINVAL, "socket path '' is empty; expected a path");
	if (len >= sizeof(addr.sun_path))
		return err_set(err, -ENAMETOOLONG,
			"socket path '%s' has %zu bytes; expected at most %zu, use a shorter one",
			opts->path, len, sizeof(addr.sun_path) - 1);
	memcpy(addr.sun_path, opts->path, len);
	lock = lock_folder(opts->path);
	r = remove_stale(&addr, err);
	if (r < 0)
		return r;
	l->fd = socket(AF_UNIX,
		(opts->seqpacket ? SOCK_SEQPACKET : SOCK_STREAM) | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	if (l->fd < 0)
		return err_set(err, -errno, "cannot make a unix socket: %s", strerror(errno));
	if (fchmod(l->fd, LISTEN_DEFAULT_MODE & (opts->mode ? opts->mode : LISTEN_DEFAULT_MODE)) <
		0)
		return err_set(err, -errno, "cannot set the mode of a socket: %s", strerror(errno));
	if (bind(l->fd, (struct sockaddr *)&addr, sizeof(addr)) < 0)
		return err_set(err, -errno, "cannot make socket '%s': %s%s", opts->path,
			strerror(errno),
			errno == ENOENT	  ? "; make its folder first"
			: errno == EACCES ? "; choose a folder that you may write to"
					  : "");
	l->path = xstrdup(opts->path);
	identify(l->path, &l->dev, &l->ino, &l->birth_ns);
	r = set_owner(opts, l->path, err);
	if (r < 0)
		return r;
	if (listen(l->fd, LISTEN_BACKLOG) < 0)
		return err_set(
			err, -errno, "cannot listen on '%s': %s", opts->path, strerror(errno));
	return 0;
}

/* The port that a tcp socket is bound to, else 0. */
static unsigned int port_of(int fd)
{
	union {
		struct sockaddr any;
		struct sockaddr_in in;
		struct sockaddr_in6 in6;
	} got = { 0 };
	socklen_t len = sizeof(got);

	if (getsockname(fd, &got.any, &len) < 0)
		return 0;
	if (got.any.sa_family == AF_INET)
		return ntohs(got.in.sin_port);
	return got.any.sa_family == AF_INET6 ? ntohs(got.in6.sin6_port) : 0;
}

static int share(struct listener *l, int fd, struct err *err)
{
	int listening = 0;
	socklen_t len = sizeof(listening);

	if (getsockopt(fd, SOL_SOCKET, SO_ACCEPTCONN, &listening, &len) < 0)
		return err_set(err, -errno, "fd=%d is not a socket: %s", fd, strerror(errno));
	if (!listening)
		return err_set(err, -EINVAL,
			"fd=%d is a socket that does not listen; expected one after listen()", fd);
	if (fcntl(fd, F_SETFL, fcntl(fd, F_GETFL) | O_NONBLOCK) < 0 ||
		fcntl(fd, F_SETFD, FD_CLOEXEC) < 0)
		return err_set(err, -errno, "cannot set up fd=%d: %s", fd, strerror(errno));
	/* Whoever names the number once more must not come to own, and close, what we listen on. */
	l->fd = fcntl(fd, F_DUPFD_CLOEXEC, 3);
	if (l->fd < 0)
		return err_set(err, -errno, "cannot duplicate fd=%d: %s", fd, strerror(errno));
	l->port = port_of(fd);
	return 0;
}

int listen_unix(struct listener *l, const struct listen_options *opts, struct err *err)
{
	int r;

	*l = (struct listener)LISTENER_INIT;
	if (opts->fd >= 0) {
		r = share(l, opts->fd, err);
		if (r == 0)
			l->name = xasprintf("fd=%d", opts->fd);
		return r;
	}
	r = bind_path(l, opts, err);
	if (r < 0)
		listen_close(l);
	else
		l->name = xasprintf("unix:%s", opts->path);
	return r;
}

static int split_host_port(const char *text, char **host, const char **port, struct err *err)
{
	const char *colon = strrchr(text, ':');
	char *end;
	unsigned long n;

	errno = 0;
	n = colon ? strtoul(colon + 1, &end, 10) : 0;
	if (!colon || colon[1] < '0' || colon[1] > '9' || *end || errno || n > UINT16_MAX)
		return err_set(err, -EINVAL,
			"tcp address '%s' is not HOST:PORT with a port from 0 to 65535", text);
	*port = colon + 1;
	if (text[0] == '[' && colon > text + 1 && colon[-1] == ']')
		*host = xstrndup(text + 1, (size_t)(colon - text) - 2);
	else
		*host = xstrndup(text, (size_t)(colon - text));
	return 0;
}

static int bind_tcp(
	struct listener *l, const struct addrinfo *ai, const char *text, struct err *err)
{
	const int on = 1;

	l->fd = socket(ai->ai_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	if (l->fd < 0)
		return err_set(err, -errno, "cannot make a tcp socket for '%s': %s", text,
			strerror(errno));
	setsockopt(l->fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on));
	if (bind(l->fd, ai->ai_addr, ai->ai_addrlen) < 0 || listen(l->fd, LISTEN_BACKLOG) < 0)
		return err_set(err, -errno, "cannot listen on 'tcp:%s': %s", text, strerror(errno));
	l->port = port_of(l->fd);
	return 0;
}

int listen_tcp(struct listener *l, const char *host_port, struct err *err)
{
	const struct addrinfo hints = { .ai_socktype = SOCK_STREAM, .ai_flags = AI_NUMERICSERV };
	_cleanup_free_ char *host = NULL;
	const char *port;
	struct addrinfo *ai = NULL;
	int r;

	*l = (struct listener)LISTENER_INIT;
	r = split_host_port(host_port, &host, &port, err);
	if (r < 0)
		return r;
	r = getaddrinfo(host[0] ? host : "127.0.0.1", port, &hints, &ai);
	if (r)
		return err_set(err, -EINVAL, "tcp address '%s' does not resolve: %s", host_port,
			gai_strerror(r));
	r = bind_tcp(l, ai, host_port, err);
	freeaddrinfo(ai);
	if (r < 0)
		listen_close(l);
	else
		l->name = xasprintf("tcp:%s:%u", host[0] ? host : "127.0.0.1", l->port);
	return r;
}

int listen_accept(struct listener *l)
{
	for (;;) {
		int fd = accept4(l->fd, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);

		if (fd >= 0)
			return fd;
		if (errno != EINTR && errno != ECONNABORTED)
			return -errno;
	}
}

void listen_close(struct listener *l)
{
	struct listener now = LISTENER_INIT;

	if (l->path) {
		identify(l->path, &now.dev, &now.ino, &now.birth_ns);
		if (now.ino && now.dev == l->dev && now.ino == l->ino &&
			now.birth_ns == l->birth_ns)
			unlink(l->path);
	}
	close_fd(&l->fd);
	free(l->path);
	free(l->name);
	*l = (struct listener)LISTENER_INIT;
}
