/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * What another back-end would have to be told: the last message of each kind, for each ring where
 * it names one, with duplicates of its descriptors; the regions of memory; and the requests that
 * wait for an answer. Main loop.
 */
#ifndef VHOST_RELAY_JOURNAL_H
#define VHOST_RELAY_JOURNAL_H

#include "proto/vhost_user.h"
#include "vhost/shadow.h"

/* Requests of a front-end at a time that wait for an answer; front-ends make one. */
#define JOURNAL_PENDING_MAX 16
/* Regions; what a memory snapshot can hold. */
#define JOURNAL_REGIONS_MAX GMEM_REGIONS_MAX

/* A message that was kept. Zero-initialised there is none. */
struct kept {
	struct vhu_header header;
	uint8_t *payload; /* owned */
	int fds[VHU_FDS_MAX]; /* owned */
	unsigned int num_fds;
	bool is_set;
};

/* Of a ring, in the order in which they are told. */
enum journal_ring_message {
	JOURNAL_NUM,
	JOURNAL_BASE,
	JOURNAL_ADDR,
	JOURNAL_ENDIAN,
	JOURNAL_CALL,
	JOURNAL_ERR,
	JOURNAL_KICK, /* or VRING_KICK: the ring runs */
	JOURNAL_ENABLE,
	NUM_JOURNAL_RING,
};

struct journal_region {
	struct vhu_region region;
	int fd; /* owned */
};

struct journal {
	struct kept single[VHU_REQUEST_END];
	struct kept *rings[SHADOW_QUEUES_MAX]; /* NUM_JOURNAL_RING each, or NULL; owned */
	struct journal_region *regions; /* owned */
	unsigned int num_regions;
	bool by_slots; /* they came one by one */
	struct kept pending[JOURNAL_PENDING_MAX]; /* the oldest first */
	unsigned int num_pending;
	bool has_any; /* something was kept */
	/* Why nobody could go on where this back-end stands; NULL: the messages do not say so. */
	const char *obstacle;
};

/* Lets go of everything. Idempotent. */
void journal_clear(struct journal *j);
/* A well-formed request of the front-end passes, or one of ours that it could have sent. */
void journal_request(struct journal *j, const struct vhu_header *header,
	const union vhu_payload *payload, const int *fds, unsigned int num_fds);
/* It waits for an answer. */
void journal_wait(struct journal *j, const struct vhu_header *header, const void *payload,
	size_t bytes, const int *fds, unsigned int num_fds);
/* A reply passes: the oldest of that number does not wait any more. */
void journal_answered(struct journal *j, const struct vhu_header *header);
bool journal_waits_for(const struct journal *j, uint32_t request);
/* Do all rings stop with it? */
bool journal_is_reset(const struct vhu_header *header, const union vhu_payload *payload);
/* Is the state that it sets kept, for a request that only sets one? */
bool journal_keeps(uint32_t request);
/* The ring stopped, and was told to go on at @base. */
void journal_stopped(struct journal *j, uint32_t index, uint32_t base);
/* Does the ring run, as far as the front-end is concerned? */
bool journal_runs(const struct journal *j, uint32_t index);
/* NULL: nothing of that kind was said. */
const struct kept *journal_ring(
	const struct journal *j, uint32_t index, enum journal_ring_message which);
/* The u64 that a message said; 0 where it was never said. */
uint64_t journal_word(const struct journal *j, uint32_t request);

void kept_clear(struct kept *k);
/* Takes the oldest that waits off the list; the caller owns it. */
struct kept journal_take_pending(struct journal *j);

#endif
