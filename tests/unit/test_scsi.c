/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * virtio-scsi through a ring, on real files: commands however cut, what each says, and commands
 * that are wrong. Each row is one command and what becomes of it.
 */
#include "scsi_rig.h"

/* --- framing --- */

static void check_read(struct fix *f, const struct cuts *cuts)
{
	const uint8_t *got = data_of(f);
	size_t i;

	put_command(f, 0, 0, "28 00 00 00 00 05 00 00 01 00");
	assert_int_equal(request(f, HEAD, ANSWER + 512, cuts), ANSWER + 512);
	assert_int_equal(response_of(f), OK);
	assert_int_equal(sense_of(f), 0);
	for (i = 0; i < 512; i++)
		assert_int_equal(got[i], image_byte(5 * 512 + i, false));
}

/* CVE-2022-2132: the request's header and the response's, cut anywhere. */
static void test_cuts(void **state)
{
	static const uint32_t at[] = { 1, 4, 11, 12, 13, 50, 107, 108, 109, 300, 619 };
	struct fix f;
	uint32_t a, b;

	(void)state;
	start_host(&f, 2, "");
	settle(&f);
	for (a = 1; a < HEAD; a++)
		for (b = a; b < HEAD; b += 7) {
			const struct cuts cuts = { { a, b - a }, { 0 } };

			check_read(&f, &cuts);
		}
	for (a = 0; a < ARRAY_SIZE(at); a++)
		for (b = a; b < ARRAY_SIZE(at); b++) {
			const struct cuts cuts = { { 19 }, { at[a], at[b] - at[a] } };

			check_read(&f, &cuts);
			/* And an answer that has sense data. */
			put_command(&f, 0, 0, "28 00 ff ff ff ff 00 00 01 00");
			request(&f, HEAD, ANSWER + 512, &cuts);
			assert_int_equal(sense_of(&f), BAD_LBA);
			assert_int_equal(residual_of(&f), 512);
			assert_int_equal(*data_of(&f), UNTOUCHED);
		}
	fix_deinit(&f);
}

/* CVE-2026-48914, requests cut short, and room for less than an answer. */
static void test_short(void **state)
{
	struct fix f;
	uint32_t len;

	(void)state;
	start_host(&f, 2, "");
	settle(&f);
	for (len = 0; len < HEAD; len++) {
		put_command(&f, 0, 0, "12 00 00 00 24 00");
		assert_int_equal(request(&f, len, ANSWER + 36, NULL), ANSWER);
		assert_int_equal(response_of(&f), FAILURE);
		assert_int_equal(*data_of(&f), UNTOUCHED);
	}
	for (len = 0; len < ANSWER; len++) {
		put_command(&f, 0, 0, "12 00 00 00 24 00");
		assert_int_equal(request(&f, HEAD, len, NULL), 0);
		if (len)
			assert_int_equal(*(uint8_t *)ram(&f, OUT_AT), UNTOUCHED);
	}
	for (len = 0; len < 36; len++) {
		put_command(&f, 0, 0, "12 00 00 00 24 00");
		assert_int_equal(request(&f, HEAD, ANSWER + len, NULL), ANSWER);
		assert_int_equal(response_of(&f), OVERRUN);
		if (len)
			assert_int_equal(*data_of(&f), UNTOUCHED);
	}
	fix_deinit(&f);
}

static const struct address_row {
	const char *name, *lun, *cdb;
	int expected; /* sense, or 0x1000000 and a response */
} addresses[] = {
	{ "flat", "01 00 40 00 00 00 00 00", "00", 0 },
	{ "peripheral", "01 00 00 00 00 00 00 00", "00", 0 },
	{ "other unit", "01 00 40 01 00 00 00 00", "00", NO_LUN },
	{ "last unit", "01 00 7f ff 00 00 00 00", "28", NO_LUN },
	{ "extended form", "01 00 c0 00 00 00 00 00", "00", NO_LUN },
	{ "bus in the peripheral form", "01 00 01 00 00 00 00 00", "00", NO_LUN },
	{ "unknown command there", "01 00 40 01 00 00 00 00", "ff", NO_LUN },
	{ "inquiry there", "01 00 40 01 00 00 00 00", "12 00 00 00 24", 0 },
	{ "page there", "01 00 40 01 00 00 00 00", "12 01 00 00 24", BAD_FIELD },
	{ "units there", "01 00 40 01 00 00 00 00", "a0 00 00 00 00 00 00 00 00 10", 0 },
	{ "no target", "01 02 40 00 00 00 00 00", "12 00 00 00 24", 0x1000000 | BAD_TARGET },
	{ "last target", "01 ff 40 00 00 00 00 00", "00", 0x1000000 | BAD_TARGET },
	{ "not 1", "00 00 40 00 00 00 00 00", "00", 0x1000000 | BAD_TARGET },
	{ "second level", "01 00 40 00 00 00 00 01", "00", 0x1000000 | BAD_TARGET },
	{ "all set", "ff ff ff ff ff ff ff ff", "00", 0x1000000 | BAD_TARGET },
};

