/* SPDX-License-Identifier: BSD-3-Clause */
/* What virtio/vq_recorder.c reads, with names. A relayed queue has no recorder, and that is said.
 */
#include "inspect/trace.h"

#include <errno.h>
#include <string.h>

#include "base/alloc.h"
#include "inspect/virtio.h"
#include "virtio/vdev.h"

/* The schema has them in the same order. */
_Static_assert((int)VIRTQUEUE_EVENT_TYPE_START == (int)VQ_EVENT_START &&
		       (int)VIRTQUEUE_EVENT_TYPE_NOTIFY_OFF == (int)VQ_EVENT_NOTIFY_OFF &&
		       (int)VIRTQUEUE_EVENT_TYPE__MAX == (int)VQ_NUM_EVENT_KINDS,
	"a kind is its type");

static void add(struct VirtqueueEventList *list, const struct vq_event *event, uint64_t now)
{
	struct VirtqueueEvent *e = xnew(struct VirtqueueEvent);

	e->serial = event->serial;
	e->time_ns = event->ns;
	/* One that was recorded since the query began. */
	e->age_ns = now > event->ns ? now - event->ns : 0;
	e->event = (enum VirtqueueEventType)event->kind;
	e->index = event->index;
	e->arg = event->arg;
	qapi_append_VirtqueueEventList(list, e);
}

int inspect_trace(struct qom_object *root, const char *path, uint16_t queue, uint32_t last,
	struct VirtqueueEventList *ret, struct err *err)
{
	struct vdev *dev = inspect_find(root, path);
	static struct vq_event events[VQ_EVENTS];
	uint64_t now = now_ns();
	size_t n;

	if (!dev)
		return err_set(err, -ENODEV, "Path %s is not a realized VirtIODevice", path);
	if (queue >= dev->num_queues)
		return err_set(err, -EINVAL, "Invalid virtqueue number %u", queue);
	if (dev->view.vhost)
		return err_set(err, -ENODEV,
			"The queues of %s are served by somebody else, and no events of theirs are "
			"seen",
			path);
	n = vq_read_events(&dev->queues[queue], last, events);
	for (size_t i = 0; i < n; i++)
		add(ret, &events[i], now);
	return 0;
}
