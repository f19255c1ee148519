/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A network of its own behind libslirp, which plays its router, DHCP and name server and turns the
 * guest's connections into sockets of this process. The library is loaded on first use. Addresses
 * are those of QEMU's -netdev user.
 *
 * The library wants to be asked what it waits for after whatever was done with it: that is one
 * piece of work a round. It shares some state between its instances, so one lock stands before it;
 * nobody waits with it.
 */
#include <arpa/inet.h>
#include <dlfcn.h>
#include <errno.h>
#include <pthread.h>
#include <slirp/libslirp.h>
#include <stdlib.h>
#include <string.h>

#include "backends/net_int.h"
#include "base/alloc.h"

/* Packets to the guest that wait: what is more is lost, as the library allows. */
#define RING_PACKETS 512
#define RING_BYTES   2048 /* of each: the library's MTU is 1,500 */
/* Sockets of one guest. */
#define FDS_MAX 4096
/* The library says so where it waits for no time at all. */
#define NO_TIMER_MS 1000

/* A socket of the library's that is watched, or was. */
struct user_fd {
	struct loop_fd node;
	struct user_net *user;
	uint32_t wanted; /* of the last time that it was asked; EPOLL... */
	uint32_t revents;
	bool asked;
};

struct user_timer {
	struct loop_timer timer;
	struct user_net *user;
	SlirpTimerId id;
	void *opaque;
	uint64_t due_ns; /* 0: not set */
	struct user_timer *next;
};

struct user_packet {
	uint32_t len;
	uint8_t bytes[RING_BYTES - sizeof(uint32_t)];
};

struct user_net {
	struct net *net;
	Slirp *slirp;
	struct loop *loop; /* NULL while no channel is there */
	struct net_chan *in, *out;
	struct user_fd **fds; /* by descriptor; NULL: unknown */
	int num_fds;
	int *polls; /* what the library calls by index: descriptors */
	int num_polls;
	struct user_timer *timers;
	struct loop_timer tick;
	struct loop_work work;
	struct log_limit limit;
	struct user_packet *ring;
	uint32_t ring_first, ring_used;
	uint8_t out_buf[NET_PACKET_MAX];
};

static struct {
	Slirp *(*new)(const SlirpConfig *cfg, const SlirpCb *callbacks, void *opaque);
	void (*cleanup)(Slirp *slirp);
	void (*pollfds_fill)(
		Slirp *slirp, uint32_t *timeout, SlirpAddPollCb add_poll, void *opaque);
	void (*pollfds_poll)(
		Slirp *slirp, int select_error, SlirpGetREventsCb get_revents, void *opaque);
	void (*input)(Slirp *slirp, const uint8_t *pkt, int pkt_len);
	void (*handle_timer)(Slirp *slirp, SlirpTimerId id, void *cb_opaque);
	int (*add_hostfwd)(Slirp *slirp, int is_udp, struct in_addr host_addr, int host_port,
		struct in_addr guest_addr, int guest_port);
} lib;

static pthread_mutex_t lib_lock = PTHREAD_MUTEX_INITIALIZER;

static int load_library(struct err *err)
{
	static const struct {
		const char *name;
		void *place;
	} symbols[] = {
		{ "slirp_new", &lib.new },
		{ "slirp_cleanup", &lib.cleanup },
		{ "slirp_pollfds_fill", &lib.pollfds_fill },
		{ "slirp_pollfds_poll", &lib.pollfds_poll },
		{ "slirp_input", &lib.input },
		{ "slirp_handle_timer", &lib.handle_timer },
		{ "slirp_add_hostfwd", &lib.add_hostfwd },
	};
	static void *handle;
	size_t i;

	if (handle)
		return 0;
	handle = dlopen("libslirp.so.0", RTLD_NOW | RTLD_LOCAL);
	if (!handle)
		return err_set(err, -ENOENT, "netdev 'user' needs libslirp (package libslirp0): %s",
			dlerror());
	for (i = 0; i < ARRAY_SIZE(symbols); i++) {
		void *found = dlsym(handle, symbols[i].name);

		if (!found) {
			dlclose(handle);
			handle = NULL;
			return err_set(err, -ENOSYS,
				"netdev 'user' needs libslirp 4.7 or newer: this one has no %s",
				symbols[i].name);
		}
		memcpy(symbols[i].place, &found, sizeof(found));
	}
	return 0;
}

/* --- what the library waits for --- */

