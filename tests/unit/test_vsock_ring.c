/* SPDX-License-Identifier: BSD-3-Clause */
/* virtio-vsock through the ring: packets in descriptors of every cut, receive buffers of any size.
 */
#include "dev_fixture.h"

#include <sys/socket.h>
#include <sys/un.h>

#include "devices/vsock.h"
#include "devices/vsock_conn.h"
#include "tmpdir.h"

#define PORT 1000

static int make_socket(const char *path, bool listens)
{
	struct sockaddr_un addr = { .sun_family = AF_UNIX };
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	int r;

	snprintf(addr.sun_path, sizeof(addr.sun_path), "%s", path);
	r = listens ? bind(fd, (struct sockaddr *)&addr, sizeof(addr))
		    : connect(fd, (struct sockaddr *)&addr, sizeof(addr));
	assert_int_equal(r, 0);
	if (listens)
		assert_int_equal(listen(fd, 16), 0);
	return fd;
}

static struct vsock_header header(enum vsock_op op)
{
	return (struct vsock_header){
		.src_cid = le64_make(7),
		.dst_cid = le64_make(VSOCK_HOST_CID),
		.dst_port = le32_make(PORT),
		.type = le16_make(VSOCK_TYPE_STREAM),
		.op = le16_make((uint16_t)op),
		.buf_alloc = le32_make(1 << 20),
	};
}

static void start_vsock(struct fix *f, unsigned int queue)
{
	static char options[256];

	snprintf(options, sizeof(options), "{\"guest-cid\":7,\"path\":\"%s\"}", tmpdir_file("v"));
	fix_class = &virtio_vsock_class;
	fix_options = options;
	fix_init(f, 0, 0);
	f->vq = &f->dev->queues[queue];
	fix_start_ring(f, 64, 0);
}

/* CVE-2019-18960: a header and its payload in descriptors of every cut, or not there. */
static void test_every_cut(void **state)
{
	struct fix f;
	int listener;

	(void)state;
	listener = make_socket(tmpdir_file("v_1000"), true);
	start_vsock(&f, 1);
	for (uint32_t cut = 1; cut < 60; cut++) {
		const struct cuts cuts = { { cut, cut / 2 + 1, 0 }, { 0 } };
		struct vsock_header h = header(VSOCK_OP_REQUEST);
		char bytes[32];
		int fd;

		h.src_port = le32_make(cut);
		memcpy(ram(&f, IN_AT), &h, sizeof(h));
		assert_int_equal(request(&f, sizeof(h), 0, &cuts), 0);
		fd = accept4(listener, NULL, NULL, SOCK_CLOEXEC);
		h.op = le16_make(VSOCK_OP_RW);
		h.len = le32_make(10);
		memcpy(ram(&f, IN_AT), &h, sizeof(h));
		memcpy(ram(&f, IN_AT + sizeof(h)), "0123456789", 10);
		/* More than the header says is nobody's. */
		assert_int_equal(request(&f, sizeof(h) + 13, 0, &cuts), 0);
		assert_int_equal(recv(fd, bytes, sizeof(bytes), 0), 10);
		assert_memory_equal(bytes, "0123456789", 10);
		/* Less than it says ends the connection. */
		assert_int_equal(request(&f, sizeof(h) + 9, 0, &cuts), 0);
		assert_int_equal(recv(fd, bytes, sizeof(bytes), 0), 0);
		close(fd);
	}
	for (uint32_t len = 0; len < sizeof(struct vsock_header); len++)
		assert_int_equal(request(&f, len, 0, NULL), 0);
	assert_false(f.dev->broken);
	fix_deinit(&f);
	close(listener);
}

static void test_small_receive_buffers(void **state)
{
	static const uint32_t rooms[] = { 0, 1, 43, 44, 45, 60 };
	struct fix f;
	int fd;

	(void)state;
	start_vsock(&f, 0);
	fd = make_socket(tmpdir_file("v"), false);
	assert_int_equal(send(fd, "CONNECT 9\n", 10, 0), 10);
	pump(&f);
	for (size_t i = 0; i < 3; i++)
		assert_int_equal(request(&f, 0, rooms[i], NULL), 0);
	/* The request has been waiting for one in which it fits. */
	assert_int_equal(request(&f, 0, 44, NULL), 44);
	assert_int_equal(le16_get(((struct vsock_header *)ram(&f, OUT_AT))->op), VSOCK_OP_REQUEST);
	close(fd);
	assert_false(f.dev->broken);
	fix_deinit(&f);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_every_cut),
		cmocka_unit_test(test_small_receive_buffers),
	};

	log_set_level((enum log_level) - 1);
	return cmocka_run_group_tests(tests, tmpdir_setup, tmpdir_teardown);
}
