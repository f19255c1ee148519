/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * What queues count, in the shapes of query-stats. Pure readers, main loop.
 */
#ifndef INSPECT_STATS_H
#define INSPECT_STATS_H

#include "base/err.h"
#include "qapi/types.h"
#include "qom/qom.h"

/* -errno with the sentence for the client: a path that is no device, a name that is no statistic.
 */
int inspect_stats(struct qom_object *root, const struct StatsFilter *filter,
	struct StatsResultList *ret, struct err *err);
void inspect_stats_schemas(struct StatsSchemaList *ret);

#endif
