/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A model of a split ring: a driver that allocates as drivers do, or at random, and a back-end that
 * answers in order or not, each at any moment in the middle of what it writes, and a witness that
 * looks now and then. When the back-end dies the model knows what was outstanding: a base that the
 * witness names stands for just that, whatever happened; and where it should know, it does.
 */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/util.h"
#include "vhost/ring_witness.h"
#include "virtio/vring.h"

#define RAM_BYTES 0x20000
#define DESC	  0x0
#define AVAIL	  0x8000
#define USED	  0x10000
#define NUM_MAX	  64

enum allocation { LIFO, FIFO, RANDOM };

struct model {
	uint8_t *ram;
	struct gmem *mem;
	struct vq_config cfg;
	struct ring_witness w;
	uint64_t now;
	unsigned int seed;
	enum allocation allocation;
	uint32_t num, depth, chain;
	bool in_order;

	uint16_t free_list[NUM_MAX];
	uint32_t num_free;
	/* Outstanding heads, the oldest first, with the index of each. */
	uint16_t out[NUM_MAX], out_idx[NUM_MAX];
	uint32_t num_out;
	/* Answers that the driver did not take yet. */
	uint16_t done[NUM_MAX];
	uint32_t num_done;
	uint16_t avail, used;
};

static uint32_t chance(struct model *m, uint32_t n)
{
	return (uint32_t)rand_r(&m->seed) % n;
}

static struct vring_desc *desc_of(struct model *m, uint16_t i)
{
	return (struct vring_desc *)(m->ram + DESC) + i;
}

static struct vring_avail *avail_of(struct model *m)
{
	return (struct vring_avail *)(m->ram + AVAIL);
}

static struct vring_used *used_of(struct model *m)
{
	return (struct vring_used *)(m->ram + USED);
}

static uint16_t take_free(struct model *m)
{
	uint32_t at = m->allocation == LIFO   ? m->num_free - 1
		      : m->allocation == FIFO ? 0
					      : chance(m, m->num_free);
	uint16_t i = m->free_list[at];

	m->num_free--;
	memmove(&m->free_list[at], &m->free_list[at + 1],
		(m->num_free - at) * sizeof(m->free_list[0]));
	return i;
}

/* One request; it is published by publish(). */
static bool add(struct model *m, uint32_t ahead)
{
	uint32_t n = 1 + chance(m, m->chain);
	uint16_t head, at;

	if (n > m->num_free || m->num_out + ahead >= m->depth)
		return false;
	head = at = take_free(m);
	for (uint32_t i = 0; i < n; i++) {
		uint16_t next = i + 1 < n ? take_free(m) : 0;

		*desc_of(m, at) = (struct vring_desc){ le64_make(0x1000), le32_make(16),
			le16_make(i + 1 < n ? VRING_DESC_F_NEXT : 0), le16_make(next) };
		at = next;
	}
	avail_of(m)->ring[(uint16_t)(m->avail + ahead) % m->num] = le16_make(head);
	m->out[m->num_out + ahead] = head;
	m->out_idx[m->num_out + ahead] = (uint16_t)(m->avail + ahead);
	return true;
}

static void look(struct model *m)
{
	m->now += chance(m, NSEC_PER_MSEC);
	witness_look(&m->w, m->mem, &m->cfg, m->now);
}

static void drive(struct model *m, uint32_t look_every)
{
	uint32_t n = 0, batch = 1 + chance(m, 4);

	while (n < batch && add(m, n))
		n++;
	/* Written, and not published: somebody may look, or somebody die, right now. */
	if (look_every && !chance(m, look_every))
		look(m);
	m->avail = (uint16_t)(m->avail + n);
	m->num_out += n;
	avail_of(m)->idx = le16_make(m->avail);
}

static void reap(struct model *m)
{
	while (m->num_done) {
		uint16_t at = m->done[--m->num_done];

		for (;;) {
			struct vring_desc *d = desc_of(m, at);

			m->free_list[m->num_free++] = at;
			if (!(le16_get(d->flags) & VRING_DESC_F_NEXT))
				break;
			at = le16_get(d->next);
		}
	}
}

/* Answers some; with @dies the last batch stays unpublished. */
static void answer(struct model *m, bool dies, uint32_t look_every)
{
	uint32_t n = MIN(m->num_out, 1 + chance(m, 4));
	uint16_t done[4];

	if (dies) {
		for (uint32_t i = 0; i < n; i++)
			used_of(m)->ring[(uint16_t)(m->used + i) % m->num].id =
				le32_make(m->out[i]);
		return;
	}
	for (uint32_t i = 0; i < n; i++) {
		uint32_t at = m->in_order ? 0 : chance(m, MIN(m->num_out, 1 + chance(m, 6)));

		done[i] = m->out[at];
		used_of(m)->ring[(uint16_t)(m->used + i) % m->num].id = le32_make(done[i]);
		m->num_out--;
		memmove(&m->out[at], &m->out[at + 1], (m->num_out - at) * sizeof(m->out[0]));
		memmove(&m->out_idx[at], &m->out_idx[at + 1],
			(m->num_out - at) * sizeof(m->out_idx[0]));
	}
	if (look_every && !chance(m, look_every))
		look(m);
	m->used = (uint16_t)(m->used + n);
	used_of(m)->idx = le16_make(m->used);
	for (uint32_t i = 0; i < n; i++)
		m->done[m->num_done++] = done[i];
}

