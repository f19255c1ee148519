/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The human monitor on a socket or on standard input: a prompt, a line, its answer. No line editing
 * and no events: a terminal or rlwrap has the one, QMP the other. Inside the monitor's room only.
 */
#ifndef MONITOR_HMP_SESSION_H
#define MONITOR_HMP_SESSION_H

#include "monitor/session.h"

/* A longer line is refused as a whole. */
#define HMP_MAX_LINE_BYTES 4096

struct hmp_line;

extern const struct session_protocol hmp_protocol;
/* NULL is fine. */
void hmp_session_line_free(struct hmp_line *line);

#endif
