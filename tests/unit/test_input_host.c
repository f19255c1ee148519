/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * virtio-input-host on the library that stands in for libevdev (fake_evdev/): what it tells of the
 * device, events there and lights back, and its end.
 */
#include "input_rig.h"

#include <fcntl.h>
#include <signal.h>
#include <sys/socket.h>

#include "fake_evdev/fake_evdev.h"

struct host {
	struct fix f;
	int peer; /* the device's other end */
};

static void open_pair(int *ret)
{
	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0, ret), 0);
}

/* A device that is not started yet. */
static void make(struct host *h)
{
	static char options[32];
	int pair[2];

	memset(h, 0, sizeof(*h));
	open_pair(pair);
	h->peer = pair[0];
	snprintf(options, sizeof(options), "{\"evdev\":\"fd=%d\"}", pair[1]);
	fix_class = &virtio_input_host_class;
	fix_options = options;
	fix_init(&h->f, 0, 0);
	close(pair[1]);
}

static void start(struct host *h, unsigned int queue)
{
	make(h);
	h->f.vq = &h->f.dev->queues[queue];
	fix_start_ring(&h->f, 64, 0);
}

static void end(struct host *h)
{
	fix_deinit(&h->f);
	close(h->peer);
}

static void happen(struct host *h, uint16_t type, uint16_t code, int32_t value)
{
	const struct input_event e = { .type = type, .code = code, .value = value };

	assert_int_equal(write(h->peer, &e, sizeof(e)), sizeof(e));
}

static void report(struct host *h)
{
	happen(h, EV_SYN, SYN_REPORT, 0);
}

static void offer_buffers(struct host *h, unsigned int num)
{
	struct fix *f = &h->f;

	for (unsigned int i = 0; i < num; i++) {
		uint16_t head = f->avail_idx % f->num;

		set_desc(f, DESC_AT, head, OUT_AT + head * 16u, 8, WRITE, 0);
		offer(f, head);
	}
	kick(f);
}

static void check_event(struct host *h, uint16_t at, uint16_t type, uint16_t code, int32_t value)
{
	const struct vring_used_elem *e = &used(&h->f)->ring[at % h->f.num];
	const uint8_t *p = ram(&h->f, OUT_AT + le32_get(e->id) * 16u);

	assert_int_equal(le32_get(e->len), 8);
	assert_int_equal(le16_read(p), type);
	assert_int_equal(le16_read(p + 2), code);
	assert_int_equal((int32_t)le32_read(p + 4), value);
}

static const struct config_case {
	uint8_t select, subsel, size;
	uint8_t last[4]; /* bytes of what there is */
} config_cases[] = {
	{ 0x01, 0, 11, { 'v', 'i', 'c', 'e' } },
	{ 0x02, 0, 0, { 0 } },
	{ 0x03, 0, 8, { 0x78, 0x56, 0xbc, 0x9a } },
	{ 0x10, 0, 1, { 0x01 } },
	{ 0x11, EV_KEY, 96, { 0, 0, 0, 0x80 } },
	{ 0x11, EV_REL, 1, { 0x01 } },
	{ 0x11, EV_ABS, 1, { 0x02 } },
	{ 0x11, EV_MSC, 1, { 0x10 } },
	{ 0x11, EV_SW, 1, { 0x01 } },
	{ 0x11, EV_LED, 2, { 0x02, 0x02 } },
	{ 0x11, EV_SND, 1, { 0x02 } },
	{ 0x11, EV_REP, 0, { 0 } },
	{ 0x11, EV_FF, 0, { 0 } },
	{ 0x12, ABS_X, 0, { 0 } },
	{ 0x12, ABS_Y, 20, { 40, 0, 0, 0 } },
};

static void test_config(void **state)
{
	const struct input_action press = { INPUT_KEY, true, KEY_A };
	struct host h;

	(void)state;
	start(&h, 0);
	for (size_t i = 0; i < ARRAY_SIZE(config_cases); i++) {
		const struct config_case *c = &config_cases[i];
		const uint8_t window[2] = { c->select, c->subsel };
		uint8_t config[136];

		assert_true(vdev_set_config(h.f.dev, 0, window, sizeof(window)));
		vdev_get_config(h.f.dev, config);
		if (config[2] != c->size || memcmp(config + 8 + c->size - MIN(c->size, 4), c->last,
						    MIN(c->size, 4)) != 0)
			fail_msg("row %zu: size %u", i, config[2]);
	}
	assert_false(input_takes(h.f.dev, &press));
	assert_true(input_is_connected(h.f.dev));
	end(&h);
}

