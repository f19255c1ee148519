/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * What all character devices have in common: who uses them, readiness, moving bytes, and news about
 * peers; and the two kinds that need no more: null and file. Nothing is kept here; what the kernel
 * does not take now stays with the caller.
 */
#include "backends/chardev.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "backends/chardev_int.h"
#include "base/alloc.h"
#include "base/cleanup.h"
#include "base/host_open.h"

/*
 * One call moves no more: a file takes gigabytes at once, and nobody else on the loop has a turn
 * until it did.
 */
#define CHARDEV_PIECE_BYTES (1u << 20)

static void end_disarm(struct chardev *chr, struct chardev_end *end)
{
	loop_fd_del(&end->node);
	if (chr->loop)
		loop_work_cancel(chr->loop, &end->work);
}

static void end_arm(struct chardev *chr, struct chardev_end *end, uint32_t events)
{
	struct err err = { 0 };
	int r;

	if (!chr->loop || end->fd < 0 || end->node.loop)
		return;
	if (!end->always) {
		end->node.fd = end->fd;
		r = loop_fd_add(chr->loop, &end->node, events, &err);
		if (!r)
			return;
		if (r != -EPERM)
			log_limited(
				&chr->limit, LOG_LEVEL_ERROR, "chardev '%s': %s", chr->id, err.msg);
		end->always = r == -EPERM;
	}
	if (end->always)
		loop_work_add(chr->loop, &end->work);
}

void chardev_end_close(struct chardev *chr, struct chardev_end *end)
{
	end_disarm(chr, end);
	end->always = false;
	close_fd(&end->fd);
}

static void hangup(struct chardev *chr, bool output)
{
	if (chr->class->hangup)
		chr->class->hangup(chr, output);
	else
		chardev_end_close(chr, output ? &chr->out : &chr->in);
}

static void update_in(struct chardev *chr)
{
	if (chr->want_read && chr->is_open)
		end_arm(chr, &chr->in, EPOLLIN);
	else
		end_disarm(chr, &chr->in);
}

static void in_fd_ready(struct loop_fd *node, uint32_t revents)
{
	struct chardev *chr = container_of(node, struct chardev, in.node);

	(void)revents;
	chr->ops->readable(chr->opaque);
}

static void in_work(struct loop_work *work)
{
	struct chardev *chr = container_of(work, struct chardev, in.work);

	chr->ops->readable(chr->opaque);
	if (chr->loop)
		update_in(chr);
}

static void out_fd_ready(struct loop_fd *node, uint32_t revents)
{
	struct chardev *chr = container_of(node, struct chardev, out.node);

	loop_fd_del(node);
	/* Or a writer whom a peer that is gone never gives room would be called for ever. */
	if (revents & (EPOLLHUP | EPOLLERR))
		hangup(chr, true);
	chr->ops->writable(chr->opaque);
}

static void out_work(struct loop_work *work)
{
	struct chardev *chr = container_of(work, struct chardev, out.work);

	chr->ops->writable(chr->opaque);
}

static void tell_work(struct loop_work *work)
{
	struct chardev *chr = container_of(work, struct chardev, tell);
	bool changed = chr->peer_told != chr->num_peers;

	if (chr->open_told && (!chr->is_open || changed)) {
		chr->open_told = false;
		chr->ops->event(chr->opaque, CHARDEV_CLOSED);
		if (!chr->loop)
			return;
	}
	chr->peer_told = chr->num_peers;
	if (chr->is_open && !chr->open_told) {
		chr->open_told = true;
		chr->ops->event(chr->opaque, CHARDEV_OPENED);
	}
}

void chardev_set_open(struct chardev *chr, bool is_open)
{
	bool was_waiting = chr->out.node.loop || chr->out.work.queued;

	if (chr->is_open == is_open)
		return;
	chr->is_open = is_open;
	if (is_open)
		chr->num_peers++;
	if (!chr->loop)
		return;
	loop_work_add(chr->loop, &chr->tell);
	update_in(chr);
	/* Who waits for a peer that went away may write on: it is dropped. */
	if (!is_open) {
		end_disarm(chr, &chr->out);
		if (was_waiting)
			loop_work_add(chr->loop, &chr->out.work);
	}
}

