/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * An answer that takes several chains. While serve() has one at hand, further ones are looked at
 * ahead of the queue's place in the ring, which only moves when all of them are taken: whatever
 * serve() then says, nothing was half done.
 */
#include <assert.h>
#include <errno.h>

#include "virtio/vq_inflight.h"
#include "virtio/vq_internal.h"
#include "virtio/vq_recorder.h"
#include "virtio/vring.h"

/* Moves the look, and nothing that is stored anywhere, beyond @c. */
static void look_on(struct vq *vq, const struct chain *c)
{
	struct vq_ledger *l = vq->ledger;

	if (unlikely(l && l->next_again < l->num_again)) {
		l->next_again++;
	} else if (vq->ops->packed) {
		vq->last_avail = vring_packed_add(vq->num, vq->last_avail, c->num_ring_descs);
		vq->packed.num_busy += c->num_ring_descs;
	} else {
		vq->last_avail++;
	}
}

static void begin(struct vq *vq)
{
	assert(!vq->inuse);
	vq->more.looking = true;
	vq->more.last_avail = vq->last_avail;
	vq->more.num_busy = vq->packed.num_busy;
	vq->more.next_again = vq->ledger ? vq->ledger->next_again : 0;
	vq->more.num = 0;
	vq->more.first = NULL;
	look_on(vq, vq->serving);
}

static int peek(struct vq *vq, struct chain **ret)
{
	int r;

	/* All the slots that there are; and a ring whose driver's index runs away has an end here.
	 */
	if (vq->more.num + 1 >= vq->num)
		return -ENOBUFS;
	vq->dry = false;
	r = vq->ops->peek(vq, ret);
	if (r || !vq->dry)
		return r;
	/* It wants a large block, and others of this answer have them all. */
	vq->dry = false;
	return -ENOBUFS;
}

int vq_another(struct vq *vq, struct chain **ret)
{
	struct chain *c;
	int r;

	assert(vq->serving);
	if (!vq->more.looking)
		begin(vq);
	r = peek(vq, &c);
	if (!r) {
		/* From here on, and not from the first of them: that one the driver has passed. */
		vq->more.asked = true;
		vq->notify_on = true;
		vq_record(vq, VQ_EVENT_NOTIFY_ON, vq->last_avail, 0);
		if (vq->ops->ask_notify(vq, true))
			r = peek(vq, &c);
	}
	if (r <= 0)
		return r;
	c->order_next = NULL;
	if (vq->more.first)
		vq->more.last->order_next = c;
	else
		vq->more.first = c;
	vq->more.last = c;
	vq->more.num++;
	look_on(vq, c);
	*ret = c;
	return 1;
}

struct chain *vq_look_back(struct vq *vq)
{
	uint16_t ahead;

	vq->more.looking = false;
	vq->last_avail = vq->more.last_avail;
	vq->packed.num_busy = vq->more.num_busy;
	if (vq->ledger)
		vq->ledger->next_again = vq->more.next_again;
	if (vq->ops->packed)
		return vq->more.first;
	/* The driver's index may have been read from further on. */
	ahead = (uint16_t)(vq->shadow_avail - vq->last_avail);
	if (ahead > vq->num)
		vq_break(vq, "available index %u is %u ahead of %u, in a ring of %u",
			vq->shadow_avail, ahead, vq->last_avail, vq->num);
	return vq->more.first;
}
