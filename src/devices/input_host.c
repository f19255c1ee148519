/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * virtio-input-host: an evdev device of the host is the guest's, as it is. It is read on the
 * queues' loop while the event queue runs; what it sent before is nothing to the guest. One that
 * goes away leaves a device that is silent.
 */
#include <errno.h>
#include <linux/input.h>
#include <string.h>

#include "backends/evdev.h"
#include "devices/input_int.h"

/* Events of the host that are read before others have their turn. */
#define HOST_BUDGET 256

/* What the driver is told of. It makes repeated keys itself where it is told of EV_REP. */
static const struct {
	uint16_t type, num;
} types[] = {
	{ EV_KEY, KEY_CNT },
	{ EV_REL, REL_CNT },
	{ EV_ABS, ABS_CNT },
	{ EV_MSC, MSC_CNT },
	{ EV_SW, SW_CNT },
	{ EV_LED, LED_CNT },
	{ EV_SND, SND_CNT },
};

static void fill_codes(struct input *in)
{
	for (size_t i = 0; i < ARRAY_SIZE(types); i++)
		for (unsigned int code = 0; code < types[i].num; code++)
			if (evdev_has_code(in->evdev, types[i].type, code))
				input_set_bit(&in->about.events[types[i].type], code);
	for (unsigned int axis = 0; axis < INPUT_AXES; axis++) {
		struct evdev_axis a = { 0 };

		if (evdev_has_code(in->evdev, EV_ABS, axis))
			a = evdev_axis(in->evdev, axis);
		in->about.abs[axis] =
			(struct input_axis_info){ a.min, a.max, a.fuzz, a.flat, a.res };
	}
	for (unsigned int property = 0; property < INPUT_PROP_CNT; property++)
		if (evdev_has_property(in->evdev, property))
			input_set_bit(&in->about.props, property);
}

static void copy_string(char *to, const char *from)
{
	memcpy(to, from, strnlen(from, INPUT_UNION_BYTES));
}

/* --- on the queues' loop --- */

static void note_gone(struct input *in)
{
	if (!atomic_exchange(&in->gone, true))
		log_warn("%s: the input device %s is gone", vdev_label(&in->dev), in->evdev_spec);
}

static void on_ready(void *opaque)
{
	struct vq *vq = opaque;
	struct input *in = input_of(vq->dev);
	struct evdev_event event;
	int r = 0;

	for (int i = 0; i < HOST_BUDGET && (r = evdev_read(in->evdev, &event)) > 0; i++) {
		if (event.type != EV_SYN || event.code != SYN_REPORT)
			input_put(in, event.type, event.code, event.value);
		else if (input_put_report(in))
			vq_resume(vq);
	}
	if (r < 0)
		note_gone(in);
}

static int host_start(struct input *in, struct vq *vq, struct err *err)
{
	int r = evdev_attach(in->evdev, vq->loop, on_ready, vq, err);

	/* While nobody listened. */
	if (!r && evdev_is_gone(in->evdev))
		note_gone(in);
	return r;
}

static void host_stop(struct input *in)
{
	evdev_detach(in->evdev);
	input_put_drop(in);
}

static void host_status(struct input *in, uint16_t type, uint16_t code, int32_t value)
{
	const struct evdev_event event = { type, code, value };

	evdev_write(in->evdev, &event);
}

static const struct input_source host_source = { host_start, host_stop, host_status };

/* --- the device --- */

static int host_realize(struct vdev *dev, struct err *err)
{
	struct input *in = input_of(dev);
	struct evdev_ids ids;
	int r;

	if (!in->evdev_spec)
		return err_set(err, -EINVAL, "evdev property is required");
	r = evdev_open(in->evdev_spec, &in->evdev, err);
	if (r < 0)
		return r;
	in->source = &host_source;
	ids = evdev_ids(in->evdev);
	copy_string(in->about.name, evdev_name(in->evdev));
	copy_string(in->about.serial, evdev_serial(in->evdev));
	in->about.has_ids = true;
	in->about.bustype = ids.bustype;
	in->about.vendor = ids.vendor;
	in->about.product = ids.product;
	in->about.version = ids.version;
	fill_codes(in);
	return input_realize(dev, err);
}

static void host_unrealize(struct vdev *dev)
{
	struct input *in = input_of(dev);

	evdev_free(in->evdev);
	in->evdev = NULL;
}

static const struct option_spec host_options[] = {
	{ "serial", OPTION_STRING, offsetof(struct input, serial), NULL, 0, 0, NULL,
		"that the guest sees in the place of the device's own" },
	{ "evdev", OPTION_STRING, offsetof(struct input, evdev_spec), NULL, 0, 0, NULL,
		"the host's device, /dev/input/eventN or fd=N; nobody else gets its events" },
	{ NULL },
};

const struct vdev_class virtio_input_host_class = {
	.name = "virtio-input-host",
	.description = "an input device of the host",
	.virtio_id = 18,
	.instance_bytes = sizeof(struct input),
	.config_bytes = INPUT_CONFIG_BYTES,
	.options = host_options,
	.realize = host_realize,
	.unrealize = host_unrealize,
	.get_config = input_get_config,
	.set_config = input_set_config,
	.serve = input_serve,
	.queue_start = input_queue_start,
	.queue_stop = input_queue_stop,
	.reset = input_reset,
};
