/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Rings and memory. The front-end may say things in any order: its words are kept in struct
 * vhu_ring, and vhu_update() makes the queue's configuration of them once a ring is complete.
 * Refuses sizes that no ring has, rings without a kick descriptor, and rings outside the memory
 * table.
 */
#include <errno.h>
#include <inttypes.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/alloc.h"
#include "base/cleanup.h"
#include "transport/vhu_internal.h"
#include "virtio/vring.h"

/* Where a packed ring begins: position 0 and wrap counter 1, on both sides. */
#define PACKED_BASE_START ((uint32_t)VRING_PACKED_START << 16 | VRING_PACKED_START)

static struct vq *vq_of(struct vhu *vhu, const struct vhu_call *call)
{
	return &vhu->dev->queues[call->index];
}

bool vhu_ring_not_idle(struct vhu *vhu, const struct vhu_call *call)
{
	return vq_of(vhu, call)->state != VQ_IDLE;
}

/* Where it may turn out to be a reset, all queues are. */
bool vhu_base_not_idle(struct vhu *vhu, const struct vhu_call *call)
{
	return vhu_ring_not_idle(vhu, call) || (vhu->reset_pending && !vdev_is_idle(vhu->dev));
}

/* A driver that was told that its ring is off frees the memory: it is off by then. */
bool vhu_ring_disabled(struct vhu *vhu, const struct vhu_call *call)
{
	return !le32_get(call->payload->state.num) && vhu_ring_not_idle(vhu, call);
}

/* What is set on an enabled ring is refused, or changes nothing: nobody has to wait for that. */
bool vhu_ring_stopping(struct vhu *vhu, const struct vhu_call *call)
{
	return !vq_of(vhu, call)->enabled && vhu_ring_not_idle(vhu, call);
}

static bool is_packed(const struct vhu *vhu)
{
	return vq_format(vhu->dev) == &vq_packed_ops;
}

/* Until the features are there, a device that offers packed rings may have one. */
static bool may_be_packed(const struct vhu *vhu)
{
	return vhu->features_set
		       ? is_packed(vhu)
		       : virtio_features_has(&vhu->dev->device_features, VIRTIO_F_RING_PACKED);
}

int vhu_set_vring_num(struct vhu *vhu, struct vhu_call *call, struct err *err)
{
	uint32_t num = le32_get(call->payload->state.num);
	bool any_size = may_be_packed(vhu);

	if (!num || num > VQ_SIZE_MAX || (!any_size && (num & (num - 1))))
		return err_set(err, -EINVAL, "queue %u: size %u is no%s within 1 and %u",
			call->index, num, any_size ? "t" : " power of two", VQ_SIZE_MAX);
	return vq_set_num(vq_of(vhu, call), num, err);
}

int vhu_set_vring_addr(struct vhu *vhu, struct vhu_call *call, struct err *err)
{
	const struct vhu_vring_addr *addr = &call->payload->addr;
	uint64_t desc = le64_get(addr->desc), avail = le64_get(addr->avail);
	uint64_t used = le64_get(addr->used);
	struct vhu_ring *ring = &vhu->rings[call->index];

	/* The same ones again come with another flag, when a migration begins. */
	if (vq_of(vhu, call)->enabled &&
		(desc != ring->desc || avail != ring->avail || used != ring->used))
		return err_set(err, -EBUSY,
			"queue %u: user addresses 0x%" PRIx64 ", 0x%" PRIx64 ", 0x%" PRIx64
			" while the ring is enabled with others; stop it first",
			call->index, desc, avail, used);
	vq_of(vhu, call)->cfg.log_ring = le32_get(addr->flags) & VHU_VRING_LOG;
	vq_of(vhu, call)->cfg.log_addr = le64_get(addr->log);
	ring->desc = desc;
	ring->avail = avail;
	ring->used = used;
	ring->has_addr = true;
	ring->lost = false;
	return 0;
}

/* The two halves of a base: a split ring has the first one alone. */
struct base {
	uint16_t avail, used;
};

/*
 * A packed ring's places, available in the low half, used in the high one. Who leaves the latter
 * out (DPDK) means the same place: rings stop with nothing in flight.
 */
static struct base unpack_base(uint32_t num)
{
	struct base base = { (uint16_t)num, (uint16_t)(num >> 16) };

