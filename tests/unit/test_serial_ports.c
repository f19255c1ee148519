/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * virtio-serial's control queues and ports: what the driver is told and in which order, messages
 * that mean nothing, ports that come and go while nothing, everything or half of it runs.
 */
#include "serial_rig.h"

static void test_one_console(void **state)
{
	struct rig r;
	uint8_t config[12];

	(void)state;
	rig_init(&r, NULL);
	assert_int_equal(r.f.dev->num_queues, 2);
	assert_false(virtio_features_has(&r.f.dev->device_features, 0));
	assert_false(virtio_features_has(&r.f.dev->device_features, 1));
	assert_false(serial_has_ports(r.f.dev));
	vdev_get_config(r.f.dev, config);
	assert_int_equal(le32_read(config + 4), 1);
	fix_deinit(&r.f);
}

static void test_handshake(void **state)
{
	struct owner console, port;
	struct rig r;

	(void)state;
	rig_init(&r, "{\"max_ports\":3}");
	assert_int_equal(r.f.dev->num_queues, 8);
	assert_int_equal(try_add(&r, &console, SERIAL_PORT_ANY, "con", true), 0);
	assert_int_equal(serial_port_nr(console.port), 0);
	serial_port_resize(console.port, 0x0102, 0x0304);
	add(&r, &port, 2, "org.x");
	run_driver(&r, MULTIPORT | SIZE);
	/* Nothing before it says that it can hear. */
	expect_nothing(&r);
	say(&r, 0, READY, 1);
	expect(&r, 0, ADD, 1, NULL);
	expect(&r, 2, ADD, 1, NULL);
	expect_nothing(&r);
	say(&r, 0, PORT_READY, 1);
	expect(&r, 0, CONSOLE_PORT, 1, NULL);
	expect(&r, 0, RESIZE, 1, "\x02\x01\x04\x03");
	expect(&r, 0, PORT_NAME, 1, "con");
	expect(&r, 0, PORT_OPEN, 1, NULL);
	say(&r, 2, PORT_READY, 1);
	expect(&r, 2, PORT_NAME, 1, "org.x");
	expect(&r, 2, PORT_OPEN, 1, NULL);
	/* Of two in a row the last one counts. */
	serial_port_resize(console.port, 0x1111, 0x2222);
	serial_port_resize(console.port, 0x0151, 0x021a);
	pump(&r.f);
	expect(&r, 0, RESIZE, 1, "\x51\x01\x1a\x02");
	expect_nothing(&r);
	hang_up(&port);
	fix_deinit(&r.f);
}

static const struct {
	const char *what;
	uint32_t id;
	uint16_t event, value;
	uint32_t len;
} noise[] = {
	{ "nothing", 0, 0, 0, 0 },
	{ "one byte", 1, PORT_OPEN, 0, 1 },
	{ "a byte too few", 1, PORT_OPEN, 0, 7 },
	{ "an event that there is not", 1, 8, 1, 8 },
	{ "the last event", 1, 0xffff, 1, 8 },
	{ "one that is ours to send", 1, ADD, 1, 8 },
	{ "another", 1, REMOVE, 1, 8 },
	{ "a console", 1, CONSOLE_PORT, 1, 8 },
	{ "a size", 1, RESIZE, 1, 12 },
	{ "a name", 1, PORT_NAME, 1, 100 },
	{ "a port that is not there", 2, PORT_READY, 1, 8 },
	{ "open, likewise", 2, PORT_OPEN, 1, 8 },
	{ "the first beyond", 3, PORT_READY, 1, 8 },
	{ "open, beyond", 3, PORT_OPEN, 1, 8 },
	{ "the last beyond", UINT32_MAX, PORT_OPEN, 1, 8 },
	{ "half of the range", 0x80000000u, PORT_READY, 1, 8 },
};

