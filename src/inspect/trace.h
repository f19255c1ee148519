/* SPDX-License-Identifier: BSD-3-Clause */
/* A queue's flight recorder as the monitor shows it. Pure reader, main loop. */
#ifndef INSPECT_TRACE_H
#define INSPECT_TRACE_H

#include "base/err.h"
#include "qapi/types.h"
#include "qom/qom.h"

/* The last @last events, oldest first. -errno with the sentence for the client. */
int inspect_trace(struct qom_object *root, const char *path, uint16_t queue, uint32_t last,
	struct VirtqueueEventList *ret, struct err *err);

#endif
