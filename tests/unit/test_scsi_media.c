/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Disks that get another size and CD-ROMs that get another medium while there is work: what each
 * command finds then, what is told, and what becomes of the files.
 */
#include "scsi_rig.h"

#include <sys/stat.h>

#define HOTPLUG (1ull << 1)
#define CHANGE	(1ull << 2)

enum {
	NO_MEDIUM = 0x23a01,
	TRAY_OPEN = 0x23a02,
	LOCKED_EMPTY = 0x25302,
	LOCKED = 0x55302,
	MEDIUM_CHANGED = 0x62800,
	CAPACITY_CHANGED = 0x62a09,
	UNITS_CHANGED = 0x63f0e,
};

/* A change that a test began, and how it ended. */
static struct begun {
	struct media_change change;
	bool done;
	int result;
} begun;

static struct err err;

static void must(int result)
{
	if (result < 0)
		fail_msg("%s", err.msg);
}

static void on_done(struct media_change *change, int result, const struct err *why)
{
	struct begun *b = container_of(change, struct begun, change);

	assert_false(b->done);
	b->done = true;
	b->result = result;
	if (result)
		err = *why;
}

static struct media_change *new_change(void)
{
	begun = (struct begun){ .change = { on_done } };
	return &begun.change;
}

static void wait_done(struct fix *f)
{
	while (!begun.done)
		loop_run_once(&f->loop, 50);
	if (begun.result)
		fail_msg("%s", err.msg);
}

static struct scsi_unit *disk_of(struct fix *f)
{
	return scsi_own_unit(f->dev, SCSI_DISK);
}

static struct scsi_unit *cd_of(struct fix *f)
{
	return scsi_own_unit(f->dev, SCSI_CD);
}

static void resize(struct fix *f, uint64_t bytes)
{
	must(scsi_unit_resize(disk_of(f), bytes, new_change(), &err));
	wait_done(f);
}

static uint64_t image_bytes(const char *name)
{
	struct stat st;

	assert_int_equal(stat(tmpdir_file(name), &st), 0);
	return (uint64_t)st.st_size;
}

static void check_blocks(struct fix *f, uint32_t blocks)
{
	assert_int_equal(command(f, 0, "25", 0, 8), 0);
	assert_int_equal(be32_read(data_of(f)), blocks - 1);
	assert_int_equal(command(f, 0, "9e 10 00 00 00 00 00 00 00 00 00 00 00 20", 0, 32), 0);
	assert_int_equal(be64_read(data_of(f)), blocks - 1);
}

/* --- another size --- */

static void test_resize(void **state)
{
	struct fix f;

	(void)state;
	make_images();
	start_host(&f, 2, "");
	settle(&f);
	resize(&f, BYTES + 8 * 512);
	assert_int_equal(image_bytes("disk"), BYTES + 8 * 512);
	assert_int_equal(command(&f, 0, "12 00 00 00 24", 0, 36), 0);
	assert_int_equal(command(&f, 0, "00", 0, 0), CAPACITY_CHANGED);
	check_blocks(&f, BLOCKS + 8);
	assert_int_equal(command(&f, 0, "2a 00 00 00 04 07 00 00 01", 512, 0), 0);
	assert_int_equal(command(&f, 0, "28 00 00 00 04 08 00 00 01", 0, 512), BAD_LBA);
	/* Smaller: what is behind the end is not there, and stays so. */
	resize(&f, 100 * 512);
	assert_int_equal(image_bytes("disk"), 100 * 512);
	assert_int_equal(command(&f, 0, "28 00 00 00 00 63 00 00 01", 0, 512), CAPACITY_CHANGED);
	assert_int_equal(command(&f, 0, "28 00 00 00 00 63 00 00 01", 0, 512), 0);
	assert_int_equal(command(&f, 0, "28 00 00 00 00 64 00 00 01", 0, 512), BAD_LBA);
	assert_int_equal(command(&f, 0, "2a 00 00 00 00 63 00 00 02", 1024, 0), BAD_LBA);
	assert_int_equal(command(&f, 0, "41 00 00 00 00 64 00 00 01", 512, 0), BAD_LBA);
	assert_int_equal(command(&f, 0, "35 00 00 00 00 64 00 00 01", 0, 0), BAD_LBA);
	assert_int_equal(image_bytes("disk"), 100 * 512);
	/* What was cut off reads as zeroes when there is room again. */
	resize(&f, BYTES);
	assert_int_equal(command(&f, 0, "00", 0, 0), CAPACITY_CHANGED);
	assert_int_equal(command(&f, 0, "28 00 00 00 00 c8 00 00 01", 0, 512), 0);
	for (size_t i = 0; i < 512; i++)
		assert_int_equal(data_of(&f)[i], 0);
	/* The same size is no news. */
	resize(&f, BYTES);
	assert_int_equal(command(&f, 0, "00", 0, 0), 0);
	fix_deinit(&f);
}

