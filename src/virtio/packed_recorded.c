/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A packed ring with an in-flight region (vq_inflight.h): packed.c, and beside it a record of what
 * was taken, copies of the descriptors among it, since answers overwrite the ring's own.
 *
 * This process may be killed at any instruction, and whoever goes on must neither lose a request
 * nor show one twice. The next one takes up at the place of the next answer + the places of all
 * chains recorded. Every store into the region, and the flags that show a batch, are
 * store-releases: all are made in the order written here. A chain of the region is one with a mark
 * that is not in the list of free entries; free_head, used_idx and its wrap counter are drafts, and
 * their old_ kin what counts. A position and its wrap counter are written in one store: what a
 * position means under the other counter cannot be told, since the second descriptor of a chain
 * keeps the driver's flags when the first one holds an answer. The windows:
 *
 * - The device has a request that is not recorded, or in part: its entries are free as
 *   old_free_head has it, and so its mark is none. It stands in the ring where the next one takes
 *   up. Chains are recorded in the ring's order, also those that are answered at once. No answer
 *   is written into the ring over a chain that is not recorded.
 * - Answers stand in the ring, and the first one's flags do not show it: flush() has not begun or
 *   linked a part of the batch to the drafts. Shown means that the flags at old_used_idx are not
 *   those of an available descriptor, which they are here: the drafts are dropped, all of the batch
 *   is served again. Flags of later answers of the batch are in the ring already; they must not
 *   show anything when another batch, with a shorter first chain, ends before them. So a start
 *   takes back flags of answers between the two places; the driver looks at none of them before
 *   it sees the first.
 * - The first flags are written: the drafts are taken over. They were complete before. Entries of
 *   the batch are in the list that they lead to, and lose their marks.
 * - Marks are cleared, and the drafts are taken over in part: likewise.
 * - The start itself, see vq_inflight.c: the same steps again lead to the same.
 */
#include "virtio/packed_recorded.h"

#include <assert.h>
#include <errno.h>

#include "virtio/vq_dirty.h"
#include "virtio/vq_inflight.h"
#include "virtio/vq_recorder.h"
#include "virtio/vring.h"
#include "virtio/walk.h"

#define PUT16(p, v) __atomic_store_n(&(p).raw, htole16((uint16_t)(v)), __ATOMIC_RELEASE)
#define PUT8(p, v)  __atomic_store_n(&(p), (uint8_t)(v), __ATOMIC_RELEASE)

static struct vring_packed_desc *desc_at(const struct vq *vq, uint16_t place)
{
	return (struct vring_packed_desc *)vq->packed.desc + (place & VRING_PACKED_POS);
}

static uint16_t load_flags(const struct vring_packed_desc *d)
{
	return le16toh(__atomic_load_n(&d->flags.raw, __ATOMIC_ACQUIRE));
}

static bool was_shown(const struct vq *vq, uint16_t place)
{
	return !vring_packed_is_avail(load_flags(desc_at(vq, place)), place);
}

/* Does the descriptor look like an answer of the round that @place is in? */
static bool looks_used(uint16_t flags, uint16_t place)
{
	uint16_t both = VRING_PACKED_DESC_F_AVAIL | VRING_PACKED_DESC_F_USED;

	return (flags & both) == (place & VRING_PACKED_WRAP ? both : 0);
}

/* Flags of a batch that was never shown; the places from used_idx on are the device's. */
static void take_back_flags(struct vq *vq, uint32_t busy)
{
	uint16_t place = vq->used_idx;

	for (uint32_t i = 0; i < busy; i++) {
		struct vring_packed_desc *d = desc_at(vq, place);
		uint16_t flags = load_flags(d);

		if (looks_used(flags, place)) {
			flags ^= VRING_PACKED_DESC_F_USED;
			__atomic_store_n(&d->flags.raw, htole16(flags), __ATOMIC_RELEASE);
			vq_dirty_desc_area(vq, (place & VRING_PACKED_POS) * sizeof(*d), sizeof(*d));
		}
		place = vring_packed_add(vq->num, place, 1);
	}
}

