/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Who waits for a reply and who answers whom; the list of findings. What single requests mean is in
 * lint_rules.c.
 */
#include "proto/lint.h"

#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "proto/transcript.h"
#include "proto/vhu_fields.h"

/* Tells findings about its requests from those about the main channel's. */
#define OF_CHANNEL 0x80000000u

const struct lint_rule_info lint_rules[LINT_RULE_END] = {
	[LINT_MALFORMED] = { "malformed", LINT_ERROR,
		"a message that is not as the protocol has it" },
	[LINT_UNKNOWN_REQUEST] = { "unknown-request", LINT_NOTE,
		"a request that is in no version of the protocol that is known here" },
	[LINT_NOT_NEGOTIATED] = { "not-negotiated", LINT_WARNING,
		"a request whose protocol feature was not negotiated" },
	[LINT_NEED_REPLY] = { "need-reply-unnegotiated", LINT_WARNING,
		"a reply is asked for that nobody will send: REPLY_ACK was not negotiated" },
	[LINT_REPLY_UNASKED] = { "reply-unasked", LINT_WARNING,
		"a reply that nobody waits for: the next reply may be taken for another" },
	[LINT_REPLY_ORDER] = { "reply-out-of-order", LINT_ERROR,
		"a reply overtook that to an older request" },
	[LINT_REPLY_MISSING] = { "reply-missing", LINT_WARNING,
		"the connection ended before a request was answered" },
	[LINT_REPLY_SHORT] = { "reply-short", LINT_ERROR,
		"a reply that is shorter than what it has to say" },
	[LINT_REPLY_LONG] = { "reply-long", LINT_ERROR,
		"a reply that is longer than what it has to say: what follows may be misread" },
	[LINT_REPLY_FDS] = { "reply-descriptors", LINT_WARNING,
		"a reply with more descriptors than belong to it: whoever does not close them "
		"leaks" },
	[LINT_UNANSWERED] = { "unanswered", LINT_ERROR, "a request waits for its reply" },
	[LINT_REFUSED] = { "refused", LINT_WARNING, "a request was answered with an error" },
	[LINT_ACKED_UNOFFERED] = { "acked-unoffered", LINT_NOTE,
		"features were acknowledged that were not offered" },
	[LINT_ACKED_UNASKED] = { "acked-unasked", LINT_NOTE,
		"features were acknowledged without asking what is offered" },
	[LINT_PROTOCOL_UNOFFERED] = { "protocol-unoffered", LINT_WARNING,
		"protocol features were set that were not offered" },
	[LINT_PROTOCOL_BIT] = { "protocol-bit-missing", LINT_WARNING,
		"protocol features were set, but the bit that they hang on is not negotiated" },
	[LINT_OFFER_CHANGED] = { "offer-changed", LINT_WARNING,
		"what the back-end offers changed during a connection" },
	[LINT_FEWER_OFFERED] = { "fewer-offered", LINT_WARNING,
		"the back-end offers less than in the last connection" },
	[LINT_FEWER_ACKED] = { "fewer-acked", LINT_WARNING,
		"less was acknowledged than in the last connection" },
	[LINT_FEATURES_RUNNING] = { "features-while-running", LINT_NOTE,
		"features changed while rings ran: some back-ends stop their rings for it" },
	[LINT_TOO_EARLY] = { "started-too-early", LINT_WARNING,
		"a ring was started before all that it needs was said" },
	[LINT_CHANGED_RUNNING] = { "changed-while-running", LINT_WARNING,
		"size, place or base of a ring were set while it ran" },
	[LINT_KICK_REPLACED] = { "kick-replaced", LINT_NOTE,
		"a running ring got another kick descriptor: a kick in the old one may be lost" },
	[LINT_ENABLE_UNNEGOTIATED] = { "enable-unnegotiated", LINT_WARNING,
		"a ring was enabled by message, though such rings are enabled from the start" },
	[LINT_RING_SIZE] = { "ring-size", LINT_ERROR, "a ring has a size that no ring can have" },
	[LINT_RING_INFLIGHT] = { "ring-larger-than-inflight", LINT_ERROR,
		"a ring is larger than its part of the in-flight region" },
	[LINT_BASE_ZERO] = { "base-back-to-zero", LINT_ERROR,
		"a ring stopped at 0, though it had gone on from elsewhere" },
	[LINT_BASE_JUMPED] = { "base-jumped", LINT_WARNING,
		"a ring goes on elsewhere than where it stopped" },
	[LINT_BASE_MEMORY] = { "base-against-memory", LINT_ERROR,
		"a ring's base and its used ring in memory cannot both be right" },
	[LINT_MEMORY_OVERLAP] = { "memory-overlap", LINT_ERROR,
		"two memory slots are the same, or overlap" },
	[LINT_MEMORY_UNKNOWN] = { "memory-unknown-slot", LINT_WARNING,
		"a memory slot was removed that was not there" },
	[LINT_INFLIGHT_LATE] = { "inflight-while-running", LINT_WARNING,
		"the in-flight region came when rings ran already" },
	[LINT_INFLIGHT_NONE] = { "inflight-none", LINT_WARNING,
		"the back-end gave no in-flight region: what is in flight will not survive it" },
	[LINT_CONFIG_REFUSED] = { "config-refused", LINT_WARNING,
		"the back-end would not tell its configuration space" },
	[LINT_NEEDS_RESET] = { "needs-reset", LINT_ERROR,
		"the device says that it failed or needs a reset" },
};

