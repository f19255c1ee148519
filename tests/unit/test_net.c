/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * virtio-net, its packets: headers at their extremes and however they are cut, receive buffers of
 * any size, merged ones, and what becomes of packets that nobody can take.
 */
#include "net_rig.h"

/* --- transmit --- */

static void put_tx(struct rig *r, const struct net_header *h, uint32_t header, uint32_t frame)
{
	uint8_t *p = ram(&r->f, TX_AT);

	memcpy(p, h, header);
	rig_frame(p + header, card, frame);
}

/* However the header and the frame are cut, the peer gets the frame. */
static void splits(uint64_t features, uint32_t header)
{
	uint32_t total = header + FRAME_BYTES, first, second;
	const struct net_header none = { 0 };
	uint8_t got[256], sent[256];
	struct rig r;

	rig_start(&r, "stream", CARD, features);
	assert_int_equal(net_header_bytes(r.net), header);
	put_tx(&r, &none, header, FRAME_BYTES);
	rig_frame(sent, card, FRAME_BYTES);
	for (first = 1; first < header + 4; first++) {
		for (second = 1; second < header + 4; second++) {
			const uint32_t cuts[] = { first, second, 1, 0 };

			assert_int_equal(rig_transmit(&r, total, cuts), 0);
			assert_int_equal(rig_peer_takes(&r, got, sizeof(got)), FRAME_BYTES);
			assert_memory_equal(got, sent, FRAME_BYTES);
		}
	}
	rig_stop(&r);
}

static void test_every_split(void **state)
{
	(void)state;
	splits(RIG_FEATURES, 12);
	splits(0, 12);
	splits(LEGACY, 10);
	splits(LEGACY | F(MRG_RXBUF), 12);
	/* HASH_REPORT, which would make 20 of it, is not offered: who takes it unasked has 12. */
	splits(1ull << 57, 12);
}

/* Chains that are no packet come back, and nobody hears of them. */
static void test_short_and_long(void **state)
{
	static const uint32_t lens[] = { 0, 1, 9, 10, 11, 12, 13, 25, 12 + NET_PACKET_MAX + 1,
		0x20000 };
	const struct net_header none = { 0 };
	static uint8_t got[NET_PACKET_MAX];
	struct rig r;
	size_t i;

	(void)state;
	rig_start(&r, "stream", CARD, RIG_FEATURES);
	put_tx(&r, &none, HEADER, FRAME_BYTES);
	for (i = 0; i < ARRAY_SIZE(lens); i++)
		assert_int_equal(rig_transmit(&r, lens[i], NULL), 0);
	assert_int_equal(rig_peer_takes(&r, got, sizeof(got)), -1);
	assert_int_equal(net_get(&r.net->tx[0].stats.malformed), ARRAY_SIZE(lens));
	assert_int_equal(net_get(&r.net->tx[0].stats.drops), ARRAY_SIZE(lens));
	assert_int_equal(rig_transmit(&r, 12 + NET_FRAME_MIN, NULL), 0);
	assert_int_equal(rig_peer_takes(&r, got, sizeof(got)), NET_FRAME_MIN);
	assert_int_equal(net_get(&r.net->tx[0].stats.packets), 1);
	rig_stop(&r);
}

#define CSUM  VIRTIO_NET_HDR_F_NEEDS_CSUM
#define TSO4  VIRTIO_NET_HDR_GSO_TCPV4
#define TSO6  VIRTIO_NET_HDR_GSO_TCPV6
#define USO   VIRTIO_NET_HDR_GSO_UDP_L4
#define ECN   VIRTIO_NET_HDR_GSO_ECN
#define HOST4 (F(CSUM) | F(HOST_TSO4))

