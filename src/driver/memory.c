/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Memory to share, handed out from the bottom of each region. Allocations go round the regions, so
 * that rings, tables and buffers of one request lie in several of them.
 */
#include "driver/memory.h"

#include <errno.h>
#include <inttypes.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "base/cleanup.h"

/* Guest addresses begin above what is special on machines, and regions never touch. */
#define FIRST_ADDR 0x100000000ull
#define HOLE_BYTES 0x10000000ull

int dmem_init(struct dmem *m, uint64_t bytes, unsigned int num_slots, struct err *err)
{
	_cleanup_fd_ int fd = -1;
	uint64_t each, whole;
	void *base;

	memset(m, 0, sizeof(*m));
	m->fd = -1;
	if (!num_slots || num_slots > DMEM_SLOTS_MAX)
		return err_set(err, -EINVAL, "%u memory slots: expected 1 to %d", num_slots,
			DMEM_SLOTS_MAX);
	each = (bytes / num_slots + DMEM_PAGE) & ~(uint64_t)(DMEM_PAGE - 1);
	whole = each * num_slots;
	if (bytes > INT64_MAX / 2)
		return err_set(
			err, -EINVAL, "memory of %" PRIu64 " bytes is more than can be", bytes);
	fd = memfd_create("ringside-drive", MFD_CLOEXEC | MFD_ALLOW_SEALING);
	if (fd < 0 || ftruncate(fd, (off_t)whole) < 0)
		return err_set(err, -errno, "memory of %" PRIu64 " bytes to share: %s", whole,
			strerror(errno));
	base = mmap(NULL, whole, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	if (base == MAP_FAILED)
		return err_set(err, -errno, "memory of %" PRIu64 " bytes to share: %s", whole,
			strerror(errno));
	m->fd = take_fd(&fd);
	m->base = base;
	m->slot_bytes = each;
	m->num_slots = num_slots;
	for (unsigned int i = 0; i < num_slots; i++)
		m->slots[i].guest_addr = FIRST_ADDR + i * (each + HOLE_BYTES);
	return 0;
}

void dmem_deinit(struct dmem *m)
{
	if (m->base)
		munmap(m->base, m->slot_bytes * m->num_slots);
	close_fd(&m->fd);
	memset(m, 0, sizeof(*m));
	m->fd = -1;
}

void *dmem_alloc(
	struct dmem *m, uint64_t bytes, uint64_t align, uint64_t *ret_addr, struct err *err)
{
	for (unsigned int n = 0; n < m->num_slots; n++) {
		unsigned int i = (m->next_slot + n) % m->num_slots;
		struct dmem_slot *slot = &m->slots[i];
		uint64_t start = (slot->used + align - 1) & ~(align - 1);

		if (!range_inside(start, bytes, m->slot_bytes))
			continue;
		slot->used = start + bytes;
		m->next_slot = i + 1;
		*ret_addr = slot->guest_addr + start;
		return m->base + i * m->slot_bytes + start;
	}
	err_set(err, -ENOMEM,
		"memory of %" PRIu64 " bytes in %u slots has no %" PRIu64
		" bytes left in one of them: give more with --memory",
		m->slot_bytes * m->num_slots, m->num_slots, bytes);
	return NULL;
}
