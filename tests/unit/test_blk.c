/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * virtio-blk through a ring, on a real file: requests however cut, and requests that are wrong.
 * Each row is one request and what becomes of it.
 */
#include "dev_fixture.h"

#include <fcntl.h>

#include "devices/blk.h"
#include "tmpdir.h"

#define SECTORS 128
#define BYTES	(SECTORS * 512)

enum { IN = 0, OUT = 1, FLUSH = 4, GET_ID = 8, DISCARD = 11, ZEROES = 13 };
enum { OK, IOERR, UNSUPP, NO_STATUS };

#define F_FLUSH	 (1ull << 9)
#define F_WCE	 (1ull << 11)
#define ALL_BITS (F_FLUSH | F_WCE | 1ull << 13 | 1ull << 14)

static int image_fd = -1;

/* The byte that the image has at @at before anybody writes. */
static uint8_t image_byte(size_t at)
{
	return (uint8_t)(at / 512 * 3 + at % 251 + 1);
}

static void make_image(void)
{
	static uint8_t bytes[BYTES];
	size_t i;

	for (i = 0; i < BYTES; i++)
		bytes[i] = image_byte(i);
	if (image_fd >= 0)
		close(image_fd);
	image_fd = open(tmpdir_file("disk"), O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
	assert_int_equal(pwrite(image_fd, bytes, BYTES, 0), BYTES);
}

static void start_disk(struct fix *f, const char *more, uint64_t features)
{
	static char options[256];

	snprintf(options, sizeof(options),
		"{\"filename\":\"%s\",\"serial\":\"0123456789abcdefghij%s", tmpdir_file("disk"),
		more);
	fix_class = &virtio_blk_class;
	fix_options = options;
	fix_init(f, 64, features);
}

static void put_header(struct fix *f, uint32_t type, uint64_t sector)
{
	uint8_t *p = ram(f, IN_AT);
	le32 t = le32_make(type);
	le64 s = le64_make(sector);

	memcpy(p, &t, 4);
	memset(p + 4, 0xee, 4);
	memcpy(p + 8, &s, 8);
}

static uint8_t status_of(struct fix *f, uint32_t out)
{
	return *(uint8_t *)ram(f, OUT_AT + out - 1);
}

/* A read of sector 5 whose header is cut at @a and @b, whose room is cut at @c and @d. */
static void check_read(struct fix *f, uint32_t a, uint32_t b, uint32_t c, uint32_t d)
{
	const struct cuts cuts = { { a, b - a }, { c, d - c } };
	const uint8_t *got = ram(f, OUT_AT);
	size_t i;

	put_header(f, IN, 5);
	assert_int_equal(request(f, 16, 513, &cuts), 513);
	assert_int_equal(status_of(f, 513), OK);
	for (i = 0; i < 512; i++)
		if (got[i] != image_byte(5 * 512 + i))
			fail_msg("cut at %u %u, %u %u: byte %zu", a, b, c, d, i);
}

/* CVE-2022-2132: every way to cut the header in three, then the room with the status. */
static void test_read_splits(void **state)
{
	static const uint32_t at[] = { 1, 2, 255, 256, 511, 512 };
	struct fix f;
	uint32_t a, b;

	(void)state;
	start_disk(&f, "\"}", ALL_BITS);
	for (a = 1; a < 16; a++)
		for (b = a; b < 16; b++)
			check_read(&f, a, b, 512, 512);
	for (a = 0; a < ARRAY_SIZE(at); a++)
		for (b = a; b < ARRAY_SIZE(at); b++)
			check_read(&f, 4, 8, at[a], at[b]);
	fix_deinit(&f);
}

/* Every one of the 2^15 ways to cut 16 bytes, with a request that needs no disk. */
static void test_every_header_split(void **state)
{
	struct fix f;
	unsigned int cuts, i;

	(void)state;
	start_disk(&f, "\"}", ALL_BITS);
	put_header(&f, GET_ID, 0);
	for (cuts = 0; cuts < 1 << 15; cuts++) {
		struct descs d = { .f = &f };
		uint32_t from = 0;

		for (i = 0; i < 16; i++)
			if (i == 15 || cuts >> i & 1) {
				add_desc(&d, IN_AT + from, i + 1 - from, 0);
				from = i + 1;
			}
		add_desc(&d, OUT_AT, 21, WRITE);
		memset(ram(&f, OUT_AT), UNTOUCHED, 21);
		offer(&f, 0);
		kick_only(&f);
		wait_used(&f, f.avail_idx);
		assert_int_equal(status_of(&f, 21), OK);
		assert_memory_equal(ram(&f, OUT_AT), "0123456789abcdefghij", 20);
	}
	fix_deinit(&f);
}

static void test_write_splits(void **state)
{
	static const uint32_t at[] = { 1, 15, 16, 17, 100, 527, 528, 529, 1039 };
	struct fix f;
	uint8_t got[1024];
	uint32_t a, b, round = 0;

	(void)state;
	start_disk(&f, "\"}", ALL_BITS);
	for (a = 0; a < ARRAY_SIZE(at); a++)
		for (b = a; b < ARRAY_SIZE(at); b++) {
			/* A cut inside, behind, and across the header: it may share with the data.
			 */
			const struct cuts cuts = { { at[a], at[b] - at[a] }, { 0 } };

			put_header(&f, OUT, 10);
			memset(ram(&f, IN_AT + 16), (int)++round, 1024);
			assert_int_equal(request(&f, 16 + 1024, 1, &cuts), 1);
			assert_int_equal(status_of(&f, 1), OK);
			assert_int_equal(pread(image_fd, got, 1024, 5120), 1024);
			assert_memory_equal(got, ram(&f, IN_AT + 16), 1024);
		}
	fix_deinit(&f);
}

struct row {
	const char *name;
	uint32_t type;
	uint64_t sector;
	uint32_t payload; /* readable bytes behind the header */
	uint32_t out; /* writable bytes, the status' included */
	int status;
	uint32_t used;
};

static const struct row rows[] = {
	{ "read", IN, 0, 0, 513, OK, 513 },
	{ "read the last sector", IN, 127, 0, 513, OK, 513 },
	{ "read everything", IN, 0, 0, BYTES + 1, OK, BYTES + 1 },
	{ "read nothing", IN, 0, 0, 1, OK, 1 },
	{ "read nothing at the end", IN, 128, 0, 1, OK, 1 },
	{ "read nothing beyond", IN, 129, 0, 1, IOERR, 1 },
	{ "read beyond", IN, 128, 0, 513, IOERR, 0 },
	{ "read across the end", IN, 127, 0, 1025, IOERR, 0 },
	{ "read more than there is", IN, 0, 0, BYTES + 513, IOERR, 0 },
	{ "sector * 512 wraps to 0", IN, 1ull << 55, 0, 513, IOERR, 0 },
	{ "sector * 512 wraps into the disk", IN, (1ull << 55) + 1, 0, 513, IOERR, 0 },
	{ "one below the wrap", IN, (1ull << 55) - 1, 0, 513, IOERR, 0 },
	{ "largest sector", IN, UINT64_MAX, 0, 513, IOERR, 0 },
	{ "sector + length wraps", IN, UINT64_MAX >> 9, 0, 1025, IOERR, 0 },
	{ "read of 511 bytes", IN, 0, 0, 512, IOERR, 0 },
	{ "read of 513 bytes", IN, 0, 0, 514, IOERR, 0 },
	{ "read with payload too", IN, 1, 100, 513, OK, 513 },
	{ "write", OUT, 0, 512, 1, OK, 1 },
	{ "write the last sector", OUT, 127, 512, 1, OK, 1 },
	{ "write nothing", OUT, 0, 0, 1, OK, 1 },
	{ "write beyond", OUT, 128, 512, 1, IOERR, 1 },
	{ "write across the end", OUT, 127, 1024, 1, IOERR, 1 },
	{ "write wraps", OUT, 1ull << 55, 512, 1, IOERR, 1 },
	{ "write largest sector", OUT, UINT64_MAX, 512, 1, IOERR, 1 },
	{ "write of 511 bytes", OUT, 0, 511, 1, IOERR, 1 },
	{ "write of 1 byte", OUT, 0, 1, 1, IOERR, 1 },
	{ "write with room too", OUT, 1, 512, 100, OK, 0 },
	{ "flush", FLUSH, 0, 0, 1, OK, 1 },
	{ "flush with nonsense", FLUSH, UINT64_MAX, 77, 1, OK, 1 },
	{ "id", GET_ID, 0, 0, 21, OK, 21 },
	{ "id, short of one", GET_ID, 0, 0, 20, OK, 20 },
	{ "id, one byte", GET_ID, 0, 0, 2, OK, 2 },
	{ "id, no room", GET_ID, 0, 0, 1, OK, 1 },
	{ "id, much room", GET_ID, 0, 0, 101, OK, 20 },
	{ "legacy SCSI (CVE-2026-48914)", 2, 0, 0, 513, UNSUPP, 0 },
	{ "type 3", 3, 0, 0, 1, UNSUPP, 1 },
	{ "legacy barrier", 0x80000000, 0, 512, 1, UNSUPP, 1 },
	{ "lifetime", 10, 0, 0, 41, UNSUPP, 0 },
	{ "secure erase", 14, 0, 16, 1, UNSUPP, 1 },
	{ "zone report", 16, 0, 0, 513, UNSUPP, 0 },
	{ "largest type", UINT32_MAX, 0, 0, 1, UNSUPP, 1 },
	{ "read, no room at all", IN, 0, 0, 0, NO_STATUS, 0 },
	{ "write, no room for a status", OUT, 2, 512, 0, NO_STATUS, 0 },
	{ "flush, no room", FLUSH, 0, 0, 0, NO_STATUS, 0 },
	{ "unknown, no room", 99, 0, 0, 0, NO_STATUS, 0 },
	{ "discard, no ranges", DISCARD, 0, 0, 1, IOERR, 1 },
	{ "zeroes, no ranges", ZEROES, 0, 0, 1, IOERR, 1 },
};

static void check_rows(struct fix *f, const struct row *row, size_t n)
{
	for (; n--; row++) {
		uint32_t used;

		put_header(f, row->type, row->sector);
		used = request(f, 16 + row->payload, row->out, NULL);
		if (used != row->used)
			fail_msg("%s: used length %u, not %u", row->name, used, row->used);
		if (row->status != NO_STATUS && status_of(f, row->out) != row->status)
			fail_msg("%s: status %u", row->name, status_of(f, row->out));
	}
}

static void test_requests(void **state)
{
	uint8_t byte = 0;
	struct fix f;
	size_t i;

	(void)state;
	make_image();
	start_disk(&f, "\"}", ALL_BITS);
	memset(ram(&f, IN_AT), 0x5a, 4096);
	check_rows(&f, rows, ARRAY_SIZE(rows));
	/* Of all the writes, those that were answered with OK arrived, and no other. */
	for (i = 0; i < SECTORS; i++) {
		bool written = i == 0 || i == 1 || i == 127;

		assert_int_equal(pread(image_fd, &byte, 1, (off_t)(i * 512 + 500)), 1);
		assert_int_equal(byte, written ? 0x5a : image_byte(i * 512 + 500));
	}
	assert_int_equal(lseek(image_fd, 0, SEEK_END), BYTES);
	fix_deinit(&f);
	make_image();
}

static void test_short_headers(void **state)
{
	struct fix f;
	uint32_t len;

	(void)state;
	start_disk(&f, "\"}", ALL_BITS);
	for (len = 0; len < 16; len++) {
		put_header(&f, IN, 0);
		request(&f, len, 513, NULL);
		assert_int_equal(status_of(&f, 513), IOERR);
		assert_int_equal(*(uint8_t *)ram(&f, OUT_AT), UNTOUCHED);
	}
	fix_deinit(&f);
}

/* --- ranges --- */

struct range {
	uint64_t sector;
	uint32_t num, flags;
};

static const struct range_row {
	const char *name;
	uint32_t type;
	unsigned int num_ranges, extra; /* bytes behind the last one */
	struct range range; /* all of them */
	int status;
	int zero; /* a sector that then reads as zeroes; -1 none */
} range_rows[] = {
	{ "zeroes", ZEROES, 1, 0, { 20, 4, 0 }, OK, 23 },
	{ "zeroes, may unmap", ZEROES, 1, 0, { 30, 4, 1 }, OK, 33 },
	{ "zeroes at the end", ZEROES, 1, 0, { 127, 1, 0 }, OK, 127 },
	{ "zeroes, many ranges", ZEROES, 32, 0, { 40, 2, 0 }, OK, 41 },
	{ "zeroes, none", ZEROES, 1, 0, { 50, 0, 0 }, OK, -1 },
	{ "one range too many", ZEROES, 33, 0, { 50, 1, 0 }, IOERR, -1 },
	{ "ragged", ZEROES, 0, 15, { 0, 0, 0 }, IOERR, -1 },
	{ "ragged behind one", ZEROES, 1, 1, { 60, 1, 0 }, IOERR, 60 },
	{ "beyond the end", ZEROES, 1, 0, { 128, 1, 0 }, IOERR, -1 },
	{ "across the end", ZEROES, 1, 0, { 127, 2, 0 }, IOERR, -1 },
	{ "range wraps", ZEROES, 1, 0, { UINT64_MAX, 2, 0 }, IOERR, -1 },
	{ "sector * 512 wraps", ZEROES, 1, 0, { 1ull << 55, 1, 0 }, IOERR, -1 },
	{ "most sectors", ZEROES, 1, 0, { 0, UINT32_MAX, 0 }, IOERR, -1 },
	{ "reserved flag", ZEROES, 1, 0, { 70, 1, 2 }, UNSUPP, -1 },
	{ "all flags", ZEROES, 1, 0, { 70, 1, UINT32_MAX }, UNSUPP, -1 },
	{ "discard", DISCARD, 1, 0, { 80, 8, 0 }, OK, -1 },
	{ "discard, unmap is reserved", DISCARD, 1, 0, { 80, 8, 1 }, UNSUPP, -1 },
	{ "discard beyond", DISCARD, 1, 0, { 120, 9, 0 }, IOERR, -1 },
	{ "discard, too many", DISCARD, 33, 0, { 80, 1, 0 }, IOERR, -1 },
	{ "discard, ragged", DISCARD, 2, 8, { 80, 1, 0 }, IOERR, -1 },
};

static void put_ranges(struct fix *f, const struct range_row *row)
{
	uint8_t *p = ram(f, IN_AT + 16);
	unsigned int i;

	put_header(f, row->type, 0);
	for (i = 0; i < row->num_ranges; i++, p += 16) {
		le64 sector = le64_make(row->range.sector);
		le32 num = le32_make(row->range.num), flags = le32_make(row->range.flags);

		memcpy(p, &sector, 8);
		memcpy(p + 8, &num, 4);
		memcpy(p + 12, &flags, 4);
	}
	memset(p, 0, 16);
}

static void test_ranges(void **state)
{
	uint8_t got[512], zero[512] = { 0 };
	struct fix f;
	size_t i;

	(void)state;
	make_image();
	start_disk(&f, "\"}", ALL_BITS);
	for (i = 0; i < ARRAY_SIZE(range_rows); i++) {
		const struct range_row *row = &range_rows[i];

		put_ranges(&f, row);
		request(&f, 16 + row->num_ranges * 16 + row->extra, 1, NULL);
		if (status_of(&f, 1) != row->status)
			fail_msg("%s: status %u", row->name, status_of(&f, 1));
		if (row->zero < 0)
			continue;
		assert_int_equal(pread(image_fd, got, 512, row->zero * 512), 512);
		if (memcmp(got, zero, 512) != 0)
			fail_msg("%s: sector %d is not zero", row->name, row->zero);
	}
	/* What no request named is as it was. */
	for (i = 50 * 512; i < 60 * 512; i++) {
		assert_int_equal(pread(image_fd, got, 1, (off_t)i), 1);
		assert_int_equal(got[0], image_byte(i));
	}
	fix_deinit(&f);
	make_image();
}

/* --- options and features --- */

static const struct row read_only_rows[] = {
	{ "read", IN, 3, 0, 513, OK, 513 },
	{ "write", OUT, 3, 512, 1, IOERR, 1 },
	{ "write nothing", OUT, 3, 0, 1, IOERR, 1 },
	{ "flush", FLUSH, 0, 0, 1, OK, 1 },
	{ "discard", DISCARD, 0, 16, 1, IOERR, 1 },
	{ "zeroes", ZEROES, 0, 16, 1, IOERR, 1 },
};

static const struct row no_discard_rows[] = {
	{ "discard", DISCARD, 0, 16, 1, UNSUPP, 1 },
	{ "write", OUT, 3, 512, 1, OK, 1 },
};

static const struct row big_block_rows[] = {
	{ "read a block", IN, 8, 0, 4097, OK, 4097 },
	{ "a sector is too short", IN, 8, 0, 513, IOERR, 0 },
	{ "not at a block", IN, 1, 0, 4097, IOERR, 0 },
	{ "write a block", OUT, 8, 4096, 1, OK, 1 },
	{ "write not at a block", OUT, 9, 4096, 1, IOERR, 1 },
};

static void with(const char *options, uint64_t features, const struct row *table, size_t n)
{
	struct fix f;

	start_disk(&f, options, features);
	check_rows(&f, table, n);
	fix_deinit(&f);
}

static void test_options(void **state)
{
	(void)state;
	with("\",\"read-only\":true}", ALL_BITS, read_only_rows, ARRAY_SIZE(read_only_rows));
	with("\",\"discard\":false}", ALL_BITS, no_discard_rows, ARRAY_SIZE(no_discard_rows));
	with("\",\"logical_block_size\":4096}", ALL_BITS, big_block_rows,
		ARRAY_SIZE(big_block_rows));
	with("\",\"aio\":\"threads\"}", ALL_BITS, rows, ARRAY_SIZE(rows));
	/* Without FLUSH, and write-through by CONFIG_WCE: the answers are the same. */
	with("\"}", 0, rows, ARRAY_SIZE(rows));
	make_image();
}

static void test_config_wce(void **state)
{
	static const uint8_t wild[60] = { 1, 2, 3 };
	uint8_t config[60], before[60], off = 0;
	struct fix f;

	(void)state;
	start_disk(&f, "\"}", ALL_BITS);
	vdev_get_config(f.dev, before);
	assert_int_equal(le64_read(before), SECTORS);
	assert_int_equal(before[32], 1);
	assert_true(vdev_set_config(f.dev, 32, &off, 1));
	vdev_get_config(f.dev, config);
	assert_int_equal(config[32], 0);
	check_rows(&f, rows, 1);
	put_header(&f, OUT, 3);
	request(&f, 16 + 512, 1, NULL);
	assert_int_equal(status_of(&f, 1), OK);
	/* No other byte is the driver's; writes of any extent reach at most that one. */
	assert_true(vdev_set_config(f.dev, 0, wild, 32));
	assert_true(vdev_set_config(f.dev, 33, wild, 27));
	vdev_get_config(f.dev, config);
	config[32] = 1;
	assert_memory_equal(config, before, 60);
	assert_true(vdev_set_config(f.dev, 0, before, 60));
	vdev_get_config(f.dev, config);
	assert_memory_equal(config, before, 60);
	assert_false(vdev_set_config(f.dev, 60, wild, 1));
	/* A reset brings write-back again. */
	vdev_set_config(f.dev, 32, &off, 1);
	fix_reset(&f);
	vdev_get_config(f.dev, config);
	assert_int_equal(config[32], 1);
	fix_deinit(&f);
	make_image();
}

/* CVE-2026-45782: reset and stop with I/O in flight. */
static void test_reset_in_flight(void **state)
{
	struct fix f;
	int round;
	uint16_t i;

	(void)state;
	start_disk(&f, "\"}", ALL_BITS);
	for (round = 0; round < 50; round++) {
		put_header(&f, IN, 0);
		for (i = 0; i < 32; i += 2) {
			set_desc(&f, DESC_AT, i, IN_AT, 16, NEXT, i + 1);
			set_desc(&f, DESC_AT, i + 1u, OUT_AT + i * 4096u, 4097, WRITE, 0);
			offer(&f, i);
		}
		kick_only(&f);
		if (round % 2)
			loop_run_once(&f.loop, 0);
		vdev_hold(f.dev);
		while (!vdev_is_idle(f.dev))
			loop_run_once(&f.loop, 50);
		/* What was popped was answered, all of it. */
		assert_int_equal(f.vq->cfg.next_avail, used_idx(&f));
		if (round % 3) {
			vdev_release(f.dev);
			wait_used(&f, f.avail_idx);
			continue;
		}
		vdev_reset(f.dev);
		vdev_release(f.dev);
		fix_start_ring(&f, 64, ALL_BITS);
	}
	fix_deinit(&f);
}

static void test_image_shrinks(void **state)
{
	struct fix f;

	(void)state;
	start_disk(&f, "\"}", ALL_BITS);
	assert_int_equal(ftruncate(image_fd, 512), 0);
	put_header(&f, IN, 5);
	request(&f, 16, 513, NULL);
	assert_int_equal(status_of(&f, 513), IOERR);
	put_header(&f, IN, 0);
	assert_int_equal(request(&f, 16, 513, NULL), 513);
	assert_int_equal(status_of(&f, 513), OK);
	fix_deinit(&f);
	make_image();
}

static int setup(void **state)
{
	if (tmpdir_setup(state) < 0)
		return -1;
	make_image();
	return 0;
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_read_splits),
		cmocka_unit_test(test_every_header_split),
		cmocka_unit_test(test_write_splits),
		cmocka_unit_test(test_requests),
		cmocka_unit_test(test_short_headers),
		cmocka_unit_test(test_ranges),
		cmocka_unit_test(test_options),
		cmocka_unit_test(test_config_wce),
		cmocka_unit_test(test_reset_in_flight),
		cmocka_unit_test(test_image_shrinks),
	};

	log_set_level(LOG_LEVEL_ERROR);
	return cmocka_run_group_tests(tests, setup, tmpdir_teardown);
}
