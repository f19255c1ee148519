/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Guest memory: the one door through which a guest's address becomes a pointer.
 *
 * A struct gmem is an immutable, counted snapshot of regions. Whoever changes the memory table
 * makes a new snapshot (regions are shared between snapshots) and swaps it in while no queue runs;
 * whoever reads keeps its reference for as long as it uses pointers from it. Look-ups take no lock
 * and may be made on any loop.
 *
 * A region whose file is truncated by its owner does not end the process: the SIGBUS guard maps
 * zeros over what was lost and poisons the region (gmem_poisoned()). gmem_peek() is the door of
 * inspection: it reports such memory as unreadable, maps nothing and poisons nothing.
 */
#ifndef MEM_GMEM_H
#define MEM_GMEM_H

#include <stdatomic.h>
#include <sys/uio.h>

#include "base/err.h"
#include "base/util.h"

/* Regions in one snapshot; vhost-user's memory slots count against it. */
#define GMEM_REGIONS_MAX 512

/* What a front-end says of a region: bytes, and addresses in its two spaces. */
struct gmem_region_desc {
	uint64_t gpa; /* guest-physical address of the first byte */
	uint64_t size; /* bytes; any number above 0 */
	uint64_t user_addr; /* address in the front-end's process (vhost-user names rings by it) */
	uint64_t fd_offset; /* where the region begins in the file; any alignment */
};

struct guard_slot;

struct gmem_region {
	struct gmem_region_desc desc;
	uint8_t *host; /* the region's first byte in our mapping */
	void *map; /* what mmap() gave: page-aligned, at or below host */
	size_t map_bytes;
	struct guard_slot *guard;
	int fd; /* of the file, where somebody else shall map it too; -1: not kept */
	_Atomic unsigned int num_refs;
};

struct gmem {
	_Atomic unsigned int num_refs;
	unsigned int num_regions;
	struct gmem_region *regions[]; /* by rising gpa, none overlapping */
};

/*
 * Maps @fd (not consumed; it may be closed afterwards) shared, readable and writable.
 * -EINVAL: size 0, a range that wraps, a file shorter than the region; or mmap()'s -errno.
 */
int gmem_region_new(
	const struct gmem_region_desc *desc, int fd, struct gmem_region **ret, struct err *err);
/* The same, only to be looked at: a write through any pointer into it is a fault. */
int gmem_region_new_readonly(
	const struct gmem_region_desc *desc, int fd, struct gmem_region **ret, struct err *err);
/*
 * Keeps a duplicate of @fd, the file that the region was made from, until the region goes: for who
 * hands the memory on. Before anybody else has the region.
 */
int gmem_region_keep_fd(struct gmem_region *region, int fd, struct err *err);
struct gmem_region *gmem_region_ref(struct gmem_region *region);
/* The last reference unmaps. NULL is allowed. */
void gmem_region_unref(struct gmem_region *region);

/*
 * A snapshot of @n regions; takes a reference of its own to each. -EINVAL where two overlap in
 * guest-physical or in user addresses, -E2BIG above GMEM_REGIONS_MAX. An empty snapshot is legal.
 */
int gmem_new(
	struct gmem_region *const *regions, unsigned int n, struct gmem **ret, struct err *err);
struct gmem *gmem_ref(struct gmem *mem);
void gmem_unref(struct gmem *mem);

/* The region that holds @gpa, or NULL. @mem may be NULL: then nothing is mapped. */
struct gmem_region *gmem_find(const struct gmem *mem, uint64_t gpa);
/* A pointer to @len bytes that lie in one region, or NULL. */
void *gmem_ptr(const struct gmem *mem, uint64_t gpa, uint64_t len);
/*
 * The pieces of [gpa, gpa + len), one for each region that it crosses. Returns how many of @max
 * were written; -EFAULT where a byte lies outside every region, -ENOBUFS where @max is too small.
 */
int gmem_iov(const struct gmem *mem, uint64_t gpa, uint64_t len, struct iovec *iov, int max);
/*
 * Gives the whole pages within [gpa, gpa + len) back to the host; they read as zeros from then on.
 * -EFAULT, and nothing done, where a byte lies outside every region; else 0, or the -errno of the
 * last piece that the kernel refused (a file without holes, part of a huge page).
 */
int gmem_discard(const struct gmem *mem, uint64_t gpa, uint64_t len);
/* Does every byte of [gpa, gpa + len) lie in some region? */
bool gmem_covers(const struct gmem *mem, uint64_t gpa, uint64_t len);
/* Copies @len bytes across regions; false (and @dst partly written) where a byte lies outside. */
bool gmem_read(const struct gmem *mem, uint64_t gpa, void *dst, size_t len);
/* From the front-end's address to the guest's; false where no region holds [addr, addr + len). */
bool gmem_user_to_gpa(const struct gmem *mem, uint64_t addr, uint64_t len, uint64_t *ret);
/* Back from a pointer that gmem_ptr() or gmem_iov() gave; false for one that @mem never gave. */
bool gmem_host_to_gpa(const struct gmem *mem, const void *host, uint64_t *ret);

/*
 * Reads for inspection, on the main loop: 0; -EFAULT outside every region; -EIO where the memory
 * behind the region is gone. Touches nothing and poisons nothing. An aligned word of 2, 4 or 8
 * bytes that is read alone is read in one load.
 */
int gmem_peek(const struct gmem *mem, uint64_t gpa, void *dst, size_t len);

/* Did the guard have to stand in for lost memory of any region of @mem? Cheap: one load usually. */
bool gmem_poisoned(const struct gmem *mem);
/* Likewise, of one region. */
bool gmem_region_poisoned(const struct gmem_region *region);

#endif
