/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The split ring (virtio 1.3, "Split Virtqueues"), device side. Each word that the driver can
 * change is loaded once into a local copy; the copy is checked and the copy is used.
 *
 * Refused, with the queue broken: an available index further ahead than the ring is long, a head or
 * a next beyond the table, a head that is in flight, loops, an indirect table that is empty,
 * ragged, nested or outside memory, a descriptor with NEXT and INDIRECT, a readable buffer after a
 * writable one, a buffer outside memory, a chain of more than 4 GiB. A buffer of length 0 is legal
 * and its address is never looked at. INDIRECT is followed even where it was not negotiated: some
 * front-ends do not pass the bit on.
 *
 * With an in-flight region (vq_inflight.h; virtio's own text knows nothing of it) this process may
 * be killed at any instruction, and whoever goes on must neither lose a request nor show one twice.
 * The next one takes up at used index + requests marked in flight, after it served the marked ones
 * again. So every store into the region, and of the used index, is a store-release: all of them
 * are made in the order written here, and a killed process leaves a prefix of them. The windows:
 *
 * - The device has a request, and advance() has not marked it: it stands in the available ring at
 *   the place where the next one takes up, and is taken again. Marks are made in the ring's order,
 *   and for requests that are answered at once too: no unmarked one lies before a marked one.
 * - The counter is written, the mark is not: as above. The mark is: it is served again.
 * - push() put it into the used ring and at the head of the batch's list, flush() has not stored
 *   the used index: the driver cannot see it, the mark stands, it is served again. The list's
 *   head does no harm: of the list only as many entries count as the ring's index is ahead of the
 *   region's, and those will be newer ones.
 * - The used index is stored, marks are left, the region's index is old: the difference of the two
 *   says how many entries of the list were shown, and their marks are cleared. Nothing else was
 *   stored since: flush() settles before it returns, and no chain is taken meanwhile.
 * - All marks are cleared, the region's index is old: likewise, clearing twice.
 * - It was shown and the driver was not called: every start calls once.
 */
#include "virtio/vring.h"

#include <errno.h>
#include <inttypes.h>
#include <string.h>

#include "virtio/vdev.h"
#include "virtio/vq_dirty.h"
#include "virtio/vq_inflight.h"
#include "virtio/vq_recorder.h"
#include "virtio/walk.h"

/* One 16-bit word of a ring, in one access (a torn index would be one that nobody wrote). */
static uint16_t load16(const le16 *p, int order)
{
	return le16toh(order == __ATOMIC_ACQUIRE ? __atomic_load_n(&p->raw, __ATOMIC_ACQUIRE)
						 : __atomic_load_n(&p->raw, __ATOMIC_RELAXED));
}

static void store16(le16 *p, uint16_t v, int order)
{
	if (order == __ATOMIC_RELEASE)
		__atomic_store_n(&p->raw, htole16(v), __ATOMIC_RELEASE);
	else
		__atomic_store_n(&p->raw, htole16(v), __ATOMIC_RELAXED);
}

static const struct vring_avail *avail_of(const struct vq *vq)
{
	return vq->split.avail;
}

static struct vring_used *used_of(const struct vq *vq)
{
	return vq->split.used;
}

/* Where the driver says at which used index it wants to be called. */
static const le16 *used_event_of(const struct vq *vq)
{
	return &avail_of(vq)->ring[vq->num];
}

/* Where we say at which available index we want to be kicked. */
static le16 *avail_event_of(const struct vq *vq)
{
	return (le16 *)&used_of(vq)->ring[vq->num];
}

static void unpack_desc(const struct vring_desc *raw, struct walk_desc *ret)
{
	ret->addr = le64_get(raw->addr);
	ret->len = le32_get(raw->len);
	ret->flags = le16_get(raw->flags);
	ret->next = le16_get(raw->next);
}

static void load_desc(const void *table, uint32_t i, struct walk_desc *ret)
{
	struct vring_desc raw;

	walk_load(table, i, &raw);
	unpack_desc(&raw, ret);
}

static uint64_t split_area_bytes(uint32_t num, bool event_idx, int area)
{
	uint64_t event = event_idx ? sizeof(le16) : 0;

	switch (area) {
	case VQ_AREA_DESC: return (uint64_t)num * sizeof(struct vring_desc);
	case VQ_AREA_DRIVER: return sizeof(struct vring_avail) + num * sizeof(le16) + event;
	default: return sizeof(struct vring_used) + num * sizeof(struct vring_used_elem) + event;
	}
}

static int map_area(struct vq *vq, const char *name, uint64_t gpa, uint64_t align, int area,
	void **ret, struct err *err)
{
	return walk_map_area(
		vq, name, gpa, split_area_bytes(vq->num, vq->event_idx, area), align, ret, err);
}

static int split_map(struct vq *vq, struct err *err)
{
	void *desc, *avail, *used;
	int r;

	if (vq->num & (vq->num - 1))
		return err_set(err, -EINVAL, "queue %u: size %u of a split ring is no power of two",
			vq->index, vq->num);
	r = map_area(vq, "descriptor", vq->cfg.desc, VRING_DESC_ALIGN, VQ_AREA_DESC, &desc, err);
	if (!r)
		r = map_area(vq, "driver", vq->cfg.driver, VRING_AVAIL_ALIGN, VQ_AREA_DRIVER,
			&avail, err);
	if (!r)
		r = map_area(
			vq, "device", vq->cfg.device, VRING_USED_ALIGN, VQ_AREA_DEVICE, &used, err);
	if (r < 0)
		return r;
	vq->split.desc = desc;
	vq->split.avail = avail;
	vq->split.used = used;
	vq->split.mask = (uint16_t)(vq->num - 1);
	vq->last_avail = vq->cfg.next_avail;
	vq->shadow_avail = vq->last_avail;
	/* Whoever served this ring before us left its place in memory. */
	vq->used_idx = load16(&used_of(vq)->idx, __ATOMIC_RELAXED);
	vq->flushed_used = vq->used_idx;
	/* It may be another ring: whether its driver was called is not known. */
	vq->signalled_used_valid = false;
	return 0;
}

static int walk_indirect(struct walk *w, const struct walk_desc *outer, uint32_t outer_index)
{
	struct walk_table table;
	uint32_t i = 0, steps = 0;
	struct vring_desc raw;
	struct walk_desc d;
	int r;

	if (outer->flags & VRING_DESC_F_NEXT)
		return walk_bad(w, "has both INDIRECT and NEXT set", outer_index);
	r = walk_table(w, outer, outer_index, &table);
	if (r < 0)
		return r;
	do {
		if (steps++ == table.num)
			return walk_bad(w, "holds an indirect table with a loop", outer_index);
		walk_table_load(w, &table, i, &raw);
		unpack_desc(&raw, &d);
		if (d.flags & VRING_DESC_F_INDIRECT)
			return walk_bad(w, "of an indirect table is indirect itself", i);
		r = walk_take(w, &d, i);
		if (r < 0)
			return r;
		i = d.next;
		if ((d.flags & VRING_DESC_F_NEXT) && i >= table.num)
			return walk_bad(w, "is named as next, beyond its indirect table", i);
	} while (d.flags & VRING_DESC_F_NEXT);
	return 0;
}

static int walk_chain(struct walk *w, uint16_t head)
{
	uint32_t i = head, steps = 0;
	struct walk_desc d;
	int r;

	do {
		if (steps++ == w->vq->num)
			return walk_bad(w, "closes a loop", i);
		load_desc(w->vq->split.desc, i, &d);
		if (d.flags & VRING_DESC_F_INDIRECT)
			return walk_indirect(w, &d, i);
		r = walk_take(w, &d, i);
		if (r < 0)
			return r;
		i = d.next;
		if ((d.flags & VRING_DESC_F_NEXT) && i >= w->vq->num)
			return walk_bad(w, "is named as next, beyond the table", i);
	} while (d.flags & VRING_DESC_F_NEXT);
	return 0;
}

/* A descriptor in registers, each of its fields loaded once. */
struct quick_desc {
	uint64_t addr, len;
	uint32_t flags, next;
};

static inline void quick_load(const void *table, uint32_t at, struct quick_desc *ret)
{
	const volatile struct walk_fields *d =
		(const volatile struct walk_fields *)((const char *)table + at);

	ret->addr = le64toh(d->addr);
	ret->len = le32toh(d->len);
	ret->flags = le16toh(d->flags);
	ret->next = le16toh(d->next);
}

/* Goes on to the next of a table of @bytes. */
static inline bool quick_next(
	struct walk_quick *q, const void *table, uint32_t bytes, struct quick_desc *d)
{
	uint32_t at = d->next * (uint32_t)sizeof(struct vring_desc);

	if (unlikely(at >= bytes || !walk_quick_room(q)))
		return false;
	quick_load(table, at, d);
	return true;
}

/* From @d on, which is loaded already. */
static inline bool quick_entries(
	struct walk_quick *q, const void *table, uint32_t bytes, struct quick_desc d)
{
	const uint32_t mask = VRING_DESC_F_WRITE | VRING_DESC_F_INDIRECT;

	while (!(d.flags & mask)) {
		if (!walk_quick_take(q, d.addr, d.len))
			return false;
		if (!(d.flags & VRING_DESC_F_NEXT)) {
			walk_quick_turn(q);
			return true;
		}
		if (!quick_next(q, table, bytes, &d))
			return false;
	}
	walk_quick_turn(q);
	while ((d.flags & mask) == VRING_DESC_F_WRITE) {
		if (!walk_quick_take(q, d.addr, d.len))
			return false;
		if (!(d.flags & VRING_DESC_F_NEXT))
			return true;
		if (!quick_next(q, table, bytes, &d))
			return false;
	}
	return false;
}

/* True where the chain of @c's head is an ordinary one, and is put together in @c. */
static inline bool quick_chain(struct vq *vq, struct chain *c, uint32_t head)
{
	const uint32_t each = sizeof(struct vring_desc);
	struct walk_quick q;
	struct quick_desc d;
	const void *table;
	uint64_t bytes;

	walk_quick_begin(&q, vq, c);
	table = vq->split.desc;
	quick_load(table, head * each, &d);
	if (d.flags == VRING_DESC_F_INDIRECT) {
		bytes = d.len;
		if (bytes % each || !walk_quick_ptr(vq, d.addr, bytes, &table))
			return false;
		quick_load(table, 0, &d);
	} else {
		bytes = vq->num * each;
	}
	return quick_entries(&q, table, bytes, d) && walk_quick_end(&q);
}

/* Any chain, where the quick way gave up on @c. Out of the way, so that that keeps the registers.
 */
static __attribute__((noinline)) int full_chain(struct chain *c, struct chain **ret)
{
	struct vq *vq = c->vq;
	uint16_t head = c->head;
	struct walk w;

	vq_chain_put(vq, c);
	walk_begin(&w, vq, head);
	return walk_end(&w, walk_chain(&w, head), ret);
}

/* Does a chain wait? Reads the driver's index only where the last one read is used up. */
static int chain_waits(struct vq *vq)
{
	uint16_t ahead;

	if (vq->last_avail != vq->shadow_avail)
		return 1;
	/* Acquire pairs with the driver's barrier between ring entries and index. */
	vq->shadow_avail = load16(&avail_of(vq)->idx, __ATOMIC_ACQUIRE);
	ahead = (uint16_t)(vq->shadow_avail - vq->last_avail);
	if (ahead > vq->num) {
		vq_break(vq, "available index %u is %u ahead of %u, in a ring of %u",
			vq->shadow_avail, ahead, vq->last_avail, vq->num);
		return -EPROTO;
	}
	return ahead != 0;
}

static int split_peek(struct vq *vq, struct chain **ret)
{
	struct chain *c;
	uint32_t head;
	int r = chain_waits(vq);

	if (r <= 0)
		return r;
	head = load16(&avail_of(vq)->ring[vq->last_avail & vq->split.mask], __ATOMIC_RELAXED);
	if (head >= vq->num) {
		vq_break(vq, "available entry %u names head %u, beyond a ring of %u",
			vq->last_avail & vq->split.mask, head, vq->num);
		return -EPROTO;
	}
	if (atomic_load_explicit(&vq->inflight[head], memory_order_relaxed)) {
		vq_break(vq, "head %u is made available again while it is in flight", head);
		return -EPROTO;
	}
	c = vq_chain_get(vq, (uint16_t)head);
	*ret = c;
	return likely(quick_chain(vq, c, head)) ? 1 : full_chain(c, ret);
}

static void split_advance(struct vq *vq, struct chain *c)
{
	(void)c;
	vq->last_avail++;
}

/* The dirty log hears of a write to the used ring, after it. */
static void mark_used(struct vq *vq, const void *at, size_t len)
{
	vq_dirty_device_area(vq, (uint64_t)((const char *)at - (const char *)vq->split.used), len);
}

static void split_push(struct vq *vq, struct chain *c)
{
	struct vring_used_elem *elem = &used_of(vq)->ring[vq->used_idx & vq->split.mask];

	elem->id = le32_make(c->head);
	elem->len = le32_make(c->written);
	mark_used(vq, elem, sizeof(*elem));
	vq->used_idx++;
}

/* virtio 1.3, "Used Buffer Notification Suppression": did the index pass the one asked for? */
static bool crossed(uint16_t event, uint16_t now, uint16_t before)
{
	return (uint16_t)(now - event - 1) < (uint16_t)(now - before);
}

static bool split_flush(struct vq *vq)
{
	uint16_t before = vq->signalled_used;
	bool valid = vq->signalled_used_valid;

	if (vq->flushed_used == vq->used_idx)
		return false;
	/* Release pairs with the driver's read barrier: who sees the index sees the entries. */
	store16(&used_of(vq)->idx, vq->used_idx, __ATOMIC_RELEASE);
	mark_used(vq, &used_of(vq)->idx, sizeof(le16));
	vq->flushed_used = vq->used_idx;
	/*
	 * Full barrier, paired with the driver's between its write of used_event (or the flag) and
	 * its look at the used index: one of the two sees the other.
	 */
	__atomic_thread_fence(__ATOMIC_SEQ_CST);
	if (!vq->event_idx)
		return !(load16(&avail_of(vq)->flags, __ATOMIC_RELAXED) &
			 VRING_AVAIL_F_NO_INTERRUPT);
	vq->signalled_used = vq->used_idx;
	vq->signalled_used_valid = true;
	return !valid || crossed(load16(used_event_of(vq), __ATOMIC_RELAXED), vq->used_idx, before);
}

static bool split_ask_notify(struct vq *vq, bool on)
{
	if (vq->event_idx) {
		/*
		 * In a batch the index stays behind: the driver has passed it already and is
		 * silent. Polling begins before that, and says one that was passed.
		 */
		if (!on && !vq->polled)
			return false;
		store16(avail_event_of(vq), (uint16_t)(vq->last_avail - !on), __ATOMIC_RELAXED);
		mark_used(vq, avail_event_of(vq), sizeof(le16));
		if (!on)
			return false;
	} else {
		store16(&used_of(vq)->flags, on ? 0 : VRING_USED_F_NO_NOTIFY, __ATOMIC_RELAXED);
		mark_used(vq, &used_of(vq)->flags, sizeof(le16));
		if (!on)
			return false;
	}
	/* Full barrier, paired with the driver's between its index and its look at what we ask for.
	 */
	__atomic_thread_fence(__ATOMIC_SEQ_CST);
	return load16(&avail_of(vq)->idx, __ATOMIC_RELAXED) != vq->last_avail;
}

static bool split_waits(const struct vq *vq)
{
	/* Only a hint: whoever takes the chain reads the index again, in order. */
	return load16(&avail_of(vq)->idx, __ATOMIC_RELAXED) != vq->last_avail;
}

/* --- with an in-flight region --- */

static int recorded_recover(struct vq *vq, struct err *err)
{
	struct vq_ledger *l = vq->ledger;
	uint16_t avail = load16(&avail_of(vq)->idx, __ATOMIC_ACQUIRE);
	uint16_t unanswered = (uint16_t)(avail - vq->used_idx);
	int r = vq_recover_split(vq, vq->used_idx, err);

	/* Never used: the front-end says where to begin. */
	if (r <= 0)
		return r;
	if (l->num_again > unanswered)
		return err_set(err, -EINVAL,
			"queue %u: the in-flight region has %u requests, and the ring %u "
			"unanswered (available index %u, used index %u)",
			vq->index, l->num_again, unanswered, avail, vq->used_idx);
	/*
	 * Whatever base was set: a front-end whose back-end died knows the used index at best, and
	 * one that was told where the ring stopped says the same as this.
	 */
	vq->last_avail = (uint16_t)(vq->used_idx + l->num_again);
	vq->shadow_avail = vq->last_avail;
	return 0;
}

static int recorded_peek(struct vq *vq, struct chain **ret)
{
	struct vq_ledger *l = vq->ledger;
	struct walk w;
	uint16_t head;

	if (likely(l->next_again == l->num_again))
		return split_peek(vq, ret);
	head = l->again[l->next_again].entry;
	walk_begin(&w, vq, head);
	return walk_end(&w, walk_chain(&w, head), ret);
}

static void recorded_advance(struct vq *vq, struct chain *c)
{
	struct vq_ledger *l = vq->ledger;
	struct inflight_split *part = l->base;

	if (unlikely(l->next_again < l->num_again)) {
		/* It is marked, and has its place in the order. */
		vq_record(vq, VQ_EVENT_AGAIN, c->head, 0);
		l->next_again++;
		return;
	}
	__atomic_store_n(&part->desc[c->head].counter.raw, htole64(l->counter), __ATOMIC_RELEASE);
	l->counter++;
	__atomic_store_n(&part->desc[c->head].inflight, 1, __ATOMIC_RELEASE);
	vq->last_avail++;
}

/* The used index was stored: its batch is in flight no more. */
static void settle(struct vq *vq)
{
	struct vq_ledger *l = vq->ledger;
	struct inflight_split *part = l->base;
	uint32_t i;

	for (i = 0; i < l->num_batch; i++)
		__atomic_store_n(&part->desc[l->batch[i]].inflight, 0, __ATOMIC_RELEASE);
	l->num_batch = 0;
	__atomic_store_n(&part->used_idx.raw, htole16(vq->used_idx), __ATOMIC_RELEASE);
}

static void recorded_push(struct vq *vq, struct chain *c)
{
	struct vq_ledger *l = vq->ledger;
	struct inflight_split *part = l->base;

	if (unlikely(l->num_batch == vq->num)) {
		/* A driver that offers a head again before it saw the answer. */
		store16(&used_of(vq)->idx, vq->used_idx, __ATOMIC_RELEASE);
		settle(vq);
	}
	split_push(vq, c);
	__atomic_store_n(&part->desc[c->head].next.raw, htole16(l->batch_head), __ATOMIC_RELEASE);
	__atomic_store_n(&part->last_batch_head.raw, htole16(c->head), __ATOMIC_RELEASE);
	l->batch_head = c->head;
	l->batch[l->num_batch++] = c->head;
}

static bool recorded_flush(struct vq *vq)
{
	bool call = split_flush(vq);

	settle(vq);
	return call;
}

static const struct vq_ops split_recorded_ops = {
	.map = split_map,
	.recover = recorded_recover,
	.peek = recorded_peek,
	.advance = recorded_advance,
	.push = recorded_push,
	.flush = recorded_flush,
	.ask_notify = split_ask_notify,
	.waits = split_waits,
	.area_bytes = split_area_bytes,
};

const struct vq_ops vq_split_ops = {
	.map = split_map,
	.peek = split_peek,
	.advance = split_advance,
	.push = split_push,
	.flush = split_flush,
	.ask_notify = split_ask_notify,
	.waits = split_waits,
	.area_bytes = split_area_bytes,
	.recorded = &split_recorded_ops,
};
