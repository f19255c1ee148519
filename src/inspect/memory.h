/* SPDX-License-Identifier: BSD-3-Clause */
/* Guest memory as the monitor shows it. Pure reader, main loop. */
#ifndef INSPECT_MEMORY_H
#define INSPECT_MEMORY_H

#include "base/err.h"
#include "qapi/types.h"
#include "qom/qom.h"

#define INSPECT_MEMORY_MAX 4096

/*
 * -errno with the sentence for the client: no such device, more bytes than INSPECT_MEMORY_MAX, an
 * address outside of memory, memory that cannot be looked at.
 */
int inspect_memory(struct qom_object *root, const char *path, uint64_t addr, uint32_t size,
	struct VirtioMemoryBytes **ret, struct err *err);

#endif
