/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * From a back-end's end to the next one's start, with reconnect=on. The back-end is dialled again
 * and again; what the front-end says meanwhile waits for outage-ms. Where the messages and memory
 * do not hold all that a new back-end would have to know, there is no going on: the front-end is
 * hung up on, with the reason.
 */
#include <errno.h>
#include <inttypes.h>
#include <poll.h>
#include <stdio.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/host_open.h"
#include "base/log.h"
#include "vhost/relay_internal.h"

/* Types by their numbers, and a feature of one of them. */
#define VIRTIO_ID_NET		   1
#define VIRTIO_ID_CONSOLE	   3
#define VIRTIO_CONSOLE_F_MULTIPORT 1

/* Types that are nothing but their rings and their configuration: all others are not replayed. */
static const uint16_t stateless_types[] = {
	VIRTIO_ID_NET, /* without a control queue */
	2, /* virtio-blk */
	VIRTIO_ID_CONSOLE, /* with one port */
	4, /* virtio-rng */
	8, /* virtio-scsi */
	18, /* virtio-input */
	27, /* virtio-pmem */
};

/* Why another back-end could not go on where this one was; NULL: it can. */
static const char *obstacle_of(const struct relay *relay)
{
	uint16_t type = relay->dev.cls->virtio_id;
	bool is_stateless = false;

	for (size_t i = 0; i < ARRAY_SIZE(stateless_types); i++)
		is_stateless |= type == stateless_types[i];
	if (!type)
		return "no message says what type it is, and so whether it has a state beyond its "
		       "rings; type= does";
	if (!is_stateless)
		return "a back-end of this type has a state beyond its rings, which no message "
		       "brings back";
	if (type == VIRTIO_ID_NET && relay->dev.num_queues > 2 && relay->dev.num_queues % 2)
		return "it served the control queue, and what was set there no message brings back";
	if (type == VIRTIO_ID_CONSOLE &&
		(relay->shadow.view.acked_features >> VIRTIO_CONSOLE_F_MULTIPORT & 1))
		return "it has ports, and which of them are open no message brings back";
	if (relay->shadow.view.log_enabled && relay->journal.single[VHU_SET_LOG_BASE].is_set)
		return "a migration was under way, and what it wrote last may not be in the log";
	return relay->journal.obstacle;
}

/* --- the end --- */

static void dial_later(struct relay *relay)
{
	loop_timer_set(
		relay->dev.main_loop, &relay->redial, now_ns() + relay->redial_ms * NSEC_PER_MSEC);
	relay->redial_ms = MIN(relay->redial_ms * 2, (uint64_t)REDIAL_LAST_MS);
}

static void be_patient(struct relay *relay)
{
	if (!relay->patience.loop)
		loop_timer_set(relay->dev.main_loop, &relay->patience,
			now_ns() + relay->outage_ms * NSEC_PER_MSEC);
}

/* The answer is in memory, or there is none. */
static int answer_base(struct relay *relay, uint32_t index)
{
	struct vhu_vring_state state = { le32_make(index), le32_make(0) };
	const struct vhu_header header =
		vhu_header_make(VHU_GET_VRING_BASE, VHU_VERSION | VHU_FLAG_REPLY, sizeof(state));
	struct err err = { 0 };
	const struct kept *told = journal_ring(&relay->journal, index, JOURNAL_BASE);
	uint32_t base = 0;
	int r = 0;

	if (index >= relay->dev.num_queues || relay->shadow.rings[index].stopped_reason)
		r = err_set(&err, -ENODATA, "it was stopped");
	else if (journal_runs(&relay->journal, index))
		r = relay_ring_rest_base(relay, index, &base, &err);
	else if (told)
		base = le32_get(((const struct vhu_vring_state *)told->payload)->num);
	if (r < 0) {
		log_limited(&relay->limit, LOG_LEVEL_WARN,
			"%s: queue %u: the front-end wants to know where it stands, the back-end "
			"is gone, and %s",
			vdev_label(&relay->dev), index, err.msg);
		return r;
	}
	state.num = le32_make(base);
	relay_say_reply(relay, VHU_GET_VRING_BASE, &state, sizeof(state));
	shadow_reply(&relay->shadow, &header, (const union vhu_payload *)&state, NULL, 0);
	journal_stopped(&relay->journal, index, base);
	relay_ring_rests(relay, index);
	return 0;
}

/* What the dead one was asked and did not answer: only its rings can be answered for. */
static bool answer_pending_bases(struct relay *relay)
{
	for (unsigned int i = 0; i < relay->journal.num_pending; i++) {
		const struct kept *k = &relay->journal.pending[i];
		const struct vhu_header header = k->header;

		if (le32_get(header.request) != VHU_GET_VRING_BASE || !le32_get(header.size))
			continue;
		if (answer_base(relay,
			    le32_get(((const struct vhu_vring_state *)k->payload)->index)) < 0)
			return false;
		journal_answered(&relay->journal, &header);
		i--;
	}
	return true;
}

