/* SPDX-License-Identifier: BSD-3-Clause */
/* What the two formats' lists share: the checks before, the parts of an element. */
#include "inspect/ring_list.h"

#include <errno.h>
#include <inttypes.h>

#include "base/alloc.h"
#include "describe/describe.h"
#include "inspect/element.h"
#include "inspect/virtio.h"
#include "virtio/vring.h"

bool ring_list_look(struct ring_list *list)
{
	bool whole = element_view(list->vq, &list->view);

	list->knows_avail = list->knows_used = true;
	if (!list->vq->dev->view.vhost)
		return whole;
	inspect_vhost_ring(list->vq, &list->now);
	list->knows_avail = list->now.knows_avail;
	list->knows_used = list->now.knows_used;
	list->view.last_avail_idx = list->now.last_avail;
	list->view.used_idx = list->now.used;
	list->view.avail_wrap = list->now.avail_wrap;
	list->view.used_wrap = list->now.used_wrap;
	return true;
}

struct VirtqueueElement *ring_list_add(
	struct ring_list *list, uint32_t index, uint16_t head, enum VirtqueueElementState state)
{
	struct VirtqueueElement *e = xnew(struct VirtqueueElement);

	e->index = (uint16_t)index;
	e->head = head;
	e->state = state;
	qapi_append_VirtqueueElementList(&list->ret->elements, e);
	return e;
}

void ring_list_since(
	const struct ring_list *list, struct VirtqueueElement *e, const struct vq_inflight *in)
{
	if (!in)
		return;
	e->has_since_ns = e->has_age_ns = true;
	e->since_ns = in->since_ns;
	e->age_ns = list->now_ns > in->since_ns ? list->now_ns - in->since_ns : 0;
}

void ring_list_descs(struct ring_list *list, struct VirtqueueElement *e, struct walk_chain *chain)
{
	if (chain->num > RING_LIST_MAX_DESCS - list->num_descs) {
		list->ret->truncated = true;
		walk_chain_free(chain);
		return;
	}
	list->num_descs += (uint32_t)chain->num;
	for (size_t i = 0; i < chain->num; i++) {
		struct VirtqueueDescriptor *d = xnew(struct VirtqueueDescriptor);
		struct describe_names names;

		describe_desc_flags(chain->descs[i].flags, &names);
		d->addr = chain->descs[i].addr;
		d->len = chain->descs[i].len;
		for (size_t k = 0; k < names.num; k++)
			qapi_append_strList(&d->flags, xstrdup(names.name[k]));
		qapi_append_VirtqueueDescriptorList(&e->descs, d);
	}
	walk_chain_free(chain);
}

struct walk_ring ring_list_ring(const struct ring_list *list)
{
	const struct vq *vq = list->vq;

	return (struct walk_ring){
		.mem = vq->dev->mem,
		.queue = vq->index,
		.desc = vq->cfg.desc,
		.num = list->num,
		.packed = list->ret->packed,
	};
}

int ring_list_peek(const struct ring_list *list, const char *what, uint64_t gpa, void *ret,
	size_t bytes, struct err *err)
{
	int r = gmem_peek(list->vq->dev->mem, gpa, ret, bytes);

	if (r < 0)
		return err_set(err, r, "Queue %u: the %s at 0x%" PRIx64 " %s", list->vq->index,
			what, gpa, walk_peek_error(r));
	return 0;
}

bool ring_list_marked(const uint16_t *heads, int num, uint16_t head)
{
	for (int i = 0; i < num; i++)
		if (heads[i] == head)
			return true;
	return false;
}

static int check(struct vdev *dev, const char *path, uint16_t queue, struct err *err)
{
	const struct vq *vq;

	if (!dev)
		return err_set(err, -ENODEV, "Path %s is not a realized VirtIODevice", path);
	if (queue >= dev->num_queues || !dev->queues[queue].cfg.num)
		return err_set(err, -EINVAL, "Invalid virtqueue number %u", queue);
	vq = &dev->queues[queue];
	if (!dev->mem || !(vq->cfg.desc | vq->cfg.driver | vq->cfg.device))
		return err_set(err, -ENXIO, "Queue %u has no place in memory yet", queue);
	/* Of a queue that never started, nobody has judged it. */
	if (vq->cfg.num > VQ_SIZE_MAX ||
		(!vq_format(dev)->packed && (vq->cfg.num & (vq->cfg.num - 1))))
		return err_set(err, -EINVAL, "Queue %u: size %u cannot be", queue, vq->cfg.num);
	return 0;
}

int inspect_elements(struct qom_object *root, const char *path, uint16_t queue, uint32_t start,
	uint32_t count, struct VirtqueueElements **ret, struct err *err)
{
	struct vdev *dev = inspect_find(root, path);
	struct ring_list list = { .now_ns = now_ns() };
	uint32_t end;
	int r = check(dev, path, queue, err);

	if (r < 0)
		return r;
	list.vq = &dev->queues[queue];
	list.num = list.vq->cfg.num;
	start = MIN(start, list.num);
	end = count ? start + MIN(count, list.num - start) : list.num;
	list.ret = xnew(struct VirtqueueElements);
	list.ret->name = xstrdup(describe_type_by_id(dev->cls->virtio_id)->name);
	list.ret->queue_index = queue;
	list.ret->packed = vq_format(dev)->packed;
	list.ret->num = list.num;
	list.ret->event_idx = vdev_ring_feature(dev, VIRTIO_F_EVENT_IDX);
	r = list.ret->packed ? ring_list_packed(&list, start, end, err)
			     : ring_list_split(&list, start, end, err);
	if (r < 0) {
		qapi_free_VirtqueueElements(list.ret);
		return r;
	}
	list.ret->has_last_avail = list.knows_avail;
	list.ret->last_avail = list.view.last_avail_idx;
	list.ret->has_used = list.knows_used;
	list.ret->used = list.view.used_idx;
	*ret = list.ret;
	return 0;
}
