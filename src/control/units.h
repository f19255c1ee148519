/* SPDX-License-Identifier: BSD-3-Clause */
/* The units of a virtio-scsi as devices of their own. Main loop. */
#ifndef CONTROL_UNITS_H
#define CONTROL_UNITS_H

#include "control/children.h"

extern const struct child_class control_scsi_cd_class, control_scsi_hd_class;

#endif
