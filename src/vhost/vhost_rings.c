/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Queues on their way to who serves them, and back. What the back-end has to know before its first
 * ring goes along with that ring. A ring whose server died goes on where the region for what is in
 * flight says, or where looks at the ring prove that it stood; else the device is broken.
 */
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>

#include "base/cleanup.h"
#include "vhost/vhost_dev.h"
#include "virtio/vring.h"

/* Room for rings of this size at least in a region for what is in flight. */
#define REGION_QUEUE_SIZE 1024
/* Between looks at rings: half a ring of 128 is done in no less. */
#define LOOK_BUSY_NS (NSEC_PER_MSEC / 2)
#define LOOK_REST_NS (8 * NSEC_PER_MSEC)

static bool is_packed(const struct vhost_dev *vd)
{
	return vq_format(&vd->dev)->packed;
}

/* Some queues of a device may be nobody's: a vhost-vsock's events. */
static bool is_served(const struct vhost_dev *vd, unsigned int index)
{
	return !vd->type->num_served || index < vd->type->num_served;
}

static uint32_t base_of(const struct vhost_dev *vd, const struct vq_config *cfg)
{
	if (!is_packed(vd))
		return cfg->next_avail;
	if (!cfg->has_base)
		return (uint32_t)VRING_PACKED_START << 16 | VRING_PACKED_START;
	return (uint32_t)cfg->next_used << 16 | cfg->next_avail;
}

/* --- handing over --- */

static void copy_fd(int fd, int *ret, bool *ok)
{
	*ret = fd < 0 ? -1 : fcntl(fd, F_DUPFD_CLOEXEC, 0);
	*ok &= fd < 0 || *ret >= 0;
}

static uint32_t region_queue_size(const struct vdev *dev)
{
	uint32_t size = REGION_QUEUE_SIZE;

	for (unsigned int i = 0; i < dev->num_queues; i++)
		size = MAX(size, dev->queues[i].cfg.num);
	return size;
}

/* What the back-end of now has not been told yet. */
static void add_news(struct vhost_dev *vd, struct vhost_job *job, bool *ok)
{
	struct vdev *dev = &vd->dev;
	uint64_t features = dev->driver_features.word[0];
	bool log_all = dev->dirty;

	if (vd->told_mem != dev->mem) {
		job->tell_mem = gmem_ref(dev->mem);
		gmem_unref(vd->told_mem);
		vd->told_mem = gmem_ref(dev->mem);
	}
	if (dev->dirty && (vd->told_log != dev->dirty || vd->told_log_fd != dev->dirty_fd)) {
		job->tell_log = dirty_log_ref(dev->dirty);
		copy_fd(dev->dirty_fd, &job->log_fd, ok);
		dirty_log_unref(vd->told_log);
		vd->told_log = dirty_log_ref(dev->dirty);
		vd->told_log_fd = dev->dirty_fd;
	}
	job->tell_features = !vd->told_features || vd->features != features ||
			     vd->told_log_all != log_all;
	job->features = features;
	job->log_all = log_all;
	job->tell_inflight = !vd->told_inflight;
	job->num_queues = dev->num_queues;
	job->queue_size = region_queue_size(dev);
	vd->told_features = vd->told_inflight = true;
	vd->features = features;
	vd->told_log_all = log_all;
	vd->view.acked_features = features | (vd->view.features & 1ull << VHU_F_PROTOCOL_FEATURES);
	if (log_all)
		vd->view.acked_features |= 1ull << VHU_F_LOG_ALL;
	vd->view.log_enabled = log_all;
	vd->view.log_bytes = log_all ? dirty_log_bytes(dev->dirty) : 0;
}

/* A split ring that no record tells of may have to be judged by looks. */
static void begin_looks(struct vhost_dev *vd, struct vq *vq)
{
	struct ring_witness *witness = &vd->rings[vq->index].witness;

	if (is_packed(vd))
		return;
	witness->max_ns = vd->cls.virtio_id == 1 ? WITNESS_MAX_NET_NS : WITNESS_MAX_NS;
	witness_begin(witness, vq->mem, &vq->cfg, vq->cfg.next_avail, now_ns());
}

