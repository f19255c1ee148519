/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Where a ring stands that somebody else serves. What is said here is proven by what lies in
 * memory, or by the in-flight region, at one moment; all of it is read twice, and counts where
 * both looks agree. Everything else is left out.
 *
 * Split: the used index is in the ring. What the device took is between that and the driver's
 * index: known where the two are the same, and where the region counts what is in between.
 *
 * Packed: in each round the driver leaves its wrap counter in the AVAIL bit of all that it makes
 * available, and the device writes the same into AVAIL and USED of an answer. So AVAIL changes once
 * around the ring, where the driver goes on; and if an answer stands right before that place,
 * answers cover all that there is, in whatever order they came. Is what stands there no answer, it
 * may be a descriptor that waits, or the inside of a chain that was answered: nobody can tell.
 */
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include "base/alloc.h"
#include "base/cleanup.h"
#include "inspect/vhost.h"
#include "vhost/inflight_reader.h"
#include "virtio/vq_inflight.h"
#include "virtio/vring.h"

/* Larger rings are not read as a whole. */
#define WALK_MAX 4096

#define ANSWERED      "all that is available was answered"
#define BY_REGION     "the used index and what the in-flight region marks"
#define BY_MESSAGES   "as the messages have it; it has not run since"
#define BY_ALL_USED   "the ring's flags: all that is available was answered"
#define BY_REGION_POS "the in-flight region"

static bool peek16(const struct vq *vq, uint64_t gpa, uint16_t *ret)
{
	le16 raw;

	if (gmem_peek(vq->dev->mem, gpa, &raw, sizeof(raw)) < 0)
		return false;
	*ret = le16_get(raw);
	/* In the order in which they were asked for. */
	__atomic_thread_fence(__ATOMIC_ACQUIRE);
	return true;
}

static bool is_placed(const struct vq *vq)
{
	const struct vq_config *cfg = &vq->cfg;

	return vq->dev->mem && (cfg->desc | cfg->driver | cfg->device) && cfg->num &&
	       cfg->num <= VQ_SIZE_MAX;
}

static bool region_part(const struct vq *vq, struct inflight_part *ret)
{
	const struct vhost_view *view = vq->dev->view.vhost;
	bool packed = vq_format(vq->dev)->packed;

	if (!view->inflight || vq->index >= view->inflight_queues ||
		vq->cfg.num > view->inflight_entries || view->inflight_entries > VQ_SIZE_MAX)
		return false;
	*ret = (struct inflight_part){ view->inflight,
		vq->index * vq_inflight_bytes(packed, view->inflight_entries),
		view->inflight_entries, vq->cfg.num };
	return true;
}

/* --- split --- */

/*
 * A back-end may take the region and never write into it: then nothing is marked there, and its
 * used index stays behind. @ret: how many requests it marks.
 */
static bool count_split(const struct vq *vq, uint16_t used, bool *marks, uint32_t *ret)
{
	struct inflight_reading reading;
	struct inflight_part part;
	le16 recorded;

	if (!region_part(vq, &part) ||
		gmem_peek(part.mem, part.offset + offsetof(struct inflight_split, used_idx),
			&recorded, sizeof(recorded)) < 0 ||
		le16_get(recorded) != used ||
		inflight_read_split(&part, used, marks, &reading, NULL) < 0 || !reading.recorded ||
		(!used && !reading.num))
		return false;
	*ret = reading.num;
	return true;
}

static void look_at_split(const struct vq *vq, struct vhost_ring_now *ret)
{
	uint64_t used_gpa = vq->cfg.device + offsetof(struct vring_used, idx);
	uint64_t avail_gpa = vq->cfg.driver + offsetof(struct vring_avail, idx);
	uint16_t used, avail, again;
	bool counted;

	if (!is_placed(vq) || !peek16(vq, used_gpa, &used))
		return;
	ret->knows_used = ret->from_memory = true;
	ret->used = used;
	counted = count_split(vq, used, NULL, &ret->inuse);
	if (!peek16(vq, avail_gpa, &avail) || !peek16(vq, used_gpa, &again) || again != used)
		return;
	if (avail == used) {
		/* Nobody takes what is not available: an index between the two is both. */
		*ret = (struct vhost_ring_now){ .knows_avail = true,
			.knows_used = true,
			.from_memory = true,
			.quiet = true,
			.knows_inuse = true,
			.used = used,
			.last_avail = used,
			.how = ANSWERED };
	} else if (counted && ret->inuse <= (uint16_t)(avail - used)) {
		ret->knows_avail = ret->knows_inuse = true;
		ret->last_avail = (uint16_t)(used + ret->inuse);
		ret->how = BY_REGION;
	}
}

/* --- packed --- */

static bool avail_bit(const struct vring_packed_desc *d)
{
	return le16_get(d->flags) & VRING_PACKED_DESC_F_AVAIL;
}

static bool is_answer(const struct vring_packed_desc *d)
{
	return avail_bit(d) == !!(le16_get(d->flags) & VRING_PACKED_DESC_F_USED);
}

