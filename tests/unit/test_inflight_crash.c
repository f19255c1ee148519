/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A device process that is killed at any of its stores, and another that goes on from what memory
 * and in-flight region hold then: every request of the driver is answered, none twice, and what is
 * served again is served in the driver's order. The second one is killed at each of its stores too.
 */
#include "inflight_fixture.h"

#include "base/alloc.h"
#include "crash_points.h"
#include "packed_driver.h"
#include "skip.h"

#define NUM	   8
#define ROUNDS	   60
#define POINTS_MAX 16384
#define NEVER	   UINT32_MAX

/* The driver's side: which request each head, or buffer id, stands for. */
struct driver {
	uint16_t avail_idx, seen; /* split */
	uint64_t offered, taken; /* packed */
	uint16_t ndescs[NUM];
	uint32_t next_request;
	uint32_t request[NUM]; /* NEVER: it is free */
};

/* What outlives a process. */
struct point {
	struct driver driver;
	uint8_t desc[16 * NUM], table[16 * NUM], avail[6 + 2 * NUM], used[6 + 8 * NUM];
	uint8_t region[sizeof(struct inflight_packed) + NUM * sizeof(struct inflight_packed_desc)];
};

struct run {
	struct fix f;
	struct keeper k;
	struct driver d;
	uint32_t seed;
	uint32_t last_served; /* request + 1 */
};

/* A ring's format. */
struct format {
	const char *name;
	uint64_t features;
	uint64_t written; /* what the device writes of the ring, first byte */
	/* False where there is no room. */
	bool (*offer)(struct run *r, uint16_t head);
	/* The next answer's head; false where there is none. */
	bool (*take)(struct run *r, uint32_t *head);
	/* What a front-end sets whose back-end died. */
	uint16_t (*base)(struct run *r);
};

static const struct format *format;
static struct run *at_hand;
static struct point *points;
static unsigned int num_points;
static struct pdriver pd;

static uint32_t random_below(struct run *r, uint32_t n)
{
	r->seed = r->seed * 1664525 + 1013904223;
	return (r->seed >> 16) % n;
}

/* --- split --- */

static bool split_offer(struct run *r, uint16_t head)
{
	set_desc(&r->f, DESC_AT, head, DATA_AT + head * 16u, 16, 0, 0);
	avail(&r->f)->ring[r->d.avail_idx % NUM] = le16_make(head);
	avail(&r->f)->idx = le16_make(++r->d.avail_idx);
	return true;
}

static bool split_take(struct run *r, uint32_t *head)
{
	if (r->d.seen == used_idx(&r->f))
		return false;
	*head = le32_get(used(&r->f)->ring[r->d.seen++ % NUM].id);
	return true;
}

/* As QEMU does that cannot ask: the used index. */
static uint16_t split_base(struct run *r)
{
	return used_idx(&r->f);
}

/* --- packed --- */

static void pd_load(struct run *r)
{
	pd.f = &r->f;
	pd.num = NUM;
	pd.offered = r->d.offered;
	pd.taken = r->d.taken;
	memcpy(pd.ndescs, r->d.ndescs, sizeof(r->d.ndescs));
}

static void pd_save(struct run *r)
{
	r->d.offered = pd.offered;
	r->d.taken = pd.taken;
	memcpy(r->d.ndescs, pd.ndescs, sizeof(r->d.ndescs));
}

/* One to three descriptors, or an indirect table. */
static bool packed_offer(struct run *r, uint16_t id)
{
	struct pdesc descs[3] = { { DATA_AT + id * 16u, 16, 0 }, { DATA_AT + 0x1000, 8, 0 },
		{ DATA_AT + 0x2000, 24, WRITE } };
	uint32_t n = 1 + random_below(r, 3);

	pd_load(r);
	if (n > NUM - (pd.offered - pd.taken))
		return false;
	if (n == 1 && random_below(r, 2)) {
		set_desc(&r->f, TABLE_AT, id, DATA_AT + id * 16u, 16, 0, 0);
		descs[0] = (struct pdesc){ TABLE_AT + id * 16u, 16, INDIRECT };
	}
	pd_offer(&pd, id, descs, n);
	pd_save(r);
	return true;
}

