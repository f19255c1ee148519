/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The driver's rings against a model of a device: whatever is made available comes there as it is
 * and comes back with its token, over many laps; notifications are asked for and given exactly
 * where the specification says so; what a device cannot have meant is refused.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "driver/pattern.h"
#include "tests/unit/model_device.h"

#define NUM_TOKENS 600
#define STEPS	   4000

struct rig {
	struct dmem mem;
	struct dring ring;
	struct model model;
	uint64_t buffers;
};

static const struct dring_config configs[] = {
	{ .num = 1, .max_bufs = 1 },
	{ .num = 8, .max_bufs = 3 },
	{ .num = 8, .max_bufs = 3, .event_idx = true },
	{ .num = 8, .max_bufs = 3, .indirect = true },
	{ .num = 8, .max_bufs = 3, .in_order = true },
	{ .num = 8, .max_bufs = 3, .in_order = true, .indirect = true, .event_idx = true },
	{ .num = 256, .max_bufs = 5, .event_idx = true, .indirect = true },
	{ .packed = true, .num = 1, .max_bufs = 1 },
	{ .packed = true, .num = 7, .max_bufs = 3 },
	{ .packed = true, .num = 7, .max_bufs = 3, .event_idx = true },
	{ .packed = true, .num = 5, .max_bufs = 3, .indirect = true },
	{ .packed = true, .num = 7, .max_bufs = 3, .in_order = true },
	{ .packed = true,
		.num = 9,
		.max_bufs = 3,
		.in_order = true,
		.indirect = true,
		.event_idx = true },
	{ .packed = true, .num = 300, .max_bufs = 5, .event_idx = true, .indirect = true },
};

static void rig_init(struct rig *rig, const struct dring_config *cfg)
{
	struct err err = { 0 };

	assert_int_equal(dmem_init(&rig->mem, dring_memory_bytes(cfg) * 3, 3, &err), 0);
	assert_int_equal(dring_init(&rig->ring, cfg, &rig->mem, &err), 0);
	assert_non_null(dmem_alloc(&rig->mem, 4096, 64, &rig->buffers, &err));
	model_init(&rig->model, &rig->ring, &rig->mem);
}

static void rig_deinit(struct rig *rig)
{
	dring_deinit(&rig->ring);
	dmem_deinit(&rig->mem);
}

/* A chain that its token describes: what the model has to see. */
static unsigned int make_bufs(
	const struct rig *rig, uint32_t token, struct dring_buf *bufs, unsigned int *ret_out)
{
	unsigned int num = token % rig->ring.cfg.max_bufs + 1;

	*ret_out = token / 7 % (num + 1);
	for (unsigned int i = 0; i < num; i++)
		bufs[i] = (struct dring_buf){ rig->buffers + token + i, token + 10 * i + 1 };
	return num;
}

static bool add(struct rig *rig, uint32_t token)
{
	struct dring_buf bufs[MODEL_BUFS];
	unsigned int num_out, num = make_bufs(rig, token, bufs, &num_out);

	return dring_add(&rig->ring, bufs, num_out, num - num_out, token);
}

static void check_chain(const struct rig *rig, const struct model_chain *c, uint32_t token)
{
	struct dring_buf bufs[MODEL_BUFS];
	unsigned int num_out, num = make_bufs(rig, token, bufs, &num_out);

	assert_int_equal(c->num_bufs, num);
	assert_int_equal(c->num_out, num_out);
	for (unsigned int i = 0; i < num; i++) {
		assert_int_equal(c->addr[i], bufs[i].addr);
		assert_int_equal(c->len[i], bufs[i].len);
	}
}

/* --- everything comes back --- */

struct held {
	struct model_chain chain;
	uint32_t token;
};

struct walk {
	struct rig rig;
	struct held held[NUM_TOKENS];
	unsigned int num_held;
	uint32_t fifo[NUM_TOKENS]; /* tokens in the order in which they were added */
	unsigned int head, tail;
	uint32_t expected_len[NUM_TOKENS];
	bool out[NUM_TOKENS];
	uint64_t random;
	unsigned int num_back;
};

static uint32_t pick(struct walk *w, uint32_t limit)
{
	return (uint32_t)(pattern_random(&w->random) % limit);
}