static void work_soon(struct user_net *u)
{
	if (u->loop)
		loop_work_add(u->loop, &u->work);
}

static void on_socket(struct loop_fd *node, uint32_t revents)
{
	struct user_fd *fd = container_of(node, struct user_fd, node);

	fd->revents |= revents;
	work_soon(fd->user);
}

static uint32_t to_epoll(int events)
{
	return (events & SLIRP_POLL_IN ? EPOLLIN : 0u) | (events & SLIRP_POLL_OUT ? EPOLLOUT : 0u) |
	       (events & SLIRP_POLL_PRI ? EPOLLPRI : 0u);
}

static int from_epoll(uint32_t events)
{
	return (events & EPOLLIN ? SLIRP_POLL_IN : 0) | (events & EPOLLOUT ? SLIRP_POLL_OUT : 0) |
	       (events & EPOLLPRI ? SLIRP_POLL_PRI : 0) | (events & EPOLLERR ? SLIRP_POLL_ERR : 0) |
	       (events & EPOLLHUP ? SLIRP_POLL_HUP : 0);
}

static struct user_fd *fd_of(struct user_net *u, int fd)
{
	if (fd >= u->num_fds) {
		u->fds = xreallocarray(u->fds, (size_t)fd + 1, sizeof(*u->fds));
		memset(u->fds + u->num_fds, 0, (size_t)(fd + 1 - u->num_fds) * sizeof(*u->fds));
		u->num_fds = fd + 1;
	}
	if (!u->fds[fd]) {
		u->fds[fd] = xnew(struct user_fd);
		u->fds[fd]->node.fn = on_socket;
		u->fds[fd]->user = u;
	}
	return u->fds[fd];
}

static int on_add_poll(int fd, int events, void *opaque)
{
	struct user_net *u = opaque;
	struct user_fd *f;

	if (u->num_polls == FDS_MAX) {
		log_limited(&u->limit, LOG_LEVEL_WARN,
			"%s: the guest has more than %d sockets: the rest is not served",
			u->net->id, FDS_MAX);
		return -1;
	}
	f = fd_of(u, fd);
	f->wanted = to_epoll(events);
	f->asked = true;
	u->polls[u->num_polls] = fd;
	return u->num_polls++;
}

static int on_get_revents(int idx, void *opaque)
{
	struct user_net *u = opaque;
	struct user_fd *f;

	if (idx < 0 || idx >= u->num_polls || u->polls[idx] >= u->num_fds)
		return 0;
	f = u->fds[u->polls[idx]];
	return f ? from_epoll(f->revents) : 0;
}

static void watch(struct user_net *u, int fd)
{
	struct user_fd *f = u->fds[fd];
	struct err err = { 0 };

	f->revents = 0;
	if (!f->asked || !f->wanted) {
		loop_fd_del(&f->node);
	} else if (!f->node.loop) {
		f->node.fd = fd;
		if (loop_fd_add(u->loop, &f->node, f->wanted, &err) < 0)
			log_limited(&u->limit, LOG_LEVEL_WARN, "%s: %s", u->net->id, err.msg);
	} else if (f->node.events != f->wanted) {
		loop_fd_events(&f->node, f->wanted);
	}
}

/* Asks anew what is waited for. */
static void ask(struct user_net *u)
{
	uint32_t timeout_ms = UINT32_MAX;
	int fd;

	for (fd = 0; fd < u->num_fds; fd++)
		if (u->fds[fd])
			u->fds[fd]->asked = false;
	u->num_polls = 0;
	lib.pollfds_fill(u->slirp, &timeout_ms, on_add_poll, u);
	for (fd = 0; fd < u->num_fds; fd++)
		if (u->fds[fd])
			watch(u, fd);
	if (timeout_ms < NO_TIMER_MS)
		loop_timer_set(u->loop, &u->tick, now_ns() + timeout_ms * NSEC_PER_MSEC);
	else
		loop_timer_cancel(&u->tick);
}

static void on_work(struct loop_work *work)
{
	struct user_net *u = container_of(work, struct user_net, work);

	pthread_mutex_lock(&lib_lock);
	lib.pollfds_poll(u->slirp, 0, on_get_revents, u);
	ask(u);
	pthread_mutex_unlock(&lib_lock);
	if (u->in && u->ring_used)
		u->in->ready(u->in->opaque);
}