/* Fields of a header for a frame of FRAME_BYTES; is such a packet sent? */
static const struct {
	uint64_t features;
	uint8_t flags, gso;
	uint16_t hdr_len, gso_size, csum_start, csum_offset;
	bool sent;
} headers[] = {
	{ 0, 0, 0, 0, 0, 0, 0, true },
	/* What is not asked for is not looked at. */
	{ 0, 0, 0, 65535, 65535, 65535, 65535, true },
	{ 0, 2, 0, 0, 0, 65535, 65535, true },
	{ 0, 0xfe, 0, 0, 0, 0, 0, true },
	{ 0, CSUM, 0, 0, 0, 14, 6, false },
	{ F(CSUM), CSUM, 0, 0, 0, 14, 6, true },
	{ F(CSUM), CSUM, 0, 0, 0, 0, 58, true },
	{ F(CSUM), CSUM, 0, 0, 0, 58, 0, true },
	{ F(CSUM), CSUM, 0, 0, 0, 59, 0, false },
	{ F(CSUM), CSUM, 0, 0, 0, 0, 59, false },
	{ F(CSUM), CSUM, 0, 0, 0, 60, 0, false },
	{ F(CSUM), CSUM, 0, 0, 0, 65535, 0, false },
	{ F(CSUM), CSUM, 0, 0, 0, 0, 65535, false },
	{ F(CSUM), CSUM, 0, 0, 0, 65535, 65535, false },
	{ F(CSUM), CSUM, 0, 0, 0, 65534, 4, false },
	{ F(CSUM), CSUM, TSO4, 54, 1000, 34, 16, false },
	{ HOST4, CSUM, TSO4, 54, 1000, 34, 16, true },
	{ HOST4, CSUM, TSO4, 0, 1, 34, 16, true },
	{ HOST4, CSUM, TSO4, 65535, 65535, 34, 16, true },
	{ HOST4, CSUM, TSO4, 54, 0, 34, 16, false },
	{ HOST4, 0, TSO4, 54, 1000, 34, 16, false },
	{ HOST4, CSUM, TSO4, 54, 1000, 65535, 16, false },
	{ HOST4, CSUM, TSO6, 54, 1000, 34, 16, false },
	{ HOST4, CSUM, TSO4 | ECN, 54, 1000, 34, 16, false },
	{ HOST4 | F(HOST_ECN), CSUM, TSO4 | ECN, 54, 1000, 34, 16, true },
	{ HOST4 | F(HOST_ECN), CSUM, ECN, 54, 1000, 34, 16, false },
	{ F(CSUM) | F(HOST_TSO6), CSUM, TSO6, 54, 1000, 34, 16, true },
	{ F(CSUM) | F(HOST_USO), CSUM, USO, 42, 1000, 34, 6, true },
	{ F(CSUM) | F(HOST_USO) | F(HOST_ECN), CSUM, USO | ECN, 42, 1000, 34, 6, false },
	/* Fragments of UDP are not offered, and the rest is nothing. */
	{ ~0ull & ~LEGACY, CSUM, 3, 42, 1000, 34, 6, false },
	{ ~0ull & ~LEGACY, CSUM, 2, 42, 1000, 34, 6, false },
	{ ~0ull & ~LEGACY, CSUM, 0x7f, 42, 1000, 34, 6, false },
	{ ~0ull & ~LEGACY, CSUM, 0xff, 42, 1000, 34, 6, false },
};

static void test_header_fields(void **state)
{
	struct rig r;
	size_t i;

	(void)state;
	for (i = 0; i < ARRAY_SIZE(headers); i++) {
		struct net_header h = { headers[i].flags, headers[i].gso,
			le16_make(headers[i].hdr_len), le16_make(headers[i].gso_size),
			le16_make(headers[i].csum_start), le16_make(headers[i].csum_offset),
			le16_make(0xffff) };
		const uint64_t rings = 1ull << VIRTIO_F_RING_PACKED | 1ull << VIRTIO_F_IN_ORDER;

		rig_start(&r, "null", "", headers[i].features & ~rings);
		put_tx(&r, &h, HEADER, FRAME_BYTES);
		rig_transmit(&r, HEADER + FRAME_BYTES, NULL);
		if (net_get(&r.net->tx[0].stats.packets) != headers[i].sent ||
			net_get(&r.net->tx[0].stats.malformed) == headers[i].sent)
			fail_msg("row %zu", i);
		assert_false(r.f.dev->broken);
		rig_stop(&r);
	}
}

/* The numbers of a packet that is cut into segments. */
static void test_segments_counted(void **state)
{
	struct net_header h = { CSUM, TSO4, le16_make(54), le16_make(1000), le16_make(34),
		le16_make(16), le16_make(0) };
	struct net_tx_stats *s;
	struct rig r;

	(void)state;
	rig_start(&r, "null", "", HOST4);
	s = &r.net->tx[0].stats;
	put_tx(&r, &h, HEADER, 2554);
	rig_transmit(&r, HEADER + 2554, NULL);
	assert_int_equal(net_get(&s->gso_packets), 1);
	assert_int_equal(net_get(&s->gso_bytes), 2554);
	assert_int_equal(net_get(&s->gso_segments), 3);
	assert_int_equal(net_get(&s->gso_segment_bytes), 2554 + 2 * 54);
	assert_int_equal(net_get(&s->needs_csum), 1);
	rig_stop(&r);
}

