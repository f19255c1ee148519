/* SPDX-License-Identifier: BSD-3-Clause */
/* Sectors that say what they are. The check names the first byte range that is wrong. */
#include "driver/pattern.h"

#include "base/le.h"

#define MAGIC 0x5265766972446973ull

struct head {
	le64 magic, seed, offset, generation;
};

#define WORDS ((PATTERN_SECTOR - sizeof(struct head)) / sizeof(le64))

struct sector {
	struct head head;
	le64 words[WORDS];
};

_Static_assert(sizeof(struct sector) == PATTERN_SECTOR, "fills a sector");

static uint64_t start_of(uint64_t offset, uint64_t seed, uint32_t generation)
{
	return offset ^ seed * 0xd6e8feb86659fd93ull ^ (uint64_t)generation << 40;
}

void pattern_fill(void *buf, size_t bytes, uint64_t offset, uint64_t seed, uint32_t generation)
{
	for (size_t at = 0; at < bytes; at += PATTERN_SECTOR) {
		uint64_t state = start_of(offset + at, seed, generation);
		struct sector s = { { le64_make(MAGIC), le64_make(seed), le64_make(offset + at),
					    le64_make(generation) },
			{ { 0 } } };

		for (size_t i = 0; i < WORDS; i++)
			s.words[i] = le64_make(pattern_random(&state));
		memcpy((uint8_t *)buf + at, &s, sizeof(s));
	}
}

static enum pattern_fault fault(struct pattern_info *info, enum pattern_fault code, uint64_t offset,
	uint64_t expected, uint64_t found)
{
	*info = (struct pattern_info){ code, offset, expected, found };
	return code;
}

static enum pattern_fault check_head(const struct sector *s, uint64_t at, uint64_t seed,
	uint64_t generation, bool first, struct pattern_info *info)
{
	uint64_t found = le64_get(s->head.generation);

	if (le64_get(s->head.magic) != MAGIC)
		return fault(info, PATTERN_FOREIGN, at, MAGIC, le64_get(s->head.magic));
	if (le64_get(s->head.seed) != seed)
		return fault(info, PATTERN_SEED, at, seed, le64_get(s->head.seed));
	if (le64_get(s->head.offset) != at)
		return fault(info, PATTERN_PLACE, at, at, le64_get(s->head.offset));
	if (generation != PATTERN_ANY && found != generation)
		return fault(info, first ? PATTERN_STALE : PATTERN_TORN, at, generation, found);
	return PATTERN_OK;
}

static enum pattern_fault check_words(
	const struct sector *s, uint64_t at, uint64_t seed, struct pattern_info *info)
{
	uint64_t state = start_of(at, seed, (uint32_t)le64_get(s->head.generation));

	for (size_t i = 0; i < WORDS; i++) {
		uint64_t due = pattern_random(&state), found = le64_get(s->words[i]);

		if (due != found)
			return fault(info, PATTERN_BYTES, at + offsetof(struct sector, words[i]),
				due, found);
	}
	return PATTERN_OK;
}

enum pattern_fault pattern_check(const void *buf, size_t bytes, uint64_t offset, uint64_t seed,
	uint32_t generation, uint32_t *ret_generation, struct pattern_info *info)
{
	uint64_t wanted = generation;

	*info = (struct pattern_info){ PATTERN_OK, offset, 0, 0 };
	for (size_t at = 0; at < bytes; at += PATTERN_SECTOR) {
		struct sector s;

		memcpy(&s, (const uint8_t *)buf + at, sizeof(s));
		if (check_head(&s, offset + at, seed, wanted, !at, info) ||
			check_words(&s, offset + at, seed, info))
			return info->fault;
		wanted = le64_get(s.head.generation);
	}
	if (ret_generation)
		*ret_generation = (uint32_t)wanted;
	return PATTERN_OK;
}

static const char *const texts[] = {
	[PATTERN_OK] = "is right",
	[PATTERN_FOREIGN] = "holds no pattern (first word)",
	[PATTERN_SEED] = "holds the pattern of another seed",
	[PATTERN_PLACE] = "holds what belongs at another offset",
	[PATTERN_STALE] = "holds another generation than was written and acknowledged last",
	[PATTERN_TORN] = "is torn: two generations in one block",
	[PATTERN_BYTES] = "holds wrong bytes",
};

const char *pattern_fault_text(enum pattern_fault fault)
{
	return texts[fault];
}
