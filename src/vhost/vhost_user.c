/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A vhost-user back-end as who serves a device's rings. Memory goes on as it came: the same files,
 * and the addresses by which the front-end of before named its rings. Refuses a back-end of before
 * virtio 1, more memory than it has room for, and a region for what is in flight that is too small.
 */
#include <errno.h>
#include <inttypes.h>
#include <string.h>

#include "base/cleanup.h"
#include "vhost/backend.h"
#include "virtio/features.h"

#define BIT(n) (1ull << (n))

/* Less than the process takes to end: a ring that is never given back is cut off by then. */
#define REPLY_MS 7000

#define WANTED_PROTOCOL                                                                     \
	(BIT(VHU_PF_MQ) | BIT(VHU_PF_LOG_SHMFD) | BIT(VHU_PF_REPLY_ACK) |                   \
		BIT(VHU_PF_BACKEND_REQ) | BIT(VHU_PF_CONFIG) | BIT(VHU_PF_INFLIGHT_SHMFD) | \
		BIT(VHU_PF_RESET_DEVICE) | BIT(VHU_PF_CONFIGURE_MEM_SLOTS))

static int read_config(struct vhost_backend *b, struct err *err)
{
	if (!b->config_bytes || !vuc_has(&b->vuc, VHU_PF_CONFIG))
		return 0;
	b->has_config = true;
	return vuc_get_config(&b->vuc, b->config, b->config_bytes, err);
}

static int hand_channel(struct vhost_backend *b, struct err *err)
{
	b->has_channel = b->channel_fd >= 0 && vuc_has(&b->vuc, VHU_PF_BACKEND_REQ);
	return b->has_channel
		       ? vuc_tell(&b->vuc, VHU_SET_BACKEND_REQ_FD, NULL, 0, &b->channel_fd, 1, err)
		       : 0;
}

static int queue_num(struct vhost_backend *b, struct err *err)
{
	b->max_queues = 0;
	return vuc_has(&b->vuc, VHU_PF_MQ) ? vuc_get_queue_num(&b->vuc, &b->max_queues, err) : 0;
}

static int open_user(struct vhost_backend *b, int fd, struct err *err)
{
	int r;

	vuc_attach(&b->vuc, fd, b->where);
	b->vuc.reply_ms = REPLY_MS;
	b->fd = fd;
	b->num_slots = 0;
	b->uses_slots = false;
	r = vuc_negotiate(&b->vuc, WANTED_PROTOCOL, err);
	if (r < 0)
		return r;
	if (!(b->vuc.features & BIT(VIRTIO_F_VERSION_1)))
		return err_set(err, -EREMOTEIO,
			"%s: the back-end does not offer VIRTIO_F_VERSION_1 (0x%" PRIx64
			"); legacy devices are not supported",
			b->where, b->vuc.features);
	b->raw_features = b->vuc.features |
			  (b->vuc.has_protocol ? BIT(VHU_F_PROTOCOL_FEATURES) : 0);
	b->features = b->vuc.features & ~BIT(VHU_F_LOG_ALL);
	b->protocol_offered = b->vuc.protocol_offered;
	b->protocol_features = b->vuc.protocol_features;
	b->can_log = vuc_has(&b->vuc, VHU_PF_LOG_SHMFD) && (b->vuc.features & BIT(VHU_F_LOG_ALL));
	b->has_inflight = vuc_has(&b->vuc, VHU_PF_INFLIGHT_SHMFD);
	r = queue_num(b, err);
	if (r >= 0)
		r = hand_channel(b, err);
	return r < 0 ? r : read_config(b, err);
}

static void close_user(struct vhost_backend *b)
{
	vuc_close(&b->vuc);
	b->fd = -1;
}

static int set_features(struct vhost_backend *b, uint64_t features, bool log_all, struct err *err)
{
	/* Bits that a driver took unoffered, and may rely on, are the back-end's to judge. */
	features |= log_all ? BIT(VHU_F_LOG_ALL) : 0;
	features |= b->vuc.has_protocol ? BIT(VHU_F_PROTOCOL_FEATURES) : 0;
	return vuc_tell_u64(&b->vuc, VHU_SET_FEATURES, features, NULL, err);
}

/* --- memory --- */

static struct vuc_region region_of(const struct gmem_region *region)
{
	return (struct vuc_region){ region->desc.gpa, region->desc.size, region->desc.user_addr,
		region->desc.fd_offset, region->fd };
}

