/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Requests to a real device through the ring of vq_fixture.h: bytes to read, room to write, and how
 * both are cut into descriptors.
 */
#ifndef TESTS_DEV_FIXTURE_H
#define TESTS_DEV_FIXTURE_H

#include "vq_fixture.h"

/* What the device reads begins here, what it writes there. */
#define IN_AT	  (DATA_AT + 0x10000)
#define OUT_AT	  (SPLIT + 0x10000)
#define UNTOUCHED 0xa5

#define CUTS_MAX 8

/* Lengths of descriptors, 0 ends; the last one is followed by one for whatever is left. */
struct cuts {
	uint32_t readable[CUTS_MAX], writable[CUTS_MAX];
};

struct descs {
	struct fix *f;
	uint32_t n;
	bool chained;
};

static inline void add_desc(struct descs *d, uint64_t addr, uint32_t len, uint16_t flags)
{
	if (d->n) {
		struct vring_desc *before = ram(d->f, DESC_AT + (d->n - 1) * sizeof(*before));

		before->flags = le16_make(le16_get(before->flags) | NEXT);
		before->next = le16_make((uint16_t)d->n);
	}
	set_desc(d->f, DESC_AT, d->n++, addr, len, flags, 0);
}

static inline void add_part(
	struct descs *d, uint64_t at, uint32_t len, const uint32_t *cuts, uint16_t flags)
{
	for (; *cuts && len; cuts++) {
		uint32_t n = MIN(*cuts, len);

		add_desc(d, at, n, flags);
		at += n;
		len -= n;
	}
	if (len)
		add_desc(d, at, len, flags);
}

/* Lays the chain out as head 0 and offers it; the readable bytes stand at IN_AT already. */
static inline void offer_request(struct fix *f, uint32_t in, uint32_t out, const struct cuts *cuts)
{
	static const struct cuts whole;
	struct descs d = { .f = f };

	if (!cuts)
		cuts = &whole;
	memset(ram(f, OUT_AT - 64), UNTOUCHED, out + 128);
	add_part(&d, IN_AT, in, cuts->readable, 0);
	add_part(&d, OUT_AT, out, cuts->writable, WRITE);
	if (!d.n)
		add_desc(&d, 0, 0, 0);
	offer(f, 0);
}

static inline void kick_only(struct fix *f)
{
	uint64_t one = 1;

	assert_int_equal(write(f->kick, &one, 8), 8);
}

/* Until the device has answered up to @idx; a test's own timeout is meson's. */
static inline void wait_used(struct fix *f, uint16_t idx)
{
	while (used_idx(f) != idx && !f->dev->broken)
		loop_run_once(&f->loop, 50);
	if (f->dev->broken)
		fail_msg("broken: %s", f->dev->broken_reason);
}

/* Offers, waits, and returns the used length. What is around the room is untouched. */
static inline uint32_t request(struct fix *f, uint32_t in, uint32_t out, const struct cuts *cuts)
{
	const uint8_t *room = ram(f, OUT_AT);
	uint32_t i;

	offer_request(f, in, out, cuts);
	kick_only(f);
	wait_used(f, f->avail_idx);
	for (i = 0; i < 64; i++) {
		assert_int_equal(room[-1 - (int)i], UNTOUCHED);
		assert_int_equal(room[out + i], UNTOUCHED);
	}
	return le32_get(used(f)->ring[(uint16_t)(f->avail_idx - 1) % f->num].len);
}

#endif
