/* SPDX-License-Identifier: BSD-3-Clause */
/* virtio-balloon through a ring: which pages are given back, and which are left alone. */
#include "dev_fixture.h"

#include <errno.h>
#include <sys/stat.h>

#include "devices/balloon.h"
#include "skip.h"

#define PAGE 4096u
#define FILL 0x5a

#define F_STATS	    (1ull << 1)
#define F_HINT	    (1ull << 3)
#define F_POISON    (1ull << 4)
#define F_REPORTING (1ull << 5)
#define F_ALL	    (F_STATS | F_HINT | F_POISON | F_REPORTING)

enum { INFLATE, DEFLATE, STATS, HINTS, REPORTING };

/* Pages that no ring and no request of the fixture lies in. */
#define FREE_AT	 0x300000u
#define FREE_PFN (FREE_AT / PAGE)

static const char all_options[] =
	"{\"free-page-reporting\":true,\"free-page-hint\":true,\"deflate-on-oom\":true}";

/* Queue @queue has the ring. */
static void start_balloon(struct fix *f, unsigned int queue, uint64_t features)
{
	fix_class = &virtio_balloon_class;
	fix_options = all_options;
	fix_init(f, 0, 0);
	f->vq = &f->dev->queues[queue];
	memset(ram(f, FREE_AT), FILL, RAM_END - FREE_AT);
	fix_start_ring(f, 64, features);
}

static bool is_page(struct fix *f, uint64_t pfn, uint8_t byte)
{
	const uint8_t *p = ram(f, pfn * PAGE);

	return p[0] == byte && !memcmp(p, p + 1, PAGE - 1);
}

