/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A hostile front-end: bytes become messages with descriptors for the back-end of a small device.
 * Whatever comes, the process lives, the queues become idle after the connection's end, and neither
 * memory nor a log nor a descriptor is left.
 *
 * A message is: request, flags, payload size (two bytes), how many descriptors (low four bits) of
 * what kind, how much the header's size lies (signed), payload.
 */
#include "tests/fuzz/fuzz.h"
#include "tests/fuzz/send.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/log.h"
#include "proto/vhost_user.h"
#include "transport/vhost_user.h"

#define MEMORY_BYTES (1u << 20)
#define PREFIX_BYTES 6
#define FDS_MAX	     16
/* Rounds of the loop until everything has to be at rest. */
#define ROUNDS_MAX 1000

enum { KIND_EVENT, KIND_MEMORY, KIND_SOCKET, KIND_FILE, NUM_KINDS };

static uint8_t config_space[20];

static int realize(struct vdev *dev, struct err *err)
{
	(void)err;
	vdev_set_queues(dev, 2, 64);
	virtio_features_set(&dev->device_features, 3, true);
	return 0;
}

static void get_config(struct vdev *dev, void *config)
{
	(void)dev;
	memcpy(config, config_space, sizeof(config_space));
}

static void set_config(struct vdev *dev, size_t offset, const void *bytes, size_t len)
{
	memcpy(config_space + offset, bytes, len);
	vdev_config_changed(dev);
}

static enum serve_verdict serve(struct vdev *dev, struct vq *vq, struct chain *c)
{
	(void)dev;
	(void)vq;
	chain_put(c, "x", 1);
	return SERVE_DONE;
}

/* Whatever is said of keys, all of their bytes are there. */
static int create_session(struct vdev *dev, const struct vdev_session_params *params,
	uint64_t *ret_id, struct err *err)
{
	volatile uint8_t sum = 0;

	(void)dev;
	for (uint32_t i = 0; i < params->key_bytes; i++)
		sum ^= params->key[i];
	for (uint32_t i = 0; i < params->auth_key_bytes; i++)
		sum ^= params->auth_key[i];
	if (params->cipher_algo & 1)
		return err_set(err, -EINVAL, "none");
	*ret_id = sum;
	return 0;
}

static int close_session(struct vdev *dev, uint64_t id, struct err *err)
{
	(void)dev;
	return id & 1 ? err_set(err, -ENOENT, "none") : 0;
}

static const struct vdev_session_ops sessions = { create_session, close_session };

static const struct option_spec no_options[] = { { NULL } };

static const struct vdev_class fuzz_class = {
	.name = "virtio-fuzz",
	.virtio_id = 63,
	.instance_bytes = sizeof(struct vdev),
	.config_bytes = sizeof(config_space),
	.options = no_options,
	.sessions = &sessions,
	.realize = realize,
	.get_config = get_config,
	.set_config = set_config,
	.serve = serve,
};

static int new_fd(unsigned int kind)
{
	int pair[2], fd;

	switch (kind) {
	case KIND_EVENT: return eventfd(0, EFD_CLOEXEC);
	case KIND_FILE: return open("/proc/self/exe", O_RDONLY | O_CLOEXEC);
	case KIND_SOCKET:
		FUZZ_CHECK(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair) == 0);
		close(pair[1]);
		return pair[0];
	default:
		fd = memfd_create("fuzz", MFD_CLOEXEC);
		FUZZ_CHECK(fd >= 0 && ftruncate(fd, MEMORY_BYTES) == 0);
		return fd;
	}
}

/* One message; false where the back-end has closed. */
static bool send_message(int sock, const uint8_t *prefix, const uint8_t *payload, size_t len)
{
	unsigned int num_fds = prefix[4] & 15, kind = prefix[4] >> 4;
	struct vhu_header header = { le32_make(prefix[0]), le32_make(prefix[1]),
		le32_make((uint32_t)len + (uint32_t)(int8_t)prefix[5]) };
	struct iovec iov[2] = { { &header, sizeof(header) }, { (void *)(uintptr_t)payload, len } };
	int fds[FDS_MAX];
	bool taken;

	for (unsigned int i = 0; i < num_fds; i++)
		fds[i] = new_fd(kind % NUM_KINDS);
	taken = fuzz_send(sock, iov, 2, fds, num_fds);
	for (unsigned int i = 0; i < num_fds; i++)
		close(fds[i]);
	return taken;
}

static void turn(struct loop *loop, int sock)
{
	char replies[4096];

	for (int i = 0; i < 4; i++)
		loop_run_once(loop, 0);
	while (recv(sock, replies, sizeof(replies), MSG_DONTWAIT) > 0)
		;
}

static void on_gone(struct vdev_wait *wait)
{
	wait->fn = NULL;
}

static void finish(struct loop *loop, struct vdev *dev)
{
	struct vdev_wait wait = { .fn = on_gone };
	int i;

	for (i = 0; i < ROUNDS_MAX && (dev->view.connected || dev->num_holds); i++)
		loop_run_once(loop, 0);
	FUZZ_CHECK(
		vdev_is_idle(dev) && !dev->mem && !dev->dirty && !dev->status && !dev->num_holds);
	vdev_destroy(dev, &wait);
	for (i = 0; i < ROUNDS_MAX && wait.fn; i++)
		loop_run_once(loop, 0);
	FUZZ_CHECK(!wait.fn);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	unsigned int before = fuzz_open_fds();
	int pair[2];
	struct err err = { { 0 } };
	struct loop loop;
	struct vdev *dev;

	/* Errors are of the device, which breaks all the time here. */
	log_set_level((enum log_level) - 1);
	FUZZ_CHECK(loop_init(&loop, "fuzz", NULL) == 0);
	FUZZ_CHECK(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair) == 0);
	dev = vdev_new(&fuzz_class, NULL, &loop, &loop);
	FUZZ_CHECK(vdev_realize(dev, &err) == 0);
	/* All that can be offered is. */
	FUZZ_CHECK(vhost_user_attach_fd(dev, pair[0], true, &err) == 0);
	while (size >= PREFIX_BYTES) {
		const uint8_t *prefix = data;
		size_t len = MIN((size_t)(prefix[2] | prefix[3] << 8), size - PREFIX_BYTES);

		if (!send_message(pair[1], prefix, data + PREFIX_BYTES, len))
			break;
		turn(&loop, pair[1]);
		data += PREFIX_BYTES + len;
		size -= PREFIX_BYTES + len;
	}
	close(pair[1]);
	finish(&loop, dev);
	loop_deinit(&loop);
	FUZZ_CHECK(fuzz_open_fds() == before);
	return 0;
}
