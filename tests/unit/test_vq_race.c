/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Three threads on one ring: a data loop that serves it, a guest that drives it or flips its words,
 * and the main loop that looks. What the looker reads is never an impossible combination; what the
 * device is given is never more than was checked.
 */
#include "vq_fixture.h"

#include <sched.h>

#define NUM	  64
#define CHAINS	  40000
#define PAYLOAD	  32 /* readable bytes of each: all of them stand in the snapshot */
#define BUFFER(h) (DATA_AT + (h)*256u)

static struct loop data_loop;
static _Atomic unsigned int num_faults;
static const char *_Atomic first_fault;

/* cmocka's asserts belong to the main thread. */
static void must(bool ok, const char *what)
{
	const char *none = NULL;

	if (ok)
		return;
	num_faults++;
	atomic_compare_exchange_strong(&first_fault, &none, what);
}

static void check_faults(void)
{
	if (num_faults)
		fail_msg("%u faults, the first: %s", num_faults, first_fault);
}

/* The device's serve() is in place before the data loop runs. */
static void start(struct fix *f, uint32_t num,
	enum serve_verdict (*serve)(struct vdev *dev, struct vq *vq, struct chain *c))
{
	static struct vdev_class cls;
	struct err err = { 0 };

	num_faults = 0;
	first_fault = NULL;
	assert_int_equal(loop_init(&data_loop, "data", &err), 0);
	assert_int_equal(loop_thread_start(&data_loop, &err), 0);
	cls = test_class;
	cls.serve = serve;
	fix_class = &cls;
	fix_data_loop = &data_loop;
	fix_init(f, num, 0);
}

static void wait_idle(struct fix *f)
{
	while (!vdev_is_idle(f->dev))
		loop_run_once(&f->loop, 1);
}

/* --- a guest at full speed, and a reader --- */

struct guest {
	struct fix *f;
	pthread_t thread;
	_Atomic bool done;
	uint16_t free[NUM], num_free, used_seen;
	uint16_t seq;
};

static void guest_collect(struct guest *g)
{
	struct vring_used *ring = used(g->f);
	uint16_t idx = load_le16(&ring->idx);

	must((uint16_t)(idx - g->used_seen) <= NUM, "used index runs ahead of what was offered");
	for (; g->used_seen != idx; g->used_seen++)
		g->free[g->num_free++] =
			(uint16_t)le32_get(ring->ring[g->used_seen % g->f->num].id);
}

/* Bytes and lengths that tell of each other: the head, then one number throughout. */
static void guest_offer(struct guest *g)
{
	uint16_t head = g->free[--g->num_free], words[PAYLOAD / 2];
	size_t i;

	g->seq++;
	words[0] = head;
	for (i = 1; i < ARRAY_SIZE(words); i++)
		words[i] = g->seq;
	memcpy(ram(g->f, BUFFER(head)), words, sizeof(words));
	set_desc(g->f, DESC_AT, head, BUFFER(head), PAYLOAD, NEXT, NUM + head);
	set_desc(g->f, DESC_AT, NUM + head, BUFFER(head) + 128, 1 + g->seq % 64u, WRITE, 0);
	avail(g->f)->ring[g->f->avail_idx % g->f->num] = le16_make(head);
	g->f->avail_idx++;
	store_le16(&avail(g->f)->idx, g->f->avail_idx);
}

static void *guest_main(void *arg)
{
	struct guest *g = arg;
	uint64_t one = 1;
	unsigned int i;

	for (i = 0; i < CHAINS; i++) {
		guest_collect(g);
		while (!g->num_free && !num_faults) {
			sched_yield();
			guest_collect(g);
		}
		if (num_faults)
			break;
		guest_offer(g);
		must(write(g->f->kick, &one, 8) == 8, "kick");
	}
	g->done = true;
	return NULL;
}

/* Holds a few, and answers the oldest from within the newest one's serve(). */
#define HOLD 24
static struct chain *fifo[HOLD];
static unsigned int num_fifo;

static enum serve_verdict hold_some(struct vdev *dev, struct vq *vq, struct chain *c)
{
	uint8_t bytes[PAYLOAD];
	size_t i;

