/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * virtio-net, what the guest is told: statistics of each queue, what they refuse, offloads that are
 * switched, the link and the wish for an announcement.
 */
#include "net_rig.h"

#include <sys/un.h>

/* --- statistics --- */

struct entry {
	le16 queue, reserved[3];
	le64 kinds;
};

static const struct {
	uint16_t queue;
	uint64_t kinds;
	uint32_t room;
	int answer;
	uint32_t bytes; /* of the reply */
} stats[] = {
	{ 0, 1, 56, RIG_OK, 56 },
	{ 0, 7, 56 + 40 + 40, RIG_OK, 136 },
	{ 0, 7, 56 + 40 + 39, RIG_ERR, 0 },
	{ 0, 1, 55, RIG_ERR, 0 },
	{ 0, 1, 0, RIG_ERR, 0 },
	{ 1, 7ull << 16, 56 + 24 + 56, RIG_OK, 136 },
	{ 2, 1ull << 32, 24, RIG_OK, 24 },
	{ 0, 0, 56, RIG_ERR, 0 },
	{ 0, 8, 56, RIG_ERR, 0 },
	{ 0, 1ull << 16, 56, RIG_ERR, 0 },
	{ 1, 1, 56, RIG_ERR, 0 },
	{ 2, 1, 56, RIG_ERR, 0 },
	{ 0, 1ull << 32, 56, RIG_ERR, 0 },
	{ 0, UINT64_MAX, 500, RIG_ERR, 0 },
	{ 3, 1, 56, RIG_ERR, 0 },
	{ 0xffff, 1, 56, RIG_ERR, 0 },
};

static void test_stats(void **state)
{
	uint8_t bytes[2 + 64 * sizeof(struct entry)] = { STATS, 1 };
	const uint8_t query[2] = { STATS, 0 };
	struct entry e = { 0 };
	const uint8_t *reply;
	struct rig r;
	size_t i;

	(void)state;
	rig_start(&r, "stream", CARD, RIG_FEATURES);
	/* Behind the answer. */
	reply = (uint8_t *)ram(&r.f, REPLY_AT) + 1;
	assert_true(rig_passes(&r, card, -1));
	rig_transmit(&r, 3, NULL);
	memset(ram(&r.f, TX_AT), 0, HEADER);
	rig_transmit(&r, HEADER + 20, NULL);
	assert_int_equal(rig_command(&r, query, 2, 8), RIG_OK);
	assert_int_equal(le64_read(reply), 0x100070007);
	for (i = 0; i < ARRAY_SIZE(stats); i++) {
		e.queue = le16_make(stats[i].queue);
		e.kinds = le64_make(stats[i].kinds);
		memcpy(bytes + 2, &e, sizeof(e));
		if (rig_command(&r, bytes, 2 + sizeof(e), stats[i].room) != stats[i].answer)
			fail_msg("row %zu", i);
		if (stats[i].answer == RIG_OK) {
			assert_int_equal(le16_read(reply + 2), stats[i].queue);
			assert_int_equal(reply[stats[i].bytes - 1], 0);
		}
	}
	/* More entries than queues, and one that is cut short. */
	for (i = 0; i < 64; i++)
		memcpy(bytes + 2 + i * sizeof(e), &e, sizeof(e));
	assert_int_equal(rig_command(&r, bytes, sizeof(bytes), 4000), RIG_ERR);
	e = (struct entry){ le16_make(0), { le16_make(0) }, le64_make(1) };
	memcpy(bytes + 2, &e, sizeof(e));
	assert_int_equal(rig_command(&r, bytes, 2 + sizeof(e) - 1, 4000), RIG_ERR);
	assert_int_equal(rig_command(&r, bytes, 2 + sizeof(e) + 1, 4000), RIG_ERR);
	/* The numbers themselves. */
	assert_int_equal(rig_command(&r, bytes, 2 + sizeof(e), 56), RIG_OK);
	assert_int_equal(reply[0], 0);
	assert_int_equal(le16_read(reply + 6), 56);
	assert_true(le64_read(reply + 8) > 0);
	assert_int_equal(le64_read(reply + 16), 1);
	assert_int_equal(le64_read(reply + 24), 64);
	e = (struct entry){ le16_make(1), { le16_make(0) }, le64_make(1ull << 16) };
	memcpy(bytes + 2, &e, sizeof(e));
	assert_int_equal(rig_command(&r, bytes, 2 + sizeof(e), 56), RIG_OK);
	assert_int_equal(reply[0], 16);
	assert_int_equal(le64_read(reply + 16), 1);
	assert_int_equal(le64_read(reply + 24), 20);
	assert_int_equal(le64_read(reply + 40), 1);
	assert_int_equal(le64_read(reply + 48), 1);
	rig_stop(&r);
}

/* --- offloads, link --- */