/* --- findings --- */

static struct lint_finding *find(
	struct lint *l, enum lint_rule rule, int queue, uint32_t key, uint32_t connection)
{
	for (unsigned int i = 0; i < l->num_findings; i++) {
		struct lint_finding *f = &l->findings[i];

		if (f->rule == rule && f->queue == queue && f->key == key &&
			f->connection == connection)
			return f;
	}
	return NULL;
}

/* Room for one more: of the least severe, the oldest goes. */
static struct lint_finding *make_room(struct lint *l)
{
	unsigned int victim = 0;

	if (l->num_findings < LINT_FINDINGS)
		return &l->findings[l->num_findings++];
	for (unsigned int i = 1; i < LINT_FINDINGS; i++)
		if (lint_rules[l->findings[i].rule].severity <
			lint_rules[l->findings[victim].rule].severity)
			victim = i;
	memmove(&l->findings[victim], &l->findings[victim + 1],
		(LINT_FINDINGS - 1 - victim) * sizeof(l->findings[0]));
	return &l->findings[LINT_FINDINGS - 1];
}

struct lint_finding *lint_found(struct lint *l, const struct transcript_entry *e,
	enum lint_rule rule, int queue, uint32_t key, uint64_t related, const char *fmt, ...)
{
	struct lint_finding *f = find(l, rule, queue, key, e->connection);
	va_list ap;

	if (f) {
		f->count++;
		f->last = e->serial;
		return f;
	}
	f = make_room(l);
	*f = (struct lint_finding){
		.rule = rule,
		.queue = queue,
		.key = key,
		.connection = e->connection,
		.count = 1,
		.time_ns = e->time_ns,
		.last = e->serial,
	};
	f->serials[0] = related ? related : e->serial;
	f->serials[1] = related ? e->serial : 0;
	va_start(ap, fmt);
	vsnprintf(f->text, sizeof(f->text), fmt, ap);
	va_end(ap);
	return f;
}

void lint_bits(struct lint_finding *finding, enum lint_word word, uint64_t bits)
{
	finding->word = word;
	finding->bits |= bits;
}

/* --- requests and replies --- */

static const char *name_of(uint32_t request, bool backend_channel, char buf[32])
{
	return vhu_message_name(request, backend_channel, buf, 32);
}

static bool has_protocol(const struct lint *l, unsigned int bit)
{
	return l->now.has_protocol_ack && l->now.protocol_ack >> bit & 1;
}

static void forget_waiting(struct lint *l, unsigned int i)
{
	memmove(&l->waiting[i], &l->waiting[i + 1], (--l->num_waiting - i) * sizeof(l->waiting[0]));
}

static void wait_for_reply(struct lint *l, const struct lint_message *m, bool in_vain)
{
	const struct transcript_entry *e = m->entry;

	if (l->num_waiting == LINT_WAITING_MAX)
		forget_waiting(l, 0);
	l->waiting[l->num_waiting++] = (struct lint_waiting){
		.serial = e->serial,
		.since_ns = e->since_ns,
		.time_ns = e->time_ns,
		.request = m->request,
		.backend_channel = e->channel == TRANSCRIPT_BACKEND,
		.in_vain = in_vain,
	};
}

/* Looked at once the message itself counted: it may negotiate what it asks for. */
static void expect_reply(struct lint *l, const struct lint_message *m)
{
	const struct transcript_entry *e = m->entry;
	bool channel = e->channel == TRANSCRIPT_BACKEND;
	const struct vhu_rule *rule = channel ? NULL : vhu_rule(m->request);
	bool asks = le32_get(e->header.flags) & VHU_NEED_REPLY;
	bool acks = has_protocol(l, VHU_PF_REPLY_ACK);
	char name[32];

	if (rule && rule->reply == VHU_REPLY_OWN) {
		wait_for_reply(l, m, false);
		return;
	}
	if (!asks)
		return;
	wait_for_reply(l, m, !acks);
	if (!acks)
		lint_found(l, e, LINT_NEED_REPLY, -1, m->request, 0,
			"%s asks for a reply; REPLY_ACK negotiated: no",
			name_of(m->request, channel, name));
}

