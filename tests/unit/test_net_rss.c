/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Receive-side scaling: the hash against the published vectors, which part of which packet is
 * hashed, parameters that are refused, the backlog; and a card that steers: each packet reaches the
 * queue that the driver named, and a full queue holds up nobody.
 */
#include "net_rig.h"

/* --- the hash: the vectors of Microsoft's "Verifying the RSS hash calculation" --- */

static const uint8_t key[40] = { 0x6d, 0x5a, 0x56, 0xda, 0x25, 0x5b, 0x0e, 0xc2, 0x41, 0x67, 0x25,
	0x3d, 0x43, 0xa3, 0x8f, 0xb0, 0xd0, 0xca, 0x2b, 0xcb, 0xae, 0x7b, 0x30, 0xb4, 0x77, 0xcb,
	0x2d, 0xa3, 0x80, 0x30, 0xf2, 0x0c, 0x6a, 0x42, 0xb7, 0x3b, 0xbe, 0xac, 0x01, 0xfa };

static const struct vector {
	const char *dst, *src;
	uint16_t dst_port, src_port;
	uint32_t of_addresses, with_ports;
} vectors[] = {
	{ "161.142.100.80", "66.9.149.187", 1766, 2794, 0x323e8fc2, 0x51ccc178 },
	{ "65.69.140.83", "199.92.111.2", 4739, 14230, 0xd718262a, 0xc626b0ea },
	{ "12.22.207.184", "24.19.198.95", 38024, 12898, 0xd2d0a5de, 0x5c2b394a },
	{ "209.142.163.6", "38.27.205.30", 2217, 48228, 0x82989176, 0xafc7327f },
	{ "202.188.127.2", "153.39.163.191", 1303, 44251, 0x5d1809c5, 0x10e828a2 },
	{ "3ffe:2501:200:3::1", "3ffe:2501:200:1fff::7", 1766, 2794, 0x2cc18cd5, 0x40207d3d },
	{ "ff02::1", "3ffe:501:8::260:97ff:fe40:efab", 4739, 14230, 0x0f0c461c, 0xdde51bbf },
	{ "fe80::200:f8ff:fe21:67cf", "3ffe:1900:4545:3:200:f8ff:fe21:67cf", 38024, 44251,
		0x4b61e985, 0x02d1feef },
};

enum { TCP = 6, UDP = 17, ICMP = 1 };

static uint8_t *put(uint8_t *at, const void *bytes, size_t len)
{
	if (len)
		memcpy(at, bytes, len);
	return at + len;
}

/* What is between Ethernet's addresses and the ports; @tags VLANs, @more: extension headers, or a
 * fragment's. Returns the frame's length; 20 bytes follow the IP header. */
struct shape {
	unsigned int tags;
	uint8_t protocol;
	const uint8_t *more; /* IPv6: extension headers */
	uint8_t more_bytes, first_kind;
	uint16_t fragment; /* IPv4: flags and offset */
	uint8_t option_bytes; /* IPv4 */
};

static size_t frame_of(uint8_t *ret, const struct vector *v, const struct shape *s)
{
	const uint8_t ports[4] = { (uint8_t)(v->src_port >> 8), (uint8_t)v->src_port,
		(uint8_t)(v->dst_port >> 8), (uint8_t)v->dst_port };
	uint8_t addresses[2][16], *at = ret + 12;
	bool v6 = strchr(v->dst, ':');
	unsigned int i;

	memset(ret, 0, 200);
	memcpy(ret, card, 6);
	for (i = 0; i < s->tags; i++)
		at = put(at, i || s->tags == 1 ? "\x81\0\0\5" : "\x88\xa8\0\7", 4);
	assert_int_equal(inet_pton(v6 ? AF_INET6 : AF_INET, v->src, addresses[0]), 1);
	assert_int_equal(inet_pton(v6 ? AF_INET6 : AF_INET, v->dst, addresses[1]), 1);
	if (v6) {
		at = put(at, "\x86\xdd\x60\0\0\0\0\x14", 8);
		*at++ = s->more_bytes ? s->first_kind : s->protocol;
		*at++ = 64;
		at = put(at, addresses, 32);
		at = put(at, s->more, s->more_bytes);
	} else {
		uint8_t *ip = put(at, "\x08\0", 2);

		ip[0] = (uint8_t)(0x45 + s->option_bytes / 4);
		ip[6] = (uint8_t)(s->fragment >> 8);
		ip[7] = (uint8_t)s->fragment;
		ip[9] = s->protocol;
		memcpy(ip + 12, addresses[0], 4);
		memcpy(ip + 16, addresses[1], 4);
		at = ip + 20 + s->option_bytes;
	}
	put(at, ports, 4);
	return (size_t)(at - ret) + 20;
}

