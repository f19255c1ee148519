/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The driver's memory: one file in memory, seen by the device as one or several regions of guest
 * addresses with holes between them. Allocations are never given back. One thread.
 */
#ifndef DRIVER_MEMORY_H
#define DRIVER_MEMORY_H

#include "base/err.h"
#include "base/util.h"

#define DMEM_SLOTS_MAX 64
/* Allocations are rounded up to this, and so are regions. */
#define DMEM_PAGE 4096

struct dmem_slot {
	uint64_t guest_addr;
	uint64_t used; /* bytes */
};

struct dmem {
	int fd; /* owned; -1: none */
	uint8_t *base;
	uint64_t slot_bytes;
	unsigned int num_slots;
	unsigned int next_slot; /* where the next allocation is tried first */
	struct dmem_slot slots[DMEM_SLOTS_MAX];
};

/* @bytes in all, rounded up, in @num_slots regions. 0 or -errno with a sentence. */
int dmem_init(struct dmem *m, uint64_t bytes, unsigned int num_slots, struct err *err);
/* Idempotent; right for { .fd = -1 }. */
void dmem_deinit(struct dmem *m);
/*
 * Zeroed memory within one region, aligned to @align (a power of two, at most DMEM_PAGE); its guest
 * address in @ret_addr. NULL with a sentence where no region has that much left.
 */
void *dmem_alloc(
	struct dmem *m, uint64_t bytes, uint64_t align, uint64_t *ret_addr, struct err *err);

#endif
