/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A device's state machine, and the one place that decides whether a queue runs. Main loop only;
 * the queues follow by messages (vq.c).
 */
#include "virtio/vdev.h"

#include <assert.h>
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/alloc.h"
#include "base/cleanup.h"

const struct option_spec vdev_common_options[] = {
	{ "event_idx", OPTION_BOOL, offsetof(struct vdev, opt_event_idx), "on", 0, 0, NULL,
		"offer VIRTIO_RING_F_EVENT_IDX" },
	{ "indirect_desc", OPTION_BOOL, offsetof(struct vdev, opt_indirect_desc), "on", 0, 0, NULL,
		"offer VIRTIO_RING_F_INDIRECT_DESC" },
	{ "packed", OPTION_BOOL, offsetof(struct vdev, opt_packed), "off", 0, 0, NULL,
		"offer VIRTIO_F_RING_PACKED: a driver that can then takes packed rings" },
	{ "in_order", OPTION_BOOL, offsetof(struct vdev, opt_in_order), "off", 0, 0, NULL,
		"offer VIRTIO_F_IN_ORDER: requests are answered in the order they came" },
	{ "queue_reset", OPTION_BOOL, offsetof(struct vdev, opt_queue_reset), "on", 0, 0, NULL,
		"offer VIRTIO_F_RING_RESET" },
	{ "queue-size", OPTION_U32, offsetof(struct vdev, opt_queue_size), "0", 0, VQ_SIZE_MAX,
		NULL, "entries of each queue unless the driver sets another; 0: the device's own" },
	{ NULL },
};

static const struct vdev_listener *listener;

void vdev_set_listener(const struct vdev_listener *new_listener)
{
	listener = new_listener;
}

const char *vdev_label(const struct vdev *dev)
{
	return dev->id ? dev->id : dev->cls->name;
}

static void tell_status(struct vdev *dev)
{
	if (listener && listener->status_changed)
		listener->status_changed(dev);
}

void vdev_vhost_changed(struct vdev *dev)
{
	if (listener && listener->vhost_changed)
		listener->vhost_changed(dev);
}

static void set_status(struct vdev *dev, uint8_t status)
{
	if (dev->status == status)
		return;
	dev->status = status;
	tell_status(dev);
}

/* --- queues --- */

static bool should_run(const struct vdev *dev, const struct vq *vq)
{
	return dev->realized && !dev->cls->relayed && vq->enabled && vq->has_kick &&
	       !dev->num_holds && !vq->num_holds && !dev->broken && dev->vm_running &&
	       (dev->status & VIRTIO_STATUS_DRIVER_OK);
}

bool vdev_is_idle(const struct vdev *dev)
{
	unsigned int i;

	for (i = 0; i < dev->num_queues; i++)
		if (dev->queues[i].state != VQ_IDLE)
			return false;
	return true;
}

void vdev_sync(struct vdev *dev)
{
	unsigned int i;

	for (i = 0; i < dev->num_queues; i++) {
		struct vq *vq = &dev->queues[i];
		bool want = should_run(dev, vq);
		struct err err = { 0 };

		if (!want && vq->state == VQ_RUNNING)
			vq_stop(vq);
		if (want && vq->state == VQ_IDLE && vq_start(vq, dev->mem, &err) < 0) {
			vq->was_broken = true;
			vdev_break(dev, "%s", err.msg);
			return;
		}
	}
}

static bool wait_is_over(const struct vdev *dev, const struct vdev_wait *wait)
{
	return wait->vq ? wait->vq->state == VQ_IDLE : vdev_is_idle(dev);
}

static void run_waits(struct vdev *dev)
{
	struct vdev_wait *over = NULL, **last = &over, **at = &dev->waits;

	while (*at) {
		if (!wait_is_over(dev, *at)) {
			at = &(*at)->next;
			continue;
		}
		*last = *at;
		*at = (*at)->next;
		last = &(*last)->next;
		*last = NULL;
	}
	/* A callback may wait again, or destroy the device: nothing of it is used after the last.
	 */
	while (over) {
		struct vdev_wait *wait = over;

		over = wait->next;
		wait->fn(wait);
	}
}

