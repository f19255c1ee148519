/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Which heads of a split ring that somebody else serves were made available and not answered, by
 * what the two rings still hold. Main loop.
 */
#ifndef INSPECT_OUTSTANDING_H
#define INSPECT_OUTSTANDING_H

#include "virtio/vdev.h"

struct outstanding {
	uint16_t *heads; /* owned, in the order in which they were made available */
	bool *certain; /* owned, one for each */
	size_t num;
	uint32_t num_unnamed; /* at least so many more, whose entries were overwritten */
	uint16_t used_idx; /* in memory, when it was read */
};

/*
 * False where memory cannot be read, the driver's index is impossible, or answers went on coming
 * in.
 * @num_tries: how often to look for a moment without.
 */
bool outstanding_read(struct vq *vq, int num_tries, struct outstanding *ret);
/* Idempotent. */
void outstanding_free(struct outstanding *o);

/*
 * The same on copies: @avail and @used are rings of @num with their indices. @in_order: answers
 * come in the order of the available ring. 0, or -1 where the indices are impossible.
 */
int outstanding_find(const uint16_t *avail, uint16_t avail_idx, const uint32_t *used,
	uint16_t used_idx, uint32_t num, bool in_order, struct outstanding *ret);

#endif
