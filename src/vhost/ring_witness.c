/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Looks at a split ring. Nothing in it is believed without a check: heads beyond the ring, answers
 * to what was not outstanding, indices that are further apart than the ring is long end what is
 * known, until a moment comes that proves everything by itself.
 */
#include "vhost/ring_witness.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/alloc.h"
#include "base/cleanup.h"
#include "virtio/vring.h"

/* Entries that are copied at a time. */
#define PIECE 64
/* Entries of a ring that is read as a whole while it runs. */
#define DEDUCE_MAX 4096

static bool peek16(const struct gmem *mem, uint64_t gpa, uint16_t *ret)
{
	le16 raw;

	if (gmem_peek(mem, gpa, &raw, sizeof(raw)) < 0)
		return false;
	*ret = le16_get(raw);
	/* In the order in which they were asked for. */
	__atomic_thread_fence(__ATOMIC_ACQUIRE);
	return true;
}

static bool peek_avail_idx(const struct gmem *mem, const struct vq_config *cfg, uint16_t *ret)
{
	return peek16(mem, cfg->driver + offsetof(struct vring_avail, idx), ret);
}

static bool peek_used_idx(const struct gmem *mem, const struct vq_config *cfg, uint16_t *ret)
{
	return peek16(mem, cfg->device + offsetof(struct vring_used, idx), ret);
}

static void lose(struct ring_witness *w, const char *why)
{
	if (w->known)
		snprintf(w->why, sizeof(w->why), "%s", why);
	w->known = false;
}

static void set_quiet(struct ring_witness *w)
{
	memset(w->out, 0, w->num * sizeof(w->out[0]));
	w->known = true;
}

/* How many entries lie together from @idx on, of @left. */
static uint32_t piece_of(const struct ring_witness *w, uint16_t idx, uint32_t left)
{
	uint32_t together = w->num - idx % w->num;

	if (left > PIECE)
		left = PIECE;
	return MIN(left, together);
}

/* What was made available from w->avail on, @n entries. */
static bool add_available(
	struct ring_witness *w, const struct gmem *mem, const struct vq_config *cfg, uint32_t n)
{
	uint16_t idx = w->avail;
	le16 heads[PIECE];

	while (n) {
		uint32_t len = piece_of(w, idx, n);

		if (gmem_peek(mem,
			    cfg->driver + offsetof(struct vring_avail, ring) +
				    idx % w->num * sizeof(heads[0]),
			    heads, len * sizeof(heads[0])) < 0)
			return false;
		for (uint32_t i = 0; i < len; i++) {
			uint16_t head = le16_get(heads[i]);

			if (head >= w->num) {
				lose(w, "the driver made a head beyond the ring available");
				return true;
			}
			w->out[head]++;
		}
		idx = (uint16_t)(idx + len);
		n -= len;
	}
	return true;
}

static bool take_used(
	struct ring_witness *w, const struct gmem *mem, const struct vq_config *cfg, uint32_t n)
{
	struct vring_used_elem elems[PIECE];
	uint16_t idx = w->used;

	while (n && w->known) {
		uint32_t len = piece_of(w, idx, n);

		if (gmem_peek(mem,
			    cfg->device + offsetof(struct vring_used, ring) +
				    idx % w->num * sizeof(elems[0]),
			    elems, len * sizeof(elems[0])) < 0)
			return false;
		for (uint32_t i = 0; i < len; i++) {
			uint32_t id = le32_get(elems[i].id);

			if (id >= w->num || !w->out[id]) {
				lose(w, "the back-end answered what was not on its way");
				return true;
			}
			w->out[id]--;
		}
		idx = (uint16_t)(idx + len);
		n -= len;
	}
	return true;
}

struct indices {
	uint16_t used, avail;
};

/* How far a look may be believed. */
struct trust {
	bool in_time;
	uint32_t avail_max; /* new entries of the driver's */
};

static void follow(struct ring_witness *w, const struct gmem *mem, const struct vq_config *cfg,
	const struct indices *now, const struct trust *trust)
{
	uint16_t avail_by = (uint16_t)(now->avail - w->avail);
	uint16_t used_by = (uint16_t)(now->used - w->used);
	struct indices after;

	if (!w->known)
		return;
	if (!trust->in_time) {
		lose(w, "the relay could not look at it for too long");
		return;
	}
	if (avail_by > trust->avail_max || used_by > w->num / 2) {
		lose(w, "it went faster than the relay looked");
		return;
	}
	if (!add_available(w, mem, cfg, avail_by) || !take_used(w, mem, cfg, used_by) ||
		!peek_used_idx(mem, cfg, &after.used) || !peek_avail_idx(mem, cfg, &after.avail)) {
		lose(w, "it cannot be read");
		return;
	}
	/* Or what was copied was overwritten meanwhile. */
	if ((uint16_t)(after.avail - w->avail) > trust->avail_max ||
		(uint16_t)(after.used - w->used) > w->num / 2)
		lose(w, "it went faster than the relay looked");
}

