/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * virtio-input: what its classes have in common. The configuration space is a window onto a table,
 * moved by what the driver writes to select and subsel; whatever there is not has size 0.
 *
 * The driver gets events in whole groups, up to and with their report, or not at all (virtio 1.3,
 * "Device Requirements: Device Operation" of the input device). A group for which the driver has
 * too few buffers out waits while it was seen to have had more, and is dropped otherwise; what
 * comes while no driver is there, or finds the ring of those that wait full, is dropped too. All of
 * it is counted.
 *
 * What the driver sends is looked at, kept where it is the state of a light that the device has,
 * and ignored, and counted, in every other case. It has no answer that could tell of a fault.
 */
#include <assert.h>
#include <errno.h>
#include <linux/input.h>
#include <string.h>

#include "base/cleanup.h"
#include "devices/input_int.h"

#define INPUT_QUEUE_SIZE 64

/* virtio 1.3, "Input Device", "Device configuration layout" */
enum {
	CFG_ID_NAME = 0x01,
	CFG_ID_SERIAL = 0x02,
	CFG_ID_DEVIDS = 0x03,
	CFG_PROP_BITS = 0x10,
	CFG_EV_BITS = 0x11,
	CFG_ABS_INFO = 0x12,
};

struct input_config {
	uint8_t select, subsel, size, reserved[5];
	union {
		uint8_t bytes[INPUT_UNION_BYTES];
		struct {
			le16 bustype, vendor, product, version;
		} ids;
		struct {
			le32 min, max, fuzz, flat, res;
		} abs;
	} u;
};

_Static_assert(sizeof(struct input_config) == INPUT_CONFIG_BYTES, "as the specification has it");
_Static_assert(INPUT_EVENTS >= 2 * INPUT_GROUP_MAX, "a group always fits into an empty ring");

static void count(_Atomic uint64_t *counter, uint64_t n)
{
	atomic_fetch_add_explicit(counter, n, memory_order_relaxed);
}

/* --- configuration: each returns the size of what it has put --- */

static uint8_t put_string(const char *s, struct input_config *c)
{
	size_t len = strnlen(s, INPUT_UNION_BYTES);

	memcpy(c->u.bytes, s, len);
	return (uint8_t)len;
}

static uint8_t put_bits(const struct input_bits *bits, struct input_config *c)
{
	unsigned int len = INPUT_UNION_BYTES;

	while (len && !bits->byte[len - 1])
		len--;
	memcpy(c->u.bytes, bits->byte, len);
	return (uint8_t)len;
}

static uint8_t get_name(const struct input_about *about, uint8_t subsel, struct input_config *c)
{
	return subsel ? 0 : put_string(about->name, c);
}

static uint8_t get_serial(const struct input_about *about, uint8_t subsel, struct input_config *c)
{
	return subsel ? 0 : put_string(about->serial, c);
}

static uint8_t get_ids(const struct input_about *about, uint8_t subsel, struct input_config *c)
{
	if (subsel || !about->has_ids)
		return 0;
	c->u.ids.bustype = le16_make(about->bustype);
	c->u.ids.vendor = le16_make(about->vendor);
	c->u.ids.product = le16_make(about->product);
	c->u.ids.version = le16_make(about->version);
	return sizeof(c->u.ids);
}

static uint8_t get_props(const struct input_about *about, uint8_t subsel, struct input_config *c)
{
	return subsel ? 0 : put_bits(&about->props, c);
}

static uint8_t get_events(const struct input_about *about, uint8_t subsel, struct input_config *c)
{
	if (subsel == EV_REP)
		return about->repeats;
	return subsel < INPUT_TYPES ? put_bits(&about->events[subsel], c) : 0;
}

static uint8_t get_abs(const struct input_about *about, uint8_t subsel, struct input_config *c)
{
	const struct input_axis_info *abs = &about->abs[subsel % INPUT_AXES];

	if (subsel >= INPUT_AXES || !input_has_bit(&about->events[EV_ABS], subsel))
		return 0;
	c->u.abs.min = le32_make((uint32_t)abs->min);
	c->u.abs.max = le32_make((uint32_t)abs->max);
	c->u.abs.fuzz = le32_make((uint32_t)abs->fuzz);
	c->u.abs.flat = le32_make((uint32_t)abs->flat);
	c->u.abs.res = le32_make((uint32_t)abs->res);
	return sizeof(c->u.abs);
}

static const struct {
	uint8_t select;
	uint8_t (*get)(const struct input_about *about, uint8_t subsel, struct input_config *c);
} parts[] = {
	{ CFG_ID_NAME, get_name },
	{ CFG_ID_SERIAL, get_serial },
	{ CFG_ID_DEVIDS, get_ids },
	{ CFG_PROP_BITS, get_props },
	{ CFG_EV_BITS, get_events },
	{ CFG_ABS_INFO, get_abs },
};

