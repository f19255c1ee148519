/* SPDX-License-Identifier: BSD-3-Clause */
/* What virtio-input's devices tell of themselves, and what keys are called. */
#include "input_rig.h"

static void look(struct fix *f, uint8_t select, uint8_t subsel, uint8_t *config)
{
	const uint8_t window[2] = { select, subsel };

	assert_true(vdev_set_config(f->dev, 0, window, sizeof(window)));
	memset(config, UNTOUCHED, CONFIG_BYTES);
	vdev_get_config(f->dev, config);
	assert_int_equal(config[0], select);
	assert_int_equal(config[1], subsel);
}

/* Rows: what a driver selects, how much there is, and its first bytes. */
static const struct config_case {
	const char *name;
	const struct vdev_class *cls;
	uint8_t select, subsel, size;
	uint8_t bytes[8];
} config_cases[] = {
	{ "nothing selected", &virtio_keyboard_class, 0x00, 0, 0, { 0 } },
	{ "name", &virtio_keyboard_class, 0x01, 0, 24, { 'R', 'i', 'n', 'g', 's', 'i', 'd', 'e' } },
	{ "name, subsel", &virtio_keyboard_class, 0x01, 1, 0, { 0 } },
	{ "serial", &virtio_keyboard_class, 0x02, 0, 6, { 'k', 'b', 'd', '-', '0', '1' } },
	{ "ids", &virtio_keyboard_class, 0x03, 0, 8, { 6, 0, 0x27, 0x06, 1, 0, 1, 0 } },
	{ "ids, subsel", &virtio_keyboard_class, 0x03, 1, 0, { 0 } },
	{ "reserved", &virtio_keyboard_class, 0x04, 0, 0, { 0 } },
	{ "properties", &virtio_keyboard_class, 0x10, 0, 0, { 0 } },
	{ "SYN", &virtio_keyboard_class, 0x11, EV_SYN, 0, { 0 } },
	/* KEY_ESC to KEY_F5, and so on. */
	{ "keys", &virtio_keyboard_class, 0x11, EV_KEY, 29,
		{ 0xfe, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff } },
	{ "axes", &virtio_keyboard_class, 0x11, EV_REL, 0, { 0 } },
	{ "lights", &virtio_keyboard_class, 0x11, EV_LED, 1, { 0x07 } },
	{ "repeat", &virtio_keyboard_class, 0x11, EV_REP, 1, { 0 } },
	{ "a type that is none", &virtio_keyboard_class, 0x11, 0x20, 0, { 0 } },
	{ "the last subsel", &virtio_keyboard_class, 0x11, 0xff, 0, { 0 } },
	{ "an axis that it has not", &virtio_keyboard_class, 0x12, ABS_X, 0, { 0 } },
	{ "the last select", &virtio_keyboard_class, 0xff, 0xff, 0, { 0 } },
	{ "mouse", &virtio_mouse_class, 0x11, EV_REL, 2, { 0x43, 0x01 } },
	{ "buttons", &virtio_mouse_class, 0x11, EV_KEY, 35, { 0 } },
	{ "ids of a mouse", &virtio_mouse_class, 0x03, 0, 8, { 6, 0, 0x27, 0x06, 2, 0, 2, 0 } },
	{ "repeat of a mouse", &virtio_mouse_class, 0x11, EV_REP, 0, { 0 } },
	{ "tablet", &virtio_tablet_class, 0x11, EV_ABS, 1, { 0x03 } },
	{ "its axis", &virtio_tablet_class, 0x12, ABS_Y, 20, { 0, 0, 0, 0, 0xff, 0x7f } },
	{ "no third", &virtio_tablet_class, 0x12, ABS_Z, 0, { 0 } },
	{ "an axis beyond all", &virtio_tablet_class, 0x12, 0x40, 0, { 0 } },
	{ "an axis of another round", &virtio_tablet_class, 0x12, 0x41, 0, { 0 } },
	{ "surface", &virtio_multitouch_class, 0x11, EV_ABS, 8, { 0, 0, 0, 0, 0, 0x80, 0x60, 2 } },
	{ "direct", &virtio_multitouch_class, 0x10, 0, 1, { 0x02 } },
	{ "slots", &virtio_multitouch_class, 0x12, ABS_MT_SLOT, 20, { 0, 0, 0, 0, 10 } },
};

static void test_config(void **state)
{
	(void)state;
	fix_options = "{\"serial\":\"kbd-01\"}";
	for (size_t i = 0; i < ARRAY_SIZE(config_cases); i++) {
		const struct config_case *c = &config_cases[i];
		uint8_t config[CONFIG_BYTES];
		struct fix f;

		start_on(&f, c->cls, EVENTQ, 64);
		look(&f, c->select, c->subsel, config);
		if (config[2] != c->size ||
			memcmp(config + 8, c->bytes, MIN(c->size, sizeof(c->bytes))) != 0)
			fail_msg("%s: size %u", c->name, config[2]);
		fix_deinit(&f);
	}
}

