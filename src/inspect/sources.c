/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Sources by table: a row a member, with a function where it depends on the device. A driver's word
 * reaches a vhost-user device as a message, and a device on a bus by a register.
 */
#include "inspect/sources.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "base/alloc.h"
#include "base/cleanup.h"
#include "describe/describe.h"
#include "inspect/element.h"
#include "inspect/vhost.h"
#include "inspect/virtio.h"

/* Requests that a note names. */
#define NOTE_HEADS 16

/* What the answers depend on. */
struct where {
	const struct vdev *dev;
	struct vq *vq;
	struct vq_view view; /* the queue's, as published */
	bool torn; /* that view */
	const struct vhost_view *vhost; /* somebody else serves the rings; NULL: we do */
	struct vhost_ring_now now; /* and then: where this one stands */
};

struct row {
	const char *member;
	enum VirtioMemberSource (*source)(const struct where *w); /* NULL: derived */
	const char *note; /* of a source that is not what one would expect; may be NULL */
	char *(*make_note)(
		const struct where *w); /* instead of @note; may be NULL, as its result */
};

static enum VirtioMemberSource from_driver(const struct where *w)
{
	bool by_message = w->dev->view.kind && !strcmp(w->dev->view.kind, "vhost-user");

	return by_message ? VIRTIO_MEMBER_SOURCE_MESSAGE : VIRTIO_MEMBER_SOURCE_REGISTER;
}

static enum VirtioMemberSource from_status(const struct where *w)
{
	return w->dev->view.status_known ? from_driver(w) : VIRTIO_MEMBER_SOURCE_DERIVED;
}

static enum VirtioMemberSource register_or_unknown(bool known)
{
	return known ? VIRTIO_MEMBER_SOURCE_REGISTER : VIRTIO_MEMBER_SOURCE_UNKNOWN;
}

static enum VirtioMemberSource from_isr(const struct where *w)
{
	return register_or_unknown(w->dev->view.isr_known);
}

static enum VirtioMemberSource from_queue_sel(const struct where *w)
{
	return register_or_unknown(w->dev->view.queue_sel_known);
}

static enum VirtioMemberSource from_disabled(const struct where *w)
{
	return register_or_unknown(w->dev->view.disabled_known);
}

/* The device's own state, as its loop last published it. */
static enum VirtioMemberSource from_view(const struct where *w)
{
	if (w->vhost)
		return VIRTIO_MEMBER_SOURCE_UNKNOWN;
	return w->torn ? VIRTIO_MEMBER_SOURCE_TORN : VIRTIO_MEMBER_SOURCE_DERIVED;
}

static enum VirtioMemberSource from_last_avail(const struct where *w)
{
	return w->now.knows_avail ? VIRTIO_MEMBER_SOURCE_DERIVED : from_view(w);
}

static enum VirtioMemberSource from_used(const struct where *w)
{
	if (w->now.from_memory)
		return VIRTIO_MEMBER_SOURCE_MEMORY;
	if (!w->now.knows_used)
		return from_view(w);
	return w->now.by_message ? VIRTIO_MEMBER_SOURCE_MESSAGE : VIRTIO_MEMBER_SOURCE_DERIVED;
}

static enum VirtioMemberSource from_inuse(const struct where *w)
{
	return w->now.knows_inuse ? VIRTIO_MEMBER_SOURCE_DERIVED : from_view(w);
}

/* What only the back-end's messages can tell. */
static enum VirtioMemberSource from_backend(const struct where *w)
{
	return w->vhost ? VIRTIO_MEMBER_SOURCE_MESSAGE : VIRTIO_MEMBER_SOURCE_DERIVED;
}

static enum VirtioMemberSource from_nobody(const struct where *w)
{
	return w->dev->cls->relayed ? VIRTIO_MEMBER_SOURCE_UNKNOWN : VIRTIO_MEMBER_SOURCE_DERIVED;
}

