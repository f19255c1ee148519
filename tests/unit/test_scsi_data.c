/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * What virtio-scsi does to its disk: WRITE, UNMAP, WRITE SAME; batches, resets, a lost image; and
 * the control queue. What no command named stays as it was.
 */
#include "scsi_rig.h"

#include <errno.h>
#include <sys/mman.h>

/* The image's block @lba is all @byte; -1: as it was made. */
static bool block_is(uint64_t lba, int byte)
{
	uint8_t got[512];
	size_t i;

	assert_int_equal(pread(image_fd, got, 512, (off_t)(lba * 512)), 512);
	for (i = 0; i < 512; i++)
		if (got[i] != (byte < 0 ? image_byte(lba * 512 + i, false) : byte))
			return false;
	return true;
}

static const struct write_row {
	const char *cdb;
	uint32_t blocks, out;
	uint64_t lba;
} writes[] = {
	{ "0a 00 00 08 02", 2, 1024, 8 },
	{ "0a 00 01 00 00", 256, 131072, 256 },
	{ "2a 00 00 00 00 10 00 00 01", 1, 512, 16 },
	{ "2a 18 00 00 00 12 00 00 02", 2, 1024, 18 },
	{ "aa 00 00 00 00 18 00 00 00 01", 1, 512, 24 },
	{ "8a 08 00 00 00 00 00 00 00 20 00 00 00 03", 3, 1536, 32 },
	{ "2a 00 00 00 03 ff 00 00 01", 1, 700, 1023 },
	{ "2a 00 00 00 04 00 00 00 00", 0, 512, 1024 },
};

static void test_write(void **state)
{
	struct fix f;
	uint8_t byte = 0x30;
	size_t i;
	uint32_t n;

	(void)state;
	make_images();
	start_host(&f, 2, "");
	settle(&f);
	for (i = 0; i < ARRAY_SIZE(writes); i++) {
		const struct write_row *row = &writes[i];

		memset(data_for(&f), ++byte, row->out);
		assert_int_equal(command(&f, 0, row->cdb, row->out, 0), 0);
		assert_int_equal(residual_of(&f), row->out - row->blocks * 512);
		for (n = 0; n < row->blocks; n++)
			assert_true(block_is(row->lba + n, byte));
		if (row->lba + n < BLOCKS)
			assert_true(block_is(row->lba + n, -1));
	}
	assert_int_equal(lseek(image_fd, 0, SEEK_END), BYTES);
	fix_deinit(&f);
}

/* --- UNMAP --- */

static const struct unmap_row {
	const char *name;
	unsigned int list; /* the command's parameter list length */
	unsigned int data; /* readable bytes */
	unsigned int says; /* the header's length of all descriptors */
	unsigned int num; /* descriptors that are there */
	uint64_t lba;
	uint32_t blocks;
	int expected;
} unmaps[] = {
	{ "one", 24, 24, 16, 1, 100, 8, 0 },
	{ "of nothing", 24, 24, 16, 1, 100, 0, 0 },
	{ "no list", 0, 0, 0, 0, 0, 0, 0 },
	{ "header alone", 8, 8, 0, 0, 0, 0, 0 },
	{ "32", 520, 520, 512, 32, 100, 1, 0 },
	{ "the last block", 24, 24, 16, 1, 1023, 1, 0 },
	{ "a cut one is left out", 23, 23, 16, 1, 5000, 1, 0 },
	{ "a length with a rest", 40, 40, 17, 2, 100, 1, 0 },
	/* CVE-2026-5164: the header claims more than there is. */
	{ "claims more", 24, 24, 65520, 1, 100, 8, 0 },
	{ "claims more, no list", 8, 8, 65520, 0, 0, 0, 0 },
	{ "33", 536, 536, 528, 33, 100, 1, BAD_LIST },
	{ "short header", 7, 7, 16, 0, 0, 0, BAD_LIST_LENGTH },
	{ "less data than list", 24, 23, 16, 1, 100, 1, 0x1000000 | OVERRUN },
	{ "beyond", 24, 24, 16, 1, 1024, 1, BAD_LBA },
	{ "across", 24, 24, 16, 1, 1023, 2, BAD_LBA },
	{ "largest", 24, 24, 16, 1, UINT64_MAX, 1, BAD_LBA },
	{ "wraps", 24, 24, 16, 1, UINT64_MAX, 2, BAD_LBA },
	{ "product wraps", 24, 24, 16, 1, 1ull << 55, 1, BAD_LBA },
	{ "all blocks", 24, 24, 16, 1, 0, UINT32_MAX, BAD_LBA },
};

