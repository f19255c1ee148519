/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The rules, in order: the first one that applies is the verdict. What stands on top makes what
 * stands below meaningless: a paused machine's queues do not move, whatever their rings show.
 */
#include "inspect/health.h"

#include "inspect/health_say.h"
#include "virtio/vdev.h"

struct rule {
	enum VirtQueueVerdict verdict;
	bool (*applies)(const struct health_picture *p);
	enum VirtQueueSeverity (*severity)(const struct health_picture *p);
	void (*say)(const struct health_picture *p, struct health_text *t);
	const char *advice;
};

/* --- what rules share --- */

static bool long_still(const struct health_picture *p)
{
	return p->threshold_ns && p->still_ns.known && p->still_ns.n >= p->threshold_ns;
}

/* Somebody waits: requests, not supplies, of a queue whose role is known. */
static bool driver_waits(const struct health_picture *p)
{
	return health_unanswered(p) && p->knows_role && !p->holds_supplies;
}

static enum VirtQueueSeverity stuck_if_waited_for(const struct health_picture *p)
{
	return driver_waits(p) && long_still(p) ? VIRT_QUEUE_SEVERITY_STUCK
						: VIRT_QUEUE_SEVERITY_NOTE;
}

static enum VirtQueueSeverity ok(_unused_ const struct health_picture *p)
{
	return VIRT_QUEUE_SEVERITY_OK;
}

static enum VirtQueueSeverity note(_unused_ const struct health_picture *p)
{
	return VIRT_QUEUE_SEVERITY_NOTE;
}

static enum VirtQueueSeverity stuck(_unused_ const struct health_picture *p)
{
	return VIRT_QUEUE_SEVERITY_STUCK;
}

/* --- the device --- */

static bool back_end_gone(const struct health_picture *p)
{
	return p->has_peers && (p->ended_by_back || p->no_back);
}

static bool not_connected(const struct health_picture *p)
{
	return p->has_peers && !p->connected;
}

static bool device_broken(const struct health_picture *p)
{
	return p->broken;
}

static bool machine_paused(const struct health_picture *p)
{
	return p->paused;
}

static bool held(const struct health_picture *p)
{
	return p->held;
}

static bool message_unanswered(const struct health_picture *p)
{
	return p->message && p->threshold_ns && p->message_ns >= p->threshold_ns;
}

static bool driver_failed(const struct health_picture *p)
{
	return p->status & VIRTIO_STATUS_FAILED;
}

static bool no_driver(const struct health_picture *p)
{
	return !p->status;
}

static bool driver_not_ready(const struct health_picture *p)
{
	/* Where the byte is concluded, a ring that was set up says more. */
	return !(p->status & VIRTIO_STATUS_DRIVER_OK) && (p->status_known || !p->is_set_up);
}

static bool whole_device(const struct health_picture *p)
{
	return p->whole_device;
}

/* --- whether it is served --- */

/* Kicks are left lying here while the device's other queues go on. */
static bool left_alone(const struct health_picture *p)
{
	return p->relayed && p->kicks_unread.known && p->kicks_unread.n && health_unanswered(p) &&
	       p->is_enabled && p->others_move && long_still(p);
}

static bool no_server(const struct health_picture *p)
{
	return health_beyond_server(p) || left_alone(p);
}

static bool not_enabled(const struct health_picture *p)
{
	return p->is_set_up && !p->is_enabled && !p->is_stopped && !p->is_draining;
}

static bool ring_stopped(const struct health_picture *p)
{
	return p->is_stopped;
}

static bool not_set_up(const struct health_picture *p)
{
	return !p->is_set_up;
}

static bool memory_unreadable(const struct health_picture *p)
{
	return p->memory_reason;
}

static bool ring_impossible(const struct health_picture *p)
{
	return p->impossible;
}

static enum VirtQueueSeverity stuck_once_still(const struct health_picture *p)
{
	return long_still(p) ? VIRT_QUEUE_SEVERITY_STUCK : VIRT_QUEUE_SEVERITY_NOTE;
}