static void test_addresses(void **state)
{
	struct fix f;
	size_t i;
	int got;

	(void)state;
	start_host(&f, 2, "");
	settle(&f);
	for (i = 0; i < ARRAY_SIZE(addresses); i++) {
		put_command(&f, 0, 0, addresses[i].cdb);
		from_hex(addresses[i].lun, ram(&f, IN_AT));
		request(&f, HEAD, ANSWER + 64, NULL);
		got = response_of(&f) ? 0x1000000 | response_of(&f) : sense_of(&f);
		if (got != addresses[i].expected)
			fail_msg("%s: %x", addresses[i].name, (unsigned int)got);
	}
	put_command(&f, 0, 5, "12 00 00 00 24");
	request(&f, HEAD, ANSWER + 36, NULL);
	assert_int_equal(*data_of(&f), 0x7f);
	put_command(&f, 0, 5, "03 00 00 00 12");
	request(&f, HEAD, ANSWER + 18, NULL);
	assert_int_equal(data_of(&f)[12], 0x25);
	fix_deinit(&f);
}

/* --- what they say --- */

static const struct said_row {
	const char *name;
	uint8_t target;
	const char *cdb;
	uint32_t room, moved; /* of room */
	const char *begins; /* the data, .. for any byte */
} said[] = {
	{ "inquiry", 0, "12 00 00 00 24", 36, 36,
		"00 00 05 12 1f 00 00 02 52 49 4e 47 53 49 44 45" },
	{ "inquiry, 5 bytes", 0, "12 00 00 00 05", 36, 5, "00 00 05 12 1f" },
	{ "inquiry, none", 0, "12 00 00 00 00", 0, 0, "" },
	{ "inquiry, more", 0, "12 00 00 00 ff", 255, 36, "00 00 05" },
	{ "inquiry, cd", 1, "12 00 00 00 24", 36, 36, "05 80 05 12" },
	{ "pages", 0, "12 01 00 00 ff", 255, 10, "00 00 00 06 00 80 83 b0 b1 b2" },
	{ "pages, cd", 1, "12 01 00 00 ff", 255, 6, "05 00 00 02 00 83" },
	{ "serial", 0, "12 01 80 00 ff", 255, 8, "00 80 00 04 53 4e 34 32" },
	{ "identification", 0, "12 01 83 00 ff", 255, 20,
		"00 83 00 10 02 01 00 0c 52 49 4e 47 53 49 44 45 53 4e 34 32" },
	{ "identification, cd", 1, "12 01 83 00 ff", 255, 22,
		"05 83 00 12 02 01 00 0e 52 49 4e 47 53 49 44 45 30 31 30 30 30 30" },
	{ "limits", 0, "12 01 b0 00 ff", 255, 64,
		"00 b0 00 3c 01 00 .. .. 00 00 00 00 .. .. .. .. 00 00 00 00 00 40 00 00 "
		"00 00 00 20 .. .. .. .. 80 00 00 00 00 00 00 00 00 40 00 00" },
	{ "characteristics", 0, "12 01 b1 00 40", 64, 64, "00 b1 00 3c 00 00" },
	{ "provisioning", 0, "12 01 b2 00 ff", 255, 8, "00 b2 00 04 00 e0 02 00" },
	{ "capacity", 0, "25", 8, 8, "00 00 03 ff 00 00 02 00" },
	{ "capacity, cd", 1, "25", 8, 8, "00 00 00 27 00 00 08 00" },
	{ "capacity 16", 0, "9e 10 00 00 00 00 00 00 00 00 00 00 00 20", 32, 32,
		"00 00 00 00 00 00 03 ff 00 00 02 00 00 .. 80 00 00 00" },
	{ "capacity 16, 8 bytes", 0, "9e 10 00 00 00 00 00 00 00 00 00 00 00 08", 32, 8,
		"00 00 00 00 00 00 03 ff" },
	{ "units", 0, "a0 00 00 00 00 00 00 00 01 00", 256, 16,
		"00 00 00 08 00 00 00 00 00 00 00 00 00 00 00 00" },
	{ "well-known units", 0, "a0 00 01 00 00 00 00 00 00 10", 16, 8,
		"00 00 00 00 00 00 00 00" },
	{ "sense", 0, "03 00 00 00 12", 18, 18, "70 00 00 00 00 00 00 0a 00 00 00 00 00 00" },
	{ "sense, descriptors", 0, "03 01 00 00 12", 18, 8, "72 00 00 00 00 00 00 00" },
	{ "caching", 0, "1a 08 08 00 ff", 255, 24, "17 00 10 00 08 12 04 00" },
	{ "caching, changeable", 0, "1a 08 48 00 ff", 255, 24, "17 00 10 00 08 12 00 00" },
	{ "caching, 10", 0, "5a 08 08 00 00 00 00 00 ff", 255, 28,
		"00 1a 00 10 00 00 00 00 08 12 04 00" },
	{ "caching, with blocks", 0, "1a 00 08 00 ff", 255, 32,
		"1f 00 10 08 00 00 04 00 00 00 02 00 08 12 04" },
	{ "all pages", 0, "1a 08 3f 00 ff", 255, 48, "2f 00 10 00 01 0a" },
	{ "all pages and subpages", 0, "1a 08 3f ff ff", 255, 48, "2f 00 10 00 01 0a" },
	{ "all pages, cd", 1, "5a 00 3f 00 00 00 00 00 ff", 255, 54, "00 34 00 00 00 00 00 00 01" },
	{ "4 bytes of them", 0, "1a 08 3f 00 04", 4, 4, "2f 00 10 00" },
	{ "contents", 1, "43 00 00 00 00 00 00 00 14", 20, 20,
		"00 12 01 01 00 14 01 00 00 00 00 00 00 14 aa 00 00 00 00 28" },
	{ "contents, msf", 1, "43 02 00 00 00 00 00 00 14", 20, 20,
		"00 12 01 01 00 14 01 00 00 00 02 00 00 14 aa 00 00 00 02 28" },
	{ "contents, lead-out", 1, "43 00 00 00 00 00 aa 00 14", 20, 12, "00 0a 01 01 00 14 aa" },
	{ "sessions", 1, "43 00 01 00 00 00 00 00 0c", 12, 12,
		"00 0a 01 01 00 14 01 00 00 00 00 00" },
	{ "configuration", 1, "46 00 00 00 00 00 00 00 28", 40, 40,
		"00 00 00 24 00 00 00 08 00 00 03 08 00 10 00 00 00 08 01 00 00 01 0b 08 "
		"00 00 00 01 01 00 00 00 00 03 0b 04 39" },
	{ "configuration, one", 1, "46 02 00 03 00 00 00 00 28", 40, 16,
		"00 00 00 0c 00 00 00 08 00 03 0b 04 39" },
	{ "configuration, behind", 1, "46 00 00 04 00 00 00 00 28", 40, 8, "00 00 00 04" },
	{ "event status", 1, "4a 01 00 00 10 00 00 00 08", 8, 8, "00 06 04 10 00 02 00 00" },
	{ "event status, others", 1, "4a 01 00 00 40 00 00 00 08", 8, 4, "00 02 80 10" },
	{ "capabilities", 1, "1a 08 2a 00 ff", 255, 26, "19 00 00 00 2a 14 3b 00 00 00 29" },
	{ "prevent removal", 1, "1e 00 00 00 01", 0, 0, "" },
	{ "capabilities, locked", 1, "1a 08 2a 00 ff", 255, 26,
		"19 00 00 00 2a 14 3b 00 00 00 2b" },
	{ "capabilities, changeable", 1, "1a 08 6a 00 ff", 255, 26, "19 00 00 00 2a 14 00 00 00" },
	{ "prevent removal of a disk", 0, "1e 00 00 00 01", 0, 0, "" },
	{ "start", 0, "1b 00 00 00 01", 0, 0, "" },
	{ "flush", 0, "35 00 00 00 00 00 00 00 00", 0, 0, "" },
	{ "flush 16", 0, "91", 0, 0, "" },
	{ "flush a part", 0, "35 00 00 00 03 ff 00 00 01", 0, 0, "" },
	{ "read nothing", 0, "28 00 00 00 04 00 00 00 00", 512, 0, "" },
	{ "read 6", 0, "08 00 00 05 01", 512, 512, "42 43" },
	{ "read 6 of 256", 0, "08 00 00 05 00", 131072, 131072, "42 43" },
	{ "read 10", 0, "28 00 00 00 03 ff 00 00 01", 512, 512, ".. .." },
	{ "read 12", 0, "a8 00 00 00 00 05 00 00 00 02", 1024, 1024, "42 43" },
	{ "read 16", 0, "88 00 00 00 00 00 00 00 00 05 00 00 00 02", 1024, 1024, "42 43" },
	{ "read, more room", 0, "28 00 00 00 00 05 00 00 01", 700, 512, "42 43" },
	{ "read, dpo and fua", 0, "28 18 00 00 00 05 00 00 01", 512, 512, "42 43" },
	{ "read cd", 1, "28 00 00 00 00 01 00 00 01", 2048, 2048, "81 82" },
	{ "read cd, 12", 1, "a8 00 00 00 00 27 00 00 00 01", 2048, 2048, ".. .." },
};

