/* SPDX-License-Identifier: BSD-3-Clause */
/* What the kinds of networks share; nobody else includes it. */
#ifndef BACKENDS_NET_INT_H
#define BACKENDS_NET_INT_H

#include "backends/net.h"
#include "base/log.h"

struct net_chan {
	struct net *net;
	unsigned int pair;
	enum net_dir dir;
	struct loop *loop;
	net_ready_fn *ready;
	void *opaque;
	const struct net_ops *ops;
	void *state; /* the kind's */
	_Atomic uint64_t num_lost;
	struct log_limit limit;
};

struct net_ops {
	bool takes_iov, stays, one_loop, links;
	unsigned int max_pairs;
	int (*open)(struct net *net, const struct net_config *config, struct err *err);
	void (*close)(struct net *net);
	void (*set_offloads)(struct net *net, unsigned int offloads); /* NULL: gives none */
	int (*chan_open)(struct net_chan *chan, struct err *err);
	void (*chan_close)(struct net_chan *chan);
	bool (*peek)(struct net_chan *chan, struct net_packet *ret);
	void (*next)(struct net_chan *chan);
	/* One of the two pairs, as takes_iov says. */
	void *(*room)(struct net_chan *chan, uint32_t len);
	void (*send)(struct net_chan *chan, const struct net_offload *offload, uint32_t len);
	int (*send_iov)(struct net_chan *chan, const struct net_offload *offload,
		const struct iovec *iov, unsigned int num_iov);
};

extern const struct net_ops net_ops_null, net_ops_tap, net_ops_user, net_ops_stream, net_ops_dgram;

/* The kind's loop: the link is up, or down. The main loop hears of a change. */
void net_set_link(struct net *net, bool up);

static inline void net_count_lost(struct net_chan *chan)
{
	uint64_t n = atomic_load_explicit(&chan->num_lost, memory_order_relaxed);

	atomic_store_explicit(&chan->num_lost, n + 1, memory_order_relaxed);
}

/* A descriptor that tells of changes only: once it was read to its end, or filled. */
int net_watch(
	struct net_chan *chan, struct loop_fd *node, int fd, uint32_t events, struct err *err);

/* net_user_fwd.c: one word of hostfwd=. */
struct net_forward {
	bool udp;
	uint32_t host_addr, guest_addr; /* network byte order; guest 0: the first that DHCP gives */
	uint16_t host_port, guest_port;
};

/*
 * [tcp|udp]:[HOSTADDR]:HOSTPORT-[GUESTADDR]:GUESTPORT, @len bytes of @text. An empty HOSTADDR is
 * the loopback address. -EINVAL with a sentence.
 */
int net_parse_forward(const char *text, size_t len, struct net_forward *ret, struct err *err);

#endif
