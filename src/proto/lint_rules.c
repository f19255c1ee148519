/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * What single requests and replies mean for the rules, by table. A request that is not well-formed
 * does not come here. What a driver may do on its own is no finding: it resets its device without
 * a message, and its rings begin at 0 again.
 */
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "proto/lint.h"
#include "proto/transcript.h"

#define F_PACKED	   34
#define RING_SIZE_MAX	   32768
#define STATUS_NEEDS_RESET 0x40
#define STATUS_FAILED	   0x80

static uint64_t word_of(const struct lint_message *m)
{
	return le64_get(m->payload.u64.value);
}

static struct lint_ring *ring_at(struct lint *l, uint64_t index)
{
	if (index >= LINT_QUEUES_MAX)
		return NULL;
	l->num_rings = MAX(l->num_rings, (unsigned int)index + 1);
	return &l->rings[index];
}

static unsigned int num_running(const struct lint *l)
{
	unsigned int n = 0;

	for (unsigned int i = 0; i < l->num_rings; i++)
		n += l->rings[i].started;
	return n;
}

/* The split ring's used index in memory as the message passed, where somebody looked. */
static bool memory_used(const struct lint *l, const struct lint_message *m, uint16_t *ret)
{
	*ret = m->entry->ring_used;
	return m->entry->has_ring_used && !(l->now.ack >> F_PACKED & 1);
}

/* --- features --- */

static void features_running(struct lint *l, const struct lint_message *m, uint64_t word)
{
	unsigned int n = num_running(l);
	struct lint_finding *f;

	if (!n || !l->now.has_ack || word == l->now.ack)
		return;
	f = lint_found(l, m->entry, LINT_FEATURES_RUNNING, -1, 0, l->now.ack_serial,
		"SET_FEATURES while %u ring%s ran: 0x%" PRIx64 " after 0x%" PRIx64, n,
		n == 1 ? "" : "s", word, l->now.ack);
	lint_bits(f, LINT_FEATURES, word ^ l->now.ack);
}

static void check_ack(struct lint *l, const struct lint_message *m, uint64_t word)
{
	uint64_t lost = l->has_before && l->before.has_ack ? l->before.ack & ~word : 0;
	uint64_t unoffered = l->now.has_offer ? word & ~l->now.offer : 0;
	struct lint_finding *f;

	if (!l->now.has_offer)
		lint_found(l, m->entry, LINT_ACKED_UNASKED, -1, 0, 0,
			"SET_FEATURES of 0x%" PRIx64 " before any reply to GET_FEATURES", word);
	if (unoffered) {
		f = lint_found(l, m->entry, LINT_ACKED_UNOFFERED, -1, 0, l->now.offer_serial,
			"SET_FEATURES acknowledged 0x%" PRIx64 " beyond the offer of 0x%" PRIx64,
			unoffered, l->now.offer);
		lint_bits(f, LINT_FEATURES, unoffered);
	}
	/* A connection's first word may be the front-end's own, before a driver has one. */
	lost &= ~(1ull << VHU_F_LOG_ALL);
	if (lost && !l->now.has_ack) {
		f = lint_found(l, m->entry, LINT_FEWER_ACKED, -1, 0, 0,
			"SET_FEATURES of 0x%" PRIx64 ", connection %u ended with 0x%" PRIx64, word,
			l->before.connection, l->before.ack);
		lint_bits(f, LINT_FEATURES, lost);
	}
	if (l->now.protocol_ack && !(word >> VHU_F_PROTOCOL_FEATURES & 1))
		lint_found(l, m->entry, LINT_PROTOCOL_BIT, -1, VHU_SET_FEATURES,
			l->now.protocol_ack_serial,
			"SET_FEATURES of 0x%" PRIx64
			" leaves out VHOST_USER_F_PROTOCOL_FEATURES, though protocol features "
			"0x%" PRIx64 " were set: rings are enabled from the start",
			word, l->now.protocol_ack);
}

static void set_features(struct lint *l, const struct lint_message *m)
{
	uint64_t word = word_of(m);

	check_ack(l, m, word);
	features_running(l, m, word);
	l->now.has_ack = true;
	l->now.ack = word;
	l->now.ack_serial = m->entry->serial;
}

