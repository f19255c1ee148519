/* SPDX-License-Identifier: BSD-3-Clause */
/* Network cards on the monitor: their links. Main loop. */
#ifndef CONTROL_NETWORK_H
#define CONTROL_NETWORK_H

#include "qapi/commands.h"

/* The command's handler. */
int control_cmd_set_link(
	struct qapi_call *call, const char *name, bool up, struct qapi_error *error);

#endif
