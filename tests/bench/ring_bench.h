/* SPDX-License-Identifier: BSD-3-Clause */
/* What the parts of ring_bench share: its driver's side, and the walk without checks. */
#ifndef TESTS_BENCH_RING_BENCH_H
#define TESTS_BENCH_RING_BENCH_H

#include <stdint.h>

#include "virtio/vq.h"

enum bench_shape { BENCH_ONE, BENCH_CHAIN, BENCH_TABLE };

#define BENCH_WRITE 2

/* A buffer as the driver means it. */
struct bench_desc {
	uint64_t addr;
	uint32_t len;
	uint16_t flags;
};

extern struct bench_ring {
	uint8_t *ram; /* the driver's mapping of all memory */
	void *desc, *driver, *device; /* the areas, in it */
	uint32_t num;
	enum bench_shape shape;
} ring;

unsigned int bench_describe(unsigned int i, struct bench_desc *ret);
uint64_t bench_table_at(unsigned int i);

struct bench_driver {
	/* Writes what stays the same of every request. */
	void (*prepare)(void);
	/* Makes @n requests available, without a kick. */
	void (*offer)(unsigned int n);
	/* How many came back since the last look. */
	unsigned int (*collect)(void);
};

extern const struct bench_driver bench_split_driver, bench_packed_driver;

/* The same walks as split.c's and packed.c's, with the same translation and stores, that believe
 * every word. */
const struct vq_ops *bench_unchecked_split(void);
const struct vq_ops *bench_unchecked_packed(void);

#endif