static bool spinning(const struct health_picture *p)
{
	return p->empty_runs.known && p->empty_runs.n >= HEALTH_SPIN_RUNS;
}

/* --- requests --- */

/* With or without EVENT_IDX: the call was due when its answers were shown. */
static bool call_held(const struct health_picture *p)
{
	return p->last_call == VQ_CALL_HELD;
}

/* Where buffers lie ready nothing else is to be said of it. */
static bool supplies_call_held(const struct health_picture *p)
{
	return p->holds_supplies && call_held(p);
}

static enum VirtQueueSeverity call_held_severity(const struct health_picture *p)
{
	return long_still(p) ? VIRT_QUEUE_SEVERITY_NOTE : VIRT_QUEUE_SEVERITY_OK;
}

static bool out_of_supplies(const struct health_picture *p)
{
	/* What could not be served lies in the ring; where nothing does, it was before a reset. */
	return p->dry && !(p->in_flight.known && p->in_flight.n) &&
	       (!p->waiting.known || p->waiting.n);
}

/* Who reads waits for input, which may never come; who writes waits for somebody to read. */
static enum VirtQueueSeverity dry_severity(const struct health_picture *p)
{
	return driver_waits(p) && long_still(p) ? VIRT_QUEUE_SEVERITY_NOTE : VIRT_QUEUE_SEVERITY_OK;
}

static bool something_waits(const struct health_picture *p)
{
	/* Where it is not known who has them, they may all wait. */
	if (p->waiting.known)
		return p->waiting.n;
	return p->outstanding.known && p->outstanding.n;
}

static bool waits_in_vain(const struct health_picture *p)
{
	return something_waits(p) && long_still(p) && (!p->knows_role || !p->holds_supplies);
}

static bool kick_is_due(const struct health_picture *p)
{
	return p->kick_wish == HEALTH_WISH_DUE;
}

static bool kick_unread(const struct health_picture *p)
{
	if (!p->kicks_unread.known || !p->kicks_unread.n || !long_still(p) || p->in_turn)
		return false;
	/* A server that polls leaves them lying. So nothing is said of supplies unless it asked. */
	return something_waits(p) && (kick_is_due(p) || !p->holds_supplies);
}

static enum VirtQueueSeverity stuck_or_role_unknown(const struct health_picture *p)
{
	return p->knows_role ? VIRT_QUEUE_SEVERITY_STUCK : VIRT_QUEUE_SEVERITY_NOTE;
}

static bool not_looking(const struct health_picture *p)
{
	if (!waits_in_vain(p))
		return false;
	return p->in_turn || (p->relayed && p->kick_wish == HEALTH_WISH_OFF);
}

/* The driver was told, or left to believe, that nobody wants to hear of it. */
static bool kick_suppressed(const struct health_picture *p)
{
	return waits_in_vain(p) && (p->kick_wish == HEALTH_WISH_PASSED ||
					   (p->kick_wish == HEALTH_WISH_OFF && !p->relayed));
}

/*
 * Elements behind the one that the server wants to hear of. Somebody else's server that always
 * wants to hear may have heard, and have them.
 */
static bool kick_lost(const struct health_picture *p)
{
	return waits_in_vain(p) && p->kick_wish == HEALTH_WISH_DUE && !p->dry &&
	       (!p->relayed || p->avail_event.known);
}

static bool working(const struct health_picture *p)
{
	if (p->holds_supplies)
		return false;
	if (p->in_flight.known)
		return p->in_flight.n;
	return p->outstanding.known && p->outstanding.n;
}

static bool is_old(const struct health_picture *p)
{
	return p->threshold_ns && p->knows_age && p->oldest_ns >= p->threshold_ns;
}

static enum VirtQueueSeverity working_severity(const struct health_picture *p)
{
	if (long_still(p) && (is_old(p) || !p->knows_age))
		return stuck_or_role_unknown(p);
	return is_old(p) ? VIRT_QUEUE_SEVERITY_NOTE : VIRT_QUEUE_SEVERITY_OK;
}

