/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The life of a device whose rings somebody else serves: found and negotiated with when it is made,
 * so that a wrong or silent back-end is refused with a sentence; dialled again when it goes away.
 * Refused: a back-end without what the device cannot do without, and one that comes back with less
 * than the driver was promised.
 */
#include "vhost/vhost_dev.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <string.h>
#include <sys/socket.h>

#include "base/alloc.h"
#include "base/cleanup.h"

/* How long a back-end may take for its first answers: the main loop waits. */
#define FIRST_ANSWERS_MS 2000
/* How long until we dial again: doubled each time up to the maximum. */
#define REDIAL_MIN_MS 100
#define REDIAL_MAX_MS 5000
#define QUEUE_SIZE    128

#define BIT(n) (1ull << (n))

/* Features of rings and transports that vhost-user's messages carry; others are not offered. */
#define CARRIED_BITS                                                                              \
	(BIT(VIRTIO_F_NOTIFY_ON_EMPTY) | BIT(VIRTIO_F_ANY_LAYOUT) | BIT(VIRTIO_F_INDIRECT_DESC) | \
		BIT(VIRTIO_F_EVENT_IDX) | BIT(VIRTIO_F_VERSION_1) | BIT(VIRTIO_F_RING_PACKED) |   \
		BIT(VIRTIO_F_IN_ORDER) | BIT(VIRTIO_F_ORDER_PLATFORM) | BIT(VIRTIO_F_RING_RESET))
/* What is left is a device's own: bits 0 to 23, and from 50 on (virtio 1.3, "Feature Bits"). */
#define DEVICE_BITS ((BIT(24) - 1) | ~(BIT(50) - 1))

static void on_channel_change(void *opaque)
{
	vhost_dev_config_changed(opaque);
}

/* --- the connection --- */

static void drop_connection(struct vhost_dev *vd)
{
	vhost_channel_close(&vd->channel);
	if (vd->kill_fd >= 0)
		shutdown(vd->kill_fd, SHUT_RDWR);
	close_fd(&vd->kill_fd);
	vd->connected = vd->opening = false;
}

static void dial_later(struct vhost_dev *vd)
{
	loop_timer_set(vd->dev.main_loop, &vd->redial, now_ns() + vd->redial_ms * NSEC_PER_MSEC);
	vd->redial_ms = MIN(vd->redial_ms * 2, (uint64_t)REDIAL_MAX_MS);
}

/* A job that opens what was dialled. NULL with a sentence. */
static struct vhost_job *make_open(struct vhost_dev *vd, struct err *err)
{
	_cleanup_fd_ int fd = vd->type->dial(vd, err), theirs = -1;
	struct vhost_job *job;

	if (fd < 0)
		return NULL;
	vd->kill_fd = fcntl(fd, F_DUPFD_CLOEXEC, 0);
	if (vd->kill_fd < 0) {
		err_set(err, -errno, "%s: %s", vd->where, strerror(errno));
		return NULL;
	}
	vd->channel.label = vdev_label(&vd->dev);
	vd->channel.config_changed = on_channel_change;
	vd->channel.opaque = vd;
	if (vd->type->ops == &vhost_user_backend &&
		vhost_channel_open(&vd->channel, vd->dev.main_loop, &theirs, err) < 0) {
		drop_connection(vd);
		return NULL;
	}
	job = vhost_job_new(vd->talk, VHOST_JOB_OPEN, ++vd->connection);
	job->fd = take_fd(&fd);
	job->channel_fd = take_fd(&theirs);
	vd->opening = true;
	return job;
}

static void on_redial(struct loop_timer *timer)
{
	struct vhost_dev *vd = container_of(timer, struct vhost_dev, redial);
	struct err err = { 0 };
	struct vhost_job *job = make_open(vd, &err);

	if (job)
		vhost_job_post(job);
	else
		dial_later(vd);
}

static void lose(struct vhost_dev *vd, const struct err *why)
{
	bool was_connected = vd->connected;

	log_limited(&vd->limit, LOG_LEVEL_WARN, "%s: %s%s", vdev_label(&vd->dev), why->msg,
		vd->reconnect ? "; dialling again" : "");
	drop_connection(vd);
	if (vd->reconnect)
		dial_later(vd);
	if (was_connected)
		vhost_rings_lost(vd);
	if (!vd->reconnect)
		vdev_break(&vd->dev, "the back-end on %s is gone, and reconnect=off", vd->where);
}

static void show_backend(struct vhost_dev *vd)
{
	const struct vhost_backend *b = &vd->talk->backend;

	vd->view.has_offer = vd->view.has_type = true;
	vd->view.features = b->raw_features;
	vd->view.protocol_offered = b->protocol_offered;
	vd->view.protocol_acked = b->protocol_features;
	vd->view.max_queues = b->max_queues;
}