static void check_order(struct lint *l, const struct lint_message *m, unsigned int at)
{
	const struct lint_waiting *mine = &l->waiting[at];
	char name[32], other[32];

	for (unsigned int i = 0; i < at; i++) {
		const struct lint_waiting *w = &l->waiting[i];

		if (w->backend_channel != mine->backend_channel || w->in_vain)
			continue;
		lint_found(l, m->entry, LINT_REPLY_ORDER, -1, w->request, w->serial,
			"%s (message %" PRIu64 ") was answered before %s (message %" PRIu64 ")",
			name_of(mine->request, mine->backend_channel, name), mine->serial,
			name_of(w->request, w->backend_channel, other), w->serial);
		return;
	}
}

/* False where nobody waited for it. */
static bool take_reply(struct lint *l, const struct lint_message *m)
{
	const struct transcript_entry *e = m->entry;
	bool channel = e->channel == TRANSCRIPT_BACKEND;
	/* During post-copy these are answered with addresses, as the protocol has it. */
	bool postcopy = l->postcopy &&
			(m->request == VHU_SET_MEM_TABLE || m->request == VHU_ADD_MEM_REG);
	char name[32];

	for (unsigned int i = 0; e->request && i < l->num_waiting; i++) {
		if (l->waiting[i].serial != e->request)
			continue;
		check_order(l, m, i);
		forget_waiting(l, i);
		return true;
	}
	if (postcopy)
		return true;
	name_of(m->request, channel, name);
	if (e->request)
		lint_found(l, e, LINT_REPLY_UNASKED, -1, m->request, e->request,
			"%s (message %" PRIu64 ") was answered, though it asked for no reply",
			name_of(m->request, channel, name), e->request);
	else
		lint_found(l, e, LINT_REPLY_UNASKED, -1, m->request, 0,
			"a reply to %s, of which none waits for one",
			name_of(m->request, channel, name));
	return false;
}

static void check_form(struct lint *l, const struct lint_message *m)
{
	const struct vhu_rule *rule = vhu_rule(m->request);
	char name[32];

	if (!rule)
		lint_found(l, m->entry, LINT_UNKNOWN_REQUEST, -1, m->request, 0,
			"request %u with %u bytes and %u descriptors is not known", m->request,
			m->size, m->entry->num_fds);
	else if (rule->feature >= 0 && !has_protocol(l, (unsigned int)rule->feature))
		lint_found(l, m->entry, LINT_NOT_NEGOTIATED, -1, m->request, 0,
			"%s, though %s was not negotiated", name_of(m->request, false, name),
			vhu_protocol_feature_name((unsigned int)rule->feature));
}

static void check_channel_form(struct lint *l, const struct lint_message *m)
{
	uint32_t flags = le32_get(m->entry->header.flags);
	char name[32];

	if (!vhu_backend_request_name(m->request))
		lint_found(l, m->entry, LINT_UNKNOWN_REQUEST, -1, m->request ^ OF_CHANNEL, 0,
			"request %u of the back-end's channel, with %u bytes and %u descriptors, "
			"is not known",
			m->request, m->size, m->entry->num_fds);
	if ((flags & ~VHU_NEED_REPLY) != VHU_VERSION)
		lint_found(l, m->entry, LINT_MALFORMED, -1, m->request ^ OF_CHANNEL, 0,
			"%s came with the flags 0x%x, expected 0x%x and no more than 0x%x",
			name_of(m->request, true, name), flags, VHU_VERSION, VHU_NEED_REPLY);
}

static void on_request(struct lint *l, const struct lint_message *m)
{
	const struct transcript_entry *e = m->entry;
	struct vhu_fault_info info = { 0 };
	char name[32];

	if (e->channel == TRANSCRIPT_MAIN) {
		if (vhu_check(&e->header, &m->payload, e->num_fds, &info) != VHU_OK) {
			lint_found(l, e, LINT_MALFORMED, -1, m->request, 0,
				"%s: %s is %" PRIu64 ", expected %" PRIu64 " to %" PRIu64,
				name_of(m->request, false, name), info.what, info.value, info.min,
				info.max);
			return;
		}
		check_form(l, m);
		lint_request(l, m);
	} else {
		check_channel_form(l, m);
	}
	expect_reply(l, m);
}