	(void)dev;
	/* Byte by byte, so that what inspection might mix takes its time. */
	for (i = 0; i < sizeof(bytes); i++)
		must(chain_take(c, bytes + i, 1), "payload is there");
	if (num_fifo == HOLD) {
		struct chain *oldest = fifo[0];

		memmove(fifo, fifo + 1, (HOLD - 1) * sizeof(fifo[0]));
		num_fifo--;
		must(chain_put(oldest, bytes, 1), "room for an answer");
		vq_complete(vq, oldest);
	}
	fifo[num_fifo++] = c;
	return SERVE_HELD;
}

static _Atomic bool has_let_go;

static void let_go(struct loop_post *post)
{
	unsigned int i;

	for (i = 0; i < num_fifo; i++)
		vq_complete(fifo[i]->vq, fifo[i]);
	num_fifo = 0;
	(void)post;
	has_let_go = true;
}

/* Stops the queue; what is held comes back behind the stop, so that nothing is held after it. */
static void stop_all(struct fix *f)
{
	static struct loop_post post = { .fn = let_go };

	vdev_hold(f->dev);
	has_let_go = false;
	loop_post(&data_loop, &post);
	while (!has_let_go)
		loop_run_once(&f->loop, 1);
	wait_idle(f);
}

static void check_view(const struct vq_view *v, struct vq_view *last, uint64_t base)
{
	const uint64_t *now = (const uint64_t *)&v->counters;
	const uint64_t *before = (const uint64_t *)&last->counters;
	size_t i;

	must(v->inuse <= NUM, "more in use than there are heads");
	must((uint16_t)(v->last_avail_idx - v->used_idx) == v->inuse, "taken, answered, in use");
	must((uint16_t)(v->shadow_avail_idx - v->last_avail_idx) <= NUM * 2, "ahead of avail");
	must((uint16_t)(v->counters.popped - base) == v->last_avail_idx, "popped and index");
	must(v->counters.popped - v->counters.completed == v->inuse, "popped and completed");
	must(v->counters.bytes_read == v->counters.completed * PAYLOAD, "bytes and completed");
	for (i = 0; i < sizeof(v->counters) / 8; i++)
		must(now[i] >= before[i], "a counter went back");
	must(v->progress_ns >= last->progress_ns, "time went back");
	*last = *v;
}

static unsigned int check_inflight(struct vq *vq)
{
	unsigned int n = 0;
	uint16_t head, words[PAYLOAD / 2];
	struct vq_inflight in;
	size_t i;

	for (head = 0; head < NUM * 2; head++) {
		if (!vq_read_inflight(vq, head, &in))
			continue;
		n++;
		memcpy(words, in.snap, sizeof(words));
		must(in.head == head && words[0] == head, "another head's bytes");
		for (i = 2; i < ARRAY_SIZE(words); i++)
			must(words[i] == words[1], "a mixture of two requests");
		must(in.num_snap == PAYLOAD && in.readable_bytes == PAYLOAD, "readable");
		must(in.writable_bytes == 1 + words[1] % 64u, "another request's length");
		must(in.since_ns && in.since_ns <= now_ns(), "time of arrival");
	}
	return n;
}

/* Stop, start, another call descriptor: nobody may notice. */
static void disturb(struct fix *f, unsigned int round)
{
	int fd;

	if (round % 8 == 3) {
		fd = dup(f->call);
		vq_set_call_fd(f->vq, &fd);
	}
	if (round % 8 == 5) {
		fd = dup(f->kick);
		vq_set_kick_fd(f->vq, &fd);
	}
	if (round % 32)
		return;
	stop_all(f);
	must(!check_inflight(f->vq), "in flight while idle");
	vdev_release(f->dev);
}