static void set_protocol(struct lint *l, const struct lint_message *m)
{
	uint64_t word = word_of(m);
	uint64_t unoffered = l->now.has_protocol_offer ? word & ~l->now.protocol_offer : 0;
	uint64_t lost = l->has_before && l->before.has_protocol_ack ? l->before.protocol_ack & ~word
								    : 0;
	struct lint_finding *f;

	if (unoffered) {
		f = lint_found(l, m->entry, LINT_PROTOCOL_UNOFFERED, -1, 0,
			l->now.protocol_offer_serial,
			"SET_PROTOCOL_FEATURES of 0x%" PRIx64 " beyond the offer of 0x%" PRIx64,
			unoffered, l->now.protocol_offer);
		lint_bits(f, LINT_PROTOCOL, unoffered);
	}
	if (l->now.has_offer && !(l->now.offer >> VHU_F_PROTOCOL_FEATURES & 1))
		lint_found(l, m->entry, LINT_PROTOCOL_BIT, -1, VHU_SET_PROTOCOL_FEATURES,
			l->now.offer_serial,
			"SET_PROTOCOL_FEATURES, though the offer of 0x%" PRIx64
			" lacks VHOST_USER_F_PROTOCOL_FEATURES",
			l->now.offer);
	if (lost && !l->now.has_protocol_ack) {
		f = lint_found(l, m->entry, LINT_FEWER_ACKED, -1, 1, 0,
			"SET_PROTOCOL_FEATURES of 0x%" PRIx64
			", connection %u ended with 0x%" PRIx64,
			word, l->before.connection, l->before.protocol_ack);
		lint_bits(f, LINT_PROTOCOL, lost);
	}
	l->now.has_protocol_ack = true;
	l->now.protocol_ack = word;
	l->now.protocol_ack_serial = m->entry->serial;
}

/* --- rings --- */

static void check_running(struct lint *l, const struct lint_message *m, uint32_t index,
	const char *what, uint64_t value)
{
	if (l->rings[index].started)
		lint_found(l, m->entry, LINT_CHANGED_RUNNING, (int)index, m->request,
			l->rings[index].kick_serial,
			"the %s of ring %u was set to %" PRIu64 " while it ran", what, index,
			value);
}

static void check_inflight(struct lint *l, const struct lint_message *m, uint32_t index)
{
	if (!l->has_inflight || l->rings[index].num <= l->inflight_size)
		return;
	lint_found(l, m->entry, LINT_RING_INFLIGHT, (int)index, 0, l->inflight_serial,
		"ring %u has %u descriptors, its part of the in-flight region room for %u", index,
		l->rings[index].num, l->inflight_size);
}

static void set_num(struct lint *l, const struct lint_message *m)
{
	uint32_t index = le32_get(m->payload.state.index), num = le32_get(m->payload.state.num);
	struct lint_ring *ring = ring_at(l, index);

	if (!ring)
		return;
	if (!num || num > RING_SIZE_MAX)
		lint_found(l, m->entry, LINT_RING_SIZE, (int)index, 0, 0,
			"ring %u: a size of %u, expected 1 to %u", index, num, RING_SIZE_MAX);
	if (ring->num != num)
		check_running(l, m, index, "size", num);
	ring->has_num = true;
	ring->num = num;
	check_inflight(l, m, index);
}

static void set_addr(struct lint *l, const struct lint_message *m)
{
	const struct vhu_vring_addr *a = &m->payload.addr;
	struct lint_ring *ring = ring_at(l, le32_get(a->index));

	if (!ring)
		return;
	/* A migration says them again, for the log's address. */
	if (ring->desc != le64_get(a->desc) || ring->used != le64_get(a->used) ||
		ring->avail != le64_get(a->avail))
		check_running(l, m, le32_get(a->index), "descriptor area", le64_get(a->desc));
	ring->has_addr = true;
	ring->desc = le64_get(a->desc);
	ring->used = le64_get(a->used);
	ring->avail = le64_get(a->avail);
}

