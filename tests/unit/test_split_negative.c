/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Rings that cannot be walked, and rings that look bad and are legal. Each row is one input; after
 * each bad one the device is broken with a reason that names the fault, nothing of the chain
 * reached the device, and a reset brings a working device back.
 */
#include "vq_fixture.h"

struct raw_desc {
	uint64_t addr;
	uint32_t len;
	uint16_t flags, next;
};

struct bad_chain {
	const char *name;
	struct raw_desc ring[4]; /* descriptors 0 to 3 of a ring of 8 */
	struct raw_desc table[4]; /* at TABLE_AT */
	const char *reason; /* part of the sentence; NULL: the chain is legal */
};

#define D DATA_AT

static const struct bad_chain bad_chains[] = {
	/* CVE-2016-6490 and its kin: loops */
	{ "self-loop", { { D, 16, NEXT, 0 } }, { { 0 } }, "closes a loop" },
	{ "loop of two", { { D, 16, NEXT, 1 }, { D, 16, NEXT, 0 } }, { { 0 } }, "closes a loop" },
	{ "loop without bytes", { { D, 0, NEXT, 0 } }, { { 0 } }, "closes a loop" },
	/* DPDK 6ec1778: no bound on next */
	{ "next is one beyond", { { D, 16, NEXT, 8 } }, { { 0 } },
		"descriptor 8 is named as next" },
	{ "next is the largest", { { D, 16, NEXT, 65535 } }, { { 0 } },
		"descriptor 65535 is named" },
	/* buffers outside memory; sums that wrap */
	{ "address beyond RAM", { { RAM_END, 16, 0, 0 } }, { { 0 } }, "outside guest memory" },
	{ "end beyond RAM", { { RAM_END - 8, 16, 0, 0 } }, { { 0 } }, "outside guest memory" },
	{ "huge length (CVE-2016-7422)", { { D, UINT32_MAX, 0, 0 } }, { { 0 } },
		"outside guest memory" },
	{ "address and length wrap", { { UINT64_MAX - 7, 16, 0, 0 } }, { { 0 } },
		"outside guest memory" },
	{ "largest address", { { UINT64_MAX, 1, WRITE, 0 } }, { { 0 } }, "outside guest memory" },
	{ "second buffer outside", { { D, 16, NEXT, 1 }, { RAM_END + 4096, 16, WRITE, 0 } },
		{ { 0 } }, "descriptor 1 at" },
	/* virtio 1.3, "Message Framing": readable first */
	{ "readable after writable", { { D, 16, WRITE | NEXT, 1 }, { D, 16, 0, 0 } }, { { 0 } },
		"is readable and follows a writable one" },
	/* indirect tables (CVE-2011-2212, CVE-2026-93683) */
	{ "indirect and next", { { TABLE_AT, 16, INDIRECT | NEXT, 1 } }, { { D, 16, 0, 0 } },
		"both INDIRECT and NEXT" },
	{ "empty table", { { TABLE_AT, 0, INDIRECT, 0 } }, { { 0 } }, "not a multiple of 16" },
	{ "table of one byte", { { TABLE_AT, 1, INDIRECT, 0 } }, { { 0 } },
		"not a multiple of 16" },
	{ "ragged table", { { TABLE_AT, 24, INDIRECT, 0 } }, { { 0 } }, "not a multiple of 16" },
	{ "table outside RAM", { { RAM_END, 16, INDIRECT, 0 } }, { { 0 } },
		"indirect table outside guest memory" },
	{ "table's end outside RAM", { { RAM_END - 16, 32, INDIRECT, 0 } }, { { 0 } },
		"indirect table outside guest memory" },
	{ "table wraps", { { UINT64_MAX - 15, 32, INDIRECT, 0 } }, { { 0 } },
		"outside guest memory" },
	{ "nested table", { { TABLE_AT, 16, INDIRECT, 0 } }, { { TABLE_AT, 16, INDIRECT, 0 } },
		"is indirect itself" },
	{ "loop in a table", { { TABLE_AT, 32, INDIRECT, 0 } },
		{ { D, 16, NEXT, 1 }, { D, 16, NEXT, 0 } }, "table with a loop" },
	{ "next beyond its table", { { TABLE_AT, 32, INDIRECT, 0 } }, { { D, 16, NEXT, 2 } },
		"beyond its indirect table" },
	{ "readable after writable in a table", { { TABLE_AT, 32, INDIRECT, 0 } },
		{ { D, 16, NEXT | WRITE, 1 }, { D, 16, 0, 0 } }, "follows a writable one" },
	{ "readable table after a writable buffer",
		{ { D, 16, WRITE | NEXT, 1 }, { TABLE_AT, 16, INDIRECT, 0 } }, { { D, 16, 0, 0 } },
		"follows a writable one" },
	/* legal, though it looks odd */
	{ "no bytes at a bad address (CVE-2020-10725)",
		{ { UINT64_MAX, 0, NEXT, 1 }, { D, 16, WRITE, 0 } }, { { 0 } }, NULL },
	{ "nothing but an empty buffer", { { 0, 0, 0, 0 } }, { { 0 } }, NULL },
	{ "table behind a direct buffer", { { D, 16, NEXT, 1 }, { TABLE_AT, 32, INDIRECT, 0 } },
		{ { D, 16, NEXT, 1 }, { D, 16, WRITE, 0 } }, NULL },
	{ "writable flag on a table is ignored", { { TABLE_AT, 16, INDIRECT | WRITE, 0 } },
		{ { D, 16, 0, 0 } }, NULL },
	{ "table in reverse order", { { TABLE_AT, 48, INDIRECT, 0 } },
		{ { D, 16, NEXT, 2 }, { D, 16, WRITE, 0 }, { D, 16, NEXT, 1 } }, NULL },
	{ "unknown flags", { { D, 16, 0x7ff8, 0 } }, { { 0 } }, NULL },
	{ "next without the flag is not looked at", { { D, 16, 0, 65535 } }, { { 0 } }, NULL },
};

