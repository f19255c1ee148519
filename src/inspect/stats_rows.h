/* SPDX-License-Identifier: BSD-3-Clause */
/* The statistics, a row each, and what one queue's look gives them. Inside the room only. */
#ifndef INSPECT_STATS_ROWS_H
#define INSPECT_STATS_ROWS_H

#include "qapi/types.h"
#include "virtio/vdev.h"

/* What a queue said. */
struct stats_look {
	struct vq_view view;
	struct vq_latency latency;
	bool own; /* we serve it, and its view was not torn: all of the above is known */
	bool knows_inflight;
	uint64_t inflight; /* taken and not answered; of a relayed queue: available and not answered
			    */
};

void stats_look_at(struct vq *vq, struct stats_look *ret);

struct stats_row {
	const char *name; /* query-stats' */
	enum StatsType type;
	int unit; /* enum StatsUnit, or -1 */
	int16_t exponent; /* of 10 */
	size_t counter; /* offset in struct vq_counters, or behind it: */
	/* The value, where it is no counter; false: not known of this queue. */
	bool (*value)(const struct stats_look *look, uint64_t *ret);
	/* OpenMetrics: the family without its unit and _total, and a label of its own. */
	const char *family, *help;
	const char *label; /* result="sent", or NULL */
};

extern const struct stats_row stats_rows[];
extern const size_t stats_num_rows;

/* The name of the histogram of service times, which has no row. */
#define STATS_SERVICE_TIME "service-time"

bool stats_value(const struct stats_row *row, const struct stats_look *look, uint64_t *ret);

#endif
