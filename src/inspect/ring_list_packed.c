/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A packed ring, position by position. From the used place on lie as many descriptors as the device
 * has; behind them what the driver made available; the rest are answers, and what answers left of
 * the chains before them. An answer may have been written over the first descriptors of a chain
 * that is still in flight: then its bytes are fewer than the device saw, and that is said.
 */
#include <stdlib.h>

#include "base/alloc.h"
#include "base/cleanup.h"
#include "inspect/element.h"
#include "inspect/ring_list.h"
#include "virtio/vring.h"

struct copy {
	struct vring_packed_desc *desc; /* the ring */
	struct vring_packed_event driver, device;
	uint16_t avail, used; /* places */
	uint32_t busy; /* descriptors that the device has */
	uint32_t ready; /* and those behind them that it may take */
	uint16_t *marked;
	int num_marked;
};

static void copy_free(struct copy *c)
{
	free(c->desc);
	free(c->marked);
}

static uint16_t place(uint16_t pos, bool wrap)
{
	return (uint16_t)(pos | (wrap ? VRING_PACKED_WRAP : 0));
}

static uint16_t flags_at(const struct copy *c, uint32_t pos)
{
	return le16_get(c->desc[pos].flags);
}

static int read_ring(struct ring_list *list, struct copy *c, struct err *err)
{
	const struct vq_config *cfg = &list->vq->cfg;
	int tries = ring_list_tries(list), r;

	c->desc = xnew_n(struct vring_packed_desc, list->num);
	while (tries--) {
		uint32_t seq = vq_read_used_seq(list->vq);
		bool whole = ring_list_look(list);

		r = ring_list_peek(list, "driver event suppression area", cfg->driver, &c->driver,
			sizeof(c->driver), err);
		if (!r)
			r = ring_list_peek(list, "device event suppression area", cfg->device,
				&c->device, sizeof(c->device), err);
		if (!r)
			r = ring_list_peek(list, "descriptor area", cfg->desc, c->desc,
				list->num * sizeof(*c->desc), err);
		if (r < 0)
			return r;
		c->avail = place(list->view.last_avail_idx, list->view.avail_wrap);
		c->used = place(list->view.used_idx, list->view.used_wrap);
		c->busy = vring_packed_distance(list->num, c->used, c->avail);
		/* A base that no ring has is refused when it starts: until then it is only said. */
		if (whole && !(seq & 1) && seq == vq_read_used_seq(list->vq) &&
			c->busy <= list->num && (c->avail & VRING_PACKED_POS) < list->num &&
			(c->used & VRING_PACKED_POS) < list->num) {
			list->ret->consistent = !list->vq->dev->view.vhost || list->now.knows_avail;
			return 0;
		}
	}
	return 0;
}

/* How far the driver's chains reach behind what the device has. */
static uint32_t count_ready(const struct ring_list *list, const struct copy *c)
{
	uint32_t n = 0;
	uint16_t at = c->avail;

	while (n < list->num - c->busy &&
		vring_packed_is_avail(flags_at(c, at & VRING_PACKED_POS), at)) {
		at = vring_packed_add(list->num, at, 1);
		n++;
	}
	return n;
}

/* Is the descriptor before it, of the same @n from @first on, one that goes on here? */
static bool is_part(
	const struct ring_list *list, const struct copy *c, uint32_t first, uint32_t pos)
{
	uint32_t before = (pos + list->num - 1) % list->num;

	return pos != first && (flags_at(c, before) & VRING_DESC_F_NEXT);
}

/* An answer, or nothing. */
static void add_answered(struct ring_list *list, const struct copy *c, uint32_t pos)
{
	const struct vring_packed_desc *d = &c->desc[pos];
	/* Before the used place answers are of its round, behind it of the round before. */
	bool wrap = list->view.used_wrap == (pos < (c->used & VRING_PACKED_POS));
	bool avail = flags_at(c, pos) & VRING_PACKED_DESC_F_AVAIL;
	bool used = flags_at(c, pos) & VRING_PACKED_DESC_F_USED;
	bool is_blank = !le64_get(d->addr) && !le32_get(d->len) && !le16_get(d->id);
	bool is_answer = avail == wrap && used == wrap && !is_blank;
	struct VirtqueueElement *e = ring_list_add(list, pos, le16_get(d->id),
		is_answer ? VIRTQUEUE_ELEMENT_STATE_USED : VIRTQUEUE_ELEMENT_STATE_STALE);

	e->has_written = is_answer;
	e->written = le32_get(d->len);
}

static uint64_t sum_bytes(const struct walk_chain *chain)
{
	uint64_t sum = 0;

	for (size_t i = 0; i < chain->num; i++)
		sum += chain->descs[i].len;
	return sum;
}

