/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The in-flight region at a start. Refused, and the queue does not run: a version, a feature or a
 * number of entries that is not ours, a ring larger than the region, a head beyond the ring, a last
 * batch longer than the ring, counters that no queue reaches, more requests in flight than the ring
 * has unanswered; packed: places beyond the ring, chains that share entries, end elsewhere than
 * they say or have no descriptors, the same buffer id twice. Lists in it are followed for as many
 * steps as they may have, and no further.
 */
#include "virtio/vq_inflight.h"

#include <assert.h>
#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "base/alloc.h"
#include "base/cleanup.h"
#include "virtio/vring.h"

/* At a million requests a second this takes a quarter of a million years. */
#define COUNTER_MAX (1ull << 63)

/* A word that the peer can change: loaded once. */
#define LOAD(p) __atomic_load_n(&(p).raw, __ATOMIC_RELAXED)

uint64_t vq_inflight_bytes(bool packed, uint32_t entries)
{
	uint64_t bytes = packed ? sizeof(struct inflight_packed) +
					  (uint64_t)entries * sizeof(struct inflight_packed_desc)
				: sizeof(struct inflight_split) +
					  (uint64_t)entries * sizeof(struct inflight_split_desc);

	return (bytes + INFLIGHT_ALIGN - 1) / INFLIGHT_ALIGN * INFLIGHT_ALIGN;
}

static void free_ledger(struct vq_ledger *l)
{
	if (!l)
		return;
	gmem_region_unref(l->region);
	free(l->batch);
	free(l->links);
	free(l->entry_of);
	free(l->again);
	free(l);
}

void vq_set_inflight(struct vq *vq, struct gmem_region *region, uint64_t offset, uint32_t entries)
{
	struct vq_ledger *l = vq->ledger;

	assert(vq->state == VQ_IDLE);
	if (l && l->region == region && l->offset == offset && l->entries == entries)
		return;
	free_ledger(take_ptr(vq->ledger));
	if (!region)
		return;
	l = xnew(struct vq_ledger);
	l->region = gmem_region_ref(region);
	l->offset = offset;
	l->entries = entries;
	l->base = region->host + offset;
	l->batch = xnew_n(uint16_t, entries);
	l->again = xnew_n(struct vq_again, entries);
	vq->ledger = l;
}

bool vq_ledger_lost(const struct vq *vq)
{
	return vq->ledger && gmem_region_poisoned(vq->ledger->region);
}

void vq_ledger_forget(struct vq *vq)
{
	/* Both formats have it in the same place. */
	struct inflight_split *part = vq->ledger->base;

	__atomic_store_n(&part->version.raw, 0, __ATOMIC_RELEASE);
	vq->ledger->num_again = vq->ledger->next_again = 0;
}

static int by_counter(const void *a, const void *b)
{
	const struct vq_again *x = a, *y = b;

	if (x->counter != y->counter)
		return x->counter < y->counter ? -1 : 1;
	return x->entry < y->entry ? -1 : x->entry > y->entry;
}

/* What both formats have in front: 1 where it is in use, 0 where it never was. */
static int check_head(struct vq *vq, const struct inflight_split *part, struct err *err)
{
	uint16_t version = le16toh(LOAD(part->version));
	uint16_t desc_num = le16toh(LOAD(part->desc_num));
	uint64_t features = le64toh(LOAD(part->features));

	if (vq->num > vq->ledger->entries)
		return err_set(err, -EINVAL,
			"queue %u: a ring of %u is larger than its part of the in-flight region, "
			"%u entries",
			vq->index, vq->num, vq->ledger->entries);
	if (!version)
		return 0;
	if (version != INFLIGHT_VERSION || features)
		return err_set(err, -EINVAL,
			"queue %u: the in-flight region has version %u and features 0x%" PRIx64
			", expected %d and 0",
			vq->index, version, features, INFLIGHT_VERSION);
	if (desc_num != vq->ledger->entries)
		return err_set(err, -EINVAL,
			"queue %u: the in-flight region was made for %u entries, expected %u",
			vq->index, desc_num, vq->ledger->entries);
	return 1;
}

static void begin_again(struct vq_ledger *l)
{
	l->num_batch = 0;
	l->num_again = l->next_again = 0;
	l->counter = 0;
}

static int add_again(struct vq *vq, uint16_t entry, uint64_t counter, struct err *err)
{
	struct vq_ledger *l = vq->ledger;

	if (counter >= COUNTER_MAX)
		return err_set(err, -EINVAL,
			"queue %u: entry %u of the in-flight region has the counter 0x%" PRIx64
			", which no queue reaches",
			vq->index, entry, counter);
	l->again[l->num_again++] = (struct vq_again){ counter, entry };
	l->counter = MAX(l->counter, counter + 1);
	return 0;
}

