/* SPDX-License-Identifier: BSD-3-Clause */
/* virtio-input through its rings: groups of events, and lights. */
#include "input_rig.h"

/* --- events --- */

/* Buffers of the driver: each of one event, @num of them from now on. */
static void offer_buffers(struct fix *f, unsigned int num)
{
	for (unsigned int i = 0; i < num; i++) {
		uint16_t head = f->avail_idx % f->num;

		set_desc(f, DESC_AT, head, OUT_AT + head * 16u, EVENT_BYTES, WRITE, 0);
		memset(ram(f, OUT_AT + head * 16u), UNTOUCHED, 16);
		offer(f, head);
	}
	kick(f);
}

static void check_event(struct fix *f, uint16_t at, uint16_t type, uint16_t code, int32_t value)
{
	const struct vring_used_elem *e = &used(f)->ring[at % f->num];
	const uint8_t *p = ram(f, OUT_AT + le32_get(e->id) * 16u);

	assert_int_equal(le32_get(e->len), EVENT_BYTES);
	assert_int_equal(le16_read(p), type);
	assert_int_equal(le16_read(p + 2), code);
	assert_int_equal((int32_t)le32_read(p + 4), value);
	for (int i = EVENT_BYTES; i < 16; i++)
		assert_int_equal(p[i], UNTOUCHED);
}

static struct input_counters counters(struct fix *f)
{
	struct input_counters ret;

	input_read_counters(f->dev, &ret);
	return ret;
}

static void send(struct fix *f, const struct input_action *actions, size_t num)
{
	struct err err = { 0 };

	for (size_t i = 0; i < num; i++)
		assert_true(input_takes(f->dev, &actions[i]));
	if (input_send(f->dev, actions, num, &err) < 0)
		fail_msg("%s", err.msg);
	pump(f);
}

static void press(struct fix *f, uint16_t key, bool down)
{
	const struct input_action action = { .what = INPUT_KEY, .key = key, .down = down };

	send(f, &action, 1);
}

/* A key and its report. */
static void check_key(struct fix *f, uint16_t at, uint16_t key, bool down)
{
	check_event(f, at, EV_KEY, key, down);
	check_event(f, (uint16_t)(at + 1), EV_SYN, SYN_REPORT, 0);
}

static void test_keys(void **state)
{
	struct fix f;

	(void)state;
	start_plain(&f, &virtio_keyboard_class, EVENTQ);
	offer_buffers(&f, 8);
	num_calls(&f);
	press(&f, KEY_A, true);
	assert_int_equal(used_idx(&f), 2);
	/* One call for all of a group. */
	assert_int_equal(num_calls(&f), 1);
	check_key(&f, 0, KEY_A, true);
	press(&f, KEY_A, false);
	check_key(&f, 2, KEY_A, false);
	assert_int_equal(counters(&f).given, 4);
	assert_int_equal(counters(&f).dropped, 0);
	assert_true(view(&f).dry);
	assert_int_equal(view(&f).inuse, 0);
	fix_deinit(&f);
}

