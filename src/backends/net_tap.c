/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A tap interface: a queue of the kernel's for each pair, with the header that says what is left to
 * do to a packet. The interface exists already, or is made and goes with us, for which the kernel
 * wants CAP_NET_ADMIN; its addresses are for others to set. Packets go to the kernel from where
 * they lie; those that come are read into memory of ours, since only then their length is known.
 *
 * A pair whose receive queue does not run has its queue detached: the kernel spreads what comes
 * over the others.
 */
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <linux/if_tun.h>
#include <net/if.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include "backends/net_int.h"
#include "base/alloc.h"
#include "base/cleanup.h"
#include "base/host_open.h"
#include "base/le.h"

/* TUN_F_USO4 and TUN_F_USO6, from Linux 6.2 on. */
#define TAP_F_USO 0x60

/* linux/virtio_net.h: struct virtio_net_hdr_v1, in little-endian as TUNSETVNETLE has it. */
struct tap_header {
	uint8_t flags, gso_type;
	le16 hdr_len, gso_size, csum_start, csum_offset, num_buffers;
};

struct tap_net {
	char ifname[IFNAMSIZ];
	int *fds; /* num_pairs */
	unsigned int num_fds;
	bool multi;
};

struct tap_in {
	struct loop_fd node;
	struct net_chan *chan;
	size_t len; /* of the packet in @buf, its header included; 0: none */
	uint8_t buf[sizeof(struct tap_header) + NET_PACKET_MAX];
};

struct tap_out {
	struct loop_fd node;
	struct net_chan *chan;
	struct iovec iov[IOV_MAX];
};

/* --- the interface --- */

static void tap_set_offloads(struct net *net, unsigned int offloads)
{
	static const struct {
		unsigned int ours, kernel;
	} flags[] = {
		{ NET_CSUM, TUN_F_CSUM },
		{ NET_TSO4, TUN_F_TSO4 },
		{ NET_TSO6, TUN_F_TSO6 },
		{ NET_ECN, TUN_F_TSO_ECN },
		{ NET_USO, TAP_F_USO },
	};
	const struct tap_net *tap = net->state;
	unsigned int arg = 0;
	size_t i;

	for (i = 0; i < ARRAY_SIZE(flags); i++)
		if (offloads & NET_CSUM && offloads & flags[i].ours)
			arg |= flags[i].kernel;
	if (ioctl(tap->fds[0], TUNSETOFFLOAD, (unsigned long)arg) < 0)
		log_warn("%s: %s: the kernel refuses offloads 0x%x: %s", net->id, net->name, arg,
			strerror(errno));
}

static void tap_close(struct net *net)
{
	struct tap_net *tap = net->state;

	if (!tap)
		return;
	while (tap->num_fds)
		close(tap->fds[--tap->num_fds]);
	free(tap->fds);
	free(tap);
}

static int open_queue(struct tap_net *tap, struct err *err)
{
	int header = sizeof(struct tap_header), one = 1;
	struct ifreq ifr = { 0 };
	_cleanup_fd_ int fd = host_open("/dev/net/tun", O_RDWR | O_NONBLOCK, 0, err);

	if (fd < 0)
		return fd;
	memcpy(ifr.ifr_name, tap->ifname, sizeof(ifr.ifr_name));
	ifr.ifr_flags =
		(short)(IFF_TAP | IFF_NO_PI | IFF_VNET_HDR | (tap->multi ? IFF_MULTI_QUEUE : 0));
	if (ioctl(fd, TUNSETIFF, &ifr) < 0)
		return err_set(err, -errno,
			"tap '%s': %s; it has to be there and ours (ip tuntap add %s mode tap user "
			"USER%s), or is made where we have CAP_NET_ADMIN",
			tap->ifname, strerror(errno), tap->ifname[0] ? tap->ifname : "NAME",
			tap->multi ? " multi_queue" : "");
	memcpy(tap->ifname, ifr.ifr_name, sizeof(tap->ifname));
	if (ioctl(fd, TUNSETVNETHDRSZ, &header) < 0 || ioctl(fd, TUNSETVNETLE, &one) < 0)
		return err_set(err, -errno, "tap '%s': its header cannot be set: %s", tap->ifname,
			strerror(errno));
	tap->fds[tap->num_fds++] = take_fd(&fd);
	return 0;
}

static void attach(const struct tap_net *tap, unsigned int pair, bool on)
{
	struct ifreq ifr = { .ifr_flags = on ? IFF_ATTACH_QUEUE : IFF_DETACH_QUEUE };

	/* It fails where it is so already. */
	if (tap->multi)
		ioctl(tap->fds[pair], TUNSETQUEUE, &ifr);
}

