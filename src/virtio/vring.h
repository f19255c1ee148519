/* SPDX-License-Identifier: BSD-3-Clause */
/* The split ring's layout in guest memory (virtio 1.3, "Split Virtqueues"). */
#ifndef VIRTIO_VRING_H
#define VIRTIO_VRING_H

#include "base/le.h"

#define VRING_DESC_F_NEXT     0x0001 /* another descriptor follows */
#define VRING_DESC_F_WRITE    0x0002 /* the device writes here */
#define VRING_DESC_F_INDIRECT 0x0004 /* holds a table of descriptors */

#define VRING_AVAIL_F_NO_INTERRUPT 0x0001
#define VRING_USED_F_NO_NOTIFY	   0x0001

#define VRING_DESC_ALIGN  16
#define VRING_AVAIL_ALIGN 2
#define VRING_USED_ALIGN  4

struct vring_desc {
	le64 addr;
	le32 len;
	le16 flags;
	le16 next;
};

struct vring_avail {
	le16 flags;
	le16 idx;
	le16 ring[]; /* num entries, then used_event */
};

struct vring_used_elem {
	le32 id;
	le32 len;
};

struct vring_used {
	le16 flags;
	le16 idx;
	struct vring_used_elem ring[]; /* num entries, then avail_event as le16 */
};

_Static_assert(sizeof(struct vring_desc) == 16, "as in the specification");
_Static_assert(sizeof(struct vring_used_elem) == 8, "as in the specification");

#endif
