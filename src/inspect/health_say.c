/* SPDX-License-Identifier: BSD-3-Clause */
/* The sentences, each with the numbers that its rule rests on. A longer one than its room is cut.
 */
#include "inspect/health_say.h"

#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>

#define SEC(ns) ((double)(ns) / (double)NSEC_PER_SEC)

static const char *server(const struct health_picture *p)
{
	return p->relayed ? "the back-end" : "the device";
}

static void _printf_(2, 3) say(struct health_text *t, const char *fmt, ...)
{
	va_list ap;
	int n;

	va_start(ap, fmt);
	n = vsnprintf(t->at, t->room, fmt, ap);
	va_end(ap);
	if (n < 0)
		return;
	n = MIN(n, (int)t->room - 1);
	t->at += n;
	t->room -= (size_t)n;
}

/* "1 request", "2 descriptors" */
static void say_count(const struct health_picture *p, struct health_text *t, uint64_t n)
{
	const char *what = p->packed ? "descriptor" : p->holds_supplies ? "buffer" : "request";

	say(t, "%" PRIu64 " %s%s", n, what, n == 1 ? "" : "s");
}

static void say_still(const struct health_picture *p, struct health_text *t)
{
	if (p->still_ns.known && p->still_ns.n)
		say(t, "; nothing has moved for %.1f s", SEC(p->still_ns.n));
}

static void say_oldest(const struct health_picture *p, struct health_text *t)
{
	if (!p->has_oldest)
		return;
	say(t, "; the oldest is ");
	if (p->knows_age)
		say(t, "%.1f s old, ", SEC(p->oldest_ns));
	say(t, "%s %u: %s", p->relayed && p->packed ? "buffer" : "head", p->oldest_head,
		p->oldest_request);
}

/* Of our own devices the oldest is one that was taken, and not what waits. */
static void say_oldest_relayed(const struct health_picture *p, struct health_text *t)
{
	if (p->relayed)
		say_oldest(p, t);
}

static void say_unanswered(const struct health_picture *p, struct health_text *t)
{
	uint64_t n = health_unanswered(p);

	if (!n)
		return;
	say(t, "; waiting: ");
	say_count(p, t, n);
	say_oldest_relayed(p, t);
}

void health_say_back_end_gone(const struct health_picture *p, struct health_text *t)
{
	if (p->no_back)
		say(t,
			"a front-end came %.1f s ago, and nobody listens where the back-end should "
			"be",
			SEC(p->ended_ns));
	else
		say(t, "the back-end ended the connection %.1f s ago", SEC(p->ended_ns));
	if (p->connected)
		say(t, "; it is dialled again, and the front-end waits");
	else
		say(t, ", and the front-end was hung up on");
	say_unanswered(p, t);
}

void health_say_not_connected(const struct health_picture *p, struct health_text *t)
{
	(void)p;
	say(t, "no front-end is connected");
}

void health_say_broken(const struct health_picture *p, struct health_text *t)
{
	say(t, "the device needs a reset%s: %s", p->broke_here ? ", and this queue is why" : "",
		p->broken_reason);
}

void health_say_paused(const struct health_picture *p, struct health_text *t)
{
	say(t, "the machine is paused: no queue is served");
	say_unanswered(p, t);
}

void health_say_held(const struct health_picture *p, struct health_text *t)
{
	say(t, "virtqueue-stop holds the queue");
	say_unanswered(p, t);
}

void health_say_message(const struct health_picture *p, struct health_text *t)
{
	if (p->message_is_ours)
		say(t,
			"the front-end has waited for the answer to %s for %.1f s: it comes once "
			"all that is "
			"in flight is answered",
			p->message, SEC(p->message_ns));
	else
		say(t,
			"%s has been unanswered for %.1f s: the other end of the control socket is "
			"silent",
			p->message, SEC(p->message_ns));
	if (p->in_flight.known && p->in_flight.n)
		say(t, "; %" PRIu64 " in flight here", p->in_flight.n);
	say_oldest(p, t);
}

void health_say_driver_failed(const struct health_picture *p, struct health_text *t)
{
	say(t, "the driver has set FAILED in the status byte (0x%02x): it has given up", p->status);
}

void health_say_no_driver(const struct health_picture *p, struct health_text *t)
{
	(void)p;
	say(t, "no driver has taken the device: its status byte is 0");
}

