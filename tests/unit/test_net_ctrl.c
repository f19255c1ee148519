/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * virtio-net, its control queue: each command with data of every length, what is refused and
 * changes nothing, what packets then pass; pairs of queues on one loop and on several.
 */
#include "net_rig.h"

/* The lengths of data that a command takes; all others are refused. */
static const struct {
	uint8_t class, command;
	uint32_t good;
	uint32_t room; /* writable bytes besides the answer's */
} lengths[] = {
	{ RX, 0, 1, 0 },
	{ RX, 1, 1, 0 },
	{ RX, 2, 1, 0 },
	{ RX, 3, 1, 0 },
	{ RX, 4, 1, 0 },
	{ RX, 5, 1, 0 },
	{ MAC, 0, 8, 0 },
	{ MAC, 1, 6, 0 },
	{ VLAN, 0, 2, 0 },
	{ VLAN, 1, 2, 0 },
	{ STATS, 0, 0, 8 },
};

static void test_lengths(void **state)
{
	uint8_t bytes[40] = { 0 };
	struct rig r;
	uint32_t len;
	size_t i;

	(void)state;
	rig_start(&r, "stream", CARD, RIG_FEATURES);
	for (i = 0; i < ARRAY_SIZE(lengths); i++) {
		bytes[0] = lengths[i].class;
		bytes[1] = lengths[i].command;
		for (len = 0; len + 2 <= sizeof(bytes); len++)
			if (rig_command(&r, bytes, 2 + len, lengths[i].room) !=
				(len == lengths[i].good ? RIG_OK : RIG_ERR))
				fail_msg("row %zu, %u bytes", i, len);
	}
	assert_int_equal(rig_command(&r, bytes, 0, 0), RIG_ERR);
	assert_int_equal(rig_command(&r, bytes, 1, 0), RIG_ERR);
	assert_false(r.f.dev->broken);
	rig_stop(&r);
}

/* Every class and command: those that are not there, or not negotiated, are refused. */
static void test_unknown(void **state)
{
	unsigned int class, command, known = 0;
	struct rig r;

	(void)state;
	rig_start(&r, "stream", CARD, RIG_FEATURES);
	for (class = 0; class < 256; class ++)
		for (command = 0; command < 16; command++) {
			const uint8_t bytes[3] = { (uint8_t) class, (uint8_t)command, 0 };

			known += rig_command(&r, bytes, sizeof(bytes), 0) == RIG_OK;
		}
	/* Those of one byte of data. */
	assert_int_equal(known, 6);
	rig_stop(&r);
	rig_start(&r, "stream", CARD, F(CTRL_VQ));
	for (class = 0; class < 10; class ++)
		for (command = 0; command < 8; command++) {
			uint8_t bytes[20] = { (uint8_t) class, (uint8_t)command };
			uint32_t len;

			for (len = 0; len <= 18; len++)
				assert_int_equal(rig_command(&r, bytes, 2 + len, 64), RIG_ERR);
		}
	assert_int_equal(net_get(&r.net->ctrl.ok), 0);
	rig_stop(&r);
}

/* Without a byte to answer to, a command is not carried out. */
static void test_no_room(void **state)
{
	const uint8_t promisc_off[3] = { RX, 0, 0 };
	struct rig r;
	unsigned int q;

	(void)state;
	rig_start(&r, "stream", CARD, RIG_FEATURES);
	q = rig_ctrl(&r);
	memcpy(ram(&r.f, CTRL_AT), promisc_off, 3);
	set_desc(&r.f, QUEUE_AT(q), 0, CTRL_AT, 3, 0, 0);
	rig_offer(&r, q, 0);
	rig_kick(&r, q);
	assert_int_equal(rig_used_idx(&r, q), 1);
	assert_int_equal(rig_used_len(&r, q, 0), 0);
	assert_int_equal(atomic_load(&r.net->rx_mode), 1u << RX_PROMISC);
	rig_stop(&r);
}

/* --- the filter --- */

static void set_mode(struct rig *r, unsigned int mode, bool on)
{
	uint8_t value = on ? 0x80 : 0;

	rig_must(r, RX, (uint8_t)mode, &value, 1);
}

static const uint8_t other[6] = { 0x52, 0x54, 0, 9, 9, 9 },
		     all[6] = { 255, 255, 255, 255, 255, 255 }, group[6] = { 1, 0, 0x5e, 0, 0, 1 };

