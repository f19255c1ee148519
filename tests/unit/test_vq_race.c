/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Three threads on one ring: a data loop that serves it, a guest that drives it or flips its words,
 * and the main loop that looks. What the looker reads is never an impossible combination; what the
 * device is given is never more than was checked.
 */
#include "packed_driver.h"
#include "race_checks.h"

#include <sched.h>
#include <stdlib.h>

#define CHAINS	  40000u /* RINGSIDE_RACE_CHAINS: another number */
#define BUFFER(h) (DATA_AT + (h)*256u)

static struct loop data_loop;
static unsigned int num_chains = CHAINS;
static uint64_t features; /* of the rings to come: either format's */
static struct pdriver pd;

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
	fix_init(f, num, features);
	pd_init(&pd, f);
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

static void guest_collect_packed(struct guest *g)
{
	uint16_t id;
	uint32_t len;

	while (pd_take(&pd, &id, &len))
		g->free[g->num_free++] = id;
	must(!pd.is_bad, "an id that was not offered");
}

static void guest_collect_split(struct guest *g)
{
	struct vring_used *ring = used(g->f);
	uint16_t idx = load_le16(&ring->idx);

	must((uint16_t)(idx - g->used_seen) <= NUM, "used index runs ahead of what was offered");
	for (; g->used_seen != idx; g->used_seen++)
		g->free[g->num_free++] =
			(uint16_t)le32_get(ring->ring[g->used_seen % g->f->num].id);
}

static void guest_collect(struct guest *g)
{
	if (features & PACKED)
		guest_collect_packed(g);
	else
		guest_collect_split(g);
}

static void offer_packed(struct guest *g, uint16_t id)
{
	const struct pdesc descs[] = { { BUFFER(id), PAYLOAD, 0 },
		{ BUFFER(id) + 128, 1 + g->seq % 64u, WRITE } };

	pd_offer(&pd, id, descs, 2);
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
	if (features & PACKED) {
		offer_packed(g, head);
		return;
	}
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

	for (i = 0; i < num_chains; i++) {
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
	uint64_t num_reads = 0, last_event = 0;
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
		num_reads += i;
		check_events(f.vq, &last_event);
		num_seen += check_inflight(f.vq);
		loop_run_once(&f.loop, 0);
		if (disturbing)
			disturb(&f, round);
		must(!f.dev->broken, "broken");
	}
	pthread_join(g.thread, NULL);
	check_faults();
	while (vq_read_view(f.vq, &v) && v.counters.popped != num_chains)
		loop_run_once(&f.loop, 1);
	stop_all(&f);
	check_faults();
	assert_true(num_seen > 0);
	print_message("# %llu reads\n", (unsigned long long)num_reads);
	assert_int_equal(view(&f).counters.completed, num_chains);
	assert_int_equal(view(&f).used_idx,
		(features & PACKED ? num_chains * 2 % (NUM * 2) : (uint16_t)num_chains));
	fix_deinit(&f);
	loop_thread_join(&data_loop);
	loop_deinit(&data_loop);
}

static void test_look_while_running(void **state)
{
	(void)state;
	look_while_running(false);
	features = PACKED;
	look_while_running(false);
	features = 0;
}

static void test_look_while_stopping_and_starting(void **state)
{
	(void)state;
	look_while_running(true);
	features = PACKED;
	look_while_running(true);
	features = 0;
}

/* --- a guest that changes its mind (double fetches) --- */

#define D DATA_AT

