/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A device process that is killed at any of its stores, and another that goes on from what memory
 * and in-flight region hold then: every request of the driver is answered, none twice, and what is
 * served again is served in the driver's order. The second one is killed at each of its stores too.
 */
#include "inflight_fixture.h"

#include "base/alloc.h"
#include "crash_points.h"

#define NUM	   8
#define ROUNDS	   60
#define POINTS_MAX 8192
#define NEVER	   UINT32_MAX

/* The driver's side: which request each head stands for. */
struct driver {
	uint16_t avail_idx, seen;
	uint32_t next_request;
	uint32_t request[NUM]; /* by head; NEVER: the head is free */
};

/* What outlives a process. */
struct point {
	struct driver driver;
	uint8_t avail[6 + 2 * NUM], used[6 + 8 * NUM];
	uint8_t region[sizeof(struct inflight_split) + NUM * sizeof(struct inflight_split_desc)];
};

struct run {
	struct fix f;
	struct keeper k;
	struct driver d;
	uint32_t seed;
	bool complain; /* about an order that is not the driver's */
	uint32_t last_served; /* request + 1 */
};

static struct run *at_hand;
static struct point *points;
static unsigned int num_points;

static uint32_t random_below(struct run *r, uint32_t n)
{
	r->seed = r->seed * 1664525 + 1013904223;
	return (r->seed >> 16) % n;
}

static void keep_point(void)
{
	struct run *r = at_hand;
	struct point *p = &points[num_points];

	if (num_points == POINTS_MAX)
		return;
	num_points++;
	p->driver = r->d;
	memcpy(p->avail, ram(&r->f, AVAIL_AT), sizeof(p->avail));
	memcpy(p->used, ram(&r->f, USED_AT), sizeof(p->used));
	memcpy(p->region, r->k.region, sizeof(p->region));
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
	uint16_t head;

	while (n--) {
		for (head = (uint16_t)random_below(r, NUM); r->d.request[head] != NEVER && n;
			head = (uint16_t)((head + 1) % NUM))
			n--;
		if (r->d.request[head] != NEVER)
			return;
		r->d.request[head] = r->d.next_request;
		memcpy(ram(&r->f, DATA_AT + head * 16ull), &r->d.next_request, 4);
		r->d.next_request++;
		avail(&r->f)->ring[r->d.avail_idx % NUM] = le16_make(head);
		avail(&r->f)->idx = le16_make(++r->d.avail_idx);
	}
}

/* Takes what is shown as used; each must be something that waits. */
static void driver_reap(struct run *r)
{
	while (r->d.seen != used_idx(&r->f)) {
		uint32_t head = le32_get(used(&r->f)->ring[r->d.seen++ % NUM].id);

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
	for (i = 0; i < NUM; i++) {
		r->d.request[i] = NEVER;
		set_desc(&r->f, DESC_AT, i, DATA_AT + i * 16, 16, 0, 0);
	}
	at_hand = r;
}

static void watch(struct run *r)
{
	crash_watch(gmem_ptr(r->f.mem, USED_AT, 1));
	crash_watch(r->k.mapped->host);
	crash_begin(keep_point);
}

static void go_on(struct run *r)
{
	/* As QEMU does that cannot ask: the used index. */
	fix_go_on(&r->f, &r->k, NUM, used_idx(&r->f), 0);
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
		if (random_below(r, 2))
			pump(&r->f);
	}
	pump(&r->f);
	if (r->f.dev->broken)
		fail_msg("%s", r->f.dev->broken_reason);
	driver_reap(r);
	for (i = 0; i < NUM; i++)
		if (r->d.request[i] != NEVER)
			fail_msg("request %u of head %u was lost", r->d.request[i], i);
}

static void put_point(struct run *r, const struct point *p)
{
	uint32_t i;

	r->d = p->driver;
	memcpy(ram(&r->f, AVAIL_AT), p->avail, sizeof(p->avail));
	memcpy(ram(&r->f, USED_AT), p->used, sizeof(p->used));
	memcpy(r->k.region, p->region, sizeof(p->region));
	for (i = 0; i < NUM; i++)
		memcpy(ram(&r->f, DATA_AT + i * 16ull), &r->d.request[i], 4);
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
		driver_offer(r, random_below(r, NUM));
		/* A kick is the device's turn. */
		kick(&r->f);
		while (random_below(r, 3))
			complete_one(r);
		pump(&r->f);
		driver_reap(r);
	}
}

static void test_killed_at_any_store(void **state)
{
	struct point *first = xnew_n(struct point, POINTS_MAX);
	unsigned int num_first, i, j;
	struct run r;

	(void)state;
	if (!CRASH_POINTS)
		skip();
	points = first;
	num_points = 0;
	run_init(&r, 1);
	watch(&r);
	go_on(&r);
	drive(&r);
	num_first = num_points;
	finish(&r);
	run_deinit(&r);
	/* The test saw something: index, marks, lists. */
	assert_in_range(num_first, ROUNDS * 5, POINTS_MAX - 1);
	points = xnew_n(struct point, POINTS_MAX);
	for (i = 0; i < num_first; i++) {
		num_points = 0;
		/* Killed again while it recovers: a few points' worth of that. */
		recover(&first[i], i, i % 16 == 0);
		for (j = 0; j < num_points && i % 16 == 0; j++)
			recover(&points[j], j, false);
	}
	free(points);
	free(first);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_killed_at_any_store),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