static void test_modes(void **state)
{
	static const struct {
		unsigned int mode; /* switched on */
		bool to_card, to_other, to_all, to_group;
	} rows[] = {
		{ RX_PROMISC, true, true, true, true },
		{ RX_ALLMULTI, true, false, true, true },
		{ RX_ALLUNI, true, true, true, false },
		{ RX_NOMULTI, true, false, true, false },
		{ RX_NOUNI, false, false, true, false },
		{ RX_NOBCAST, true, false, false, false },
	};
	struct rig r;
	size_t i;

	(void)state;
	rig_start(&r, "stream", CARD, RIG_FEATURES);
	assert_true(rig_passes(&r, other, -1));
	set_mode(&r, RX_PROMISC, false);
	for (i = 0; i < ARRAY_SIZE(rows); i++) {
		set_mode(&r, rows[i].mode, true);
		assert_int_equal(rig_passes(&r, card, -1), rows[i].to_card);
		assert_int_equal(rig_passes(&r, other, -1), rows[i].to_other);
		assert_int_equal(rig_passes(&r, all, -1), rows[i].to_all);
		assert_int_equal(rig_passes(&r, group, -1), rows[i].to_group);
		set_mode(&r, rows[i].mode, false);
	}
	rig_stop(&r);
}

/* A table's bytes: counts as said, and so many addresses behind each. */
static uint32_t table(
	uint8_t *ret, uint32_t uni, uint32_t uni_there, uint32_t multi, uint32_t multi_there)
{
	const le32 counts[2] = { le32_make(uni), le32_make(multi) };
	uint8_t *at = ret;
	uint32_t i;

	memcpy(at, &counts[0], 4);
	at += 4;
	for (i = 0; i < uni_there; i++, at += 6)
		memcpy(at, (const uint8_t[]){ 0x52, 0x54, 0, 9, 9, (uint8_t)(9 + i) }, 6);
	memcpy(at, &counts[1], 4);
	at += 4;
	for (i = 0; i < multi_there; i++, at += 6)
		memcpy(at, (const uint8_t[]){ 1, 0, 0x5e, 0, 0, (uint8_t)(1 + i) }, 6);
	return (uint32_t)(at - ret);
}

static void test_mac_table(void **state)
{
	static const struct {
		uint32_t uni, uni_there, multi, multi_there;
		int answer;
		bool to_other, to_group;
	} rows[] = {
		{ 1, 1, 1, 1, RIG_OK, true, true },
		{ 0, 0, 0, 0, RIG_OK, false, false },
		{ 1, 1, 0, 0, RIG_OK, true, false },
		{ 0, 0, 1, 1, RIG_OK, false, true },
		/* What is refused leaves the table as the row before made it. */
		{ 2, 1, 0, 0, RIG_ERR, false, true },
		{ 0, 1, 0, 0, RIG_ERR, false, true },
		{ 0, 0, 2, 1, RIG_ERR, false, true },
		{ 1, 1, 0, 1, RIG_ERR, false, true },
		{ UINT32_MAX, 0, 0, 0, RIG_ERR, false, true },
		{ 0, 0, UINT32_MAX, 3, RIG_ERR, false, true },
		{ 0x2aaaaaab, 1, 0, 0, RIG_ERR, false, true }, /* times 6 is 2 */
		{ NET_MACS_MAX, NET_MACS_MAX, 0, 0, RIG_OK, true, false },
		{ 1, 1, NET_MACS_MAX - 1, NET_MACS_MAX - 1, RIG_OK, true, true },
		/* Longer ones stand for all. */
		{ NET_MACS_MAX + 1, NET_MACS_MAX + 1, 0, 0, RIG_OK, true, false },
		{ 0, 0, 0, 0, RIG_OK, false, false },
		{ 0, 0, 100, 100, RIG_OK, false, true },
		{ 0, 0, 0, 0, RIG_OK, false, false },
	};
	uint8_t bytes[2048] = { MAC, 0 };
	struct rig r;
	size_t i;

	(void)state;
	rig_start(&r, "stream", CARD, RIG_FEATURES);
	set_mode(&r, RX_PROMISC, false);
	for (i = 0; i < ARRAY_SIZE(rows); i++) {
		uint32_t len = table(bytes + 2, rows[i].uni, rows[i].uni_there, rows[i].multi,
			rows[i].multi_there);

		if (rig_command(&r, bytes, len + 2, 0) != rows[i].answer ||
			rig_passes(&r, other, -1) != rows[i].to_other ||
			rig_passes(&r, group, -1) != rows[i].to_group)
			fail_msg("row %zu", i);
		assert_true(rig_passes(&r, card, -1));
	}
	rig_stop(&r);
}

