/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The side of the dirty log that is taken only while there is one. A log that does not reach as far
 * as guest memory loses marks: each is counted by the log, and said in one rate-limited line.
 */
#include "virtio/vq_dirty.h"

#include <inttypes.h>
#include <unistd.h>

#include "virtio/vdev.h"

static void tell_beyond(struct vq *vq)
{
	log_limited(&vq->log, LOG_LEVEL_WARN,
		"%s: queue %u: wrote to guest memory beyond the dirty log of %" PRIu64
		" bytes, %" PRIu64 " times so far: a migration will miss that",
		vdev_label(vq->dev), vq->index, dirty_log_bytes(vq->dirty),
		dirty_log_num_beyond(vq->dirty));
}

void vq_dirty_mark_host(struct vq *vq, const void *host, uint64_t len)
{
	vq->dirty_marked = true;
	if (!dirty_log_mark_host(vq->dirty, vq->mem, host, len))
		tell_beyond(vq);
}

void vq_dirty_mark_gpa(struct vq *vq, uint64_t gpa, uint64_t len)
{
	vq->dirty_marked = true;
	if (!dirty_log_mark(vq->dirty, gpa, len))
		tell_beyond(vq);
}

bool vq_dirty_publish(struct vq *vq)
{
	static const uint64_t one = 1;

	if (dirty_log_is_lost(vq->dirty))
		return false;
	if (vq->dirty_marked && vq->dirty_fd >= 0) {
		/* A full one has a signal pending: nobody waits for it. */
		ssize_t n = write(vq->dirty_fd, &one, sizeof(one));

		(void)n;
	}
	vq->dirty_marked = false;
	return true;
}
