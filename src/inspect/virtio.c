/* SPDX-License-Identifier: BSD-3-Clause */
/* The five commands' replies but the element's descriptors, which element.c finds. */
#include "inspect/virtio.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/alloc.h"
#include "base/cleanup.h"
#include "describe/describe.h"
#include "inspect/element.h"
#include "inspect/vhost.h"
#include "virtio/vdev.h"
#include "virtio/vring.h"

/* What QEMU says of every ring that no legacy transport aligned otherwise. */
#define VRING_ALIGN 4096
/* Bits of the vhost-user connection, not of the driver: VHOST_F_LOG_ALL, protocol features. */
#define VHOST_USER_BITS (1ull << 26 | 1ull << 30)

struct vdev *inspect_find(struct qom_object *root, const char *path)
{
	struct qom_object *obj = qom_resolve(root, path, NULL);

	return obj && obj->vdev && obj->vdev->realized ? obj->vdev : NULL;
}

static const char *device_name(const struct vdev *dev)
{
	return describe_type_by_id(dev->cls->virtio_id)->name;
}

static int by_age(const void *a, const void *b)
{
	const struct qom_object *const *x = a, *const *y = b;

	return (*x)->serial < (*y)->serial ? 1 : -1;
}

void inspect_virtio(struct qom_object *root, struct VirtioInfoList *ret)
{
	_cleanup_free_ struct qom_object **found = NULL;
	size_t num = 0;

	for (struct qom_object *at = qom_walk(root, NULL); at; at = qom_walk(root, at)) {
		if (!at->vdev || !at->vdev->realized)
			continue;
		found = xreallocarray(found, num + 1, sizeof(struct qom_object *));
		found[num++] = at;
	}
	if (num)
		qsort(found, num, sizeof(struct qom_object *), by_age);
	for (size_t i = 0; i < num; i++) {
		struct VirtioInfo *info = xnew(struct VirtioInfo);

		info->path = qom_path(found[i]);
		info->name = xstrdup(device_name(found[i]->vdev));
		qapi_append_VirtioInfoList(ret, info);
	}
}

/* --- status --- */

static void add_strings(struct strList *list, const char *const *strings, size_t num)
{
	for (size_t i = 0; i < num; i++)
		qapi_append_strList(list, xstrdup(strings[i]));
}

struct VirtioDeviceFeatures *inspect_features(
	const struct vdev *dev, const struct virtio_features *features, bool vhost_word)
{
	struct VirtioDeviceFeatures *ret = xnew(struct VirtioDeviceFeatures);
	uint64_t words[2] = { features->word[0], features->word[1] };
	struct describe_features d;

	if (!vhost_word && dev->transport && dev->view.kind &&
		!strcmp(dev->view.kind, "vhost-user"))
		words[0] &= ~VHOST_USER_BITS;
	describe_features(words, describe_type_by_id(dev->cls->virtio_id), vhost_word, &d);
	ret->has_transports = true;
	add_strings(&ret->transports, d.transports, d.num_transports);
	ret->has_dev_features = true;
	add_strings(&ret->dev_features, d.device, d.num_device);
	ret->has_unknown_dev_features = d.unknown[0] || d.unknown[1];
	ret->unknown_dev_features = d.unknown[0];
	return ret;
}

struct VirtioDeviceStatus *inspect_status_byte(const struct vdev *dev)
{
	struct VirtioDeviceStatus *ret = xnew(struct VirtioDeviceStatus);
	struct describe_names d;

	describe_status(dev->status, dev->driver_features.word, &d);
	ret->has_statuses = true;
	add_strings(&ret->statuses, d.name, d.num);
	ret->has_unknown_statuses = d.unknown != 0;
	ret->unknown_statuses = (uint8_t)d.unknown;
	return ret;
}

int inspect_status(
	struct qom_object *root, const char *path, struct VirtioStatus **ret, struct err *err)
{
	const struct vdev *dev = inspect_find(root, path);
	const struct virtio_features backend =
		virtio_features_from64(dev && dev->view.vhost ? dev->view.vhost->features : 0);
	struct VirtioStatus *s;