static bool packed_take(struct run *r, uint32_t *head)
{
	uint16_t id = 0;
	uint32_t len;
	bool taken;

	pd_load(r);
	if (!pd_is_used(&pd, pd.taken))
		return false;
	taken = pd_take(&pd, &id, &len);
	pd_save(r);
	if (!taken)
		fail_msg("an answer at place %u for id %u, which nobody waits for",
			(unsigned int)(pd.taken % NUM), le16_get(pd_at(&pd, pd.taken)->id));
	*head = id;
	return true;
}

/* As QEMU does: where the driver began. */
static uint16_t packed_base(struct run *r)
{
	(void)r;
	return VRING_PACKED_START;
}

static const struct format formats[] = {
	{ "split", 0, USED_AT, split_offer, split_take, split_base },
	{ "packed", PACKED, DESC_AT, packed_offer, packed_take, packed_base },
};

/* --- both --- */

static void keep_point(void)
{
	struct run *r = at_hand;
	struct point *p = &points[num_points];

	if (num_points == POINTS_MAX)
		return;
	num_points++;
	p->driver = r->d;
	memcpy(p->desc, ram(&r->f, DESC_AT), sizeof(p->desc));
	memcpy(p->table, ram(&r->f, TABLE_AT), sizeof(p->table));
	memcpy(p->avail, ram(&r->f, AVAIL_AT), sizeof(p->avail));
	memcpy(p->used, ram(&r->f, USED_AT), sizeof(p->used));
	memcpy(p->region, r->k.region, sizeof(p->region));
}

static void put_point(struct run *r, const struct point *p)
{
	uint32_t i;

	r->d = p->driver;
	memcpy(ram(&r->f, DESC_AT), p->desc, sizeof(p->desc));
	memcpy(ram(&r->f, TABLE_AT), p->table, sizeof(p->table));
	memcpy(ram(&r->f, AVAIL_AT), p->avail, sizeof(p->avail));
	memcpy(ram(&r->f, USED_AT), p->used, sizeof(p->used));
	memcpy(r->k.region, p->region, sizeof(p->region));
	for (i = 0; i < NUM; i++)
		memcpy(ram(&r->f, DATA_AT + i * 16ull), &r->d.request[i], 4);
}

/* Holds most, in a way that the seed decides; never says retry. */
static enum serve_verdict serve_some(struct vq *vq, struct chain *c)
{
	struct test_device *td = container_of(vq->dev, struct test_device, dev);
	uint32_t request;

	assert_true(chain_take(c, &request, sizeof(request)));
	/* Again first and by age, then what is new: the driver's order throughout. */
	if (request < at_hand->last_served)
		fail_msg("request %u after %u", request, at_hand->last_served - 1);
	at_hand->last_served = request + 1;
	if (random_below(at_hand, 3) == 0)
		return SERVE_DONE;
	td->held[td->num_held++] = c;
	return SERVE_HELD;
}

static void driver_offer(struct run *r, unsigned int n)
{
	unsigned int tries;

	for (tries = 0; tries < n; tries++) {
		uint16_t head = (uint16_t)random_below(r, NUM);

		if (r->d.request[head] != NEVER)
			continue;
		memcpy(ram(&r->f, DATA_AT + head * 16ull), &r->d.next_request, 4);
		if (!format->offer(r, head))
			return;
		r->d.request[head] = r->d.next_request++;
	}
}

/* Takes what is shown as used; each must be something that waits. */
static void driver_reap(struct run *r)
{
	uint32_t head;

	while (format->take(r, &head)) {
		assert_in_range(head, 0, NUM - 1);
		if (r->d.request[head] == NEVER)
			fail_msg("head %u was answered twice", head);
		r->d.request[head] = NEVER;
	}
}