static int unmap(struct fix *f, const struct unmap_row *row)
{
	uint8_t *p = data_for(f);
	char cdb[64];
	unsigned int i;

	memset(p, 0, 600);
	be16_write(p, (uint16_t)(row->says + 6));
	be16_write(p + 2, (uint16_t)row->says);
	for (i = 0; i < row->num; i++) {
		be64_write(p + 8 + i * 16, row->lba);
		be32_write(p + 16 + i * 16, row->blocks);
	}
	snprintf(cdb, sizeof(cdb), "42 00 00 00 00 00 00 %02x %02x", row->list >> 8,
		row->list & 255);
	return command(f, 0, cdb, row->data, 0);
}

static void test_unmap(void **state)
{
	struct fix f;
	size_t i;
	int got;

	(void)state;
	make_images();
	start_host(&f, 2, "");
	settle(&f);
	for (i = 0; i < ARRAY_SIZE(unmaps); i++) {
		got = unmap(&f, &unmaps[i]);
		if (got != unmaps[i].expected)
			fail_msg("%s: %x", unmaps[i].name, (unsigned int)got);
	}
	for (i = 0; i < BLOCKS; i++)
		if (!block_is(i, -1))
			assert_true((i >= 100 && i < 108) || i == 1023);
	/* One that is wrong, and none is done. */
	data_for(&f)[3] = 32;
	be64_write(data_for(&f) + 8, 200);
	be32_write(data_for(&f) + 16, 1);
	be64_write(data_for(&f) + 24, 1024);
	be32_write(data_for(&f) + 32, 1);
	assert_int_equal(command(&f, 0, "42 00 00 00 00 00 00 00 28", 40, 0), BAD_LBA);
	assert_true(block_is(200, -1));
	assert_int_equal(command(&f, 0, "42 01 00 00 00 00 00 00 18", 24, 0), BAD_FIELD);
	fix_deinit(&f);
}

/* --- WRITE SAME --- */

static const struct same_row {
	const char *name, *cdb;
	uint32_t out;
	int byte, expected;
	uint64_t lba;
	uint32_t blocks;
} sames[] = {
	{ "10", "41 00 00 00 00 40 00 00 04", 512, 0x11, 0, 64, 4 },
	{ "16", "93 00 00 00 00 00 00 00 00 50 00 00 00 04", 512, 0x12, 0, 80, 4 },
	{ "zeroes", "93 00 00 00 00 00 00 00 00 60 00 00 00 04", 512, 0, 0, 96, 4 },
	{ "zeroes that unmap", "41 08 00 00 00 70 00 00 04", 512, 0, 0, 112, 4 },
	{ "pattern that unmaps", "93 08 00 00 00 00 00 00 00 80 00 00 00 02", 512, 0x13, 0, 128,
		2 },
	{ "no block", "93 01 00 00 00 00 00 00 00 90 00 00 00 02", 0, 0, 0, 144, 2 },
	{ "more than a buffer", "41 00 00 00 01 00 00 02 01", 512, 0x14, 0, 256, 513 },
	{ "the last", "93 00 00 00 00 00 00 00 03 ff 00 00 00 01", 512, 0x15, 0, 1023, 1 },
	{ "more data", "41 00 00 00 00 a0 00 00 01", 600, 0x16, 0, 160, 1 },
	{ "none", "41 00 00 00 00 40 00 00 00", 512, 1, BAD_FIELD, 0, 0 },
	{ "no block, 10", "41 01 00 00 00 40 00 00 01", 0, 1, BAD_FIELD, 0, 0 },
	{ "protection", "41 20 00 00 00 40 00 00 01", 512, 1, BAD_FIELD, 0, 0 },
	{ "anchor", "41 10 00 00 00 40 00 00 01", 512, 1, BAD_FIELD, 0, 0 },
	{ "numbered blocks", "41 02 00 00 00 40 00 00 01", 512, 1, BAD_FIELD, 0, 0 },
	{ "beyond", "41 00 00 00 04 00 00 00 01", 512, 1, BAD_LBA, 0, 0 },
	{ "across", "41 00 00 00 03 ff 00 00 02", 512, 1, BAD_LBA, 0, 0 },
	{ "largest", "93 00 ff ff ff ff ff ff ff ff 00 00 00 01", 512, 1, BAD_LBA, 0, 0 },
	{ "too many", "93 00 00 00 00 00 00 00 00 00 ff ff ff ff", 512, 1, BAD_FIELD, 0, 0 },
	{ "half a block", "41 00 00 00 00 40 00 00 01", 511, 1, 0x1000000 | OVERRUN, 0, 0 },
	{ "no data", "41 00 00 00 00 40 00 00 01", 0, 1, 0x1000000 | OVERRUN, 0, 0 },
};

