/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Opens what the host has, by path or by an inherited descriptor. Refuses standard streams as fd=N
 * (they have an owner), descriptors that are not open, whose access mode does not suit, or that are
 * no connected unix stream socket where one is wanted.
 */
#include "base/host_open.h"

#include <ctype.h>
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "base/alloc.h"
#include "base/cleanup.h"

#define FIRST_INHERITED_FD 3

/* What can be turned on for a descriptor that is open already. */
#define LATE_FLAGS (O_NONBLOCK | O_APPEND | O_DIRECT)

bool host_spec_fd(const char *spec, int *ret)
{
	const char *digits = spec + 3;
	unsigned long n;
	char *end;

	if (strncmp(spec, "fd=", 3))
		return false;
	*ret = -1;
	if (!isdigit((unsigned char)*digits))
		return true;
	errno = 0;
	n = strtoul(digits, &end, 10);
	if (!errno && !*end && n <= INT32_MAX)
		*ret = (int)n;
	return true;
}

/* A duplicate of the inherited descriptor; *ret_flags is its F_GETFL. */
static int dup_inherited(const char *spec, int n, int *ret_flags, struct err *err)
{
	int fd;

	if (n < 0)
		return err_set(err, -EINVAL,
			"'%s' is no descriptor: expected fd=N with a decimal number (a file of "
			"that "
			"name is written ./%s)",
			spec, spec);
	if (n < FIRST_INHERITED_FD)
		return err_set(err, -EINVAL,
			"'%s' is a standard stream: expected a descriptor from %d on", spec,
			FIRST_INHERITED_FD);
	*ret_flags = fcntl(n, F_GETFL);
	if (*ret_flags < 0)
		return err_set(err, -errno,
			"'%s' is not open: the process has to be started with that descriptor",
			spec);
	fd = fcntl(n, F_DUPFD_CLOEXEC, FIRST_INHERITED_FD);
	if (fd < 0)
		return err_set(err, -errno, "cannot duplicate '%s': %m", spec);
	return fd;
}

static const char *mode_word(int flags)
{
	switch (flags & O_ACCMODE) {
	case O_RDONLY: return "reading";
	case O_WRONLY: return "writing";
	default: return "reading and writing";
	}
}

static int open_inherited(const char *spec, int n, int flags, struct err *err)
{
	int have, wanted = flags & O_ACCMODE;
	_cleanup_fd_ int fd = dup_inherited(spec, n, &have, err);

	if (fd < 0)
		return take_fd(&fd);
	if (have & O_PATH || ((have & O_ACCMODE) != O_RDWR && (have & O_ACCMODE) != wanted))
		return err_set(err, -EBADF, "'%s' is open for %s: expected one open for %s", spec,
			have & O_PATH ? "naming only" : mode_word(have), mode_word(wanted));
	if ((flags & LATE_FLAGS & ~have) && fcntl(fd, F_SETFL, have | (flags & LATE_FLAGS)) < 0)
		return err_set(err, -errno, "cannot set open flags of '%s': %m", spec);
	return take_fd(&fd);
}

static const struct {
	int code;
	const char *hint;
} open_hints[] = {
	{ ENOENT, ": is the name right, relative to the folder where this was started?" },
	{ EEXIST, ": choose another name, or remove it" },
	{ ENOTDIR, ": a part of the path is a file" },
	{ EACCES, ": the user that runs this needs permission for the file and its folders" },
	{ EPERM, ": the user that runs this needs permission for it" },
	{ EROFS, ": it can only be opened for reading" },
	{ EISDIR, ": expected a file" },
	{ ETXTBSY, ": it is a program that is running" },
	{ ENXIO, ": nobody has the other end, or there is no such device" },
	{ EBUSY, ": something else uses it exclusively" },
	{ EMFILE, ": raise the limit on open files (ulimit -n)" },
	{ EINVAL, ": the file system refuses a flag, direct access for instance" },
};

static const char *open_hint(int code)
{
	size_t i;

	for (i = 0; i < ARRAY_SIZE(open_hints); i++)
		if (open_hints[i].code == code)
			return open_hints[i].hint;
	return "";
}