static void test_noise(void **state)
{
	struct vq_view v;
	struct owner port;
	struct rig r;
	size_t i;

	(void)state;
	rig_init(&r, "{\"max_ports\":3}");
	add(&r, &port, 1, "a");
	run_driver(&r, MULTIPORT);
	/* Before it said that it can hear, these mean nothing either. */
	say(&r, 1, PORT_READY, 1);
	say(&r, 1, PORT_OPEN, 1);
	say(&r, 0, READY, 0);
	expect_nothing(&r);
	say(&r, 0xdead, READY, 1);
	open_port(&r, &port, 1, "a");
	for (i = 0; i < ARRAY_SIZE(noise); i++) {
		print_message("# %s\n", noise[i].what);
		say_bytes(&r, noise[i].id, noise[i].event, noise[i].value, noise[i].len);
		expect_nothing(&r);
		assert_true(serial_port_guest_open(port.port));
	}
	assert_true(vq_read_view(&r.f.dev->queues[CTRL_TX], &v));
	assert_int_equal(v.counters.errors_request, ARRAY_SIZE(noise) + 2);
	/* More than a message: what follows is not looked at. */
	say_bytes(&r, 1, PORT_OPEN, 0, BUF_BYTES);
	assert_false(serial_port_guest_open(port.port));
	assert_int_equal(port.num_told, 2);
	hang_up(&port);
	fix_deinit(&r.f);
}

/* However often the driver asks, nothing piles up; a buffer that is too small loses its message. */
static void test_small_and_many(void **state)
{
	struct owner port;
	struct rig r;
	int i;

	(void)state;
	rig_init(&r, "{\"max_ports\":3}");
	add(&r, &port, 1, "name");
	run_driver(&r, MULTIPORT);
	for (i = 0; i < 1000; i++)
		say(&r, 0, READY, 1);
	expect(&r, 1, ADD, 1, NULL);
	for (i = 0; i < 1000; i++)
		say(&r, 1, PORT_READY, 1);
	offer_buf(&r, CTRL_RX, 0, WRITE);
	assert_int_equal(used_len(&r, CTRL_RX, r.seen[CTRL_RX]++), 0);
	offer_buf(&r, CTRL_RX, 11, WRITE);
	assert_int_equal(used_len(&r, CTRL_RX, r.seen[CTRL_RX]++), 0);
	offer_buf(&r, CTRL_RX, 8, WRITE);
	expect(&r, 1, PORT_OPEN, 1, NULL);
	expect_nothing(&r);
	hang_up(&port);
	fix_deinit(&r.f);
}

static void test_data(void **state)
{
	struct owner port;
	struct rig r;
	char got[8];

	(void)state;
	rig_init(&r, "{\"max_ports\":3}");
	add(&r, &port, 1, "a");
	run_driver(&r, MULTIPORT);
	say(&r, 0, READY, 1);
	assert_int_equal(write(port.peer, "early", 5), 5);
	offer_buf(&r, RX1, 100, WRITE);
	/* Nobody has it open. */
	assert_int_equal(num_used(&r, RX1), 0);
	open_port(&r, &port, 1, "a");
	assert_int_equal(num_used(&r, RX1), 1);
	assert_int_equal(used_len(&r, RX1, 0), 5);
	say(&r, 1, PORT_OPEN, 0);
	offer_buf(&r, RX1, 100, WRITE);
	assert_int_equal(write(port.peer, "late", 4), 4);
	pump(&r.f);
	assert_int_equal(num_used(&r, RX1), 1);
	say(&r, 1, PORT_OPEN, 1);
	pump(&r.f);
	assert_int_equal(num_used(&r, RX1), 2);
	memcpy(ram(&r.f, BUF_AT(TX1)), "out", 3);
	offer_buf(&r, TX1, 3, 0);
	assert_int_equal(read(port.peer, got, sizeof(got)), 3);
	/* Of a port that is not there: its buffers wait, what is sent is gone. */
	offer_buf(&r, 6, 100, WRITE);
	offer_buf(&r, 7, 3, 0);
	assert_int_equal(num_used(&r, 6), 0);
	assert_int_equal(num_used(&r, 7), 1);
	/* The peer leaves: the driver hears it. */
	offer_buf(&r, RX1, 100, WRITE);
	hang_up(&port);
	pump(&r.f);
	expect(&r, 1, PORT_OPEN, 0, NULL);
	expect_nothing(&r);
	fix_deinit(&r.f);
}