/* Whose, what, and the events that it makes. */
static const struct action_case {
	const char *name;
	const struct vdev_class *cls;
	struct input_action action;
	int num; /* -1: it does not take it */
	struct {
		uint16_t type, code;
		int32_t value;
	} event[2];
} action_cases[] = {
	{ "a key", &virtio_keyboard_class, { INPUT_KEY, true, KEY_F24 }, 1,
		{ { EV_KEY, KEY_F24, 1 } } },
	{ "a key of a mouse", &virtio_mouse_class, { INPUT_KEY, true, KEY_A }, -1, { { 0 } } },
	{ "a key that no keyboard has", &virtio_keyboard_class, { INPUT_KEY, true, KEY_MAX }, -1,
		{ { 0 } } },
	{ "a key of number 0", &virtio_keyboard_class, { INPUT_KEY, true, 0 }, -1, { { 0 } } },
	{ "beyond all keys", &virtio_keyboard_class, { INPUT_KEY, true, UINT16_MAX }, -1,
		{ { 0 } } },
	{ "a button", &virtio_mouse_class,
		{ .what = INPUT_BUTTON, .down = true, .button = INPUT_SIDE }, 1,
		{ { EV_KEY, BTN_SIDE, 1 } } },
	{ "a button of a keyboard", &virtio_keyboard_class,
		{ .what = INPUT_BUTTON, .button = INPUT_LEFT }, -1, { { 0 } } },
	{ "contact with a mouse", &virtio_mouse_class,
		{ .what = INPUT_BUTTON, .button = INPUT_CONTACT }, -1, { { 0 } } },
	{ "the wheel", &virtio_tablet_class,
		{ .what = INPUT_BUTTON, .down = true, .button = INPUT_WHEEL_DOWN }, 1,
		{ { EV_REL, REL_WHEEL, -1 } } },
	{ "to the right", &virtio_mouse_class,
		{ .what = INPUT_BUTTON, .down = true, .button = INPUT_WHEEL_RIGHT }, 1,
		{ { EV_REL, REL_HWHEEL, 1 } } },
	{ "the wheel let go", &virtio_mouse_class,
		{ .what = INPUT_BUTTON, .button = INPUT_WHEEL_UP }, 0, { { 0 } } },
	{ "a way", &virtio_mouse_class, { .what = INPUT_REL, .axis = INPUT_Y, .value = INT32_MIN },
		1, { { EV_REL, REL_Y, INT32_MIN } } },
	{ "no way", &virtio_mouse_class, { .what = INPUT_REL }, 0, { { 0 } } },
	{ "a way of a tablet", &virtio_tablet_class, { .what = INPUT_REL }, -1, { { 0 } } },
	{ "a place", &virtio_tablet_class, { .what = INPUT_ABS, .value = 0 }, 1,
		{ { EV_ABS, ABS_X, 0 } } },
	{ "a place of a mouse", &virtio_mouse_class, { .what = INPUT_ABS }, -1, { { 0 } } },
	{ "a finger", &virtio_multitouch_class,
		{ .what = INPUT_TOUCH, .touch = INPUT_TOUCH_DOWN, .slot = 3, .tracking_id = 7 }, 2,
		{ { EV_ABS, ABS_MT_SLOT, 3 }, { EV_ABS, ABS_MT_TRACKING_ID, 7 } } },
	{ "where it is", &virtio_multitouch_class,
		{ .what = INPUT_TOUCH, .touch = INPUT_TOUCH_PLACE, .axis = INPUT_Y, .value = 9 }, 2,
		{ { EV_ABS, ABS_MT_SLOT, 0 }, { EV_ABS, ABS_MT_POSITION_Y, 9 } } },
	{ "it goes", &virtio_multitouch_class,
		{ .what = INPUT_TOUCH, .touch = INPUT_TOUCH_UP, .slot = 3, .tracking_id = 7 }, 2,
		{ { EV_ABS, ABS_MT_SLOT, 3 }, { EV_ABS, ABS_MT_TRACKING_ID, -1 } } },
	{ "a finger of a tablet", &virtio_tablet_class, { .what = INPUT_TOUCH }, -1, { { 0 } } },
};

static void test_actions(void **state)
{
	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(action_cases); i++) {
		const struct action_case *c = &action_cases[i];
		struct fix f;
		int n;

		start_plain(&f, c->cls, EVENTQ);
		offer_buffers(&f, 4);
		if (input_takes(f.dev, &c->action) != (c->num >= 0))
			fail_msg("%s: taken or not", c->name);
		if (c->num >= 0)
			send(&f, &c->action, 1);
		if (used_idx(&f) != (c->num > 0 ? c->num + 1 : 0))
			fail_msg("%s: %u buffers", c->name, used_idx(&f));
		for (n = 0; n < c->num; n++)
			check_event(&f, (uint16_t)n, c->event[n].type, c->event[n].code,
				c->event[n].value);
		fix_deinit(&f);
	}
}

