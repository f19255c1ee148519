/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The kernel's vhost (linux/vhost.h) as who serves a device's rings: network, sockets, SCSI. It
 * maps nothing: it reads and writes guest memory through our own mapping of it. A kind begins when
 * its rings are there: a network's each for itself, the others' all at once. Refused by the kernel,
 * with the call that it refused: notifications that are no eventfds, packed rings.
 */
#include <errno.h>
#include <fcntl.h>
#include <linux/if_tun.h>
#include <linux/vhost.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include "base/alloc.h"
#include "base/cleanup.h"
#include "vhost/backend.h"
#include "virtio/features.h"

#define BIT(n) (1ull << (n))

/* virtio 1.3, "Network Device", "Feature bits": what the interface does for the guest. */
#define NET_F_GUEST_CSUM 1
#define NET_F_GUEST_TSO4 7
#define NET_F_GUEST_TSO6 8
#define NET_F_GUEST_ECN	 9

static int refused(const struct vhost_backend *b, const char *what, struct err *err)
{
	return err_set(err, -EREMOTEIO, "%s: %s: %s", b->where, what, strerror(errno));
}

#define CALL(b, request, arg, err) \
	(ioctl((b)->kernel_fd, request, arg) < 0 ? refused(b, #request, err) : 0)

static int open_kernel(struct vhost_backend *b, int fd, struct err *err)
{
	uint64_t features = 0;
	int r;

	b->kernel_fd = fd;
	b->fd = -1;
	b->kernel_started = 0;
	r = CALL(b, VHOST_SET_OWNER, NULL, err);
	if (!r)
		r = CALL(b, VHOST_GET_FEATURES, &features, err);
	if (r < 0)
		return r;
	if (!(features & BIT(VIRTIO_F_VERSION_1)))
		return err_set(
			err, -EREMOTEIO, "%s: this kernel's is older than virtio 1", b->where);
	b->raw_features = features;
	b->can_log = features & BIT(VHOST_F_LOG_ALL);
	b->features = features & ~(BIT(VHOST_F_LOG_ALL) | BIT(VIRTIO_F_ACCESS_PLATFORM));
	return 0;
}

static void close_kernel(struct vhost_backend *b)
{
	for (unsigned int i = 0; i < ARRAY_SIZE(b->kernel_kick); i++)
		if (b->kernel_started >> i & 1)
			close_fd(&b->kernel_kick[i]);
	b->kernel_started = 0;
	close_fd(&b->kernel_fd);
}

static int set_features(struct vhost_backend *b, uint64_t features, bool log_all, struct err *err)
{
	uint64_t word = (features & b->raw_features) | (log_all ? BIT(VHOST_F_LOG_ALL) : 0);

	return CALL(b, VHOST_SET_FEATURES, &word, err);
}

static int set_mem(struct vhost_backend *b, const struct gmem *mem, struct err *err)
{
	size_t bytes =
		sizeof(struct vhost_memory) + mem->num_regions * sizeof(struct vhost_memory_region);
	_cleanup_free_ struct vhost_memory *table = xcalloc(1, bytes);

	table->nregions = mem->num_regions;
	for (unsigned int i = 0; i < mem->num_regions; i++)
		table->regions[i] = (struct vhost_memory_region){
			.guest_phys_addr = mem->regions[i]->desc.gpa,
			.memory_size = mem->regions[i]->desc.size,
			.userspace_addr = (uintptr_t)mem->regions[i]->host,
		};
	return CALL(b, VHOST_SET_MEM_TABLE, table, err);
}

static int set_log(struct vhost_backend *b, const struct dirty_log *log, int fd, struct err *err)
{
	uint64_t base = (uintptr_t)dirty_log_region(log)->host;
	int r = CALL(b, VHOST_SET_LOG_BASE, &base, err);

	return r < 0 ? r : CALL(b, VHOST_SET_LOG_FD, &fd, err);
}

/* --- rings --- */

static uint64_t address(const struct gmem *mem, uint64_t gpa)
{
	return (uintptr_t)gmem_ptr(mem, gpa, 1);
}

static int set_fd(
	struct vhost_backend *b, unsigned int index, bool is_kick, int fd, struct err *err)
{
	struct vhost_vring_file file = { index, fd };
	int r = is_kick ? CALL(b, VHOST_SET_VRING_KICK, &file, err)
			: CALL(b, VHOST_SET_VRING_CALL, &file, err);

	/* What user-mode Linux hands over, for one. */
	if (r < 0 && fd >= 0)
		return err_set(err, r,
			"%s: queue %u: the kernel does not take the driver's %s descriptor, which "
			"has to be an eventfd",
			b->where, index, is_kick ? "kick" : "call");
	return r;
}

static int set_ring(struct vhost_backend *b, const struct vhost_vring *v, struct err *err)
{
	struct vhost_vring_state num = { v->index, v->num }, base = { v->index, v->base };
	struct vhost_vring_addr addr = {
		.index = v->index,
		.flags = v->log ? BIT(VHOST_VRING_F_LOG) : 0,
		.desc_user_addr = address(v->mem, v->desc),
		.used_user_addr = address(v->mem, v->device),
		.avail_user_addr = address(v->mem, v->driver),
		.log_guest_addr = v->log_addr,
	};
	int r = CALL(b, VHOST_SET_VRING_NUM, &num, err);

	if (!r)
		r = CALL(b, VHOST_SET_VRING_BASE, &base, err);
	if (!r)
		r = CALL(b, VHOST_SET_VRING_ADDR, &addr, err);
	if (!r)
		r = set_fd(b, v->index, false, v->call, err);
	return r ? r : set_fd(b, v->index, true, v->kick, err);
}

static int get_base(struct vhost_backend *b, unsigned int index, uint32_t *ret, struct err *err)
{
	struct vhost_vring_state state = { index, 0 };
	int r = CALL(b, VHOST_GET_VRING_BASE, &state, err);

	*ret = state.num;
	return r ? r : set_fd(b, index, true, -1, err);
}

/* A kick that came before the kind began was heard, and looked at by nobody. */
static void kick_all(struct vhost_backend *b)
{
	static const uint64_t one = 1;

	for (unsigned int i = 0; i < b->target->num_served; i++)
		(void)!write(b->kernel_kick[i], &one, sizeof(one));
}

/* Rings that all have to be there: begins with the last, and ends with the first that stops. */
static int start_whole(struct vhost_backend *b, const struct vhost_vring *v,
	int (*run)(struct vhost_backend *b, bool on, struct err *err), struct err *err)
{
	uint64_t all = BIT(b->target->num_served) - 1;
	int kick = fcntl(v->kick, F_DUPFD_CLOEXEC, 0), r;

	if (kick < 0)
		return refused(b, "a duplicate of the kick descriptor", err);
	r = set_ring(b, v, err);
	if (r < 0) {
		close(kick);
		return r;
	}
	b->kernel_kick[v->index] = kick;
	b->kernel_started |= BIT(v->index);
	if (b->kernel_started != all)
		return 0;
	r = run(b, true, err);
	if (!r)
		kick_all(b);
	return r;
}

static int stop_whole(struct vhost_backend *b, unsigned int index, uint32_t *ret_base,
	int (*run)(struct vhost_backend *b, bool on, struct err *err), struct err *err)
{
	uint64_t all = BIT(b->target->num_served) - 1;
	int r = b->kernel_started == all ? run(b, false, err) : 0;

	if (b->kernel_started & BIT(index))
		close_fd(&b->kernel_kick[index]);
	b->kernel_started &= ~BIT(index);
	return r < 0 ? r : get_base(b, index, ret_base, err);
}

static int nothing(_unused_ struct vhost_backend *b, _unused_ struct err *err)
{
	return 0;
}

/* --- network --- */

static int net_features(struct vhost_backend *b, uint64_t features, bool log_all, struct err *err)
{
	static const struct {
		unsigned int bit, flag;
	} offloads[] = {
		{ NET_F_GUEST_CSUM, TUN_F_CSUM },
		{ NET_F_GUEST_TSO4, TUN_F_TSO4 },
		{ NET_F_GUEST_TSO6, TUN_F_TSO6 },
		{ NET_F_GUEST_ECN, TUN_F_TSO_ECN },
	};
	unsigned long flags = 0;

	for (size_t i = 0; i < ARRAY_SIZE(offloads); i++)
		if (features >> offloads[i].bit & 1)
			flags |= offloads[i].flag;
	if (ioctl(b->target->tap_fd, TUNSETOFFLOAD, flags) < 0)
		return refused(b, "TUNSETOFFLOAD", err);
	/* The header is the interface's; the bit of this number is another one to the kernel. */
	return set_features(b, features & ~BIT(VHOST_NET_F_VIRTIO_NET_HDR), log_all, err);
}

static int net_bind(struct vhost_backend *b, unsigned int index, int fd, struct err *err)
{
	struct vhost_vring_file file = { index, fd };

	return CALL(b, VHOST_NET_SET_BACKEND, &file, err);
}

static int net_start(struct vhost_backend *b, const struct vhost_vring *v, struct err *err)
{
	int r = set_ring(b, v, err);

	return r < 0 ? r : net_bind(b, v->index, b->target->tap_fd, err);
}

static int net_stop(
	struct vhost_backend *b, unsigned int index, uint32_t *ret_base, struct err *err)
{
	int r = net_bind(b, index, -1, err);

	return r < 0 ? r : get_base(b, index, ret_base, err);
}

const struct vhost_backend_ops vhost_net_backend = {
	.name = "vhost-net",
	.open = open_kernel,
	.close = close_kernel,
	.set_features = net_features,
	.set_mem = set_mem,
	.set_log = set_log,
	.start_vring = net_start,
	.stop_vring = net_stop,
	.set_vring_fd = set_fd,
	.reset = nothing,
	.check_alive = nothing,
};

/* --- sockets --- */

static int vsock_open(struct vhost_backend *b, int fd, struct err *err)
{
	uint64_t cid = b->target->guest_cid;
	int r = open_kernel(b, fd, err);

	if (!r && ioctl(fd, VHOST_VSOCK_SET_GUEST_CID, &cid) < 0)
		r = err_set(err, -EREMOTEIO, "%s: guest-cid=%llu: %s", b->where,
			(unsigned long long)cid,
			errno == EADDRINUSE ? "another guest has it" : strerror(errno));
	return r;
}

static int vsock_run(struct vhost_backend *b, bool on, struct err *err)
{
	int running = on;

	return CALL(b, VHOST_VSOCK_SET_RUNNING, &running, err);
}

static int vsock_start(struct vhost_backend *b, const struct vhost_vring *v, struct err *err)
{
	return start_whole(b, v, vsock_run, err);
}

static int vsock_stop(
	struct vhost_backend *b, unsigned int index, uint32_t *ret_base, struct err *err)
{
	return stop_whole(b, index, ret_base, vsock_run, err);
}

const struct vhost_backend_ops vhost_vsock_backend = {
	.name = "vhost-vsock",
	.open = vsock_open,
	.close = close_kernel,
	.set_features = set_features,
	.set_mem = set_mem,
	.set_log = set_log,
	.start_vring = vsock_start,
	.stop_vring = vsock_stop,
	.set_vring_fd = set_fd,
	.reset = nothing,
	.check_alive = nothing,
};

/* --- SCSI --- */

static int scsi_run(struct vhost_backend *b, bool on, struct err *err)
{
	struct vhost_scsi_target target = { .abi_version = VHOST_SCSI_ABI_VERSION,
		.vhost_tpgt = 1 };

	snprintf(target.vhost_wwpn, sizeof(target.vhost_wwpn), "%s", b->target->wwpn);
	return on ? CALL(b, VHOST_SCSI_SET_ENDPOINT, &target, err)
		  : CALL(b, VHOST_SCSI_CLEAR_ENDPOINT, &target, err);
}

static int scsi_open(struct vhost_backend *b, int fd, struct err *err)
{
	int abi = 0, r = open_kernel(b, fd, err);

	if (!r)
		r = CALL(b, VHOST_SCSI_GET_ABI_VERSION, &abi, err);
	if (!r && abi > VHOST_SCSI_ABI_VERSION)
		r = err_set(err, -EREMOTEIO, "%s: its interface has version %d, expected %d",
			b->where, abi, VHOST_SCSI_ABI_VERSION);
	return r;
}

static int scsi_start(struct vhost_backend *b, const struct vhost_vring *v, struct err *err)
{
	return start_whole(b, v, scsi_run, err);
}

static int scsi_stop(
	struct vhost_backend *b, unsigned int index, uint32_t *ret_base, struct err *err)
{
	return stop_whole(b, index, ret_base, scsi_run, err);
}

const struct vhost_backend_ops vhost_scsi_backend = {
	.name = "vhost-scsi",
	.open = scsi_open,
	.close = close_kernel,
	.set_features = set_features,
	.set_mem = set_mem,
	.set_log = set_log,
	.start_vring = scsi_start,
	.stop_vring = scsi_stop,
	.set_vring_fd = set_fd,
	.reset = nothing,
	.check_alive = nothing,
};