bool relay_lost(struct relay *relay, const char *why)
{
	const char *obstacle = obstacle_of(relay);
	bool was_there = relay->state == RELAY_PASSING || relay->state == RELAY_ASKING;

	/* Who went in the middle of that was not asked. */
	if (relay->state == RELAY_ASKING)
		relay->region_asked = false;
	relay_stop_asking(relay);
	if (!relay->reconnect)
		return false;
	if (relay->journal.has_any && obstacle) {
		log_limited(&relay->limit, LOG_LEVEL_WARN,
			"%s: the back-end on %s is gone, and nothing is replayed to another: %s",
			vdev_label(&relay->dev), relay->connect, obstacle);
		return false;
	}
	relay_rings_look(relay);
	if (was_there) {
		relay->redial_ms = REDIAL_FIRST_MS;
		relay->down_since_ns = now_ns();
		relay_note_end(relay, relay->journal.has_any ? VDEV_END_BACK : VDEV_END_NO_BACK);
		log_limited(&relay->visits, LOG_LEVEL_WARN,
			"%s: the back-end on %s is gone%s%s; it is dialled until one is there",
			vdev_label(&relay->dev), relay->connect, why ? ": " : "", why ? why : "");
	}
	relay->state = RELAY_DOWN;
	if (relay->channel.open && !relay->channel.alone)
		pump_detach(&relay->channel);
	if (!answer_pending_bases(relay))
		return false;
	if (relay->journal.num_pending)
		be_patient(relay);
	dial_later(relay);
	return true;
}

void relay_try_again(struct relay *relay, const char *why)
{
	log_limited(&relay->limit, LOG_LEVEL_WARN, "%s: the back-end on %s is left: %s",
		vdev_label(&relay->dev), relay->connect, why);
	pump_detach(&relay->main);
	if (!relay_lost(relay, why))
		relay_give_up(relay, why);
}

void relay_give_up(struct relay *relay, const char *why)
{
	relay_stop_asking(relay);
	loop_timer_cancel(&relay->redial);
	loop_timer_cancel(&relay->patience);
	relay->state = RELAY_DOWN;
	pump_end(&relay->main, PUMP_BACK, why);
}

/* --- what waits --- */

/* Does it ask for an acknowledgement, which can say that it was not done? */
static bool can_be_refused(const struct relay *relay, const struct vhu_header *header)
{
	const struct vhu_rule *rule = vhu_rule(le32_get(header->request));

	return rule && rule->reply == VHU_REPLY_ACK && (le32_get(header->flags) & VHU_NEED_REPLY) &&
	       (journal_word(&relay->journal, VHU_SET_PROTOCOL_FEATURES) >> VHU_PF_REPLY_ACK & 1);
}

static void acknowledge(struct relay *relay, const struct vhu_header *header, uint64_t code)
{
	const struct vhu_u64 word = { le64_make(code) };

	relay_say_reply(relay, le32_get(header->request), &word, sizeof(word));
}

static void refuse_or_give_up(struct relay *relay, const struct vhu_header *header)
{
	char why[120], name[32];

	if (can_be_refused(relay, header)) {
		acknowledge(relay, header, ETIMEDOUT);
		return;
	}
	snprintf(why, sizeof(why), "%s waited %u ms for a back-end",
		vhu_request_name(le32_get(header->request), name, sizeof(name)), relay->outage_ms);
	relay_give_up(relay, why);
}

static void on_patience(struct loop_timer *timer)
{
	struct relay *relay = container_of(timer, struct relay, patience);

	while (relay->journal.num_pending) {
		struct kept k = journal_take_pending(&relay->journal);

		refuse_or_give_up(relay, &k.header);
		kept_clear(&k);
	}
	relay->out_of_patience = relay->main.end[PUMP_FRONT].parked;
	pump_resume(&relay->main);
}

enum pump_verdict relay_front_waits(struct relay *relay, struct usock *us)
{
	const struct vhu_header *header = (const struct vhu_header *)us->header;
	const union vhu_payload *payload = (const union vhu_payload *)us->payload;

	if (relay->state == RELAY_ASKING)
		return PUMP_WAIT;
	if (relay->state == RELAY_DOWN && le32_get(header->request) == VHU_GET_VRING_BASE &&
		vhu_check(header, payload, us->num_fds, NULL) == VHU_OK && relay->journal.has_any) {
		if (answer_base(relay, le32_get(payload->state.index)) < 0)
			relay_give_up(relay, "where a queue stands cannot be told");
		return PUMP_DROP;
	}
	if (!relay->out_of_patience) {
		be_patient(relay);
		return PUMP_WAIT;
	}
	relay->out_of_patience = false;
	refuse_or_give_up(relay, header);
	return PUMP_DROP;
}

