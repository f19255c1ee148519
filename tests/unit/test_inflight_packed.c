/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The in-flight region of a packed queue: what a start makes of it, and what it refuses. That a
 * killed process leaves nothing lost is test_inflight_crash.c.
 */
#include "inflight_fixture.h"

#include "packed_driver.h"

#define NUM 8

static struct pdriver pd;

/* Three chains that were taken: ids 0, 1 and 2 in the entries 0, 1 to 3, and 4; 5 to 7 are free. */
static void leave_three(struct fix *f, struct keeper *k)
{
	static const struct pdesc list[3] = { { DATA_AT, 16, 0 }, { DATA_AT + 64, 16, 0 },
		{ DATA_AT + 128, 16, WRITE } };

	f->num = NUM;
	pd_init(&pd, f);
	test_device(f)->verdict = SERVE_HELD;
	fix_go_on(f, k, NUM, VRING_PACKED_START, PACKED);
	pd_offer(&pd, 0, list, 1);
	pd_offer(&pd, 1, list, 3);
	pd_offer(&pd, 2, list + 2, 1);
	kick(f);
	assert_int_equal(test_device(f)->num_held, 3);
}

/* The process is gone; what it held, too. */
static void start_next(struct fix *f, struct keeper *k, const void *region, const void *ring)
{
	memcpy(k->region, region, REGION_BYTES);
	memcpy(ram(f, DESC_AT), ring, NUM * 16);
	pd.f = f;
	f->num = NUM;
	test_device(f)->serve = note_head;
	served[0] = '\0';
	fix_go_on(f, k, NUM, VRING_PACKED_START, PACKED);
}

#define ENTRY(n, field)                                                                      \
	offsetof(struct inflight_packed, desc) + (n) * sizeof(struct inflight_packed_desc) + \
		offsetof(struct inflight_packed_desc, field)
#define FIELD(field) offsetof(struct inflight_packed, field)

/* Bytes of the region that are not as the last process left them. */
struct change {
	size_t at;
	unsigned int bytes;
	uint64_t value;
};

struct row {
	const char *name;
	struct change changes[3];
	const char *served; /* ids in order; NULL: refused */
	const char *refused;
};

