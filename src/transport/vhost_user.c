/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Where front-ends come from and how they go. One is served at a time (base/seat.h): another that
 * comes meanwhile is turned away, unless the first hangs up in the next moments, or is seen to be
 * over: then its turn has come. When a front-end goes, requests in flight end first, then the
 * device is reset and its memory let go of.
 */
#include "transport/vhost_user.h"

#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/alloc.h"
#include "base/cleanup.h"
#include "base/host_open.h"
#include "transport/vhu_internal.h"

/* How long until we dial again: doubled each time up to the maximum. */
#define REDIAL_MIN_MS 100
#define REDIAL_MAX_MS 5000

#define FIELD(name) offsetof(struct vhost_user_config, name)

const struct option_spec vhost_user_options[] = {
	{ "listen", OPTION_STRING, FIELD(listen), NULL, 0, 0, NULL,
		"vhost-user: wait for a front-end on this unix socket, or on fd=N" },
	{ "connect", OPTION_STRING, FIELD(connect), NULL, 0, 0, NULL,
		"vhost-user: dial a front-end that waits on this unix socket; or fd=N" },
	{ "mode", OPTION_STRING, FIELD(mode), NULL, 0, 0, NULL,
		"permissions of the socket that listen= makes, octal (default 0600)" },
	{ "group", OPTION_STRING, FIELD(group), NULL, 0, 0, NULL,
		"group of the socket that listen= makes, a name or a number" },
	{ "inband-notifications", OPTION_BOOL, FIELD(inband), "off", 0, 0, NULL,
		"offer kicks and calls as messages instead of descriptors: slow, for simulators" },
	{ NULL },
};

const char *vhu_where(const struct vhu *vhu)
{
	return vhu->dev->view.address;
}

void vhu_note(struct vhu *vhu, enum transcript_channel channel, bool is_ours,
	const struct vhu_header *header, const void *payload, size_t bytes, unsigned int num_fds)
{
	struct transcript_entry *entry =
		transcript_add(&vhu->transcript, channel, is_ours, header, payload, bytes, num_fds);

	if (!is_ours)
		entry->malformed = vhu_check(header, payload, num_fds, NULL) != VHU_OK;
}

/* --- waiting for idle queues --- */

static void on_idle(struct vdev_wait *node)
{
	struct vhu_wait *wait = container_of(node, struct vhu_wait, wait);
	struct vhu *vhu = wait->vhu;
	void (*fn)(struct vhu * vhu);

	free(wait);
	if (!vhu)
		return;
	vhu->wait = NULL;
	fn = take_ptr(vhu->after_wait);
	fn(vhu);
}

void vhu_release(struct vhu *vhu)
{
	struct vq *vq = take_ptr(vhu->held);

	if (vq)
		vdev_release_queue(vhu->dev, vq);
	else
		vdev_release(vhu->dev);
}

void vhu_when_idle(struct vhu *vhu, struct vq *vq, void (*fn)(struct vhu *vhu))
{
	vhu->wait = xnew(struct vhu_wait);
	vhu->wait->wait.fn = on_idle;
	vhu->wait->vhu = vhu;
	vhu->wait->wait.vq = vq;
	vhu->after_wait = fn;
	vhu->held = vq;
	if (vq)
		vdev_hold_queue(vhu->dev, vq);
	else
		vdev_hold(vhu->dev);
	vdev_when_idle(vhu->dev, &vhu->wait->wait);
}

/* --- the connection --- */

/* The next one may come. */
static void ready_for_next(struct vhu *vhu)
{
	seat_vacant(&vhu->seat);
	if (vhu->dial)
		loop_timer_set(vhu->dev->main_loop, &vhu->redial,
			now_ns() + vhu->redial_ms * NSEC_PER_MSEC);
}

