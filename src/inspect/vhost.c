/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The vhost members of the replies, and the transcript. Where a ring stands is its server's own:
 * the used index lies in memory, and the index that is taken next follows from it only while
 * nothing is on its way. What cannot be known is left out.
 */
#include "inspect/vhost.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/alloc.h"
#include "base/cleanup.h"
#include "describe/describe.h"
#include "inspect/findings.h"
#include "inspect/virtio.h"
#include "proto/transcript.h"
#include "proto/vhu_fields.h"
#include "virtio/vring.h"

/* Of a word of the log, which covers 64 pages; QEMU counts in these. */
#define LOG_WORD_BYTES 8

static const struct vhost_view_ring *ring_of(const struct vq *vq)
{
	return &vq->dev->view.vhost->rings[vq->index];
}

static bool has_areas(const struct vq *vq)
{
	return vq->dev->mem && (vq->cfg.desc | vq->cfg.driver | vq->cfg.device);
}

/* --- status --- */

bool inspect_vhost_started(const struct vdev *dev)
{
	for (unsigned int i = 0; dev->view.vhost && i < dev->num_queues; i++)
		if (dev->view.vhost->rings[i].started)
			return true;
	return false;
}

static struct VirtioDeviceFeatures *word_new(const struct vdev *dev, uint64_t word)
{
	const struct virtio_features features = virtio_features_from64(word);

	return inspect_features(dev, &features, true);
}

static struct VhostDeviceProtocols *protocols_new(uint64_t word)
{
	struct VhostDeviceProtocols *ret = xnew(struct VhostDeviceProtocols);
	struct describe_names d;

	describe_vhost_user_protocols(word, &d);
	for (size_t i = 0; i < d.num; i++)
		qapi_append_strList(&ret->protocols, xstrdup(d.name[i]));
	ret->has_unknown_protocols = d.unknown != 0;
	ret->unknown_protocols = d.unknown;
	return ret;
}

struct VhostStatus *inspect_vhost_status(const struct vdev *dev)
{
	const struct vhost_view *view = dev->view.vhost;
	struct VhostStatus *s;

	if (!inspect_vhost_started(dev))
		return NULL;
	s = xnew(struct VhostStatus);
	s->n_mem_sections = s->n_tmp_sections = dev->mem ? dev->mem->num_regions : 0;
	s->nvqs = dev->num_queues;
	s->vq_index = 0;
	s->features = word_new(dev, view->features);
	s->acked_features = word_new(dev, view->acked_features);
	/* Of the connection's own bits those that the back-end has. */
	s->backend_features = word_new(dev, view->features & 1ull << 30);
	s->protocol_features = protocols_new(view->protocol_acked);
	s->max_queues = view->max_queues ? view->max_queues : 1;
	s->backend_cap = 0;
	s->log_enabled = view->log_enabled;
	s->log_size = view->log_bytes / LOG_WORD_BYTES;
	return s;
}

static uint64_t host_address(const struct vdev *dev, uint64_t gpa)
{
	return (uint64_t)(uintptr_t)gmem_ptr(dev->mem, gpa, 1);
}

unsigned int inspect_num_queues(const struct vdev *dev)
{
	const struct vhost_view *view = dev->view.vhost;

	return dev->num_queues + (view && view->protocol_acked >> VHU_PF_CRYPTO_SESSION & 1);
}

/* Did the front-end say where the ring lies? */
static bool is_told(const struct vdev *dev, uint16_t queue)
{
	return dev->view.vhost && queue < dev->num_queues &&
	       dev->view.vhost->rings[queue].has_areas;
}

static struct VirtVhostQueueStatus *queue_new(struct vdev *dev, const struct vq *vq)
{
	const struct vq_ops *format = vq_format(dev);
	bool event_idx = vdev_ring_feature(dev, VIRTIO_F_EVENT_IDX);
	struct VirtVhostQueueStatus *s = xnew(struct VirtVhostQueueStatus);

	s->name = xstrdup(describe_type_by_id(dev->cls->virtio_id)->name);
	s->kick = ring_of(vq)->kick;
	s->call = ring_of(vq)->call;
	s->num = vq->cfg.num;
	s->desc_phys = vq->cfg.desc;
	s->avail_phys = vq->cfg.driver;
	s->used_phys = vq->cfg.device;
	s->desc_size = (uint32_t)format->area_bytes(vq->cfg.num, event_idx, VQ_AREA_DESC);
	s->avail_size = (uint32_t)format->area_bytes(vq->cfg.num, event_idx, VQ_AREA_DRIVER);
	s->used_size = (uint32_t)format->area_bytes(vq->cfg.num, event_idx, VQ_AREA_DEVICE);
	if (has_areas(vq)) {
		s->desc = host_address(dev, s->desc_phys);
		s->avail = host_address(dev, s->avail_phys);
		s->used = host_address(dev, s->used_phys);
	}
	return s;
}

