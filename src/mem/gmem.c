/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Snapshots of guest memory. Refuses regions that wrap, overlap or are longer than their file;
 * every look-up goes through one range check.
 */
#include "mem/gmem.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/vfs.h>
#include <unistd.h>

#include "base/alloc.h"
#include "base/cleanup.h"
#include "mem/guard.h"

#define HUGETLBFS_MAGIC_NUMBER 0x958458f6

/* Huge pages are mapped and replaced whole. */
static size_t page_bytes_of(int fd)
{
	size_t page = (size_t)sysconf(_SC_PAGESIZE);
	struct statfs fs;

	/* The type's own type is signed, and as wide as a word. */
	if (fstatfs(fd, &fs) == 0 && (uint32_t)fs.f_type == HUGETLBFS_MAGIC_NUMBER)
		page = (size_t)fs.f_bsize;
	return page;
}

static int check_desc(const struct gmem_region_desc *desc, int fd, struct err *err)
{
	struct stat st;

	if (!desc->size)
		return err_set(
			err, -EINVAL, "memory region at 0x%" PRIx64 " has size 0", desc->gpa);
	if (!range_inside(desc->gpa, desc->size, UINT64_MAX) ||
		!range_inside(desc->user_addr, desc->size, UINT64_MAX) ||
		!range_inside(desc->fd_offset, desc->size, INT64_MAX))
		return err_set(err, -EINVAL,
			"memory region at 0x%" PRIx64 " of 0x%" PRIx64
			" bytes (file offset 0x%" PRIx64 ") wraps around",
			desc->gpa, desc->size, desc->fd_offset);
	if (fstat(fd, &st) < 0)
		return err_set(err, -errno, "memory region at 0x%" PRIx64 ": descriptor %d: %m",
			desc->gpa, fd);
	if (S_ISREG(st.st_mode) && !range_inside(desc->fd_offset, desc->size, (uint64_t)st.st_size))
		return err_set(err, -EINVAL,
			"memory region at 0x%" PRIx64 " needs bytes up to 0x%" PRIx64
			" of a file of 0x%" PRIx64 " bytes",
			desc->gpa, desc->fd_offset + desc->size, (uint64_t)st.st_size);
	return 0;
}

static int new_region(const struct gmem_region_desc *desc, int fd, int prot,
	struct gmem_region **ret, struct err *err)
{
	size_t page = page_bytes_of(fd), lead;
	struct gmem_region *region;
	uint64_t bytes;
	void *map;
	int r;

	r = check_desc(desc, fd, err);
	if (r < 0)
		return r;
	lead = (size_t)(desc->fd_offset % page);
	bytes = lead + desc->size;
	bytes += (page - bytes % page) % page;
	if (bytes > SIZE_MAX / 2)
		return err_set(err, -ENOMEM,
			"memory region at 0x%" PRIx64 ": 0x%" PRIx64 " bytes cannot be mapped here",
			desc->gpa, desc->size);
	map = mmap(NULL, (size_t)bytes, prot, MAP_SHARED | MAP_NORESERVE, fd,
		(off_t)(desc->fd_offset - lead));
	if (map == MAP_FAILED)
		return err_set(err, -errno,
			"cannot map memory region at 0x%" PRIx64 " of 0x%" PRIx64 " bytes: %m",
			desc->gpa, desc->size);
	guard_install();
	region = xnew(struct gmem_region);
	region->guard = guard_add(map, (size_t)bytes, page);
	if (!region->guard) {
		munmap(map, (size_t)bytes);
		free(region);
		return err_set(err, -ENOSPC, "more than %d guest memory regions are mapped",
			GUARD_SLOTS_MAX);
	}
	/* A guest's memory has no place in a core file, nor in a child. */
	madvise(map, (size_t)bytes, MADV_DONTDUMP);
	madvise(map, (size_t)bytes, MADV_DONTFORK);
	region->desc = *desc;
	region->map = map;
	region->map_bytes = (size_t)bytes;
	region->host = (uint8_t *)map + lead;
	region->fd = -1;
	atomic_init(&region->num_refs, 1);
	*ret = region;
	return 0;
}

int gmem_region_new(
	const struct gmem_region_desc *desc, int fd, struct gmem_region **ret, struct err *err)
{
	return new_region(desc, fd, PROT_READ | PROT_WRITE, ret, err);
}

int gmem_region_new_readonly(
	const struct gmem_region_desc *desc, int fd, struct gmem_region **ret, struct err *err)
{
	return new_region(desc, fd, PROT_READ, ret, err);
}

int gmem_region_keep_fd(struct gmem_region *region, int fd, struct err *err)
{
	region->fd = fcntl(fd, F_DUPFD_CLOEXEC, 0);
	return region->fd < 0
		       ? err_set(err, -errno, "memory region at 0x%" PRIx64 ": descriptor %d: %m",
				 region->desc.gpa, fd)
		       : 0;
}