/* Parameters as a driver sends them; returns their length. */
static size_t config(
	uint8_t *ret, uint32_t types, const uint16_t *table, uint16_t num, uint16_t unclassified)
{
	le32 wire = le32_make(types);
	const le16 head[2] = { le16_make((uint16_t)(num - 1)), le16_make(unclassified) };
	const le16 max_tx = le16_make(1);
	uint8_t *at = put(put(ret, &wire, 4), head, 4);
	unsigned int i;

	for (i = 0; i < num; i++) {
		const le16 entry = le16_make(table[i]);

		at = put(at, &entry, 2);
	}
	at = put(at, &max_tx, 2);
	*at++ = sizeof(key);
	return (size_t)(put(at, key, sizeof(key)) - ret);
}

static void set_types(struct net_rss *rss, uint32_t types)
{
	static const uint16_t zero[1];
	uint8_t bytes[NET_RSS_CONFIG_MAX];

	assert_true(net_rss_parse(bytes, config(bytes, types, zero, 1, 0), 1, rss));
}

static void test_vectors(void **state)
{
	uint8_t frame[200];
	struct net_rss rss;
	uint32_t hash;
	size_t i;

	(void)state;
	for (i = 0; i < ARRAY_SIZE(vectors); i++) {
		bool v6 = strchr(vectors[i].dst, ':');
		size_t tcp = frame_of(frame, &vectors[i], &(struct shape){ .protocol = TCP });

		set_types(&rss, NET_RSS_TYPES);
		assert_int_equal(net_rss_hash(&rss, frame, tcp, &hash), v6 ? 4 : 1);
		assert_int_equal(hash, vectors[i].with_ports);
		set_types(&rss, 1u << 0 | 1u << 3);
		assert_int_equal(net_rss_hash(&rss, frame, tcp, &hash), v6 ? 3 : 0);
		assert_int_equal(hash, vectors[i].of_addresses);
	}
}

/* Extension headers: kind of the next, length, ... */
static const uint8_t hop_then_udp[] = { UDP, 0, 1, 4, 0, 0, 0, 0 },
		     three_then_tcp[] = { 60, 0, 1, 4, 0, 0, 0, 0, 43, 1, 1, 12, 0, 0, 0, 0, 0, 0,
			     0, 0, 0, 0, 0, 0, TCP, 0, 0, 0, 0, 0, 0, 0 },
		     ah_then_tcp[] = { TCP, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0 },
		     first_fragment[] = { TCP, 0, 0, 1, 0, 0, 0, 9 },
		     later_fragment[] = { TCP, 0, 0, 8, 0, 0, 0, 9 },
		     whole_fragment[] = { TCP, 0, 0, 0, 0, 0, 0, 9 },
		     too_long[] = { TCP, 255, 0, 0, 0, 0, 0, 0 };

#define MORE(bytes, kind) .more = (bytes), .more_bytes = sizeof(bytes), .first_kind = (kind)

