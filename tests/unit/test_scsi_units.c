/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Units that come and go: which place each gets, what a driver finds at every address, commands
 * that are out when theirs goes, and the events that tell of it.
 */
#include "scsi_rig.h"

#include <sys/resource.h>

#include "skip.h"

#define HOTPLUG (1ull << 1)

/* Units that a test made, and what became of them. */
static struct made {
	struct fix *f;
	struct scsi_unit *unit;
	bool removed;
	uint16_t used; /* index when it was */
} made[256];

static void on_removed(void *opaque)
{
	struct made *m = opaque;

	m->removed = true;
	m->used = m->f->num ? used_idx(m->f) : 0;
}

static int try_unit(struct fix *f, struct made *m, int64_t target, int64_t lun,
	const char *filename, struct err *err)
{
	char label[32];
	const struct scsi_unit_config config = {
		.kind = SCSI_DISK,
		.target = target,
		.lun = lun,
		.filename = (char *)filename,
		.size_bytes = filename ? 0 : 1 << 20,
		.logical_block_bytes = 512,
		.discard = true,
		.write_cache = true,
		.locking = true,
		.aio = 2,
		.label = label,
		.removed = on_removed,
		.opaque = m,
	};
	int r;

	snprintf(label, sizeof(label), "u%d", (int)(m - made));
	*m = (struct made){ .f = f };
	r = scsi_unit_add(f->dev, &config, &m->unit, err);
	/* The queues hear of it. */
	pump(f);
	return r;
}

static void add_unit(struct fix *f, struct made *m, int64_t target, int64_t lun)
{
	struct err err = { 0 };

	if (try_unit(f, m, target, lun, NULL, &err) < 0)
		fail_msg("%s", err.msg);
}

static void remove_unit(struct made *m)
{
	scsi_unit_remove(m->unit);
	while (!m->removed)
		loop_run_once(&m->f->loop, 50);
}

/* A host without units; queue @queue alone runs. */
static void start_empty(struct fix *f, unsigned int queue, uint64_t features)
{
	fix_class = &virtio_scsi_class;
	fix_options = NULL;
	fix_init(f, 0, 0);
	f->vq = &f->dev->queues[queue];
	fix_start_ring(f, 64, features);
}

static int command_at(
	struct fix *f, uint8_t target, uint16_t lun, const char *cdb, uint32_t out, uint32_t in)
{
	put_command(f, target, lun, cdb);
	request(f, HEAD + out, ANSWER + in, NULL);
	return response_of(f) ? 0x1000000 | response_of(f) : sense_of(f);
}

/* --- places --- */

static void test_places(void **state)
{
	static const struct {
		int64_t target, lun;
		const char *error; /* NULL: it is there */
		uint8_t at_target;
		uint16_t at_lun;
	} rows[] = {
		{ -1, -1, NULL, 0, 0 },
		{ -1, -1, NULL, 1, 0 },
		{ 0, -1, NULL, 0, 1 },
		{ 0, 3, NULL, 0, 3 },
		{ 0, -1, NULL, 0, 2 },
		{ 0, -1, NULL, 0, 4 },
		{ -1, 1, NULL, 1, 1 },
		{ -1, 1, NULL, 2, 1 },
		{ -1, -1, NULL, 2, 0 },
		{ 255, 16383, NULL, 255, 16383 },
		{ 255, 16383, "lun already used by 'u9'", 0, 0 },
		{ 0, 0, "lun already used by 'u0'", 0, 0 },
		{ 256, 0, "bad scsi device id: 256", 0, 0 },
		{ 0, 16384, "bad scsi device lun: 16384", 0, 0 },
		{ INT32_MAX, INT32_MAX, "bad scsi device id", 0, 0 },
	};
	struct fix f;
	size_t i;

	(void)state;
	start_empty(&f, 2, 0);
	for (i = 0; i < ARRAY_SIZE(rows); i++) {
		struct err err = { 0 };
		int r = try_unit(&f, &made[i], rows[i].target, rows[i].lun, NULL, &err);

		if (rows[i].error) {
			assert_true(r < 0);
			if (!strstr(err.msg, rows[i].error))
				fail_msg("row %zu: %s", i, err.msg);
			continue;
		}
		if (r < 0)
			fail_msg("row %zu: %s", i, err.msg);
		assert_int_equal(scsi_unit_target(made[i].unit), rows[i].at_target);
		assert_int_equal(scsi_unit_lun(made[i].unit), rows[i].at_lun);
	}
	/* What is left goes with the device, without a word. */
	fix_deinit(&f);
	for (i = 0; i < ARRAY_SIZE(rows); i++)
		assert_false(made[i].removed);
}

