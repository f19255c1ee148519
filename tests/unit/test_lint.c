/* SPDX-License-Identifier: BSD-3-Clause */
/* What is remarkable in a transcript: messages by table, and the rules that speak up. */
#include <endian.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/alloc.h"
#include "proto/lint.h"
#include "proto/transcript.h"

#define WORDS 6
#define STEPS 40

struct step {
	enum { END, FRONT, BACK, ANEW } who;
	uint32_t request, flags, size;
	uint64_t word[WORDS];
	unsigned int fds;
	unsigned int used; /* the used index that memory has, + 1; 0: nobody looked */
	bool channel;
};

#define OFFER	 0x140000000ull /* PROTOCOL_FEATURES, VERSION_1 */
#define PROTOCOL 0x9ull /* MQ, REPLY_ACK */

#define GET(r)                    \
	{                         \
		FRONT, (r), 0, 0, \
		{                 \
			0         \
		}                 \
	}
#define U64(r, v)                 \
	{                         \
		FRONT, (r), 0, 8, \
		{                 \
			(v)       \
		}                 \
	}
#define U64_ASK(r, v)                          \
	{                                      \
		FRONT, (r), VHU_NEED_REPLY, 8, \
		{                              \
			(v)                    \
		}                              \
	}
#define STATE(r, i, n)                            \
	{                                         \
		FRONT, (r), 0, 8,                 \
		{                                 \
			(i) | (uint64_t)(n) << 32 \
		}                                 \
	}
#define SAID(r, v)                            \
	{                                     \
		BACK, (r), VHU_FLAG_REPLY, 8, \
		{                             \
			(v)                   \
		}                             \
	}
#define SAID_STATE(r, i, n)                       \
	{                                         \
		BACK, (r), VHU_FLAG_REPLY, 8,     \
		{                                 \
			(i) | (uint64_t)(n) << 32 \
		}                                 \
	}
#define SAID_USED(r, i, n, u)                                                           \
	{                                                                               \
		BACK, (r), VHU_FLAG_REPLY, 8, { (i) | (uint64_t)(n) << 32 }, 0, (u) + 1 \
	}
#define KICK(i)                                             \
	{                                                   \
		FRONT, VHU_SET_VRING_KICK, 0, 8, { (i) }, 1 \
	}
#define KICK_USED(i, u)                                              \
	{                                                            \
		FRONT, VHU_SET_VRING_KICK, 0, 8, { (i) }, 1, (u) + 1 \
	}
#define ADDR(i, at)                                      \
	{                                                \
		FRONT, VHU_SET_VRING_ADDR, 0, 40,        \
		{                                        \
			(i), (at), (at) + 1, (at) + 2, 0 \
		}                                        \
	}
#define TABLE(gpa, bytes)                                                           \
	{                                                                           \
		FRONT, VHU_SET_MEM_TABLE, 0, 40, { 1, (gpa), (bytes), (gpa), 0 }, 1 \
	}
#define SLOT(gpa, bytes)                                                          \
	{                                                                         \
		FRONT, VHU_ADD_MEM_REG, 0, 40, { 0, (gpa), (bytes), (gpa), 0 }, 1 \
	}
#define UNSLOT(gpa, bytes)                          \
	{                                           \
		FRONT, VHU_REM_MEM_REG, 0, 40,      \
		{                                   \
			0, (gpa), (bytes), (gpa), 0 \
		}                                   \
	}
#define INFLIGHT(r, n)                                           \
	{                                                        \
		FRONT, (r), 0, 24, { 4096, 0, 1 | (n) << 16 }, 1 \
	}
#define NEW_FRONT_END \
	{             \
		ANEW  \
	}

#define FEATURES_ONLY \
	GET(VHU_GET_FEATURES), SAID(VHU_GET_FEATURES, OFFER), U64(VHU_SET_FEATURES, OFFER)
