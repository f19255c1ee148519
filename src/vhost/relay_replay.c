/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * What the relay says itself, by two scripts: what a new back-end is told, and how a region for
 * what is in flight is had where the front-end does not know of such. One message at a time is
 * answered; the answers never reach the front-end. A back-end that refuses, says something else
 * than what it was asked, or nothing for OWN_REPLY_MS, is left; one that lacks a feature which the
 * front-end relies on ends the connection.
 */
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "base/cleanup.h"
#include "base/log.h"
#include "vhost/relay_internal.h"

#define OWN_WORDS_PER_RING NUM_JOURNAL_RING

static uint64_t protocol_word(const struct relay *relay)
{
	uint64_t word = journal_word(&relay->journal, VHU_SET_PROTOCOL_FEATURES);

	return relay->region_is_own ? word | 1ull << VHU_PF_INFLIGHT_SHMFD : word;
}

static bool has_protocol(const struct relay *relay, enum vhu_protocol_feature bit)
{
	return protocol_word(relay) >> bit & 1;
}

static void set_word(struct own_message *m, uint32_t request, uint64_t word)
{
	const struct vhu_u64 payload = { le64_make(word) };

	m->request = request;
	m->bytes = sizeof(payload);
	memcpy(m->payload, &payload, sizeof(payload));
}

static void set_kept(struct own_message *m, const struct kept *k)
{
	if (!k || !k->is_set)
		return;
	m->request = le32_get(k->header.request);
	m->bytes = le32_get(k->header.size);
	memcpy(m->payload, k->payload, m->bytes);
	m->num_fds = k->num_fds;
	memcpy(m->fds, k->fds, k->num_fds * sizeof(k->fds[0]));
}

static bool reply_word(const struct usock *us, uint64_t *ret)
{
	const union vhu_payload *payload = (const union vhu_payload *)us->payload;

	if (us->payload_bytes < sizeof(payload->u64))
		return false;
	*ret = le64_get(payload->u64.value);
	return true;
}

/* --- what a new back-end is told --- */

static bool owner(struct relay *relay, unsigned int i, struct own_message *m)
{
	set_kept(m, &relay->journal.single[VHU_SET_OWNER]);
	return i == 0;
}

static bool features_asked(_unused_ struct relay *relay, unsigned int i, struct own_message *m)
{
	m->request = VHU_GET_FEATURES;
	return i == 0;
}

/* All that the front-end was offered and took has to be there again. */
static bool check_features(struct relay *relay, struct usock *us)
{
	uint64_t relied_on = relay->shadow.view.acked_features, offered, missing;
	char why[120];

	if (!reply_word(us, &offered))
		return false;
	if (relay->shadow.view.has_offer)
		relied_on &= relay->shadow.view.features;
	missing = relied_on & ~offered;
	if (!missing)
		return true;
	snprintf(why, sizeof(why),
		"it came back without features 0x%" PRIx64 ", which the driver relies on", missing);
	relay_give_up(relay, why);
	return true;
}

static bool speaks_protocol(const struct relay *relay)
{
	return relay->journal.single[VHU_SET_PROTOCOL_FEATURES].is_set || relay->region_is_own;
}

static bool protocol_asked(struct relay *relay, unsigned int i, struct own_message *m)
{
	if (speaks_protocol(relay))
		m->request = VHU_GET_PROTOCOL_FEATURES;
	return i == 0;
}

static bool check_protocol(struct relay *relay, struct usock *us)
{
	uint64_t relied_on = protocol_word(relay), offered, missing;
	char why[120];

	if (!reply_word(us, &offered))
		return false;
	if (relay->shadow.view.protocol_offered)
		relied_on &= relay->shadow.view.protocol_offered;
	missing = relied_on & ~offered;
	if (!missing)
		return true;
	snprintf(why, sizeof(why),
		"it came back without protocol features 0x%" PRIx64 ", which are relied on",
		missing);
	relay_give_up(relay, why);
	return true;
}

static bool protocol_told(struct relay *relay, unsigned int i, struct own_message *m)
{
	if (speaks_protocol(relay))
		set_word(m, VHU_SET_PROTOCOL_FEATURES, protocol_word(relay));
	return i == 0;
}

static bool features_told(struct relay *relay, unsigned int i, struct own_message *m)
{
	set_kept(m, &relay->journal.single[VHU_SET_FEATURES]);
	return i == 0;
}

static bool channel_told(struct relay *relay, unsigned int i, struct own_message *m)
{
	close_fd(&relay->channel_end);
	if (i)
		return false;
	if (!relay->channel.open)
		return true;
	relay->channel_end = relay_new_channel(relay);
	if (relay->channel_end < 0)
		return true;
	m->request = VHU_SET_BACKEND_REQ_FD;
	m->fds[m->num_fds++] = relay->channel_end;
	return true;
}

