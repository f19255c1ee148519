/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A queue as the main loop sees it: configuration, start and stop, descriptors. Its loop hears of
 * changes by messages (vq_serve.c). No locks: what both loops see is atomic or changes hands by a
 * message.
 */
#include "virtio/vq.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "base/alloc.h"
#include "base/cleanup.h"
#include "virtio/vdev.h"
#include "virtio/vq_inflight.h"
#include "virtio/vq_internal.h"
#include "virtio/vq_recorder.h"
#include "virtio/vring.h"

#define FD_UNCHANGED (-2)

static void free_tables(struct vq *vq)
{
	if (vq->slots)
		munmap(vq->slots, vq->slots_bytes);
	if (vq->large)
		munmap(vq->large, vq->large_bytes);
	vq->slots = NULL;
	vq->large = NULL;
	free(vq->free_slots);
	free(vq->inflight);
	vq->free_slots = NULL;
	vq->inflight = NULL;
}

static void take_next_fd(int *fd, int *next)
{
	if (*next == FD_UNCHANGED)
		return;
	close_fd(fd);
	*fd = *next;
	*next = FD_UNCHANGED;
}

/* Main loop: who served the queue has let go of it. */
static void on_stopped(struct loop_post *post)
{
	struct vq *vq = container_of(post, struct vq, stopped_post);

	vq->state = VQ_IDLE;
	vq->cfg.next_avail = vq->last_avail;
	vq->cfg.next_used = vq->used_idx;
	vq->cfg.has_base = true;
	free_tables(vq);
	gmem_unref(take_ptr(vq->mem));
	dirty_log_unref(take_ptr(vq->dirty));
	take_next_fd(&vq->call_fd, &vq->next_call_fd);
	take_next_fd(&vq->kick_fd, &vq->next_kick_fd);
	vq->stopped_fn(vq);
}

void vq_handed_back(struct vq *vq, uint16_t next_avail, uint16_t next_used)
{
	assert(vq->state == VQ_STOPPING && vq->dev->handover);
	vq->last_avail = next_avail;
	vq->used_idx = next_used;
	on_stopped(&vq->stopped_post);
}

/* Main loop, for a queue whose driver is called by the transport. */
static void on_call(struct loop_post *post)
{
	struct vq *vq = container_of(post, struct vq, call_post);
	struct vdev *dev = vq->dev;

	/* Before the call: what is pushed from now on calls again. */
	atomic_store(&vq->call_posted, false);
	if (dev->transport && dev->transport->call)
		dev->transport->call(dev, vq->index);
}

static void on_broken(struct loop_post *post)
{
	struct vq *vq = container_of(post, struct vq, broken_post);

	vq->was_broken = true;
	vq->broken_fn(vq);
}

void vq_init(struct vq *vq, struct vdev *dev, unsigned int index, uint32_t num_default,
	struct loop *loop)
{
	memset(vq, 0, sizeof(*vq));
	vq->dev = dev;
	vq->index = index;
	vq->num_default = num_default;
	vq->loop = loop;
	vq->stopping = true;
	vq->cfg.num = num_default;
	vq->packed.last_head = VRING_PACKED_WRAP;
	atomic_store(&vq->signal_fds, UINT64_MAX);
	vq->call_fd = vq->kick_fd = vq->err_fd = -1;
	vq->next_call_fd = vq->next_kick_fd = FD_UNCHANGED;
	vq->kick.fn = vq_on_kick;
	vq_poll_init(vq);
	vq->run_work.fn = vq_on_run_work;
	vq->flush_work.fn = vq_on_flush_work;
	vq->start_post.fn = vq_on_start;
	vq->stop_post.fn = vq_on_stop;
	vq->kick_post.fn = vq_on_kick_post;
	vq->call_post.fn = on_call;
	vq->extra_call_post.fn = vq_on_extra_call;
	vq->stopped_post.fn = on_stopped;
	vq->broken_post.fn = on_broken;
}

void vq_deinit(struct vq *vq)
{
	if (!vq->dev)
		return;
	vq_set_inflight(vq, NULL, 0, 0);
	vq_reset_config(vq);
	vq_recorder_deinit(vq);
	vq->dev = NULL;
}

void vq_reset_config(struct vq *vq)
{
	assert(vq->state == VQ_IDLE);
	vq->cfg = (struct vq_config){ .num = vq->num_default };
	vq->enabled = false;
	vq->has_kick = false;
	vq->was_broken = false;
	close_fd(&vq->call_fd);
	close_fd(&vq->kick_fd);
	close_fd(&vq->err_fd);
	vq->last_avail = vq->shadow_avail = vq->used_idx = vq->flushed_used = 0;
	vq->signalled_used = 0;
	vq->signalled_used_valid = false;
	vq->last_call = VQ_CALL_NONE;
	vq->broken = vq->dry = vq->notify_on = false;
	vq->ops = NULL;
	vq->packed.last_head = VRING_PACKED_WRAP;
	if (vq->ledger)
		vq_ledger_forget(vq);
	vq_publish(vq);
}