static const struct {
	unsigned int vector;
	struct shape shape;
	uint32_t types;
	int type; /* by which it is hashed */
	bool ports;
} shapes[] = {
	{ 0, { .protocol = UDP }, NET_RSS_TYPES, 2, true },
	{ 0, { .protocol = ICMP }, NET_RSS_TYPES, 0, false },
	{ 0, { .protocol = UDP }, 1u << 1, -1, false },
	{ 0, { .protocol = UDP }, 1u << 0 | 1u << 1, 0, false },
	{ 0, { .protocol = TCP }, 1u << 2, -1, false },
	{ 0, { .protocol = TCP }, 0x38, -1, false },
	{ 0, { .protocol = TCP }, 0, -1, false },
	{ 0, { .protocol = TCP, .tags = 1 }, NET_RSS_TYPES, 1, true },
	{ 0, { .protocol = TCP, .tags = 2 }, NET_RSS_TYPES, 1, true },
	{ 0, { .protocol = TCP, .tags = 3 }, NET_RSS_TYPES, -1, false },
	{ 0, { .protocol = TCP, .option_bytes = 40 }, NET_RSS_TYPES, 1, true },
	{ 0, { .protocol = TCP, .fragment = 0x4000 }, NET_RSS_TYPES, 1, true },
	{ 0, { .protocol = TCP, .fragment = 0x2000 }, NET_RSS_TYPES, 0, false },
	{ 0, { .protocol = TCP, .fragment = 0x0001 }, NET_RSS_TYPES, 0, false },
	{ 0, { .protocol = UDP, .fragment = 0x1fff }, NET_RSS_TYPES, 0, false },
	{ 5, { .protocol = UDP }, NET_RSS_TYPES, 5, true },
	{ 5, { .protocol = 58 }, NET_RSS_TYPES, 3, false },
	{ 5, { .protocol = UDP }, 0x7, -1, false },
	{ 5, { .protocol = UDP, .tags = 1 }, NET_RSS_TYPES, 5, true },
	{ 5, { MORE(hop_then_udp, 0) }, NET_RSS_TYPES, 5, true },
	{ 5, { MORE(three_then_tcp, 0) }, NET_RSS_TYPES, 4, true },
	{ 5, { MORE(ah_then_tcp, 51) }, NET_RSS_TYPES, 4, true },
	{ 5, { MORE(first_fragment, 44) }, NET_RSS_TYPES, 3, false },
	{ 5, { MORE(later_fragment, 44) }, NET_RSS_TYPES, 3, false },
	{ 5, { MORE(whole_fragment, 44) }, NET_RSS_TYPES, 4, true },
	{ 5, { MORE(too_long, 60) }, NET_RSS_TYPES, 3, false },
};

static void test_shapes(void **state)
{
	uint8_t frame[200], *exact;
	struct net_rss rss;
	uint32_t hash, other;
	size_t i, len, n;

	(void)state;
	for (i = 0; i < ARRAY_SIZE(shapes); i++) {
		const struct vector *v = &vectors[shapes[i].vector];

		set_types(&rss, shapes[i].types);
		len = frame_of(frame, v, &shapes[i].shape);
		if (net_rss_hash(&rss, frame, len, &hash) != shapes[i].type ||
			(shapes[i].type >= 0 &&
				hash != (shapes[i].ports ? v->with_ports : v->of_addresses)))
			fail_msg("row %zu", i);
		/* However it is cut: nothing beyond the end is looked at. */
		for (n = 0; n < len; n++) {
			exact = malloc(n + !n);
			memcpy(exact, frame, n);
			assert_true(net_rss_hash(&rss, exact, n, &other) <= 5);
			free(exact);
		}
	}
}

/* --- parameters --- */

