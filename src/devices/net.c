/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * virtio-net: the card itself. Pairs of queues and a control queue between the driver and one
 * network (backends/net.h), features as far as that network can, the configuration space.
 *
 * Queues: a receive and a transmit queue for each pair, then the control queue; a driver that does
 * not know of several pairs has its control queue right behind the first.
 */
#include "devices/net.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/alloc.h"
#include "devices/net_int.h"

#define NET_QUEUE_SIZE 256
/* virtio 1.4, "Device configuration layout" of the network device */
#define VIRTIO_NET_S_LINK_UP  1
#define VIRTIO_NET_S_ANNOUNCE 2
#define NET_MTU_MIN	      68
#define NET_SPEED_UNKNOWN     0xffffffffu
#define NET_DUPLEX_UNKNOWN    0xff

struct net_config_space {
	uint8_t mac[6];
	le16 status, max_virtqueue_pairs, mtu;
	le32 speed;
	uint8_t duplex, rss_max_key_size;
	le16 rss_max_indirection_table_length;
	le32 supported_hash_types;
};

_Static_assert(sizeof(struct net_config_space) == 24, "as in the specification");

enum role { RECEIVE, TRANSMIT, CONTROL, UNUSED };

static enum role role_of(const struct vnet *n, const struct vq *vq)
{
	if (net_has(n, VIRTIO_NET_F_CTRL_VQ) && vq->index == net_ctrl_index(n))
		return CONTROL;
	if (vq->index >= 2 * n->num_pairs)
		return UNUSED;
	return vq->index % 2 ? TRANSMIT : RECEIVE;
}

uint32_t net_header_bytes(const struct vnet *n)
{
	return net_has(n, VIRTIO_F_VERSION_1) || net_has(n, VIRTIO_NET_F_MRG_RXBUF)
		       ? sizeof(struct net_header)
		       : NET_HEADER_LEGACY_BYTES;
}

void net_forget_commands(struct vnet *n)
{
	size_t i;

	/* Until it says otherwise a driver gets everything. */
	atomic_fetch_and(&n->rx_mode, 1u << RX_PULLED);
	atomic_fetch_or(&n->rx_mode, 1u << RX_PROMISC);
	atomic_store(&n->mac, n->first_mac);
	atomic_store(&n->num_uni, 0);
	atomic_store(&n->num_multi, 0);
	for (i = 0; i < ARRAY_SIZE(n->vlans); i++)
		atomic_store(&n->vlans[i], 0);
	atomic_store(&n->pairs_in_use, 1);
	net_rss_spread(&n->steer.rss, 1);
	net_coalesce_forget(n);
	atomic_store(&n->guest_offloads, UINT64_MAX);
	atomic_store(&n->announce, false);
}

/* --- life --- */

/* As QEMU's: 52:54:00:12:34:56, and from there on. */
static uint64_t next_mac(void)
{
	static uint8_t num;
	const uint8_t mac[6] = { 0x52, 0x54, 0x00, 0x12, 0x34, (uint8_t)(0x56 + num++) };

	return net_mac(mac);
}

static int parse_mac(struct vnet *n, struct err *err)
{
	unsigned int b[6];
	uint8_t mac[6];
	char rest;
	int i;

	if (!n->mac_text) {
		n->first_mac = next_mac();
		return 0;
	}
	if (strspn(n->mac_text, "0123456789abcdefABCDEF:") != strlen(n->mac_text) ||
		sscanf(n->mac_text, "%2x:%2x:%2x:%2x:%2x:%2x%c", &b[0], &b[1], &b[2], &b[3], &b[4],
			&b[5], &rest) != 6 ||
		b[0] & 1)
		return err_set(err, -EINVAL,
			"%s: mac='%s': expected six bytes, 52:54:00:12:34:56, and no group's "
			"address",
			vdev_label(&n->dev), n->mac_text);
	for (i = 0; i < 6; i++)
		mac[i] = (uint8_t)b[i];
	n->first_mac = net_mac(mac);
	return 0;
}

static void put_mac(uint64_t mac, uint8_t *ret)
{
	int i;

	for (i = 0; i < 6; i++)
		ret[i] = (uint8_t)(mac >> (8 * i));
}