static void finish_close(struct vhu *vhu)
{
	struct vdev *dev = vhu->dev;

	/* The region goes back unread: who comes next may go on with it. */
	vhu_inflight_drop(vhu);
	vdev_reset(dev);
	vdev_set_mem(dev, NULL);
	vhu_log_drop(vhu);
	memset(vhu->rings, 0, dev->num_queues * sizeof(vhu->rings[0]));
	vhu->protocol_features = 0;
	vhu->status_kind = VHU_STATUS_UNKNOWN;
	vhu->features_set = vhu->started = vhu->reset_pending = false;
	dev->view.protocol_features = 0;
	dev->view.status_known = false;
	vhu->closing = false;
	vhu_release(vhu);
	ready_for_next(vhu);
}

void vhu_close(struct vhu *vhu)
{
	if (!vhu->connected)
		return;
	vhu->connected = false;
	vhu->dev->view.connected = false;
	transcript_end(&vhu->transcript);
	vhu->dev->view.last_end = VDEV_END_FRONT;
	vhu->dev->view.last_end_ns = now_ns();
	vhu->dev->view.waits_for[0] = '\0';
	vhu->closing = true;
	loop_fd_del(&vhu->node);
	usock_deinit(&vhu->sock);
	vhu_channel_close(vhu);
	vhu_when_idle(vhu, NULL, finish_close);
}

void vhu_watch(struct vhu *vhu)
{
	uint32_t events = vhu->sock.out_head ? EPOLLOUT : EPOLLIN;
	struct err err;

	if (!vhu->connected)
		return;
	/* While it waits not even a hang-up is looked at: that is seen when the wait is over. */
	if (vhu->wait)
		loop_fd_del(&vhu->node);
	else if (vhu->node.loop)
		loop_fd_events(&vhu->node, events);
	else if (loop_fd_add(vhu->dev->main_loop, &vhu->node, events, &err) < 0) {
		log_error("%s: %s", vdev_label(vhu->dev), err.msg);
		vhu_close(vhu);
	}
}

static void on_ready(struct loop_fd *node, uint32_t revents)
{
	struct vhu *vhu = container_of(node, struct vhu, node);
	int r;

	if (revents & (EPOLLOUT | EPOLLERR)) {
		r = usock_flush(&vhu->sock);
		if (r < 0) {
			log_limited(&vhu->limit, LOG_LEVEL_WARN,
				"%s: cannot answer the front-end on %s: %s", vdev_label(vhu->dev),
				vhu_where(vhu), strerror(-r));
			vhu_close(vhu);
			return;
		}
	}
	vhu_process(vhu);
}

static void serve(struct vhu *vhu, int fd)
{
	usock_init(&vhu->sock, fd, &vhu_framing);
	vhu->node.fd = fd;
	vhu->node.fn = on_ready;
	vhu->connected = true;
	transcript_begin(&vhu->transcript);
	vhu->dev->view.connected = true;
	vhu->dev->view.last_end = VDEV_END_NONE;
	vhu->redial_ms = REDIAL_MIN_MS;
	log_limited(&vhu->visits, LOG_LEVEL_INFO, "%s: a front-end is connected on %s",
		vdev_label(vhu->dev), vhu_where(vhu));
	vhu_watch(vhu);
}

/* --- who comes --- */

static bool has_hung_up(int fd)
{
	struct pollfd p = { .fd = fd, .events = POLLRDHUP };

	return poll(&p, 1, 0) > 0 && (p.revents & (POLLRDHUP | POLLHUP | POLLERR));
}

static enum seat_state look(struct seat *seat)
{
	struct vhu *vhu = container_of(seat, struct vhu, seat);

	/* What the first one said before it hung up comes first. */
	if (vhu->connected)
		vhu_process(vhu);
	if (vhu->closing || (vhu->connected && has_hung_up(vhu->sock.fd)))
		return SEAT_ENDING;
	return vhu->connected ? SEAT_TAKEN : SEAT_FREE;
}