static void driver_adds(struct walk *w)
{
	for (uint32_t n = pick(w, 6); n; n--) {
		uint32_t token = pick(w, NUM_TOKENS);

		if (w->out[token] || !add(&w->rig, token))
			continue;
		w->out[token] = true;
		w->fifo[w->tail++ % NUM_TOKENS] = token;
	}
	dring_publish(&w->rig.ring);
}

static void device_takes(struct walk *w)
{
	for (uint32_t n = pick(w, 6); n; n--) {
		struct held *h = &w->held[w->num_held];

		if (!model_pop(&w->rig.model, &h->chain))
			break;
		h->token = w->fifo[w->head++ % NUM_TOKENS];
		check_chain(&w->rig, &h->chain, h->token);
		w->num_held++;
	}
}

/* In order: a batch from the oldest on. Else: any one. */
static void device_answers(struct walk *w)
{
	bool in_order = w->rig.ring.cfg.in_order;
	unsigned int n = in_order ? pick(w, w->num_held) + 1 : 1;
	unsigned int at = in_order ? n - 1 : pick(w, w->num_held), descs = 0;
	struct held last = w->held[at];
	uint32_t len = last.chain.writable ? pick(w, (uint32_t)last.chain.writable + 1) : 0;

	for (unsigned int i = 0; in_order && i < n; i++) {
		w->expected_len[w->held[i].token] = (uint32_t)w->held[i].chain.writable;
		descs += w->held[i].chain.num_descs;
	}
	w->expected_len[last.token] = len;
	model_push(&w->rig.model, last.chain.id, len, n, in_order ? descs : last.chain.num_descs);
	w->num_held -= n;
	memmove(in_order ? &w->held[0] : &w->held[at], &w->held[in_order ? n : at + 1],
		(w->num_held - (in_order ? 0 : at)) * sizeof(last));
}

static void driver_takes_back(struct walk *w)
{
	uint32_t token, len;
	int r;

	while ((r = dring_get(&w->rig.ring, &token, &len)) > 0) {
		assert_true(token < NUM_TOKENS && w->out[token]);
		assert_int_equal(len, w->expected_len[token]);
		w->out[token] = false;
		w->num_back++;
	}
	if (r < 0)
		fail_msg("%s", w->rig.ring.err.msg);
}

static void walk(const struct dring_config *cfg, uint64_t seed)
{
	static struct walk w;

	memset(&w, 0, sizeof(w));
	w.random = seed;
	rig_init(&w.rig, cfg);
	for (unsigned int i = 0; i < STEPS; i++) {
		driver_adds(&w);
		device_takes(&w);
		if (w.num_held && pick(&w, 3))
			device_answers(&w);
		if (pick(&w, 2))
			driver_takes_back(&w);
	}
	do {
		device_takes(&w);
		if (w.num_held)
			device_answers(&w);
		driver_takes_back(&w);
	} while (w.rig.ring.num_outstanding);
	assert_int_equal(w.rig.ring.num_free, cfg->num);
	assert_true(w.num_back > STEPS / 4);
	rig_deinit(&w.rig);
}

static void test_everything_comes_back(void **state)
{
	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(configs); i++)
		walk(&configs[i], i + 1);
}

/* The table of descriptors is used from its start to its end and again (virtio 1.3, "In-order use
 * of descriptors"). */
static void test_in_order_goes_round(void **state)
{
	const struct dring_config cfg = { .num = 8, .max_bufs = 3, .in_order = true };
	struct model_chain c;
	uint32_t token, len, next = 0;
	struct rig rig;

	(void)state;
	rig_init(&rig, &cfg);
	for (uint32_t i = 0; i < 50; i++) {
		assert_true(add(&rig, i));
		dring_publish(&rig.ring);
		assert_true(model_pop(&rig.model, &c));
		assert_int_equal(c.id, next);
		next = (next + c.num_descs) % 8;
		model_push(&rig.model, c.id, 0, 1, c.num_descs);
		assert_int_equal(dring_get(&rig.ring, &token, &len), 1);
	}
	rig_deinit(&rig);
}

/* --- notifications --- */

