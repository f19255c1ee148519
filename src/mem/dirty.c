/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The dirty log. Bits are set a byte at a time: that is right for any alignment of the log and any
 * byte order of the host, and eight pages of a long write cost one instruction. Refuses what no
 * region of guest memory could be: gmem_region_new() does the mapping.
 */
#include "mem/dirty.h"

#include <assert.h>
#include <inttypes.h>

#include "base/alloc.h"
#include "base/cleanup.h"
#include "mem/guard.h"

#define PAGES_PER_BYTE 8

struct dirty_log {
	_Atomic unsigned int num_refs;
	_Atomic uint64_t num_beyond;
	struct gmem_region *region; /* the bitmap; its gpa and user address mean nothing */
};

int dirty_log_new(int fd, uint64_t offset, uint64_t size, struct dirty_log **ret, struct err *err)
{
	const struct gmem_region_desc desc = { .size = size, .fd_offset = offset };
	struct gmem_region *region;
	struct dirty_log *log;
	struct err why = { 0 };
	int r = gmem_region_new(&desc, fd, &region, &why);

	if (r < 0)
		return err_set(err, r, "dirty log of 0x%" PRIx64 " bytes: %s", size, why.msg);
	log = xnew(struct dirty_log);
	atomic_init(&log->num_refs, 1);
	log->region = region;
	*ret = log;
	return 0;
}

struct dirty_log *dirty_log_ref(struct dirty_log *log)
{
	if (log)
		atomic_fetch_add_explicit(&log->num_refs, 1, memory_order_relaxed);
	return log;
}

void dirty_log_unref(struct dirty_log *log)
{
	if (!log || atomic_fetch_sub_explicit(&log->num_refs, 1, memory_order_acq_rel) != 1)
		return;
	gmem_region_unref(log->region);
	free(log);
}

bool dirty_log_mark(struct dirty_log *log, uint64_t gpa, uint64_t len)
{
	uint64_t first = gpa >> DIRTY_PAGE_BITS, at;
	uint64_t last = (len > UINT64_MAX - gpa ? UINT64_MAX : gpa + len - 1) >> DIRTY_PAGE_BITS;
	uint64_t size = log->region->desc.size;
	bool inside;

	if (!len)
		return true;
	inside = last / PAGES_PER_BYTE < size;
	if (!inside) {
		atomic_fetch_add_explicit(&log->num_beyond, 1, memory_order_relaxed);
		if (first / PAGES_PER_BYTE >= size)
			return false;
		last = size * PAGES_PER_BYTE - 1;
	}
	for (at = first / PAGES_PER_BYTE; at <= last / PAGES_PER_BYTE; at++) {
		unsigned int bits = 0xff;

		if (at == first / PAGES_PER_BYTE)
			bits &= 0xffu << first % PAGES_PER_BYTE;
		if (at == last / PAGES_PER_BYTE)
			bits &= 0xffu >> (PAGES_PER_BYTE - 1 - last % PAGES_PER_BYTE);
		/*
		 * Release pairs with the owner's exchange: who takes the bit and copies the page
		 * sees what was written. Always, even where the bit is set: it may be taken now.
		 */
		__atomic_fetch_or(log->region->host + at, (uint8_t)bits, __ATOMIC_RELEASE);
	}
	return inside;
}

bool dirty_log_mark_host(
	struct dirty_log *log, const struct gmem *mem, const void *host, uint64_t len)
{
	uint64_t gpa;

	if (!len)
		return true;
	if (!gmem_host_to_gpa(mem, host, &gpa))
		assert(!"a pointer that guest memory never gave");
	return dirty_log_mark(log, gpa, len);
}

uint64_t dirty_log_num_beyond(const struct dirty_log *log)
{
	return atomic_load_explicit(&log->num_beyond, memory_order_relaxed);
}

uint64_t dirty_log_bytes(const struct dirty_log *log)
{
	return log->region->desc.size;
}

const struct gmem_region *dirty_log_region(const struct dirty_log *log)
{
	return log->region;
}

int dirty_log_keep_fd(struct dirty_log *log, int fd, struct err *err)
{
	return gmem_region_keep_fd(log->region, fd, err);
}

bool dirty_log_is_lost(const struct dirty_log *log)
{
	/* Acquire pairs with the guard's release: who sees the count sees the mark. */
	return log && atomic_load_explicit(&guard_num_poisonings, memory_order_acquire) &&
	       atomic_load_explicit(&log->region->guard->lost_from, memory_order_relaxed);
}
