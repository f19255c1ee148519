/* SPDX-License-Identifier: BSD-3-Clause */
/* Verdicts as the monitor's types. Pure readers; main loop. */
#ifndef INSPECT_HEALTH_REPLY_H
#define INSPECT_HEALTH_REPLY_H

#include "base/err.h"
#include "inspect/health_look.h"
#include "qom/qom.h"

/*
 * A verdict for each queue of the device that @path names, or of all where it is NULL; @queue: of
 * that one alone. -ENODEV or -EINVAL with a sentence where there is no such device or queue.
 */
int inspect_health(struct qom_object *root, const char *path, const uint16_t *queue,
	const struct health_scene *scene, struct VirtQueueHealthList *ret, struct err *err);

#endif