static void on_tick(struct loop_timer *timer)
{
	work_soon(container_of(timer, struct user_net, tick));
}

/* --- what the library asks of us; the lock is held --- */

static ssize_t on_send_packet(const void *buf, size_t len, void *opaque)
{
	struct user_net *u = opaque;
	struct user_packet *p;

	if (u->ring_used == RING_PACKETS || len > sizeof(p->bytes)) {
		if (u->in)
			net_count_lost(u->in);
		return (ssize_t)len;
	}
	p = &u->ring[(u->ring_first + u->ring_used++) % RING_PACKETS];
	p->len = (uint32_t)len;
	memcpy(p->bytes, buf, len);
	work_soon(u);
	return (ssize_t)len;
}

static void on_guest_error(const char *msg, void *opaque)
{
	struct user_net *u = opaque;

	log_limited(&u->limit, LOG_LEVEL_WARN, "%s: %s", u->net->id, msg);
}

static int64_t on_clock(void *opaque)
{
	(void)opaque;
	return (int64_t)now_ns();
}

static void on_timer(struct loop_timer *timer)
{
	struct user_timer *t = container_of(timer, struct user_timer, timer);

	t->due_ns = 0;
	pthread_mutex_lock(&lib_lock);
	lib.handle_timer(t->user->slirp, t->id, t->opaque);
	pthread_mutex_unlock(&lib_lock);
	work_soon(t->user);
}

static void *on_timer_new(SlirpTimerId id, void *cb_opaque, void *opaque)
{
	struct user_timer *t = xnew(struct user_timer);

	t->timer.fn = on_timer;
	t->user = opaque;
	t->id = id;
	t->opaque = cb_opaque;
	t->next = t->user->timers;
	t->user->timers = t;
	return t;
}

static void on_timer_free(void *timer, void *opaque)
{
	struct user_net *u = opaque;
	struct user_timer *t = timer, **at;

	for (at = &u->timers; *at && *at != t; at = &(*at)->next)
		;
	if (*at)
		*at = t->next;
	loop_timer_cancel(&t->timer);
	free(t);
}

static void on_timer_mod(void *timer, int64_t expire_ms, void *opaque)
{
	struct user_net *u = opaque;
	struct user_timer *t = timer;

	t->due_ns = MAX((uint64_t)expire_ms * NSEC_PER_MSEC, (uint64_t)1);
	if (u->loop)
		loop_timer_set(u->loop, &t->timer, t->due_ns);
}

static void on_register(int fd, void *opaque)
{
	(void)fd;
	(void)opaque;
}

/* It is about to be closed, and its number comes back. */
static void on_unregister(int fd, void *opaque)
{
	struct user_net *u = opaque;

	if (fd < 0 || fd >= u->num_fds || !u->fds[fd])
		return;
	loop_fd_del(&u->fds[fd]->node);
	free(u->fds[fd]);
	u->fds[fd] = NULL;
}

static void on_notify(void *opaque)
{
	work_soon(opaque);
}

static const SlirpCb callbacks = {
	.send_packet = on_send_packet,
	.guest_error = on_guest_error,
	.clock_get_ns = on_clock,
	.timer_free = on_timer_free,
	.timer_mod = on_timer_mod,
	.register_poll_fd = on_register,
	.unregister_poll_fd = on_unregister,
	.notify = on_notify,
	.timer_new_opaque = on_timer_new,
};

/* --- life --- */

static int add_forwards(struct user_net *u, const char *words, struct err *err)
{
	while (words && *words) {
		size_t len = strcspn(words, "+");
		struct net_forward fwd;
		struct in_addr host, guest;
		int r = net_parse_forward(words, len, &fwd, err);

		if (r < 0)
			return r;
		host.s_addr = fwd.host_addr;
		guest.s_addr = fwd.guest_addr;
		if (lib.add_hostfwd(u->slirp, fwd.udp, host, fwd.host_port, guest, fwd.guest_port) <
			0)
			return err_set(err, -errno, "hostfwd='%.*s': %s", (int)len, words,
				strerror(errno));
		words += len;
		words += *words == '+';
	}
	return 0;
}