/* As many as there are; one of them goes, and one may come. */
static void test_room(void **state)
{
	struct err err = { 0 };
	struct made more;
	struct fix f;
	unsigned int i;

	(void)state;
	start_empty(&f, 2, 0);
	for (i = 0; i < 256; i++)
		add_unit(&f, &made[i], 3, -1);
	assert_true(try_unit(&f, &more, -1, -1, NULL, &err) < 0);
	assert_non_null(strstr(err.msg, "256 units"));
	put_command(&f, 3, 0, "a0 00 00 00 00 00 00 00 10 00");
	request(&f, HEAD, ANSWER + 4096, NULL);
	assert_int_equal(be32_read(data_of(&f)), 2048);
	for (i = 0; i < 256; i++)
		assert_int_equal(be16_read(data_of(&f) + 8 + i * 8), i);
	remove_unit(&made[77]);
	add_unit(&f, &made[77], 3, 16000);
	assert_int_equal(command_at(&f, 3, 77, "00", 0, 0), NO_LUN);
	assert_int_equal(command_at(&f, 3, 16000, "00", 0, 0), POWERED_ON);
	fix_deinit(&f);
}

/* --- what a driver finds --- */

static const struct found_row {
	const char *name;
	uint8_t target;
	uint16_t lun;
	const char *cdb;
	uint32_t room;
	int expected;
	const char *begins;
} found[] = {
	{ "units", 0, 0, "a0 00 00 00 00 00 00 00 01 00", 256, 0,
		"00 00 00 18 00 00 00 00 00 00 00 00 00 00 00 00 00 03 00 00 00 00 00 00 41 2c" },
	{ "units, by an absent one", 0, 9, "a0 00 00 00 00 00 00 00 01 00", 256, 0, "00 00 00 18" },
	{ "units without 0", 5, 0, "a0 00 00 00 00 00 00 00 01 00", 256, 0,
		"00 00 00 08 00 00 00 00 00 02" },
	{ "absent 0", 5, 0, "12 00 00 00 24", 36, 0, "7f 00 05 12" },
	{ "absent 0 is not ready", 5, 0, "00", 0, NO_LUN, "" },
	{ "2 is there", 5, 2, "12 00 00 00 24", 36, 0, "00 00 05 12" },
	{ "300 is there", 0, 300, "12 00 00 00 24", 36, 0, "00 00 05 12" },
	{ "44 is not", 0, 44, "12 00 00 00 24", 36, 0, "7f" },
	{ "no target between", 4, 0, "12 00 00 00 24", 36, 0x1000000 | BAD_TARGET, "" },
	{ "no target behind", 8, 0, "12 00 00 00 24", 36, 0x1000000 | BAD_TARGET, "" },
	{ "identification", 0, 300, "12 01 83 00 ff", 255, 0,
		"00 83 00 12 02 01 00 0e 52 49 4e 47 53 49 44 45 30 30 30 31 32 63" },
	{ "the image", 7, 0, "28 00 00 00 00 05 00 00 01", 512, 0, "42 43" },
	{ "nothing", 0, 3, "28 00 00 00 00 05 00 00 01", 512, 0, "00 00" },
};

static void check_found(struct fix *f, const struct found_row *row)
{
	int got = command_at(f, row->target, row->lun, row->cdb, 0, row->room);
	const char *text = row->begins;
	unsigned int byte, i;

	if (got != row->expected)
		fail_msg("%s: %x", row->name, (unsigned int)got);
	for (i = 0; *text; i++, text += text[2] ? 3 : 2)
		if (sscanf(text, "%2x", &byte) == 1 && data_of(f)[i] != byte)
			fail_msg("%s: byte %u is %02x", row->name, i, data_of(f)[i]);
}

