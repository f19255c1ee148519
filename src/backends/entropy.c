/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Entropy sources. The kernel's generator writes to the buffers directly; so does read(2) for the
 * others. A source that cannot be waited for, or that stands at its end because nobody writes to it
 * now, is tried again after a while.
 */
#include "backends/entropy.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <sys/random.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/alloc.h"
#include "base/cleanup.h"
#include "base/host_open.h"

struct entropy {
	int fd; /* -1: the kernel's generator */
	bool regular; /* its end is final */
	struct loop *loop;
	void (*ready)(void *opaque);
	void *opaque;
	struct loop_fd node; /* watched only while the source is dry */
	struct loop_timer retry;
};

int entropy_open(const char *filename, struct entropy **ret, struct err *err)
{
	_cleanup_fd_ int fd = -1;
	struct entropy *entropy;
	struct stat st = { 0 };

	if (filename) {
		fd = host_open(filename, O_RDONLY | O_NONBLOCK, 0, err);
		if (fd < 0)
			return take_fd(&fd);
		if (fstat(fd, &st) < 0)
			return err_set(
				err, -errno, "cannot look at entropy source '%s': %m", filename);
		if (S_ISDIR(st.st_mode) || S_ISBLK(st.st_mode))
			return err_set(err, -EINVAL,
				"entropy source '%s' is a %s: expected a character device, a pipe "
				"or a file",
				filename, S_ISDIR(st.st_mode) ? "folder" : "disk");
	}
	entropy = xnew(struct entropy);
	entropy->regular = S_ISREG(st.st_mode);
	entropy->fd = take_fd(&fd);
	*ret = entropy;
	return 0;
}

void entropy_free(struct entropy *entropy)
{
	if (!entropy)
		return;
	assert(!entropy->loop);
	close_fd(&entropy->fd);
	free(entropy);
}

static void source_readable(struct loop_fd *node, uint32_t revents)
{
	struct entropy *entropy = container_of(node, struct entropy, node);

	(void)revents;
	loop_fd_del(node);
	entropy->ready(entropy->opaque);
}

static void retry_due(struct loop_timer *timer)
{
	struct entropy *entropy = container_of(timer, struct entropy, retry);

	entropy->ready(entropy->opaque);
}

int entropy_attach(struct entropy *entropy, struct loop *loop, void (*ready)(void *opaque),
	void *opaque, struct err *err)
{
	if (entropy->loop)
		return err_set(err, -EBUSY,
			"an entropy source has a user already: give each device its own");
	entropy->loop = loop;
	entropy->ready = ready;
	entropy->opaque = opaque;
	entropy->node.fd = entropy->fd;
	entropy->node.fn = source_readable;
	entropy->retry.fn = retry_due;
	return 0;
}

void entropy_detach(struct entropy *entropy)
{
	loop_fd_del(&entropy->node);
	loop_timer_cancel(&entropy->retry);
	entropy->loop = NULL;
}

/* @at_end: the descriptor would say readable at once, again and again. */
static void wait_for_more(struct entropy *entropy, bool at_end)
{
	if (entropy->node.loop || entropy->retry.loop)
		return;
	if (entropy->fd >= 0 && !at_end &&
		loop_fd_add(entropy->loop, &entropy->node, EPOLLIN, NULL) == 0)
		return;
	loop_timer_set(entropy->loop, &entropy->retry, now_ns() + ENTROPY_RETRY_MS * NSEC_PER_MSEC);
}

static ssize_t read_some(struct entropy *entropy, void *buf, size_t len)
{
	ssize_t n;

	do
		n = entropy->fd < 0 ? getrandom(buf, len, GRND_NONBLOCK)
				    : read(entropy->fd, buf, len);
	while (n < 0 && errno == EINTR);
	return n < 0 ? -errno : n;
}

ssize_t entropy_read(struct entropy *entropy, const struct iovec *iov, unsigned int num_iov)
{
	size_t got = 0, room = 0;
	ssize_t n = 0;
	unsigned int i;

	assert(entropy->loop);
	for (i = 0; i < num_iov && got < ENTROPY_READ_MAX_BYTES; i++) {
		size_t len = MIN(iov[i].iov_len, ENTROPY_READ_MAX_BYTES - got);

		if (!len)
			continue;
		room += len;
		n = read_some(entropy, iov[i].iov_base, len);
		if (n > 0)
			got += (size_t)n;
		if (n < (ssize_t)len)
			break;
	}
	if (got)
		return (ssize_t)got;
	if (!room)
		return -EINVAL;
	if (!n && entropy->regular)
		return -ENODATA;
	if (n && n != -EAGAIN)
		return n;
	wait_for_more(entropy, !n);
	return -EAGAIN;
}
