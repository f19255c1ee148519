/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * What the files of virtio-net share. A pair's receive side belongs to the loop of its receive
 * queue, its transmit side to that of its transmit queue, what the control queue is at to that
 * one's. What commands set and packets are judged by is atomic: a packet that arrives during a
 * change meets the old or the new.
 */
#ifndef DEVICES_NET_INT_H
#define DEVICES_NET_INT_H

#include <stdatomic.h>

#include "backends/net.h"
#include "base/le.h"
#include "devices/net.h"
#include "devices/net_backlog.h"
#include "devices/net_rss.h"
#include "virtio/vq_coalesce.h"
#include "virtio/vq_copies.h"

/* virtio 1.4, "Network Device", "Feature bits" */
#define VIRTIO_NET_F_CSUM		 0
#define VIRTIO_NET_F_GUEST_CSUM		 1
#define VIRTIO_NET_F_CTRL_GUEST_OFFLOADS 2
#define VIRTIO_NET_F_MTU		 3
#define VIRTIO_NET_F_MAC		 5
#define VIRTIO_NET_F_GUEST_TSO4		 7
#define VIRTIO_NET_F_GUEST_TSO6		 8
#define VIRTIO_NET_F_GUEST_ECN		 9
#define VIRTIO_NET_F_HOST_TSO4		 11
#define VIRTIO_NET_F_HOST_TSO6		 12
#define VIRTIO_NET_F_HOST_ECN		 13
#define VIRTIO_NET_F_MRG_RXBUF		 15
#define VIRTIO_NET_F_STATUS		 16
#define VIRTIO_NET_F_CTRL_VQ		 17
#define VIRTIO_NET_F_CTRL_RX		 18
#define VIRTIO_NET_F_CTRL_VLAN		 19
#define VIRTIO_NET_F_CTRL_RX_EXTRA	 20
#define VIRTIO_NET_F_GUEST_ANNOUNCE	 21
#define VIRTIO_NET_F_MQ			 22
#define VIRTIO_NET_F_CTRL_MAC_ADDR	 23
#define VIRTIO_NET_F_DEVICE_STATS	 50
#define VIRTIO_NET_F_VQ_NOTF_COAL	 52
#define VIRTIO_NET_F_NOTF_COAL		 53
#define VIRTIO_NET_F_GUEST_USO4		 54
#define VIRTIO_NET_F_GUEST_USO6		 55
#define VIRTIO_NET_F_HOST_USO		 56
#define VIRTIO_NET_F_RSS		 60
#define VIRTIO_NET_F_SPEED_DUPLEX	 63

/* virtio 1.4, "Network Device", "Device Operation" */
#define VIRTIO_NET_HDR_F_NEEDS_CSUM 1
#define VIRTIO_NET_HDR_GSO_NONE	    0
#define VIRTIO_NET_HDR_GSO_TCPV4    1
#define VIRTIO_NET_HDR_GSO_TCPV6    4
#define VIRTIO_NET_HDR_GSO_UDP_L4   5
#define VIRTIO_NET_HDR_GSO_ECN	    0x80

/* Before every packet; num_buffers only with VERSION_1 or MRG_RXBUF. */
struct net_header {
	uint8_t flags, gso_type;
	le16 hdr_len, gso_size, csum_start, csum_offset;
	le16 num_buffers;
};

#define NET_HEADER_LEGACY_BYTES 10
#define NET_FRAME_MIN		14

/* The address filter's tables; a longer one counts as all addresses. */
#define NET_MACS_MAX 64
#define NET_VLANS    4096

/* Bits of vnet.rx_mode: class RX's commands, by number. */
enum {
	RX_PROMISC,
	RX_ALLMULTI,
	RX_ALLUNI,
	RX_NOMULTI,
	RX_NOUNI,
	RX_NOBCAST,
	RX_UNI_OVERFLOW, /* a table that is longer than ours */
	RX_MULTI_OVERFLOW,
	RX_PULLED, /* virtio_net_set_link(): nothing comes in, nor goes out */
};

/* Numbers that grow; written by one loop and read by any. */
typedef _Atomic uint64_t net_count;