static const struct row rows[] = {
	{ "as it was left", { { 0 } }, "012", NULL },
	{ "by counter", { { ENTRY(0, counter), 8, 10 }, { ENTRY(4, counter), 8, 0 } }, "210",
		NULL },
	{ "a mark on a free entry", { { ENTRY(6, inflight), 1, 1 } }, "012", NULL },
	{ "a draft of used_idx", { { FIELD(used_idx), 2, 4 } }, "012", NULL },
	{ "a draft of free_head", { { FIELD(free_head), 2, 1 } }, "012", NULL },
	{ "no free entry", { { FIELD(old_free_head), 2, NUM } }, "012", NULL },

	{ "a version to come", { { FIELD(version), 2, 7 } }, NULL,
		"has version 7 and features 0x0" },
	{ "a feature", { { FIELD(features), 8, 4 } }, NULL, "has version 1 and features 0x4" },
	{ "another size", { { FIELD(desc_num), 2, 9 } }, NULL, "made for 9 entries, expected 8" },
	{ "a position beyond the ring", { { FIELD(old_used_idx), 2, 8 } }, NULL,
		"old_used_idx is 8 with wrap counter 1, in a ring of 8" },
	{ "a draft beyond the ring", { { FIELD(used_idx), 2, 0xffff } }, NULL,
		"used_idx is 65535 with wrap counter 1, in a ring of 8" },
	{ "a wrap counter of 2", { { FIELD(old_used_wrap_counter), 1, 2 } }, NULL,
		"old_used_idx is 0 with wrap counter 2" },
	{ "a draft's wrap counter of 255", { { FIELD(used_wrap_counter), 1, 255 } }, NULL,
		"used_idx is 0 with wrap counter 255" },
	{ "a free list from nowhere", { { FIELD(old_free_head), 2, 9 } }, NULL,
		"list of free entries names 9, of 8" },
	{ "a free list to nowhere", { { ENTRY(6, next), 2, 0xffff } }, NULL,
		"list of free entries names 65535, of 8" },
	{ "a free list without end", { { ENTRY(7, next), 2, 5 } }, NULL,
		"list of free entries closes a loop at" },
	{ "a mark that is none", { { ENTRY(4, inflight), 1, 3 } }, NULL,
		"entry 4 of the in-flight region is marked with 3" },
	{ "a chain of none", { { ENTRY(0, num), 2, 0 } }, NULL,
		"entry 0 of the in-flight region begins a chain of 0, in a ring of 8" },
	{ "a chain longer than the ring", { { ENTRY(0, num), 2, 9 } }, NULL,
		"entry 0 of the in-flight region begins a chain of 9" },
	{ "chains longer than the ring", { { ENTRY(1, num), 2, 8 } }, NULL,
		"entry 1 of the in-flight region begins a chain of 8" },
	{ "a chain to nowhere", { { ENTRY(1, next), 2, 8 } }, NULL,
		"entry 1 of the in-flight region leads to entry 8" },
	{ "a chain that closes a loop", { { ENTRY(2, next), 2, 1 } }, NULL,
		"entry 1 of the in-flight region leads to entry 1" },
	{ "a chain into another", { { ENTRY(2, next), 2, 0 } }, NULL,
		"entry 1 of the in-flight region leads to entry 0" },
	{ "a chain that ends elsewhere", { { ENTRY(1, last), 2, 2 } }, NULL,
		"entry 1 of the in-flight region ends otherwise than in entry 3" },
	{ "an id beyond the ring", { { ENTRY(4, id), 2, 8 } }, NULL,
		"entry 4 of the in-flight region has the buffer id 8, in a ring of 8" },
	{ "the same id twice", { { ENTRY(4, id), 2, 1 } }, NULL,
		"entry 4 of the in-flight region has the buffer id 1" },
	{ "a counter that no queue reaches", { { ENTRY(1, counter), 8, 1ull << 63 } }, NULL,
		"has the counter 0x8000000000000000, which no queue reaches" },
	{ "a buffer outside memory", { { ENTRY(2, addr), 8, 1ull << 40 } }, "0",
		"head 1: descriptor 2 at 0x10000000000 of 16 bytes lies outside guest memory" },
	{ "a table within a list", { { ENTRY(2, flags), 2, INDIRECT } }, "0",
		"head 1: descriptor 2 is INDIRECT within a list" },
	{ "a table outside memory",
		{ { ENTRY(0, flags), 2, INDIRECT }, { ENTRY(0, addr), 8, 1ull << 40 } }, "",
		"head 0: descriptor 0 holds an indirect table outside guest memory" },
	{ "a readable descriptor too late", { { ENTRY(1, flags), 2, WRITE } }, "0",
		"head 1: descriptor 2 is readable and follows a writable one" },
};

static void check_row(const struct row *row, const uint8_t *left, const uint8_t *ring)
{
	uint8_t region[REGION_BYTES];
	struct keeper k;
	struct fix f;
	unsigned int i;
	uint16_t id;
	uint32_t len;

	memcpy(region, left, sizeof(region));
	for (i = 0; i < ARRAY_SIZE(row->changes); i++) {
		le64 value = le64_make(row->changes[i].value);

		memcpy(region + row->changes[i].at, &value, row->changes[i].bytes);
	}
	fix_init(&f, 0, 0);
	keeper_init(&k);
	start_next(&f, &k, region, ring);
	if (row->refused) {
		if (!f.dev->broken || !strstr(f.dev->broken_reason, row->refused))
			fail_msg("%s: %s", row->name, f.dev->broken_reason);
	} else if (f.dev->broken) {
		fail_msg("%s: %s", row->name, f.dev->broken_reason);
	} else {
		pd.taken = 0;
		pd.ndescs[0] = pd.ndescs[2] = 1;
		pd.ndescs[1] = 3;
		for (i = 0; i < 3; i++)
			assert_true(pd_take(&pd, &id, &len));
	}
	if (strcmp(served, row->served ? row->served : "") != 0)
		fail_msg("%s: served %s", row->name, served);
	fix_deinit(&f);
	keeper_deinit(&k);
}

static void test_rows(void **state)
{
	uint8_t region[REGION_BYTES], ring[NUM * 16];
	struct keeper k;
	struct fix f;
	unsigned int i;

	(void)state;
	fix_init(&f, 0, 0);
	keeper_init(&k);
	leave_three(&f, &k);
	memcpy(region, k.region, sizeof(region));
	memcpy(ring, ram(&f, DESC_AT), sizeof(ring));
	fix_deinit(&f);
	keeper_deinit(&k);
	for (i = 0; i < ARRAY_SIZE(rows); i++)
		check_row(&rows[i], region, ring);
}

