/* SPDX-License-Identifier: BSD-3-Clause */
/* Which loop serves which queue of a device: iothread= and iothread-vq-mapping. Main loop. */
#ifndef CONTROL_VQ_MAPPING_H
#define CONTROL_VQ_MAPPING_H

#include "base/option.h"
#include "control/objects.h"
#include "virtio/vdev.h"

/* What one device uses. Zeroed, it uses the built-in loop. */
struct vq_mapping {
	struct IOThreadVirtQueueMappingList list; /* as it was given; empty: none */
	struct control_object **iothreads; /* counted as in use */
	size_t num_iothreads;
};

/*
 * Before the device is realized: reads @json (what iothread-vq-mapping was given, or NULL) and
 * takes @iothread (an id, or NULL), whose loop then serves all queues. -errno with a sentence;
 * vq_mapping_deinit() in any case.
 */
int vq_mapping_init(struct vq_mapping *map, struct control *ctl, struct vdev *dev,
	const char *iothread, struct json_object *json, struct err *err);
/* After it is realized, before its transport: gives the queues their loops. -errno as above. */
int vq_mapping_apply(
	struct vq_mapping *map, struct control *ctl, struct vdev *dev, struct err *err);
/* The device is gone. Idempotent. */
void vq_mapping_deinit(struct vq_mapping *map);

/* Adds an entry a queue. */
void vq_mapping_threads(
	const struct control *ctl, const struct vdev *dev, struct VirtQueueThreadList *ret);
int control_cmd_query_virtio_queue_threads(struct qapi_call *call, const char *path,
	struct VirtQueueThreadList *ret, struct qapi_error *error);

#endif
