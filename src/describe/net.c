/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * virtio-net. A transmit request starts with the virtio_net_hdr, whose length depends on the
 * features; behind it the Ethernet header is shown as far as the loaded bytes reach. Virtio 1.4,
 * "Network Device".
 */
#include "describe/types.h"
#include "describe/wire.h"

#include <inttypes.h>
#include <stdio.h>

#define F_MRG_RXBUF	 15
#define F_CTRL_VQ	 17
#define F_MQ		 22
#define F_HASH_TUNNEL	 51
#define F_HASH_REPORT	 57
#define F_RSS		 60
#define F_SPEED_DUPLEX	 63
#define F_GUEST_UDP_GSO	 65
#define F_HOST_UDP_GSO	 67
#define F_OUT_NET_HEADER 69
#define F_IPSEC		 70

static const struct describe_bit features[] = {
	DESCRIBE_BIT(F_IPSEC, "VIRTIO_NET_F_IPSEC", "Inline IPsec processing supported"),
	DESCRIBE_BIT(F_OUT_NET_HEADER, "VIRTIO_NET_F_OUT_NET_HEADER",
		"Driver can give the offset of the outer network header"),
	DESCRIBE_BIT(68, "VIRTIO_NET_F_HOST_UDP_TUNNEL_GSO_CSUM",
		"Device handles partial checksum of the outer header of UDP tunnels"),
	DESCRIBE_BIT(F_HOST_UDP_GSO, "VIRTIO_NET_F_HOST_UDP_TUNNEL_GSO",
		"Device can receive GSO packets in UDP tunnels"),
	DESCRIBE_BIT(66, "VIRTIO_NET_F_GUEST_UDP_TUNNEL_GSO_CSUM",
		"Driver handles partial checksum of the outer header of UDP tunnels"),
	DESCRIBE_BIT(F_GUEST_UDP_GSO, "VIRTIO_NET_F_GUEST_UDP_TUNNEL_GSO",
		"Driver can receive GSO packets in UDP tunnels"),
	DESCRIBE_BIT(64, "VIRTIO_NET_F_RSS_CONTEXT", "Several RSS contexts supported"),
	DESCRIBE_BIT(6, "VIRTIO_NET_F_GSO", "Handling GSO-type packets supported"),
	DESCRIBE_BIT(F_SPEED_DUPLEX, "VIRTIO_NET_F_SPEED_DUPLEX", "Device tells speed and duplex"),
	DESCRIBE_BIT(62, "VIRTIO_NET_F_STANDBY", "Device can stand by for a primary one"),
	DESCRIBE_BIT(
		61, "VIRTIO_NET_F_RSC_EXT", "Coalesced segments and duplicated ACKs are counted"),
	DESCRIBE_BIT(F_RSS, "VIRTIO_NET_F_RSS", "Receive-side scaling supported"),
	DESCRIBE_BIT(59, "VIRTIO_NET_F_GUEST_HDRLEN", "Driver gives the exact header length"),
	DESCRIBE_BIT(F_HASH_REPORT, "VIRTIO_NET_F_HASH_REPORT", "Device can report packet hashes"),
	DESCRIBE_BIT(56, "VIRTIO_NET_F_HOST_USO", "Device can receive USO"),
	DESCRIBE_BIT(55, "VIRTIO_NET_F_GUEST_USO6", "Driver can receive USOv6"),
	DESCRIBE_BIT(54, "VIRTIO_NET_F_GUEST_USO4", "Driver can receive USOv4"),
	DESCRIBE_BIT(53, "VIRTIO_NET_F_NOTF_COAL", "Notification coalescing supported"),
	DESCRIBE_BIT(52, "VIRTIO_NET_F_VQ_NOTF_COAL", "Notification coalescing for single VQs"),
	DESCRIBE_BIT(F_HASH_TUNNEL, "VIRTIO_NET_F_HASH_TUNNEL",
		"Hash over the inner header of tunnelled packets"),
	DESCRIBE_BIT(50, "VIRTIO_NET_F_DEVICE_STATS", "Device statistics through control channel"),
	/* crosvm offers SUSPEND under this number, which the standard then gave to 43. */
	DESCRIBE_BIT(42, "VIRTIO_NET_F_GUEST_RSC6",
		"Device coalesces TCPv6 packets (or a pre-standard SUSPEND)"),
	DESCRIBE_LEGACY_BIT(41, "VIRTIO_NET_F_GUEST_RSC4", "Device coalesces TCPv4 packets"),
	DESCRIBE_BIT(23, "VIRTIO_NET_F_CTRL_MAC_ADDR", "MAC address set through control channel"),
	DESCRIBE_BIT(F_MQ, "VIRTIO_NET_F_MQ", "Multiqueue with automatic receive steering"),
	DESCRIBE_BIT(
		21, "VIRTIO_NET_F_GUEST_ANNOUNCE", "Driver sending gratuitous packets supported"),
	DESCRIBE_BIT(20, "VIRTIO_NET_F_CTRL_RX_EXTRA", "Extra RX mode control supported"),
	DESCRIBE_BIT(19, "VIRTIO_NET_F_CTRL_VLAN", "Control channel VLAN filtering supported"),
	DESCRIBE_BIT(18, "VIRTIO_NET_F_CTRL_RX", "Control channel RX mode supported"),
	DESCRIBE_BIT(F_CTRL_VQ, "VIRTIO_NET_F_CTRL_VQ", "Control channel available"),
	DESCRIBE_BIT(16, "VIRTIO_NET_F_STATUS", "Configuration status field available"),
	DESCRIBE_BIT(F_MRG_RXBUF, "VIRTIO_NET_F_MRG_RXBUF", "Driver can merge receive buffers"),
	DESCRIBE_BIT(14, "VIRTIO_NET_F_HOST_UFO", "Device can receive UFO"),
	DESCRIBE_BIT(13, "VIRTIO_NET_F_HOST_ECN", "Device can receive TSO with ECN"),
	DESCRIBE_BIT(12, "VIRTIO_NET_F_HOST_TSO6", "Device can receive TSOv6"),
	DESCRIBE_BIT(11, "VIRTIO_NET_F_HOST_TSO4", "Device can receive TSOv4"),
	DESCRIBE_BIT(10, "VIRTIO_NET_F_GUEST_UFO", "Driver can receive UFO"),
	DESCRIBE_BIT(9, "VIRTIO_NET_F_GUEST_ECN", "Driver can receive TSO with ECN"),
	DESCRIBE_BIT(8, "VIRTIO_NET_F_GUEST_TSO6", "Driver can receive TSOv6"),
	DESCRIBE_BIT(7, "VIRTIO_NET_F_GUEST_TSO4", "Driver can receive TSOv4"),
	DESCRIBE_BIT(5, "VIRTIO_NET_F_MAC", "Device has given MAC address"),
	DESCRIBE_BIT(3, "VIRTIO_NET_F_MTU", "Device tells its largest MTU"),
	DESCRIBE_BIT(2, "VIRTIO_NET_F_CTRL_GUEST_OFFLOADS",
		"Control channel offloading reconfig. supported"),
	DESCRIBE_BIT(1, "VIRTIO_NET_F_GUEST_CSUM",
		"Driver handling packets with partial checksum supported"),
	DESCRIBE_BIT(
		0, "VIRTIO_NET_F_CSUM", "Device handling packets with partial checksum supported"),
};

