/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Finds an element of a split ring and reads it. The queue's loop goes on meanwhile: what we read
 * belongs to the device for sure only while nothing was given back to the driver, so the used index
 * in memory is read before and after, and all of it is read again where it moved. Where it never
 * stands still, indirect tables are not followed.
 */
#include "inspect/element.h"

#include <errno.h>
#include <inttypes.h>
#include <string.h>

#include "inspect/vhost.h"
#include "virtio/vring.h"

/* What the two sides said at one moment. */
struct moment {
	struct vq_view view;
	uint16_t avail_flags, avail_idx, used_flags, used_idx;
};

/* Where an idle queue will go on, in the format that its driver chose. */
static void view_idle(struct vq *vq, struct vq_view *ret)
{
	uint16_t avail = vq->cfg.next_avail, used = vq->cfg.next_used;

	if (vq_format(vq->dev) != &vq_packed_ops) {
		ret->packed = false;
		ret->last_avail_idx = avail;
		return;
	}
	if (!vq->cfg.has_base)
		avail = used = VRING_PACKED_START;
	ret->packed = true;
	ret->last_avail_idx = ret->shadow_avail_idx = avail & VRING_PACKED_POS;
	ret->avail_wrap = avail & VRING_PACKED_WRAP;
	ret->used_idx = used & VRING_PACKED_POS;
	ret->used_wrap = used & VRING_PACKED_WRAP;
}

/* A descriptor of a packed ring that nobody filled in. */
static bool is_blank(const struct vq *vq, uint16_t pos)
{
	static const struct vring_packed_desc blank;
	struct vring_packed_desc desc;

	return gmem_peek(vq->dev->mem, vq->cfg.desc + pos * sizeof(desc), &desc, sizeof(desc)) <
		       0 ||
	       memcmp(&desc, &blank, sizeof(desc)) == 0;
}

/* Somebody else serves it: what is in the used ring was taken, for certain. */
static void view_relayed(struct vq *vq, struct vq_view *ret)
{
	struct vhost_ring_now now;

	view_idle(vq, ret);
	inspect_vhost_ring(vq, &now);
	if (!ret->packed && now.knows_used)
		ret->last_avail_idx = ret->used_idx = now.used;
	/* A size of 0 is no ring, whatever its record says. */
	if (!ret->packed || !now.knows_used || !now.knows_avail || !vq->cfg.num)
		return;
	ret->last_avail_idx = ret->shadow_avail_idx = now.last_avail;
	ret->avail_wrap = now.avail_wrap;
	ret->used_idx = now.used;
	ret->used_wrap = now.used_wrap;
	/* Where the last answer stands, unless there never was one. */
	ret->last_head = (uint16_t)((now.used + vq->cfg.num - 1u) % vq->cfg.num);
	ret->has_last_head = now.quiet && vq->dev->view.vhost->rings[vq->index].ran &&
			     (now.used || !now.used_wrap || !is_blank(vq, ret->last_head));
}

bool element_view(struct vq *vq, struct vq_view *ret)
{
	bool whole = vq_read_view(vq, ret);

	if (vq->dev->view.vhost) {
		view_relayed(vq, ret);
		return true;
	}
	if (vq->state == VQ_IDLE)
		view_idle(vq, ret);
	return whole;
}

void element_free(struct element *element)
{
	walk_chain_free(&element->chain);
}

static int peek16(struct vq *vq, const char *what, uint64_t gpa, uint16_t *ret, struct err *err)
{
	le16 raw;
	int r = gmem_peek(vq->dev->mem, gpa, &raw, sizeof(raw));

	if (r < 0)
		return err_set(err, r, "Queue %u: the %s at 0x%" PRIx64 " %s", vq->index, what, gpa,
			walk_peek_error(r));
	*ret = le16_get(raw);
	return 0;
}