/* Where the driver goes on; false while it writes, or where it is no driver's ring. */
static bool find_driver(const struct vring_packed_desc *ring, uint32_t num, uint16_t *ret)
{
	bool first = avail_bit(&ring[0]);
	uint32_t turn = num;

	for (uint32_t i = 1; i < num; i++) {
		if (avail_bit(&ring[i]) == avail_bit(&ring[i - 1]))
			continue;
		if (turn < num)
			return false;
		turn = i;
	}
	*ret = vring_packed_add(num, first ? VRING_PACKED_START : 0, turn);
	return true;
}

/*
 * A chain as long as the ring, of which all but the head is written already, looks like a place
 * behind that head. So where nothing but one answer is seen, nothing is proven.
 */
static bool all_answered(const struct vring_packed_desc *ring, uint32_t num, uint16_t driver)
{
	uint32_t before = ((driver & VRING_PACKED_POS) + num - 1) % num, answers = 0;

	for (uint32_t i = 0; i < num; i++)
		answers += is_answer(&ring[i]);
	return is_answer(&ring[before]) && (answers > 1 || num == 1);
}

/* Of a region that is kept; one that nobody writes into stands still at the ring's start. */
static bool read_region(const struct vq *vq, struct inflight_reading *ret)
{
	struct inflight_reading again;
	struct inflight_part part;

	if (!region_part(vq, &part) || inflight_read_packed(&part, ret, NULL) < 0 ||
		inflight_read_packed(&part, &again, NULL) < 0)
		return false;
	return ret->recorded && !ret->drafted && again.used == ret->used &&
	       again.avail == ret->avail && again.num == ret->num && !again.drafted &&
	       (ret->num || ret->used != VRING_PACKED_START);
}

/* Does the ring contradict it? It must lie between the last answer and where the driver goes on. */
static bool fits(const struct vring_packed_desc *ring, uint32_t num, uint16_t driver,
	const struct inflight_reading *r)
{
	uint32_t busy = vring_packed_distance(num, r->used, r->avail);
	uint32_t waiting = vring_packed_distance(num, r->used, driver);

	if (busy > waiting || waiting > num)
		return false;
	for (uint32_t i = 0; i < waiting; i++)
		if (is_answer(&ring[((r->used & VRING_PACKED_POS) + i) % num]))
			return false;
	return true;
}

static void set_packed(struct vhost_ring_now *ret, uint16_t avail, uint16_t used, uint32_t inuse)
{
	ret->knows_avail = ret->knows_used = ret->knows_inuse = true;
	ret->last_avail = avail & VRING_PACKED_POS;
	ret->avail_wrap = avail & VRING_PACKED_WRAP;
	ret->used = used & VRING_PACKED_POS;
	ret->used_wrap = used & VRING_PACKED_WRAP;
	ret->inuse = inuse;
}

static void look_at_packed(const struct vq *vq, struct vhost_ring_now *ret)
{
	size_t bytes = vq->cfg.num * sizeof(struct vring_packed_desc);
	_cleanup_free_ struct vring_packed_desc *ring = NULL, *again = NULL;
	struct inflight_reading reading = { 0 };
	bool has_region;
	uint16_t driver;

	if (!is_placed(vq) || vq->cfg.num > WALK_MAX)
		return;
	ring = xcalloc(vq->cfg.num, sizeof(*ring));
	again = xcalloc(vq->cfg.num, sizeof(*again));
	if (gmem_peek(vq->dev->mem, vq->cfg.desc, ring, bytes) < 0)
		return;
	__atomic_thread_fence(__ATOMIC_ACQUIRE);
	has_region = read_region(vq, &reading);
	__atomic_thread_fence(__ATOMIC_ACQUIRE);
	if (gmem_peek(vq->dev->mem, vq->cfg.desc, again, bytes) < 0 ||
		memcmp(ring, again, bytes) != 0 || !find_driver(ring, vq->cfg.num, &driver))
		return;
	if (all_answered(ring, vq->cfg.num, driver)) {
		set_packed(ret, driver, driver, 0);
		ret->quiet = true;
		ret->how = BY_ALL_USED;
	} else if (has_region && fits(ring, vq->cfg.num, driver, &reading)) {
		set_packed(ret, reading.avail, reading.used, reading.num);
		ret->how = BY_REGION_POS;
	}
}

/* --- both --- */

/* It has not moved since somebody said where it stands. */
static void as_said(const struct vq *vq, bool packed, struct vhost_ring_now *ret)
{
	if (packed) {
		set_packed(ret, vq->cfg.next_avail, vq->cfg.next_used, 0);
		ret->knows_inuse = ret->quiet = false;
		ret->by_message = true;
	}
	ret->knows_avail = true;
	ret->last_avail = packed ? vq->cfg.next_avail & VRING_PACKED_POS : vq->cfg.next_avail;
	if (!ret->quiet)
		ret->how = BY_MESSAGES;
}

