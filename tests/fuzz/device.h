/* SPDX-License-Identifier: BSD-3-Clause */
/* Requests to a device for fuzz targets: lengths and cuts from the input, and what must hold. */
#ifndef TESTS_FUZZ_DEVICE_H
#define TESTS_FUZZ_DEVICE_H

#include "tests/fuzz/guest.h"

#define DEVICE_RING    16
#define DEVICE_IN      0x10000u
#define DEVICE_OUT     (GUEST_SPLIT - 0x100) /* the room crosses two regions */
#define DEVICE_MARK    0xa5
#define DEVICE_MARGIN  32u
#define DEVICE_LEN_MAX 0x3000u

struct device_request {
	uint32_t in, out; /* bytes readable, writable */
	uint8_t cuts[DEVICE_RING - 4]; /* lengths of the first descriptors; 0: an empty one */
	unsigned int num_cuts;
};

/* Mostly lengths that devices know: a header, a sector, and a byte more or less. */
static inline uint32_t device_take_len(struct bytes *in)
{
	static const uint16_t lens[] = { 0, 1, 15, 16, 17, 20, 21, 32, 48, 512, 513, 528, 1025,
		4096, 4097, 8193 };
	uint8_t which = take8(in);

	if (which & 0x80)
		return take16(in) % DEVICE_LEN_MAX;
	return lens[which & 15] + (which >> 4 & 1);
}

static inline void device_take_request(struct device_request *req, struct bytes *in)
{
	req->in = device_take_len(in);
	req->out = device_take_len(in);
	req->num_cuts = take8(in) % (ARRAY_SIZE(req->cuts) + 1);
	take_bytes(in, req->cuts, req->num_cuts);
}

/* One descriptor a cut, then one for the rest, readable ones first. */
static inline void device_offer(
	struct guest *g, unsigned int queue, const struct device_request *req)
{
	uint64_t table = GUEST_RING(queue), at = DEVICE_IN;
	uint32_t in = req->in, out = req->out, n = 0;
	unsigned int cut = 0;

	memset(g->ram + DEVICE_OUT - DEVICE_MARGIN, DEVICE_MARK, req->out + 2 * DEVICE_MARGIN);
	while (in || out) {
		bool writing = !in;
		uint32_t left = writing ? out : in, len = left;

		if (writing && at < DEVICE_OUT)
			at = DEVICE_OUT;
		if (cut < req->num_cuts)
			len = MIN(left, (uint32_t)req->cuts[cut++]);
		guest_desc(g, table + n * 16, at, len,
			(writing ? VRING_DESC_F_WRITE : 0) | VRING_DESC_F_NEXT, (uint16_t)(n + 1));
		n++;
		at += len;
		*(writing ? &out : &in) -= len;
	}
	/* The last one is empty: every chain has an end, even one of nothing. */
	guest_desc(g, table + n * 16, UINT64_MAX, 0, req->out ? VRING_DESC_F_WRITE : 0, 0);
	guest_offer(g, queue, 0);
	guest_kick(g);
}

/* Waits for the answer to the last request: false where none comes. */
static inline bool device_wait(struct guest *g, unsigned int queue)
{
	int i;

	for (i = 0; i < 200; i++) {
		if (guest_used_idx(g, queue) == g->avail_idx[queue] || g->dev->broken)
			return true;
		loop_run_once(&g->loop, 50);
	}
	return false;
}

static inline uint32_t device_used_len(struct guest *g, unsigned int queue)
{
	struct vring_used *used = (void *)(g->ram + GUEST_USED(queue));

	return le32_get(used->ring[(uint16_t)(g->avail_idx[queue] - 1) % g->num].len);
}

/* What lies around the room is as it was. */
static inline void device_check_room(struct guest *g, const struct device_request *req)
{
	const uint8_t *room = g->ram + DEVICE_OUT;
	unsigned int i;

	for (i = 0; i < DEVICE_MARGIN; i++) {
		FUZZ_CHECK(*(room - 1 - i) == DEVICE_MARK);
		FUZZ_CHECK(room[req->out + i] == DEVICE_MARK);
	}
}

#endif