int chardev_set_fds(struct chardev *chr, int *fd, struct err *err)
{
	_cleanup_fd_ int in = take_fd(fd);
	int out = fcntl(in, F_DUPFD_CLOEXEC, 0);

	if (out < 0)
		return err_set(
			err, -errno, "cannot duplicate a descriptor for chardev '%s': %m", chr->id);
	chr->in.fd = take_fd(&in);
	chr->out.fd = out;
	return 0;
}

/* The first entries that make a piece; @part stands for one that is larger. There is a byte. */
static const struct iovec *first_piece(
	const struct iovec *iov, unsigned int *num_iov, struct iovec *part)
{
	size_t left = CHARDEV_PIECE_BYTES;
	unsigned int n;

	/* Empty entries alone would look like the end. */
	for (; !iov->iov_len; iov++)
		(*num_iov)--;
	for (n = 0; n < MIN(*num_iov, (unsigned int)IOV_MAX) && iov[n].iov_len <= left; n++)
		left -= iov[n].iov_len;
	*num_iov = MAX(n, 1u);
	if (n)
		return iov;
	*part = (struct iovec){ iov->iov_base, CHARDEV_PIECE_BYTES };
	return part;
}

ssize_t chardev_readv(struct chardev *chr, const struct iovec *iov, unsigned int num_iov)
{
	struct iovec part;
	uint64_t room = 0;
	unsigned int i;
	ssize_t n;

	assert(chr->loop);
	for (i = 0; i < num_iov; i++)
		room += iov[i].iov_len;
	/* Without room a read would look like the end. */
	if (!chr->is_open || chr->in.fd < 0 || !room)
		return 0;
	iov = first_piece(iov, &num_iov, &part);
	do
		n = readv(chr->in.fd, iov, (int)num_iov);
	while (n < 0 && errno == EINTR);
	if (n > 0)
		return n;
	if (n < 0 && (errno == EAGAIN || errno == EFAULT))
		return errno == EFAULT ? -EFAULT : 0;
	hangup(chr, false);
	return 0;
}

static ssize_t write_some(struct chardev *chr, const struct iovec *iov, unsigned int num_iov)
{
	struct msghdr msg = { .msg_iov = (struct iovec *)iov, .msg_iovlen = num_iov };
	ssize_t n;

	do
		n = chr->is_socket ? sendmsg(chr->out.fd, &msg, MSG_NOSIGNAL | MSG_DONTWAIT)
				   : writev(chr->out.fd, iov, (int)num_iov);
	while (n < 0 && errno == EINTR);
	return n < 0 ? -errno : n;
}

ssize_t chardev_writev(struct chardev *chr, const struct iovec *iov, unsigned int num_iov)
{
	struct iovec part;
	uint64_t total = 0;
	unsigned int i;
	ssize_t n;

	assert(chr->loop);
	for (i = 0; i < num_iov; i++)
		total += iov[i].iov_len;
	if (!chr->is_open || chr->out.fd < 0 || !total)
		return (ssize_t)total;
	iov = first_piece(iov, &num_iov, &part);
	n = write_some(chr, iov, num_iov);
	if (n == -EFAULT)
		return n;
	if (n < 0 && n != -EAGAIN) {
		log_limited(&chr->limit, LOG_LEVEL_WARN, "chardev '%s': output to %s is lost: %s",
			chr->id, chr->address, strerror((int)-n));
		hangup(chr, true);
		return (ssize_t)total;
	}
	n = MAX(n, (ssize_t)0);
	if ((uint64_t)n < total)
		end_arm(chr, &chr->out, EPOLLOUT);
	return n;
}

void chardev_want_read(struct chardev *chr, bool want)
{
	assert(chr->loop);
	chr->want_read = want;
	update_in(chr);
}

bool chardev_is_open(const struct chardev *chr)
{
	return chr->is_open;
}