/* A chain that begins here and is not answered where it lies; @max descriptors at most. */
static void add_chain(
	struct ring_list *list, const struct copy *c, uint32_t pos, uint32_t max, bool waits)
{
	const struct walk_ring ring = ring_list_ring(list);
	struct walk_chain chain = { 0 };
	struct VirtqueueElement *e;
	struct vq_inflight in = { 0 };
	struct err err = { 0 };
	bool own = !list->vq->dev->view.vhost, held;
	uint16_t id = 0;
	int r = walk_packed_chain(&ring, (uint16_t)pos, max, false, &chain, &id, &err);

	walk_chain_free(&chain);
	e = ring_list_add(list, pos, id, VIRTQUEUE_ELEMENT_STATE_AVAILABLE);
	if (own)
		held = !r && vq_read_inflight(list->vq, id, &in);
	else
		held = !r && c->num_marked >= 0 && ring_list_marked(c->marked, c->num_marked, id);
	if (!waits && !held)
		/* Answered out of order: its answer stands elsewhere. */
		e->state = own || c->num_marked >= 0 ? VIRTQUEUE_ELEMENT_STATE_STALE
						     : VIRTQUEUE_ELEMENT_STATE_UNKNOWN;
	else if (held)
		e->state = VIRTQUEUE_ELEMENT_STATE_IN_FLIGHT;
	if (e->state == VIRTQUEUE_ELEMENT_STATE_IN_FLIGHT)
		ring_list_since(list, e, in.since_ns ? &in : NULL);
	if (!r && (waits || held))
		r = walk_packed_chain(&ring, (uint16_t)pos, max, true, &chain, &id, &err);
	if (r < 0)
		e->problem = xstrdup(err.msg);
	else if (in.since_ns &&
		 sum_bytes(&chain) != (uint64_t)in.readable_bytes + in.writable_bytes)
		e->problem = xstrdup("answers were written over some of its descriptors");
	ring_list_descs(list, e, &chain);
}

static void add_position(struct ring_list *list, const struct copy *c, uint32_t pos)
{
	uint32_t used = c->used & VRING_PACKED_POS, avail = c->avail & VRING_PACKED_POS;
	uint32_t from_used = (pos + list->num - used % list->num) % list->num;
	uint32_t from_avail = (pos + list->num - avail % list->num) % list->num;
	bool busy = from_used < c->busy, waits = !busy && from_avail < c->ready;

	if (!list->ret->consistent)
		ring_list_add(
			list, pos, le16_get(c->desc[pos].id), VIRTQUEUE_ELEMENT_STATE_UNKNOWN);
	else if (!busy && !waits)
		add_answered(list, c, pos);
	else if (is_part(list, c, busy ? used : avail, pos))
		ring_list_add(list, pos, le16_get(c->desc[pos].id), VIRTQUEUE_ELEMENT_STATE_PART);
	else
		add_chain(list, c, pos, busy ? c->busy - from_used : c->ready - from_avail, waits);
}

/* virtio 1.3, "Event Suppression Structure Format" */
static void add_wishes(struct ring_list *list, const struct copy *c)
{
	struct VirtqueueElements *ret = list->ret;
	uint16_t driver = le16_get(c->driver.flags) & VRING_PACKED_EVENT_FLAGS;
	uint16_t device = le16_get(c->device.flags) & VRING_PACKED_EVENT_FLAGS;

	ret->driver_flags = le16_get(c->driver.flags);
	ret->device_flags = le16_get(c->device.flags);
	ret->has_used_event = driver == VRING_PACKED_EVENT_DESC;
	ret->used_event = le16_get(c->driver.off_wrap);
	ret->has_avail_event = device == VRING_PACKED_EVENT_DESC;
	ret->avail_event = le16_get(c->device.off_wrap);
	ret->has_wants_call = !ret->has_used_event || list->knows_used;
	ret->wants_call = ret->has_used_event ? ret->used_event == c->used
					      : driver != VRING_PACKED_EVENT_DISABLE;
	ret->has_wants_kick = !ret->has_avail_event || list->knows_avail;
	ret->wants_kick = ret->has_avail_event ? ret->avail_event == vring_packed_add(list->num,
									     c->avail, c->ready)
					       : device != VRING_PACKED_EVENT_DISABLE;
	ret->has_avail_wrap = list->knows_avail;
	ret->avail_wrap = list->view.avail_wrap;
	ret->has_used_wrap = list->knows_used;
	ret->used_wrap = list->view.used_wrap;
}

int ring_list_packed(struct ring_list *list, uint32_t start, uint32_t end, struct err *err)
{
	_cleanup_(copy_free) struct copy c = { .num_marked = -1 };
	int r = read_ring(list, &c, err);

	if (r < 0)
		return r;
	if (list->ret->consistent)
		c.ready = count_ready(list, &c);
	if (list->vq->dev->view.vhost) {
		c.marked = xnew_n(uint16_t, list->num);
		c.num_marked = inspect_vhost_heads(list->vq, c.marked, list->num);
	}
	add_wishes(list, &c);
	for (uint32_t i = start; i < end; i++)
		add_position(list, &c, i);
	return 0;
}
