/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Messages of a front-end, one at a time. Refused, and the connection is done for: a reply to
 * something else, of another version, without its flag, of another size than was asked for, with
 * descriptors that were not, and silence. A reply that says no ends only what was asked.
 */
#include "vhost/vhost_user_client.h"

#include <assert.h>
#include <errno.h>
#include <inttypes.h>
#include <poll.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>

#include "base/alloc.h"
#include "base/cleanup.h"
#include "base/host_open.h"

#define BIT(n) (1ull << (n))

/* How often a full backlog is tried again, within the time of one reply. */
#define DIAL_AGAIN_MS 20

/* GET_INFLIGHT_FD and SET_INFLIGHT_FD on the wire. */
struct inflight_wire {
	le64 mmap_size, mmap_offset;
	le16 num_queues, queue_size;
	/* As compilers lay the struct out, and as everybody sends it. */
	uint8_t padding[4];
};

/* What of it has to come back. */
#define INFLIGHT_BYTES offsetof(struct inflight_wire, padding)
/* A back-end's region for what is in flight; the largest queues need far less. */
#define INFLIGHT_MAX_BYTES (1ull << 30)

struct mem_reg_wire {
	le64 padding;
	struct vhu_region region;
};

/* A message and what came back. */
struct exchange {
	uint32_t request;
	const void *payload;
	size_t payload_bytes;
	const int *fds;
	unsigned int num_fds;
	/* The reply's; left in c->sock until the next message. */
	size_t reply_bytes;
};

static ssize_t payload_bytes(const void *header)
{
	const struct vhu_header *h = header;
	uint32_t size = le32_get(h->size);

	return size > VHU_PAYLOAD_MAX ? -EPROTO : (ssize_t)size;
}

static const struct usock_framing framing = {
	.header_bytes = sizeof(struct vhu_header),
	.payload_max = VHU_PAYLOAD_MAX,
	.fds_max = VHU_FDS_MAX,
	.payload_bytes = payload_bytes,
};

static const char *name_of(uint32_t request)
{
	return vhu_rule(request) ? vhu_rule(request)->name : "a message";
}

static int failed(const struct vuc *c, uint32_t request, int code, struct err *err)
{
	const char *name = name_of(request);

	switch (code) {
	case -EPIPE:
	case -ECONNRESET:
		return err_set(err, -ECONNRESET, "%s: %s: the back-end closed the connection",
			c->where, name);
	case -ETIMEDOUT:
		return err_set(err, code, "%s: %s: no answer from the back-end within %d s",
			c->where, name, (int)c->reply_ms / 1000);
	case -EPROTO:
	case -EMSGSIZE:
	case -EBADMSG:
	case -ELOOP:
		return err_set(err, -EPROTO,
			"%s: %s: what the back-end sent is no answer: too long, or with "
			"descriptors that do not belong there",
			c->where, name);
	default: return err_set(err, code, "%s: %s: %s", c->where, name, strerror(-code));
	}
}

/* Waits for @events on the socket until @end; 0 or -errno. */
static int wait_socket(const struct vuc *c, short events, uint64_t end)
{
	struct pollfd p = { c->sock.fd, events, 0 };
	uint64_t now = now_ns();
	int r;

	if (now >= end)
		return -ETIMEDOUT;
	do
		r = poll(&p, 1, (int)((end - now) / NSEC_PER_MSEC) + 1);
	while (r < 0 && errno == EINTR);
	return r < 0 ? -errno : r ? 0 : -ETIMEDOUT;
}

static int send_message(struct vuc *c, const struct exchange *x, uint32_t flags, uint64_t end)
{
	struct vhu_header header = vhu_header_make(x->request, flags, (uint32_t)x->payload_bytes);
	int r = usock_send(&c->sock, &header, x->payload, x->payload_bytes, x->fds, x->num_fds);

	while (r >= 0 && (r = usock_flush(&c->sock)) > 0)
		r = wait_socket(c, POLLOUT, end);
	return r;
}

