/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Jobs there and back. The thread has no state but the connection: what the other side was told is
 * the owner's to know. A connection that failed is closed at once, and all that comes after is
 * answered with -ENOTCONN until the next OPEN.
 */
#include "vhost/vhost_talk.h"

#include <errno.h>
#include <string.h>

#include "base/alloc.h"
#include "base/cleanup.h"

static void unref(struct vhost_talk *talk)
{
	if (atomic_fetch_sub_explicit(&talk->num_refs, 1, memory_order_acq_rel) == 1)
		free(talk);
}

struct vhost_job *vhost_job_new(
	struct vhost_talk *talk, enum vhost_job_kind kind, unsigned int connection)
{
	struct vhost_job *job = xnew(struct vhost_job);

	atomic_fetch_add_explicit(&talk->num_refs, 1, memory_order_relaxed);
	job->talk = talk;
	job->kind = kind;
	job->connection = connection;
	job->fd = job->channel_fd = job->log_fd = -1;
	job->vring.kick = job->vring.call = job->vring.err = -1;
	return job;
}

void vhost_job_free(struct vhost_job *job)
{
	close_fd(&job->fd);
	close_fd(&job->channel_fd);
	close_fd(&job->log_fd);
	close_fd(&job->vring.kick);
	close_fd(&job->vring.call);
	close_fd(&job->vring.err);
	gmem_unref(job->tell_mem);
	gmem_unref(job->mem);
	dirty_log_unref(job->tell_log);
	unref(job->talk);
	free(job);
}

bool vhost_job_lost(const struct vhost_job *job)
{
	return job->kind == VHOST_JOB_LOST || (job->r < 0 && job->r != -EREMOTEIO);
}

/* --- main loop --- */

static void on_done(struct loop_post *post)
{
	struct vhost_job *job = container_of(post, struct vhost_job, post);
	struct vhost_talk *talk = job->talk;

	if (talk->done)
		talk->done(talk->owner, job);
	vhost_job_free(job);
}

/* --- the thread --- */

static void finish(struct vhost_job *job)
{
	if (job->done) {
		sem_post(job->done);
		return;
	}
	job->post.fn = on_done;
	loop_post(job->talk->main_loop, &job->post);
}

static void close_backend(struct vhost_talk *talk)
{
	if (!talk->is_open)
		return;
	talk->is_open = false;
	loop_fd_del(&talk->watch);
	talk->backend.ops->close(&talk->backend);
}

/* Between jobs: it is gone, or says what nobody asked for. */
static void on_watch(struct loop_fd *node, _unused_ uint32_t revents)
{
	struct vhost_talk *talk = container_of(node, struct vhost_talk, watch);
	struct err err = { 0 };
	int r = talk->backend.ops->check_alive(&talk->backend, &err);
	struct vhost_job *job;

	if (r >= 0)
		return;
	job = vhost_job_new(talk, VHOST_JOB_LOST, talk->connection);
	job->r = r;
	job->err = err;
	close_backend(talk);
	finish(job);
}

static int do_open(struct vhost_talk *talk, struct vhost_job *job)
{
	struct vhost_backend *b = &talk->backend;
	int r;

	close_backend(talk);
	talk->is_open = true;
	talk->connection = job->connection;
	b->channel_fd = job->channel_fd;
	r = b->ops->open(b, take_fd(&job->fd), &job->err);
	b->channel_fd = -1;
	if (r < 0 || b->fd < 0)
		return r;
	talk->watch.fd = b->fd;
	return loop_fd_add(&talk->loop, &talk->watch, EPOLLIN, &job->err);
}

static int do_start(struct vhost_talk *talk, struct vhost_job *job)
{
	struct vhost_backend *b = &talk->backend;
	int r = 0;

	job->vring.mem = job->mem;
	if (job->tell_mem)
		r = b->ops->set_mem(b, job->tell_mem, &job->err);
	if (r >= 0 && job->tell_log)
		r = b->ops->set_log(b, job->tell_log, job->log_fd, &job->err);
	if (r >= 0 && job->tell_features)
		r = b->ops->set_features(b, job->features, job->log_all, &job->err);
	if (r >= 0 && job->tell_inflight && b->has_inflight)
		r = b->ops->set_inflight(b, job->num_queues, job->queue_size, &job->err);
	job->has_region = b->has_region;
	job->began = r >= 0;
	return r < 0 ? r : b->ops->start_vring(b, &job->vring, &job->err);
}

