/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A split ring: the available ring's entries, and the used ring's beside them. Several entries may
 * name one head; only the newest of them can mean anything. Both rings are copied, and again where
 * the device gave something back meanwhile.
 */
#include <stdlib.h>

#include "base/alloc.h"
#include "base/cleanup.h"
#include "inspect/outstanding.h"
#include "inspect/ring_list.h"
#include "virtio/vring.h"

/* Both rings at one moment. */
struct copy {
	uint16_t avail_flags, avail_idx, used_flags, used_idx, used_event, avail_event;
	le16 *avail; /* the areas, as they lie in memory, two words of header before */
	uint8_t *used;
	size_t avail_bytes, used_bytes;
	/* By head: distance of its newest entry from the available index, from 1; 0: none. */
	uint32_t *newest;
	/* And of its newest answer from the used index. */
	uint32_t *answer;
	uint32_t num_answers; /* that stand in the used ring */
	struct outstanding out; /* relayed */
	uint16_t *marked; /* relayed: heads of the in-flight region, num_marked; -1: none */
	int num_marked;
};

static void copy_free(struct copy *c)
{
	free(c->avail);
	free(c->used);
	free(c->newest);
	free(c->answer);
	free(c->marked);
	outstanding_free(&c->out);
}

static const struct vring_used_elem *used_entry(const struct copy *c, uint32_t i)
{
	return (const struct vring_used_elem *)(c->used + sizeof(struct vring_used)) + i;
}

static uint16_t head_at(const struct copy *c, uint32_t i)
{
	return le16_get(c->avail[2 + i]);
}

static int read_once(struct ring_list *list, struct copy *c, struct err *err)
{
	const struct vq_config *cfg = &list->vq->cfg;
	le16 word;
	int r = ring_list_peek(list, "available ring", cfg->driver, c->avail, c->avail_bytes, err);

	/* Before the copy and behind it: an index that stands still. */
	if (!r)
		r = ring_list_peek(list, "used ring", cfg->device + 2, &word, sizeof(word), err);
	if (!r)
		r = ring_list_peek(list, "used ring", cfg->device, c->used, c->used_bytes, err);
	if (r < 0)
		return r;
	c->avail_flags = le16_get(c->avail[0]);
	c->avail_idx = le16_get(c->avail[1]);
	c->used_flags = le16_read(c->used);
	c->used_idx = le16_read(c->used + 2);
	return le16_get(word) == c->used_idx;
}

/* Own rings: did the device stand still? Relayed ones: did the used index? */
static bool stood_still(struct ring_list *list, const struct copy *c)
{
	struct vq_view before = list->view;
	le16 used;

	if (!ring_list_look(list) ||
		ring_list_peek(list, "", list->vq->cfg.device + 2, &used, sizeof(used), NULL) < 0)
		return false;
	if (le16_get(used) != c->used_idx || before.last_avail_idx != list->view.last_avail_idx)
		return false;
	if (list->vq->dev->view.vhost || list->vq->state == VQ_IDLE || list->vq->was_broken)
		return true;
	return list->view.used_idx == c->used_idx && before.used_idx == c->used_idx;
}

static int read_rings(struct ring_list *list, struct copy *c, struct err *err)
{
	int tries = ring_list_tries(list), r = 0;

	c->avail_bytes = sizeof(le16) * (2 + list->num);
	c->used_bytes = sizeof(struct vring_used) + list->num * sizeof(struct vring_used_elem);
	c->avail = xcalloc(1, c->avail_bytes);
	c->used = xcalloc(1, c->used_bytes);
	while (tries--) {
		bool whole = ring_list_look(list);

		r = read_once(list, c, err);
		if (r < 0)
			return r;
		if (r > 0 && whole && stood_still(list, c)) {
			list->ret->consistent = true;
			break;
		}
	}
	return 0;
}

static void index_heads(struct ring_list *list, struct copy *c)
{
	/* A used ring that has not come round yet holds zeros behind its index. */
	c->num_answers = list->num;
	c->newest = xnew_n(uint32_t, list->num);
	c->answer = xnew_n(uint32_t, list->num);
	for (uint32_t back = 0; back < list->num; back++) {
		uint16_t head = head_at(c, (uint16_t)(c->avail_idx - 1 - back) % list->num);

		if (head < list->num && !c->newest[head])
			c->newest[head] = back + 1;
	}
	if (c->used_idx < list->num) {
		uint32_t i = c->used_idx;

		while (i < list->num && !le32_get(used_entry(c, i)->id) &&
			!le32_get(used_entry(c, i)->len))
			i++;
		if (i == list->num)
			c->num_answers = c->used_idx;
	}
	for (uint32_t i = 0; i < list->num; i++) {
		uint32_t back = (uint16_t)(c->used_idx - 1 - i) % list->num;
		const struct vring_used_elem *u = used_entry(c, back);

		if (i < c->num_answers && le32_get(u->id) < list->num &&
			!c->answer[le32_get(u->id)])
			c->answer[le32_get(u->id)] = i + 1;
	}
}

static void read_others(struct ring_list *list, struct copy *c)
{
	if (!list->vq->dev->view.vhost)
		return;
	c->marked = xnew_n(uint16_t, list->num);
	c->num_marked = inspect_vhost_heads(list->vq, c->marked, list->num);
	outstanding_read(list->vq, RING_LIST_TRIES, &c->out);
}

