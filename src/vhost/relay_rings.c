/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Where a ring goes on when its back-end has died. A record in the in-flight region says it, if the
 * back-end made one; a split ring without is followed while it runs (vhost/ring_witness.h). A
 * packed ring without a record is stopped: what was answered out of order left no trace in it.
 */
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/alloc.h"
#include "base/cleanup.h"
#include "base/log.h"
#include "vhost/inflight_reader.h"
#include "vhost/relay_internal.h"
#include "virtio/vring.h"

/* Between looks at rings that are followed: while they move, and while they rest. */
#define WATCH_BUSY_NS (NSEC_PER_MSEC / 2)
#define WATCH_REST_NS (8 * NSEC_PER_MSEC)

static struct vq *vq_of(struct relay *relay, uint32_t index)
{
	return &relay->dev.queues[index];
}

static bool is_packed(const struct relay *relay)
{
	return relay->shadow.view.acked_features >> VIRTIO_F_RING_PACKED & 1;
}

static bool in_order(const struct relay *relay)
{
	return relay->shadow.view.acked_features >> VIRTIO_F_IN_ORDER & 1;
}

/* --- the region --- */

/* The queue's part; false where there is none. */
static bool part_of(struct relay *relay, uint32_t index, struct inflight_part *ret)
{
	uint32_t entries = le16_get(relay->region.queue_size);

	if (!relay->region_mem || !entries || index >= le16_get(relay->region.num_queues))
		return false;
	*ret = (struct inflight_part){ relay->region_mem,
		index * vq_inflight_bytes(is_packed(relay), entries), entries,
		vq_of(relay, index)->cfg.num };
	return true;
}

void relay_set_region(struct relay *relay, const struct vhu_inflight *region, int fd, bool is_own)
{
	const struct gmem_region_desc desc = { .size = le64_get(region->mmap_size),
		.fd_offset = le64_get(region->mmap_offset) };
	struct gmem_region *mapped = NULL;
	struct err err = { 0 };

	gmem_unref(take_ptr(relay->region_mem));
	relay->region = *region;
	relay->region_is_own = is_own;
	/* Its own is the relay's to clear, as the front-end would. */
	if ((is_own ? gmem_region_new(&desc, fd, &mapped, &err)
		    : gmem_region_new_readonly(&desc, fd, &mapped, &err)) < 0 ||
		gmem_new(&mapped, 1, &relay->region_mem, &err) < 0)
		log_limited(&relay->limit, LOG_LEVEL_WARN,
			"%s: the in-flight region cannot be looked at: %s", vdev_label(&relay->dev),
			err.msg);
	gmem_region_unref(mapped);
}

/* A ring that stopped has nothing in flight, and where it goes on is not the region's to say. */
static void clear_part(struct relay *relay, uint32_t index)
{
	struct inflight_part part;
	uint8_t *at;

	if (!relay->region_is_own || !part_of(relay, index, &part))
		return;
	at = gmem_ptr(relay->region_mem, part.offset, 16);
	/* The version, in either format; a back-end that finds none sets the rest up. */
	if (at)
		at[8] = at[9] = 0;
}

/* Did the back-end ever record anything of this ring? */
static bool is_recorded(struct relay *relay, uint32_t index)
{
	struct inflight_part part;
	le16 version;

	return part_of(relay, index, &part) &&
	       gmem_peek(part.mem, part.offset + 8, &version, sizeof(version)) == 0 &&
	       le16_get(version);
}

/* --- a start, and looks --- */

static bool needs_looks(struct relay *relay, uint32_t index)
{
	return relay->rings[index].num && !is_packed(relay) && !in_order(relay) &&
	       !is_recorded(relay, index);
}

void relay_ring_starts(struct relay *relay, uint32_t index, uint32_t base)
{
	if (index >= SHADOW_QUEUES_MAX || is_packed(relay))
		return;
	relay->rings[index].max_ns = relay->dev.cls->virtio_id == 1 ? WITNESS_MAX_NET_NS
								    : WITNESS_MAX_NS;
	witness_begin(&relay->rings[index], relay->dev.mem, &vq_of(relay, index)->cfg,
		(uint16_t)base, now_ns());
	if (!relay->watch.loop)
		loop_timer_set(relay->dev.main_loop, &relay->watch, now_ns() + WATCH_BUSY_NS);
}

void relay_ring_rests(struct relay *relay, uint32_t index)
{
	if (index >= SHADOW_QUEUES_MAX)
		return;
	clear_part(relay, index);
	witness_end(&relay->rings[index]);
	relay->shadow.rings[index].stopped_reason = NULL;
}

void relay_watch(struct loop_timer *timer)
{
	struct relay *relay = container_of(timer, struct relay, watch);
	bool any = false, moved = false;

	for (uint32_t i = 0; i < relay->dev.num_queues; i++) {
		if (!needs_looks(relay, i))
			continue;
		any = true;
		witness_look(&relay->rings[i], relay->dev.mem, &vq_of(relay, i)->cfg, now_ns());
		moved |= relay->rings[i].moved != 0;
	}
	if (any)
		loop_timer_set(relay->dev.main_loop, timer,
			now_ns() + (moved ? WATCH_BUSY_NS : WATCH_REST_NS));
}

void relay_rings_look(struct relay *relay)
{
	loop_timer_cancel(&relay->watch);
	for (uint32_t i = 0; i < relay->dev.num_queues; i++)
		if (relay->rings[i].num)
			witness_look(
				&relay->rings[i], relay->dev.mem, &vq_of(relay, i)->cfg, now_ns());
}

/* --- where it goes on --- */