static void complete_one(struct run *r)
{
	struct test_device *td = test_device(&r->f);
	uint32_t i;

	if (!td->num_held)
		return;
	i = random_below(r, td->num_held);
	vq_complete(r->f.vq, td->held[i]);
	td->held[i] = td->held[--td->num_held];
}

static void run_init(struct run *r, uint32_t seed)
{
	uint32_t i;

	memset(r, 0, sizeof(*r));
	fix_init(&r->f, 0, 0);
	keeper_init(&r->k);
	test_device(&r->f)->serve = serve_some;
	r->seed = seed;
	for (i = 0; i < NUM; i++)
		r->d.request[i] = NEVER;
	at_hand = r;
}

static void watch(struct run *r)
{
	crash_watch(gmem_ptr(r->f.mem, format->written, 1));
	crash_watch(r->k.mapped->host);
	crash_begin(keep_point);
}

static void go_on(struct run *r)
{
	fix_go_on(&r->f, &r->k, NUM, format->base(r), format->features);
}

static void run_deinit(struct run *r)
{
	crash_end();
	fix_deinit(&r->f);
	keeper_deinit(&r->k);
}

/* Everything that waits is answered, sooner or later. */
static void finish(struct run *r)
{
	struct test_device *td = test_device(&r->f);
	uint32_t i;

	while (td->num_held) {
		complete_one(r);
		if (random_below(r, 2)) {
			pump(&r->f);
			driver_reap(r);
		}
	}
	pump(&r->f);
	if (r->f.dev->broken)
		fail_msg("%s", r->f.dev->broken_reason);
	driver_reap(r);
	for (i = 0; i < NUM; i++)
		if (r->d.request[i] != NEVER)
			fail_msg("request %u of head %u was lost", r->d.request[i], i);
}

/* A new process at the point; @traced: its own stores are points too. */
static void recover(const struct point *p, uint32_t seed, bool traced)
{
	struct run r;

	run_init(&r, seed);
	put_point(&r, p);
	if (traced)
		watch(&r);
	go_on(&r);
	finish(&r);
	/* And it works on. */
	driver_offer(&r, 3);
	kick(&r.f);
	finish(&r);
	run_deinit(&r);
}

static void drive(struct run *r)
{
	unsigned int i;

	for (i = 0; i < ROUNDS; i++) {
		driver_offer(r, random_below(r, NUM * 2));
		/* A kick is the device's turn. */
		kick(&r->f);
		while (random_below(r, 3))
			complete_one(r);
		pump(&r->f);
		driver_reap(r);
	}
}

static unsigned int first_life(uint32_t seed)
{
	unsigned int n;
	struct run r;

	num_points = 0;
	run_init(&r, seed);
	watch(&r);
	go_on(&r);
	drive(&r);
	n = num_points;
	finish(&r);
	run_deinit(&r);
	/* The test saw something: index, marks, lists. */
	assert_in_range(n, ROUNDS * 5, POINTS_MAX - 1);
	return n;
}

static void killed_at_any_store(const struct format *which)
{
	struct point *first = xnew_n(struct point, POINTS_MAX);
	struct point *second = xnew_n(struct point, POINTS_MAX);
	unsigned int num_first, num_second, i, j;

	format = which;
	points = first;
	num_first = first_life(1);
	points = second;
	for (i = 0; i < num_first; i++) {
		/* Killed again while it recovers: a part of them. */
		bool traced = i % 32 == 0;

		num_points = 0;
		recover(&first[i], i, traced);
		num_second = traced ? num_points : 0;
		for (j = 0; j < num_second; j++)
			recover(&second[j], j, false);
	}
	free(second);
	free(first);
}

static void test_split(void **state)
{
	(void)state;
	if (!CRASH_POINTS)
		skip_because("no single steps from within on this machine");
	killed_at_any_store(&formats[0]);
}

static void test_packed(void **state)
{
	(void)state;
	if (!CRASH_POINTS)
		skip_because("no single steps from within on this machine");
	killed_at_any_store(&formats[1]);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_split),
		cmocka_unit_test(test_packed),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