/* --- answers --- */

static bool call_unread(const struct health_picture *p)
{
	return p->ever_used && long_still(p) && p->call_wish == HEALTH_WISH_DUE &&
	       p->calls_unread.known && p->calls_unread.n;
}

/*
 * With EVENT_IDX the driver says how far it has looked. Without, it may have found its answers by
 * itself and left the interrupt lying.
 */
static enum VirtQueueSeverity call_unread_severity(const struct health_picture *p)
{
	return p->unseen ? VIRT_QUEUE_SEVERITY_STUCK : VIRT_QUEUE_SEVERITY_NOTE;
}

static bool call_lost(const struct health_picture *p)
{
	return p->ever_used && long_still(p) && p->call_wish == HEALTH_WISH_DUE &&
	       p->last_call == VQ_CALL_LOST;
}

static bool completion_unseen(const struct health_picture *p)
{
	return p->ever_used && long_still(p) && p->call_wish == HEALTH_WISH_DUE && p->unseen &&
	       !p->call_wish_is_vague;
}

static bool no_buffers(const struct health_picture *p)
{
	return p->holds_supplies && (p->waiting.known || p->outstanding.known) &&
	       !health_unanswered(p);
}

/* The driver is awake, has seen that all are used up, and gives none. */
static enum VirtQueueSeverity no_buffers_severity(const struct health_picture *p)
{
	if (p->ever_used && long_still(p) && p->call_wish == HEALTH_WISH_AHEAD && !p->unseen &&
		p->used_event.known && p->used_idx.known && p->used_event.n == p->used_idx.n &&
		!p->call_wish_is_vague)
		return VIRT_QUEUE_SEVERITY_STUCK;
	return VIRT_QUEUE_SEVERITY_NOTE;
}

/* --- and else --- */

static bool busy(const struct health_picture *p)
{
	return !p->holds_supplies && health_unanswered(p);
}

static bool idle(const struct health_picture *p)
{
	return p->waiting.known || p->outstanding.known;
}

static bool always(_unused_ const struct health_picture *p)
{
	return true;
}

#define V(name) VIRT_QUEUE_VERDICT_##name

