/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A device whose rings a hostile back-end serves, from its making to its end: features, memory, a
 * ring, a write of its configuration, a reset. The input is pieces: a byte that says where it goes
 * (1: the back-end's own channel, else its socket), a length of two bytes, and that many bytes. The
 * back-end sends one piece, and all for the channel behind it, for each time that it is spoken to,
 * and hangs up after the last. The device ends, whatever was said, and its main loop never waits
 * for the back-end, but when it is made.
 */
#include "tests/fuzz/fuzz.h"

#include <errno.h>
#include <pthread.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/alloc.h"
#include "base/cleanup.h"
#include "base/log.h"
#include "base/value.h"
#include "proto/vhost_user.h"
#include "vhost/vhost.h"
#include "virtio/vdev.h"

#define RAM_BYTES   0x10000
#define ROUNDS	    64
#define ROUND_MS    2
#define FDS_PER_MSG 8

struct peer {
	const uint8_t *data;
	size_t size;
	int fd, channel;
};

static void keep_channel(struct peer *peer, struct msghdr *msg)
{
	for (struct cmsghdr *c = CMSG_FIRSTHDR(msg); c; c = CMSG_NXTHDR(msg, c)) {
		size_t num = (c->cmsg_len - CMSG_LEN(0)) / sizeof(int);
		int fds[FDS_PER_MSG], type;
		socklen_t len = sizeof(type);

		memcpy(fds, CMSG_DATA(c), num * sizeof(int));
		for (size_t i = 0; i < num; i++) {
			if (peer->channel < 0 &&
				getsockopt(fds[i], SOL_SOCKET, SO_TYPE, &type, &len) == 0)
				peer->channel = take_fd(&fds[i]);
			close_fd(&fds[i]);
		}
	}
}

/* Takes one message; keeps the first socket that comes along. False at the end. */
static bool take(struct peer *peer)
{
	union {
		char bytes[CMSG_SPACE(FDS_PER_MSG * sizeof(int))];
		struct cmsghdr align;
	} control;
	struct vhu_header header;
	char waste[VHU_PAYLOAD_MAX];
	struct iovec iov = { &header, sizeof(header) };
	struct msghdr msg = { .msg_iov = &iov,
		.msg_iovlen = 1,
		.msg_control = control.bytes,
		.msg_controllen = sizeof(control.bytes) };
	size_t bytes;

	if (recvmsg(peer->fd, &msg, MSG_WAITALL) != (ssize_t)sizeof(header))
		return false;
	keep_channel(peer, &msg);
	bytes = le32_get(header.size);
	FUZZ_CHECK(bytes <= sizeof(waste));
	return !bytes || recv(peer->fd, waste, bytes, MSG_WAITALL) == (ssize_t)bytes;
}

/* False after the last piece. */
static bool answer(struct peer *peer)
{
	while (peer->size > 3) {
		bool to_channel = peer->data[0] == 1;
		size_t len = peer->data[1] | (size_t)peer->data[2] << 8;
		int fd = to_channel ? peer->channel : peer->fd;

		len = MIN(len, peer->size - 3);
		if (len && fd >= 0)
			(void)!send(fd, peer->data + 3, len, MSG_NOSIGNAL | MSG_DONTWAIT);
		peer->data += 3 + len;
		peer->size -= 3 + len;
		if (!to_channel)
			return true;
	}
	return false;
}

static void *peer_main(void *opaque)
{
	struct peer *peer = opaque;

	while (take(peer) && answer(peer))
		;
	shutdown(peer->fd, SHUT_RDWR);
	return NULL;
}

static struct gmem *make_memory(void)
{
	const struct gmem_region_desc desc = { .size = RAM_BYTES, .user_addr = 0x700000 };
	_cleanup_fd_ int fd = memfd_create("fuzz", MFD_CLOEXEC);
	struct gmem_region *region;
	struct gmem *mem;

	FUZZ_CHECK(fd >= 0 && ftruncate(fd, RAM_BYTES) == 0);
	FUZZ_CHECK(gmem_region_new(&desc, fd, &region, NULL) == 0);
	FUZZ_CHECK(gmem_region_keep_fd(region, fd, NULL) == 0);
	FUZZ_CHECK(gmem_new(&region, 1, &mem, NULL) == 0);
	gmem_region_unref(region);
	return mem;
}

static void give_fds(struct vq *vq)
{
	int kick = eventfd(0, EFD_NONBLOCK), call = eventfd(0, EFD_NONBLOCK);

	vq_set_kick_fd(vq, &kick);
	vq_set_call_fd(vq, &call);
}

/* As a transport would. Every queue comes back in the end, or this never ends. */
static void stop(struct loop *loop, struct vdev *dev)
{
	vdev_hold(dev);
	while (!vdev_is_idle(dev))
		loop_run_once(loop, ROUND_MS);
	vdev_reset(dev);
	vdev_release(dev);
}

static void drive(struct loop *loop, struct vdev *dev)
{
	struct gmem *mem = make_memory();
	uint8_t config[VDEV_CONFIG_MAX];

	vdev_set_mem(dev, mem);
	gmem_unref(mem);
	vdev_set_driver_features(dev, dev->device_features);
	for (unsigned int i = 0; i < dev->num_queues && i < 2; i++) {
		struct vq *vq = &dev->queues[i];

		give_fds(vq);
		vq_set_num(vq, 8, NULL);
		vq_set_areas(vq, 0x1000, 0x2000, 0x3000, NULL);
		vq->enabled = true;
	}
	vdev_derive_status(dev, VIRTIO_STATUS_DRIVER_OK, 0);
	vdev_set_config(dev, 0, "x", 1);
	for (unsigned int i = 0;
		i < ROUNDS && !dev->broken && dev->view.vhost->rings[0].started == false; i++)
		loop_run_once(loop, ROUND_MS);
	give_fds(&dev->queues[0]);
	loop_run_once(loop, ROUND_MS);
	vdev_get_config(dev, config);
	stop(loop, dev);
}

static void on_gone(struct vdev_wait *wait)
{
	wait->fn = NULL;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	const struct vdev_class *cls = vhost_class_find("vhost-user-blk");
	struct vdev_wait gone = { .fn = on_gone };
	struct peer peer = { data, size, -1, -1 };
	struct json_object *args;
	struct loop loop;
	struct vdev *dev;
	pthread_t thread;
	char text[32];
	int pair[2];

	log_set_level(LOG_LEVEL_ERROR - 1);
	FUZZ_CHECK(loop_init(&loop, "main", NULL) == 0);
	FUZZ_CHECK(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair) == 0);
	peer.fd = pair[0];
	FUZZ_CHECK(pthread_create(&thread, NULL, peer_main, &peer) == 0);
	dev = vdev_new(cls, "d", &loop, &loop);
	snprintf(text, sizeof(text), "fd=%d", pair[1]);
	args = json_object_new_object();
	json_object_object_add(args, "connect", json_object_new_string(text));
	FUZZ_CHECK(options_take(cls->options, dev, args, NULL) == 0);
	json_object_put(args);
	if (vdev_realize(dev, NULL) == 0 && dev->num_queues)
		drive(&loop, dev);
	close(pair[1]);
	shutdown(pair[0], SHUT_RDWR);
	vdev_destroy(dev, &gone);
	while (gone.fn)
		loop_run_once(&loop, ROUND_MS);
	/* What came back from the thread after its owner had left. */
	loop_run_once(&loop, 0);
	pthread_join(thread, NULL);
	close_fd(&peer.fd);
	close_fd(&peer.channel);
	loop_deinit(&loop);
	return 0;
}
