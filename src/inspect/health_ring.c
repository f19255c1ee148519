/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Rings by peeking. The driver and the server go on meanwhile: an index that is read later may run
 * ahead of one that was read before, never behind, so the server's side is read first.
 */
#include "inspect/health_ring.h"

#include <errno.h>

#include "inspect/vhost.h"
#include "virtio/vring.h"

/* Descriptors that are read at once. */
#define CHUNK 128

uint64_t health_mix(uint64_t key, uint64_t n)
{
	key = (key ^ n) * 0x9e3779b97f4a7c15ull;
	return key ^ key >> 29;
}

static bool peek16(const struct vq *vq, uint64_t gpa, uint16_t *ret)
{
	le16 raw;

	if (gmem_peek(vq->dev->mem, gpa, &raw, sizeof(raw)) < 0)
		return false;
	*ret = le16_get(raw);
	return true;
}

static bool has_areas(const struct vq *vq)
{
	return vq->dev->mem && (vq->cfg.desc | vq->cfg.driver | vq->cfg.device) && vq->cfg.num &&
	       vq->cfg.num <= VQ_SIZE_MAX;
}

/* --- split --- */

static uint64_t avail_idx_at(const struct vq *vq)
{
	return vq->cfg.driver + offsetof(struct vring_avail, idx);
}

static uint64_t used_idx_at(const struct vq *vq)
{
	return vq->cfg.device + offsetof(struct vring_used, idx);
}

static uint64_t used_event_at(const struct vq *vq)
{
	return vq->cfg.driver + offsetof(struct vring_avail, ring) + vq->cfg.num * sizeof(le16);
}

static uint64_t avail_event_at(const struct vq *vq)
{
	return vq->cfg.device + offsetof(struct vring_used, ring) +
	       vq->cfg.num * sizeof(struct vring_used_elem);
}

/* @to is where the server stands, as far as is known; @avail where the driver does. */
static enum health_wish split_kick_wish(uint16_t event, uint16_t to, uint16_t avail)
{
	uint16_t ahead = (uint16_t)(avail - to);

	if (event == avail)
		return HEALTH_WISH_AHEAD;
	return (uint16_t)(event - to) < ahead ? HEALTH_WISH_DUE : HEALTH_WISH_PASSED;
}

static void split_kicks(
	struct vq *vq, bool event_idx, uint16_t to, uint16_t avail, struct health_picture *ret)
{
	uint16_t n;

	if (event_idx && peek16(vq, avail_event_at(vq), &n)) {
		ret->avail_event = health_num(n);
		ret->kick_wish = split_kick_wish(n, to, avail);
	} else if (!event_idx && peek16(vq, vq->cfg.device, &n)) {
		ret->kick_wish = n & VRING_USED_F_NO_NOTIFY ? HEALTH_WISH_OFF : HEALTH_WISH_DUE;
	}
}

static void split_calls(struct vq *vq, bool event_idx, uint16_t used, struct health_picture *ret)
{
	uint16_t n, behind;

	if (!event_idx) {
		if (peek16(vq, vq->cfg.driver, &n))
			ret->call_wish = n & VRING_AVAIL_F_NO_INTERRUPT ? HEALTH_WISH_OFF
									: HEALTH_WISH_DUE;
		return;
	}
	if (!peek16(vq, used_event_at(vq), &n))
		return;
	ret->used_event = health_num(n);
	behind = (uint16_t)(used - n);
	/* Linux' driver writes 0 to switch calls off. */
	ret->call_wish_is_vague = !n;
	ret->unseen = behind <= vq->cfg.num ? behind : 0;
	ret->call_wish = ret->unseen ? HEALTH_WISH_DUE : HEALTH_WISH_AHEAD;
}

static void read_split(struct vq *vq, const struct vq_view *view, struct health_picture *ret)
{
	bool event_idx = vdev_ring_feature(vq->dev, VIRTIO_F_EVENT_IDX);
	uint16_t used, avail, to, ahead;

	if (!peek16(vq, used_idx_at(vq), &used) || !peek16(vq, avail_idx_at(vq), &avail)) {
		ret->memory_reason = "it lies outside guest memory, or the memory is gone";
		return;
	}
	to = view ? view->last_avail_idx : used;
	ahead = (uint16_t)(avail - to);
	ret->avail_idx = health_num(avail);
	ret->used_idx = health_num(used);
	ret->ever_used = used != 0;
	if (view)
		ret->last_avail = health_num(to);
	/* Of a busy queue the numbers are of different moments. */
	ret->impossible = ahead > ret->num;
	if (ahead <= ret->num && view)
		ret->waiting = health_num(ahead);
	if (ret->relayed && (uint16_t)(avail - used) <= ret->num)
		ret->outstanding = health_num((uint16_t)(avail - used));
	split_kicks(vq, event_idx, to, avail, ret);
	split_calls(vq, event_idx, used, ret);
}

/* --- packed --- */

static uint16_t place(uint16_t pos, bool wrap)
{
	return (uint16_t)(pos | (wrap ? VRING_PACKED_WRAP : 0));
}