static void on_reply(struct lint *l, const struct lint_message *m)
{
	bool channel = m->entry->channel == TRANSCRIPT_BACKEND;
	uint32_t flags = le32_get(m->entry->header.flags);
	char name[32];

	if ((flags & VHU_VERSION_MASK) != VHU_VERSION)
		lint_found(l, m->entry, LINT_MALFORMED, -1,
			channel ? m->request ^ OF_CHANNEL : m->request, 0,
			"a reply to %s came with the version %u, expected %u",
			name_of(m->request, channel, name), flags & VHU_VERSION_MASK, VHU_VERSION);
	take_reply(l, m);
	if (m->entry->channel == TRANSCRIPT_MAIN)
		lint_reply(l, m);
}

/* --- connections --- */

static void never_answered(struct lint *l)
{
	char name[32];

	for (unsigned int i = 0; i < l->num_waiting; i++) {
		const struct lint_waiting *w = &l->waiting[i];
		const struct transcript_entry e = {
			.serial = w->serial, .time_ns = w->time_ns, .connection = l->connection
		};

		lint_found(l, &e, LINT_REPLY_MISSING, -1, w->request, 0,
			"connection %u ended, and %s (message %" PRIu64 ") had not been answered",
			l->connection, name_of(w->request, w->backend_channel, name), w->serial);
	}
	l->num_waiting = 0;
}

static void begin_connection(struct lint *l, uint32_t connection)
{
	never_answered(l);
	if (l->now.has_ack || l->now.has_offer) {
		l->before = l->now;
		l->has_before = true;
	}
	l->now = (struct lint_words){ .connection = connection };
	l->connection = connection;
	l->has_memory = l->postcopy = l->has_inflight = l->too_many_slots = false;
	l->num_slots = 0;
	memset(l->rings, 0, l->num_rings * sizeof(l->rings[0]));
	l->num_rings = 0;
}

static void take_apart(const struct transcript_entry *e, struct lint_message *ret)
{
	*ret = (struct lint_message){
		.entry = e,
		.request = le32_get(e->header.request),
		.size = le32_get(e->header.size),
	};
	memcpy(&ret->payload, e->payload, MIN((size_t)e->num_kept, sizeof(ret->payload)));
}

static void not_a_reply(struct lint *l, const struct lint_message *m)
{
	char name[32];

	lint_found(l, m->entry, LINT_MALFORMED, -1, m->request, 0,
		"%s came from the %s, and is no reply by its flags, 0x%x",
		name_of(m->request, m->entry->channel == TRANSCRIPT_BACKEND, name),
		m->entry->from_backend ? "back-end" : "front-end",
		le32_get(m->entry->header.flags));
}

void lint_feed(struct lint *l, const struct transcript_entry *e)
{
	bool from_server = e->from_backend == (e->channel == TRANSCRIPT_MAIN);
	struct lint_message m;

	if (e->connection != l->connection)
		begin_connection(l, e->connection);
	l->next = e->serial + 1;
	/* What a relay says in the place of an end says nothing about either. */
	if (e->own)
		return;
	take_apart(e, &m);
	if (transcript_is_reply(e))
		on_reply(l, &m);
	else if (from_server)
		not_a_reply(l, &m);
	else
		on_request(l, &m);
}

void lint_finish(
	struct lint *l, const struct transcript *t, uint64_t now_ns, uint64_t unanswered_ms)
{
	char name[32];

	for (uint64_t at = MAX(l->next, transcript_first(t)); at <= t->last; at++)
		lint_feed(l, transcript_get(t, at));
	if (!t->open)
		never_answered(l);
	for (unsigned int i = 0; i < l->num_waiting; i++) {
		const struct lint_waiting *w = &l->waiting[i];
		const struct transcript_entry e = {
			.serial = w->serial, .time_ns = w->time_ns, .connection = l->connection
		};
		uint64_t waited_ms = (now_ns - MIN(now_ns, w->since_ns)) / NSEC_PER_MSEC;

		if (waited_ms < unanswered_ms)
			continue;
		lint_found(l, &e, LINT_UNANSWERED, -1, w->request, 0,
			"%s (request %u, message %" PRIu64 ") is unanswered for %" PRIu64
			".%03u s; REPLY_ACK negotiated: %s",
			name_of(w->request, w->backend_channel, name), w->request, w->serial,
			waited_ms / 1000, (unsigned int)(waited_ms % 1000),
			has_protocol(l, VHU_PF_REPLY_ACK) ? "yes" : "no");
	}
}