static void on_queue_stopped(struct vq *vq)
{
	struct vdev *dev = vq->dev;

	/* Whoever waits has a hold: nothing starts again before its turn. */
	vdev_sync(dev);
	run_waits(dev);
}

static void on_queue_broken(struct vq *vq)
{
	vdev_break(vq->dev, "queue %u: %s", vq->index, vq->reason);
}

void vdev_when_idle(struct vdev *dev, struct vdev_wait *wait)
{
	struct vdev_wait **at;

	if (wait_is_over(dev, wait)) {
		wait->fn(wait);
		return;
	}
	wait->next = NULL;
	for (at = &dev->waits; *at; at = &(*at)->next)
		;
	*at = wait;
}

void vdev_hold(struct vdev *dev)
{
	dev->num_holds++;
	vdev_sync(dev);
}

void vdev_release(struct vdev *dev)
{
	assert(dev->num_holds);
	dev->num_holds--;
	vdev_sync(dev);
}

void vdev_hold_queue(struct vdev *dev, struct vq *vq)
{
	vq->num_holds++;
	vdev_sync(dev);
}

void vdev_release_queue(struct vdev *dev, struct vq *vq)
{
	assert(vq->num_holds);
	vq->num_holds--;
	vdev_sync(dev);
}

void vdev_set_vm_running(struct vdev *dev, bool running)
{
	dev->vm_running = running;
	vdev_sync(dev);
}

void vdev_set_queues(struct vdev *dev, unsigned int n, uint32_t size_default)
{
	unsigned int i;

	assert(n <= VDEV_QUEUES_MAX && !dev->queues);
	dev->num_queues = n;
	dev->queues = xnew_n(struct vq, n);
	for (i = 0; i < n; i++) {
		struct vq *vq = &dev->queues[i];

		vq_init(vq, dev, i, dev->opt_queue_size ? dev->opt_queue_size : size_default,
			dev->data_loop);
		vq->stopped_fn = on_queue_stopped;
		vq->broken_fn = on_queue_broken;
	}
}

void vdev_set_queue_loop(struct vdev *dev, unsigned int index, struct loop *loop)
{
	assert(index < dev->num_queues && !dev->transport && dev->queues[index].state == VQ_IDLE);
	dev->queues[index].loop = loop;
}

/* --- life --- */

struct vdev *vdev_new(const struct vdev_class *cls, const char *id, struct loop *main_loop,
	struct loop *data_loop)
{
	struct vdev *dev = xcalloc(1, cls->instance_bytes);

	assert(cls->instance_bytes >= sizeof(*dev) && cls->config_bytes <= VDEV_CONFIG_MAX);
	dev->cls = cls;
	dev->id = id ? xstrdup(id) : NULL;
	dev->main_loop = main_loop;
	dev->data_loop = data_loop;
	dev->vm_running = true;
	dev->dirty_fd = -1;
	options_defaults(vdev_common_options, dev);
	options_defaults(cls->options, dev);
	return dev;
}

static int check_queue_size(const struct vdev *dev, struct err *err)
{
	uint32_t n = dev->opt_queue_size;

	if (n & (n - 1))
		return err_set(err, -EINVAL,
			"%s: queue-size=%u is no power of two; a split ring needs one",
			vdev_label(dev), n);
	return 0;
}

static void offer_ring_features(struct vdev *dev)
{
	const struct {
		unsigned int bit;
		bool on;
	} features[] = {
		{ VIRTIO_F_VERSION_1, true },
		{ VIRTIO_F_EVENT_IDX, dev->opt_event_idx },
		{ VIRTIO_F_INDIRECT_DESC, dev->opt_indirect_desc },
		{ VIRTIO_F_RING_PACKED, dev->opt_packed },
		{ VIRTIO_F_IN_ORDER, dev->opt_in_order },
		{ VIRTIO_F_RING_RESET, dev->opt_queue_reset },
	};

	/* Who serves the rings offers what they are. */
	for (size_t i = 0; i < ARRAY_SIZE(features); i++)
		if (!features[i].on || !dev->cls->handed_over)
			virtio_features_set(&dev->device_features, features[i].bit, features[i].on);
}

