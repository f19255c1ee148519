/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Where the two ends come from, and what is looked at as messages pass. The back-end is dialled
 * when a front-end comes, and not before; without one the front-end is hung up on. One front-end at
 * a time (base/seat.h): another that comes meanwhile is turned away, unless the first hangs up in
 * the next moments, then it has its turn. Refuses nothing that two ends could want to say to each
 * other (vhost/pump.h has the limits); what is not well-formed passes, and no state is concluded
 * from it.
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
#include "proto/vhu_fields.h"
#include "vhost/relay_internal.h"

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
	{ "reconnect", OPTION_BOOL, FIELD(reconnect), "off", 0, 0, NULL,
		"a back-end that dies is dialled again, and told where to go on" },
	{ "outage-ms", OPTION_U32, FIELD(outage_ms), "5000", 1, 3600000, NULL,
		"how long a front-end's message waits for a back-end" },
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
	log_info("%s: %s%s %s%s %s (%u bytes, %u descriptors)", vdev_label(&relay->dev),
		e->own ? "own " : "", e->from_backend ? "<-" : "->",
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

void relay_note_own(struct relay *relay, bool from_backend, const struct vhu_header *header,
	const void *payload, unsigned int num_fds)
{
	struct transcript_entry *entry = transcript_add(&relay->transcript, TRANSCRIPT_MAIN,
		from_backend, header, payload, le32_get(header->size), num_fds);

	entry->own = true;
	log_entry(relay, entry);
}

static enum pump_verdict on_channel_message(struct pump *pump, unsigned int from)
{
	struct relay *relay = container_of(pump, struct relay, channel);

	/* Whoever asked for this answer is gone. */
	if (pump->alone)
		return PUMP_DROP;
	note(relay, TRANSCRIPT_BACKEND, from, &pump->end[from].sock);
	return PUMP_PASS;
}

static bool on_channel_lost(struct pump *pump, _unused_ const char *why)
{
	struct relay *relay = container_of(pump, struct relay, channel);

	transcript_begin_channel(&relay->transcript);
	return relay->reconnect;
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
	.lost = on_channel_lost,
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
	relay->channel_nonblock = flags & O_NONBLOCK;
	if (relay->channel_nonblock)
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

int relay_new_channel(struct relay *relay)
{
	struct err err = { 0 };
	int pair[2];

	if (!relay->channel.alone)
		pump_detach(&relay->channel);
	if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair) < 0)
		return -1;
	if (relay->channel_nonblock)
		fcntl(pair[1], F_SETFL, O_NONBLOCK);
	if (pump_attach(&relay->channel, pair[0], &err) < 0)
		close_fd(&pair[1]);
	return pair[1];
}

/* A ring starts; a kick by message is a start only where there was none. */
static void keep_start(struct relay *relay, uint32_t request, const union vhu_payload *payload)
{
	const struct kept *told;
	uint32_t index = 0, base = 0;

	if (!vhu_queue_index(request, payload, &index) || index >= SHADOW_QUEUES_MAX ||
		(request == VHU_VRING_KICK && relay->rings[index].num))
		return;
	told = journal_ring(&relay->journal, index, JOURNAL_BASE);
	if (told)
		base = le32_get(((const struct vhu_vring_state *)told->payload)->num);
	relay->shadow.rings[index].stopped_reason = NULL;
	relay_ring_starts(relay, index, base);
}

