/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Both formats against a plain model: random sizes, chains, tables, orders of answers and wishes to
 * be notified. The model knows what each chain holds, which are offered, taken and answered, and
 * between which answers the driver has to be called; nothing of it knows how a ring works.
 */
#include "packed_driver.h"

#include "inspect/health_look.h"

#define EVENT_IDX (1ull << VIRTIO_F_EVENT_IDX)
#define ROUNDS	  120 /* rings */
#define STEPS	  400 /* of each */
#define NUM_MAX	  48
#define PIECES	  6 /* of a chain, at most */
#define ROOM	  64 /* bytes of each piece */

/* A chain as its driver made it, by its name on the ring. */
struct made {
	enum { FREE, OFFERED, TAKEN, ANSWERED } state;
	uint32_t num_readable, num_writable; /* pieces */
	uint32_t len[PIECES];
	uint32_t readable, writable, written; /* bytes */
	uint8_t seed; /* what its bytes are */
	uint32_t num_descs; /* in the ring */
	uint16_t descs[PIECES]; /* split: which */
	struct chain *chain; /* while the device holds it */
};

struct model {
	struct fix f;
	struct pdriver packed;
	bool is_packed, event_idx;
	unsigned int rand;
	struct made made[NUM_MAX];
	uint32_t num_free_descs;
	bool desc_taken[NUM_MAX]; /* split */
	uint16_t used_seen; /* split */
	uint32_t num_answers, num_taken_back; /* in all */
	uint32_t called_at; /* asked for a call once so many answers are there; 0: always */
	bool calls_off;
	bool called; /* since the driver said so */
	unsigned int num_rests, num_lost; /* verdicts on a queue at rest, and on a lost kick */
};

static struct model m;

static unsigned int any(unsigned int n)
{
	return (unsigned int)rand_r(&m.rand) % n;
}

static uint64_t piece_at(uint16_t name, uint32_t piece)
{
	return DATA_AT + (name * PIECES + piece) * ROOM;
}

static uint8_t byte_of(const struct made *c, uint32_t i)
{
	return (uint8_t)(c->seed + i * 7);
}

/* --- the device --- */

static void write_answer(struct chain *c)
{
	struct made *made = &m.made[c->head];
	uint8_t bytes[PIECES * ROOM];

	made->written = made->writable ? any(made->writable + 1) : 0;
	for (uint32_t i = 0; i < made->written; i++)
		bytes[i] = byte_of(made, i + 100);
	assert_true(chain_put(c, bytes, made->written));
	made->state = ANSWERED;
	made->chain = NULL;
	m.num_answers++;
}

static enum serve_verdict serve(struct vq *vq, struct chain *c)
{
	struct made *made = &m.made[c->head];
	uint8_t bytes[PIECES * ROOM];

	(void)vq;
	if (!any(20)) {
		vq_resume(vq);
		return SERVE_RETRY;
	}
	assert_int_equal(made->state, OFFERED);
	assert_int_equal(c->readable.bytes, made->readable);
	assert_int_equal(c->writable.bytes, made->writable);
	assert_true(chain_take(c, bytes, made->readable));
	for (uint32_t i = 0; i < made->readable; i++)
		assert_int_equal(bytes[i], byte_of(made, i));
	made->state = TAKEN;
	made->chain = c;
	if (any(3))
		return SERVE_HELD;
	write_answer(c);
	return SERVE_DONE;
}

static void answer_some(void)
{
	for (uint16_t name = 0; name < m.f.num; name++) {
		struct chain *c = m.made[name].chain;

		if (!c || any(2))
			continue;
		write_answer(c);
		vq_complete(c->vq, c);
	}
}

/* --- the driver --- */

static void make_bytes(uint16_t name, struct made *c)
{
	uint32_t n = 0;

	c->seed = (uint8_t)any(256);
	c->num_readable = any(PIECES / 2 + 1);
	c->num_writable = any(PIECES / 2 + 1);
	if (!(c->num_readable + c->num_writable))
		c->num_readable = 1;
	c->readable = c->writable = 0;
	for (uint32_t i = 0; i < c->num_readable + c->num_writable; i++) {
		uint8_t *at = ram(&m.f, piece_at(name, i));

		c->len[i] = any(8) ? any(ROOM) : 0;
		memset(at, 0xaa, ROOM);
		if (i >= c->num_readable) {
			c->writable += c->len[i];
			continue;
		}
		c->readable += c->len[i];
		for (uint32_t k = 0; k < c->len[i]; k++)
			at[k] = byte_of(c, n++);
	}
}