/* A group waits where its driver had room before, and only there. */
static void test_few_buffers(void **state)
{
	struct fix f;

	(void)state;
	start_plain(&f, &virtio_keyboard_class, EVENTQ);
	/* It never had more than one out: what does not fit will not fit. */
	offer_buffers(&f, 1);
	press(&f, KEY_A, true);
	assert_int_equal(used_idx(&f), 0);
	assert_int_equal(counters(&f).dropped, 2);
	offer_buffers(&f, 2);
	press(&f, KEY_B, true);
	assert_int_equal(used_idx(&f), 2);
	check_key(&f, 0, KEY_B, true);
	/* One is left, and there were two. */
	press(&f, KEY_C, true);
	press(&f, KEY_C, false);
	assert_int_equal(used_idx(&f), 2);
	assert_int_equal(counters(&f).dropped, 2);
	offer_buffers(&f, 1);
	assert_int_equal(used_idx(&f), 4);
	check_key(&f, 2, KEY_C, true);
	offer_buffers(&f, 2);
	assert_int_equal(used_idx(&f), 6);
	check_key(&f, 4, KEY_C, false);
	assert_int_equal(counters(&f).given, 6);
	assert_false(f.dev->broken);
	fix_deinit(&f);
}

/* No buffer at all: what waits has a bound, and then whole groups are dropped. */
static void test_bounded(void **state)
{
	const struct input_action group[] = { { INPUT_KEY, true, KEY_LEFTSHIFT },
		{ INPUT_KEY, true, KEY_A }, { INPUT_KEY, false, KEY_A } };
	uint64_t kept;
	struct fix f;

	(void)state;
	start_plain(&f, &virtio_keyboard_class, EVENTQ);
	for (int i = 0; i < 1000; i++)
		send(&f, group, ARRAY_SIZE(group));
	kept = 4000 - counters(&f).dropped;
	assert_true(kept >= 256 && kept <= 1024 && kept % 4 == 0);
	for (uint16_t i = 0; i < kept; i = (uint16_t)(i + 4)) {
		offer_buffers(&f, 4);
		assert_int_equal(used_idx(&f), i + 4);
		check_event(&f, i, EV_KEY, KEY_LEFTSHIFT, 1);
		check_event(&f, (uint16_t)(i + 1), EV_KEY, KEY_A, 1);
		check_event(&f, (uint16_t)(i + 2), EV_KEY, KEY_A, 0);
		check_event(&f, (uint16_t)(i + 3), EV_SYN, SYN_REPORT, 0);
	}
	offer_buffers(&f, 4);
	assert_int_equal(used_idx(&f), kept);
	assert_int_equal(counters(&f).given, kept);
	/* There is room again. */
	press(&f, KEY_B, true);
	check_key(&f, (uint16_t)kept, KEY_B, true);
	fix_deinit(&f);
}

static void test_larger_than_the_ring(void **state)
{
	struct input_action many[8];
	struct err err = { 0 };
	struct fix f;

	(void)state;
	fix_options = NULL;
	for (size_t i = 0; i < ARRAY_SIZE(many); i++)
		many[i] = (struct input_action){ INPUT_KEY, true, (uint16_t)(KEY_1 + i) };
	start_on(&f, &virtio_keyboard_class, EVENTQ, 8);
	offer_buffers(&f, 8);
	assert_int_equal(input_send(f.dev, many, 8, &err), -E2BIG);
	assert_string_equal(err.msg, "t0: its driver has room for 7 events at once, not for 8");
	pump(&f);
	assert_int_equal(used_idx(&f), 0);
	assert_int_equal(counters(&f).dropped, 8);
	send(&f, many, 7);
	assert_int_equal(used_idx(&f), 8);
	check_event(&f, 7, EV_SYN, SYN_REPORT, 0);
	fix_deinit(&f);
}

