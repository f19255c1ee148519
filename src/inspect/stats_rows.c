/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * One row a statistic, for query-stats and for OpenMetrics both. Rows of one family stand together.
 */
#include "inspect/stats_rows.h"

#include <string.h>

#include "inspect/outstanding.h"
#include "inspect/vhost.h"
#include "virtio/vring.h"

#define COUNTER(member) offsetof(struct vq_counters, member)
#define NO_COUNTER	SIZE_MAX
#define NO_UNIT		(-1)

void stats_look_at(struct vq *vq, struct stats_look *ret)
{
	struct vhost_ring_now now;
	le16 avail;

	*ret = (struct stats_look){ 0 };
	if (!vq->dev->view.vhost) {
		ret->own = ret->knows_inflight = vq_read_view(vq, &ret->view);
		ret->inflight = ret->view.inuse;
		vq_read_latency(vq, &ret->latency);
		return;
	}
	inspect_vhost_ring(vq, &now);
	if (!now.from_memory ||
		gmem_peek(vq->dev->mem, vq->cfg.driver + offsetof(struct vring_avail, idx), &avail,
			sizeof(avail)) < 0)
		return;
	ret->inflight = (uint16_t)(le16_get(avail) - now.used);
	ret->knows_inflight = ret->inflight <= vq->cfg.num;
}

static bool inflight(const struct stats_look *look, uint64_t *ret)
{
	*ret = look->inflight;
	return look->knows_inflight;
}

static bool time_of(const struct stats_look *look, uint64_t ns, uint64_t *ret)
{
	*ret = ns;
	return look->own && ns;
}

static bool kick_time(const struct stats_look *look, uint64_t *ret)
{
	return time_of(look, look->view.kick_ns, ret);
}

static bool pop_time(const struct stats_look *look, uint64_t *ret)
{
	return time_of(look, look->view.pop_ns, ret);
}

static bool complete_time(const struct stats_look *look, uint64_t *ret)
{
	return time_of(look, look->view.complete_ns, ret);
}

static bool call_time(const struct stats_look *look, uint64_t *ret)
{
	return time_of(look, look->view.call_ns, ret);
}

#define COUNT(name, member, family, label, help)                                              \
	{                                                                                     \
		name, STATS_TYPE_CUMULATIVE, NO_UNIT, 0, COUNTER(member), NULL, family, help, \
			label                                                                 \
	}
#define BYTES(name, member, family, label, help)                                                 \
	{                                                                                        \
		name, STATS_TYPE_CUMULATIVE, STATS_UNIT_BYTES, 0, COUNTER(member), NULL, family, \
			help, label                                                              \
	}
#define TIME(name, fn, label)                                                                    \
	{                                                                                        \
		name, STATS_TYPE_INSTANT, STATS_UNIT_SECONDS, -9, NO_COUNTER, fn,                \
			"last_event_time", "When it happened last, in seconds since 1970 began", \
			label                                                                    \
	}

const struct stats_row stats_rows[] = {
	COUNT("kicks", kicks, "kicks", NULL, "Notifications of the driver that woke the device"),
	COUNT("notify-offs", notify_offs, "notify_offs", NULL,
		"Times that the driver was told, or left, not to kick"),
	COUNT("popped", popped, "popped", NULL, "Requests taken"),
	COUNT("completed", completed, "completed", NULL, "Requests answered"),
	COUNT("descriptors", descs, "descriptors", NULL, "Descriptors loaded"),
	BYTES("bytes-read", bytes_read, "payload", "direction=\"read\"",
		"Bytes of answered requests that the device read and wrote"),
	BYTES("bytes-written", bytes_written, "payload", "direction=\"written\"",
		"Bytes of answered requests that the device read and wrote"),
	COUNT("calls", calls, "calls", "result=\"sent\"",
		"Times that answers were shown, by what became of the interrupt"),
	COUNT("calls-suppressed", calls_suppressed, "calls", "result=\"suppressed\"",
		"Times that answers were shown, by what became of the interrupt"),
	COUNT("calls-full", calls_full, "calls", "result=\"pending\"",
		"Times that answers were shown, by what became of the interrupt"),
	COUNT("calls-lost", calls_lost, "calls", "result=\"lost\"",
		"Times that answers were shown, by what became of the interrupt"),
	COUNT("calls-coalesced", calls_coalesced, "calls_coalesced", NULL,
		"Answers that were shown together with one before them"),
	COUNT("empty-runs", empty_runs, "empty_runs", NULL, "Wake-ups that found nothing"),
	COUNT("polled-runs", polled_runs, "polled_runs", NULL,
		"Batches that polling found, without a notification"),
	COUNT("empty-polls", empty_polls, "empty_polls", NULL,
		"Looks of a polling thread that found nothing"),
	COUNT("dry-runs", dry_runs, "dry_runs", NULL,
		"Batches that ended because the device had nothing to serve a request with"),
	COUNT("errors-request", errors_request, "errors", "class=\"request\"",
		"What went wrong, by class"),
	COUNT("errors-ring", errors_ring, "errors", "class=\"ring\"", "What went wrong, by class"),
	COUNT("errors-memory", errors_memory, "errors", "class=\"memory\"",
		"What went wrong, by class"),
	COUNT("errors-kick", errors_kick, "errors", "class=\"kick\"", "What went wrong, by class"),
	{ "in-flight", STATS_TYPE_INSTANT, NO_UNIT, 0, NO_COUNTER, inflight, "in_flight",
		"Requests taken and not answered", NULL },
	TIME("last-kick", kick_time, "event=\"kick\""),
	TIME("last-pop", pop_time, "event=\"pop\""),
	TIME("last-complete", complete_time, "event=\"complete\""),
	TIME("last-call", call_time, "event=\"call\""),
};

const size_t stats_num_rows = ARRAY_SIZE(stats_rows);

bool stats_value(const struct stats_row *row, const struct stats_look *look, uint64_t *ret)
{
	if (row->value)
		return row->value(look, ret);
	memcpy(ret, (const char *)&look->view.counters + row->counter, sizeof(*ret));
	return look->own;
}