static void test_removal_in_flight(void **state)
{
	struct owner port, next;
	struct rig r;
	int i;

	(void)state;
	rig_init(&r, "{\"max_ports\":3}");
	add(&r, &port, 1, "a");
	run_driver(&r, MULTIPORT);
	say(&r, 0, READY, 1);
	open_port(&r, &port, 1, "a");
	/* More than the peer takes: the rest waits. */
	for (i = 0; i < 15; i++) {
		set_desc(&r.f, RING_AT(TX1), (uint32_t)i, 0, 0x10000, 0, 0);
		((struct vring_avail *)ram(&r.f, RING_AT(TX1) + 0x200))->ring[i] =
			le16_make((uint16_t)i);
	}
	((struct vring_avail *)ram(&r.f, RING_AT(TX1) + 0x200))->idx = le16_make(15);
	kick(&r.f);
	assert_true(num_used(&r, TX1) < 15);
	take_out(&r, &port);
	/* Nobody is there that it could wait for. */
	assert_int_equal(num_used(&r, TX1), 15);
	expect(&r, 1, REMOVE, 1, NULL);
	/* The driver may not know yet. */
	say(&r, 1, PORT_OPEN, 0);
	say(&r, 1, PORT_READY, 1);
	expect_nothing(&r);
	/* Its successor has never been opened, whatever the driver says of the one before. */
	add(&r, &next, 1, "b");
	say(&r, 1, PORT_OPEN, 1);
	assert_false(serial_port_guest_open(next.port));
	open_port(&r, &next, 1, "b");
	/* Out and in before the driver listens: it hears both, and of the rest nothing. */
	take_out(&r, &next);
	add(&r, &port, 1, "c");
	take_out(&r, &port);
	add(&r, &port, 1, "d");
	say(&r, 1, PORT_READY, 1);
	expect(&r, 1, REMOVE, 1, NULL);
	open_port(&r, &port, 1, "d");
	take_out(&r, &port);
	/* In and out: it never knew. */
	expect(&r, 1, REMOVE, 1, NULL);
	add(&r, &port, 2, "e");
	take_out(&r, &port);
	expect_nothing(&r);
	assert_false(r.f.dev->broken);
	fix_deinit(&r.f);
}

/* Stopped, or about to: what is done to ports is done, and the driver hears it afterwards. */
static void test_while_stopped(void **state)
{
	struct owner port, more;
	struct rig r;

	(void)state;
	rig_init(&r, "{\"max_ports\":3}");
	add(&r, &port, 1, "a");
	run_driver(&r, MULTIPORT);
	say(&r, 0, READY, 1);
	open_port(&r, &port, 1, "a");
	expect_nothing(&r);
	vdev_set_vm_running(r.f.dev, false);
	/* Its queues have not come to rest yet. */
	assert_false(vdev_is_idle(r.f.dev));
	add(&r, &more, 2, "b");
	assert_true(vdev_is_idle(r.f.dev));
	take_out(&r, &port);
	vdev_set_vm_running(r.f.dev, true);
	pump(&r.f);
	expect(&r, 2, ADD, 1, NULL);
	expect(&r, 1, REMOVE, 1, NULL);
	/* A reset forgets who was told what; an open port is closed. */
	say(&r, 2, PORT_READY, 1);
	expect(&r, 2, PORT_NAME, 1, "b");
	expect(&r, 2, PORT_OPEN, 1, NULL);
	say(&r, 2, PORT_OPEN, 1);
	pump(&r.f);
	assert_true(more.open);
	fix_reset(&r.f);
	assert_false(more.open);
	run_driver(&r, MULTIPORT);
	expect_nothing(&r);
	say(&r, 0, READY, 1);
	open_port(&r, &more, 2, "b");
	hang_up(&more);
	fix_deinit(&r.f);
}

/* A driver that knows nothing of ports has the first one's queues. */
static void test_without_multiport(void **state)
{
	struct owner port;
	struct rig r;
	uint8_t config[12];
	int pair[2];
	char options[64], got[8];

	(void)state;
	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0, pair), 0);
	snprintf(options, sizeof(options), "{\"max_ports\":3,\"chardev\":\"connect:fd=%d\"}",
		pair[1]);
	rig_init(&r, options);
	close(pair[1]);
	add(&r, &port, 1, "a");
	run_driver(&r, SIZE);
	say(&r, 0, READY, 1);
	expect_nothing(&r);
	assert_int_equal(write(pair[0], "in", 2), 2);
	offer_buf(&r, RX0, 100, WRITE);
	pump(&r.f);
	assert_int_equal(used_len(&r, RX0, 0), 2);
	offer_buf(&r, TX0, 5, 0);
	assert_int_equal(read(pair[0], got, sizeof(got)), 5);
	assert_non_null(serial_console(r.f.dev));
	serial_port_resize(serial_console(r.f.dev), 80, 25);
	vdev_get_config(r.f.dev, config);
	assert_memory_equal(config, "\x50\0\x19\0\x03\0\0\0", 8);
	close(pair[0]);
	hang_up(&port);
	fix_deinit(&r.f);
}