static void test_write_same(void **state)
{
	struct fix f;
	size_t i;
	uint32_t n;
	int got;

	(void)state;
	make_images();
	start_host(&f, 2, "");
	settle(&f);
	for (i = 0; i < ARRAY_SIZE(sames); i++) {
		const struct same_row *row = &sames[i];

		memset(data_for(&f), row->byte, row->out);
		got = command(&f, 0, row->cdb, row->out, 0);
		if (got != row->expected)
			fail_msg("%s: %x", row->name, (unsigned int)got);
		for (n = 0; n < row->blocks; n++)
			if (!block_is(row->lba + n, row->byte))
				fail_msg("%s: block %u", row->name, n);
		if (row->blocks) {
			assert_true(block_is(row->lba - 1, -1));
			assert_true(row->lba + n == BLOCKS || block_is(row->lba + n, -1));
		}
	}
	fix_deinit(&f);
}

/* --- many at once --- */

/* Command @n of a batch: header, data and answer lie at places of their own. */
static void add_to_batch(struct fix *f, uint16_t n, const char *cdb, uint32_t out, uint32_t in)
{
	uint64_t from = IN_AT + n * 1024u, to = OUT_AT + n * 1024u;
	uint16_t i = (uint16_t)(n * 2);

	put_command(f, 0, 0, cdb);
	if (n)
		memcpy(ram(f, from), ram(f, IN_AT), HEAD);
	memset(ram(f, from + HEAD), n + 1, out);
	set_desc(f, DESC_AT, i, from, HEAD + out, NEXT, i + 1u);
	set_desc(f, DESC_AT, i + 1u, to, ANSWER + in, WRITE, 0);
	offer(f, i);
}

static uint8_t *batch_answer(struct fix *f, uint16_t n)
{
	return ram(f, OUT_AT + n * 1024u);
}

/* Patterns share one buffer: each is whole in the end. Zeroes among them do not wait for it. */
static void test_batch_of_write_same(void **state)
{
	char cdb[64];
	struct fix f;
	uint16_t n, turn;

	(void)state;
	make_images();
	start_host(&f, 2, "");
	settle(&f);
	for (turn = 0; turn < 10; turn++) {
		for (n = 16; n--;) {
			snprintf(cdb, sizeof(cdb), "41 %02x 00 00 %02x %02x 00 00 38",
				n % 4 ? 0 : 8, n * 60 >> 8, n * 60 & 255);
			add_to_batch(&f, n, cdb, 512, 0);
		}
		kick_only(&f);
		wait_used(&f, f.avail_idx);
		for (n = 0; n < 16; n++) {
			assert_int_equal(batch_answer(&f, n)[10], 0);
			assert_true(block_is(n * 60u, n + 1));
			assert_true(block_is(n * 60u + 55, n + 1));
			assert_true(block_is(n * 60u + 56, -1));
		}
	}
	fix_deinit(&f);
}

/* Work item 4365: nothing in a batch changes what the rest of it was checked against. */
static void test_batch_with_mode_select(void **state)
{
	struct fix f;
	uint16_t n;

	(void)state;
	make_images();
	start_host(&f, 2, "");
	settle(&f);
	for (n = 16; n--;)
		add_to_batch(&f, n,
			n % 3 ? "28 00 00 00 00 01 00 00 01" : "55 10 00 00 00 00 00 00 10",
			n % 3 ? 0 : 16, n % 3 ? 512 : 0);
	kick_only(&f);
	wait_used(&f, f.avail_idx);
	for (n = 0; n < 16; n++) {
		const uint8_t *p = batch_answer(&f, n);

		assert_int_equal(p[10], n % 3 ? 0 : 2);
		if (n % 3)
			assert_int_equal(p[ANSWER + 511], image_byte(1023, false));
	}
	assert_int_equal(command(&f, 0, "25", 0, 8), 0);
	assert_int_equal(be32_read(data_of(&f) + 4), 512);
	fix_deinit(&f);
}

