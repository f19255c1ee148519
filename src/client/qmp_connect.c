/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Connects to monitors and finds those that run. Refuses to choose between several instances, and
 * to look in a folder that base/rundir.h would not trust.
 */
#include "client/qmp_connect.h"

#include <dirent.h>
#include <errno.h>
#include <netdb.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/alloc.h"
#include "base/cleanup.h"
#include "base/host_open.h"
#include "base/rundir.h"

/* Between two tries at a listener whose backlog is full. */
#define RETRY_MS 20
/* So many instances are listed by name. */
#define MAX_LISTED 32

static bool starts_with(const char *s, const char *prefix)
{
	return strncmp(s, prefix, strlen(prefix)) == 0;
}

static int connect_unix(const char *path, uint64_t deadline_ns, struct err *err)
{
	struct stat st;
	int fd;

	while ((fd = host_connect_unix(path, err)) == -EAGAIN && now_ns() < deadline_ns)
		poll(NULL, 0, RETRY_MS);
	switch (fd) {
	case -EAGAIN:
		return err_set(err, -ETIMEDOUT,
			"socket '%s' takes no connection: too many others wait for it already",
			path);
	case -ENOENT:
		return err_set(err, fd,
			"there is no socket '%s'; is the program running, and was it given this "
			"path?",
			path);
	case -ECONNREFUSED:
		if (stat(path, &st) == 0 && !S_ISSOCK(st.st_mode))
			return err_set(err, -ENOTSOCK,
				"'%s' is no socket: expected that of a monitor (--qmp unix:PATH of "
				"the program that runs)",
				path);
		return err_set(err, fd,
			"nobody listens on socket '%s'; the program that made it has ended", path);
	}
	return fd;
}

/* HOST:PORT, [HOST]:PORT or :PORT into two strings of the caller's. */
static int split_host_port(const char *text, char **host, char **port, struct err *err)
{
	const char *colon = strrchr(text, ':');
	size_t len = colon ? (size_t)(colon - text) : 0;

	if (!colon || !colon[1] || strspn(colon + 1, "0123456789") != strlen(colon + 1) ||
		(text[0] != '[' && memchr(text, ':', len)))
		return err_set(err, -EINVAL,
			"'tcp:%s' is no address: expected tcp:HOST:PORT, or tcp:[HOST]:PORT where "
			"HOST has colons",
			text);
	if (len >= 2 && text[0] == '[' && text[len - 1] == ']') {
		text++;
		len -= 2;
	}
	*host = len ? xstrndup(text, len) : xstrdup("127.0.0.1");
	*port = xstrdup(colon + 1);
	return 0;
}

/* One address of a host; -errno without a sentence. */
static int connect_one(const struct addrinfo *a, uint64_t deadline_ns)
{
	_cleanup_fd_ int fd =
		socket(a->ai_family, a->ai_socktype | SOCK_NONBLOCK | SOCK_CLOEXEC, a->ai_protocol);
	struct pollfd p = { .events = POLLOUT };
	int error = 0;
	socklen_t len = sizeof(error);

	if (fd < 0)
		return -errno;
	if (connect(fd, a->ai_addr, a->ai_addrlen) == 0)
		return take_fd(&fd);
	if (errno != EINPROGRESS)
		return -errno;
	p.fd = fd;
	while (poll(&p, 1, RETRY_MS) <= 0)
		if (now_ns() > deadline_ns)
			return -ETIMEDOUT;
	if (getsockopt(fd, SOL_SOCKET, SO_ERROR, &error, &len) < 0)
		return -errno;
	return error ? -error : take_fd(&fd);
}

