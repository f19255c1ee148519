/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Packed rings that cannot be walked, and some that look bad and are legal. After each bad one the
 * device is broken with a reason that names the fault, nothing of the chain reached the device, no
 * answer was written, and a reset brings a working device back.
 */
#include "packed_driver.h"

#define D  DATA_AT
#define ID 0x8000u /* marks an id that a row gives; else it is 2 */

static struct pdriver d;

struct row {
	const char *name;
	struct pdesc ring[9]; /* of a ring of 8, in order, flags as they are */
	uint16_t id; /* of the last one */
	struct pdesc table[3]; /* at TABLE_AT */
	const char *reason; /* NULL: legal */
};

static const struct row rows[] = {
	{ "id beyond the ring", { { D, 16, 0 } }, ID | 8, { { 0 } },
		"buffer id 8 is beyond a ring of 8" },
	{ "largest id", { { D, 16, 0 } }, 0xffff, { { 0 } }, "buffer id 65535 is beyond" },
	{ "chain as long as the ring and no end",
		{ { D, 1, NEXT }, { D, 1, NEXT }, { D, 1, NEXT }, { D, 1, NEXT }, { D, 1, NEXT },
			{ D, 1, NEXT }, { D, 1, NEXT }, { D, 1, NEXT } },
		0, { { 0 } }, "descriptor 0 is still the device's" },
	{ "no bytes and no end",
		{ { D, 0, NEXT }, { D, 0, NEXT }, { D, 0, NEXT }, { D, 0, NEXT }, { D, 0, NEXT },
			{ D, 0, NEXT }, { D, 0, NEXT }, { D, 0, NEXT } },
		0, { { 0 } }, "is still the device's" },
	{ "address beyond RAM", { { RAM_END, 16, 0 } }, 0, { { 0 } }, "outside guest memory" },
	{ "end beyond RAM", { { RAM_END - 8, 16, 0 } }, 0, { { 0 } }, "outside guest memory" },
	{ "huge length", { { D, UINT32_MAX, 0 } }, 0, { { 0 } }, "outside guest memory" },
	{ "address and length wrap", { { UINT64_MAX - 7, 16, 0 } }, 0, { { 0 } },
		"outside guest memory" },
	{ "second buffer outside", { { D, 16, NEXT }, { RAM_END + 4096, 16, WRITE } }, 0, { { 0 } },
		"descriptor 1 at" },
	{ "readable after writable", { { D, 16, WRITE | NEXT }, { D, 16, 0 } }, 0, { { 0 } },
		"is readable and follows a writable one" },
	/* virtio 1.3, "Indirect Flag: Scatter-Gather Support" */
	{ "indirect and next", { { TABLE_AT, 16, INDIRECT | NEXT }, { D, 16, 0 } }, 0,
		{ { D, 16, 0 } }, "is INDIRECT within a list" },
	{ "indirect behind a buffer", { { D, 16, NEXT }, { TABLE_AT, 16, INDIRECT } }, 0,
		{ { D, 16, 0 } }, "descriptor 1 is INDIRECT within a list" },
	{ "empty table", { { TABLE_AT, 0, INDIRECT } }, 0, { { 0 } }, "not a multiple of 16" },
	{ "ragged table", { { TABLE_AT, 24, INDIRECT } }, 0, { { 0 } }, "not a multiple of 16" },
	{ "table outside RAM", { { RAM_END, 16, INDIRECT } }, 0, { { 0 } },
		"indirect table outside guest memory" },
	{ "table's end outside RAM", { { RAM_END - 16, 32, INDIRECT } }, 0, { { 0 } },
		"indirect table outside guest memory" },
	{ "table wraps", { { UINT64_MAX - 15, 32, INDIRECT } }, 0, { { 0 } },
		"outside guest memory" },
	{ "table too long", { { D, 1025 * 16, INDIRECT } }, 0, { { 0 } }, "longer than its limit" },
	{ "readable after writable in a table", { { TABLE_AT, 32, INDIRECT } }, 0,
		{ { D, 16, WRITE }, { D, 16, 0 } }, "follows a writable one" },
	{ "bad buffer in a table", { { TABLE_AT, 32, INDIRECT } }, 0,
		{ { D, 16, 0 }, { RAM_END, 16, WRITE } }, "outside guest memory" },
	/* legal, though it looks odd */
	{ "no bytes at a bad address", { { UINT64_MAX, 0, NEXT }, { D, 16, WRITE } }, 0, { { 0 } },
		NULL },
	{ "as long as the ring",
		{ { D, 1, NEXT }, { D, 1, NEXT }, { D, 1, NEXT }, { D, 1, NEXT }, { D, 1, NEXT },
			{ D, 1, NEXT }, { D, 1, NEXT }, { D, 1, WRITE } },
		0, { { 0 } }, NULL },
	{ "writable flag on a table", { { TABLE_AT, 16, INDIRECT | WRITE } }, 0, { { D, 16, 0 } },
		NULL },
	{ "flags of entries are reserved but WRITE", { { TABLE_AT, 48, INDIRECT } }, 0,
		{ { D, 16, 0x7ffd }, { D, 16, NEXT | INDIRECT }, { D, 16, WRITE | NEXT } }, NULL },
	{ "unknown flags", { { D, 16, 0x7f78 } }, 0, { { 0 } }, NULL },
	{ "last id of the ring", { { D, 16, 0 } }, ID | 7, { { 0 } }, NULL },
};

