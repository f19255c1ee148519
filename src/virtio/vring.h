/* SPDX-License-Identifier: BSD-3-Clause */
/* The rings' layout in guest memory (virtio 1.3, "Split Virtqueues", "Packed Virtqueues"). */
#ifndef VIRTIO_VRING_H
#define VIRTIO_VRING_H

#include <stdbool.h>

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

/* Packed only, and used there beside VRING_DESC_F_*. */
#define VRING_PACKED_DESC_F_AVAIL 0x0080
#define VRING_PACKED_DESC_F_USED  0x8000

/* Where a side stands in a packed ring, and where it wants an event: a position, and in bit 15 the
 * wrap counter. */
#define VRING_PACKED_POS   0x7fff
#define VRING_PACKED_WRAP  0x8000
#define VRING_PACKED_START 0x8000 /* of both sides: position 0, wrap counter 1 */

#define VRING_PACKED_EVENT_ENABLE  0
#define VRING_PACKED_EVENT_DISABLE 1
#define VRING_PACKED_EVENT_DESC	   2 /* with EVENT_IDX: at off_wrap */
#define VRING_PACKED_EVENT_FLAGS   3 /* mask: the other bits are reserved */

#define VRING_PACKED_DESC_ALIGN	 16
#define VRING_PACKED_EVENT_ALIGN 4

struct vring_packed_desc {
	le64 addr;
	le32 len;
	le16 id;
	le16 flags;
};

/* Event suppression: the driver's area, and the device's. */
struct vring_packed_event {
	le16 off_wrap;
	le16 flags;
};

/* The place @n descriptors behind @at in a ring of @num; @n is @num at most. */
static inline uint16_t vring_packed_add(uint32_t num, uint16_t at, uint32_t n)
{
	uint32_t pos = (at & VRING_PACKED_POS) + n;

	if (pos < num)
		return (uint16_t)(at + n);
	return (uint16_t)((pos - num) | (~at & VRING_PACKED_WRAP));
}

/* Descriptors from @from on to @to, two rounds at most: both are places in a ring of @num. */
static inline uint32_t vring_packed_distance(uint32_t num, uint16_t from, uint16_t to)
{
	uint32_t a = from & VRING_PACKED_POS, b = to & VRING_PACKED_POS;

	if ((from ^ to) & VRING_PACKED_WRAP)
		return b + num - a;
	return b >= a ? b - a : b + 2 * num - a;
}

/* Do a descriptor's flags say that it waits for a device whose wrap counter is in bit 15 of @at? */
static inline bool vring_packed_is_avail(uint16_t flags, uint16_t at)
{
	uint16_t wrap = at & VRING_PACKED_WRAP;

	return (flags & VRING_PACKED_DESC_F_USED) != wrap &&
	       ((uint16_t)(flags << 8) & VRING_PACKED_WRAP) == wrap;
}

_Static_assert(sizeof(struct vring_packed_desc) == 16, "as in the specification");
_Static_assert(sizeof(struct vring_packed_event) == 4, "as in the specification");
_Static_assert(sizeof(struct vring_desc) == 16, "as in the specification");
_Static_assert(sizeof(struct vring_used_elem) == 8, "as in the specification");

#endif