static void test_sizes_refused(void **state)
{
	static const struct {
		const char *name, *options;
		uint64_t bytes;
		const char *error;
	} rows[] = {
		{ "nothing", "", 0, "not 0" },
		{ "half a block", "", BYTES + 256, "expected a multiple of 512" },
		{ "half a block of its own", ",\"logical_block_size\":4096", BYTES + 512,
			"no multiple of 4096" },
		{ "read-only", ",\"read-only\":true", BYTES * 2, "read-only" },
		{ "negative", "", UINT64_MAX - 511, "cannot have" },
	};
	struct fix f;

	(void)state;
	make_images();
	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		start_host(&f, 2, rows[i].options);
		settle(&f);
		assert_true(scsi_unit_resize(disk_of(&f), rows[i].bytes, new_change(), &err) < 0);
		if (!strstr(err.msg, rows[i].error))
			fail_msg("%s: %s", rows[i].name, err.msg);
		assert_false(begun.done);
		assert_int_equal(command(&f, 0, "00", 0, 0), 0);
		assert_int_equal(command(&f, 0, "25", 0, 8), 0);
		assert_int_equal(image_bytes("disk"), BYTES);
		assert_true(scsi_unit_resize(cd_of(&f), 4096, new_change(), &err) < 0);
		assert_non_null(strstr(err.msg, "is a CD-ROM"));
		fix_deinit(&f);
	}
}

/* Every second one writes the last block, or all of them by WRITE SAME. */
static void offer_batch(struct fix *f)
{
	for (uint16_t n = 0; n < 16; n++) {
		uint64_t from = IN_AT + n * 1024u, to = OUT_AT + n * 1024u;
		static const char *const cdbs[] = { "28 00 00 00 00 01 00 00 01",
			"2a 00 00 00 03 ff 00 00 01", "41 00 00 00 00 00 00 04 00",
			"2a 08 00 00 02 00 00 00 01" };
		bool writes = n % 4 != 0;

		put_command(f, 0, 0, cdbs[n % 4]);
		memcpy(ram(f, from), ram(f, IN_AT), HEAD);
		memset(ram(f, from + HEAD), n + 1, 512);
		set_desc(f, DESC_AT, n * 2u, from, HEAD + (writes ? 512 : 0), NEXT, n * 2u + 1);
		set_desc(f, DESC_AT, n * 2u + 1, to, ANSWER + (writes ? 0 : 512), WRITE, 0);
	}
	/* The first one's place was everybody's. */
	put_command(f, 0, 0, "28 00 00 00 00 01 00 00 01");
	for (uint16_t n = 0; n < 16; n++)
		offer(f, n * 2u);
	kick_only(f);
}

static int sense_at(struct fix *f, unsigned int n)
{
	const uint8_t *p = ram(f, OUT_AT + n * 1024u);

	return p[11] ? 0x1000000 | p[11] : p[10] ? p[14] << 16 | p[24] << 8 | p[25] : 0;
}

/*
 * A disk is cut at any time: each write was done before, or finds the new end; none makes the file
 * large again.
 */