	if (!base.used)
		base.used = base.avail;
	return base;
}

/* The beginning: what a packed ring of user-mode Linux begins with is 0 too. */
static bool is_start(const struct vhu *vhu, struct base base)
{
	return !base.avail || (is_packed(vhu) && base.avail == VRING_PACKED_START);
}

/*
 * Features were set while no ring ran. Whether the driver began anew, or the machine only stood
 * still, shows here: a ring that goes on where it stood was not reset.
 */
static bool is_reset(const struct vhu *vhu, const struct vq *vq, struct base base)
{
	if (!vhu->reset_pending)
		return false;
	return base.avail != vq->cfg.next_avail || (is_start(vhu, base) && vhu->dev->broken);
}

int vhu_set_vring_base(struct vhu *vhu, struct vhu_call *call, struct err *err)
{
	struct vq *vq = vq_of(vhu, call);
	uint32_t num = le32_get(call->payload->state.num);
	struct base base = unpack_base(num);

	if (!may_be_packed(vhu) && num > UINT16_MAX)
		return err_set(err, -EINVAL, "queue %u: base %u is above %u", call->index, num,
			UINT16_MAX);
	if (is_reset(vhu, vq, base))
		vhu_reset(vhu, true);
	else if (!is_start(vhu, base))
		vhu->reset_pending = false;
	vq->cfg.next_avail = base.avail;
	vq->cfg.next_used = base.used;
	vq->cfg.has_base = true;
	return 0;
}

int vhu_get_vring_base(struct vhu *vhu, struct vhu_call *call, struct err *err)
{
	struct vq *vq = vq_of(vhu, call);
	uint32_t num = vq->cfg.next_avail;
	int none = -1;

	(void)err;
	vhu->rings[call->index].has_kick = false;
	vq_set_kick_fd(vq, &none);
	if (is_packed(vhu))
		num = vq->cfg.has_base ? num | (uint32_t)vq->cfg.next_used << 16
				       : PACKED_BASE_START;
	call->reply.state.index = le32_make(call->index);
	call->reply.state.num = le32_make(num);
	call->reply_bytes = sizeof(call->reply.state);
	return 0;
}

/*
 * Signals go through eventfds, sockets and pipes. Anything else could keep its loop waiting (a file
 * of somebody's file system) or busy (a device that always has something to read).
 */
int vhu_check_signal_fd(int fd, const char *what, struct err *err)
{
	struct stat st;

	if (fd < 0)
		return 0;
	if (fstat(fd, &st) < 0)
		return err_set(err, -errno, "the %s descriptor: %m", what);
	/* An eventfd has no type at all. */
	if ((st.st_mode & S_IFMT) && !S_ISSOCK(st.st_mode) && !S_ISFIFO(st.st_mode))
		return err_set(err, -EINVAL,
			"the %s descriptor is neither an eventfd nor a socket nor a pipe", what);
	return 0;
}

int vhu_set_vring_kick(struct vhu *vhu, struct vhu_call *call, struct err *err)
{
	_cleanup_fd_ int fd = usock_take_fd(&vhu->sock, 0);
	int r = vhu_check_signal_fd(fd, "kick", err);

	if (r < 0)
		return r;
	if (fd < 0 && !vhu_negotiated(vhu, VHU_PF_INBAND_NOTIFICATIONS))
		return err_set(err, -EOPNOTSUPP,
			"queue %u: no kick descriptor; polling a ring is not supported",
			call->index);
	vq_set_kick_fd(vq_of(vhu, call), &fd);
	vhu->rings[call->index].has_kick = true;
	return 0;
}

/* The first one starts the ring, later ones serve it; a descriptor may be there besides. */
int vhu_vring_kick(struct vhu *vhu, struct vhu_call *call, struct err *err)
{
	(void)err;
	vhu->rings[call->index].has_kick = true;
	vq_kick(vq_of(vhu, call));
	return 0;
}

/* Once it is negotiated, a ring that nobody said anything about calls by message. */
static void set_call_by_message(struct vhu *vhu, unsigned int i)
{
	vq_set_call_by_message(&vhu->dev->queues[i],
		vhu_negotiated(vhu, VHU_PF_INBAND_NOTIFICATIONS) && !vhu->rings[i].is_polled);
}

