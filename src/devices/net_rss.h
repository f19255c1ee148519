/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Receive-side scaling (virtio 1.4, "Receive-side scaling (RSS)"): a packet's flow is hashed, and
 * the hash chooses the pair of queues. Pure: no queue, no back end.
 */
#ifndef DEVICES_NET_RSS_H
#define DEVICES_NET_RSS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* As the configuration space tells the driver. */
#define NET_RSS_KEY_MAX	  40
#define NET_RSS_TABLE_MAX 128
/* IPv4, TCPv4, UDPv4, IPv6, TCPv6, UDPv6; no _EX types. */
#define NET_RSS_TYPES 0x3fu

/* Bytes of the longest VIRTIO_NET_CTRL_MQ_RSS_CONFIG. */
#define NET_RSS_CONFIG_MAX (8 + 2 * NET_RSS_TABLE_MAX + 3 + NET_RSS_KEY_MAX)
/* Two IPv6 addresses and two ports: what is hashed at most. */
#define NET_RSS_INPUT_MAX 36

struct net_rss {
	uint32_t types;
	uint16_t mask, unclassified, max_tx;
	uint16_t table[NET_RSS_TABLE_MAX]; /* pairs */
	/* By place and value of half a byte of input: what it adds to the hash. */
	uint32_t adds[2 * NET_RSS_INPUT_MAX][16];
};

/*
 * The data of VIRTIO_NET_CTRL_MQ_RSS_CONFIG of a card of @num_pairs. False, @ret undefined: a
 * length that is not the sum of its parts, types that are not offered, a mask that is none or above
 * the table's length, a queue that is not there, no transmit queues or more than there are, a key
 * that is too long, or none where something is to be hashed.
 */
bool net_rss_parse(const uint8_t *bytes, size_t len, unsigned int num_pairs, struct net_rss *ret);
/* As if a driver had spread all flows over the first @num_pairs, with a key of ours. */
void net_rss_spread(struct net_rss *ret, unsigned int num_pairs);

/*
 * The hash of an Ethernet frame: the type that it was computed by, a number of a bit of
 * NET_RSS_TYPES; -1: none. Not more than @len bytes are read, whatever the frame says.
 */
int net_rss_hash(const struct net_rss *rss, const uint8_t *frame, size_t len, uint32_t *ret);
/* The pair that it goes to. */
unsigned int net_rss_pair(const struct net_rss *rss, const uint8_t *frame, size_t len);

#endif