static void test_mac_addr(void **state)
{
	uint8_t config[24];
	struct rig r;

	(void)state;
	rig_start(&r, "stream", CARD, RIG_FEATURES);
	vdev_get_config(r.f.dev, config);
	assert_memory_equal(config, card, 6);
	set_mode(&r, RX_PROMISC, false);
	assert_false(rig_passes(&r, other, -1));
	rig_must(&r, MAC, 1, other, 6);
	assert_true(rig_passes(&r, other, -1));
	assert_false(rig_passes(&r, card, -1));
	vdev_get_config(r.f.dev, config);
	assert_memory_equal(config, other, 6);
	/* By the configuration space only an old driver does. */
	vdev_set_config(r.f.dev, 0, card, 6);
	assert_false(rig_passes(&r, card, -1));
	vdev_hold(r.f.dev);
	pump(&r.f);
	vdev_reset(r.f.dev);
	vdev_release(r.f.dev);
	rig_run(&r, LEGACY | F(CTRL_VQ) | F(CTRL_RX));
	vdev_get_config(r.f.dev, config);
	assert_memory_equal(config, card, 6);
	vdev_set_config(r.f.dev, 5, "\x77", 1);
	vdev_get_config(r.f.dev, config);
	assert_int_equal(config[5], 0x77);
	rig_stop(&r);
}

static void test_vlan(void **state)
{
	static const uint16_t ids[] = { 0, 1, 63, 64, 100, 2048, 4094, 4095 };
	static const uint16_t bad[] = { 4096, 4097, 8192, 0x7fff, 0x8000, 0xffff };
	uint64_t vlans[NET_VLANS / 64];
	struct rig r;
	size_t i, k;

	(void)state;
	rig_start(&r, "stream", CARD, RIG_FEATURES);
	assert_true(rig_passes(&r, card, 5));
	set_mode(&r, RX_PROMISC, false);
	for (i = 0; i < ARRAY_SIZE(ids); i++) {
		le16 id = le16_make(ids[i]);

		assert_false(rig_passes(&r, card, ids[i]));
		rig_must(&r, VLAN, 0, &id, 2);
		for (k = 0; k < ARRAY_SIZE(ids); k++)
			assert_int_equal(rig_passes(&r, card, ids[k]), k <= i);
	}
	assert_true(rig_passes(&r, card, -1));
	assert_false(rig_passes(&r, other, 1));
	for (i = 0; i < ARRAY_SIZE(vlans); i++)
		vlans[i] = atomic_load(&r.net->vlans[i]);
	for (i = 0; i < 2 * ARRAY_SIZE(bad); i++) {
		uint8_t bytes[4] = { VLAN, i % 2, (uint8_t)bad[i / 2], (uint8_t)(bad[i / 2] >> 8) };

		assert_int_equal(rig_command(&r, bytes, 4, 0), RIG_ERR);
	}
	for (i = 0; i < ARRAY_SIZE(vlans); i++)
		assert_int_equal(vlans[i], atomic_load(&r.net->vlans[i]));
	for (i = 0; i < ARRAY_SIZE(ids); i++) {
		le16 id = le16_make(ids[i]);

		rig_must(&r, VLAN, 1, &id, 2);
		assert_false(rig_passes(&r, card, ids[i]));
	}
	rig_stop(&r);
}

/* A frame that ends within its tag is none that a filter lets pass. */
static void test_short_tag(void **state)
{
	uint8_t frame[18] = { 0x52, 0x54, 0, 1, 2, 3, 0, 0, 0, 0, 0, 0, 0x81, 0 };
	struct rig r;
	uint32_t len;

	(void)state;
	rig_start(&r, "stream", CARD, RIG_FEATURES);
	set_mode(&r, RX_PROMISC, false);
	rig_must(&r, VLAN, 0, "\0", 2);
	rig_buffer(&r, 0, 100);
	rig_kick(&r, 0);
	for (len = 14; len < 18; len++)
		rig_peer_sends(&r, frame, len);
	assert_int_equal(rig_used_idx(&r, 0), 0);
	rig_peer_sends(&r, frame, 18);
	assert_int_equal(rig_used_idx(&r, 0), 1);
	rig_stop(&r);
}

/* --- pairs of queues --- */

#define PAIRS	    4u
#define MQ_FEATURES (RIG_FEATURES | F(MQ))

static int set_pairs(struct rig *r, uint16_t n)
{
	const uint8_t bytes[4] = { MQ, 0, (uint8_t)n, (uint8_t)(n >> 8) };

	return rig_command(r, bytes, 4, 0);
}

