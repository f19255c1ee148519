/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The descriptors of one chain, by peeking. A loop is found by counting: no chain has more parts
 * than its table, and none more than the device itself accepts.
 */
#include "inspect/chain_walk.h"

#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>

#include "base/alloc.h"
#include "virtio/vq.h"
#include "virtio/vring.h"

const char *walk_peek_error(int r)
{
	return r == -EFAULT ? "lies outside guest memory"
			    : "cannot be read: the memory behind it is gone";
}

void walk_chain_free(struct walk_chain *chain)
{
	free(chain->descs);
	*chain = (struct walk_chain){ 0 };
}

static int peek_desc(const struct walk_ring *ring, uint64_t gpa, struct walk_desc *ret)
{
	struct vring_desc raw;
	int r = gmem_peek(ring->mem, gpa, &raw, sizeof(raw));

	if (r < 0)
		return r;
	ret->addr = le64_get(raw.addr);
	ret->len = le32_get(raw.len);
	ret->flags = le16_get(raw.flags);
	ret->next = le16_get(raw.next);
	/* The formats' descriptors differ in this alone. */
	if (ring->packed) {
		ret->flags = le16_get(raw.next);
		ret->next = le16_get(raw.flags);
	}
	return 0;
}

static int add_desc(const struct walk_ring *ring, struct walk_chain *chain,
	const struct walk_desc *d, uint32_t index, struct err *err)
{
	size_t limit = MAX(ring->num, (uint32_t)VQ_CHAIN_DESCS_MAX);

	if (chain->num == limit)
		return err_set(err, -EPROTO,
			"Queue %u: descriptor %u makes its chain longer than %zu descriptors",
			ring->queue, index, limit);
	if (chain->num == chain->room) {
		chain->room = chain->room ? chain->room * 2 : 8;
		chain->descs = xreallocarray(chain->descs, chain->room, sizeof(*d));
	}
	chain->descs[chain->num++] = *d;
	return 0;
}

/* What the outer descriptor itself has wrong. */
static int check_table(const struct walk_ring *ring, const struct walk_desc *outer, uint32_t index,
	struct err *err)
{
	if (outer->flags & VRING_DESC_F_NEXT)
		return err_set(err, -EPROTO,
			"Queue %u: descriptor %u has both INDIRECT and NEXT set", ring->queue,
			index);
	if (!outer->len || outer->len % sizeof(struct vring_desc))
		return err_set(err, -EPROTO,
			"Queue %u: descriptor %u holds an indirect table of %u bytes, not a "
			"multiple of 16 above 0",
			ring->queue, index, outer->len);
	if (!range_inside(outer->addr, outer->len, UINT64_MAX))
		return err_set(err, -EPROTO,
			"Queue %u: descriptor %u holds an indirect table at 0x%" PRIx64
			" of %u bytes, which wraps around",
			ring->queue, index, outer->addr, outer->len);
	return 0;
}

static int walk_table(const struct walk_ring *ring, const struct walk_desc *outer,
	uint32_t outer_index, struct walk_chain *chain, struct err *err)
{
	uint32_t n = outer->len / sizeof(struct vring_desc), i = 0, steps = 0;
	struct walk_desc d;
	int r = check_table(ring, outer, outer_index, err);

	while (!r) {
		if (steps++ == n)
			return err_set(err, -ELOOP,
				"Queue %u: the indirect table of descriptor %u has a loop at its "
				"entry %u",
				ring->queue, outer_index, i);
		r = peek_desc(ring, outer->addr + (uint64_t)i * sizeof(struct vring_desc), &d);
		if (r < 0)
			return err_set(err, r,
				"Cannot map indirect buffer: queue %u, entry %u of the table of "
				"descriptor %u at 0x%" PRIx64 " of %u bytes %s",
				ring->queue, i, outer_index, outer->addr, outer->len,
				walk_peek_error(r));
		if (d.flags & VRING_DESC_F_INDIRECT)
			return err_set(err, -EPROTO,
				"Queue %u: entry %u of the indirect table of descriptor %u is "
				"indirect itself",
				ring->queue, i, outer_index);
		r = add_desc(ring, chain, &d, i, err);
		if (r < 0 || !(d.flags & VRING_DESC_F_NEXT))
			return r;
		if (d.next >= n)
			return err_set(err, -EPROTO,
				"Queue %u: entry %u of the indirect table of descriptor %u names "
				"entry %u as next, beyond its %u entries",
				ring->queue, i, outer_index, d.next, n);
		i = d.next;
	}
	return r;
}

static int walk_ring(const struct walk_ring *ring, uint16_t head, bool follow,
	struct walk_chain *chain, struct err *err)
{
	uint32_t i = head, steps = 0;