int vdev_realize(struct vdev *dev, struct err *err)
{
	int r = check_queue_size(dev, err);

	if (!r)
		r = dev->cls->realize(dev, err);
	if (r < 0) {
		if (dev->cls->unrealize)
			dev->cls->unrealize(dev);
		return r;
	}
	dev->realized = true;
	if (!dev->cls->relayed)
		offer_ring_features(dev);
	return 0;
}

static void free_device(struct vdev *dev)
{
	unsigned int i;

	if (dev->transport && dev->transport->detach)
		dev->transport->detach(dev);
	if (dev->realized && dev->cls->unrealize)
		dev->cls->unrealize(dev);
	for (i = 0; i < dev->num_queues; i++)
		vq_deinit(&dev->queues[i]);
	free(dev->queues);
	gmem_unref(dev->mem);
	dirty_log_unref(dev->dirty);
	options_free(dev->cls->options, dev);
	options_free(vdev_common_options, dev);
	free(dev->id);
	free(dev);
}

struct destroy_wait {
	struct vdev_wait wait;
	struct vdev *dev;
	struct vdev_wait *caller;
};

static void on_destroy_idle(struct vdev_wait *wait)
{
	struct destroy_wait *d = container_of(wait, struct destroy_wait, wait);
	struct vdev_wait *caller = d->caller;

	free_device(d->dev);
	free(d);
	if (caller)
		caller->fn(caller);
}

void vdev_destroy(struct vdev *dev, struct vdev_wait *wait)
{
	struct destroy_wait *d = xnew(struct destroy_wait);

	d->wait.fn = on_destroy_idle;
	d->dev = dev;
	d->caller = wait;
	vdev_hold(dev);
	vdev_when_idle(dev, &d->wait);
}

void vdev_reset(struct vdev *dev)
{
	unsigned int i;

	assert(vdev_is_idle(dev));
	for (i = 0; i < dev->num_queues; i++)
		vq_reset_config(&dev->queues[i]);
	dev->driver_features = (struct virtio_features){ { 0, 0 } };
	dev->view.unoffered_features = 0;
	dev->view.isr = 0;
	dev->view.queue_sel = 0;
	dev->broken = false;
	dev->broken_reason[0] = '\0';
	if (dev->cls->reset)
		dev->cls->reset(dev);
	set_status(dev, 0);
}

void vdev_break(struct vdev *dev, const char *fmt, ...)
{
	va_list ap;

	if (dev->broken)
		return;
	dev->broken = true;
	va_start(ap, fmt);
	vsnprintf(dev->broken_reason, sizeof(dev->broken_reason), fmt, ap);
	va_end(ap);
	/* A driver can reset and break it as often as it likes. */
	log_limited(&dev->broken_limit, LOG_LEVEL_ERROR, "%s: %s; the device needs a reset",
		vdev_label(dev), dev->broken_reason);
	set_status(dev, dev->status | VIRTIO_STATUS_NEEDS_RESET);
	vdev_sync(dev);
	if (dev->transport && dev->transport->broken)
		dev->transport->broken(dev);
	if (listener && listener->broken)
		listener->broken(dev);
}

/* --- features and status --- */

/* Ring features that the core implements. */
#define RING_FEATURES                                                       \
	(1ull << VIRTIO_F_EVENT_IDX | 1ull << VIRTIO_F_INDIRECT_DESC |      \
		1ull << VIRTIO_F_VERSION_1 | 1ull << VIRTIO_F_RING_PACKED | \
		1ull << VIRTIO_F_IN_ORDER | 1ull << VIRTIO_F_RING_RESET)
