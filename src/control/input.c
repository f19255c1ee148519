/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * input-send-event: events in the monitor's words to what is done with which device. Nothing is
 * done where one of a command's events makes no sense, or no device takes it.
 */
#include "control/input.h"

#include <errno.h>
#include <inttypes.h>
#include <string.h>

#include "control/devices.h"
#include "control/internal.h"
#include "devices/input.h"

/* Of one command: a group of events has room for two of each. */
#define ACTIONS_MAX (INPUT_GROUP_MAX / 2)

struct route {
	struct input_action action;
	enum InputEventKind kind;
	struct control_device *cdev; /* that it goes to */
};

/* --- what is done --- */

static int to_number(
	int64_t value, int64_t min, int64_t max, const char *what, int32_t *ret, struct err *err)
{
	if (value < min || value > max)
		return err_set(err, -ERANGE,
			"Parameter '%s' expects a number from %" PRId64 " to %" PRId64, what, min,
			max);
	*ret = (int32_t)value;
	return 0;
}

/* Where an axis ends, it ends. */
static int32_t to_place(int64_t value)
{
	return (int32_t)MAX((int64_t)0, MIN(value, (int64_t)INPUT_ABS_MAX));
}

static int read_key(const struct InputKeyEvent *event, struct input_action *ret, struct err *err)
{
	const struct KeyValue *key = event->key;
	int64_t number = 0;

	ret->what = INPUT_KEY;
	ret->down = event->down;
	if (key->type == KEY_VALUE_KIND_QCODE) {
		const char *name = qapi_name_QKeyCode(key->u.qcode->data);

		ret->key = input_key_by_name(name);
		return ret->key ? 0 : err_set(err, -EINVAL, "key '%s' is none", name);
	}
	number = key->u.number->data;
	ret->key = number > 0 && number <= UINT8_MAX ? input_key_by_scancode((uint32_t)number) : 0;
	return ret->key ? 0 : err_set(err, -EINVAL, "no key has number %" PRId64, number);
}

static int read_button(
	const struct InputBtnEvent *event, struct input_action *ret, _unused_ struct err *err)
{
	static const enum input_button buttons[] = {
		[INPUT_BUTTON_LEFT] = INPUT_LEFT,
		[INPUT_BUTTON_MIDDLE] = INPUT_MIDDLE,
		[INPUT_BUTTON_RIGHT] = INPUT_RIGHT,
		[INPUT_BUTTON_WHEEL_UP] = INPUT_WHEEL_UP,
		[INPUT_BUTTON_WHEEL_DOWN] = INPUT_WHEEL_DOWN,
		[INPUT_BUTTON_SIDE] = INPUT_SIDE,
		[INPUT_BUTTON_EXTRA] = INPUT_EXTRA,
		[INPUT_BUTTON_WHEEL_LEFT] = INPUT_WHEEL_LEFT,
		[INPUT_BUTTON_WHEEL_RIGHT] = INPUT_WHEEL_RIGHT,
		[INPUT_BUTTON_TOUCH] = INPUT_CONTACT,
	};

	_Static_assert(ARRAY_SIZE(buttons) == INPUT_BUTTON__MAX, "all that the schema has");
	ret->what = INPUT_BUTTON;
	ret->down = event->down;
	ret->button = buttons[event->button];
	return 0;
}

static enum input_axis to_axis(enum InputAxis axis)
{
	return axis == INPUT_AXIS_X ? INPUT_X : INPUT_Y;
}

static int read_rel(const struct InputMoveEvent *event, struct input_action *ret, struct err *err)
{
	ret->what = INPUT_REL;
	ret->axis = to_axis(event->axis);
	return to_number(event->value, INT32_MIN, INT32_MAX, "value", &ret->value, err);
}

