/* SPDX-License-Identifier: BSD-3-Clause */
/* Telling whoever started us that everything listens. Main loop. */
#ifndef BIN_READY_H
#define BIN_READY_H

#include "base/err.h"

/*
 * Writes a newline to descriptor @fd and closes it (-1: none), and tells the service manager that
 * $NOTIFY_SOCKET names, if there is one. -errno with a sentence only for @fd.
 */
int ready_tell(int fd, struct err *err);
/* Tells the service manager that the end has begun. */
void ready_tell_stopping(void);

#endif