	for (;;) {
		struct walk_desc d;
		int r;

		if (steps++ == ring->num)
			return err_set(err, -ELOOP,
				"Queue %u: the chain of head %u has a loop at descriptor %u",
				ring->queue, head, i);
		r = peek_desc(ring, ring->desc + (uint64_t)i * sizeof(struct vring_desc), &d);
		if (r < 0)
			return err_set(err, r,
				"Cannot map descriptor ring: queue %u, descriptor %u of the area "
				"at 0x%" PRIx64 " %s",
				ring->queue, i, ring->desc, walk_peek_error(r));
		if ((d.flags & VRING_DESC_F_INDIRECT) && follow)
			return walk_table(ring, &d, i, chain, err);
		r = add_desc(ring, chain, &d, i, err);
		if (r < 0 || (d.flags & VRING_DESC_F_INDIRECT) || !(d.flags & VRING_DESC_F_NEXT))
			return r;
		if (d.next >= ring->num)
			return err_set(err, -EPROTO,
				"Queue %u: descriptor %u names descriptor %u as next, beyond the "
				"%u of the ring",
				ring->queue, i, d.next, ring->num);
		i = d.next;
	}
}

int walk_chain(const struct walk_ring *ring, uint16_t head, bool follow, struct walk_chain *ret,
	struct err *err)
{
	int r;

	*ret = (struct walk_chain){ 0 };
	if (head >= ring->num)
		return err_set(err, -EPROTO,
			"Queue %u: the available ring names descriptor %u as a head, beyond the %u "
			"of the ring",
			ring->queue, head, ring->num);
	if (!range_inside(ring->desc, (uint64_t)ring->num * sizeof(struct vring_desc), UINT64_MAX))
		return err_set(err, -EFAULT,
			"Cannot map descriptor ring: queue %u, the area at 0x%" PRIx64
			" of %u descriptors wraps around",
			ring->queue, ring->desc, ring->num);
	r = walk_ring(ring, head, follow, ret, err);
	if (r < 0)
		walk_chain_free(ret);
	return r;
}

/* All entries; of their flags only WRITE means something, and nothing is wrong with the others. */
static int walk_packed_table(const struct walk_ring *ring, const struct walk_desc *outer,
	uint32_t outer_index, struct walk_chain *chain, struct err *err)
{
	uint32_t n = outer->len / sizeof(struct vring_packed_desc), i;
	int r = check_table(ring, outer, outer_index, err);

	for (i = 0; !r && i < n; i++) {
		struct walk_desc d;

		r = peek_desc(
			ring, outer->addr + (uint64_t)i * sizeof(struct vring_packed_desc), &d);
		if (r < 0)
			return err_set(err, r,
				"Cannot map indirect buffer: queue %u, entry %u of the table of "
				"descriptor %u at 0x%" PRIx64 " of %u bytes %s",
				ring->queue, i, outer_index, outer->addr, outer->len,
				walk_peek_error(r));
		r = add_desc(ring, chain, &d, i, err);
	}
	return r;
}

int walk_packed_desc(const struct walk_ring *ring, const struct walk_desc *desc, uint32_t index,
	bool follow, struct walk_chain *chain, struct err *err)
{
	if ((desc->flags & VRING_DESC_F_INDIRECT) && follow)
		return walk_packed_table(ring, desc, index, chain, err);
	return add_desc(ring, chain, desc, index, err);
}

static int walk_packed_ring(const struct walk_ring *ring, uint32_t pos, uint32_t max, bool follow,
	struct walk_chain *chain, uint16_t *ret_id, struct err *err)
{
	struct walk_desc d;
	uint32_t n = 0;
	int r;

	do {
		if (n == max)
			return err_set(err, -EPROTO,
				"Queue %u: the chain goes on at descriptor %u, after all %u that "
				"the driver may have made available",
				ring->queue, pos, max);
		r = peek_desc(
			ring, ring->desc + (uint64_t)pos * sizeof(struct vring_packed_desc), &d);
		if (r < 0)
			return err_set(err, r,
				"Cannot map descriptor ring: queue %u, descriptor %u of the area "
				"at 0x%" PRIx64 " %s",
				ring->queue, pos, ring->desc, walk_peek_error(r));
		if (n && (d.flags & VRING_DESC_F_INDIRECT))
			return err_set(err, -EPROTO,
				"Queue %u: descriptor %u is INDIRECT within a list", ring->queue,
				pos);
		*ret_id = d.next;
		r = walk_packed_desc(ring, &d, pos, follow, chain, err);
		n++;
		pos = pos + 1 < ring->num ? pos + 1 : 0;
	} while (!r && (d.flags & VRING_DESC_F_NEXT) && !(d.flags & VRING_DESC_F_INDIRECT));
	return r;
}

int walk_packed_chain(const struct walk_ring *ring, uint16_t pos, uint32_t max, bool follow,
	struct walk_chain *ret, uint16_t *ret_id, struct err *err)
{
	int r;

	*ret = (struct walk_chain){ 0 };
	if (!range_inside(
		    ring->desc, (uint64_t)ring->num * sizeof(struct vring_packed_desc), UINT64_MAX))
		return err_set(err, -EFAULT,
			"Cannot map descriptor ring: queue %u, the area at 0x%" PRIx64
			" of %u descriptors wraps around",
			ring->queue, ring->desc, ring->num);
	r = walk_packed_ring(ring, pos, max, follow, ret, ret_id, err);
	if (r < 0)
		walk_chain_free(ret);
	return r;
}