static void set_base(struct lint *l, const struct lint_message *m)
{
	uint32_t index = le32_get(m->payload.state.index), base = le32_get(m->payload.state.num);
	struct lint_ring *ring = ring_at(l, index);

	if (!ring)
		return;
	if (ring->base != base)
		check_running(l, m, index, "base", base);
	/* 0: the driver may have reset its device, and no message says so. */
	if (ring->stopped && ring->stopped_at != base && base && !(l->now.ack >> F_PACKED & 1))
		lint_found(l, m->entry, LINT_BASE_JUMPED, (int)index, 0, ring->stopped_serial,
			"ring %u stopped at %u and goes on at %u", index, ring->stopped_at, base);
	ring->has_base = true;
	ring->base = base;
	ring->base_serial = m->entry->serial;
	ring->stopped = false;
}

/*
 * Split rings: what is before the base was taken, what is before the used index was answered, and
 * no more than a ring's size can lie between them.
 */
static void check_memory(struct lint *l, const struct lint_message *m, uint32_t index,
	uint32_t base, const char *what)
{
	struct lint_ring *ring = &l->rings[index];
	uint16_t used;

	if (!memory_used(l, m, &used) || !ring->num)
		return;
	if ((uint16_t)(base - used) > ring->num)
		lint_found(l, m->entry, LINT_BASE_MEMORY, (int)index, m->request, ring->base_serial,
			"ring %u %s %u, its used ring in memory is at %u", index, what, base, used);
}

static void check_start(struct lint *l, const struct lint_message *m, uint32_t index)
{
	const struct lint_ring *ring = &l->rings[index];
	const struct {
		bool is_there;
		const char *what;
	} needs[] = {
		{ l->now.has_ack, " SET_FEATURES" },
		{ l->has_memory, " SET_MEM_TABLE" },
		{ ring->has_num, " SET_VRING_NUM" },
		{ ring->has_addr, " SET_VRING_ADDR" },
	};
	char missing[80] = "";

	for (size_t i = 0; i < ARRAY_SIZE(needs); i++)
		if (!needs[i].is_there)
			strncat(missing, needs[i].what, sizeof(missing) - strlen(missing) - 1);
	if (missing[0])
		lint_found(l, m->entry, LINT_TOO_EARLY, (int)index, 0, 0,
			"ring %u got its kick descriptor before%s", index, missing);
}

static void set_kick(struct lint *l, const struct lint_message *m)
{
	uint32_t index = (uint32_t)(word_of(m) & VHU_VRING_INDEX_MASK);
	struct lint_ring *ring = ring_at(l, index);

	check_start(l, m, index);
	if (ring->started)
		lint_found(l, m->entry, LINT_KICK_REPLACED, (int)index, 0, ring->kick_serial,
			"ring %u runs, and its kick descriptor is replaced", index);
	else if (ring->has_base)
		check_memory(l, m, index, ring->base, "starts at");
	ring->started = true;
	ring->kick_serial = m->entry->serial;
}

static void kick_by_message(struct lint *l, const struct lint_message *m)
{
	uint32_t index = le32_get(m->payload.state.index);
	struct lint_ring *ring = ring_at(l, index);

	if (!ring || ring->started)
		return;
	check_start(l, m, index);
	ring->started = true;
	ring->kick_serial = m->entry->serial;
}

static void set_enable(struct lint *l, const struct lint_message *m)
{
	if (l->now.has_ack && !(l->now.ack >> VHU_F_PROTOCOL_FEATURES & 1))
		lint_found(l, m->entry, LINT_ENABLE_UNNEGOTIATED, -1, 0, l->now.ack_serial,
			"SET_VRING_ENABLE, though SET_FEATURES of 0x%" PRIx64
			" leaves out VHOST_USER_F_PROTOCOL_FEATURES",
			l->now.ack);
}

/* All rings stop, and begin anew: where they stood means nothing any more. */
static void reset(struct lint *l, _unused_ const struct lint_message *m)
{
	for (unsigned int i = 0; i < l->num_rings; i++)
		l->rings[i].started = l->rings[i].stopped = l->rings[i].has_base = false;
}

