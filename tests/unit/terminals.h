/* SPDX-License-Identifier: BSD-3-Clause */
/* Whether this machine can make pseudo-terminals: a container without /dev/pts cannot. */
#ifndef TESTS_TERMINALS_H
#define TESTS_TERMINALS_H

#include <fcntl.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

/* Says why on standard error where there are none. */
static inline bool have_terminals(void)
{
	int fd = posix_openpt(O_RDWR | O_NOCTTY | O_CLOEXEC);

	if (fd < 0) {
		perror("skipped what needs a pseudo-terminal: /dev/ptmx");
		return false;
	}
	close(fd);
	return true;
}

#endif
