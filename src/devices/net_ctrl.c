/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The control queue: a class, a command, its data, and one byte at the very end for the answer;
 * where a command has a result of its own, that stands behind the answer. A command is carried out
 * when it is answered, by every queue: where receive queues are on other loops, the answer waits
 * until each of those has said so.
 *
 * Answered with VIRTIO_NET_ERR, and nothing changed: unknown commands and those of features that
 * were not negotiated, data that is shorter or longer than the command's, a VLAN of 4096 or above,
 * no pairs of queues or more than there are, offloads that were not negotiated, parameters of RSS
 * that make no sense (net_rss.h).
 */
#include <string.h>

#include "devices/net_int.h"

#define VIRTIO_NET_OK  0
#define VIRTIO_NET_ERR 1

#define MAC_BYTES 6

enum result {
	OK,
	ERR,
	LATER, /* net_ctrl.waiting is the chain */
};

static bool take_all(struct chain *c, void *dst, size_t len)
{
	return c->readable.bytes == len && chain_take(c, dst, len);
}

/* --- commands --- */

static enum result rx_mode(struct vnet *n, struct chain *c, uint8_t command)
{
	uint32_t bit = 1u << command;
	uint8_t on;

	if (!take_all(c, &on, 1))
		return ERR;
	if (on)
		atomic_fetch_or(&n->rx_mode, bit);
	else
		atomic_fetch_and(&n->rx_mode, ~bit);
	return OK;
}

/* One of the two tables: its length and its addresses, from place *@at of @macs on. */
static bool take_table(struct chain *c, uint64_t *macs, uint32_t *at, bool *overflow)
{
	uint8_t mac[MAC_BYTES];
	uint32_t num, i;
	le32 wire;

	if (!chain_take(c, &wire, sizeof(wire)))
		return false;
	num = le32_get(wire);
	if ((uint64_t)num * MAC_BYTES > c->readable.bytes)
		return false;
	*overflow = num > NET_MACS_MAX - *at;
	if (*overflow)
		return chain_skip(c, (uint64_t)num * MAC_BYTES);
	for (i = 0; i < num; i++) {
		chain_take(c, mac, sizeof(mac));
		macs[(*at)++] = net_mac(mac);
	}
	return true;
}

static enum result mac_table(struct vnet *n, struct chain *c, uint8_t command)
{
	const uint32_t both = 1u << RX_UNI_OVERFLOW | 1u << RX_MULTI_OVERFLOW;
	bool uni_overflow, multi_overflow;
	uint64_t macs[NET_MACS_MAX];
	uint32_t num_uni, num = 0, i;

	(void)command;
	if (!take_table(c, macs, &num, &uni_overflow))
		return ERR;
	num_uni = num;
	if (!take_table(c, macs, &num, &multi_overflow) || c->readable.bytes)
		return ERR;
	for (i = 0; i < num; i++)
		atomic_store_explicit(&n->macs[i], macs[i], memory_order_relaxed);
	atomic_store(&n->num_uni, num_uni);
	atomic_store(&n->num_multi, num - num_uni);
	atomic_fetch_and(&n->rx_mode, ~both);
	atomic_fetch_or(&n->rx_mode, (uint32_t)uni_overflow << RX_UNI_OVERFLOW |
					     (uint32_t)multi_overflow << RX_MULTI_OVERFLOW);
	return OK;
}

static enum result mac_addr(struct vnet *n, struct chain *c, uint8_t command)
{
	uint8_t mac[MAC_BYTES];

	(void)command;
	if (!take_all(c, mac, sizeof(mac)))
		return ERR;
	atomic_store(&n->mac, net_mac(mac));
	return OK;
}

static enum result vlan(struct vnet *n, struct chain *c, uint8_t command)
{
	uint64_t bit;
	uint16_t id;
	le16 wire;

	if (!take_all(c, &wire, sizeof(wire)))
		return ERR;
	id = le16_get(wire);
	if (id >= NET_VLANS)
		return ERR;
	bit = 1ull << (id % 64);
	if (command == 0)
		atomic_fetch_or(&n->vlans[id / 64], bit);
	else
		atomic_fetch_and(&n->vlans[id / 64], ~bit);
	return OK;
}

static enum result announce_ack(struct vnet *n, struct chain *c, uint8_t command)
{
	(void)command;
	if (c->readable.bytes || !atomic_exchange(&n->announce, false))
		return ERR;
	return OK;
}

static enum result offloads(struct vnet *n, struct chain *c, uint8_t command)
{
	const uint64_t all = 1ull << VIRTIO_NET_F_GUEST_CSUM | 1ull << VIRTIO_NET_F_GUEST_TSO4 |
			     1ull << VIRTIO_NET_F_GUEST_TSO6 | 1ull << VIRTIO_NET_F_GUEST_ECN |
			     1ull << VIRTIO_NET_F_GUEST_USO4 | 1ull << VIRTIO_NET_F_GUEST_USO6;
	uint64_t bits;
	le64 wire;