/* Which receive queues get packets, a bit each. */
static unsigned int who_receives(struct rig *r)
{
	unsigned int i, ret = 0;

	for (i = 0; i < PAIRS; i++) {
		uint16_t before = rig_used_idx(r, 2 * i);

		set_desc(&r->f, QUEUE_AT(2 * i), 0, RX_AT, 200, WRITE, 0);
		if (r->avail[2 * i] == before)
			rig_offer(r, 2 * i, 0);
		rig_kick(r, 2 * i);
		ret |= (unsigned int)(rig_used_idx(r, 2 * i) != before) << i;
	}
	return ret;
}

static void test_pairs(void **state)
{
	static const uint16_t bad[] = { 0, PAIRS + 1, 255, 256, 0x7fff, 0x8000, 0xffff };
	struct rig r;
	size_t i;

	(void)state;
	rig_start(&r, "null", ",\"source\":60,\"queues\":4", MQ_FEATURES);
	assert_int_equal(r.f.dev->num_queues, 2 * PAIRS + 1);
	assert_int_equal(who_receives(&r), 1);
	assert_int_equal(set_pairs(&r, 3), RIG_OK);
	/* The buffers that waited are filled at once. */
	assert_int_equal(rig_used_idx(&r, 2), 1);
	assert_int_equal(rig_used_idx(&r, 4), 1);
	assert_int_equal(rig_used_idx(&r, 6), 0);
	assert_int_equal(who_receives(&r), 7);
	for (i = 0; i < ARRAY_SIZE(bad); i++)
		assert_int_equal(set_pairs(&r, bad[i]), RIG_ERR);
	assert_int_equal(who_receives(&r), 7);
	assert_int_equal(set_pairs(&r, 1), RIG_OK);
	assert_int_equal(who_receives(&r), 1);
	assert_int_equal(set_pairs(&r, PAIRS), RIG_OK);
	assert_int_equal(who_receives(&r), 15);
	rig_stop(&r);
}

/* The last of the most that there can be, and the control queue behind it. */
static void test_most_pairs(void **state)
{
	const unsigned int last = 2 * (NET_PAIRS_MAX - 1);
	struct rig r;

	(void)state;
	rig_open(&r, "null", ",\"source\":60,\"queues\":256");
	assert_int_equal(r.f.dev->num_queues, 2 * NET_PAIRS_MAX + 1);
	rig_run_some(&r, MQ_FEATURES, last, last + 3);
	set_desc(&r.f, QUEUE_AT(last), 0, RX_AT, 200, WRITE, 0);
	rig_offer(&r, last, 0);
	rig_kick(&r, last);
	assert_int_equal(rig_used_idx(&r, last), 0);
	assert_int_equal(set_pairs(&r, NET_PAIRS_MAX + 1), RIG_ERR);
	assert_int_equal(set_pairs(&r, NET_PAIRS_MAX), RIG_OK);
	assert_int_equal(rig_used_idx(&r, last), 1);
	assert_int_equal(set_pairs(&r, NET_PAIRS_MAX - 1), RIG_OK);
	rig_offer(&r, last, 0);
	rig_kick(&r, last);
	assert_int_equal(rig_used_idx(&r, last), 1);
	rig_stop(&r);
}

/* A driver without MQ has its control queue behind the first pair; one without a control queue
 * uses what it starts. */
static void test_who_is_who(void **state)
{
	const uint8_t promisc[3] = { RX, 0, 1 };
	struct rig r;
	unsigned int q = 2;

	(void)state;
	rig_start(&r, "null", ",\"source\":60,\"queues\":4", RIG_FEATURES);
	memcpy(ram(&r.f, CTRL_AT), promisc, 3);
	set_desc(&r.f, QUEUE_AT(q), 0, CTRL_AT, 3, NEXT, 1);
	set_desc(&r.f, QUEUE_AT(q), 1, REPLY_AT, 1, WRITE, 0);
	rig_offer(&r, q, 0);
	rig_kick(&r, q);
	assert_int_equal(rig_used_idx(&r, q), 1);
	assert_int_equal(*(uint8_t *)ram(&r.f, REPLY_AT), 0);
	rig_stop(&r);
	rig_start(&r, "null", ",\"source\":60,\"queues\":4", F(MQ) | F(MRG_RXBUF));
	assert_int_equal(who_receives(&r), 15);
	/* And the one behind the last pair is nobody's. */
	set_desc(&r.f, QUEUE_AT(8), 0, CTRL_AT, 3, NEXT, 1);
	set_desc(&r.f, QUEUE_AT(8), 1, REPLY_AT, 1, WRITE, 0);
	rig_offer(&r, 8, 0);
	rig_kick(&r, 8);
	assert_int_equal(rig_used_idx(&r, 8), 0);
	rig_stop(&r);
}