static const struct describe_config config[] = {
	{ .name = "mac", .offset = 0, .size = 6, .kind = DESCRIBE_BYTES, .need1 = 5 + 1 },
	CFG_IF("status", 6, 2, 16),
	CFG_IF_ANY("max_virtqueue_pairs", 8, 2, F_MQ, F_RSS),
	CFG_IF("mtu", 10, 2, 3),
	CFG_IF("speed", 12, 4, F_SPEED_DUPLEX),
	CFG_IF("duplex", 16, 1, F_SPEED_DUPLEX),
	CFG_IF_ANY("rss_max_key_size", 17, 1, F_RSS, F_HASH_REPORT),
	CFG_IF("rss_max_indirection_table_length", 18, 2, F_RSS),
	CFG_IF_ANY("supported_hash_types", 20, 4, F_RSS, F_HASH_REPORT),
	CFG_IF("supported_tunnel_types", 24, 4, F_HASH_TUNNEL),
};

enum role {
	RECEIVE,
	TRANSMIT,
	CONTROL,
	UNUSED,
};

/*
 * A device with a control queue has an odd number of queues. Without multiqueue negotiated the
 * control queue is number 2, whatever lies behind it; otherwise it is the last.
 */
static enum role role_of(unsigned index, unsigned num_queues, const uint64_t *f)
{
	bool multi = wire_feature(f, F_MQ, true) || wire_feature(f, F_RSS, true);
	bool control = wire_feature(f, F_CTRL_VQ, true) && num_queues % 2 == 1;
	unsigned num_data = multi ? num_queues & ~1u : MIN(num_queues, 2u);