	(void)command;
	if (!take_all(c, &wire, sizeof(wire)))
		return ERR;
	bits = le64_get(wire);
	if (bits & ~(all & n->dev.driver_features.word[0]))
		return ERR;
	atomic_store(&n->guest_offloads, bits);
	net_tell_offloads(n);
	return OK;
}

static enum result stats_query(struct vnet *n, struct chain *c, uint8_t command)
{
	(void)command;
	return net_stats_query(n, c) ? OK : ERR;
}

static enum result stats_get(struct vnet *n, struct chain *c, uint8_t command)
{
	(void)command;
	return net_stats_get(n, c) ? OK : ERR;
}

/* --- what queues have to hear of, each on its loop --- */

static void sync_one(struct vnet *n, unsigned int queue)
{
	struct net_rx *rx = &n->rx[queue / 2];
	struct err err = { 0 };

	net_coalesce_sync(n, queue);
	if (queue % 2 == 0 && net_rx_sync(rx, &err) < 0)
		vq_break(rx->vq, "%s", err.msg);
}

/* True for whoever is the last. */
static bool one_less(struct net_ctrl *ctrl)
{
	return atomic_fetch_sub(&ctrl->num_pending, 1) == 1;
}

static void on_sync(struct vnet *n, unsigned int queue)
{
	struct net_ctrl *ctrl = &n->ctrl;
	/* The chain that waits keeps the control queue from being idle: it is there. */
	struct loop *loop = ctrl->vq->loop;

	sync_one(n, queue);
	if (one_less(ctrl))
		loop_post(loop, &ctrl->done_post);
}

void net_ctrl_on_sync_rx(struct loop_post *post)
{
	struct net_rx *rx = container_of(post, struct net_rx, sync_post);

	on_sync(rx->net, 2 * rx->pair);
}

void net_ctrl_on_sync_tx(struct loop_post *post)
{
	struct net_tx *tx = container_of(post, struct net_tx, sync_post);

	on_sync(tx->net, 2 * (unsigned int)(tx - tx->net->tx) + 1);
}

/* The answer is OK, once all have heard. */
static enum result tell_queues(struct vnet *n, struct chain *c)
{
	struct net_ctrl *ctrl = &n->ctrl;
	unsigned int i;

	ctrl->waiting = c;
	atomic_store(&ctrl->num_pending, 2 * n->num_pairs + 1);
	for (i = 0; i < 2 * n->num_pairs; i++) {
		struct loop *loop = n->dev.queues[i].loop;

		if (loop != ctrl->vq->loop) {
			loop_post(loop, i % 2 ? &n->tx[i / 2].sync_post : &n->rx[i / 2].sync_post);
			continue;
		}
		sync_one(n, i);
		one_less(ctrl);
	}
	if (!one_less(ctrl))
		return LATER;
	ctrl->waiting = NULL;
	return OK;
}

static enum result mq_pairs(struct vnet *n, struct chain *c, uint8_t command)
{
	uint16_t pairs;
	le16 wire;

	(void)command;
	if (!take_all(c, &wire, sizeof(wire)))
		return ERR;
	pairs = le16_get(wire);
	if (!pairs || pairs > n->num_pairs)
		return ERR;
	atomic_store(&n->pairs_in_use, pairs);
	if (net_steers(n))
		net_rss_spread(&n->steer.rss, pairs);
	return tell_queues(n, c);
}

/* NOTF_COAL_TX_SET is 0, RX_SET 1. */
static enum result coalesce_all(struct vnet *n, struct chain *c, uint8_t command)
{
	return net_coalesce_all(n, c, command == 0) ? tell_queues(n, c) : ERR;
}

static enum result coalesce_one(struct vnet *n, struct chain *c, uint8_t command)
{
	(void)command;
	return net_coalesce_one(n, c) ? tell_queues(n, c) : ERR;
}

static enum result coalesce_get(struct vnet *n, struct chain *c, uint8_t command)
{
	(void)command;
	return net_coalesce_get(n, c) ? OK : ERR;
}

/* The receive queues are on this loop too. */
static enum result rss_config(struct vnet *n, struct chain *c, uint8_t command)
{
	(void)command;
	return net_steers(n) && net_steer_configure(n, c) ? OK : ERR;
}