static void test_cut_in_flight(void **state)
{
	struct fix f;

	(void)state;
	make_images();
	start_host(&f, 2, ",\"aio\":\"threads\"");
	settle(&f);
	for (unsigned int round = 0; round < 60; round++) {
		bool held = round % 4 == 3;

		resize(&f, BYTES);
		if (round)
			assert_int_equal(command(&f, 0, "00", 0, 0), CAPACITY_CHANGED);
		offer_batch(&f);
		if (round % 3)
			loop_run_once(&f.loop, 0);
		if (held)
			vdev_hold(f.dev);
		must(scsi_unit_resize(disk_of(&f), 512 * 512, new_change(), &err));
		/* A second one is refused while the first waits. */
		if (!begun.done)
			assert_true(scsi_unit_resize(disk_of(&f), 512, new_change(), &err) < 0);
		wait_done(&f);
		assert_int_equal(image_bytes("disk"), 512 * 512);
		if (held)
			vdev_release(f.dev);
		wait_used(&f, f.avail_idx);
		for (unsigned int n = 0; n < 16; n++) {
			int sense = sense_at(&f, n);

			if (sense && sense != CAPACITY_CHANGED && (n % 4 == 0 || sense != BAD_LBA))
				fail_msg("round %u: %u: %x", round, n, (unsigned int)sense);
		}
		assert_int_equal(image_bytes("disk"), 512 * 512);
		command(&f, 0, "00", 0, 0);
	}
	fix_deinit(&f);
	make_images();
}

/* A device that goes while a change waits: the change is through before. */
static void test_cut_and_go(void **state)
{
	struct fix f;

	(void)state;
	for (unsigned int round = 0; round < 20; round++) {
		make_images();
		start_host(&f, 2, ",\"aio\":\"threads\"");
		settle(&f);
		offer_batch(&f);
		for (unsigned int i = 0; i < round % 4; i++)
			loop_run_once(&f.loop, 0);
		must(scsi_unit_resize(disk_of(&f), 512, new_change(), &err));
		fix_deinit(&f);
		assert_true(begun.done);
		assert_int_equal(begun.result, 0);
		assert_int_equal(image_bytes("disk"), 512);
	}
	make_images();
}

static void give_buffer(struct fix *f, uint16_t head)
{
	memset(ram(f, OUT_AT + head * 32u), UNTOUCHED, 32);
	push_one(f, head, OUT_AT + head * 32u, 16, WRITE);
}

/* The event carries the code; who did not ask for such hears nothing. */
static void test_event(void **state)
{
	static const uint64_t asked[] = { CHANGE, HOTPLUG | CHANGE, HOTPLUG, 0 };
	const uint8_t *p;
	struct fix f;

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(asked); i++) {
		make_images();
		start_host(&f, 1, "");
		fix_reset(&f);
		fix_start_ring(&f, 64, asked[i]);
		give_buffer(&f, 0);
		resize(&f, BYTES * 2);
		pump(&f);
		assert_int_equal(used_idx(&f), asked[i] & CHANGE ? 1 : 0);
		p = ram(&f, OUT_AT);
		if (asked[i] & CHANGE) {
			assert_int_equal(le32_read(p), 3);
			assert_int_equal(be32_read(p + 4), 0x01000000);
			assert_int_equal(be32_read(p + 8), 0);
			assert_int_equal(le32_read(p + 12), 0x092a);
		}
		/* A medium is no news here: who has a CD-ROM asks it. */
		must(scsi_unit_eject(cd_of(&f), false, new_change(), &err));
		wait_done(&f);
		give_buffer(&f, 1);
		assert_int_equal(used_idx(&f), asked[i] & CHANGE ? 1 : 0);
		fix_deinit(&f);
	}
	make_images();
}

/* --- another medium --- */

static void change_medium(struct fix *f, const char *name, bool force)
{
	must(scsi_unit_change_medium(cd_of(f), tmpdir_file(name), force, new_change(), &err));
	wait_done(f);
}

static void eject(struct fix *f)
{
	must(scsi_unit_eject(cd_of(f), false, new_change(), &err));
	wait_done(f);
}

/* What GET EVENT STATUS NOTIFICATION tells: an event, and what is there. */
static void check_media(struct fix *f, uint8_t event, uint8_t status)
{
	assert_int_equal(command(f, 1, "4a 01 00 00 10 00 00 00 08", 0, 8), 0);
	assert_int_equal(data_of(f)[4], event);
	assert_int_equal(data_of(f)[5], status);
}

