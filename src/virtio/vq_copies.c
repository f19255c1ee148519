/* SPDX-License-Identifier: BSD-3-Clause */
#include "virtio/vq_copies.h"

#include <string.h>

void vq_make_copies(struct vq_copies *copies)
{
	for (uint32_t i = 0; i < copies->num; i++) {
		const struct vq_copy *copy = &copies->list[i];

		/* All of it: what is too much is overwritten by what follows. */
		memcpy(copy->to, copy->head, VQ_COPY_HEAD_MAX);
		memcpy(copy->to + copy->num_head, copy->from, copy->len);
	}
	copies->num = 0;
}