static const struct flip {
	const char *name;
	uint64_t at; /* the word */
	unsigned int bytes;
	uint64_t values[2];
	uint32_t packed; /* a packed ring of this size, all of it one chain; 1: a table */
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
	{ "packed: length", DESC_AT + 8, 4, { 16, UINT32_MAX }, 2 },
	{ "packed: length and none", DESC_AT + 8, 4, { 16, 0 }, 2 },
	{ "packed: length of what is written", DESC_AT + 16 + 8, 4, { 16, 1 << 30 }, 2 },
	{ "packed: address", DESC_AT, 8, { D, RAM_END - 8 }, 2 },
	{ "packed: address at the border", DESC_AT, 8, { D, SPLIT - 8 }, 2 },
	{ "packed: address of what is written", DESC_AT + 16, 8, { D + 64, UINT64_MAX - 4 }, 2 },
	{ "packed: id", DESC_AT + 16 + 12, 2, { 1, 0xffff }, 2 },
	{ "packed: id of another", DESC_AT + 16 + 12, 2, { 1, 0 }, 2 },
	{ "packed: direction", DESC_AT + 16 + 14, 2, { WRITE | P_AVAIL, P_AVAIL }, 2 },
	{ "packed: the end", DESC_AT + 16 + 14, 2, { WRITE | P_AVAIL, WRITE | NEXT | P_AVAIL }, 2 },
	{ "packed: whose", DESC_AT + 14, 2, { NEXT | P_AVAIL, NEXT | P_USED }, 2 },
	{ "packed: indirect flag", DESC_AT + 14, 2, { NEXT | P_AVAIL, INDIRECT | P_AVAIL }, 2 },
	{ "packed: what the driver wants", AVAIL_AT, 4, { 0x28001, 0x37fff }, 2 },
	{ "packed: what we want", USED_AT, 4, { 0, UINT32_MAX }, 2 },
	{ "packed: payload", D, 8, { 0, UINT64_MAX }, 1 },
	{ "packed: table's length", DESC_AT + 8, 4, { 32, UINT32_MAX & ~15u }, 1 },
	{ "packed: table's length, shorter", DESC_AT + 8, 4, { 32, 16 }, 1 },
	{ "packed: table's address", DESC_AT, 8, { TABLE_AT, SPLIT - 16 }, 1 },
	{ "packed: flags in the table", TABLE_AT + 16 + 14, 2, { WRITE, INDIRECT | NEXT }, 1 },
	{ "packed: length in the table", TABLE_AT + 8, 4, { 16, 0x7fffffff }, 1 },
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

static void lay_out_packed(struct fix *f)
{
	pd_init(&pd, f);
	for (unsigned int i = 0; i < 2; i++) {
		uint64_t table = i ? SPLIT - 16 : TABLE_AT;

		set_desc(f, table, 0, D, 16, 0, 0);
		set_desc(f, table, 1, D + 64, 16, 0, WRITE);
	}
}

/* The whole ring again, in the flags of its round; true once it was answered. */
static bool offer_all_packed(struct fix *f)
{
	const struct pdesc list[] = { { D, 16, 0 }, { D + 64, 16, WRITE } };
	const struct pdesc table = { TABLE_AT, 32, INDIRECT };
	uint64_t one = 1;

	if (f->num == 1)
		pd_offer(&pd, 0, &table, 1);
	else
		pd_offer(&pd, 1, list, 2);
	must(write(f->kick, &one, 8) == 8, "kick");
	/* The flips may have taken back what was offered, or hidden the answer. */
	for (unsigned int i = 0; i < 30 && !f->dev->broken; i++) {
		if (pd_is_used(&pd, pd.taken)) {
			pd.taken += f->num;
			return true;
		}
		loop_run_once(&f->loop, 1);
	}
	return false;
}

static void restart(struct fix *f)
{
	vdev_hold(f->dev);
	wait_idle(f);
	vdev_reset(f->dev);
	vdev_release(f->dev);
	fix_start_ring(f, f->num, features);
	if (features & PACKED)
		lay_out_packed(f);
	else
		lay_out(f);
}

static void offer_split(struct fix *f, const struct flip *flip)
{
	/* Words of descriptor 2 and of the table want the chain that is a table. */
	bool indirect = flip->at >= TABLE_AT ? flip->at < D
					     : flip->at >= DESC_AT + 32 && flip->at < AVAIL_AT;
	uint16_t want = htole16((uint16_t)(f->avail_idx + 1));
	uint64_t one = 1;

	offer(f, indirect ? 2 : 0);
	assert_int_equal(write(f->kick, &one, 8), 8);
	while (__atomic_load_n(&used(f)->idx.raw, __ATOMIC_ACQUIRE) != want && !f->dev->broken)
		loop_run_once(&f->loop, 1);
}

static void flip_one(const struct flip *flip)
{
	struct fix f;
	struct flipper fl = { .f = &f, .flip = flip };
	unsigned int i;

	features = flip->packed ? PACKED : 0;
	start(&f, flip->packed ? flip->packed : 8, use_all);
	if (flip->packed)
		lay_out_packed(&f);
	else
		lay_out(&f);
	assert_int_equal(pthread_create(&fl.thread, NULL, flip_main, &fl), 0);
	for (i = 0; i < 200; i++) {
		bool stuck = false;

		if (flip->packed)
			stuck = !offer_all_packed(&f);
		else
			offer_split(&f, flip);
		if (f.dev->broken || stuck)
			restart(&f);
	}
	fl.stop = true;
	pthread_join(fl.thread, NULL);
	if (num_faults)
		fail_msg("%s: %u faults, the first: %s", flip->name, num_faults, first_fault);
	features = 0;
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
	const char *chains = getenv("RINGSIDE_RACE_CHAINS");

	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_look_while_running),
		cmocka_unit_test(test_look_while_stopping_and_starting),
		cmocka_unit_test(test_flipping_words),
	};

	/* Devices are broken by the hundred here. */
	log_set_level((enum log_level) - 1);
	if (chains)
		num_chains = (unsigned int)atoi(chains);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
