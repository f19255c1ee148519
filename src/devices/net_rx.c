/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Packets to the driver. What the back end has is judged by the filter that the control queue set
 * and copied behind a header into the driver's buffers, several of them where they are merged.
 *
 * Without buffers nothing is taken from the back end. A buffer that has no room for a header goes
 * back empty. Dropped and counted: frames that are none, a packet that is longer than its buffer
 * where buffers are not merged, or than all buffers of the ring together, one that has something
 * left to do to it which the driver does not do.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/alloc.h"
#include "devices/net_int.h"

/* So many packets that nobody wants are passed over before other queues have a turn. */
#define UNWANTED_MAX 64

#define ETHERTYPE_AT   12
#define ETHERTYPE_VLAN 0x8100
#define VLAN_AT	       14
#define VLAN_BYTES     4

/* --- the filter --- */

static bool in_table(struct vnet *n, uint32_t first, uint32_t num, uint64_t mac)
{
	uint32_t i;

	for (i = first; i < first + num && i < NET_MACS_MAX; i++)
		if (atomic_load_explicit(&n->macs[i], memory_order_relaxed) == mac)
			return true;
	return false;
}

static bool takes_unicast(struct vnet *n, uint32_t mode, uint64_t mac)
{
	if (mode & 1u << RX_NOUNI)
		return false;
	if (mode & (1u << RX_ALLUNI | 1u << RX_UNI_OVERFLOW))
		return true;
	return mac == atomic_load_explicit(&n->mac, memory_order_relaxed) ||
	       in_table(n, 0, atomic_load_explicit(&n->num_uni, memory_order_relaxed), mac);
}

static bool takes_multicast(struct vnet *n, uint32_t mode, uint64_t mac)
{
	if (mac == 0xffffffffffff)
		return !(mode & 1u << RX_NOBCAST);
	if (mode & 1u << RX_NOMULTI)
		return false;
	if (mode & (1u << RX_ALLMULTI | 1u << RX_MULTI_OVERFLOW))
		return true;
	return in_table(n, atomic_load_explicit(&n->num_uni, memory_order_relaxed),
		atomic_load_explicit(&n->num_multi, memory_order_relaxed), mac);
}

static bool takes_vlan(struct vnet *n, const struct net_packet *p)
{
	uint32_t vlan;

	if ((p->bytes[ETHERTYPE_AT] << 8 | p->bytes[ETHERTYPE_AT + 1]) != ETHERTYPE_VLAN ||
		!net_has(n, VIRTIO_NET_F_CTRL_VLAN))
		return true;
	if (p->len < NET_FRAME_MIN + VLAN_BYTES)
		return false;
	vlan = (uint32_t)(p->bytes[VLAN_AT] << 8 | p->bytes[VLAN_AT + 1]) % NET_VLANS;
	return atomic_load_explicit(&n->vlans[vlan / 64], memory_order_relaxed) >> (vlan % 64) & 1;
}

/* Can the driver do what is left to do? Only where it has changed its mind a moment ago it cannot.
 */
static bool can_finish(struct vnet *n, const struct net_offload *offload)
{
	static const struct {
		uint8_t type;
		uint64_t bits;
	} types[] = {
		{ VIRTIO_NET_HDR_GSO_TCPV4, 1ull << VIRTIO_NET_F_GUEST_TSO4 },
		{ VIRTIO_NET_HDR_GSO_TCPV6, 1ull << VIRTIO_NET_F_GUEST_TSO6 },
		{ VIRTIO_NET_HDR_GSO_UDP_L4,
			1ull << VIRTIO_NET_F_GUEST_USO4 | 1ull << VIRTIO_NET_F_GUEST_USO6 },
	};
	uint64_t can = atomic_load_explicit(&n->guest_offloads, memory_order_relaxed) &
		       n->dev.driver_features.word[0];
	size_t i;

	if (offload->flags & VIRTIO_NET_HDR_F_NEEDS_CSUM && !(can >> VIRTIO_NET_F_GUEST_CSUM & 1))
		return false;
	if (!offload->gso_type)
		return true;
	if (offload->gso_type & VIRTIO_NET_HDR_GSO_ECN && !(can >> VIRTIO_NET_F_GUEST_ECN & 1))
		return false;
	for (i = 0; i < ARRAY_SIZE(types); i++)
		if (types[i].type == (offload->gso_type & ~VIRTIO_NET_HDR_GSO_ECN))
			return can & types[i].bits;
	return false;
}

static __attribute__((noinline)) bool passes_filter(
	struct vnet *n, uint32_t mode, const struct net_packet *p)
{
	uint64_t mac = net_mac(p->bytes);

