/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * What a driver's notification carries under NOTIFICATION_DATA (virtio 1.3, "Driver
 * Notifications"). For transports whose notification is a written word: an eventfd has none, so
 * vhost-user does not offer the feature.
 */
#ifndef VIRTIO_NOTIFY_H
#define VIRTIO_NOTIFY_H

#include <stdbool.h>

#include "base/le.h"

struct vq_notification {
	uint16_t queue;
	/* Where the next chain will be made available: packed: the position; split: the available
	 * index without its highest bit. */
	uint16_t next_off;
	bool next_wrap; /* packed: the wrap counter there; split: that bit */
};

static inline struct vq_notification vq_notification_decode(le32 word)
{
	uint32_t v = le32_get(word);

	return (struct vq_notification){
		.queue = (uint16_t)v,
		.next_off = v >> 16 & 0x7fff,
		.next_wrap = v >> 31,
	};
}

/* As in vq_config.next_avail, in either format. */
static inline uint16_t vq_notification_next_avail(const struct vq_notification *n)
{
	return (uint16_t)(n->next_off | n->next_wrap << 15);
}

#endif