static int recorded_recover(struct vq *vq, struct err *err)
{
	uint32_t busy = 0;
	int r = vq_recover_packed(vq, was_shown, &busy, err);

	/* Never used: the front-end says where to begin. */
	if (r <= 0)
		return r;
	/*
	 * Whatever base was set: a front-end whose back-end died says the one that it began with
	 * (QEMU), and one that was told where the ring stopped says the same as this.
	 */
	vq->flushed_used = vq->used_idx;
	vq->last_avail = vring_packed_add(vq->num, vq->used_idx, busy);
	vq->shadow_avail = vq->last_avail;
	vq->packed.num_busy = busy;
	take_back_flags(vq, busy);
	return 0;
}

/* A chain by the region's copies, which are as little to be believed as the ring's. */
static int walk_copies(struct walk *w, uint16_t head)
{
	const struct vq_ledger *l = w->vq->ledger;
	const struct inflight_packed *part = l->base;
	uint16_t num = l->links[head].num, at = head, i;

	for (i = 0; i < num; i++) {
		const struct inflight_packed_desc *from = &part->desc[at];
		const struct walk_desc d = {
			.addr = le64toh(__atomic_load_n(&from->addr.raw, __ATOMIC_RELAXED)),
			.len = le32toh(__atomic_load_n(&from->len.raw, __ATOMIC_RELAXED)),
			.flags = le16toh(__atomic_load_n(&from->flags.raw, __ATOMIC_RELAXED)),
		};
		int r;

		if ((d.flags & VRING_DESC_F_INDIRECT) && num > 1)
			return walk_bad(w, "is INDIRECT within a list", at);
		r = d.flags & VRING_DESC_F_INDIRECT ? vq_packed_walk_table(w, &d, at)
						    : walk_take(w, &d, at);
		if (r < 0)
			return r;
		at = l->links[at].next;
	}
	return 0;
}

static int recorded_peek(struct vq *vq, struct chain **ret)
{
	const struct vq_ledger *l = vq->ledger;
	const struct vq_entry *entry;
	struct walk w;
	uint16_t head;

	if (likely(l->next_again == l->num_again))
		return vq_packed_ops.peek(vq, ret);
	head = l->again[l->next_again].entry;
	entry = &l->links[head];
	walk_begin(&w, vq, entry->id);
	w.c->num_ring_descs = entry->num;
	return walk_end(&w, walk_copies(&w, head), ret);
}

/* The chain's descriptors, as the ring has them, into free entries. Returns the last of them. */
static uint16_t copy_descs(struct vq *vq, const struct chain *c, uint16_t head)
{
	struct vq_ledger *l = vq->ledger;
	struct inflight_packed *part = l->base;
	uint16_t place = vq->last_avail, at = head, last = head;

	for (uint16_t i = 0; i < c->num_ring_descs; i++) {
		struct inflight_packed_desc *to = &part->desc[at];
		struct vring_packed_desc raw;

		walk_load(vq->packed.desc, place & VRING_PACKED_POS, &raw);
		__atomic_store_n(&to->addr.raw, raw.addr.raw, __ATOMIC_RELEASE);
		__atomic_store_n(&to->len.raw, raw.len.raw, __ATOMIC_RELEASE);
		__atomic_store_n(&to->flags.raw, raw.flags.raw, __ATOMIC_RELEASE);
		/* What the device goes by is what was checked. */
		PUT16(to->id, c->head);
		place = vring_packed_add(vq->num, place, 1);
		last = at;
		at = l->links[at].next;
	}
	return last;
}

