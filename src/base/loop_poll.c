/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Polling: before a loop sleeps it looks for some time at what can be looked at without a system
 * call, since a wake-up costs more than a short wait. How long adapts to how long the loop's idle
 * times are, so that a busy loop is quick and an idle one sleeps. Whatever polling finds or does
 * not find, descriptors and timers get their turn: after LOOP_POLL_ROUNDS rounds with something to
 * do, after LOOP_POLL_SLICE_NS without.
 */
#include <assert.h>

#include "base/loop_int.h"

void loop_poll_add(struct loop *loop, struct loop_poll *poll)
{
	assert(!poll->loop && poll->fn);
	poll->loop = loop;
	poll->prev = NULL;
	poll->next = loop->polls;
	if (poll->next)
		poll->next->prev = poll;
	loop->polls = poll;
	if (loop->polling && poll->begin)
		poll->begin(poll);
}

void loop_poll_del(struct loop_poll *poll)
{
	struct loop *loop = poll->loop;

	if (!loop)
		return;
	if (loop->polls_at == poll)
		loop->polls_at = poll->next;
	if (poll->next)
		poll->next->prev = poll->prev;
	if (poll->prev)
		poll->prev->next = poll->next;
	else
		loop->polls = poll->next;
	poll->next = NULL;
	poll->prev = NULL;
	poll->loop = NULL;
}

void loop_set_polling(struct loop *loop, const struct loop_polling *polling)
{
	atomic_store_explicit(&loop->poll_max_ns, polling->max_ns, memory_order_relaxed);
	atomic_store_explicit(&loop->poll_grow, polling->grow, memory_order_relaxed);
	atomic_store_explicit(&loop->poll_shrink, polling->shrink, memory_order_relaxed);
}

struct loop_polling loop_get_polling(const struct loop *loop)
{
	return (struct loop_polling){
		.max_ns = atomic_load_explicit(&loop->poll_max_ns, memory_order_relaxed),
		.grow = atomic_load_explicit(&loop->poll_grow, memory_order_relaxed),
		.shrink = atomic_load_explicit(&loop->poll_shrink, memory_order_relaxed),
	};
}

uint64_t loop_poll_adapt(
	const struct loop_polling *polling, uint64_t poll_ns, uint64_t idle_ns, bool woken)
{
	uint64_t grow = polling->grow ? polling->grow : 2;

	if (idle_ns > polling->max_ns)
		poll_ns = polling->shrink ? poll_ns / polling->shrink : 0;
	else if (woken && idle_ns > poll_ns)
		poll_ns = !poll_ns			? LOOP_POLL_START_NS
			  : poll_ns > UINT64_MAX / grow ? UINT64_MAX
							: poll_ns * grow;
	return MIN(poll_ns, polling->max_ns);
}

static void begin(struct loop *loop)
{
	loop->polling = true;
	for (struct loop_poll *poll = loop->polls; poll; poll = loop->polls_at) {
		loop->polls_at = poll->next;
		if (poll->begin)
			poll->begin(poll);
	}
}

/* True where something came while polling ended. */
static bool end(struct loop *loop)
{
	bool found = false;

	loop->polling = false;
	for (struct loop_poll *poll = loop->polls; poll; poll = loop->polls_at) {
		loop->polls_at = poll->next;
		if (poll->end)
			found |= poll->end(poll);
	}
	return found;
}

static bool look(struct loop *loop)
{
	bool found = false;

	for (struct loop_poll *poll = loop->polls; poll; poll = loop->polls_at) {
		loop->polls_at = poll->next;
		found |= poll->fn(poll);
	}
	/* Messages are run by the round that we are part of. */
	return found || atomic_load_explicit(&loop->posts, memory_order_relaxed);
}

/* The core's other thread, and whoever writes what is looked at, get on better. */
static void relax(void)
{
#if defined(__x86_64__) || defined(__i386__)
	__builtin_ia32_pause();
#elif defined(__aarch64__)
	__asm__ volatile("yield");
#endif
}

/*
 * Looks until something is found, or it is time for a timer, for the descriptors or to sleep.
 * Returns the time it is now, or 0 where something was found.
 */
static uint64_t spin(struct loop *loop, int timeout_ms)
{
	uint64_t now = now_ns(), until;

	if (!loop->idle_since_ns)
		loop->idle_since_ns = now;
	until = MIN(loop->idle_since_ns + loop->poll_ns, now + LOOP_POLL_SLICE_NS);
	if (timeout_ms > 0)
		until = MIN(until, now + (uint64_t)timeout_ms * NSEC_PER_MSEC);
	if (loop->timers)
		until = MIN(until, loop->timers->deadline_ns);
	while (now < until && !atomic_load_explicit(&loop->stop, memory_order_relaxed)) {
		if (look(loop))
			return 0;
		relax();
		now = now_ns();
	}
	return now;
}

/* A round with something to do: may it leave the descriptors alone? */
static bool busy(struct loop *loop, int *timeout_ms)
{
	loop->idle_since_ns = 0;
	*timeout_ms = 0;
	return ++loop->num_unseen < LOOP_POLL_ROUNDS;
}

bool loop_poll_round(struct loop *loop, int *timeout_ms)
{
	uint64_t max_ns = atomic_load_explicit(&loop->poll_max_ns, memory_order_relaxed);
	uint64_t now;

	if (!max_ns || !loop->polls) {
		if (loop->polling && end(loop))
			*timeout_ms = 0;
		loop->idle_since_ns = 0;
		return false;
	}
	loop->poll_ns = MIN(loop->poll_ns, max_ns);
	if (!loop->polling) {
		if (!*timeout_ms)
			return false;
		if (!loop->poll_ns) {
			loop->idle_since_ns = now_ns();
			return false;
		}
		begin(loop);
	}
	if (look(loop) || !*timeout_ms)
		return busy(loop, timeout_ms);
	now = spin(loop, *timeout_ms);
	if (!now)
		return busy(loop, timeout_ms);
	if (now - loop->idle_since_ns < loop->poll_ns) {
		*timeout_ms = 0;
		return false;
	}
	if (end(loop)) {
		loop->idle_since_ns = 0;
		*timeout_ms = 0;
	}
	return false;
}

void loop_poll_waited(struct loop *loop, bool slept, bool woken)
{
	struct loop_polling polling;

	loop->num_unseen = 0;
	if (!loop->idle_since_ns || !(slept || woken))
		return;
	if (slept) {
		polling = loop_get_polling(loop);
		loop->poll_ns = loop_poll_adapt(
			&polling, loop->poll_ns, now_ns() - loop->idle_since_ns, woken);
	}
	loop->idle_since_ns = 0;
}
