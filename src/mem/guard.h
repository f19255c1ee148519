/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The SIGBUS guard: a memory file that its owner truncates must not end us. Ranges register
 * here; a fault inside one is answered with a zero page over the rest of the range and the range
 * is poisoned. A fault elsewhere is passed to whoever had the signal before.
 */
#ifndef MEM_GUARD_H
#define MEM_GUARD_H

#include <stdatomic.h>

#include "base/util.h"

/* Ranges that can be guarded at once: many devices with a few regions each. */
#define GUARD_SLOTS_MAX 65536

struct guard_slot {
	_Atomic uintptr_t start; /* 0: free */
	_Atomic size_t bytes;
	_Atomic size_t page_bytes; /* huge pages are replaced whole */
	_Atomic uintptr_t
		lost_from; /* from here on zeros stand in for lost memory; 0: all is there */
	uint32_t next_free;
};

/* Counts every poisoning in the process; a reader that saw no change needs no look at its slots. */
extern _Atomic unsigned int guard_num_poisonings;

/* Installs the handler once; called by gmem. */
void guard_install(void);
/* NULL where all slots are taken. Main loop. */
struct guard_slot *guard_add(void *start, size_t bytes, size_t page_bytes);
void guard_remove(struct guard_slot *slot);

/*
 * Copies @len bytes from memory that may be gone; false instead of a fault. Aligned words of 2 and
 * 4 bytes, of 8 where a machine word has them, are read in one load. Any thread.
 */
bool guard_copy(void *dst, const void *src, size_t len);

#endif