static int read_moment(struct vq *vq, struct moment *ret, struct err *err)
{
	uint64_t avail = vq->cfg.driver, used = vq->cfg.device;
	int r;

	/* The owner's view before the driver's index: the index may run ahead, never behind. */
	element_view(vq, &ret->view);
	r = peek16(vq, "available ring", avail, &ret->avail_flags, err);
	if (!r)
		r = peek16(vq, "available ring", avail + 2, &ret->avail_idx, err);
	if (!r)
		r = peek16(vq, "used ring", used, &ret->used_flags, err);
	if (!r)
		r = peek16(vq, "used ring", used + 2, &ret->used_idx, err);
	return r;
}

static uint32_t num_waiting(const struct moment *m)
{
	return (uint16_t)(m->avail_idx - m->view.last_avail_idx);
}

static bool is_served(const struct vq *vq)
{
	if (vq->dev->view.vhost)
		return vq->dev->view.vhost->rings[vq->index].started;
	return vq->state != VQ_IDLE && !vq->was_broken;
}

/* The place in the available ring, and whether it waits there for the device. */
static uint32_t find_slot(
	struct vq *vq, const struct moment *m, const uint16_t *index, bool *ret_waits)
{
	uint32_t num = vq->cfg.num, waiting = num_waiting(m), slot, ahead;

	/* Seen between two publications of a busy queue: no place can be vouched for. */
	if (waiting > num)
		waiting = 0;
	if (!index) {
		*ret_waits = waiting > 0;
		return (uint16_t)(m->view.last_avail_idx - (waiting ? 0 : 1)) % num;
	}
	slot = *index % num;
	ahead = (slot + num - m->view.last_avail_idx % num) % num;
	*ret_waits = ahead < waiting;
	return slot;
}

/*
 * Before its first element all indices are 0; they are 0 again after each 65536 elements, but then
 * the entry taken last names a descriptor that was filled in.
 */
static bool never_had_one(struct vq *vq, const struct moment *m)
{
	struct vring_desc desc = { 0 };
	uint16_t head;
	uint64_t entry = vq->cfg.driver + offsetof(struct vring_avail, ring) +
			 (uint64_t)(vq->cfg.num - 1) * sizeof(le16);

	if (m->avail_idx || m->view.last_avail_idx || m->used_idx)
		return false;
	if (!m->view.counters.popped || peek16(vq, "", entry, &head, NULL) < 0 ||
		head >= vq->cfg.num)
		return true;
	if (gmem_peek(vq->dev->mem, vq->cfg.desc + head * sizeof(desc), &desc, sizeof(desc)) < 0)
		return true;
	return !le64_get(desc.addr) && !le32_get(desc.len);
}

/*
 * Is what lies between the used and the available index outstanding? For certain with IN_ORDER.
 * Else answers may have overtaken each other: then a head that was answered has its place there,
 * and one that was not lies before. As long as all that the rings still show went in order, no.
 */
static bool went_in_order(struct vq *vq, const struct moment *m)
{
	uint32_t num = vq->cfg.num, waiting = num_waiting(m);
	uint64_t avail = vq->cfg.driver + offsetof(struct vring_avail, ring);
	uint64_t used = vq->cfg.device + offsetof(struct vring_used, ring);

	if (!vq->dev->view.vhost || vdev_ring_feature(vq->dev, VIRTIO_F_IN_ORDER))
		return true;
	for (uint32_t i = 1; waiting <= num && i <= num - waiting; i++) {
		uint32_t slot = (uint16_t)(m->used_idx - i) % num;
		uint16_t taken, given;

		if (peek16(vq, "", avail + slot * sizeof(le16), &taken, NULL) < 0 ||
			peek16(vq, "", used + slot * sizeof(struct vring_used_elem), &given, NULL) <
				0 ||
			taken != given)
			return false;
	}
	return waiting <= num;
}

