/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Gathers a queue's picture, part by part: the device, whether the queue is served, its ring, its
 * descriptors, its oldest request, and what a watch remembers.
 */
#include "inspect/health_look.h"

#include <stdio.h>
#include <string.h>

#include "inspect/element.h"
#include "inspect/health_ring.h"
#include "inspect/health_say.h"
#include "inspect/relayed_request.h"
#include "inspect/signal_fd.h"
#include "inspect/vhost.h"
#include "proto/transcript.h"
#include "proto/vhu_fields.h"

/* A rate is of so much time at least. */
#define RATE_NS (100 * NSEC_PER_MSEC)

#define VIRTIO_ID_NET 1
#define VIRTIO_ID_BLK 2

/* --- watching --- */

static void measure_rate(struct health_watch *w, const struct vq_view *view, uint64_t now_ns)
{
	uint64_t ns = now_ns - w->rate_ns, runs = view->counters.empty_runs - w->empty_runs;

	if (w->rate_ns && ns < RATE_NS)
		return;
	w->empty_rate = (struct health_num){ 0 };
	if (w->rate_ns && view->counters.popped == w->popped)
		w->empty_rate =
			health_num((uint64_t)((double)runs * (double)NSEC_PER_SEC / (double)ns));
	w->rate_ns = now_ns;
	w->popped = view->counters.popped;
	w->empty_runs = view->counters.empty_runs;
}

/* What an in-flight region adds: the server took something. */
static uint64_t taken_key(const struct vq *vq)
{
	struct vhost_ring_now now;

	if (!vq->dev->view.vhost->inflight)
		return 0;
	inspect_vhost_ring(vq, &now);
	return now.knows_inuse ? now.last_avail | (uint64_t)now.inuse << 16 : UINT64_MAX;
}

static uint64_t key_of(struct vq *vq, const struct vq_view *view)
{
	const struct vhost_view *vhost = vq->dev->view.vhost;
	uint64_t key = health_mix(vq->dev->status, vq->state);

	key = health_mix(key, vq->enabled | vq->has_kick << 1 | vq->was_broken << 2);
	if (vhost) {
		const struct vhost_view_ring *ring = &vhost->rings[vq->index];

		key = health_mix(
			key, ring->started | ring->enabled << 1 | (uint64_t)ring->kick << 8);
		key = health_mix(key, taken_key(vq));
	} else {
		key = health_mix(key, view->last_avail_idx | (uint64_t)view->used_idx << 16 |
					      (uint64_t)view->inuse << 32);
		key = health_mix(key, view->counters.popped);
		key = health_mix(key, view->counters.completed);
	}
	return health_ring_key(vq, key);
}

bool health_watch_look(struct health_watch *w, struct vq *vq, uint64_t now_ns)
{
	struct vq_view view = { 0 };
	uint64_t key;

	element_view(vq, &view);
	key = key_of(vq, &view);
	if (!vq->dev->view.vhost)
		measure_rate(w, &view, now_ns);
	if (w->since_ns && w->key == key)
		return false;
	w->key = key;
	w->since_ns = now_ns;
	return true;
}

/* --- the device --- */

static void gather_message(
	const struct health_scene *scene, const struct vdev *dev, struct health_picture *p)
{
	const struct vhost_view *vhost = dev->view.vhost;
	const struct transcript_entry *e;
	static char name[48]; /* until the next look */

	if (dev->view.waits_for[0]) {
		p->message = dev->view.waits_for;
		p->message_ns = scene->now_ns - dev->view.waits_since_ns;
		p->message_is_ours = true;
	}
	if (!vhost || !vhost->transcript || !p->connected)
		return;
	e = transcript_unanswered(vhost->transcript, vhost->protocol_acked);
	if (!e)
		return;
	p->message = vhu_message_name(
		le32_get(e->header.request), e->channel == TRANSCRIPT_BACKEND, name, sizeof(name));
	p->message_ns = scene->now_ns - e->since_ns;
}

bool health_message_waits(const struct vdev *dev)
{
	const struct vhost_view *vhost = dev->view.vhost;

	return dev->view.waits_for[0] ||
	       (vhost && vhost->transcript &&
		       transcript_unanswered(vhost->transcript, vhost->protocol_acked));
}

static void gather_device(
	const struct health_scene *scene, const struct vdev *dev, struct health_picture *p)
{
	const struct vdev_transport_view *view = &dev->view;

	p->relayed = view->vhost;
	p->connected = view->connected;
	p->has_peers = view->kind && !strcmp(view->kind, "vhost-user");
	p->ended_by_back = view->last_end == VDEV_END_BACK;
	p->no_back = view->last_end == VDEV_END_NO_BACK;
	p->ended_ns = scene->now_ns - view->last_end_ns;
	p->paused = !dev->vm_running && !dev->cls->relayed;
	p->status = dev->status;
	p->status_known = view->status_known;
	p->broken = dev->broken;
	p->broken_reason = dev->broken_reason;
	p->threshold_ns = scene->threshold_ns;
	gather_message(scene, dev, p);
}

