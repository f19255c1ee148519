/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Steering by the driver's word (RSS): one channel for all that comes in, read whether or not any
 * queue has buffers, each packet put into the backlog of the pair that it is for. All receive
 * queues and the control queue are on one loop, so that nothing is handed from thread to thread.
 *
 * Dropped and counted, at the queue that they are for: packets for a pair that does not run, and
 * those that its backlog has no room for. No queue waits for another.
 *
 * And transmit queues of several pairs that share the one way out that their network has.
 */
#include <errno.h>

#include "devices/net_int.h"

/* So many packets are read before queues have a turn. */
#define STEER_BUDGET 64

static void drop(struct net_rx *rx, bool overrun)
{
	net_add(&rx->stats.drops, 1);
	if (overrun)
		net_add(&rx->stats.overruns, 1);
}

static void steer(struct vnet *n, const struct net_packet *p)
{
	struct net_rx *rx = &n->rx[net_rss_pair(&n->steer.rss, p->bytes, p->len)];

	if (!rx->vq)
		return drop(rx, false);
	if (!net_backlog_add(&rx->backlog, p))
		return drop(rx, true);
	vq_resume(rx->vq);
}

void net_steer_on_work(struct loop_work *work)
{
	struct net_steer *s = container_of(work, struct net_steer, work);
	struct vnet *n = container_of(s, struct vnet, steer);
	unsigned int budget = STEER_BUDGET;
	struct net_packet p;

	while (net_peek(s->chan, &p)) {
		if (!budget--) {
			loop_work_add(s->loop, &s->work);
			return;
		}
		if (net_wants(&n->rx[0], &p))
			steer(n, &p);
		net_next(s->chan);
	}
}

static void on_ready(void *opaque)
{
	struct net_steer *s = opaque;

	loop_work_add(s->loop, &s->work);
}

int net_steer_start(struct net_rx *rx, struct err *err)
{
	struct vnet *n = rx->net;
	struct net_steer *s = &n->steer;
	int r;

	if (!s->num_running) {
		s->loop = rx->vq->loop;
		r = net_chan_open(n->net, 0, NET_IN, s->loop, on_ready, s, &s->chan, err);
		if (r < 0)
			return r;
		loop_work_add(s->loop, &s->work);
	}
	s->num_running++;
	net_backlog_init(&rx->backlog);
	return 0;
}

void net_steer_stop(struct net_rx *rx)
{
	struct net_steer *s = &rx->net->steer;

	if (!rx->backlog.bytes)
		return;
	net_backlog_deinit(&rx->backlog);
	if (--s->num_running)
		return;
	loop_work_cancel(s->loop, &s->work);
	net_chan_close(s->chan);
	s->chan = NULL;
}

bool net_steer_configure(struct vnet *n, struct chain *c)
{
	uint8_t bytes[NET_RSS_CONFIG_MAX];
	size_t len = (size_t)c->readable.bytes;
	struct net_rss rss;

	if (c->readable.bytes > sizeof(bytes) || !chain_take(c, bytes, len) ||
		!net_rss_parse(bytes, len, n->num_pairs, &rss))
		return false;
	n->steer.rss = rss;
	return true;
}

/* --- one way out --- */

static void on_room(void *opaque)
{
	struct vnet *n = opaque;
	unsigned int i;

	for (i = 0; i < n->num_pairs; i++)
		if (n->tx[i].vq)
			vq_resume(n->tx[i].vq);
}

int net_share_out(struct net_tx *tx, struct err *err)
{
	struct vnet *n = tx->net;
	int r = 0;

	if (!n->num_out)
		r = net_chan_open(
			n->net, 0, NET_OUT, tx->vq->loop, on_room, n, &n->shared_out, err);
	if (r < 0)
		return r;
	n->num_out++;
	tx->chan = n->shared_out;
	return 0;
}

void net_unshare_out(struct net_tx *tx)
{
	struct vnet *n = tx->net;

	if (tx->chan && !--n->num_out) {
		net_chan_close(n->shared_out);
		n->shared_out = NULL;
	}
}