void health_say_not_ready(const struct health_picture *p, struct health_text *t)
{
	say(t, "the driver has not set DRIVER_OK: its status byte is 0x%02x", p->status);
	if (p->avail_idx.known && p->avail_idx.n)
		say(t, ", though the available index is %" PRIu64 " already", p->avail_idx.n);
}

void health_say_whole_device(const struct health_picture *p, struct health_text *t)
{
	(void)p;
	say(t, "the device has no queues yet");
}

void health_say_no_server(const struct health_picture *p, struct health_text *t)
{
	if (health_beyond_server(p))
		say(t, "the driver uses queue %u, and %s serves %" PRIu64, p->queue, server(p),
			p->served_queues.n);
	else
		say(t, "%s takes the kicks of other queues and leaves %" PRIu64 " here", server(p),
			p->kicks_unread.n);
	say_unanswered(p, t);
	say_still(p, t);
}

void health_say_not_enabled(const struct health_picture *p, struct health_text *t)
{
	if (p->ever_used || p->was_in_use)
		say(t, "the queue was in use and is not enabled any more");
	else
		say(t, "the queue was set up, with %u entries, and not enabled", p->num);
	say_unanswered(p, t);
	say_still(p, t);
}

void health_say_stopped(const struct health_picture *p, struct health_text *t)
{
	if (p->stopped_reason) {
		say(t, "the relay stopped the ring: %s", p->stopped_reason);
	} else {
		say(t, "GET_VRING_BASE stopped the ring");
		if (p->last_avail.known)
			say(t, " at %" PRIu64, p->last_avail.n);
		say(t, ", and nothing has started it since");
	}
	say_unanswered(p, t);
	say_still(p, t);
}

void health_say_not_set_up(const struct health_picture *p, struct health_text *t)
{
	(void)p;
	say(t, "the driver has not set this queue up");
}

void health_say_unreadable(const struct health_picture *p, struct health_text *t)
{
	say(t, "the ring cannot be read: %s", p->memory_reason);
	if (p->kicks_unread.known && p->kicks_unread.n)
		say(t, "; %" PRIu64 " in the kick descriptor", p->kicks_unread.n);
}

void health_say_impossible(const struct health_picture *p, struct health_text *t)
{
	say(t,
		"the available index %" PRIu64 " and the %s index %" PRIu64
		" lie further apart than the %u entries of the ring",
		p->avail_idx.n, p->last_avail.known ? "device's" : "used",
		p->last_avail.known ? p->last_avail.n : p->used_idx.n, p->num);
	say_still(p, t);
}

void health_say_spinning(const struct health_picture *p, struct health_text *t)
{
	say(t, "the queue is kicked %" PRIu64 " times a second, and there is nothing to take",
		p->empty_runs.n);
}

void health_say_dry(const struct health_picture *p, struct health_text *t)
{
	if (p->holds_supplies)
		say(t, "the device has nothing to say: ");
	else
		say(t, "the device cannot serve the next request before what it stands on has room "
		       "or "
		       "data: ");
	say_count(p, t, health_unanswered(p));
	say(t, " at hand");
	if (!p->holds_supplies)
		say_still(p, t);
}

static void say_waiting(const struct health_picture *p, struct health_text *t)
{
	say_count(p, t, p->waiting.known ? p->waiting.n : p->outstanding.n);
	say(t, "%s", p->waiting.known ? " not taken" : " not answered");
	if (p->avail_idx.known && (p->last_avail.known || p->used_idx.known))
		say(t, " (available index %" PRIu64 ", %s %" PRIu64 ")", p->avail_idx.n,
			p->last_avail.known ? "taken up to" : "answered up to",
			p->last_avail.known ? p->last_avail.n : p->used_idx.n);
}

void health_say_kick_unread(const struct health_picture *p, struct health_text *t)
{
	say_waiting(p, t);
	say(t, "; the kick was sent and lies unread in its descriptor (%" PRIu64 "): %s",
		p->kicks_unread.n,
		p->relayed ? "the back-end does not listen"
			   : "the thread that serves it does not come round");
	say_oldest_relayed(p, t);
	say_still(p, t);
}

void health_say_not_looking(const struct health_picture *p, struct health_text *t)
{
	say_waiting(p, t);
	if (p->relayed)
		say(t, "; the back-end asked for no kicks, for it looks by itself, and it does not "
		       "look");
	else
		say(t,
			"; the thread that serves it (%d) is inside the device, with a request "
			"that blocks it",
			p->thread);
	say_oldest_relayed(p, t);
	say_still(p, t);
}