/* Is what is outstanding just what lies from the used index on? */
static bool has_base(const struct model *m)
{
	for (uint32_t i = 0; i < m->num_out; i++)
		if (m->out_idx[i] != (uint16_t)(m->used + i))
			return false;
	return true;
}

static void begin(struct model *m, uint16_t base)
{
	struct err err = { 0 };
	int fd = memfd_create("ram", MFD_CLOEXEC);
	const struct gmem_region_desc desc = { .size = RAM_BYTES };
	struct gmem_region *region;

	assert_int_equal(ftruncate(fd, RAM_BYTES), 0);
	assert_int_equal(gmem_region_new(&desc, fd, &region, &err), 0);
	assert_int_equal(gmem_new(&region, 1, &m->mem, &err), 0);
	m->ram = region->host;
	gmem_region_unref(region);
	close(fd);
	m->cfg = (struct vq_config){ .num = m->num, .desc = DESC, .driver = AVAIL, .device = USED };
	for (uint32_t i = 0; i < m->num; i++)
		m->free_list[m->num_free++] = (uint16_t)(m->num - 1 - i);
	/* Areas at 0 are none. */
	m->avail = m->used = base;
	avail_of(m)->idx = used_of(m)->idx = le16_make(base);
	witness_begin(&m->w, m->mem, &m->cfg, base, m->now);
}

static void end(struct model *m)
{
	witness_end(&m->w);
	gmem_unref(m->mem);
}

/* Runs for some turns, then the back-end dies: 1: a base was named, 0: none. */
static int live_and_die(struct model *m, uint32_t turns, uint32_t look_every, bool told)
{
	struct err err = { 0 };
	uint16_t base;
	int r;

	while (turns--) {
		drive(m, look_every);
		answer(m, false, look_every);
		if (chance(m, 3))
			reap(m);
	}
	drive(m, 0);
	if (chance(m, 2))
		answer(m, true, 0);
	look(m);
	/* The driver goes on as far as it can. */
	for (uint32_t i = chance(m, 8); i > 0; i--) {
		reap(m);
		drive(m, 0);
	}
	r = witness_base(&m->w, m->mem, &m->cfg, told, &base, &err);
	if (r < 0)
		return 0;
	assert_int_equal(base, m->used);
	assert_true(has_base(m));
	return 1;
}

static void init(struct model *m, unsigned int seed)
{
	*m = (struct model){ .seed = seed, .now = NSEC_PER_SEC };
	m->num = 8u << chance(m, 4);
	m->allocation = (enum allocation)chance(m, 3);
	m->depth = 1 + chance(m, m->num);
	m->chain = 1 + chance(m, 3);
	m->in_order = chance(m, 2);
}

static void test_never_wrong(void **state)
{
	unsigned int named = 0, none = 0;
	struct model m;

	(void)state;
	for (unsigned int seed = 0; seed < 20000; seed++) {
		init(&m, seed);
		begin(&m, (uint16_t)(chance(&m, 2) ? 0 : chance(&m, 65536)));
		if (live_and_die(&m, chance(&m, 300), 1 + chance(&m, 60), false))
			named++;
		else
			none++;
		end(&m);
	}
	/* Both are seen often, or this shows nothing. */
	assert_in_range(named, 2000, 18000);
	assert_in_range(none, 2000, 18000);
}

/* In order, by negotiation: nobody has to have looked. */
static void test_told_in_order(void **state)
{
	struct model m;

	(void)state;
	for (unsigned int seed = 0; seed < 2000; seed++) {
		init(&m, seed);
		m.in_order = true;
		begin(&m, 0);
		assert_int_equal(live_and_die(&m, chance(&m, 300), 0, true), 1);
		end(&m);
	}
}

/* One request at a time, and looks soon enough: always known. Likewise many, answered in order. */
static void test_known(void **state)
{
	struct model m;

	(void)state;
	for (unsigned int seed = 0; seed < 2000; seed++) {
		init(&m, seed);
		m.in_order = true;
		m.depth = seed % 2 ? 1 : MIN(m.depth, m.num / 4);
		m.num = MAX(m.num, 32u);
		m.depth = MAX(m.depth, 1u);
		begin(&m, 65530);
		for (int i = 0; i < 100; i++) {
			drive(&m, 0);
			answer(&m, false, 0);
			reap(&m);
			look(&m);
		}
		assert_int_equal(live_and_die(&m, 0, 0, false), 1);
		end(&m);
	}
}

