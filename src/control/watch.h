/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The stall timer: looks at every queue a few times a second, remembers since when nothing has
 * moved, and tells when a queue got stuck and when it went on. A look costs some loads; where
 * nothing moves it comes less often. A relay sleeps unless somebody asks: it watches for a while
 * after each query, or all the time once a threshold was set. Main loop.
 */
#ifndef CONTROL_WATCH_H
#define CONTROL_WATCH_H

#include "inspect/health_look.h"
#include "qapi/commands.h"

struct control;
struct control_device;

#define WATCH_DEFAULT_THRESHOLD_MS 2000
/* Between two looks while queues move, and while none does. */
#define WATCH_PERIOD_NS	     (250 * NSEC_PER_MSEC)
#define WATCH_IDLE_PERIOD_NS NSEC_PER_SEC
/* How long a relay watches after a query. */
#define WATCH_AFTER_QUERY_NS (30 * NSEC_PER_SEC)

/* What is remembered of a queue. */
struct control_watch {
	struct health_watch look;
	bool is_stalled;
	uint64_t stalled_ns; /* since when */
	uint64_t judge_ns,
		judge_gap_ns; /* when it is judged next: ever more seldom while it rests */
};

/* Of the run. */
struct control_watching {
	uint32_t threshold_ms; /* 0: nobody watches */
	bool always; /* else until until_ns */
	uint64_t until_ns;
	unsigned int num_quiet; /* looks in a row in which nothing moved */
	struct loop_timer timer;
};

void control_watch_init(struct control *ctl);
/* Something happened, or devices came: looks soon, where queues are watched. */
void control_watch_wake(struct control *ctl);
void control_watch_stop(struct control *ctl);

int control_cmd_query_virtqueue_health(struct qapi_call *call, const char *path, bool has_queue,
	uint16_t queue, struct VirtQueueHealthList *ret, struct qapi_error *error);
int control_cmd_query_virtqueue_watch(
	struct qapi_call *call, struct VirtQueueWatch **ret, struct qapi_error *error);
int control_cmd_virtqueue_set_stall_threshold(
	struct qapi_call *call, uint32_t threshold_ms, struct qapi_error *error);

#endif