const struct vq_ops *vq_format(const struct vdev *dev)
{
	return vdev_ring_feature(dev, VIRTIO_F_RING_PACKED) ? &vq_packed_ops : &vq_split_ops;
}

int vq_set_num(struct vq *vq, uint32_t num, struct err *err)
{
	if (vq->enabled && num != vq->cfg.num)
		return err_set(err, -EBUSY,
			"queue %u: size %u while it is enabled with %u; disable it first",
			vq->index, num, vq->cfg.num);
	vq->cfg.num = num;
	return 0;
}

int vq_set_areas(struct vq *vq, uint64_t desc, uint64_t driver, uint64_t device, struct err *err)
{
	if (vq->enabled &&
		(desc != vq->cfg.desc || driver != vq->cfg.driver || device != vq->cfg.device))
		return err_set(err, -EBUSY,
			"queue %u: areas at 0x%" PRIx64 ", 0x%" PRIx64 ", 0x%" PRIx64
			" while it is enabled with others; disable it first",
			vq->index, desc, driver, device);
	vq->cfg.desc = desc;
	vq->cfg.driver = driver;
	vq->cfg.device = device;
	return 0;
}

static void *map_lazily(size_t bytes)
{
	void *p = mmap(NULL, bytes, PROT_READ | PROT_WRITE,
		MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);

	return p == MAP_FAILED ? NULL : p;
}

static int alloc_tables(struct vq *vq, struct err *err)
{
	vq->slots_bytes = vq->num * (sizeof(struct chain) + VQ_INLINE_IOVS * sizeof(struct iovec));
	vq->large_bytes =
		(size_t)VQ_LARGE_CHAINS * (size_t)vq_large_iovs(vq) * sizeof(struct iovec);
	/* Mapped, not allocated: only what is used becomes memory. */
	vq->slots = map_lazily(vq->slots_bytes);
	vq->large = map_lazily(vq->large_bytes);
	if (!vq->slots || !vq->large) {
		free_tables(vq);
		return err_set(err, -ENOMEM, "queue %u: no address space for a ring of %u",
			vq->index, vq->num);
	}
	vq->free_slots = xnew_n(uint16_t, vq->num);
	vq->inflight = xcalloc(vq->num, sizeof(*vq->inflight));
	vq->num_free_slots = 0;
	vq->num_touched_slots = 0;
	vq->large_free = UINT32_MAX;
	return 0;
}

static int recover(struct vq *vq, struct err *err)
{
	int r = vq->ops->recover(vq, err);

	/* Zeros stood where the record was: it looks as if it never was used. */
	if (vq_ledger_lost(vq))
		return err_set(err, -EIO,
			"queue %u: the in-flight region is gone: its file was truncated",
			vq->index);
	return r;
}

int vq_start(struct vq *vq, struct gmem *mem, struct err *err)
{
	int r;

	assert(vq->state == VQ_IDLE && vq->has_kick && !vq->dev->cls->relayed);
	if (!vq->cfg.num || vq->cfg.num > VQ_SIZE_MAX)
		return err_set(err, -EINVAL, "queue %u: size %u is not within 1 and %u", vq->index,
			vq->cfg.num, VQ_SIZE_MAX);
	vq->num = vq->cfg.num;
	vq->mem = gmem_ref(mem);
	vq->ops = vq_format(vq->dev);
	if (vq->ledger && vq->ops->recorded)
		vq->ops = vq->ops->recorded;
	vq->in_order = vdev_ring_feature(vq->dev, VIRTIO_F_IN_ORDER);
	vq->order_first = vq->order_last = NULL;
	vq->event_idx = vdev_ring_feature(vq->dev, VIRTIO_F_EVENT_IDX);
	/* Before recover(), which may write into the ring. */
	vq->dirty = dirty_log_ref(vq->dev->dirty);
	vq->dirty_fd = vq->dev->dirty_fd;
	vq->dirty_ring = vq->dirty && vq->cfg.log_ring;
	r = vq->ops->map(vq, err);
	if (!r)
		r = vq_recorder_init(vq, err);
	/* Who serves it elsewhere keeps its own. */
	if (!r && !vq->dev->handover)
		r = alloc_tables(vq, err);
	if (!r && !vq->dev->handover && vq->ops->recover)
		r = recover(vq, err);
	if (r < 0) {
		free_tables(vq);
		gmem_unref(take_ptr(vq->mem));
		dirty_log_unref(take_ptr(vq->dirty));
		return r;
	}
	vq->near = (struct vq_near){ 0 };
	vq->state = VQ_RUNNING;
	vq->broken = vq->stopping = vq->dry = false;
	vq->inuse = 0;
	vq->batch_ns = vq->turn_ns = 0;
	vq->num_later = vq->num_later_last = 0;
	vq->told = vq->count.completed;
	vq->notify_on = false;
	vq_publish(vq);
	if (vq->dev->handover)
		vq->dev->handover->start(vq);
	else
		loop_post(vq->loop, &vq->start_post);
	return 0;
}

