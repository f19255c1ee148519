/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Device statistics in the guest (virtio 1.4, "Device Statistics"): what each kind of numbers
 * holds, and the two commands. Numbers are since the device was made. A queue's notifications and
 * interrupts are those that it last published, after its last batch.
 *
 * Refused: queues that are not there, kinds that the queue has not, more entries than queues,
 * replies that do not fit.
 */
#include <string.h>

#include "devices/net_int.h"

/* virtio_net_stats_reply_hdr.type; the bit of the same number is the kind's in a bitmap. */
enum kind {
	RX_BASIC = 0,
	RX_CSUM = 1,
	RX_GSO = 2,
	TX_BASIC = 16,
	TX_CSUM = 17,
	TX_GSO = 18,
	CVQ = 32,
};

#define BIT(kind) (1ull << (kind))
#define RX_KINDS  (BIT(RX_BASIC) | BIT(RX_CSUM) | BIT(RX_GSO))
#define TX_KINDS  (BIT(TX_BASIC) | BIT(TX_CSUM) | BIT(TX_GSO))
#define CVQ_KINDS BIT(CVQ)

#define NUMBERS_MAX 6

struct stats_reply_header {
	uint8_t type, reserved;
	le16 vq_index, reserved1, size;
};

struct stats_entry {
	le16 vq_index, reserved[3];
	le64 types_bitmap;
};

static void signals(struct vnet *n, unsigned int queue, uint64_t *kicks, uint64_t *calls)
{
	struct vq_view view = { 0 };

	vq_read_view(&n->dev.queues[queue], &view);
	*kicks = view.counters.kicks;
	*calls = view.counters.calls;
}

/* The numbers of one kind, in the specification's order; returns how many. */
static unsigned int numbers(struct vnet *n, enum kind kind, unsigned int queue, uint64_t *ret)
{
	struct net_rx_stats *rx = &n->rx[queue / 2 % n->num_pairs].stats;
	struct net_tx_stats *tx = &n->tx[queue / 2 % n->num_pairs].stats;

	switch (kind) {
	case RX_BASIC:
		signals(n, queue, &ret[0], &ret[3]);
		ret[1] = net_get(&rx->packets);
		ret[2] = net_get(&rx->bytes);
		ret[4] = net_get(&rx->drops);
		ret[5] = net_get(&rx->overruns);
		return 6;
	case RX_CSUM:
		ret[0] = net_get(&rx->csum_valid);
		ret[1] = net_get(&rx->needs_csum);
		ret[2] = net_get(&rx->packets) - ret[0] - ret[1];
		ret[3] = 0; /* bad ones: nobody here computes one */
		return 4;
	case RX_GSO:
		ret[0] = net_get(&rx->gso_packets);
		ret[1] = net_get(&rx->gso_bytes);
		ret[2] = ret[3] = 0; /* coalesced by the device: none */
		return 4;
	case TX_BASIC:
		signals(n, queue, &ret[0], &ret[3]);
		ret[1] = net_get(&tx->packets);
		ret[2] = net_get(&tx->bytes);
		ret[4] = net_get(&tx->drops);
		ret[5] = net_get(&tx->malformed);
		return 6;
	case TX_CSUM:
		ret[1] = net_get(&tx->needs_csum);
		ret[0] = net_get(&tx->packets) - ret[1];
		return 2;
	case TX_GSO:
		ret[0] = net_get(&tx->gso_packets);
		ret[1] = net_get(&tx->gso_bytes);
		ret[2] = net_get(&tx->gso_segments);
		ret[3] = net_get(&tx->gso_segment_bytes);
		ret[4] = ret[5] = 0; /* that were not segmented: unknown here, and none */
		return 6;
	case CVQ:
		ret[0] = net_get(&n->ctrl.commands);
		ret[1] = net_get(&n->ctrl.ok);
		return 2;
	}
	return 0;
}

static bool put_kind(struct vnet *n, struct chain *c, enum kind kind, unsigned int queue)
{
	struct {
		struct stats_reply_header header;
		le64 numbers[NUMBERS_MAX];
	} reply = { 0 };
	uint64_t values[NUMBERS_MAX] = { 0 };
	unsigned int num = numbers(n, kind, queue, values), i;
	size_t size = sizeof(reply.header) + num * sizeof(le64);

	reply.header.type = (uint8_t)kind;
	reply.header.vq_index = le16_make((uint16_t)queue);
	reply.header.size = le16_make((uint16_t)size);
	for (i = 0; i < num; i++)
		reply.numbers[i] = le64_make(values[i]);
	return chain_put(c, &reply, size);
}

static uint64_t kinds_of(const struct vnet *n, unsigned int queue)
{
	if (queue == net_ctrl_index(n))
		return CVQ_KINDS;
	if (queue >= 2 * n->num_pairs)
		return 0;
	return queue % 2 ? TX_KINDS : RX_KINDS;
}

bool net_stats_query(struct vnet *n, struct chain *c)
{
	le64 all = le64_make(RX_KINDS | TX_KINDS | CVQ_KINDS);

	(void)n;
	return !c->readable.bytes && chain_put(c, &all, sizeof(all));
}

bool net_stats_get(struct vnet *n, struct chain *c)
{
	struct stats_entry entry;
	unsigned int kind, queue;
	uint64_t wanted;

	if (!c->readable.bytes || c->readable.bytes % sizeof(entry) ||
		c->readable.bytes / sizeof(entry) > n->dev.num_queues)
		return false;
	while (chain_take(c, &entry, sizeof(entry))) {
		queue = le16_get(entry.vq_index);
		wanted = le64_get(entry.types_bitmap);
		if (!wanted || wanted & ~kinds_of(n, queue))
			return false;
		for (kind = 0; kind < 64; kind++)
			if (wanted >> kind & 1 && !put_kind(n, c, (enum kind)kind, queue))
				return false;
	}
	return true;
}
