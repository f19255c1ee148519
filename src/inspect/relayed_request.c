/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Requests of somebody else's rings by peeking. A packed ring's own descriptors are overwritten by
 * answers, and a buffer id does not say where they lay: there the back-end's record is read.
 */
#include "inspect/relayed_request.h"

#include <errno.h>
#include <stdlib.h>

#include "base/cleanup.h"
#include "inspect/outstanding.h"
#include "virtio/vring.h"

/* So often a look for a moment in which the ring stands still. */
#define STILL_TRIES 64

static struct walk_ring ring_of(const struct vq *vq)
{
	return (struct walk_ring){
		.mem = vq->dev->mem,
		.queue = vq->index,
		.desc = vq->cfg.desc,
		.num = vq->cfg.num,
		.packed = vq_format(vq->dev)->packed,
	};
}

static void add_up(const struct vq *vq, const struct walk_chain *chain, struct relayed_request *ret)
{
	bool goes_on = true;

	for (size_t i = 0; i < chain->num; i++) {
		const struct walk_desc *d = &chain->descs[i];
		size_t len = MIN((size_t)d->len, sizeof(ret->bytes) - ret->num_bytes);

		if (d->flags & VRING_DESC_F_WRITE) {
			ret->writable_bytes += d->len;
			goes_on = false;
			continue;
		}
		ret->readable_bytes += d->len;
		goes_on = goes_on &&
			  gmem_peek(vq->dev->mem, d->addr, ret->bytes + ret->num_bytes, len) == 0;
		if (goes_on)
			ret->num_bytes += len;
	}
}

void relayed_request_read(
	const struct vq *vq, uint16_t head, bool certain, struct relayed_request *ret)
{
	const struct walk_ring ring = ring_of(vq);
	_cleanup_(walk_chain_free) struct walk_chain chain = { 0 };

	*ret = (struct relayed_request){ .head = head, .certain = certain };
	/* An indirect table may be somebody else's memory by now, if this is not in flight. */
	if (walk_chain(&ring, head, certain, &chain, &ret->problem) < 0)
		return;
	if (!certain && chain.num && (chain.descs[0].flags & VRING_DESC_F_INDIRECT))
		err_set(&ret->problem, -EAGAIN,
			"not certain to be in flight: its table is not looked at");
	else
		add_up(vq, &chain, ret);
}

void relayed_request_recorded(
	const struct vq *vq, const struct vhost_mark *mark, struct relayed_request *ret)
{
	const struct walk_ring ring = ring_of(vq);
	_cleanup_(walk_chain_free) struct walk_chain chain = { 0 };
	struct walk_desc d;

	*ret = (struct relayed_request){ .head = mark->head, .certain = true };
	for (uint32_t i = 0; inspect_vhost_recorded(vq, mark, i, &d); i++) {
		bool follow = d.flags & VRING_DESC_F_INDIRECT;

		/* Recorded as it stood in the ring: its table is the driver's own until the answer.
		 */
		if (walk_packed_desc(&ring, &d, i, follow, &chain, &ret->problem) < 0)
			return;
	}
	if (chain.num)
		add_up(vq, &chain, ret);
	else
		err_set(&ret->problem, -ENOENT,
			"marked in the in-flight region, which has none of its descriptors");
}

static bool oldest_marked(struct vq *vq, struct relayed_request *ret)
{
	_cleanup_free_ struct vhost_mark *marks = NULL;
	int n = inspect_vhost_marks(vq, &marks);

	if (n <= 0 || (n > 1 && marks[0].counter == marks[1].counter))
		return false;
	if (vq_format(vq->dev)->packed)
		relayed_request_recorded(vq, &marks[0], ret);
	else
		relayed_request_read(vq, marks[0].head, true, ret);
	return true;
}

static bool is_available(const struct vq *vq, uint16_t place)
{
	struct vring_packed_desc d;
	uint64_t at = vq->cfg.desc + (place & VRING_PACKED_POS) * sizeof(d);

	return gmem_peek(vq->dev->mem, at, &d, sizeof(d)) == 0 &&
	       vring_packed_is_avail(le16_get(d.flags), place);
}

/* None of a packed ring's was taken: the oldest stands where the server goes on. */
static bool next_in_packed(const struct vq *vq, struct relayed_request *ret)
{
	const struct walk_ring ring = ring_of(vq);
	_cleanup_(walk_chain_free) struct walk_chain chain = { 0 };
	struct vhost_ring_now now;
	uint16_t place, id = 0;

	inspect_vhost_ring(vq, &now);
	if (!now.knows_avail || !now.knows_inuse || now.inuse || now.quiet)
		return false;
	*ret = (struct relayed_request){ .certain = true };
	if (walk_packed_chain(
		    &ring, now.last_avail, vq->cfg.num, true, &chain, &id, &ret->problem) == 0)
		add_up(vq, &chain, ret);
	ret->head = id;
	place = (uint16_t)(now.last_avail | (now.avail_wrap ? VRING_PACKED_WRAP : 0));
	return is_available(vq, place);
}

bool relayed_request_oldest(struct vq *vq, struct relayed_request *ret)
{
	_cleanup_(outstanding_free) struct outstanding o = { 0 };

	if (oldest_marked(vq, ret))
		return true;
	if (vq_format(vq->dev)->packed)
		return next_in_packed(vq, ret);
	if (!outstanding_read(vq, STILL_TRIES, &o))
		return false;
	if (!o.num || o.num_unnamed || !o.certain[0])
		return false;
	relayed_request_read(vq, o.heads[0], true, ret);
	return true;
}