/* The driver was promised what the first one had. */
static int check_again(const struct vhost_dev *vd, struct err *err)
{
	const struct vhost_backend *b = &vd->talk->backend;
	uint64_t missing = vd->dev.driver_features.word[0] & vd->dev.device_features.word[0] &
			   ~(b->features | vd->extra_features);

	if (missing)
		return err_set(err, -EREMOTEIO,
			"%s: the back-end that came back lacks features 0x%" PRIx64
			", which the driver uses",
			vd->where, missing);
	if (b->max_queues && b->max_queues < vd->min_queues)
		return err_set(err, -EREMOTEIO,
			"%s: the back-end that came back has %u queues, %u are needed", vd->where,
			b->max_queues, vd->min_queues);
	return 0;
}

static void opened(struct vhost_dev *vd, struct vhost_job *job)
{
	struct err err = job->err;
	int r = job->r;

	vd->opening = false;
	if (r >= 0)
		r = check_again(vd, &err);
	if (r < 0) {
		lose(vd, &err);
		return;
	}
	log_limited(&vd->limit, LOG_LEVEL_INFO, "%s: the back-end on %s is back",
		vdev_label(&vd->dev), vd->where);
	vd->connected = true;
	vd->redial_ms = REDIAL_MIN_MS;
	show_backend(vd);
	vhost_rings_resume(vd);
}

static void take_config(struct vhost_dev *vd, const uint8_t *config)
{
	if (!memcmp(vd->config, config, vd->dev.cls->config_bytes))
		return;
	memcpy(vd->config, config, vd->dev.cls->config_bytes);
	vdev_config_changed(&vd->dev);
}

/* All but the rings' jobs; the device may be gone after those. */
static void on_done(void *owner, struct vhost_job *job)
{
	struct vhost_dev *vd = owner;

	if (job->kind == VHOST_JOB_OPEN) {
		opened(vd, job);
		return;
	}
	if (vhost_job_lost(job) && vd->connected && job->connection == vd->connection)
		lose(vd, &job->err);
	switch (job->kind) {
	case VHOST_JOB_READ_CONFIG:
		if (job->r >= 0)
			take_config(vd, job->config);
		break;
	case VHOST_JOB_WRITE_CONFIG:
	case VHOST_JOB_RESET:
		if (job->r == -EREMOTEIO)
			log_limited(&vd->limit, LOG_LEVEL_WARN, "%s: %s", vdev_label(&vd->dev),
				job->err.msg);
		break;
	case VHOST_JOB_LOST: break;
	default: vhost_rings_done(vd, job); break;
	}
}

/* --- making one --- */

/* Waits for the first answers, and for no more: what is silent now is shut down. */
static int open_first(struct vhost_dev *vd, struct err *err)
{
	struct vhost_job *job = make_open(vd, err);
	struct timespec end;
	sem_t done;
	int r;

	if (!job)
		return -EIO;
	sem_init(&done, 0, 0);
	job->done = &done;
	clock_gettime(CLOCK_REALTIME, &end);
	end.tv_sec += FIRST_ANSWERS_MS / 1000;
	vhost_job_post(job);
	while ((r = sem_timedwait(&done, &end)) < 0 && errno == EINTR)
		;
	if (r < 0) {
		shutdown(vd->kill_fd, SHUT_RDWR);
		while (sem_wait(&done) < 0)
			;
		r = err_set(err, -ETIMEDOUT, "%s: no answer from the back-end within %d s",
			vd->where, FIRST_ANSWERS_MS / 1000);
	} else {
		r = job->r < 0 ? err_set(err, job->r, "%s", job->err.msg) : 0;
	}
	sem_destroy(&done);
	vhost_job_free(job);
	vd->opening = false;
	vd->connected = r >= 0;
	return r;
}

static int take_config_space(struct vhost_dev *vd, struct err *err)
{
	const struct vhost_backend *b = &vd->talk->backend;

	if (!vd->cls.config_bytes)
		return 0;
	if (b->has_config) {
		memcpy(vd->config, b->config, sizeof(vd->config));
		return 0;
	}
	if (vd->type->make_config)
		return vd->type->make_config(vd, err);
	return err_set(err, -EREMOTEIO,
		"%s: the back-end does not tell its configuration space (CONFIG), without which "
		"there is no %s",
		vd->where, vd->cls.name);
}

static int choose_queues(struct vhost_dev *vd, struct err *err)
{
	unsigned int has = vd->talk->backend.max_queues, n = vd->num_queues;

	if (vd->type->cls.virtio_id == 1)
		has *= 2; /* A network device's are counted in pairs. */
	if (!n)
		n = vd->type->as_many && has ? has : vd->type->num_queues;
	if (!n)
		return err_set(err, -EINVAL, "%s: num-queues= is missing: how many queues it has",
			vd->cls.name);
	if (has && n > has)
		return err_set(err, -EREMOTEIO,
			"%s: the back-end has %u queues, and %u are wanted: num-queues=%u is what "
			"there can be",
			vd->where, has, n, has);
	vd->min_queues = vd->type->cls.virtio_id == 1 ? n / 2 : n;
	vd->num_queues = MIN(n, (unsigned int)VHOST_QUEUES_MAX);
	vdev_set_queues(&vd->dev, vd->num_queues, QUEUE_SIZE);
	return 0;
}