/* Every entry is taken: there is no free list, and what is in flight is not in it. */
static void test_all_in_flight(void **state)
{
	uint8_t region[REGION_BYTES], ring[NUM * 16];
	struct keeper k;
	struct fix f;
	uint16_t i;

	(void)state;
	fix_init(&f, 0, 0);
	keeper_init(&k);
	f.num = NUM;
	pd_init(&pd, &f);
	test_device(&f)->verdict = SERVE_HELD;
	fix_go_on(&f, &k, NUM, VRING_PACKED_START, PACKED);
	for (i = 0; i < NUM; i++)
		pd_offer_one(&pd, NUM - 1 - i, 0);
	kick(&f);
	memcpy(region, k.region, sizeof(region));
	memcpy(ring, ram(&f, DESC_AT), sizeof(ring));
	fix_deinit(&f);
	keeper_deinit(&k);

	fix_init(&f, 0, 0);
	keeper_init(&k);
	start_next(&f, &k, region, ring);
	assert_false(f.dev->broken);
	assert_string_equal(served, "76543210");
	fix_deinit(&f);
	keeper_deinit(&k);
}

static void test_stop_leaves_nothing(void **state)
{
	const struct inflight_packed *part;
	struct keeper k;
	struct fix f;
	unsigned int i;

	(void)state;
	fix_init(&f, 0, 0);
	keeper_init(&k);
	leave_three(&f, &k);
	part = k.region;
	vdev_hold(f.dev);
	fix_complete_held(&f);
	pump(&f);
	assert_true(vdev_is_idle(f.dev));
	assert_int_equal(f.vq->cfg.next_avail, 0x8005);
	assert_int_equal(f.vq->cfg.next_used, 0x8005);
	assert_int_equal(le16_get(part->old_used_idx), 5);
	for (i = 0; i < NUM; i++)
		assert_int_equal(part->desc[i].inflight, 0);
	vdev_release(f.dev);
	fix_reset(&f);
	assert_int_equal(le16_get(part->version), 0);
	fix_deinit(&f);
	keeper_deinit(&k);
}

/* Stops, and starts where the second chain's answer stands in the ring and the first's does not. */
static void start_half_shown(
	struct fix *f, struct keeper *k, const void *region, struct dirty_log *log)
{
	vdev_hold(f->dev);
	fix_complete_held(f);
	pump(f);
	memcpy(k->region, region, REGION_BYTES);
	pd_show(&pd, 0, P_AVAIL);
	pd_show(&pd, 1, P_AVAIL | P_USED);
	vdev_set_dirty_log(f->dev, log, -1);
	f->vq->cfg.log_ring = true;
	vdev_release(f->dev);
	assert_int_equal(f->vq->packed.num_busy, 5);
	assert_int_equal(le16_get(pd_at(&pd, 1)->flags), P_AVAIL);
	pump(f);
}

/*
 * Flags of a batch that was never shown are taken back where they stand in the ring: the dirty log
 * hears of that write, if there is one now, and one that is gone does not.
 */
static void test_taken_back_is_logged(void **state)
{
	const uint64_t log_bytes = RAM_END >> 12 >> 3, at = DESC_AT >> 12 >> 3;
	uint8_t region[REGION_BYTES], bits = 0;
	struct dirty_log *log;
	struct keeper k;
	struct err err = { 0 };
	struct fix f;
	int fd = memfd_create("log", MFD_CLOEXEC);

	(void)state;
	assert_int_equal(ftruncate(fd, (off_t)log_bytes), 0);
	assert_int_equal(dirty_log_new(fd, 0, log_bytes, &log, &err), 0);
	fix_init(&f, 0, 0);
	keeper_init(&k);
	leave_three(&f, &k);
	memcpy(region, k.region, sizeof(region));
	start_half_shown(&f, &k, region, log);
	assert_int_equal(pread(fd, &bits, 1, (off_t)at), 1);
	assert_int_equal(bits, 1 << (DESC_AT >> 12) % 8);
	start_half_shown(&f, &k, region, NULL);
	vdev_hold(f.dev);
	fix_complete_held(&f);
	pump(&f);
	vdev_release(f.dev);
	fix_deinit(&f);
	keeper_deinit(&k);
	dirty_log_unref(log);
	close(fd);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_rows),
		cmocka_unit_test(test_all_in_flight),
		cmocka_unit_test(test_stop_leaves_nothing),
		cmocka_unit_test(test_taken_back_is_logged),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
