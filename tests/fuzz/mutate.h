/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Mutations of inputs that are pieces, each a prefix with the length of what follows in two bytes:
 * pieces are changed, left out, doubled and exchanged, and lengths stay true. libFuzzer's own would
 * shift all that is behind one byte more.
 */
#ifndef TESTS_FUZZ_MUTATE_H
#define TESTS_FUZZ_MUTATE_H

#include <stdint.h>
#include <string.h>

#include "base/util.h"

#define MUTATE_PIECES_MAX 256
#define MUTATE_BYTES_MAX  4096

size_t LLVMFuzzerCustomMutator(uint8_t *data, size_t size, size_t max_size, unsigned int seed);
/* libFuzzer's; NULL where an input is only run. */
__attribute__((weak)) size_t LLVMFuzzerMutate(uint8_t *data, size_t size, size_t max_size);

/* Where in a piece its length is, low byte first; what follows counts, not the prefix. */
struct piece_format {
	size_t prefix_bytes, len_at;
};

struct mutation {
	struct piece_format format;
	uint8_t out[MUTATE_BYTES_MAX];
	size_t len, max;
};

static inline size_t piece_bytes(struct piece_format format, const uint8_t *data, size_t size)
{
	size_t len = data[format.len_at] | (size_t)data[format.len_at + 1] << 8;

	return format.prefix_bytes + MIN(len, size - format.prefix_bytes);
}

static inline void mutation_add(struct mutation *m, const uint8_t *piece, size_t bytes)
{
	if (bytes > m->max - m->len)
		return;
	memcpy(m->out + m->len, piece, bytes);
	m->len += bytes;
}

/* The last @bytes of what there is are a piece: what it carries becomes another thing. */
static inline void mutation_change_last(struct mutation *m, size_t bytes)
{
	uint8_t *piece = m->out + m->len - bytes;
	size_t len = bytes - m->format.prefix_bytes;
	size_t room = MIN(m->max - m->len + len, (size_t)0xffff);

	if (!room)
		return;
	m->len -= len;
	len = LLVMFuzzerMutate(piece + m->format.prefix_bytes, len, room);
	m->len += len;
	piece[m->format.len_at] = (uint8_t)len;
	piece[m->format.len_at + 1] = (uint8_t)(len >> 8);
}

static inline size_t mutate_pieces(
	struct piece_format format, uint8_t *data, size_t size, size_t max_size, unsigned int seed)
{
	static struct mutation m;
	size_t at[MUTATE_PIECES_MAX], bytes[MUTATE_PIECES_MAX], num = 0, start = 0, chosen, other;
	unsigned int what = seed % 8;

	m = (struct mutation){ .format = format, .max = MIN(max_size, sizeof(m.out)) };
	for (; num < MUTATE_PIECES_MAX && size - start > format.prefix_bytes; num++) {
		at[num] = start;
		bytes[num] = piece_bytes(format, data + start, size - start);
		start += bytes[num];
	}
	if (!num || size > m.max || what == 7)
		return LLVMFuzzerMutate(data, size, max_size);
	chosen = seed / 8 % num;
	other = seed / 4096 % num;
	for (size_t i = 0; i < num; i++) {
		size_t before = m.len;

		if (i != chosen || what > 1)
			mutation_add(&m, data + at[i], bytes[i]);
		if (i != chosen)
			continue;
		if (what == 1 || what == 2)
			mutation_add(&m, data + at[other], bytes[other]);
		else if (what == 3 && m.len > before)
			m.out[before] ^= (uint8_t)(1u << (seed / 4096 & 7));
		else if (what > 3 && m.len > before)
			mutation_change_last(&m, m.len - before);
	}
	memcpy(data, m.out, m.len);
	return m.len ? m.len : LLVMFuzzerMutate(data, size, max_size);
}

#endif
