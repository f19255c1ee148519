/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Bytes to the vhost-user client, as a back-end's answers. The input is pieces: a byte of flags
 * (odd: a descriptor of a file of flags / 2 pages goes along), a length of two bytes, and that many
 * bytes. Everything is there before the client asks, and then the end of the file: each question
 * ends, and what is believed lies within its bounds.
 */
#include "tests/fuzz/fuzz.h"
#include "tests/fuzz/send.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "vhost/vhost_user_client.h"

#define PIECES_MAX 64

static void send_piece(int fd, const uint8_t *data, size_t len, unsigned int flags)
{
	struct iovec iov = { (void *)(uintptr_t)data, len };
	_cleanup_fd_ int file = -1;

	if (flags & 1) {
		file = memfd_create("fuzz", MFD_CLOEXEC);
		FUZZ_CHECK(file >= 0 && ftruncate(file, (flags >> 1) * 4096) == 0);
	}
	FUZZ_CHECK(fuzz_send(fd, &iov, 1, &file, flags & 1));
}

static void send_all(int fd, const uint8_t *data, size_t size)
{
	for (unsigned int i = 0; i < PIECES_MAX && size > 3; i++) {
		size_t len = data[1] | (size_t)data[2] << 8;

		len = MIN(len, size - 3);
		if (len)
			send_piece(fd, data + 3, len, data[0]);
		data += 3 + len;
		size -= 3 + len;
	}
	shutdown(fd, SHUT_WR);
}

/* Every question there is; the first that fails for good ends it. */
static void talk(struct vuc *c)
{
	struct vuc_inflight inflight = { .fd = -1 };
	int fd = c->sock.fd;
	const struct vuc_region region = { 0x1000, 4096, 0x1000, 0, fd };
	const struct vuc_vring vring = { .num = 8, .kick = fd, .call = fd, .err = fd };
	struct err err = { { 0 } };
	uint8_t config[64], status;
	unsigned int num;
	uint32_t base;

	if (vuc_negotiate(c, UINT64_MAX, &err) < 0 || vuc_set_features(c, c->features, &err) < 0 ||
		vuc_get_queue_num(c, &num, &err) < 0)
		return;
	FUZZ_CHECK(num >= 1 && num <= 256);
	if (vuc_get_config(c, config, sizeof(config), &err) == -ECONNRESET ||
		vuc_set_memory(c, &region, 1, true, &err) < 0)
		return;
	if (vuc_get_inflight(c, 1, 8, &inflight, &err) == 0) {
		FUZZ_CHECK(inflight.fd >= 0 && inflight.mmap_size);
		vuc_set_inflight(c, &inflight, &err);
		close_fd(&inflight.fd);
	}
	if (vuc_start_vring(c, &vring, &err) < 0 || vuc_enable_vring(c, 0, true, &err) < 0 ||
		vuc_set_status(c, 15, &err) < 0 || vuc_get_status(c, &status, &err) < 0 ||
		vuc_stop_vring(c, 0, &base, &err) < 0)
		return;
	FUZZ_CHECK(vuc_check_alive(c, &err) < 0);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct err err = { { 0 } };
	struct vuc c;
	char spec[16];
	int pair[2];

	FUZZ_CHECK(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair) == 0);
	send_all(pair[1], data, size);
	snprintf(spec, sizeof(spec), "fd=%d", pair[0]);
	FUZZ_CHECK(vuc_open(&c, spec, &err) == 0);
	talk(&c);
	vuc_close(&c);
	vuc_close(&c);
	close(pair[0]);
	close(pair[1]);
	return 0;
}