/* A table, or slot by slot where they came like that, or are more than a table can have. */
static bool memory_told(struct relay *relay, unsigned int i, struct own_message *m)
{
	const struct journal *j = &relay->journal;
	struct vhu_mem_table table = { le32_make(j->num_regions), le32_make(0), { { { 0 } } } };

	if (has_protocol(relay, VHU_PF_CONFIGURE_MEM_SLOTS) &&
		(j->by_slots || j->num_regions > VHU_REGIONS_MAX)) {
		struct vhu_mem_region one = { le64_make(0), { { 0 } } };

		if (i >= j->num_regions)
			return false;
		one.region = j->regions[i].region;
		m->request = VHU_ADD_MEM_REG;
		m->bytes = sizeof(one);
		memcpy(m->payload, &one, sizeof(one));
		m->fds[m->num_fds++] = j->regions[i].fd;
		return true;
	}
	if (i || !j->num_regions)
		return false;
	for (unsigned int n = 0; n < MIN(j->num_regions, (unsigned int)VHU_REGIONS_MAX); n++) {
		table.regions[n] = j->regions[n].region;
		m->fds[m->num_fds++] = j->regions[n].fd;
	}
	m->request = VHU_SET_MEM_TABLE;
	m->bytes = offsetof(struct vhu_mem_table, regions) + m->num_fds * sizeof(table.regions[0]);
	memcpy(m->payload, &table, m->bytes);
	return true;
}

static bool rest_told(struct relay *relay, unsigned int i, struct own_message *m)
{
	static const uint32_t requests[] = { VHU_SET_LOG_BASE, VHU_SET_LOG_FD, VHU_NET_SET_MTU,
		VHU_SET_INFLIGHT_FD };

	if (i >= ARRAY_SIZE(requests))
		return false;
	set_kept(m, &relay->journal.single[requests[i]]);
	return true;
}

/* Where a ring that runs goes on; false, and it is stopped, where nobody can tell. */
static bool base_told(struct relay *relay, uint32_t index, struct own_message *m)
{
	struct vhu_vring_state state = { le32_make(index), le32_make(0) };
	struct err err = { 0 };
	uint32_t base = 0;

	if (relay_ring_base(relay, index, &base, &err) < 0) {
		relay_ring_stop(relay, index, err.msg);
		return false;
	}
	/* From now on it is followed anew. */
	relay_ring_starts(relay, index, base);
	state.num = le32_make(base);
	m->request = VHU_SET_VRING_BASE;
	m->bytes = sizeof(state);
	memcpy(m->payload, &state, sizeof(state));
	return true;
}

/* A ring that was stopped is not spoken of, but for what stays its own across stops. */
static bool is_told(struct relay *relay, uint32_t index, unsigned int which)
{
	return !relay->shadow.rings[index].stopped_reason || which == JOURNAL_CALL ||
	       which == JOURNAL_ERR;
}

static bool rings_told(struct relay *relay, unsigned int i, struct own_message *m)
{
	uint32_t index = i / OWN_WORDS_PER_RING;
	unsigned int which = i % OWN_WORDS_PER_RING;
	const struct kept *k;

	if (index >= relay->dev.num_queues)
		return false;
	if (which == JOURNAL_NUM && journal_runs(&relay->journal, index) &&
		!relay->shadow.rings[index].stopped_reason) {
		struct own_message unused = { 0 };

		/* Found out first: a ring that cannot go on is not begun with. */
		base_told(relay, index, &unused);
	}
	k = journal_ring(&relay->journal, index, which);
	if (!is_told(relay, index, which))
		return true;
	if (which == JOURNAL_BASE && journal_runs(&relay->journal, index))
		base_told(relay, index, m);
	else
		set_kept(m, k);
	return true;
}

static bool status_told(struct relay *relay, unsigned int i, struct own_message *m)
{
	set_kept(m, &relay->journal.single[VHU_SET_STATUS]);
	return i == 0;
}

/* An answer comes when all before was taken; who refused something has hung up. */
static const struct own_step replay_script[] = {
	{ owner, NULL },
	{ features_asked, check_features },
	{ protocol_asked, check_protocol },
	{ protocol_told, NULL },
	{ features_told, NULL },
	{ channel_told, NULL },
	{ memory_told, NULL },
	{ rest_told, NULL },
	{ rings_told, NULL },
	{ status_told, NULL },
	{ features_asked, NULL },
	{ NULL, NULL },
};

