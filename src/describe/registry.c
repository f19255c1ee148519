/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The types, one row each: X(NAME) stands for `const struct describe_type describe_NAME` in that
 * type's file. Rows are by virtio id.
 */
#include "describe/describe.h"
#include "describe/types.h"

#define ROW(name) &describe_##name,
static const struct describe_type *const types[] = { DESCRIBE_TYPES(ROW) };

static const struct describe_type unknown_type = { .name = "unknown" };

const struct describe_type *describe_type_at(size_t row)
{
	return row < ARRAY_SIZE(types) ? types[row] : NULL;
}

const struct describe_type *describe_type_by_id(uint16_t virtio_id)
{
	for (size_t i = 0; i < ARRAY_SIZE(types); i++)
		if (types[i]->id == virtio_id)
			return types[i];
	return &unknown_type;
}
