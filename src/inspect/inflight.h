/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Requests that a device has taken and not answered. Of our own devices from what the queue's owner
 * published; of a relayed split ring from guest memory, as far as that proves them. Pure reader,
 * main loop.
 */
#ifndef INSPECT_INFLIGHT_H
#define INSPECT_INFLIGHT_H

#include "base/err.h"
#include "base/loop.h"
#include "qapi/types.h"
#include "qom/qom.h"

/*
 * Oldest first. @queue: NULL: all. @builtin: the loop that goes by no iothread's name.
 * -errno with the sentence for the client.
 */
int inspect_inflight(struct qom_object *root, const char *path, const uint16_t *queue,
	const struct loop *builtin, struct VirtqueueRequestList *ret, struct err *err);

#endif