	if (index < num_data)
		return index % 2 ? TRANSMIT : RECEIVE;
	return control && index == num_data ? CONTROL : UNUSED;
}

static void net_queue_role(unsigned index, unsigned num_queues, const uint64_t *f, char *buf)
{
	static const char *const names[] = {
		[RECEIVE] = "receiveq",
		[TRANSMIT] = "transmitq",
		[CONTROL] = "controlq",
		[UNUSED] = "unused",
	};
	enum role role = role_of(index, num_queues, f);

	if (role == RECEIVE || role == TRANSMIT)
		snprintf(buf, DESCRIBE_ROLE_BYTES, "%s%u", names[role], index / 2 + 1);
	else
		snprintf(buf, DESCRIBE_ROLE_BYTES, "%s", names[role]);
}

/* Virtio 1.4, "Device Operation" of the network device: which members the header has. */
static uint32_t header_bytes(const uint64_t *f)
{
	if (wire_feature(f, F_OUT_NET_HEADER, false) || wire_feature(f, F_IPSEC, false))
		return 32;
	if (wire_feature(f, F_HOST_UDP_GSO, false) || wire_feature(f, F_GUEST_UDP_GSO, false))
		return 24;
	if (wire_feature(f, F_HASH_REPORT, false))
		return 20;
	if (wire_feature(f, DESCRIBE_F_VERSION_1, true) || wire_feature(f, F_MRG_RXBUF, true))
		return 12;
	return 10;
}

static const char *gso_name(uint64_t gso)
{
	static const struct wire_value names[] = {
		{ 0, "NONE" },
		{ 1, "TCPV4" },
		{ 3, "UDP" },
		{ 4, "TCPV6" },
		{ 5, "UDP_L4" },
	};

	/* 0x20 and 0x40 are the tunnels, 0x80 is ECN. */
	return WIRE_NAME(names, gso & ~UINT64_C(0xe0));
}

static void transmit(const struct describe_in *in, struct describe_fields *ret)
{
	static const struct wire_field rest[] = {
		WIRE("hdr-len", 2, 2),
		WIRE("gso-size", 4, 2),
		WIRE("csum-start", 6, 2),
		WIRE("csum-offset", 8, 2),
	};
	static const struct wire_value types[] = {
		{ 0x0800, "IPv4" },
		{ 0x0806, "ARP" },
		{ 0x8100, "VLAN" },
		{ 0x86dd, "IPv6" },
	};
	uint32_t header = header_bytes(in->features);
	uint64_t flags, gso, size, hi, lo;
	const char *type = NULL;

	if (wire_get(in, 0, 1, &flags))
		wire_add(ret, "flags", flags, NULL);
	if (wire_get(in, 1, 1, &gso))
		wire_add(ret, "gso-type", gso, gso_name(gso));
	WIRE_DECODE(in, rest, ret);
	wire_add(ret, "frame-bytes", wire_minus(in->readable, header), NULL);
	wire_add_mac(ret, in, "dst", header);
	wire_add_mac(ret, in, "src", header + 6);
	if (wire_get(in, header + 12, 1, &hi) && wire_get(in, header + 13, 1, &lo)) {
		type = WIRE_NAME(types, hi << 8 | lo);
		wire_add(ret, "ethertype", hi << 8 | lo, type);
	}
	if (wire_get(in, 1, 1, &gso) && (gso & 0x1f) && wire_get(in, 4, 2, &size) && gso_name(gso))
		wire_line(ret, "send %" PRIu32 " bytes in %s segments of %" PRIu64,
			wire_minus(in->readable, header), gso_name(gso), size);
	else
		wire_line(ret, "send %" PRIu32 " bytes%s%s", wire_minus(in->readable, header),
			type ? ", " : "", type ? type : "");
}

