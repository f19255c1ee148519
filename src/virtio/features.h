/* SPDX-License-Identifier: BSD-3-Clause */
/* Feature words of 128 bits, and the bits that the core itself knows (virtio 1.3, "Reserved Feature
 * Bits"). */
#ifndef VIRTIO_FEATURES_H
#define VIRTIO_FEATURES_H

#include "base/util.h"

#define VIRTIO_FEATURE_BITS 128

#define VIRTIO_F_NOTIFY_ON_EMPTY   24
#define VIRTIO_F_ANY_LAYOUT	   27
#define VIRTIO_F_INDIRECT_DESC	   28
#define VIRTIO_F_EVENT_IDX	   29
#define VIRTIO_F_VERSION_1	   32
#define VIRTIO_F_ACCESS_PLATFORM   33
#define VIRTIO_F_RING_PACKED	   34
#define VIRTIO_F_IN_ORDER	   35
#define VIRTIO_F_ORDER_PLATFORM	   36
#define VIRTIO_F_SR_IOV		   37
#define VIRTIO_F_NOTIFICATION_DATA 38
#define VIRTIO_F_NOTIF_CONFIG_DATA 39
#define VIRTIO_F_RING_RESET	   40

/* Word 0 holds bits 0 to 63. */
struct virtio_features {
	uint64_t word[2];
};

static inline struct virtio_features virtio_features_from64(uint64_t low)
{
	return (struct virtio_features){ { low, 0 } };
}

static inline bool virtio_features_has(const struct virtio_features *f, unsigned int bit)
{
	return bit < VIRTIO_FEATURE_BITS && (f->word[bit / 64] >> (bit % 64) & 1);
}

static inline void virtio_features_set(struct virtio_features *f, unsigned int bit, bool on)
{
	if (on)
		f->word[bit / 64] |= 1ull << (bit % 64);
	else
		f->word[bit / 64] &= ~(1ull << (bit % 64));
}

/* What is in @a and not in @b. */
static inline struct virtio_features virtio_features_without(
	struct virtio_features a, struct virtio_features b)
{
	return (struct virtio_features){ { a.word[0] & ~b.word[0], a.word[1] & ~b.word[1] } };
}

static inline bool virtio_features_empty(const struct virtio_features *f)
{
	return !(f->word[0] | f->word[1]);
}

#endif