	if (!dev)
		return err_set(err, -ENODEV, "Path %s is not a realized VirtIODevice", path);
	s = xnew(struct VirtioStatus);
	s->name = xstrdup(device_name(dev));
	s->device_id = dev->cls->virtio_id;
	s->vhost_started = inspect_vhost_started(dev);
	s->device_endian = xstrdup("little");
	s->guest_features = inspect_features(dev, &dev->driver_features, false);
	s->host_features = inspect_features(dev, &dev->device_features, false);
	s->backend_features = inspect_features(dev, &backend, true);
	s->num_vqs = dev->num_queues;
	s->status = inspect_status_byte(dev);
	s->isr = dev->view.isr;
	s->queue_sel = dev->view.queue_sel;
	s->vm_running = dev->vm_running;
	s->broken = dev->broken;
	s->disabled = dev->view.disabled;
	s->use_started = true;
	s->started = dev->status & VIRTIO_STATUS_DRIVER_OK;
	s->start_on_kick = false;
	s->disable_legacy_check = false;
	s->bus_name = xstrdup(dev->bus_name ? dev->bus_name : "");
	s->use_guest_notifier_mask = true;
	s->vhost_dev = inspect_vhost_status(dev);
	*ret = s;
	return 0;
}

/* --- queues --- */

static struct vq *find_queue(struct vdev *dev, uint16_t queue, struct err *err)
{
	if (queue >= dev->num_queues || !dev->queues[queue].cfg.num) {
		err_set(err, -EINVAL, "Invalid virtqueue number %u", queue);
		return NULL;
	}
	return &dev->queues[queue];
}

/* What is not known of a ring that somebody else serves has its reset value, or is left out. */
static void correct_relayed(const struct vq *vq, struct VirtQueueStatus *s)
{
	struct vhost_ring_now now;

	if (!vq->dev->view.vhost)
		return;
	inspect_vhost_ring(vq, &now);
	s->has_last_avail_idx = now.knows_avail;
	s->last_avail_idx = now.knows_avail ? now.last_avail : 0;
	s->has_shadow_avail_idx = false;
	s->used_idx = now.knows_used ? now.used : 0;
	s->inuse = now.knows_inuse ? now.inuse : 0;
}

int inspect_queue_status(struct qom_object *root, const char *path, uint16_t queue,
	struct VirtQueueStatus **ret, struct err *err)
{
	struct vdev *dev = inspect_find(root, path);
	struct VirtQueueStatus *s;
	struct vq_view view;
	struct vq *vq;

	if (!dev)
		return err_set(err, -ENODEV, "Path %s is not a VirtIODevice", path);
	vq = find_queue(dev, queue, err);
	if (!vq)
		return -EINVAL;
	element_view(vq, &view);
	s = xnew(struct VirtQueueStatus);
	s->name = xstrdup(device_name(dev));
	s->queue_index = queue;
	s->inuse = view.inuse;
	s->vring_num = vq->cfg.num;
	s->vring_num_default = vq->num_default;
	s->vring_align = VRING_ALIGN;
	s->vring_desc = vq->cfg.desc;
	s->vring_avail = vq->cfg.driver;
	s->vring_used = vq->cfg.device;
	s->has_last_avail_idx = true;
	s->last_avail_idx = view.last_avail_idx;
	s->has_shadow_avail_idx = true;
	s->shadow_avail_idx = view.shadow_avail_idx;
	s->used_idx = view.used_idx;
	s->signalled_used = view.signalled_used;
	s->signalled_used_valid = view.signalled_used_valid;
	correct_relayed(vq, s);
	*ret = s;
	return 0;
}

static struct VirtioRingDesc *desc_new(const struct walk_desc *desc)
{
	struct VirtioRingDesc *ret = xnew(struct VirtioRingDesc);
	struct describe_names d;

	describe_desc_flags(desc->flags, &d);
	ret->addr = desc->addr;
	ret->len = desc->len;
	ret->has_flags = true;
	add_strings(&ret->flags, d.name, d.num);
	return ret;
}

int inspect_queue_element(struct qom_object *root, const char *path, uint16_t queue,
	const uint16_t *index, struct VirtioQueueElement **ret, struct err *err)
{
	struct vdev *dev = inspect_find(root, path);
	_cleanup_(element_free) struct element element = { 0 };
	struct VirtioQueueElement *e;
	struct vq *vq;
	int r;

	if (!dev)
		return err_set(err, -ENODEV, "Path %s is not a VirtIO device", path);
	vq = find_queue(dev, queue, err);
	if (!vq)
		return -EINVAL;
	r = element_read(vq, index, &element, err);
	if (r < 0)
		return r;
	e = xnew(struct VirtioQueueElement);
	e->name = xstrdup(device_name(dev));
	e->index = element.head;
	e->has_descs = true;
	for (size_t i = 0; i < element.chain.num; i++)
		qapi_append_VirtioRingDescList(&e->descs, desc_new(&element.chain.descs[i]));
	e->avail = xnew(struct VirtioRingAvail);
	e->avail->flags = element.avail_flags;
	e->avail->idx = element.avail_idx;
	e->avail->ring = element.ring;
	e->used = xnew(struct VirtioRingUsed);
	e->used->flags = element.used_flags;
	e->used->idx = element.used_idx;
	*ret = e;
	return 0;
}
