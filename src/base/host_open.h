/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The one door through which everything of the host is opened: files, devices, sockets to dial. A
 * sandbox that is drawn around the process only has to know this door. Any thread; control path.
 *
 * A spec is a path, or `fd=N` for a descriptor that the process was started with (N from 3 on). A
 * file whose name begins with "fd=" is written "./fd=...". Listening sockets are base/listen.h's.
 */
#ifndef BASE_HOST_OPEN_H
#define BASE_HOST_OPEN_H

#include <sys/types.h>

#include "base/err.h"

/*
 * Opens @spec as open(2) does with @flags and @mode, close-on-exec, and never as the controlling
 * terminal. An inherited descriptor has to be open with an access mode that suits @flags; it is
 * duplicated, so N stays open and can be named again; O_CREAT, O_EXCL and O_TRUNC do nothing to it,
 * O_NONBLOCK, O_APPEND and O_DIRECT are turned on where asked for.
 * Returns the descriptor, which the caller owns, or -errno with a sentence that names @spec.
 */
int host_open(const char *spec, int flags, mode_t mode, struct err *err);

/*
 * Connects to the unix stream socket @spec, or takes an inherited one that is connected. Returns a
 * non-blocking, close-on-exec descriptor, or -errno with a sentence; never waits: a listener whose
 * backlog is full is -EAGAIN.
 */
int host_connect_unix(const char *spec, struct err *err);

/* The same for a socket of type SOCK_SEQPACKET, which keeps messages apart; a path alone. */
int host_connect_seqpacket(const char *path, struct err *err);

/*
 * If @spec is `fd=N` with a decimal N: true and *ret is N, be it open or not. `fd=` with anything
 * else is true with -1, so that nobody takes it for a path.
 */
bool host_spec_fd(const char *spec, int *ret);

/*
 * Standard input and output have one owner: a monitor, the guest's console or a chardev. -EBUSY
 * with a sentence that names the owner where there is one already. @owner is copied. Main loop.
 */
int host_stdio_claim(const char *owner, struct err *err);
void host_stdio_release(void);

#endif
