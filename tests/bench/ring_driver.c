/* SPDX-License-Identifier: BSD-3-Clause */
/* ring_bench's drivers, split and packed: requests prepared once, offered again and again. */
#include <string.h>

#include "tests/bench/ring_bench.h"
#include "virtio/vring.h"

/* With three descriptors a request, this many slots fit the ring. */
#define NUM_SLOTS 64

static uint16_t avail_idx, used_idx;

static void write_desc(
	void *table, unsigned int i, const struct bench_desc *d, bool more, unsigned int next)
{
	struct vring_desc raw = { le64_make(d->addr), le32_make(d->len),
		le16_make((uint16_t)(d->flags | (more ? VRING_DESC_F_NEXT : 0))),
		le16_make((uint16_t)next) };

	memcpy((char *)table + i * sizeof(raw), &raw, sizeof(raw));
}

static void split_prepare(void)
{
	struct vring_avail *avail = ring.driver;
	unsigned int i, k, n;

	for (i = 0; i < NUM_SLOTS; i++) {
		struct bench_desc d[3], outer = { bench_table_at(i), 48, VRING_DESC_F_INDIRECT };
		bool is_table = ring.shape == BENCH_TABLE;

		n = bench_describe(i, d);
		for (k = 0; k < n; k++)
			write_desc(is_table ? ring.ram + bench_table_at(i) : ring.desc,
				is_table ? k : i * 3 + k, &d[k], k + 1 < n,
				is_table ? k + 1 : i * 3 + k + 1);
		if (is_table)
			write_desc(ring.desc, i * 3, &outer, false, 0);
	}
	/* No interrupts: this driver looks. */
	avail->flags = le16_make(VRING_AVAIL_F_NO_INTERRUPT);
}

static void split_offer(unsigned int n)
{
	struct vring_avail *avail = ring.driver;

	while (n--) {
		avail->ring[avail_idx % ring.num] =
			le16_make((uint16_t)(avail_idx % NUM_SLOTS * 3));
		avail_idx++;
	}
	__atomic_store_n(&avail->idx.raw, htole16(avail_idx), __ATOMIC_RELEASE);
}

static unsigned int split_collect(void)
{
	struct vring_used *used = ring.device;
	uint16_t now = le16toh(__atomic_load_n(&used->idx.raw, __ATOMIC_ACQUIRE));
	unsigned int n = (uint16_t)(now - used_idx);

	used_idx = now;
	return n;
}

const struct bench_driver bench_split_driver = { split_prepare, split_offer, split_collect };

/* Where the packed driver writes next, and where it looks; wrap counters in bit 15. */
static uint16_t next_avail = VRING_PACKED_START, next_used = VRING_PACKED_START;
static unsigned int next_slot;

static void packed_write(
	void *table, uint32_t i, const struct bench_desc *d, uint16_t id, uint16_t flags)
{
	struct vring_packed_desc *to = (struct vring_packed_desc *)table + i;

	to->addr = le64_make(d->addr);
	to->len = le32_make(d->len);
	to->id = le16_make(id);
	__atomic_store_n(&to->flags.raw, htole16((uint16_t)(d->flags | flags)), __ATOMIC_RELEASE);
}

static void packed_prepare(void)
{
	struct vring_packed_event *event = ring.driver;
	unsigned int i, k, n;

	for (i = 0; ring.shape == BENCH_TABLE && i < NUM_SLOTS; i++) {
		struct bench_desc d[3];

		n = bench_describe(i, d);
		for (k = 0; k < n; k++)
			packed_write(ring.ram + bench_table_at(i), k, &d[k], 0, 0);
	}
	event->flags = le16_make(VRING_PACKED_EVENT_DISABLE);
}

/* A list of @num descriptors; the first one's flags come last, and show all of it. */
static void packed_add(const struct bench_desc *d, unsigned int num, uint16_t id)
{
	unsigned int i = num;

	while (i--) {
		uint16_t at = vring_packed_add(ring.num, next_avail, i);
		bool wrap = at & VRING_PACKED_WRAP;

		packed_write(ring.desc, at & VRING_PACKED_POS, &d[i], id,
			(uint16_t)((i + 1 < num ? VRING_DESC_F_NEXT : 0) |
				   (wrap ? VRING_PACKED_DESC_F_AVAIL : VRING_PACKED_DESC_F_USED)));
	}
	next_avail = vring_packed_add(ring.num, next_avail, num);
}

static void packed_offer(unsigned int n)
{
	while (n--) {
		struct bench_desc d[3], outer = { 0, 48, VRING_DESC_F_INDIRECT };
		unsigned int slot = next_slot++ % NUM_SLOTS, num = bench_describe(slot, d);

		outer.addr = bench_table_at(slot);
		if (ring.shape == BENCH_TABLE)
			packed_add(&outer, 1, (uint16_t)slot);
		else
			packed_add(d, num, (uint16_t)slot);
	}
}

static unsigned int packed_collect(void)
{
	unsigned int n = 0;

	for (;; n++) {
		const struct vring_packed_desc *d = ring.desc;
		bool wrap = next_used & VRING_PACKED_WRAP;
		uint16_t flags;

		d += next_used & VRING_PACKED_POS;
		flags = le16toh(__atomic_load_n(&d->flags.raw, __ATOMIC_ACQUIRE));
		if (!!(flags & VRING_PACKED_DESC_F_USED) != wrap ||
			!!(flags & VRING_PACKED_DESC_F_AVAIL) != wrap)
			return n;
		next_used =
			vring_packed_add(ring.num, next_used, ring.shape == BENCH_CHAIN ? 3 : 1);
	}
}

const struct bench_driver bench_packed_driver = { packed_prepare, packed_offer, packed_collect };