static void offer_packed(uint16_t name, struct made *c, bool indirect)
{
	struct pdesc descs[PIECES];
	uint32_t n = c->num_readable + c->num_writable;

	for (uint32_t i = 0; i < n; i++)
		descs[i] = (struct pdesc){ piece_at(name, i), c->len[i],
			i < c->num_readable ? 0 : WRITE };
	if (indirect) {
		uint64_t table = TABLE_AT + name * 16u * PIECES;

		for (uint32_t i = 0; i < n; i++)
			set_desc(&m.f, table, i, descs[i].addr, descs[i].len, 99, descs[i].flags);
		descs[0] = (struct pdesc){ table, n * 16, INDIRECT };
		n = 1;
	}
	pd_offer(&m.packed, name, descs, n);
}

/* Any descriptors that are free, in any order. */
static uint16_t take_desc(void)
{
	uint16_t i;

	do {
		i = (uint16_t)any(m.f.num);
	} while (m.desc_taken[i]);
	m.desc_taken[i] = true;
	return i;
}

static void write_list(uint64_t table, const uint16_t *order, uint16_t name, const struct made *c)
{
	uint32_t n = c->num_readable + c->num_writable;

	for (uint32_t i = 0; i < n; i++)
		set_desc(&m.f, table, order[i], piece_at(name, i), c->len[i],
			(uint16_t)((i < c->num_readable ? 0 : WRITE) | (i + 1 < n ? NEXT : 0)),
			i + 1 < n ? order[i + 1] : 0xffff);
}

/* The name is the first descriptor: the caller has found it free. */
static void offer_split(uint16_t name, struct made *c, bool indirect)
{
	static const uint16_t in_order[PIECES] = { 0, 1, 2, 3, 4, 5 };
	uint64_t table = TABLE_AT + name * 16u * PIECES;

	m.desc_taken[name] = true;
	c->descs[0] = name;
	for (uint32_t i = 1; i < c->num_descs; i++)
		c->descs[i] = take_desc();
	if (indirect) {
		write_list(table, in_order, name, c);
		set_desc(&m.f, DESC_AT, name, table, (c->num_readable + c->num_writable) * 16,
			INDIRECT, 0);
	} else {
		write_list(DESC_AT, c->descs, name, c);
	}
	offer(&m.f, name);
}

static bool offer_one(void)
{
	uint16_t name = (uint16_t)any(m.f.num);
	struct made *c = &m.made[name];
	bool indirect = any(2);

	if (c->state != FREE || (!m.is_packed && m.desc_taken[name]))
		return false;
	make_bytes(name, c);
	c->num_descs = indirect ? 1 : c->num_readable + c->num_writable;
	if (c->num_descs > m.num_free_descs)
		return false;
	m.num_free_descs -= c->num_descs;
	c->state = OFFERED;
	if (m.is_packed)
		offer_packed(name, c, indirect);
	else
		offer_split(name, c, indirect);
	return true;
}

/* Did the driver's last offers pass what the device asked for? Places or indices, all told. */
static bool device_wants_kick(uint64_t before, uint64_t now)
{
	const struct vring_packed_event *event = pd_device_event(&m.packed);

	if (m.is_packed && le16_get(event->flags) != VRING_PACKED_EVENT_DESC)
		return le16_get(event->flags) == VRING_PACKED_EVENT_ENABLE;
	for (; before < now; before++)
		if (m.is_packed ? pd_off_wrap(&m.packed, before) == le16_get(event->off_wrap)
				: (uint16_t)before == avail_event(&m.f))
			return true;
	return !m.is_packed && !m.event_idx && !(le16_get(used(&m.f)->flags) & 1);
}

static uint64_t offered(void)
{
	return m.is_packed ? m.packed.offered : m.f.avail_idx;
}