static void check_said(struct fix *f, const struct said_row *row)
{
	const char *text = row->begins;
	const uint8_t *got = data_of(f);
	int sense = command(f, row->target, row->cdb, 0, row->room);
	unsigned int byte, i;

	if (sense)
		fail_msg("%s: %x", row->name, (unsigned int)sense);
	if (residual_of(f) != row->room - row->moved)
		fail_msg("%s: %u left of %u", row->name, residual_of(f), row->room);
	for (i = 0; *text; i++, text += text[2] ? 3 : 2)
		if (sscanf(text, "%2x", &byte) == 1 && got[i] != byte)
			fail_msg("%s: byte %u is %02x", row->name, i, got[i]);
	if (row->moved < row->room && got[row->moved] != UNTOUCHED)
		fail_msg("%s: more was written", row->name);
}

static void test_said(void **state)
{
	struct fix f;
	size_t i;

	(void)state;
	start_host(&f, 2, "");
	settle(&f);
	for (i = 0; i < ARRAY_SIZE(said); i++)
		check_said(&f, &said[i]);
	fix_deinit(&f);
}

/* --- what is refused --- */

static const struct refused_row {
	const char *name;
	uint8_t target;
	const char *cdb;
	uint32_t out, in;
	int expected;
} refused[] = {
	{ "unknown", 0, "ff", 0, 0, BAD_OPCODE },
	{ "a CD's", 0, "43 00 00 00 00 00 00 00 14", 0, 20, BAD_OPCODE },
	{ "write to a CD", 1, "2a 00 00 00 00 00 00 00 01", 2048, 0, BAD_OPCODE },
	{ "unmap a CD", 1, "42 00 00 00 00 00 00 00 18", 24, 0, BAD_OPCODE },
	{ "mode select (4365)", 0, "15 10 00 00 0c", 12, 0, BAD_OPCODE },
	{ "mode select 10 (4365)", 0, "55 10 00 00 00 00 00 00 10", 16, 0, BAD_OPCODE },
	{ "naca", 0, "00 00 00 00 00 04", 0, 0, BAD_FIELD },
	{ "naca, 10", 0, "25 00 00 00 00 00 00 00 00 04", 0, 8, BAD_FIELD },
	{ "page without evpd", 0, "12 00 80 00 ff", 0, 255, BAD_FIELD },
	{ "page that is not there", 0, "12 01 c0 00 ff", 0, 255, BAD_FIELD },
	{ "serial of none", 1, "12 01 80 00 ff", 0, 255, BAD_FIELD },
	{ "limits of a CD", 1, "12 01 b0 00 ff", 0, 255, BAD_FIELD },
	{ "cmddt", 0, "12 02 00 00 ff", 0, 255, BAD_FIELD },
	{ "both ways", 0, "00", 8, 8, 0x1000000 | FAILURE },
	{ "capacity of a place", 0, "25 00 00 00 00 01", 0, 8, BAD_FIELD },
	{ "capacity, no room", 0, "25", 0, 7, 0x1000000 | OVERRUN },
	{ "other service action", 0, "9e 12 00 00 00 00 00 00 00 00 00 00 00 20", 0, 32,
		BAD_FIELD },
	{ "units, short", 0, "a0 00 00 00 00 00 00 00 00 0f", 0, 16, BAD_FIELD },
	{ "units, of what", 0, "a0 00 03 00 00 00 00 00 00 10", 0, 16, BAD_FIELD },
	{ "saved page", 0, "1a 00 c8 00 ff", 0, 255, CANNOT_SAVE },
	{ "subpage", 0, "1a 00 08 01 ff", 0, 255, BAD_FIELD },
	{ "no such page", 0, "1a 00 2a 00 ff", 0, 255, BAD_FIELD },
	{ "eject a disk", 0, "1b 00 00 00 02", 0, 0, BAD_FIELD },
	{ "load a disk", 0, "1b 00 00 00 03", 0, 0, BAD_FIELD },
	{ "power condition", 0, "1b 00 00 00 10", 0, 0, BAD_FIELD },
	{ "contents, form 2", 1, "43 00 02 00 00 00 00 00 14", 0, 20, BAD_FIELD },
	{ "contents, track 2", 1, "43 00 00 00 00 00 02 00 14", 0, 20, BAD_FIELD },
	{ "events later", 1, "4a 00 00 00 10 00 00 00 08", 0, 8, BAD_FIELD },
	{ "read beyond", 0, "28 00 00 00 04 00 00 00 01", 0, 512, BAD_LBA },
	{ "read across", 0, "28 00 00 00 03 ff 00 00 02", 0, 1024, BAD_LBA },
	{ "read 6 beyond", 0, "08 1f ff ff 01", 0, 512, BAD_LBA },
	{ "read 12 beyond", 0, "a8 00 ff ff ff ff ff ff ff ff", 0, 512, BAD_LBA },
	{ "read 16, largest", 0, "88 00 ff ff ff ff ff ff ff ff 00 00 00 01", 0, 512, BAD_LBA },
	{ "read 16, wraps to 0", 0, "88 00 ff ff ff ff ff ff ff ff 00 00 00 02", 0, 1024, BAD_LBA },
	{ "read 16, product wraps", 0, "88 00 00 80 00 00 00 00 00 00 00 00 00 01", 0, 512,
		BAD_LBA },
	{ "read 16, all blocks", 0, "88 00 00 00 00 00 00 00 00 00 ff ff ff ff", 0, 512, BAD_LBA },
	{ "read cd beyond", 1, "28 00 00 00 00 28 00 00 01", 0, 2048, BAD_LBA },
	{ "read, protection", 0, "28 20 00 00 00 00 00 00 01", 0, 512, BAD_FIELD },
	{ "read, short room", 0, "28 00 00 00 00 00 00 00 01", 0, 511, 0x1000000 | OVERRUN },
	{ "read, no room", 0, "28 00 00 00 00 00 00 00 01", 0, 0, 0x1000000 | OVERRUN },
	{ "read, data instead", 0, "28 00 00 00 00 00 00 00 01", 512, 0, 0x1000000 | OVERRUN },
	{ "write beyond", 0, "2a 00 00 00 04 00 00 00 01", 512, 0, BAD_LBA },
	{ "write 16, wraps", 0, "8a 00 ff ff ff ff ff ff ff ff 00 00 00 01", 512, 0, BAD_LBA },
	{ "write, less data", 0, "2a 00 00 00 00 00 00 00 02", 1023, 0, 0x1000000 | OVERRUN },
	{ "write, protection", 0, "2a e0 00 00 00 00 00 00 01", 512, 0, BAD_FIELD },
	{ "flush beyond", 0, "35 00 00 00 04 00 00 00 01", 0, 0, BAD_LBA },
	{ "flush 16 beyond", 0, "91 00 ff ff ff ff ff ff ff ff 00 00 00 01", 0, 0, BAD_LBA },
};