/* --- a region that the front-end does not know of --- */

static bool region_protocol_asked(struct relay *relay, unsigned int i, struct own_message *m)
{
	if (!relay->shadow.view.protocol_offered)
		m->request = VHU_GET_PROTOCOL_FEATURES;
	return i == 0;
}

static bool know_protocol(struct relay *relay, struct usock *us)
{
	return reply_word(us, &relay->shadow.view.protocol_offered);
}

static bool offers_region(const struct relay *relay)
{
	return relay->shadow.view.protocol_offered >> VHU_PF_INFLIGHT_SHMFD & 1;
}

static bool region_protocol_told(struct relay *relay, unsigned int i, struct own_message *m)
{
	if (offers_region(relay))
		set_word(m, VHU_SET_PROTOCOL_FEATURES,
			protocol_word(relay) | 1ull << VHU_PF_INFLIGHT_SHMFD);
	return i == 0;
}

static bool num_queues_asked(struct relay *relay, unsigned int i, struct own_message *m)
{
	if (offers_region(relay) && !relay->shadow.view.max_queues &&
		(relay->shadow.view.protocol_offered >> VHU_PF_MQ & 1))
		m->request = VHU_GET_QUEUE_NUM;
	return i == 0;
}

static bool know_num_queues(struct relay *relay, struct usock *us)
{
	return reply_word(us, &relay->shadow.view.max_queues);
}

/* Of a network device the pairs are counted. */
static uint16_t num_queues_of(const struct relay *relay)
{
	uint64_t num = MAX(relay->shadow.view.max_queues, (uint64_t)1);
	bool pairs = relay->dev.cls->virtio_id == 1;

	return (uint16_t)MIN(pairs ? num * 2 : num, (uint64_t)SHADOW_QUEUES_MAX);
}

static bool region_asked(struct relay *relay, unsigned int i, struct own_message *m)
{
	struct vhu_inflight want = { 0 };

	if (i || !offers_region(relay))
		return i == 0;
	want.num_queues = le16_make(num_queues_of(relay));
	want.queue_size = relay->region.queue_size;
	m->request = VHU_GET_INFLIGHT_FD;
	m->bytes = sizeof(want);
	memcpy(m->payload, &want, sizeof(want));
	return true;
}

static bool know_region(struct relay *relay, struct usock *us)
{
	struct vhu_inflight got = { 0 };
	const struct vhu_header header =
		vhu_header_make(VHU_SET_INFLIGHT_FD, VHU_VERSION, sizeof(got));
	const struct vhu_header asked = { le32_make(VHU_GET_INFLIGHT_FD), header.flags,
		header.size };
	uint16_t queue_size = le16_get(relay->region.queue_size);

	if (us->payload_bytes < VHU_INFLIGHT_MIN_BYTES)
		return false;
	memcpy(&got, us->payload, VHU_INFLIGHT_MIN_BYTES);
	/* It has none for this device. */
	if (us->num_fds != 1 || !le64_get(got.mmap_size))
		return true;
	got.num_queues = le16_make(num_queues_of(relay));
	got.queue_size = le16_make(queue_size);
	shadow_reply(&relay->shadow,
		&(struct vhu_header){
			asked.request, le32_make(VHU_VERSION | VHU_FLAG_REPLY), asked.size },
		(const union vhu_payload *)&got, us->fds, us->num_fds);
	relay_set_region(relay, &got, us->fds[0], true);
	journal_request(
		&relay->journal, &header, (const union vhu_payload *)&got, us->fds, us->num_fds);
	return true;
}

static bool region_told(struct relay *relay, unsigned int i, struct own_message *m)
{
	const struct kept *k = &relay->journal.single[VHU_SET_INFLIGHT_FD];

	if (i || !relay->region_is_own)
		return i == 0;
	set_kept(m, k);
	shadow_request(&relay->shadow, &k->header, (const union vhu_payload *)k->payload, k->fds,
		k->num_fds);
	return true;
}

static const struct own_step region_script[] = {
	{ region_protocol_asked, know_protocol },
	{ region_protocol_told, NULL },
	{ num_queues_asked, know_num_queues },
	{ region_asked, know_region },
	{ region_told, NULL },
	{ NULL, NULL },
};

/* --- one message after the other --- */