/* --- the queue --- */

static void gather_role(
	const struct vdev *dev, const struct vq *vq, char *role, struct health_picture *p)
{
	const struct describe_type *type = describe_type_by_id(dev->cls->virtio_id);

	describe_queue_role(type, vq->index, inspect_num_queues(dev),
		dev->status & VIRTIO_STATUS_FEATURES_OK ? dev->driver_features.word : NULL, role);
	p->role = role;
	p->holds_supplies = describe_role_holds(role);
	p->knows_role = type->id && strncmp(role, "queue ", 6) != 0 && strcmp(role, "unused") != 0;
}

/* How many queues its server says it has; of a network device it says pairs. */
static struct health_num served_queues(const struct vdev *dev)
{
	const struct vhost_view *vhost = dev->view.vhost;

	if (!vhost || !vhost->max_queues)
		return (struct health_num){ 0 };
	if (dev->cls->virtio_id == VIRTIO_ID_BLK)
		return health_num(vhost->max_queues);
	/* The control queue is the front-end's own or the one behind them all. */
	if (dev->cls->virtio_id == VIRTIO_ID_NET)
		return health_num(vhost->max_queues * 2 + 1);
	return (struct health_num){ 0 };
}

/* Its place in the ring, as far as memory or the in-flight region proves it. */
static bool place_of(const struct vq *vq, struct vq_view *ret, uint32_t *ret_inuse)
{
	struct vhost_ring_now now;

	inspect_vhost_ring(vq, &now);
	if (!now.knows_avail || !now.knows_used || !now.knows_inuse)
		return false;
	*ret_inuse = now.inuse;
	*ret = (struct vq_view){ .last_avail_idx = now.last_avail,
		.avail_wrap = now.avail_wrap,
		.used_idx = now.used,
		.used_wrap = now.used_wrap,
		/* Nobody counts; where nothing is known of answers there may have been some. */
		.counters.completed = 1 };
	return true;
}

static void gather_relayed(const struct vdev *dev, struct vq *vq, struct health_picture *p)
{
	const struct vhost_view *vhost = dev->view.vhost;
	const struct vhost_view_ring *ring = &vhost->rings[vq->index];
	struct vq_view view;
	bool knows_place;
	uint32_t inuse;

	p->is_set_up = ring->has_areas && p->num;
	p->is_enabled = ring->started && ring->enabled;
	p->stopped_reason = ring->stopped_reason;
	p->is_stopped = p->is_set_up &&
			(ring->stopped_reason || (!ring->started && ring->kick >= 0));
	p->served_queues = served_queues(dev);
	p->memory_reason = vhost->memory_reason;
	if (vhost->is_translated)
		p->memory_reason = "its addresses are an IOMMU's";
	if (vhost->memory_away)
		p->memory_reason = "a migration fills the memory";
	if (p->is_set_up && !p->memory_reason && !(vq->cfg.desc | vq->cfg.driver | vq->cfg.device))
		p->memory_reason = "it lies outside the memory that was handed over";
	knows_place = !p->memory_reason && place_of(vq, &view, &inuse);
	if (knows_place)
		p->in_flight = health_num(inuse);
	health_read_ring(vq, knows_place ? &view : NULL, p);
	p->kicks_unread = signal_fd_unread(ring->kick, false);
	p->calls_unread = signal_fd_unread(ring->call, true);
	if (p->is_stopped && ring->has_base && !p->packed)
		p->last_avail = health_num(vq->cfg.next_avail);
}

static void gather_served(
	struct vq *vq, bool whole, const struct vq_view *view, struct health_picture *p)
{
	bool placed = vq->cfg.desc | vq->cfg.driver | vq->cfg.device;
	int kick, call, kick_after, call_after;

	p->is_set_up = vq->enabled || vq->has_kick || (placed && vq->cfg.has_base);
	p->is_enabled = vq->enabled;
	p->is_stopped = !vq->enabled && !vq->has_kick && placed && vq->cfg.has_base &&
			vq->state == VQ_IDLE;
	p->is_draining = vq->state == VQ_STOPPING;
	p->broke_here = vq->was_broken;
	p->in_flight = health_num(view->inuse);
	p->dry = view->dry;
	p->was_in_use = view->counters.completed;
	p->last_call = view->last_call;
	p->calls_lost = health_num(view->counters.calls_lost);
	p->in_turn = vq_in_turn(vq);
	p->thread = atomic_load(&vq->loop->tid);
	/* Of a torn view no index is right. */
	health_read_ring(vq, view, p);
	if (!whole)
		p->waiting = p->last_avail = p->in_flight = (struct health_num){ 0 };
	vq_read_signal_fds(vq, &kick, &call);
	p->kicks_unread = signal_fd_unread(kick, false);
	p->calls_unread = signal_fd_unread(call, true);
	vq_read_signal_fds(vq, &kick_after, &call_after);
	if (kick != kick_after)
		p->kicks_unread.known = false;
	if (call != call_after)
		p->calls_unread.known = false;
}

