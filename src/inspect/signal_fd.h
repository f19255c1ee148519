/* SPDX-License-Identifier: BSD-3-Clause */
/* What lies unread in a kick or call descriptor, as the kernel tells it. Main loop. */
#ifndef INSPECT_SIGNAL_FD_H
#define INSPECT_SIGNAL_FD_H

#include "inspect/health.h"

/*
 * Neither reads nor waits. An eventfd's counter; of a socket or a pipe 1 where bytes wait. Not
 * known for what is none of these. @to_peer: a socket's or pipe's other end reads it, not this one.
 */
struct health_num signal_fd_unread(int fd, bool to_peer);

#endif