static int receive_reply(struct vuc *c, struct exchange *x, uint64_t end, struct err *err)
{
	const struct vhu_header *header = (const void *)c->sock.header;
	uint32_t flags, request;
	int r;

	while ((r = usock_recv(&c->sock)) == 0) {
		r = wait_socket(c, POLLIN, end);
		if (r < 0)
			break;
	}
	if (r < 0)
		return failed(c, x->request, r, err);
	flags = le32_get(header->flags);
	request = le32_get(header->request);
	if (request != x->request || (flags & VHU_VERSION_MASK) != VHU_VERSION ||
		!(flags & VHU_FLAG_REPLY))
		return err_set(err, -EPROTO,
			"%s: %s: the back-end answered with message %u and flags 0x%x, expected "
			"message %u and flags 0x%x",
			c->where, name_of(x->request), request, flags, x->request,
			VHU_VERSION | VHU_FLAG_REPLY);
	x->reply_bytes = c->sock.payload_bytes;
	return 0;
}

/* Sends a message and waits for its own reply, whose size is for the caller to check. */
static int ask(struct vuc *c, struct exchange *x, struct err *err)
{
	uint64_t end = now_ns() + c->reply_ms * NSEC_PER_MSEC;
	int r = send_message(c, x, 0, end);

	return r < 0 ? failed(c, x->request, r, err) : receive_reply(c, x, end, err);
}

static int check_reply_size(
	const struct vuc *c, const struct exchange *x, size_t min, size_t max, struct err *err)
{
	if (x->reply_bytes >= min && x->reply_bytes <= max)
		return 0;
	return err_set(err, -EPROTO, "%s: %s: the back-end answered with %zu bytes, expected %zu",
		c->where, name_of(x->request), x->reply_bytes, max);
}

/* A message without a reply of its own: confirmed where the back-end can. */
static int tell(struct vuc *c, struct exchange *x, struct err *err)
{
	uint64_t end = now_ns() + c->reply_ms * NSEC_PER_MSEC;
	bool ack = vuc_has(c, VHU_PF_REPLY_ACK);
	int r = send_message(c, x, ack ? VHU_NEED_REPLY : 0, end);
	uint64_t code;

	if (r < 0)
		return failed(c, x->request, r, err);
	if (!ack)
		return 0;
	r = receive_reply(c, x, end, err);
	if (r >= 0)
		r = check_reply_size(c, x, sizeof(le64), sizeof(le64), err);
	if (r < 0)
		return r;
	code = le64_read(c->sock.payload);
	if (code)
		return err_set(err, -EREMOTEIO,
			"%s: %s: the back-end refused it (code %" PRIu64 "); its log says why",
			c->where, name_of(x->request), code);
	return 0;
}

static int ask_u64(struct vuc *c, uint32_t request, uint64_t *ret, struct err *err)
{
	struct exchange x = { .request = request };
	int r = ask(c, &x, err);

	if (r >= 0)
		r = check_reply_size(c, &x, sizeof(le64), sizeof(le64), err);
	if (r >= 0)
		*ret = le64_read(c->sock.payload);
	return r;
}

static int tell_u64(struct vuc *c, uint32_t request, uint64_t value, const int *fd, struct err *err)
{
	struct vhu_u64 u64 = { le64_make(value) };
	struct exchange x = { request, &u64, sizeof(u64), fd, fd ? 1 : 0, 0 };

	return tell(c, &x, err);
}

int vuc_tell_u64(struct vuc *c, uint32_t request, uint64_t value, const int *fd, struct err *err)
{
	return tell_u64(c, request, value, fd, err);
}

int vuc_set_vring_fd(struct vuc *c, uint32_t request, unsigned int index, int fd, struct err *err)
{
	return fd < 0 ? tell_u64(c, request, index | VHU_VRING_NO_FD, NULL, err)
		      : tell_u64(c, request, index, &fd, err);
}

int vuc_tell(struct vuc *c, uint32_t request, const void *payload, size_t bytes, const int *fds,
	unsigned int num_fds, struct err *err)
{
	struct exchange x = { request, payload, bytes, fds, num_fds, 0 };

	return tell(c, &x, err);
}

int vuc_ask(struct vuc *c, uint32_t request, const void *payload, size_t bytes, const int *fd,
	size_t min, size_t max, struct err *err)
{
	struct exchange x = { request, payload, bytes, fd, fd ? 1 : 0, 0 };
	int r = ask(c, &x, err);

	return r < 0 ? r : check_reply_size(c, &x, min, max, err);
}

static int tell_state(
	struct vuc *c, uint32_t request, uint32_t index, uint32_t num, struct err *err)
{
	struct vhu_vring_state state = { le32_make(index), le32_make(num) };
	struct exchange x = { request, &state, sizeof(state), NULL, 0, 0 };

	return tell(c, &x, err);
}

