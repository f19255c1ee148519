/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Where a ring stands that somebody else serves: flags of packed rings by table, what an in-flight
 * region adds, and what it must not add.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include <cmocka.h>

#include "inspect/vhost.h"
#include "virtio/vq_inflight.h"
#include "virtio/vring.h"

#define NUM	  4u
#define RAM_BYTES 65536u
#define DESC_AT	  0x1000
#define DRIVER_AT 0x2000
#define DEVICE_AT 0x3000
#define PART_AT	  0x8000 /* in the region's file */

struct rig {
	struct vdev dev;
	struct vdev_class cls;
	struct vhost_view view;
	struct vhost_view_ring rings[2];
	struct vq vq;
	struct gmem *mem, *region;
	uint8_t *ram;
};

static struct gmem *map(int fd, uint64_t offset, uint64_t bytes)
{
	const struct gmem_region_desc desc = { .size = bytes, .fd_offset = offset };
	struct gmem_region *region;
	struct gmem *mem;
	struct err err;

	assert_int_equal(gmem_region_new_readonly(&desc, fd, &region, &err), 0);
	assert_int_equal(gmem_new(&region, 1, &mem, &err), 0);
	gmem_region_unref(region);
	return mem;
}

static void set_up(struct rig *r, bool packed)
{
	int fd = memfd_create("ram", MFD_CLOEXEC);

	*r = (struct rig){ 0 };
	assert_int_equal(ftruncate(fd, RAM_BYTES), 0);
	r->ram = mmap(NULL, RAM_BYTES, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	r->mem = map(fd, 0, PART_AT);
	r->region = map(fd, PART_AT, RAM_BYTES - PART_AT);
	close(fd);
	r->dev = (struct vdev){ .cls = &r->cls, .num_queues = 1, .queues = &r->vq, .mem = r->mem };
	r->cls.relayed = true;
	r->dev.driver_features = virtio_features_from64(
		1ull << VIRTIO_F_VERSION_1 | (packed ? 1ull << VIRTIO_F_RING_PACKED : 0));
	r->dev.device_features = r->dev.driver_features;
	r->dev.view.vhost = &r->view;
	r->view.rings = r->rings;
	r->rings[0].ran = r->rings[0].has_areas = r->rings[1].ran = true;
	r->vq = (struct vq){ .dev = &r->dev };
	r->vq.cfg = (struct vq_config){
		.num = NUM, .desc = DESC_AT, .driver = DRIVER_AT, .device = DEVICE_AT
	};
	r->view.inflight_queues = 1;
	r->view.inflight_entries = NUM;
}

static void tear_down(struct rig *r)
{
	gmem_unref(r->mem);
	gmem_unref(r->region);
	munmap(r->ram, RAM_BYTES);
}

static struct vhost_ring_now look(const struct rig *r)
{
	struct vhost_ring_now now;

	inspect_vhost_ring(&r->vq, &now);
	return now;
}

/* A, U: available, answered, with wrap counter 1; a, u: with 0. */
static void set_flags(struct rig *r, const char *flags)
{
	struct vring_packed_desc *desc = (void *)(r->ram + DESC_AT);

	for (unsigned int i = 0; i < NUM; i++) {
		bool wrap = flags[i] == 'A' || flags[i] == 'U';
		bool used = flags[i] == 'u' || flags[i] == 'U' ? wrap : !wrap;

		desc[i].flags = le16_make((uint16_t)((wrap ? VRING_PACKED_DESC_F_AVAIL : 0) |
						     (used ? VRING_PACKED_DESC_F_USED : 0)));
	}
}

static const struct {
	const char *flags;
	int place; /* -1: nobody can tell */
	bool wrap;
} packed[] = {
	{ "uuuu", 0, 1 }, /* as new */
	{ "Uuuu", 1, 1 },
	{ "UUuu", 2, 1 },
	{ "UUUu", 3, 1 },
	{ "UUUU", 0, 0 },
	{ "uUUU", 1, 0 },
	{ "uuuU", 3, 0 },
	{ "AUuu", 2, 1 }, /* the inside of a chain whose answer stands before it */
	{ "Auuu", -1 }, /* one waits */
	{ "UAuu", -1 }, /* one waits, or it was the end of a chain */
	{ "aUUU", -1 },
	{ "AAAA", -1 },
	{ "aaaa", -1 },
	{ "UuUu", -1 }, /* no driver's */
	{ "uUuU", -1 },
	{ "uAuu", -1 }, /* a chain of which all but the head is written */
	{ "uAAA", -1 }, /* the same, and as long as the ring */
	{ "UaaA", -1 },
};

static void packed_by_flags(_unused_ void **state)
{
	struct rig r;

	set_up(&r, true);
	for (size_t i = 0; i < ARRAY_SIZE(packed); i++) {
		struct vhost_ring_now now;

		set_flags(&r, packed[i].flags);
		now = look(&r);
		if (now.knows_avail != (packed[i].place >= 0) || now.knows_used != now.knows_avail)
			fail_msg("%s: is it known?", packed[i].flags);
		if (!now.knows_avail)
			continue;
		if (now.last_avail != packed[i].place || now.used != packed[i].place ||
			now.avail_wrap != packed[i].wrap || now.used_wrap != packed[i].wrap)
			fail_msg("%s: %u, wrap counter %d", packed[i].flags, now.last_avail,
				now.avail_wrap);
		assert_true(now.quiet && now.knows_inuse && !now.inuse && now.how);
	}
	tear_down(&r);
}

static const struct {
	const char *what, *flags;
	uint16_t used, old_used;
	uint8_t wrap, old_wrap;
	uint16_t nums[NUM]; /* of the chains that begin at these entries; 0: none */
	int place; /* of the next one that is taken; -1: nobody can tell */
} packed_regions[] = {
	{ "one of two is taken", "UAAu", 1, 1, 1, 1, { 0, 1 }, 2 },
	{ "a chain of two is taken", "UAAu", 1, 1, 1, 1, { 0, 2 }, 3 },
	{ "none is taken", "UAAu", 1, 1, 1, 1, { 0 }, 1 },
	{ "around the end", "aUAA", 2, 2, 1, 1, { 0, 0, 1, 2 }, 1 },
	{ "stands still where it began", "AAuu", 0, 0, 1, 1, { 0 }, -1 },
	{ "stays behind an answer", "UUAu", 1, 1, 1, 1, { 0, 1 }, -1 },
	{ "has more than there is", "UAAu", 1, 1, 1, 1, { 0, 3 }, -1 },
	{ "has more than the ring", "UAAu", 1, 1, 1, 1, { 0, 65535 }, -1 },
	{ "is being written", "UAAu", 2, 1, 1, 1, { 0, 1 }, -1 },
	{ "is ahead", "UAAu", 0, 0, 0, 0, { 0 }, -1 },
	{ "is beyond the ring", "UAAu", 9, 9, 1, 1, { 0 }, -1 },
	{ "has no such wrap counter", "UAAu", 1, 1, 2, 2, { 0 }, -1 },
};

static void packed_by_region(_unused_ void **state)
{
	for (size_t i = 0; i < ARRAY_SIZE(packed_regions); i++) {
		struct inflight_packed *part;
		struct vhost_ring_now now;
		struct rig r;

		set_up(&r, true);
		r.view.inflight = r.region;
		set_flags(&r, packed_regions[i].flags);
		part = (void *)(r.ram + PART_AT);
		part->version = le16_make(INFLIGHT_VERSION);
		part->desc_num = le16_make(NUM);
		part->free_head = part->old_free_head = le16_make(NUM);
		part->used_idx = le16_make(packed_regions[i].used);
		part->old_used_idx = le16_make(packed_regions[i].old_used);
		part->used_wrap_counter = packed_regions[i].wrap;
		part->old_used_wrap_counter = packed_regions[i].old_wrap;
		for (unsigned int k = 0; k < NUM; k++) {
			part->desc[k].inflight = packed_regions[i].nums[k] != 0;
			part->desc[k].num = le16_make(packed_regions[i].nums[k]);
		}
		now = look(&r);
		if (now.knows_avail != (packed_regions[i].place >= 0))
			fail_msg("%s: is it known?", packed_regions[i].what);
		if (now.knows_avail && (now.last_avail != packed_regions[i].place ||
					       now.used != packed_regions[i].used))
			fail_msg("%s: %u and %u", packed_regions[i].what, now.last_avail, now.used);
		tear_down(&r);
	}
}

static const struct {
	const char *what;
	uint16_t used, avail;
	uint16_t version, entries, recorded;
	uint8_t marks[NUM];
	int last_avail; /* -1: nobody can tell */
} split[] = {
	{ "no region", 7, 9, 0, 0, 0, { 0 }, -1 },
	{ "nothing on its way", 7, 7, 0, 0, 0, { 0 }, 7 },
	{ "one of two is taken", 7, 9, 1, NUM, 7, { 0, 1 }, 8 },
	{ "both are taken", 7, 9, 1, NUM, 7, { 1, 0, 1 }, 9 },
	{ "none is taken", 7, 9, 1, NUM, 7, { 0 }, 7 },
	{ "around the end", 65535, 1, 1, NUM, 65535, { 1, 1 }, 1 },
	{ "the first ones", 0, 2, 1, NUM, 0, { 1 }, 1 },
	{ "nobody writes into it", 0, 2, 1, NUM, 0, { 0 }, -1 },
	{ "stays behind", 7, 9, 1, NUM, 6, { 0, 1 }, -1 },
	{ "more than there are", 7, 8, 1, NUM, 7, { 1, 1 }, -1 },
	{ "of another size", 7, 9, 1, NUM + 1, 7, { 1 }, -1 },
	{ "of another version", 7, 9, 2, NUM, 7, { 1 }, -1 },
	{ "not a mark", 7, 9, 1, NUM, 7, { 2 }, -1 },
};

static void split_by_region(_unused_ void **state)
{
	for (size_t i = 0; i < ARRAY_SIZE(split); i++) {
		struct inflight_split *part;
		struct vhost_ring_now now;
		uint16_t heads[NUM];
		struct rig r;

		set_up(&r, false);
		r.view.inflight = r.region;
		part = (void *)(r.ram + PART_AT);
		part->version = le16_make(split[i].version);
		part->desc_num = le16_make(split[i].entries);
		part->used_idx = le16_make(split[i].recorded);
		for (unsigned int k = 0; k < NUM; k++)
			part->desc[k].inflight = split[i].marks[k];
		((struct vring_avail *)(r.ram + DRIVER_AT))->idx = le16_make(split[i].avail);
		((struct vring_used *)(r.ram + DEVICE_AT))->idx = le16_make(split[i].used);
		now = look(&r);
		assert_true(now.knows_used && now.from_memory && now.used == split[i].used);
		if (now.knows_avail != (split[i].last_avail >= 0))
			fail_msg("%s: is it known?", split[i].what);
		if (!now.knows_avail) {
			assert_int_equal(inspect_vhost_heads(&r.vq, heads, NUM), -1);
		} else if (now.last_avail != split[i].last_avail || !now.knows_inuse ||
			   now.inuse != (uint16_t)(now.last_avail - now.used)) {
			fail_msg("%s: %u, %u in use", split[i].what, now.last_avail, now.inuse);
		} else if (!now.quiet) {
			int n = inspect_vhost_heads(&r.vq, heads, NUM);

			assert_int_equal(n, now.inuse);
			for (int k = 0; k < n; k++)
				assert_int_equal(split[i].marks[heads[k]], 1);
		}
		tear_down(&r);
	}
}

/* A region shorter than its queues need, and queues that it has no part for. */
static void regions_that_are_too_small(_unused_ void **state)
{
	struct rig r;

	for (int is_packed = 0; is_packed < 2; is_packed++) {
		set_up(&r, is_packed);
		r.view.inflight = r.region;
		((struct vring_avail *)(r.ram + DRIVER_AT))->idx = le16_make(1);
		set_flags(&r, "Auuu");
		r.view.inflight_entries = 32768;
		assert_false(look(&r).knows_avail);
		r.view.inflight_entries = NUM - 1;
		assert_false(look(&r).knows_avail);
		r.view.inflight_entries = NUM;
		r.vq.index = 1;
		assert_false(look(&r).knows_avail);
		tear_down(&r);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(packed_by_flags),
		cmocka_unit_test(packed_by_region),
		cmocka_unit_test(split_by_region),
		cmocka_unit_test(regions_that_are_too_small),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