static int do_stop(struct vhost_talk *talk, struct vhost_job *job)
{
	return talk->backend.ops->stop_vring(&talk->backend, job->index, &job->base, &job->err);
}

static int do_fd(struct vhost_talk *talk, struct vhost_job *job)
{
	return talk->backend.ops->set_vring_fd(
		&talk->backend, job->index, job->is_kick, job->fd, &job->err);
}

static int do_read_config(struct vhost_talk *talk, struct vhost_job *job)
{
	struct vhost_backend *b = &talk->backend;
	int r = b->ops->get_config ? b->ops->get_config(b, &job->err) : 0;

	memcpy(job->config, b->config, sizeof(job->config));
	return r;
}

static int do_write_config(struct vhost_talk *talk, struct vhost_job *job)
{
	struct vhost_backend *b = &talk->backend;

	return b->ops->set_config
		       ? b->ops->set_config(b, job->offset, job->config, job->len, &job->err)
		       : 0;
}

static int do_reset(struct vhost_talk *talk, struct vhost_job *job)
{
	return talk->backend.ops->reset(&talk->backend, &job->err);
}

static int (*const doers[])(struct vhost_talk *talk, struct vhost_job *job) = {
	[VHOST_JOB_OPEN] = do_open,
	[VHOST_JOB_START] = do_start,
	[VHOST_JOB_STOP] = do_stop,
	[VHOST_JOB_FD] = do_fd,
	[VHOST_JOB_READ_CONFIG] = do_read_config,
	[VHOST_JOB_WRITE_CONFIG] = do_write_config,
	[VHOST_JOB_RESET] = do_reset,
};

static void on_job(struct loop_post *post)
{
	struct vhost_job *job = container_of(post, struct vhost_job, post);
	struct vhost_talk *talk = job->talk;

	/* What is in flight is forgotten with or without a connection. */
	if (job->kind == VHOST_JOB_RESET)
		vhost_backend_forget(&talk->backend);
	if (job->kind == VHOST_JOB_OPEN || talk->is_open)
		job->r = doers[job->kind](talk, job);
	else
		job->r = err_set(
			&job->err, -ENOTCONN, "%s: there is no connection", talk->backend.where);
	if (vhost_job_lost(job) || (job->r < 0 && job->kind == VHOST_JOB_OPEN))
		close_backend(talk);
	finish(job);
}

void vhost_job_post(struct vhost_job *job)
{
	if (job->kind == VHOST_JOB_NOTHING) {
		job->post.fn = on_done;
		loop_post(job->talk->main_loop, &job->post);
		return;
	}
	job->post.fn = on_job;
	loop_post(&job->talk->loop, &job->post);
}

/* --- life --- */

int vhost_talk_new(const struct vhost_backend_ops *ops, const char *where, struct loop *main_loop,
	struct vhost_talk **ret, struct err *err)
{
	struct vhost_talk *talk = xnew(struct vhost_talk);
	int r;

	atomic_init(&talk->num_refs, 1);
	talk->main_loop = main_loop;
	talk->watch.fn = on_watch;
	talk->backend.ops = ops;
	talk->backend.where = where;
	talk->backend.fd = talk->backend.channel_fd = -1;
	r = loop_init(&talk->loop, "vhost", err);
	if (!r)
		r = loop_thread_start(&talk->loop, err);
	if (r < 0) {
		loop_deinit(&talk->loop);
		unref(talk);
		return r;
	}
	*ret = talk;
	return 0;
}

void vhost_talk_end(struct vhost_talk *talk)
{
	loop_thread_join(&talk->loop);
	close_backend(talk);
	vhost_backend_forget(&talk->backend);
	loop_deinit(&talk->loop);
	talk->done = NULL;
	talk->owner = NULL;
	unref(talk);
}
