/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * What the device writes into guest memory, told to the dirty log while there is one. Serving loop.
 * Each call comes after its write; payload and used entries before the driver can see the new
 * index. Without a log a call is one branch that is never taken.
 */
#ifndef VIRTIO_VQ_DIRTY_H
#define VIRTIO_VQ_DIRTY_H

#include "virtio/vq.h"

/* Behind the branch. */
void vq_dirty_mark_host(struct vq *vq, const void *host, uint64_t len);
void vq_dirty_mark_gpa(struct vq *vq, uint64_t gpa, uint64_t len);
bool vq_dirty_publish(struct vq *vq);

/* @len bytes of payload at @host, a pointer that a chain's iovecs gave. */
static inline void vq_dirty_payload(struct chain *c, const void *host, uint64_t len)
{
	if (unlikely(c->dirty))
		vq_dirty_mark_host(c->vq, host, len);
}

/*
 * @len bytes at @offset of the device area: the used ring; packed: device event suppression. They
 * are marked at the address that the front-end gave for it, as the protocol has it.
 */
static inline void vq_dirty_device_area(struct vq *vq, uint64_t offset, uint64_t len)
{
	if (unlikely(vq->dirty_ring))
		vq_dirty_mark_gpa(vq, vq->cfg.log_addr + offset, len);
}

/* @len bytes at @offset of the descriptor area, which the device writes in a packed ring. */
static inline void vq_dirty_desc_area(struct vq *vq, uint64_t offset, uint64_t len)
{
	if (unlikely(vq->dirty_ring))
		vq_dirty_mark_gpa(vq, vq->cfg.desc + offset, len);
}

/* A batch ends: tells the log's reader, if it wants that. False where the log is lost. */
static inline bool vq_dirty_end_batch(struct vq *vq)
{
	return likely(!vq->dirty) || vq_dirty_publish(vq);
}

#endif