/* ADD_MEM_REG with the file, REM_MEM_REG without. */
static int slot(struct vhost_backend *b, uint32_t request, const struct gmem_region_desc *desc,
	int fd, struct err *err)
{
	struct vhu_mem_region wire = { .region = { le64_make(desc->gpa), le64_make(desc->size),
					       le64_make(desc->user_addr),
					       le64_make(desc->fd_offset) } };

	return vuc_tell(&b->vuc, request, &wire, sizeof(wire), &fd, fd < 0 ? 0 : 1, err);
}

static bool in_memory(const struct gmem *mem, const struct gmem_region_desc *desc)
{
	const struct gmem_region *region = gmem_find(mem, desc->gpa);

	return region && !memcmp(&region->desc, desc, sizeof(*desc));
}

static bool is_slot(const struct vhost_backend *b, const struct gmem_region_desc *desc)
{
	for (unsigned int i = 0; i < b->num_slots; i++)
		if (!memcmp(&b->slots[i], desc, sizeof(*desc)))
			return true;
	return false;
}

/* What went, then what came; a region of its own is all that a descriptor is needed for. */
static int change_slots(struct vhost_backend *b, const struct gmem *mem, struct err *err)
{
	struct gmem_region_desc left[VUC_REGIONS_MAX];
	unsigned int num_left = 0;
	int r = 0;

	for (unsigned int i = 0; !r && i < b->num_slots; i++) {
		const struct gmem_region_desc *desc = &b->slots[i];

		if (in_memory(mem, desc))
			left[num_left++] = *desc;
		else
			r = slot(b, VHU_REM_MEM_REG, desc, -1, err);
	}
	if (r < 0)
		return r;
	memcpy(b->slots, left, num_left * sizeof(left[0]));
	b->num_slots = num_left;
	for (unsigned int i = 0; !r && i < mem->num_regions; i++) {
		const struct gmem_region *region = mem->regions[i];

		if (is_slot(b, &region->desc))
			continue;
		r = slot(b, VHU_ADD_MEM_REG, &region->desc, region->fd, err);
		b->slots[b->num_slots++] = region->desc;
	}
	return r;
}

static int check_slots(struct vhost_backend *b, const struct gmem *mem, struct err *err)
{
	uint64_t slots;
	int r = vuc_ask(
		&b->vuc, VHU_GET_MAX_MEM_SLOTS, NULL, 0, NULL, sizeof(le64), sizeof(le64), err);

	if (r < 0)
		return r;
	slots = MIN(le64_read(b->vuc.sock.payload), (uint64_t)VUC_REGIONS_MAX);
	return mem->num_regions <= slots
		       ? 0
		       : err_set(err, -EREMOTEIO,
				 "%s: memory of %u regions; the back-end takes %" PRIu64, b->where,
				 mem->num_regions, slots);
}

/* A table while it is enough: it replaces all there was. Slots once there were more. */
static int set_mem(struct vhost_backend *b, const struct gmem *mem, struct err *err)
{
	struct vuc_region regions[VHU_REGIONS_MAX];
	int r = 0;

	if (!b->uses_slots && mem->num_regions <= VHU_REGIONS_MAX) {
		for (unsigned int i = 0; i < mem->num_regions; i++)
			regions[i] = region_of(mem->regions[i]);
		for (unsigned int i = 0; i < mem->num_regions; i++)
			b->slots[i] = mem->regions[i]->desc;
		b->num_slots = mem->num_regions;
		return vuc_set_memory(&b->vuc, regions, mem->num_regions, false, err);
	}
	if (!vuc_has(&b->vuc, VHU_PF_CONFIGURE_MEM_SLOTS))
		return err_set(err, -EREMOTEIO,
			"%s: memory of %u regions; a back-end without CONFIGURE_MEM_SLOTS takes %d",
			b->where, mem->num_regions, VHU_REGIONS_MAX);
	b->uses_slots = true;
	r = check_slots(b, mem, err);
	return r < 0 ? r : change_slots(b, mem, err);
}

static int set_log(
	struct vhost_backend *b, const struct dirty_log *log, int signal_fd, struct err *err)
{
	const struct gmem_region *region = dirty_log_region(log);
	struct vhu_log wire = { le64_make(region->desc.size), le64_make(region->desc.fd_offset) };
	int r = vuc_ask(&b->vuc, VHU_SET_LOG_BASE, &wire, sizeof(wire), &region->fd, 0,
		VHU_PAYLOAD_MAX, err);