/* Those of them that a driver may accept though they were not offered. */
#define LENIENT_FEATURES \
	(1ull << VIRTIO_F_EVENT_IDX | 1ull << VIRTIO_F_INDIRECT_DESC | 1ull << VIRTIO_F_VERSION_1)

bool vdev_ring_feature(const struct vdev *dev, unsigned int bit)
{
	struct virtio_features known = virtio_features_from64(RING_FEATURES);

	return virtio_features_has(&known, bit) && virtio_features_has(&dev->driver_features, bit);
}

void vdev_set_driver_features(struct vdev *dev, struct virtio_features features)
{
	static struct log_limit limit;
	struct virtio_features extra = virtio_features_without(features, dev->device_features);

	/* Running queues read the word: the same one again leaves it alone. */
	if (memcmp(&dev->driver_features, &features, sizeof(features)) != 0)
		dev->driver_features = features;
	if (extra.word[0] && extra.word[0] != dev->view.unoffered_features)
		log_limited(&limit, LOG_LEVEL_WARN,
			"%s: the driver accepted features 0x%" PRIx64 " that were not offered",
			vdev_label(dev), extra.word[0]);
	dev->view.unoffered_features = extra.word[0];
}

static bool features_acceptable(const struct vdev *dev)
{
	struct virtio_features extra =
		virtio_features_without(dev->driver_features, dev->device_features);

	extra = virtio_features_without(extra, virtio_features_from64(LENIENT_FEATURES));
	return virtio_features_empty(&extra);
}

uint8_t vdev_write_status(struct vdev *dev, uint8_t status)
{
	uint8_t added = status & (uint8_t)~dev->status;

	if ((added & VIRTIO_STATUS_FEATURES_OK) && !features_acceptable(dev))
		status &= (uint8_t)~VIRTIO_STATUS_FEATURES_OK;
	/* virtio 1.3, "Device Status Field": the driver adds bits; NEEDS_RESET is the device's. */
	set_status(dev, dev->status | (status & (uint8_t)~VIRTIO_STATUS_NEEDS_RESET));
	vdev_sync(dev);
	return dev->status;
}

void vdev_derive_status(struct vdev *dev, uint8_t set, uint8_t clear)
{
	set_status(dev, (dev->status | set) & (uint8_t)~clear);
	vdev_sync(dev);
}

/* --- memory and configuration space --- */

void vdev_set_mem(struct vdev *dev, struct gmem *mem)
{
	assert(vdev_is_idle(dev));
	gmem_ref(mem);
	gmem_unref(dev->mem);
	dev->mem = mem;
}

void vdev_set_dirty_log(struct vdev *dev, struct dirty_log *log, int fd)
{
	assert(vdev_is_idle(dev) || (dev->dirty == log && dev->dirty_fd == fd));
	dirty_log_ref(log);
	dirty_log_unref(dev->dirty);
	dev->dirty = log;
	dev->dirty_fd = fd;
}

void vdev_get_config(struct vdev *dev, void *config)
{
	memset(config, 0, dev->cls->config_bytes);
	if (dev->cls->get_config)
		dev->cls->get_config(dev, config);
}

uint64_t vdev_mem_bytes(const struct vdev *dev)
{
	uint64_t bytes = 0;

	for (unsigned int i = 0; dev->mem && i < dev->mem->num_regions; i++)
		bytes += dev->mem->regions[i]->desc.size;
	return bytes;
}

bool vdev_set_config(struct vdev *dev, size_t offset, const void *bytes, size_t len)
{
	if (!range_inside(offset, len, dev->cls->config_bytes))
		return false;
	if (dev->cls->set_config)
		dev->cls->set_config(dev, offset, bytes, len);
	if (listener && listener->config_written)
		listener->config_written(dev);
	return true;
}

void vdev_config_changed(struct vdev *dev)
{
	dev->config_generation++;
	if (dev->transport && dev->transport->config_changed)
		dev->transport->config_changed(dev);
}
