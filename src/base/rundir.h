/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The folder where every running instance keeps its monitor's socket, NAME.qmp: the server makes
 * the socket there and the command-line tools look for it there, by this one rule. Control path,
 * any thread.
 *
 * The folder is $XDG_RUNTIME_DIR/ringside; without that variable (or where it is no absolute path)
 * /run/ringside for root, and for anybody else ringside-UID in $TMPDIR, or in /tmp. The last one
 * stands where others may write, so it has to be a real folder of ours, closed to everybody else.
 */
#ifndef BASE_RUNDIR_H
#define BASE_RUNDIR_H

#include "base/err.h"
#include "base/util.h"

#define RUNDIR_SUFFIX	      ".qmp"
#define RUNDIR_NAME_MAX_BYTES 64

/*
 * The folder's path into *ret, which the caller frees. With @create it is made, mode 0700, where it
 * does not exist; without, a folder that does not exist is -ENOENT (with a sentence that names it).
 * -EPERM where a folder in the temporary directory is not ours or is open to others.
 */
int rundir_path(bool create, char **ret, struct err *err);
/*
 * The path of instance @name's socket, "FOLDER/NAME.qmp", into *ret, which the caller frees;
 * @create as above. -EINVAL where rundir_name_ok() refuses the name or the path is too long for a
 * socket.
 */
int rundir_socket(const char *name, bool create, char **ret, struct err *err);
/* 1 to RUNDIR_NAME_MAX_BYTES letters, digits and "._-+"; the first is no '.' and no '-'. */
bool rundir_name_ok(const char *name);

#endif
