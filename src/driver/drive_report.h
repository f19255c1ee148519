/* SPDX-License-Identifier: BSD-3-Clause */
/* What both reports read: sums over all queues, after the workers came home. */
#ifndef DRIVER_DRIVE_REPORT_H
#define DRIVER_DRIVE_REPORT_H

#include <stdlib.h>
#include <string.h>

#include "base/alloc.h"
#include "driver/drive_internal.h"

/* fio's list. */
#define DRIVE_PERCENTILES 17
extern const double drive_percentiles[DRIVE_PERCENTILES];

/* Adds all queues' to @ret, which was zeroed. */
void drive_sum(const struct drive *d, struct dqueue_stats *ret);
/* From the first request to the last answer. */
double drive_seconds(const struct drive *d);

/* Too large for a stack; free() it. */
static inline struct dqueue_stats *drive_stats_new(const struct drive *d)
{
	struct dqueue_stats *s = xnew(struct dqueue_stats);

	drive_sum(d, s);
	return s;
}

#endif
