/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Framing with descriptors. Never reads beyond the message at hand, so that descriptors are counted
 * to the message they came with. Whatever nobody takes is closed. Refuses to go on where
 * descriptors were lost.
 */
#include "proto/usock.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "base/alloc.h"
#include "base/cleanup.h"

/* What the kernel passes at most in one piece (SCM_MAX_FD): with room for all, none is lost here.
 */
#define USOCK_SCM_MAX 253

/* A message, or the rest of one, that waits for the socket. */
struct usock_out {
	struct usock_out *next;
	size_t bytes, sent;
	int fds[USOCK_FDS_MAX];
	unsigned int num_fds;
	uint8_t data[];
};

void usock_init(struct usock *us, int fd, const struct usock_framing *framing)
{
	assert(framing->header_bytes <= USOCK_HEADER_MAX && framing->fds_max <= USOCK_FDS_MAX);
	memset(us, 0, sizeof(*us));
	us->fd = fd;
	us->framing = framing;
	us->payload = xcalloc(1, framing->payload_max);
	fcntl(fd, F_SETFL, fcntl(fd, F_GETFL) | O_NONBLOCK);
}

static void close_all(int *fds, unsigned int *num_fds)
{
	for (unsigned int i = 0; i < *num_fds; i++)
		close_fd(&fds[i]);
	*num_fds = 0;
}

static void out_free(struct usock_out *out)
{
	close_all(out->fds, &out->num_fds);
	free(out);
}

void usock_deinit(struct usock *us)
{
	if (!us->framing)
		return;
	usock_drop(us);
	while (us->out_head) {
		struct usock_out *out = us->out_head;

		us->out_head = out->next;
		out_free(out);
	}
	free(us->payload);
	close_fd(&us->fd);
	memset(us, 0, sizeof(*us));
	us->fd = -1;
}

void usock_drop(struct usock *us)
{
	close_all(us->fds, &us->num_fds);
	us->num_surplus = 0;
	us->payload_bytes = 0;
	us->got = 0;
	us->whole = false;
}

int usock_take_fd(struct usock *us, unsigned int i)
{
	return i < us->num_fds ? take_fd(&us->fds[i]) : -1;
}

/*
 * A socket whose other end is ours: with it in our hands the peer's end would never close, and its
 * going never be noticed. Sockets without a name are not looked at.
 */
static bool leads_back(int fd)
{
	struct sockaddr_un addr;
	socklen_t len = sizeof(addr), cred_len = sizeof(struct ucred);
	struct ucred cred;

	return getpeername(fd, (struct sockaddr *)&addr, &len) == 0 && addr.sun_family == AF_UNIX &&
	       len > offsetof(struct sockaddr_un, sun_path) &&
	       getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &cred, &cred_len) == 0 &&
	       cred.pid == getpid();
}

/* The descriptors of one piece. */
static void collect_fds(struct usock *us, struct msghdr *msg)
{
	struct cmsghdr *cmsg;

	for (cmsg = CMSG_FIRSTHDR(msg); cmsg; cmsg = CMSG_NXTHDR(msg, cmsg)) {
		size_t i, n;

		if (cmsg->cmsg_level != SOL_SOCKET || cmsg->cmsg_type != SCM_RIGHTS)
			continue;
		n = (cmsg->cmsg_len - CMSG_LEN(0)) / sizeof(int);
		for (i = 0; i < n; i++) {
			int fd;

			memcpy(&fd, CMSG_DATA(cmsg) + i * sizeof(int), sizeof(int));
			if (leads_back(fd)) {
				close(fd);
				us->leads_back = true;
			} else if (us->num_fds < us->framing->fds_max) {
				us->fds[us->num_fds++] = fd;
			} else {
				close(fd);
				us->num_surplus++;
			}
		}
	}
}

/* Reads at most @len bytes: how many came, 0 for none now, else -errno. */
static ssize_t recv_piece(struct usock *us, void *buf, size_t len)
{
	union {
		char bytes[CMSG_SPACE(USOCK_SCM_MAX * sizeof(int))];
		struct cmsghdr align;
	} control;
	struct iovec iov = { buf, len };
	struct msghdr msg = {
		.msg_iov = &iov,
		.msg_iovlen = 1,
		.msg_control = &control,
		.msg_controllen = sizeof(control),
	};
	ssize_t r;

	do
		r = recvmsg(us->fd, &msg, MSG_CMSG_CLOEXEC | MSG_DONTWAIT);
	while (r < 0 && errno == EINTR);
	if (r < 0)
		return errno == EAGAIN || errno == EWOULDBLOCK ? 0 : -errno;
	collect_fds(us, &msg);
	if (msg.msg_flags & MSG_CTRUNC)
		return -ENFILE;
	if (us->leads_back)
		return -ELOOP;
	if (us->num_surplus)
		return -EBADMSG;
	if (r == 0)
		return us->got ? -ECONNRESET : -EPIPE;
	return r;
}

