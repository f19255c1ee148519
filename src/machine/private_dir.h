/* SPDX-License-Identifier: BSD-3-Clause */
/* A machine's private folder: sockets that nobody else may reach. Main loop, or a child process. */
#ifndef MACHINE_PRIVATE_DIR_H
#define MACHINE_PRIVATE_DIR_H

#include "base/err.h"

/* A folder's name is no longer, so that the sockets in it fit into a socket address. */
#define PRIVATE_DIR_PATH_MAX 72

/*
 * Makes a folder of mode 0700 below the first of $XDG_RUNTIME_DIR, $TMPDIR, /tmp where that works
 * and the name is short enough. *ret is the caller's. -errno with a sentence.
 */
int private_dir_make(char **ret, struct err *err);
/* Removes it with all that is in it; follows no link. NULL, or one that is gone: nothing. */
void private_dir_remove(const char *dir);

#endif
