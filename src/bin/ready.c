/* SPDX-License-Identifier: BSD-3-Clause */
/* Readiness: a descriptor, and systemd's datagram (sd_notify(3) describes it). */
#include "bin/ready.h"

#include <errno.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "base/cleanup.h"

static void notify(const char *state)
{
	const char *path = getenv("NOTIFY_SOCKET");
	struct sockaddr_un addr = { .sun_family = AF_UNIX };
	_cleanup_fd_ int fd = -1;
	size_t len = path ? strlen(path) : 0;

	if (len < 2 || len >= sizeof(addr.sun_path) || (*path != '/' && *path != '@'))
		return;
	memcpy(addr.sun_path, path, len);
	if (*path == '@')
		addr.sun_path[0] = '\0';
	fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (fd < 0)
		return;
	/* A service manager that does not listen is its own affair. */
	if (sendto(fd, state, strlen(state), MSG_NOSIGNAL, (struct sockaddr *)&addr,
		    (socklen_t)(offsetof(struct sockaddr_un, sun_path) + len)) < 0)
		return;
}

int ready_tell(int fd, struct err *err)
{
	notify("READY=1");
	if (fd < 0)
		return 0;
	if (write(fd, "\n", 1) != 1)
		return err_set(err, -errno, "cannot write to the ready descriptor %d: %s", fd,
			strerror(errno));
	close(fd);
	return 0;
}

void ready_tell_stopping(void)
{
	notify("STOPPING=1");
}
