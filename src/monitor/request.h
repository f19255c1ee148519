/* SPDX-License-Identifier: BSD-3-Clause */
/* QMP: from one JSON text to its one reply. Inside the monitor's room only. Main loop. */
#ifndef MONITOR_REQUEST_H
#define MONITOR_REQUEST_H

#include "monitor/session.h"

extern const struct session_protocol request_protocol;
/* Fills in the monitor's own handlers. */
void request_own_handlers(struct qapi_handlers *handlers);

#endif
