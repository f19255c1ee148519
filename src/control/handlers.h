/* SPDX-License-Identifier: BSD-3-Clause */
/* The commands that control answers, by table. Main loop. */
#ifndef CONTROL_HANDLERS_H
#define CONTROL_HANDLERS_H

#include "qapi/commands.h"

/* The handlers of all commands here; their calls' context is the control. */
extern const struct qapi_handlers control_handlers;

#endif