#define GREETING(protocol)                                                                    \
	GET(VHU_GET_FEATURES), SAID(VHU_GET_FEATURES, OFFER), GET(VHU_GET_PROTOCOL_FEATURES), \
		SAID(VHU_GET_PROTOCOL_FEATURES, (protocol)),                                  \
		U64(VHU_SET_PROTOCOL_FEATURES, (protocol)), GET(VHU_SET_OWNER),               \
		U64(VHU_SET_FEATURES, OFFER)
#define RING(i, base) \
	STATE(VHU_SET_VRING_NUM, i, 128), STATE(VHU_SET_VRING_BASE, i, base), ADDR(i, 0x1000)
#define STARTED(base) TABLE(0, 0x100000), RING(0, base), KICK(0), STATE(VHU_SET_VRING_ENABLE, 0, 1)

static const struct {
	const char *name;
	struct step steps[STEPS];
	const char *rules; /* "a b": in the order in which they were found */
} cases[] = {
	{ "nothing said", { { END } }, "" },
	{ "a clean start", { GREETING(PROTOCOL), STARTED(0) }, "" },
	{ "stop and go on",
		{ GREETING(PROTOCOL), STARTED(7), STATE(VHU_GET_VRING_BASE, 0, 0),
			SAID_STATE(VHU_GET_VRING_BASE, 0, 1234), RING(0, 1234), KICK(0) },
		"" },
	{ "a driver that began anew",
		{ GREETING(PROTOCOL), STARTED(7), STATE(VHU_GET_VRING_BASE, 0, 0),
			SAID_STATE(VHU_GET_VRING_BASE, 0, 1234), RING(0, 0), KICK_USED(0, 0) },
		"" },
	{ "the next front-end",
		{ GREETING(PROTOCOL), STARTED(0), NEW_FRONT_END, GREETING(PROTOCOL) }, "" },
	{ "acknowledged in order",
		{ GREETING(PROTOCOL), U64_ASK(VHU_SET_FEATURES, OFFER), SAID(VHU_SET_FEATURES, 0) },
		"" },
	{ "the bit that negotiates itself",
		{ FEATURES_ONLY, U64_ASK(VHU_SET_PROTOCOL_FEATURES, PROTOCOL),
			SAID(VHU_SET_PROTOCOL_FEATURES, 0) },
		"" },
	{ "memory by slots",
		{ GREETING(0x8001), SLOT(0, 0x1000), SLOT(0x1000, 0x1000), UNSLOT(0, 0x1000),
			SLOT(0, 0x1000) },
		"" },
	{ "a table replaces a table", { GREETING(PROTOCOL), TABLE(0, 0x1000), TABLE(0, 0x1000) },
		"" },
	{ "the log's address of a running ring",
		{ GREETING(PROTOCOL), STARTED(0), ADDR(0, 0x1000) }, "" },
	{ "a used index that went round",
		{ GREETING(PROTOCOL), TABLE(0, 0x1000), RING(0, 3), KICK_USED(0, 65530) }, "" },
	{ "a region that is large enough",
		{ GREETING(0x1001), INFLIGHT(VHU_SET_INFLIGHT_FD, 128), STARTED(0) }, "" },

	{ "too short", { { FRONT, VHU_SET_VRING_NUM, 0, 4, { 0 } } }, "malformed" },
	{ "no such request", { { FRONT, 4711, 0, 4, { 0 } } }, "unknown-request" },
	{ "not a reply", { { BACK, VHU_GET_FEATURES, 0, 8, { 0 } } }, "malformed" },
	{ "nobody negotiated that", { GREETING(PROTOCOL), INFLIGHT(VHU_SET_INFLIGHT_FD, 128) },
		"not-negotiated" },
	{ "waits in vain", { FEATURES_ONLY, U64_ASK(VHU_SET_FEATURES, OFFER) },
		"need-reply-unnegotiated" },
	{ "answered, but not asked",
		{ GREETING(PROTOCOL), TABLE(0, 0x1000), SAID(VHU_SET_MEM_TABLE, 0) },
		"reply-unasked" },
	{ "answers from nowhere", { FEATURES_ONLY, SAID(VHU_GET_QUEUE_NUM, 2) }, "reply-unasked" },
	{ "answered twice", { FEATURES_ONLY, SAID(VHU_GET_FEATURES, OFFER) }, "reply-unasked" },
	{ "overtaken",
		{ GREETING(PROTOCOL), GET(VHU_GET_QUEUE_NUM), GET(VHU_GET_FEATURES),
			SAID(VHU_GET_FEATURES, OFFER), SAID(VHU_GET_QUEUE_NUM, 1) },
		"reply-out-of-order" },
	{ "hung up on",
		{ GREETING(PROTOCOL), GET(VHU_GET_QUEUE_NUM), NEW_FRONT_END, GREETING(PROTOCOL) },
		"reply-missing" },
	{ "half a word",
		{ GET(VHU_GET_FEATURES), { BACK, VHU_GET_FEATURES, VHU_FLAG_REPLY, 4, { 0 } } },
		"reply-short" },
	{ "an acknowledgement of four bytes",
		{ GREETING(PROTOCOL), U64_ASK(VHU_SET_FEATURES, OFFER),
			{ BACK, VHU_SET_FEATURES, VHU_FLAG_REPLY, 4, { 0 } } },
		"reply-short" },
	{ "an acknowledgement without a word",
		{ GREETING(PROTOCOL), U64_ASK(VHU_SET_FEATURES, OFFER),
			{ BACK, VHU_SET_FEATURES, VHU_FLAG_REPLY, 0, { 0 } } },
		"reply-short" },
	{ "a number of queues in four bytes",
		{ GREETING(PROTOCOL), GET(VHU_GET_QUEUE_NUM),
			{ BACK, VHU_GET_QUEUE_NUM, VHU_FLAG_REPLY, 4, { 2 } } },
		"reply-short" },
	{ "two words for one",
		{ GET(VHU_GET_FEATURES),
			{ BACK, VHU_GET_FEATURES, VHU_FLAG_REPLY, 16, { OFFER } } },
		"reply-long" },
	{ "a long refusal",
		{ GREETING(PROTOCOL), U64_ASK(VHU_SET_FEATURES, OFFER),
			{ BACK, VHU_SET_FEATURES, VHU_FLAG_REPLY, 12, { 22 } } },
		"reply-long refused" },
	{ "descriptors with a word",
		{ GET(VHU_GET_FEATURES),
			{ BACK, VHU_GET_FEATURES, VHU_FLAG_REPLY, 8, { OFFER }, 3 } },
		"reply-descriptors" },
	{ "a region with its descriptor",
		{ GREETING(0x1001), { FRONT, VHU_GET_INFLIGHT_FD, 0, 24, { 0, 0, 1 | 128 << 16 } },
			{ BACK, VHU_GET_INFLIGHT_FD, VHU_FLAG_REPLY, 20, { 4096, 0, 0 }, 1 } },
		"" },
	{ "two regions",
		{ GREETING(0x1001), { FRONT, VHU_GET_INFLIGHT_FD, 0, 24, { 0, 0, 1 | 128 << 16 } },
			{ BACK, VHU_GET_INFLIGHT_FD, VHU_FLAG_REPLY, 20, { 4096, 0, 0 }, 2 } },
		"reply-descriptors" },
	{ "what its channel does not have", { { BACK, 4711, 0, 4, { 0 }, .channel = true } },
		"unknown-request" },
	{ "a version that is to come",
		{ GET(VHU_GET_FEATURES),
			{ BACK, VHU_GET_FEATURES, VHU_FLAG_REPLY | 3, 8, { OFFER } } },
		"malformed" },
	{ "a question that says it is an answer",
		{ { BACK, 2, VHU_FLAG_REPLY, 0, { 0 }, .channel = true } }, "malformed" },
	{ "what its channel has", { { BACK, 2, 0, 0, { 0 }, .channel = true } }, "" },
	{ "refused",
		{ GREETING(PROTOCOL), U64_ASK(VHU_SET_FEATURES, OFFER),
			SAID(VHU_SET_FEATURES, 22) },
		"refused" },
	{ "beyond the offer",
		{ GET(VHU_GET_FEATURES), SAID(VHU_GET_FEATURES, OFFER),
			U64(VHU_SET_FEATURES, OFFER | 1u << 29) },
		"acked-unoffered" },
	{ "without asking", { U64(VHU_SET_FEATURES, OFFER) }, "acked-unasked" },
	{ "protocol beyond the offer",
		{ GREETING(PROTOCOL), U64(VHU_SET_PROTOCOL_FEATURES, PROTOCOL | 2) },
		"protocol-unoffered" },
	{ "without the bit that they hang on",
		{ GREETING(PROTOCOL), U64(VHU_SET_FEATURES, 1ull << 32) }, "protocol-bit-missing" },
	{ "protocol features of nobody",
		{ GET(VHU_GET_FEATURES), SAID(VHU_GET_FEATURES, 1ull << 32),
			U64(VHU_SET_PROTOCOL_FEATURES, 0) },
		"protocol-bit-missing" },
	{ "another offer",
		{ FEATURES_ONLY, GET(VHU_GET_FEATURES), SAID(VHU_GET_FEATURES, OFFER | 1) },
		"offer-changed" },
	{ "offers less than before",
		{ FEATURES_ONLY, NEW_FRONT_END, GET(VHU_GET_FEATURES),
			SAID(VHU_GET_FEATURES, 1ull << 32) },
		"fewer-offered" },
	{ "acknowledges less than before",
		{ FEATURES_ONLY, NEW_FRONT_END, GET(VHU_GET_FEATURES),
			SAID(VHU_GET_FEATURES, OFFER), U64(VHU_SET_FEATURES, 1u << 30) },
		"fewer-acked" },
	{ "fewer protocol features than before", { GREETING(PROTOCOL), NEW_FRONT_END, GREETING(1) },
		"fewer-offered fewer-acked" },
	{ "the log is switched on",
		{ GREETING(PROTOCOL), STARTED(0), U64(VHU_SET_FEATURES, OFFER | 1u << 26) },
		"acked-unoffered features-while-running" },
	{ "no memory, no place", { GREETING(PROTOCOL), KICK(0) }, "started-too-early" },
	{ "resized while it runs",
		{ GREETING(PROTOCOL), STARTED(0), STATE(VHU_SET_VRING_NUM, 0, 64) },
		"changed-while-running" },
	{ "moved while it runs", { GREETING(PROTOCOL), STARTED(0), ADDR(0, 0x2000) },
		"changed-while-running" },
	{ "another kick", { GREETING(PROTOCOL), STARTED(0), KICK(0) }, "kick-replaced" },
	{ "enabled in vain",
		{ GET(VHU_GET_FEATURES), SAID(VHU_GET_FEATURES, OFFER),
			U64(VHU_SET_FEATURES, 1ull << 32), STATE(VHU_SET_VRING_ENABLE, 0, 1) },
		"enable-unnegotiated" },
	{ "no size", { GREETING(PROTOCOL), STATE(VHU_SET_VRING_NUM, 0, 0) }, "ring-size" },
	{ "larger than the region",
		{ GREETING(0x1001), INFLIGHT(VHU_SET_INFLIGHT_FD, 64), STARTED(0) },
		"ring-larger-than-inflight" },
	{ "a region that is too small for what there is",
		{ GREETING(0x1001), RING(0, 0), INFLIGHT(VHU_SET_INFLIGHT_FD, 64) },
		"ring-larger-than-inflight" },
	{ "a region for rings that run",
		{ GREETING(0x1001), STARTED(0), INFLIGHT(VHU_SET_INFLIGHT_FD, 128) },
		"inflight-while-running" },
	{ "0 for a ring that had gone on",
		{ GREETING(PROTOCOL), STARTED(1234), STATE(VHU_GET_VRING_BASE, 0, 0),
			SAID_STATE(VHU_GET_VRING_BASE, 0, 0) },
		"base-back-to-zero" },
	{ "0 for a ring at 1234",
		{ GREETING(PROTOCOL), STARTED(0), STATE(VHU_GET_VRING_BASE, 0, 0),
			SAID_USED(VHU_GET_VRING_BASE, 0, 0, 1234) },
		"base-back-to-zero" },
	{ "0 is where it is",
		{ GREETING(PROTOCOL), STARTED(65000), STATE(VHU_GET_VRING_BASE, 0, 0),
			SAID_USED(VHU_GET_VRING_BASE, 0, 0, 0) },
		"" },
	{ "stops behind what it answered",
		{ GREETING(PROTOCOL), STARTED(0), STATE(VHU_GET_VRING_BASE, 0, 0),
			SAID_USED(VHU_GET_VRING_BASE, 0, 1000, 1001) },
		"base-against-memory" },
	{ "stops with some in flight",
		{ GREETING(PROTOCOL), STARTED(0), STATE(VHU_GET_VRING_BASE, 0, 0),
			SAID_USED(VHU_GET_VRING_BASE, 0, 1128, 1000) },
		"" },
	{ "starts at 0, memory is elsewhere",
		{ GREETING(PROTOCOL), TABLE(0, 0x1000), RING(0, 0), KICK_USED(0, 1234) },
		"base-against-memory" },
	{ "goes on elsewhere",
		{ GREETING(PROTOCOL), STARTED(0), STATE(VHU_GET_VRING_BASE, 0, 0),
			SAID_STATE(VHU_GET_VRING_BASE, 0, 100), RING(0, 50) },
		"base-jumped" },
	{ "reset in between",
		{ GREETING(0x2001), STARTED(0), STATE(VHU_GET_VRING_BASE, 0, 0),
			SAID_STATE(VHU_GET_VRING_BASE, 0, 100), GET(VHU_RESET_DEVICE),
			RING(0, 50) },
		"" },
	{ "the same slot twice", { GREETING(0x8001), SLOT(0, 4096), SLOT(0, 4096) },
		"memory-overlap" },
	{ "slots that overlap", { GREETING(0x8001), SLOT(8192, 8192), SLOT(4096, 4097) },
		"memory-overlap" },
	{ "no such slot", { GREETING(0x8001), SLOT(0, 4096), UNSLOT(0, 8192) },
		"memory-unknown-slot" },
	{ "no region",
		{ GREETING(0x1001), { FRONT, VHU_GET_INFLIGHT_FD, 0, 24, { 0, 0, 0x10001 } },
			{ BACK, VHU_GET_INFLIGHT_FD, VHU_FLAG_REPLY, 24, { 0, 0, 0x10001 } } },
		"inflight-none" },
	{ "no configuration",
		{ GREETING(0x201), { FRONT, VHU_GET_CONFIG, 0, 12, { 0x800000000 } },
			{ BACK, VHU_GET_CONFIG, VHU_FLAG_REPLY, 0, { 0 } } },
		"config-refused" },
	{ "it failed", { GREETING(0x10001), GET(VHU_GET_STATUS), SAID(VHU_GET_STATUS, 0x4f) },
		"needs-reset" },
	{ "the channel's requests are not the connection's",
		{ GREETING(PROTOCOL), { BACK, 2, VHU_NEED_REPLY, 0, { 0 }, 0, 0, true },
			{ FRONT, 2, VHU_FLAG_REPLY, 8, { 0 }, 0, 0, true } },
		"" },
};