int vuc_open(struct vuc *c, const char *spec, struct err *err)
{
	uint64_t end = now_ns() + VUC_REPLY_TIMEOUT_MS * NSEC_PER_MSEC;
	const struct timespec again = { 0, DIAL_AGAIN_MS * (long)NSEC_PER_MSEC };
	int fd;

	memset(c, 0, sizeof(*c));
	c->sock.fd = -1;
	while ((fd = host_connect_unix(spec, err)) == -EAGAIN && now_ns() < end)
		nanosleep(&again, NULL);
	if (fd < 0)
		return fd;
	vuc_attach(c, fd, spec);
	return 0;
}

void vuc_attach(struct vuc *c, int fd, const char *where)
{
	memset(c, 0, sizeof(*c));
	usock_init(&c->sock, fd, &framing);
	c->where = xstrdup(where);
	c->reply_ms = VUC_REPLY_TIMEOUT_MS;
}

void vuc_close(struct vuc *c)
{
	usock_deinit(&c->sock);
	free(c->where);
	memset(c, 0, sizeof(*c));
	c->sock.fd = -1;
}

int vuc_check_alive(struct vuc *c, struct err *err)
{
	struct pollfd p = { c->sock.fd, POLLIN, 0 };
	int r = poll(&p, 1, 0);

	if (r <= 0)
		return 0;
	r = usock_recv(&c->sock);
	if (r == 0)
		return 0;
	if (r == -EPIPE || r == -ECONNRESET)
		return err_set(
			err, -ECONNRESET, "%s: the back-end closed the connection", c->where);
	return err_set(
		err, -EPROTO, "%s: the back-end sent something that nobody asked for", c->where);
}

bool vuc_has(const struct vuc *c, enum vhu_protocol_feature bit)
{
	return c->protocol_features >> bit & 1;
}

int vuc_negotiate(struct vuc *c, uint64_t wanted, struct err *err)
{
	struct exchange owner = { .request = VHU_SET_OWNER };
	int r = tell(c, &owner, err);

	if (r >= 0)
		r = ask_u64(c, VHU_GET_FEATURES, &c->features, err);
	if (r < 0)
		return r;
	c->has_protocol = c->features & BIT(VHU_F_PROTOCOL_FEATURES);
	c->features &= ~BIT(VHU_F_PROTOCOL_FEATURES);
	if (!c->has_protocol)
		return 0;
	r = ask_u64(c, VHU_GET_PROTOCOL_FEATURES, &c->protocol_offered, err);
	if (r < 0)
		return r;
	/* Not confirmed itself: REPLY_ACK counts from the next message on. */
	r = tell_u64(c, VHU_SET_PROTOCOL_FEATURES, wanted & c->protocol_offered, NULL, err);
	if (r >= 0)
		c->protocol_features = wanted & c->protocol_offered;
	return r;
}

int vuc_set_features(struct vuc *c, uint64_t features, struct err *err)
{
	assert(!(features & ~c->features));
	if (c->has_protocol)
		features |= BIT(VHU_F_PROTOCOL_FEATURES);
	return tell_u64(c, VHU_SET_FEATURES, features, NULL, err);
}

int vuc_get_queue_num(struct vuc *c, unsigned int *ret, struct err *err)
{
	uint64_t num;
	int r;

	*ret = 1;
	if (!vuc_has(c, VHU_PF_MQ))
		return 0;
	r = ask_u64(c, VHU_GET_QUEUE_NUM, &num, err);
	if (r < 0)
		return r;
	/* A queue's index has a byte in the messages that carry descriptors. */
	if (!num || num > VHU_VRING_INDEX_MASK + 1)
		return err_set(err, -EPROTO,
			"%s: GET_QUEUE_NUM: the back-end says %" PRIu64 ", expected 1 to %llu",
			c->where, num, VHU_VRING_INDEX_MASK + 1);
	*ret = (unsigned int)num;
	return 0;
}