static void test_addresses(void **state)
{
	static const int places[][2] = { { 5, 2 }, { 0, 300 }, { 0, 0 }, { 0, 3 } };
	struct err err = { 0 };
	struct fix f;
	size_t i;

	(void)state;
	start_empty(&f, 2, 0);
	for (i = 0; i < ARRAY_SIZE(places); i++) {
		add_unit(&f, &made[i], places[i][0], places[i][1]);
		assert_int_equal(
			command_at(&f, (uint8_t)places[i][0], (uint16_t)places[i][1], "00", 0, 0),
			POWERED_ON);
	}
	if (try_unit(&f, &made[i], 7, 0, tmpdir_file("disk"), &err) < 0)
		fail_msg("%s", err.msg);
	assert_int_equal(command_at(&f, 7, 0, "00", 0, 0), POWERED_ON);
	for (i = 0; i < 3; i++)
		command_at(&f, (uint8_t)places[i][0], (uint16_t)places[i][1], "00", 0, 0);
	for (i = 0; i < ARRAY_SIZE(found); i++)
		check_found(&f, &found[i]);
	fix_deinit(&f);
}

/* Neighbours say once that there is something new, unless REPORT LUNS told it. */
static void test_attention(void **state)
{
	enum { CHANGED = 0x63f0e };
	struct fix f;
	unsigned int i;

	(void)state;
	start_empty(&f, 2, 0);
	for (i = 0; i < 3; i++)
		add_unit(&f, &made[i], 0, i);
	add_unit(&f, &made[3], 1, 0);
	/* What they have to say of themselves comes first, and is not lost. */
	for (i = 0; i < 3; i++)
		assert_int_equal(command_at(&f, 0, (uint16_t)i, "00", 0, 0), POWERED_ON);
	assert_int_equal(command_at(&f, 1, 0, "00", 0, 0), POWERED_ON);
	remove_unit(&made[1]);
	assert_int_equal(command_at(&f, 0, 1, "00", 0, 0), NO_LUN);
	assert_int_equal(command_at(&f, 0, 0, "00", 0, 0), CHANGED);
	assert_int_equal(command_at(&f, 0, 0, "00", 0, 0), 0);
	assert_int_equal(command_at(&f, 0, 2, "a0 00 00 00 00 00 00 00 00 10", 0, 16), 0);
	assert_int_equal(command_at(&f, 0, 2, "00", 0, 0), 0);
	assert_int_equal(command_at(&f, 1, 0, "00", 0, 0), 0);
	add_unit(&f, &made[1], 0, 1);
	assert_int_equal(command_at(&f, 0, 1, "00", 0, 0), POWERED_ON);
	assert_int_equal(command_at(&f, 0, 0, "28 00 00 00 00 00 00 00 01", 0, 512), CHANGED);
	assert_int_equal(command_at(&f, 0, 0, "28 00 00 00 00 00 00 00 01", 0, 512), 0);
	remove_unit(&made[3]);
	assert_int_equal(command_at(&f, 1, 0, "00", 0, 0), 0x1000000 | BAD_TARGET);
	fix_deinit(&f);
}