static void send_own(struct relay *relay, const struct own_message *m)
{
	const struct vhu_rule *rule = vhu_rule(m->request);
	bool acks = rule->reply == VHU_REPLY_ACK && has_protocol(relay, VHU_PF_REPLY_ACK) &&
		    m->request != VHU_SET_PROTOCOL_FEATURES && m->request != VHU_SET_OWNER;
	const struct vhu_header header = vhu_header_make(
		m->request, VHU_VERSION | (acks ? VHU_NEED_REPLY : 0), (uint32_t)m->bytes);

	relay_note_own(relay, false, &header, m->payload, m->num_fds);
	pump_say(&relay->main, PUMP_BACK, &header, m->payload, m->fds, m->num_fds);
	if (!acks && rule->reply != VHU_REPLY_OWN)
		return;
	relay->awaited = m->request;
	loop_timer_set(
		relay->dev.main_loop, &relay->answer_due, now_ns() + OWN_REPLY_MS * NSEC_PER_MSEC);
}

/* The region was asked for, and be it that there is none. */
static void finish_asking(struct relay *relay)
{
	relay_stop_asking(relay);
	relay->state = RELAY_PASSING;
	pump_resume(&relay->main);
}

static void go_on(struct relay *relay)
{
	while (relay->script && !relay->awaited) {
		const struct own_step *step = &relay->script[relay->step];
		struct own_message m = { 0 };

		if (!step->make) {
			bool was_replay = relay->script == replay_script;

			relay->script = NULL;
			if (was_replay)
				relay_resume(relay);
			else
				finish_asking(relay);
			return;
		}
		if (!step->make(relay, relay->step_at++, &m)) {
			relay->step++;
			relay->step_at = 0;
		} else if (m.request) {
			send_own(relay, &m);
		}
	}
}

static void begin(struct relay *relay, const struct own_step *script, enum relay_state state)
{
	relay->state = state;
	relay->script = script;
	relay->step = relay->step_at = 0;
	relay->awaited = 0;
	go_on(relay);
}

void relay_replay(struct relay *relay)
{
	begin(relay, replay_script, RELAY_REPLAYING);
}

bool relay_ask_region(struct relay *relay, uint32_t num)
{
	const struct vhost_view *view = &relay->shadow.view;

	if (relay->region_asked || view->has_inflight || !num || num > VQ_SIZE_MAX ||
		has_protocol(relay, VHU_PF_INFLIGHT_SHMFD))
		return false;
	relay->region_asked = true;
	/* Whom nobody asked for protocol features does not have them. */
	if (!(view->acked_features & view->features & 1ull << VHU_F_PROTOCOL_FEATURES))
		return false;
	if (view->protocol_offered && !offers_region(relay))
		return false;
	relay->region.queue_size = le16_make((uint16_t)num);
	begin(relay, region_script, RELAY_ASKING);
	return relay->state == RELAY_ASKING;
}

void relay_stop_asking(struct relay *relay)
{
	loop_timer_cancel(&relay->answer_due);
	close_fd(&relay->channel_end);
	relay->script = NULL;
	relay->awaited = 0;
}

/* An acknowledgement says whether it was done. */
static bool is_fine(struct relay *relay, struct usock *us)
{
	const struct vhu_rule *rule = vhu_rule(relay->awaited);
	const struct own_step *step = &relay->script[relay->step];
	uint64_t code;

	if (rule->reply == VHU_REPLY_ACK)
		return reply_word(us, &code) && code == 0;
	return !step->answer || step->answer(relay, us);
}

bool relay_own_reply(struct relay *relay, struct usock *us)
{
	const struct vhu_header *header = (const struct vhu_header *)us->header;
	char why[80], name[32];

	if (!relay->awaited || le32_get(header->request) != relay->awaited ||
		!(le32_get(header->flags) & VHU_FLAG_REPLY))
		return false;
	/* The front-end asked the same before. */
	if (relay->state == RELAY_ASKING && journal_waits_for(&relay->journal, relay->awaited))
		return false;
	relay_note_own(relay, true, header, us->payload, us->num_fds);
	snprintf(why, sizeof(why), "it refuses %s, as it is replayed",
		vhu_request_name(relay->awaited, name, sizeof(name)));
	if (is_fine(relay, us)) {
		relay->awaited = 0;
		loop_timer_cancel(&relay->answer_due);
		go_on(relay);
	} else if (relay->state == RELAY_ASKING) {
		finish_asking(relay);
	} else {
		relay_try_again(relay, why);
	}
	return true;
}

void relay_say_reply(struct relay *relay, uint32_t request, const void *payload, size_t bytes)
{
	const struct vhu_header header =
		vhu_header_make(request, VHU_VERSION | VHU_FLAG_REPLY, (uint32_t)bytes);

	relay_note_own(relay, true, &header, payload, 0);
	pump_say(&relay->main, PUMP_FRONT, &header, payload, NULL, 0);
}
