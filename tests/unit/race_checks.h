/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * What a reader of a running queue may find, and what would be impossible: of chains that take two
 * descriptors in a ring of twice NUM, with PAYLOAD readable bytes. For test_vq_race.c; any thread.
 */
#ifndef TESTS_UNIT_RACE_CHECKS_H
#define TESTS_UNIT_RACE_CHECKS_H

#include "vq_fixture.h"

#define NUM	64
#define PAYLOAD 32 /* readable bytes of each: all of them stand in the snapshot */

static _Atomic unsigned int num_faults;
static const char *_Atomic first_fault;

/* cmocka's asserts belong to the main thread. */
static void must(bool ok, const char *what)
{
	const char *none = NULL;

	if (ok)
		return;
	num_faults++;
	atomic_compare_exchange_strong(&first_fault, &none, what);
}

static void check_faults(void)
{
	if (num_faults)
		fail_msg("%u faults, the first: %s", num_faults, first_fault);
}

static void check_indices(const struct vq_view *v, uint64_t base)
{
	must((uint16_t)(v->last_avail_idx - v->used_idx) == v->inuse, "taken, answered, in use");
	must((uint16_t)(v->shadow_avail_idx - v->last_avail_idx) <= NUM * 2, "ahead of avail");
	must((uint16_t)(v->counters.popped - base) == v->last_avail_idx, "popped and index");
}

/* Each chain takes two places of a ring of twice NUM. */
static void check_places(const struct vq_view *v, uint64_t base)
{
	unsigned int ahead = v->last_avail_idx + (v->avail_wrap != v->used_wrap) * NUM * 2u;

	must(ahead - v->used_idx == v->inuse * 2, "taken, answered, in use");
	must(v->shadow_avail_idx == v->last_avail_idx, "an index that nobody writes");
	must((v->counters.popped - base) * 2 % (NUM * 2) == v->last_avail_idx, "popped and place");
	must(((v->counters.popped - base) / NUM % 2 == 0) == v->avail_wrap, "popped and wrap");
}

static void check_view(const struct vq_view *v, struct vq_view *last, uint64_t base)
{
	const uint64_t *now = (const uint64_t *)&v->counters;
	const uint64_t *before = (const uint64_t *)&last->counters;
	size_t i;

	must(v->inuse <= NUM, "more in use than there are heads");
	if (v->packed)
		check_places(v, base);
	else
		check_indices(v, base);
	must(v->counters.popped - v->counters.completed == v->inuse, "popped and completed");
	must(v->counters.bytes_read == v->counters.completed * PAYLOAD, "bytes and completed");
	for (i = 0; i < sizeof(v->counters) / 8; i++)
		must(now[i] >= before[i], "a counter went back");
	must(v->progress_ns >= last->progress_ns, "time went back");
	must(v->kick_ns >= last->kick_ns && v->call_ns >= last->call_ns, "time went back");
	must(v->progress_ns == MAX(v->pop_ns, v->complete_ns), "times of progress");
	must(v->counters.calls + v->counters.calls_suppressed <= v->counters.completed + 1000,
		"more calls than answers");
	*last = *v;
}

/* In one row, none older than those seen before, and no two heads in flight at once. */
static void check_events(struct vq *vq, uint64_t *last)
{
	static struct vq_event events[VQ_EVENTS];
	static bool is_out[NUM * 2];
	size_t n = vq_read_events(vq, VQ_EVENTS, events);

	memset(is_out, 0, sizeof(is_out));
	for (size_t i = 0; i < n; i++) {
		const struct vq_event *e = &events[i];

		must(e->serial == events[0].serial + i, "an event is missing");
		must(!i || e->ns >= events[i - 1].ns, "an event before the one before it");
		must(e->kind < VQ_NUM_EVENT_KINDS, "no event");
		if (e->kind == VQ_EVENT_POP) {
			must(e->index < NUM * 2 && e->arg == PAYLOAD, "another chain's event");
			must(!is_out[e->index % (NUM * 2)], "taken twice");
			is_out[e->index % (NUM * 2)] = true;
		} else if (e->kind == VQ_EVENT_COMPLETE) {
			must(e->index < NUM * 2 && e->arg <= 1, "another chain's answer");
			is_out[e->index % (NUM * 2)] = false;
		}
	}
	must(!n || events[n - 1].serial >= *last, "events went back");
	*last = n ? events[n - 1].serial : *last;
}

static unsigned int check_inflight(struct vq *vq)
{
	unsigned int n = 0;
	uint16_t head, words[PAYLOAD / 2];
	struct vq_inflight in;
	size_t i;

	for (head = 0; head < NUM * 2; head++) {
		if (!vq_read_inflight(vq, head, &in))
			continue;
		n++;
		memcpy(words, in.snap, sizeof(words));
		must(in.head == head && words[0] == head, "another head's bytes");
		for (i = 2; i < ARRAY_SIZE(words); i++)
			must(words[i] == words[1], "a mixture of two requests");
		must(in.num_snap == PAYLOAD && in.readable_bytes == PAYLOAD, "readable");
		must(in.writable_bytes == 1 + words[1] % 64u, "another request's length");
		must(in.since_ns && in.since_ns <= now_ns(), "time of arrival");
	}
	return n;
}

#endif