int chardev_attach(struct chardev *chr, struct loop *loop, const struct chardev_ops *ops,
	void *opaque, struct err *err)
{
	int r;

	if (chr->loop)
		return err_set(err, -EBUSY, "chardev '%s' is in use already", chr->id);
	chr->loop = loop;
	chr->ops = ops;
	chr->opaque = opaque;
	chr->want_read = false;
	chr->open_told = chr->is_open;
	chr->peer_told = chr->num_peers;
	r = chr->class->attach ? chr->class->attach(chr, err) : 0;
	if (r < 0)
		chr->loop = NULL;
	return r;
}

void chardev_detach(struct chardev *chr)
{
	if (!chr->loop)
		return;
	if (chr->class->detach)
		chr->class->detach(chr);
	end_disarm(chr, &chr->in);
	end_disarm(chr, &chr->out);
	loop_work_cancel(chr->loop, &chr->tell);
	loop_timer_cancel(&chr->timer);
	chr->want_read = false;
	chr->loop = NULL;
}

int chardev_claim(struct chardev *chr, const char *user, struct err *err)
{
	if (chr->user)
		return err_set(err, -EBUSY,
			"%s wants chardev '%s', but %s has it: give each its own", user, chr->id,
			chr->user);
	chr->user = xstrdup(user);
	return 0;
}

void chardev_release(struct chardev *chr)
{
	free(take_ptr(chr->user));
}

const char *chardev_user(const struct chardev *chr)
{
	return chr->user;
}

const char *chardev_id(const struct chardev *chr)
{
	return chr->id;
}

const char *chardev_address(const struct chardev *chr)
{
	return chr->address;
}

static int file_open(struct chardev *chr, const struct chardev_config *config, struct err *err)
{
	int flags = O_WRONLY | O_CREAT | O_NONBLOCK | (config->append ? O_APPEND : O_TRUNC);

	if (!config->path)
		return err_set(err, -EINVAL, "chardev '%s' of kind 'file' needs path=", chr->id);
	chr->out.fd = host_open(config->path, flags, 0666, err);
	if (chr->out.fd < 0)
		return chr->out.fd;
	chr->address = xstrdup(config->path);
	chr->is_open = true;
	return 0;
}

/* A file that cannot be written now (a full disk) may be later: nothing to close. */
static void file_hangup(struct chardev *chr, bool output)
{
	(void)chr;
	(void)output;
}

static const struct chardev_class chardev_class_null = { .name = "null" };

static const struct chardev_class chardev_class_file = {
	.name = "file",
	.open = file_open,
	.hangup = file_hangup,
};

static const struct chardev_class *const chardev_classes[] = {
	[CHARDEV_NULL] = &chardev_class_null,
	[CHARDEV_STDIO] = &chardev_class_stdio,
	[CHARDEV_PTY] = &chardev_class_pty,
	[CHARDEV_SOCKET] = &chardev_class_socket,
	[CHARDEV_FILE] = &chardev_class_file,
};

void chardev_free(struct chardev *chr)
{
	if (!chr)
		return;
	assert(!chr->loop);
	if (chr->class->free)
		chr->class->free(chr);
	close_fd(&chr->in.fd);
	close_fd(&chr->out.fd);
	listen_close(&chr->listener);
	free(chr->user);
	free(chr->address);
	free(chr->id);
	free(chr);
}

int chardev_open(const struct chardev_config *config, struct chardev **ret, struct err *err)
{
	struct chardev *chr = xnew(struct chardev);
	int r;

	chr->class = chardev_classes[config->kind];
	chr->id = xstrdup(config->id ? config->id : chr->class->name);
	chr->in.fd = -1;
	chr->out.fd = -1;
	chr->in.node.fn = in_fd_ready;
	chr->in.work.fn = in_work;
	chr->out.node.fn = out_fd_ready;
	chr->out.work.fn = out_work;
	chr->tell.fn = tell_work;
	chr->listener = (struct listener)LISTENER_INIT;
	r = chr->class->open ? chr->class->open(chr, config, err) : 0;
	if (r < 0) {
		chardev_free(chr);
		return r;
	}
	if (!chr->address)
		chr->address = xstrdup(chr->class->name);
	*ret = chr;
	return 0;
}