static void offer_some(void)
{
	uint64_t before = offered(), one = 1, now;

	for (unsigned int n = any(6); n--;)
		offer_one();
	now = offered();
	if (now < before)
		now += 65536;
	__atomic_thread_fence(__ATOMIC_SEQ_CST);
	if (now != before && device_wants_kick(before, now))
		assert_int_equal(write(m.f.kick, &one, 8), 8);
}

static bool next_answer(uint16_t *name, uint32_t *len)
{
	struct vring_used_elem elem;

	if (m.is_packed) {
		bool got = pd_take(&m.packed, name, len);

		assert_false(m.packed.is_bad);
		return got;
	}
	if (m.used_seen == used_idx(&m.f))
		return false;
	elem = used(&m.f)->ring[m.used_seen++ % m.f.num];
	*name = (uint16_t)le32_get(elem.id);
	*len = le32_get(elem.len);
	return true;
}

static void take_answers(void)
{
	uint32_t len;
	uint16_t name;

	while (next_answer(&name, &len)) {
		struct made *c = &m.made[name];
		uint32_t n = 0;

		assert_true(name < m.f.num);
		assert_int_equal(c->state, ANSWERED);
		assert_int_equal(len, c->written);
		for (uint32_t i = c->num_readable; i < c->num_readable + c->num_writable; i++) {
			const uint8_t *at = ram(&m.f, piece_at(name, i));

			for (uint32_t k = 0; k < ROOM; k++, n += k <= c->len[i])
				assert_int_equal(at[k], k < c->len[i] && n < c->written
								? byte_of(c, n + 100)
								: 0xaa);
		}
		for (uint32_t i = 0; !m.is_packed && i < c->num_descs; i++)
			m.desc_taken[c->descs[i]] = false;
		m.num_free_descs += c->num_descs;
		c->state = FREE;
		m.num_taken_back++;
	}
}

/* All that was taken back is behind us: how to be told of what comes. */
static void choose_calls(void)
{
	unsigned int ahead = any(3);

	m.calls_off = !any(4);
	m.called_at = 0;
	if (m.calls_off) {
		if (m.is_packed)
			pd_want(&m.packed, VRING_PACKED_EVENT_DISABLE, 0);
		else if (m.event_idx)
			set_used_event(&m.f, (uint16_t)(m.used_seen - 1));
		else
			avail(&m.f)->flags = le16_make(1);
		return;
	}
	if (m.event_idx && m.is_packed && any(2)) {
		/* A place is there after as many answers as chains it takes to get there. */
		pd_want(&m.packed, VRING_PACKED_EVENT_DESC,
			pd_off_wrap(&m.packed, m.packed.taken + ahead));
		m.called_at = m.num_taken_back + ahead + 1;
	} else if (m.is_packed) {
		pd_want(&m.packed, VRING_PACKED_EVENT_ENABLE, 0);
	} else if (m.event_idx) {
		set_used_event(&m.f, (uint16_t)(m.used_seen + ahead));
		m.called_at = m.num_taken_back + ahead + 1;
	} else {
		avail(&m.f)->flags = le16_make(0);
	}
}

/* Enough answers since the driver said what it wants: it was called. */
static void check_call(void)
{
	m.called = num_calls(&m.f) || m.called;
	if (!m.calls_off && m.num_answers > m.num_taken_back && m.num_answers >= m.called_at)
		assert_true(m.called);
	if (m.calls_off && !m.event_idx)
		assert_false(m.called);
}

/* --- verdicts: nobody here is to be accused --- */

#define THRESHOLD_NS (2 * NSEC_PER_SEC)
#define LATER_NS     (10 * NSEC_PER_SEC)

static struct health_watch watch;

static const struct health_watch *watch_of(void *opaque, const struct vq *vq)
{
	(void)opaque;
	(void)vq;
	return &watch;
}

static void judge(uint64_t now, struct health_verdict *ret)
{
	const struct health_scene scene = {
		.now_ns = now, .threshold_ns = THRESHOLD_NS, .watch_of = watch_of
	};
	char role[DESCRIBE_ROLE_BYTES];
	struct health_picture p;

	health_gather(&scene, m.f.dev, m.f.vq, &p, role);
	health_judge(&p, ret);
}