static const struct {
	const char *what;
	uint32_t types;
	uint16_t num, unclassified, entry, max_tx;
	int key, more; /* the key's length as said; bytes that there are beyond the sum */
	bool good;
} params[] = {
	{ "one entry", 0x3f, 1, 0, 0, 1, 40, 0, true },
	{ "the longest table", 0x3f, 128, 3, 3, 4, 40, 0, true },
	{ "nothing hashed, no key", 0, 1, 0, 0, 1, 0, 0, true },
	{ "a short key", 0x3f, 8, 0, 0, 1, 1, 0, true },
	{ "types that are not offered", 0x7f, 1, 0, 0, 1, 40, 0, false },
	{ "all types", UINT32_MAX, 1, 0, 0, 1, 40, 0, false },
	{ "three entries", 0x3f, 3, 0, 0, 1, 40, 0, false },
	{ "no power of two", 0x3f, 127, 0, 0, 1, 40, 0, false },
	{ "twice the longest", 0x3f, 256, 0, 0, 1, 40, 0, false },
	{ "a mask of 0xffff", 0x3f, 0, 0, 0, 1, 40, 0, false },
	{ "unclassified beyond the pairs", 0x3f, 1, 4, 0, 1, 40, 0, false },
	{ "unclassified with the reserved bit", 0x3f, 1, 0x8000, 0, 1, 40, 0, false },
	{ "an entry beyond the pairs", 0x3f, 4, 0, 4, 1, 40, 0, false },
	{ "an entry with the reserved bit", 0x3f, 4, 0, 0x8000, 1, 40, 0, false },
	{ "no transmit queue", 0x3f, 1, 0, 0, 0, 40, 0, false },
	{ "too many of them", 0x3f, 1, 0, 0, 5, 40, 0, false },
	{ "a key that is too long", 0x3f, 1, 0, 0, 1, 41, 1, false },
	{ "a key of 255", 0x3f, 1, 0, 0, 1, 255, 215, false },
	{ "no key", 0x3f, 1, 0, 0, 1, 0, -40, false },
	{ "a byte too few", 0x3f, 1, 0, 0, 1, 40, -1, false },
	{ "a byte too many", 0x3f, 1, 0, 0, 1, 40, 1, false },
};

static size_t params_of(size_t row, uint8_t *ret)
{
	uint16_t table[256];
	size_t i, len, key_at;

	for (i = 0; i < 256; i++)
		table[i] = i == params[row].num - 1u ? params[row].entry : 0;
	len = config(ret, params[row].types, table, params[row].num, params[row].unclassified);
	key_at = len - sizeof(key);
	ret[key_at - 3] = (uint8_t)params[row].max_tx;
	ret[key_at - 1] = (uint8_t)params[row].key;
	if (params[row].good)
		return key_at + (size_t)params[row].key;
	return (size_t)((ssize_t)len + params[row].more);
}

static void test_params(void **state)
{
	uint8_t bytes[1024] = { 0 };
	struct net_rss rss;
	size_t i, len, n;

	(void)state;
	for (i = 0; i < ARRAY_SIZE(params); i++) {
		len = params_of(i, bytes);
		if (net_rss_parse(bytes, len, 4, &rss) != params[i].good)
			fail_msg("%s", params[i].what);
		for (n = 0; n < len; n++) {
			uint8_t *exact = malloc(n + !n);

			memcpy(exact, bytes, n);
			if (params[i].good)
				assert_false(net_rss_parse(exact, n, 4, &rss));
			free(exact);
		}
	}
}

/* --- backlog --- */

static void test_backlog(void **state)
{
	static const uint32_t lens[] = { 60, 1514, 0, NET_PACKET_MAX, 14, 9000, 65536, 1 };
	static uint8_t bytes[NET_PACKET_MAX];
	struct net_packet p, back;
	struct net_backlog b = { 0 };
	unsigned int in = 0, out = 0, i;

	(void)state;
	net_backlog_init(&b);
	assert_false(net_backlog_peek(&b, &back));
	/* Full, a few out, full again: each comes back as it was, in order. */
	for (i = 0; i < 400; i++) {
		for (;; in++) {
			p = (struct net_packet){ bytes, lens[in % ARRAY_SIZE(lens)],
				{ .csum_start = (uint16_t)in } };
			memset(bytes, (int)in, p.len);
			if (!net_backlog_add(&b, &p))
				break;
		}
		assert_true(in - out >= 3);
		do {
			assert_true(net_backlog_peek(&b, &back));
			assert_int_equal(back.len, lens[out % ARRAY_SIZE(lens)]);
			assert_int_equal(back.offload.csum_start, (uint16_t)out);
			if (back.len)
				assert_int_equal(back.bytes[0], (uint8_t)out);
			if (back.len)
				assert_int_equal(back.bytes[back.len - 1], (uint8_t)out);
			net_backlog_next(&b);
			out++;
		} while (b.num && (i + out) % 5);
	}
	net_backlog_deinit(&b);
	net_backlog_deinit(&b);
}