/* The host has no descriptor left for a queue's way to the disk: the unit says so, and can go. */
static void test_unreachable(void **state)
{
	const struct scsi_unit_config config = { .kind = SCSI_DISK,
		.filename = (char *)tmpdir_file("disk"),
		.logical_block_bytes = 512,
		.write_cache = true,
		.aio = 1,
		.label = "u",
		.removed = on_removed,
		.opaque = &made[0] };
	struct rlimit limit, none;
	struct err err = { 0 };
	struct fix f;
	int fd;

	(void)state;
	start_empty(&f, 2, 0);
	made[0] = (struct made){ .f = &f };
	if (scsi_unit_add(f.dev, &config, &made[0].unit, &err) < 0) {
		fix_deinit(&f);
		skip_because("%s", err.msg);
	}
	fd = dup(0);
	close(fd);
	assert_int_equal(getrlimit(RLIMIT_NOFILE, &limit), 0);
	none = (struct rlimit){ (rlim_t)fd, limit.rlim_max };
	assert_int_equal(setrlimit(RLIMIT_NOFILE, &none), 0);
	log_set_level((enum log_level) - 1);
	pump(&f);
	log_set_level(LOG_LEVEL_ERROR);
	assert_int_equal(setrlimit(RLIMIT_NOFILE, &limit), 0);
	assert_int_equal(command_at(&f, 0, 0, "12 00 00 00 24", 0, 36), 0);
	assert_int_equal(command_at(&f, 0, 0, "00", 0, 0), POWERED_ON);
	assert_int_equal(command_at(&f, 0, 0, "00", 0, 0), 0x40800);
	assert_int_equal(command_at(&f, 0, 0, "35", 0, 0), 0x40800);
	remove_unit(&made[0]);
	assert_int_equal(command_at(&f, 0, 0, "00", 0, 0), 0x1000000 | BAD_TARGET);
	fix_deinit(&f);
}

/* --- going while there is work --- */

static void offer_batch(struct fix *f, uint8_t target)
{
	for (uint16_t n = 0; n < 16; n++) {
		uint64_t from = IN_AT + n * 1024u, to = OUT_AT + n * 1024u;

		put_command(f, target, 0,
			n % 2 ? "41 00 00 00 00 00 00 01 90" : "28 00 00 00 00 01 00 00 01");
		memcpy(ram(f, from), ram(f, IN_AT), HEAD);
		memset(ram(f, from + HEAD), n, 512);
		set_desc(f, DESC_AT, n * 2u, from, HEAD + (n % 2 ? 512 : 0), NEXT, n * 2u + 1);
		set_desc(f, DESC_AT, n * 2u + 1, to, ANSWER + (n % 2 ? 0 : 512), WRITE, 0);
	}
	/* The first one's place was everybody's. */
	put_command(f, target, 0, "28 00 00 00 00 01 00 00 01");
	for (uint16_t n = 0; n < 16; n++)
		offer(f, n * 2u);
	kick_only(f);
}

/* Whatever the queue does just then, answers lie in the ring before the unit is gone. */
static void test_remove_in_flight(void **state)
{
	struct err err = { 0 };
	struct fix f;
	unsigned int round;

	(void)state;
	make_images();
	start_empty(&f, 2, 0);
	for (round = 0; round < 60; round++) {
		uint16_t before = used_idx(&f), taken;

		if (try_unit(&f, &made[0], round % 7, 0, tmpdir_file("disk"), &err) < 0)
			fail_msg("%s", err.msg);
		assert_int_equal(command_at(&f, round % 7, 0, "00", 0, 0), POWERED_ON);
		before++;
		offer_batch(&f, round % 7);
		if (round % 3)
			loop_run_once(&f.loop, 0);
		if (round % 4 == 3)
			vdev_hold(f.dev);
		taken = (uint16_t)(view(&f).counters.popped);
		scsi_unit_remove(made[0].unit);
		while (!made[0].removed)
			loop_run_once(&f.loop, 50);
		/* Those that it had. */
		assert_true((uint16_t)(made[0].used - before) <= 16);
		if (taken == (uint16_t)(before + 16))
			assert_int_equal((uint16_t)(made[0].used - before), 16);
		if (round % 4 == 3)
			vdev_release(f.dev);
		wait_used(&f, f.avail_idx);
		assert_int_equal(command_at(&f, round % 7, 0, "00", 0, 0), 0x1000000 | BAD_TARGET);
	}
	fix_deinit(&f);
}

/*
 * Answers in order: those of a unit without storage are ready before those of its slower
 * neighbour, and wait for them; and so does its end.
 */