static void set_up_split(struct vq *vq, struct inflight_split *part, uint16_t used_idx)
{
	uint32_t i, n = vq->ledger->entries;

	for (i = 0; i < n; i++)
		part->desc[i] = (struct inflight_split_desc){ 0 };
	part->features = le64_make(0);
	part->desc_num = le16_make((uint16_t)n);
	part->last_batch_head = le16_make(0);
	part->used_idx = le16_make(used_idx);
	vq->ledger->batch_head = 0;
	/* Last: until then the next one sets it up again. */
	__atomic_store_n(&part->version.raw, htole16(INFLIGHT_VERSION), __ATOMIC_RELEASE);
}

/* The last batch was shown, and its marks may not all be cleared. */
static int settle_batch(
	struct vq *vq, struct inflight_split *part, uint16_t used_idx, struct err *err)
{
	uint16_t recorded = le16toh(LOAD(part->used_idx));
	uint16_t n = (uint16_t)(used_idx - recorded), i;
	uint16_t head = le16toh(LOAD(part->last_batch_head));

	if (n > vq->num)
		return err_set(err, -EINVAL,
			"queue %u: the in-flight region knows of used index %u, the ring has %u, "
			"which is %u further in a ring of %u",
			vq->index, recorded, used_idx, n, vq->num);
	vq->ledger->batch_head = head;
	for (i = 0; i < n; i++) {
		if (head >= vq->num)
			return err_set(err, -EINVAL,
				"queue %u: the last batch of the in-flight region names head %u, "
				"beyond a ring of %u",
				vq->index, head, vq->num);
		__atomic_store_n(&part->desc[head].inflight, 0, __ATOMIC_RELEASE);
		head = le16toh(LOAD(part->desc[head].next));
	}
	__atomic_store_n(&part->used_idx.raw, htole16(used_idx), __ATOMIC_RELEASE);
	return 0;
}

static int collect_split(struct vq *vq, const struct inflight_split *part, struct err *err)
{
	uint32_t i;
	int r;

	for (i = 0; i < vq->ledger->entries; i++) {
		uint8_t mark = __atomic_load_n(&part->desc[i].inflight, __ATOMIC_RELAXED);

		if (!mark)
			continue;
		if (mark != 1 || i >= vq->num)
			return err_set(err, -EINVAL,
				"queue %u: the in-flight region marks head %u with %u, in a ring "
				"of %u",
				vq->index, i, mark, vq->num);
		r = add_again(vq, (uint16_t)i, le64toh(LOAD(part->desc[i].counter)), err);
		if (r < 0)
			return r;
	}
	return 0;
}

int vq_recover_split(struct vq *vq, uint16_t used_idx, struct err *err)
{
	struct vq_ledger *l = vq->ledger;
	struct inflight_split *part = l->base;
	int r = check_head(vq, part, err);

	begin_again(l);
	if (r == 0)
		set_up_split(vq, part, used_idx);
	if (r <= 0)
		return r;
	r = settle_batch(vq, part, used_idx, err);
	if (!r)
		r = collect_split(vq, part, err);
	if (r < 0)
		return r;
	qsort(l->again, l->num_again, sizeof(l->again[0]), by_counter);
	return 1;
}

/* --- packed --- */

/* In stores: each of them leaves something that a start can read. */
#define STORE(p, v) __atomic_store_n(&(p).raw, htole16((uint16_t)(v)), __ATOMIC_RELEASE)

/* A place as vq.h has it, from a position and a wrap counter. */
static int load_place(struct vq *vq, const char *which, le16 *pos_at, uint8_t *wrap_at,
	uint16_t *ret, struct err *err)
{
	uint16_t pos = le16toh(LOAD(*pos_at));
	uint8_t wrap = __atomic_load_n(wrap_at, __ATOMIC_RELAXED);

	if (pos >= vq->num || wrap > 1)
		return err_set(err, -EINVAL,
			"queue %u: the in-flight region's %s is %u with wrap counter %u, in a ring "
			"of %u",
			vq->index, which, pos, wrap, vq->num);
	*ret = (uint16_t)(pos | wrap << 15);
	return 0;
}

/* A batch was under way: it is either over, or was never begun. */
static int settle_packed(struct vq *vq, struct inflight_packed *part,
	bool (*was_shown)(const struct vq *vq, uint16_t place), struct err *err)
{
	uint16_t used, old;
	int r = load_place(vq, "used_idx", &part->used_idx, &part->used_wrap_counter, &used, err);

	if (!r)
		r = load_place(vq, "old_used_idx", &part->old_used_idx,
			&part->old_used_wrap_counter, &old, err);
	if (r < 0)
		return r;
	if (used != old && was_shown(vq, old)) {
		STORE(part->old_free_head, le16toh(LOAD(part->free_head)));
	} else {
		STORE(part->free_head, le16toh(LOAD(part->old_free_head)));
		used = old;
	}
	inflight_put_places(part, used, used);
	vq->used_idx = used;
	return 0;
}

/* What is free is not in flight: the last batch, and a chain that was being recorded. */
static int unmark_free(struct vq *vq, struct inflight_packed *part, struct err *err)
{
	uint32_t n = vq->ledger->entries, steps;
	uint16_t at = le16toh(LOAD(part->free_head));

	for (steps = 0; at != n; steps++) {
		if (at > n || steps == n)
			return err_set(err, -EINVAL,
				"queue %u: the in-flight region's list of free entries %s %u, of "
				"%u",
				vq->index, at > n ? "names" : "closes a loop at", at, n);
		__atomic_store_n(&part->desc[at].inflight, 0, __ATOMIC_RELEASE);
		at = le16toh(LOAD(part->desc[at].next));
	}
	return 0;
}