void vq_stop(struct vq *vq)
{
	assert(vq->state == VQ_RUNNING);
	vq->state = VQ_STOPPING;
	if (vq->dev->handover)
		vq->dev->handover->stop(vq);
	else
		loop_post(vq->loop, &vq->stop_post);
}

/* A descriptor for a running queue travels to its loop, which lets go of the old one. */
struct fd_change {
	struct loop_post post;
	struct vq *vq;
	int fd;
	bool is_kick;
};

static void on_fd_changed(struct loop_post *post)
{
	struct fd_change *change = container_of(post, struct fd_change, post);

	close_fd(&change->fd);
	free(change);
}

static void on_fd_change(struct loop_post *post)
{
	struct fd_change *change = container_of(post, struct fd_change, post);
	struct vq *vq = change->vq;
	int *fd = change->is_kick ? &vq->kick_fd : &vq->call_fd, old = *fd;
	struct err err = { 0 };

	if (change->is_kick)
		loop_fd_del(&vq->kick);
	*fd = change->fd;
	/* Before the old one goes: vq_read_signal_fds(). */
	vq_publish_fds(vq);
	atomic_thread_fence(memory_order_seq_cst);
	if (change->is_kick && *fd >= 0 && !vq->broken && !vq->stopping) {
		vq->kick.fd = *fd;
		if (loop_fd_add(vq->loop, &vq->kick, EPOLLIN, &err) < 0)
			vq_break(vq, "kick descriptor: %s", err.msg);
		loop_work_add(vq->loop, &vq->run_work);
	} else if (!change->is_kick) {
		vq->last_call = VQ_CALL_NONE;
	}
	if (!change->is_kick && vq->used_idx != vq->ops->first_used) {
		/* What was signalled on the old one may not have been seen: once too often is
		 * legal. */
		vq_send_call(vq);
	}
	/* Whoever opens descriptors closes them: a number that comes back is never another's. */
	change->fd = old;
	change->post.fn = on_fd_changed;
	loop_post(vq->dev->main_loop, &change->post);
}

static void set_fd(struct vq *vq, int *fd, bool is_kick)
{
	int *current = is_kick ? &vq->kick_fd : &vq->call_fd;
	int *next = is_kick ? &vq->next_kick_fd : &vq->next_call_fd;
	int flags = *fd < 0 ? -1 : fcntl(*fd, F_GETFL);
	struct fd_change *change;

	if (flags >= 0)
		fcntl(*fd, F_SETFL, flags | O_NONBLOCK);
	if (is_kick)
		vq->has_kick = *fd >= 0;
	if (vq->state == VQ_IDLE || (vq->state == VQ_RUNNING && vq->dev->handover)) {
		close_fd(current);
		*current = take_fd(fd);
		if (vq->state == VQ_RUNNING)
			vq->dev->handover->fd_changed(vq, is_kick);
		return;
	}
	if (vq->state == VQ_STOPPING) {
		if (*next >= 0)
			close(*next);
		*next = take_fd(fd);
		return;
	}
	change = xnew(struct fd_change);
	change->post.fn = on_fd_change;
	change->vq = vq;
	change->fd = take_fd(fd);
	change->is_kick = is_kick;
	loop_post(vq->loop, &change->post);
}

void vq_set_call_fd(struct vq *vq, int *fd)
{
	set_fd(vq, fd, false);
}

void vq_set_kick_fd(struct vq *vq, int *fd)
{
	set_fd(vq, fd, true);
}

void vq_set_err_fd(struct vq *vq, int *fd)
{
	int flags = *fd < 0 ? -1 : fcntl(*fd, F_GETFL);

	if (flags >= 0)
		fcntl(*fd, F_SETFL, flags | O_NONBLOCK);
	close_fd(&vq->err_fd);
	vq->err_fd = take_fd(fd);
}

void vq_look_again(struct vq *vq)
{
	if (vq->state == VQ_RUNNING && !vq->dev->handover &&
		!atomic_exchange(&vq->kick_posted, true))
		loop_post(vq->loop, &vq->kick_post);
}

void vq_kick(struct vq *vq)
{
	if (vq->state != VQ_RUNNING)
		return;
	atomic_store(&vq->kick_told, true);
	vq_look_again(vq);
}

void vq_call(struct vq *vq)
{
	if (vq->state == VQ_RUNNING && !atomic_exchange(&vq->extra_call_posted, true))
		loop_post(vq->loop, &vq->extra_call_post);
}

void vq_set_call_by_message(struct vq *vq, bool on)
{
	atomic_store(&vq->call_by_message, on);
}
