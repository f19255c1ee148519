/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Where the two ends come from, and what is looked at as messages pass. The back-end is dialled
 * when a front-end comes, and not before; without one the front-end is hung up on. One front-end at
 * a time: another that comes meanwhile is turned away, unless the first has hung up already, then
 * it waits its turn. Refuses nothing that two ends could want to say to each other (vhost/pump.h
 * has the limits); what is not well-formed passes, and no state is concluded from it.
 */
#include "vhost/relay.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/alloc.h"
#include "base/cleanup.h"
#include "base/host_open.h"
#include "base/listen.h"
#include "proto/transcript.h"
#include "proto/vhu_fields.h"
#include "vhost/pump.h"
#include "vhost/shadow.h"

/* How long until we accept again, where the kernel gave us no descriptor. */
#define ACCEPT_AGAIN_MS 500

struct relay {
	struct vdev dev;
	/* Options. */
	char *listen, *connect, *mode, *group, *type;
	bool log_messages;

	struct vdev_class cls; /* relay_class with the type's number */
	struct listener listener;
	struct loop_fd accept_node;
	struct loop_timer accept_again;
	struct pump main, channel;
	struct shadow shadow;
	struct transcript transcript;
	struct log_limit visits, limit;
};

#define FIELD(name) offsetof(struct relay, name)

static const struct option_spec options[] = {
	{ "listen", OPTION_STRING, FIELD(listen), NULL, 0, 0, NULL,
		"wait for a front-end on this unix socket, or on fd=N" },
	{ "connect", OPTION_STRING, FIELD(connect), NULL, 0, 0, NULL,
		"the unix socket of the back-end, dialled for each front-end" },
	{ "type", OPTION_STRING, FIELD(type), NULL, 0, 0, NULL,
		"what the back-end is, which no message says: virtio-blk, or a number" },
	{ "mode", OPTION_STRING, FIELD(mode), NULL, 0, 0, NULL,
		"permissions of the socket that listen= makes, octal (default 0600)" },
	{ "group", OPTION_STRING, FIELD(group), NULL, 0, 0, NULL,
		"group of the socket that listen= makes, a name or a number" },
	{ "log-messages", OPTION_BOOL, FIELD(log_messages), "off", 0, 0, NULL,
		"a line on standard error for each message" },
	{ NULL },
};

static struct relay *relay_of(struct vdev *dev)
{
	return container_of(dev, struct relay, dev);
}

const char *relay_type_option(const struct vdev *dev)
{
	return container_of(dev, struct relay, dev)->type;
}

void relay_set_virtio_id(struct vdev *dev, uint16_t virtio_id)
{
	struct relay *relay = relay_of(dev);

	relay->cls = relay_class;
	relay->cls.virtio_id = virtio_id;
	dev->cls = &relay->cls;
}

/* --- messages --- */

static void log_entry(struct relay *relay, const struct transcript_entry *e)
{
	bool channel = e->channel == TRANSCRIPT_BACKEND;
	struct vhu_fields fields;
	char line[VHU_LINE_BYTES], name[32];

	if (!relay->log_messages)
		return;
	vhu_describe(&e->header, channel, transcript_is_reply(e), e->payload, e->num_kept, &fields);
	vhu_fields_line(&fields, line);
	log_info("%s: %s %s%s %s (%u bytes, %u descriptors)", vdev_label(&relay->dev),
		e->from_backend ? "<-" : "->",
		vhu_message_name(le32_get(e->header.request), channel, name, sizeof(name)),
		transcript_is_reply(e) ? " reply" : "", line, le32_get(e->header.size), e->num_fds);
}

static struct transcript_entry *note(
	struct relay *relay, enum transcript_channel channel, unsigned int from, struct usock *us)
{
	struct transcript_entry *entry = transcript_add(&relay->transcript, channel,
		from == PUMP_BACK, (const struct vhu_header *)us->header, us->payload,
		us->payload_bytes, us->num_fds);

	log_entry(relay, entry);
	return entry;
}

static void on_channel_message(struct pump *pump, unsigned int from)
{
	note(container_of(pump, struct relay, channel), TRANSCRIPT_BACKEND, from,
		&pump->end[from].sock);
}

static void on_channel_closed(struct pump *pump, unsigned int from, const char *why)
{
	struct relay *relay = container_of(pump, struct relay, channel);

	if (why)
		log_limited(&relay->limit, LOG_LEVEL_WARN,
			"%s: the back-end's channel is closed: the %s: %s", vdev_label(&relay->dev),
			from == PUMP_FRONT ? "front-end" : "back-end", why);
}