static enum VirtioMemberSource from_ring_config(const struct where *w)
{
	const struct vq_config *cfg = &w->vq->cfg;

	return cfg->desc | cfg->driver | cfg->device ? from_driver(w)
						     : VIRTIO_MEMBER_SOURCE_DERIVED;
}

static enum VirtioMemberSource from_memory(_unused_ const struct where *w)
{
	return VIRTIO_MEMBER_SOURCE_MEMORY;
}

static char *type_note(const struct where *w)
{
	_cleanup_free_ char *fit = NULL;

	if (!w->vhost || w->vhost->has_type)
		return NULL;
	if (!w->vhost->has_offer)
		return xstrdup("no message says which type it is; type= does");
	fit = inspect_types_that_fit(w->dev);
	return xasprintf("no message says which type it is; type= does; its features fit %s",
		*fit ? fit : "none that is known");
}

static char *started_note(const struct where *w)
{
	return xstrdup(w->vhost ? "a ring has its kick descriptor, and was not asked for its base"
				: "constant: this device serves its queues itself");
}

static char *offer_note(const struct where *w)
{
	return w->vhost ? NULL : xstrdup("what this device offers");
}

static char *backend_note(const struct where *w)
{
	return w->vhost ? NULL : xstrdup("constant: there is no vhost back-end");
}

static char *vm_note(const struct where *w)
{
	return w->dev->cls->relayed ? xstrdup("no message says so") : NULL;
}

/* Why areas that the front-end named are not where memory can be looked at. */
static char *areas_note(const struct where *w)
{
	const struct vq_config *cfg = &w->vq->cfg;

	if (!w->vhost || !w->vhost->rings[w->vq->index].has_areas)
		return NULL;
	if (w->vhost->memory_away)
		return xstrdup("a migration fills the memory: it is not looked at until that ends");
	if (w->vhost->memory_reason)
		return xstrdup(w->vhost->memory_reason);
	if (cfg->desc | cfg->driver | cfg->device)
		return NULL;
	return xstrdup(w->vhost->is_translated
			       ? "named by addresses of an IOMMU"
			       : "named outside of the memory that was handed over");
}

static char *descs_note(const struct where *w)
{
	return w->vhost ? xstrdup("what an indirect table holds is shown only while the ring's "
				  "answers come in order")
			: NULL;
}

static char *broken_note(const struct where *w)
{
	return w->dev->broken ? xstrdup(w->dev->broken_reason) : NULL;
}

static char *role_note(const struct where *w)
{
	const struct vdev *dev = w->dev;
	char role[DESCRIBE_ROLE_BYTES];

	describe_queue_role(describe_type_by_id(dev->cls->virtio_id), w->vq->index,
		inspect_num_queues(dev),
		dev->status & VIRTIO_STATUS_FEATURES_OK ? dev->driver_features.word : NULL, role);
	return xasprintf("its role is %s", role);
}

/* The requests that an in-flight region marks. */
static char *marked_note(const struct where *w)
{
	uint16_t heads[NOTE_HEADS];
	int n = inspect_vhost_heads(w->vq, heads, NOTE_HEADS);
	char *note;

	if (n < 0)
		return NULL;
	note = xasprintf("by the in-flight region: %s", w->view.packed ? "buffer ids" : "heads");
	for (int i = 0; i < n && i < NOTE_HEADS; i++) {
		_cleanup_free_ char *old = note;

		note = xasprintf("%s%s %u", old, i ? "," : "", heads[i]);
	}
	if (n > NOTE_HEADS) {
		_cleanup_free_ char *old = note;

		note = xasprintf("%s, ...", old);
	}
	return note;
}

