/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * What ring_bench compares the product's walk with: the same loads, the same translation and the
 * same stores, with every word of the driver's believed. Never anything but a yardstick.
 */
#include "tests/bench/ring_bench.h"
#include "virtio/vring.h"
#include "virtio/walk.h"

static uint16_t load16(const le16 *p)
{
	return le16toh(__atomic_load_n(&p->raw, __ATOMIC_RELAXED));
}

static inline void *translate(struct vq *vq, uint64_t gpa)
{
	uint64_t room = vq->near.end_gpa - gpa;

	/* The wrong region is not an error: this is part of finding the right one. */
	if (unlikely(room > vq->near.bytes)) {
		walk_come_near(vq, gpa);
		room = vq->near.end_gpa - gpa;
	}
	return vq->near.end_host - room;
}

static int unchecked_peek(struct vq *vq, struct chain **ret)
{
	const struct vring_avail *avail = vq->split.avail;
	const volatile struct walk_fields *table = vq->split.desc, *d;
	struct chain_cursor readable = { 0 }, writable = { 0 };
	struct iovec *iov;
	struct chain *c;
	uint16_t i, flags;

	if (vq->last_avail == vq->shadow_avail) {
		vq->shadow_avail = le16toh(__atomic_load_n(&avail->idx.raw, __ATOMIC_ACQUIRE));
		if (vq->last_avail == vq->shadow_avail)
			return 0;
	}
	i = load16(&avail->ring[vq->last_avail & vq->split.mask]);
	c = vq_chain_get(vq, i);
	iov = c->iov_block;
	readable.iov = iov;
	d = table + i;
	if (le16toh(d->flags) & VRING_DESC_F_INDIRECT)
		d = table = translate(vq, le64toh(d->addr));
	do {
		iov->iov_base = translate(vq, le64toh(d->addr));
		iov->iov_len = le32toh(d->len);
		flags = le16toh(d->flags);
		if (flags & VRING_DESC_F_WRITE) {
			writable.bytes += iov->iov_len;
		} else {
			readable.bytes += iov->iov_len;
			readable.num_iov++;
		}
		iov++;
		d = table + le16toh(d->next);
	} while (flags & VRING_DESC_F_NEXT);
	writable.iov = readable.iov + readable.num_iov;
	writable.num_iov = (int)(iov - writable.iov);
	c->readable = readable;
	c->writable = writable;
	atomic_store_explicit(&c->readable_bytes, (uint32_t)readable.bytes, memory_order_relaxed);
	atomic_store_explicit(&c->writable_bytes, (uint32_t)writable.bytes, memory_order_relaxed);
	c->num_loaded = (uint32_t)(iov - readable.iov);
	*ret = c;
	return 1;
}

const struct vq_ops *bench_unchecked_split(void)
{
	static struct vq_ops ops;

	ops = vq_split_ops;
	ops.peek = unchecked_peek;
	return &ops;
}

/* A packed descriptor, wherever it lies. */
struct packed_fields {
	uint64_t addr;
	uint32_t len;
	uint16_t id, flags;
} __attribute__((packed, may_alias));

static int unchecked_packed_peek(struct vq *vq, struct chain **ret)
{
	uint32_t at = vq->last_avail & VRING_PACKED_POS, left = UINT32_MAX, n = 1;
	const volatile struct packed_fields *table = vq->packed.desc, *d = table + at;
	const struct vring_packed_desc *first =
		(const struct vring_packed_desc *)vq->packed.desc + at;
	uint16_t flags = le16toh(__atomic_load_n(&first->flags.raw, __ATOMIC_ACQUIRE)), id;
	struct chain_cursor readable = { 0 }, writable = { 0 };
	struct iovec *iov;
	struct chain *c;

	if (!vring_packed_is_avail(flags, vq->last_avail))
		return 0;
	c = vq_chain_get(vq, (uint16_t)at);
	iov = c->iov_block;
	readable.iov = iov;
	id = le16toh(d->id);
	if (flags & VRING_DESC_F_INDIRECT) {
		left = le32toh(d->len) / (uint32_t)sizeof(*d);
		d = translate(vq, le64toh(d->addr));
	}
	for (;;) {
		iov->iov_base = translate(vq, le64toh(d->addr));
		iov->iov_len = le32toh(d->len);
		flags = le16toh(d->flags);
		if (flags & VRING_DESC_F_WRITE) {
			writable.bytes += iov->iov_len;
		} else {
			readable.bytes += iov->iov_len;
			readable.num_iov++;
		}
		iov++;
		if (left != UINT32_MAX) {
			d++;
			if (!--left)
				break;
			continue;
		}
		id = le16toh(d->id);
		if (!(flags & VRING_DESC_F_NEXT))
			break;
		n++;
		at = at + 1 == vq->num ? 0 : at + 1;
		d = table + at;
	}
	c->head = id;
	c->num_ring_descs = (uint16_t)n;
	writable.iov = readable.iov + readable.num_iov;
	writable.num_iov = (int)(iov - writable.iov);
	c->readable = readable;
	c->writable = writable;
	atomic_store_explicit(&c->readable_bytes, (uint32_t)readable.bytes, memory_order_relaxed);
	atomic_store_explicit(&c->writable_bytes, (uint32_t)writable.bytes, memory_order_relaxed);
	c->num_loaded = (uint32_t)(iov - readable.iov);
	*ret = c;
	return 1;
}

const struct vq_ops *bench_unchecked_packed(void)
{
	static struct vq_ops ops;

	ops = vq_packed_ops;
	ops.peek = unchecked_packed_peek;
	return &ops;
}