struct net_rx_stats {
	net_count packets, bytes, drops, overruns;
	net_count needs_csum, csum_valid, gso_packets, gso_bytes;
};

struct net_tx_stats {
	net_count packets, bytes, drops, malformed;
	net_count needs_csum, gso_packets, gso_bytes, gso_segments, gso_segment_bytes;
};

struct vnet;

struct net_rx {
	struct vnet *net;
	unsigned int pair;
	struct vq *vq; /* NULL while stopped */
	/* NULL while stopped, while the pair is not used, and where packets are steered. */
	struct net_chan *chan;
	struct net_backlog backlog; /* of what was steered to it; else without bytes */
	struct chain **chains; /* of one packet; as many as the ring has */
	uint32_t header_bytes;
	bool merges;
	struct vq_copies copies; /* of packets that stay where they are */
	struct loop_post sync_post; /* a command has changed something for this queue */
	struct vq_coalescing coalescing;
	_Atomic uint64_t wish; /* the driver's; net_coalesce.c */
	struct net_rx_stats stats;
};

struct net_tx {
	struct vnet *net;
	struct vq *vq;
	struct net_chan *chan;
	uint32_t header_bytes;
	struct loop_post sync_post;
	struct vq_coalescing coalescing;
	_Atomic uint64_t wish;
	struct net_tx_stats stats;
};

struct net_ctrl {
	struct vq *vq; /* NULL while stopped */
	struct chain *waiting; /* for receive queues on other loops; NULL: nothing */
	struct iovec ack; /* of the command at hand */
	bool ack_first; /* and it is the first byte that is written, not the last */
	_Atomic unsigned int num_pending;
	struct loop_post done_post;
	net_count commands, ok;
};

/* With VIRTIO_NET_F_RSS: how what comes in is spread. Of the one loop of all receive queues. */
struct net_steer {
	struct loop *loop;
	struct net_chan *chan; /* NULL while none of them runs */
	unsigned int num_running;
	struct loop_work work;
	struct net_rss rss;
};

struct vnet {
	struct vdev dev;
	/* Options. */
	int netdev, duplex;
	char *ifname, *path, *local, *remote, *hostfwd, *mac_text;
	bool server, restricted, mergeable, control, offloads, scales, coalesces;
	uint32_t num_pairs, mtu, source_bytes, speed;

	struct net *net;
	struct net_rx *rx;
	struct net_tx *tx;
	struct net_ctrl ctrl;
	struct net_steer steer;
	struct net_chan *shared_out; /* of num_out transmit queues; their loop's */
	unsigned int num_out;
	uint64_t first_mac;
	struct log_limit limit;

	/* What commands set. */
	_Atomic uint64_t mac; /* first byte lowest, as all addresses here */
	_Atomic uint32_t rx_mode;
	_Atomic uint32_t num_uni, num_multi; /* of macs: unicast ones first */
	_Atomic uint64_t macs[NET_MACS_MAX];
	_Atomic uint64_t vlans[NET_VLANS / 64];
	_Atomic uint32_t pairs_in_use;
	_Atomic uint64_t guest_offloads; /* feature bits */
	_Atomic bool announce;
};

static inline struct vnet *vnet_of(struct vdev *dev)
{
	return container_of(dev, struct vnet, dev);
}

static inline bool net_has(const struct vnet *n, unsigned int bit)
{
	return virtio_features_has(&n->dev.driver_features, bit);
}

/* Interrupts wait where the driver said so. */
static inline bool net_coalesces(const struct vnet *n)
{
	return n->coalesces &&
	       (net_has(n, VIRTIO_NET_F_NOTF_COAL) || net_has(n, VIRTIO_NET_F_VQ_NOTF_COAL));
}

/* Packets are steered by the driver's word; some drivers ack what was never offered. */
static inline bool net_steers(const struct vnet *n)
{
	return n->scales && net_has(n, VIRTIO_NET_F_RSS);
}

/* The control queue's place, as far as the driver knows of pairs. */
static inline unsigned int net_ctrl_index(const struct vnet *n)
{
	return net_has(n, VIRTIO_NET_F_MQ) || net_steers(n) ? 2 * n->num_pairs : 2;
}