/* One of the requests in flight, from the bytes that the device loaded, not from memory. */
static char *in_flight_note(const struct where *w)
{
	const struct vdev *dev = w->dev;
	struct describe_fields fields;
	struct vq_inflight request;

	if (w->vhost)
		return marked_note(w);
	for (uint32_t head = 0; w->view.inuse && head < w->vq->num; head++) {
		if (!vq_read_inflight(w->vq, (uint16_t)head, &request))
			continue;
		describe_request(describe_type_by_id(dev->cls->virtio_id), w->vq->index,
			inspect_num_queues(dev), dev->driver_features.word, request.snap,
			request.num_snap, request.readable_bytes, request.writable_bytes, &fields);
		return xasprintf("one in flight is head %u, %s", head, fields.line);
	}
	return NULL;
}

static char *thread_note(const struct where *w)
{
	const struct loop *loop = w->vq->loop;

	if (w->vhost && w->vhost->rings[w->vq->index].stopped_reason)
		return xasprintf("served by nobody: its back-end died, and %s",
			w->vhost->rings[w->vq->index].stopped_reason);
	if (w->vhost)
		return xstrdup("served by the back-end");
	return xasprintf("served by thread %s (%d)", loop->name, atomic_load(&loop->tid));
}

static char *wrap_note(bool packed, bool wrap)
{
	if (!packed)
		return xstrdup("the device's own, as of its last batch");
	return xasprintf("packed ring: a position, at which the wrap counter is %d; the device's "
			 "own, as of its last batch",
		wrap);
}

/* What a device asks for is no proof of what it took: a hint, where nothing is known. */
static char *unknown_place_note(const struct where *w)
{
	uint16_t event;

	if (!inspect_vhost_event(w->vq, &event))
		return xstrdup("its server keeps it to itself");
	return xasprintf("its server keeps it to itself; it asked to be told of what is made "
			 "available %s %u",
		w->view.packed ? "at position" : "as index", event);
}

static char *place_note(const struct where *w, bool wrap)
{
	if (!w->view.packed)
		return xstrdup(w->now.how);
	return xasprintf("%s; a position, at which the wrap counter is %d", w->now.how, wrap);
}

static char *last_avail_note(const struct where *w)
{
	if (w->vhost && !w->now.knows_avail)
		return unknown_place_note(w);
	if (w->vhost)
		return place_note(w, w->now.avail_wrap);
	return wrap_note(w->view.packed, w->view.avail_wrap);
}

static char *used_note(const struct where *w)
{
	if (!w->vhost)
		return wrap_note(w->view.packed, w->view.used_wrap);
	if (w->now.from_memory)
		return xstrdup("in guest memory");
	if (w->now.knows_used)
		return place_note(w, w->now.used_wrap);
	return w->view.packed ? xstrdup("packed ring: its server keeps its place to itself") : NULL;
}

static char *shadow_note(const struct where *w)
{
	if (w->vhost)
		return xstrdup("its server keeps it to itself");
	return xstrdup(w->view.packed ? "packed ring: last-avail-idx; its driver writes no index"
				      : "the driver's index as the device last read it");
}

static char *element_index_note(const struct where *w)
{
	return w->view.packed ? xstrdup("packed ring: the buffer id") : NULL;
}

static char *element_avail_note(const struct where *w)
{
	return w->view.packed ? xstrdup("packed ring: the driver's event suppression area, idx "
					"being its off_wrap; ring is the element's position")
			      : NULL;
}

static char *element_used_note(const struct where *w)
{
	return w->view.packed ? xstrdup("packed ring: the device's event suppression area, idx "
					"being its off_wrap")
			      : NULL;
}

static const struct row status_rows[] = {
	{ "name", NULL, NULL },
	{ "device-id", NULL, NULL, type_note },
	{ "vhost-started", from_backend, NULL, started_note },
	{ "device-endian", NULL, "constant: a device of virtio 1 is little-endian" },
	{ "guest-features", from_driver, NULL },
	{ "host-features", from_backend, NULL, offer_note },
	{ "backend-features", from_backend, NULL, backend_note },
	{ "num-vqs", NULL, NULL },
	{ "status", from_status, NULL },
	{ "isr", from_isr, NULL },
	{ "queue-sel", from_queue_sel, NULL },
	{ "vm-running", from_nobody, NULL, vm_note },
	{ "broken", NULL, NULL, broken_note },
	{ "disabled", from_disabled, NULL },
	{ "use-started", NULL, "constant" },
	{ "started", from_status, "DRIVER_OK of the status" },
	{ "start-on-kick", NULL, "constant: no device of virtio 1 needs it" },
	{ "disable-legacy-check", NULL, "constant" },
	{ "bus-name", NULL, NULL },
	{ "use-guest-notifier-mask", NULL, "constant" },
};

