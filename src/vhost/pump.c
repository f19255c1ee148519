/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The pump. An end is read only while the other's queue is empty, so at most one message waits for
 * each. Refuses payloads above PUMP_PAYLOAD_MAX and more descriptors than USOCK_FDS_MAX: such an
 * end is hung up on. What a header says beyond its size is nobody's business here.
 */
#include "vhost/pump.h"

#include <assert.h>
#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

static ssize_t payload_bytes(const void *header)
{
	return (ssize_t)le32_get(((const struct vhu_header *)header)->size);
}

static const struct usock_framing framing = {
	.header_bytes = sizeof(struct vhu_header),
	.payload_max = PUMP_PAYLOAD_MAX,
	.fds_max = USOCK_FDS_MAX,
	.payload_bytes = payload_bytes,
};

_Static_assert(sizeof(struct vhu_header) + PUMP_PAYLOAD_MAX <= USOCK_SEND_MAX_BYTES,
	"a message always fits into an empty queue");

static struct pump_end *other_of(struct pump_end *end)
{
	return &end->pump->end[end == &end->pump->end[PUMP_FRONT]];
}

static unsigned int index_of(const struct pump_end *end)
{
	return (unsigned int)(end - end->pump->end);
}

static bool is_alone(const struct pump_end *end)
{
	return end->pump->alone && index_of(end) == PUMP_BACK;
}

static bool has_queue(const struct pump_end *end)
{
	return end->sock.out_head && !end->deaf && !is_alone(end);
}

static void end_it(struct pump_end *end, const char *why)
{
	struct pump *pump = end->pump;

	if (!pump->end[PUMP_FRONT].ended && !pump->end[PUMP_BACK].ended) {
		pump->ended_by = index_of(end);
		snprintf(pump->why, sizeof(pump->why), "%.127s", why);
	}
	end->ended = true;
}

/* Why a message did not come, for the log. */
static void end_with_error(struct pump_end *end, int code)
{
	const struct vhu_header *header = (const struct vhu_header *)end->sock.header;
	char why[128];

	switch (code) {
	case -EPIPE: end_it(end, ""); return;
	case -ECONNRESET: end_it(end, "hung up within a message"); return;
	case -EMSGSIZE:
		snprintf(why, sizeof(why),
			"request %u has a payload of %u bytes, at most %u can pass",
			le32_get(header->request), le32_get(header->size), PUMP_PAYLOAD_MAX);
		break;
	case -EBADMSG:
		snprintf(why, sizeof(why), "more than %d descriptors came with one message",
			USOCK_FDS_MAX);
		break;
	case -ENFILE:
		snprintf(why, sizeof(why), "descriptors were lost; raise the limit of open files");
		break;
	case -ELOOP:
		snprintf(why, sizeof(why), "a descriptor is a connection to this very process");
		break;
	default: snprintf(why, sizeof(why), "%s", strerror(-code));
	}
	end_it(end, why);
}

static void pass_on(struct pump_end *end)
{
	struct pump_end *to = other_of(end);
	struct usock *us = &end->sock;
	enum pump_verdict verdict = end->pump->ops->message(end->pump, index_of(end));
	int r = 0;

	end->parked = verdict == PUMP_WAIT;
	if (end->parked)
		return;
	assert(verdict == PUMP_DROP || !is_alone(to));
	if (verdict == PUMP_PASS)
		r = usock_send(&to->sock, us->header, us->payload, us->payload_bytes, us->fds,
			us->num_fds);
	/* Its own last words may still be on their way to the other. */
	if (r < 0)
		to->deaf = true;
	usock_drop(us);
}

static bool may_read(struct pump_end *end)
{
	struct pump_end *to = other_of(end);

	if (end->ended || end->pump->is_over || end->parked || is_alone(end) || has_queue(to) ||
		to->ended)
		return false;
	/* With nobody to deliver to it is not read; it hears of that when the other has ended. */
	return !to->deaf;
}

static void read_end(struct pump_end *end)
{
	for (int i = 0; i < PUMP_BUDGET && may_read(end); i++) {
		int r = usock_recv(&end->sock);

		if (r == 1) {
			pass_on(end);
			continue;
		}
		if (r < 0)
			end_with_error(end, r);
		else if (end->deaf)
			end_it(end, "");
		return;
	}
}

static void flush_end(struct pump_end *end)
{
	if (has_queue(end) && usock_flush(&end->sock) < 0)
		end->deaf = true;
}

/* An end is read, and so found to have ended, only while all that it said is delivered. */
static bool is_over(const struct pump *pump)
{
	return pump->end[0].ended || pump->end[1].ended || (pump->end[0].deaf && pump->end[1].deaf);
}

/* True where the node stands as it should. */
static bool watch(struct pump_end *end, struct err *err)
{
	uint32_t events = (may_read(end) ? EPOLLIN : 0) | (has_queue(end) ? EPOLLOUT : 0);

	/* Whose message waits for us may lose patience. */
	if (end->parked)
		events |= EPOLLRDHUP;
	/* With no event wanted a hang-up would still be told, again and again. */
	if (!events || is_alone(end))
		loop_fd_del(&end->node);
	else if (end->node.loop)
		loop_fd_events(&end->node, events);
	else
		return loop_fd_add(end->pump->loop, &end->node, events, err) == 0;
	return true;
}

static void finish(struct pump *pump)
{
	char why[sizeof(pump->why)];

	memcpy(why, pump->why, sizeof(why));
	pump_close(pump);
	pump->ops->closed(pump, pump->ended_by, why[0] ? why : NULL);
}