/* Nobody looked at all, but most of the ring was never used. */
static void test_deduced(void **state)
{
	struct model m;

	(void)state;
	for (unsigned int seed = 0; seed < 2000; seed++) {
		init(&m, seed);
		m.in_order = true;
		m.num = 64;
		m.depth = 1;
		m.chain = 1 + seed % 2 * 2;
		m.allocation = LIFO;
		begin(&m, 0);
		for (int i = 0; i < 500; i++) {
			drive(&m, 0);
			answer(&m, false, 0);
			reap(&m);
		}
		drive(&m, 0);
		assert_int_equal(live_and_die(&m, 0, 0, false), 1);
		end(&m);
	}
}

/*
 * Head 0 is never answered, while head 1 goes round and round: the ring looks just as if head 1 had
 * gone round alone. Nobody who was not there can tell which of the two is outstanding.
 */
static void test_outlasted_a_round(void **state)
{
	struct model m = { .num = 8, .depth = 8, .chain = 1 };
	struct err err = { 0 };
	uint16_t base;

	(void)state;
	begin(&m, 0);
	for (uint16_t i = 0; i < 8; i++)
		*desc_of(&m, i) = (struct vring_desc){ le64_make(0x1000), le32_make(16),
			le16_make(0), le16_make(0) };
	for (uint16_t i = 0; i < 8; i++) {
		avail_of(&m)->ring[i] = le16_make(1);
		used_of(&m)->ring[i].id = le32_make(1);
	}
	avail_of(&m)->idx = le16_make(101);
	used_of(&m)->idx = le16_make(100);
	witness_look(&m.w, m.mem, &m.cfg, 1);
	assert_int_equal(witness_base(&m.w, m.mem, &m.cfg, false, &base, &err), -ENODATA);
	assert_non_null(strstr(err.msg, "which 1 requests were not answered cannot be told"));
	end(&m);
}

static const struct bad {
	const char *name;
	uint16_t avail, used, head, id;
	const char *says;
} bad[] = {
	{ "a head beyond the ring", 1, 0, 8, 0, "a head beyond the ring" },
	{ "an answer to nothing", 2, 1, 0, 5, "answered what was not on its way" },
	{ "an answer beyond the ring", 2, 1, 0, 9, "answered what was not on its way" },
	{ "more than the ring holds", 9, 0, 0, 0, "9 ahead of the device's in a ring of 8" },
	{ "a device ahead of the driver", 0, 1, 0, 0, "65535 ahead" },
	{ "a head twice", 2, 0, 1, 0, "was answered before others" },
};

static void test_bad_rings(void **state)
{
	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(bad); i++) {
		struct model m = { .num = 8, .depth = 8, .chain = 1 };
		struct err err = { 0 };
		uint16_t base;

		begin(&m, 0);
		for (uint16_t n = 0; n < 8; n++) {
			*desc_of(&m, n) = (struct vring_desc){ le64_make(0x1000), le32_make(16),
				le16_make(VRING_DESC_F_NEXT), le16_make(n) };
			avail_of(&m)->ring[n] = le16_make(bad[i].head);
			used_of(&m)->ring[n].id = le32_make(bad[i].id);
		}
		avail_of(&m)->idx = le16_make(bad[i].avail);
		used_of(&m)->idx = le16_make(bad[i].used);
		witness_look(&m.w, m.mem, &m.cfg, 1);
		assert_true(witness_base(&m.w, m.mem, &m.cfg, false, &base, &err) < 0);
		if (!strstr(err.msg, bad[i].says))
			fail_msg("%s: %s", bad[i].name, err.msg);
		end(&m);
	}
}

/* What is lost comes back with a moment of rest, and looks that come too late are none. */
static void test_lost_and_found(void **state)
{
	struct model m;
	struct err err = { 0 };
	uint16_t base;

	(void)state;
	init(&m, 1);
	m.num = 16;
	m.depth = 4;
	m.chain = 1;
	m.allocation = FIFO;
	m.in_order = true;
	begin(&m, 0);
	for (int i = 0; i < 40; i++) {
		drive(&m, 0);
		answer(&m, false, 0);
		reap(&m);
	}
	drive(&m, 0);
	m.now += WITNESS_MAX_NS + 1;
	witness_look(&m.w, m.mem, &m.cfg, m.now);
	assert_false(m.w.known);
	while (m.num_out)
		answer(&m, false, 0);
	look(&m);
	assert_true(m.w.known);
	reap(&m);
	drive(&m, 0);
	m.now += WITNESS_MAX_NS + 1;
	witness_look(&m.w, m.mem, &m.cfg, m.now);
	assert_false(m.w.known);
	assert_true(witness_base(&m.w, m.mem, &m.cfg, false, &base, &err) < 0);
	end(&m);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_never_wrong),
		cmocka_unit_test(test_told_in_order),
		cmocka_unit_test(test_known),
		cmocka_unit_test(test_deduced),
		cmocka_unit_test(test_outlasted_a_round),
		cmocka_unit_test(test_bad_rings),
		cmocka_unit_test(test_lost_and_found),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