static void post_start(struct vhost_dev *vd, struct vq *vq)
{
	struct vhost_job *job = vhost_job_new(vd->talk, VHOST_JOB_START, vd->connection);
	bool ok = true;

	vd->rings[vq->index].posted = vd->rings[vq->index].starting = true;
	add_news(vd, job, &ok);
	job->index = vq->index;
	job->mem = gmem_ref(vq->mem);
	job->vring = (struct vhost_vring){
		.index = vq->index,
		.num = vq->cfg.num,
		.base = base_of(vd, &vq->cfg),
		.desc = vq->cfg.desc,
		.driver = vq->cfg.driver,
		.device = vq->cfg.device,
		.log = vq->dirty_ring,
		.log_addr = vq->cfg.log_addr,
	};
	copy_fd(vq->kick_fd, &job->vring.kick, &ok);
	copy_fd(vq->call_fd, &job->vring.call, &ok);
	copy_fd(vq->err_fd, &job->vring.err, &ok);
	begin_looks(vd, vq);
	if (ok) {
		/* Until the answer it may be served, or not: where it stands nobody knows. */
		vd->ring_views[vq->index].has_base = false;
		vhost_job_post(job);
		return;
	}
	vhost_job_free(job);
	vd->rings[vq->index].posted = vd->rings[vq->index].starting = false;
	vhost_rings_forget(vd);
	vdev_break(&vd->dev,
		"queue %u: its descriptors cannot be duplicated; is the limit of open files "
		"(ulimit -n) reached?",
		vq->index);
}

static void start(struct vq *vq)
{
	struct vhost_dev *vd = vhost_dev_of(vq->dev);
	struct vhost_view_ring *view = &vd->ring_views[vq->index];

	vd->rings[vq->index].wanted = true;
	view->has_areas = true;
	view->has_base = vq->cfg.has_base || !is_packed(vd);
	view->kick = vq->kick_fd;
	view->call = vq->call_fd;
	view->err = vq->err_fd;
	if (is_served(vd, vq->index) && vd->connected)
		post_start(vd, vq);
}

static void stop(struct vq *vq)
{
	struct vhost_dev *vd = vhost_dev_of(vq->dev);
	struct vhost_ring *ring = &vd->rings[vq->index];
	struct vhost_job *job = vhost_job_new(
		vd->talk, ring->posted ? VHOST_JOB_STOP : VHOST_JOB_NOTHING, vd->connection);

	ring->wanted = false;
	job->index = vq->index;
	vhost_job_post(job);
}

static void fd_changed(struct vq *vq, bool is_kick)
{
	struct vhost_dev *vd = vhost_dev_of(vq->dev);
	struct vhost_job *job;
	bool ok = true;

	vd->ring_views[vq->index].kick = vq->kick_fd;
	vd->ring_views[vq->index].call = vq->call_fd;
	if (!vd->rings[vq->index].posted)
		return;
	job = vhost_job_new(vd->talk, VHOST_JOB_FD, vd->connection);
	job->index = vq->index;
	job->is_kick = is_kick;
	copy_fd(is_kick ? vq->kick_fd : vq->call_fd, &job->fd, &ok);
	vhost_job_post(job);
}

const struct vq_handover vhost_handover = {
	.start = start,
	.stop = stop,
	.fd_changed = fd_changed,
};

/* --- a back-end that is gone --- */

/*
 * Where the ring goes on whose server is gone: into cfg. -errno with a sentence where that cannot
 * be known. Whoever holds a region for what is in flight goes on from there, and only has to be
 * told what was answered.
 */
static int find_base(struct vhost_dev *vd, struct vq *vq, struct err *err)
{
	struct ring_witness *witness = &vd->rings[vq->index].witness;
	uint64_t gpa = vq->cfg.device + offsetof(struct vring_used, idx);
	bool in_order = vdev_ring_feature(&vd->dev, VIRTIO_F_IN_ORDER);
	le16 used;
	int r;

	if (!vd->ring_views[vq->index].ran)
		return 0;
	if (is_packed(vd))
		return vd->has_region
			       ? 0
			       : err_set(err, -ENODATA,
					 "queue %u: its back-end is gone, and where a packed "
					 "ring stands only its server knows",
					 vq->index);
	if (vd->has_region || in_order) {
		r = gmem_peek(vq->mem, gpa, &used, sizeof(used));
		if (!r)
			vq->cfg.next_avail = le16_get(used);
		return r < 0 ? err_set(err, r, "queue %u: its memory is gone", vq->index) : 0;
	}
	witness_look(witness, vq->mem, &vq->cfg, now_ns());
	r = witness_base(witness, vq->mem, &vq->cfg, false, &vq->cfg.next_avail, err);
	return r < 0 ? err_prefix(err, r, "queue %u: its back-end is gone", vq->index) : 0;
}