/* --- another one --- */

static void on_redial(struct loop_timer *timer)
{
	struct relay *relay = container_of(timer, struct relay, redial);
	struct err err = { 0 };
	int back = host_connect_unix(relay->connect, &err);

	if (back < 0 || pump_attach(&relay->main, back, &err) < 0) {
		dial_later(relay);
		return;
	}
	if (relay->journal.has_any)
		relay_replay(relay);
	else
		relay_resume(relay);
}

static void on_answer_due(struct loop_timer *timer)
{
	struct relay *relay = container_of(timer, struct relay, answer_due);
	char why[80], name[32];

	snprintf(why, sizeof(why), "it does not answer %s",
		vhu_request_name(relay->awaited, name, sizeof(name)));
	/* It was asked for a region, and is not again. */
	if (relay->state == RELAY_ASKING)
		relay->state = RELAY_PASSING;
	relay_try_again(relay, why);
}

/* One that is full has what it needs. */
static void signal_fd(int fd)
{
	const uint64_t one = 1;
	struct pollfd p = { .fd = fd, .events = POLLOUT };

	if (fd >= 0 && poll(&p, 1, 0) == 1 && (p.revents & POLLOUT) &&
		write(fd, &one, sizeof(one)) < 0)
		log_debug("a queue's descriptor does not take a signal: errno %d", errno);
}

/*
 * The dead one may have taken a kick and not served it, and answered without a call: each side gets
 * one that may be needless.
 */
static void wake_both(struct relay *relay, uint32_t index)
{
	const struct vhu_vring_state state = { le32_make(index), le32_make(0) };
	const struct vhu_header kick = vhu_header_make(VHU_VRING_KICK, VHU_VERSION, sizeof(state));
	const struct vhost_view_ring *ring = &relay->shadow.rings[index];
	bool inband = relay->shadow.view.protocol_acked >> VHU_PF_INBAND_NOTIFICATIONS & 1;

	signal_fd(ring->kick);
	signal_fd(ring->call);
	if (ring->kick >= 0 || !inband)
		return;
	relay_note_own(relay, false, &kick, &state, 0);
	pump_say(&relay->main, PUMP_BACK, &kick, &state, NULL, 0);
}

/* The state that it would have set was replayed; what asks for something is asked again. */
static void repeat_pending(struct relay *relay)
{
	unsigned int num = relay->journal.num_pending;

	while (num--) {
		struct kept k = journal_take_pending(&relay->journal);
		const struct vhu_header *h = &k.header;

		if (can_be_refused(relay, h) && journal_keeps(le32_get(h->request))) {
			acknowledge(relay, h, 0);
			kept_clear(&k);
			continue;
		}
		relay_note_own(relay, false, h, k.payload, k.num_fds);
		pump_say(&relay->main, PUMP_BACK, h, k.payload, k.fds, k.num_fds);
		relay->journal.pending[relay->journal.num_pending++] = k;
	}
}

void relay_resume(struct relay *relay)
{
	relay_stop_asking(relay);
	loop_timer_cancel(&relay->patience);
	relay->state = RELAY_PASSING;
	relay_note_end(relay, VDEV_END_NONE);
	relay->out_of_patience = false;
	for (uint32_t i = 0; i < relay->dev.num_queues; i++)
		if (journal_runs(&relay->journal, i) && !relay->shadow.rings[i].stopped_reason)
			wake_both(relay, i);
	repeat_pending(relay);
	log_limited(&relay->visits, LOG_LEVEL_INFO,
		"%s: a back-end on %s goes on after %" PRIu64 " ms", vdev_label(&relay->dev),
		relay->connect, (uint64_t)((now_ns() - relay->down_since_ns) / NSEC_PER_MSEC));
	pump_resume(&relay->main);
}

/* --- life --- */

void relay_outage_init(struct relay *relay)
{
	relay->redial.fn = on_redial;
	relay->patience.fn = on_patience;
	relay->answer_due.fn = on_answer_due;
	relay->watch.fn = relay_watch;
	relay->channel_end = -1;
	relay->redial_ms = REDIAL_FIRST_MS;
}

void relay_forget(struct relay *relay)
{
	relay_stop_asking(relay);
	loop_timer_cancel(&relay->redial);
	loop_timer_cancel(&relay->patience);
	relay_rings_forget(relay);
	journal_clear(&relay->journal);
	relay->state = RELAY_PASSING;
	relay->out_of_patience = false;
	relay->redial_ms = REDIAL_FIRST_MS;
}
