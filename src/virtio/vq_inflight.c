/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The in-flight region at a start. Refused, and the queue does not run: a version, a feature or a
 * number of entries that is not ours, a ring larger than the region, a head beyond the ring, a last
 * batch longer than the ring, counters that no queue reaches, more requests in flight than the ring
 * has unanswered. Lists in it are followed for as many steps as they may have, and no further.
 */
#include "virtio/vq_inflight.h"

#include <assert.h>
#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "base/alloc.h"
#include "base/cleanup.h"

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