/* A peer that does not read holds the sender up; nothing is lost or cut, and a stop does not wait.
 */
static void test_slow_peer(void **state)
{
	const struct net_header none = { 0 };
	static uint8_t got[NET_PACKET_MAX], sent[NET_PACKET_MAX];
	const uint32_t len = 60000, n = 40;
	uint32_t i, taken = 0;
	struct rig r;

	(void)state;
	rig_start(&r, "stream", CARD, RIG_FEATURES);
	put_tx(&r, &none, HEADER, len);
	rig_frame(sent, card, len);
	set_desc(&r.f, QUEUE_AT(1), 0, TX_AT, HEADER + len, 0, 0);
	for (i = 0; i < n; i++)
		rig_offer(&r, 1, 0);
	rig_kick(&r, 1);
	assert_true(rig_used_idx(&r, 1) < n);
	vdev_hold(r.f.dev);
	pump(&r.f);
	assert_true(vdev_is_idle(r.f.dev));
	vdev_release(r.f.dev);
	pump(&r.f);
	while (taken < n) {
		uint32_t wire;
		ssize_t have;

		pump(&r.f);
		have = recv(r.peer, &wire, 4, MSG_DONTWAIT);
		if (have < 0)
			continue;
		assert_int_equal(have, 4);
		assert_int_equal(ntohl(wire), len);
		for (i = 0; i < len; i += (uint32_t)MAX(have, 0)) {
			have = recv(r.peer, got + i, len - i, MSG_DONTWAIT);
			pump(&r.f);
		}
		assert_memory_equal(got, sent, len);
		taken++;
	}
	assert_int_equal(rig_used_idx(&r, 1), n);
	rig_stop(&r);
}

/* --- receive --- */

static void check_header(const uint8_t *at, unsigned int num_buffers)
{
	const struct net_header want = { .num_buffers = le16_make((uint16_t)num_buffers) };

	assert_memory_equal(at, &want, HEADER);
}

/* The frame from byte @from on, and nothing behind it. */
static void check_frame(const uint8_t *at, uint32_t from, uint32_t len)
{
	uint8_t frame[0x1000];
	uint32_t i;

	rig_frame(frame, card, from + len);
	assert_memory_equal(at, frame + from, len);
	for (i = 0; i < 32; i++)
		assert_int_equal(at[len + i], UNTOUCHED);
}

static void test_receive(void **state)
{
	uint8_t frame[2048], *buf;
	unsigned int i = 0;
	struct rig r;

	(void)state;
	rig_start(&r, "stream", CARD, RIG_FEATURES);
	rig_frame(frame, card, sizeof(frame));
	for (uint32_t len = NET_FRAME_MIN; len < 1600; len += 97, i++) {
		buf = rig_buffer(&r, i, 1600);
		rig_peer_sends(&r, frame, len);
		assert_int_equal(rig_used_idx(&r, 0), i + 1);
		assert_int_equal(rig_used_len(&r, 0, i), HEADER + len);
		check_header(buf, 1);
		check_frame(buf + HEADER, 0, len);
	}
	/* A packet that comes before there is a buffer waits. */
	rig_peer_sends(&r, frame, 100);
	assert_int_equal(rig_used_idx(&r, 0), i);
	buf = rig_buffer(&r, i, 1600);
	rig_kick(&r, 0);
	assert_int_equal(rig_used_idx(&r, 0), i + 1);
	check_frame(buf + HEADER, 0, 100);
	rig_stop(&r);
}

/* Every size of buffer, merged: from less than a header to more than the packet. */
static void test_merged(void **state)
{
	uint8_t frame[300], *bufs[RIG_RING];
	uint32_t size, n, i, left;
	struct rig r;

	(void)state;
	rig_frame(frame, card, sizeof(frame));
	for (size = HEADER; size < HEADER + sizeof(frame) + 2; size++) {
		n = (uint32_t)(HEADER + sizeof(frame) + size - 1) / size;
		rig_start(&r, "stream", CARD, RIG_FEATURES);
		/* One less than needed, and then that one. */
		for (i = 0; i < n - 1; i++)
			bufs[i] = rig_buffer(&r, i, size);
		rig_kick(&r, 0);
		rig_peer_sends(&r, frame, sizeof(frame));
		assert_int_equal(rig_used_idx(&r, 0), 0);
		bufs[i] = rig_buffer(&r, i, size);
		rig_kick(&r, 0);
		assert_int_equal(rig_used_idx(&r, 0), n);
		check_header(bufs[0], n);
		left = (uint32_t)(HEADER + sizeof(frame));
		for (i = 0; i < n; i++) {
			uint32_t part = MIN(left, size), skip = i ? 0 : HEADER;

			assert_int_equal(rig_used_len(&r, 0, i), part);
			check_frame(bufs[i] + skip,
				(uint32_t)(HEADER + sizeof(frame)) - left - (i ? HEADER : 0),
				part - skip);
			left -= part;
		}
		assert_int_equal(net_get(&r.net->rx[0].stats.packets), 1);
		rig_stop(&r);
	}
}

