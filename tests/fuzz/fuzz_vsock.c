/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * virtio-vsock: packets of every kind on the transmit queue, receive buffers of every size,
 * programs of the host that connect, listen, write, read and go. The device never breaks, gives no
 * more than there is room for, and forgets every connection in the end.
 */
#include "tests/fuzz/device.h"

#include <fcntl.h>
#include <sys/socket.h>
#include <sys/un.h>

#include "devices/vsock.h"
#include "devices/vsock_conn.h"

enum { RX, TX };

#define PEERS 4

struct run {
	struct guest g;
	struct bytes *in;
	int peers[PEERS];
};

static char folder[32], path[64];
static int listeners[2] = { -1, -1 };

static int make_socket(const char *name, int type, bool listens)
{
	struct sockaddr_un addr = { .sun_family = AF_UNIX };
	int fd = socket(AF_UNIX, type | SOCK_CLOEXEC | SOCK_NONBLOCK, 0), r;

	snprintf(addr.sun_path, sizeof(addr.sun_path), "%s", name);
	r = listens ? bind(fd, (struct sockaddr *)&addr, sizeof(addr))
		    : connect(fd, (struct sockaddr *)&addr, sizeof(addr));
	if (r < 0 || (listens && listen(fd, 16) < 0)) {
		close(fd);
		return -1;
	}
	return fd;
}

static void remove_folder(void)
{
	static const char *const names[] = { "v_1", "v.seqpacket_1", "v", "v.seqpacket" };
	char name[128];

	for (size_t i = 0; i < ARRAY_SIZE(names); i++) {
		snprintf(name, sizeof(name), "%s/%s", folder, names[i]);
		unlink(name);
	}
	rmdir(folder);
}

static void make_folder(void)
{
	char name[128];

	strcpy(folder, "/tmp/vsock-XXXXXX");
	FUZZ_CHECK(mkdtemp(folder));
	atexit(remove_folder);
	snprintf(path, sizeof(path), "%s/v", folder);
	snprintf(name, sizeof(name), "%s_1", path);
	listeners[0] = make_socket(name, SOCK_STREAM, true);
	snprintf(name, sizeof(name), "%s.seqpacket_1", path);
	listeners[1] = make_socket(name, SOCK_SEQPACKET, true);
	FUZZ_CHECK(listeners[0] >= 0 && listeners[1] >= 0);
}

static bool busy(struct run *r, unsigned int queue)
{
	return guest_used_idx(&r->g, queue) != r->g.avail_idx[queue];
}

/* Ports are few, so that packets meet connections. */
static void op_packet(struct run *r)
{
	struct device_request req;
	struct vsock_header h = { 0 };
	uint8_t which = take8(r->in);
	uint32_t dst = which & 0x40 ? VSOCK_FIRST_PORT + (which >> 4 & 3) : (which >> 4 & 3);

	if (busy(r, TX))
		return;
	device_take_request(&req, r->in);
	req.out = 0;
	h.src_cid = le64_make(7);
	h.dst_cid = le64_make(which & 0x80 ? take8(r->in) : VSOCK_HOST_CID);
	h.src_port = le32_make(take8(r->in) % 3);
	h.dst_port = le32_make(dst);
	h.type = le16_make(1 + (which >> 3 & 1));
	h.op = le16_make(which & 7);
	h.flags = le32_make(take8(r->in));
	h.buf_alloc = le32_make((uint32_t)take16(r->in) << (take8(r->in) % 17));
	h.fwd_cnt = le32_make(take16(r->in));
	h.len = le32_make(take8(r->in) & 1     ? take16(r->in)
			  : req.in > sizeof(h) ? req.in - (uint32_t)sizeof(h)
					       : 0);
	memcpy(r->g.ram + DEVICE_IN, &h, sizeof(h));
	device_offer(&r->g, TX, &req);
	FUZZ_CHECK(device_wait(&r->g, TX));
	FUZZ_CHECK(device_used_len(&r->g, TX) == 0);
}

