/* SPDX-License-Identifier: BSD-3-Clause */
/* The ports of a virtio-serial as child devices. Main loop. */
#ifndef CONTROL_PORTS_H
#define CONTROL_PORTS_H

#include "control/children.h"

extern const struct option_spec control_port_options[];
extern const struct qom_property control_port_properties[];

int control_port_add(struct control_child *child, struct err *err);
int control_console_add(struct control_child *child, struct err *err);
void control_port_remove(struct control_child *child);

#endif
