/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * What is remarkable in what was said on a vhost-user connection: replies that are missing, orders
 * that make no sense, features out of nothing, rings that forget where they stood. A function of
 * the messages, fed one after the other: what it needs to know of older ones it keeps as small
 * facts, so that a finding stays when its message has left the transcript. Any messages may come;
 * nothing is ever said to anybody. One thread.
 */
#ifndef PROTO_LINT_H
#define PROTO_LINT_H

#include "proto/vhost_user.h"

struct transcript;
struct transcript_entry;

/* Findings that are kept for each device; of the least severe, the oldest go first. */
#define LINT_FINDINGS 64
/* Messages that a finding points at. */
#define LINT_SERIALS 3
/* Requests that wait for a reply, on both channels; of more than that the oldest are let go of. */
#define LINT_WAITING_MAX 32
/* Queues that the protocol can name in a kick descriptor's message. */
#define LINT_QUEUES_MAX 256
/* Memory slots that are compared; beyond that nothing is said of memory. */
#define LINT_SLOTS_MAX	64
#define LINT_TEXT_BYTES 224

enum lint_severity { LINT_NOTE, LINT_WARNING, LINT_ERROR };

enum lint_rule {
	LINT_MALFORMED,
	LINT_UNKNOWN_REQUEST,
	LINT_NOT_NEGOTIATED,
	LINT_NEED_REPLY,
	LINT_REPLY_UNASKED,
	LINT_REPLY_ORDER,
	LINT_REPLY_MISSING,
	LINT_REPLY_SHORT,
	LINT_REPLY_LONG,
	LINT_REPLY_FDS,
	LINT_UNANSWERED,
	LINT_REFUSED,
	LINT_ACKED_UNOFFERED,
	LINT_ACKED_UNASKED,
	LINT_PROTOCOL_UNOFFERED,
	LINT_PROTOCOL_BIT,
	LINT_OFFER_CHANGED,
	LINT_FEWER_OFFERED,
	LINT_FEWER_ACKED,
	LINT_FEATURES_RUNNING,
	LINT_TOO_EARLY,
	LINT_CHANGED_RUNNING,
	LINT_KICK_REPLACED,
	LINT_ENABLE_UNNEGOTIATED,
	LINT_RING_SIZE,
	LINT_RING_INFLIGHT,
	LINT_BASE_ZERO,
	LINT_BASE_JUMPED,
	LINT_BASE_MEMORY,
	LINT_MEMORY_OVERLAP,
	LINT_MEMORY_UNKNOWN,
	LINT_INFLIGHT_LATE,
	LINT_INFLIGHT_NONE,
	LINT_CONFIG_REFUSED,
	LINT_NEEDS_RESET,
	LINT_RULE_END,
};

struct lint_rule_info {
	const char *name; /* "reply-missing" */
	enum lint_severity severity;
	const char *meaning; /* a sentence */
};

extern const struct lint_rule_info lint_rules[LINT_RULE_END];

/* Which word the bits of a finding belong to. */
enum lint_word { LINT_NO_WORD, LINT_FEATURES, LINT_PROTOCOL };

struct lint_finding {
	enum lint_rule rule;
	int queue; /* -1: none in particular */
	uint32_t key; /* tells findings of one rule apart: a request's number, say */
	uint32_t connection;
	uint64_t count; /* how often, in that connection */
	uint64_t time_ns; /* of the first, CLOCK_REALTIME */
	uint64_t serials[LINT_SERIALS]; /* of the messages that the first rests on; 0: no more */
	uint64_t last; /* serial of the last time */
	enum lint_word word;
	uint64_t bits; /* of that word: those that it is about */
	char text[LINT_TEXT_BYTES];
};

/* The feature words of one connection. */
struct lint_words {
	bool has_offer, has_ack, has_protocol_offer, has_protocol_ack;
	uint64_t offer, ack, protocol_offer, protocol_ack;
	uint64_t offer_serial, ack_serial, protocol_offer_serial, protocol_ack_serial;
	uint32_t connection;
};

/* A ring, as far as the messages of this connection tell. */
struct lint_ring {
	bool has_num, has_addr, has_base, started;
	bool stopped; /* stopped_at is what GET_VRING_BASE was answered with */
	uint32_t num, base, stopped_at;
	uint64_t base_serial, kick_serial, stopped_serial;
	uint64_t desc, used, avail;
};

struct lint_slot {
	uint64_t gpa, size, user, serial;
};

/* A request that waits for its reply. */
struct lint_waiting {
	uint64_t serial, since_ns, time_ns;
	uint32_t request;
	bool backend_channel;
	bool in_vain; /* NEED_REPLY, but nobody negotiated that it is answered */
};

struct lint {
	uint64_t next; /* serial of the first message that was not looked at */
	uint32_t connection;
	struct lint_words now, before; /* before: of the last connection that acknowledged */
	bool has_before, has_memory, postcopy;
	bool has_inflight;
	uint32_t inflight_size; /* descriptors a ring */
	uint64_t inflight_serial;
	unsigned int num_waiting, num_slots, num_findings;
	bool too_many_slots;
	unsigned int num_rings; /* those that anybody spoke of in this connection */
	struct lint_waiting waiting[LINT_WAITING_MAX]; /* the oldest first */
	struct lint_slot slots[LINT_SLOTS_MAX];
	struct lint_ring rings[LINT_QUEUES_MAX];
	struct lint_finding findings[LINT_FINDINGS];
};

/* Zero-initialised plus next = 1 it has seen nothing. The next message, by serial. */
void lint_feed(struct lint *l, const struct transcript_entry *e);
/*
 * Feeds what @t has and @l has not seen, then adds what only the clock tells: at @now_ns
 * (CLOCK_MONOTONIC) what waits for @unanswered_ms or longer, and what never will be answered since
 * its connection is over. For a copy of @t's own, which so stays as it is.
 */
void lint_finish(
	struct lint *l, const struct transcript *t, uint64_t now_ns, uint64_t unanswered_ms);

/* For lint_rules.c. */
/* A message taken apart; the payload's missing bytes are 0. */
struct lint_message {
	const struct transcript_entry *entry;
	uint32_t request, size;
	union vhu_payload payload;
};

/*
 * Adds a finding, or counts it where it is known by rule, queue and @key. @related: the serial of
 * another message that it rests on, or 0.
 */
struct lint_finding *lint_found(struct lint *l, const struct transcript_entry *e,
	enum lint_rule rule, int queue, uint32_t key, uint64_t related, const char *fmt, ...)
	_printf_(7, 8);
/* The same about @bits of a word. */
void lint_bits(struct lint_finding *finding, enum lint_word word, uint64_t bits);
void lint_request(struct lint *l, const struct lint_message *m);
void lint_reply(struct lint *l, const struct lint_message *m);

#endif