int inspect_vhost_queue_status(struct qom_object *root, const char *path, uint16_t queue,
	struct VirtVhostQueueStatus **ret, struct err *err)
{
	struct vdev *dev = inspect_find(root, path);

	if (!dev)
		return err_set(err, -ENODEV, "Path %s is not a VirtIODevice", path);
	/* Our own devices serve their queues themselves. A ring that rests keeps its place. */
	if (!inspect_vhost_started(dev) && !is_told(dev, queue))
		return err_set(err, -ENODEV, "Error: vhost device has not started yet");
	if (queue >= dev->num_queues || !dev->queues[queue].cfg.num)
		return err_set(err, -EINVAL, "Invalid vhost virtqueue number %u", queue);
	*ret = queue_new(dev, &dev->queues[queue]);
	return 0;
}

/* --- types --- */

/* "a, b": names that grow by one. */
static void append_name(char **names, const char *name)
{
	_cleanup_free_ char *old = *names;

	*names = xasprintf("%s%s%s", old, *old ? ", " : "", name);
}

int inspect_virtio_id(const char *text, uint16_t *ret, struct err *err)
{
	_cleanup_free_ char *names = xstrdup("");
	const struct describe_type *type;
	unsigned long n;
	char *end;

	for (size_t row = 0; (type = describe_type_at(row)); row++) {
		if (!strcmp(type->name, text)) {
			*ret = type->id;
			return 0;
		}
		append_name(&names, type->name);
	}
	errno = 0;
	n = strtoul(text, &end, 10);
	if (text[0] >= '0' && text[0] <= '9' && !*end && !errno && n <= UINT16_MAX) {
		*ret = (uint16_t)n;
		return 0;
	}
	return err_set(err, -EINVAL, "type=%s: expected the number of a virtio type or one of %s",
		text, names);
}

char *inspect_types_that_fit(const struct vdev *dev)
{
	uint64_t words[2] = { dev->device_features.word[0], dev->device_features.word[1] };
	char *names = xstrdup("");
	const struct describe_type *type;

	words[0] &= ~(1ull << 26 | 1ull << 30);
	for (size_t row = 0; (type = describe_type_at(row)); row++) {
		struct describe_features d;

		describe_features(words, type, false, &d);
		if (d.unknown[0] | d.unknown[1])
			continue;
		/* More than its fixed queues can only be more of a kind. */
		if (!type->more_queues && !type->queue_role && dev->num_queues > type->num_queues)
			continue;
		append_name(&names, type->name);
	}
	return names;
}

/* --- transcript --- */

static void add_fields(struct VhostUserMessage *m, const struct transcript_entry *e)
{
	struct vhu_fields fields;

	vhu_describe(&e->header, e->channel == TRANSCRIPT_BACKEND, m->is_reply, e->payload,
		e->num_kept, &fields);
	for (unsigned int i = 0; i < fields.num; i++) {
		struct VhostUserField *field = xnew(struct VhostUserField);

		field->name = xstrdup(fields.field[i].name);
		field->value = xstrdup(fields.field[i].text);
		qapi_append_VhostUserFieldList(&m->fields, field);
	}
}

static struct VhostUserMessage *message_new(const struct transcript_entry *e)
{
	bool channel = e->channel == TRANSCRIPT_BACKEND;
	struct VhostUserMessage *m = xnew(struct VhostUserMessage);
	char name[32];

	m->serial = e->serial;
	m->time = e->time_ns;
	m->connection = e->connection;
	m->channel = channel ? VHOST_USER_CHANNEL_BACKEND : VHOST_USER_CHANNEL_MAIN;
	m->from = e->from_backend ? VHOST_USER_END_BACK_END : VHOST_USER_END_FRONT_END;
	m->request = le32_get(e->header.request);
	m->name = xstrdup(vhu_message_name(m->request, channel, name, sizeof(name)));
	m->flags = le32_get(e->header.flags);
	m->size = le32_get(e->header.size);
	m->descriptors = e->num_fds;
	m->is_reply = transcript_is_reply(e);
	m->malformed = e->malformed;
	m->own = e->own;
	m->has_reply = m->has_latency_ns = e->reply != 0;
	m->reply = e->reply;
	m->latency_ns = e->latency_ns;
	m->has_answers = e->request != 0;
	m->answers = e->request;
	add_fields(m, e);
	return m;
}

int inspect_transcript(struct qom_object *root, const char *path, uint64_t after,
	struct VhostUserMessageList *ret, struct err *err)
{
	const struct vdev *dev = inspect_find(root, path);
	const struct transcript *t;

	if (!dev)
		return err_set(err, -ENODEV, "Path %s is not a realized VirtIODevice", path);
	t = inspect_transcript_of(dev);
	if (!t)
		return err_set(err, -ENODEV,
			"%s has no vhost-user connection: no messages are kept", path);
	if (after >= t->last)
		return 0;
	for (uint64_t at = MAX(transcript_first(t), after + 1); at <= t->last; at++)
		qapi_append_VhostUserMessageList(ret, message_new(transcript_get(t, at)));
	return 0;
}