static bool link_is_up(const struct vnet *n)
{
	return net_link_up(n->net) && !net_is_pulled(n);
}

static void on_link(void *opaque)
{
	struct vnet *n = opaque;

	/* Whoever is behind the link now has to learn where the guest is. */
	if (link_is_up(n) && net_has(n, VIRTIO_NET_F_GUEST_ANNOUNCE))
		atomic_store(&n->announce, true);
	vdev_config_changed(&n->dev);
}

void virtio_net_set_link(struct vdev *dev, bool up)
{
	struct vnet *n = vnet_of(dev);
	bool was_up = link_is_up(n);

	if (up)
		atomic_fetch_and(&n->rx_mode, ~(1u << RX_PULLED));
	else
		atomic_fetch_or(&n->rx_mode, 1u << RX_PULLED);
	if (link_is_up(n) != was_up)
		on_link(n);
}

static int check_owner(struct vnet *n, const char *option, enum net_kind kind, struct err *err)
{
	if (n->netdev == (int)kind)
		return 0;
	return err_set(err, -EINVAL, "%s: %s= is for netdev=%s, and this is %s",
		vdev_label(&n->dev), option, net_kinds[kind], net_kinds[n->netdev]);
}

/* Where packets are steered by us the network need not tell pairs apart. */
static unsigned int pairs_of_net(const struct vnet *n)
{
	return n->scales ? MIN(n->num_pairs, net_max_pairs((enum net_kind)n->netdev))
			 : n->num_pairs;
}

static int open_net(struct vnet *n, struct err *err)
{
	struct net_config config = { .kind = (enum net_kind)n->netdev,
		.id = vdev_label(&n->dev),
		.num_pairs = pairs_of_net(n),
		.source_bytes = n->source_bytes,
		.ifname = n->ifname,
		.path = n->path,
		.server = n->server,
		.local = n->local,
		.remote = n->remote,
		.hostfwd = n->hostfwd,
		.restricted = n->restricted };
	static const struct {
		const char *option;
		size_t offset;
		enum net_kind kind;
	} owners[] = {
		{ "ifname", offsetof(struct vnet, ifname), NET_TAP },
		{ "path", offsetof(struct vnet, path), NET_STREAM },
		{ "local", offsetof(struct vnet, local), NET_DGRAM },
		{ "remote", offsetof(struct vnet, remote), NET_DGRAM },
		{ "hostfwd", offsetof(struct vnet, hostfwd), NET_USER },
	};
	struct err why = { 0 };
	size_t i;
	int r = 0;

	for (i = 0; i < ARRAY_SIZE(owners) && !r; i++)
		if (*(char **)((char *)n + owners[i].offset))
			r = check_owner(n, owners[i].option, owners[i].kind, err);
	if (!r && n->restricted)
		r = check_owner(n, "restrict", NET_USER, err);
	if (!r && n->server)
		r = check_owner(n, "server", NET_STREAM, err);
	if (!r && n->source_bytes)
		r = check_owner(n, "source", NET_NULL, err);
	if (r < 0)
		return r;
	put_mac(n->first_mac, config.mac);
	r = net_open(&config, n->dev.main_loop, on_link, n, &n->net, &why);
	return r < 0 ? err_set(err, r, "%s: %s", vdev_label(&n->dev), why.msg) : 0;
}

static void offer_offloads(struct vnet *n)
{
	static const struct {
		unsigned int ours, host, guest;
	} bits[] = {
		{ NET_CSUM, VIRTIO_NET_F_CSUM, VIRTIO_NET_F_GUEST_CSUM },
		{ NET_TSO4, VIRTIO_NET_F_HOST_TSO4, VIRTIO_NET_F_GUEST_TSO4 },
		{ NET_TSO6, VIRTIO_NET_F_HOST_TSO6, VIRTIO_NET_F_GUEST_TSO6 },
		{ NET_ECN, VIRTIO_NET_F_HOST_ECN, VIRTIO_NET_F_GUEST_ECN },
		{ NET_USO, VIRTIO_NET_F_HOST_USO, VIRTIO_NET_F_GUEST_USO4 },
		{ NET_USO, VIRTIO_NET_F_HOST_USO, VIRTIO_NET_F_GUEST_USO6 },
	};
	struct virtio_features *f = &n->dev.device_features;
	size_t i;

	if (!n->offloads || !n->net->offloads)
		return;
	for (i = 0; i < ARRAY_SIZE(bits); i++) {
		if (!(n->net->offloads & bits[i].ours))
			continue;
		virtio_features_set(f, bits[i].host, true);
		virtio_features_set(f, bits[i].guest, true);
	}
	virtio_features_set(f, VIRTIO_NET_F_CTRL_GUEST_OFFLOADS, n->control);
}

