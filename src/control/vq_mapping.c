/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Queues and iothreads. A queue's loop is constant from before its transport is attached. Refused,
 * in QEMU's order and words: both options at once, an iothread that does not exist or is named
 * twice, "vqs" on some of the items only, a queue that does not exist or is given away twice, and,
 * where the items name queues, one that nobody names.
 */
#include "control/vq_mapping.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/alloc.h"
#include "base/cleanup.h"
#include "control/internal.h"
#include "control/iothreads.h"
#include "inspect/virtio.h"

static void use(struct vq_mapping *map, struct control_object *obj)
{
	obj->num_users++;
	map->iothreads = xreallocarray(
		map->iothreads, map->num_iothreads + 1, sizeof(struct control_object *));
	map->iothreads[map->num_iothreads++] = obj;
}

int vq_mapping_init(struct vq_mapping *map, struct control *ctl, struct vdev *dev,
	const char *iothread, struct json_object *json, struct err *err)
{
	struct control_object *obj;
	int r = 0;

	if (json)
		r = qapi_value_from_json(&qapi_type_IOThreadVirtQueueMappingList, json, QAPI_STRICT,
			"iothread-vq-mapping", &map->list, err);
	if (r < 0 || !iothread)
		return r;
	if (map->list.num)
		return err_set(err, -EINVAL,
			"iothread and iothread-vq-mapping properties cannot be set at the same "
			"time");
	r = control_iothread_find(ctl, iothread, &obj, err);
	if (r < 0)
		return r;
	use(map, obj);
	dev->data_loop = &obj->loop;
	return 0;
}

/* The items' queues, checked; who[] says for each queue which of map->iothreads it got, + 1. */
static int assign_vqs(const struct IOThreadVirtQueueMapping *item, unsigned int num_queues,
	size_t number, size_t *who, struct err *err)
{
	for (size_t i = 0; i < item->vqs.num; i++) {
		unsigned int vq = item->vqs.items[i];

		if (vq >= num_queues)
			return err_set(err, -EINVAL,
				"vq index %u for IOThread \"%s\" must be less than num_queues %u "
				"in "
				"iothread-vq-mapping",
				vq, item->iothread, num_queues);
		if (who[vq])
			return err_set(err, -EINVAL,
				"cannot assign vq %u to IOThread \"%s\" because it is already "
				"assigned",
				vq, item->iothread);
		who[vq] = number + 1;
	}
	return 0;
}

static int take_item(struct vq_mapping *map, struct control *ctl, size_t number, struct err *err)
{
	const struct IOThreadVirtQueueMapping *item = map->list.items[number];
	const struct IOThreadVirtQueueMapping *first = map->list.items[0];
	struct control_object *obj;
	int r = control_iothread_find(ctl, item->iothread, &obj, err);

	if (r < 0)
		return r;
	for (size_t i = 0; i < number; i++)
		if (map->iothreads[i] == obj)
			return err_set(err, -EINVAL,
				"duplicate IOThread name \"%s\" in iothread-vq-mapping",
				item->iothread);
	/* An empty list of queues counts as none. */
	if (!item->vqs.num != !first->vqs.num)
		return err_set(err, -EINVAL,
			"either all items in iothread-vq-mapping must have vqs or none of them "
			"must have it");
	use(map, obj);
	return 0;
}

int vq_mapping_apply(struct vq_mapping *map, struct control *ctl, struct vdev *dev, struct err *err)
{
	unsigned int first = dev->cls->first_mapped_vq, num = dev->num_queues - first;
	_cleanup_free_ size_t *who = NULL;
	int r = 0;

	if (!map->list.num)
		return 0;
	if (map->list.num > 1 && dev->needs_one_loop)
		return err_set(err, -EINVAL,
			"%s: %s needs all queues on one loop, and iothread-vq-mapping spreads them "
			"over %zu",
			vdev_label(dev), dev->needs_one_loop, map->list.num);
	who = xcalloc(num, sizeof(*who));
	for (size_t i = 0; !r && i < map->list.num; i++) {
		r = take_item(map, ctl, i, err);
		if (!r)
			r = assign_vqs(map->list.items[i], num, i, who, err);
	}
	if (r < 0)
		return r;
	for (unsigned int vq = 0; vq < num; vq++) {
		if (!map->list.items[0]->vqs.num)
			who[vq] = vq % map->num_iothreads + 1;
		if (!who[vq])
			return err_set(err, -EINVAL,
				"missing vq %u IOThread assignment in iothread-vq-mapping", vq);
	}
	for (unsigned int vq = 0; vq < num; vq++)
		vdev_set_queue_loop(dev, first + vq, &map->iothreads[who[vq] - 1]->loop);
	return 0;
}

void vq_mapping_deinit(struct vq_mapping *map)
{
	for (size_t i = 0; i < map->num_iothreads; i++)
		map->iothreads[i]->num_users--;
	free(map->iothreads);
	qapi_clear_IOThreadVirtQueueMappingList(&map->list);
	*map = (struct vq_mapping){ 0 };
}

void vq_mapping_threads(
	const struct control *ctl, const struct vdev *dev, struct VirtQueueThreadList *ret)
{
	/* No thread of ours. */
	if (dev->cls->relayed)
		return;
	for (unsigned int i = 0; i < dev->num_queues; i++) {
		struct VirtQueueThread *thread = xnew(struct VirtQueueThread);
		struct loop *loop = dev->queues[i].loop;

		thread->queue = (uint16_t)i;
		thread->iothread = loop == &ctl->data_loop ? NULL : xstrdup(loop->name);
		thread->thread_id = atomic_load(&loop->tid);
		qapi_append_VirtQueueThreadList(ret, thread);
	}
}

int control_cmd_query_virtio_queue_threads(struct qapi_call *call, const char *path,
	struct VirtQueueThreadList *ret, struct qapi_error *error)
{
	const struct control *ctl = call->ctx;
	const struct vdev *dev = inspect_find(ctl->root, path);

	if (!dev)
		return qapi_error_set(
			error, QAPI_GENERIC_ERROR, "Path %s is not a realized VirtIODevice", path);
	vq_mapping_threads(ctl, dev, ret);
	return 0;
}
