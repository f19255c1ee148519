/* SPDX-License-Identifier: BSD-3-Clause */
/* ring_bench's driver of a split ring: requests prepared once, offered again and again. */
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

void bench_prepare(void)
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

void bench_offer(unsigned int n)
{
	struct vring_avail *avail = ring.driver;

	while (n--) {
		avail->ring[avail_idx % ring.num] =
			le16_make((uint16_t)(avail_idx % NUM_SLOTS * 3));
		avail_idx++;
	}
	__atomic_store_n(&avail->idx.raw, htole16(avail_idx), __ATOMIC_RELEASE);
}

unsigned int bench_collect(void)
{
	struct vring_used *used = ring.device;
	uint16_t now = le16toh(__atomic_load_n(&used->idx.raw, __ATOMIC_ACQUIRE));
	unsigned int n = (uint16_t)(now - used_idx);

	used_idx = now;
	return n;
}