static const struct empty_row {
	const char *cdb;
	uint32_t in;
	bool works;
} empty[] = {
	{ "00", 0, false },
	{ "25", 8, false },
	{ "28 00 00 00 00 01 00 00 01", 2048, false },
	{ "a8 00 00 00 00 01 00 00 00 01", 2048, false },
	{ "43 00 00 00 00 00 00 00 14", 20, false },
	{ "12 00 00 00 24", 36, true },
	{ "46 00 00 00 00 00 00 00 08", 8, true },
	{ "4a 01 00 00 10 00 00 00 08", 8, true },
	{ "5a 00 3f 00 00 00 00 00 ff", 255, true },
	{ "03 00 00 00 12", 18, true },
	{ "1b 00 00 00 01", 0, true },
	{ "1b", 0, true },
	{ "1b 00 00 00 01", 0, true },
	{ "1e", 0, true },
	{ "a0 00 00 00 00 00 00 00 01 00", 256, true },
};

static void check_empty(struct fix *f, int sense)
{
	for (size_t i = 0; i < ARRAY_SIZE(empty); i++) {
		int got = command(f, 1, empty[i].cdb, 0, empty[i].in);

		if (got != (empty[i].works ? 0 : sense))
			fail_msg("row %zu: %x", i, (unsigned int)got);
	}
	/* And so REQUEST SENSE has it. */
	assert_int_equal(command(f, 1, "03 00 00 00 12", 0, 18), 0);
	assert_int_equal(data_of(f)[2] << 16 | data_of(f)[12] << 8 | data_of(f)[13], sense);
	assert_int_equal(command(f, 1, "46 00 00 00 00 00 00 00 08", 0, 8), 0);
	assert_int_equal(be16_read(data_of(f) + 6), 0);
}

static void check_cd(struct fix *f, uint32_t blocks, bool cd)
{
	assert_int_equal(command(f, 1, "25", 0, 8), 0);
	assert_int_equal(be32_read(data_of(f)), blocks - 1);
	assert_int_equal(command(f, 1, "28 00 00 00 00 07 00 00 01", 0, 2048), 0);
	for (size_t i = 0; i < 2048; i++)
		assert_int_equal(data_of(f)[i], image_byte(7 * 2048 + i, cd));
	assert_int_equal(command(f, 1, "43 00 00 00 00 00 00 00 14", 0, 20), 0);
	assert_int_equal(be32_read(data_of(f) + 16), blocks);
}

static void test_medium(void **state)
{
	struct fix f;

	(void)state;
	make_images();
	start_host(&f, 2, "");
	settle(&f);
	check_media(&f, 0, 2);
	eject(&f);
	check_media(&f, 3, 1);
	check_media(&f, 0, 1);
	check_empty(&f, TRAY_OPEN);
	/* Nobody else has the image any more. */
	make_image("cd2", 20 * 2048, false);
	change_medium(&f, "cd2", false);
	assert_int_equal(command(&f, 1, "00", 0, 0), MEDIUM_CHANGED);
	assert_int_equal(command(&f, 1, "00", 0, 0), 0);
	check_media(&f, 2, 2);
	check_media(&f, 0, 2);
	check_cd(&f, 20, false);
	change_medium(&f, "cd", false);
	assert_int_equal(command(&f, 1, "28 00 00 00 00 13 00 00 01", 0, 2048), MEDIUM_CHANGED);
	check_cd(&f, CD_BLOCKS, true);
	/* The driver closes an empty tray. */
	eject(&f);
	assert_int_equal(command(&f, 1, "1b 00 00 00 03", 0, 0), 0);
	check_media(&f, 3, 0);
	check_empty(&f, NO_MEDIUM);
	change_medium(&f, "cd", false);
	fix_deinit(&f);
}