static inline bool net_is_pulled(const struct vnet *n)
{
	return atomic_load_explicit(&n->rx_mode, memory_order_relaxed) >> RX_PULLED & 1;
}

static inline void net_add(net_count *count, uint64_t n)
{
	uint64_t old = atomic_load_explicit(count, memory_order_relaxed);

	atomic_store_explicit(count, old + n, memory_order_relaxed);
}

static inline uint64_t net_get(net_count *count)
{
	return atomic_load_explicit(count, memory_order_relaxed);
}

static inline uint64_t net_mac(const uint8_t *bytes)
{
	return (uint64_t)le32_read(bytes) | (uint64_t)le16_read(bytes + 4) << 32;
}

/* Of the features at hand: constant while a queue runs. */
uint32_t net_header_bytes(const struct vnet *n);
/* What commands set, as after a reset. */
void net_forget_commands(struct vnet *n);

/* net_rx.c: on the loop of the receive queue. */
int net_rx_start(struct net_rx *rx, struct vq *vq, struct err *err);
void net_rx_stop(struct net_rx *rx);
/* Its channel is there while the queue runs and its pair is in use. */
int net_rx_sync(struct net_rx *rx, struct err *err);
enum serve_verdict net_serve_rx(struct net_rx *rx, struct vq *vq, struct chain *c);
/* Any loop: tells the back end what may be left to do to packets that come in. */
void net_tell_offloads(struct vnet *n);

/* The filter: does the driver want it? Counts what is dropped. */
bool net_wants(struct net_rx *rx, const struct net_packet *p);

/* net_steer.c: on the loop of the receive queues, with VIRTIO_NET_F_RSS. */
int net_steer_start(struct net_rx *rx, struct err *err);
void net_steer_stop(struct net_rx *rx);
void net_steer_on_work(struct loop_work *work);
/* The command's data; false: it is refused, and nothing has changed. */
bool net_steer_configure(struct vnet *n, struct chain *c);
/*
 * Has the network one way out, and one in, for all pairs? Then a transmit queue takes its share of
 * that, on the loop of all transmit queues; tx->chan.
 */
static inline bool net_shares_out(const struct vnet *n)
{
	return n->net->num_pairs < n->num_pairs;
}
int net_share_out(struct net_tx *tx, struct err *err);
void net_unshare_out(struct net_tx *tx);

/* net_tx.c: on the loop of the transmit queue. */
int net_tx_start(struct net_tx *tx, struct vq *vq, struct err *err);
void net_tx_stop(struct net_tx *tx);
enum serve_verdict net_serve_tx(struct net_tx *tx, struct vq *vq, struct chain *c);

/* net_ctrl.c: on the loop of the control queue. */
void net_ctrl_start(struct vnet *n, struct vq *vq);
void net_ctrl_stop(struct vnet *n);
enum serve_verdict net_serve_ctrl(struct vnet *n, struct vq *vq, struct chain *c);
/* Posted to a queue's loop. */
void net_ctrl_on_sync_rx(struct loop_post *post);
void net_ctrl_on_sync_tx(struct loop_post *post);
void net_ctrl_on_done(struct loop_post *post);

/*
 * net_coalesce.c, a queue's loop: interrupts wait as the driver last said; while it runs, from
 * net_coalesce_start() on, which does nothing where that was not negotiated.
 */
void net_coalesce_start(struct vnet *n, struct vq *vq);
void net_coalesce_sync(struct vnet *n, unsigned int queue);
/* Commands; false: refused. Of those that set all queues' loops hear by net_coalesce_sync(). */
bool net_coalesce_all(struct vnet *n, struct chain *c, bool transmit);
bool net_coalesce_one(struct vnet *n, struct chain *c);
bool net_coalesce_get(struct vnet *n, struct chain *c);
void net_coalesce_forget(struct vnet *n);

/* net_stats.c: commands of class STATS; true: the answer is VIRTIO_NET_OK. */
bool net_stats_query(struct vnet *n, struct chain *c);
bool net_stats_get(struct vnet *n, struct chain *c);

#endif
