/* SPDX-License-Identifier: BSD-3-Clause */
/* Balloons on the monitor: how large the guest is, and shall be; its statistics. Main loop. */
#ifndef CONTROL_BALLOON_H
#define CONTROL_BALLOON_H

#include "qapi/commands.h"
#include "qom/qom.h"

/* guest-stats and guest-stats-polling-interval, QEMU's; beside what every device has. */
extern const struct qom_property control_balloon_properties[];

/* The commands' handlers. */
int control_cmd_balloon(
	struct qapi_call *call, int64_t value, const char *path, struct qapi_error *error);
int control_cmd_query_balloon(struct qapi_call *call, const char *path, struct BalloonInfo **ret,
	struct qapi_error *error);
int control_cmd_balloon_reclaim_free(
	struct qapi_call *call, const char *path, struct qapi_error *error);

#endif