int vhu_set_vring_call(struct vhu *vhu, struct vhu_call *call, struct err *err)
{
	_cleanup_fd_ int fd = usock_take_fd(&vhu->sock, 0);
	int r = vhu_check_signal_fd(fd, "call", err);

	if (r < 0)
		return r;
	vhu->rings[call->index].is_polled = fd < 0;
	set_call_by_message(vhu, call->index);
	vq_set_call_fd(vq_of(vhu, call), &fd);
	return 0;
}

int vhu_set_vring_err(struct vhu *vhu, struct vhu_call *call, struct err *err)
{
	_cleanup_fd_ int fd = usock_take_fd(&vhu->sock, 0);
	int r = vhu_check_signal_fd(fd, "error", err);

	if (r < 0)
		return r;
	vq_set_err_fd(vq_of(vhu, call), &fd);
	return 0;
}

int vhu_set_vring_enable(struct vhu *vhu, struct vhu_call *call, struct err *err)
{
	uint32_t num = le32_get(call->payload->state.num);

	if (num > 1)
		return err_set(
			err, -EINVAL, "queue %u: enable is %u, neither 0 nor 1", call->index, num);
	vhu->rings[call->index].enabled = num;
	vhu->rings[call->index].told = true;
	return 0;
}

/* Turns the ring's addresses into guest-physical ones. It is idle, and not enabled meanwhile. */
static bool place_ring(struct vhu *vhu, unsigned int i)
{
	const struct vhu_ring *ring = &vhu->rings[i];
	struct vq *vq = &vhu->dev->queues[i];
	bool event_idx = vdev_ring_feature(vhu->dev, VIRTIO_F_EVENT_IDX);
	const struct vq_ops *format = vq_format(vhu->dev);
	uint64_t gpa[3];
	const struct {
		uint64_t addr;
		int area;
	} areas[] = {
		{ ring->desc, VQ_AREA_DESC },
		{ ring->avail, VQ_AREA_DRIVER },
		{ ring->used, VQ_AREA_DEVICE },
	};

	for (unsigned int k = 0; k < ARRAY_SIZE(areas); k++)
		if (!gmem_user_to_gpa(vhu->dev->mem, areas[k].addr,
			    format->area_bytes(vq->cfg.num, event_idx, areas[k].area), &gpa[k]))
			return false;
	vq->enabled = false;
	return vq_set_areas(vq, gpa[0], gpa[1], gpa[2], NULL) == 0;
}

/* Does everything but its place in memory say that the ring runs? */
static bool ring_wanted(const struct vhu *vhu, unsigned int i)
{
	const struct vhu_ring *ring = &vhu->rings[i];

	return vhu->connected && vhu->features_set && ring->enabled && ring->has_kick &&
	       ring->has_addr && vhu->dev->mem && vhu->dev->mem->num_regions;
}

bool vhu_any_ring(const struct vhu *vhu)
{
	for (unsigned int i = 0; i < vhu->dev->num_queues; i++)
		if (vhu->dev->queues[i].enabled)
			return true;
	return false;
}

bool vhu_status_is_derived(const struct vhu *vhu)
{
	return vhu->status_kind != VHU_STATUS_DRIVER;
}

/* Finds the ring, and its part of the in-flight region. */
static int prepare_ring(struct vhu *vhu, unsigned int i, struct err *err)
{
	const struct vhu_ring *ring = &vhu->rings[i];

	if (!place_ring(vhu, i))
		return err_set(err, -EFAULT,
			"queue %u: the ring at user addresses 0x%" PRIx64 ", 0x%" PRIx64
			", 0x%" PRIx64 " lies outside the memory table",
			i, ring->desc, ring->avail, ring->used);
	return vhu_inflight_place(vhu, i, err);
}