/* --- a card that steers --- */

#define PAIRS	     4u
#define RSS_OPTIONS  CARD ",\"queues\":4,\"rss\":true"
#define RSS_FEATURES (RIG_FEATURES | F(MQ) | F(RSS))

/* A buffer for pair @pair, in its own ring. */
static void offer_buffer(struct rig *r, unsigned int pair)
{
	uint16_t i = r->avail[2 * pair] % RIG_RING;

	set_desc(&r->f, QUEUE_AT(2 * pair), i, RX_AT + pair * 0x1000, 0x1000, WRITE, 0);
	rig_offer(r, 2 * pair, i);
	rig_kick(r, 2 * pair);
}

/* The pair that the frame of vector @v comes out at; each has a buffer before and after. */
static unsigned int goes_to(struct rig *r, unsigned int v)
{
	uint16_t before[PAIRS];
	unsigned int i, ret = PAIRS;
	uint8_t frame[200];
	size_t len = v < ARRAY_SIZE(vectors)
			     ? frame_of(frame, &vectors[v], &(struct shape){ .protocol = TCP })
			     : 60;

	if (v >= ARRAY_SIZE(vectors))
		rig_frame(frame, card, len);
	for (i = 0; i < PAIRS; i++) {
		before[i] = rig_used_idx(r, 2 * i);
		if (before[i] == r->avail[2 * i])
			offer_buffer(r, i);
	}
	rig_peer_sends(r, frame, (uint32_t)len);
	for (i = 0; i < PAIRS; i++) {
		if (rig_used_idx(r, 2 * i) == before[i])
			continue;
		assert_int_equal(ret, PAIRS);
		ret = i;
		assert_int_equal(rig_used_len(r, 2 * i, before[i]), HEADER + len);
		assert_memory_equal((uint8_t *)ram(&r->f, RX_AT + i * 0x1000) + HEADER, frame, len);
	}
	return ret;
}

#define UNCLASSIFIED ARRAY_SIZE(vectors)

static int configure(
	struct rig *r, uint32_t types, const uint16_t *table, uint16_t num, uint16_t unclassified)
{
	uint8_t bytes[2 + NET_RSS_CONFIG_MAX] = { MQ, 1 };

	return rig_command(
		r, bytes, 2 + (uint32_t)config(bytes + 2, types, table, num, unclassified), 0);
}

static void test_steered(void **state)
{
	static const uint16_t table[] = { 3, 2, 1, 0, 2, 2, 3, 1 };
	uint8_t bytes[1024] = { MQ, 1 }, space[24];
	struct rig r;
	unsigned int v, seen = 0;
	size_t i;

	(void)state;
	rig_start(&r, "stream", RSS_OPTIONS, RSS_FEATURES);
	assert_int_equal(r.f.dev->num_queues, 2 * PAIRS + 1);
	vdev_get_config(r.f.dev, space);
	assert_int_equal(space[17], 40);
	assert_int_equal(le16_read(space + 18), 128);
	assert_int_equal(le32_read(space + 20), 0x3f);
	/* Before any command: all to the first. */
	for (v = 0; v <= UNCLASSIFIED; v++)
		assert_int_equal(goes_to(&r, v), 0);
	assert_int_equal(configure(&r, NET_RSS_TYPES, table, 8, 1), RIG_OK);
	for (v = 0; v < ARRAY_SIZE(vectors); v++)
		assert_int_equal(goes_to(&r, v), table[vectors[v].with_ports & 7]);
	assert_int_equal(goes_to(&r, UNCLASSIFIED), 1);
	/* What is refused changes nothing. */
	for (i = 0; i < ARRAY_SIZE(params); i++)
		if (!params[i].good)
			assert_int_equal(
				rig_command(&r, bytes, 2 + (uint32_t)params_of(i, bytes + 2), 0),
				RIG_ERR);
	for (v = 0; v < ARRAY_SIZE(vectors); v++)
		assert_int_equal(goes_to(&r, v), table[vectors[v].with_ports & 7]);
	assert_int_equal(configure(&r, 1u << 0, table, 8, 2), RIG_OK);
	for (v = 0; v < ARRAY_SIZE(vectors); v++)
		assert_int_equal(goes_to(&r, v),
			strchr(vectors[v].dst, ':') ? 2 : table[vectors[v].of_addresses & 7]);
	/* The last command counts: pairs, spread by us. */
	rig_must(&r, MQ, 0, "\3\0", 2);
	for (v = 0; v < ARRAY_SIZE(vectors); v++)
		seen |= 1u << goes_to(&r, v);
	assert_int_equal(seen, 7);
	assert_int_equal(goes_to(&r, UNCLASSIFIED), 0);
	/* And a reset forgets it. */
	vdev_hold(r.f.dev);
	pump(&r.f);
	vdev_reset(r.f.dev);
	vdev_release(r.f.dev);
	memset(r.avail, 0, sizeof(r.avail));
	rig_run(&r, RSS_FEATURES);
	for (v = 0; v <= UNCLASSIFIED; v++)
		assert_int_equal(goes_to(&r, v), 0);
	rig_stop(&r);
}

