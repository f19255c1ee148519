/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The back-end's own channel to the front-end. CONFIG_CHANGE_MSG goes out, and where notifications
 * are messages VRING_CALL and VRING_ERR. No reply is asked for, so that we never wait for one;
 * several of a kind (and ring) that wait become one. Whatever comes in is thrown away. A
 * channel that fails is closed, the connection stays.
 */
#include <errno.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "transport/vhu_internal.h"

static ssize_t payload_bytes(const void *header)
{
	const struct vhu_header *h = header;

	/* Judged before it is read: a size that is not legal is never waited for. */
	return vhu_check_header(h, NULL) ? -EPROTO : (ssize_t)le32_get(h->size);
}

const struct usock_framing vhu_framing = {
	.header_bytes = sizeof(struct vhu_header),
	.payload_max = VHU_PAYLOAD_MAX,
	.fds_max = VHU_FDS_MAX,
	.payload_bytes = payload_bytes,
};

static int send_change(struct vhu *vhu)
{
	struct vhu_header header = vhu_header_make(VHU_BACKEND_CONFIG_CHANGE_MSG, 0, 0);

	vhu->channel.change_due = false;
	vhu_note(vhu, TRANSCRIPT_BACKEND, true, &header, NULL, 0, 0);
	return usock_send(&vhu->channel.sock, &header, NULL, 0, NULL, 0);
}

static int send_ring(struct vhu *vhu, unsigned int index, bool *due, uint32_t request)
{
	struct vhu_vring_state state = { le32_make(index), le32_make(0) };
	struct vhu_header header = vhu_header_make(request, 0, sizeof(state));

	if (!*due)
		return 0;
	*due = false;
	vhu_note(vhu, TRANSCRIPT_BACKEND, true, &header, &state, sizeof(state), 0);
	return usock_send(&vhu->channel.sock, &header, &state, sizeof(state), NULL, 0);
}

/* The rings' messages in turn, until the socket takes no more. */
static int send_rings(struct vhu *vhu)
{
	struct vhu_channel *channel = &vhu->channel;
	unsigned int n = vhu->dev->num_queues;
	int r = 0;

	for (unsigned int k = 0; !r && k < n && !channel->sock.out_head; k++) {
		unsigned int i = channel->next_ring++ % n;

		r = send_ring(vhu, i, &vhu->rings[i].err_due, VHU_BACKEND_VRING_ERR);
		if (!r)
			r = send_ring(vhu, i, &vhu->rings[i].call_due, VHU_BACKEND_VRING_CALL);
	}
	return r;
}

/* A message is on its way or waits: with one behind it, nothing is ever missed. */
static void send_due(struct vhu *vhu)
{
	struct vhu_channel *channel = &vhu->channel;
	int r;

	r = usock_flush(&channel->sock);
	if (r == 0 && channel->change_due)
		r = send_change(vhu);
	if (r == 0)
		r = send_rings(vhu);
	if (r < 0) {
		log_limited(&vhu->limit, LOG_LEVEL_WARN,
			"%s: the front-end's channel for our requests fails: %s",
			vdev_label(vhu->dev), strerror(-r));
		vhu_channel_close(vhu);
		return;
	}
	loop_fd_events(&channel->node, EPOLLIN | (channel->sock.out_head ? EPOLLOUT : 0u));
}

static void on_channel(struct loop_fd *node, uint32_t revents)
{
	struct vhu *vhu = container_of(node, struct vhu, channel.node);
	char waste[256];
	ssize_t n = 0;

	if (revents & (EPOLLIN | EPOLLHUP | EPOLLERR)) {
		/* No descriptor can come along: there is no room for one, and the kernel drops it.
		 */
		n = recv(node->fd, waste, sizeof(waste), MSG_DONTWAIT);
		if (n == 0 || (n < 0 && errno != EAGAIN && errno != EINTR)) {
			vhu_channel_close(vhu);
			return;
		}
	}
	if (revents & EPOLLOUT)
		send_due(vhu);
}

int vhu_channel_open(struct vhu *vhu, int fd, struct err *err)
{
	struct vhu_channel *channel = &vhu->channel;
	int type = 0, r;
	socklen_t len = sizeof(type);

	if (getsockopt(fd, SOL_SOCKET, SO_TYPE, &type, &len) < 0 || type != SOCK_STREAM) {
		close(fd);
		return err_set(err, -ENOTSOCK, "the descriptor is not a stream socket");
	}
	vhu_channel_close(vhu);
	usock_init(&channel->sock, fd, &vhu_framing);
	channel->node.fd = fd;
	channel->node.fn = on_channel;
	r = loop_fd_add(vhu->dev->main_loop, &channel->node, EPOLLIN, err);
	if (r < 0) {
		usock_deinit(&channel->sock);
		return r;
	}
	channel->open = true;
	send_due(vhu);
	return 0;
}

void vhu_channel_close(struct vhu *vhu)
{
	struct vhu_channel *channel = &vhu->channel;

	if (!channel->open)
		return;
	loop_fd_del(&channel->node);
	usock_deinit(&channel->sock);
	channel->open = false;
	channel->change_due = false;
}

void vhu_channel_config_changed(struct vhu *vhu)
{
	if (!vhu->channel.open || !vhu_negotiated(vhu, VHU_PF_CONFIG))
		return;
	vhu->channel.change_due = true;
	send_due(vhu);
}

void vhu_channel_call(struct vhu *vhu, unsigned int queue)
{
	/* Before the channel is there it waits for it. */
	vhu->rings[queue].call_due = true;
	if (vhu->channel.open)
		send_due(vhu);
}

void vhu_channel_err(struct vhu *vhu, unsigned int queue)
{
	vhu->rings[queue].err_due = true;
	if (vhu->channel.open)
		send_due(vhu);
}