static int peek_used(struct relay *relay, uint32_t index, uint16_t *ret_used, uint16_t *ret_avail,
	struct err *err)
{
	const struct vq_config *cfg = &vq_of(relay, index)->cfg;
	le16 used, avail;

	if (!(cfg->desc | cfg->driver | cfg->device) ||
		gmem_peek(relay->dev.mem, cfg->device + offsetof(struct vring_used, idx), &used,
			sizeof(used)) < 0 ||
		gmem_peek(relay->dev.mem, cfg->driver + offsetof(struct vring_avail, idx), &avail,
			sizeof(avail)) < 0)
		return err_set(err, -EFAULT, "the ring cannot be read");
	*ret_used = le16_get(used);
	*ret_avail = le16_get(avail);
	return 0;
}

/* By the record: the used index, behind which the back-end finds its own marks. */
static int recorded_base(struct relay *relay, const struct inflight_part *part, uint32_t index,
	struct inflight_reading *ret, uint32_t *ret_base, struct err *err)
{
	uint16_t used = 0, avail = 0;
	int r;

	if (is_packed(relay)) {
		r = inflight_read_packed(part, ret, err);
		*ret_base = (uint32_t)ret->used << 16 | ret->avail;
		return r;
	}
	r = peek_used(relay, index, &used, &avail, err);
	if (!r)
		r = inflight_read_split(part, used, NULL, ret, err);
	if (!r && ret->recorded && ret->num > (uint16_t)(avail - used))
		return err_set(err, -EINVAL,
			"the in-flight region has %u requests on their way, the ring %u", ret->num,
			(uint16_t)(avail - used));
	*ret_base = used;
	return r;
}

static int seen_base(struct relay *relay, uint32_t index, uint32_t *ret, struct err *err)
{
	uint16_t base = 0;
	int r;

	if (is_packed(relay))
		return err_set(err, -ENODATA,
			"a packed ring without a record of what was in flight: its back-end may "
			"have answered out of order");
	r = witness_base(&relay->rings[index], relay->dev.mem, &vq_of(relay, index)->cfg,
		in_order(relay), &base, err);
	*ret = base;
	return r;
}

int relay_ring_base(struct relay *relay, uint32_t index, uint32_t *ret, struct err *err)
{
	struct inflight_reading reading = { 0 };
	struct inflight_part part;
	int r;

	if (part_of(relay, index, &part)) {
		r = recorded_base(relay, &part, index, &reading, ret, err);
		if (r < 0 || reading.recorded)
			return r;
	}
	return seen_base(relay, index, ret, err);
}

/* The heads from the used index on are those that are marked: who starts there serves just them. */
static int check_marks(struct relay *relay, const struct inflight_part *part, uint32_t index,
	uint16_t used, uint32_t num, struct err *err)
{
	const struct vq_config *cfg = &vq_of(relay, index)->cfg;
	_cleanup_free_ bool *marks = xnew_n(bool, part->num + 1);
	struct inflight_reading reading;
	int r = inflight_read_split(part, used, marks, &reading, err);

	for (uint32_t i = 0; !r && i < num; i++) {
		uint64_t at = (uint16_t)(used + i) % part->num * sizeof(le16);
		le16 head;

		if (gmem_peek(relay->dev.mem, cfg->driver + offsetof(struct vring_avail, ring) + at,
			    &head, sizeof(head)) < 0)
			return err_set(err, -EFAULT, "the ring cannot be read");
		if (le16_get(head) >= part->num || !marks[le16_get(head)])
			return err_set(err, -ENODATA,
				"head %u was answered before others that were not", le16_get(head));
		marks[le16_get(head)] = false;
	}
	return r;
}

int relay_ring_rest_base(struct relay *relay, uint32_t index, uint32_t *ret, struct err *err)
{
	struct inflight_reading reading = { 0 };
	struct inflight_part part;
	int r;

	if (!part_of(relay, index, &part))
		return seen_base(relay, index, ret, err);
	r = recorded_base(relay, &part, index, &reading, ret, err);
	if (r < 0)
		return r;
	if (!reading.recorded)
		return seen_base(relay, index, ret, err);
	if (reading.drafted)
		return err_set(err, -ENODATA, "a batch of answers was being shown");
	if (is_packed(relay))
		return !reading.num || !relay->region_is_own
			       ? 0
			       : err_set(err, -ENODATA, "%u requests were on their way",
					 reading.num);
	if (relay->region_is_own)
		return check_marks(relay, &part, index, (uint16_t)*ret, reading.num, err);
	/* The front-end has the region, and the rest begins behind what was taken. */
	*ret = (uint16_t)(*ret + reading.num);
	return 0;
}

void relay_ring_stop(struct relay *relay, uint32_t index, const char *why)
{
	snprintf(relay->stopped_reason[index], sizeof(relay->stopped_reason[index]), "%.*s",
		(int)sizeof(relay->stopped_reason[index]) - 1, why);
	relay->shadow.rings[index].stopped_reason = relay->stopped_reason[index];
	witness_end(&relay->rings[index]);
	log_error("%s: queue %u is stopped: its back-end died, and %s", vdev_label(&relay->dev),
		index, relay->stopped_reason[index]);
}

void relay_rings_forget(struct relay *relay)
{
	loop_timer_cancel(&relay->watch);
	for (uint32_t i = 0; i < SHADOW_QUEUES_MAX; i++)
		witness_end(&relay->rings[i]);
	gmem_unref(take_ptr(relay->region_mem));
	relay->region = (struct vhu_inflight){ 0 };
	relay->region_is_own = relay->region_asked = false;
}
