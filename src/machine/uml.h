/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Machine uml: user-mode Linux, a kernel that runs as an ordinary process and drives our devices
 * through vhost-user sockets. No KVM, no root.
 */
#ifndef MACHINE_UML_H
#define MACHINE_UML_H

#include "machine/machine.h"

extern const struct machine_ops uml_machine_ops;

#endif
