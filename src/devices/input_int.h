/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * What the files of virtio-input share. Events go from one loop, the main loop or that of the
 * queues, to that of the queues through a ring of whole groups.
 */
#ifndef DEVICES_INPUT_INT_H
#define DEVICES_INPUT_INT_H

#include <stdatomic.h>

#include "base/le.h"
#include "devices/input.h"

/* Events that wait for the driver; a power of two. */
#define INPUT_EVENTS 1024
/* Of a string or a bitmap in the configuration space. */
#define INPUT_UNION_BYTES  128
#define INPUT_CONFIG_BYTES 136
/* Linux's numbers of them: types, absolute axes, lights. */
#define INPUT_TYPES 0x20
#define INPUT_AXES  0x40
#define INPUT_LEDS  0x10

enum { INPUT_EVENTQ, INPUT_STATUSQ };

struct input_event_wire {
	le16 type, code;
	le32 value;
};

struct input_axis_info {
	int32_t min, max, fuzz, flat, res;
};

/* Bits of Linux's numbers, lowest first. */
struct input_bits {
	uint8_t byte[INPUT_UNION_BYTES];
};

/* What the driver is told of the device. Constant once it is realized. */
struct input_about {
	char name[INPUT_UNION_BYTES], serial[INPUT_UNION_BYTES]; /* padded with NUL */
	bool has_ids;
	uint16_t bustype, vendor, product, version;
	struct input_bits props;
	struct input_bits events[INPUT_TYPES]; /* codes, by type */
	bool repeats; /* EV_REP is told, though it has no codes */
	struct input_axis_info abs[INPUT_AXES];
};

struct input;

/* A device behind the device. On the queues' loop, or while they are idle on the main loop. */
struct input_source {
	/* Events are put from now on. -errno with a sentence. */
	int (*start)(struct input *in, struct vq *vq, struct err *err);
	void (*stop)(struct input *in);
	/* The driver sent this, and the device has it. */
	void (*status)(struct input *in, uint16_t type, uint16_t code, int32_t value);
};

struct input {
	struct vdev dev;
	/* Options; what a class has not stays at its default. */
	char *serial, *display, *evdev_spec;
	uint32_t head;
	bool wheel_axis;

	struct input_about about;
	const struct input_source *source; /* where events come from by themselves; NULL: nowhere */
	struct evdev *evdev; /* the source's; NULL: none */

	/* The main loop's: which part of the configuration the driver looks at. */
	uint8_t select, subsel;

	/*
	 * Events, free running. Whoever puts them there is one loop: @put is where it is at,
	 * @shown the end of its last whole group. The queues' loop has taken them up to @taken.
	 */
	struct input_event_wire ring[INPUT_EVENTS];
	uint32_t put;
	bool overflown; /* the group at hand has no room */
	_Atomic uint32_t shown, taken;

	/* The queues' loop's. */
	uint32_t most_buffers; /* that the driver was ever seen to offer at once */

	_Atomic uint16_t leds;
	_Atomic bool gone; /* the source's device */
	_Atomic uint64_t given, dropped, status_taken, status_ignored;
};

static inline struct input *input_of(const struct vdev *dev)
{
	return container_of(dev, struct input, dev);
}

static inline void input_set_bit(struct input_bits *bits, unsigned int bit)
{
	bits->byte[bit / 8] |= (uint8_t)(1u << bit % 8);
}

static inline bool input_has_bit(const struct input_bits *bits, unsigned int bit)
{
	return bit < INPUT_UNION_BYTES * 8 && (bits->byte[bit / 8] >> bit % 8 & 1);
}

/* input.c: what all the classes are made of. */
int input_realize(struct vdev *dev, struct err *err);
void input_get_config(struct vdev *dev, void *config);
void input_set_config(struct vdev *dev, size_t offset, const void *bytes, size_t len);
enum serve_verdict input_serve(struct vdev *dev, struct vq *vq, struct chain *c);
int input_queue_start(struct vdev *dev, struct vq *vq, struct err *err);
void input_queue_stop(struct vdev *dev, struct vq *vq);
void input_reset(struct vdev *dev);

/* The loop that puts events: one more of the group at hand. */
void input_put(struct input *in, uint16_t type, uint16_t code, int32_t value);
/* The group is whole. False: it is dropped, for the ring has no room. */
bool input_put_report(struct input *in);
/* Drops what was put since the last report, and counts it. */
void input_put_drop(struct input *in);

#endif