static void record(struct vq *vq, struct chain *c)
{
	struct vq_ledger *l = vq->ledger;
	struct inflight_packed *part = l->base;
	uint16_t head = l->free_head, last;

	/* As many as the ring has descriptors: no more are the device's at a time. */
	assert(head < l->entries);
	last = copy_descs(vq, c, head);
	l->links[head].last = last;
	l->links[head].num = c->num_ring_descs;
	l->links[head].id = c->head;
	l->entry_of[c->slot] = head;
	PUT16(part->desc[head].last, last);
	PUT16(part->desc[head].num, c->num_ring_descs);
	__atomic_store_n(&part->desc[head].counter.raw, htole64(l->counter), __ATOMIC_RELEASE);
	l->counter++;
	PUT8(part->desc[head].inflight, 1);
	l->free_head = l->links[last].next;
	PUT16(part->free_head, l->free_head);
	/* From here on it is recorded. */
	PUT16(part->old_free_head, l->free_head);
}

static void recorded_advance(struct vq *vq, struct chain *c)
{
	struct vq_ledger *l = vq->ledger;

	if (unlikely(l->next_again < l->num_again)) {
		vq_record(vq, VQ_EVENT_AGAIN, c->head, 0);
		l->entry_of[c->slot] = l->again[l->next_again++].entry;
		return;
	}
	record(vq, c);
	vq_packed_ops.advance(vq, c);
}

static void recorded_push(struct vq *vq, struct chain *c)
{
	struct vq_ledger *l = vq->ledger;

	/* Not before what advance() stored: this may overwrite the chain's own descriptor. */
	__atomic_signal_fence(__ATOMIC_SEQ_CST);
	vq_packed_ops.push(vq, c);
	l->batch[l->num_batch++] = l->entry_of[c->slot];
}

/* The batch's entries before the free ones; nothing counts yet. */
static void draft(struct vq *vq)
{
	struct vq_ledger *l = vq->ledger;
	struct inflight_packed *part = l->base;
	uint32_t i;

	for (i = 0; i < l->num_batch; i++) {
		uint16_t head = l->batch[i], last = l->links[head].last;

		l->links[last].next = l->free_head;
		PUT16(part->desc[last].next, l->free_head);
		l->free_head = head;
	}
	PUT16(part->free_head, l->free_head);
	inflight_put_places(part, vq->used_idx, vq->flushed_used);
}

/* It was shown: its requests are in flight no more. */
static void settle(struct vq *vq)
{
	struct vq_ledger *l = vq->ledger;
	struct inflight_packed *part = l->base;
	uint32_t i;

	for (i = 0; i < l->num_batch; i++)
		PUT8(part->desc[l->batch[i]].inflight, 0);
	l->num_batch = 0;
	PUT16(part->old_free_head, l->free_head);
	inflight_put_places(part, vq->used_idx, vq->used_idx);
}

static bool recorded_flush(struct vq *vq)
{
	bool call;

	if (!vq->ledger->num_batch)
		return false;
	draft(vq);
	call = vq_packed_ops.flush(vq);
	settle(vq);
	return call;
}

static int recorded_map(struct vq *vq, struct err *err)
{
	return vq_packed_ops.map(vq, err);
}

static bool recorded_ask_notify(struct vq *vq, bool on)
{
	return vq_packed_ops.ask_notify(vq, on);
}

static bool recorded_waits(const struct vq *vq)
{
	return vq_packed_ops.waits(vq);
}

static uint64_t recorded_area_bytes(uint32_t num, bool event_idx, int area)
{
	return vq_packed_ops.area_bytes(num, event_idx, area);
}

const struct vq_ops vq_packed_recorded_ops = {
	.map = recorded_map,
	.recover = recorded_recover,
	.peek = recorded_peek,
	.advance = recorded_advance,
	.push = recorded_push,
	.flush = recorded_flush,
	.ask_notify = recorded_ask_notify,
	.waits = recorded_waits,
	.area_bytes = recorded_area_bytes,
	.packed = true,
	.first_used = VRING_PACKED_START,
};