void inspect_vhost_ring(const struct vq *vq, struct vhost_ring_now *ret)
{
	const struct vhost_view_ring *ring = &vq->dev->view.vhost->rings[vq->index];
	bool packed = vq_format(vq->dev)->packed;

	*ret = (struct vhost_ring_now){ 0 };
	if (packed)
		look_at_packed(vq, ret);
	else
		look_at_split(vq, ret);
	if (!ring->ran && ring->has_base)
		as_said(vq, packed, ret);
}

/* Oldest first; who keeps no counter leaves the order open. */
static int by_counter(const void *a, const void *b)
{
	const struct vhost_mark *x = a, *y = b;

	if (x->counter != y->counter)
		return x->counter < y->counter ? -1 : 1;
	return (x->head > y->head) - (x->head < y->head);
}

static bool peek_packed(
	const struct inflight_part *part, uint32_t entry, struct inflight_packed_desc *ret)
{
	uint64_t at = part->offset + sizeof(struct inflight_packed) + entry * sizeof(*ret);

	return entry < part->entries && gmem_peek(part->mem, at, ret, sizeof(*ret)) == 0;
}

static int packed_marks(const struct inflight_part *part, struct vhost_mark *marks)
{
	int n = 0;

	for (uint32_t i = 0; i < part->entries; i++) {
		struct inflight_packed_desc desc, last;

		if (!peek_packed(part, i, &desc))
			return -1;
		if (!desc.inflight)
			continue;
		if (!peek_packed(part, le16_get(desc.last), &last))
			return -1;
		marks[n++] = (struct vhost_mark){ le16_get(last.id), (uint16_t)i,
			le64_get(desc.counter) };
	}
	return n;
}

static int split_marks(const struct vq *vq, const struct inflight_part *part, uint16_t used,
	struct vhost_mark *ret)
{
	_cleanup_free_ bool *marks = xnew_n(bool, part->num);
	uint32_t marked;
	int n = 0;

	if (!count_split(vq, used, marks, &marked))
		return -1;
	for (uint32_t i = 0; i < part->num; i++) {
		struct inflight_split_desc desc;
		uint64_t at = part->offset + sizeof(struct inflight_split) + i * sizeof(desc);

		if (!marks[i])
			continue;
		if (gmem_peek(part->mem, at, &desc, sizeof(desc)) < 0)
			return -1;
		ret[n++] = (struct vhost_mark){ (uint16_t)i, (uint16_t)i, le64_get(desc.counter) };
	}
	return n;
}

int inspect_vhost_marks(const struct vq *vq, struct vhost_mark **ret)
{
	_cleanup_free_ struct vhost_mark *marks = NULL;
	struct vhost_ring_now now;
	struct inflight_part part;
	int n;

	*ret = NULL;
	inspect_vhost_ring(vq, &now);
	if (!now.knows_inuse || now.quiet || !region_part(vq, &part))
		return -1;
	marks = xnew_n(struct vhost_mark, part.entries);
	n = vq_format(vq->dev)->packed ? packed_marks(&part, marks)
				       : split_marks(vq, &part, now.used, marks);
	if (n < 0)
		return -1;
	qsort(marks, (size_t)n, sizeof(marks[0]), by_counter);
	*ret = take_ptr(marks);
	return n;
}

int inspect_vhost_heads(const struct vq *vq, uint16_t *heads, unsigned int max)
{
	_cleanup_free_ struct vhost_mark *marks = NULL;
	int n = inspect_vhost_marks(vq, &marks);

	for (int i = 0; i < n && (unsigned int)i < max; i++)
		heads[i] = marks[i].head;
	return n;
}

bool inspect_vhost_recorded(
	const struct vq *vq, const struct vhost_mark *mark, uint32_t i, struct walk_desc *ret)
{
	struct inflight_packed_desc desc;
	struct inflight_part part;
	uint16_t at = mark->entry;

	if (!vq_format(vq->dev)->packed || !region_part(vq, &part) ||
		!peek_packed(&part, at, &desc) || i >= le16_get(desc.num))
		return false;
	while (i--) {
		at = le16_get(desc.next);
		if (!peek_packed(&part, at, &desc))
			return false;
	}
	*ret = (struct walk_desc){ le64_get(desc.addr), le32_get(desc.len), le16_get(desc.flags),
		le16_get(desc.id) };
	return true;
}

static bool event_split(const struct vq *vq, uint16_t *ret)
{
	uint64_t at = vq->cfg.device + offsetof(struct vring_used, ring) +
		      vq->cfg.num * sizeof(struct vring_used_elem);

	return vdev_ring_feature(vq->dev, VIRTIO_F_EVENT_IDX) && peek16(vq, at, ret);
}

bool inspect_vhost_event(const struct vq *vq, uint16_t *ret)
{
	struct vring_packed_event event;

	if (!is_placed(vq))
		return false;
	if (!vq_format(vq->dev)->packed)
		return event_split(vq, ret);
	if (gmem_peek(vq->dev->mem, vq->cfg.device, &event, sizeof(event)) < 0 ||
		(le16_get(event.flags) & VRING_PACKED_EVENT_FLAGS) != VRING_PACKED_EVENT_DESC)
		return false;
	*ret = le16_get(event.off_wrap) & VRING_PACKED_POS;
	return true;
}