static const struct {
	uint8_t class, command;
	unsigned int feature;
	enum result (*fn)(struct vnet *n, struct chain *c, uint8_t command);
} commands[] = {
	{ 0, RX_PROMISC, VIRTIO_NET_F_CTRL_RX, rx_mode },
	{ 0, RX_ALLMULTI, VIRTIO_NET_F_CTRL_RX, rx_mode },
	{ 0, RX_ALLUNI, VIRTIO_NET_F_CTRL_RX_EXTRA, rx_mode },
	{ 0, RX_NOMULTI, VIRTIO_NET_F_CTRL_RX_EXTRA, rx_mode },
	{ 0, RX_NOUNI, VIRTIO_NET_F_CTRL_RX_EXTRA, rx_mode },
	{ 0, RX_NOBCAST, VIRTIO_NET_F_CTRL_RX_EXTRA, rx_mode },
	{ 1, 0, VIRTIO_NET_F_CTRL_RX, mac_table },
	{ 1, 1, VIRTIO_NET_F_CTRL_MAC_ADDR, mac_addr },
	{ 2, 0, VIRTIO_NET_F_CTRL_VLAN, vlan },
	{ 2, 1, VIRTIO_NET_F_CTRL_VLAN, vlan },
	{ 3, 0, VIRTIO_NET_F_GUEST_ANNOUNCE, announce_ack },
	{ 4, 0, VIRTIO_NET_F_MQ, mq_pairs },
	{ 4, 1, VIRTIO_NET_F_RSS, rss_config },
	{ 5, 0, VIRTIO_NET_F_CTRL_GUEST_OFFLOADS, offloads },
	{ 6, 0, VIRTIO_NET_F_NOTF_COAL, coalesce_all },
	{ 6, 1, VIRTIO_NET_F_NOTF_COAL, coalesce_all },
	{ 6, 2, VIRTIO_NET_F_VQ_NOTF_COAL, coalesce_one },
	{ 6, 3, VIRTIO_NET_F_VQ_NOTF_COAL, coalesce_get },
	{ 8, 0, VIRTIO_NET_F_DEVICE_STATS, stats_query },
	{ 8, 1, VIRTIO_NET_F_DEVICE_STATS, stats_get },
};

/* --- the queue --- */

/* virtio 1.4, "Control Virtqueue": the ones that have a command-specific-result. */
#define CLASS_WITH_RESULT 8

/* Where the answer goes, cut off @c; false: it has no room for one. */
static bool cut_answer(struct vnet *n, struct chain *c, bool first)
{
	const uint8_t none = VIRTIO_NET_ERR;
	const struct iovec *iov = c->writable.iov;

	n->ctrl.ack_first = first;
	if (!first)
		return chain_cut_tail(c, 1, &n->ctrl.ack, 1) > 0;
	if (!c->writable.bytes)
		return false;
	while (!iov->iov_len)
		iov++;
	n->ctrl.ack = (struct iovec){ iov->iov_base, 1 };
	return chain_put(c, &none, sizeof(none));
}

static enum result carry_out(struct vnet *n, struct chain *c, const uint8_t *head)
{
	size_t i;

	for (i = 0; i < ARRAY_SIZE(commands); i++)
		if (commands[i].class == head[0] && commands[i].command == head[1] &&
			net_has(n, commands[i].feature))
			return commands[i].fn(n, c, head[1]);
	return ERR;
}

static void answer(struct vnet *n, struct chain *c, bool ok)
{
	uint8_t ack = ok ? VIRTIO_NET_OK : VIRTIO_NET_ERR;

	net_add(&n->ctrl.commands, 1);
	if (ok)
		net_add(&n->ctrl.ok, 1);
	chain_fill(c, &n->ctrl.ack, 1, &ack, sizeof(ack));
	/* It counts only where nothing between the start and it was left out. */
	if (!n->ctrl.ack_first && !c->writable.bytes)
		c->written++;
}

void net_ctrl_on_done(struct loop_post *post)
{
	struct net_ctrl *ctrl = container_of(post, struct net_ctrl, done_post);
	struct vnet *n = container_of(ctrl, struct vnet, ctrl);
	struct chain *c = ctrl->waiting;

	ctrl->waiting = NULL;
	answer(n, c, true);
	vq_resume(ctrl->vq);
	vq_complete(ctrl->vq, c);
}

enum serve_verdict net_serve_ctrl(struct vnet *n, struct vq *vq, struct chain *c)
{
	enum result result = ERR;
	uint8_t head[2];
	bool whole;

	/* One after the other. */
	if (n->ctrl.waiting)
		return SERVE_RETRY;
	whole = chain_take(c, head, sizeof(head));
	if (!cut_answer(n, c, whole && head[0] == CLASS_WITH_RESULT)) {
		log_limited(&n->limit, LOG_LEVEL_WARN,
			"%s: queue %u: head %u has no byte to write an answer to; returned "
			"unanswered",
			vdev_label(&n->dev), vq->index, c->head);
		return SERVE_DONE;
	}
	if (whole)
		result = carry_out(n, c, head);
	if (result == LATER)
		return SERVE_HELD;
	answer(n, c, result == OK);
	return SERVE_DONE;
}

void net_ctrl_start(struct vnet *n, struct vq *vq)
{
	n->ctrl.vq = vq;
}

void net_ctrl_stop(struct vnet *n)
{
	n->ctrl.vq = NULL;
}
