/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Live virtio devices as the monitor's types: pure readers. Nothing here changes a device, a queue
 * or guest memory, sends a message, or takes a lock; whatever a guest wrote, the answer is a reply
 * or an error sentence. Main loop.
 *
 * Each takes what the command takes and fills *ret, which the caller frees; or returns -errno with
 * the sentence for the client.
 */
#ifndef INSPECT_VIRTIO_H
#define INSPECT_VIRTIO_H

#include "base/err.h"
#include "qapi/types.h"
#include "qom/qom.h"
#include "virtio/features.h"

/* The realized virtio device that @path names by the rules of qom_resolve(), or NULL. */
struct vdev *inspect_find(struct qom_object *root, const char *path);

/*
 * A word as lists of names, which the caller owns. @vhost_word: it was exchanged with a vhost
 * back-end, and has bits of that connection.
 */
struct VirtioDeviceFeatures *inspect_features(
	const struct vdev *dev, const struct virtio_features *features, bool vhost_word);

/* The status byte as names, which the caller owns. */
struct VirtioDeviceStatus *inspect_status_byte(const struct vdev *dev);

/* Newest device first. */
void inspect_virtio(struct qom_object *root, struct VirtioInfoList *ret);
int inspect_status(
	struct qom_object *root, const char *path, struct VirtioStatus **ret, struct err *err);
int inspect_queue_status(struct qom_object *root, const char *path, uint16_t queue,
	struct VirtQueueStatus **ret, struct err *err);
/* @index: NULL where none was given; see inspect/element.h. */
int inspect_queue_element(struct qom_object *root, const char *path, uint16_t queue,
	const uint16_t *index, struct VirtioQueueElement **ret, struct err *err);

#endif