static void set_status(struct lint *l, const struct lint_message *m)
{
	if (!word_of(m))
		for (unsigned int i = 0; i < l->num_rings; i++)
			l->rings[i].stopped = false;
}

/* --- memory --- */

static bool overlap(uint64_t a, uint64_t a_bytes, uint64_t b, uint64_t b_bytes)
{
	return a < b ? b - a < a_bytes : a - b < b_bytes;
}

static void add_slot(struct lint *l, const struct lint_message *m, const struct vhu_region *r)
{
	const struct lint_slot slot = { le64_get(r->guest_addr), le64_get(r->size),
		le64_get(r->user_addr), m->entry->serial };

	for (unsigned int i = 0; i < l->num_slots; i++) {
		const struct lint_slot *other = &l->slots[i];

		if (overlap(slot.gpa, slot.size, other->gpa, other->size))
			lint_found(l, m->entry, LINT_MEMORY_OVERLAP, -1, m->request, other->serial,
				"%" PRIu64 " bytes at guest address 0x%" PRIx64 " are also in the "
				"slot of %" PRIu64 " bytes at 0x%" PRIx64,
				slot.size, slot.gpa, other->size, other->gpa);
	}
	if (l->num_slots < LINT_SLOTS_MAX)
		l->slots[l->num_slots++] = slot;
	else
		l->too_many_slots = true;
}

static void mem_table(struct lint *l, const struct lint_message *m)
{
	l->has_memory = true;
	l->num_slots = 0;
	l->too_many_slots = false;
	for (unsigned int i = 0; i < le32_get(m->payload.mem.num_regions); i++)
		add_slot(l, m, &m->payload.mem.regions[i]);
}

static void add_region(struct lint *l, const struct lint_message *m)
{
	l->has_memory = true;
	add_slot(l, m, &m->payload.mem_region.region);
}

static void rem_region(struct lint *l, const struct lint_message *m)
{
	const struct vhu_region *r = &m->payload.mem_region.region;

	for (unsigned int i = 0; i < l->num_slots; i++) {
		struct lint_slot *slot = &l->slots[i];

		if (slot->gpa != le64_get(r->guest_addr) || slot->size != le64_get(r->size) ||
			slot->user != le64_get(r->user_addr))
			continue;
		*slot = l->slots[--l->num_slots];
		return;
	}
	if (!l->too_many_slots)
		lint_found(l, m->entry, LINT_MEMORY_UNKNOWN, -1, 0, 0,
			"REM_MEM_REG of %" PRIu64 " bytes at guest address 0x%" PRIx64
			", user address 0x%" PRIx64 ": no such slot among %u",
			le64_get(r->size), le64_get(r->guest_addr), le64_get(r->user_addr),
			l->num_slots);
}

static void set_inflight(struct lint *l, const struct lint_message *m)
{
	unsigned int n = num_running(l);

	l->has_inflight = true;
	l->inflight_size = le16_get(m->payload.inflight.queue_size);
	l->inflight_serial = m->entry->serial;
	if (n)
		lint_found(l, m->entry, LINT_INFLIGHT_LATE, -1, 0, 0,
			"SET_INFLIGHT_FD while %u ring%s ran", n, n == 1 ? "" : "s");
	for (uint32_t i = 0; i < l->num_rings; i++)
		if (l->rings[i].has_num)
			check_inflight(l, m, i);
}

static void postcopy(struct lint *l, _unused_ const struct lint_message *m)
{
	l->postcopy = true;
}

