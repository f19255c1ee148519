/* SPDX-License-Identifier: BSD-3-Clause */
/* An in-flight region beside the fixture's ring, as a front-end keeps it. */
#ifndef TESTS_INFLIGHT_FIXTURE_H
#define TESTS_INFLIGHT_FIXTURE_H

#include "tests/unit/vq_fixture.h"

#include "virtio/vq_inflight.h"

#define REGION_BYTES 0x4000

struct keeper {
	int fd;
	void *region; /* the front-end's own mapping */
	struct gmem_region *mapped; /* the device's */
	uint32_t entries; /* of the part; 0: as many as the ring has */
};

static inline struct inflight_split *split_part(struct keeper *k)
{
	return k->region;
}

static inline void keeper_init(struct keeper *k)
{
	struct gmem_region_desc desc = { .size = REGION_BYTES };
	struct err err = { 0 };

	memset(k, 0, sizeof(*k));
	k->fd = memfd_create("inflight", MFD_CLOEXEC);
	assert_int_equal(ftruncate(k->fd, REGION_BYTES), 0);
	k->region = mmap(NULL, REGION_BYTES, PROT_READ | PROT_WRITE, MAP_SHARED, k->fd, 0);
	assert_int_equal(gmem_region_new(&desc, k->fd, &k->mapped, &err), 0);
}

static inline void keeper_deinit(struct keeper *k)
{
	gmem_region_unref(k->mapped);
	munmap(k->region, REGION_BYTES);
	close(k->fd);
}

/* What note_head() served: heads or buffer ids, in order, a digit each. */
static char served[64];

static inline enum serve_verdict note_head(struct vq *vq, struct chain *c)
{
	size_t n = strlen(served);

	(void)vq;
	assert_true(n + 1 < sizeof(served));
	served[n] = (char)('0' + c->head);
	served[n + 1] = '\0';
	return SERVE_DONE;
}

/* Lets queue 0 go on where memory and region stand, as after a restart. */
static inline void fix_go_on(
	struct fix *f, struct keeper *k, uint32_t num, uint16_t base, uint64_t features)
{
	f->num = num;
	vdev_set_mem(f->dev, f->mem);
	vdev_set_driver_features(f->dev, virtio_features_from64(features | 1ull << 32));
	f->vq->cfg = (struct vq_config){ .num = num,
		.desc = DESC_AT,
		.driver = AVAIL_AT,
		.device = USED_AT,
		.next_avail = base,
		.next_used = base,
		.has_base = true };
	vq_set_inflight(f->vq, k->mapped, 0, k->entries ? k->entries : num);
	fix_run(f);
}

static inline void fix_stop(struct fix *f)
{
	vdev_hold(f->dev);
	pump(f);
	assert_true(vdev_is_idle(f->dev));
}

#endif