/* CVE-2026-45782: reset and stop with commands in flight, some of which wait for others. */
static void test_reset_in_flight(void **state)
{
	struct fix f;
	uint16_t n;
	int round;

	(void)state;
	start_host(&f, 2, "");
	settle(&f);
	for (round = 0; round < 40; round++) {
		for (n = 16; n--;)
			add_to_batch(&f, n,
				n % 2 ? "41 00 00 00 00 00 00 01 90" : "28 00 00 00 00 01 00 00 01",
				n % 2 ? 512 : 0, n % 2 ? 0 : 512);
		kick_only(&f);
		if (round % 2)
			loop_run_once(&f.loop, 0);
		vdev_hold(f.dev);
		while (!vdev_is_idle(f.dev))
			loop_run_once(&f.loop, 50);
		assert_int_equal(f.vq->cfg.next_avail, used_idx(&f));
		if (round % 3) {
			vdev_release(f.dev);
			wait_used(&f, f.avail_idx);
			continue;
		}
		vdev_reset(f.dev);
		vdev_release(f.dev);
		fix_start_ring(&f, 64, 0);
	}
	fix_deinit(&f);
}

static void test_image_shrinks(void **state)
{
	struct fix f;

	(void)state;
	make_images();
	start_host(&f, 2, "");
	settle(&f);
	assert_int_equal(ftruncate(image_fd, 512), 0);
	assert_int_equal(command(&f, 0, "28 00 00 00 00 05 00 00 01", 0, 512), READ_ERROR);
	assert_int_equal(command(&f, 0, "28 00 00 00 00 00 00 00 01", 0, 512), 0);
	fix_deinit(&f);
}

static void test_options(void **state)
{
	struct fix f;

	(void)state;
	make_images();
	start_host(&f, 2, ",\"read-only\":true");
	settle(&f);
	assert_int_equal(command(&f, 0, "2a 00 00 00 00 00 00 00 01", 512, 0), PROTECTED);
	assert_int_equal(command(&f, 0, "42 00 00 00 00 00 00 00 18", 24, 0), PROTECTED);
	assert_int_equal(command(&f, 0, "41 00 00 00 00 00 00 00 01", 512, 0), PROTECTED);
	assert_int_equal(command(&f, 0, "28 00 00 00 00 00 00 00 01", 0, 512), 0);
	assert_int_equal(command(&f, 0, "1a 08 08 00 ff", 0, 255), 0);
	assert_int_equal(data_of(&f)[2], 0x90);
	fix_deinit(&f);
	start_host(&f, 2, ",\"discard\":false,\"write-cache\":false");
	settle(&f);
	assert_int_equal(command(&f, 0, "42 00 00 00 00 00 00 00 18", 24, 0), BAD_OPCODE);
	assert_int_equal(command(&f, 0, "41 08 00 00 00 00 00 00 01", 512, 0), BAD_FIELD);
	assert_int_equal(command(&f, 0, "1a 08 08 00 ff", 0, 255), 0);
	assert_int_equal(data_of(&f)[6], 0);
	fix_deinit(&f);
	start_host(&f, 2, ",\"logical_block_size\":4096");
	settle(&f);
	assert_int_equal(command(&f, 0, "25", 0, 8), 0);
	assert_int_equal(be32_read(data_of(&f)), 127);
	assert_int_equal(command(&f, 0, "28 00 00 00 00 7f 00 00 01", 0, 4096), 0);
	assert_int_equal(data_of(&f)[0], image_byte(127 * 4096, false));
	assert_int_equal(command(&f, 0, "28 00 00 00 00 80 00 00 01", 0, 4096), BAD_LBA);
	assert_int_equal(command(&f, 0, "28 00 00 00 00 00 00 00 01", 0, 512), 0x1000000 | OVERRUN);
	fix_deinit(&f);
}

/* --- the control queue --- */