/* All the places at once, flags as a driver has them in its first round. */
static void write_row(struct fix *f, const struct row *row)
{
	uint16_t id = row->id ? row->id == 0xffff ? 0xffff : row->id & 0x7fff : 2;

	for (uint32_t i = 0; i < 3; i++)
		set_desc(f, TABLE_AT, i, row->table[i].addr, row->table[i].len, 0x7777,
			row->table[i].flags);
	for (uint32_t i = 8; i--;) {
		const struct pdesc *from = &row->ring[i];
		struct pdesc to = *from;

		if (!from->addr)
			continue;
		to.flags &= (uint16_t)~P_USED;
		pd_show(&d, i, pd_write(&d, i, &to, id));
	}
}

static void check_works(struct fix *f)
{
	uint16_t id;
	uint32_t len;

	fix_reset(f);
	fix_start_ring(f, 8, PACKED);
	pd_init(&d, f);
	pd_offer_one(&d, 3, WRITE);
	kick(f);
	assert_false(f->dev->broken);
	assert_true(pd_take(&d, &id, &len));
	assert_int_equal(id, 3);
}

static void check_broken(struct fix *f, const char *name, const char *reason)
{
	if (!f->dev->broken)
		fail_msg("%s: not broken", name);
	if (!strstr(f->dev->broken_reason, reason))
		fail_msg("%s: '%s' does not say '%s'", name, f->dev->broken_reason, reason);
	assert_int_equal(f->dev->status & VIRTIO_STATUS_NEEDS_RESET, VIRTIO_STATUS_NEEDS_RESET);
	assert_true(vdev_is_idle(f->dev));
}

static void test_chains(void **state)
{
	struct fix f;

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		fix_init(&f, 8, PACKED);
		pd_init(&d, &f);
		write_row(&f, &rows[i]);
		kick(&f);
		if (rows[i].reason) {
			assert_int_equal(test_device(&f)->num_served, 0);
			check_broken(&f, rows[i].name, rows[i].reason);
			for (uint64_t p = 0; p < 8; p++)
				assert_false(pd_is_used(&d, p));
			check_works(&f);
		} else if (f.dev->broken || !pd_is_used(&d, 0)) {
			fail_msg("%s: %s", rows[i].name, f.dev->broken_reason);
		}
		fix_deinit(&f);
	}
}

