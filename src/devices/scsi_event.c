/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The event queue: units that came and went, for drivers that accepted VIRTIO_SCSI_F_HOTPLUG, and
 * disks that have another size, for those that accepted VIRTIO_SCSI_F_CHANGE. What
 * happens goes into a ring of our own on the main loop, and from there into the driver's buffers as
 * they come. Where the driver gives none for long, the ring fills; what finds no room is lost, and
 * the next event says so. A buffer that is too short is given back with nothing written.
 */
#include "base/be.h"
#include "devices/scsi_int.h"

struct scsi_event_bytes {
	le32 event;
	uint8_t lun[8];
	le32 reason;
};

_Static_assert(sizeof(struct scsi_event_bytes) == 16, "as in the specification");

void scsi_event_put(struct scsi *scsi, const struct scsi_event *event)
{
	struct scsi_events *events = &scsi->events;
	unsigned int put = atomic_load_explicit(&events->put, memory_order_relaxed);

	if (!virtio_features_has(&scsi->dev.driver_features, event->feature))
		return;
	/* Acquire pairs with the release that gave the place back. */
	if (put - atomic_load_explicit(&events->taken, memory_order_acquire) == SCSI_EVENTS_MAX) {
		atomic_store(&events->missed, true);
	} else {
		events->ring[put % SCSI_EVENTS_MAX] = *event;
		atomic_store_explicit(&events->put, put + 1, memory_order_release);
	}
	vq_look_again(&scsi->dev.queues[SCSI_QUEUE_EVENT]);
}

void scsi_events_forget(struct scsi *scsi)
{
	atomic_store(&scsi->events.put, 0);
	atomic_store(&scsi->events.taken, 0);
	atomic_store(&scsi->events.missed, false);
}

static bool has_event(struct scsi_events *events)
{
	/* Acquire pairs with the release that showed the event. */
	return atomic_load_explicit(&events->put, memory_order_acquire) !=
		       atomic_load_explicit(&events->taken, memory_order_relaxed) ||
	       atomic_load(&events->missed);
}

static struct scsi_event take_event(struct scsi_events *events)
{
	unsigned int taken = atomic_load_explicit(&events->taken, memory_order_relaxed);
	struct scsi_event ret = { .event = VIRTIO_SCSI_T_NO_EVENT };

	if (atomic_load_explicit(&events->put, memory_order_acquire) != taken) {
		ret = events->ring[taken % SCSI_EVENTS_MAX];
		atomic_store_explicit(&events->taken, taken + 1, memory_order_release);
	}
	if (atomic_exchange(&events->missed, false))
		ret.event |= VIRTIO_SCSI_T_EVENTS_MISSED;
	return ret;
}

enum serve_verdict scsi_serve_event(struct scsi *scsi, struct vq *vq, struct chain *c)
{
	struct scsi_event_bytes bytes;
	struct scsi_event event;

	if (!has_event(&scsi->events))
		return SERVE_RETRY;
	if (c->writable.bytes < sizeof(bytes)) {
		vq_count_error(vq);
		log_limited(&scsi->log, LOG_LEVEL_WARN,
			"%s: queue %u: head %u has %llu bytes for an event of %zu; returned unused",
			vdev_label(&scsi->dev), vq->index, c->head,
			(unsigned long long)c->writable.bytes, sizeof(bytes));
		return SERVE_DONE;
	}
	event = take_event(&scsi->events);
	bytes = (struct scsi_event_bytes){ .event = le32_make(event.event),
		.reason = le32_make(event.reason) };
	if (event.event & ~VIRTIO_SCSI_T_EVENTS_MISSED) {
		bytes.lun[0] = 1;
		bytes.lun[1] = event.target;
		/* In the flat form where the other one has no room for it. */
		be16_write(bytes.lun + 2,
			(uint16_t)(event.lun < 256 ? event.lun : 0x4000 | event.lun));
	}
	chain_put(c, &bytes, sizeof(bytes));
	return SERVE_DONE;
}
