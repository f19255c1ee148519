/* SPDX-License-Identifier: BSD-3-Clause */
/* virtio-scsi: a SCSI host with disks and CD-ROMs. virtio 1.3, "SCSI Host Device". */
#ifndef DEVICES_SCSI_H
#define DEVICES_SCSI_H

#include "virtio/vdev.h"

extern const struct vdev_class virtio_scsi_class;

#endif