/* --- what one moment proves, where enough of the ring was never used --- */

/* What is known of a head or descriptor at that moment. */
struct clues {
	bool *excluded; /* it is not on its way */
	bool *is_new; /* among the heads from the used index on */
	uint16_t *last; /* of a head in the driver's newer half: how far before the end, from 1 */
};

/* Descriptors of nothing: a request has a byte, and one that is on its way is there to be read. */
static bool exclude_blank(const struct ring_witness *w, const struct gmem *mem,
	const struct vq_config *cfg, const struct clues *clues)
{
	struct vring_desc descs[PIECE];

	for (uint32_t at = 0; at < w->num; at += PIECE) {
		uint32_t n = MIN((uint32_t)PIECE, w->num - at);

		if (gmem_peek(mem, cfg->desc + at * sizeof(descs[0]), descs, n * sizeof(descs[0])) <
			0)
			return false;
		for (uint32_t i = 0; i < n; i++)
			clues->excluded[at + i] = !le32_get(descs[i].len);
	}
	return true;
}

/*
 * What a chain from the used index on is made of, its head aside, was free when that was made: no
 * older request has it.
 */
static bool exclude_members(const struct ring_witness *w, const struct gmem *mem,
	const struct vq_config *cfg, const struct clues *clues, uint16_t head)
{
	uint16_t at = head;

	for (uint32_t steps = 0; steps < w->num; steps++) {
		struct vring_desc desc;

		if (gmem_peek(mem, cfg->desc + at * sizeof(desc), &desc, sizeof(desc)) < 0)
			return false;
		if (!(le16_get(desc.flags) & VRING_DESC_F_NEXT) || le16_get(desc.next) >= w->num)
			return true;
		at = le16_get(desc.next);
		if (!clues->is_new[at])
			clues->excluded[at] = true;
	}
	return true;
}

static bool peek_avail(const struct ring_witness *w, const struct gmem *mem,
	const struct vq_config *cfg, uint16_t idx, uint16_t *ret)
{
	return peek16(mem,
		       cfg->driver + offsetof(struct vring_avail, ring) +
			       idx % w->num * sizeof(le16),
		       ret) &&
	       *ret < w->num;
}

/* The heads of the driver's newer half, and at least all from the used index on. */
static bool know_heads(const struct ring_witness *w, const struct gmem *mem,
	const struct vq_config *cfg, const struct indices *now, const struct clues *clues)
{
	uint32_t n = (uint16_t)(now->avail - now->used), back = MAX(n, w->num / 2);

	for (uint32_t i = back; i > 0; i--) {
		uint16_t head;

		if (!peek_avail(w, mem, cfg, (uint16_t)(now->avail - i), &head)) {
			if (i <= n)
				return false;
			continue;
		}
		clues->last[head] = (uint16_t)i;
		clues->is_new[head] |= i <= n;
	}
	return true;
}

/*
 * What was answered at an index can only have been made available again behind that index: if it
 * does not stand there, it was not.
 */
static bool exclude_answered(const struct ring_witness *w, const struct gmem *mem,
	const struct vq_config *cfg, const struct indices *now, const struct clues *clues)
{
	uint32_t n = (uint16_t)(now->avail - now->used);

	for (uint32_t i = 1; i <= w->num / 2 && n + i <= w->num / 2; i++) {
		uint16_t idx = (uint16_t)(now->used - i);
		struct vring_used_elem elem;
		uint32_t id;

		if (gmem_peek(mem,
			    cfg->device + offsetof(struct vring_used, ring) +
				    idx % w->num * sizeof(elem),
			    &elem, sizeof(elem)) < 0)
			return false;
		id = le32_get(elem.id);
		/* Behind it lie the last n + i - 1 entries. */
		if (id < w->num && (!clues->last[id] || clues->last[id] > n + i - 1))
			clues->excluded[id] = true;
	}
	return true;
}

/* Are there no more heads left than there are requests? Then it is those. */
static void deduce(struct ring_witness *w, const struct gmem *mem, const struct vq_config *cfg,
	const struct indices *now)
{
	_cleanup_free_ bool *excluded = xnew_n(bool, w->num), *is_new = xnew_n(bool, w->num);
	_cleanup_free_ uint16_t *last = xnew_n(uint16_t, w->num);
	const struct clues clues = { excluded, is_new, last };
	uint32_t n = (uint16_t)(now->avail - now->used), left = 0;
	uint16_t head, again;

	if (n > w->num || !exclude_blank(w, mem, cfg, &clues) ||
		!know_heads(w, mem, cfg, now, &clues) ||
		!exclude_answered(w, mem, cfg, now, &clues))
		return;
	for (uint32_t i = 0; i < n; i++)
		if (!peek_avail(w, mem, cfg, (uint16_t)(now->used + i), &head) ||
			!exclude_members(w, mem, cfg, &clues, head))
			return;
	for (uint32_t i = 0; i < w->num; i++)
		left += !excluded[i];
	/* Nothing was answered while that was read, or it is of no one moment. */
	if (left != n || !peek_used_idx(mem, cfg, &again) || again != now->used)
		return;
	for (uint32_t i = 0; i < w->num; i++)
		w->out[i] = !excluded[i];
	w->known = true;
}

