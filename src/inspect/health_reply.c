/* SPDX-License-Identifier: BSD-3-Clause */
/* query-virtqueue-health: which queues, and a picture's numbers as evidence. */
#include "inspect/health_reply.h"

#include <errno.h>

#include "base/alloc.h"
#include "base/cleanup.h"
#include "inspect/virtio.h"

#define NUMBER(member, number)                             \
	do {                                               \
		e->has_##member = (number).known;          \
		e->member = (typeof(e->member))(number).n; \
	} while (0)

static bool is_wanted(enum health_wish wish)
{
	return wish == HEALTH_WISH_DUE || wish == HEALTH_WISH_AHEAD;
}

static void add_oldest(const struct health_picture *p, struct VirtQueueEvidence *e)
{
	if (!p->has_oldest)
		return;
	e->has_oldest_head = true;
	e->oldest_head = p->oldest_head;
	e->has_oldest_age_ns = p->knows_age;
	e->oldest_age_ns = p->oldest_ns;
	e->oldest_request = xstrdup(p->oldest_request);
}

static struct VirtQueueEvidence *evidence_new(const struct health_picture *p)
{
	struct VirtQueueEvidence *e = xnew(struct VirtQueueEvidence);

	if (p->message) {
		e->message = xstrdup(p->message);
		e->has_message_age_ns = true;
		e->message_age_ns = p->message_ns;
	}
	if (p->whole_device)
		return e;
	e->has_queue_size = true;
	e->queue_size = p->num;
	NUMBER(avail_idx, p->avail_idx);
	NUMBER(last_avail_idx, p->last_avail);
	NUMBER(used_idx, p->used_idx);
	NUMBER(waiting, p->waiting);
	NUMBER(in_flight, p->in_flight);
	NUMBER(outstanding, p->outstanding);
	NUMBER(avail_event, p->avail_event);
	NUMBER(used_event, p->used_event);
	NUMBER(kicks_unread, p->kicks_unread);
	NUMBER(calls_unread, p->calls_unread);
	NUMBER(calls_lost, p->calls_lost);
	NUMBER(still_ns, p->still_ns);
	NUMBER(empty_runs, p->empty_runs);
	e->has_kicks_wanted = p->kick_wish != HEALTH_WISH_UNKNOWN;
	e->kicks_wanted = is_wanted(p->kick_wish);
	e->has_calls_wanted = p->call_wish != HEALTH_WISH_UNKNOWN;
	e->calls_wanted = is_wanted(p->call_wish);
	e->has_unseen = p->unseen;
	e->unseen = p->unseen;
	e->has_thread_id = p->thread;
	e->thread_id = p->thread;
	add_oldest(p, e);
	return e;
}

static void add(struct VirtQueueHealthList *ret, const struct health_scene *scene, const char *path,
	struct vdev *dev, struct vq *vq)
{
	struct VirtQueueHealth *health = xnew(struct VirtQueueHealth);
	char role[DESCRIBE_ROLE_BYTES] = "";
	struct health_verdict verdict;
	struct health_picture p;

	health_gather(scene, dev, vq, &p, role);
	health_judge(&p, &verdict);
	health->path = xstrdup(path);
	health->name = xstrdup(describe_type_by_id(dev->cls->virtio_id)->name);
	health->has_queue = vq;
	health->queue = vq ? (uint16_t)vq->index : 0;
	health->role = role[0] ? xstrdup(role) : NULL;
	health->verdict = verdict.verdict;
	health->severity = verdict.severity;
	health->sentence = xstrdup(verdict.sentence);
	health->advice = verdict.advice ? xstrdup(verdict.advice) : NULL;
	health->evidence = evidence_new(&p);
	qapi_append_VirtQueueHealthList(ret, health);
}

static void add_device(
	struct VirtQueueHealthList *ret, const struct health_scene *scene, struct qom_object *obj)
{
	struct vdev *dev = obj->vdev;
	_cleanup_free_ char *path = qom_path(obj);

	if (!dev->num_queues)
		add(ret, scene, path, dev, NULL);
	for (unsigned int i = 0; i < dev->num_queues; i++)
		add(ret, scene, path, dev, &dev->queues[i]);
}

static void add_all(
	struct VirtQueueHealthList *ret, const struct health_scene *scene, struct qom_object *root)
{
	for (struct qom_object *at = qom_walk(root, NULL); at; at = qom_walk(root, at))
		if (at->vdev && at->vdev->realized)
			add_device(ret, scene, at);
}

int inspect_health(struct qom_object *root, const char *path, const uint16_t *queue,
	const struct health_scene *scene, struct VirtQueueHealthList *ret, struct err *err)
{
	struct qom_object *obj = path ? qom_resolve(root, path, NULL) : NULL;
	_cleanup_free_ char *full = NULL;

	if (!path && queue)
		return err_set(err, -EINVAL, "Parameter 'path' is missing: a queue is a device's");
	if (!path) {
		add_all(ret, scene, root);
		return 0;
	}
	if (!obj || !obj->vdev || !obj->vdev->realized)
		return err_set(err, -ENODEV, "Path %s is not a realized VirtIODevice", path);
	if (!queue) {
		add_device(ret, scene, obj);
		return 0;
	}
	if (*queue >= obj->vdev->num_queues)
		return err_set(err, -EINVAL, "Invalid virtqueue number %u", *queue);
	full = qom_path(obj);
	add(ret, scene, full, obj->vdev, &obj->vdev->queues[*queue]);
	return 0;
}