static void test_remove_in_order(void **state)
{
	const uint64_t in_order = 1ull << VIRTIO_F_IN_ORDER;
	struct err err = { 0 };
	struct fix f;
	unsigned int round;

	(void)state;
	fix_class = &virtio_scsi_class;
	fix_options = NULL;
	fix_init(&f, 0, in_order);
	f.vq = &f.dev->queues[2];
	fix_start_ring(&f, 64, in_order);
	if (try_unit(&f, &made[1], 1, 0, tmpdir_file("disk"), &err) < 0)
		fail_msg("%s", err.msg);
	assert_int_equal(command_at(&f, 1, 0, "00", 0, 0), POWERED_ON);
	for (round = 0; round < 40; round++) {
		add_unit(&f, &made[0], 0, 0);
		assert_int_equal(command_at(&f, 0, 0, "00", 0, 0), POWERED_ON);
		for (uint16_t n = 0; n < 8; n++) {
			uint64_t from = IN_AT + 1024u + n * 64u;

			put_command(&f, n != 7, 0, n == 7 ? "35" : "28 00 00 00 00 01 00 00 01");
			memcpy(ram(&f, from), ram(&f, IN_AT), HEAD);
			set_desc(&f, DESC_AT, n * 2u, from, HEAD, NEXT, n * 2u + 1);
			set_desc(&f, DESC_AT, n * 2u + 1, OUT_AT + n * 1024u,
				ANSWER + (n == 7 ? 0 : 512), WRITE, 0);
			offer(&f, n * 2u);
		}
		kick_only(&f);
		loop_run_once(&f.loop, 0);
		remove_unit(&made[0]);
		if (view(&f).counters.popped == (uint64_t)(round + 1) * 9 + 1)
			assert_int_equal(made[0].used, f.avail_idx);
		wait_used(&f, f.avail_idx);
	}
	fix_deinit(&f);
}

/* The device goes while a unit of it does, or right behind. */
static void test_both_go(void **state)
{
	struct err err = { 0 };
	struct fix f;
	unsigned int round;

	(void)state;
	make_images();
	for (round = 0; round < 12; round++) {
		start_empty(&f, 2, 0);
		if (round % 3 == 2)
			vdev_hold(f.dev);
		if (try_unit(&f, &made[0], 0, 0, tmpdir_file("disk"), &err) < 0)
			fail_msg("%s", err.msg);
		if (round % 3 != 2) {
			assert_int_equal(command_at(&f, 0, 0, "00", 0, 0), POWERED_ON);
			offer_batch(&f, 0);
			loop_run_once(&f.loop, 0);
		}
		if (round % 2)
			scsi_unit_remove(made[0].unit);
		fix_deinit(&f);
		assert_true(made[0].removed == round % 2);
	}
}

/* While nothing runs, all of it is done at once, and is so for the driver that comes. */
static void test_idle(void **state)
{
	struct fix f;

	(void)state;
	start_empty(&f, 2, 0);
	vdev_hold(f.dev);
	while (!vdev_is_idle(f.dev))
		loop_run_once(&f.loop, 50);
	add_unit(&f, &made[0], 0, 0);
	add_unit(&f, &made[1], 1, 0);
	scsi_unit_remove(made[0].unit);
	assert_true(made[0].removed);
	vdev_release(f.dev);
	assert_int_equal(command_at(&f, 0, 0, "00", 0, 0), 0x1000000 | BAD_TARGET);
	assert_int_equal(command_at(&f, 1, 0, "00", 0, 0), POWERED_ON);
	fix_deinit(&f);
}

/* --- events --- */

static void give_buffer(struct fix *f, uint16_t head, uint32_t len)
{
	memset(ram(f, OUT_AT + head * 32u), UNTOUCHED, 32);
	push_one(f, head, OUT_AT + head * 32u, len, WRITE);
}

static void check_event(
	struct fix *f, uint16_t head, uint32_t event, uint16_t place, uint16_t lun, uint32_t reason)
{
	const uint8_t *p = ram(f, OUT_AT + head * 32u);

	assert_int_equal(le32_read(p), event);
	assert_int_equal(be16_read(p + 4), place);
	assert_int_equal(be16_read(p + 6), lun);
	assert_int_equal(be32_read(p + 8), 0);
	assert_int_equal(le32_read(p + 12), reason);
	assert_int_equal(p[16], UNTOUCHED);
}

