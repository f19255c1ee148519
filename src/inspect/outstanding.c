/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A head is made available, answered, made available again. An entry's place p in the available
 * ring, counted as the indices are, says when that was: by then at most p answers had been given,
 * and at least p + 1 less the ring's size, for no more can be outstanding. So an answer for the
 * head at place p or later belongs to it, and one before the other place to an earlier time.
 * Between the two memory does not say; only while all that there ever was is in both rings, they
 * are counted. The entry of a request that is out for long may have been
 * overwritten by those that were made after it: of such only the number is known, from the two
 * indices.
 */
#include "inspect/outstanding.h"

#include <stdlib.h>
#include <string.h>

#include "base/alloc.h"
#include "base/cleanup.h"
#include "mem/gmem.h"
#include "virtio/vring.h"

enum verdict { GONE, MAYBE, SURELY };

/* Both rings as they were read. */
struct rings {
	const uint16_t *avail;
	uint16_t avail_idx;
	uint32_t num, ahead; /* size; how many are outstanding */
	bool in_order; /* VIRTIO_F_IN_ORDER */
	bool young; /* all entries that there ever were are in the rings */
	int32_t *open; /* then, by head: how often it was made available and not answered */
	/* By head: how far its last answer lies before the used index, from 1; 0: there is none. */
	uint32_t *last_used;
};

/* Of the entry @back places before the newest. */
static enum verdict judge(const struct rings *r, uint32_t head, uint32_t back)
{
	/* Distances from the available index: the entry's is back + 1, the answer's: */
	uint32_t answer = r->last_used[head] + r->ahead;

	if (r->in_order)
		return back < r->ahead ? SURELY : GONE;
	if (r->young)
		return r->open[head] > 0 ? SURELY : GONE;
	if (!r->last_used[head])
		/* One that was overwritten is as far away as this, at least. */
		answer = r->num + 1 + r->ahead;
	else if (answer <= back + 1)
		return GONE;
	return answer > back + r->num ? SURELY : MAYBE;
}

/* What the number of those outstanding leaves of @n candidates. */
static void choose(const struct rings *r, size_t n, size_t num_sure, struct outstanding *ret)
{
	size_t kept = 0;

	for (size_t i = 0; i < n; i++) {
		if (num_sure == r->ahead && !ret->certain[i])
			continue;
		ret->heads[kept] = ret->heads[i];
		/* A number that cannot be is a driver's doing: nothing is certain then. */
		ret->certain[kept++] = ret->certain[i] && num_sure <= r->ahead &&
				       (n >= r->ahead || !r->young);
	}
	ret->num = kept;
	ret->num_unnamed = kept < r->ahead ? r->ahead - (uint32_t)kept : 0;
}

static void collect(const struct rings *r, struct outstanding *ret)
{
	uint32_t window = r->young ? MIN(r->num, (uint32_t)r->avail_idx) : r->num;
	_cleanup_free_ bool *seen = xcalloc(r->num, sizeof(*seen));
	size_t num_sure = 0, n = 0;

	for (uint32_t back = 0; back < window; back++) {
		uint16_t head = r->avail[(uint16_t)(r->avail_idx - 1 - back) % r->num];
		enum verdict v;

		if (head >= r->num || seen[head])
			continue;
		seen[head] = true;
		v = judge(r, head, back);
		if (v == GONE)
			continue;
		ret->heads[n] = head;
		ret->certain[n++] = v == SURELY;
		num_sure += v == SURELY;
	}
	choose(r, n, num_sure, ret);
}

static void reverse(struct outstanding *o)
{
	for (size_t i = 0; i < o->num / 2; i++) {
		size_t j = o->num - 1 - i;
		uint16_t head = o->heads[i];
		bool certain = o->certain[i];

		o->heads[i] = o->heads[j];
		o->certain[i] = o->certain[j];
		o->heads[j] = head;
		o->certain[j] = certain;
	}
}

/* Nothing stands in the used ring behind its index: it has not come round yet. */
static bool is_young(const uint32_t *used, uint16_t used_idx, uint16_t avail_idx, uint32_t num)
{
	if (used_idx > avail_idx || avail_idx > num)
		return false;
	for (uint32_t i = used_idx; i < num; i++)
		if (used[i])
			return false;
	return true;
}