void input_get_config(struct vdev *dev, void *config)
{
	const struct input *in = input_of(dev);
	struct input_config *c = config;

	c->select = in->select;
	c->subsel = in->subsel;
	for (size_t i = 0; i < ARRAY_SIZE(parts); i++)
		if (parts[i].select == in->select)
			c->size = parts[i].get(&in->about, in->subsel, c);
}

void input_set_config(struct vdev *dev, size_t offset, const void *bytes, size_t len)
{
	struct input *in = input_of(dev);
	uint8_t window[2] = { in->select, in->subsel };

	/* Some front-ends write the whole space back; the rest of it is ours. */
	if (offset < sizeof(window))
		memcpy(window + offset, bytes, MIN(len, sizeof(window) - offset));
	in->select = window[0];
	in->subsel = window[1];
}

/* --- events on their way to the queues' loop --- */

void input_put(struct input *in, uint16_t type, uint16_t code, int32_t value)
{
	uint32_t taken = atomic_load_explicit(&in->taken, memory_order_acquire);
	uint32_t shown = atomic_load_explicit(&in->shown, memory_order_relaxed);

	/* One place is kept for the report. */
	in->overflown |= in->put - taken >= INPUT_EVENTS || in->put - shown >= INPUT_GROUP_MAX;
	if (!in->overflown)
		in->ring[in->put % INPUT_EVENTS] = (struct input_event_wire){ le16_make(type),
			le16_make(code), le32_make((uint32_t)value) };
	in->put++;
}

void input_put_drop(struct input *in)
{
	uint32_t shown = atomic_load_explicit(&in->shown, memory_order_relaxed);

	count(&in->dropped, in->put - shown);
	in->put = shown;
	in->overflown = false;
}

bool input_put_report(struct input *in)
{
	input_put(in, EV_SYN, SYN_REPORT, 0);
	if (in->overflown) {
		input_put_drop(in);
		return false;
	}
	/* The events come before the place; pairs with the load in group_waits(). */
	atomic_store_explicit(&in->shown, in->put, memory_order_release);
	return true;
}

/* Events of the first group that waits; 0: none does. */
static uint32_t group_waits(const struct input *in)
{
	uint32_t shown = atomic_load_explicit(&in->shown, memory_order_acquire);
	uint32_t taken = atomic_load_explicit(&in->taken, memory_order_relaxed);

	for (uint32_t n = 0; taken + n != shown; n++) {
		const struct input_event_wire *e = &in->ring[(taken + n) % INPUT_EVENTS];

		if (le16_get(e->type) == EV_SYN && le16_get(e->code) == SYN_REPORT)
			return n + 1;
	}
	return 0;
}

static void group_over(struct input *in, uint32_t num, _Atomic uint64_t *counter)
{
	/* Its places are free from now on; pairs with the load in input_put(). */
	atomic_store_explicit(&in->taken,
		atomic_load_explicit(&in->taken, memory_order_relaxed) + num, memory_order_release);
	count(counter, num);
}

/* --- the event queue --- */

/* A buffer for each event of the group. 1: there are; 0: later; -errno: not for this one. */
static int get_buffers(struct input *in, struct vq *vq, struct chain **chains, uint32_t num)
{
	uint32_t got = 1, most = in->most_buffers;
	int r = 1;

	while (got < num && (r = vq_another(vq, &chains[got])) > 0)
		got++;
	in->most_buffers = MAX(most, got);
	/* A driver that never had more out than now would be waited for without an end. */
	return r ? r : got < most ? 0 : -ENOBUFS;
}

/* False: one of the buffers has no room for an event. */
static bool fill_buffers(struct input *in, struct chain **chains, uint32_t num)
{
	uint32_t at = atomic_load_explicit(&in->taken, memory_order_relaxed);

	for (uint32_t i = 0; i < num; i++)
		if (chains[i]->writable.bytes < sizeof(struct input_event_wire))
			return false;
	for (uint32_t i = 0; i < num; i++)
		chain_put(chains[i], &in->ring[(at + i) % INPUT_EVENTS],
			sizeof(struct input_event_wire));
	return true;
}

static enum serve_verdict serve_events(struct input *in, struct vq *vq, struct chain *c)
{
	struct chain *chains[INPUT_GROUP_MAX] = { c };
	uint32_t num = group_waits(in);
	int r;

	if (!num)
		return SERVE_RETRY;
	assert(num <= INPUT_GROUP_MAX);
	r = get_buffers(in, vq, chains, num);
	if (!r)
		return SERVE_RETRY;
	if (r < 0) {
		group_over(in, num, &in->dropped);
		vq_resume(vq);
		return SERVE_RETRY;
	}
	if (!fill_buffers(in, chains, num)) {
		vq_count_error(vq);
		group_over(in, num, &in->dropped);
		return SERVE_DONE;
	}
	group_over(in, num, &in->given);
	return SERVE_DONE;
}