	if (r < 0 || signal_fd < 0)
		return r;
	return vuc_tell(&b->vuc, VHU_SET_LOG_FD, NULL, 0, &signal_fd, 1, err);
}

/* --- rings --- */

/* The address by which the memory table names a guest's. The areas were checked. */
static uint64_t user_address(const struct gmem *mem, uint64_t gpa)
{
	const struct gmem_region *region = gmem_find(mem, gpa);

	return region ? gpa - region->desc.gpa + region->desc.user_addr : 0;
}

static int start_vring(struct vhost_backend *b, const struct vhost_vring *v, struct err *err)
{
	const struct vuc_vring vring = {
		.index = v->index,
		.num = v->num,
		.base = v->base,
		.desc = user_address(v->mem, v->desc),
		.driver = user_address(v->mem, v->driver),
		.device = user_address(v->mem, v->device),
		.log = v->log,
		.log_addr = v->log_addr,
		.kick = v->kick,
		.call = v->call,
		.err = v->err,
	};
	int r;

	if (b->has_region && v->num > b->inflight.queue_size)
		return err_set(err, -EREMOTEIO,
			"%s: queue %u has %u entries, and the region for what is in flight room "
			"for %u",
			b->where, v->index, v->num, b->inflight.queue_size);
	r = vuc_start_vring(&b->vuc, &vring, err);
	return r < 0 ? r : vuc_enable_vring(&b->vuc, v->index, true, err);
}

static int stop_vring(
	struct vhost_backend *b, unsigned int index, uint32_t *ret_base, struct err *err)
{
	int r = vuc_enable_vring(&b->vuc, index, false, err);

	return r < 0 ? r : vuc_stop_vring(&b->vuc, index, ret_base, err);
}

static int set_vring_fd(
	struct vhost_backend *b, unsigned int index, bool is_kick, int fd, struct err *err)
{
	return vuc_set_vring_fd(
		&b->vuc, is_kick ? VHU_SET_VRING_KICK : VHU_SET_VRING_CALL, index, fd, err);
}

static int set_inflight(
	struct vhost_backend *b, unsigned int num_queues, unsigned int queue_size, struct err *err)
{
	int r = 0;

	if (!b->has_region)
		r = vuc_get_inflight(&b->vuc, num_queues, queue_size, &b->inflight, err);
	if (r < 0)
		return r;
	b->has_region = true;
	return vuc_set_inflight(&b->vuc, &b->inflight, err);
}

void vhost_backend_forget(struct vhost_backend *b)
{
	if (b->has_region)
		close_fd(&b->inflight.fd);
	b->has_region = false;
}

/* --- the rest --- */

static int write_config(
	struct vhost_backend *b, size_t offset, const void *bytes, size_t len, struct err *err)
{
	struct vhu_config wire = { le32_make((uint32_t)offset), le32_make((uint32_t)len),
		le32_make(VHU_CONFIG_WRITABLE), { 0 } };

	if (!b->has_config)
		return 0;
	memcpy(wire.data, bytes, len);
	return vuc_tell(
		&b->vuc, VHU_SET_CONFIG, &wire, VHU_CONFIG_HEADER_BYTES + len, NULL, 0, err);
}

static int reset(struct vhost_backend *b, struct err *err)
{
	vhost_backend_forget(b);
	if (!vuc_has(&b->vuc, VHU_PF_RESET_DEVICE))
		return 0;
	return vuc_tell(&b->vuc, VHU_RESET_DEVICE, NULL, 0, NULL, 0, err);
}

static int check_alive(struct vhost_backend *b, struct err *err)
{
	return vuc_check_alive(&b->vuc, err);
}

const struct vhost_backend_ops vhost_user_backend = {
	.name = "vhost-user",
	.open = open_user,
	.close = close_user,
	.set_features = set_features,
	.set_mem = set_mem,
	.set_log = set_log,
	.start_vring = start_vring,
	.stop_vring = stop_vring,
	.set_vring_fd = set_vring_fd,
	.get_config = read_config,
	.set_config = write_config,
	.reset = reset,
	.set_inflight = set_inflight,
	.check_alive = check_alive,
};