static bool look(struct ring_witness *w, const struct gmem *mem, const struct vq_config *cfg,
	const struct trust *trust)
{
	struct indices now;
	uint16_t again;

	w->moved = 0;
	if (!(cfg->desc | cfg->driver | cfg->device) || !peek_used_idx(mem, cfg, &now.used) ||
		!peek_avail_idx(mem, cfg, &now.avail) || !peek_used_idx(mem, cfg, &again)) {
		lose(w, "it cannot be read");
		return false;
	}
	w->moved = MAX((uint16_t)(now.avail - w->avail), (uint16_t)(now.used - w->used));
	/* An index between two that are the same is that of all three. */
	if (now.used == now.avail && again == now.used)
		set_quiet(w);
	else
		follow(w, mem, cfg, &now, trust);
	if (!w->known && w->num <= DEDUCE_MAX)
		deduce(w, mem, cfg, &now);
	w->avail = now.avail;
	w->used = now.used;
	return true;
}

void witness_look(struct ring_witness *w, const struct gmem *mem, const struct vq_config *cfg,
	uint64_t now_ns)
{
	uint64_t max_ns = w->max_ns ? w->max_ns : WITNESS_MAX_NS;
	const struct trust trust = { now_ns - w->at_ns <= max_ns, w->num / 2 };

	if (!w->num)
		return;
	if (cfg->num != w->num) {
		lose(w, "its size was changed while it ran");
		return;
	}
	look(w, mem, cfg, &trust);
	w->at_ns = now_ns;
}

void witness_begin(struct ring_witness *w, const struct gmem *mem, const struct vq_config *cfg,
	uint16_t base, uint64_t now_ns)
{
	/* All from the base on is on its way: nothing lies over it. */
	const struct trust trust = { true, cfg->num };
	uint16_t used;

	witness_end(w);
	/* What else there may be is no split ring. */
	if (!cfg->num || cfg->num > VQ_SIZE_MAX || (cfg->num & (cfg->num - 1)))
		return;
	w->num = cfg->num;
	w->out = xnew_n(uint16_t, w->num);
	w->at_ns = now_ns;
	w->known = true;
	w->avail = w->used = base;
	if (!(cfg->desc | cfg->driver | cfg->device) || !peek_used_idx(mem, cfg, &used))
		lose(w, "it could not be read as it started");
	else if (used != base)
		lose(w, "it started with requests on their way");
	else
		look(w, mem, cfg, &trust);
}

void witness_end(struct ring_witness *w)
{
	free(w->out);
	*w = (struct ring_witness){ .max_ns = w->max_ns };
}

/* Are exactly those on their way that lie from the used index on? */
static int check_outstanding(const struct ring_witness *w, const struct gmem *mem,
	const struct vq_config *cfg, uint16_t n, struct err *err)
{
	_cleanup_free_ bool *seen = xnew_n(bool, w->num);

	for (uint16_t i = 0; i < n; i++) {
		uint16_t idx = (uint16_t)(w->used + i), head;

		if (!peek16(mem,
			    cfg->driver + offsetof(struct vring_avail, ring) + idx % w->num * 2,
			    &head))
			return err_set(err, -EFAULT, "the ring cannot be read");
		if (head >= w->num || seen[head] || w->out[head] != 1)
			return err_set(err, -ENODATA,
				"head %u, made available at index %u, was answered before others "
				"that were not; no index stands for those alone",
				head, idx);
		seen[head] = true;
	}
	return 0;
}

int witness_base(struct ring_witness *w, const struct gmem *mem, const struct vq_config *cfg,
	bool in_order, uint16_t *ret, struct err *err)
{
	const struct trust trust = { true, w->num };
	uint16_t n;

	if (!w->num || cfg->num != w->num)
		return err_set(err, -ENODATA, "where the ring stands was never seen");
	if (!look(w, mem, cfg, &trust))
		return err_set(err, -EFAULT, "the ring cannot be read");
	n = (uint16_t)(w->avail - w->used);
	*ret = w->used;
	if (n > w->num)
		return err_set(err, -EINVAL,
			"the driver's index is %u ahead of the device's in a ring of %u", n,
			w->num);
	if (!n || in_order)
		return 0;
	if (!w->known)
		return err_set(err, -ENODATA,
			"which %u requests were not answered cannot be told: %s", n, w->why);
	return check_outstanding(w, mem, cfg, n, err);
}
