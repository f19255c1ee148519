/* SPDX-License-Identifier: BSD-3-Clause */
/* The packed ring with an in-flight region (vq_inflight.h). */
#ifndef VIRTIO_PACKED_RECORDED_H
#define VIRTIO_PACKED_RECORDED_H

#include "virtio/vq.h"

extern const struct vq_ops vq_packed_recorded_ops;

#endif