static void serve_visitor(struct seat *seat, int fd)
{
	serve(container_of(seat, struct vhu, seat), fd);
}

/* A driver that has let go of the other end of what calls it. Who polls is never deaf. */
static bool is_deaf(struct vhu *vhu, unsigned int queue)
{
	struct vq *vq = &vhu->dev->queues[queue];
	int kick, call;

	vq_read_signal_fds(vq, &kick, &call);
	return call >= 0 && has_hung_up(call);
}

/*
 * User-mode Linux executes itself for a reboot, and leaves its connection open where somebody held
 * the device at that moment (a disk of a SCSI host that is in use): the new kernel has it then, and
 * knows nothing of it. So the first one is over where the same process comes again and nobody is
 * left who could hear a call of any of its queues.
 */
static bool evict(struct seat *seat, const struct seat_visitor *next)
{
	struct vhu *vhu = container_of(seat, struct vhu, seat);
	char name[SEAT_NAME_BYTES];
	unsigned int num_deaf = 0;

	if (!next->pid || next->pid != seat->first.pid)
		return false;
	for (unsigned int i = 0; i < vhu->dev->num_queues; i++) {
		if (is_deaf(vhu, i))
			num_deaf++;
		else if (vhu->rings[i].has_kick)
			return false;
	}
	if (!num_deaf)
		return false;
	log_limited(&vhu->limit, LOG_LEVEL_WARN,
		"%s: the front-end on %s is over, though its connection is still open: %s comes "
		"again, and nobody hears its queues' calls any more",
		vdev_label(vhu->dev), vhu_where(vhu), seat_visitor_name(next, name));
	vhu_close(vhu);
	return true;
}

static const struct seat_ops seat_ops = {
	.look = look,
	.serve = serve_visitor,
	.evict = evict,
};

/* --- dialing --- */

static int dial(struct vhu *vhu, struct err *err);

static void on_redial(struct loop_timer *timer)
{
	struct vhu *vhu = container_of(timer, struct vhu, redial);
	struct err err;

	dial(vhu, &err);
}

/* Nobody there, or not yet: that passes. */
static bool may_come(int code)
{
	return code == -ENOENT || code == -ECONNREFUSED || code == -EAGAIN;
}

static int dial(struct vhu *vhu, struct err *err)
{
	int fd = host_connect_unix(vhu->dial, err);

	if (fd >= 0) {
		serve(vhu, fd);
		return 0;
	}
	if (vhu->redial_ms == REDIAL_MIN_MS && may_come(fd))
		log_info("%s: %s; trying again", vdev_label(vhu->dev), err->msg);
	vhu->redial_ms = MIN(vhu->redial_ms * 2, (uint64_t)REDIAL_MAX_MS);
	loop_timer_set(
		vhu->dev->main_loop, &vhu->redial, now_ns() + vhu->redial_ms * NSEC_PER_MSEC);
	return fd;
}

/* --- the device's side --- */

static void config_changed(struct vdev *dev)
{
	vhu_channel_config_changed(dev->transport_opaque);
}

static void call_driver(struct vdev *dev, unsigned int queue)
{
	vhu_channel_call(dev->transport_opaque, queue);
}

static void broken(struct vdev *dev)
{
	struct vhu *vhu = dev->transport_opaque;

	vhu_signal_errors(vhu);
	/* Who can read the status byte is told to: virtio 1.3, "Device Status Field". */
	if (vhu_negotiated(vhu, VHU_PF_STATUS))
		vhu_channel_config_changed(vhu);
}

static void detach(struct vdev *dev)
{
	struct vhu *vhu = dev->transport_opaque;

	loop_timer_cancel(&vhu->redial);
	seat_close(&vhu->seat);
	loop_fd_del(&vhu->node);
	usock_deinit(&vhu->sock);
	vhu_channel_close(vhu);
	vhu_log_drop(vhu);
	/* The device waits for us: the node is called, and freed, when nobody is left. */
	if (vhu->wait)
		vhu->wait->vhu = NULL;
	vhu_inflight_drop(vhu);
	transcript_deinit(&vhu->transcript);
	free(vhu->dial);
	free(vhu->rings);
	free(vhu);
	free(dev->view.address);
	dev->view = (struct vdev_transport_view){ .vhost = dev->view.vhost };
	dev->transport = NULL;
	dev->transport_opaque = NULL;
}

