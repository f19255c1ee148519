/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A dirty log: a bitmap of 4 KiB pages that somebody else owns and reads, who moves a running guest
 * elsewhere. Whoever writes into guest memory marks the page afterwards: a page that was marked
 * first could be copied, and its mark taken away, before the write.
 *
 * The bitmap is a file that is mapped like a region of guest memory, SIGBUS guard included.
 * Counted; marking takes no lock and may be done on any loop.
 */
#ifndef MEM_DIRTY_H
#define MEM_DIRTY_H

#include "mem/gmem.h"

#define DIRTY_PAGE_BITS 12

struct dirty_log;

/*
 * Maps @size bytes at @offset (any alignment) of @fd, which is not consumed. Bit n of byte m is
 * page 8 * m + n of guest-physical memory. -EINVAL: size 0, a range that wraps, a file that is
 * shorter; or mmap()'s -errno.
 */
int dirty_log_new(int fd, uint64_t offset, uint64_t size, struct dirty_log **ret, struct err *err);
/* NULL is allowed. */
struct dirty_log *dirty_log_ref(struct dirty_log *log);
/* The last reference unmaps. NULL is allowed. */
void dirty_log_unref(struct dirty_log *log);

/*
 * Marks the pages of [gpa, gpa + len), which were written. False where some lie beyond the log:
 * those are counted, and nothing is written for them.
 */
bool dirty_log_mark(struct dirty_log *log, uint64_t gpa, uint64_t len);
/* The same for memory of @mem by our own address; [host, host + len) lies in one region. */
bool dirty_log_mark_host(
	struct dirty_log *log, const struct gmem *mem, const void *host, uint64_t len);

/* Writes whose pages were, in part, beyond the log. Any thread. */
uint64_t dirty_log_num_beyond(const struct dirty_log *log);
uint64_t dirty_log_bytes(const struct dirty_log *log);
/* The file and the mapping behind it, for who hands the log on: dirty_log_keep_fd() came first. */
const struct gmem_region *dirty_log_region(const struct dirty_log *log);
int dirty_log_keep_fd(struct dirty_log *log, int fd, struct err *err);
/* Did its owner truncate it? What was marked since is lost. Cheap: one load usually. */
bool dirty_log_is_lost(const struct dirty_log *log);

#endif