static void test_events(void **state)
{
	struct host h;

	(void)state;
	make(&h);
	/* Nobody was there. */
	happen(&h, EV_KEY, KEY_A, 1);
	report(&h);
	fix_start_ring(&h.f, 64, 0);
	offer_buffers(&h, 16);
	assert_int_equal(used_idx(&h.f), 0);
	happen(&h, EV_MSC, MSC_SCAN, 0x1e);
	happen(&h, EV_KEY, KEY_A, 1);
	pump(&h.f);
	assert_int_equal(used_idx(&h.f), 0);
	report(&h);
	pump(&h.f);
	assert_int_equal(used_idx(&h.f), 3);
	check_event(&h, 0, EV_MSC, MSC_SCAN, 0x1e);
	check_event(&h, 1, EV_KEY, KEY_A, 1);
	check_event(&h, 2, EV_SYN, SYN_REPORT, 0);
	/* What was begun when the machine stopped is not gone on with. */
	happen(&h, EV_KEY, KEY_A, 0);
	pump(&h.f);
	vdev_set_vm_running(h.f.dev, false);
	pump(&h.f);
	report(&h);
	vdev_set_vm_running(h.f.dev, true);
	pump(&h.f);
	happen(&h, EV_REL, REL_X, -5);
	report(&h);
	pump(&h.f);
	assert_int_equal(used_idx(&h.f), 5);
	check_event(&h, 3, EV_REL, REL_X, -5);
	end(&h);
}

/* More than one turn takes: the library has it, and the descriptor says nothing of it. */
static void test_many(void **state)
{
	enum { NUM = 400 };
	static struct input_event events[2 * NUM];
	struct host h;
	uint16_t got = 0;

	(void)state;
	start(&h, 0);
	offer_buffers(&h, 64);
	for (int i = 0; i < NUM; i++)
		events[2 * i] = (struct input_event){ .type = EV_REL, .code = REL_X, .value = i };
	assert_int_equal(write(h.peer, events, sizeof(events)), sizeof(events));
	for (int i = 0; i < NUM; i++) {
		while (used_idx(&h.f) < (uint16_t)(got + 2))
			loop_run_once(&h.f.loop, 50);
		check_event(&h, got, EV_REL, REL_X, i);
		check_event(&h, (uint16_t)(got + 1), EV_SYN, SYN_REPORT, 0);
		got = (uint16_t)(got + 2);
		offer_buffers(&h, 2);
	}
	pump(&h.f);
	assert_int_equal(used_idx(&h.f), 2 * NUM);
	end(&h);
}

/* A device that says more at once than anybody has room for. */
static void test_endless_group(void **state)
{
	enum { NUM = 1500 };
	static struct input_event events[NUM];
	struct input_counters counters;
	struct host h;

	(void)state;
	start(&h, 0);
	offer_buffers(&h, 16);
	for (int i = 0; i < NUM; i++)
		events[i] = (struct input_event){ .type = EV_REL, .code = REL_X, .value = i };
	/* One less than is taken, one more, and far more. */
	events[254].type = events[254 + 257].type = events[NUM - 1].type = EV_SYN;
	assert_int_equal(write(h.peer, events, sizeof(events)), sizeof(events));
	for (int i = 0; i < 20; i++)
		pump(&h.f);
	/* The first one fits, but not into so few buffers. */
	input_read_counters(h.f.dev, &counters);
	assert_int_equal(counters.dropped, NUM);
	assert_int_equal(used_idx(&h.f), 0);
	happen(&h, EV_KEY, KEY_A, 1);
	report(&h);
	pump(&h.f);
	assert_int_equal(used_idx(&h.f), 2);
	check_event(&h, 0, EV_KEY, KEY_A, 1);
	end(&h);
}

static void test_dropped_by_the_kernel(void **state)
{
	struct host h;

	(void)state;
	start(&h, 0);
	offer_buffers(&h, 16);
	happen(&h, EV_KEY, KEY_A, 1);
	report(&h);
	happen(&h, EV_SYN, SYN_DROPPED, 0);
	happen(&h, EV_KEY, KEY_A, 0);
	report(&h);
	happen(&h, FAKE_SYNCED, 0, 0);
	happen(&h, EV_REL, REL_X, 9);
	report(&h);
	pump(&h.f);
	assert_int_equal(used_idx(&h.f), 6);
	check_event(&h, 2, EV_KEY, KEY_A, 0);
	check_event(&h, 3, EV_SYN, SYN_REPORT, 0);
	check_event(&h, 4, EV_REL, REL_X, 9);
	end(&h);
}

static void put_status(struct host *h, uint16_t type, uint16_t code, uint32_t value)
{
	const le16 words[2] = { le16_make(type), le16_make(code) };
	const le32 number = le32_make(value);

	memcpy(ram(&h->f, IN_AT), words, sizeof(words));
	memcpy(ram(&h->f, IN_AT + 4), &number, sizeof(number));
	assert_int_equal(request(&h->f, 8, 0, NULL), 0);
}

/* The device got this and a report, and nothing else. */
static void check_written(struct host *h, uint16_t type, uint16_t code, int32_t value)
{
	struct input_event e[3];

	assert_int_equal(read(h->peer, e, sizeof(e)), 2 * sizeof(e[0]));
	assert_int_equal(e[0].type, type);
	assert_int_equal(e[0].code, code);
	assert_int_equal(e[0].value, value);
	assert_int_equal(e[1].type, EV_SYN);
	assert_int_equal(e[1].code, SYN_REPORT);
}