/* What another back-end would have to know, as it passes. */
static void keep(struct relay *relay, struct usock *us)
{
	const struct vhu_header *header = (const struct vhu_header *)us->header;
	const union vhu_payload *payload = (const union vhu_payload *)us->payload;
	uint32_t request = le32_get(header->request), index = 0;

	/* What is in flight by the old word says nothing under the new one. */
	if (request == VHU_SET_PROTOCOL_FEATURES)
		relay->region_asked = relay->region_is_own = false;
	journal_request(&relay->journal, header, payload, us->fds, us->num_fds);
	if (request == VHU_SET_INFLIGHT_FD && us->num_fds) {
		struct vhu_inflight region = { 0 };

		memcpy(&region, payload, VHU_INFLIGHT_MIN_BYTES);
		relay_set_region(relay, &region, us->fds[0], false);
	}
	if (journal_is_reset(header, payload))
		for (index = 0; index < relay->dev.num_queues; index++)
			relay_ring_rests(relay, index);
	if (request == VHU_SET_VRING_KICK || request == VHU_VRING_KICK)
		keep_start(relay, request, payload);
}

static bool waits_for_answer(struct relay *relay, const struct vhu_header *header)
{
	const struct vhu_rule *rule = vhu_rule(le32_get(header->request));

	if (rule && rule->reply == VHU_REPLY_OWN)
		return true;
	return (le32_get(header->flags) & VHU_NEED_REPLY) &&
	       (journal_word(&relay->journal, VHU_SET_PROTOCOL_FEATURES) >> VHU_PF_REPLY_ACK & 1);
}

/* A stopped ring has no back-end that could say where it stands. */
static bool asks_stopped(struct relay *relay, const struct vhu_header *header,
	const union vhu_payload *payload, unsigned int num_fds)
{
	uint32_t index;

	if (le32_get(header->request) != VHU_GET_VRING_BASE ||
		vhu_check(header, payload, num_fds, NULL) != VHU_OK)
		return false;
	index = le32_get(payload->state.index);
	return index < SHADOW_QUEUES_MAX && relay->shadow.rings[index].stopped_reason;
}

static enum pump_verdict on_request(struct relay *relay, struct usock *us)
{
	const struct vhu_header *header = (const struct vhu_header *)us->header;
	const union vhu_payload *payload = (const union vhu_payload *)us->payload;
	struct transcript_entry *entry;

	if (relay->state != RELAY_PASSING)
		return relay_front_waits(relay, us);
	if (relay->reconnect && asks_stopped(relay, header, payload, us->num_fds)) {
		relay_give_up(relay, "where a stopped queue stands cannot be told");
		return PUMP_DROP;
	}
	if (relay->reconnect && le32_get(header->request) == VHU_SET_VRING_NUM &&
		vhu_check(header, payload, us->num_fds, NULL) == VHU_OK &&
		relay_ask_region(relay, le32_get(payload->state.num)))
		return PUMP_WAIT;
	entry = note(relay, TRANSCRIPT_MAIN, PUMP_FRONT, us);
	shadow_witness(&relay->shadow, entry);
	entry->malformed = !shadow_request(&relay->shadow, header, payload, us->fds, us->num_fds);
	if (relay->reconnect && !entry->malformed) {
		keep(relay, us);
		if (waits_for_answer(relay, header))
			journal_wait(&relay->journal, header, us->payload, us->payload_bytes,
				us->fds, us->num_fds);
	}
	if (le32_get(header->request) == VHU_SET_BACKEND_REQ_FD)
		take_channel(relay, us);
	return PUMP_PASS;
}

static enum pump_verdict on_reply(struct relay *relay, struct usock *us)
{
	const struct vhu_header *header = (const struct vhu_header *)us->header;
	const union vhu_payload *payload = (const union vhu_payload *)us->payload;

	if (relay_own_reply(relay, us))
		return PUMP_DROP;
	if (relay->state == RELAY_REPLAYING) {
		relay_try_again(relay, "it says what it was not asked");
		return PUMP_DROP;
	}
	shadow_witness(&relay->shadow, note(relay, TRANSCRIPT_MAIN, PUMP_BACK, us));
	shadow_reply(&relay->shadow, header, payload, us->fds, us->num_fds);
	if (!relay->reconnect || !(le32_get(header->flags) & VHU_FLAG_REPLY))
		return PUMP_PASS;
	journal_answered(&relay->journal, header);
	if (le32_get(header->request) == VHU_GET_VRING_BASE &&
		us->payload_bytes >= sizeof(payload->state)) {
		journal_stopped(&relay->journal, le32_get(payload->state.index),
			le32_get(payload->state.num));
		relay_ring_rests(relay, le32_get(payload->state.index));
	}
	return PUMP_PASS;
}