/* Buffers that no event fits into go back as they came. */
static void test_small_buffers(void **state)
{
	for (uint32_t len = 0; len < EVENT_BYTES; len++) {
		struct fix f;

		(void)state;
		start_plain(&f, &virtio_keyboard_class, EVENTQ);
		offer_buffers(&f, 1);
		memset(ram(&f, OUT_AT + 16), UNTOUCHED, 16);
		set_desc(&f, DESC_AT, 1, OUT_AT + 16, len, WRITE, 0);
		offer(&f, 1);
		kick(&f);
		press(&f, KEY_A, true);
		assert_int_equal(used_idx(&f), 2);
		for (int i = 0; i < 2; i++)
			assert_int_equal(le32_get(used(&f)->ring[i].len), 0);
		for (int i = 0; i < 16; i++)
			assert_int_equal(((uint8_t *)ram(&f, OUT_AT))[i], UNTOUCHED);
		assert_int_equal(counters(&f).dropped, 2);
		assert_int_equal(view(&f).counters.errors_request, 1);
		offer_buffers(&f, 2);
		press(&f, KEY_B, true);
		check_key(&f, 2, KEY_B, true);
		fix_deinit(&f);
	}
}

/* Buffers for reading, in pieces, with more room than needed. */
static void test_odd_buffers(void **state)
{
	static const struct cuts cuts = { { 0 }, { 1, 3, 0 } };
	struct fix f;

	(void)state;
	start_plain(&f, &virtio_keyboard_class, EVENTQ);
	offer_request(&f, 8, 0, NULL);
	kick(&f);
	set_desc(&f, DESC_AT, 5, OUT_AT + 512, 8, WRITE, 0);
	offer(&f, 5);
	kick(&f);
	press(&f, KEY_A, true);
	assert_int_equal(used_idx(&f), 2);
	assert_int_equal(counters(&f).dropped, 2);
	offer_request(&f, 0, 30, &cuts);
	set_desc(&f, DESC_AT, 5, OUT_AT + 512, 8, WRITE, 0);
	offer(&f, 5);
	kick(&f);
	press(&f, KEY_A, true);
	assert_int_equal(used_idx(&f), 4);
	assert_int_equal(le32_get(used(&f)->ring[2].len), EVENT_BYTES);
	assert_int_equal(le16_read(ram(&f, OUT_AT + 2)), KEY_A);
	fix_deinit(&f);
}

/* Nobody is told later what happened while nobody was there. */
static void test_no_driver(void **state)
{
	struct fix f;

	(void)state;
	fix_class = &virtio_keyboard_class;
	fix_options = NULL;
	fix_init(&f, 0, 0);
	press(&f, KEY_A, true);
	fix_start_ring(&f, 64, 0);
	offer_buffers(&f, 8);
	assert_int_equal(used_idx(&f), 0);
	assert_int_equal(counters(&f).dropped, 1);
	vdev_set_vm_running(f.dev, false);
	pump(&f);
	press(&f, KEY_A, true);
	vdev_set_vm_running(f.dev, true);
	pump(&f);
	assert_int_equal(used_idx(&f), 0);
	press(&f, KEY_B, true);
	check_key(&f, 0, KEY_B, true);
	fix_deinit(&f);
}

/* What waits for one driver is not for the next; nor are its lights. */
static void test_reset(void **state)
{
	struct fix f;

	(void)state;
	start_plain(&f, &virtio_keyboard_class, EVENTQ);
	for (int i = 0; i < 10; i++)
		press(&f, KEY_A, i % 2);
	fix_reset(&f);
	assert_int_equal(counters(&f).dropped, 20);
	fix_start_ring(&f, 64, 0);
	offer_buffers(&f, 8);
	assert_int_equal(used_idx(&f), 0);
	press(&f, KEY_B, true);
	assert_int_equal(used_idx(&f), 2);
	check_key(&f, 0, KEY_B, true);
	fix_deinit(&f);
}

