/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The back-end's own channel. What is known is that the configuration changed; whatever else comes
 * is refused where an answer was asked for, and else passed over. A message that makes no sense, or
 * answers that are not read, close the channel; the device goes on without it.
 */
#include "vhost/vhost_channel.h"

#include <errno.h>
#include <string.h>
#include <sys/socket.h>

#include "base/cleanup.h"
#include "proto/vhost_user.h"

/* Messages at a time before others of the loop have their turn. */
#define CHANNEL_BUDGET 16

static ssize_t payload_bytes(const void *header)
{
	const struct vhu_header *h = header;
	uint32_t size = le32_get(h->size), flags = le32_get(h->flags);

	return size > VHU_PAYLOAD_MAX || (flags & VHU_VERSION_MASK) != VHU_VERSION ||
			       (flags & VHU_FLAG_REPLY)
		       ? -EPROTO
		       : (ssize_t)size;
}

static const struct usock_framing framing = {
	.header_bytes = sizeof(struct vhu_header),
	.payload_max = VHU_PAYLOAD_MAX,
	.fds_max = VHU_FDS_MAX,
	.payload_bytes = payload_bytes,
};

static int answer(struct vhost_channel *channel)
{
	const struct vhu_header *header = (const void *)channel->sock.header;
	uint32_t request = le32_get(header->request);
	bool known = request == VHU_BACKEND_CONFIG_CHANGE_MSG;
	struct vhu_u64 code = { le64_make(known ? 0 : 1) };
	struct vhu_header reply = vhu_header_make(request, VHU_FLAG_REPLY, sizeof(code));

	if (known)
		channel->config_changed(channel->opaque);
	if (!(le32_get(header->flags) & VHU_NEED_REPLY))
		return 0;
	return usock_send(&channel->sock, &reply, &code, sizeof(code), NULL, 0);
}

static void on_ready(struct loop_fd *node, uint32_t revents)
{
	struct vhost_channel *channel = container_of(node, struct vhost_channel, node);
	int r = revents & EPOLLOUT ? usock_flush(&channel->sock) : 0;

	for (int budget = CHANNEL_BUDGET; r >= 0 && budget && !channel->sock.out_head; budget--) {
		r = usock_recv(&channel->sock);
		if (r <= 0)
			break;
		r = answer(channel);
		usock_drop(&channel->sock);
	}
	if (r < 0) {
		if (r != -EPIPE && r != -ECONNRESET)
			log_limited(&channel->limit, LOG_LEVEL_WARN,
				"%s: the back-end's own channel is closed: %s", channel->label,
				r == -EPROTO ? "a message that makes no sense" : strerror(-r));
		vhost_channel_close(channel);
		return;
	}
	loop_fd_events(node, channel->sock.out_head ? EPOLLOUT : EPOLLIN);
}

int vhost_channel_open(
	struct vhost_channel *channel, struct loop *loop, int *ret_theirs, struct err *err)
{
	int pair[2], r;

	vhost_channel_close(channel);
	if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair) < 0)
		return err_set(
			err, -errno, "cannot make the back-end's own channel: %s", strerror(errno));
	usock_init(&channel->sock, pair[0], &framing);
	channel->node.fd = pair[0];
	channel->node.fn = on_ready;
	r = loop_fd_add(loop, &channel->node, EPOLLIN, err);
	channel->open = true;
	if (r < 0) {
		vhost_channel_close(channel);
		close(pair[1]);
		return r;
	}
	*ret_theirs = pair[1];
	return 0;
}

void vhost_channel_close(struct vhost_channel *channel)
{
	if (!channel->open)
		return;
	loop_fd_del(&channel->node);
	usock_deinit(&channel->sock);
	channel->open = false;
}