static void write_chain(struct fix *f, const struct bad_chain *row)
{
	uint32_t i;

	for (i = 0; i < 4; i++) {
		set_desc(f, DESC_AT, i, row->ring[i].addr, row->ring[i].len, row->ring[i].flags,
			row->ring[i].next);
		set_desc(f, TABLE_AT, i, row->table[i].addr, row->table[i].len, row->table[i].flags,
			row->table[i].next);
	}
}

static void check_works(struct fix *f)
{
	unsigned int before = test_device(f)->num_served;
	uint16_t at = used_idx(f);

	push_one(f, 3, DATA_AT, 64, WRITE);
	assert_int_equal(test_device(f)->num_served, before + 1);
	assert_int_equal(used_idx(f), (uint16_t)(at + 1));
	assert_false(f->dev->broken);
}

static void check_broken(struct fix *f, const char *name, const char *reason)
{
	if (!f->dev->broken)
		fail_msg("%s: not broken", name);
	if (!strstr(f->dev->broken_reason, reason))
		fail_msg("%s: '%s' does not say '%s'", name, f->dev->broken_reason, reason);
	assert_int_equal(f->dev->status & VIRTIO_STATUS_NEEDS_RESET, VIRTIO_STATUS_NEEDS_RESET);
	assert_true(vdev_is_idle(f->dev));
	assert_int_equal(used_idx(f), 0);
}

static void test_chains(void **state)
{
	size_t i;

	(void)state;
	for (i = 0; i < ARRAY_SIZE(bad_chains); i++) {
		const struct bad_chain *row = &bad_chains[i];
		struct fix f;

		fix_init(&f, 8, 0);
		write_chain(&f, row);
		offer(&f, 0);
		kick(&f);
		if (row->reason) {
			assert_int_equal(test_device(&f)->num_served, 0);
			check_broken(&f, row->name, row->reason);
			fix_reset(&f);
			assert_int_equal(f.dev->status, 0);
			fix_start_ring(&f, 8, 0);
		} else if (f.dev->broken || used_idx(&f) != 1) {
			fail_msg("%s: %s", row->name, f.dev->broken_reason);
		}
		check_works(&f);
		fix_deinit(&f);
	}
}

static void offer_head_beyond(struct fix *f)
{
	offer(f, 8);
}

static void offer_largest_head(struct fix *f)
{
	offer(f, 65535);
}

static void jump_index(struct fix *f)
{
	avail(f)->idx = le16_make(9);
}

static void index_backwards(struct fix *f)
{
	avail(f)->idx = le16_make(65535);
}

static void offer_twice_in_flight(struct fix *f)
{
	set_desc(f, DESC_AT, 2, DATA_AT, 16, WRITE, 0);
	test_device(f)->verdict = SERVE_HELD;
	offer(f, 2);
	offer(f, 2);
}

static const struct {
	const char *name;
	void (*make)(struct fix *f);
	const char *reason;
} bad_rings[] = {
	/* CVE-2026-86846 and its kin */
	{ "head one beyond", offer_head_beyond, "names head 8, beyond a ring of 8" },
	{ "largest head", offer_largest_head, "names head 65535" },
	/* rust-vmm/vm-virtio 196 */
	{ "index further ahead than the ring is long", jump_index, "available index 9 is 9 ahead" },
	{ "index went backwards", index_backwards, "available index 65535" },
	{ "a head twice", offer_twice_in_flight, "head 2 is made available again" },
};

