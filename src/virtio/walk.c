/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A chain being put together, descriptor by descriptor, whatever the ring's format. Refused, with
 * the queue broken: a readable buffer after a writable one, a buffer outside memory, a chain of
 * more than 4 GiB or of too many descriptors; an indirect table that is empty, ragged or outside
 * memory. A buffer of length 0 is legal and its address is never looked at.
 */
#include "virtio/walk.h"

#include <errno.h>
#include <inttypes.h>
#include <string.h>

#include "virtio/vring.h"

int walk_map_area(struct vq *vq, const char *name, uint64_t gpa, uint64_t bytes, uint64_t align,
	void **ret, struct err *err)
{
	if (gpa % align)
		return err_set(err, -EINVAL,
			"queue %u: the %s area at 0x%" PRIx64 " is not aligned to %" PRIu64
			" bytes",
			vq->index, name, gpa, align);
	*ret = gmem_ptr(vq->mem, gpa, bytes);
	if (!*ret)
		return err_set(err, -EFAULT,
			"queue %u: the %s area at 0x%" PRIx64 " of %" PRIu64
			" bytes lies outside guest memory",
			vq->index, name, gpa, bytes);
	/* A region may begin anywhere in its file. */
	if ((uintptr_t)*ret % align)
		return err_set(err, -EINVAL,
			"queue %u: the %s area at 0x%" PRIx64
			" lies in its file at a place that is "
			"not aligned to %" PRIu64 " bytes",
			vq->index, name, gpa, align);
	return 0;
}

bool walk_come_near(struct vq *vq, uint64_t gpa)
{
	const struct gmem_region *region = gmem_find(vq->mem, gpa);

	if (!region)
		return false;
	vq->near.end_gpa = region->desc.gpa + region->desc.size;
	vq->near.bytes = region->desc.size;
	vq->near.end_host = region->host + region->desc.size;
	return true;
}

void walk_begin(struct walk *w, struct vq *vq, uint16_t head)
{
	*w = (struct walk){ .vq = vq, .max_iov = VQ_INLINE_IOVS };
	w->c = vq_chain_get(vq, head);
	w->iov = w->c->iov_block;
}

int walk_bad(struct walk *w, const char *what, uint32_t index)
{
	vq_break(w->vq, "head %u: descriptor %u %s", w->c->head, index, what);
	return -EPROTO;
}

/* Adds a buffer's pieces; 0, -EAGAIN where a large block must be waited for, or -EPROTO. */
static int add_buffer(struct walk *w, const struct walk_desc *d, uint32_t index)
{
	int n;

	if (!d->len)
		return 0;
	n = gmem_iov(w->vq->mem, d->addr, d->len, w->iov + w->num_iov, w->max_iov - w->num_iov);
	if (n == -ENOBUFS && w->max_iov == VQ_INLINE_IOVS) {
		struct iovec *large = vq_chain_grow(w->vq, w->c, w->num_iov);

		if (!large)
			return -EAGAIN;
		w->iov = large;
		w->max_iov = vq_large_iovs(w->vq);
		n = gmem_iov(
			w->vq->mem, d->addr, d->len, w->iov + w->num_iov, w->max_iov - w->num_iov);
	}
	if (n < 0) {
		vq_break(w->vq, "head %u: descriptor %u at 0x%" PRIx64 " of %u bytes %s",
			w->c->head, index, d->addr, d->len,
			n == -EFAULT ? "lies outside guest memory" : "is in too many pieces");
		return -EPROTO;
	}
	w->num_iov += n;
	return 0;
}

int walk_take(struct walk *w, const struct walk_desc *d, uint32_t index)
{
	if (d->flags & VRING_DESC_F_WRITE) {
		if (!w->writing)
			w->num_readable = w->num_iov;
		w->writing = true;
		w->writable_bytes += d->len;
	} else {
		if (w->writing)
			return walk_bad(w, "is readable and follows a writable one", index);
		w->readable_bytes += d->len;
	}
	if (w->readable_bytes > UINT32_MAX || w->writable_bytes > UINT32_MAX)
		return walk_bad(w, "makes the chain longer than 4 GiB", index);
	if (++w->num_descs > vq_chain_limit(w->vq))
		return walk_bad(w, "makes the chain longer than its limit: a loop?", index);
	return add_buffer(w, d, index);
}

int walk_table(
	struct walk *w, const struct walk_desc *outer, uint32_t outer_index, struct walk_table *ret)
{
	ret->gpa = outer->addr;
	ret->num = outer->len / sizeof(struct vring_desc);
	if (!ret->num || outer->len % sizeof(struct vring_desc))
		return walk_bad(w,
			"holds an indirect table whose length is not a multiple of 16 above 0",
			outer_index);
	ret->host = gmem_ptr(w->vq->mem, outer->addr, outer->len);
	if (!ret->host && !gmem_covers(w->vq->mem, outer->addr, outer->len))
		return walk_bad(w, "holds an indirect table outside guest memory", outer_index);
	return 0;
}

void walk_table_load(const struct walk *w, const struct walk_table *table, uint32_t i, void *ret)
{
	const size_t each = sizeof(struct vring_desc);

	if (table->host)
		walk_load(table->host, i, ret);
	else if (!gmem_read(w->vq->mem, table->gpa + (uint64_t)i * each, ret, each))
		memset(ret, 0, each);
}

static void finish(struct walk *w)
{
	struct chain *c = w->c;

	if (!w->writing)
		w->num_readable = w->num_iov;
	c->readable = (struct chain_cursor){ w->iov, w->num_readable, w->readable_bytes };
	c->writable = (struct chain_cursor){ w->iov + w->num_readable, w->num_iov - w->num_readable,
		w->writable_bytes };
	atomic_store_explicit(
		&c->readable_bytes, (uint32_t)w->readable_bytes, memory_order_relaxed);
	atomic_store_explicit(
		&c->writable_bytes, (uint32_t)w->writable_bytes, memory_order_relaxed);
	c->num_loaded = w->num_descs;
}

int walk_end(struct walk *w, int r, struct chain **ret)
{
	if (!r) {
		finish(w);
		*ret = w->c;
		return 1;
	}
	vq_chain_put(w->vq, w->c);
	if (r != -EAGAIN)
		return r;
	vq_wait_large(w->vq);
	return 0;
}