static int connect_tcp(const char *host_port, uint64_t deadline_ns, struct err *err)
{
	const struct addrinfo hints = { .ai_socktype = SOCK_STREAM };
	_cleanup_free_ char *host = NULL, *port = NULL;
	struct addrinfo *list;
	int r = split_host_port(host_port, &host, &port, err);

	if (r < 0)
		return r;
	r = getaddrinfo(host, port, &hints, &list);
	if (r != 0)
		return err_set(
			err, -EHOSTUNREACH, "cannot find host '%s': %s", host, gai_strerror(r));
	r = -EHOSTUNREACH;
	for (struct addrinfo *a = list; a && r < 0; a = a->ai_next)
		r = connect_one(a, deadline_ns);
	freeaddrinfo(list);
	if (r == -ECONNREFUSED)
		return err_set(err, r, "nobody listens on %s port %s", host, port);
	return r < 0 ? err_set(err, r, "cannot connect to %s port %s: %s", host, port, strerror(-r))
		     : r;
}

int qmp_connect(const char *address, uint64_t deadline_ns, struct err *err)
{
	if (starts_with(address, "tcp:"))
		return connect_tcp(address + strlen("tcp:"), deadline_ns, err);
	if (starts_with(address, "unix:"))
		address += strlen("unix:");
	if (!*address)
		return err_set(err, -EINVAL,
			"the address is empty: expected unix:PATH, tcp:HOST:PORT or a path");
	return connect_unix(address, deadline_ns, err);
}

/* Does anybody listen? A full backlog says yes as well. */
static bool is_alive(const char *path)
{
	_cleanup_fd_ int fd = host_connect_unix(path, NULL);

	return fd >= 0 || fd == -EAGAIN;
}

static int is_socket_name(const struct dirent *entry)
{
	size_t len = strlen(entry->d_name), suffix = strlen(RUNDIR_SUFFIX);

	return len > suffix && !strcmp(entry->d_name + len - suffix, RUNDIR_SUFFIX) &&
	       (entry->d_type == DT_SOCK || entry->d_type == DT_UNKNOWN);
}

struct found {
	unsigned int num_alive, num_dead;
	char *path; /* of the first that is alive */
	char *names; /* of all that are, in order */
};

static void look_at(struct found *found, const char *folder, const char *file)
{
	_cleanup_free_ char *path = xasprintf("%s/%s", folder, file);
	_cleanup_free_ char *old = NULL;

	if (!is_alive(path)) {
		found->num_dead++;
		return;
	}
	if (found->num_alive++ == 0)
		found->path = take_ptr(path);
	if (found->num_alive > MAX_LISTED)
		return;
	old = found->names;
	found->names = xasprintf("%s%s%.*s", old ? old : "", old ? ", " : "",
		(int)(strlen(file) - strlen(RUNDIR_SUFFIX)), file);
}

int qmp_discover(char **ret, struct err *err)
{
	_cleanup_free_ char *folder = NULL;
	struct found found = { 0 };
	struct dirent **list;
	int n, r = rundir_path(false, &folder, err);

	if (r < 0 && r != -ENOENT)
		return r;
	n = folder ? scandir(folder, &list, is_socket_name, alphasort) : 0;
	if (n < 0)
		return err_set(err, -errno, "cannot read folder '%s': %s", folder, strerror(errno));
	for (int i = 0; i < n; i++) {
		look_at(&found, folder, list[i]->d_name);
		free(list[i]);
	}
	if (folder)
		free(list);
	if (found.num_alive == 1)
		*ret = take_ptr(found.path);
	else if (found.num_alive == 0)
		r = err_set(err, -ENOENT,
			"no running instance found%s; start one with 'ringside run' or 'ringside "
			"serve', "
			"or name a monitor's socket with --qmp",
			found.num_dead ? " (only sockets that nobody listens on)" : "");
	else
		r = err_set(err, -EEXIST, "%u instances run: %s; choose one with --qmp NAME",
			found.num_alive, found.names);
	free(found.path);
	free(found.names);
	return r;
}

char *qmp_address_of(const char *word)
{
	char *path = NULL;

	if (strchr(word, '/') || strchr(word, ':') || access(word, F_OK) == 0 ||
		!rundir_name_ok(word) || rundir_socket(word, false, &path, NULL) < 0)
		return xstrdup(word);
	if (access(path, F_OK) < 0) {
		free(path);
		return xstrdup(word);
	}
	return path;
}