/* What was seen of the entries and buffer ids while chains are collected. */
struct seen {
	bool *entry, *id;
	uint32_t busy; /* places of the ring */
};

static int bad_chain(
	struct vq *vq, uint16_t head, const char *what, uint32_t value, struct err *err)
{
	return err_set(err, -EINVAL,
		"queue %u: entry %u of the in-flight region %s %u, in a ring of %u", vq->index,
		head, what, value, vq->num);
}

static int collect_chain(struct vq *vq, const struct inflight_packed *part, uint16_t head,
	struct seen *seen, struct err *err)
{
	struct vq_entry *links = vq->ledger->links;
	uint16_t num = le16toh(LOAD(part->desc[head].num)), at = head, last = head, i;
	uint16_t id;

	if (!num || num > vq->num - seen->busy)
		return bad_chain(vq, head, "begins a chain of", num, err);
	for (i = 0; i < num; i++) {
		if (at >= vq->ledger->entries || seen->entry[at])
			return bad_chain(vq, head, "leads to entry", at, err);
		seen->entry[at] = true;
		last = at;
		at = le16toh(LOAD(part->desc[at].next));
		links[last].next = at;
	}
	if (le16toh(LOAD(part->desc[head].last)) != last)
		return bad_chain(vq, head, "ends otherwise than in entry", last, err);
	id = le16toh(LOAD(part->desc[last].id));
	if (id >= vq->num || seen->id[id])
		return bad_chain(vq, head, "has the buffer id", id, err);
	seen->id[id] = true;
	seen->busy += num;
	links[head].last = last;
	links[head].num = num;
	links[head].id = id;
	return add_again(vq, head, le64toh(LOAD(part->desc[head].counter)), err);
}

static int collect_packed(
	struct vq *vq, const struct inflight_packed *part, struct seen *seen, struct err *err)
{
	uint32_t i;
	int r = 0;

	for (i = 0; !r && i < vq->ledger->entries; i++) {
		uint8_t mark = __atomic_load_n(&part->desc[i].inflight, __ATOMIC_RELAXED);

		if (mark > 1)
			return bad_chain(vq, (uint16_t)i, "is marked with", mark, err);
		if (mark)
			r = collect_chain(vq, part, (uint16_t)i, seen, err);
	}
	return r;
}

/*
 * All that is in no chain is free. The list is empty while it is put together: of one that is half
 * old and half new nobody could tell whether it ends.
 */
static void make_free_list(struct vq *vq, struct inflight_packed *part, const struct seen *seen)
{
	struct vq_ledger *l = vq->ledger;
	uint16_t none = (uint16_t)l->entries, head = none;
	uint32_t i;

	STORE(part->old_free_head, none);
	STORE(part->free_head, none);
	for (i = l->entries; i-- > 0;) {
		if (seen->entry[i])
			continue;
		STORE(part->desc[i].next, head);
		l->links[i].next = head;
		head = (uint16_t)i;
	}
	STORE(part->free_head, head);
	STORE(part->old_free_head, head);
	l->free_head = head;
}

static void set_up_packed(struct vq *vq, struct inflight_packed *part, const struct seen *seen)
{
	uint32_t i;

	for (i = 0; i < vq->ledger->entries; i++)
		part->desc[i] = (struct inflight_packed_desc){ 0 };
	part->features = le64_make(0);
	part->desc_num = le16_make((uint16_t)vq->ledger->entries);
	inflight_put_places(part, vq->used_idx, vq->used_idx);
	make_free_list(vq, part, seen);
	STORE(part->version, INFLIGHT_VERSION);
}

int vq_recover_packed(struct vq *vq, bool (*was_shown)(const struct vq *vq, uint16_t place),
	uint32_t *ret_busy, struct err *err)
{
	struct vq_ledger *l = vq->ledger;
	struct inflight_packed *part = l->base;
	_cleanup_free_ bool *entries = xnew_n(bool, l->entries), *ids = xnew_n(bool, vq->num);
	struct seen seen = { entries, ids, 0 };
	/* The same words in the same places. */
	int r = check_head(vq, l->base, err);

	begin_again(l);
	if (r < 0)
		return r;
	if (!l->links) {
		l->links = xnew_n(struct vq_entry, l->entries);
		l->entry_of = xnew_n(uint16_t, l->entries);
	}
	if (r == 0) {
		set_up_packed(vq, part, &seen);
		return 0;
	}
	r = settle_packed(vq, part, was_shown, err);
	if (!r)
		r = unmark_free(vq, part, err);
	if (!r)
		r = collect_packed(vq, part, &seen, err);
	if (r < 0)
		return r;
	qsort(l->again, l->num_again, sizeof(l->again[0]), by_counter);
	make_free_list(vq, part, &seen);
	*ret_busy = seen.busy;
	return 1;
}
