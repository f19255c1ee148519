/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Actions on queues. Refused where there is nobody to act on: a queue that does not run, a ring
 * whose notifications are messages, a relay that should stop what it does not serve.
 */
#include "control/act.h"

#include <errno.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/alloc.h"
#include "base/log.h"
#include "control/devices.h"
#include "control/internal.h"
#include "inspect/virtio.h"

static struct vq *find(
	struct qapi_call *call, const char *path, uint16_t queue, struct qapi_error *error)
{
	struct control *ctl = call->ctx;
	struct vdev *dev = inspect_find(ctl->root, path);
	struct control_device *cdev = dev ? dev->owner : NULL;

	if (!cdev || cdev->unplugging) {
		qapi_error_set(error, QAPI_GENERIC_ERROR, "Path %s is not a VirtIODevice", path);
		return NULL;
	}
	if (queue >= dev->num_queues) {
		qapi_error_set(error, QAPI_GENERIC_ERROR, "Invalid virtqueue number %u", queue);
		return NULL;
	}
	return &dev->queues[queue];
}

static void log_done(const struct vq *vq, const char *what)
{
	log_info("%s: queue %u: %s by hand", vdev_label(vq->dev), vq->index, what);
}

static int check_runs(const struct vq *vq, struct qapi_error *error)
{
	if (vq->state == VQ_RUNNING && !vq->was_broken)
		return 0;
	return qapi_error_set(error, QAPI_GENERIC_ERROR,
		"Queue %u of %s does not run; query-virtqueue-health says why", vq->index,
		vdev_label(vq->dev));
}

/* --- signals --- */

/*
 * The descriptor is the two ends' own, and may be one on which a write waits: a full one is left
 * alone, for then a signal is there already.
 */
static int signal_fd(int fd)
{
	static const uint64_t one = 1;
	struct pollfd p = { .fd = fd, .events = POLLOUT };
	ssize_t n;

	if (poll(&p, 1, 0) <= 0)
		return 0;
	n = send(fd, &one, sizeof(one), MSG_NOSIGNAL | MSG_DONTWAIT);
	if (n < 0 && errno == ENOTSOCK)
		n = write(fd, &one, sizeof(one));
	return n < 0 && errno != EAGAIN ? -errno : 0;
}

static int signal_relayed(const struct vq *vq, int fd, const char *what, struct qapi_error *error)
{
	int r;

	if (fd < 0)
		return qapi_error_set(error, QAPI_GENERIC_ERROR,
			"Queue %u of %s has no %s descriptor: its ends send messages, or poll",
			vq->index, vdev_label(vq->dev), what);
	r = signal_fd(fd);
	if (r < 0)
		return qapi_error_set(error, QAPI_GENERIC_ERROR,
			"The %s descriptor of queue %u of %s refuses: %s", what, vq->index,
			vdev_label(vq->dev), strerror(-r));
	return 0;
}

/* @own is how a queue of ours is told; a relayed one has its ends' descriptors. */
static int act(struct qapi_call *call, const char *path, uint16_t queue, bool kicks,
	void (*own)(struct vq *vq), struct qapi_error *error)
{
	struct vq *vq = find(call, path, queue, error);
	const struct vhost_view_ring *ring;
	int r;

	if (!vq)
		return -EINVAL;
	ring = vq->dev->view.vhost ? &vq->dev->view.vhost->rings[queue] : NULL;
	if (ring)
		r = signal_relayed(
			vq, kicks ? ring->kick : ring->call, kicks ? "kick" : "call", error);
	else
		r = check_runs(vq, error);
	if (r < 0)
		return r;
	if (!ring)
		own(vq);
	log_done(vq, kicks ? "kicked" : "its driver called");
	return 0;
}

int control_cmd_virtqueue_kick(
	struct qapi_call *call, const char *path, uint16_t queue, struct qapi_error *error)
{
	return act(call, path, queue, true, vq_kick, error);
}

int control_cmd_virtqueue_call(
	struct qapi_call *call, const char *path, uint16_t queue, struct qapi_error *error)
{
	return act(call, path, queue, false, vq_call, error);
}

/* --- stop and resume --- */

struct stop {
	struct vdev_wait wait;
	struct qapi_call *call;
};

static void on_stopped(struct vdev_wait *wait)
{
	struct stop *stop = container_of(wait, struct stop, wait);

	qapi_call_return(stop->call, NULL);
	free(stop);
}

static int check_ours(const struct vq *vq, struct qapi_error *error)
{
	if (!vq->dev->view.vhost)
		return 0;
	return qapi_error_set(error, QAPI_GENERIC_ERROR,
		"Queue %u of %s is served by somebody else: only who serves it can stop it",
		vq->index, vdev_label(vq->dev));
}

int control_cmd_virtqueue_stop(
	struct qapi_call *call, const char *path, uint16_t queue, struct qapi_error *error)
{
	struct vq *vq = find(call, path, queue, error);
	struct stop *stop;

	if (!vq || check_ours(vq, error) < 0)
		return -EINVAL;
	if (vq->stopped_by_hand)
		return qapi_error_set(error, QAPI_GENERIC_ERROR,
			"Queue %u of %s is stopped already", queue, vdev_label(vq->dev));
	vq->stopped_by_hand = true;
	log_done(vq, "stopped");
	stop = xnew(struct stop);
	*stop = (struct stop){ .wait = { .fn = on_stopped, .vq = vq }, .call = call };
	vdev_hold_queue(vq->dev, vq);
	vdev_when_idle(vq->dev, &stop->wait);
	return QAPI_PENDING;
}

int control_cmd_virtqueue_resume(
	struct qapi_call *call, const char *path, uint16_t queue, struct qapi_error *error)
{
	struct vq *vq = find(call, path, queue, error);

	if (!vq || check_ours(vq, error) < 0)
		return -EINVAL;
	if (!vq->stopped_by_hand)
		return qapi_error_set(error, QAPI_GENERIC_ERROR,
			"Queue %u of %s was not stopped by virtqueue-stop", queue,
			vdev_label(vq->dev));
	/* Who asked for the stop waits for a queue that rests. */
	if (vq->state != VQ_IDLE)
		return qapi_error_set(error, QAPI_GENERIC_ERROR,
			"Queue %u of %s is not stopped yet: requests are in flight", queue,
			vdev_label(vq->dev));
	vq->stopped_by_hand = false;
	log_done(vq, "let go on");
	vdev_release_queue(vq->dev, vq);
	return 0;
}
