/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The in-flight region (vhost-user, "Inflight I/O tracking"): made for a front-end that asks, taken
 * from one that hands it over, cut into a part for each queue. What lies in it is virtio/'s.
 *
 * A request for a region that the device has no use for is answered with size 0 and no descriptor,
 * upon which front-ends do without. Refused: a region that is shorter than its queues need, or
 * longer than its file, or not aligned.
 */
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "transport/vhu_internal.h"

/* Where a part's words may lie; the file's offset is the front-end's. */
#define PART_ALIGN 8

static uint64_t part_bytes(const struct vhu *vhu, uint32_t entries)
{
	return vq_inflight_bytes(vdev_ring_feature(vhu->dev, VIRTIO_F_RING_PACKED), entries);
}

static int check_counts(
	const struct vhu *vhu, unsigned int num_queues, unsigned int queue_size, struct err *err)
{
	if (!num_queues || num_queues > vhu->dev->num_queues)
		return err_set(err, -EINVAL, "in-flight region for %u queues, the device has %u",
			num_queues, vhu->dev->num_queues);
	if (!queue_size || queue_size > VQ_SIZE_MAX)
		return err_set(err, -EINVAL,
			"in-flight region for rings of %u, expected 1 to %d descriptors",
			queue_size, VQ_SIZE_MAX);
	return 0;
}

/* A file that nobody can make shorter, where the kernel has that. */
static int make_file(uint64_t bytes, struct err *err)
{
	_cleanup_fd_ int fd = memfd_create("ringside-inflight", MFD_CLOEXEC | MFD_ALLOW_SEALING);

	if (fd < 0 || ftruncate(fd, (off_t)bytes) < 0)
		return err_set(err, -errno,
			"cannot make an in-flight region of %" PRIu64 " bytes: %m", bytes);
	fcntl(fd, F_ADD_SEALS, F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_SEAL);
	return take_fd(&fd);
}

int vhu_get_inflight_fd(struct vhu *vhu, struct vhu_call *call, struct err *err)
{
	const struct vhu_inflight *asked = &call->payload->inflight;
	unsigned int num_queues = le16_get(asked->num_queues);
	unsigned int queue_size = le16_get(asked->queue_size);
	uint64_t bytes = num_queues * part_bytes(vhu, queue_size);
	struct err why;

	(void)err;
	/* Some leave out the padding at the end. */
	call->reply_bytes = call->payload_bytes;
	call->reply.inflight.num_queues = asked->num_queues;
	call->reply.inflight.queue_size = asked->queue_size;
	if (check_counts(vhu, num_queues, queue_size, &why) == 0)
		call->reply_fd = make_file(bytes, &why);
	if (call->reply_fd >= 0)
		call->reply.inflight.mmap_size = le64_make(bytes);
	else
		log_limited(&vhu->limit, LOG_LEVEL_WARN,
			"%s: GET_INFLIGHT_FD on %s: %s; requests in flight will not survive us",
			vdev_label(vhu->dev), vhu_where(vhu), why.msg);
	return 0;
}

static int check_room(const struct vhu *vhu, struct err *err)
{
	const struct vhu_region_inflight *in = &vhu->inflight;
	uint64_t bytes = part_bytes(vhu, in->queue_size);

	/* Both factors have 16 bits or a few more: no overflow. */
	if (in->num_queues * bytes <= in->region->desc.size)
		return 0;
	return err_set(err, -EINVAL,
		"in-flight region of %" PRIu64 " bytes; %u queues of %u need %" PRIu64 " each",
		in->region->desc.size, in->num_queues, in->queue_size, bytes);
}

int vhu_inflight_place(struct vhu *vhu, unsigned int i, struct err *err)
{
	const struct vhu_region_inflight *in = &vhu->inflight;
	struct vq *vq = &vhu->dev->queues[i];
	int r;

	if (!in->region || i >= in->num_queues) {
		vq_set_inflight(vq, NULL, 0, 0);
		return 0;
	}
	/* The format, and with it the room, may have changed since. */
	r = check_room(vhu, err);
	if (r < 0)
		return r;
	vq_set_inflight(vq, in->region, i * part_bytes(vhu, in->queue_size), in->queue_size);
	return 0;
}

static int place_all(struct vhu *vhu, struct err *err)
{
	int r = 0;

	for (unsigned int i = 0; !r && i < vhu->dev->num_queues; i++)
		r = vhu_inflight_place(vhu, i, err);
	return r;
}

/* All queues are idle. The descriptor is mapped, and closed with the message. */
int vhu_set_inflight_fd(struct vhu *vhu, struct vhu_call *call, struct err *err)
{
	const struct vhu_inflight *asked = &call->payload->inflight;
	const struct gmem_region_desc desc = {
		.size = le64_get(asked->mmap_size),
		.fd_offset = le64_get(asked->mmap_offset),
	};
	unsigned int num_queues = le16_get(asked->num_queues);
	unsigned int queue_size = le16_get(asked->queue_size);
	struct gmem_region *region;
	int r;

	r = check_counts(vhu, num_queues, queue_size, err);
	if (r < 0)
		return r;
	if (desc.fd_offset % PART_ALIGN)
		return err_set(err, -EINVAL,
			"in-flight region at offset 0x%" PRIx64 ", which is not aligned to %d",
			desc.fd_offset, PART_ALIGN);
	r = gmem_region_new(&desc, vhu->sock.fds[0], &region, err);
	if (r < 0)
		return err_prefix(err, r, "in-flight region");
	vhu_inflight_drop(vhu);
	vhu->inflight = (struct vhu_region_inflight){ region, num_queues, queue_size };
	r = place_all(vhu, err);
	if (r < 0)
		vhu_inflight_drop(vhu);
	for (unsigned int i = 0; i < vhu->dev->num_queues; i++)
		vhu->rings[i].lost = false;
	return r;
}

void vhu_inflight_drop(struct vhu *vhu)
{
	for (unsigned int i = 0; i < vhu->dev->num_queues; i++)
		vq_set_inflight(&vhu->dev->queues[i], NULL, 0, 0);
	gmem_region_unref(vhu->inflight.region);
	vhu->inflight = (struct vhu_region_inflight){ 0 };
}
