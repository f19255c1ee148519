/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * What each message means for the device's state, by table. Messages that are not well-formed, and
 * queues that the protocol cannot name, are passed over. Descriptors that are kept are duplicates,
 * and are let go of when they are replaced or the connection ends.
 */
#include "vhost/shadow.h"

#include <fcntl.h>
#include <string.h>
#include <unistd.h>

#include "base/cleanup.h"

/* A message on its way. */
struct passing {
	const union vhu_payload *payload;
	size_t bytes;
	const int *fds;
	unsigned int num_fds;
};

static void keep_fd(int *fd, const struct passing *p)
{
	close_fd(fd);
	if (p->num_fds)
		*fd = fcntl(p->fds[0], F_DUPFD_CLOEXEC, 0);
}

static uint64_t word_of(const struct passing *p)
{
	return le64_get(p->payload->u64.value);
}

/* Shows it, where it was not before; NULL for one that cannot be. */
static struct vhost_view_ring *ring_of(struct shadow *s, uint32_t index)
{
	if (index >= SHADOW_QUEUES_MAX)
		return NULL;
	if (index >= s->dev->num_queues)
		s->dev->num_queues = index + 1;
	return &s->rings[index];
}

/* --- features and status --- */

static void set_features(struct shadow *s, const struct passing *p)
{
	struct vdev *dev = s->dev;

	s->view.acked_features = word_of(p);
	s->view.log_enabled = word_of(p) >> VHU_F_LOG_ALL & 1;
	s->view.is_translated = word_of(p) >> VIRTIO_F_ACCESS_PLATFORM & 1;
	s->features_set = true;
	dev->driver_features = virtio_features_from64(word_of(p));
	dev->view.unoffered_features = s->view.has_offer ? word_of(p) & ~s->view.features : 0;
	shadow_place(s);
}

static void set_protocol_features(struct shadow *s, const struct passing *p)
{
	s->view.protocol_acked = word_of(p);
	s->dev->view.protocol_features = word_of(p);
	shadow_place(s);
}

/*
 * What SET_STATUS says is the driver's byte, or one that the front-end made up of its own doings:
 * QEMU says FEATURES_OK without ACKNOWLEDGE and DRIVER, then all of it with DRIVER_OK, or never
 * (vhost-user-rng of 7.2), and 0 when its rings stop. A driver shows itself before it is done.
 */
static void learn_status_kind(struct shadow *s, uint8_t status)
{
	bool has_driver = status & (VIRTIO_STATUS_ACKNOWLEDGE | VIRTIO_STATUS_DRIVER);

	if (s->status_kind != SHADOW_STATUS_UNKNOWN || !status)
		return;
	s->status_kind = has_driver && !(status & VIRTIO_STATUS_DRIVER_OK) ? SHADOW_STATUS_DRIVER
									   : SHADOW_STATUS_COMPOSED;
	s->dev->view.status_known = s->status_kind == SHADOW_STATUS_DRIVER;
}

/* The driver's byte, as a message says it; 0 is a reset. */
static void know_status(struct shadow *s, uint8_t status)
{
	if (!status)
		s->dev->driver_features = virtio_features_from64(0);
	vdev_derive_status(s->dev, status, (uint8_t)~status);
}

static void set_status(struct shadow *s, const struct passing *p)
{
	uint8_t status = (uint8_t)word_of(p);

	learn_status_kind(s, status);
	if (s->status_kind == SHADOW_STATUS_DRIVER)
		know_status(s, status);
	else if (!status)
		s->features_set = s->needs_reset = false;
}

static void stop_all(struct shadow *s, _unused_ const struct passing *p)
{
	for (unsigned int i = 0; i < s->dev->num_queues; i++)
		s->rings[i].started = s->rings[i].enabled = false;
}

