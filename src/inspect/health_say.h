/* SPDX-License-Identifier: BSD-3-Clause */
/* What health.c says with each verdict: a sentence a rule. Inside inspect only. */
#ifndef INSPECT_HEALTH_SAY_H
#define INSPECT_HEALTH_SAY_H

#include "inspect/health.h"

/* Room that is being written to; always a string. */
struct health_text {
	char *at;
	size_t room;
};

/* Requests of the driver that were not answered, as far as is known. */
static inline uint64_t health_unanswered(const struct health_picture *p)
{
	if (p->outstanding.known)
		return p->outstanding.n;
	return (p->waiting.known ? p->waiting.n : 0) + (p->in_flight.known ? p->in_flight.n : 0);
}

/* It uses a queue that its server does not have. */
static inline bool health_beyond_server(const struct health_picture *p)
{
	return p->served_queues.known && p->queue >= p->served_queues.n && p->is_set_up;
}

#define HEALTH_SAY(name) \
	void health_say_##name(const struct health_picture *p, struct health_text *t)
HEALTH_SAY(back_end_gone);
HEALTH_SAY(not_connected);
HEALTH_SAY(broken);
HEALTH_SAY(paused);
HEALTH_SAY(held);
HEALTH_SAY(message);
HEALTH_SAY(driver_failed);
HEALTH_SAY(no_driver);
HEALTH_SAY(not_ready);
HEALTH_SAY(whole_device);
HEALTH_SAY(no_server);
HEALTH_SAY(not_enabled);
HEALTH_SAY(stopped);
HEALTH_SAY(not_set_up);
HEALTH_SAY(unreadable);
HEALTH_SAY(impossible);
HEALTH_SAY(spinning);
HEALTH_SAY(dry);
HEALTH_SAY(kick_unread);
HEALTH_SAY(not_looking);
HEALTH_SAY(suppressed);
HEALTH_SAY(kick_lost);
HEALTH_SAY(working);
HEALTH_SAY(call_unread);
HEALTH_SAY(call_held);
HEALTH_SAY(call_lost);
HEALTH_SAY(unseen);
HEALTH_SAY(no_buffers);
HEALTH_SAY(busy);
HEALTH_SAY(idle);
HEALTH_SAY(not_known);

#endif
