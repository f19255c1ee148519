/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * What --verify writes: each sector says where it belongs, in which generation and by which seed it
 * was written, and the rest of it follows from these. Pure functions.
 */
#ifndef DRIVER_PATTERN_H
#define DRIVER_PATTERN_H

#include "base/util.h"

#define PATTERN_SECTOR 512

/* Any generation will do, as long as all sectors have the same. */
#define PATTERN_ANY 0u

enum pattern_fault {
	PATTERN_OK,
	PATTERN_FOREIGN, /* no pattern at all: nobody wrote this sector */
	PATTERN_SEED, /* a pattern by another seed */
	PATTERN_PLACE, /* what belongs elsewhere */
	PATTERN_STALE, /* an older generation, or one that never was */
	PATTERN_TORN, /* two generations in one block */
	PATTERN_BYTES, /* the head is right and the bytes behind it are not */
};

/* Where a block is wrong. */
struct pattern_info {
	enum pattern_fault fault;
	uint64_t offset; /* on the disk, in bytes: where to look */
	uint64_t expected, found;
};

/* @bytes, a multiple of PATTERN_SECTOR, that belong at @offset; @generation is above 0. */
void pattern_fill(void *buf, size_t bytes, uint64_t offset, uint64_t seed, uint32_t generation);
/* @ret_generation, which may be NULL, is what the block has where it is PATTERN_OK. */
enum pattern_fault pattern_check(const void *buf, size_t bytes, uint64_t offset, uint64_t seed,
	uint32_t generation, uint32_t *ret_generation, struct pattern_info *info);
/* For the sentence: "holds data of an older generation". */
const char *pattern_fault_text(enum pattern_fault fault);

/* A quick generator of 64-bit numbers: the next one, and @state moves on. */
static inline uint64_t pattern_random(uint64_t *state)
{
	uint64_t z = (*state += 0x9e3779b97f4a7c15ull);

	z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9ull;
	z = (z ^ (z >> 27)) * 0x94d049bb133111ebull;
	return z ^ (z >> 31);
}

#endif