/* Without the driver's byte: FEATURES_OK after the features, DRIVER_OK while a ring can run. */
static void derive_status(struct shadow *s)
{
	uint8_t status = s->needs_reset ? VIRTIO_STATUS_NEEDS_RESET : 0;

	if (s->status_kind == SHADOW_STATUS_DRIVER)
		return;
	if (s->features_set)
		status |= VIRTIO_STATUS_ACKNOWLEDGE | VIRTIO_STATUS_DRIVER |
			  VIRTIO_STATUS_FEATURES_OK;
	for (unsigned int i = 0; i < s->dev->num_queues; i++)
		if (s->rings[i].started && s->rings[i].enabled)
			status |= VIRTIO_STATUS_ACKNOWLEDGE | VIRTIO_STATUS_DRIVER |
				  VIRTIO_STATUS_DRIVER_OK;
	vdev_derive_status(s->dev, status, (uint8_t)~status);
}

/* --- memory, logs, configuration --- */

static void mem_table(struct shadow *s, const struct passing *p)
{
	shadow_mem_table(s, &p->payload->mem, p->fds);
}

static void add_region(struct shadow *s, const struct passing *p)
{
	shadow_add_region(s, &p->payload->mem_region.region, p->fds[0]);
}

static void rem_region(struct shadow *s, const struct passing *p)
{
	shadow_rem_region(s, &p->payload->mem_region.region);
}

/* Pages that are not there yet would be made by a look, and the migration not like that. */
static void postcopy_begins(struct shadow *s, _unused_ const struct passing *p)
{
	s->view.memory_away = true;
	shadow_place(s);
}

static void postcopy_ends(struct shadow *s, _unused_ const struct passing *p)
{
	s->view.memory_away = false;
	shadow_place(s);
}

static void set_log_base(struct shadow *s, const struct passing *p)
{
	s->view.log_bytes = le64_get(p->payload->log.size);
}

static void know_config(struct shadow *s, const struct passing *p)
{
	uint32_t offset = le32_get(p->payload->config.offset);
	uint64_t num = p->bytes < VHU_CONFIG_HEADER_BYTES ? 0 : p->bytes - VHU_CONFIG_HEADER_BYTES;

	if (!num || !range_inside(offset, num, VHU_CONFIG_MAX))
		return;
	memcpy(s->config + offset, p->payload->config.data, num);
	s->config_bytes = MAX(s->config_bytes, offset + (uint32_t)num);
}

static void know_inflight(struct shadow *s, const struct passing *p)
{
	memcpy(&s->inflight, &p->payload->inflight, VHU_INFLIGHT_MIN_BYTES);
	keep_fd(&s->inflight_fd, p);
}

static void set_inflight(struct shadow *s, const struct passing *p)
{
	know_inflight(s, p);
	s->view.has_inflight = true;
	shadow_map_inflight(s);
}

/* --- rings --- */

static void set_num(struct shadow *s, const struct passing *p)
{
	uint32_t index = le32_get(p->payload->state.index);

	if (ring_of(s, index))
		s->dev->queues[index].cfg.num = le32_get(p->payload->state.num);
}

static void set_addr(struct shadow *s, const struct passing *p)
{
	const struct vhu_vring_addr *addr = &p->payload->addr;
	uint32_t index = le32_get(addr->index);
	struct vhost_view_ring *ring = ring_of(s, index);

	if (!ring)
		return;
	s->areas[index] = (struct shadow_areas){ le64_get(addr->desc), le64_get(addr->avail),
		le64_get(addr->used) };
	ring->has_areas = true;
	shadow_place(s);
}

static bool know_base(struct shadow *s, const struct passing *p)
{
	uint32_t index = le32_get(p->payload->state.index), num = le32_get(p->payload->state.num);
	struct vhost_view_ring *ring = ring_of(s, index);
	struct vq_config *cfg;

	if (!ring)
		return false;
	cfg = &s->dev->queues[index].cfg;
	cfg->next_avail = (uint16_t)num;
	cfg->next_used = (uint16_t)(num >> 16);
	cfg->has_base = ring->has_base = true;
	ring->ran = false;
	return true;
}

static void set_base(struct shadow *s, const struct passing *p)
{
	know_base(s, p);
}

