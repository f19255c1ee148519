/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Packets from the driver. The header is parsed from a copy and judged before anybody else sees it;
 * the packet goes on unread. A packet has no status: one that is malformed is dropped and counted,
 * and its chain comes back like any other.
 *
 * Malformed: no whole header, fewer bytes than an Ethernet header or more than a packet can have, a
 * checksum that lies beyond the packet, segments of no bytes, and what was not negotiated. hdr_len
 * is a hint that nobody relies on; it is cut to the packet's length.
 */
#include <errno.h>

#include "devices/net_int.h"

static bool gso_is_sound(const struct vnet *n, const struct net_offload *o)
{
	static const struct {
		uint8_t type, bit;
	} types[] = {
		{ VIRTIO_NET_HDR_GSO_TCPV4, VIRTIO_NET_F_HOST_TSO4 },
		{ VIRTIO_NET_HDR_GSO_TCPV6, VIRTIO_NET_F_HOST_TSO6 },
		{ VIRTIO_NET_HDR_GSO_UDP_L4, VIRTIO_NET_F_HOST_USO },
	};
	bool ecn = o->gso_type & VIRTIO_NET_HDR_GSO_ECN;
	uint8_t type = o->gso_type & (uint8_t)~VIRTIO_NET_HDR_GSO_ECN;
	size_t i;

	if (!o->gso_size || !(o->flags & VIRTIO_NET_HDR_F_NEEDS_CSUM))
		return false;
	if (ecn && (type == VIRTIO_NET_HDR_GSO_UDP_L4 || !net_has(n, VIRTIO_NET_F_HOST_ECN)))
		return false;
	for (i = 0; i < ARRAY_SIZE(types); i++)
		if (types[i].type == type)
			return net_has(n, types[i].bit);
	return false;
}

/* Fills @ret with what is left to do to the packet of @len bytes; false where that makes no sense.
 */
static bool offload_of(
	const struct vnet *n, const struct net_header *h, uint64_t len, struct net_offload *ret)
{
	*ret = (struct net_offload){ 0 };
	/* DATA_VALID is not the driver's to say. */
	ret->flags = h->flags & VIRTIO_NET_HDR_F_NEEDS_CSUM;
	if (ret->flags) {
		ret->csum_start = le16_get(h->csum_start);
		ret->csum_offset = le16_get(h->csum_offset);
		if ((uint64_t)ret->csum_start + ret->csum_offset + 2 > len ||
			!net_has(n, VIRTIO_NET_F_CSUM))
			return false;
	}
	if (h->gso_type == VIRTIO_NET_HDR_GSO_NONE)
		return true;
	ret->gso_type = h->gso_type;
	ret->gso_size = le16_get(h->gso_size);
	ret->hdr_len = (uint16_t)MIN((uint64_t)le16_get(h->hdr_len), len);
	return gso_is_sound(n, ret);
}

static void count_offload(struct net_tx *tx, const struct net_offload *o, uint32_t len)
{
	uint64_t segments;

	if (o->flags)
		net_add(&tx->stats.needs_csum, 1);
	if (!o->gso_type)
		return;
	segments = (len - o->hdr_len + o->gso_size - 1u) / o->gso_size;
	net_add(&tx->stats.gso_packets, 1);
	net_add(&tx->stats.gso_bytes, len);
	net_add(&tx->stats.gso_segments, segments);
	net_add(&tx->stats.gso_segment_bytes, len + (segments ? segments - 1 : 0) * o->hdr_len);
}

static void count(struct net_tx *tx, const struct net_offload *o, uint32_t len)
{
	net_add(&tx->stats.packets, 1);
	net_add(&tx->stats.bytes, len);
	if (unlikely(o->flags))
		count_offload(tx, o, len);
}

static enum serve_verdict drop(struct net_tx *tx, bool malformed)
{
	net_add(&tx->stats.drops, 1);
	if (malformed)
		net_add(&tx->stats.malformed, 1);
	return SERVE_DONE;
}

static enum serve_verdict hand_over(
	struct net_tx *tx, struct chain *c, const struct net_offload *o, uint32_t len)
{
	int r = net_send_iov(tx->chan, o, c->readable.iov, (unsigned int)c->readable.num_iov);

	if (r == -EAGAIN)
		return SERVE_RETRY;
	chain_skip(c, len);
	if (r < 0)
		return drop(tx, false);
	count(tx, o, len);
	return SERVE_DONE;
}

static bool take_header(const struct net_tx *tx, struct chain *c, struct net_header *ret)
{
	/* A length that the compiler knows is two loads. */
	if (likely(tx->header_bytes == sizeof(*ret)))
		return chain_read(c, ret, sizeof(*ret));
	return chain_read(c, ret, tx->header_bytes);
}

enum serve_verdict net_serve_tx(struct net_tx *tx, struct vq *vq, struct chain *c)
{
	struct net_offload offload;
	struct net_header header;
	uint32_t len;
	void *room;

	(void)vq;
	if (!take_header(tx, c, &header) || c->readable.bytes < NET_FRAME_MIN ||
		c->readable.bytes > NET_PACKET_MAX)
		return drop(tx, true);
	if (unlikely(net_is_pulled(tx->net)))
		return drop(tx, false);
	len = (uint32_t)c->readable.bytes;
	if (!offload_of(tx->net, &header, len, &offload))
		return drop(tx, true);
	if (tx->net->net->takes_iov)
		return hand_over(tx, c, &offload, len);
	room = net_room(tx->chan, len);
	if (!room)
		return SERVE_RETRY;
	chain_read(c, room, len);
	net_send(tx->chan, &offload, len);
	count(tx, &offload, len);
	return SERVE_DONE;
}

static void on_ready(void *opaque)
{
	vq_resume(((struct net_tx *)opaque)->vq);
}

int net_tx_start(struct net_tx *tx, struct vq *vq, struct err *err)
{
	tx->vq = vq;
	tx->header_bytes = net_header_bytes(tx->net);
	net_coalesce_start(tx->net, vq);
	if (net_shares_out(tx->net))
		return net_share_out(tx, err);
	return net_chan_open(
		tx->net->net, vq->index / 2, NET_OUT, vq->loop, on_ready, tx, &tx->chan, err);
}

void net_tx_stop(struct net_tx *tx)
{
	if (net_shares_out(tx->net))
		net_unshare_out(tx);
	else
		net_chan_close(tx->chan);
	tx->chan = NULL;
	tx->vq = NULL;
}