/* Descriptors from @at on that wait for the device, @max at most. */
static uint32_t packed_waiting(const struct vq *vq, uint16_t at, uint32_t max)
{
	uint32_t n = 0;
	uint16_t flags;

	while (n < max &&
		peek16(vq,
			vq->cfg.desc + (at & VRING_PACKED_POS) * sizeof(struct vring_packed_desc) +
				offsetof(struct vring_packed_desc, flags),
			&flags) &&
		vring_packed_is_avail(flags, at)) {
		at = vring_packed_add(vq->cfg.num, at, 1);
		n++;
	}
	return n;
}

static bool packed_event(const struct vq *vq, uint64_t gpa, uint16_t *ret_at, uint16_t *ret_flags)
{
	struct vring_packed_event event;

	if (gmem_peek(vq->dev->mem, gpa, &event, sizeof(event)) < 0)
		return false;
	*ret_at = le16_get(event.off_wrap);
	*ret_flags = le16_get(event.flags) & VRING_PACKED_EVENT_FLAGS;
	return true;
}

static enum health_wish packed_wish(const struct vq *vq, uint16_t flags)
{
	if (flags == VRING_PACKED_EVENT_DISABLE)
		return HEALTH_WISH_OFF;
	if (flags == VRING_PACKED_EVENT_DESC && vdev_ring_feature(vq->dev, VIRTIO_F_EVENT_IDX))
		return HEALTH_WISH_UNKNOWN;
	return HEALTH_WISH_DUE;
}

static void packed_kicks(struct vq *vq, const struct vq_view *view, struct health_picture *ret)
{
	uint16_t at, flags, to;

	if (!packed_event(vq, vq->cfg.device, &at, &flags))
		return;
	ret->kick_wish = packed_wish(vq, flags);
	if (ret->kick_wish || !view)
		return;
	ret->avail_event = health_num(at & VRING_PACKED_POS);
	to = place(view->last_avail_idx, view->avail_wrap);
	if (vring_packed_distance(vq->cfg.num, to, at) < ret->waiting.n)
		ret->kick_wish = HEALTH_WISH_DUE;
	else if (vring_packed_distance(vq->cfg.num, to, at) == ret->waiting.n)
		ret->kick_wish = HEALTH_WISH_AHEAD;
	else
		ret->kick_wish = HEALTH_WISH_PASSED;
}

static void packed_calls(struct vq *vq, const struct vq_view *view, struct health_picture *ret)
{
	uint32_t behind;
	uint16_t at, flags;

	if (!packed_event(vq, vq->cfg.driver, &at, &flags))
		return;
	ret->call_wish = packed_wish(vq, flags);
	if (ret->call_wish || !view)
		return;
	ret->used_event = health_num(at & VRING_PACKED_POS);
	behind = vring_packed_distance(vq->cfg.num, at, place(view->used_idx, view->used_wrap));
	ret->unseen = behind <= vq->cfg.num ? behind : 0;
	ret->call_wish = ret->unseen ? HEALTH_WISH_DUE : HEALTH_WISH_AHEAD;
}

static void read_packed(struct vq *vq, const struct vq_view *view, struct health_picture *ret)
{
	uint16_t avail, used, flags;
	uint32_t taken = 0;

	if (!peek16(vq, vq->cfg.desc + offsetof(struct vring_packed_desc, flags), &flags)) {
		ret->memory_reason = "it lies outside guest memory, or the memory is gone";
		return;
	}
	ret->ever_used = true;
	if (view) {
		avail = place(view->last_avail_idx, view->avail_wrap);
		used = place(view->used_idx, view->used_wrap);
		taken = vring_packed_distance(vq->cfg.num, used, avail);
		ret->last_avail = health_num(view->last_avail_idx);
		ret->used_idx = health_num(view->used_idx);
		ret->ever_used = view->counters.completed;
		ret->waiting = health_num(
			packed_waiting(vq, avail, taken > vq->cfg.num ? 0 : vq->cfg.num - taken));
	}
	packed_kicks(vq, view, ret);
	packed_calls(vq, view, ret);
}

void health_read_ring(struct vq *vq, const struct vq_view *view, struct health_picture *ret)
{
	if (!has_areas(vq))
		return;
	if (ret->packed)
		read_packed(vq, view, ret);
	else
		read_split(vq, view, ret);
}

/* --- what moves --- */

static uint64_t packed_key(const struct vq *vq, uint64_t key)
{
	struct vring_packed_desc descs[CHUNK];

	for (uint32_t i = 0; i < vq->cfg.num; i += CHUNK) {
		uint32_t n = MIN(vq->cfg.num - i, (uint32_t)CHUNK);

		if (gmem_peek(vq->dev->mem, vq->cfg.desc + i * sizeof(descs[0]), descs,
			    n * sizeof(descs[0])) < 0)
			return key;
		for (uint32_t k = 0; k < n; k++)
			key = health_mix(key,
				le16_get(descs[k].flags) | (uint64_t)le16_get(descs[k].id) << 16);
	}
	return key;
}

uint64_t health_ring_key(struct vq *vq, uint64_t key)
{
	uint16_t avail = 0, used = 0;

	if (!has_areas(vq))
		return key;
	if (vq_format(vq->dev)->packed)
		return packed_key(vq, key);
	peek16(vq, used_idx_at(vq), &used);
	peek16(vq, avail_idx_at(vq), &avail);
	return health_mix(key, avail | (uint64_t)used << 16);
}