static struct transcript_entry *say(struct transcript *t, const struct step *s)
{
	struct vhu_header header = vhu_header_make(s->request, s->flags, s->size);
	struct transcript_entry *e;
	uint64_t payload[WORDS];

	for (size_t i = 0; i < WORDS; i++)
		payload[i] = htole64(s->word[i]);
	e = transcript_add(t, s->channel ? TRANSCRIPT_BACKEND : TRANSCRIPT_MAIN, s->who == BACK,
		&header, payload, s->size, s->fds);
	e->has_ring_used = s->used != 0;
	e->ring_used = (uint16_t)(s->used - 1);
	return e;
}

static void play(struct transcript *t, const struct step *steps)
{
	transcript_begin(t);
	for (const struct step *s = steps; s->who != END; s++) {
		if (s->who == ANEW) {
			transcript_end(t);
			transcript_begin(t);
		} else {
			say(t, s);
		}
	}
}

/* The caller frees it. The transcript's own stays as it is. */
static struct lint *finished(const struct transcript *t, uint64_t later_ms, uint64_t unanswered_ms)
{
	struct lint *l = xnew(struct lint);

	*l = *t->lint;
	lint_finish(l, t, now_ns() + later_ms * NSEC_PER_MSEC, unanswered_ms);
	return l;
}