int vuc_get_config(struct vuc *c, void *buf, size_t bytes, struct err *err)
{
	struct vhu_config config = { le32_make(0), le32_make((uint32_t)bytes), le32_make(0),
		{ 0 } };
	size_t whole = VHU_CONFIG_HEADER_BYTES + bytes;
	struct exchange x = { VHU_GET_CONFIG, &config, whole, NULL, 0, 0 };
	int r = ask(c, &x, err);

	assert(bytes <= VHU_CONFIG_MAX);
	if (r < 0)
		return r;
	if (!x.reply_bytes)
		return err_set(err, -EREMOTEIO,
			"%s: GET_CONFIG: the back-end refused to tell %zu bytes of configuration",
			c->where, bytes);
	r = check_reply_size(c, &x, whole, whole, err);
	if (r < 0)
		return r;
	memcpy(&config, c->sock.payload, whole);
	if (le32_get(config.offset) || le32_get(config.size) != bytes)
		return err_set(err, -EPROTO,
			"%s: GET_CONFIG: the back-end answered with %u bytes at %u, expected %zu "
			"at 0",
			c->where, le32_get(config.size), le32_get(config.offset), bytes);
	memcpy(buf, config.data, bytes);
	return 0;
}

static struct vhu_region region_wire(const struct vuc_region *region)
{
	return (struct vhu_region){ le64_make(region->guest_addr), le64_make(region->size),
		le64_make(region->user_addr), le64_make(region->file_offset) };
}

static int add_regions(
	struct vuc *c, const struct vuc_region *regions, unsigned int num, struct err *err)
{
	uint64_t slots;
	int r = ask_u64(c, VHU_GET_MAX_MEM_SLOTS, &slots, err);

	if (r >= 0 && num > slots)
		r = err_set(err, -EREMOTEIO,
			"%s: the back-end has %" PRIu64
			" memory slots, and %u are wanted: ask for fewer",
			c->where, slots, num);
	for (unsigned int i = 0; r >= 0 && i < num; i++) {
		struct mem_reg_wire reg = { { 0 }, region_wire(&regions[i]) };
		struct exchange x = { VHU_ADD_MEM_REG, &reg, sizeof(reg), &regions[i].fd, 1, 0 };

		r = tell(c, &x, err);
	}
	return r;
}

int vuc_set_memory(struct vuc *c, const struct vuc_region *regions, unsigned int num,
	bool one_by_one, struct err *err)
{
	struct vhu_mem_table table = { .num_regions = le32_make(num) };
	int fds[VHU_REGIONS_MAX];
	struct exchange x = { VHU_SET_MEM_TABLE, &table, 0, fds, num, 0 };

	assert(num && num <= VUC_REGIONS_MAX);
	if (vuc_has(c, VHU_PF_CONFIGURE_MEM_SLOTS) && (one_by_one || num > VHU_REGIONS_MAX))
		return add_regions(c, regions, num, err);
	if (num > VHU_REGIONS_MAX)
		return err_set(err, -EREMOTEIO,
			"%s: the back-end does not offer CONFIGURE_MEM_SLOTS, so there can be %d "
			"regions of memory and not %u: ask for fewer",
			c->where, VHU_REGIONS_MAX, num);
	for (unsigned int i = 0; i < num; i++) {
		table.regions[i] = region_wire(&regions[i]);
		fds[i] = regions[i].fd;
	}
	x.payload_bytes = offsetof(struct vhu_mem_table, regions) + num * sizeof(table.regions[0]);
	return tell(c, &x, err);
}

static int set_vring_addr(struct vuc *c, const struct vuc_vring *vring, struct err *err)
{
	struct vhu_vring_addr addr = {
		.index = le32_make(vring->index),
		.flags = le32_make(vring->log ? VHU_VRING_LOG : 0),
		.log = le64_make(vring->log_addr),
		.desc = le64_make(vring->desc),
		.used = le64_make(vring->device),
		.avail = le64_make(vring->driver),
	};
	struct exchange x = { VHU_SET_VRING_ADDR, &addr, sizeof(addr), NULL, 0, 0 };

	return tell(c, &x, err);
}

int vuc_start_vring(struct vuc *c, const struct vuc_vring *vring, struct err *err)
{
	unsigned int i = vring->index;
	int r = tell_state(c, VHU_SET_VRING_NUM, i, vring->num, err);

	if (r >= 0)
		r = tell_state(c, VHU_SET_VRING_BASE, i, vring->base, err);
	if (r >= 0)
		r = set_vring_addr(c, vring, err);
	if (r >= 0 && vring->err >= 0)
		r = vuc_set_vring_fd(c, VHU_SET_VRING_ERR, i, vring->err, err);
	if (r >= 0)
		r = vuc_set_vring_fd(c, VHU_SET_VRING_CALL, i, vring->call, err);
	return r < 0 ? r : vuc_set_vring_fd(c, VHU_SET_VRING_KICK, i, vring->kick, err);
}

