/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Receive-side scaling: the driver's parameters, a packet's addresses and ports, the Toeplitz hash
 * of these.
 *
 * Ports are those of whole TCP and UDP packets: of a fragment the addresses alone count, so that
 * all of a packet's go the same way. Extension headers of IPv6 are passed over, VLAN tags too, two
 * at most. What is cut short, or is no IP, is not hashed.
 */
#include "devices/net_rss.h"

#include <string.h>

#include "base/be.h"
#include "base/le.h"
#include "base/util.h"

/* --- parameters --- */

struct rss_head {
	le32 hash_types;
	le16 mask, unclassified;
};

/* 32 bits of the key, from bit @at on; the key is followed by zeros. */
static uint32_t key_window(const uint8_t *key, unsigned int at)
{
	uint64_t five = (uint64_t)be32_read(key + at / 8) << 8 | key[at / 8 + 4];

	return (uint32_t)(five >> (8 - at % 8));
}

/* Each bit of the input that is set adds (exclusive or) the key's 32 bits that begin at its place.
 */
static void use_key(struct net_rss *rss, const uint8_t *key, size_t len)
{
	uint8_t padded[NET_RSS_KEY_MAX + 1] = { 0 };
	unsigned int place, value, bit;

	memcpy(padded, key, len);
	for (place = 0; place < ARRAY_SIZE(rss->adds); place++)
		for (value = 0; value < 16; value++) {
			uint32_t sum = 0;

			for (bit = 0; bit < 4; bit++)
				if (value >> (3 - bit) & 1)
					sum ^= key_window(padded, place * 4 + bit);
			rss->adds[place][value] = sum;
		}
}

bool net_rss_parse(const uint8_t *bytes, size_t len, unsigned int num_pairs, struct net_rss *ret)
{
	const uint8_t *end = bytes + len, *at = bytes + sizeof(struct rss_head);
	unsigned int i, num, key_len;
	struct rss_head head;

	if (len < sizeof(head))
		return false;
	memcpy(&head, bytes, sizeof(head));
	ret->types = le32_get(head.hash_types);
	ret->mask = le16_get(head.mask);
	ret->unclassified = le16_get(head.unclassified);
	num = ret->mask + 1u;
	if (ret->types & ~NET_RSS_TYPES || num & (num - 1) || num > NET_RSS_TABLE_MAX ||
		ret->unclassified >= num_pairs || (size_t)(end - at) < 2 * num + 3)
		return false;
	for (i = 0; i < num; i++, at += 2) {
		ret->table[i] = le16_read(at);
		if (ret->table[i] >= num_pairs)
			return false;
	}
	ret->max_tx = le16_read(at);
	key_len = at[2];
	at += 3;
	if (!ret->max_tx || ret->max_tx > num_pairs || key_len > NET_RSS_KEY_MAX ||
		(!key_len && ret->types) || (size_t)(end - at) != key_len)
		return false;
	use_key(ret, at, key_len);
	return true;
}

void net_rss_spread(struct net_rss *ret, unsigned int num_pairs)
{
	uint8_t key[NET_RSS_KEY_MAX];
	unsigned int i;

	/* Any will do that has no regularity. */
	for (i = 0; i < sizeof(key); i++)
		key[i] = (uint8_t)((i * 167u + 109u) * (i + 13u) >> 2);
	ret->types = NET_RSS_TYPES;
	ret->mask = NET_RSS_TABLE_MAX - 1;
	ret->unclassified = 0;
	ret->max_tx = (uint16_t)num_pairs;
	for (i = 0; i < NET_RSS_TABLE_MAX; i++)
		ret->table[i] = (uint16_t)(i % num_pairs);
	use_key(ret, key, sizeof(key));
}

/* --- flows --- */

#define ETHERTYPE_AT	 14
#define ETHERTYPE_IPV4	 0x0800
#define ETHERTYPE_IPV6	 0x86dd
#define ETHERTYPE_VLAN	 0x8100
#define ETHERTYPE_QINQ	 0x88a8
#define VLAN_TAGS_MAX	 2
#define EXTENSIONS_MAX	 8
#define FRAGMENT_OR_MORE 0x3fff /* of an IPv4 header's flags and offset */

enum {
	IP_HOP_BY_HOP = 0,
	IP_TCP = 6,
	IP_UDP = 17,
	IP_ROUTING = 43,
	IP_FRAGMENT = 44,
	IP_AH = 51,
	IP_DESTINATION = 60
};