void health_say_suppressed(const struct health_picture *p, struct health_text *t)
{
	say_waiting(p, t);
	if (p->kick_wish == HEALTH_WISH_OFF)
		say(t, "; the event suppression says that no kick is wanted, so the driver sends "
		       "none");
	else
		say(t,
			"; avail_event is %" PRIu64 ", which was crossed already: the driver sees "
			"no reason to kick again, and %s "
			"waits for a kick",
			p->avail_event.n, server(p));
	say_oldest_relayed(p, t);
	say_still(p, t);
}

void health_say_kick_lost(const struct health_picture *p, struct health_text *t)
{
	say_waiting(p, t);
	if (p->avail_event.known)
		say(t, "; a kick was due at avail_event %" PRIu64, p->avail_event.n);
	else
		say(t, "; kicks are wanted");
	say(t, ", and none lies in the descriptor: it was lost, or never sent");
	say_oldest_relayed(p, t);
	say_still(p, t);
}

void health_say_working(const struct health_picture *p, struct health_text *t)
{
	if (p->in_flight.known)
		say(t, "%s has %" PRIu64 " request%s and works on %s", server(p), p->in_flight.n,
			p->in_flight.n == 1 ? "" : "s", p->in_flight.n == 1 ? "it" : "them");
	else
		say(t, "requests on their way in %s: %" PRIu64, server(p), p->outstanding.n);
	say_oldest(p, t);
	if (!p->in_flight.known && p->kick_wish == HEALTH_WISH_AHEAD)
		say(t, "; avail_event says that all were seen");
	else if (!p->in_flight.known)
		say(t, "; whether it has taken them is not known");
	say_still(p, t);
}

void health_say_call_unread(const struct health_picture *p, struct health_text *t)
{
	if (p->unseen)
		say(t, "answers behind used_event %" PRIu64 ": %u, and the interrupt",
			p->used_event.n, p->unseen);
	else
		say(t, "the driver wants interrupts, and the one for its last answers");
	say(t,
		" lies unread in the call descriptor (%" PRIu64
		"): the driver's side does not take it",
		p->calls_unread.n);
	say_still(p, t);
}

void health_say_call_held(const struct health_picture *p, struct health_text *t)
{
	say(t, "an interrupt waits for more answers, or for the time that the driver set "
	       "(coalescing)");
	say_still(p, t);
}

void health_say_call_lost(const struct health_picture *p, struct health_text *t)
{
	say(t,
		"answers are there, and the interrupt for them could not be delivered (%" PRIu64
		" were lost): the other end of the call descriptor is gone",
		p->calls_lost.known ? p->calls_lost.n : 1);
	say_still(p, t);
}

void health_say_unseen(const struct health_picture *p, struct health_text *t)
{
	say(t,
		"used index %" PRIu64 " is %u beyond used_event %" PRIu64
		", where the driver wanted to be called, and no call waits to be taken: it was "
		"lost "
		"behind the descriptor, or the driver looks by itself",
		p->used_idx.n, p->unseen, p->used_event.n);
	say_still(p, t);
}

void health_say_no_buffers(const struct health_picture *p, struct health_text *t)
{
	say(t,
		"the driver offers no buffers: 0 of %u; whatever the device has to say waits or is "
		"lost",
		p->num);
	if (p->ever_used && p->used_idx.known)
		say(t, "; all that it offered before are used (index %" PRIu64 ")", p->used_idx.n);
	say_still(p, t);
}

void health_say_busy(const struct health_picture *p, struct health_text *t)
{
	say(t, "requests come and go: %" PRIu64 " at the moment", health_unanswered(p));
}

void health_say_idle(const struct health_picture *p, struct health_text *t)
{
	uint64_t n = health_unanswered(p);

	if (p->holds_supplies && p->packed)
		say(t, "%s has buffers for what it may have to say", server(p));
	else if (p->holds_supplies)
		say(t, "%s has %" PRIu64 " buffers for what it may have to say", server(p), n);
	else
		say(t, "all that was asked is answered");
}

void health_say_not_known(const struct health_picture *p, struct health_text *t)
{
	say(t, "%s keeps its place in the ring to itself: whether requests wait is not known",
		server(p));
	say_still(p, t);
}
