/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Each request with what it is. Of our own devices the bytes are those that the device loaded; of a
 * relayed queue they are read now, and marked so. What cannot be read says why, and the rest is
 * answered all the same.
 */
#include "inspect/inflight.h"

#include <errno.h>
#include <stdlib.h>

#include "base/alloc.h"
#include "base/cleanup.h"
#include "describe/describe.h"
#include "inspect/element.h"
#include "inspect/outstanding.h"
#include "inspect/relayed_request.h"
#include "inspect/vhost.h"
#include "inspect/virtio.h"
#include "virtio/vdev.h"

/* So often a look for a moment in which a relayed ring stands still. */
#define STILL_TRIES 64

static void add_fields(struct VirtqueueRequest *r, const struct describe_fields *fields)
{
	r->description = xstrdup(fields->line);
	for (size_t i = 0; i < fields->num; i++) {
		struct VirtqueueRequestField *f = xnew(struct VirtqueueRequestField);

		f->name = xstrdup(fields->field[i].name);
		f->value = fields->field[i].value;
		f->text = fields->field[i].text[0] ? xstrdup(fields->field[i].text) : NULL;
		qapi_append_VirtqueueRequestFieldList(&r->fields, f);
	}
}

static void describe(const struct vq *vq, struct VirtqueueRequest *r, const void *bytes, size_t len)
{
	const struct vdev *dev = vq->dev;
	struct describe_fields fields;

	describe_request(describe_type_by_id(dev->cls->virtio_id), vq->index,
		inspect_num_queues(dev), dev->driver_features.word, bytes, len,
		(uint32_t)MIN(r->readable_bytes, (uint64_t)UINT32_MAX),
		(uint32_t)MIN(r->writable_bytes, (uint64_t)UINT32_MAX), &fields);
	add_fields(r, &fields);
}

static struct VirtqueueRequest *request_new(const struct vq *vq, uint16_t head)
{
	struct VirtqueueRequest *r = xnew(struct VirtqueueRequest);

	r->queue = (uint16_t)vq->index;
	r->has_head = true;
	r->head = head;
	r->certain = true;
	return r;
}

/* --- our own --- */

static struct VirtqueueRequest *own_new(
	struct vq *vq, const struct vq_inflight *in, const struct loop *builtin, uint64_t now)
{
	struct VirtqueueRequest *r = request_new(vq, in->head);

	r->has_since_ns = r->has_age_ns = true;
	r->since_ns = in->since_ns;
	r->age_ns = now > in->since_ns ? now - in->since_ns : 0;
	r->readable_bytes = in->readable_bytes;
	r->writable_bytes = in->writable_bytes;
	r->iothread = vq->loop == builtin ? NULL : xstrdup(vq->loop->name);
	r->has_thread_id = true;
	r->thread_id = atomic_load(&vq->loop->tid);
	r->source = VIRTQUEUE_REQUEST_SOURCE_DEVICE;
	describe(vq, r, in->snap, in->num_snap);
	return r;
}

static void add_own(struct vq *vq, const struct loop *builtin, struct VirtqueueRequestList *list)
{
	struct vq_inflight in;
	uint64_t now = now_ns();

	for (uint32_t head = 0; vq->state != VQ_IDLE && head < vq->num; head++)
		if (vq_read_inflight(vq, (uint16_t)head, &in))
			qapi_append_VirtqueueRequestList(list, own_new(vq, &in, builtin, now));
}

/* --- somebody else's --- */

static struct VirtqueueRequest *relayed_new(const struct vq *vq, const struct relayed_request *seen)
{
	struct VirtqueueRequest *r = request_new(vq, seen->head);

	r->certain = seen->certain;
	r->source = VIRTQUEUE_REQUEST_SOURCE_MEMORY;
	if (seen->problem.msg[0]) {
		r->problem = xstrdup(seen->problem.msg);
		return r;
	}
	r->readable_bytes = seen->readable_bytes;
	r->writable_bytes = seen->writable_bytes;
	describe(vq, r, seen->bytes, seen->num_bytes);
	return r;
}

/* Older than all that the available ring still names. */
static struct VirtqueueRequest *unnamed_new(const struct vq *vq, uint32_t num)
{
	struct VirtqueueRequest *r = request_new(vq, 0);

	r->has_head = false;
	r->source = VIRTQUEUE_REQUEST_SOURCE_MEMORY;
	r->problem = xasprintf("%u that the available ring does not name any more", num);
	return r;
}

/* What the in-flight region marks; false where there is none. */
static bool add_marked(struct vq *vq, struct VirtqueueRequestList *list)
{
	_cleanup_free_ struct vhost_mark *marks = NULL;
	int num = inspect_vhost_marks(vq, &marks);
	struct relayed_request seen;

	for (int i = 0; i < num; i++) {
		if (vq_format(vq->dev)->packed)
			relayed_request_recorded(vq, &marks[i], &seen);
		else
			relayed_request_read(vq, marks[i].head, true, &seen);
		qapi_append_VirtqueueRequestList(list, relayed_new(vq, &seen));
	}
	return num >= 0;
}

static void add_relayed(struct vq *vq, struct VirtqueueRequestList *list)
{
	_cleanup_(outstanding_free) struct outstanding o = { 0 };
	struct relayed_request seen;

	if (add_marked(vq, list))
		return;

	/* Where a packed ring's server stands, memory does not say. */
	if (vq_format(vq->dev)->packed || !outstanding_read(vq, STILL_TRIES, &o))
		return;
	if (o.num_unnamed)
		qapi_append_VirtqueueRequestList(list, unnamed_new(vq, o.num_unnamed));
	for (size_t i = 0; i < o.num; i++) {
		relayed_request_read(vq, o.heads[i], o.certain[i], &seen);
		qapi_append_VirtqueueRequestList(list, relayed_new(vq, &seen));
	}
}

/* Oldest first; of those whose age nobody knows the order of their making stands. */
static int by_age(const void *a, const void *b)
{
	const struct VirtqueueRequest *const *x = a, *const *y = b;

	if ((*x)->since_ns != (*y)->since_ns)
		return (*x)->since_ns < (*y)->since_ns ? -1 : 1;
	if ((*x)->queue != (*y)->queue)
		return (*x)->queue < (*y)->queue ? -1 : 1;
	return 0;
}

int inspect_inflight(struct qom_object *root, const char *path, const uint16_t *queue,
	const struct loop *builtin, struct VirtqueueRequestList *ret, struct err *err)
{
	struct vdev *dev = inspect_find(root, path);

	if (!dev)
		return err_set(err, -ENODEV, "Path %s is not a realized VirtIODevice", path);
	if (queue && *queue >= dev->num_queues)
		return err_set(err, -EINVAL, "Invalid virtqueue number %u", *queue);
	for (unsigned int i = 0; i < dev->num_queues; i++) {
		if (queue && *queue != i)
			continue;
		if (dev->view.vhost)
			add_relayed(&dev->queues[i], ret);
		else
			add_own(&dev->queues[i], builtin, ret);
	}
	/* qsort() is a stable merge sort in glibc, and in any case all of one batch are equal. */
	if (ret->num && !dev->view.vhost)
		qsort(ret->items, ret->num, sizeof(ret->items[0]), by_age);
	return 0;
}
