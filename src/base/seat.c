/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * One visitor at a time. Who waits was accepted already, so that it is known who it is, and
 * whoever comes behind it stays in the socket's queue. Refuses a second one, by name: the kernel
 * says which process made a connection, and not who has come to hold it.
 */
#include "base/seat.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/cleanup.h"

/* How long until we accept again, where the kernel gave us no descriptor. */
#define ACCEPT_AGAIN_MS 500

/* --- who it is --- */

static void read_comm(pid_t pid, char comm[SEAT_COMM_BYTES])
{
	_cleanup_fd_ int fd = -1;
	char path[40];
	ssize_t n;

	snprintf(path, sizeof(path), "/proc/%d/comm", (int)pid);
	fd = open(path, O_RDONLY | O_CLOEXEC);
	n = fd < 0 ? 0 : read(fd, comm, SEAT_COMM_BYTES - 1);
	comm[MAX(n, 0)] = '\0';
	comm[strcspn(comm, "\n")] = '\0';
	/* A process gives itself its name. */
	for (char *at = comm; *at; at++)
		if (*at < ' ' || *at > '~')
			*at = '?';
}

static struct seat_visitor visitor_of(int fd)
{
	struct seat_visitor visitor = { .since_ns = now_ns() };
	struct ucred cred = { 0 };
	socklen_t len = sizeof(cred);

	if (getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &cred, &len) == 0 && cred.pid > 0) {
		visitor.pid = cred.pid;
		read_comm(cred.pid, visitor.comm);
	}
	return visitor;
}

const char *seat_visitor_name(const struct seat_visitor *visitor, char buf[SEAT_NAME_BYTES])
{
	if (!visitor->pid)
		snprintf(buf, SEAT_NAME_BYTES, "a process that cannot be seen from here");
	else
		snprintf(buf, SEAT_NAME_BYTES, "%s, pid %d",
			visitor->comm[0] ? visitor->comm : "without a name", (int)visitor->pid);
	return buf;
}

static bool has_ended(const struct seat_visitor *visitor)
{
	return visitor->pid && kill(visitor->pid, 0) < 0 && errno == ESRCH;
}

/* --- who comes --- */

static void turn_away(struct seat *seat)
{
	char first[SEAT_NAME_BYTES], next[SEAT_NAME_BYTES];

	log_limited(&seat->limit, LOG_LEVEL_WARN,
		"%s: a second front-end on %s (%s) is turned away: one is connected for %" PRIu64
		" s (%s%s)",
		seat->label, seat->where, seat_visitor_name(&seat->next, next),
		(uint64_t)((now_ns() - seat->first.since_ns) / NSEC_PER_SEC),
		seat_visitor_name(&seat->first, first),
		has_ended(&seat->first) ? ", which has ended: 'ss -xp' says who holds its socket"
					: "");
	close_fd(&seat->next_fd);
	loop_fd_events(&seat->node, EPOLLIN);
}

static void serve_next(struct seat *seat)
{
	loop_timer_cancel(&seat->timer);
	loop_fd_events(&seat->node, EPOLLIN);
	seat->first = seat->next;
	seat->ops->serve(seat, take_fd(&seat->next_fd));
}

/* What becomes of who waits? Within look() and evict() it may have had its turn. */
static void consider(struct seat *seat, bool waited)
{
	enum seat_state state = seat->ops->look(seat);

	if (seat->next_fd < 0 || state == SEAT_ENDING)
		return;
	if (state == SEAT_FREE) {
		serve_next(seat);
		return;
	}
	if (seat->ops->evict && seat->ops->evict(seat, &seat->next))
		return;
	if (waited)
		turn_away(seat);
	else
		loop_timer_set(seat->loop, &seat->timer, now_ns() + SEAT_WAIT_MS * NSEC_PER_MSEC);
}

static void on_timer(struct loop_timer *timer)
{
	struct seat *seat = container_of(timer, struct seat, timer);

	if (seat->next_fd >= 0)
		consider(seat, true);
	else
		loop_fd_events(&seat->node, EPOLLIN);
}

static void on_accept(struct loop_fd *node, _unused_ uint32_t revents)
{
	struct seat *seat = container_of(node, struct seat, node);
	int fd = listen_accept(&seat->listener);

	if (fd == -EAGAIN)
		return;
	loop_fd_events(node, 0);
	if (fd < 0) {
		/* No descriptor is left, most likely: who waits would wake us again and again. */
		log_limited(&seat->limit, LOG_LEVEL_WARN, "%s: cannot accept a front-end on %s: %s",
			seat->label, seat->where, strerror(-fd));
		loop_timer_set(
			seat->loop, &seat->timer, now_ns() + ACCEPT_AGAIN_MS * NSEC_PER_MSEC);
		return;
	}
	seat->next_fd = fd;
	seat->next = visitor_of(fd);
	consider(seat, false);
}

/* --- life --- */

int seat_open(struct seat *seat, struct loop *loop, const struct listen_options *opts,
	const struct seat_ops *ops, const char *label, const char *where, struct err *err)
{
	int r;

	*seat = (struct seat)SEAT_INIT;
	seat->ops = ops;
	seat->label = label;
	seat->where = where;
	seat->loop = loop;
	seat->timer.fn = on_timer;
	seat->node.fn = on_accept;
	r = listen_unix(&seat->listener, opts, err);
	seat->node.fd = seat->listener.fd;
	if (r == 0)
		r = loop_fd_add(loop, &seat->node, EPOLLIN, err);
	if (r < 0)
		seat_close(seat);
	return r;
}

void seat_vacant(struct seat *seat)
{
	if (!seat->node.loop)
		return;
	if (seat->next_fd >= 0)
		serve_next(seat);
	else
		loop_fd_events(&seat->node, EPOLLIN);
}

void seat_close(struct seat *seat)
{
	loop_timer_cancel(&seat->timer);
	loop_fd_del(&seat->node);
	close_fd(&seat->next_fd);
	listen_close(&seat->listener);
}