/* The reply to GET_VRING_BASE: the ring has stopped. */
static void stopped_at(struct shadow *s, const struct passing *p)
{
	if (know_base(s, p))
		s->rings[le32_get(p->payload->state.index)].started = false;
}

static void start(struct shadow *s, struct vhost_view_ring *ring)
{
	ring->started = ring->ran = true;
	/* Without the one bit rings are enabled as they start; who takes the other enables none. */
	if (!(s->view.acked_features >> VHU_F_PROTOCOL_FEATURES & 1) ||
		(s->view.protocol_acked >> VHU_PF_CRYPTO_SESSION & 1 && !ring->enable_said))
		ring->enabled = true;
}

static void set_kick(struct shadow *s, const struct passing *p)
{
	struct vhost_view_ring *ring = ring_of(s, word_of(p) & VHU_VRING_INDEX_MASK);

	keep_fd(&ring->kick, p);
	start(s, ring);
}

static void kick_by_message(struct shadow *s, const struct passing *p)
{
	struct vhost_view_ring *ring = ring_of(s, le32_get(p->payload->state.index));

	if (ring)
		start(s, ring);
}

static void set_call(struct shadow *s, const struct passing *p)
{
	keep_fd(&ring_of(s, word_of(p) & VHU_VRING_INDEX_MASK)->call, p);
}

static void set_err(struct shadow *s, const struct passing *p)
{
	keep_fd(&ring_of(s, word_of(p) & VHU_VRING_INDEX_MASK)->err, p);
}

static void set_enable(struct shadow *s, const struct passing *p)
{
	struct vhost_view_ring *ring = ring_of(s, le32_get(p->payload->state.index));

	if (!ring)
		return;
	ring->enabled = le32_get(p->payload->state.num);
	ring->enable_said = true;
}

static void (*const requests[VHU_REQUEST_END])(struct shadow *s, const struct passing *p) = {
	[VHU_SET_FEATURES] = set_features,
	[VHU_SET_PROTOCOL_FEATURES] = set_protocol_features,
	[VHU_RESET_OWNER] = stop_all,
	[VHU_RESET_DEVICE] = stop_all,
	[VHU_SET_MEM_TABLE] = mem_table,
	[VHU_ADD_MEM_REG] = add_region,
	[VHU_REM_MEM_REG] = rem_region,
	[VHU_POSTCOPY_LISTEN] = postcopy_begins,
	[VHU_POSTCOPY_END] = postcopy_ends,
	[VHU_SET_LOG_BASE] = set_log_base,
	[VHU_SET_VRING_NUM] = set_num,
	[VHU_SET_VRING_ADDR] = set_addr,
	[VHU_SET_VRING_BASE] = set_base,
	[VHU_SET_VRING_KICK] = set_kick,
	[VHU_SET_VRING_CALL] = set_call,
	[VHU_SET_VRING_ERR] = set_err,
	[VHU_SET_VRING_ENABLE] = set_enable,
	[VHU_VRING_KICK] = kick_by_message,
	[VHU_SET_CONFIG] = know_config,
	[VHU_SET_INFLIGHT_FD] = set_inflight,
	[VHU_SET_STATUS] = set_status,
};

/* --- replies --- */

static void features_offered(struct shadow *s, const struct passing *p)
{
	s->view.features = word_of(p);
	s->view.has_offer = true;
	s->dev->device_features = virtio_features_from64(word_of(p));
}

static void protocol_offered(struct shadow *s, const struct passing *p)
{
	s->view.protocol_offered = word_of(p);
}

static void queue_num(struct shadow *s, const struct passing *p)
{
	s->view.max_queues = word_of(p);
}

/* Of a byte that is made up, the one bit that is the back-end's own counts. */
static void status_read(struct shadow *s, const struct passing *p)
{
	if (s->status_kind == SHADOW_STATUS_DRIVER)
		know_status(s, (uint8_t)word_of(p));
	else
		s->needs_reset = word_of(p) & VIRTIO_STATUS_NEEDS_RESET;
}

