/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A ring of messages. Replies are paired with the oldest request of the same number that waits for
 * one, on the same channel of the same connection: the protocol has no other key.
 */
#include "proto/transcript.h"

#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "base/alloc.h"
#include "proto/lint.h"

/* One piece, which so large comes from the kernel: pages that nothing was written to cost nothing.
 */
struct store {
	struct transcript_entry entries[TRANSCRIPT_ENTRIES];
	struct lint lint;
};

void transcript_init(struct transcript *t)
{
	struct store *store;

	*t = (struct transcript){ 0 };
	store = xnew(struct store);
	t->entries = store->entries;
	t->lint = &store->lint;
	t->lint->next = 1;
}

void transcript_deinit(struct transcript *t)
{
	free(t->entries);
	*t = (struct transcript){ 0 };
}

void transcript_begin(struct transcript *t)
{
	t->connection++;
	t->open = true;
	t->since[TRANSCRIPT_MAIN] = t->since[TRANSCRIPT_BACKEND] = t->last;
}

void transcript_begin_channel(struct transcript *t)
{
	t->since[TRANSCRIPT_BACKEND] = t->last;
}

void transcript_end(struct transcript *t)
{
	t->open = false;
}

uint64_t transcript_first(const struct transcript *t)
{
	return t->last < TRANSCRIPT_ENTRIES ? 1 : t->last - TRANSCRIPT_ENTRIES + 1;
}

struct transcript_entry *transcript_get(const struct transcript *t, uint64_t serial)
{
	if (!serial || serial > t->last || serial < transcript_first(t))
		return NULL;
	return &t->entries[serial % TRANSCRIPT_ENTRIES];
}

bool transcript_is_reply(const struct transcript_entry *entry)
{
	bool from_server = entry->from_backend == (entry->channel == TRANSCRIPT_MAIN);

	return from_server && (le32_get(entry->header.flags) & VHU_FLAG_REPLY);
}

/* Does somebody wait for its reply? Of what nobody knows: perhaps. */
static bool wants_reply(const struct transcript_entry *entry)
{
	const struct vhu_rule *rule = vhu_rule(le32_get(entry->header.request));

	if (le32_get(entry->header.flags) & VHU_NEED_REPLY)
		return true;
	return entry->channel == TRANSCRIPT_MAIN && (!rule || rule->reply == VHU_REPLY_OWN);
}

static bool has_to_be_answered(const struct transcript_entry *entry, uint64_t protocol_features)
{
	const struct vhu_rule *rule = vhu_rule(le32_get(entry->header.request));

	if (entry->reply || entry->malformed || transcript_is_reply(entry))
		return false;
	if (le32_get(entry->header.flags) & VHU_NEED_REPLY)
		return true;
	if (entry->channel != TRANSCRIPT_MAIN || !rule || rule->reply != VHU_REPLY_OWN)
		return false;
	return rule->feature < 0 || protocol_features >> rule->feature & 1;
}

const struct transcript_entry *transcript_unanswered(
	const struct transcript *t, uint64_t protocol_features)
{
	uint64_t since = MIN(t->since[0], t->since[1]) + 1;

	for (uint64_t serial = MAX(transcript_first(t), since); serial <= t->last; serial++) {
		const struct transcript_entry *entry = transcript_get(t, serial);

		if (serial > t->since[entry->channel] &&
			has_to_be_answered(entry, protocol_features))
			return entry;
	}
	return NULL;
}

static bool may_answer(const struct transcript_entry *reply, const struct transcript_entry *request)
{
	return request->channel == reply->channel && request->from_backend != reply->from_backend &&
	       !request->reply &&
	       le32_get(request->header.request) == le32_get(reply->header.request);
}

/* The oldest that waits; else the newest of that number, which was answered unasked. */
static struct transcript_entry *find_request(
	const struct transcript *t, const struct transcript_entry *reply)
{
	uint64_t since = t->since[reply->channel] + 1;
	struct transcript_entry *newest = NULL;

	for (uint64_t serial = MAX(transcript_first(t), since); serial < reply->serial; serial++) {
		struct transcript_entry *entry = transcript_get(t, serial);

		if (!may_answer(reply, entry))
			continue;
		if (wants_reply(entry))
			return entry;
		newest = entry;
	}
	return newest;
}

static uint16_t kept_bytes(
	enum transcript_channel channel, const struct vhu_header *header, size_t payload_bytes)
{
	if (channel == TRANSCRIPT_MAIN)
		payload_bytes = vhu_public_bytes(le32_get(header->request), payload_bytes);
	return (uint16_t)MIN(payload_bytes, (size_t)TRANSCRIPT_PAYLOAD_BYTES);
}

struct transcript_entry *transcript_add(struct transcript *t, enum transcript_channel channel,
	bool from_backend, const struct vhu_header *header, const void *payload,
	size_t payload_bytes, unsigned int num_fds)
{
	struct transcript_entry *entry, *request;
	struct timespec ts;

	if (t->last)
		lint_feed(t->lint, transcript_get(t, t->last));
	entry = &t->entries[++t->last % TRANSCRIPT_ENTRIES];
	clock_gettime(CLOCK_REALTIME, &ts);
	*entry = (struct transcript_entry){
		.serial = t->last,
		.time_ns = (uint64_t)ts.tv_sec * NSEC_PER_SEC + (uint64_t)ts.tv_nsec,
		.since_ns = now_ns(),
		.connection = t->connection,
		.channel = channel,
		.from_backend = from_backend,
		.header = *header,
		.num_fds = num_fds,
		.num_kept = kept_bytes(channel, header, payload_bytes),
	};
	if (entry->num_kept)
		memcpy(entry->payload, payload, entry->num_kept);
	request = transcript_is_reply(entry) ? find_request(t, entry) : NULL;
	if (request) {
		entry->request = request->serial;
		request->reply = entry->serial;
		request->latency_ns = entry->since_ns - request->since_ns;
	}
	return entry;
}