/* A buffer that cannot hold a header comes back empty; an empty one in the middle takes nothing. */
static void test_runts(void **state)
{
	uint8_t frame[100], *buf;
	uint32_t size;
	struct rig r;

	(void)state;
	rig_frame(frame, card, sizeof(frame));
	for (size = 0; size < HEADER; size++) {
		rig_start(&r, "stream", CARD, RIG_FEATURES);
		buf = rig_buffer(&r, 0, size);
		rig_buffer(&r, 1, 50);
		rig_buffer(&r, 2, 0);
		rig_buffer(&r, 3, 1);
		rig_buffer(&r, 4, 200);
		rig_kick(&r, 0);
		rig_peer_sends(&r, frame, sizeof(frame));
		assert_int_equal(rig_used_idx(&r, 0), 5);
		assert_int_equal(rig_used_len(&r, 0, 0), 0);
		assert_int_equal(buf[0], UNTOUCHED);
		assert_int_equal(rig_used_len(&r, 0, 1), 50);
		assert_int_equal(rig_used_len(&r, 0, 2), 0);
		assert_int_equal(rig_used_len(&r, 0, 3), 1);
		assert_int_equal(rig_used_len(&r, 0, 4), HEADER + 100 - 51);
		rig_stop(&r);
	}
}

/* The same memory in all buffers: what is written last stays, and nothing else is touched. */
static void test_overlapping_buffers(void **state)
{
	uint8_t frame[200];
	struct rig r;
	uint32_t i;

	(void)state;
	rig_start(&r, "stream", CARD, RIG_FEATURES);
	rig_frame(frame, card, sizeof(frame));
	memset(ram(&r.f, RX_AT), UNTOUCHED, 256);
	for (i = 0; i < 6; i++) {
		set_desc(&r.f, QUEUE_AT(0), i, RX_AT + i, 40, WRITE, 0);
		rig_offer(&r, 0, (uint16_t)i);
	}
	rig_kick(&r, 0);
	rig_peer_sends(&r, frame, sizeof(frame));
	assert_int_equal(rig_used_idx(&r, 0), 6);
	assert_int_equal(*(uint8_t *)ram(&r.f, RX_AT + 45), UNTOUCHED);
	/* And in one ring entry after the other the same head. */
	for (i = 0; i < 6; i++)
		rig_offer(&r, 0, 0);
	rig_kick(&r, 0);
	rig_peer_sends(&r, frame, sizeof(frame));
	assert_int_equal(rig_used_idx(&r, 0), 12);
	assert_false(r.f.dev->broken);
	rig_stop(&r);
}

/* Too long for the buffer where they are not merged, or for the whole ring: dropped, counted. */
static void test_too_long(void **state)
{
	static uint8_t frame[NET_PACKET_MAX];
	struct net_rx_stats *s;
	struct rig r;
	uint8_t *buf;
	unsigned int i;

	(void)state;
	rig_frame(frame, card, sizeof(frame));
	rig_start(&r, "stream", CARD, 0);
	s = &r.net->rx[0].stats;
	buf = rig_buffer(&r, 0, 112);
	rig_kick(&r, 0);
	rig_peer_sends(&r, frame, 101);
	assert_int_equal(rig_used_idx(&r, 0), 0);
	assert_int_equal(net_get(&s->drops), 1);
	assert_int_equal(buf[0], UNTOUCHED);
	rig_peer_sends(&r, frame, 100);
	assert_int_equal(rig_used_len(&r, 0, 0), 112);
	check_header(buf, 1);
	rig_stop(&r);

	rig_start(&r, "stream", CARD, RIG_FEATURES);
	s = &r.net->rx[0].stats;
	for (i = 0; i < RIG_RING; i++)
		rig_buffer(&r, i, 100);
	rig_kick(&r, 0);
	rig_peer_sends(&r, frame, RIG_RING * 100);
	assert_int_equal(rig_used_idx(&r, 0), 0);
	assert_int_equal(net_get(&s->overruns), 1);
	rig_peer_sends(&r, frame, RIG_RING * 100 - HEADER);
	assert_int_equal(rig_used_idx(&r, 0), RIG_RING);
	assert_int_equal(net_get(&s->packets), 1);
	rig_stop(&r);
}