struct flow {
	bool v6;
	uint8_t protocol; /* IP_TCP, IP_UDP: @input has ports */
	unsigned int address_bytes; /* of both addresses, where the ports begin */
	uint8_t input[NET_RSS_INPUT_MAX];
};

static void take_ports(struct flow *flow, uint8_t protocol, const uint8_t *at, size_t len)
{
	if (!(protocol == IP_TCP && len >= 20) && !(protocol == IP_UDP && len >= 8))
		return;
	flow->protocol = protocol;
	memcpy(flow->input + flow->address_bytes, at, 4);
}

static bool take_ipv4(struct flow *flow, const uint8_t *at, size_t len)
{
	size_t header = len ? (at[0] & 15u) * 4u : 0;

	if (header < 20 || header > len || at[0] >> 4 != 4)
		return false;
	flow->address_bytes = 8;
	memcpy(flow->input, at + 12, 8);
	if (!(be16_read(at + 6) & FRAGMENT_OR_MORE))
		take_ports(flow, at[9], at + header, len - header);
	return true;
}

/* The length of the extension header at hand; 0: it is none that is passed over. */
static size_t extension_bytes(uint8_t kind, const uint8_t *at)
{
	switch (kind) {
	case IP_HOP_BY_HOP:
	case IP_ROUTING:
	case IP_DESTINATION: return (at[1] + 1u) * 8u;
	/* One that is whole all the same (RFC 6946) has its ports. */
	case IP_FRAGMENT: return be16_read(at + 2) & 0xfff9 ? 0 : 8;
	case IP_AH: return (at[1] + 2u) * 4u;
	default: return 0;
	}
}

static bool take_ipv6(struct flow *flow, const uint8_t *at, size_t len)
{
	unsigned int i;
	uint8_t kind;

	if (len < 40 || at[0] >> 4 != 6)
		return false;
	flow->v6 = true;
	flow->address_bytes = 32;
	memcpy(flow->input, at + 8, 32);
	kind = at[6];
	at += 40;
	len -= 40;
	for (i = 0; i < EXTENSIONS_MAX && len >= 8; i++) {
		size_t bytes = extension_bytes(kind, at);

		if (!bytes || bytes > len)
			break;
		kind = at[0];
		at += bytes;
		len -= bytes;
	}
	take_ports(flow, kind, at, len);
	return true;
}

static bool take_flow(struct flow *flow, const uint8_t *frame, size_t len)
{
	unsigned int tags = 0;
	size_t at = ETHERTYPE_AT;
	uint16_t type;

	while (len >= at) {
		type = be16_read(frame + at - 2);
		if (type == ETHERTYPE_IPV4)
			return take_ipv4(flow, frame + at, len - at);
		if (type == ETHERTYPE_IPV6)
			return take_ipv6(flow, frame + at, len - at);
		if ((type != ETHERTYPE_VLAN && type != ETHERTYPE_QINQ) || tags++ == VLAN_TAGS_MAX)
			return false;
		at += 4;
	}
	return false;
}

/* --- hash --- */

int net_rss_hash(const struct net_rss *rss, const uint8_t *frame, size_t len, uint32_t *ret)
{
	/* In the order in which they are preferred. */
	static const struct {
		int type;
		bool v6;
		uint8_t protocol;
	} kinds[] = {
		{ 1, false, IP_TCP },
		{ 2, false, IP_UDP },
		{ 0, false, 0 },
		{ 4, true, IP_TCP },
		{ 5, true, IP_UDP },
		{ 3, true, 0 },
	};
	struct flow flow = { 0 };
	unsigned int i, k, num;

	if (!rss->types || !take_flow(&flow, frame, len))
		return -1;
	for (k = 0; k < ARRAY_SIZE(kinds); k++)
		if (kinds[k].v6 == flow.v6 && rss->types >> kinds[k].type & 1 &&
			(!kinds[k].protocol || kinds[k].protocol == flow.protocol))
			break;
	if (k == ARRAY_SIZE(kinds))
		return -1;
	num = flow.address_bytes + (kinds[k].protocol ? 4 : 0);
	*ret = 0;
	for (i = 0; i < num; i++)
		*ret ^= rss->adds[2 * i][flow.input[i] >> 4] ^
			rss->adds[2 * i + 1][flow.input[i] & 15];
	return kinds[k].type;
}

unsigned int net_rss_pair(const struct net_rss *rss, const uint8_t *frame, size_t len)
{
	uint32_t hash;

	if (net_rss_hash(rss, frame, len, &hash) < 0)
		return rss->unclassified;
	return rss->table[hash & rss->mask];
}
