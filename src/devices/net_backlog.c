/* SPDX-License-Identifier: BSD-3-Clause */
/* Records behind each other, each in one piece; one that does not fit before the end begins anew.
 */
#include "devices/net_backlog.h"

#include <stdlib.h>
#include <string.h>

#include "base/alloc.h"

struct record {
	struct net_offload offload;
	uint32_t len;
	uint8_t bytes[];
};

static uint32_t record_bytes(uint32_t len)
{
	return (uint32_t)(sizeof(struct record) + len + 7) & ~7u;
}

static struct record *first_of(const struct net_backlog *b)
{
	return (struct record *)(b->bytes + b->first);
}

void net_backlog_init(struct net_backlog *b)
{
	*b = (struct net_backlog){ .bytes = xcalloc(1, NET_BACKLOG_BYTES) };
}

void net_backlog_deinit(struct net_backlog *b)
{
	free(b->bytes);
	*b = (struct net_backlog){ 0 };
}

/* Where @need bytes may go; NULL: nowhere. */
static struct record *make_room(struct net_backlog *b, uint32_t need)
{
	if (!b->num) {
		/* The same few pages again. */
		b->first = b->next = 0;
		b->end = NET_BACKLOG_BYTES;
	}
	if (b->num && b->next <= b->first)
		return need <= b->first - b->next ? (struct record *)(b->bytes + b->next) : NULL;
	if (need <= NET_BACKLOG_BYTES - b->next)
		return (struct record *)(b->bytes + b->next);
	if (need > b->first)
		return NULL;
	b->end = b->next;
	b->next = 0;
	return (struct record *)b->bytes;
}

bool net_backlog_add(struct net_backlog *b, const struct net_packet *packet)
{
	uint32_t need = record_bytes(packet->len);
	struct record *record = make_room(b, need);

	if (!record)
		return false;
	record->offload = packet->offload;
	record->len = packet->len;
	memcpy(record->bytes, packet->bytes, packet->len);
	b->next += need;
	b->num++;
	return true;
}

bool net_backlog_peek(const struct net_backlog *b, struct net_packet *ret)
{
	const struct record *record = first_of(b);

	if (!b->num)
		return false;
	*ret = (struct net_packet){ record->bytes, record->len, record->offload };
	return true;
}

void net_backlog_next(struct net_backlog *b)
{
	b->first += record_bytes(first_of(b)->len);
	b->num--;
	if (b->first == b->end) {
		b->first = 0;
		b->end = NET_BACKLOG_BYTES;
	}
}
