/* SPDX-License-Identifier: BSD-3-Clause */
/* An eventfd's counter stands in /proc; of sockets and pipes the kernel tells whether bytes wait.
 */
#include "inspect/signal_fd.h"

#include <fcntl.h>
#include <linux/sockios.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/cleanup.h"

static struct health_num of_eventfd(int fd)
{
	static const char field[] = "eventfd-count:";
	char path[40], text[512], *at;
	_cleanup_fd_ int info = -1;
	ssize_t n;

	snprintf(path, sizeof(path), "/proc/self/fdinfo/%d", fd);
	info = open(path, O_RDONLY | O_CLOEXEC);
	n = info < 0 ? -1 : read(info, text, sizeof(text) - 1);
	if (n < 0)
		return (struct health_num){ 0 };
	text[n] = '\0';
	at = strstr(text, field);
	return at ? health_num(strtoull(at + sizeof(field) - 1, NULL, 16))
		  : (struct health_num){ 0 };
}

struct health_num signal_fd_unread(int fd, bool to_peer)
{
	struct stat st;
	int bytes = 0;

	if (fd < 0 || fstat(fd, &st) < 0)
		return (struct health_num){ 0 };
	if (!S_ISSOCK(st.st_mode) && !S_ISFIFO(st.st_mode))
		return of_eventfd(fd);
	/* Both ends of a pipe tell the same. */
	if (ioctl(fd, to_peer && S_ISSOCK(st.st_mode) ? SIOCOUTQ : FIONREAD, &bytes) < 0)
		return (struct health_num){ 0 };
	return health_num(bytes > 0);
}