static const struct control_row {
	const char *name, *bytes;
	uint32_t out;
	int response; /* at @at */
	uint32_t at, used;
} controls[] = {
	{ "abort task", "0 0 0 0 00 0 0 0 01 0 40 0 0 0 0 0 77 0 0 0 0 0 0 0", 1, 0, 0, 1 },
	{ "abort task set", "0 0 0 0 01 0 0 0 01 0 40 0 0 0 0 0 0 0 0 0 0 0 0 0", 1, 0, 0, 1 },
	{ "clear aca", "0 0 0 0 02 0 0 0 01 0 40 0 0 0 0 0 0 0 0 0 0 0 0 0", 1, 11, 0, 1 },
	{ "clear task set", "0 0 0 0 03 0 0 0 01 0 40 0 0 0 0 0 0 0 0 0 0 0 0 0", 1, 0, 0, 1 },
	{ "query task", "0 0 0 0 06 0 0 0 01 0 40 0 0 0 0 0 77 0 0 0 0 0 0 0", 1, 0, 0, 1 },
	{ "query task set", "0 0 0 0 07 0 0 0 01 1 40 0 0 0 0 0 0 0 0 0 0 0 0 0", 1, 0, 0, 1 },
	{ "function 8", "0 0 0 0 08 0 0 0 01 0 40 0 0 0 0 0 0 0 0 0 0 0 0 0", 1, 11, 0, 1 },
	{ "function -1", "0 0 0 0 ff ff ff ff 01 0 40 0 0 0 0 0 0 0 0 0 0 0 0 0", 1, 11, 0, 1 },
	{ "no target", "0 0 0 0 05 0 0 0 01 7 40 0 0 0 0 0 0 0 0 0 0 0 0 0", 1, 3, 0, 1 },
	{ "no unit", "0 0 0 0 05 0 0 0 01 0 40 1 0 0 0 0 0 0 0 0 0 0 0 0", 1, 12, 0, 1 },
	{ "nexus by any unit", "0 0 0 0 04 0 0 0 01 0 40 9 0 0 0 0 0 0 0 0 0 0 0 0", 1, 0, 0, 1 },
	{ "cut short", "0 0 0 0 05 0 0 0 01 0 40 0 0 0 0 0 0 0 0 0 0 0 0", 1, 11, 0, 1 },
	{ "type alone", "0 0 0 0", 1, 11, 0, 1 },
	{ "no room", "0 0 0 0 01 0 0 0 01 0 40 0 0 0 0 0 0 0 0 0 0 0 0 0", 0, NOTHING, 0, 0 },
	{ "query of events", "01 0 0 0 01 0 40 0 0 0 0 0 ff 0 0 0", 5, 0, 4, 5 },
	{ "subscription", "02 0 0 0 01 0 40 0 0 0 0 0 ff ff ff ff", 5, 0, 4, 5 },
	{ "subscription, no unit", "02 0 0 0 01 0 40 1 0 0 0 0 ff 0 0 0", 5, 12, 4, 5 },
	{ "subscription, no target", "02 0 0 0 01 5 40 0 0 0 0 0 ff 0 0 0", 5, 3, 4, 5 },
	{ "subscription, cut short", "02 0 0 0 01 0 40 0 0 0 0 0 ff 0 0", 5, 9, 4, 5 },
	{ "subscription, short room", "02 0 0 0 01 0 40 0 0 0 0 0 ff 0 0 0", 4, NOTHING, 0, 0 },
	{ "type 3", "03 0 0 0 01 0 40 0 0 0 0 0", 5, NOTHING, 0, 0 },
	{ "no type", "0 0 0", 5, NOTHING, 0, 0 },
	{ "nothing", "", 1, NOTHING, 0, 0 },
};

static void test_control(void **state)
{
	struct fix f;
	size_t i;

	(void)state;
	make_images();
	start_host(&f, 0, "");
	for (i = 0; i < ARRAY_SIZE(controls); i++) {
		const struct control_row *row = &controls[i];
		uint32_t used =
			request(&f, (uint32_t)from_hex(row->bytes, ram(&f, IN_AT)), row->out, NULL);
		int byte = ((uint8_t *)ram(&f, OUT_AT))[row->at];

		if (used != row->used)
			fail_msg("%s: used length %u", row->name, used);
		if (byte != (row->response == NOTHING ? UNTOUCHED : row->response) && row->out)
			fail_msg("%s: %d", row->name, byte);
		if (row->at && row->response != NOTHING)
			assert_int_equal(le32_read(ram(&f, OUT_AT)), 0);
	}
	fix_deinit(&f);
}

