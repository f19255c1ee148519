/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The monitor for people: one line in, text out, in the layout that QEMU's has where the command is
 * QEMU's. It only looks: each command is one query of the table that QMP has too, so that both say
 * the same. Main loop.
 */
#ifndef MONITOR_HMP_H
#define MONITOR_HMP_H

#include "qapi/commands.h"

/* Words of one line that a command is given. */
#define HMP_MAX_ARGS 3

/*
 * Runs @line and returns what is to be printed, which the caller frees: lines that end in "\r\n",
 * "" for an empty line. A line that cannot be run is answered with a sentence. What would steer a
 * terminal is printed as '?'.
 */
char *hmp_run(const struct qapi_handlers *handlers, void *ctx, const char *line);

#endif
