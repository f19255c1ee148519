/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Keyboard, mouse, tablet and multitouch surface: what each tells of itself, and what somebody does
 * with it as Linux's events. Options, numbers and axes are those of QEMU's devices of these names.
 * A device takes what it has told that it has, and nothing else.
 */
#include <errno.h>
#include <linux/input.h>
#include <string.h>

#include "devices/input_int.h"

#define HID_VENDOR	    0x0627
#define EVENTS_OF_AN_ACTION 2

struct hid_event {
	uint16_t type, code;
	int32_t value;
};

/* A wheel is a button, or an axis that goes a step with each press. */
static const struct {
	uint16_t code;
	uint16_t wheel; /* 0: it is none */
	int32_t step;
} buttons[INPUT_NUM_BUTTONS] = {
	[INPUT_LEFT] = { BTN_LEFT },
	[INPUT_MIDDLE] = { BTN_MIDDLE },
	[INPUT_RIGHT] = { BTN_RIGHT },
	[INPUT_WHEEL_UP] = { BTN_GEAR_UP, REL_WHEEL, 1 },
	[INPUT_WHEEL_DOWN] = { BTN_GEAR_DOWN, REL_WHEEL, -1 },
	[INPUT_SIDE] = { BTN_SIDE },
	[INPUT_EXTRA] = { BTN_EXTRA },
	[INPUT_WHEEL_LEFT] = { 0, REL_HWHEEL, -1 },
	[INPUT_WHEEL_RIGHT] = { 0, REL_HWHEEL, 1 },
	[INPUT_CONTACT] = { BTN_TOUCH },
};

/* --- what they tell of themselves --- */

static void set_name(struct input *in, const char *name, uint16_t product, uint16_t version)
{
	struct input_about *about = &in->about;

	memcpy(about->name, name, strlen(name));
	about->has_ids = true;
	about->bustype = BUS_VIRTUAL;
	about->vendor = HID_VENDOR;
	about->product = product;
	about->version = version;
}

static void set_codes(struct input *in, unsigned int type, const uint16_t *codes, size_t num)
{
	for (size_t i = 0; i < num; i++)
		input_set_bit(&in->about.events[type], codes[i]);
}

static void set_axis(struct input *in, unsigned int axis, int32_t max)
{
	input_set_bit(&in->about.events[EV_ABS], axis);
	in->about.abs[axis].max = max;
}

static void set_buttons(struct input *in)
{
	for (size_t i = 0; i < INPUT_CONTACT; i++) {
		if (in->wheel_axis && buttons[i].wheel)
			input_set_bit(&in->about.events[EV_REL], buttons[i].wheel);
		else if (buttons[i].code)
			input_set_bit(&in->about.events[EV_KEY], buttons[i].code);
	}
}

static int keyboard_realize(struct vdev *dev, struct err *err)
{
	static const uint16_t leds[] = { LED_NUML, LED_CAPSL, LED_SCROLLL };
	struct input *in = input_of(dev);
	uint16_t key;

	set_name(in, "Ringside Virtio Keyboard", 1, 1);
	for (size_t i = 0; (key = input_key_at(i)); i++)
		input_set_bit(&in->about.events[EV_KEY], key);
	set_codes(in, EV_LED, leds, ARRAY_SIZE(leds));
	in->about.repeats = true;
	return input_realize(dev, err);
}

static int mouse_realize(struct vdev *dev, struct err *err)
{
	static const uint16_t axes[] = { REL_X, REL_Y };
	struct input *in = input_of(dev);

	set_name(in, "Ringside Virtio Mouse", 2, in->wheel_axis ? 2 : 1);
	set_codes(in, EV_REL, axes, ARRAY_SIZE(axes));
	set_buttons(in);
	return input_realize(dev, err);
}

static int tablet_realize(struct vdev *dev, struct err *err)
{
	struct input *in = input_of(dev);

	set_name(in, "Ringside Virtio Tablet", 3, in->wheel_axis ? 2 : 1);
	set_axis(in, ABS_X, INPUT_ABS_MAX);
	set_axis(in, ABS_Y, INPUT_ABS_MAX);
	set_buttons(in);
	return input_realize(dev, err);
}

static int multitouch_realize(struct vdev *dev, struct err *err)
{
	struct input *in = input_of(dev);

	set_name(in, "Ringside Virtio MultiTouch", 3, 1);
	input_set_bit(&in->about.props, INPUT_PROP_DIRECT);
	input_set_bit(&in->about.events[EV_KEY], BTN_TOUCH);
	set_axis(in, ABS_MT_SLOT, INPUT_SLOT_MAX);
	set_axis(in, ABS_MT_TRACKING_ID, INPUT_TRACKING_MAX);
	set_axis(in, ABS_MT_POSITION_X, INPUT_ABS_MAX);
	set_axis(in, ABS_MT_POSITION_Y, INPUT_ABS_MAX);
	return input_realize(dev, err);
}

/* --- what is done with them --- */

static unsigned int touch_events(const struct input_action *a, struct hid_event *ret)
{
	ret[0] = (struct hid_event){ EV_ABS, ABS_MT_SLOT, a->slot };
	if (a->touch == INPUT_TOUCH_PLACE)
		ret[1] = (struct hid_event){ EV_ABS,
			a->axis == INPUT_X ? ABS_MT_POSITION_X : ABS_MT_POSITION_Y, a->value };
	else
		ret[1] = (struct hid_event){ EV_ABS, ABS_MT_TRACKING_ID,
			a->touch == INPUT_TOUCH_DOWN ? a->tracking_id : -1 };
	return 2;
}