static const struct rule rules[] = {
	{ V(BACK_END_GONE), back_end_gone, stuck, health_say_back_end_gone,
		"start the back-end again; the front-end has to connect anew" },
	{ V(NOT_CONNECTED), not_connected, note, health_say_not_connected,
		"start the machine that uses the device, with this socket" },
	{ V(DEVICE_BROKEN), device_broken, stuck, health_say_broken,
		"reset the device in the guest (unbind and bind its driver), and look at the "
		"driver: "
		"the ring was its work" },
	{ V(MACHINE_PAUSED), machine_paused, note, health_say_paused, "let it go on with 'cont'" },
	{ V(HELD), held, note, health_say_held, "let it go on with virtqueue-resume" },
	{ V(MESSAGE_UNANSWERED), message_unanswered, stuck, health_say_message,
		"'ringside info transcript' shows what was said before; look at what the silent "
		"end "
		"is doing" },
	{ V(DRIVER_FAILED), driver_failed, stuck, health_say_driver_failed,
		"the guest's log says why; 'ringside info status' shows what was negotiated" },
	{ V(NO_DRIVER), no_driver, note, health_say_no_driver, "load the driver in the guest" },
	{ V(DRIVER_NOT_READY), driver_not_ready, note, health_say_not_ready,
		"a driver that stays so has stopped within its probe: the guest's log says where" },
	{ V(IDLE), whole_device, ok, health_say_whole_device, NULL },
	{ V(NO_SERVER), no_server, stuck_if_waited_for, health_say_no_server,
		"give the driver as many queues as are served: num-queues, or queues= and mq= of "
		"the "
		"machine" },
	{ V(NOT_ENABLED), not_enabled, stuck_if_waited_for, health_say_not_enabled,
		"a driver that was unbound or reset leaves it so; else SET_VRING_ENABLE is "
		"missing: "
		"a front-end enables the queues that its driver uses" },
	{ V(RING_STOPPED), ring_stopped, stuck_if_waited_for, health_say_stopped,
		"the front-end stopped it: for a pause, a migration or a reset; there it has to go "
		"on" },
	{ V(NOT_SET_UP), not_set_up, ok, health_say_not_set_up, NULL },
	{ V(MEMORY_UNREADABLE), memory_unreadable, note, health_say_unreadable,
		"the machine's memory has to be shared (a memfd or a file, share=on) and stay as "
		"long "
		"as it says" },
	{ V(RING_IMPOSSIBLE), ring_impossible, stuck_once_still, health_say_impossible,
		"the driver wrote an index that cannot be, or the ring lies elsewhere" },
	{ V(SPINNING), spinning, note, health_say_spinning,
		"the driver kicks without a reason: a lost index, or notifications that never "
		"end" },
	{ V(KICK_UNREAD), kick_unread, stuck_or_role_unknown, health_say_kick_unread,
		"look at the process or thread that should read it: stopped, dead or blocked" },
	{ V(CALL_HELD), supplies_call_held, call_held_severity, health_say_call_held,
		"the driver's own wish: 'ethtool -c' in the guest shows it, 'ethtool -C' changes "
		"it" },
	{ V(OUT_OF_SUPPLIES), out_of_supplies, dry_severity, health_say_dry,
		"see what the device stands on: who is connected to its chardev or network has to "
		"read, its entropy source has to give" },
	{ V(NOT_LOOKING), not_looking, stuck_or_role_unknown, health_say_not_looking,
		"look at what that thread does: its stack, its disk" },
	{ V(KICK_SUPPRESSED), kick_suppressed, stuck_or_role_unknown, health_say_suppressed,
		"virtqueue-kick sends the missing kick; who restored or migrated the ring left a "
		"stale "
		"event index" },
	{ V(KICK_LOST), kick_lost, stuck_or_role_unknown, health_say_kick_lost,
		"virtqueue-kick sends the missing kick; then look at what lies between the "
		"driver's "
		"notification and the descriptor" },
	{ V(WORKING), working, working_severity, health_say_working,
		"look at what the device stands on: its disk, its network" },
	{ V(CALL_HELD), call_held, call_held_severity, health_say_call_held,
		"the driver's own wish: 'ethtool -c' in the guest shows it, 'ethtool -C' changes "
		"it" },
	{ V(CALL_UNREAD), call_unread, call_unread_severity, health_say_call_unread,
		"look at the machine that should read it: paused, stopped, or its interrupt is not "
		"wired" },
	{ V(CALL_LOST), call_lost, stuck, health_say_call_lost,
		"the front-end has to hand over a new call descriptor" },
	{ V(COMPLETION_UNSEEN), completion_unseen, note, health_say_unseen,
		"if the guest hangs on this queue, its interrupt got lost: virtqueue-call sends "
		"one" },
	{ V(NO_BUFFERS), no_buffers, no_buffers_severity, health_say_no_buffers,
		"the driver has to fill the ring: is its interface or port up, does it run out of "
		"memory?" },
	{ V(BUSY), busy, ok, health_say_busy, NULL },
	{ V(IDLE), idle, ok, health_say_idle, NULL },
	{ V(NOT_KNOWN), always, note, health_say_not_known, NULL },
};

void health_judge(const struct health_picture *p, struct health_verdict *ret)
{
	const struct rule *rule = rules;
	struct health_text t = { ret->sentence, sizeof(ret->sentence) };

	while (!rule->applies(p))
		rule++;
	ret->verdict = rule->verdict;
	ret->severity = rule->severity(p);
	ret->sentence[0] = '\0';
	rule->say(p, &t);
	ret->advice = ret->severity == VIRT_QUEUE_SEVERITY_OK ? NULL : rule->advice;
}
