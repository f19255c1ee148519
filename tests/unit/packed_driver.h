/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The driver's side of a packed ring on the memory of vq_fixture.h: a position and a wrap counter
 * for what it offers, another for what it takes back. Written by hand, with rounds counted in full:
 * place p of round r is the number r * num + p.
 */
#ifndef TESTS_PACKED_DRIVER_H
#define TESTS_PACKED_DRIVER_H

#include "vq_fixture.h"

#define PACKED	(1ull << VIRTIO_F_RING_PACKED)
#define P_AVAIL VRING_PACKED_DESC_F_AVAIL
#define P_USED	VRING_PACKED_DESC_F_USED

struct pdriver {
	struct fix *f;
	uint32_t num;
	uint64_t offered, taken; /* places, since round 0; the wrap counter of even rounds is 1 */
	bool is_bad; /* an answer's id was not offered */
	uint16_t ndescs[VQ_SIZE_MAX]; /* by id: places that its chain takes; 0: not offered */
};

struct pdesc {
	uint64_t addr;
	uint32_t len;
	uint16_t flags;
};

static inline void pd_init(struct pdriver *d, struct fix *f)
{
	memset(d, 0, sizeof(*d));
	d->f = f;
	d->num = f->num;
}

static inline struct vring_packed_desc *pd_at(struct pdriver *d, uint64_t place)
{
	return (struct vring_packed_desc *)ram(d->f, DESC_AT) + place % d->num;
}

static inline bool pd_wrap(struct pdriver *d, uint64_t place)
{
	return place / d->num % 2 == 0;
}

static inline uint16_t pd_off_wrap(struct pdriver *d, uint64_t place)
{
	return (uint16_t)(place % d->num | (pd_wrap(d, place) ? 0x8000u : 0));
}

/* Everything of a descriptor but its flags; returns those. */
static inline uint16_t pd_write(
	struct pdriver *d, uint64_t place, const struct pdesc *from, uint16_t id)
{
	struct vring_packed_desc *to = pd_at(d, place);

	to->addr = le64_make(from->addr);
	to->len = le32_make(from->len);
	to->id = le16_make(id);
	return (uint16_t)(from->flags | (pd_wrap(d, place) ? P_AVAIL : P_USED));
}

static inline void pd_show(struct pdriver *d, uint64_t place, uint16_t flags)
{
	__atomic_store_n(&pd_at(d, place)->flags.raw, htole16(flags), __ATOMIC_RELEASE);
}

/* A chain of @n, the NEXT flags are added; ids but the last are not looked at. No kick. */
static inline void pd_offer(struct pdriver *d, uint16_t id, const struct pdesc *descs, uint32_t n)
{
	uint16_t head = 0;

	for (uint32_t i = 0; i < n; i++) {
		struct pdesc one = descs[i];
		uint16_t flags;

		one.flags |= i + 1 < n ? NEXT : 0;
		flags = pd_write(d, d->offered + i, &one, i + 1 < n ? 0xeeee : id);
		if (i)
			pd_show(d, d->offered + i, flags);
		else
			head = flags;
	}
	pd_show(d, d->offered, head);
	d->offered += n;
	d->ndescs[id] = (uint16_t)n;
}

static inline void pd_offer_one(struct pdriver *d, uint16_t id, uint16_t flags)
{
	struct pdesc one = { DATA_AT + (id % 1024u) * 64, 64, flags };

	pd_offer(d, id, &one, 1);
}

static inline bool pd_is_used(struct pdriver *d, uint64_t place)
{
	uint16_t flags = le16toh(__atomic_load_n(&pd_at(d, place)->flags.raw, __ATOMIC_ACQUIRE));
	bool avail = flags & P_AVAIL, used = flags & P_USED;

	return avail == used && used == pd_wrap(d, place);
}

/* The next answer; false where there is none. */
static inline bool pd_take(struct pdriver *d, uint16_t *id, uint32_t *len)
{
	struct vring_packed_desc *at = pd_at(d, d->taken);

	if (!pd_is_used(d, d->taken))
		return false;
	*id = le16_get(at->id);
	*len = le32_get(at->len);
	if (*id >= d->num || !d->ndescs[*id]) {
		d->is_bad = true;
		return false;
	}
	d->taken += d->ndescs[*id];
	d->ndescs[*id] = 0;
	return true;
}

static inline struct vring_packed_event *pd_driver_event(struct pdriver *d)
{
	return ram(d->f, AVAIL_AT);
}

static inline struct vring_packed_event *pd_device_event(struct pdriver *d)
{
	return ram(d->f, USED_AT);
}

static inline void pd_want(struct pdriver *d, uint16_t flags, uint16_t off_wrap)
{
	pd_driver_event(d)->off_wrap = le16_make(off_wrap);
	__atomic_thread_fence(__ATOMIC_RELEASE);
	pd_driver_event(d)->flags = le16_make(flags);
}

#endif