static int read_touch(
	const struct InputMultiTouchEvent *event, struct input_action *ret, struct err *err)
{
	static const enum input_touch touches[] = {
		[INPUT_MULTI_TOUCH_TYPE_BEGIN] = INPUT_TOUCH_DOWN,
		[INPUT_MULTI_TOUCH_TYPE_UPDATE] = INPUT_TOUCH_DOWN,
		[INPUT_MULTI_TOUCH_TYPE_END] = INPUT_TOUCH_UP,
		[INPUT_MULTI_TOUCH_TYPE_CANCEL] = INPUT_TOUCH_UP,
		[INPUT_MULTI_TOUCH_TYPE_DATA] = INPUT_TOUCH_PLACE,
	};
	int r = to_number(event->slot, 0, INPUT_SLOT_MAX, "slot", &ret->slot, err);

	_Static_assert(ARRAY_SIZE(touches) == INPUT_MULTI_TOUCH_TYPE__MAX, "all there are");
	ret->what = INPUT_TOUCH;
	ret->touch = touches[event->type];
	ret->axis = to_axis(event->axis);
	ret->value = to_place(event->value);
	if (!r && ret->touch == INPUT_TOUCH_DOWN)
		r = to_number(event->tracking_id, 0, INPUT_TRACKING_MAX, "tracking-id",
			&ret->tracking_id, err);
	return r;
}

static int read_event(const struct InputEvent *event, struct input_action *ret, struct err *err)
{
	switch (event->type) {
	case INPUT_EVENT_KIND_KEY: return read_key(event->u.key->data, ret, err);
	case INPUT_EVENT_KIND_BTN: return read_button(event->u.btn->data, ret, err);
	case INPUT_EVENT_KIND_REL: return read_rel(event->u.rel->data, ret, err);
	case INPUT_EVENT_KIND_ABS:
		ret->what = INPUT_ABS;
		ret->axis = to_axis(event->u.abs->data->axis);
		ret->value = to_place(event->u.abs->data->value);
		return 0;
	default: return read_touch(event->u.mtt->data, ret, err);
	}
}

/* --- to whom --- */

/* Whom a command may mean. */
struct choice {
	struct control *ctl;
	struct control_device *only; /* NULL: any, and then: */
	const char *display; /* those of this display first; NULL: those of none */
	uint32_t head;
};

static bool is_there(const struct control_device *cdev)
{
	return cdev->dev && !cdev->unplugging && input_is(cdev->dev);
}

static bool is_of_display(const struct choice *choice, const struct control_device *cdev)
{
	uint32_t head;
	const char *display = input_display(cdev->dev, &head);

	return display && choice->display && !strcmp(display, choice->display) &&
	       head == choice->head;
}

static bool is_of_none(const struct control_device *cdev)
{
	uint32_t head;

	return !input_display(cdev->dev, &head);
}

static bool has_driver(const struct control_device *cdev)
{
	return cdev->dev->status & VIRTIO_STATUS_DRIVER_OK;
}

/* The best of those that take it: of the display, with a driver, added last. */
static struct control_device *choose(const struct choice *choice, const struct input_action *action)
{
	struct control_device *best = NULL;
	int best_score = -1;

	for (struct control_device *cdev = choice->ctl->devices; cdev; cdev = cdev->next) {
		int score;

		if (!is_there(cdev) || (choice->only && cdev != choice->only) ||
			!input_takes(cdev->dev, action))
			continue;
		if (!choice->only && !is_of_display(choice, cdev) && !is_of_none(cdev))
			continue;
		score = 2 * is_of_display(choice, cdev) + has_driver(cdev);
		if (score > best_score)
			best = cdev;
		best_score = MAX(best_score, score);
	}
	return best;
}

static int find_device(struct choice *choice, const char *device, struct qapi_error *error)
{
	struct control *ctl = choice->ctl;
	bool found = false;

	for (struct control_device *cdev = ctl->devices; cdev; cdev = cdev->next) {
		if (!is_there(cdev))
			continue;
		found |= is_of_display(choice, cdev);
		if (cdev->dev->id && !strcmp(cdev->dev->id, device))
			choice->only = cdev;
	}
	if (!found && !choice->only)
		return qapi_error_set(
			error, QAPI_DEVICE_NOT_FOUND, "Device '%s' not found", device);
	return 0;
}

/* A button goes with the pointer that the command moves. */
static struct control_device *with_pointer(
	const struct route *routes, size_t num, const struct input_action *action)
{
	for (size_t i = 0; i < num; i++)
		if (routes[i].cdev && routes[i].kind != INPUT_EVENT_KIND_KEY &&
			input_takes(routes[i].cdev->dev, action))
			return routes[i].cdev;
	return NULL;
}