static void test_offloads(void **state)
{
	const uint64_t mine = F(GUEST_CSUM) | F(GUEST_TSO4);
	uint8_t bytes[10] = { OFFLOADS, 0 };
	struct rig r;
	unsigned int bit;

	(void)state;
	rig_start(&r, "null", "", mine | F(CTRL_VQ) | F(CTRL_GUEST_OFFLOADS) | F(CSUM));
	for (bit = 0; bit < 64; bit++) {
		le64 wire = le64_make(1ull << bit);

		memcpy(bytes + 2, &wire, 8);
		assert_int_equal(rig_command(&r, bytes, 10, 0), mine >> bit & 1 ? RIG_OK : RIG_ERR);
	}
	assert_int_equal(atomic_load(&r.net->guest_offloads), F(GUEST_TSO4));
	assert_int_equal(rig_command(&r, bytes, 9, 0), RIG_ERR);
	rig_stop(&r);
}

static uint16_t config_status(struct rig *r)
{
	uint8_t config[24];

	vdev_get_config(r->f.dev, config);
	return le16_read(config + 6);
}

static void test_link(void **state)
{
	const uint8_t ack[2] = { ANNOUNCE, 0 };
	char path[108], options[200];
	struct sockaddr_un addr = { .sun_family = AF_UNIX };
	uint8_t generation;
	struct rig r;
	int peer;

	(void)state;
	snprintf(path, sizeof(path), "/tmp/test_net.%d.sock", (int)getpid());
	snprintf(options, sizeof(options), ",\"path\":\"%s\"", path);
	rig_start(&r, "server", options, RIG_FEATURES);
	assert_int_equal(config_status(&r), 0);
	assert_int_equal(rig_command(&r, ack, 2, 0), RIG_ERR);
	generation = r.f.dev->config_generation;
	peer = socket(AF_UNIX, SOCK_STREAM, 0);
	memcpy(addr.sun_path, path, sizeof(path));
	assert_int_equal(connect(peer, (struct sockaddr *)&addr, sizeof(addr)), 0);
	pump(&r.f);
	assert_int_equal(config_status(&r), 3);
	assert_int_not_equal(r.f.dev->config_generation, generation);
	assert_int_equal(rig_command(&r, ack, 2, 0), RIG_OK);
	assert_int_equal(config_status(&r), 1);
	assert_int_equal(rig_command(&r, ack, 2, 0), RIG_ERR);
	r.peer = peer;
	assert_true(rig_passes(&r, card, -1));
	close(peer);
	r.peer = -1;
	rig_kick(&r, 0);
	assert_int_equal(config_status(&r), 0);
	/* Without a peer what is sent is gone, and nobody is held up. */
	rig_transmit(&r, HEADER + 20, NULL);
	rig_stop(&r);
	assert_int_equal(access(path, F_OK), -1);
}

/* The card's own cable: dropped and counted both ways, told, and no reset plugs it in. */
static void test_pulled(void **state)
{
	const uint8_t ack[2] = { ANNOUNCE, 0 };
	uint8_t generation, frame[64];
	struct rig r;
	unsigned int i;

	(void)state;
	rig_start(&r, "stream", CARD, RIG_FEATURES);
	assert_true(rig_passes(&r, card, -1));
	assert_int_equal(config_status(&r), 1);
	generation = r.f.dev->config_generation;
	virtio_net_set_link(r.f.dev, true);
	assert_int_equal(r.f.dev->config_generation, generation);
	virtio_net_set_link(r.f.dev, false);
	assert_int_not_equal(r.f.dev->config_generation, generation);
	for (i = 0; i < 2; i++) {
		assert_int_equal(config_status(&r), 0);
		assert_false(rig_passes(&r, card, -1));
		memset(ram(&r.f, TX_AT), 0, HEADER);
		rig_transmit(&r, HEADER + 20, NULL);
		assert_int_equal(rig_peer_takes(&r, frame, sizeof(frame)), -1);
		assert_int_equal(net_get(&r.net->rx[0].stats.drops), i + 1);
		assert_int_equal(net_get(&r.net->tx[0].stats.drops), i + 1);
		assert_int_equal(net_get(&r.net->tx[0].stats.malformed), 0);
		vdev_hold(r.f.dev);
		pump(&r.f);
		vdev_reset(r.f.dev);
		vdev_release(r.f.dev);
		rig_run(&r, RIG_FEATURES);
	}
	generation = r.f.dev->config_generation;
	virtio_net_set_link(r.f.dev, true);
	assert_int_not_equal(r.f.dev->config_generation, generation);
	/* Whoever is behind it learns anew where the guest is. */
	assert_int_equal(config_status(&r), 3);
	assert_int_equal(rig_command(&r, ack, 2, 0), RIG_OK);
	assert_true(rig_passes(&r, card, -1));
	memset(ram(&r.f, TX_AT), 0, HEADER);
	rig_transmit(&r, HEADER + 20, NULL);
	assert_int_equal(rig_peer_takes(&r, frame, sizeof(frame)), 20);
	/* A cable that is in makes no peer. */
	close(r.peer);
	r.peer = -1;
	rig_kick(&r, 0);
	virtio_net_set_link(r.f.dev, false);
	virtio_net_set_link(r.f.dev, true);
	assert_int_equal(config_status(&r), 0);
	rig_stop(&r);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_stats),
		cmocka_unit_test(test_offloads),
		cmocka_unit_test(test_link),
		cmocka_unit_test(test_pulled),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