static int tap_open(struct net *net, const struct net_config *config, struct err *err)
{
	struct tap_net *tap = xnew(struct tap_net);
	unsigned int i;
	int r = 0;

	net->state = tap;
	tap->multi = config->num_pairs > 1;
	tap->fds = xnew_n(int, config->num_pairs);
	if (config->ifname && strlen(config->ifname) >= sizeof(tap->ifname))
		return err_set(err, -EINVAL, "ifname='%s': expected %zu bytes at most",
			config->ifname, sizeof(tap->ifname) - 1);
	if (config->ifname)
		strcpy(tap->ifname, config->ifname);
	for (i = 0; !r && i < config->num_pairs; i++)
		r = open_queue(tap, err);
	if (r < 0)
		return r;
	net->name = xasprintf("tap '%s'", tap->ifname);
	net->offloads = NET_CSUM | NET_TSO4 | NET_TSO6 | NET_ECN;
	if (ioctl(tap->fds[0], TUNSETOFFLOAD, (unsigned long)(TUN_F_CSUM | TAP_F_USO)) == 0)
		net->offloads |= NET_USO;
	ioctl(tap->fds[0], TUNSETOFFLOAD, 0ul);
	/* Nobody reads any of them yet. */
	for (i = 0; i < tap->num_fds; i++)
		attach(tap, i, false);
	return 0;
}

/* --- channels --- */

static void on_in(struct loop_fd *node, uint32_t revents)
{
	struct tap_in *in = container_of(node, struct tap_in, node);

	(void)revents;
	in->chan->ready(in->chan->opaque);
}

static void on_out(struct loop_fd *node, uint32_t revents)
{
	struct tap_out *out = container_of(node, struct tap_out, node);

	(void)revents;
	out->chan->ready(out->chan->opaque);
}

static int open_in(struct net_chan *chan, int fd, struct err *err)
{
	struct tap_in *in = xnew(struct tap_in);
	int r;

	in->node.fn = on_in;
	in->chan = chan;
	r = net_watch(chan, &in->node, fd, EPOLLIN, err);
	if (r < 0) {
		free(in);
		return r;
	}
	chan->state = in;
	attach(chan->net->state, chan->pair, true);
	return 0;
}

static int open_out(struct net_chan *chan, int fd, struct err *err)
{
	struct tap_out *out = xnew(struct tap_out);
	_cleanup_fd_ int own = fcntl(fd, F_DUPFD_CLOEXEC, 0);
	int r;

	if (own < 0) {
		free(out);
		return err_set(err, -errno, "%s: %s", chan->net->name, strerror(errno));
	}
	out->node.fn = on_out;
	out->chan = chan;
	/* Of its own: one epoll takes a descriptor once, and both ways may be on one loop. */
	r = net_watch(chan, &out->node, own, EPOLLOUT, err);
	if (r < 0) {
		free(out);
		return r;
	}
	take_fd(&own);
	chan->state = out;
	return 0;
}

static int tap_chan_open(struct net_chan *chan, struct err *err)
{
	const struct tap_net *tap = chan->net->state;
	int fd = tap->fds[chan->pair];

	return chan->dir == NET_IN ? open_in(chan, fd, err) : open_out(chan, fd, err);
}

static void tap_chan_close(struct net_chan *chan)
{
	struct tap_in *in = chan->state;
	struct tap_out *out = chan->state;

	if (chan->dir == NET_IN) {
		attach(chan->net->state, chan->pair, false);
		loop_fd_del(&in->node);
	} else {
		int fd = out->node.fd;

		loop_fd_del(&out->node);
		close(fd);
	}
	free(chan->state);
}

static bool tap_peek(struct net_chan *chan, struct net_packet *ret)
{
	struct tap_in *in = chan->state;
	const struct tap_header *h = (const struct tap_header *)in->buf;

	while (!in->len) {
		ssize_t n = read(in->node.fd, in->buf, sizeof(in->buf));

		if (n < 0 && errno == EINTR)
			continue;
		/* An interface that is down or gone has nothing either. */
		if (n < 0)
			return false;
		if ((size_t)n >= sizeof(*h))
			in->len = (size_t)n;
	}
	ret->bytes = in->buf + sizeof(*h);
	ret->len = (uint32_t)(in->len - sizeof(*h));
	ret->offload = (struct net_offload){ h->flags, h->gso_type, le16_get(h->hdr_len),
		le16_get(h->gso_size), le16_get(h->csum_start), le16_get(h->csum_offset) };
	return true;
}

static void tap_next(struct net_chan *chan)
{
	((struct tap_in *)chan->state)->len = 0;
}

static int tap_send_iov(struct net_chan *chan, const struct net_offload *offload,
	const struct iovec *iov, unsigned int num_iov)
{
	struct tap_out *out = chan->state;
	struct tap_header h = { offload->flags, offload->gso_type, le16_make(offload->hdr_len),
		le16_make(offload->gso_size), le16_make(offload->csum_start),
		le16_make(offload->csum_offset), le16_make(0) };
	ssize_t n;

	if (num_iov >= IOV_MAX)
		return -EMSGSIZE;
	out->iov[0] = (struct iovec){ &h, sizeof(h) };
	memcpy(out->iov + 1, iov, num_iov * sizeof(*iov));
	do
		n = writev(out->node.fd, out->iov, (int)num_iov + 1);
	while (n < 0 && errno == EINTR);
	return n < 0 ? -errno : 0;
}

const struct net_ops net_ops_tap = {
	.takes_iov = true,
	.max_pairs = NET_PAIRS_MAX,
	.open = tap_open,
	.close = tap_close,
	.set_offloads = tap_set_offloads,
	.chan_open = tap_chan_open,
	.chan_close = tap_chan_close,
	.peek = tap_peek,
	.next = tap_next,
	.send_iov = tap_send_iov,
};