static unsigned int button_events(
	const struct input *in, const struct input_action *a, struct hid_event *ret)
{
	if (in->wheel_axis && buttons[a->button].wheel)
		ret[0] = (struct hid_event){ EV_REL, buttons[a->button].wheel,
			a->down ? buttons[a->button].step : 0 };
	else
		ret[0] = (struct hid_event){ EV_KEY, buttons[a->button].code, a->down };
	return 1;
}

static unsigned int to_events(
	const struct input *in, const struct input_action *a, struct hid_event *ret)
{
	switch (a->what) {
	case INPUT_KEY: *ret = (struct hid_event){ EV_KEY, a->key, a->down }; return 1;
	case INPUT_BUTTON: return button_events(in, a, ret);
	case INPUT_REL:
		*ret = (struct hid_event){ EV_REL, a->axis == INPUT_X ? REL_X : REL_Y, a->value };
		return 1;
	case INPUT_ABS:
		*ret = (struct hid_event){ EV_ABS, a->axis == INPUT_X ? ABS_X : ABS_Y, a->value };
		return 1;
	case INPUT_TOUCH: return touch_events(a, ret);
	}
	return 0;
}

/* An axis that stays where it is, the wheel of a button that comes up, is none. */
static bool is_event(const struct hid_event *e)
{
	return e->type != EV_REL || e->value;
}

bool input_takes(const struct vdev *dev, const struct input_action *action)
{
	const struct input *in = input_of(dev);
	struct hid_event events[EVENTS_OF_AN_ACTION];
	unsigned int num = to_events(in, action, events);

	/* What the host's device does, it does itself. */
	if (in->source || (events[0].type == EV_KEY && !events[0].code))
		return false;
	for (unsigned int i = 0; i < num; i++)
		if (!input_has_bit(&in->about.events[events[i].type], events[i].code))
			return false;
	return true;
}

static void put_actions(struct input *in, const struct input_action *actions, size_t num)
{
	for (size_t i = 0; i < num; i++) {
		struct hid_event events[EVENTS_OF_AN_ACTION];
		unsigned int n = to_events(in, &actions[i], events);

		for (unsigned int k = 0; k < n; k++)
			if (is_event(&events[k]))
				input_put(in, events[k].type, events[k].code, events[k].value);
	}
}

int input_send(struct vdev *dev, const struct input_action *actions, size_t num, struct err *err)
{
	struct input *in = input_of(dev);
	struct vq *vq = &dev->queues[INPUT_EVENTQ];
	uint32_t before = in->put, n, max;

	put_actions(in, actions, num);
	n = in->put - before;
	if (!n)
		return 0;
	max = MIN(vq->state == VQ_IDLE ? INPUT_GROUP_MAX : vq->cfg.num, INPUT_GROUP_MAX + 0u);
	if (n >= max) {
		input_put_drop(in);
		return err_set(err, -E2BIG,
			"%s: its driver has room for %u events at once, not for %u",
			vdev_label(dev), max - 1, n);
	}
	if (vq->state != VQ_RUNNING)
		input_put_drop(in);
	else if (input_put_report(in))
		vq_look_again(vq);
	return 0;
}

/* --- the classes --- */

#define SERIAL_OPTION                                                                      \
	{                                                                                  \
		"serial", OPTION_STRING, offsetof(struct input, serial), NULL, 0, 0, NULL, \
			"that the guest sees"                                              \
	}
#define DISPLAY_OPTIONS                                                                       \
	{ "display", OPTION_STRING, offsetof(struct input, display), NULL, 0, 0, NULL,        \
		"a name for where it belongs to: input-send-event with device= of this name " \
		"goes there" },                                                               \
	{                                                                                     \
		"head", OPTION_U32, offsetof(struct input, head), "0", 0, UINT32_MAX, NULL,   \
			"with display: input-send-event's head="                              \
	}
#define WHEEL_OPTION                                                                             \
	{                                                                                        \
		"wheel-axis", OPTION_BOOL, offsetof(struct input, wheel_axis), "on", 0, 0, NULL, \
			"the wheel is an axis; off: it is two buttons"                           \
	}

static const struct option_spec plain_options[] = { SERIAL_OPTION, DISPLAY_OPTIONS, { NULL } };
static const struct option_spec pointer_options[] = { SERIAL_OPTION, DISPLAY_OPTIONS, WHEEL_OPTION,
	{ NULL } };

#define HID_CLASS(class_name, text, class_options, class_realize)                           \
	{                                                                                   \
		.name = class_name, .description = text, .virtio_id = 18,                   \
		.instance_bytes = sizeof(struct input), .config_bytes = INPUT_CONFIG_BYTES, \
		.options = class_options, .realize = class_realize,                         \
		.get_config = input_get_config, .set_config = input_set_config,             \
		.serve = input_serve, .queue_start = input_queue_start,                     \
		.queue_stop = input_queue_stop, .reset = input_reset,                       \
	}

const struct vdev_class virtio_keyboard_class = HID_CLASS(
	"virtio-keyboard", "a keyboard: input-send-event", plain_options, keyboard_realize);
const struct vdev_class virtio_mouse_class =
	HID_CLASS("virtio-mouse", "a mouse: input-send-event", pointer_options, mouse_realize);
const struct vdev_class virtio_tablet_class = HID_CLASS("virtio-tablet",
	"a pointer with absolute places: input-send-event", pointer_options, tablet_realize);
const struct vdev_class virtio_multitouch_class = HID_CLASS("virtio-multitouch",
	"a surface for several fingers: input-send-event", plain_options, multitouch_realize);
