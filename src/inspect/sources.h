/* SPDX-License-Identifier: BSD-3-Clause */
/* Where each member of the replies about a device comes from. A pure reader; main loop. */
#ifndef INSPECT_SOURCES_H
#define INSPECT_SOURCES_H

#include "base/err.h"
#include "qapi/types.h"
#include "qom/qom.h"

/*
 * One entry for each member of x-query-virtio-status ("isr"), for each member of
 * x-query-virtio-queue-status of each queue ("queue.0.used-idx") and of
 * x-query-virtio-queue-element ("queue.0.element.descs"). -ENODEV with a sentence where @path names
 * no device.
 */
int inspect_sources(struct qom_object *root, const char *path, struct VirtioMemberInfoList *ret,
	struct err *err);

#endif