static void op_receive(struct run *r)
{
	struct device_request req;

	device_take_request(&req, r->in);
	req.in = 0;
	if (busy(r, RX))
		return;
	device_offer(&r->g, RX, &req);
	if (!busy(r, RX))
		FUZZ_CHECK(device_used_len(&r->g, RX) <= req.out);
}

static void op_accept(struct run *r)
{
	uint8_t which = take8(r->in);
	int *peer = &r->peers[which % PEERS];

	if (*peer >= 0)
		close(*peer);
	*peer = accept4(listeners[which >> 4 & 1], NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);
}

static void op_ask(struct run *r)
{
	uint8_t which = take8(r->in), len = take8(r->in) % 40;
	int *peer = &r->peers[which % PEERS];
	char name[128], line[64];
	ssize_t n;

	if (*peer >= 0)
		close(*peer);
	snprintf(name, sizeof(name), "%s%s", path, which & 0x10 ? ".seqpacket" : "");
	*peer = make_socket(name, which & 0x10 ? SOCK_SEQPACKET : SOCK_STREAM, false);
	if (*peer < 0)
		return;
	if (which & 0x20) {
		take_bytes(r->in, line, len);
	} else {
		len = (uint8_t)snprintf(line, sizeof(line), "CONNECT %u\n", which >> 6);
	}
	n = send(*peer, line, len, MSG_NOSIGNAL | MSG_DONTWAIT);
	(void)n;
	guest_pump(&r->g);
}

static void op_write(struct run *r)
{
	static const uint8_t bytes[0x10000];
	uint8_t which = take8(r->in);
	ssize_t n;

	if (r->peers[which % PEERS] < 0)
		return;
	n = send(r->peers[which % PEERS], bytes, take16(r->in), MSG_NOSIGNAL | MSG_DONTWAIT);
	(void)n;
	guest_pump(&r->g);
}

static void op_read(struct run *r)
{
	static uint8_t bytes[0x10000];
	uint8_t which = take8(r->in);
	ssize_t n;

	if (r->peers[which % PEERS] < 0)
		return;
	n = recv(r->peers[which % PEERS], bytes, take16(r->in), MSG_DONTWAIT);
	(void)n;
	guest_pump(&r->g);
}

static void op_close(struct run *r)
{
	uint8_t which = take8(r->in);
	int *peer = &r->peers[which % PEERS];

	if (*peer < 0)
		return;
	if (which & 0x80)
		shutdown(*peer, which >> 4 & 1 ? SHUT_WR : SHUT_RD);
	else
		close(*peer), *peer = -1;
	guest_pump(&r->g);
}

static void op_stop(struct run *r)
{
	vdev_set_vm_running(r->g.dev, false);
	guest_pump(&r->g);
	FUZZ_CHECK(vdev_is_idle(r->g.dev));
	vdev_set_vm_running(r->g.dev, true);
	guest_pump(&r->g);
}

static void (*const ops[])(struct run *r) = { op_packet, op_packet, op_packet, op_receive,
	op_receive, op_accept, op_ask, op_write, op_read, op_close, op_stop };

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct bytes in = { data, size };
	struct run r = { .in = &in, .peers = { -1, -1, -1, -1 } };
	char options[128];
	int fd;

	if (!folder[0])
		make_folder();
	snprintf(options, sizeof(options),
		"{\"guest-cid\":7,\"path\":\"%s\",\"max-connections\":8}", path);
	guest_new(&r.g, &virtio_vsock_class, options);
	vdev_set_vm_running(r.g.dev, true);
	guest_queue(&r.g, RX, DEVICE_RING, 0);
	guest_queue(&r.g, TX, DEVICE_RING, 0);
	guest_run(&r.g, 3);
	while (in.left)
		ops[take8(&in) % ARRAY_SIZE(ops)](&r);
	FUZZ_CHECK(!r.g.dev->broken);
	guest_free(&r.g);
	for (size_t i = 0; i < PEERS; i++)
		if (r.peers[i] >= 0)
			close(r.peers[i]);
	for (size_t i = 0; i < 2; i++)
		while ((fd = accept4(listeners[i], NULL, NULL, SOCK_CLOEXEC)) >= 0)
			close(fd);
	return 0;
}
