/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Finds an element of a packed ring and reads it. The queue's loop goes on meanwhile: answers
 * overwrite descriptors, and what was answered is the driver's again. So what we read counts if the
 * device wrote no answer while we did (vq_read_used_seq()); else all of it is read again. Where the
 * device never stands still, indirect tables are not followed.
 */
#include <errno.h>
#include <inttypes.h>

#include "inspect/element.h"
#include "inspect/vhost.h"
#include "virtio/vring.h"

/* What the two sides said at one moment. */
struct moment {
	uint32_t used_seq;
	struct vq_view view;
	uint16_t avail, used; /* the device's places */
	bool known; /* the two places; false only where somebody else serves the ring */
	uint32_t num_busy; /* from used on: the device's; torn if above the ring's size */
	struct vring_packed_event driver, device;
};

/* A position of the ring, and whose it is. */
struct spot {
	uint16_t pos;
	bool busy; /* the device took it, and no answer was written there since */
	bool waits; /* for the device */
	bool judged; /* the two above are known */
	uint32_t max; /* descriptors that a chain may have from here */
};

static int peek_area(
	struct vq *vq, const char *what, uint64_t gpa, void *ret, size_t bytes, struct err *err)
{
	int r = gmem_peek(vq->dev->mem, gpa, ret, bytes);

	if (r < 0)
		return err_set(err, r, "Queue %u: the %s at 0x%" PRIx64 " %s", vq->index, what, gpa,
			walk_peek_error(r));
	return 0;
}

static uint16_t place(uint16_t pos, bool wrap)
{
	return (uint16_t)(pos | (wrap ? VRING_PACKED_WRAP : 0));
}

static int read_moment(struct vq *vq, struct moment *ret, struct err *err)
{
	int r;

	ret->used_seq = vq_read_used_seq(vq);
	element_view(vq, &ret->view);
	ret->known = true;
	if (vq->dev->view.vhost) {
		struct vhost_ring_now now;

		inspect_vhost_ring(vq, &now);
		ret->known = now.knows_avail && now.knows_used;
	}
	ret->avail = place(ret->view.last_avail_idx, ret->view.avail_wrap);
	ret->used = place(ret->view.used_idx, ret->view.used_wrap);
	ret->num_busy = vring_packed_distance(vq->cfg.num, ret->used, ret->avail);
	r = peek_area(vq, "driver event suppression area", vq->cfg.driver, &ret->driver,
		sizeof(ret->driver), err);
	if (!r)
		r = peek_area(vq, "device event suppression area", vq->cfg.device, &ret->device,
			sizeof(ret->device), err);
	return r;
}

/* @pos is below the ring's size. */
static int find_spot(
	struct vq *vq, const struct moment *m, uint32_t pos, struct spot *ret, struct err *err)
{
	uint32_t num = vq->cfg.num, busy = m->num_busy > num ? 0 : m->num_busy;
	uint32_t next = m->avail & VRING_PACKED_POS, used = m->used & VRING_PACKED_POS;
	/* Beyond the ring's end the driver's wrap counter is the other one. */
	uint16_t at = place((uint16_t)pos, m->view.avail_wrap == (pos >= next));
	le16 flags;
	int r;

	r = peek_area(vq, "descriptor area",
		vq->cfg.desc + pos * sizeof(struct vring_packed_desc) +
			offsetof(struct vring_packed_desc, flags),
		&flags, sizeof(flags), err);
	if (r < 0)
		return r;
	if (!m->known) {
		/* Its server's places: nothing can be vouched for. */
		*ret = (struct spot){ .pos = (uint16_t)pos, .max = num };
		return 0;
	}
	ret->pos = (uint16_t)pos;
	ret->judged = true;
	ret->busy = (pos + num - used % num) % num < busy;
	ret->waits = !ret->busy && vring_packed_is_avail(le16_get(flags), at);
	ret->max = ret->waits ? num - busy - (pos + num - next % num) % num : num;
	return 0;
}

/* The next one or, where none waits, the one taken last. */
static int find_next(struct vq *vq, const struct moment *m, struct spot *ret, struct err *err)
{
	int r = find_spot(vq, m, m->view.last_avail_idx % vq->cfg.num, ret, err);

	if (r < 0 || ret->waits || !m->view.has_last_head)
		return r;
	return find_spot(vq, m, m->view.last_head % vq->cfg.num, ret, err);
}

static bool never_had_one(const struct moment *m, const struct spot *spot)
{
	return spot->judged && !spot->waits && !m->view.has_last_head &&
	       m->avail == VRING_PACKED_START;
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
		.packed = true,
	};
	struct vq_inflight inflight;
	struct spot spot;
	int r;

	*ret = (struct element){
		.avail_flags = le16_get(m->driver.flags),
		.avail_idx = le16_get(m->driver.off_wrap),
		.used_flags = le16_get(m->device.flags),
		.used_idx = le16_get(m->device.off_wrap),
	};
	if (!index && !m->known)
		return err_set(err, -ENODATA,
			"Queue %u: where its server stands in a packed ring is not known; name an "
			"index",
			vq->index);
	r = index ? find_spot(vq, m, *index % ring.num, &spot, err) : find_next(vq, m, &spot, err);
	if (r < 0)
		return r;
	ret->ring = spot.pos;
	if (never_had_one(m, &spot)) {
		ret->none = true;
		return 0;
	}
	r = walk_packed_chain(&ring, spot.pos, spot.max, false, &ret->chain, &ret->head, err);
	if (r < 0 && !spot.waits && !spot.busy)
		return err_prefix(err, r,
			"The element at %u was used already, its descriptors are the driver's "
			"again",
			spot.pos);
	if (r < 0)
		return r;
	ret->owned = spot.waits || (spot.busy && vq_read_inflight(vq, ret->head, &inflight));
	if (!ret->owned || !follow)
		return 0;
	element_free(ret);
	return walk_packed_chain(&ring, spot.pos, spot.max, true, &ret->chain, &ret->head, err);
}

static bool is_served(const struct vq *vq)
{
	return vq->state != VQ_IDLE && !vq->was_broken;
}

static bool stood_still(
	const struct vq *vq, const struct moment *before, const struct moment *after)
{
	if (vq->dev->view.vhost)
		return !before->known == !after->known && before->used == after->used &&
		       before->avail == after->avail;
	if (!is_served(vq))
		return true;
	return before->used_seq == after->used_seq && !(before->used_seq & 1) &&
	       before->used == after->used && before->num_busy <= vq->cfg.num;
}

int element_read_packed(struct vq *vq, const uint16_t *index, struct element *ret, struct err *err)
{
	struct moment before, after;
	int r;

	for (int tries = 1;; tries++) {
		struct err walk_err = { 0 };

		r = read_moment(vq, &before, err);
		if (r < 0)
			return r;
		r = read_at(vq, &before, index, tries < ELEMENT_TRIES, ret, &walk_err);
		if (read_moment(vq, &after, NULL) < 0)
			after = before;
		if (stood_still(vq, &before, &after) || tries == ELEMENT_TRIES) {
			if (r < 0)
				err_set(err, r, "%s", walk_err.msg);
			return r;
		}
		element_free(ret);
	}
}