struct gmem_region *gmem_region_ref(struct gmem_region *region)
{
	atomic_fetch_add_explicit(&region->num_refs, 1, memory_order_relaxed);
	return region;
}

void gmem_region_unref(struct gmem_region *region)
{
	if (!region || atomic_fetch_sub_explicit(&region->num_refs, 1, memory_order_acq_rel) != 1)
		return;
	guard_remove(region->guard);
	munmap(region->map, region->map_bytes);
	close_fd(&region->fd);
	free(region);
}

static bool overlap(uint64_t a, uint64_t a_bytes, uint64_t b, uint64_t b_bytes)
{
	return a < b ? b - a < a_bytes : a - b < b_bytes;
}

static int check_pair(const struct gmem_region *a, const struct gmem_region *b, struct err *err)
{
	const struct gmem_region_desc *x = &a->desc, *y = &b->desc;

	if (!overlap(x->gpa, x->size, y->gpa, y->size) &&
		!overlap(x->user_addr, x->size, y->user_addr, y->size))
		return 0;
	return err_set(err, -EINVAL,
		"memory regions overlap: 0x%" PRIx64 "+0x%" PRIx64 " and 0x%" PRIx64 "+0x%" PRIx64,
		x->gpa, x->size, y->gpa, y->size);
}

int gmem_new(struct gmem_region *const *regions, unsigned int n, struct gmem **ret, struct err *err)
{
	struct gmem *mem;
	unsigned int i, j;

	if (n > GMEM_REGIONS_MAX)
		return err_set(err, -E2BIG, "%u memory regions, at most %d are supported", n,
			GMEM_REGIONS_MAX);
	for (i = 0; i < n; i++)
		for (j = 0; j < i; j++)
			if (check_pair(regions[i], regions[j], err) < 0)
				return -EINVAL;
	mem = xcalloc(1, sizeof(*mem) + n * sizeof(mem->regions[0]));
	atomic_init(&mem->num_refs, 1);
	mem->num_regions = n;
	for (i = 0; i < n; i++) {
		for (j = i; j && mem->regions[j - 1]->desc.gpa > regions[i]->desc.gpa; j--)
			mem->regions[j] = mem->regions[j - 1];
		mem->regions[j] = gmem_region_ref(regions[i]);
	}
	*ret = mem;
	return 0;
}

struct gmem *gmem_ref(struct gmem *mem)
{
	if (mem)
		atomic_fetch_add_explicit(&mem->num_refs, 1, memory_order_relaxed);
	return mem;
}

void gmem_unref(struct gmem *mem)
{
	unsigned int i;

	if (!mem || atomic_fetch_sub_explicit(&mem->num_refs, 1, memory_order_acq_rel) != 1)
		return;
	for (i = 0; i < mem->num_regions; i++)
		gmem_region_unref(mem->regions[i]);
	free(mem);
}

struct gmem_region *gmem_find(const struct gmem *mem, uint64_t gpa)
{
	unsigned int low = 0, high = mem ? mem->num_regions : 0;

	while (low < high) {
		unsigned int mid = (low + high) / 2;
		struct gmem_region *region = mem->regions[mid];

		if (gpa < region->desc.gpa)
			high = mid;
		else if (gpa - region->desc.gpa < region->desc.size)
			return region;
		else
			low = mid + 1;
	}
	return NULL;
}

void *gmem_ptr(const struct gmem *mem, uint64_t gpa, uint64_t len)
{
	struct gmem_region *region = gmem_find(mem, gpa);

	if (!region || !range_inside(gpa - region->desc.gpa, len, region->desc.size))
		return NULL;
	return region->host + (gpa - region->desc.gpa);
}

int gmem_iov(const struct gmem *mem, uint64_t gpa, uint64_t len, struct iovec *iov, int max)
{
	int n = 0;

	while (len) {
		struct gmem_region *region = gmem_find(mem, gpa);
		uint64_t piece;

		if (!region)
			return -EFAULT;
		if (n == max)
			return -ENOBUFS;
		piece = MIN(len, region->desc.size - (gpa - region->desc.gpa));
		iov[n].iov_base = region->host + (gpa - region->desc.gpa);
		iov[n].iov_len = (size_t)piece;
		n++;
		gpa += piece;
		len -= piece;
	}
	return n;
}

bool gmem_covers(const struct gmem *mem, uint64_t gpa, uint64_t len)
{
	while (len) {
		struct iovec piece;

		if (gmem_iov(mem, gpa, len, &piece, 1) == -EFAULT)
			return false;
		gpa += piece.iov_len;
		len -= piece.iov_len;
	}
	return true;
}

