/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Packets that wait for a queue's buffers, in the order in which they came: copies, in memory of a
 * fixed size. One loop's.
 */
#ifndef DEVICES_NET_BACKLOG_H
#define DEVICES_NET_BACKLOG_H

#include "backends/net.h"

/* Of one queue: three of the longest, or some hundreds of 1514 bytes. */
#define NET_BACKLOG_BYTES (4u * 65536)

struct net_backlog {
	uint8_t *bytes; /* owned; NULL: not initialised */
	uint32_t first, next,
		end; /* where the oldest is, the next one will be, the last one ends */
	uint32_t num;
};

void net_backlog_init(struct net_backlog *b);
/* Those that wait are gone. Idempotent. */
void net_backlog_deinit(struct net_backlog *b);
/* False where there is no room. */
bool net_backlog_add(struct net_backlog *b, const struct net_packet *packet);
/* The oldest, until net_backlog_next(); false where there is none. */
bool net_backlog_peek(const struct net_backlog *b, struct net_packet *ret);
void net_backlog_next(struct net_backlog *b);

#endif