static void names(const struct lint *l, char *ret, size_t bytes)
{
	ret[0] = '\0';
	for (unsigned int i = 0; i < l->num_findings; i++)
		snprintf(ret + strlen(ret), bytes - strlen(ret), "%s%s", i ? " " : "",
			lint_rules[l->findings[i].rule].name);
}

static void rules(_unused_ void **state)
{
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		struct transcript t;
		struct lint *l;
		char found[512];

		transcript_init(&t);
		play(&t, cases[i].steps);
		l = finished(&t, 0, UINT64_MAX);
		names(l, found, sizeof(found));
		if (strcmp(found, cases[i].rules))
			fail_msg("%s: '%s', expected '%s'", cases[i].name, found, cases[i].rules);
		for (unsigned int k = 0; k < l->num_findings; k++) {
			const struct lint_finding *f = &l->findings[k];

			assert_true(f->text[0] && strlen(f->text) < LINT_TEXT_BYTES - 1);
			assert_true(f->serials[0] >= 1 && f->serials[0] <= t.last);
			assert_true(f->last >= f->serials[0] && f->count == 1);
		}
		free(l);
		transcript_deinit(&t);
	}
}

static void each_rule_has_a_case(_unused_ void **state)
{
	for (int rule = 0; rule < LINT_RULE_END; rule++) {
		bool is_found = rule == LINT_UNANSWERED; /* the clock's, below */

		assert_non_null(lint_rules[rule].name);
		for (size_t i = 0; i < ARRAY_SIZE(cases); i++)
			is_found |= strstr(cases[i].rules, lint_rules[rule].name) != NULL;
		if (!is_found)
			fail_msg("no case has %s", lint_rules[rule].name);
	}
}