/* What is wrong only because of what the device still has. */
static void init_held(struct fix *f)
{
	fix_init(f, 4, PACKED);
	pd_init(&d, f);
	test_device(f)->verdict = SERVE_HELD;
	pd_offer_one(&d, 0, WRITE);
	pd_offer_one(&d, 1, WRITE);
	kick(f);
	assert_int_equal(test_device(f)->num_held, 2);
}

static void check_held(struct fix *f, const char *name, const char *reason)
{
	kick(f);
	assert_int_equal(test_device(f)->num_held, 2);
	/* What it has comes back first, and is not written. */
	assert_int_equal(f->vq->state, VQ_STOPPING);
	fix_complete_held(f);
	pump(f);
	check_broken(f, name, reason);
	assert_false(pd_is_used(&d, 0));
	test_device(f)->verdict = SERVE_DONE;
	check_works(f);
	fix_deinit(f);
}

static void test_while_in_flight(void **state)
{
	const struct pdesc three[] = { { D, 1, 0 }, { D, 1, 0 }, { D, 1, 0 } };
	struct fix f;

	(void)state;
	init_held(&f);
	pd_offer_one(&d, 1, WRITE);
	check_held(&f, "id in flight", "buffer id 1 is made available again while it is in flight");

	init_held(&f);
	pd_offer(&d, 2, three, 3);
	check_held(&f, "into what the device has", "descriptor 0 is still the device's");

	/* All places are the device's, and the next one says that it is available. */
	fix_init(&f, 2, PACKED);
	pd_init(&d, &f);
	test_device(&f)->verdict = SERVE_HELD;
	pd_offer_one(&d, 0, WRITE);
	pd_offer_one(&d, 1, WRITE);
	kick(&f);
	pd_show(&d, 0, P_USED);
	check_held(&f, "more than all", "while the device has all of them");
}

/* Positions and areas that a queue cannot start with. */
static const struct start_row {
	const char *name;
	uint16_t avail, used;
	uint64_t desc, driver, device;
	const char *reason;
} start_rows[] = {
	{ "available beyond", 0x8008, 0x8008, DESC_AT, AVAIL_AT, USED_AT, "beyond a ring of 8" },
	{ "used beyond", 0, 0x7fff, DESC_AT, AVAIL_AT, USED_AT, "beyond a ring of 8" },
	{ "too far apart", 0x8000, 0x8001, DESC_AT, AVAIL_AT, USED_AT, "15 descriptors between" },
	{ "descriptors misaligned", 0x8000, 0x8000, DESC_AT + 8, AVAIL_AT, USED_AT,
		"descriptor area at 0x10008 is not aligned" },
	{ "driver area misaligned", 0x8000, 0x8000, DESC_AT, AVAIL_AT + 2, USED_AT,
		"driver area at 0x100002 is not aligned" },
	{ "device area misaligned", 0x8000, 0x8000, DESC_AT, AVAIL_AT, USED_AT + 1,
		"device area at 0x120001 is not aligned" },
	{ "descriptors outside", 0x8000, 0x8000, RAM_END - 64, AVAIL_AT, USED_AT,
		"outside guest memory" },
	{ "driver area outside", 0x8000, 0x8000, DESC_AT, RAM_END, USED_AT,
		"outside guest memory" },
	{ "device area wraps", 0x8000, 0x8000, DESC_AT, AVAIL_AT, UINT64_MAX - 3,
		"outside guest memory" },
};

static void test_starts(void **state)
{
	struct fix f;

	(void)state;
	fix_init(&f, 8, PACKED);
	for (size_t i = 0; i < ARRAY_SIZE(start_rows); i++) {
		const struct start_row *row = &start_rows[i];

		vdev_hold(f.dev);
		pump(&f);
		f.vq->cfg.next_avail = row->avail;
		f.vq->cfg.next_used = row->used;
		f.vq->cfg.has_base = true;
		f.vq->cfg.desc = row->desc;
		f.vq->cfg.driver = row->driver;
		f.vq->cfg.device = row->device;
		vdev_release(f.dev);
		pump(&f);
		check_broken(&f, row->name, row->reason);
		check_works(&f);
	}
	fix_deinit(&f);
}