int vhu_update(struct vhu *vhu, struct err *err)
{
	struct vdev *dev = vhu->dev;
	unsigned int i;
	int r = 0, late;

	for (i = 0; i < dev->num_queues; i++) {
		struct vhu_ring *ring = &vhu->rings[i];
		struct vq *vq = &dev->queues[i];
		bool ready = ring_wanted(vhu, i);

		vq->has_kick = ring->has_kick;
		set_call_by_message(vhu, i);
		/* What a running ring lies in does not change: that waits for idle queues. */
		if (ready && vq->state == VQ_IDLE) {
			late = prepare_ring(vhu, i, ring->lost ? NULL : err);
			r = late && !ring->lost ? late : r;
			ring->lost = late < 0;
			ready = !late;
		}
		vq->enabled = ready;
	}
	if (vhu_any_ring(vhu)) {
		vhu->started = true;
		vhu->reset_pending = false;
	}
	if (!vhu_status_is_derived(vhu))
		vdev_sync(dev);
	else if (vhu_any_ring(vhu))
		vdev_derive_status(dev,
			VIRTIO_STATUS_ACKNOWLEDGE | VIRTIO_STATUS_DRIVER | VIRTIO_STATUS_DRIVER_OK,
			0);
	else
		vdev_derive_status(dev, 0, VIRTIO_STATUS_DRIVER_OK);
	return r;
}

/* What of a queue survives a reset. */
struct saved_queue {
	struct vq_config cfg;
	int call_fd, kick_fd, err_fd;
};

static void save_queue(struct vq *vq, struct saved_queue *saved, bool keep_ring)
{
	saved->cfg = vq->cfg;
	/* Idle queues' descriptors are the main loop's. */
	saved->call_fd = take_fd(&vq->call_fd);
	saved->err_fd = take_fd(&vq->err_fd);
	saved->kick_fd = keep_ring ? take_fd(&vq->kick_fd) : -1;
}

static void restore_queue(struct vq *vq, struct saved_queue *saved, bool keep_ring)
{
	if (keep_ring)
		vq->cfg = saved->cfg;
	vq_set_call_fd(vq, &saved->call_fd);
	vq_set_err_fd(vq, &saved->err_fd);
	vq_set_kick_fd(vq, &saved->kick_fd);
}

void vhu_reset(struct vhu *vhu, bool keep_rings)
{
	struct vdev *dev = vhu->dev;
	struct virtio_features features = dev->driver_features;
	_cleanup_free_ struct saved_queue *saved = xnew_n(struct saved_queue, dev->num_queues);
	uint8_t status = dev->status;
	unsigned int i;

	/* QEMU hands over call descriptors before it begins anew, and not again. */
	for (i = 0; i < dev->num_queues; i++)
		save_queue(&dev->queues[i], &saved[i], keep_rings);
	vdev_reset(dev);
	for (i = 0; i < dev->num_queues; i++)
		restore_queue(&dev->queues[i], &saved[i], keep_rings);
	vhu->started = false;
	vhu->reset_pending = false;
	if (keep_rings) {
		vdev_set_driver_features(dev, features);
		vdev_derive_status(dev, status & (uint8_t)~VIRTIO_STATUS_NEEDS_RESET, 0);
		return;
	}
	vhu->features_set = false;
	vhu_log_switch(vhu, false);
	for (i = 0; i < dev->num_queues; i++)
		vhu->rings[i] = (struct vhu_ring){ .is_polled = vhu->rings[i].is_polled };
}

static void signal_fd(int fd)
{
	static const uint64_t one = 1;
	ssize_t r;

	if (fd < 0)
		return;
	/* A socket whose other end is gone must not raise SIGPIPE. */
	r = send(fd, &one, sizeof(one), MSG_NOSIGNAL | MSG_DONTWAIT);
	if (r < 0 && errno == ENOTSOCK)
		r = write(fd, &one, sizeof(one));
	(void)r;
}

static void signal_error(struct vhu *vhu, const struct vq *vq)
{
	if (vq->err_fd >= 0)
		signal_fd(vq->err_fd);
	else if (vhu_negotiated(vhu, VHU_PF_INBAND_NOTIFICATIONS))
		vhu_channel_err(vhu, vq->index);
}

void vhu_signal_errors(struct vhu *vhu)
{
	struct vdev *dev = vhu->dev;
	bool any = false;
	unsigned int i;

	for (i = 0; i < dev->num_queues; i++)
		any |= dev->queues[i].was_broken;
	/* A fault of the whole device is every queue's. */
	for (i = 0; i < dev->num_queues; i++)
		if (!any || dev->queues[i].was_broken)
			signal_error(vhu, &dev->queues[i]);
}