static void (*const requests[VHU_REQUEST_END])(struct lint *l, const struct lint_message *m) = {
	[VHU_SET_FEATURES] = set_features,
	[VHU_SET_PROTOCOL_FEATURES] = set_protocol,
	[VHU_RESET_OWNER] = reset,
	[VHU_RESET_DEVICE] = reset,
	[VHU_SET_STATUS] = set_status,
	[VHU_SET_MEM_TABLE] = mem_table,
	[VHU_ADD_MEM_REG] = add_region,
	[VHU_REM_MEM_REG] = rem_region,
	[VHU_SET_VRING_NUM] = set_num,
	[VHU_SET_VRING_ADDR] = set_addr,
	[VHU_SET_VRING_BASE] = set_base,
	[VHU_SET_VRING_KICK] = set_kick,
	[VHU_VRING_KICK] = kick_by_message,
	[VHU_SET_VRING_ENABLE] = set_enable,
	[VHU_SET_INFLIGHT_FD] = set_inflight,
	[VHU_POSTCOPY_ADVISE] = postcopy,
};

void lint_request(struct lint *l, const struct lint_message *m)
{
	if (m->request < VHU_REQUEST_END && requests[m->request])
		requests[m->request](l, m);
}

/* --- replies --- */

static void offered(struct lint *l, const struct lint_message *m)
{
	uint64_t word = word_of(m), lost;
	struct lint_finding *f;

	if (l->now.has_offer && l->now.offer != word) {
		f = lint_found(l, m->entry, LINT_OFFER_CHANGED, -1, m->request, l->now.offer_serial,
			"GET_FEATURES was answered with 0x%" PRIx64 " and then with 0x%" PRIx64,
			l->now.offer, word);
		lint_bits(f, LINT_FEATURES, l->now.offer ^ word);
	}
	lost = l->has_before && l->before.has_offer && !l->now.has_offer ? l->before.offer & ~word
									 : 0;
	if (lost) {
		f = lint_found(l, m->entry, LINT_FEWER_OFFERED, -1, m->request, 0,
			"the back-end offers 0x%" PRIx64 ", in connection %u it offered 0x%" PRIx64,
			word, l->before.connection, l->before.offer);
		lint_bits(f, LINT_FEATURES, lost);
	}
	l->now.has_offer = true;
	l->now.offer = word;
	l->now.offer_serial = m->entry->serial;
}

static void protocol_offered(struct lint *l, const struct lint_message *m)
{
	uint64_t word = word_of(m), lost;
	struct lint_finding *f;

	lost = l->has_before && l->before.has_protocol_offer && !l->now.has_protocol_offer
		       ? l->before.protocol_offer & ~word
		       : 0;
	if (lost) {
		f = lint_found(l, m->entry, LINT_FEWER_OFFERED, -1, m->request, 0,
			"the back-end offers protocol features 0x%" PRIx64
			", in connection %u it offered 0x%" PRIx64,
			word, l->before.connection, l->before.protocol_offer);
		lint_bits(f, LINT_PROTOCOL, lost);
	}
	l->now.has_protocol_offer = true;
	l->now.protocol_offer = word;
	l->now.protocol_offer_serial = m->entry->serial;
}

static void base_told(struct lint *l, const struct lint_message *m)
{
	uint32_t index = le32_get(m->payload.state.index), base = le32_get(m->payload.state.num);
	struct lint_ring *ring = ring_at(l, index);
	uint16_t used = 0;
	bool has_used;

	if (!ring)
		return;
	has_used = memory_used(l, m, &used);
	if (!base && has_used && used)
		lint_found(l, m->entry, LINT_BASE_ZERO, (int)index, 0, ring->base_serial,
			"GET_VRING_BASE of ring %u was answered with 0, its used ring in memory is "
			"at %u",
			index, used);
	/* 65536 requests on, it is 0 again: memory would tell, if somebody looked. */
	else if (!base && !has_used && ring->has_base && ring->base && ring->started)
		lint_found(l, m->entry, LINT_BASE_ZERO, (int)index, 0, ring->base_serial,
			"GET_VRING_BASE of ring %u was answered with 0, it had gone on from %u",
			index, ring->base);
	else if (ring->started)
		check_memory(l, m, index, base, "stopped at");
	ring->started = false;
	ring->stopped = true;
	ring->stopped_at = base;
	ring->stopped_serial = m->entry->serial;
}

static void config_told(struct lint *l, const struct lint_message *m)
{
	if (!m->size)
		lint_found(l, m->entry, LINT_CONFIG_REFUSED, -1, 0, m->entry->request,
			"GET_CONFIG was answered with no bytes at all");
}