static const struct pump_ops channel_ops = {
	.message = on_channel_message,
	.closed = on_channel_closed,
};

static bool is_stream_socket(int fd)
{
	int type = 0, domain = 0;
	socklen_t len = sizeof(type);

	return getsockopt(fd, SOL_SOCKET, SO_TYPE, &type, &len) == 0 && type == SOCK_STREAM &&
	       getsockopt(fd, SOL_SOCKET, SO_DOMAIN, &domain, &len) == 0 && domain == AF_UNIX;
}

/*
 * The back-end's own channel: it gets the end of a pair of ours in the place of the front-end's
 * socket, with the same flags. Where that cannot be, the socket itself goes on, and is not seen.
 */
static void take_channel(struct relay *relay, struct usock *us)
{
	int pair[2], flags;
	struct err err = { 0 };

	if (us->num_fds != 1 || !is_stream_socket(us->fds[0]))
		return;
	flags = fcntl(us->fds[0], F_GETFL);
	if (flags < 0 || socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair) < 0) {
		log_warn("%s: the back-end's channel is not looked at: %s", vdev_label(&relay->dev),
			strerror(errno));
		return;
	}
	if (flags & O_NONBLOCK)
		fcntl(pair[1], F_SETFL, O_NONBLOCK);
	/* What the old one still had is delivered, as far as it is read. */
	pump_look(&relay->channel);
	pump_close(&relay->channel);
	transcript_begin_channel(&relay->transcript);
	if (pump_open(&relay->channel, relay->dev.main_loop, &channel_ops, us->fds[0], pair[0],
		    &err) < 0)
		log_warn(
			"%s: the back-end's channel is lost: %s", vdev_label(&relay->dev), err.msg);
	us->fds[0] = pair[1];
}

static void on_message(struct pump *pump, unsigned int from)
{
	struct relay *relay = container_of(pump, struct relay, main);
	struct usock *us = &pump->end[from].sock;
	const struct vhu_header *header = (const struct vhu_header *)us->header;
	const union vhu_payload *payload = (const union vhu_payload *)us->payload;
	struct transcript_entry *entry = note(relay, TRANSCRIPT_MAIN, from, us);

	if (from == PUMP_BACK) {
		shadow_reply(&relay->shadow, header, payload, us->fds, us->num_fds);
		return;
	}
	entry->malformed = !shadow_request(&relay->shadow, header, payload, us->fds, us->num_fds);
	if (le32_get(header->request) == VHU_SET_BACKEND_REQ_FD)
		take_channel(relay, us);
}

/* --- ends --- */

static void on_closed(struct pump *pump, unsigned int from, const char *why)
{
	struct relay *relay = container_of(pump, struct relay, main);
	const char *who = from == PUMP_FRONT ? "front-end" : "back-end";

	if (why)
		log_limited(&relay->limit, LOG_LEVEL_WARN, "%s: the %s on %s is hung up on: %s",
			vdev_label(&relay->dev), who,
			from == PUMP_FRONT ? relay->listen : relay->connect, why);
	else
		log_limited(&relay->visits, LOG_LEVEL_INFO, "%s: the %s hung up",
			vdev_label(&relay->dev), who);
	pump_look(&relay->channel);
	pump_close(&relay->channel);
	shadow_reset(&relay->shadow);
	relay->dev.view.connected = false;
	loop_fd_events(&relay->accept_node, EPOLLIN);
}

static const struct pump_ops main_ops = {
	.message = on_message,
	.closed = on_closed,
};

static void join(struct relay *relay, int front)
{
	struct err err = { 0 };
	int back = host_connect_unix(relay->connect, &err);

	if (back < 0) {
		close(front);
		log_limited(&relay->limit, LOG_LEVEL_WARN,
			"%s: a front-end on %s is hung up on: %s", vdev_label(&relay->dev),
			relay->listen, err.msg);
		return;
	}
	transcript_begin(&relay->transcript);
	if (pump_open(&relay->main, relay->dev.main_loop, &main_ops, front, back, &err) < 0) {
		log_limited(
			&relay->limit, LOG_LEVEL_WARN, "%s: %s", vdev_label(&relay->dev), err.msg);
		return;
	}
	relay->dev.view.connected = true;
	log_limited(&relay->visits, LOG_LEVEL_INFO, "%s: a front-end on %s talks to %s",
		vdev_label(&relay->dev), relay->listen, relay->connect);
}