/* Which functions leave a unit attention, and where. */
static void test_resets(void **state)
{
	static const struct {
		const char *bytes;
		int disk, cd;
	} rows[] = {
		{ "0 0 0 0 05 0 0 0 01 0 40 0 0 0 0 0 0 0 0 0 0 0 0 0", WAS_RESET, POWERED_ON },
		{ "0 0 0 0 04 0 0 0 01 1 40 0 0 0 0 0 0 0 0 0 0 0 0 0", POWERED_ON, 0x62907 },
		{ "0 0 0 0 01 0 0 0 01 0 40 0 0 0 0 0 0 0 0 0 0 0 0 0", POWERED_ON, POWERED_ON },
	};
	struct fix f;
	size_t i;

	(void)state;
	for (i = 0; i < ARRAY_SIZE(rows); i++) {
		start_host(&f, 0, "");
		request(&f, (uint32_t)from_hex(rows[i].bytes, ram(&f, IN_AT)), 1, NULL);
		vdev_hold(f.dev);
		while (!vdev_is_idle(f.dev))
			loop_run_once(&f.loop, 50);
		/* The same ring's memory, for the queue of commands. */
		f.dev->queues[0].enabled = false;
		f.vq = &f.dev->queues[2];
		vdev_release(f.dev);
		fix_start_ring(&f, 64, 0);
		assert_int_equal(command(&f, 0, "00", 0, 0), rows[i].disk);
		assert_int_equal(command(&f, 1, "00", 0, 0), rows[i].cd);
		assert_int_equal(command(&f, 0, "00", 0, 0), 0);
		fix_deinit(&f);
	}
}

/* Event buffers of any size wait; a stop gives them back unused. */
static void test_events(void **state)
{
	struct fix f;

	(void)state;
	start_host(&f, 1, "");
	push_one(&f, 0, OUT_AT, 16, WRITE);
	push_one(&f, 1, OUT_AT + 64, 1, WRITE);
	pump(&f);
	assert_int_equal(used_idx(&f), 0);
	vdev_hold(f.dev);
	while (!vdev_is_idle(f.dev))
		loop_run_once(&f.loop, 50);
	assert_int_equal(f.vq->cfg.next_avail, 0);
	vdev_release(f.dev);
	fix_deinit(&f);
}

static int cut_result;

static void on_cut(struct media_change *change, int result, const struct err *err)
{
	(void)change;
	assert_non_null(strstr(err->msg, "cannot make"));
	cut_result = result;
}

/* The host does not let the file be cut: the disk is as large as it was, and nothing is told. */
static void test_cut_fails(void **state)
{
	struct media_change change = { on_cut };
	char name[16];
	const struct scsi_unit_config config = { .kind = SCSI_DISK,
		.target = 7,
		.filename = name,
		.logical_block_bytes = 512,
		.aio = 2,
		.label = "sealed" };
	struct scsi_unit *unit;
	struct err err = { 0 };
	struct fix f;
	int fd = memfd_create("image", MFD_CLOEXEC | MFD_ALLOW_SEALING);

	(void)state;
	assert_int_equal(ftruncate(fd, BYTES), 0);
	assert_int_equal(fcntl(fd, F_ADD_SEALS, F_SEAL_SHRINK), 0);
	snprintf(name, sizeof(name), "fd=%d", fd);
	start_host(&f, 2, "");
	if (scsi_unit_add(f.dev, &config, &unit, &err) < 0)
		fail_msg("%s", err.msg);
	pump(&f);
	assert_int_equal(command(&f, 7, "00", 0, 0), POWERED_ON);
	cut_result = 0;
	assert_int_equal(scsi_unit_resize(unit, 512, &change, &err), 0);
	while (!cut_result)
		loop_run_once(&f.loop, 50);
	assert_int_equal(cut_result, -EPERM);
	assert_int_equal(command(&f, 7, "00", 0, 0), 0);
	assert_int_equal(command(&f, 7, "25", 0, 8), 0);
	assert_int_equal(be32_read(data_of(&f)), BLOCKS - 1);
	assert_int_equal(command(&f, 7, "28 00 00 00 03 ff 00 00 01", 0, 512), 0);
	fix_deinit(&f);
	close(fd);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_cut_fails),
		cmocka_unit_test(test_write),
		cmocka_unit_test(test_unmap),
		cmocka_unit_test(test_write_same),
		cmocka_unit_test(test_batch_of_write_same),
		cmocka_unit_test(test_batch_with_mode_select),
		cmocka_unit_test(test_reset_in_flight),
		cmocka_unit_test(test_image_shrinks),
		cmocka_unit_test(test_options),
		cmocka_unit_test(test_control),
		cmocka_unit_test(test_resets),
		cmocka_unit_test(test_events),
	};

	log_set_level(LOG_LEVEL_ERROR);
	return cmocka_run_group_tests(tests, scsi_rig_setup, tmpdir_teardown);
}