/* qemu-user says yes to it and does nothing. */
static void need_discard(void)
{
	int fd = memfd_create("probe", MFD_CLOEXEC);
	uint8_t *p;
	bool works;

	assert_int_equal(ftruncate(fd, PAGE), 0);
	p = mmap(NULL, PAGE, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	*p = FILL;
	works = madvise(p, PAGE, MADV_REMOVE) == 0 && !*p;
	munmap(p, PAGE);
	close(fd);
	if (!works)
		skip_because("madvise() gives no memory back here");
}

static long blocks(struct fix *f)
{
	struct stat st;

	assert_int_equal(fstat(f->memfd, &st), 0);
	return (long)st.st_blocks;
}

static void put_pfns(struct fix *f, const uint32_t *pfns, unsigned int num)
{
	le32 *to = ram(f, IN_AT);

	for (unsigned int i = 0; i < num; i++)
		to[i] = le32_make(pfns[i]);
}

static void test_inflate(void **state)
{
	static const struct cuts cuts = { { 1, 2, 3, 5, 0 }, { 0 } };
	static const uint32_t pfns[] = { FREE_PFN, FREE_PFN + 1, FREE_PFN + 2, FREE_PFN + 9,
		FREE_PFN + 8, FREE_PFN + 7, FREE_PFN + 20, FREE_PFN + 20, FREE_PFN + 30 };
	struct fix f;
	long before;

	(void)state;
	need_discard();
	start_balloon(&f, INFLATE, 0);
	put_pfns(&f, pfns, ARRAY_SIZE(pfns));
	assert_int_equal(request(&f, 0, 0, NULL), 0);
	/* A look at a page that is gone would bring it back. */
	before = blocks(&f);
	assert_int_equal(request(&f, sizeof(pfns), 0, &cuts), 0);
	assert_int_equal(before - blocks(&f), 8 * PAGE / 512);
	for (uint32_t i = 0; i < 40; i++) {
		bool given = false;

		for (size_t j = 0; j < ARRAY_SIZE(pfns); j++)
			given |= pfns[j] == FREE_PFN + i;
		assert_true(is_page(&f, FREE_PFN + i, given ? 0 : FILL));
	}
	/* Back again as soon as it is touched. */
	memset(ram(&f, FREE_AT), 1, PAGE);
	assert_true(is_page(&f, FREE_PFN, 1));
	assert_false(f.dev->broken);
	fix_deinit(&f);
}

/* What is named, and how many of the pages from FREE_PFN on are gone then. */
static const struct inflate_case {
	const char *name;
	uint32_t bytes;
	uint32_t pfns[4];
	uint32_t given;
} inflate_cases[] = {
	{ "nothing", 0, { 0 }, 0 },
	{ "half a number", 2, { FREE_PFN }, 0 },
	{ "a number and a half", 6, { FREE_PFN, FREE_PFN + 1 }, 1 },
	{ "beyond memory", 8, { RAM_END / PAGE, FREE_PFN }, 1 },
	{ "the largest number", 8, { UINT32_MAX, FREE_PFN }, 1 },
	{ "across the end of memory", 12, { FREE_PFN, RAM_END / PAGE - 1, RAM_END / PAGE }, 1 },
	{ "a run that wraps", 12, { UINT32_MAX, 0xfffffffe, FREE_PFN }, 1 },
	{ "twice", 8, { FREE_PFN, FREE_PFN }, 1 },
};

static void test_inflate_extremes(void **state)
{
	(void)state;
	need_discard();
	for (size_t i = 0; i < ARRAY_SIZE(inflate_cases); i++) {
		const struct inflate_case *c = &inflate_cases[i];
		struct fix f;

		start_balloon(&f, INFLATE, 0);
		put_pfns(&f, c->pfns, 4);
		assert_int_equal(request(&f, c->bytes, 0, NULL), 0);
		for (uint32_t p = 0; p < 4; p++)
			if (is_page(&f, FREE_PFN + p, 0) != (p < c->given))
				fail_msg("%s: page %u", c->name, p);
		assert_false(f.dev->broken);
		fix_deinit(&f);
	}
}

/* firecracker #5794: one request, however long, does not hold up the others of its loop. */
static void test_long_requests(void **state)
{
	const uint32_t num = (RAM_END - FREE_AT) / PAGE, times = 30;
	unsigned int rounds = 0;
	struct fix f;
	le32 *to;

	(void)state;
	need_discard();
	start_balloon(&f, INFLATE, 0);
	to = ram(&f, IN_AT);
	/* Apart from each other, so that no two make a run. */
	for (uint32_t i = 0; i < num * times; i++)
		to[i] = le32_make(FREE_PFN + i * 2 % num + (i / (num / 2)) % 2);
	offer_request(&f, num * times * 4, 0, NULL);
	kick_only(&f);
	for (; used_idx(&f) != 1; rounds++)
		loop_run_once(&f.loop, 0);
	assert_true(rounds >= num * times / 1024);
	for (uint32_t i = 0; i < num; i++)
		assert_true(is_page(&f, FREE_PFN + i, 0));
	/* A reset in the middle leaves nothing of it to the next one. */
	offer_request(&f, num * times * 4, 0, NULL);
	kick_only(&f);
	loop_run_once(&f.loop, 0);
	assert_int_equal(used_idx(&f), 1);
	fix_reset(&f);
	memset(ram(&f, FREE_AT), FILL, RAM_END - FREE_AT);
	fix_start_ring(&f, 64, 0);
	assert_int_equal(request(&f, 4, 0, NULL), 0);
	assert_true(is_page(&f, FREE_PFN, 0));
	fix_deinit(&f);
}

static void test_deflate(void **state)
{
	static const uint32_t pfns[] = { FREE_PFN };
	struct fix f;

	(void)state;
	start_balloon(&f, DEFLATE, 0);
	put_pfns(&f, pfns, 1);
	assert_int_equal(request(&f, 4, 0, NULL), 0);
	assert_true(is_page(&f, FREE_PFN, FILL));
	fix_deinit(&f);
}

/* The chain's room is @len bytes at @at. */
static void report(struct fix *f, uint64_t at, uint32_t len)
{
	set_desc(f, DESC_AT, 0, at, len, WRITE, 0);
	offer(f, 0);
	kick_only(f);
	wait_used(f, f->avail_idx);
	assert_int_equal(le32_get(used(f)->ring[(f->avail_idx - 1) % f->num].len), 0);
}

static void test_reporting(void **state)
{
	struct fix f;

	(void)state;
	need_discard();
	start_balloon(&f, REPORTING, F_ALL);
	/* Whole pages only. */
	report(&f, FREE_AT + 1, 3 * PAGE);
	assert_true(is_page(&f, FREE_PFN + 1, 0) && is_page(&f, FREE_PFN + 2, 0));
	assert_true(is_page(&f, FREE_PFN, FILL) && is_page(&f, FREE_PFN + 3, FILL));
	report(&f, FREE_AT + 10 * PAGE, PAGE - 1);
	report(&f, FREE_AT + 10 * PAGE, 0);
	assert_true(is_page(&f, FREE_PFN + 10, FILL));
	/* One that crosses the border between two mappings. */
	memset(ram(&f, SPLIT - PAGE), FILL, 2 * PAGE);
	report(&f, SPLIT - PAGE, 2 * PAGE);
	assert_true(is_page(&f, SPLIT / PAGE - 1, 0) && is_page(&f, SPLIT / PAGE, 0));
	assert_false(f.dev->broken);
	fix_deinit(&f);
}

static void write_config(struct fix *f, size_t offset, uint32_t value)
{
	le32 v = le32_make(value);

	assert_true(vdev_set_config(f->dev, offset, &v, sizeof(v)));
}

static uint32_t read_config(struct fix *f, size_t offset)
{
	le32 space[4] = { { 0 } };

	vdev_get_config(f->dev, space);
	return le32_get(space[offset / 4]);
}

/* Freed pages have to read as the poison: they stay. */
static void test_poison(void **state)
{
	struct fix f;

	(void)state;
	need_discard();
	start_balloon(&f, REPORTING, F_ALL);
	write_config(&f, 12, 0x5a5a5a5a);
	assert_int_equal(read_config(&f, 12), 0x5a5a5a5a);
	report(&f, FREE_AT, PAGE);
	assert_true(is_page(&f, FREE_PFN, FILL));
	write_config(&f, 12, 0);
	report(&f, FREE_AT, PAGE);
	assert_true(is_page(&f, FREE_PFN, 0));
	/* Without the feature there is no such field. */
	fix_reset(&f);
	fix_start_ring(&f, 64, F_ALL & ~F_POISON);
	write_config(&f, 12, 1);
	assert_int_equal(read_config(&f, 12), 0);
	fix_deinit(&f);
}

static void test_size(void **state)
{
	struct err err = { 0 };
	struct fix f;
	uint8_t byte = 1;

	(void)state;
	fix_class = &virtio_balloon_class;
	fix_options = NULL;
	fix_init(&f, 0, 0);
	/* No driver: nobody to ask. */
	assert_int_equal(balloon_set_target(f.dev, 1, &err), -ENODEV);
	assert_non_null(strstr(err.msg, "no driver"));
	assert_int_equal(balloon_actual_bytes(f.dev), 0);
	fix_start_ring(&f, 64, 0);
	assert_int_equal(balloon_actual_bytes(f.dev), RAM_END);
	assert_int_equal(balloon_set_target(f.dev, RAM_END - 5 * PAGE - 1, &err), 0);
	assert_int_equal(read_config(&f, 0), 5);
	assert_int_equal(balloon_set_target(f.dev, UINT64_MAX, &err), 0);
	assert_int_equal(read_config(&f, 0), 0);
	assert_int_equal(balloon_set_target(f.dev, 0, &err), 0);
	assert_int_equal(read_config(&f, 0), RAM_END / PAGE);
	write_config(&f, 4, 7);
	assert_int_equal(balloon_actual_bytes(f.dev), RAM_END - 7 * PAGE);
	/* The driver's number is its own, byte by byte, and the device's are not. */
	assert_true(vdev_set_config(f.dev, 5, &byte, 1));
	assert_int_equal(read_config(&f, 4), 0x107);
	write_config(&f, 4, UINT32_MAX);
	assert_int_equal(balloon_actual_bytes(f.dev), 0);
	write_config(&f, 0, 99);
	write_config(&f, 8, 99);
	assert_int_equal(read_config(&f, 0), RAM_END / PAGE);
	assert_int_equal(read_config(&f, 8), 0);
	assert_false(vdev_set_config(f.dev, 14, &f, 4));
	fix_deinit(&f);
}

static void send_id(struct fix *f, uint32_t id)
{
	*(le32 *)ram(f, IN_AT) = le32_make(id);
	assert_int_equal(request(f, 4, 0, NULL), 0);
}

static void test_hints(void **state)
{
	struct err err = { 0 };
	struct fix f;
	uint32_t id;

	(void)state;
	need_discard();
	start_balloon(&f, HINTS, F_ALL);
	/* Nobody asked. */
	send_id(&f, 2);
	report(&f, FREE_AT, PAGE);
	send_id(&f, 0);
	assert_true(is_page(&f, FREE_PFN, FILL));
	assert_int_equal(read_config(&f, 8), 0);
	for (int round = 0; round < 3; round++) {
		memset(ram(&f, FREE_AT), FILL, 4 * PAGE);
		assert_int_equal(balloon_reclaim_free(f.dev, &err), 0);
		assert_int_equal(balloon_reclaim_free(f.dev, &err), -EBUSY);
		id = read_config(&f, 8);
		assert_true(id >= 2);
		/* Of another round. */
		send_id(&f, id + 1);
		report(&f, FREE_AT + 2 * PAGE, PAGE);
		send_id(&f, id);
		report(&f, FREE_AT, 2 * PAGE);
		pump(&f);
		assert_int_equal(read_config(&f, 8), id);
		/* The end, and again and again, within one turn of the loop. */
		set_desc(&f, DESC_AT, 1, IN_AT, 4, 0, 0);
		*(le32 *)ram(&f, IN_AT) = le32_make(0);
		set_desc(&f, DESC_AT, 2, IN_AT + 16, 4, 0, 0);
		*(le32 *)ram(&f, IN_AT + 16) = le32_make(id);
		for (int i = 0; i < 20; i++) {
			offer(&f, 1);
			offer(&f, 2);
		}
		offer(&f, 1);
		kick_only(&f);
		wait_used(&f, f.avail_idx);
		pump(&f);
		assert_int_equal(read_config(&f, 8), 1);
		assert_true(is_page(&f, FREE_PFN, 0) && is_page(&f, FREE_PFN + 1, 0));
		assert_true(is_page(&f, FREE_PFN + 2, FILL));
	}
	/* A reset in a round ends it. */
	assert_int_equal(balloon_reclaim_free(f.dev, &err), 0);
	send_id(&f, read_config(&f, 8));
	fix_reset(&f);
	assert_int_equal(read_config(&f, 8), 0);
	assert_int_equal(balloon_reclaim_free(f.dev, &err), -ENODEV);
	fix_start_ring(&f, 64, F_ALL & ~F_HINT);
	assert_int_equal(balloon_reclaim_free(f.dev, &err), -ENODEV);
	fix_deinit(&f);
}

struct stat_entry {
	le16 tag;
	le64 value;
} __attribute__((packed));

static void test_stats(void **state)
{
	static const struct cuts cuts = { { 1, 9, 11, 0 }, { 0 } };
	struct balloon_stats stats;
	struct stat_entry *to;
	struct fix f;

	(void)state;
	start_balloon(&f, STATS, F_ALL);
	assert_true(balloon_read_stats(f.dev, &stats));
	assert_int_equal(stats.updated_s, 0);
	assert_true(stats.value[4] == UINT64_MAX);
	to = ram(&f, IN_AT);
	to[0] = (struct stat_entry){ le16_make(4), le64_make(1000) };
	to[1] = (struct stat_entry){ le16_make(0xffff), le64_make(1) };
	to[2] = (struct stat_entry){ le16_make(15), le64_make(UINT64_MAX - 1) };
	to[3] = (struct stat_entry){ le16_make(5), le64_make(5) };
	/* The last entry is cut short. */
	offer_request(&f, 39, 0, &cuts);
	kick(&f);
	assert_int_equal(used_idx(&f), 0);
	assert_true(balloon_read_stats(f.dev, &stats));
	assert_int_equal(stats.value[4], 1000);
	assert_true(stats.value[15] == UINT64_MAX - 1);
	assert_true(stats.value[5] == UINT64_MAX);
	assert_true(stats.updated_s > 0);
	/* Nobody waits for it. */
	vdev_hold(f.dev);
	pump(&f);
	assert_true(vdev_is_idle(f.dev));
	vdev_release(f.dev);
	pump(&f);
	/* News are wanted: the buffer goes back, and stays away when it comes again. */
	balloon_set_polling(f.dev, 1);
	while (!used_idx(&f))
		loop_run_once(&f.loop, 100);
	assert_int_equal(view(&f).counters.kicks, 1);
	balloon_set_polling(f.dev, 0);
	to[0].value = le64_make(2000);
	/* firecracker #5794: of a long list no more is looked at than can mean something. */
	memset(to + 1, 0, 0x80000);
	offer_request(&f, 0x80000, 0, NULL);
	kick(&f);
	assert_int_equal(used_idx(&f), 1);
	assert_true(balloon_read_stats(f.dev, &stats));
	assert_int_equal(stats.value[4], 2000);
	fix_deinit(&f);
}

/* Which queue is which, where the driver leaves out those that are not there. */
static void test_roles(void **state)
{
	static const struct {
		uint64_t features;
		unsigned int queue;
		bool discards;
	} cases[] = {
		{ F_REPORTING, 4, true },
		{ F_REPORTING, 2, true },
		{ F_REPORTING | F_STATS, 3, true },
		{ F_REPORTING | F_STATS, 4, true },
		{ F_STATS, 4, false },
		{ 0, 3, false },
	};

	(void)state;
	need_discard();
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		struct fix f;

		start_balloon(&f, cases[i].queue, cases[i].features);
		report(&f, FREE_AT, PAGE);
		assert_true(is_page(&f, FREE_PFN, cases[i].discards ? 0 : FILL));
		fix_deinit(&f);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_inflate),
		cmocka_unit_test(test_inflate_extremes),
		cmocka_unit_test(test_long_requests),
		cmocka_unit_test(test_deflate),
		cmocka_unit_test(test_reporting),
		cmocka_unit_test(test_poison),
		cmocka_unit_test(test_size),
		cmocka_unit_test(test_hints),
		cmocka_unit_test(test_stats),
		cmocka_unit_test(test_roles),
	};

	log_set_level((enum log_level) - 1);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
