/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * virtio-input: a keyboard, a mouse, a tablet, a surface for several fingers, or an evdev device of
 * the host (virtio 1.3, "Input Device"). The functions are control's, on the main loop.
 */
#ifndef DEVICES_INPUT_H
#define DEVICES_INPUT_H

#include "virtio/vdev.h"

extern const struct vdev_class virtio_keyboard_class, virtio_mouse_class, virtio_tablet_class,
	virtio_multitouch_class, virtio_input_host_class;

/* Events of one group, the report at its end included: what input_send() takes is below. */
#define INPUT_GROUP_MAX 256
/* The last place of a tablet's or a surface's axes; the first is 0. */
#define INPUT_ABS_MAX 0x7fff
/* Fingers are told apart by slots from 0 to this. */
#define INPUT_SLOT_MAX 10
/* Contacts by numbers from 0 to this. */
#define INPUT_TRACKING_MAX 0xffff

enum input_what { INPUT_KEY, INPUT_BUTTON, INPUT_REL, INPUT_ABS, INPUT_TOUCH };

enum input_button {
	INPUT_LEFT,
	INPUT_MIDDLE,
	INPUT_RIGHT,
	INPUT_WHEEL_UP,
	INPUT_WHEEL_DOWN,
	INPUT_SIDE,
	INPUT_EXTRA,
	INPUT_WHEEL_LEFT,
	INPUT_WHEEL_RIGHT,
	INPUT_CONTACT, /* any finger is on the surface */
	INPUT_NUM_BUTTONS
};

enum input_axis { INPUT_X, INPUT_Y };

/* A finger comes, is told of again, or goes; or the place of the one in the slot. */
enum input_touch { INPUT_TOUCH_DOWN, INPUT_TOUCH_UP, INPUT_TOUCH_PLACE };

/* Something that somebody does with a device. */
struct input_action {
	enum input_what what;
	bool down; /* key, button */
	uint16_t key; /* Linux's code */
	enum input_button button;
	enum input_axis axis; /* rel, abs, the place of a touch */
	enum input_touch touch;
	int32_t value; /* rel, abs, the place of a touch */
	int32_t slot, tracking_id; /* touch */
};

/* What became of it all since the device was made. */
struct input_counters {
	uint64_t given; /* events that the driver got */
	uint64_t dropped; /* and those that it did not, for it had no room or was not there */
	uint64_t status_taken, status_ignored; /* events that came from it */
};

bool input_is(const struct vdev *dev);
/* Could it be done with this device? */
bool input_takes(const struct vdev *dev, const struct input_action *action);
/*
 * Does all of it at once: the driver gets one group of events, or where it has no room for it, in
 * time, none. @dev takes each of them. -E2BIG with a sentence: too many for a group.
 */
int input_send(struct vdev *dev, const struct input_action *actions, size_t num, struct err *err);

/* Where display= says that it is looked at; NULL: nowhere in particular. */
const char *input_display(const struct vdev *dev, uint32_t *ret_head);

/* A bit for each light that is on, by Linux's code; what they are called, NULL behind the last. */
uint16_t input_leds(const struct vdev *dev);
const char *input_led_name(unsigned int led);
void input_read_counters(const struct vdev *dev, struct input_counters *ret);
/* virtio-input-host: is the host's device still there? */
bool input_is_connected(const struct vdev *dev);

/* input_keys.c: Linux's code of the key that QEMU's interface calls so; 0: there is none. */
uint16_t input_key_by_name(const char *name);
/* Of a PC keyboard's number, set 1, with 0x80 for those behind 0xe0. 0: there is none. */
uint16_t input_key_by_scancode(uint32_t number);
/* All that input_key_by_name() knows: the code, 0 behind the last. */
uint16_t input_key_at(size_t row);

#endif