static void unanswered_says_how_long_and_whether_it_will_be(_unused_ void **state)
{
	static const struct step steps[] = { GREETING(0x2),
		{ FRONT, VHU_SET_LOG_BASE, 0, 16, { 4096 }, 1 }, { END } };
	struct transcript t;
	struct lint *l;

	transcript_init(&t);
	play(&t, steps);
	l = finished(&t, 41000, 42000);
	assert_int_equal(l->num_findings, 0);
	free(l);
	l = finished(&t, 41000, 1000);
	assert_int_equal(l->num_findings, 1);
	assert_int_equal(l->findings[0].rule, LINT_UNANSWERED);
	assert_non_null(strstr(l->findings[0].text, "SET_LOG_BASE (request 6, message 8)"));
	assert_non_null(strstr(l->findings[0].text, "unanswered for 41."));
	assert_non_null(strstr(l->findings[0].text, "REPLY_ACK negotiated: no"));
	free(l);
	/* Nobody waits any more. */
	transcript_end(&t);
	l = finished(&t, 41000, 1000);
	assert_int_equal(l->num_findings, 1);
	assert_int_equal(l->findings[0].rule, LINT_REPLY_MISSING);
	free(l);
	transcript_deinit(&t);
}

static void a_finding_outlives_its_message(_unused_ void **state)
{
	static const struct step steps[] = { U64(VHU_SET_FEATURES, OFFER), { END } };
	static const struct step more[] = { GET(VHU_GET_FEATURES), SAID(VHU_GET_FEATURES, OFFER) };
	struct transcript t;
	struct lint *l;

	transcript_init(&t);
	play(&t, steps);
	for (int i = 0; i < 2 * TRANSCRIPT_ENTRIES; i++)
		say(&t, &more[i % 2]);
	assert_null(transcript_get(&t, 1));
	l = finished(&t, 0, 1000);
	assert_int_equal(l->num_findings, 1);
	assert_int_equal(l->findings[0].rule, LINT_ACKED_UNASKED);
	assert_int_equal(l->findings[0].serials[0], 1);
	free(l);
	transcript_deinit(&t);
}