/* One chain of one buffer through the ring. */
static void pass_one(struct rig *rig)
{
	struct dring_buf buf = { rig->buffers, 1 };
	struct model_chain c;
	uint32_t token, len;

	assert_true(dring_add(&rig->ring, &buf, 1, 0, 0));
	dring_publish(&rig->ring);
	assert_true(model_pop(&rig->model, &c));
	model_push(&rig->model, c.id, 0, 1, 1);
	assert_int_equal(dring_get(&rig->ring, &token, &len), 1);
}

static void check_kicks(const struct dring_config *cfg, unsigned int lap)
{
	unsigned int most = cfg->num < 6 ? cfg->num : 6;

	for (unsigned int after = 0; after <= most; after++) {
		for (unsigned int n = 1; n <= most; n++) {
			struct dring_buf buf;
			struct rig rig;
			bool kick, due = cfg->event_idx ? after && after <= n : after != 0;

			/* A split ring with event_idx has no "never". */
			if (!after && cfg->event_idx && !cfg->packed)
				continue;
			rig_init(&rig, cfg);
			for (unsigned int i = 0; i < lap; i++)
				pass_one(&rig);
			model_ask_kick(&rig.model, after);
			buf = (struct dring_buf){ rig.buffers, 1 };
			for (unsigned int i = 0; i < n; i++)
				assert_true(dring_add(&rig.ring, &buf, 1, 0, i));
			kick = dring_publish(&rig.ring);
			if (kick != due)
				fail_msg("%s of %u, %u passed: asked at %u, %u added: %d",
					cfg->packed ? "packed" : "split", cfg->num, lap, after, n,
					kick);
			assert_false(dring_publish(&rig.ring));
			rig_deinit(&rig);
		}
	}
}

static void test_kicks_where_asked_for(void **state)
{
	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(configs); i++) {
		for (unsigned int lap = 0; lap < 20; lap++)
			check_kicks(&configs[i], lap);
	}
}

/* Asked for: the next answer is worth a call. Not asked for: none is. An answer that came before is
 * told to whoever asks. */
static void check_calls(const struct dring_config *cfg, unsigned int lap)
{
	struct dring_buf buf;
	struct model_chain c[2];
	uint32_t token, len;
	uint16_t before;
	bool before_wrap;
	struct rig rig;

	rig_init(&rig, cfg);
	buf = (struct dring_buf){ rig.buffers, 1 };
	for (unsigned int i = 0; i < lap; i++)
		pass_one(&rig);
	before = rig.model.used;
	before_wrap = rig.model.used_wrap;
	assert_true(dring_add(&rig.ring, &buf, 1, 0, 0));
	dring_publish(&rig.ring);
	assert_true(model_pop(&rig.model, &c[0]));
	dring_ask_calls(&rig.ring, false);
	assert_false(dring_ask_calls(&rig.ring, true));
	model_push(&rig.model, c[0].id, 0, 1, 1);
	assert_true(model_must_call(&rig.model, before, before_wrap));
	assert_true(dring_ask_calls(&rig.ring, true));
	assert_int_equal(dring_get(&rig.ring, &token, &len), 1);
	dring_ask_calls(&rig.ring, false);
	before = rig.model.used;
	before_wrap = rig.model.used_wrap;
	assert_true(dring_add(&rig.ring, &buf, 1, 0, 0));
	dring_publish(&rig.ring);
	assert_true(model_pop(&rig.model, &c[1]));
	model_push(&rig.model, c[1].id, 0, 1, 1);
	/* With event_idx a split ring passes the index asked for last, and stays silent after. */
	assert_false(cfg->packed || !cfg->event_idx
			     ? model_must_call(&rig.model, before, before_wrap)
			     : false);
	rig_deinit(&rig);
}

static void test_calls_where_asked_for(void **state)
{
	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(configs); i++) {
		for (unsigned int lap = 0; lap < 20; lap++)
			check_calls(&configs[i], lap);
	}
}

/* A driver that never asks is never called, however often the index wraps. */
static void test_polling_is_never_called(void **state)
{
	(void)state;
	for (unsigned int packed = 0; packed < 2; packed++) {
		struct dring_config cfg = {
			.num = 4, .max_bufs = 1, .event_idx = true, .packed = packed
		};
		struct rig rig;

		rig_init(&rig, &cfg);
		for (unsigned int i = 0; i < 200000; i++) {
			uint16_t before = rig.model.used;
			bool wrap = rig.model.used_wrap;

			pass_one(&rig);
			if (model_must_call(&rig.model, before, wrap))
				fail_msg("%s: called at %u", packed ? "packed" : "split", i);
		}
		rig_deinit(&rig);
	}
}

