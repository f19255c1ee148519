/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * What all kinds of networks share: opening by table, channels, news of the link on the main loop;
 * and the kind that is no network at all, for measuring.
 */
#include "backends/net.h"

#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "backends/net_int.h"
#include "base/alloc.h"

const char *const net_kinds[] = { [NET_NULL] = "null",
	[NET_TAP] = "tap",
	[NET_USER] = "user",
	[NET_STREAM] = "stream",
	[NET_DGRAM] = "dgram",
	NULL };

static const struct net_ops *const all_ops[] = {
	[NET_NULL] = &net_ops_null,
	[NET_TAP] = &net_ops_tap,
#ifdef HAVE_LIBSLIRP
	[NET_USER] = &net_ops_user,
#endif
	[NET_STREAM] = &net_ops_stream,
	[NET_DGRAM] = &net_ops_dgram,
};

/* --- the link --- */

/* Outlives its network where a message is on its way. Of the main loop, but @posted. */
struct net_link {
	struct loop_post post;
	struct loop *main_loop;
	net_link_fn *fn;
	void *opaque;
	_Atomic bool posted;
	bool orphaned;
};

static void on_link_post(struct loop_post *post)
{
	struct net_link *link = container_of(post, struct net_link, post);

	if (link->orphaned) {
		free(link);
		return;
	}
	/* Before the look at the link: what changes from now on is posted again. */
	atomic_store(&link->posted, false);
	if (link->fn)
		link->fn(link->opaque);
}

void net_set_link(struct net *net, bool up)
{
	if (atomic_exchange(&net->link_up, up) == up || atomic_exchange(&net->link->posted, true))
		return;
	loop_post(net->link->main_loop, &net->link->post);
}

bool net_link_up(const struct net *net)
{
	return atomic_load(&net->link_up);
}

static void link_free(struct net_link *link)
{
	/* No loop of a channel is left to post: what was posted comes, and frees it. */
	if (atomic_load(&link->posted))
		link->orphaned = true;
	else
		free(link);
}

void net_set_offloads(struct net *net, unsigned int offloads)
{
	if (net->ops->set_offloads)
		net->ops->set_offloads(net, offloads & net->offloads);
}

/* --- life --- */

unsigned int net_max_pairs(enum net_kind kind)
{
	return all_ops[kind] ? all_ops[kind]->max_pairs : 1;
}

int net_open(const struct net_config *config, struct loop *main_loop, net_link_fn *fn, void *opaque,
	struct net **ret, struct err *err)
{
	const struct net_ops *ops = all_ops[config->kind];
	struct net *net;
	int r;

	if (!ops)
		return err_set(err, -ENOSYS, "netdev '%s' was left out of this build",
			net_kinds[config->kind]);
	if (config->num_pairs > ops->max_pairs)
		return err_set(err, -EINVAL,
			"netdev '%s' has %u pairs of queues at most: queues=%u",
			net_kinds[config->kind], ops->max_pairs, config->num_pairs);
	net = xnew(struct net);
	pthread_mutex_init(&net->lock, NULL);
	net->kind = config->kind;
	net->id = xstrdup(config->id);
	net->takes_iov = ops->takes_iov;
	net->stays = ops->stays;
	net->links = ops->links;
	net->num_pairs = config->num_pairs;
	net->ops = ops;
	net->link = xnew(struct net_link);
	net->link->post.fn = on_link_post;
	net->link->main_loop = main_loop;
	net->link->fn = fn;
	net->link->opaque = opaque;
	atomic_init(&net->link_up, true);
	r = ops->open(net, config, err);
	if (r < 0) {
		net_free(net);
		return r;
	}
	if (!net->name)
		net->name = xstrdup(net_kinds[net->kind]);
	*ret = net;
	return 0;
}

void net_free(struct net *net)
{
	if (!net)
		return;
	assert(!net->num_chans);
	net->ops->close(net);
	link_free(net->link);
	pthread_mutex_destroy(&net->lock);
	free(net->id);
	free(net->name);
	free(net);
}

/* Queues on different loops may start at the same time. */
static int take_loop(struct net *net, struct loop *loop, struct err *err)
{
	int r = 0;

	if (!net->ops->one_loop)
		return 0;
	pthread_mutex_lock(&net->lock);
	if (net->one_loop && net->one_loop != loop) {
		r = err_set(err, -EINVAL,
			"netdev '%s' is served by one loop: its queues are on '%s' and '%s'",
			net_kinds[net->kind], net->one_loop->name, loop->name);
	} else {
		net->one_loop = loop;
		net->num_chans++;
	}
	pthread_mutex_unlock(&net->lock);
	return r;
}

static void drop_loop(struct net *net)
{
	if (!net->ops->one_loop)
		return;
	pthread_mutex_lock(&net->lock);
	if (!--net->num_chans)
		net->one_loop = NULL;
	pthread_mutex_unlock(&net->lock);
}

