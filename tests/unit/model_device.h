/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A small device for the driver's rings, both formats, written from the specification and sharing
 * no code with anybody. It does what it is told, also what no device should.
 */
#ifndef TESTS_UNIT_MODEL_DEVICE_H
#define TESTS_UNIT_MODEL_DEVICE_H

#include <assert.h>
#include <string.h>

#include "base/le.h"
#include "driver/ring.h"

#define MODEL_BUFS 8

struct model_chain {
	uint16_t id;
	unsigned int num_bufs, num_out, num_descs;
	uint64_t addr[MODEL_BUFS];
	uint32_t len[MODEL_BUFS];
	uint64_t writable;
};

struct model {
	struct dring *r;
	struct dmem *m;
	/* split: free-running; packed: positions */
	uint16_t avail, used, signalled;
	bool avail_wrap, used_wrap;
};

static inline void model_init(struct model *d, struct dring *r, struct dmem *m)
{
	*d = (struct model){ .r = r, .m = m, .avail_wrap = true, .used_wrap = true };
}

static inline uint16_t model_get16(const void *p)
{
	return le16_read(p);
}

static inline void model_put16(void *p, uint16_t v)
{
	le16 le = le16_make(v);

	memcpy(p, &le, sizeof(le));
}

static inline void model_put32(void *p, uint32_t v)
{
	le32 le = le32_make(v);

	memcpy(p, &le, sizeof(le));
}

static inline uint8_t *model_ptr(const struct model *d, uint64_t addr, uint64_t len)
{
	for (unsigned int i = 0; i < d->m->num_slots; i++) {
		uint64_t start = d->m->slots[i].guest_addr;

		if (addr >= start && range_inside(addr - start, len, d->m->slot_bytes))
			return d->m->base + i * d->m->slot_bytes + (addr - start);
	}
	assert(!"an address in memory");
	return NULL;
}

static inline void model_add_buf(struct model_chain *c, uint64_t addr, uint32_t len, bool writable)
{
	assert(c->num_bufs < MODEL_BUFS);
	assert(writable || c->num_out == c->num_bufs);
	c->addr[c->num_bufs] = addr;
	c->len[c->num_bufs++] = len;
	if (writable)
		c->writable += len;
	else
		c->num_out++;
}

/* --- split --- */

static inline void model_split_walk(
	struct model *d, uint8_t *table, uint32_t num, uint16_t i, struct model_chain *c)
{
	for (;;) {
		uint8_t *desc = table + i * 16u;
		uint16_t flags = model_get16(desc + 12);

		assert(i < num);
		c->num_descs++;
		if (flags & 4) {
			uint32_t len = le32_read(desc + 8);

			assert(!(flags & 1) && len % 16 == 0);
			model_split_walk(d, model_ptr(d, le64_read(desc), len), len / 16, 0, c);
			c->num_descs = 1;
			return;
		}
		model_add_buf(c, le64_read(desc), le32_read(desc + 8), flags & 2);
		if (!(flags & 1))
			return;
		i = model_get16(desc + 14);
	}
}

static inline bool model_split_pop(struct model *d, struct model_chain *c)
{
	uint8_t *avail = d->r->driver;

	if (model_get16(avail + 2) == d->avail)
		return false;
	c->id = model_get16(avail + 4 + d->avail % d->r->cfg.num * 2);
	d->avail++;
	model_split_walk(d, d->r->desc, d->r->cfg.num, c->id, c);
	return true;
}

static inline void model_split_push(struct model *d, uint32_t id, uint32_t len, uint16_t skip)
{
	uint8_t *used = d->r->device, *elem = used + 4 + d->used % d->r->cfg.num * 8;

	model_put32(elem, id);
	model_put32(elem + 4, len);
	d->used = (uint16_t)(d->used + skip);
	model_put16(used + 2, d->used);
}

/* --- packed --- */