/* A driver opens and closes the tray by itself; the medium stays in it. */
static void test_tray(void **state)
{
	struct fix f;

	(void)state;
	start_host(&f, 2, "");
	settle(&f);
	assert_int_equal(command(&f, 1, "1b 00 00 00 02", 0, 0), 0);
	assert_int_equal(command(&f, 1, "1b 00 00 00 02", 0, 0), 0);
	check_media(&f, 3, 1);
	check_empty(&f, TRAY_OPEN);
	assert_int_equal(command(&f, 1, "1b 00 00 00 03", 0, 0), 0);
	check_media(&f, 0, 2);
	check_cd(&f, CD_BLOCKS, true);
	/* A locked door: not by the driver, nor by us. */
	assert_int_equal(command(&f, 1, "1e 00 00 00 01", 0, 0), 0);
	assert_int_equal(command(&f, 1, "1b 00 00 00 02", 0, 0), LOCKED);
	assert_true(scsi_unit_eject(cd_of(&f), false, new_change(), &err) < 0);
	assert_non_null(strstr(err.msg, "is locked and force was not specified"));
	assert_true(scsi_unit_move_tray(cd_of(&f), true, false, &err) < 0);
	assert_true(scsi_unit_change_medium(
			    cd_of(&f), tmpdir_file("cd2"), false, new_change(), &err) < 0);
	assert_false(begun.done);
	/* The driver is asked. */
	check_media(&f, 1, 2);
	check_media(&f, 0, 2);
	check_cd(&f, CD_BLOCKS, true);
	assert_int_equal(scsi_unit_move_tray(cd_of(&f), true, true, &err), 0);
	assert_int_equal(command(&f, 1, "00", 0, 0), TRAY_OPEN);
	assert_int_equal(scsi_unit_move_tray(cd_of(&f), false, false, &err), 0);
	assert_int_equal(command(&f, 1, "00", 0, 0), MEDIUM_CHANGED);
	change_medium(&f, "cd", true);
	assert_int_equal(command(&f, 1, "00", 0, 0), MEDIUM_CHANGED);
	assert_int_equal(command(&f, 1, "1b 00 00 00 02", 0, 0), LOCKED);
	/* A reset lets go. */
	fix_reset(&f);
	fix_start_ring(&f, 64, 0);
	settle(&f);
	assert_int_equal(command(&f, 1, "1b 00 00 00 02", 0, 0), 0);
	eject(&f);
	assert_int_equal(command(&f, 1, "1b 00 00 00 03", 0, 0), 0);
	assert_int_equal(command(&f, 1, "1e 00 00 00 01", 0, 0), 0);
	assert_int_equal(command(&f, 1, "1b 00 00 00 02", 0, 0), LOCKED_EMPTY);
	fix_deinit(&f);
}

/* What cannot be put in leaves what is there. */
static void test_media_refused(void **state)
{
	struct fix f;

	(void)state;
	start_host(&f, 2, "");
	settle(&f);
	make_image("short", 512, true);
	assert_true(scsi_unit_change_medium(
			    cd_of(&f), tmpdir_file("short"), false, new_change(), &err) < 0);
	assert_non_null(strstr(err.msg, "less than one block"));
	assert_true(
		scsi_unit_change_medium(cd_of(&f), "/nonexistent", false, new_change(), &err) < 0);
	assert_true(scsi_unit_change_medium(cd_of(&f), "/", false, new_change(), &err) < 0);
	assert_true(scsi_unit_eject(disk_of(&f), true, new_change(), &err) < 0);
	assert_non_null(strstr(err.msg, "is not removable"));
	assert_true(scsi_unit_move_tray(disk_of(&f), true, true, &err) < 0);
	assert_false(begun.done);
	assert_int_equal(command(&f, 1, "00", 0, 0), 0);
	check_media(&f, 0, 2);
	check_cd(&f, CD_BLOCKS, true);
	fix_deinit(&f);
}