static void what_happens_again_is_counted(_unused_ void **state)
{
	static const struct step steps[] = { GREETING(PROTOCOL), STARTED(0), KICK(0), KICK(0),
		KICK(0), { END } };
	struct transcript t;
	struct lint *l;

	transcript_init(&t);
	play(&t, steps);
	l = finished(&t, 0, 1000);
	assert_int_equal(l->num_findings, 1);
	assert_int_equal(l->findings[0].count, 3);
	assert_int_equal(l->findings[0].last, t.last);
	free(l);
	transcript_deinit(&t);
}

/* The list is full: of the least severe, the oldest goes. */
static void errors_stay_where_notes_are_many(_unused_ void **state)
{
	static const struct step bad = { FRONT, VHU_SET_VRING_NUM, 0, 4, { 0 } };
	struct step note = { FRONT, 1000, 0, 0, { 0 } };
	struct transcript t;
	struct lint *l;

	transcript_init(&t);
	transcript_begin(&t);
	say(&t, &bad);
	for (int i = 0; i < 3 * LINT_FINDINGS; i++, note.request++)
		say(&t, &note);
	l = finished(&t, 0, 1000);
	assert_int_equal(l->num_findings, LINT_FINDINGS);
	assert_int_equal(l->findings[0].rule, LINT_MALFORMED);
	assert_int_equal(l->findings[LINT_FINDINGS - 1].key, note.request - 1);
	free(l);
	transcript_deinit(&t);
}