static void on_accept_again(struct loop_timer *timer)
{
	struct relay *relay = container_of(timer, struct relay, accept_again);

	loop_fd_events(&relay->accept_node, EPOLLIN);
}

/* No descriptor is left, most likely: who waits would wake the loop again and again. */
static void accept_later(struct relay *relay, int code)
{
	log_limited(&relay->limit, LOG_LEVEL_WARN, "%s: cannot accept a front-end on %s: %s",
		vdev_label(&relay->dev), relay->listen, strerror(-code));
	loop_fd_events(&relay->accept_node, 0);
	loop_timer_set(relay->dev.main_loop, &relay->accept_again,
		now_ns() + ACCEPT_AGAIN_MS * NSEC_PER_MSEC);
}

static void on_accept(struct loop_fd *node, _unused_ uint32_t revents)
{
	struct relay *relay = container_of(node, struct relay, accept_node);
	int fd;

	/* What the first one said before it hung up comes first. */
	pump_look(&relay->main);
	if (pump_is_ending(&relay->main)) {
		/* It stays in the queue of the socket until the first one's end was dealt with. */
		loop_fd_events(node, 0);
		return;
	}
	fd = listen_accept(&relay->listener);
	if (fd < 0) {
		if (fd != -EAGAIN)
			accept_later(relay, fd);
		return;
	}
	if (relay->main.open) {
		log_limited(&relay->limit, LOG_LEVEL_WARN,
			"%s: a second front-end on %s is turned away: one is connected",
			vdev_label(&relay->dev), relay->listen);
		close(fd);
		return;
	}
	join(relay, fd);
}

/* --- life --- */

static void detach(struct vdev *dev)
{
	struct relay *relay = relay_of(dev);

	loop_timer_cancel(&relay->accept_again);
	loop_fd_del(&relay->accept_node);
	listen_close(&relay->listener);
	pump_close(&relay->channel);
	pump_close(&relay->main);
	if (relay->shadow.dev)
		shadow_reset(&relay->shadow);
	shadow_deinit(&relay->shadow);
	transcript_deinit(&relay->transcript);
	free(take_ptr(dev->view.address));
	dev->view = (struct vdev_transport_view){ 0 };
	dev->transport = NULL;
}

static const struct vdev_transport_ops relay_ops = {
	.detach = detach,
};

static int check_options(const struct relay *relay, struct err *err)
{
	int fd;

	if (!relay->listen || !relay->connect)
		return err_set(err, -EINVAL,
			"%s: %s= is missing: a relay has listen=, where a front-end comes, and "
			"connect=, where its back-end is",
			vdev_label(&relay->dev), relay->listen ? "connect" : "listen");
	if (host_spec_fd(relay->connect, &fd))
		return err_set(err, -EINVAL,
			"connect=%s: expected the path of a socket, which is dialled for each "
			"front-end",
			relay->connect);
	return 0;
}

static int realize(struct vdev *dev, struct err *err)
{
	struct relay *relay = relay_of(dev);
	struct listen_options opts;
	int r = check_options(relay, err);

	relay->listener = (struct listener)LISTENER_INIT;
	if (!r)
		r = listen_parse(&opts, relay->listen, relay->mode, relay->group, err);
	if (!r)
		r = listen_unix(&relay->listener, &opts, err);
	if (r < 0)
		return r;
	transcript_init(&relay->transcript);
	relay->shadow.view.transcript = &relay->transcript;
	relay->shadow.view.has_type = dev->cls->virtio_id != 0;
	shadow_init(&relay->shadow, dev);
	dev->transport = &relay_ops;
	dev->view.kind = "vhost-user";
	dev->view.address = xstrdup(relay->listen);
	relay->accept_again.fn = on_accept_again;
	relay->accept_node.fd = relay->listener.fd;
	relay->accept_node.fn = on_accept;
	return loop_fd_add(dev->main_loop, &relay->accept_node, EPOLLIN, err);
}

const struct vdev_class relay_class = {
	.name = "relay",
	.description = "passes what a front-end and a vhost-user back-end say to each other",
	.instance_bytes = sizeof(struct relay),
	.options = options,
	.relayed = true,
	.realize = realize,
};