/* Of every choice that there is: nothing behind what there is. */
static void test_every_choice(void **state)
{
	(void)state;
	fix_options = NULL;
	for (size_t i = 0; i < ARRAY_SIZE(hid_classes); i++) {
		struct fix f;

		start_on(&f, hid_classes[i], EVENTQ, 64);
		for (unsigned int choice = 0; choice < 0x10000; choice++) {
			uint8_t config[CONFIG_BYTES];

			look(&f, (uint8_t)(choice >> 8), (uint8_t)choice, config);
			assert_true(config[2] <= 128);
			for (size_t at = 3; at < CONFIG_BYTES; at++)
				assert_true(!config[at] || (at >= 8 && at - 8 < config[2]));
		}
		fix_deinit(&f);
	}
}

/* What else a driver may write, and what is selected then. */
static const struct write_case {
	size_t offset, len;
	bool done;
	uint8_t select, subsel;
} write_cases[] = {
	{ 0, 1, true, 0x77, 2 },
	{ 1, 1, true, 1, 0x77 },
	{ 2, 1, true, 1, 2 },
	{ 1, 2, true, 1, 0x77 },
	{ 0, CONFIG_BYTES, true, 0x77, 0x77 },
	{ 8, 128, true, 1, 2 },
	{ 0, 0, true, 1, 2 },
	{ CONFIG_BYTES, 0, true, 1, 2 },
	{ CONFIG_BYTES, 1, false, 1, 2 },
	{ 0, CONFIG_BYTES + 1, false, 1, 2 },
	{ SIZE_MAX, 2, false, 1, 2 },
};

static void test_config_writes(void **state)
{
	uint8_t junk[CONFIG_BYTES + 1], config[CONFIG_BYTES];

	(void)state;
	memset(junk, 0x77, sizeof(junk));
	for (size_t i = 0; i < ARRAY_SIZE(write_cases); i++) {
		const struct write_case *c = &write_cases[i];
		struct fix f;

		start_plain(&f, &virtio_keyboard_class, EVENTQ);
		look(&f, 1, 2, config);
		assert_int_equal(vdev_set_config(f.dev, c->offset, junk, c->len), c->done);
		vdev_get_config(f.dev, config);
		if (config[0] != c->select || config[1] != c->subsel || config[2])
			fail_msg("row %zu", i);
		fix_reset(&f);
		vdev_get_config(f.dev, config);
		assert_int_equal(config[0], 0);
		assert_int_equal(config[1], 0);
		fix_deinit(&f);
	}
}

static void test_wheel_of_buttons(void **state)
{
	uint8_t config[CONFIG_BYTES];
	struct fix f;

	(void)state;
	fix_options = "{\"wheel-axis\":false}";
	start_on(&f, &virtio_mouse_class, EVENTQ, 64);
	look(&f, 0x11, EV_REL, config);
	assert_int_equal(config[2], 1);
	look(&f, 0x11, EV_KEY, config);
	assert_int_equal(config[2], BTN_GEAR_UP / 8 + 1);
	look(&f, 0x03, 0, config);
	assert_int_equal(config[8 + 6], 1);
	fix_deinit(&f);
}

static void test_serial_too_long(void **state)
{
	char options[200];
	struct json_object *args;
	struct loop loop;
	struct vdev *dev;
	struct err err = { 0 };

	(void)state;
	snprintf(options, sizeof(options), "{\"serial\":\"%0*d\"}", 129, 0);
	args = json_tokener_parse(options);
	assert_int_equal(loop_init(&loop, "test", &err), 0);
	dev = vdev_new(&virtio_mouse_class, "m0", &loop, &loop);
	assert_int_equal(options_take(dev->cls->options, dev, args, &err), 0);
	assert_int_equal(vdev_realize(dev, &err), -ENAMETOOLONG);
	assert_string_equal(err.msg, "m0: serial= has at most 128 bytes, not 129");
	json_object_put(args);
	vdev_destroy(dev, NULL);
	loop_deinit(&loop);
}

static void test_key_names(void **state)
{
	static const struct {
		uint32_t number;
		uint16_t code;
	} numbers[] = { { 0, 0 }, { 1, KEY_ESC }, { 0x1e, KEY_A }, { 0x58, KEY_F12 }, { 0x59, 0 },
		{ 0x7f, 0 }, { 0x80, 0 }, { 0x9c, KEY_KPENTER }, { 0xd3, KEY_DELETE }, { 0xff, 0 },
		{ UINT32_MAX, 0 } };
	size_t num = 0;

	(void)state;
	assert_int_equal(input_key_by_name("a"), KEY_A);
	assert_int_equal(input_key_by_name("less"), KEY_102ND);
	assert_int_equal(input_key_by_name("unmapped"), 0);
	assert_int_equal(input_key_by_name(""), 0);
	for (uint16_t key; (key = input_key_at(num)); num++)
		assert_true(key < KEY_MAX);
	assert_int_equal(num, 161);
	for (size_t i = 0; i < ARRAY_SIZE(numbers); i++)
		assert_int_equal(input_key_by_scancode(numbers[i].number), numbers[i].code);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_config),
		cmocka_unit_test(test_every_choice),
		cmocka_unit_test(test_config_writes),
		cmocka_unit_test(test_wheel_of_buttons),
		cmocka_unit_test(test_serial_too_long),
		cmocka_unit_test(test_key_names),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
