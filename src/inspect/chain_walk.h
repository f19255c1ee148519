/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A chain of a ring as it lies in guest memory, read for inspection: nothing is written,
 * broken or aborted, whatever lies there. Memory is read through gmem_peek() only. Main loop.
 */
#ifndef INSPECT_CHAIN_WALK_H
#define INSPECT_CHAIN_WALK_H

#include "base/err.h"
#include "mem/gmem.h"

struct walk_desc {
	uint64_t addr; /* guest-physical */
	uint32_t len; /* bytes */
	uint16_t flags;
	uint16_t next; /* packed: the buffer id */
};

/* The descriptors of one chain, in chain order. Zero-initialised it is empty. */
struct walk_chain {
	struct walk_desc *descs;
	size_t num, room;
};

struct walk_ring {
	const struct gmem *mem;
	unsigned int queue; /* for sentences */
	uint64_t desc; /* descriptor area, guest-physical */
	uint32_t num; /* descriptors in it, not 0 */
	bool packed;
};

/*
 * The chain of @head. With @follow an indirect table's entries stand in its descriptor's place;
 * without, that descriptor stands as it is and ends the list.
 * -errno with a sentence that names the descriptor: a head or a next beyond the table, a loop, a
 * chain above the limit, a table that is empty, ragged, nested or goes on behind itself, memory
 * that cannot be read. Then @ret is empty.
 */
int walk_chain(const struct walk_ring *ring, uint16_t head, bool follow, struct walk_chain *ret,
	struct err *err);
/*
 * The same for a packed ring, from position @pos on, below num: descriptors follow each other while
 * NEXT is set, around the ring's end and @max at most, a table's entries to its end. Of the last
 * descriptor in the ring the buffer id.
 */
int walk_packed_chain(const struct walk_ring *ring, uint16_t pos, uint32_t max, bool follow,
	struct walk_chain *ret, uint16_t *ret_id, struct err *err);
/*
 * What a descriptor of a packed ring stands for that is known from elsewhere, itself or, with
 * @follow, its table's entries: put behind what @chain has. @index: for sentences.
 */
int walk_packed_desc(const struct walk_ring *ring, const struct walk_desc *desc, uint32_t index,
	bool follow, struct walk_chain *chain, struct err *err);
/* Idempotent. */
void walk_chain_free(struct walk_chain *chain);

/* "lies outside guest memory" or "cannot be read: the memory behind it is gone". */
const char *walk_peek_error(int r);

#endif