/* A pair without buffers keeps what fits and drops the rest, and the others get theirs. */
static void test_nobody_waits(void **state)
{
	static const uint16_t all[] = { 0 };
	struct net_rx_stats *stats;
	unsigned int i, sent = 0;
	uint8_t frame[1514] = { 0 };
	struct rig r;

	(void)state;
	rig_start(&r, "stream", RSS_OPTIONS, RSS_FEATURES);
	stats = &r.net->rx[2].stats;
	assert_int_equal(configure(&r, NET_RSS_TYPES, all, 1, 2), RIG_OK);
	rig_frame(frame, card, sizeof(frame));
	for (; !net_get(&stats->drops); sent++) {
		frame[20] = (uint8_t)sent;
		rig_peer_sends(&r, frame, sizeof(frame));
		assert_true(sent < 1000);
	}
	assert_true(sent > 100);
	assert_int_equal(net_get(&stats->overruns), 1);
	offer_buffer(&r, 0);
	frame_of(frame, &vectors[0], &(struct shape){ .protocol = TCP });
	rig_peer_sends(&r, frame, 60);
	assert_int_equal(rig_used_idx(&r, 0), 1);
	/* Those that waited come, the oldest first, without a word from the network. */
	for (i = 0; i < 20; i++) {
		offer_buffer(&r, 2);
		assert_int_equal(rig_used_idx(&r, 4), i + 1);
		assert_int_equal(*((uint8_t *)ram(&r.f, RX_AT + 0x2000) + HEADER + 20), i);
	}
	assert_int_equal(net_get(&stats->packets), 20);
	rig_stop(&r);
}

/* Packets for a queue that rests are dropped and counted; the first one's rest stops nobody. */
static void test_a_queue_rests(void **state)
{
	static const uint16_t second[] = { 1 };
	struct rig r;

	(void)state;
	rig_start(&r, "stream", RSS_OPTIONS, RSS_FEATURES);
	assert_int_equal(configure(&r, NET_RSS_TYPES, second, 1, 2), RIG_OK);
	assert_int_equal(goes_to(&r, 0), 1);
	vdev_hold_queue(r.f.dev, &r.f.dev->queues[0]);
	vdev_hold_queue(r.f.dev, &r.f.dev->queues[4]);
	pump(&r.f);
	assert_int_equal(goes_to(&r, 1), 1);
	assert_int_equal(goes_to(&r, UNCLASSIFIED), PAIRS);
	assert_int_equal(net_get(&r.net->rx[2].stats.drops), 1);
	vdev_release_queue(r.f.dev, &r.f.dev->queues[4]);
	pump(&r.f);
	assert_int_equal(goes_to(&r, UNCLASSIFIED), 2);
	vdev_release_queue(r.f.dev, &r.f.dev->queues[0]);
	pump(&r.f);
	assert_int_equal(goes_to(&r, 3), 1);
	rig_stop(&r);
}