	return takes_vlan(n, p) &&
	       (mac & 1 ? takes_multicast(n, mode, mac) : takes_unicast(n, mode, mac));
}

static inline bool is_wanted(struct net_rx *rx, const struct net_packet *p)
{
	struct vnet *n = rx->net;
	uint32_t mode = atomic_load_explicit(&n->rx_mode, memory_order_relaxed);

	if (p->len < NET_FRAME_MIN ||
		((p->offload.flags | p->offload.gso_type) && !can_finish(n, &p->offload))) {
		net_add(&rx->stats.drops, 1);
		return false;
	}
	if ((mode & (1u << RX_PROMISC | 1u << RX_PULLED)) == 1u << RX_PROMISC)
		return true;
	if (mode & 1u << RX_PULLED) {
		net_add(&rx->stats.drops, 1);
		return false;
	}
	return passes_filter(n, mode, p);
}

bool net_wants(struct net_rx *rx, const struct net_packet *p)
{
	return is_wanted(rx, p);
}

/* --- delivery --- */

static void count(struct net_rx *rx, const struct net_packet *p)
{
	net_add(&rx->stats.packets, 1);
	net_add(&rx->stats.bytes, p->len);
	if (likely(!(p->offload.flags | p->offload.gso_type)))
		return;
	if (p->offload.flags & VIRTIO_NET_HDR_F_NEEDS_CSUM)
		net_add(&rx->stats.needs_csum, 1);
	else if (p->offload.flags)
		net_add(&rx->stats.csum_valid, 1);
	if (p->offload.gso_type) {
		net_add(&rx->stats.gso_packets, 1);
		net_add(&rx->stats.gso_bytes, p->len);
	}
}

static inline struct net_header make_header(const struct net_packet *p, uint32_t num_buffers)
{
	const struct net_offload *o = &p->offload;

	return (struct net_header){ o->flags, o->gso_type, le16_make(o->hdr_len),
		le16_make(o->gso_size), le16_make(o->csum_start), le16_make(o->csum_offset),
		le16_make((uint16_t)num_buffers) };
}

static void put_header(
	struct net_rx *rx, struct chain *c, const struct net_packet *p, uint32_t num_buffers)
{
	struct net_header h = make_header(p, num_buffers);

	chain_put(c, &h, rx->header_bytes);
}

/* The packet goes into several chains, of which @c is the first. 1: it is there; 0: once there are
 * more; -errno: it never will. */
static int merge(struct net_rx *rx, struct vq *vq, struct chain *c, const struct net_packet *p)
{
	uint64_t room = c->writable.bytes, need = (uint64_t)rx->header_bytes + p->len;
	uint32_t num = 1, i, at = 0;
	int r;

	rx->chains[0] = c;
	while (room < need) {
		/* The first has room for the header, so that this many are never too many. */
		r = vq_another(vq, &rx->chains[num]);
		if (r <= 0)
			return r;
		room += rx->chains[num++]->writable.bytes;
	}
	put_header(rx, c, p, num);
	for (i = 0; i < num; i++) {
		uint32_t len = (uint32_t)MIN((uint64_t)p->len - at, rx->chains[i]->writable.bytes);

		chain_put(rx->chains[i], p->bytes + at, len);
		at += len;
	}
	return 1;
}

/* 1: it is there; 0: not now; -errno: never, and this chain is not to be used again before the
 * queue has rested. */
static inline int deliver(
	struct net_rx *rx, struct vq *vq, struct chain *c, const struct net_packet *p)
{
	struct net_header *later = NULL;

	if (vq->copies)
		later = vq_copy_later(vq->copies, c, rx->header_bytes, p->bytes, p->len);
	if (likely(later)) {
		*later = make_header(p, 1);
		return 1;
	}
	if (likely(c->writable.bytes >= (uint64_t)rx->header_bytes + p->len)) {
		put_header(rx, c, p, 1);
		chain_put(c, p->bytes, p->len);
		return 1;
	}
	return rx->merges ? merge(rx, vq, c, p) : -EMSGSIZE;
}

/* What was steered to this pair (net_steer.c). */
static enum serve_verdict serve_steered(struct net_rx *rx, struct vq *vq, struct chain *c)
{
	struct net_packet p;
	int r;