int host_open(const char *spec, int flags, mode_t mode, struct err *err)
{
	int fd, n;

	if (host_spec_fd(spec, &n))
		return open_inherited(spec, n, flags, err);
	if (!*spec)
		return err_set(err, -EINVAL, "a file name is empty: expected a path or fd=N");
	do
		fd = open(spec, flags | O_CLOEXEC | O_NOCTTY, mode);
	while (fd < 0 && errno == EINTR);
	if (fd < 0) {
		int code = errno;

		return err_set(err, -code, "cannot open '%s' for %s: %s%s", spec, mode_word(flags),
			strerror(code), open_hint(code));
	}
	return fd;
}

static int connect_inherited(const char *spec, int n, struct err *err)
{
	struct sockaddr_un addr;
	socklen_t len = sizeof(addr), type_len = sizeof(int);
	int flags, type = 0;
	_cleanup_fd_ int fd = dup_inherited(spec, n, &flags, err);

	if (fd < 0)
		return take_fd(&fd);
	memset(&addr, 0, sizeof(addr));
	if (getsockopt(fd, SOL_SOCKET, SO_TYPE, &type, &type_len) < 0 || type != SOCK_STREAM ||
		getpeername(fd, (struct sockaddr *)&addr, &len) < 0 || addr.sun_family != AF_UNIX)
		return err_set(err, -EINVAL,
			"'%s' is not what is needed here: expected a connected unix stream socket",
			spec);
	if (!(flags & O_NONBLOCK) && fcntl(fd, F_SETFL, flags | O_NONBLOCK) < 0)
		return err_set(err, -errno, "cannot make '%s' non-blocking: %m", spec);
	return take_fd(&fd);
}

static const char *connect_hint(int code)
{
	switch (code) {
	case ENOENT: return ": nobody has made that socket yet; start the other side first";
	case ECONNREFUSED: return ": nobody listens there; start the other side first";
	case EAGAIN: return ": the listener is there but takes no connection now";
	case EACCES: return ": the user that runs this needs write permission for the socket";
	case EPROTOTYPE: return ": it is not a stream socket";
	default: return "";
	}
}

static int connect_path(const char *spec, int type, struct err *err)
{
	struct sockaddr_un addr = { .sun_family = AF_UNIX };
	_cleanup_fd_ int fd = -1;
	int r;

	if (!*spec)
		return err_set(err, -EINVAL, "a socket's name is empty: expected a path or fd=N");
	if (strlen(spec) >= sizeof(addr.sun_path))
		return err_set(err, -ENAMETOOLONG,
			"the socket's path '%s' has %zu bytes: expected %zu at most", spec,
			strlen(spec), sizeof(addr.sun_path) - 1);
	memcpy(addr.sun_path, spec, strlen(spec));
	fd = socket(AF_UNIX, type | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (fd < 0)
		return err_set(err, -errno, "cannot make a unix socket: %m");
	do
		r = connect(fd, (struct sockaddr *)&addr, sizeof(addr));
	while (r < 0 && errno == EINTR);
	if (r < 0) {
		int code = errno;

		return err_set(err, -code, "cannot connect to '%s': %s%s", spec, strerror(code),
			connect_hint(code));
	}
	return take_fd(&fd);
}

int host_connect_unix(const char *spec, struct err *err)
{
	int n;

	if (host_spec_fd(spec, &n))
		return connect_inherited(spec, n, err);
	return connect_path(spec, SOCK_STREAM, err);
}

int host_connect_seqpacket(const char *path, struct err *err)
{
	return connect_path(path, SOCK_SEQPACKET, err);
}

static pthread_mutex_t stdio_lock = PTHREAD_MUTEX_INITIALIZER;
static char *stdio_owner;

int host_stdio_claim(const char *owner, struct err *err)
{
	int r = 0;

	pthread_mutex_lock(&stdio_lock);
	if (stdio_owner)
		r = err_set(err, -EBUSY,
			"%s wants standard input and output, but %s has them: only one can; give "
			"the "
			"other a pty or a socket",
			owner, stdio_owner);
	else
		stdio_owner = xstrdup(owner);
	pthread_mutex_unlock(&stdio_lock);
	return r;
}

void host_stdio_release(void)
{
	pthread_mutex_lock(&stdio_lock);
	free(take_ptr(stdio_owner));
	pthread_mutex_unlock(&stdio_lock);
}