/* class << 8 | command. Virtio 1.4, "Control Virtqueue". */
static const struct wire_value commands[] = {
	{ 0x000, "RX_PROMISC" },
	{ 0x001, "RX_ALLMULTI" },
	{ 0x002, "RX_ALLUNI" },
	{ 0x003, "RX_NOMULTI" },
	{ 0x004, "RX_NOUNI" },
	{ 0x005, "RX_NOBCAST" },
	{ 0x100, "MAC_TABLE_SET" },
	{ 0x101, "MAC_ADDR_SET" },
	{ 0x200, "VLAN_ADD" },
	{ 0x201, "VLAN_DEL" },
	{ 0x300, "ANNOUNCE_ACK" },
	{ 0x400, "MQ_VQ_PAIRS_SET" },
	{ 0x401, "MQ_RSS_CONFIG" },
	{ 0x402, "MQ_HASH_CONFIG" },
	{ 0x500, "GUEST_OFFLOADS_SET" },
	{ 0x600, "NOTF_COAL_TX_SET" },
	{ 0x601, "NOTF_COAL_RX_SET" },
	{ 0x602, "NOTF_COAL_VQ_SET" },
	{ 0x603, "NOTF_COAL_VQ_GET" },
	{ 0x700, "HASH_TUNNEL_SET" },
	{ 0x800, "STATS_QUERY" },
	{ 0x801, "STATS_GET" },
	{ 0x900, "RSS_CTX_CTRL_CAP_GET" },
	{ 0x901, "RSS_CTX_CTRL_ADD" },
	{ 0x902, "RSS_CTX_CTRL_MOD" },
	{ 0x903, "RSS_CTX_CTRL_DEL" },
};

static void control(const struct describe_in *in, struct describe_fields *ret)
{
	static const struct wire_field rss[] = {
		WIRE_HEX("hash-types", 2, 4),
		WIRE("table-mask", 6, 2),
		WIRE("unclassified-pair", 8, 2),
	};
	uint64_t class, command, arg;
	const char *name;

	if (!wire_get(in, 0, 1, &class))
		return;
	if (!wire_get(in, 1, 1, &command)) {
		wire_add(ret, "class", class, NULL);
		return;
	}
	name = WIRE_NAME(commands, class << 8 | command);
	wire_add(ret, "command", class << 8 | command, name);
	wire_add(ret, "class", class, NULL);
	switch (class << 8 | command) {
	case 0x101: wire_add_mac(ret, in, "mac", 2); break;
	case 0x200:
	case 0x201:
		if (wire_get(in, 2, 2, &arg))
			wire_add(ret, "vlan", arg, NULL);
		break;
	case 0x400:
		if (wire_get(in, 2, 2, &arg))
			wire_add(ret, "queue-pairs", arg, NULL);
		break;
	case 0x401: WIRE_DECODE(in, rss, ret); break;
	case 0x500:
		if (wire_get(in, 2, 8, &arg))
			wire_add(ret, "offloads", arg, NULL);
		break;
	default:
		if (class == 0 && wire_get(in, 2, 1, &arg))
			wire_add(ret, "on", arg, NULL);
	}
	wire_line(ret, "control %s", name ? name : "command of an unknown kind");
}

static void net_request(const struct describe_in *in, struct describe_fields *ret)
{
	switch (role_of(in->queue, in->num_queues, in->features)) {
	case RECEIVE: wire_line(ret, "receive buffer of %" PRIu32 " bytes", in->writable); break;
	case TRANSMIT: transmit(in, ret); break;
	case CONTROL: control(in, ret); break;
	case UNUSED: break;
	}
}

const struct describe_type describe_net = {
	.id = 1,
	.name = "virtio-net",
	.features = features,
	.num_features = ARRAY_SIZE(features),
	.config = config,
	.num_config = ARRAY_SIZE(config),
	.queue_role = net_queue_role,
	.request = net_request,
};