static void count_open(const struct rings *r, const uint32_t *used, uint16_t used_idx)
{
	for (uint32_t i = 0; i < r->avail_idx; i++)
		if (r->avail[i] < r->num)
			r->open[r->avail[i]]++;
	for (uint32_t i = 0; i < used_idx; i++)
		if (used[i] < r->num)
			r->open[used[i]]--;
}

int outstanding_find(const uint16_t *avail, uint16_t avail_idx, const uint32_t *used,
	uint16_t used_idx, uint32_t num, bool in_order, struct outstanding *ret)
{
	_cleanup_free_ uint32_t *last_used = xcalloc(num, sizeof(*last_used));
	_cleanup_free_ int32_t *open = xcalloc(num, sizeof(*open));
	struct rings r = {
		.avail = avail,
		.avail_idx = avail_idx,
		.num = num,
		.ahead = (uint16_t)(avail_idx - used_idx),
		.in_order = in_order,
		.young = is_young(used, used_idx, avail_idx, num),
		.open = open,
		.last_used = last_used,
	};

	*ret = (struct outstanding){ .used_idx = used_idx };
	if (r.ahead > num)
		return -1;
	if (!r.ahead)
		return 0;
	ret->heads = xnew_n(uint16_t, num);
	ret->certain = xnew_n(bool, num);
	for (uint32_t back = 0; back < (r.young ? used_idx : num); back++) {
		uint32_t id = used[(uint16_t)(used_idx - 1 - back) % num];

		if (id < num && !last_used[id])
			last_used[id] = back + 1;
	}
	if (r.young)
		count_open(&r, used, used_idx);
	collect(&r, ret);
	reverse(ret);
	return 0;
}

static bool peek_indices(struct vq *vq, uint16_t *ret_avail, uint16_t *ret_used)
{
	le16 avail, used;

	if (gmem_peek(vq->dev->mem, vq->cfg.driver + 2, &avail, sizeof(avail)) < 0 ||
		gmem_peek(vq->dev->mem, vq->cfg.device + 2, &used, sizeof(used)) < 0)
		return false;
	*ret_avail = le16_get(avail);
	*ret_used = le16_get(used);
	return true;
}

bool outstanding_read(struct vq *vq, int num_tries, struct outstanding *ret)
{
	uint32_t num = vq->cfg.num;
	_cleanup_free_ le16 *avail = NULL;
	_cleanup_free_ struct vring_used_elem *used = NULL;
	_cleanup_free_ uint32_t *ids = NULL;
	_cleanup_free_ uint16_t *heads = NULL;
	uint16_t avail_idx, used_idx, again_avail, again_used;

	*ret = (struct outstanding){ 0 };
	if (!vq->dev->mem || !num || num > VQ_SIZE_MAX || (num & (num - 1)) ||
		!(vq->cfg.desc | vq->cfg.driver | vq->cfg.device))
		return false;
	avail = xnew_n(le16, num);
	heads = xnew_n(uint16_t, num);
	used = xnew_n(struct vring_used_elem, num);
	ids = xnew_n(uint32_t, num);
	while (num_tries--) {
		if (!peek_indices(vq, &avail_idx, &used_idx) ||
			gmem_peek(vq->dev->mem, vq->cfg.driver + sizeof(struct vring_avail), avail,
				num * sizeof(le16)) < 0 ||
			gmem_peek(vq->dev->mem, vq->cfg.device + sizeof(struct vring_used), used,
				num * sizeof(*used)) < 0 ||
			!peek_indices(vq, &again_avail, &again_used))
			return false;
		if (again_avail != avail_idx || again_used != used_idx)
			continue;
		for (uint32_t i = 0; i < num; i++) {
			heads[i] = le16_get(avail[i]);
			ids[i] = le32_get(used[i].id);
		}
		return outstanding_find(heads, avail_idx, ids, used_idx, num,
			       vdev_ring_feature(vq->dev, VIRTIO_F_IN_ORDER), ret) == 0;
	}
	return false;
}

void outstanding_free(struct outstanding *o)
{
	free(o->heads);
	free(o->certain);
	*o = (struct outstanding){ 0 };
}