/* Walks [gpa, gpa + len) piece by piece; @copy gets each. */
static int copy_across(const struct gmem *mem, uint64_t gpa, void *dst, size_t len,
	bool (*copy)(void *dst, const void *src, size_t len))
{
	while (len) {
		struct iovec piece;
		int n = gmem_iov(mem, gpa, len, &piece, 1);

		if (n == -EFAULT)
			return -EFAULT;
		if (!copy(dst, piece.iov_base, piece.iov_len))
			return -EIO;
		dst = (uint8_t *)dst + piece.iov_len;
		gpa += piece.iov_len;
		len -= piece.iov_len;
	}
	return 0;
}

static bool copy_plain(void *dst, const void *src, size_t len)
{
	memcpy(dst, src, len);
	return true;
}

bool gmem_read(const struct gmem *mem, uint64_t gpa, void *dst, size_t len)
{
	return copy_across(mem, gpa, dst, len, copy_plain) == 0;
}

/* Does the guard stand in for memory of @region within [gpa, end)? */
static bool is_lost(const struct gmem_region *region, uint64_t gpa, uint64_t end)
{
	uintptr_t lost = atomic_load_explicit(&region->guard->lost_from, memory_order_relaxed);
	uintptr_t host = (uintptr_t)region->host;
	uint64_t lost_gpa = region->desc.gpa + (lost > host ? lost - host : 0);

	return lost && end > lost_gpa && gpa < region->desc.gpa + region->desc.size;
}

int gmem_peek(const struct gmem *mem, uint64_t gpa, void *dst, size_t len)
{
	int r = copy_across(mem, gpa, dst, len, guard_copy);
	unsigned int i;

	if (r < 0 || !mem || !atomic_load_explicit(&guard_num_poisonings, memory_order_acquire))
		return r;
	/* The guard may have put zeros there already: they are not the guest's. */
	for (i = 0; i < mem->num_regions; i++)
		if (is_lost(mem->regions[i], gpa, gpa + len))
			return -EIO;
	return 0;
}

/* The whole pages of a piece that lies in one region. */
static int discard_piece(const struct gmem_region *region, uint64_t gpa, uint64_t len)
{
	size_t page = atomic_load_explicit(&region->guard->page_bytes, memory_order_relaxed);
	size_t at =
		(size_t)(gpa - region->desc.gpa) + (size_t)(region->host - (uint8_t *)region->map);
	size_t first = (at + page - 1) / page * page, end = (at + (size_t)len) / page * page;

	if (first >= end)
		return 0;
	return madvise((uint8_t *)region->map + first, end - first, MADV_REMOVE) < 0 ? -errno : 0;
}

int gmem_discard(const struct gmem *mem, uint64_t gpa, uint64_t len)
{
	int r, result = 0;

	if (!gmem_covers(mem, gpa, len))
		return -EFAULT;
	while (len) {
		const struct gmem_region *region = gmem_find(mem, gpa);
		uint64_t n = MIN(len, region->desc.size - (gpa - region->desc.gpa));

		r = discard_piece(region, gpa, n);
		if (r < 0)
			result = r;
		gpa += n;
		len -= n;
	}
	return result;
}

bool gmem_user_to_gpa(const struct gmem *mem, uint64_t addr, uint64_t len, uint64_t *ret)
{
	unsigned int i;

	for (i = 0; mem && i < mem->num_regions; i++) {
		const struct gmem_region_desc *desc = &mem->regions[i]->desc;

		if (addr < desc->user_addr ||
			!range_inside(addr - desc->user_addr, len, desc->size))
			continue;
		*ret = desc->gpa + (addr - desc->user_addr);
		return true;
	}
	return false;
}

bool gmem_host_to_gpa(const struct gmem *mem, const void *host, uint64_t *ret)
{
	uintptr_t at = (uintptr_t)host;
	unsigned int i;

	for (i = 0; mem && i < mem->num_regions; i++) {
		const struct gmem_region *region = mem->regions[i];

		if (at < (uintptr_t)region->host ||
			at - (uintptr_t)region->host >= region->desc.size)
			continue;
		*ret = region->desc.gpa + (at - (uintptr_t)region->host);
		return true;
	}
	return false;
}

bool gmem_poisoned(const struct gmem *mem)
{
	unsigned int i;

	/* Acquire pairs with the guard's release: who sees the count sees the mark. */
	if (!atomic_load_explicit(&guard_num_poisonings, memory_order_acquire) || !mem)
		return false;
	for (i = 0; i < mem->num_regions; i++)
		if (atomic_load_explicit(&mem->regions[i]->guard->lost_from, memory_order_relaxed))
			return true;
	return false;
}

bool gmem_region_poisoned(const struct gmem_region *region)
{
	return atomic_load_explicit(&guard_num_poisonings, memory_order_acquire) &&
	       atomic_load_explicit(&region->guard->lost_from, memory_order_relaxed);
}
