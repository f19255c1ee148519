/* SPDX-License-Identifier: BSD-3-Clause */
/* stop, cont and system_reset. Main loop. */
#ifndef CONTROL_RUN_H
#define CONTROL_RUN_H

#include "control/control.h"
#include "machine/machine.h"
#include "qapi/commands.h"

/* A stop, cont or system_reset, under way or waiting for its turn. */
struct control_change {
	struct control *ctl;
	struct qapi_call *call;
	/* First step; later ones follow by callbacks, the last one is control_change_done(). */
	void (*begin)(struct control_change *change);
	struct machine_wait machine_wait;
	unsigned int num_waits; /* devices that are not idle yet */
	struct control_change *next;
};

/* The commands' handlers. */
int control_cmd_stop(struct qapi_call *call, struct qapi_error *error);
int control_cmd_cont(struct qapi_call *call, struct qapi_error *error);
int control_cmd_system_reset(struct qapi_call *call, struct qapi_error *error);

#endif