static void test_511_ports(void **state)
{
	static struct owner ports[SERIAL_PORTS_MAX];
	struct rig r;
	uint32_t i;

	(void)state;
	rig_init(&r, "{\"max_ports\":511}");
	assert_int_equal(r.f.dev->num_queues, VDEV_QUEUES_MAX);
	for (i = 0; i < SERIAL_PORTS_MAX; i++)
		assert_int_equal(try_add(&r, &ports[i], SERIAL_PORT_ANY, NULL, true), 0);
	assert_int_equal(serial_port_nr(ports[510].port), 510);
	{
		struct owner o;

		assert_int_equal(try_add(&r, &o, SERIAL_PORT_ANY, NULL, true), -ENOSPC);
		assert_int_equal(try_add(&r, &o, 511, NULL, true), -ERANGE);
	}
	run_driver(&r, MULTIPORT);
	say(&r, 0, READY, 1);
	for (i = 0; i < SERIAL_PORTS_MAX; i++)
		expect(&r, i, ADD, 1, NULL);
	expect_nothing(&r);
	say(&r, 510, PORT_READY, 1);
	expect(&r, 510, CONSOLE_PORT, 1, NULL);
	expect(&r, 510, PORT_OPEN, 1, NULL);
	for (i = 0; i < SERIAL_PORTS_MAX; i += 2)
		take_out(&r, &ports[i]);
	for (i = 0; i < SERIAL_PORTS_MAX; i += 2)
		expect(&r, i, REMOVE, 1, NULL);
	assert_int_equal(try_add(&r, &ports[0], SERIAL_PORT_ANY, NULL, true), 0);
	assert_int_equal(serial_port_nr(ports[0].port), 0);
	expect(&r, 0, ADD, 1, NULL);
	fix_deinit(&r.f);
}

static void test_refused(void **state)
{
	char name[SERIAL_NAME_MAX + 2];
	struct owner port, o;
	struct rig r;

	(void)state;
	rig_init(&r, "{\"max_ports\":3}");
	add(&r, &port, 1, "a");
	assert_int_equal(try_add(&r, &o, 1, "b", false), -EEXIST);
	hang_up(&o);
	assert_int_equal(try_add(&r, &o, 2, "a", false), -EEXIST);
	hang_up(&o);
	assert_int_equal(try_add(&r, &o, 0, "b", false), -EINVAL);
	hang_up(&o);
	assert_int_equal(try_add(&r, &o, 3, "b", false), -ERANGE);
	hang_up(&o);
	memset(name, 'n', sizeof(name));
	name[SERIAL_NAME_MAX + 1] = '\0';
	assert_int_equal(try_add(&r, &o, 2, name, false), -ENAMETOOLONG);
	hang_up(&o);
	name[SERIAL_NAME_MAX] = '\0';
	add(&r, &o, 2, name);
	run_driver(&r, MULTIPORT);
	say(&r, 0, READY, 1);
	expect(&r, 1, ADD, 1, NULL);
	open_port(&r, &o, 2, name);
	hang_up(&o);
	hang_up(&port);
	fix_deinit(&r.f);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_one_console),
		cmocka_unit_test(test_handshake),
		cmocka_unit_test(test_noise),
		cmocka_unit_test(test_small_and_many),
		cmocka_unit_test(test_data),
		cmocka_unit_test(test_removal_in_flight),
		cmocka_unit_test(test_while_stopped),
		cmocka_unit_test(test_without_multiport),
		cmocka_unit_test(test_511_ports),
		cmocka_unit_test(test_refused),
	};

	log_set_level(LOG_LEVEL_ERROR);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
