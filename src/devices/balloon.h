/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * virtio-balloon: memory that the guest does without goes back to the host (virtio 1.3,
 * "Traditional Memory Balloon Device"). Its functions are control's, on the main loop.
 */
#ifndef DEVICES_BALLOON_H
#define DEVICES_BALLOON_H

#include "virtio/vdev.h"

extern const struct vdev_class virtio_balloon_class;

/* The unit in which balloons are blown up, whatever the pages of guest or host. */
#define BALLOON_PAGE_BYTES 4096

/* virtio 1.3, "Memory Statistics Tags" */
#define BALLOON_NUM_STATS 16

/* What the driver told last. */
struct balloon_stats {
	/* By tag; UINT64_MAX: not told. Bytes where it is an amount of memory. */
	uint64_t value[BALLOON_NUM_STATS];
	uint64_t updated_s; /* when, in seconds since 1970 began; 0: never */
};

/* Bytes that the guest has left: its memory without the balloon. 0 where no driver is there. */
uint64_t balloon_actual_bytes(const struct vdev *dev);
/*
 * Asks the driver to leave the guest with @bytes; more than its memory is all of it. -ENODEV with a
 * sentence where no driver is there.
 */
int balloon_set_target(struct vdev *dev, uint64_t bytes, struct err *err);
/*
 * Asks the driver which pages are free now, and gives them back to the host (virtio 1.3, "Free Page
 * Hinting"). -ENODEV where no driver is there or it has no hints, -EBUSY while one round is under
 * way.
 */
int balloon_reclaim_free(struct vdev *dev, struct err *err);

/* How often statistics are asked for, in seconds; 0: never. */
void balloon_set_polling(struct vdev *dev, uint32_t interval_s);
uint32_t balloon_polling(const struct vdev *dev);
/* False where they changed while they were read, again and again. */
bool balloon_read_stats(struct vdev *dev, struct balloon_stats *ret);

#endif