static int find_routes(
	const struct choice *choice, struct route *routes, size_t num, struct err *err)
{
	for (int buttons = 0; buttons < 2; buttons++)
		for (size_t i = 0; i < num; i++) {
			if ((routes[i].kind == INPUT_EVENT_KIND_BTN) != buttons)
				continue;
			if (buttons)
				routes[i].cdev = with_pointer(routes, num, &routes[i].action);
			if (!routes[i].cdev)
				routes[i].cdev = choose(choice, &routes[i].action);
			if (!routes[i].cdev)
				return err_set(err, -ENODEV,
					"Input handler not found for event type %s",
					qapi_name_InputEventKind(routes[i].kind));
		}
	return 0;
}

/* All that is for the device of the first one that is left; they are done with then. */
static int send_first(struct route *routes, size_t num, struct err *err)
{
	struct input_action actions[ACTIONS_MAX];
	struct control_device *cdev = routes[0].cdev;
	size_t n = 0;

	for (size_t i = 0; i < num; i++) {
		if (routes[i].cdev != cdev)
			continue;
		actions[n++] = routes[i].action;
		routes[i].cdev = NULL;
	}
	return input_send(cdev->dev, actions, n, err);
}

int control_cmd_input_send_event(struct qapi_call *call, const char *device, bool has_head,
	int64_t head, const struct InputEventList *events, struct qapi_error *error)
{
	struct choice choice = { .ctl = call->ctx, .display = device };
	struct route routes[ACTIONS_MAX] = { 0 };
	int r = 0;

	if (has_head && (head < 0 || head > UINT32_MAX))
		return qapi_error_set(error, QAPI_GENERIC_ERROR, "there is no head %" PRId64, head);
	choice.head = (uint32_t)head;
	if (events->num > ACTIONS_MAX)
		return qapi_error_set(error, QAPI_GENERIC_ERROR,
			"a command has at most %d events, not %zu", ACTIONS_MAX, events->num);
	if (device && find_device(&choice, device, error) < 0)
		return -ENODEV;
	for (size_t i = 0; !r && i < events->num; i++) {
		routes[i].kind = events->items[i]->type;
		r = read_event(events->items[i], &routes[i].action, &error->err);
	}
	if (!r)
		r = find_routes(&choice, routes, events->num, &error->err);
	for (size_t i = 0; !r && i < events->num; i++)
		if (routes[i].cdev)
			r = send_first(&routes[i], events->num - i, &error->err);
	return r;
}

/* --- properties --- */

static const struct vdev *vdev_of(struct qom_object *obj)
{
	return ((struct control_device *)obj->opaque)->dev;
}

static struct json_object *get_leds(struct qom_object *obj)
{
	struct json_object *ret = json_object_new_array();
	uint16_t leds = input_leds(vdev_of(obj));
	const char *name;

	for (unsigned int i = 0; (name = input_led_name(i)); i++)
		if (leds >> i & 1)
			json_object_array_add(ret, json_object_new_string(name));
	return ret;
}

#define GET_COUNTER(member)                                             \
	static struct json_object *get_##member(struct qom_object *obj) \
	{                                                               \
		struct input_counters counters;                         \
                                                                        \
		input_read_counters(vdev_of(obj), &counters);           \
		return json_object_new_uint64(counters.member);         \
	}

GET_COUNTER(given)
GET_COUNTER(dropped)
GET_COUNTER(status_taken)
GET_COUNTER(status_ignored)

static struct json_object *get_connected(struct qom_object *obj)
{
	return json_object_new_boolean(input_is_connected(vdev_of(obj)));
}

#define INPUT_PROPERTIES                                            \
	CONTROL_DEVICE_PROPERTIES, { "leds", "strList", get_leds }, \
		{ "events-given", "uint64", get_given },            \
		{ "events-dropped", "uint64", get_dropped },        \
		{ "status-taken", "uint64", get_status_taken },     \
	{                                                           \
		"status-ignored", "uint64", get_status_ignored      \
	}

const struct qom_property control_input_properties[] = { INPUT_PROPERTIES, { NULL } };

const struct qom_property control_input_host_properties[] = {
	INPUT_PROPERTIES,
	{ "connected", "bool", get_connected },
	{ NULL },
};
