/* SPDX-License-Identifier: BSD-3-Clause */
/* Help for what control reads. */
#ifndef CONTROL_HELP_H
#define CONTROL_HELP_H

#include "base/err.h"
#include "base/util.h"

/*
 * For the command line's help, on standard output: the list of drivers or objects, or what one
 * takes. -EINVAL with a sentence where there is no such driver or type.
 */
void control_help_devices(void);
int control_help_device(const char *driver, bool with_machine, struct err *err);
void control_help_objects(void);
int control_help_object(const char *type, struct err *err);
/* What --device takes in a run that relays. */
void control_help_relay(void);

#endif
