/* SPDX-License-Identifier: BSD-3-Clause */
/* A piece of guest memory in hexadecimal. Refuses what would be a long reply. */
#include "inspect/memory.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>

#include "base/alloc.h"
#include "inspect/virtio.h"
#include "mem/gmem.h"
#include "virtio/vdev.h"

int inspect_memory(struct qom_object *root, const char *path, uint64_t addr, uint32_t size,
	struct VirtioMemoryBytes **ret, struct err *err)
{
	const struct vdev *dev = inspect_find(root, path);
	uint8_t bytes[INSPECT_MEMORY_MAX];
	char *text;
	int r;

	if (!dev)
		return err_set(err, -ENODEV, "Path %s is not a VirtIODevice", path);
	if (size > sizeof(bytes))
		return err_set(err, -E2BIG, "%" PRIu32 " bytes are asked for: expected %zu at most",
			size, sizeof(bytes));
	if (dev->view.vhost && dev->view.vhost->memory_away)
		return err_set(
			err, -EAGAIN, "a migration fills the memory: a look would disturb it");
	r = gmem_peek(dev->mem, addr, bytes, size);
	if (r < 0)
		return err_set(err, r, "%" PRIu32 " bytes at 0x%" PRIx64 " %s", size, addr,
			r == -EFAULT ? "lie outside of the guest's memory"
				     : "cannot be read: the memory's file was truncated");
	text = xcalloc(2 * (size_t)size + 1, 1);
	for (uint32_t i = 0; i < size; i++)
		snprintf(text + 2 * i, 3, "%02x", bytes[i]);
	*ret = xnew(struct VirtioMemoryBytes);
	(*ret)->addr = addr;
	(*ret)->bytes = text;
	return 0;
}