void vhost_rings_look(struct loop_timer *timer)
{
	struct vhost_dev *vd = container_of(timer, struct vhost_dev, look);
	bool any = false, moved = false;

	for (unsigned int i = 0; i < vd->dev.num_queues; i++) {
		struct vq *vq = &vd->dev.queues[i];
		struct ring_witness *witness = &vd->rings[i].witness;

		if (vq->state == VQ_IDLE || !vd->ring_views[i].started)
			continue;
		any = true;
		witness_look(witness, vq->mem, &vq->cfg, now_ns());
		moved |= witness->moved != 0;
	}
	if (any)
		loop_timer_set(
			vd->dev.main_loop, timer, now_ns() + (moved ? LOOK_BUSY_NS : LOOK_REST_NS));
}

void vhost_rings_forget(struct vhost_dev *vd)
{
	vd->told_features = vd->told_inflight = vd->told_log_all = false;
	gmem_unref(take_ptr(vd->told_mem));
	dirty_log_unref(take_ptr(vd->told_log));
}

void vhost_rings_lost(struct vhost_dev *vd)
{
	char reason[VQ_REASON_BYTES] = "";

	vhost_rings_forget(vd);
	for (unsigned int i = 0; i < vd->dev.num_queues; i++) {
		struct vq *vq = &vd->dev.queues[i];
		struct err err = { 0 };

		vd->ring_views[i].started = vd->ring_views[i].enabled = false;
		vd->rings[i].posted = false;
		/* Of one that is on its way it is not known yet how far it came. */
		if (vq->state != VQ_RUNNING || vd->rings[i].starting ||
			find_base(vd, vq, &err) == 0)
			continue;
		if (!reason[0])
			snprintf(reason, sizeof(reason), "%.*s", (int)sizeof(reason) - 1, err.msg);
	}
	vdev_vhost_changed(&vd->dev);
	if (reason[0])
		vdev_break(&vd->dev, "%s", reason);
}

void vhost_rings_resume(struct vhost_dev *vd)
{
	for (unsigned int i = 0; i < vd->dev.num_queues; i++)
		if (vd->rings[i].wanted && !vd->rings[i].posted && is_served(vd, i))
			post_start(vd, &vd->dev.queues[i]);
}

/* --- what came of it --- */

static void started(struct vhost_dev *vd, struct vhost_job *job)
{
	struct vhost_view_ring *view = &vd->ring_views[job->index];
	struct err err = { 0 };

	vd->rings[job->index].starting = false;
	view->has_base = vd->dev.queues[job->index].cfg.has_base || !is_packed(vd);
	if (job->began) {
		view->ran = true;
		vd->has_region = vd->view.has_inflight = job->has_region;
	}
	if (job->r >= 0) {
		view->started = view->enabled = true;
		vdev_vhost_changed(&vd->dev);
		if (vd->watch && !vd->has_region && !is_packed(vd) && !vd->look.loop)
			loop_timer_set(vd->dev.main_loop, &vd->look, now_ns() + LOOK_BUSY_NS);
		return;
	}
	vd->rings[job->index].posted = false;
	if (job->r == -EREMOTEIO) {
		vhost_rings_forget(vd);
		vdev_break(&vd->dev, "queue %u: %s", job->index, job->err.msg);
	} else if (job->began && find_base(vd, &vd->dev.queues[job->index], &err) < 0) {
		vdev_break(&vd->dev, "%s", err.msg);
	}
}

static void stopped(struct vhost_dev *vd, struct vhost_job *job)
{
	struct vq *vq = &vd->dev.queues[job->index];
	struct vhost_view_ring *view = &vd->ring_views[job->index];
	struct err err = { 0 };

	if (job->kind == VHOST_JOB_STOP && job->r >= 0) {
		vq->cfg.next_avail = (uint16_t)job->base;
		vq->cfg.next_used = (uint16_t)(job->base >> 16);
	} else if (find_base(vd, vq, &err) < 0) {
		vdev_break(&vd->dev, "%s", err.msg);
	}
	*view = (struct vhost_view_ring){
		.kick = -1, .call = -1, .err = -1, .has_areas = true, .has_base = true
	};
	vdev_vhost_changed(&vd->dev);
	vd->rings[job->index].posted = false;
	witness_end(&vd->rings[job->index].witness);
	vq_handed_back(vq, vq->cfg.next_avail, vq->cfg.next_used);
}

void vhost_rings_done(struct vhost_dev *vd, struct vhost_job *job)
{
	if (job->kind == VHOST_JOB_START)
		started(vd, job);
	else if (job->kind == VHOST_JOB_STOP || job->kind == VHOST_JOB_NOTHING)
		stopped(vd, job);
	else if (job->r == -EREMOTEIO)
		vdev_break(&vd->dev, "queue %u: %s", job->index, job->err.msg);
}