static void net_offer(struct vnet *n)
{
	static const unsigned int with_control[] = { VIRTIO_NET_F_CTRL_VQ, VIRTIO_NET_F_CTRL_RX,
		VIRTIO_NET_F_CTRL_RX_EXTRA, VIRTIO_NET_F_CTRL_VLAN, VIRTIO_NET_F_CTRL_MAC_ADDR,
		VIRTIO_NET_F_GUEST_ANNOUNCE, VIRTIO_NET_F_DEVICE_STATS };
	struct virtio_features *f = &n->dev.device_features;
	size_t i;

	virtio_features_set(f, VIRTIO_NET_F_MAC, true);
	virtio_features_set(f, VIRTIO_NET_F_STATUS, true);
	virtio_features_set(f, VIRTIO_NET_F_MRG_RXBUF, n->mergeable);
	virtio_features_set(f, VIRTIO_NET_F_MQ, n->num_pairs > 1);
	virtio_features_set(f, VIRTIO_NET_F_RSS, n->scales);
	virtio_features_set(f, VIRTIO_NET_F_NOTF_COAL, n->coalesces);
	virtio_features_set(f, VIRTIO_NET_F_VQ_NOTF_COAL, n->coalesces);
	virtio_features_set(f, VIRTIO_NET_F_MTU, n->mtu > 0);
	virtio_features_set(f, VIRTIO_NET_F_SPEED_DUPLEX, n->speed || n->duplex);
	for (i = 0; i < ARRAY_SIZE(with_control); i++)
		virtio_features_set(f, with_control[i], n->control);
	offer_offloads(n);
}

static int net_realize(struct vdev *dev, struct err *err)
{
	struct vnet *n = vnet_of(dev);
	unsigned int i;
	int r;

	if (n->mtu && n->mtu < NET_MTU_MIN)
		return err_set(err, -EINVAL, "%s: host_mtu=%u: expected 0, or %u to 65535",
			vdev_label(dev), n->mtu, NET_MTU_MIN);
	if (n->num_pairs > 1 && !n->control)
		return err_set(err, -EINVAL, "%s: queues=%u needs ctrl_vq=on", vdev_label(dev),
			n->num_pairs);
	if (n->coalesces && !n->control)
		return err_set(err, -EINVAL, "%s: notf_coal=on needs ctrl_vq=on", vdev_label(dev));
	if (n->scales && n->num_pairs < 2)
		return err_set(
			err, -EINVAL, "%s: rss=on needs queues= of 2 or more", vdev_label(dev));
	r = parse_mac(n, err);
	if (!r)
		r = open_net(n, err);
	if (r < 0)
		return r;
	n->rx = xnew_n(struct net_rx, n->num_pairs);
	n->tx = xnew_n(struct net_tx, n->num_pairs);
	for (i = 0; i < n->num_pairs; i++) {
		n->rx[i].net = n->tx[i].net = n;
		n->rx[i].pair = i;
		n->rx[i].sync_post.fn = net_ctrl_on_sync_rx;
		n->tx[i].sync_post.fn = net_ctrl_on_sync_tx;
	}
	n->ctrl.done_post.fn = net_ctrl_on_done;
	n->steer.work.fn = net_steer_on_work;
	dev->needs_one_loop = n->scales ? "rss=on" : NULL;
	net_forget_commands(n);
	net_offer(n);
	vdev_set_queues(dev, 2 * n->num_pairs + n->control, NET_QUEUE_SIZE);
	dev->num_queue_groups = n->num_pairs;
	return 0;
}