static const struct vdev_transport_ops vhost_user_ops = {
	.config_changed = config_changed,
	.call = call_driver,
	.broken = broken,
	.detach = detach,
};

static struct vhu *new_vhu(struct vdev *dev, const char *address)
{
	struct vhu *vhu = xnew(struct vhu);

	vhu->dev = dev;
	vhu->seat = (struct seat)SEAT_INIT;
	vhu->sock.fd = -1;
	vhu->log_fd = -1;
	vhu->redial.fn = on_redial;
	vhu->redial_ms = REDIAL_MIN_MS;
	vhu->rings = xnew_n(struct vhu_ring, dev->num_queues);
	dev->transport = &vhost_user_ops;
	dev->transport_opaque = vhu;
	/* Who serves the queues was there before us. */
	dev->view = (struct vdev_transport_view){ .vhost = dev->view.vhost };
	dev->view.kind = "vhost-user";
	dev->view.address = xstrdup(address);
	transcript_init(&vhu->transcript);
	dev->view.transcript = &vhu->transcript;
	return vhu;
}

static int start_listening(struct vdev *dev, const struct vhost_user_config *cfg, struct err *err)
{
	struct listen_options options = LISTEN_OPTIONS_INIT;
	struct vhu *vhu;
	int r;

	r = listen_parse(&options, cfg->listen, cfg->mode, cfg->group, err);
	if (r < 0)
		return r;
	vhu = new_vhu(dev, cfg->listen);
	vhu->offers_inband = cfg->inband;
	r = seat_open(&vhu->seat, dev->main_loop, &options, &seat_ops, vdev_label(dev),
		vhu_where(vhu), err);
	if (r < 0)
		detach(dev);
	return r;
}

int vhost_user_attach_fd(struct vdev *dev, int fd, bool inband, struct err *err)
{
	char address[16];
	struct vhu *vhu;

	(void)err;
	snprintf(address, sizeof(address), "fd=%d", fd);
	vhu = new_vhu(dev, address);
	vhu->offers_inband = inband;
	serve(vhu, fd);
	return 0;
}

int vhost_user_attach(struct vdev *dev, const struct vhost_user_config *cfg, struct err *err)
{
	struct vhu *vhu;
	int fd, r;

	if (!cfg->listen == !cfg->connect)
		return err_set(err, -EINVAL,
			"%s: expected %s of listen= and connect=", vdev_label(dev),
			cfg->listen ? "only one" : "one");
	if (cfg->inband && dev->handover)
		return err_set(err, -EINVAL,
			"%s: inband-notifications=on: whoever serves this device's rings is "
			"notified by descriptors alone",
			vdev_label(dev));
	if (cfg->listen)
		return start_listening(dev, cfg, err);
	if (cfg->mode || cfg->group)
		return err_set(err, -EINVAL,
			"%s: mode= and group= belong to listen=, not connect=", vdev_label(dev));
	if (host_spec_fd(cfg->connect, &fd)) {
		/* A connection that was handed to us cannot be dialed again. */
		fd = host_connect_unix(cfg->connect, err);
		return fd < 0 ? fd : vhost_user_attach_fd(dev, fd, cfg->inband, err);
	}
	vhu = new_vhu(dev, cfg->connect);
	vhu->offers_inband = cfg->inband;
	vhu->dial = xstrdup(cfg->connect);
	r = dial(vhu, err);
	if (r < 0 && !may_come(r)) {
		detach(dev);
		return r;
	}
	return 0;
}