/* Somebody else's: what is not answered for certain is in flight at most. */
static enum VirtqueueElementState state_relayed(
	const struct ring_list *list, const struct copy *c, uint16_t head, bool waits)
{
	if (list->knows_avail && waits)
		return VIRTQUEUE_ELEMENT_STATE_AVAILABLE;
	if (c->num_marked >= 0 && ring_list_marked(c->marked, c->num_marked, head))
		return VIRTQUEUE_ELEMENT_STATE_IN_FLIGHT;
	for (size_t i = 0; i < c->out.num; i++) {
		if (c->out.heads[i] != head)
			continue;
		return c->out.certain[i] && list->knows_avail ? VIRTQUEUE_ELEMENT_STATE_IN_FLIGHT
							      : VIRTQUEUE_ELEMENT_STATE_UNKNOWN;
	}
	return c->answer[head] ? VIRTQUEUE_ELEMENT_STATE_USED : VIRTQUEUE_ELEMENT_STATE_STALE;
}

static enum VirtqueueElementState state_of(struct ring_list *list, const struct copy *c,
	uint16_t head, uint32_t back, struct vq_inflight *in)
{
	uint32_t waiting = (uint16_t)(c->avail_idx - list->view.last_avail_idx);

	if (head >= list->num || c->newest[head] != back + 1)
		return VIRTQUEUE_ELEMENT_STATE_STALE;
	if (!list->ret->consistent)
		return VIRTQUEUE_ELEMENT_STATE_UNKNOWN;
	if (list->vq->dev->view.vhost)
		return state_relayed(list, c, head, waiting <= list->num && back < waiting);
	/* The table first: what the last view calls available may have been taken since. */
	if (vq_read_inflight(list->vq, head, in))
		return VIRTQUEUE_ELEMENT_STATE_IN_FLIGHT;
	if (waiting <= list->num && back < waiting)
		return VIRTQUEUE_ELEMENT_STATE_AVAILABLE;
	return c->answer[head] ? VIRTQUEUE_ELEMENT_STATE_USED : VIRTQUEUE_ELEMENT_STATE_STALE;
}

static void add_element(struct ring_list *list, const struct copy *c, uint32_t slot)
{
	uint16_t head = head_at(c, slot);
	uint32_t back = (uint16_t)(c->avail_idx - 1 - slot) % list->num;
	const struct walk_ring ring = ring_list_ring(list);
	struct vq_inflight in = { 0 };
	enum VirtqueueElementState state = state_of(list, c, head, back, &in);
	struct VirtqueueElement *e = ring_list_add(list, slot, head, state);
	struct walk_chain chain = { 0 };
	struct err err = { 0 };

	if (state == VIRTQUEUE_ELEMENT_STATE_USED) {
		uint32_t at = (uint16_t)(c->used_idx - c->answer[head]) % list->num;

		e->has_written = true;
		e->written = le32_get(used_entry(c, at)->len);
	}
	if (state == VIRTQUEUE_ELEMENT_STATE_IN_FLIGHT)
		ring_list_since(list, e, in.since_ns ? &in : NULL);
	if (state != VIRTQUEUE_ELEMENT_STATE_AVAILABLE &&
		state != VIRTQUEUE_ELEMENT_STATE_IN_FLIGHT)
		return;
	if (walk_chain(&ring, head, true, &chain, &err) < 0)
		e->problem = xstrdup(err.msg);
	ring_list_descs(list, e, &chain);
}

static void add_used(struct ring_list *list, const struct copy *c, uint32_t slot)
{
	struct VirtqueueUsedEntry *e = xnew(struct VirtqueueUsedEntry);
	uint32_t back = (uint16_t)(c->used_idx - 1 - slot) % list->num;

	e->index = (uint16_t)slot;
	e->id = le32_get(used_entry(c, slot)->id);
	e->len = le32_get(used_entry(c, slot)->len);
	e->current = back < c->num_answers;
	qapi_append_VirtqueueUsedEntryList(&list->ret->used_entries, e);
}

/* virtio 1.3, "Used Buffer Notification Suppression", "Available Buffer Notification Suppression"
 */
static void add_wishes(struct ring_list *list, const struct copy *c)
{
	const struct vq_config *cfg = &list->vq->cfg;
	struct VirtqueueElements *ret = list->ret;
	le16 word;

	ret->has_avail_idx = ret->has_used_idx = true;
	ret->avail_idx = c->avail_idx;
	ret->used_idx = c->used_idx;
	ret->driver_flags = c->avail_flags;
	ret->device_flags = c->used_flags;
	ret->has_wants_call = ret->has_wants_kick = !ret->event_idx;
	ret->wants_call = !(c->avail_flags & VRING_AVAIL_F_NO_INTERRUPT);
	ret->wants_kick = !(c->used_flags & VRING_USED_F_NO_NOTIFY);
	if (!ret->event_idx)
		return;
	if (ring_list_peek(list, "", cfg->driver + c->avail_bytes, &word, sizeof(word), NULL) ==
		0) {
		ret->has_used_event = ret->has_wants_call = true;
		ret->used_event = le16_get(word);
		ret->wants_call = ret->used_event == c->used_idx;
	}
	if (ring_list_peek(list, "", cfg->device + c->used_bytes, &word, sizeof(word), NULL) == 0) {
		ret->has_avail_event = ret->has_wants_kick = true;
		ret->avail_event = le16_get(word);
		ret->wants_kick = ret->avail_event == c->avail_idx;
	}
}

int ring_list_split(struct ring_list *list, uint32_t start, uint32_t end, struct err *err)
{
	_cleanup_(copy_free) struct copy c = { .num_marked = -1 };
	int r = read_rings(list, &c, err);

	if (r < 0)
		return r;
	index_heads(list, &c);
	read_others(list, &c);
	add_wishes(list, &c);
	for (uint32_t i = start; i < end; i++) {
		add_element(list, &c, i);
		add_used(list, &c, i);
	}
	return 0;
}