/* The event suppression areas hold whatever a driver puts there. */
static void test_garbage_in_event_areas(void **state)
{
	struct fix f;

	(void)state;
	fix_init(&f, 5, PACKED | 1ull << VIRTIO_F_EVENT_IDX);
	pd_init(&d, &f);
	for (uint32_t v = 0; v < 65536; v += 257) {
		uint16_t id;
		uint32_t len;

		pd_want(&d, (uint16_t)(v * 31), (uint16_t)v);
		memset(pd_device_event(&d), (int)v, 4);
		pd_offer_one(&d, 2, WRITE);
		kick(&f);
		assert_true(pd_take(&d, &id, &len));
	}
	assert_false(f.dev->broken);
	fix_deinit(&f);
}

/* Aligned in the guest, and not here, since the region begins at an odd place of its file. */
static void test_odd_place_in_file(void **state)
{
	static const uint64_t formats[] = { 0, PACKED };

	(void)state;
	for (unsigned int i = 0; i < ARRAY_SIZE(formats); i++) {
		struct gmem_region_desc desc = { 0, SPLIT, 0, 8 };
		struct gmem_region *region;
		struct err err = { 0 };
		struct fix f;

		fix_init(&f, 0, formats[i]);
		gmem_unref(f.mem);
		assert_int_equal(gmem_region_new(&desc, f.memfd, &region, &err), 0);
		assert_int_equal(gmem_new(&region, 1, &f.mem, &err), 0);
		gmem_region_unref(region);
		fix_start_ring(&f, 8, formats[i]);
		assert_true(f.dev->broken);
		assert_non_null(strstr(f.dev->broken_reason,
			"descriptor area at 0x10000 lies in its file at a place that is not "
			"aligned to 16"));
		fix_deinit(&f);
	}
}

static bool is_early; /* break_and_answer() has completed the chain already */

static enum serve_verdict break_and_answer(struct vq *vq, struct chain *c)
{
	vq_break(vq, "the device found something");
	if (!is_early)
		return SERVE_DONE;
	vq_complete(vq, c);
	return SERVE_HELD;
}

/* A device that breaks its queue and answers all the same: nothing goes into the ring. */
static void test_answer_on_a_broken_ring(void **state)
{
	(void)state;
	for (unsigned int i = 0; i < 4; i++) {
		uint64_t features = i & 1 ? PACKED : 0;
		uint8_t rings[2][64];
		struct fix f;

		is_early = i & 2;
		fix_init(&f, 8, features);
		pd_init(&d, &f);
		test_device(&f)->serve = break_and_answer;
		if (features) {
			pd_offer_one(&d, 3, WRITE);
		} else {
			set_desc(&f, DESC_AT, 3, DATA_AT, 16, WRITE, 0);
			offer(&f, 3);
		}
		memcpy(rings[0], ram(&f, DESC_AT), 64);
		memcpy(rings[1], ram(&f, USED_AT + 4), 64);
		kick(&f);
		assert_true(f.dev->broken);
		assert_true(vdev_is_idle(f.dev));
		assert_memory_equal(rings[0], ram(&f, DESC_AT), 64);
		assert_memory_equal(rings[1], ram(&f, USED_AT + 4), 64);
		assert_int_equal(view(&f).counters.completed, 0);
		assert_int_equal(view(&f).inuse, 0);
		fix_deinit(&f);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_chains),
		cmocka_unit_test(test_while_in_flight),
		cmocka_unit_test(test_starts),
		cmocka_unit_test(test_garbage_in_event_areas),
		cmocka_unit_test(test_odd_place_in_file),
		cmocka_unit_test(test_answer_on_a_broken_ring),
	};

	log_set_level((enum log_level) - 1);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