static void set_oldest(struct health_picture *p, const struct vdev *dev, const struct vq *vq,
	const void *bytes, size_t num_bytes, uint64_t readable, uint64_t writable)
{
	struct describe_fields fields;

	describe_request(describe_type_by_id(dev->cls->virtio_id), vq->index,
		inspect_num_queues(dev), dev->driver_features.word, bytes, num_bytes,
		(uint32_t)MIN(readable, (uint64_t)UINT32_MAX),
		(uint32_t)MIN(writable, (uint64_t)UINT32_MAX), &fields);
	snprintf(p->oldest_request, sizeof(p->oldest_request), "%s", fields.line);
}

/* Of supplies none is waited for. */
static void gather_oldest_relayed(const struct vdev *dev, struct vq *vq, struct health_picture *p)
{
	struct relayed_request oldest;

	if (p->memory_reason || p->holds_supplies || !health_unanswered(p) ||
		!relayed_request_oldest(vq, &oldest))
		return;
	p->has_oldest = true;
	p->oldest_head = oldest.head;
	if (oldest.problem.msg[0])
		snprintf(p->oldest_request, sizeof(p->oldest_request), "%.*s",
			(int)sizeof(p->oldest_request) - 1, oldest.problem.msg);
	else
		set_oldest(p, dev, vq, oldest.bytes, oldest.num_bytes, oldest.readable_bytes,
			oldest.writable_bytes);
}

static void gather_oldest(const struct health_scene *scene, const struct vdev *dev, struct vq *vq,
	struct health_picture *p)
{
	struct vq_inflight oldest = { .since_ns = UINT64_MAX }, at;

	for (uint32_t head = 0; p->in_flight.n && head < vq->num; head++)
		if (vq_read_inflight(vq, (uint16_t)head, &at) && at.since_ns < oldest.since_ns)
			oldest = at;
	if (oldest.since_ns == UINT64_MAX)
		return;
	p->has_oldest = p->knows_age = true;
	p->oldest_head = oldest.head;
	p->oldest_ns = scene->now_ns > oldest.since_ns ? scene->now_ns - oldest.since_ns : 0;
	set_oldest(p, dev, vq, oldest.snap, oldest.num_snap, oldest.readable_bytes,
		oldest.writable_bytes);
}

/* --- time --- */

static bool others_move(
	const struct health_scene *scene, const struct vdev *dev, const struct vq *vq)
{
	for (unsigned int i = 0; i < dev->num_queues; i++) {
		const struct health_watch *w =
			i == vq->index ? NULL : scene->watch_of(scene->opaque, &dev->queues[i]);

		if (w && w->since_ns && scene->now_ns - w->since_ns < scene->threshold_ns)
			return true;
	}
	return false;
}

/*
 * Behind all other looks: where the ring is still as the watch knows it, it was so while they were
 * taken, and all of it is one moment.
 */
static void gather_time(const struct health_scene *scene, const struct vdev *dev, struct vq *vq,
	struct health_picture *p)
{
	const struct health_watch *w = scene->watch_of(scene->opaque, vq);
	struct vq_view view = { 0 };
	bool same;

	if (!w || !w->since_ns)
		return;
	element_view(vq, &view);
	same = w->key == key_of(vq, &view) && scene->now_ns > w->since_ns;
	p->still_ns = health_num(same ? scene->now_ns - w->since_ns : 0);
	p->empty_runs = w->empty_rate;
	p->others_move = others_move(scene, dev, vq);
}

void health_gather(const struct health_scene *scene, struct vdev *dev, struct vq *vq,
	struct health_picture *p, char role[DESCRIBE_ROLE_BYTES])
{
	struct vq_view view = { 0 };
	bool whole;

	*p = (struct health_picture){ .role = "" };
	gather_device(scene, dev, p);
	if (!vq) {
		p->whole_device = true;
		return;
	}
	p->queue = vq->index;
	p->num = vq->cfg.num;
	p->packed = vq_format(dev)->packed;
	p->held = vq->stopped_by_hand;
	gather_role(dev, vq, role, p);
	whole = element_view(vq, &view);
	if (p->relayed)
		gather_relayed(dev, vq, p);
	else
		gather_served(vq, whole, &view, p);
	if (p->relayed)
		gather_oldest_relayed(dev, vq, p);
	else
		gather_oldest(scene, dev, vq, p);
	gather_time(scene, dev, vq, p);
	/* Of a busy queue the two indices are of different moments. */
	if (!p->still_ns.known || p->still_ns.n < p->threshold_ns)
		p->impossible = false;
}
