/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Guest memory of somebody else's device: mapped to be read, region by region, as the front-end
 * hands it over. What cannot be mapped is no reason to stop anything: it is only not looked at.
 */
#include <inttypes.h>
#include <stdio.h>

#include "base/cleanup.h"
#include "base/log.h"
#include "vhost/shadow.h"
#include "virtio/vring.h"

static int map_region(
	const struct vhu_region *from, int fd, struct gmem_region **ret, struct err *err)
{
	const struct gmem_region_desc desc = {
		.gpa = le64_get(from->guest_addr),
		.size = le64_get(from->size),
		.user_addr = le64_get(from->user_addr),
		.fd_offset = le64_get(from->mmap_offset),
	};

	return gmem_region_new_readonly(&desc, fd, ret, err);
}

static void set_regions(
	struct shadow *s, struct gmem_region *const *regions, unsigned int n, struct err *err)
{
	struct gmem *mem = NULL;

	if (!err->msg[0])
		gmem_new(regions, n, &mem, err);
	gmem_unref(s->mem);
	s->mem = mem;
	s->view.memory_reason = NULL;
	if (!mem) {
		snprintf(s->memory_reason, sizeof(s->memory_reason), "%.*s",
			(int)sizeof(s->memory_reason) - 1, err->msg);
		s->view.memory_reason = s->memory_reason;
		log_limited(&s->limit, LOG_LEVEL_WARN, "%s: guest memory cannot be looked at: %s",
			vdev_label(s->dev), err->msg);
	}
	shadow_place(s);
}

void shadow_mem_table(struct shadow *s, const struct vhu_mem_table *table, const int *fds)
{
	struct gmem_region *regions[VHU_REGIONS_MAX] = { NULL };
	unsigned int i, n = le32_get(table->num_regions);
	struct err err = { 0 };

	for (i = 0; i < n; i++)
		if (map_region(&table->regions[i], fds[i], &regions[i], &err) < 0)
			break;
	set_regions(s, regions, i, &err);
	while (i--)
		gmem_region_unref(regions[i]);
}

void shadow_add_region(struct shadow *s, const struct vhu_region *region, int fd)
{
	struct gmem_region *regions[GMEM_REGIONS_MAX + 1], *added = NULL;
	unsigned int n = s->mem ? s->mem->num_regions : 0;
	struct err err = { 0 };

	map_region(region, fd, &added, &err);
	for (unsigned int i = 0; i < n; i++)
		regions[i] = s->mem->regions[i];
	regions[n] = added;
	set_regions(s, regions, n + 1, &err);
	gmem_region_unref(added);
}

void shadow_rem_region(struct shadow *s, const struct vhu_region *region)
{
	struct gmem_region *regions[GMEM_REGIONS_MAX];
	unsigned int n = 0, num = s->mem ? s->mem->num_regions : 0;
	struct err err = { 0 };

	for (unsigned int i = 0; i < num; i++) {
		const struct gmem_region_desc *desc = &s->mem->regions[i]->desc;

		if (desc->gpa != le64_get(region->guest_addr) ||
			desc->size != le64_get(region->size) ||
			desc->user_addr != le64_get(region->user_addr))
			regions[n++] = s->mem->regions[i];
	}
	set_regions(s, regions, n, &err);
}

void shadow_map_inflight(struct shadow *s)
{
	const struct gmem_region_desc desc = {
		.size = le64_get(s->inflight.mmap_size),
		.fd_offset = le64_get(s->inflight.mmap_offset),
	};
	struct gmem_region *region = NULL;
	struct err err = { 0 };

	gmem_unref(take_ptr(s->inflight_mem));
	s->view.inflight = NULL;
	if (gmem_region_new_readonly(&desc, s->inflight_fd, &region, &err) == 0)
		gmem_new(&region, 1, &s->inflight_mem, &err);
	gmem_region_unref(region);
	if (!s->inflight_mem) {
		log_limited(&s->limit, LOG_LEVEL_WARN,
			"%s: the in-flight region cannot be looked at: %s", vdev_label(s->dev),
			err.msg);
		return;
	}
	s->view.inflight = s->inflight_mem;
	s->view.inflight_queues = le16_get(s->inflight.num_queues);
	s->view.inflight_entries = le16_get(s->inflight.queue_size);
}

static bool to_gpa(const struct shadow *s, uint64_t addr, uint64_t *ret)
{
	*ret = addr;
	if (s->view.is_translated)
		return false;
	if (s->view.protocol_acked >> VHU_PF_GPA_ADDRESSES & 1)
		return gmem_find(s->mem, addr);
	return gmem_user_to_gpa(s->mem, addr, 1, ret);
}

void shadow_place(struct shadow *s)
{
	vdev_set_mem(s->dev, s->view.memory_away ? NULL : s->mem);
	for (unsigned int i = 0; i < s->dev->num_queues; i++) {
		const struct shadow_areas *areas = &s->areas[i];
		struct vq_config *cfg = &s->dev->queues[i].cfg;

		if (s->rings[i].has_areas && to_gpa(s, areas->desc, &cfg->desc) &&
			to_gpa(s, areas->driver, &cfg->driver) &&
			to_gpa(s, areas->device, &cfg->device))
			continue;
		cfg->desc = cfg->driver = cfg->device = 0;
	}
}

/* The ring that a message starts, or whose stop it tells. */
static bool is_turning(const struct transcript_entry *e, uint32_t *ret)
{
	const union vhu_payload *p = (const void *)e->payload;
	uint32_t request = le32_get(e->header.request);
	bool is_reply = transcript_is_reply(e);

	if (e->channel != TRANSCRIPT_MAIN || e->num_kept < sizeof(struct vhu_u64))
		return false;
	*ret = le32_get(p->state.index);
	if (!is_reply)
		*ret &= VHU_VRING_INDEX_MASK;
	return is_reply == e->from_backend &&
	       request == (is_reply ? VHU_GET_VRING_BASE : VHU_SET_VRING_KICK);
}

void shadow_witness(const struct shadow *s, struct transcript_entry *entry)
{
	const struct vq_config *cfg;
	uint32_t index;
	le16 used;

	if (!is_turning(entry, &index) || index >= s->dev->num_queues ||
		vq_format(s->dev)->packed || !s->dev->mem)
		return;
	cfg = &s->dev->queues[index].cfg;
	if (!cfg->device || gmem_peek(s->dev->mem, cfg->device + offsetof(struct vring_used, idx),
				    &used, sizeof(used)) < 0)
		return;
	entry->has_ring_used = true;
	entry->ring_used = le16_get(used);
}