int usock_recv(struct usock *us)
{
	size_t header_bytes = us->framing->header_bytes;
	ssize_t r;

	if (us->whole)
		usock_drop(us);
	while (us->got < header_bytes) {
		r = recv_piece(us, us->header + us->got, header_bytes - us->got);
		if (r <= 0)
			return (int)r;
		us->got += (size_t)r;
		if (us->got < header_bytes)
			continue;
		r = us->framing->payload_bytes(us->header);
		if (r < 0)
			return (int)r;
		if ((size_t)r > us->framing->payload_max)
			return -EMSGSIZE;
		us->payload_bytes = (size_t)r;
	}
	while (us->got < header_bytes + us->payload_bytes) {
		size_t have = us->got - header_bytes;

		r = recv_piece(us, us->payload + have, us->payload_bytes - have);
		if (r <= 0)
			return (int)r;
		us->got += (size_t)r;
	}
	us->whole = true;
	if (us->tap)
		us->tap(us, false, us->header, us->payload, us->payload_bytes, us->num_fds);
	return 1;
}

/* Sends what it can: bytes sent, 0 for none now, else -errno. */
static ssize_t send_piece(
	struct usock *us, struct iovec *iov, size_t num_iov, const int *fds, unsigned int num_fds)
{
	union {
		char bytes[CMSG_SPACE(USOCK_FDS_MAX * sizeof(int))];
		struct cmsghdr align;
	} control = { 0 };
	struct msghdr msg = { .msg_iov = iov, .msg_iovlen = num_iov };
	ssize_t r;

	if (num_fds) {
		struct cmsghdr *cmsg = &control.align;

		msg.msg_control = &control;
		msg.msg_controllen = CMSG_SPACE(num_fds * sizeof(int));
		cmsg->cmsg_level = SOL_SOCKET;
		cmsg->cmsg_type = SCM_RIGHTS;
		cmsg->cmsg_len = CMSG_LEN(num_fds * sizeof(int));
		memcpy(CMSG_DATA(cmsg), fds, num_fds * sizeof(int));
	}
	do
		r = sendmsg(us->fd, &msg, MSG_NOSIGNAL | MSG_DONTWAIT);
	while (r < 0 && errno == EINTR);
	if (r < 0)
		return errno == EAGAIN || errno == EWOULDBLOCK ? 0 : -errno;
	return r;
}

/* Queues what is left of a message after its first @sent bytes. */
static int queue_rest(struct usock *us, const struct iovec *whole, size_t sent, const int *fds,
	unsigned int num_fds)
{
	size_t bytes = whole[0].iov_len + whole[1].iov_len;
	struct usock_out *out = xcalloc(1, sizeof(*out) + bytes);

	memcpy(out->data, whole[0].iov_base, whole[0].iov_len);
	if (whole[1].iov_len)
		memcpy(out->data + whole[0].iov_len, whole[1].iov_base, whole[1].iov_len);
	out->bytes = bytes;
	out->sent = sent;
	/* Descriptors go with the first byte. */
	for (unsigned int i = 0; !sent && i < num_fds; i++) {
		int fd = fcntl(fds[i], F_DUPFD_CLOEXEC, 0);

		if (fd < 0) {
			int r = -errno;

			out_free(out);
			return r;
		}
		out->fds[out->num_fds++] = fd;
	}
	if (us->out_tail)
		us->out_tail->next = out;
	else
		us->out_head = out;
	us->out_tail = out;
	us->out_bytes += bytes;
	return 0;
}

int usock_send(struct usock *us, const void *header, const void *payload, size_t payload_bytes,
	const int *fds, unsigned int num_fds)
{
	const struct iovec whole[2] = {
		{ (void *)(uintptr_t)header, us->framing->header_bytes },
		{ (void *)(uintptr_t)payload, payload_bytes },
	};
	size_t bytes = whole[0].iov_len + payload_bytes;
	struct iovec iov[2] = { whole[0], whole[1] };
	ssize_t r = 0;

	assert(num_fds <= USOCK_FDS_MAX);
	if (bytes > USOCK_SEND_MAX_BYTES - us->out_bytes)
		return -ENOBUFS;
	if (us->tap)
		us->tap(us, true, header, payload, payload_bytes, num_fds);
	if (!us->out_head)
		r = send_piece(us, iov, 2, fds, num_fds);
	if (r < 0)
		return (int)r;
	return (size_t)r == bytes ? 0 : queue_rest(us, whole, (size_t)r, fds, num_fds);
}

int usock_flush(struct usock *us)
{
	while (us->out_head) {
		struct usock_out *out = us->out_head;
		struct iovec iov = { out->data + out->sent, out->bytes - out->sent };
		ssize_t r = send_piece(us, &iov, 1, out->fds, out->num_fds);

		if (r <= 0)
			return r < 0 ? (int)r : 1;
		close_all(out->fds, &out->num_fds);
		out->sent += (size_t)r;
		if (out->sent < out->bytes)
			continue;
		us->out_head = out->next;
		if (!us->out_head)
			us->out_tail = NULL;
		us->out_bytes -= out->bytes;
		out_free(out);
	}
	return 0;
}