int net_chan_open(struct net *net, unsigned int pair, enum net_dir dir, struct loop *loop,
	net_ready_fn *ready, void *opaque, struct net_chan **ret, struct err *err)
{
	struct net_chan *chan;
	int r = take_loop(net, loop, err);

	if (r < 0)
		return r;
	chan = xnew(struct net_chan);
	*chan = (struct net_chan){ .net = net,
		.pair = pair,
		.dir = dir,
		.loop = loop,
		.ready = ready,
		.opaque = opaque,
		.ops = net->ops };
	r = net->ops->chan_open(chan, err);
	if (r < 0) {
		drop_loop(net);
		free(chan);
		return r;
	}
	*ret = chan;
	return 0;
}

void net_chan_close(struct net_chan *chan)
{
	if (!chan)
		return;
	chan->ops->chan_close(chan);
	drop_loop(chan->net);
	free(chan);
}

int net_watch(struct net_chan *chan, struct loop_fd *node, int fd, uint32_t events, struct err *err)
{
	node->fd = fd;
	return loop_fd_add(chan->loop, node, events | EPOLLET, err);
}

bool net_peek(struct net_chan *chan, struct net_packet *ret)
{
	return chan->ops->peek(chan, ret);
}

void net_next(struct net_chan *chan)
{
	chan->ops->next(chan);
}

uint64_t net_num_lost(const struct net_chan *chan)
{
	return atomic_load_explicit(&chan->num_lost, memory_order_relaxed);
}

void *net_room(struct net_chan *chan, uint32_t len)
{
	return chan->ops->room(chan, len);
}

void net_send(struct net_chan *chan, const struct net_offload *offload, uint32_t len)
{
	chan->ops->send(chan, offload, len);
}

int net_send_iov(struct net_chan *chan, const struct net_offload *offload, const struct iovec *iov,
	unsigned int num_iov)
{
	return chan->ops->send_iov(chan, offload, iov, num_iov);
}

/* --- null --- */

/* IEEE 802, "local experimental": nobody takes such a frame for his own. */
#define NULL_ETHERTYPE 0x88b5
#define NULL_FRAME_MIN 14

struct null_net {
	uint32_t len;
	uint8_t frame[];
};

static int null_open(struct net *net, const struct net_config *config, struct err *err)
{
	static const uint8_t from[6] = { 0x52, 0x54, 0x00, 0xff, 0xff, 0xff };
	struct null_net *null;
	uint32_t len = config->source_bytes, i;

	if (len && (len < NULL_FRAME_MIN || len > NET_PACKET_MAX))
		return err_set(err, -EINVAL, "source=%u: a frame has %d to %d bytes", len,
			NULL_FRAME_MIN, NET_PACKET_MAX);
	null = xcalloc(1, sizeof(*null) + MAX(len, 14u));
	null->len = len;
	memcpy(null->frame, config->mac, 6);
	memcpy(null->frame + 6, from, 6);
	null->frame[12] = NULL_ETHERTYPE >> 8;
	null->frame[13] = NULL_ETHERTYPE & 0xff;
	for (i = NULL_FRAME_MIN; i < len; i++)
		null->frame[i] = (uint8_t)i;
	net->state = null;
	/* What is forgotten may have anything left to do. */
	net->offloads = NET_CSUM | NET_TSO4 | NET_TSO6 | NET_ECN | NET_USO;
	return 0;
}

static void null_close(struct net *net)
{
	free(net->state);
}

static int null_chan_open(struct net_chan *chan, struct err *err)
{
	(void)err;
	/* Each has its own: what two loops write stays apart. */
	chan->state = chan->dir == NET_OUT ? xcalloc(1, NET_PACKET_MAX) : chan->net->state;
	return 0;
}

static void null_chan_close(struct net_chan *chan)
{
	if (chan->dir == NET_OUT)
		free(chan->state);
}

static bool null_peek(struct net_chan *chan, struct net_packet *ret)
{
	const struct null_net *null = chan->state;

	if (!null->len)
		return false;
	*ret = (struct net_packet){ .bytes = null->frame, .len = null->len };
	return true;
}

static void null_next(struct net_chan *chan)
{
	(void)chan;
}

static void *null_room(struct net_chan *chan, uint32_t len)
{
	(void)len;
	return chan->state;
}

static void null_send(struct net_chan *chan, const struct net_offload *offload, uint32_t len)
{
	(void)chan;
	(void)offload;
	(void)len;
}

const struct net_ops net_ops_null = {
	.stays = true,
	.max_pairs = NET_PAIRS_MAX,
	.open = null_open,
	.close = null_close,
	.chan_open = null_chan_open,
	.chan_close = null_chan_close,
	.peek = null_peek,
	.next = null_next,
	.room = null_room,
	.send = null_send,
};