static void look_while_running(bool disturbing)
{
	struct guest g = { .num_free = NUM };
	unsigned int round = 0, num_seen = 0, i;
	struct vq_view last = { 0 }, v;
	struct fix f;

	start(&f, NUM * 2, hold_some);
	g.f = &f;
	for (round = 0; round < NUM; round++)
		g.free[round] = (uint16_t)round;
	assert_int_equal(pthread_create(&g.thread, NULL, guest_main, &g), 0);
	for (round = 1; !g.done && !num_faults; round++) {
		/* Many looks, so that some fall into the moments in which the owner writes. */
		for (i = 0; i < 200; i++)
			if (vq_read_view(f.vq, &v))
				check_view(&v, &last, 0);
		num_seen += check_inflight(f.vq);
		loop_run_once(&f.loop, 0);
		if (disturbing)
			disturb(&f, round);
		must(!f.dev->broken, "broken");
	}
	pthread_join(g.thread, NULL);
	check_faults();
	while (vq_read_view(f.vq, &v) && v.counters.popped != CHAINS)
		loop_run_once(&f.loop, 1);
	stop_all(&f);
	check_faults();
	assert_true(num_seen > 0);
	assert_int_equal(view(&f).counters.completed, CHAINS);
	assert_int_equal(used_idx(&f), (uint16_t)CHAINS);
	fix_deinit(&f);
	loop_thread_join(&data_loop);
	loop_deinit(&data_loop);
}

static void test_look_while_running(void **state)
{
	(void)state;
	look_while_running(false);
}

static void test_look_while_stopping_and_starting(void **state)
{
	(void)state;
	look_while_running(true);
}

/* --- a guest that changes its mind (double fetches) --- */

#define D DATA_AT

static const struct flip {
	const char *name;
	uint64_t at; /* the word */
	unsigned int bytes;
	uint64_t values[2];
} flips[] = {
	{ "length", DESC_AT + 8, 4, { 16, UINT32_MAX } },
	{ "length and none", DESC_AT + 8, 4, { 16, 0 } },
	{ "length of what is written", DESC_AT + 16 + 8, 4, { 16, 1 << 30 } },
	{ "address", DESC_AT, 8, { D, RAM_END - 8 } },
	{ "address at the regions' border", DESC_AT, 8, { D, SPLIT - 8 } },
	{ "address of what is written", DESC_AT + 16, 8, { D + 64, UINT64_MAX - 4 } },
	{ "next flag", DESC_AT + 12, 2, { NEXT, 0 } },
	{ "direction", DESC_AT + 16 + 12, 2, { WRITE, 0 } },
	{ "indirect flag", DESC_AT + 12, 2, { NEXT, INDIRECT } },
	{ "next: a loop", DESC_AT + 14, 2, { 1, 0 } },
	{ "next: beyond (CVE-2026-86848)", DESC_AT + 14, 2, { 1, 65535 } },
	/* CVE-2026-93683: the table's length, between the check and the walk */
	{ "table's length", DESC_AT + 32 + 8, 4, { 32, UINT32_MAX & ~15u } },
	{ "table's length, shorter", DESC_AT + 32 + 8, 4, { 32, 16 } },
	{ "table's address", DESC_AT + 32, 8, { TABLE_AT, SPLIT - 16 } },
	{ "next in the table", TABLE_AT + 14, 2, { 1, 9999 } },
	{ "flags in the table", TABLE_AT + 16 + 12, 2, { WRITE, INDIRECT | NEXT } },
	{ "length in the table", TABLE_AT + 8, 4, { 16, 0x7fffffff } },
	{ "the head that is offered", AVAIL_AT + 4, 2, { 0, 77 } },
	{ "payload", D, 8, { 0, UINT64_MAX } },
};

struct flipper {
	struct fix *f;
	const struct flip *flip;
	pthread_t thread;
	_Atomic bool stop;
};

static void *flip_main(void *arg)
{
	struct flipper *fl = arg;
	/* A mapping of its own, as a guest has. */
	uint8_t *map = mmap(NULL, RAM_END, PROT_READ | PROT_WRITE, MAP_SHARED, fl->f->memfd, 0);
	void *at = map + fl->flip->at;
	unsigned int i;

	for (i = 0; !fl->stop; i++) {
		uint64_t v = fl->flip->values[i % 2];

		if (fl->flip->bytes == 8)
			__atomic_store_n((uint64_t *)at, htole64(v), __ATOMIC_RELAXED);
		else if (fl->flip->bytes == 4)
			__atomic_store_n((uint32_t *)at, htole32((uint32_t)v), __ATOMIC_RELAXED);
		else
			__atomic_store_n((uint16_t *)at, htole16((uint16_t)v), __ATOMIC_RELAXED);
	}
	munmap(map, RAM_END);
	return NULL;
}

