/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * What was said on a vhost-user connection: the last TRANSCRIPT_ENTRIES messages of a device in a
 * ring, each with its first bytes, and which reply belongs to which request; and what is remarkable
 * in all that was ever said (proto/lint.h). Keeps no descriptor. One thread.
 */
#ifndef PROTO_TRANSCRIPT_H
#define PROTO_TRANSCRIPT_H

#include "proto/vhost_user.h"

struct lint;

/* Messages that are kept for each device; older ones go. */
#define TRANSCRIPT_ENTRIES 512
/*
 * Bytes that are kept of each payload: a whole memory table and a whole configuration space. Of one
 * with keys in it what stands before them.
 */
#define TRANSCRIPT_PAYLOAD_BYTES 272

enum transcript_channel {
	TRANSCRIPT_MAIN, /* the front-end asks, the back-end replies */
	TRANSCRIPT_BACKEND, /* the other way round: the channel of SET_BACKEND_REQ_FD */
};

/* A message. Zero serials: there is none. */
struct transcript_entry {
	uint64_t serial; /* counts from 1 */
	uint64_t time_ns; /* CLOCK_REALTIME, as it went by */
	uint64_t since_ns; /* CLOCK_MONOTONIC */
	uint32_t connection; /* counts the front-ends, from 1 */
	enum transcript_channel channel;
	bool from_backend;
	bool own; /* the relay's: said by itself, or said to it and not passed on */
	bool malformed; /* it passed, but no state was concluded from it */
	struct vhu_header header;
	unsigned int num_fds;
	uint64_t reply; /* of a request: the serial of its reply */
	uint64_t request; /* of a reply: the serial of what it answers */
	uint64_t latency_ns; /* of a request that was answered */
	/*
	 * Set by who can see memory, before the next message: where the used index of the split
	 * ring stood that this message starts or stops.
	 */
	bool has_ring_used;
	uint16_t ring_used;
	uint16_t num_kept;
	_Alignas(8) uint8_t payload[TRANSCRIPT_PAYLOAD_BYTES];
};

struct transcript {
	struct transcript_entry *entries; /* owned; NULL: not initialised */
	uint64_t last; /* serial of the newest */
	uint32_t connection;
	bool open; /* the connection stands */
	struct lint *lint; /* of the same piece as entries; has seen all but the newest, whose entry
			      may still change */
	uint64_t since[2]; /* by channel: replies belong to requests behind this serial */
};

void transcript_init(struct transcript *t);
/* Idempotent. */
void transcript_deinit(struct transcript *t);
/* A new front-end: replies from now on belong to requests from now on. */
void transcript_begin(struct transcript *t);
/* The same of the back-end's channel alone, which was opened anew. */
void transcript_begin_channel(struct transcript *t);
/* Both ends are gone: what is not answered will not be. */
void transcript_end(struct transcript *t);
/* Notes a message, and pairs a reply with its request. The entry, until it is overwritten. */
struct transcript_entry *transcript_add(struct transcript *t, enum transcript_channel channel,
	bool from_backend, const struct vhu_header *header, const void *payload,
	size_t payload_bytes, unsigned int num_fds);
/* Serial of the oldest that is there; above t->last where nothing is. */
uint64_t transcript_first(const struct transcript *t);
/* NULL where @serial is not there any more, or not yet. */
struct transcript_entry *transcript_get(const struct transcript *t, uint64_t serial);
/*
 * The oldest request of this connection that has to be answered and was not, where these protocol
 * features are negotiated; NULL: none. One that nobody knows counts only if it asked for a reply.
 */
const struct transcript_entry *transcript_unanswered(
	const struct transcript *t, uint64_t protocol_features);
/* A reply, by its direction and flags? */
bool transcript_is_reply(const struct transcript_entry *entry);

#endif