static void inflight_told(struct lint *l, const struct lint_message *m)
{
	uint64_t bytes = le64_get(m->payload.inflight.mmap_size);

	if (!bytes || !m->entry->num_fds)
		lint_found(l, m->entry, LINT_INFLIGHT_NONE, -1, 0, m->entry->request,
			"GET_INFLIGHT_FD was answered with %" PRIu64 " bytes and %u descriptors",
			bytes, m->entry->num_fds);
}

static void status_told(struct lint *l, const struct lint_message *m)
{
	uint64_t status = word_of(m);

	if (status & (STATUS_NEEDS_RESET | STATUS_FAILED))
		lint_found(l, m->entry, LINT_NEEDS_RESET, -1, 0, m->entry->request,
			"GET_STATUS was answered with 0x%" PRIx64 ": %s", status,
			status & STATUS_FAILED ? "FAILED" : "NEEDS_RESET");
}

/* A row without a limit of bytes: whatever its reply is, it is fine. */
static const struct reply_rule {
	void (*fn)(struct lint *l, const struct lint_message *m);
	uint32_t min_bytes, max_bytes, max_fds;
} replies[VHU_REQUEST_END] = {
	[VHU_GET_FEATURES] = { offered, 8, 8, 0 },
	[VHU_GET_PROTOCOL_FEATURES] = { protocol_offered, 8, 8, 0 },
	[VHU_GET_QUEUE_NUM] = { NULL, 8, 8, 0 },
	[VHU_GET_MAX_MEM_SLOTS] = { NULL, 8, 8, 0 },
	[VHU_GET_VRING_BASE] = { base_told, 8, 8, 0 },
	[VHU_GET_VRING_BASE_SKIP_DRAIN] = { base_told, 8, 8, 0 },
	/* No bytes are an error's. */
	[VHU_GET_CONFIG] = { config_told, 0, sizeof(struct vhu_config), 0 },
	[VHU_GET_INFLIGHT_FD] = { inflight_told, 0, sizeof(struct vhu_inflight), 1 },
	[VHU_GET_STATUS] = { status_told, 8, 8, 0 },
};

static void ack_told(struct lint *l, const struct lint_message *m)
{
	uint64_t code = word_of(m);

	if (code)
		lint_found(l, m->entry, LINT_REFUSED, -1, m->request, m->entry->request,
			"%s was refused with %" PRIu64, vhu_rule(m->request)->name, code);
}

static const struct reply_rule acknowledgement = { ack_told, 8, 8, 0 };

static const struct reply_rule *reply_rule(const struct lint *l, uint32_t request)
{
	const struct vhu_rule *rule = vhu_rule(request);

	if (!rule)
		return NULL;
	if (rule->reply != VHU_REPLY_ACK)
		return &replies[request];
	/* During post-copy these are answered with addresses. */
	if (l->postcopy && (request == VHU_SET_MEM_TABLE || request == VHU_ADD_MEM_REG))
		return NULL;
	return &acknowledgement;
}

void lint_reply(struct lint *l, const struct lint_message *m)
{
	const struct reply_rule *r = reply_rule(l, m->request);
	const struct transcript_entry *e = m->entry;
	const char *name;

	if (!r || !r->max_bytes)
		return;
	name = vhu_rule(m->request)->name;
	if (e->num_fds > r->max_fds)
		lint_found(l, e, LINT_REPLY_FDS, -1, m->request, e->request,
			"%s was answered with %u descriptors, expected %s", name, e->num_fds,
			r->max_fds ? "1" : "none");
	if (m->size > r->max_bytes)
		lint_found(l, e, LINT_REPLY_LONG, -1, m->request, e->request,
			"%s was answered with %u bytes, expected %u", name, m->size, r->max_bytes);
	if (m->size < r->min_bytes)
		lint_found(l, e, LINT_REPLY_SHORT, -1, m->request, e->request,
			"%s was answered with %u bytes, expected %u", name, m->size, r->min_bytes);
	else if (r->fn)
		r->fn(l, m);
}
