/* SPDX-License-Identifier: BSD-3-Clause */
/* What the machine has to say, and its start. Main loop. */
#ifndef CONTROL_MACHINE_H
#define CONTROL_MACHINE_H

#include "machine/machine.h"

struct control;

extern const struct machine_listener control_machine_listener;

/*
 * With a machine: starts the guest on the devices that were made so far; of @machine all is set but
 * the devices. -errno with a sentence.
 */
int control_start_guest(struct control *ctl, const struct machine_config *machine, struct err *err);

#endif
