/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * What the files of the types share: rows for their tables, and bytes to fields. Private to
 * describe/.
 */
#ifndef DESCRIBE_WIRE_H
#define DESCRIBE_WIRE_H

#include "describe/describe.h"

/* Rows of a config table; need2 for a field that either of two features brings. */
#define CFG(n, off, sz)                              \
	{                                            \
		.name = n, .offset = off, .size = sz \
	}
#define CFG_IF(n, off, sz, bit)                                          \
	{                                                                \
		.name = n, .offset = off, .size = sz, .need1 = (bit) + 1 \
	}
#define CFG_IF_ANY(n, off, sz, bit, bit2)                                                     \
	{                                                                                     \
		.name = n, .offset = off, .size = sz, .need1 = (bit) + 1, .need2 = (bit2) + 1 \
	}

/* A request as the decoders see it; bytes/len are already cut to what there is. */
struct describe_in {
	const uint8_t *bytes;
	size_t len;
	unsigned queue, num_queues;
	/* NULL if not known. */
	const uint64_t *features;
	uint32_t readable, writable;
};

/* A number and its name. */
struct wire_value {
	uint32_t value;
	const char *name;
};

/* A little-endian number in a request. */
struct wire_field {
	const char *name;
	uint8_t offset, size;
	bool hex;
	/* Names of its values, or NULL. */
	const struct wire_value *values;
	uint8_t num_values;
};

#define WIRE(n, off, sz)                             \
	{                                            \
		.name = n, .offset = off, .size = sz \
	}
#define WIRE_HEX(n, off, sz)                                      \
	{                                                         \
		.name = n, .offset = off, .size = sz, .hex = true \
	}
#define WIRE_NAMED(n, off, sz, table)                                  \
	{                                                              \
		.name = n, .offset = off, .size = sz, .values = table, \
		.num_values = ARRAY_SIZE(table)                        \
	}

/* A number of @size 1, 2, 4 or 8 at @offset; false, and *ret untouched, if it is not all there. */
bool wire_get(const struct describe_in *in, size_t offset, size_t size, uint64_t *ret);
/* Adds each field of the table whose bytes are there. */
void wire_decode(const struct describe_in *in, const struct wire_field *table, size_t num,
	struct describe_fields *ret);
#define WIRE_DECODE(in, table, ret) wire_decode(in, table, ARRAY_SIZE(table), ret)
/* The name of @value, or NULL. */
const char *wire_name(const struct wire_value *table, size_t num, uint64_t value);
#define WIRE_NAME(table, value) wire_name(table, ARRAY_SIZE(table), value)

/* Adds a field; @text may be NULL. Silently full after DESCRIBE_MAX_FIELDS. */
void wire_add(struct describe_fields *ret, const char *name, uint64_t value, const char *text);
/* Adds six bytes at @offset as a MAC address, if they are there. */
void wire_add_mac(
	struct describe_fields *ret, const struct describe_in *in, const char *name, size_t offset);
/* Adds the bytes from @offset on as text, everything but printable ASCII shown as a dot. */
void wire_add_text(
	struct describe_fields *ret, const struct describe_in *in, const char *name, size_t offset);
/* Sets the line, cut where it is too long. */
void wire_line(struct describe_fields *ret, const char *fmt, ...) _printf_(2, 3);

/* Is the feature negotiated? @unknown is the answer if nobody knows the features. */
static inline bool wire_feature(const uint64_t *features, unsigned bit, bool unknown)
{
	return features ? describe_has_bit(features, bit) : unknown;
}

/* a - b, but 0 where a guest's sizes would make it negative. */
static inline uint32_t wire_minus(uint32_t a, uint32_t b)
{
	return a > b ? a - b : 0;
}

#endif
