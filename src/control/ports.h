/* SPDX-License-Identifier: BSD-3-Clause */
/* The ports of a virtio-serial as devices of their own. Main loop. */
#ifndef CONTROL_PORTS_H
#define CONTROL_PORTS_H

#include "control/children.h"

extern const struct child_class control_console_class, control_port_class;

#endif
