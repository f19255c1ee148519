/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Guest memory: the whole table at once, or region by region. Each message makes a new snapshot of
 * the table and swaps it in while all queues are idle; regions that stay are shared between
 * snapshots and keep their mapping. A ring whose region goes rests until its region comes back.
 * Refuses regions that overlap, wrap or are longer than their file, and more than there are slots.
 */
#include <errno.h>
#include <inttypes.h>

#include "base/cleanup.h"
#include "transport/vhu_internal.h"

/* Regions at once, however they came. */
#define VHU_MEM_SLOTS_MAX GMEM_REGIONS_MAX

static void free_regions(struct gmem_region **regions, unsigned int n)
{
	for (unsigned int i = 0; i < n; i++)
		gmem_region_unref(regions[i]);
}

static int new_region(const struct vhu *vhu, const struct vhu_region *from, int fd,
	struct gmem_region **ret, struct err *err)
{
	const struct gmem_region_desc desc = {
		.gpa = le64_get(from->guest_addr),
		.size = le64_get(from->size),
		.user_addr = le64_get(from->user_addr),
		.fd_offset = le64_get(from->mmap_offset),
	};
	int r = gmem_region_new(&desc, fd, ret, err);

	/* Who serves the rings maps the file too. */
	if (r < 0 || !vhu->dev->handover)
		return r;
	r = gmem_region_keep_fd(*ret, fd, err);
	if (r < 0)
		gmem_region_unref(*ret);
	return r;
}

/* All queues are idle. */
static int set_regions(
	struct vhu *vhu, struct gmem_region *const *regions, unsigned int n, struct err *err)
{
	struct gmem *mem;
	unsigned int i;
	int r = gmem_new(regions, n, &mem, err);

	if (r < 0)
		return r;
	vdev_set_mem(vhu->dev, mem);
	gmem_unref(mem);
	for (i = 0; i < vhu->dev->num_queues; i++)
		vhu->rings[i].lost = false;
	return 0;
}

/* The descriptors are mapped and closed with the message. */
int vhu_set_mem_table(struct vhu *vhu, struct vhu_call *call, struct err *err)
{
	const struct vhu_mem_table *table = &call->payload->mem;
	unsigned int i, n = le32_get(table->num_regions);
	struct gmem_region *regions[VHU_REGIONS_MAX] = { NULL };
	int r = 0;

	for (i = 0; i < n; i++) {
		r = new_region(vhu, &table->regions[i], vhu->sock.fds[i], &regions[i], err);
		if (r < 0)
			break;
	}
	if (!r)
		r = set_regions(vhu, regions, n, err);
	free_regions(regions, i);
	return r;
}

int vhu_get_max_mem_slots(struct vhu *vhu, struct vhu_call *call, struct err *err)
{
	(void)vhu;
	(void)err;
	call->reply.u64.value = le64_make(VHU_MEM_SLOTS_MAX);
	call->reply_bytes = sizeof(call->reply.u64);
	return 0;
}

int vhu_add_mem_reg(struct vhu *vhu, struct vhu_call *call, struct err *err)
{
	const struct gmem *mem = vhu->dev->mem;
	struct gmem_region *regions[VHU_MEM_SLOTS_MAX], *added;
	unsigned int i, n = mem ? mem->num_regions : 0;
	int r;

	if (n == VHU_MEM_SLOTS_MAX)
		return err_set(err, -ENOSPC, "all %d memory slots are in use", VHU_MEM_SLOTS_MAX);
	r = new_region(vhu, &call->payload->mem_region.region, vhu->sock.fds[0], &added, err);
	if (r < 0)
		return r;
	for (i = 0; i < n; i++)
		regions[i] = mem->regions[i];
	regions[n] = added;
	r = set_regions(vhu, regions, n + 1, err);
	gmem_region_unref(added);
	return r;
}

static bool is_same(const struct gmem_region_desc *desc, const struct vhu_region *named)
{
	/* The document says that the offset is not looked at. */
	return desc->gpa == le64_get(named->guest_addr) && desc->size == le64_get(named->size) &&
	       desc->user_addr == le64_get(named->user_addr);
}

int vhu_rem_mem_reg(struct vhu *vhu, struct vhu_call *call, struct err *err)
{
	const struct vhu_region *named = &call->payload->mem_region.region;
	const struct gmem *mem = vhu->dev->mem;
	struct gmem_region *regions[VHU_MEM_SLOTS_MAX];
	unsigned int i, n = 0, num = mem ? mem->num_regions : 0;
	int r;

	for (i = 0; i < num; i++)
		if (!is_same(&mem->regions[i]->desc, named))
			regions[n++] = mem->regions[i];
	if (n == num)
		return err_set(err, -ENOENT,
			"there is no memory region at 0x%" PRIx64 " of 0x%" PRIx64
			" bytes with user address 0x%" PRIx64,
			le64_get(named->guest_addr), le64_get(named->size),
			le64_get(named->user_addr));
	r = set_regions(vhu, regions, n, err);
	/* Front-ends replace a region in two steps: a ring without memory waits for the second. */
	for (i = 0; !r && i < vhu->dev->num_queues; i++)
		vhu->rings[i].lost = true;
	return r;
}