/* Frames that are none, and a length that nobody means. */
static void test_bad_peer(void **state)
{
	uint8_t frame[64], bad[4] = { 0, 1, 0, 65 };
	unsigned int i;
	struct rig r;

	(void)state;
	rig_start(&r, "stream", CARD, RIG_FEATURES);
	rig_frame(frame, card, sizeof(frame));
	rig_buffer(&r, 0, 500);
	rig_kick(&r, 0);
	for (i = 0; i < NET_FRAME_MIN; i++)
		rig_peer_sends(&r, frame, i);
	assert_int_equal(rig_used_idx(&r, 0), 0);
	assert_int_equal(net_get(&r.net->rx[0].stats.drops), NET_FRAME_MIN);
	/* One byte after the other. */
	for (i = 0; i < 4 + 20; i++) {
		uint8_t byte = i < 3 ? 0 : i == 3 ? 20 : frame[i - 4];

		assert_int_equal(rig_used_idx(&r, 0), 0);
		assert_int_equal(write(r.peer, &byte, 1), 1);
		pump(&r.f);
	}
	assert_int_equal(rig_used_len(&r, 0, 0), HEADER + 20);
	assert_true(net_link_up(r.net->net));
	assert_int_equal(write(r.peer, bad, 4), 4);
	rig_buffer(&r, 1, 500);
	rig_kick(&r, 0);
	assert_false(net_link_up(r.net->net));
	assert_int_equal(read(r.peer, frame, 1), 0);
	assert_false(r.f.dev->broken);
	rig_stop(&r);
}

/* A frame of the source in buffers of @size: merged where it takes several. */
static void check_source(struct rig *r, uint8_t **bufs, uint32_t size)
{
	static const uint8_t type[2] = { 0x88, 0xb5 };
	uint8_t got[HEADER + 60];
	uint32_t at = 0, n = 0, len;

	for (; at < sizeof(got); at += len, n++) {
		len = MIN(size, (uint32_t)sizeof(got) - at);
		memcpy(got + at, bufs[n], len);
		assert_int_equal(bufs[n][len], UNTOUCHED);
	}
	check_header(got, n);
	assert_memory_equal(got + HEADER, card, 6);
	assert_memory_equal(got + HEADER + 12, type, 2);
	assert_int_equal(rig_used_len(r, 0, 0), MIN(size, (uint32_t)sizeof(got)));
}

/* A source without end serves a batch at a time, and whatever is offered. */
static void test_source(void **state)
{
	static const uint32_t sizes[] = { HEADER + 60, HEADER + 61, 100, HEADER + 59, 40, 20 };
	unsigned int i, round, each;
	uint8_t *bufs[RIG_RING];
	struct rig r;
	size_t k;

	(void)state;
	for (k = 0; k < ARRAY_SIZE(sizes); k++) {
		each = (unsigned int)(HEADER + 60 + sizes[k] - 1) / sizes[k];
		rig_start(&r, "null", CARD ",\"source\":60", RIG_FEATURES);
		for (round = 0; round < 4; round++) {
			unsigned int n = RIG_RING / each;

			for (i = 0; i < n * each; i++)
				bufs[i] = rig_buffer(&r, round * n * each + i, sizes[k]);
			rig_kick(&r, 0);
			assert_int_equal(rig_used_idx(&r, 0), (round + 1) * n * each);
			for (i = 0; i < n; i++)
				check_source(&r, bufs + i * each, sizes[k]);
			assert_int_equal(net_get(&r.net->rx[0].stats.bytes), (round + 1) * n * 60);
		}
		rig_stop(&r);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_every_split),
		cmocka_unit_test(test_short_and_long),
		cmocka_unit_test(test_header_fields),
		cmocka_unit_test(test_segments_counted),
		cmocka_unit_test(test_slow_peer),
		cmocka_unit_test(test_receive),
		cmocka_unit_test(test_merged),
		cmocka_unit_test(test_runts),
		cmocka_unit_test(test_overlapping_buffers),
		cmocka_unit_test(test_too_long),
		cmocka_unit_test(test_bad_peer),
		cmocka_unit_test(test_source),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