static void test_refused(void **state)
{
	struct fix f;
	size_t i;
	int got;

	(void)state;
	start_host(&f, 2, "");
	settle(&f);
	for (i = 0; i < ARRAY_SIZE(refused); i++) {
		const struct refused_row *row = &refused[i];

		got = command(&f, row->target, row->cdb, row->out, row->in);
		if (got != row->expected)
			fail_msg("%s: %x", row->name, (unsigned int)got);
		if (residual_of(&f) != row->in + row->out)
			fail_msg("%s: %u left", row->name, residual_of(&f));
		/* It goes on. */
		check_read(&f, NULL);
	}
	fix_deinit(&f);
}

/* --- states --- */

static void test_attention_and_stop(void **state)
{
	struct fix f;

	(void)state;
	start_host(&f, 2, "");
	/* It stays for who may not take it, and is told once. */
	assert_int_equal(command(&f, 0, "12 00 00 00 24", 0, 36), 0);
	assert_int_equal(command(&f, 0, "a0 00 00 00 00 00 00 00 00 10", 0, 16), 0);
	assert_int_equal(command(&f, 0, "28 00 00 00 00 00 00 00 01", 0, 512), POWERED_ON);
	assert_int_equal(command(&f, 0, "28 00 00 00 00 00 00 00 01", 0, 512), 0);
	/* REQUEST SENSE tells it as data. */
	assert_int_equal(command(&f, 1, "03 00 00 00 12", 0, 18), 0);
	assert_int_equal(data_of(&f)[2], 6);
	assert_int_equal(data_of(&f)[12], 0x29);
	assert_int_equal(command(&f, 1, "00", 0, 0), 0);
	/* Stopped, it says what it is, and moves nothing. */
	assert_int_equal(command(&f, 0, "1b", 0, 0), 0);
	assert_int_equal(command(&f, 0, "00", 0, 0), STOPPED);
	assert_int_equal(command(&f, 0, "28 00 00 00 00 00 00 00 01", 0, 512), STOPPED);
	assert_int_equal(command(&f, 0, "12 00 00 00 24", 0, 36), 0);
	assert_int_equal(command(&f, 1, "28 00 00 00 00 00 00 00 01", 0, 2048), 0);
	assert_int_equal(command(&f, 0, "1b 00 00 00 01", 0, 0), 0);
	assert_int_equal(command(&f, 0, "00", 0, 0), 0);
	fix_deinit(&f);
}