	if (c->writable.bytes < rx->header_bytes)
		return SERVE_DONE;
	while (net_backlog_peek(&rx->backlog, &p)) {
		r = deliver(rx, vq, c, &p);
		if (!r || r == -EPROTO)
			return SERVE_RETRY;
		net_backlog_next(&rx->backlog);
		if (r > 0) {
			count(rx, &p);
			return SERVE_DONE;
		}
		net_add(&rx->stats.drops, 1);
		net_add(&rx->stats.overruns, 1);
		if (r == -ENOBUFS) {
			vq_resume(vq);
			return SERVE_RETRY;
		}
	}
	return SERVE_RETRY;
}

enum serve_verdict net_serve_rx(struct net_rx *rx, struct vq *vq, struct chain *c)
{
	unsigned int unwanted = 0;
	struct net_packet p;
	int r;

	if (!rx->chan)
		return rx->backlog.num ? serve_steered(rx, vq, c) : SERVE_RETRY;
	if (c->writable.bytes < rx->header_bytes)
		return SERVE_DONE;
	while (net_peek(rx->chan, &p)) {
		r = is_wanted(rx, &p) ? deliver(rx, vq, c, &p) : -ENOENT;
		if (!r || r == -EPROTO)
			return SERVE_RETRY;
		if (likely(r > 0)) {
			count(rx, &p);
			net_next(rx->chan);
			return SERVE_DONE;
		}
		net_next(rx->chan);
		if (r != -ENOENT) {
			net_add(&rx->stats.drops, 1);
			net_add(&rx->stats.overruns, 1);
		}
		if (r == -ENOBUFS || ++unwanted == UNWANTED_MAX) {
			vq_resume(vq);
			return SERVE_RETRY;
		}
	}
	return SERVE_RETRY;
}

/* --- life --- */

static void on_ready(void *opaque)
{
	vq_resume(((struct net_rx *)opaque)->vq);
}

void net_tell_offloads(struct vnet *n)
{
	static const struct {
		unsigned int bit, ours;
	} bits[] = {
		{ VIRTIO_NET_F_GUEST_CSUM, NET_CSUM },
		{ VIRTIO_NET_F_GUEST_TSO4, NET_TSO4 },
		{ VIRTIO_NET_F_GUEST_TSO6, NET_TSO6 },
		{ VIRTIO_NET_F_GUEST_ECN, NET_ECN },
	};
	const uint64_t uso = 1ull << VIRTIO_NET_F_GUEST_USO4 | 1ull << VIRTIO_NET_F_GUEST_USO6;
	uint64_t can = atomic_load(&n->guest_offloads) & n->dev.driver_features.word[0];
	unsigned int offloads = 0;
	size_t i;

	for (i = 0; i < ARRAY_SIZE(bits); i++)
		if (can >> bits[i].bit & 1)
			offloads |= bits[i].ours;
	/* The kernel has one switch for both. */
	if ((can & uso) == uso)
		offloads |= NET_USO;
	net_set_offloads(n->net, offloads);
}

static bool is_in_use(const struct net_rx *rx)
{
	const struct vnet *n = rx->net;

	/* Others have a part only where packets are steered. */
	if (rx->pair >= n->net->num_pairs)
		return false;
	/* A front-end that keeps the control queue to itself starts the queues that are used. */
	if (!net_has(n, VIRTIO_NET_F_CTRL_VQ))
		return true;
	return rx->pair < atomic_load(&n->pairs_in_use);
}

int net_rx_sync(struct net_rx *rx, struct err *err)
{
	bool want = rx->vq && !rx->backlog.bytes && is_in_use(rx);

	if (!want) {
		net_chan_close(rx->chan);
		rx->chan = NULL;
		return 0;
	}
	if (rx->chan)
		return 0;
	vq_resume(rx->vq);
	return net_chan_open(
		rx->net->net, rx->pair, NET_IN, rx->vq->loop, on_ready, rx, &rx->chan, err);
}

int net_rx_start(struct net_rx *rx, struct vq *vq, struct err *err)
{
	rx->vq = vq;
	rx->header_bytes = net_header_bytes(rx->net);
	rx->merges = net_has(rx->net, VIRTIO_NET_F_MRG_RXBUF);
	rx->chains = xnew_n(struct chain *, vq->num);
	/* A backlog's packets make room for others. */
	vq->copies = rx->net->net->stays && !net_steers(rx->net) ? &rx->copies : NULL;
	net_tell_offloads(rx->net);
	net_coalesce_start(rx->net, vq);
	if (net_steers(rx->net))
		return net_steer_start(rx, err);
	return net_rx_sync(rx, err);
}

void net_rx_stop(struct net_rx *rx)
{
	if (rx->vq)
		rx->vq->copies = NULL;
	rx->vq = NULL;
	net_steer_stop(rx);
	net_rx_sync(rx, NULL);
	free(rx->chains);
	rx->chains = NULL;
}
