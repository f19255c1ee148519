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
#include "inspect/chain_walk.h"
#include "inspect/element.h"
#include "inspect/outstanding.h"
#include "inspect/vhost.h"
#include "inspect/virtio.h"
#include "virtio/vdev.h"
#include "virtio/vring.h"

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

	describe_request(describe_type_by_id(dev->cls->virtio_id), vq->index, dev->num_queues,
		dev->driver_features.word, bytes, len,
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

static size_t peek_readable(const struct vq *vq, const struct walk_chain *chain, uint8_t *ret)
{
	size_t n = 0;

	for (size_t i = 0; i < chain->num && n < DESCRIBE_REQUEST_BYTES; i++) {
		const struct walk_desc *d = &chain->descs[i];
		size_t len = MIN((size_t)d->len, DESCRIBE_REQUEST_BYTES - n);

		if (d->flags & VRING_DESC_F_WRITE)
			break;
		if (gmem_peek(vq->dev->mem, d->addr, ret + n, len) < 0)
			break;
		n += len;
	}
	return n;
}

static struct VirtqueueRequest *relayed_new(struct vq *vq, uint16_t head, bool certain)
{
	const struct walk_ring ring = {
		.mem = vq->dev->mem,
		.queue = vq->index,
		.desc = vq->cfg.desc,
		.num = vq->cfg.num,
	};
	struct VirtqueueRequest *r = request_new(vq, head);
	_cleanup_(walk_chain_free) struct walk_chain chain = { 0 };
	uint8_t bytes[DESCRIBE_REQUEST_BYTES];
	struct err err = { 0 };

	r->certain = certain;
	r->source = VIRTQUEUE_REQUEST_SOURCE_MEMORY;
	/* An indirect table may be somebody else's memory by now, if this is not in flight. */
	if (walk_chain(&ring, head, certain, &chain, &err) < 0) {
		r->problem = xstrdup(err.msg);
		return r;
	}
	if (!certain && chain.num && (chain.descs[0].flags & VRING_DESC_F_INDIRECT)) {
		r->problem = xstrdup("not certain to be in flight: its table is not looked at");
		return r;
	}
	for (size_t i = 0; i < chain.num; i++) {
		if (chain.descs[i].flags & VRING_DESC_F_WRITE)
			r->writable_bytes += chain.descs[i].len;
		else
			r->readable_bytes += chain.descs[i].len;
	}
	describe(vq, r, bytes, peek_readable(vq, &chain, bytes));
	return r;
}

/* Of a packed ring a buffer id does not say where its descriptors lie. */
static struct VirtqueueRequest *packed_new(const struct vq *vq, uint16_t head)
{
	struct VirtqueueRequest *r = request_new(vq, head);

	r->source = VIRTQUEUE_REQUEST_SOURCE_MEMORY;
	r->problem = xstrdup("marked in the in-flight region; where it lies in the packed ring is "
			     "not known");
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
	_cleanup_free_ uint16_t *heads = xnew_n(uint16_t, VQ_SIZE_MAX);
	int num = inspect_vhost_heads(vq, heads, VQ_SIZE_MAX);

	for (int i = 0; i < MIN(num, VQ_SIZE_MAX); i++)
		qapi_append_VirtqueueRequestList(list, vq_format(vq->dev)->packed
							       ? packed_new(vq, heads[i])
							       : relayed_new(vq, heads[i], true));
	return num >= 0;
}

static void add_relayed(struct vq *vq, struct VirtqueueRequestList *list)
{
	_cleanup_(outstanding_free) struct outstanding o = { 0 };

	if (add_marked(vq, list))
		return;

	/* Where a packed ring's server stands, memory does not say. */
	if (vq_format(vq->dev)->packed || !outstanding_read(vq, STILL_TRIES, &o))
		return;
	if (o.num_unnamed)
		qapi_append_VirtqueueRequestList(list, unnamed_new(vq, o.num_unnamed));
	for (size_t i = 0; i < o.num; i++)
		qapi_append_VirtqueueRequestList(list, relayed_new(vq, o.heads[i], o.certain[i]));
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