static void check_not_stuck(const struct health_verdict *v)
{
	if (v->severity == VIRT_QUEUE_SEVERITY_STUCK)
		fail_msg("a healthy queue is accused: %s", v->sentence);
}

/* In the middle of things: whatever is looked at, no time has passed. */
static void look(void)
{
	uint64_t now = now_ns();
	struct health_verdict v;

	health_watch_look(&watch, m.f.vq, now);
	judge(now, &v);
	check_not_stuck(&v);
}

/* All is answered and taken, and nobody does anything for long. */
static void look_at_rest(void)
{
	uint64_t now = now_ns();
	struct health_verdict v;

	for (uint16_t name = 0; name < m.f.num; name++)
		if (m.made[name].state != FREE)
			return;
	health_watch_look(&watch, m.f.vq, now);
	judge(now + LATER_NS, &v);
	check_not_stuck(&v);
	m.num_rests++;
	/* A driver that wants no calls, and says so by an index that it has passed. */
	if (v.verdict != VIRT_QUEUE_VERDICT_COMPLETION_UNSEEN)
		assert_int_equal(v.verdict, VIRT_QUEUE_VERDICT_IDLE);
}

/* Of what was offered at rest the kick gets lost: then somebody is to be told. */
static void lose_a_kick(void)
{
	uint64_t one = 1, now;
	struct health_verdict v;

	for (uint16_t name = 0; name < m.f.num; name++)
		if (m.made[name].state != FREE)
			return;
	if (!offer_one())
		return;
	now = now_ns();
	health_watch_look(&watch, m.f.vq, now);
	judge(now + THRESHOLD_NS / 2, &v);
	check_not_stuck(&v);
	judge(now + LATER_NS, &v);
	assert_int_equal(v.severity, VIRT_QUEUE_SEVERITY_STUCK);
	assert_int_equal(v.verdict, VIRT_QUEUE_VERDICT_KICK_LOST);
	m.num_lost++;
	assert_int_equal(write(m.f.kick, &one, 8), 8);
}

/* --- */

static void start(void)
{
	uint32_t num = 1 + any(NUM_MAX - 1);
	unsigned int seed = m.rand;
	uint64_t features;

	memset(&m, 0, sizeof(m));
	m.rand = seed;
	m.is_packed = any(2);
	m.event_idx = any(2);
	features = (m.is_packed ? PACKED : 0) | (m.event_idx ? EVENT_IDX : 0);
	if (!m.is_packed)
		num = 1u << any(6);
	fix_init(&m.f, num, features);
	test_device(&m.f)->serve = serve;
	pd_init(&m.packed, &m.f);
	m.num_free_descs = num;
	num_calls(&m.f);
}

static void check_all_taken(void)
{
	for (uint16_t name = 0; name < m.f.num; name++)
		if (m.made[name].state == OFFERED)
			fail_msg("a chain waits, and nobody will wake the device");
}

static void one_ring(void)
{
	start();
	choose_calls();
	watch = (struct health_watch){ 0 };
	for (unsigned int step = 0; step < STEPS; step++) {
		offer_some();
		look();
		/* Offers that fell between its last look and its wish were seen. */
		pump(&m.f);
		check_all_taken();
		look();
		answer_some();
		look();
		pump(&m.f);
		assert_false(m.f.dev->broken);
		check_call();
		if (!any(3))
			continue;
		take_answers();
		assert_int_equal(m.num_taken_back, m.num_answers);
		choose_calls();
		num_calls(&m.f);
		m.called = false;
		look_at_rest();
		if (!any(4))
			lose_a_kick();
	}
	/* What was offered last is taken by now, and may be held. */
	pump(&m.f);
	for (uint16_t name = 0; name < m.f.num; name++)
		if (m.made[name].chain)
			vq_complete(m.f.vq, m.made[name].chain);
	fix_deinit(&m.f);
}

static void test_rings(void **state)
{
	unsigned int num_rests = 0, num_lost = 0;

	(void)state;
	m.rand = 20;
	for (unsigned int i = 0; i < ROUNDS; i++) {
		one_ring();
		num_rests += m.num_rests;
		num_lost += m.num_lost;
	}
	assert_true(num_rests > ROUNDS && num_lost > ROUNDS / 4);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_rings),
	};

	log_set_level((enum log_level) - 1);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