static void looking_changes_nothing(_unused_ void **state)
{
	static const struct step steps[] = { GREETING(PROTOCOL), STARTED(0), KICK(0), { END } };
	struct lint *before = xnew(struct lint);
	struct transcript t;

	transcript_init(&t);
	play(&t, steps);
	*before = *t.lint;
	free(finished(&t, 0, 0));
	assert_memory_equal(before, t.lint, sizeof(*before));
	free(before);
	transcript_deinit(&t);
}

/* Anything may come. */
static void noise(_unused_ void **state)
{
	uint64_t seed = 88172645463325252ull;
	struct transcript t;

	transcript_init(&t);
	transcript_begin(&t);
	for (int i = 0; i < 20000; i++) {
		struct step s = { FRONT };

		for (size_t k = 0; k < WORDS; k++) {
			seed ^= seed << 13;
			seed ^= seed >> 7;
			seed ^= seed << 17;
			s.word[k] = seed >> (seed & 63);
		}
		s.who = seed & 1 ? FRONT : BACK;
		s.request = (seed >> 8) % 50;
		s.flags = (seed >> 16) % 16;
		s.size = (uint32_t)(seed >> 24) % (sizeof(s.word) + 1);
		s.fds = (seed >> 32) % 3;
		s.channel = !((seed >> 40) % 8);
		s.used = (seed >> 44) % 3;
		say(&t, &s);
		if (!((seed >> 48) % 100))
			transcript_begin(&t);
		if (!(i % 1000))
			free(finished(&t, 0, 0));
	}
	transcript_deinit(&t);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(rules),
		cmocka_unit_test(each_rule_has_a_case),
		cmocka_unit_test(unanswered_says_how_long_and_whether_it_will_be),
		cmocka_unit_test(a_finding_outlives_its_message),
		cmocka_unit_test(what_happens_again_is_counted),
		cmocka_unit_test(errors_stay_where_notes_are_many),
		cmocka_unit_test(looking_changes_nothing),
		cmocka_unit_test(noise),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