static void set_size(struct fix *f, size_t at, uint32_t value)
{
	le32 v = le32_make(value);

	assert_true(vdev_set_config(f->dev, at, &v, 4));
}

static uint32_t get_size(struct fix *f, size_t at)
{
	uint8_t config[36];

	vdev_get_config(f->dev, config);
	return le32_read(config + at);
}

/* sense_size at 20, cdb_size at 24: what the driver makes of them moves all that follows. */
static void test_sizes(void **state)
{
	struct fix f;
	uint8_t *p;

	(void)state;
	start_host(&f, 2, "");
	settle(&f);
	set_size(&f, 20, 0);
	set_size(&f, 24, 10);
	put_command(&f, 0, 0, "28 00 00 00 00 05 00 00 01 00");
	assert_int_equal(request(&f, 29, 12 + 512, NULL), 12 + 512);
	p = ram(&f, OUT_AT);
	assert_int_equal(p[12], image_byte(5 * 512, false));
	/* Sense data that does not fit is left out. */
	put_command(&f, 0, 0, "ff");
	assert_int_equal(request(&f, 29, 12, NULL), 12);
	assert_int_equal(p[10], 2);
	assert_int_equal(le32_read(p), 0);
	set_size(&f, 20, 5);
	put_command(&f, 0, 0, "ff");
	assert_int_equal(request(&f, 29, 17, NULL), 17);
	assert_int_equal(le32_read(p), 5);
	assert_int_equal(p[14], 5);
	/* A longer command does not fit its block. */
	put_command(&f, 0, 0, "88");
	request(&f, 29, 17, NULL);
	assert_int_equal(p[14], 5);
	set_size(&f, 24, 0);
	put_command(&f, 0, 0, "");
	assert_int_equal(request(&f, 19, 17, NULL), 17);
	assert_int_equal(p[10], 2);
	/* What is too large is not taken; the largest are. */
	set_size(&f, 20, 1025);
	assert_int_equal(get_size(&f, 20), 5);
	set_size(&f, 24, 256);
	assert_int_equal(get_size(&f, 24), 0);
	set_size(&f, 20, UINT32_MAX);
	set_size(&f, 0, 99);
	assert_int_equal(get_size(&f, 0), 1);
	set_size(&f, 20, 1024);
	set_size(&f, 24, 255);
	put_command(&f, 0, 0, "12 00 00 00 24");
	assert_int_equal(request(&f, 19 + 255, 1036 + 36, NULL), 1036 + 36);
	assert_int_equal(p[1036 + 8], 'R');
	fix_reset(&f);
	assert_int_equal(get_size(&f, 20), 96);
	assert_int_equal(get_size(&f, 24), 32);
	fix_deinit(&f);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_cuts),
		cmocka_unit_test(test_short),
		cmocka_unit_test(test_addresses),
		cmocka_unit_test(test_said),
		cmocka_unit_test(test_refused),
		cmocka_unit_test(test_attention_and_stop),
		cmocka_unit_test(test_sizes),
	};

	log_set_level(LOG_LEVEL_ERROR);
	return cmocka_run_group_tests(tests, scsi_rig_setup, tmpdir_teardown);
}
