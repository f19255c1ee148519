/* SPDX-License-Identifier: BSD-3-Clause */
/* How a value is laid out in memory, for the files of the run time; nobody else includes it. */
#ifndef QAPI_RT_WALK_H
#define QAPI_RT_WALK_H

#include <string.h>

#include "qapi/rt.h"

/* From one item of a list to the next: structs and alternates lie behind pointers. */
static inline size_t qapi_item_size(const struct qapi_type *list)
{
	enum qapi_kind kind = list->element->kind;

	return kind == QAPI_KIND_STRUCT || kind == QAPI_KIND_ALTERNATE ? sizeof(void *)
								       : list->element->size;
}

/* The branch that the tag of the union at @base names, or NULL. */
static inline const struct qapi_type *qapi_branch_of(const struct qapi_type *type, const void *base)
{
	unsigned int tag;

	if (!type->branches)
		return NULL;
	memcpy(&tag, (const char *)base + type->tag_offset, sizeof(tag));
	return type->branches[tag];
}

/* The alternative that the value at @base holds. */
static inline const struct qapi_member *qapi_alternative_of(
	const struct qapi_type *type, const void *base)
{
	unsigned int n;

	memcpy(&n, (const char *)base + type->tag_offset, sizeof(n));
	return &type->members[n];
}

static inline bool qapi_is_present(const struct qapi_member *m, const void *base)
{
	const char *at = (const char *)base + m->offset;

	if (!m->optional)
		return true;
	if (m->has_offset != QAPI_NO_HAS)
		return *(const bool *)((const char *)base + m->has_offset);
	return *(void *const *)at != NULL;
}

/* An integer of the type's size, its sign extended. */
static inline uint64_t qapi_int_bits(const struct qapi_type *type, const void *at)
{
	uint64_t u;

	switch (type->size) {
	case 1: u = type->is_signed ? (uint64_t) * (const int8_t *)at : *(const uint8_t *)at; break;
	case 2:
		u = type->is_signed ? (uint64_t) * (const int16_t *)at : *(const uint16_t *)at;
		break;
	case 4:
		u = type->is_signed ? (uint64_t) * (const int32_t *)at : *(const uint32_t *)at;
		break;
	default: u = *(const uint64_t *)at; break;
	}
	return u;
}

#endif