/* --- the status queue --- */

static bool take_status(struct input *in, const struct input_event_wire *e)
{
	uint16_t type = le16_get(e->type), code = le16_get(e->code), bit;
	int32_t value = (int32_t)le32_get(e->value);

	if ((type != EV_LED && type != EV_SND) || !input_has_bit(&in->about.events[type], code))
		return false;
	if (type == EV_LED) {
		value = !!value;
		bit = (uint16_t)(1u << code % INPUT_LEDS);
		if (value)
			atomic_fetch_or(&in->leds, bit);
		else
			atomic_fetch_and(&in->leds, (uint16_t)~bit);
	}
	if (in->source)
		in->source->status(in, type, code, value);
	return true;
}

static enum serve_verdict serve_status(struct input *in, struct chain *c)
{
	struct input_event_wire e;
	bool taken = chain_take(c, &e, sizeof(e)) && take_status(in, &e);

	count(taken ? &in->status_taken : &in->status_ignored, 1);
	return SERVE_DONE;
}

/* --- the device --- */

enum serve_verdict input_serve(struct vdev *dev, struct vq *vq, struct chain *c)
{
	return vq->index == INPUT_EVENTQ ? serve_events(input_of(dev), vq, c)
					 : serve_status(input_of(dev), c);
}

int input_queue_start(struct vdev *dev, struct vq *vq, struct err *err)
{
	struct input *in = input_of(dev);

	if (vq->index != INPUT_EVENTQ)
		return 0;
	in->most_buffers = 0;
	return in->source ? in->source->start(in, vq, err) : 0;
}

void input_queue_stop(struct vdev *dev, struct vq *vq)
{
	struct input *in = input_of(dev);

	if (vq->index == INPUT_EVENTQ && in->source)
		in->source->stop(in);
}

void input_reset(struct vdev *dev)
{
	struct input *in = input_of(dev);
	uint16_t leds = atomic_exchange(&in->leds, 0);
	uint32_t taken = atomic_load_explicit(&in->taken, memory_order_relaxed);

	in->select = in->subsel = 0;
	/* All queues are idle: nobody else puts or takes. The next driver wants none of it. */
	count(&in->dropped, in->put - taken);
	in->put = taken;
	in->overflown = false;
	atomic_store_explicit(&in->shown, taken, memory_order_relaxed);
	for (uint16_t led = 0; in->source && led < INPUT_LEDS; led++)
		if (leds >> led & 1)
			in->source->status(in, EV_LED, led, 0);
}

int input_realize(struct vdev *dev, struct err *err)
{
	struct input *in = input_of(dev);

	if (in->serial && strlen(in->serial) > INPUT_UNION_BYTES)
		return err_set(err, -ENAMETOOLONG, "%s: serial= has at most %d bytes, not %zu",
			vdev_label(dev), INPUT_UNION_BYTES, strlen(in->serial));
	if (in->serial) {
		memset(in->about.serial, 0, sizeof(in->about.serial));
		memcpy(in->about.serial, in->serial, strlen(in->serial));
	}
	vdev_set_queues(dev, 2, INPUT_QUEUE_SIZE);
	return 0;
}

/* --- for control --- */

bool input_is(const struct vdev *dev)
{
	return dev->cls->serve == input_serve;
}

const char *input_display(const struct vdev *dev, uint32_t *ret_head)
{
	*ret_head = input_of(dev)->head;
	return input_of(dev)->display;
}

uint16_t input_leds(const struct vdev *dev)
{
	return atomic_load(&input_of(dev)->leds);
}

const char *input_led_name(unsigned int led)
{
	static const char *const names[] = { "num-lock", "caps-lock", "scroll-lock", "compose",
		"kana", "sleep", "suspend", "mute", "misc", "mail", "charging", "11", "12", "13",
		"14", "15" };

	_Static_assert(ARRAY_SIZE(names) == INPUT_LEDS, "a name for each");
	return led < ARRAY_SIZE(names) ? names[led] : NULL;
}

void input_read_counters(const struct vdev *dev, struct input_counters *ret)
{
	const struct input *in = input_of(dev);

	ret->given = atomic_load_explicit(&in->given, memory_order_relaxed);
	ret->dropped = atomic_load_explicit(&in->dropped, memory_order_relaxed);
	ret->status_taken = atomic_load_explicit(&in->status_taken, memory_order_relaxed);
	ret->status_ignored = atomic_load_explicit(&in->status_ignored, memory_order_relaxed);
}

bool input_is_connected(const struct vdev *dev)
{
	return !atomic_load(&input_of(dev)->gone);
}