static void net_unrealize(struct vdev *dev)
{
	struct vnet *n = vnet_of(dev);

	net_free(n->net);
	free(n->rx);
	free(n->tx);
	n->net = NULL;
	n->rx = NULL;
	n->tx = NULL;
}

static void net_reset(struct vdev *dev)
{
	net_forget_commands(vnet_of(dev));
}

static int net_queue_start(struct vdev *dev, struct vq *vq, struct err *err)
{
	struct vnet *n = vnet_of(dev);
	enum role role = role_of(n, vq);

	/* Features do not change while it runs. */
	vq->opaque = (void *)(uintptr_t)role;
	if (n->scales && vq->loop != dev->queues[0].loop)
		return err_set(err, -EINVAL, "rss=on needs all queues on one loop");
	switch (role) {
	case RECEIVE: return net_rx_start(&n->rx[vq->index / 2], vq, err);
	case TRANSMIT: return net_tx_start(&n->tx[vq->index / 2], vq, err);
	case CONTROL: net_ctrl_start(n, vq); return 0;
	case UNUSED: return 0;
	}
	return 0;
}

static void net_queue_stop(struct vdev *dev, struct vq *vq)
{
	struct vnet *n = vnet_of(dev);

	switch ((enum role)(uintptr_t)vq->opaque) {
	case RECEIVE: net_rx_stop(&n->rx[vq->index / 2]); break;
	case TRANSMIT: net_tx_stop(&n->tx[vq->index / 2]); break;
	case CONTROL: net_ctrl_stop(n); break;
	case UNUSED: break;
	}
}

static enum serve_verdict net_serve(struct vdev *dev, struct vq *vq, struct chain *c)
{
	struct vnet *n = vnet_of(dev);

	switch ((enum role)(uintptr_t)vq->opaque) {
	case RECEIVE: return net_serve_rx(&n->rx[vq->index / 2], vq, c);
	case TRANSMIT: return net_serve_tx(&n->tx[vq->index / 2], vq, c);
	case CONTROL: return net_serve_ctrl(n, vq, c);
	case UNUSED: break;
	}
	return SERVE_RETRY;
}

/* --- configuration space --- */

static void net_get_config(struct vdev *dev, void *config)
{
	struct vnet *n = vnet_of(dev);
	struct net_config_space *c = config;
	uint16_t status = 0;

	put_mac(atomic_load(&n->mac), c->mac);
	if (link_is_up(n))
		status |= VIRTIO_NET_S_LINK_UP;
	if (atomic_load(&n->announce))
		status |= VIRTIO_NET_S_ANNOUNCE;
	c->status = le16_make(status);
	c->max_virtqueue_pairs = le16_make((uint16_t)n->num_pairs);
	c->mtu = le16_make((uint16_t)n->mtu);
	c->speed = le32_make(n->speed ? n->speed : NET_SPEED_UNKNOWN);
	/* The choices' order: unknown, half, full. */
	c->duplex = n->duplex ? (uint8_t)(n->duplex - 1) : NET_DUPLEX_UNKNOWN;
	if (!n->scales)
		return;
	c->rss_max_key_size = NET_RSS_KEY_MAX;
	c->rss_max_indirection_table_length = le16_make(NET_RSS_TABLE_MAX);
	c->supported_hash_types = le32_make(NET_RSS_TYPES);
}

/* Only an old driver writes here: its address, where it has no command for that. */
static void net_set_config(struct vdev *dev, size_t offset, const void *bytes, size_t len)
{
	struct vnet *n = vnet_of(dev);
	uint8_t mac[6];

	if (offset >= sizeof(mac) || net_has(n, VIRTIO_F_VERSION_1) ||
		net_has(n, VIRTIO_NET_F_CTRL_MAC_ADDR))
		return;
	put_mac(atomic_load(&n->mac), mac);
	memcpy(mac + offset, bytes, MIN(len, sizeof(mac) - offset));
	atomic_store(&n->mac, net_mac(mac));
}

/* --- options --- */

static const char *const duplex_choices[] = { "unknown", "half", "full", NULL };