static const struct row queue_rows[] = {
	{ "name", NULL, NULL },
	{ "queue-index", NULL, NULL, role_note },
	{ "inuse", from_inuse, NULL, in_flight_note },
	{ "vring-num", from_ring_config, NULL },
	{ "vring-num-default", from_nobody, NULL },
	{ "vring-align", NULL, "constant: only a legacy transport sets another" },
	{ "vring-desc", from_ring_config, NULL, areas_note },
	{ "vring-avail", from_ring_config, NULL },
	{ "vring-used", from_ring_config, NULL },
	{ "last-avail-idx", from_last_avail, NULL, last_avail_note },
	{ "shadow-avail-idx", from_view, NULL, shadow_note },
	{ "used-idx", from_used, NULL, used_note },
	{ "signalled-used", from_view, NULL },
	{ "signalled-used-valid", from_view, NULL },
	{ "thread", NULL, NULL, thread_note },
	{ "element.name", NULL, NULL },
	{ "element.index", from_memory, NULL, element_index_note },
	{ "element.descs", from_memory, NULL, descs_note },
	{ "element.avail", from_memory, NULL, element_avail_note },
	{ "element.used", from_memory, NULL, element_used_note },
};

/* The notes that depend on the answer. */
static const char *note_of(const struct row *row, enum VirtioMemberSource source)
{
	if (source == VIRTIO_MEMBER_SOURCE_UNKNOWN)
		return "this transport does not carry it; the reset value is shown";
	if (!strcmp(row->member, "status") && source == VIRTIO_MEMBER_SOURCE_DERIVED)
		return "the front-end does not send the byte: FEATURES_OK after its features, "
		       "DRIVER_OK at the first queue that can run";
	return row->note;
}

static void add(struct VirtioMemberInfoList *list, const struct row *row, const char *prefix,
	const struct where *w)
{
	struct VirtioMemberInfo *info = xnew(struct VirtioMemberInfo);
	const char *note;

	info->source = row->source ? row->source(w) : VIRTIO_MEMBER_SOURCE_DERIVED;
	info->member = xasprintf("%s%s", prefix, row->member);
	note = note_of(row, info->source);
	if (row->make_note)
		info->note = row->make_note(w);
	else
		info->note = note ? xstrdup(note) : NULL;
	qapi_append_VirtioMemberInfoList(list, info);
}

int inspect_sources(struct qom_object *root, const char *path, struct VirtioMemberInfoList *ret,
	struct err *err)
{
	struct vdev *dev = inspect_find(root, path);
	struct where w = { .dev = dev };

	if (!dev)
		return err_set(err, -ENODEV, "Path %s is not a realized VirtIODevice", path);
	w.vhost = dev->view.vhost;
	for (size_t i = 0; i < ARRAY_SIZE(status_rows); i++)
		add(ret, &status_rows[i], "", &w);
	for (unsigned int q = 0; q < dev->num_queues; q++) {
		_cleanup_free_ char *prefix = xasprintf("queue.%u.", q);

		w.vq = &dev->queues[q];
		w.torn = !element_view(w.vq, &w.view);
		if (w.vhost)
			inspect_vhost_ring(w.vq, &w.now);
		for (size_t i = 0; i < ARRAY_SIZE(queue_rows); i++)
			add(ret, &queue_rows[i], prefix, &w);
	}
	return 0;
}