int vuc_enable_vring(struct vuc *c, unsigned int index, bool on, struct err *err)
{
	/* Without protocol features a ring is enabled by its start. */
	return c->has_protocol ? tell_state(c, VHU_SET_VRING_ENABLE, index, on, err) : 0;
}

int vuc_stop_vring(struct vuc *c, unsigned int index, uint32_t *ret_base, struct err *err)
{
	struct vhu_vring_state state = { le32_make(index), le32_make(0) };
	struct exchange x = { VHU_GET_VRING_BASE, &state, sizeof(state), NULL, 0, 0 };
	int r = ask(c, &x, err);

	if (r >= 0)
		r = check_reply_size(c, &x, sizeof(state), sizeof(state), err);
	if (r < 0)
		return r;
	memcpy(&state, c->sock.payload, sizeof(state));
	if (le32_get(state.index) != index)
		return err_set(err, -EPROTO,
			"%s: GET_VRING_BASE: the back-end answered for queue %u, expected %u",
			c->where, le32_get(state.index), index);
	*ret_base = le32_get(state.num);
	return 0;
}

/* The region has to be in the file, whose size is a back-end's to say. */
static int check_inflight(const struct vuc *c, const struct vuc_inflight *in, struct err *err)
{
	struct stat st;

	if (in->fd < 0)
		return err_set(err, -EPROTO,
			"%s: GET_INFLIGHT_FD: the back-end answered without a descriptor",
			c->where);
	if (fstat(in->fd, &st) < 0)
		return err_set(err, -errno, "%s: GET_INFLIGHT_FD: the region: %s", c->where,
			strerror(errno));
	if (!in->mmap_size || in->mmap_size > INFLIGHT_MAX_BYTES ||
		!range_inside(in->mmap_offset, in->mmap_size, (uint64_t)st.st_size))
		return err_set(err, -EPROTO,
			"%s: GET_INFLIGHT_FD: the region of %" PRIu64 " bytes at %" PRIu64
			" does not lie in its file of %" PRIu64,
			c->where, in->mmap_size, in->mmap_offset, (uint64_t)st.st_size);
	return 0;
}

int vuc_get_inflight(struct vuc *c, unsigned int num_queues, unsigned int queue_size,
	struct vuc_inflight *ret, struct err *err)
{
	struct inflight_wire wire = { .num_queues = le16_make((uint16_t)num_queues),
		.queue_size = le16_make((uint16_t)queue_size) };
	struct exchange x = { VHU_GET_INFLIGHT_FD, &wire, sizeof(wire), NULL, 0, 0 };
	struct vuc_inflight in = { .num_queues = num_queues, .queue_size = queue_size, .fd = -1 };
	int r = ask(c, &x, err);

	if (r >= 0)
		r = check_reply_size(c, &x, INFLIGHT_BYTES, sizeof(wire), err);
	if (r < 0)
		return r;
	memcpy(&wire, c->sock.payload, INFLIGHT_BYTES);
	in.mmap_size = le64_get(wire.mmap_size);
	in.mmap_offset = le64_get(wire.mmap_offset);
	in.fd = usock_take_fd(&c->sock, 0);
	r = check_inflight(c, &in, err);
	if (r < 0) {
		close_fd(&in.fd);
		return r;
	}
	*ret = in;
	return 0;
}

int vuc_set_inflight(struct vuc *c, const struct vuc_inflight *in, struct err *err)
{
	struct inflight_wire wire = { le64_make(in->mmap_size), le64_make(in->mmap_offset),
		le16_make((uint16_t)in->num_queues), le16_make((uint16_t)in->queue_size), { 0 } };
	struct exchange x = { VHU_SET_INFLIGHT_FD, &wire, sizeof(wire), &in->fd, 1, 0 };

	return tell(c, &x, err);
}

int vuc_set_status(struct vuc *c, uint8_t status, struct err *err)
{
	return tell_u64(c, VHU_SET_STATUS, status, NULL, err);
}

int vuc_get_status(struct vuc *c, uint8_t *ret, struct err *err)
{
	uint64_t status;
	int r = ask_u64(c, VHU_GET_STATUS, &status, err);

	if (r >= 0 && status > UINT8_MAX)
		return err_set(err, -EPROTO,
			"%s: GET_STATUS: the back-end says 0x%" PRIx64 ", expected at most 0x%x",
			c->where, status, UINT8_MAX);
	if (r >= 0)
		*ret = (uint8_t)status;
	return r;
}
