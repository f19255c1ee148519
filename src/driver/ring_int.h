/* SPDX-License-Identifier: BSD-3-Clause */
/* What the two formats of rings share: buffer ids, the order of IN_ORDER, indirect tables. */
#ifndef DRIVER_RING_INT_H
#define DRIVER_RING_INT_H

#include <string.h>

#include "base/le.h"
#include "driver/ring.h"

#define DESC_F_NEXT	0x1
#define DESC_F_WRITE	0x2
#define DESC_F_INDIRECT 0x4

extern const struct dring_ops dring_split_ops, dring_packed_ops;

/* Allocate the three areas. */
int dring_split_init(struct dring *r, struct dmem *mem, struct err *err);
int dring_packed_init(struct dring *r, struct dmem *mem, struct err *err);

/* Errors leave the fast path. */
int dring_bad(struct dring *r, const char *fmt, ...) _printf_(2, 3) __attribute__((cold, noinline));
/* Why an answer cannot be; -EPROTO. */
int dring_bad_id(struct dring *r, uint32_t id) __attribute__((cold, noinline));
int dring_bad_len(struct dring *r, uint32_t id, uint32_t len) __attribute__((cold, noinline));
int dring_bad_batch(struct dring *r) __attribute__((cold, noinline));

static inline uint32_t dring_wrap(const struct dring *r, uint32_t i)
{
	return i >= r->cfg.num ? i - r->cfg.num : i;
}

static inline bool dring_is_outstanding(const struct dring *r, uint32_t id)
{
	return id < r->cfg.num && r->chains[id].num_descs;
}

/* 16 bytes of a descriptor: its address, and length, flags and the rest in @word. */
static inline void dring_put(void *at, uint64_t addr, uint64_t word)
{
	const le64 desc[2] = { le64_make(addr), le64_make(word) };

	memcpy(at, desc, sizeof(desc));
}

/* The chain @id, whose buffers hold @writable_bytes for the device, is its now. */
static inline void dring_track(
	struct dring *r, uint16_t id, uint32_t token, uint32_t writable_bytes, uint16_t num_descs)
{
	r->chains[id] = (struct dring_chain){ token, writable_bytes, num_descs };
	r->num_outstanding++;
	r->num_free -= num_descs;
	if (r->cfg.in_order) {
		r->fifo[r->fifo_tail] = id;
		r->fifo_tail = dring_wrap(r, r->fifo_tail + 1);
	}
}

/* The chain @id is ours again; its ring entries with it, not the id itself. */
static inline void dring_untrack(struct dring *r, struct dring_chain *c, uint32_t *ret_token)
{
	*ret_token = c->token;
	r->num_free += c->num_descs;
	c->num_descs = 0;
	r->num_outstanding--;
}

/* The oldest chain of a batch that is answered; r->in_batch. */
static inline uint16_t dring_take_oldest(struct dring *r)
{
	uint16_t id = r->fifo[r->fifo_head];

	r->fifo_head = dring_wrap(r, r->fifo_head + 1);
	return id;
}

#endif