/* --- two threads --- */

enum { SENT = 20000, KEYS = 50 };

struct flow {
	struct fix f;
	uint16_t seen; /* used buffers that were looked at */
	uint32_t next; /* what is told next is this key of those sent, or one after it */
	uint64_t got;
};

/* Shown to another thread, which is told if it asked for that. */
static void offer_head(struct fix *f, uint16_t head)
{
	set_desc(f, DESC_AT, head, OUT_AT + head * 16u, EVENT_BYTES, WRITE, 0);
	avail(f)->ring[f->avail_idx % f->num] = le16_make(head);
	store_le16(&avail(f)->idx, ++f->avail_idx);
}

/* Which of those sent it is; they come in order. */
static void check_flow(struct flow *flow, const uint8_t *p)
{
	uint16_t type = le16_read(p), code = le16_read(p + 2);
	uint32_t down;

	if (flow->got++ % 2) {
		assert_int_equal(type, EV_SYN);
		assert_int_equal(code, SYN_REPORT);
		return;
	}
	assert_int_equal(type, EV_KEY);
	down = le32_read(p + 4);
	/* Any number of them may have been dropped in between. */
	while (flow->next < SENT &&
		(code != KEY_1 + flow->next % KEYS || down != flow->next / KEYS % 2))
		flow->next++;
	assert_true(flow->next < SENT);
	flow->next++;
}

static void collect(struct flow *flow)
{
	struct fix *f = &flow->f;
	uint16_t idx = load_le16(&used(f)->idx);

	for (; flow->seen != idx; flow->seen++) {
		uint16_t head = (uint16_t)le32_get(used(f)->ring[flow->seen % f->num].id);

		check_flow(flow, ram(f, OUT_AT + head * 16u));
		offer_head(f, head);
		kick_only(f);
	}
}

static void test_two_threads(void **state)
{
	struct loop data;
	struct err err = { 0 };
	struct flow flow = { 0 };
	struct input_counters now;

	(void)state;
	assert_int_equal(loop_init(&data, "data", &err), 0);
	assert_int_equal(loop_thread_start(&data, &err), 0);
	fix_data_loop = &data;
	start_plain(&flow.f, &virtio_keyboard_class, EVENTQ);
	for (uint16_t head = 0; head < 64; head++)
		offer_head(&flow.f, head);
	kick_only(&flow.f);
	for (uint32_t i = 0; i < SENT; i++) {
		const struct input_action action = {
			.what = INPUT_KEY, .key = (uint16_t)(KEY_1 + i % KEYS), .down = i / KEYS % 2
		};

		assert_int_equal(input_send(flow.f.dev, &action, 1, &err), 0);
		collect(&flow);
	}
	do {
		collect(&flow);
		now = counters(&flow.f);
	} while (now.given + now.dropped < 2 * SENT || flow.got < now.given);
	assert_int_equal(now.given + now.dropped, 2 * SENT);
	assert_int_equal(flow.got, now.given);
	assert_false(flow.f.dev->broken);
	fix_deinit(&flow.f);
	fix_data_loop = NULL;
	loop_thread_join(&data);
	loop_deinit(&data);
}

/* --- what comes from the driver --- */

#define NUML  (1u << LED_NUML)
#define CAPSL (1u << LED_CAPSL)