static void check_silent(struct host *h)
{
	uint8_t byte;

	assert_int_equal(read(h->peer, &byte, 1), -1);
	assert_int_equal(errno, EAGAIN);
}

static void test_lights(void **state)
{
	struct host h;

	(void)state;
	start(&h, 1);
	put_status(&h, EV_LED, LED_CAPSL, 7);
	check_written(&h, EV_LED, LED_CAPSL, 1);
	put_status(&h, EV_SND, SND_BELL, 3);
	check_written(&h, EV_SND, SND_BELL, 3);
	put_status(&h, EV_LED, LED_NUML, 1);
	put_status(&h, EV_LED, UINT16_MAX, 1);
	put_status(&h, EV_KEY, KEY_A, 1);
	put_status(&h, EV_REP, REP_DELAY, 1);
	put_status(&h, EV_FF, FF_RUMBLE, 1);
	check_silent(&h);
	assert_int_equal(input_leds(h.f.dev), 1u << LED_CAPSL);
	fix_reset(&h.f);
	check_written(&h, EV_LED, LED_CAPSL, 0);
	check_silent(&h);
	end(&h);
}

/* The last words are heard, then it is silent, and costs nothing. */
static void test_unplugged(void **state)
{
	struct epoll_event ready;
	struct host h;

	(void)state;
	start(&h, 0);
	offer_buffers(&h, 16);
	happen(&h, EV_KEY, KEY_A, 1);
	report(&h);
	close(h.peer);
	pump(&h.f);
	assert_int_equal(used_idx(&h.f), 2);
	assert_false(input_is_connected(h.f.dev));
	assert_false(h.f.dev->broken);
	assert_int_equal(epoll_wait(h.f.loop.epoll_fd, &ready, 1, 0), 0);
	fix_reset(&h.f);
	h.f.vq = &h.f.dev->queues[1];
	fix_start_ring(&h.f, 64, 0);
	put_status(&h, EV_LED, LED_CAPSL, 1);
	fix_reset(&h.f);
	h.f.vq = &h.f.dev->queues[0];
	fix_start_ring(&h.f, 64, 0);
	offer_buffers(&h, 4);
	assert_int_equal(used_idx(&h.f), 0);
	h.peer = -1;
	end(&h);
}

/* While no driver is there; the next one finds out. */
static void test_unplugged_unseen(void **state)
{
	struct host h;

	(void)state;
	start(&h, 0);
	fix_reset(&h.f);
	close(h.peer);
	pump(&h.f);
	assert_true(input_is_connected(h.f.dev));
	fix_start_ring(&h.f, 64, 0);
	offer_buffers(&h, 4);
	assert_false(input_is_connected(h.f.dev));
	assert_int_equal(used_idx(&h.f), 0);
	h.peer = -1;
	end(&h);
}

/* What is no device, and what is said then. */
static void test_refused(void **state)
{
	const struct input_event busy = { .type = FAKE_BUSY };
	int pair[2], file = open("/dev/null", O_RDWR);
	char spec[2][32];
	const struct {
		const char *evdev, *sentence;
	} cases[] = {
		{ NULL, "evdev property is required" },
		{ "/nonexistent/event0", "/nonexistent/event0" },
		{ spec[0], "is not an evdev device" },
		{ spec[1], "failed to get exclusive access" },
	};

	(void)state;
	open_pair(pair);
	assert_int_equal(write(pair[0], &busy, sizeof(busy)), sizeof(busy));
	snprintf(spec[0], sizeof(spec[0]), "fd=%d", file);
	snprintf(spec[1], sizeof(spec[1]), "fd=%d", pair[1]);
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		struct json_object *args = json_object_new_object();
		struct err err = { 0 };
		struct loop loop;
		struct vdev *dev;

		if (cases[i].evdev)
			json_object_object_add(
				args, "evdev", json_object_new_string(cases[i].evdev));
		assert_int_equal(loop_init(&loop, "test", &err), 0);
		dev = vdev_new(&virtio_input_host_class, "h0", &loop, &loop);
		assert_int_equal(options_take(dev->cls->options, dev, args, &err), 0);
		assert_true(vdev_realize(dev, &err) < 0);
		if (!strstr(err.msg, cases[i].sentence))
			fail_msg("%s", err.msg);
		json_object_put(args);
		vdev_destroy(dev, NULL);
		loop_deinit(&loop);
	}
	close(file);
	close(pair[0]);
	close(pair[1]);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_config),
		cmocka_unit_test(test_events),
		cmocka_unit_test(test_many),
		cmocka_unit_test(test_endless_group),
		cmocka_unit_test(test_dropped_by_the_kernel),
		cmocka_unit_test(test_lights),
		cmocka_unit_test(test_unplugged),
		cmocka_unit_test(test_unplugged_unseen),
		cmocka_unit_test(test_refused),
	};

	signal(SIGPIPE, SIG_IGN);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