/* --- hostile devices --- */

enum trick { PUSH, PUSH_TWICE, INDEX_AHEAD };

static const struct {
	const char *what;
	bool packed_too, in_order;
	enum trick trick;
	uint32_t id, len;
	const char *says;
} hostile[] = {
	{ "id beyond the ring", true, false, PUSH, 8, 0, "buffer id 8: expected one below 8" },
	{ "id of all ones", true, false, PUSH, 0xffff, 0, "buffer id 65535" },
	{ "id never given", true, false, PUSH, 6, 0, "which it does not have" },
	{ "id twice", true, false, PUSH_TWICE, 0, 0, "which it does not have" },
	{ "length beyond", true, false, PUSH, 0, 33,
		"wrote 33 bytes into buffer id 0: expected at "
		"most 32" },
	{ "length of all ones", true, false, PUSH, 0, UINT32_MAX, "wrote 4294967295 bytes" },
	{ "index ahead", false, false, INDEX_AHEAD, 0, 0, "used index 5 is 5 ahead of 0" },
	{ "not the oldest", false, true, PUSH, 1, 0, "out of order" },
	{ "id beyond, in order", true, true, PUSH, 9, 0, "buffer id 9" },
	{ "length beyond, in order", true, true, PUSH, 0, 33, "wrote 33 bytes" },
};

static void be_hostile(size_t row, bool packed)
{
	struct dring_config cfg = {
		.num = 8, .max_bufs = 1, .packed = packed, .in_order = hostile[row].in_order
	};
	struct dring_buf buf;
	struct rig rig;
	uint32_t token, len;
	int r;

	rig_init(&rig, &cfg);
	buf = (struct dring_buf){ rig.buffers, 32 };
	for (uint32_t i = 0; i < 2; i++)
		assert_true(dring_add(&rig.ring, &buf, 0, 1, i));
	dring_publish(&rig.ring);
	for (int i = 0; i < 1 + (hostile[row].trick == PUSH_TWICE); i++)
		model_push(&rig.model, hostile[row].id, hostile[row].len,
			hostile[row].trick == INDEX_AHEAD ? 5 : 1, 1);
	while ((r = dring_get(&rig.ring, &token, &len)) > 0)
		;
	if (r != -EPROTO || !strstr(rig.ring.err.msg, hostile[row].says))
		fail_msg("%s: %d '%s'", hostile[row].what, r, rig.ring.err.msg);
	rig_deinit(&rig);
}

static void test_hostile_devices_are_refused(void **state)
{
	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(hostile); i++) {
		be_hostile(i, false);
		if (hostile[i].packed_too)
			be_hostile(i, true);
	}
}

static const struct {
	struct dring_config cfg;
	const char *says;
} bad_configs[] = {
	{ { .num = 0, .max_bufs = 1 }, "expected 1 to 32768" },
	{ { .num = 7, .max_bufs = 1 }, "power of two" },
	{ { .num = 32769, .max_bufs = 1, .packed = true }, "expected 1 to 32768" },
	{ { .num = 2, .max_bufs = 3 }, "has 3 buffers" },
};

static void test_sizes_that_are_not_legal(void **state)
{
	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(bad_configs); i++) {
		struct err err = { 0 };
		struct dring ring;
		struct dmem mem;

		assert_int_equal(dmem_init(&mem, 1 << 20, 1, &err), 0);
		assert_int_equal(dring_init(&ring, &bad_configs[i].cfg, &mem, &err), -EINVAL);
		assert_non_null(strstr(err.msg, bad_configs[i].says));
		dring_deinit(&ring);
		dmem_deinit(&mem);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_everything_comes_back),
		cmocka_unit_test(test_in_order_goes_round),
		cmocka_unit_test(test_kicks_where_asked_for),
		cmocka_unit_test(test_calls_where_asked_for),
		cmocka_unit_test(test_polling_is_never_called),
		cmocka_unit_test(test_hostile_devices_are_refused),
		cmocka_unit_test(test_sizes_that_are_not_legal),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