static inline bool model_packed_pop(struct model *d, struct model_chain *c)
{
	uint8_t *ring = d->r->desc;
	bool more = true;

	for (bool first = true; more; first = false) {
		uint8_t *desc = ring + d->avail * 16u;
		uint16_t flags = model_get16(desc + 14);
		bool is_avail = flags >> 7 & 1, is_used = flags >> 15;

		if (is_avail != d->avail_wrap || is_used == d->avail_wrap) {
			assert(first);
			return false;
		}
		more = flags & 1;
		c->id = model_get16(desc + 12);
		c->num_descs++;
		if (flags & 4) {
			uint32_t len = le32_read(desc + 8);
			uint8_t *table = model_ptr(d, le64_read(desc), len);

			assert(first && !more);
			for (uint32_t i = 0; i < len / 16; i++)
				model_add_buf(c, le64_read(table + i * 16),
					le32_read(table + i * 16 + 8),
					model_get16(table + i * 16 + 14) & 2);
		} else {
			model_add_buf(c, le64_read(desc), le32_read(desc + 8), flags & 2);
		}
		if (++d->avail == d->r->cfg.num) {
			d->avail = 0;
			d->avail_wrap = !d->avail_wrap;
		}
	}
	return true;
}

static inline void model_packed_push(struct model *d, uint32_t id, uint32_t len, uint16_t skip)
{
	uint8_t *desc = (uint8_t *)d->r->desc + d->used * 16u;
	uint16_t flags = d->used_wrap ? 0x8080 : 0;

	model_put16(desc + 12, (uint16_t)id);
	model_put32(desc + 8, len);
	model_put16(desc + 14, (uint16_t)(flags | (len ? 2 : 0)));
	d->used = (uint16_t)(d->used + skip);
	if (d->used >= d->r->cfg.num) {
		d->used = (uint16_t)(d->used - d->r->cfg.num);
		d->used_wrap = !d->used_wrap;
	}
}

/* --- both --- */

static inline bool model_pop(struct model *d, struct model_chain *ret)
{
	memset(ret, 0, sizeof(*ret));
	return d->r->cfg.packed ? model_packed_pop(d, ret) : model_split_pop(d, ret);
}

/*
 * One used entry, for @chains chains of @descs ring entries in all (more than one chain: a batch of
 * IN_ORDER).
 */
static inline void model_push(
	struct model *d, uint32_t id, uint32_t len, unsigned int chains, unsigned int descs)
{
	if (d->r->cfg.packed)
		model_packed_push(d, id, len, (uint16_t)descs);
	else
		model_split_push(d, id, len, (uint16_t)chains);
}

/* Asks for a kick when the @after-th entry from here on comes (1: the next), or for none. */
static inline void model_ask_kick(struct model *d, unsigned int after)
{
	uint8_t *device = d->r->device;
	uint32_t num = d->r->cfg.num, pos = d->avail + (after ? after - 1 : 0);
	bool wrap = d->avail_wrap;

	if (!d->r->cfg.packed) {
		if (d->r->cfg.event_idx)
			model_put16(device + 4 + num * 8, (uint16_t)(d->avail + after - 1));
		else
			model_put16(device, after ? 0 : 1);
		return;
	}
	if (pos >= num) {
		pos -= num;
		wrap = !wrap;
	}
	model_put16(device, (uint16_t)(pos | wrap << 15));
	model_put16(device + 2, !after ? 1 : d->r->cfg.event_idx ? 2 : 0);
}

/* Does the driver want a call for what was used between position @before and now? */
static inline bool model_must_call(struct model *d, uint16_t before, bool before_wrap)
{
	uint8_t *driver = d->r->driver;
	uint16_t num = d->r->cfg.num, event, off, flags;

	if (!d->r->cfg.packed) {
		if (!d->r->cfg.event_idx)
			return !(model_get16(driver) & 1);
		event = model_get16(driver + 4 + num * 2);
		return (uint16_t)(d->used - event - 1) < (uint16_t)(d->used - before);
	}
	off = model_get16(driver);
	flags = model_get16(driver + 2) & 3;
	if (flags != 2)
		return flags == 0;
	/* On a line that grows: the old lap begins at 0. */
	{
		uint32_t now = d->used + (d->used_wrap != before_wrap ? num : 0u);
		uint32_t at = (off & 0x7fffu) + ((off >> 15) != before_wrap ? num : 0u);

		return at >= before && at < now;
	}
}

#endif