static const struct option_spec net_options[] = {
	{ "netdev", OPTION_ENUM, offsetof(struct vnet, netdev), "user", 0, 0, net_kinds,
		"what is behind it: user (libslirp), tap, unix sockets, or nothing (for "
		"measuring)" },
	{ "hostfwd", OPTION_STRING, offsetof(struct vnet, hostfwd), NULL, 0, 0, NULL,
		"user: [tcp|udp]:[HOSTADDR]:PORT-[GUESTADDR]:PORT, several with a + between" },
	{ "restrict", OPTION_BOOL, offsetof(struct vnet, restricted), "off", 0, 0, NULL,
		"user: nobody outside is reached but through hostfwd" },
	{ "ifname", OPTION_STRING, offsetof(struct vnet, ifname), NULL, 0, 0, NULL,
		"tap: the interface's name" },
	{ "path", OPTION_STRING, offsetof(struct vnet, path), NULL, 0, 0, NULL,
		"stream: the socket (a path or fd=N)" },
	{ "server", OPTION_BOOL, offsetof(struct vnet, server), "off", 0, 0, NULL,
		"stream: wait there for a peer instead of dialling it" },
	{ "local", OPTION_STRING, offsetof(struct vnet, local), NULL, 0, 0, NULL,
		"dgram: our socket (a path or fd=N)" },
	{ "remote", OPTION_STRING, offsetof(struct vnet, remote), NULL, 0, 0, NULL,
		"dgram: the peer's socket" },
	{ "source", OPTION_U32, offsetof(struct vnet, source_bytes), "0", 0, NET_PACKET_MAX, NULL,
		"null: packets of so many bytes come in without end" },
	{ "mac", OPTION_STRING, offsetof(struct vnet, mac_text), NULL, 0, 0, NULL,
		"its address; 52:54:00:12:34:56 and following if not given" },
	{ "queues", OPTION_U32, offsetof(struct vnet, num_pairs), "1", 1, NET_PAIRS_MAX, NULL,
		"pairs of queues; more than one with tap, null and rss=on" },
	{ "rss", OPTION_BOOL, offsetof(struct vnet, scales), "off", 0, 0, NULL,
		"offer receive-side scaling: packets go to the queue that the driver says" },
	{ "host_mtu", OPTION_U32, offsetof(struct vnet, mtu), "0", 0, 65535, NULL,
		"largest packet behind its Ethernet header, told to the driver; 0: nothing is" },
	{ "speed", OPTION_U32, offsetof(struct vnet, speed), "0", 0, INT32_MAX, NULL,
		"in Mb/s, told to the driver; 0: unknown" },
	{ "duplex", OPTION_ENUM, offsetof(struct vnet, duplex), "unknown", 0, 0, duplex_choices,
		"told to the driver" },
	{ "mrg_rxbuf", OPTION_BOOL, offsetof(struct vnet, mergeable), "on", 0, 0, NULL,
		"offer VIRTIO_NET_F_MRG_RXBUF" },
	{ "ctrl_vq", OPTION_BOOL, offsetof(struct vnet, control), "on", 0, 0, NULL,
		"offer a control queue and what goes by it" },
	{ "notf_coal", OPTION_BOOL, offsetof(struct vnet, coalesces), "off", 0, 0, NULL,
		"offer notification coalescing: interrupts wait as the driver says" },
	{ "offloads", OPTION_BOOL, offsetof(struct vnet, offloads), "on", 0, 0, NULL,
		"offer checksums and segments as far as what is behind it can" },
	{ NULL },
};

const struct vdev_class virtio_net_class = {
	.name = "virtio-net",
	.description = "network card",
	.virtio_id = 1,
	.instance_bytes = sizeof(struct vnet),
	.config_bytes = sizeof(struct net_config_space),
	.options = net_options,
	.takes_vq_mapping = true,
	.realize = net_realize,
	.unrealize = net_unrealize,
	.get_config = net_get_config,
	.set_config = net_set_config,
	.serve = net_serve,
	.queue_start = net_queue_start,
	.queue_stop = net_queue_stop,
	.reset = net_reset,
};