static void offer(struct vhost_dev *vd)
{
	const struct vhost_backend *b = &vd->talk->backend;
	uint64_t without = vd->type->without;

	/* More pairs than one are what somebody asked for who has a control queue. */
	if (vd->type->cls.virtio_id == 1 && vd->num_queues > 2)
		without &= ~BIT(22);
	vd->dev.device_features.word[0] =
		((b->features & (CARRIED_BITS | DEVICE_BITS)) | vd->extra_features) & ~without;
	vd->dev.cannot_log = !b->can_log;
}

static void make_views(struct vhost_dev *vd)
{
	unsigned int n = vd->dev.num_queues;

	vd->rings = xnew_n(struct vhost_ring, n);
	vd->ring_views = xnew_n(struct vhost_view_ring, n);
	for (unsigned int i = 0; i < n; i++)
		vd->ring_views[i] = (struct vhost_view_ring){ .kick = -1, .call = -1, .err = -1 };
	vd->view.rings = vd->ring_views;
	show_backend(vd);
	vd->dev.view.vhost = &vd->view;
	vd->dev.handover = &vhost_handover;
}

int vhost_dev_realize(struct vdev *dev, struct err *err)
{
	struct vhost_dev *vd = vhost_dev_of(dev);
	int r;

	vd->type = container_of(dev->cls, struct vhost_type, cls);
	vd->cls = *dev->cls;
	vd->kill_fd = vd->target.tap_fd = -1;
	vd->redial.fn = on_redial;
	vd->look.fn = vhost_rings_look;
	vd->redial_ms = REDIAL_MIN_MS;
	r = vd->type->prepare ? vd->type->prepare(vd, err) : 0;
	if (r < 0)
		return r;
	dev->cls = &vd->cls;
	r = vhost_talk_new(vd->type->ops, vd->where, dev->main_loop, &vd->talk, err);
	if (r < 0)
		return r;
	vd->talk->done = on_done;
	vd->talk->owner = vd;
	vd->talk->backend.config_bytes = (uint32_t)vd->cls.config_bytes;
	vd->talk->backend.target = &vd->target;
	r = open_first(vd, err);
	if (!r)
		r = choose_queues(vd, err);
	if (!r)
		r = take_config_space(vd, err);
	if (r < 0)
		return r;
	offer(vd);
	make_views(vd);
	return 0;
}

void vhost_dev_unrealize(struct vdev *dev)
{
	struct vhost_dev *vd = vhost_dev_of(dev);

	dev->view.vhost = NULL;
	dev->handover = NULL;
	if (!vd->talk)
		return;
	loop_timer_cancel(&vd->redial);
	loop_timer_cancel(&vd->look);
	if (vd->kill_fd >= 0)
		shutdown(vd->kill_fd, SHUT_RDWR);
	vhost_talk_end(take_ptr(vd->talk));
	drop_connection(vd);
	vhost_rings_forget(vd);
	close_fd(&vd->target.tap_fd);
	for (unsigned int i = 0; vd->rings && i < dev->num_queues; i++)
		witness_end(&vd->rings[i].witness);
	free(take_ptr(vd->rings));
	free(take_ptr(vd->ring_views));
}

/* --- configuration space, reset --- */

void vhost_dev_get_config(struct vdev *dev, void *config)
{
	memcpy(config, vhost_dev_of(dev)->config, dev->cls->config_bytes);
}

void vhost_dev_set_config(struct vdev *dev, size_t offset, const void *bytes, size_t len)
{
	struct vhost_dev *vd = vhost_dev_of(dev);
	struct vhost_job *job = vhost_job_new(vd->talk, VHOST_JOB_WRITE_CONFIG, vd->connection);

	memcpy(vd->config + offset, bytes, len);
	job->offset = offset;
	job->len = len;
	memcpy(job->config, bytes, len);
	vhost_job_post(job);
}

void vhost_dev_config_changed(struct vhost_dev *vd)
{
	if (vd->connected)
		vhost_job_post(vhost_job_new(vd->talk, VHOST_JOB_READ_CONFIG, vd->connection));
}

void vhost_dev_reset(struct vdev *dev)
{
	struct vhost_dev *vd = vhost_dev_of(dev);

	vhost_rings_forget(vd);
	vd->has_region = vd->view.has_inflight = false;
	vd->view.acked_features = 0;
	vd->view.log_enabled = false;
	vd->view.log_bytes = 0;
	for (unsigned int i = 0; i < dev->num_queues; i++)
		vd->ring_views[i] = (struct vhost_view_ring){ .kick = -1, .call = -1, .err = -1 };
	vhost_job_post(vhost_job_new(vd->talk, VHOST_JOB_RESET, vd->connection));
}
