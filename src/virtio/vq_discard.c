/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Guest memory that its driver needs no more (a balloon's) goes back to the host. What is discarded
 * reads as zeros, and so is a change that a migration has to hear of.
 */
#include "virtio/vq_dirty.h"

#include <errno.h>

int vq_discard(struct vq *vq, uint64_t gpa, uint64_t len)
{
	int r = gmem_discard(vq->mem, gpa, len);

	if (unlikely(vq->dirty) && r != -EFAULT)
		vq_dirty_mark_gpa(vq, gpa, len);
	return r;
}

int chain_discard(struct chain *c)
{
	int result = 0;

	for (int i = 0; i < c->writable.num_iov; i++) {
		const struct iovec *iov = &c->writable.iov[i];
		uint64_t gpa;
		int r = -EFAULT;

		if (gmem_host_to_gpa(c->vq->mem, iov->iov_base, &gpa))
			r = vq_discard(c->vq, gpa, iov->iov_len);
		if (r < 0)
			result = r;
	}
	return result;
}