static const struct {
	void (*fn)(struct shadow *s, const struct passing *p);
	size_t min_bytes;
} replies[VHU_REQUEST_END] = {
	[VHU_GET_FEATURES] = { features_offered, 8 },
	[VHU_GET_PROTOCOL_FEATURES] = { protocol_offered, 8 },
	[VHU_GET_QUEUE_NUM] = { queue_num, 8 },
	[VHU_GET_STATUS] = { status_read, 8 },
	[VHU_GET_CONFIG] = { know_config, VHU_CONFIG_HEADER_BYTES },
	[VHU_GET_VRING_BASE] = { stopped_at, 8 },
	[VHU_GET_VRING_BASE_SKIP_DRAIN] = { stopped_at, 8 },
	[VHU_GET_INFLIGHT_FD] = { know_inflight, VHU_INFLIGHT_MIN_BYTES },
};

bool shadow_request(struct shadow *s, const struct vhu_header *header,
	const union vhu_payload *payload, const int *fds, unsigned int num_fds)
{
	uint32_t request = le32_get(header->request);
	const struct passing p = { payload, le32_get(header->size), fds, num_fds };

	if (vhu_check(header, payload, num_fds, NULL) != VHU_OK)
		return false;
	if (request < VHU_REQUEST_END && requests[request])
		requests[request](s, &p);
	derive_status(s);
	vdev_vhost_changed(s->dev);
	return true;
}

void shadow_reply(struct shadow *s, const struct vhu_header *header,
	const union vhu_payload *payload, const int *fds, unsigned int num_fds)
{
	uint32_t request = le32_get(header->request), bytes = le32_get(header->size);
	const struct passing p = { payload, bytes, fds, num_fds };

	if (!(le32_get(header->flags) & VHU_FLAG_REPLY) || request >= VHU_REQUEST_END ||
		!replies[request].fn || bytes < replies[request].min_bytes)
		return;
	replies[request].fn(s, &p);
	derive_status(s);
	vdev_vhost_changed(s->dev);
}

/* --- life --- */

static void forget(struct shadow *s)
{
	const struct transcript *transcript = s->view.transcript;
	bool has_type = s->view.has_type;

	s->view = (struct vhost_view){
		.has_type = has_type, .rings = s->rings, .transcript = transcript
	};
	memset(s->areas, 0, sizeof(s->areas));
	for (unsigned int i = 0; i < SHADOW_QUEUES_MAX; i++)
		s->rings[i] = (struct vhost_view_ring){ .kick = -1, .call = -1, .err = -1 };
	s->features_set = s->needs_reset = false;
	s->status_kind = SHADOW_STATUS_UNKNOWN;
	s->config_bytes = 0;
	s->inflight = (struct vhu_inflight){ 0 };
}

void shadow_init(struct shadow *s, struct vdev *dev)
{
	s->dev = dev;
	s->inflight_fd = -1;
	forget(s);
	vdev_set_queues(dev, SHADOW_QUEUES_MAX, 0);
	dev->num_queues = 0;
	dev->view.vhost = &s->view;
}

void shadow_reset(struct shadow *s)
{
	struct vdev *dev = s->dev;

	for (unsigned int i = 0; i < SHADOW_QUEUES_MAX; i++) {
		close_fd(&s->rings[i].kick);
		close_fd(&s->rings[i].call);
		close_fd(&s->rings[i].err);
	}
	close_fd(&s->inflight_fd);
	gmem_unref(take_ptr(s->inflight_mem));
	gmem_unref(take_ptr(s->mem));
	vdev_set_mem(dev, NULL);
	vdev_reset(dev);
	dev->device_features = virtio_features_from64(0);
	dev->view.status_known = false;
	dev->view.protocol_features = 0;
	dev->num_queues = 0;
	forget(s);
	vdev_vhost_changed(dev);
}

void shadow_deinit(struct shadow *s)
{
	if (!s->dev)
		return;
	/* All that there are go with the device, shown or not. */
	s->dev->num_queues = SHADOW_QUEUES_MAX;
	s->dev->view.vhost = NULL;
	s->dev = NULL;
}
