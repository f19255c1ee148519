/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * virtio-input: buffers of every shape on both queues, configuration written anywhere, and whatever
 * the monitor may send to any kind of device, in any order. What was put there for the driver is
 * given to it or counted as dropped; a buffer has an event or nothing.
 */
#include "tests/fuzz/device.h"

#include "devices/input.h"

enum { EVENTQ, STATUSQ };

#define EVENT_BYTES  8u
#define CONFIG_BYTES 136u

static const struct vdev_class *const classes[] = { &virtio_keyboard_class, &virtio_mouse_class,
	&virtio_tablet_class, &virtio_multitouch_class };

struct run {
	struct guest g;
	struct bytes *in;
	uint16_t seen; /* used buffers of the event queue that were looked at */
	uint64_t got; /* of them with an event */
};

static void check_used(struct run *r)
{
	struct vring_used *used = (void *)(r->g.ram + GUEST_USED(EVENTQ));

	for (; r->seen != guest_used_idx(&r->g, EVENTQ); r->seen++) {
		uint32_t len = le32_get(used->ring[r->seen % r->g.num].len);

		FUZZ_CHECK(!len || len == EVENT_BYTES);
		r->got += len != 0;
	}
}

/* Each on a head of its own: they stay for a while. */
static void op_buffer(struct run *r)
{
	uint16_t head = r->g.avail_idx[EVENTQ] % r->g.num;
	uint8_t shape = take8(r->in);

	if ((uint16_t)(r->g.avail_idx[EVENTQ] - guest_used_idx(&r->g, EVENTQ)) >= r->g.num)
		return;
	guest_desc(&r->g, GUEST_RING(EVENTQ) + head * 16u, GUEST_SPLIT - 4 + head * 32u,
		shape & 0x80 ? shape & 0x1f : EVENT_BYTES,
		(shape & 0xe0) == 0xe0 ? 0 : VRING_DESC_F_WRITE, 0);
	guest_offer(&r->g, EVENTQ, head);
	if (!(shape & 0x40))
		guest_kick(&r->g);
}

static void op_status(struct run *r)
{
	struct device_request req;

	device_take_request(&req, r->in);
	take_bytes(r->in, r->g.ram + DEVICE_IN, MIN(req.in, 8u));
	device_offer(&r->g, STATUSQ, &req);
	FUZZ_CHECK(device_wait(&r->g, STATUSQ));
	if (!r->g.dev->broken)
		FUZZ_CHECK(device_used_len(&r->g, STATUSQ) == 0);
	FUZZ_CHECK(!(input_leds(r->g.dev) & ~0x7));
}

static void op_config(struct run *r)
{
	uint8_t bytes[16], config[VDEV_CONFIG_MAX];
	size_t at = take8(r->in), len = take8(r->in) % sizeof(bytes);

	take_bytes(r->in, bytes, len);
	FUZZ_CHECK(vdev_set_config(r->g.dev, at, bytes, len) == (at + len <= CONFIG_BYTES));
	vdev_get_config(r->g.dev, config);
	FUZZ_CHECK(config[2] <= 128);
	for (size_t i = 8u + config[2]; i < CONFIG_BYTES; i++)
		FUZZ_CHECK(!config[i]);
}

static void op_send(struct run *r)
{
	struct input_action actions[40];
	size_t num = take8(r->in) % ARRAY_SIZE(actions), n = 0;
	struct err err = { 0 };

	for (size_t i = 0; i < num; i++) {
		uint8_t kind = take8(r->in);
		uint16_t value = take16(r->in);

		actions[n] = (struct input_action){ .what = (enum input_what)(kind % 5),
			.down = kind & 0x80,
			.key = value,
			.button = (enum input_button)(value % INPUT_NUM_BUTTONS),
			.axis = (enum input_axis)(value & 1),
			.touch = (enum input_touch)(value % 3),
			.value = (int16_t)value,
			.slot = value % (INPUT_SLOT_MAX + 1),
			.tracking_id = value };
		n += input_takes(r->g.dev, &actions[n]);
	}
	input_send(r->g.dev, actions, n, &err);
	guest_pump(&r->g);
}

static void op_look(struct run *r)
{
	for (unsigned int i = 0; i < 2; i++)
		guest_check_view(&r->g.dev->queues[i]);
}

static void op_pause(struct run *r)
{
	vdev_set_vm_running(r->g.dev, !r->g.dev->vm_running);
	guest_pump(&r->g);
	op_send(r);
	vdev_set_vm_running(r->g.dev, true);
	guest_pump(&r->g);
}

static void (*const ops[])(struct run *r) = { op_buffer, op_buffer, op_buffer, op_send, op_send,
	op_status, op_config, op_look, op_pause };

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct bytes in = { data, size };
	struct run r = { .in = &in };
	struct input_counters counters;

	guest_new(&r.g, classes[take8(&in) % ARRAY_SIZE(classes)], NULL);
	for (unsigned int i = 0; i < 2; i++)
		guest_queue(&r.g, i, DEVICE_RING, 0);
	guest_run(&r.g, 0);
	while (in.left && !r.g.dev->broken) {
		ops[take8(&in) % ARRAY_SIZE(ops)](&r);
		check_used(&r);
	}
	input_read_counters(r.g.dev, &counters);
	FUZZ_CHECK(r.g.dev->broken || counters.given == r.got);
	guest_free(&r.g);
	return 0;
}