/* What goes out of any pair goes the one way, also while the others rest. */
static void test_one_way_out(void **state)
{
	uint8_t frame[64];
	unsigned int pair, q;
	struct rig r;

	(void)state;
	rig_start(&r, "stream", RSS_OPTIONS, RSS_FEATURES);
	for (pair = 0; pair < PAIRS; pair++) {
		q = 2 * pair + 1;
		memset(ram(&r.f, TX_AT), 0, HEADER);
		set_desc(&r.f, QUEUE_AT(q), 0, TX_AT, HEADER + 20 + pair, 0, 0);
		rig_offer(&r, q, 0);
		rig_kick(&r, q);
		assert_int_equal(rig_used_idx(&r, q), 1);
		assert_int_equal(rig_peer_takes(&r, frame, sizeof(frame)), 20 + pair);
		vdev_hold_queue(r.f.dev, &r.f.dev->queues[q]);
		pump(&r.f);
	}
	assert_int_equal(r.net->num_out, 0);
	assert_null(r.net->shared_out);
	rig_stop(&r);
}

/* Drivers that take one of the two features, or none. */
static void test_features(void **state)
{
	static const uint16_t table[] = { 3 };
	struct rig r;

	(void)state;
	/* RSS without MQ: the control queue is behind all pairs. */
	rig_start(&r, "stream", RSS_OPTIONS, RIG_FEATURES | F(RSS));
	assert_int_equal(configure(&r, NET_RSS_TYPES, table, 1, 3), RIG_OK);
	assert_int_equal(goes_to(&r, 0), 3);
	rig_stop(&r);
	/* MQ without RSS, of a network that has one way in: the first pair has it. */
	rig_start(&r, "stream", RSS_OPTIONS, RIG_FEATURES | F(MQ));
	assert_int_equal(configure(&r, NET_RSS_TYPES, table, 1, 3), RIG_ERR);
	rig_must(&r, MQ, 0, "\4\0", 2);
	assert_int_equal(goes_to(&r, 0), 0);
	rig_stop(&r);
	/* RSS that was never offered is not ours. */
	rig_start(&r, "null", ",\"source\":60,\"queues\":4", RSS_FEATURES);
	assert_int_equal(configure(&r, NET_RSS_TYPES, table, 1, 3), RIG_ERR);
	assert_null(r.net->rx[0].backlog.bytes);
	rig_stop(&r);
	/* And a network that tells pairs apart gives everything to be steered. */
	rig_start(&r, "null", ",\"source\":60,\"queues\":4,\"rss\":true", RSS_FEATURES);
	assert_int_equal(configure(&r, NET_RSS_TYPES, table, 1, 3), RIG_OK);
	assert_null(r.net->rx[3].chan);
	rig_stop(&r);
}

/* Should somebody spread its queues all the same, the device breaks, with a sentence. */
static void test_one_loop(void **state)
{
	struct loop other;
	struct err err = { 0 };
	struct rig r;

	(void)state;
	memset(&other, 0, sizeof(other));
	assert_int_equal(loop_init(&other, "other", &err), 0);
	assert_int_equal(loop_thread_start(&other, &err), 0);
	rig_open(&r, "null", ",\"queues\":4,\"rss\":true");
	vdev_set_queue_loop(r.f.dev, 2, &other);
	rig_run(&r, RSS_FEATURES);
	while (!r.f.dev->broken)
		loop_run_once(&r.f.loop, 10);
	assert_non_null(strstr(r.f.dev->broken_reason, "rss=on needs all queues on one loop"));
	vdev_hold(r.f.dev);
	while (!vdev_is_idle(r.f.dev))
		loop_run_once(&r.f.loop, 10);
	fix_settle(&other);
	rig_stop(&r);
	loop_thread_join(&other);
	loop_deinit(&other);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_vectors),
		cmocka_unit_test(test_shapes),
		cmocka_unit_test(test_params),
		cmocka_unit_test(test_backlog),
		cmocka_unit_test(test_steered),
		cmocka_unit_test(test_nobody_waits),
		cmocka_unit_test(test_a_queue_rests),
		cmocka_unit_test(test_one_way_out),
		cmocka_unit_test(test_features),
		cmocka_unit_test(test_one_loop),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
