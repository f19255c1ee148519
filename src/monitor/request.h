/* SPDX-License-Identifier: BSD-3-Clause */
/* From one JSON text to its one reply. Inside the monitor's room only. Main loop. */
#ifndef MONITOR_REQUEST_H
#define MONITOR_REQUEST_H

#include "monitor/session.h"

/* Answers one JSON text, now or later. */
void request_run(struct session *session, const char *text, size_t len);
/* Answers what is no JSON text at all. */
void request_refuse(struct session *session, const struct err *err);
/* What a session sends first; the caller owns it. */
struct json_object *request_greeting(void);
/* Fills in the monitor's own handlers. */
void request_own_handlers(struct qapi_handlers *handlers);

#endif
