/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The dirty log of a migration. Pages are marked while VHOST_F_LOG_ALL is acknowledged and a log is
 * there, in either order. Queues take the log as they start: it changes only while they are idle,
 * so nothing is in flight that would mark the wrong one, and when the message is answered the old
 * one is not written any more. Refuses a log that cannot be mapped, which ends the connection: the
 * reply has no room for a failure, and a migration without marks would lose memory.
 */
#include <errno.h>
#include <fcntl.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "transport/vhu_internal.h"

static void use_log(struct vhu *vhu)
{
	vdev_set_dirty_log(
		vhu->dev, vhu->log_all ? vhu->log : NULL, vhu->log_all ? vhu->log_fd : -1);
}

bool vhu_log_not_idle(struct vhu *vhu, const struct vhu_call *call)
{
	(void)call;
	return vhu->log_all && !vdev_is_idle(vhu->dev);
}

void vhu_log_switch(struct vhu *vhu, bool on)
{
	if (vhu->log_all == on)
		return;
	vhu->log_all = on;
	use_log(vhu);
}

void vhu_log_drop(struct vhu *vhu)
{
	vhu->log_all = false;
	use_log(vhu);
	dirty_log_unref(take_ptr(vhu->log));
	close_fd(&vhu->log_fd);
}

int vhu_set_log_base(struct vhu *vhu, struct vhu_call *call, struct err *err)
{
	const struct vhu_log *from = &call->payload->log;
	struct dirty_log *log;
	int r;

	r = dirty_log_new(
		vhu->sock.fds[0], le64_get(from->offset), le64_get(from->size), &log, err);
	if (!r && vhu->dev->handover && (r = dirty_log_keep_fd(log, vhu->sock.fds[0], err)) < 0)
		dirty_log_unref(log);
	if (r < 0)
		return r;
	dirty_log_unref(vhu->log);
	vhu->log = log;
	use_log(vhu);
	/* What it holds nobody looks at; that it comes says that the old log may go. */
	call->reply.u64.value = le64_make(0);
	call->reply_bytes = sizeof(call->reply.u64);
	return 0;
}

int vhu_set_log_fd(struct vhu *vhu, struct vhu_call *call, struct err *err)
{
	_cleanup_fd_ int fd = vhu->sock.num_fds ? usock_take_fd(&vhu->sock, 0) : -1;
	int r = vhu_check_signal_fd(fd, "log", err);

	(void)call;
	if (r < 0)
		return r;
	/* Queues signal it, and wait for nobody who does not look. */
	if (fd >= 0)
		fcntl(fd, F_SETFL, fcntl(fd, F_GETFL) | O_NONBLOCK);
	close_fd(&vhu->log_fd);
	vhu->log_fd = take_fd(&fd);
	use_log(vhu);
	return 0;
}