/* One try; @follow only if the caller can vouch for what is owned. */
static int read_at(struct vq *vq, const struct moment *m, const uint16_t *index, bool follow,
	struct element *ret, struct err *err)
{
	struct walk_ring ring = {
		.mem = vq->dev->mem,
		.queue = vq->index,
		.desc = vq->cfg.desc,
		.num = vq->cfg.num,
	};
	struct vq_inflight inflight;
	uint32_t slot;
	bool waits;
	int r;

	*ret = (struct element){
		.avail_flags = m->avail_flags,
		.avail_idx = m->avail_idx,
		.used_flags = m->used_flags,
		.used_idx = m->used_idx,
	};
	if (never_had_one(vq, m)) {
		ret->none = true;
		return 0;
	}
	slot = find_slot(vq, m, index, &waits);
	r = peek16(vq, "available ring's entry",
		vq->cfg.driver + offsetof(struct vring_avail, ring) + slot * sizeof(le16),
		&ret->head, err);
	if (r < 0)
		return r;
	ret->ring = ret->head;
	ret->owned = (waits && went_in_order(vq, m)) ||
		     (ret->head < ring.num && vq_read_inflight(vq, ret->head, &inflight));
	r = walk_chain(&ring, ret->head, ret->owned && follow, &ret->chain, err);
	if (r < 0 && !ret->owned)
		err_prefix(err, r,
			"The element at %u was used already, its descriptors are the "
			"driver's again",
			slot);
	return r;
}

static int check_index(struct vq *vq, const struct moment *m, struct err *err)
{
	if (num_waiting(m) <= vq->cfg.num || is_served(vq))
		return 0;
	return err_set(err, -EPROTO,
		"Queue %u: the driver's available index %u is %u ahead of %u, in a ring of %u",
		vq->index, m->avail_idx, num_waiting(m), m->view.last_avail_idx, vq->cfg.num);
}

/* Nothing that the device had at @before was given back until @after. */
static bool stood_still(
	const struct vq *vq, const struct moment *before, const struct moment *after)
{
	if (before->used_idx != after->used_idx)
		return false;
	if (!is_served(vq))
		return true;
	return before->view.used_idx == before->used_idx && num_waiting(before) <= vq->cfg.num;
}

static bool moved(const struct moment *a, const struct moment *b)
{
	return a->used_idx != b->used_idx || a->view.used_idx != b->view.used_idx ||
	       a->view.last_avail_idx != b->view.last_avail_idx;
}

int element_read(struct vq *vq, const uint16_t *index, struct element *ret, struct err *err)
{
	struct moment before, after;
	bool alive = false;
	int r;

	*ret = (struct element){ 0 };
	if (!vq->dev->mem || !(vq->cfg.desc | vq->cfg.driver | vq->cfg.device))
		return err_set(err, -ENXIO, "Region caches not initialized");
	/* Of a queue that never started, nobody has judged it. */
	if (!vq->cfg.num || vq->cfg.num > VQ_SIZE_MAX)
		return err_set(err, -EINVAL, "Queue %u: size %u is not within 1 and %u", vq->index,
			vq->cfg.num, VQ_SIZE_MAX);
	if (vq_format(vq->dev) == &vq_packed_ops)
		return element_read_packed(vq, index, ret, err);
	for (int tries = 1;; tries++) {
		struct err walk_err = { 0 };
		/* A used index that nobody moves and that is not ours is the driver's own doing. */
		bool follow = tries < ELEMENT_TRIES || !alive;

		r = read_moment(vq, &before, err);
		if (r < 0 || (r = check_index(vq, &before, err)) < 0)
			return r;
		r = read_at(vq, &before, index, follow, ret, &walk_err);
		if (read_moment(vq, &after, NULL) < 0)
			after = before;
		if (stood_still(vq, &before, &after) || tries == ELEMENT_TRIES) {
			if (r < 0)
				err_set(err, r, "%s", walk_err.msg);
			return r;
		}
		alive = alive || moved(&before, &after);
		element_free(ret);
	}
}