static enum pump_verdict on_message(struct pump *pump, unsigned int from)
{
	struct relay *relay = container_of(pump, struct relay, main);
	struct usock *us = &pump->end[from].sock;

	return from == PUMP_BACK ? on_reply(relay, us) : on_request(relay, us);
}

/* --- ends --- */

void relay_note_end(struct relay *relay, enum vdev_end end)
{
	relay->dev.view.last_end = end;
	relay->dev.view.last_end_ns = now_ns();
}

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
	relay->dev.view.connected = false;
	relay_note_end(relay, from == PUMP_FRONT ? VDEV_END_FRONT : VDEV_END_BACK);
	shadow_reset(&relay->shadow);
	relay_forget(relay);
	transcript_end(&relay->transcript);
	seat_vacant(&relay->seat);
}

static bool on_lost(struct pump *pump, const char *why)
{
	return relay_lost(container_of(pump, struct relay, main), why);
}

static const struct pump_ops main_ops = {
	.message = on_message,
	.lost = on_lost,
	.closed = on_closed,
};

static void join(struct seat *seat, int front)
{
	struct relay *relay = container_of(seat, struct relay, seat);
	struct err err = { 0 };
	int back = host_connect_unix(relay->connect, &err);

	if (back < 0 && !relay->reconnect) {
		close(front);
		relay_note_end(relay, VDEV_END_NO_BACK);
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
	relay->dev.view.last_end = VDEV_END_NONE;
	if (back < 0) {
		relay_lost(relay, err.msg);
		return;
	}
	log_limited(&relay->visits, LOG_LEVEL_INFO, "%s: a front-end on %s talks to %s",
		vdev_label(&relay->dev), relay->listen, relay->connect);
}

static enum seat_state look(struct seat *seat)
{
	struct relay *relay = container_of(seat, struct relay, seat);

	/* What the first one said before it hung up comes first. */
	pump_look(&relay->main);
	if (pump_is_ending(&relay->main))
		return SEAT_ENDING;
	return relay->main.open ? SEAT_TAKEN : SEAT_FREE;
}

/* Descriptors for calls go on to the back-end: whether anybody hears them is not ours to know. */
static const struct seat_ops seat_ops = {
	.look = look,
	.serve = join,
};

/* --- life --- */

static void detach(struct vdev *dev)
{
	struct relay *relay = relay_of(dev);

	seat_close(&relay->seat);
	pump_close(&relay->channel);
	pump_close(&relay->main);
	relay_forget(relay);
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

	relay->seat = (struct seat)SEAT_INIT;
	relay_outage_init(relay);
	if (!r)
		r = listen_parse(&opts, relay->listen, relay->mode, relay->group, err);
	if (!r)
		r = seat_open(&relay->seat, dev->main_loop, &opts, &seat_ops, vdev_label(dev),
			relay->listen, err);
	if (r < 0)
		return r;
	transcript_init(&relay->transcript);
	relay->shadow.view.transcript = &relay->transcript;
	relay->shadow.view.has_type = dev->cls->virtio_id != 0;
	shadow_init(&relay->shadow, dev);
	dev->transport = &relay_ops;
	dev->view.kind = "vhost-user";
	dev->view.address = xstrdup(relay->listen);
	return 0;
}

const struct vdev_class relay_class = {
	.name = "relay",
	.description = "passes what a front-end and a vhost-user back-end say to each other",
	.instance_bytes = sizeof(struct relay),
	.options = options,
	.relayed = true,
	.realize = realize,
};