static const struct status_case {
	const char *name;
	uint16_t type, code;
	uint32_t value;
	uint32_t bytes; /* readable */
	bool taken;
	uint16_t leds; /* with num lock on before */
} status_cases[] = {
	{ "on", EV_LED, LED_CAPSL, 1, 8, true, NUML | CAPSL },
	{ "off", EV_LED, LED_NUML, 0, 8, true, 0 },
	{ "another value is on", EV_LED, LED_CAPSL, UINT32_MAX, 8, true, NUML | CAPSL },
	{ "more bytes than an event", EV_LED, LED_CAPSL, 1, 4096, true, NUML | CAPSL },
	{ "no bytes", EV_LED, LED_CAPSL, 1, 0, false, NUML },
	{ "one too few", EV_LED, LED_CAPSL, 1, 7, false, NUML },
	{ "a light that it has not", EV_LED, LED_MAIL, 1, 8, false, NUML },
	{ "the first beyond all lights", EV_LED, 16, 1, 8, false, NUML },
	{ "num lock in another round", EV_LED, 16 + LED_NUML, 0, 8, false, NUML },
	{ "the last code", EV_LED, UINT16_MAX, 1, 8, false, NUML },
	{ "a sound that it has not", EV_SND, SND_BELL, 1, 8, false, NUML },
	{ "a report", EV_SYN, SYN_REPORT, 0, 8, false, NUML },
	{ "a key", EV_KEY, KEY_A, 1, 8, false, NUML },
	{ "how to repeat", EV_REP, REP_DELAY, 250, 8, false, NUML },
	{ "force feedback", EV_FF, 0x50, 1, 8, false, NUML },
	{ "the first beyond all types", 0x20, LED_CAPSL, 1, 8, false, NUML },
	{ "the last type", UINT16_MAX, UINT16_MAX, UINT32_MAX, 8, false, NUML },
};

static void put_status(struct fix *f, uint16_t type, uint16_t code, uint32_t value)
{
	const le16 words[2] = { le16_make(type), le16_make(code) };
	const le32 number = le32_make(value);

	memcpy(ram(f, IN_AT), words, sizeof(words));
	memcpy(ram(f, IN_AT + 4), &number, sizeof(number));
}

static void test_status(void **state)
{
	static const struct cuts cuts = { { 1, 2, 3, 0 }, { 0 } };

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(status_cases); i++) {
		const struct status_case *c = &status_cases[i];
		struct fix f;

		start_plain(&f, &virtio_keyboard_class, STATUSQ);
		put_status(&f, EV_LED, LED_NUML, 1);
		assert_int_equal(request(&f, 8, 0, NULL), 0);
		assert_int_equal(input_leds(f.dev), NUML);
		put_status(&f, c->type, c->code, c->value);
		assert_int_equal(request(&f, c->bytes, 16, i % 2 ? &cuts : NULL), 0);
		if (input_leds(f.dev) != c->leds)
			fail_msg("%s: lights 0x%x", c->name, input_leds(f.dev));
		if (counters(&f).status_taken != 1u + c->taken ||
			counters(&f).status_ignored != !c->taken)
			fail_msg("%s: taken or not", c->name);
		assert_false(f.dev->broken);
		fix_reset(&f);
		assert_int_equal(input_leds(f.dev), 0);
		fix_deinit(&f);
	}
}

static void test_status_of_others(void **state)
{
	(void)state;
	for (size_t i = 1; i < ARRAY_SIZE(hid_classes); i++) {
		struct fix f;

		start_plain(&f, hid_classes[i], STATUSQ);
		put_status(&f, EV_LED, LED_NUML, 1);
		assert_int_equal(request(&f, 8, 0, NULL), 0);
		assert_int_equal(input_leds(f.dev), 0);
		assert_int_equal(counters(&f).status_ignored, 1);
		fix_deinit(&f);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_keys),
		cmocka_unit_test(test_actions),
		cmocka_unit_test(test_few_buffers),
		cmocka_unit_test(test_bounded),
		cmocka_unit_test(test_larger_than_the_ring),
		cmocka_unit_test(test_small_buffers),
		cmocka_unit_test(test_odd_buffers),
		cmocka_unit_test(test_no_driver),
		cmocka_unit_test(test_reset),
		cmocka_unit_test(test_two_threads),
		cmocka_unit_test(test_status),
		cmocka_unit_test(test_status_of_others),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