static bool in_guest_memory(const struct gmem *mem, const struct iovec *iov)
{
	unsigned int i;

	for (i = 0; i < mem->num_regions; i++) {
		const uint8_t *host = mem->regions[i]->host, *p = iov->iov_base;

		if (p >= host && range_inside((uint64_t)(p - host), iov->iov_len,
					 mem->regions[i]->desc.size))
			return true;
	}
	return false;
}

static uint64_t check_cursor(struct vq *vq, const struct chain_cursor *cur)
{
	uint64_t sum = 0;
	int i;

	for (i = 0; i < cur->num_iov; i++) {
		must(in_guest_memory(vq->mem, &cur->iov[i]), "a piece outside guest memory");
		sum += cur->iov[i].iov_len;
	}
	must(sum == cur->bytes, "the pieces' sum is another");
	return sum;
}

/* Takes all that was offered and fills all the room that was; what was copied is what counts. */
static enum serve_verdict use_all(struct vdev *dev, struct vq *vq, struct chain *c)
{
	static uint8_t copy[1 << 16];
	size_t in = (size_t)check_cursor(vq, &c->readable);
	size_t out = (size_t)check_cursor(vq, &c->writable);

	(void)dev;
	must(in <= sizeof(copy) && out <= sizeof(copy), "more than any of the values allows");
	if (in > sizeof(copy) || out > sizeof(copy))
		return SERVE_DONE;
	must(chain_take(c, copy, in) && !c->readable.num_iov, "all can be taken");
	must(!memcmp(copy, (const void *)c->snap, MIN(in, (size_t)CHAIN_SNAP_BYTES)), "snapshot");
	must(chain_put(c, copy, out) && !c->writable.num_iov, "all can be filled");
	return SERVE_DONE;
}

static void lay_out(struct fix *f)
{
	set_desc(f, DESC_AT, 0, D, 16, NEXT, 1);
	set_desc(f, DESC_AT, 1, D + 64, 16, WRITE, 0);
	set_desc(f, DESC_AT, 2, TABLE_AT, 32, INDIRECT, 0);
	set_desc(f, TABLE_AT, 0, D, 16, NEXT, 1);
	set_desc(f, TABLE_AT, 1, D + 64, 16, WRITE, 0);
	set_desc(f, SPLIT - 16, 0, D, 16, 0, 1);
	set_desc(f, SPLIT - 16, 1, D + 64, 16, WRITE, 0);
}

static void restart(struct fix *f)
{
	vdev_hold(f->dev);
	wait_idle(f);
	vdev_reset(f->dev);
	vdev_release(f->dev);
	fix_start_ring(f, 8, 0);
	lay_out(f);
}

static void flip_one(const struct flip *flip)
{
	struct fix f;
	struct flipper fl = { .f = &f, .flip = flip };
	/* Words of descriptor 2 and of the table want the chain that is a table. */
	bool indirect = flip->at >= TABLE_AT ? flip->at < D
					     : flip->at >= DESC_AT + 32 && flip->at < AVAIL_AT;
	unsigned int i;
	uint64_t one = 1;

	start(&f, 8, use_all);
	lay_out(&f);
	assert_int_equal(pthread_create(&fl.thread, NULL, flip_main, &fl), 0);
	for (i = 0; i < 200; i++) {
		uint16_t want = (uint16_t)(f.avail_idx + 1);

		offer(&f, indirect ? 2 : 0);
		assert_int_equal(write(f.kick, &one, 8), 8);
		while (load_le16(&used(&f)->idx) != want && !f.dev->broken)
			loop_run_once(&f.loop, 1);
		if (f.dev->broken)
			restart(&f);
	}
	fl.stop = true;
	pthread_join(fl.thread, NULL);
	if (num_faults)
		fail_msg("%s: %u faults, the first: %s", flip->name, num_faults, first_fault);
	fix_deinit(&f);
	loop_thread_join(&data_loop);
	loop_deinit(&data_loop);
}

static void test_flipping_words(void **state)
{
	size_t i;

	(void)state;
	for (i = 0; i < ARRAY_SIZE(flips); i++)
		flip_one(&flips[i]);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_look_while_running),
		cmocka_unit_test(test_look_while_stopping_and_starting),
		cmocka_unit_test(test_flipping_words),
	};

	/* Devices are broken by the hundred here. */
	log_set_level((enum log_level) - 1);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