static SlirpConfig make_config(const struct net_config *config)
{
	SlirpConfig c = { .version = 4,
		.restricted = config->restricted,
		.in_enabled = true,
		.in6_enabled = true,
		.vprefix_len = 64 };

	inet_pton(AF_INET, "10.0.2.0", &c.vnetwork);
	inet_pton(AF_INET, "255.255.255.0", &c.vnetmask);
	inet_pton(AF_INET, "10.0.2.2", &c.vhost);
	inet_pton(AF_INET, "10.0.2.15", &c.vdhcp_start);
	inet_pton(AF_INET, "10.0.2.3", &c.vnameserver);
	inet_pton(AF_INET6, "fec0::", &c.vprefix_addr6);
	inet_pton(AF_INET6, "fec0::2", &c.vhost6);
	inet_pton(AF_INET6, "fec0::3", &c.vnameserver6);
	return c;
}

static int user_open(struct net *net, const struct net_config *config, struct err *err)
{
	SlirpConfig c = make_config(config);
	struct user_net *u;
	int r = load_library(err);

	if (r < 0)
		return r;
	u = xnew(struct user_net);
	net->state = u;
	u->net = net;
	u->ring = xnew_n(struct user_packet, RING_PACKETS);
	u->polls = xnew_n(int, FDS_MAX);
	u->tick.fn = on_tick;
	u->work.fn = on_work;
	pthread_mutex_lock(&lib_lock);
	u->slirp = lib.new(&c, &callbacks, u);
	r = u->slirp ? add_forwards(u, config->hostfwd, err)
		     : err_set(err, -EINVAL, "libslirp refuses its configuration");
	pthread_mutex_unlock(&lib_lock);
	return r;
}

static void user_close(struct net *net)
{
	struct user_net *u = net->state;
	int fd;

	if (!u)
		return;
	pthread_mutex_lock(&lib_lock);
	if (u->slirp)
		lib.cleanup(u->slirp);
	pthread_mutex_unlock(&lib_lock);
	while (u->timers)
		on_timer_free(u->timers, u);
	for (fd = 0; fd < u->num_fds; fd++)
		free(u->fds[fd]);
	free(u->fds);
	free(u->polls);
	free(u->ring);
	free(u);
}

static int user_chan_open(struct net_chan *chan, struct err *err)
{
	struct user_net *u = chan->net->state;
	struct user_timer *t;

	(void)err;
	if (!u->loop) {
		u->loop = chan->loop;
		for (t = u->timers; t; t = t->next)
			if (t->due_ns)
				loop_timer_set(u->loop, &t->timer, t->due_ns);
		work_soon(u);
	}
	*(chan->dir == NET_IN ? &u->in : &u->out) = chan;
	chan->state = u;
	return 0;
}

static void user_chan_close(struct net_chan *chan)
{
	struct user_net *u = chan->state;
	struct user_timer *t;
	int fd;

	*(chan->dir == NET_IN ? &u->in : &u->out) = NULL;
	if (u->in || u->out)
		return;
	for (fd = 0; fd < u->num_fds; fd++)
		if (u->fds[fd])
			loop_fd_del(&u->fds[fd]->node);
	for (t = u->timers; t; t = t->next)
		loop_timer_cancel(&t->timer);
	loop_timer_cancel(&u->tick);
	loop_work_cancel(u->loop, &u->work);
	u->loop = NULL;
}

/* --- packets --- */

static bool user_peek(struct net_chan *chan, struct net_packet *ret)
{
	struct user_net *u = chan->state;
	const struct user_packet *p = &u->ring[u->ring_first];

	if (!u->ring_used)
		return false;
	*ret = (struct net_packet){ .bytes = p->bytes, .len = p->len };
	return true;
}

static void user_next(struct net_chan *chan)
{
	struct user_net *u = chan->state;

	u->ring_first = (u->ring_first + 1) % RING_PACKETS;
	u->ring_used--;
}

static void *user_room(struct net_chan *chan, uint32_t len)
{
	struct user_net *u = chan->state;

	(void)len;
	return u->out_buf;
}

static void user_send(struct net_chan *chan, const struct net_offload *offload, uint32_t len)
{
	struct user_net *u = chan->state;

	(void)offload;
	pthread_mutex_lock(&lib_lock);
	lib.input(u->slirp, u->out_buf, (int)len);
	pthread_mutex_unlock(&lib_lock);
	work_soon(u);
}

const struct net_ops net_ops_user = {
	.one_loop = true,
	.max_pairs = 1,
	.open = user_open,
	.close = user_close,
	.chan_open = user_chan_open,
	.chan_close = user_chan_close,
	.peek = user_peek,
	.next = user_next,
	.room = user_room,
	.send = user_send,
};