static void test_rings(void **state)
{
	size_t i;

	(void)state;
	for (i = 0; i < ARRAY_SIZE(bad_rings); i++) {
		struct fix f;

		fix_init(&f, 8, 0);
		bad_rings[i].make(&f);
		kick(&f);
		if (test_device(&f)->num_held) {
			/* What is in flight comes back first; the broken ring is not written. */
			assert_false(vdev_is_idle(f.dev));
			vq_complete(f.vq, test_device(&f)->held[0]);
			test_device(&f)->num_held = 0;
			test_device(&f)->verdict = SERVE_DONE;
			pump(&f);
		}
		check_broken(&f, bad_rings[i].name, bad_rings[i].reason);
		/* Kicks at a broken device are not looked at. */
		avail(&f)->idx = le16_make(0);
		kick(&f);
		assert_true(f.dev->broken);
		fix_reset(&f);
		fix_start_ring(&f, 8, 0);
		check_works(&f);
		fix_deinit(&f);
	}
}

static void test_four_gigabytes(void **state)
{
	/* rust-vmm/vm-virtio 236: a chain of more than 4 GiB. A table of pieces of 1 MiB each. */
	const uint32_t piece = 1 << 20;
	struct fix f;
	uint32_t i;

	(void)state;
	fix_init(&f, 32768 / 8, 0);
	for (i = 0; i < 4096; i++)
		set_desc(&f, DESC_AT, i, 0, piece, i < 4095 ? NEXT : 0, (uint16_t)(i + 1));
	offer(&f, 0);
	kick(&f);
	check_broken(&f, "4 GiB", "longer than 4 GiB");
	fix_deinit(&f);
}

/* vq_config that cannot be started. */
static const struct {
	const char *name;
	struct vq_config cfg;
	const char *reason;
} bad_configs[] = {
	{ "size 0", { 0, DESC_AT, AVAIL_AT, USED_AT, 0, 0 }, "size 0 is not within" },
	{ "size no power of two", { 7, DESC_AT, AVAIL_AT, USED_AT, 0, 0 }, "no power of two" },
	{ "size too large", { 65536, DESC_AT, AVAIL_AT, USED_AT, 0, 0 }, "size 65536" },
	{ "largest number", { UINT32_MAX, DESC_AT, AVAIL_AT, USED_AT, 0, 0 }, "size 4294967295" },
	{ "descriptors misaligned", { 8, DESC_AT + 8, AVAIL_AT, USED_AT, 0, 0 }, "not aligned" },
	{ "available ring misaligned", { 8, DESC_AT, AVAIL_AT + 1, USED_AT, 0, 0 }, "not aligned" },
	{ "used ring misaligned", { 8, DESC_AT, AVAIL_AT, USED_AT + 2, 0, 0 }, "not aligned" },
	{ "descriptors outside", { 8, RAM_END, AVAIL_AT, USED_AT, 0, 0 }, "outside guest memory" },
	{ "descriptors across regions", { 8, SPLIT - 64, AVAIL_AT, USED_AT, 0, 0 },
		"outside guest memory" },
	{ "used ring's end outside", { 256, DESC_AT, AVAIL_AT, RAM_END - 1024, 0, 0 },
		"outside guest memory" },
	{ "areas wrap", { 256, UINT64_MAX - 15, AVAIL_AT, USED_AT, 0, 0 }, "outside guest memory" },
};

static void test_configs(void **state)
{
	size_t i;

	(void)state;
	for (i = 0; i < ARRAY_SIZE(bad_configs); i++) {
		struct fix f;
		int fd;

		fix_init(&f, 8, 0);
		fix_reset(&f);
		vdev_set_driver_features(f.dev, virtio_features_from64(1ull << 32));
		f.vq->cfg = bad_configs[i].cfg;
		fd = dup(f.kick);
		vq_set_kick_fd(f.vq, &fd);
		f.vq->enabled = true;
		vdev_write_status(f.dev, 0xf);
		pump(&f);
		check_broken(&f, bad_configs[i].name, bad_configs[i].reason);
		fix_reset(&f);
		fix_start_ring(&f, 8, 0);
		check_works(&f);
		fix_deinit(&f);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_chains),
		cmocka_unit_test(test_rings),
		cmocka_unit_test(test_four_gigabytes),
		cmocka_unit_test(test_configs),
	};

	log_set_level(LOG_LEVEL_ERROR);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