/* Reads of one medium, or none: never of one that is half gone. */
static void test_swap_in_flight(void **state)
{
	struct fix f;

	(void)state;
	make_images();
	make_image("cd2", CD_BLOCKS * 2048, false);
	start_host(&f, 2, ",\"aio\":\"threads\"");
	settle(&f);
	for (unsigned int round = 0; round < 60; round++) {
		bool cd = round % 2;

		for (uint16_t n = 0; n < 8; n++) {
			uint64_t from = IN_AT + n * 64u, to = OUT_AT + n * 2560u;

			put_command(&f, 1, 0, "28 00 00 00 00 05 00 00 01");
			memcpy(ram(&f, from), ram(&f, IN_AT), HEAD);
			set_desc(&f, DESC_AT, n * 2u, from, HEAD, NEXT, n * 2u + 1);
			set_desc(&f, DESC_AT, n * 2u + 1, to, ANSWER + 2048, WRITE, 0);
			offer(&f, n * 2u);
		}
		kick_only(&f);
		for (unsigned int i = 0; i < round % 3; i++)
			loop_run_once(&f.loop, 0);
		if (round % 4 == 3)
			vdev_hold(f.dev);
		must(scsi_unit_change_medium(
			cd_of(&f), tmpdir_file(cd ? "cd" : "cd2"), false, new_change(), &err));
		wait_done(&f);
		if (round % 4 == 3)
			vdev_release(f.dev);
		wait_used(&f, f.avail_idx);
		for (uint16_t n = 0; n < 8; n++) {
			const uint8_t *p = ram(&f, OUT_AT + n * 2560u);
			int sense = p[10] ? p[14] << 16 | p[24] << 8 | p[25] : 0;
			bool old = p[ANSWER] == image_byte(5 * 2048, !cd);

			if (sense) {
				assert_true(sense == TRAY_OPEN || sense == MEDIUM_CHANGED);
				continue;
			}
			for (size_t i = 0; i < 2048; i++)
				assert_int_equal(
					p[ANSWER + i], image_byte(5 * 2048 + i, old ? !cd : cd));
		}
		command(&f, 1, "00", 0, 0);
		check_cd(&f, CD_BLOCKS, cd);
	}
	fix_deinit(&f);
}

/* A drive that never had a medium; and what it has to tell comes one after the other. */
static void test_attentions(void **state)
{
	const struct scsi_unit_config config = {
		.kind = SCSI_CD, .target = 1, .lun = 3, .locking = true, .label = "empty"
	};
	struct scsi_unit *unit;
	struct fix f;

	(void)state;
	start_host(&f, 2, "");
	settle(&f);
	must(scsi_unit_add(f.dev, &config, &unit, &err));
	pump(&f);
	change_medium(&f, "cd2", false);
	/* The neighbour is new, the medium is new: the medium first. */
	assert_int_equal(command(&f, 1, "00", 0, 0), MEDIUM_CHANGED);
	assert_int_equal(command(&f, 1, "00", 0, 0), UNITS_CHANGED);
	assert_int_equal(command(&f, 1, "00", 0, 0), 0);
	put_command(&f, 1, 3, "00");
	request(&f, HEAD, ANSWER, NULL);
	assert_int_equal(sense_of(&f), POWERED_ON);
	request(&f, HEAD, ANSWER, NULL);
	assert_int_equal(sense_of(&f), NO_MEDIUM);
	must(scsi_unit_change_medium(unit, tmpdir_file("cd"), false, new_change(), &err));
	wait_done(&f);
	request(&f, HEAD, ANSWER, NULL);
	assert_int_equal(sense_of(&f), MEDIUM_CHANGED);
	request(&f, HEAD, ANSWER, NULL);
	assert_int_equal(sense_of(&f), 0);
	/* After a reset nothing of before matters. */
	change_medium(&f, "cd2", false);
	fix_reset(&f);
	fix_start_ring(&f, 64, 0);
	settle(&f);
	assert_int_equal(command(&f, 1, "00", 0, 0), 0);
	fix_deinit(&f);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_resize),
		cmocka_unit_test(test_sizes_refused),
		cmocka_unit_test(test_cut_in_flight),
		cmocka_unit_test(test_cut_and_go),
		cmocka_unit_test(test_event),
		cmocka_unit_test(test_medium),
		cmocka_unit_test(test_tray),
		cmocka_unit_test(test_media_refused),
		cmocka_unit_test(test_swap_in_flight),
		cmocka_unit_test(test_attentions),
	};

	log_set_level(LOG_LEVEL_ERROR);
	return cmocka_run_group_tests(tests, scsi_rig_setup, tmpdir_teardown);
}
