/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Notification coalescing (virtio 1.4, "Notifications Coalescing"): what the driver wants of each
 * queue, and the commands. What a packet is, is counted in buffers that were used.
 *
 * Refused: data of another length, queues that are not there, are no receive or transmit queue, or
 * do not run.
 */
#include "devices/net_int.h"

struct coal {
	le32 max_packets, max_usecs;
};

struct coal_vq {
	le16 vq_index, reserved;
};

static _Atomic uint64_t *wish_of(struct vnet *n, unsigned int queue)
{
	return queue % 2 ? &n->tx[queue / 2].wish : &n->rx[queue / 2].wish;
}

static struct vq_coalescing *coalescing_of(struct vnet *n, unsigned int queue)
{
	return queue % 2 ? &n->tx[queue / 2].coalescing : &n->rx[queue / 2].coalescing;
}

/* Packets in the low half. */
static uint64_t to_wish(const struct coal *coal)
{
	return le32_get(coal->max_packets) | (uint64_t)le32_get(coal->max_usecs) << 32;
}

/* --- the queues --- */

void net_coalesce_sync(struct vnet *n, unsigned int queue)
{
	uint64_t wish = atomic_load(wish_of(n, queue));

	vq_coalesce_set(coalescing_of(n, queue), (uint32_t)wish, (uint32_t)(wish >> 32));
}

void net_coalesce_start(struct vnet *n, struct vq *vq)
{
	if (!net_coalesces(n))
		return;
	vq_coalesce_start(coalescing_of(n, vq->index), vq);
	net_coalesce_sync(n, vq->index);
}

void net_coalesce_forget(struct vnet *n)
{
	unsigned int i;

	for (i = 0; i < 2 * n->num_pairs; i++)
		atomic_store(wish_of(n, i), 0);
}

/* --- commands --- */

bool net_coalesce_all(struct vnet *n, struct chain *c, bool transmit)
{
	struct coal coal;
	unsigned int i;

	if (!n->coalesces || c->readable.bytes != sizeof(coal) ||
		!chain_take(c, &coal, sizeof(coal)))
		return false;
	for (i = transmit; i < 2 * n->num_pairs; i += 2)
		atomic_store(wish_of(n, i), to_wish(&coal));
	return true;
}

/* The queue that a command names, of those that run. */
static bool take_queue(struct vnet *n, struct chain *c, unsigned int *ret)
{
	struct coal_vq which;

	if (!n->coalesces || !chain_take(c, &which, sizeof(which)))
		return false;
	*ret = le16_get(which.vq_index);
	return *ret < 2 * n->num_pairs && atomic_load(&coalescing_of(n, *ret)->runs);
}

bool net_coalesce_one(struct vnet *n, struct chain *c)
{
	struct coal coal;
	unsigned int queue;

	if (c->readable.bytes != sizeof(struct coal_vq) + sizeof(coal) ||
		!take_queue(n, c, &queue) || !chain_take(c, &coal, sizeof(coal)))
		return false;
	atomic_store(wish_of(n, queue), to_wish(&coal));
	return true;
}

bool net_coalesce_get(struct vnet *n, struct chain *c)
{
	struct coal coal;
	unsigned int queue;
	uint64_t wish;

	if (c->readable.bytes != sizeof(struct coal_vq) || !take_queue(n, c, &queue))
		return false;
	wish = atomic_load(wish_of(n, queue));
	coal.max_packets = le32_make((uint32_t)wish);
	coal.max_usecs = le32_make((uint32_t)(wish >> 32));
	return chain_put(c, &coal, sizeof(coal));
}