static void close_end(struct pump_end *end)
{
	loop_fd_del(&end->node);
	usock_deinit(&end->sock);
	end->ended = end->deaf = end->parked = false;
}

void pump_detach(struct pump *pump)
{
	pump->alone = true;
	pump->why[0] = 0;
	close_end(&pump->end[PUMP_BACK]);
}

/* Only the back end has gone, and the front end stays. */
static bool goes_on_alone(struct pump *pump)
{
	const struct pump_end *front = &pump->end[PUMP_FRONT];
	char why[sizeof(pump->why)];

	if (pump->is_over || front->ended || front->deaf || !pump->end[PUMP_BACK].ended ||
		!pump->ops->lost)
		return false;
	memcpy(why, pump->why, sizeof(why));
	pump_detach(pump);
	if (pump->ops->lost(pump, why[0] ? why : NULL))
		return true;
	pump->ended_by = PUMP_BACK;
	memcpy(pump->why, why, sizeof(why));
	return false;
}

/* After each change; last, for the pump may be gone after it. */
static void settle(struct pump *pump)
{
	struct err err = { 0 };
	bool ok = true;

	for (int i = 0; i < 2; i++)
		if (pump->end[i].deaf)
			read_end(&pump->end[i]);
	if (pump->is_over || (is_over(pump) && !goes_on_alone(pump))) {
		finish(pump);
		return;
	}
	for (int i = 0; i < 2 && ok; i++)
		ok = watch(&pump->end[i], &err);
	if (ok)
		return;
	end_it(&pump->end[PUMP_FRONT], err.msg);
	finish(pump);
}

static void on_ready(struct loop_fd *node, uint32_t revents)
{
	struct pump_end *end = container_of(node, struct pump_end, node);

	if (end->parked && (revents & (EPOLLRDHUP | EPOLLHUP | EPOLLERR)))
		end_it(end, "");
	flush_end(end);
	read_end(end);
	settle(end->pump);
}

static void on_again(struct loop_work *work)
{
	struct pump *pump = container_of(work, struct pump, again);

	for (int i = 0; i < 2; i++) {
		struct pump_end *end = &pump->end[i];

		if (end->parked && !pump->is_over) {
			end->parked = false;
			pass_on(end);
		}
		read_end(end);
	}
	settle(pump);
}

void pump_resume(struct pump *pump)
{
	loop_work_add(pump->loop, &pump->again);
}

void pump_end(struct pump *pump, unsigned int from, const char *why)
{
	end_it(&pump->end[from], why);
	/* Whoever sees to the back end's going has said that it is over. */
	pump->is_over = true;
	pump_resume(pump);
}

void pump_say(struct pump *pump, unsigned int to, const struct vhu_header *header,
	const void *payload, const int *fds, unsigned int num_fds)
{
	struct pump_end *end = &pump->end[to];

	if (is_alone(end))
		return;
	if (usock_send(&end->sock, header, payload, le32_get(header->size), fds, num_fds) < 0)
		end->deaf = true;
	/* What waits to be sent, or a hang-up, is seen to in the loop's next round. */
	pump_resume(pump);
}

static void on_linger(struct loop_timer *timer)
{
	struct pump *pump = container_of(timer, struct pump, linger);

	if (!pump->why[0])
		snprintf(pump->why, sizeof(pump->why),
			"hung up, and the other end did not read its last words");
	finish(pump);
}

static void init_end(struct pump *pump, unsigned int i, int fd)
{
	struct pump_end *end = &pump->end[i];

	end->pump = pump;
	usock_init(&end->sock, fd, &framing);
	end->node.fd = fd;
	end->node.fn = on_ready;
}

int pump_attach(struct pump *pump, int back, struct err *err)
{
	pump->alone = false;
	init_end(pump, PUMP_BACK, back);
	if (watch(&pump->end[PUMP_BACK], err))
		return 0;
	pump_detach(pump);
	return -EIO;
}

int pump_open(struct pump *pump, struct loop *loop, const struct pump_ops *ops, int front, int back,
	struct err *err)
{
	bool ok = true;

	*pump = (struct pump){ .ops = ops, .loop = loop, .open = true, .alone = back < 0 };
	pump->linger.fn = on_linger;
	pump->again.fn = on_again;
	init_end(pump, PUMP_FRONT, front);
	pump->end[PUMP_BACK].pump = pump;
	if (back >= 0)
		init_end(pump, PUMP_BACK, back);
	for (int i = 0; i < 2 && ok; i++)
		ok = watch(&pump->end[i], err);
	if (ok)
		return 0;
	pump_close(pump);
	return -EIO;
}

void pump_close(struct pump *pump)
{
	if (!pump->open)
		return;
	pump->open = false;
	loop_timer_cancel(&pump->linger);
	loop_work_cancel(pump->loop, &pump->again);
	for (int i = 0; i < 2; i++)
		close_end(&pump->end[i]);
}

void pump_look(struct pump *pump)
{
	if (!pump->open)
		return;
	for (int i = 0; i < 2; i++) {
		flush_end(&pump->end[i]);
		read_end(&pump->end[i]);
	}
	settle(pump);
}

bool pump_is_ending(struct pump *pump)
{
	struct pollfd p = { .fd = pump->end[PUMP_FRONT].sock.fd, .events = POLLRDHUP };

	if (!pump->open)
		return false;
	if (poll(&p, 1, 0) <= 0 || !(p.revents & (POLLRDHUP | POLLHUP | POLLERR)))
		return false;
	if (!pump->linger.loop)
		loop_timer_set(
			pump->loop, &pump->linger, now_ns() + PUMP_LINGER_MS * NSEC_PER_MSEC);
	return true;
}