static void wait_idle(struct rig *r)
{
	vdev_hold(r->f.dev);
	while (!vdev_is_idle(r->f.dev))
		loop_run_once(&r->f.loop, 10);
}

/* Receive queues on loops of other threads: the answer comes when they know. */
static void test_pairs_on_loops(void **state)
{
	struct loop loops[PAIRS];
	struct err err = { 0 };
	unsigned int i, round;
	uint16_t before;
	struct rig r;

	(void)state;
	memset(loops, 0, sizeof(loops));
	for (i = 0; i < PAIRS; i++) {
		assert_int_equal(loop_init(&loops[i], "rx", &err), 0);
		assert_int_equal(loop_thread_start(&loops[i], &err), 0);
	}
	rig_start(&r, "null", ",\"source\":60,\"queues\":4", 0);
	wait_idle(&r);
	vdev_reset(r.f.dev);
	for (i = 0; i < PAIRS; i++)
		vdev_set_queue_loop(r.f.dev, 2 * i, &loops[i]);
	vdev_release(r.f.dev);
	rig_run(&r, MQ_FEATURES);
	for (round = 0; round < 50; round++) {
		uint16_t pairs = (uint16_t)(round % PAIRS + 1);
		const uint8_t bytes[4] = { MQ, 0, (uint8_t)pairs, 0 };
		unsigned int q = rig_ctrl(&r);

		before = rig_used_idx(&r, q);
		memcpy(ram(&r.f, CTRL_AT), bytes, 4);
		set_desc(&r.f, QUEUE_AT(q), 0, CTRL_AT, 4, NEXT, 1);
		set_desc(&r.f, QUEUE_AT(q), 1, REPLY_AT, 1, WRITE, 0);
		set_desc(&r.f, QUEUE_AT(q), 2, CTRL_AT, 4, NEXT, 3);
		set_desc(&r.f, QUEUE_AT(q), 3, REPLY_AT + 8, 1, WRITE, 0);
		/* Two at once: one after the other. */
		rig_offer(&r, q, 0);
		rig_offer(&r, q, 2);
		if (round % 3 == 0) {
			/* A stop waits for the answer, and no longer. */
			rig_kick(&r, q);
			wait_idle(&r);
			vdev_release(r.f.dev);
		}
		rig_kick(&r, q);
		while (load_le16(&rig_used(&r, q)->idx) != (uint16_t)(before + 2))
			loop_run_once(&r.f.loop, 10);
		for (i = 0; i < PAIRS; i++) {
			/* One that has just started may do so after the command. */
			fix_settle(&loops[i]);
			assert_int_equal(r.net->rx[i].chan != NULL, i < pairs);
		}
	}
	wait_idle(&r);
	for (i = 0; i < PAIRS; i++)
		fix_settle(&loops[i]);
	rig_stop(&r);
	for (i = 0; i < PAIRS; i++) {
		loop_thread_join(&loops[i]);
		loop_deinit(&loops[i]);
	}
}

/* A network that one loop serves breaks the device that spreads it, with a sentence. */
static void test_one_loop(void **state)
{
	struct loop other_loop;
	struct err err = { 0 };
	struct rig r;

	(void)state;
	memset(&other_loop, 0, sizeof(other_loop));
	assert_int_equal(loop_init(&other_loop, "other", &err), 0);
	assert_int_equal(loop_thread_start(&other_loop, &err), 0);
	rig_start(&r, "stream", CARD, RIG_FEATURES);
	wait_idle(&r);
	vdev_reset(r.f.dev);
	vdev_set_queue_loop(r.f.dev, 1, &other_loop);
	vdev_release(r.f.dev);
	rig_run(&r, RIG_FEATURES);
	while (!r.f.dev->broken)
		loop_run_once(&r.f.loop, 10);
	assert_non_null(strstr(r.f.dev->broken_reason, "is served by one loop"));
	wait_idle(&r);
	fix_settle(&other_loop);
	rig_stop(&r);
	loop_thread_join(&other_loop);
	loop_deinit(&other_loop);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_lengths),
		cmocka_unit_test(test_unknown),
		cmocka_unit_test(test_no_room),
		cmocka_unit_test(test_modes),
		cmocka_unit_test(test_mac_table),
		cmocka_unit_test(test_mac_addr),
		cmocka_unit_test(test_vlan),
		cmocka_unit_test(test_short_tag),
		cmocka_unit_test(test_pairs),
		cmocka_unit_test(test_most_pairs),
		cmocka_unit_test(test_who_is_who),
		cmocka_unit_test(test_pairs_on_loops),
		cmocka_unit_test(test_one_loop),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
