/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Cursors over a validated chain. Every function checks that the bytes are there before it moves
 * any, so a device cannot go past what the driver gave.
 */
#include "virtio/chain.h"

#include <assert.h>
#include <string.h>

#include "virtio/vq_dirty.h"

static void cursor_advance(struct chain_cursor *cur, size_t len)
{
	struct iovec *iov = cur->iov;

	cur->bytes -= len;
	if (len < iov->iov_len) {
		iov->iov_base = (char *)iov->iov_base + len;
		iov->iov_len -= len;
		return;
	}
	cur->iov++;
	cur->num_iov--;
}

static void put_snap(struct chain *c, size_t i, uint64_t word)
{
	atomic_store_explicit(&c->snap[i], word, memory_order_relaxed);
}

/* What follows earlier bytes, wherever they ended. */
static void add_to_snapshot(struct chain *c, size_t have, const void *bytes, size_t len)
{
	uint8_t snap[CHAIN_SNAP_BYTES];
	uint64_t word;
	size_t i;

	for (i = 0; i < CHAIN_SNAP_BYTES / 8; i++) {
		word = atomic_load_explicit(&c->snap[i], memory_order_relaxed);
		memcpy(snap + i * 8, &word, 8);
	}
	memcpy(snap + have, bytes, len);
	for (i = 0; i < CHAIN_SNAP_BYTES / 8; i++) {
		memcpy(&word, snap + i * 8, 8);
		put_snap(c, i, word);
	}
}

/* What inspection shows of a request is what the device saw: the same copy. */
static inline void keep_snapshot(struct chain *c, const void *bytes, size_t len)
{
	size_t have = atomic_load_explicit(&c->num_snap, memory_order_relaxed), i;
	uint64_t word;

	if (c->phase == CHAIN_HELD || have == CHAIN_SNAP_BYTES)
		return;
	len = MIN(len, CHAIN_SNAP_BYTES - have);
	if (have % 8 || len % 8) {
		add_to_snapshot(c, have, bytes, len);
	} else {
		for (i = 0; i < len / 8; i++) {
			memcpy(&word, (const char *)bytes + i * 8, 8);
			put_snap(c, have / 8 + i, word);
		}
	}
	atomic_store_explicit(&c->num_snap, (uint8_t)(have + len), memory_order_relaxed);
}

bool chain_read_pieces(struct chain *c, void *dst, size_t len)
{
	struct chain_cursor *cur = &c->readable;
	uint8_t *at = dst;
	size_t left = len;

	if (cur->bytes < len)
		return false;
	while (left) {
		size_t n = MIN(left, cur->iov->iov_len);

		memcpy(at, cur->iov->iov_base, n);
		cursor_advance(cur, n);
		at += n;
		left -= n;
	}
	__asm__ volatile("" : : "r"(dst) : "memory");
	return true;
}

bool chain_take(struct chain *c, void *dst, size_t len)
{
	if (!chain_read(c, dst, len))
		return false;
	keep_snapshot(c, dst, len);
	return true;
}

bool chain_skip(struct chain *c, uint64_t len)
{
	struct chain_cursor *cur = &c->readable;

	if (cur->bytes < len)
		return false;
	while (len) {
		size_t n = (size_t)MIN(len, (uint64_t)cur->iov->iov_len);

		cursor_advance(cur, n);
		len -= n;
	}
	return true;
}

bool chain_put(struct chain *c, const void *src, size_t len)
{
	struct chain_cursor *cur = &c->writable;
	const uint8_t *at = src;
	size_t left = len;

	if (cur->bytes < len)
		return false;
	while (left) {
		size_t n = MIN(left, cur->iov->iov_len);

		memcpy(cur->iov->iov_base, at, n);
		vq_dirty_payload(c, cur->iov->iov_base, n);
		cursor_advance(cur, n);
		at += n;
		left -= n;
	}
	c->written += (uint32_t)len;
	return true;
}

void chain_wrote_pieces(struct chain *c, uint64_t len)
{
	assert(len <= c->writable.bytes);
	c->written += (uint32_t)len;
	while (len) {
		size_t n = (size_t)MIN(len, (uint64_t)c->writable.iov->iov_len);

		vq_dirty_payload(c, c->writable.iov->iov_base, n);
		cursor_advance(&c->writable, n);
		len -= n;
	}
}

void chain_touched(struct chain *c, uint64_t len)
{
	const struct iovec *iov = c->writable.iov;

	assert(len <= c->writable.bytes);
	for (; len; iov++) {
		size_t n = (size_t)MIN(len, (uint64_t)iov->iov_len);

		vq_dirty_payload(c, iov->iov_base, n);
		len -= n;
	}
}

int chain_cut_tail(struct chain *c, size_t len, struct iovec *tail, int max)
{
	struct chain_cursor *cur = &c->writable;
	int first = cur->num_iov, i, n;
	size_t found = 0, extra;

	if (cur->bytes < len)
		return -1;
	while (found < len)
		found += cur->iov[--first].iov_len;
	n = cur->num_iov - first;
	if (n > max)
		return -1;
	for (i = 0; i < n; i++)
		tail[i] = cur->iov[first + i];
	/* The first piece may hold payload too: the tail takes only its end. */
	extra = found - len;
	if (n && extra) {
		tail[0].iov_base = (char *)tail[0].iov_base + extra;
		tail[0].iov_len -= extra;
		cur->iov[first].iov_len = extra;
		first++;
	}
	cur->num_iov = first;
	cur->bytes -= len;
	return n;
}

void chain_fill(struct chain *c, const struct iovec *iov, int num_iov, const void *src, size_t len)
{
	const uint8_t *at = src;
	int i;

	for (i = 0; i < num_iov && len; i++) {
		size_t n = MIN(len, iov[i].iov_len);

		memcpy(iov[i].iov_base, at, n);
		vq_dirty_payload(c, iov[i].iov_base, n);
		at += n;
		len -= n;
	}
}