static void test_events(void **state)
{
	struct fix f;

	(void)state;
	start_empty(&f, 1, HOTPLUG);
	give_buffer(&f, 0, 16);
	give_buffer(&f, 1, 32);
	assert_int_equal(used_idx(&f), 0);
	add_unit(&f, &made[0], 9, 2);
	pump(&f);
	assert_int_equal(used_idx(&f), 1);
	check_event(&f, 0, 1, 0x109, 2, 1);
	add_unit(&f, &made[1], 255, 300);
	pump(&f);
	assert_int_equal(used_idx(&f), 2);
	check_event(&f, 1, 1, 0x1ff, 0x412c, 1);
	/* None is there: they wait, in order. A buffer that is too short gets nothing. */
	remove_unit(&made[0]);
	remove_unit(&made[1]);
	pump(&f);
	assert_int_equal(used_idx(&f), 2);
	give_buffer(&f, 2, 15);
	assert_int_equal(used_idx(&f), 3);
	assert_int_equal(le32_get(used(&f)->ring[2].len), 0);
	assert_int_equal(*(uint8_t *)ram(&f, OUT_AT + 64), UNTOUCHED);
	give_buffer(&f, 3, 16);
	give_buffer(&f, 4, 16);
	give_buffer(&f, 5, 16);
	assert_int_equal(used_idx(&f), 5);
	check_event(&f, 3, 1, 0x109, 2, 2);
	check_event(&f, 4, 1, 0x1ff, 0x412c, 2);
	fix_deinit(&f);
}

/* More than may wait: the rest is lost, and that is said. */
static void test_missed(void **state)
{
	struct fix f;
	uint16_t i;

	(void)state;
	start_empty(&f, 1, HOTPLUG);
	for (i = 0; i < 40; i++) {
		add_unit(&f, &made[0], 0, 0);
		remove_unit(&made[0]);
	}
	for (i = 0; i < 63; i++)
		give_buffer(&f, i, 16);
	assert_int_equal(used_idx(&f), 63);
	check_event(&f, 0, 0x80000001, 0x100, 0, 1);
	check_event(&f, 1, 1, 0x100, 0, 2);
	check_event(&f, 62, 1, 0x100, 0, 1);
	/* What comes now finds room again. */
	add_unit(&f, &made[0], 1, 0);
	give_buffer(&f, 0, 16);
	give_buffer(&f, 1, 16);
	give_buffer(&f, 2, 16);
	assert_int_equal(used_idx(&f), 65);
	check_event(&f, 1, 1, 0x101, 0, 1);
	fix_deinit(&f);
}

/* A driver that did not ask for them has none, and neither has the one after a reset. */
static void test_unasked(void **state)
{
	struct fix f;

	(void)state;
	start_empty(&f, 1, 0);
	add_unit(&f, &made[0], 0, 0);
	give_buffer(&f, 0, 16);
	assert_int_equal(used_idx(&f), 0);
	fix_deinit(&f);
	start_empty(&f, 1, HOTPLUG);
	add_unit(&f, &made[0], 0, 0);
	fix_reset(&f);
	fix_start_ring(&f, 64, HOTPLUG);
	give_buffer(&f, 0, 16);
	assert_int_equal(used_idx(&f), 0);
	fix_deinit(&f);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_places),
		cmocka_unit_test(test_room),
		cmocka_unit_test(test_addresses),
		cmocka_unit_test(test_attention),
		cmocka_unit_test(test_unreachable),
		cmocka_unit_test(test_remove_in_flight),
		cmocka_unit_test(test_remove_in_order),
		cmocka_unit_test(test_both_go),
		cmocka_unit_test(test_idle),
		cmocka_unit_test(test_events),
		cmocka_unit_test(test_missed),
		cmocka_unit_test(test_unasked),
	};

	log_set_level(LOG_LEVEL_ERROR);
	return cmocka_run_group_tests(tests, scsi_rig_setup, tmpdir_teardown);
}
