/* SPDX-License-Identifier: BSD-3-Clause */
/* What queues count, as OpenMetrics text. Pure reader, main loop. */
#ifndef INSPECT_STATS_TEXT_H
#define INSPECT_STATS_TEXT_H

#include <stdio.h>

#include "qom/qom.h"

/* All queues of all devices, with its end. */
void inspect_metrics(struct qom_object *root, FILE *out);

#endif
