/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * virtio-serial: bytes between pairs of queues and chardevs. With one port there is no MULTIPORT:
 * port 0 alone, which Linux makes a console of. Payload goes between the guest's buffers and the
 * kernel, unread by us.
 *
 * A transmit chain that the chardev takes only in part keeps its place in the ring, and the device
 * remembers how far it came: so a stop never has to wait for a slow reader. What a driver sends to
 * a port that there is not is dropped; buffers that it gives to one wait for the port.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/alloc.h"
#include "base/cleanup.h"
#include "base/le.h"
#include "devices/serial_int.h"

#define SERIAL_QUEUE_SIZE 128

/* virtio 1.3, "Device configuration layout" of the console. */
struct serial_config {
	le16 cols, rows;
	le32 max_nr_ports;
	le32 emerg_wr;
};

/* chardev= is port 0, a console; with further ports only where somebody is at its end. */
static int add_console(struct serial *s, struct err *err)
{
	const struct serial_port_config config = {
		.nr = 0,
		.chardev = s->chardev_spec,
		.label = vdev_label(&s->dev),
		.console = true,
	};

	if (s->max_ports > 1 && !strcmp(s->chardev_spec, "null"))
		return 0;
	return serial_port_add(&s->dev, &config, &s->console, err);
}

static int serial_realize(struct vdev *dev, struct err *err)
{
	struct serial *s = serial_of(dev);
	bool multiport = s->max_ports > 1;

	s->ports = xnew_n(struct serial_port *, s->max_ports);
	s->slots = xnew_n(struct serial_slot, s->max_ports);
	for (uint32_t i = 0; i < s->max_ports; i++)
		s->slots[i].s = s;
	vdev_set_queues(dev, multiport ? (s->max_ports + 1) * 2 : 2, SERIAL_QUEUE_SIZE);
	virtio_features_set(&dev->device_features, VIRTIO_CONSOLE_F_MULTIPORT, multiport);
	virtio_features_set(&dev->device_features, VIRTIO_CONSOLE_F_SIZE, multiport);
	if (multiport && dev->id)
		dev->bus_name = s->bus_name = xasprintf("%s.0", dev->id);
	return add_console(s, err);
}

static void serial_unrealize(struct vdev *dev)
{
	struct serial *s = serial_of(dev);

	serial_ports_free(s);
	dev->bus_name = NULL;
	free(take_ptr(s->bus_name));
}

static void serial_get_config(struct vdev *dev, void *config)
{
	struct serial *s = serial_of(dev);
	struct serial_config *c = config;
	uint32_t size = s->ports[0] ? atomic_load(&s->ports[0]->size) : 0;

	c->max_nr_ports = le32_make(s->max_ports);
	if (s->max_ports == 1)
		return;
	c->cols = le16_make((uint16_t)size);
	c->rows = le16_make((uint16_t)(size >> 16));
}

static void serial_reset(struct vdev *dev)
{
	serial_ports_reset(serial_of(dev));
	serial_ctrl_forget(serial_of(dev));
}

/* --- the other ends --- */

static void on_readable(void *opaque)
{
	struct serial_slot *slot = opaque;

	/* Silent until serve() found the chardev dry again: the ring may have no room either. */
	chardev_want_read(slot->port->chr, false);
	if (slot->rx)
		vq_resume(slot->rx);
}

static void on_writable(void *opaque)
{
	struct serial_slot *slot = opaque;

	if (slot->tx)
		vq_resume(slot->tx);
}

static void on_event(void *opaque, enum chardev_event event)
{
	/* A peer that left takes no more: what waits for it is dropped. One that came may read. */
	on_writable(opaque);
	on_readable(opaque);
	serial_ctrl_host_opened(opaque, event == CHARDEV_OPENED);
}

const struct chardev_ops serial_chardev_ops = {
	.readable = on_readable,
	.writable = on_writable,
	.event = on_event,
};

/* --- queues --- */

void serial_slot_resume(struct serial_slot *slot)
{
	if (slot->rx)
		vq_resume(slot->rx);
	if (slot->tx)
		vq_resume(slot->tx);
}

/* NULL for a control queue. */
static struct serial_slot *slot_of(struct serial *s, unsigned int queue)
{
	if (queue == SERIAL_CTRL_RX || queue == SERIAL_CTRL_TX)
		return NULL;
	return &s->slots[queue < 2 ? 0 : queue / 2 - 1];
}

static void set_queue(struct serial *s, unsigned int queue, struct vq *vq)
{
	struct serial_slot *slot = slot_of(s, queue);

	if (queue == SERIAL_CTRL_RX)
		s->ctrl_rx = vq;
	else if (slot && queue % 2 == SERIAL_RX)
		slot->rx = vq;
	else if (slot)
		slot->tx = vq;
}

static int serial_queue_start(struct vdev *dev, struct vq *vq, struct err *err)
{
	struct serial *s = serial_of(dev);
	int r = s->num_started++ ? 0 : serial_ports_attach(s, vq->loop, err);

	if (r < 0)
		return r;
	set_queue(s, vq->index, vq);
	vq->opaque = slot_of(s, vq->index);
	return 0;
}

static void serial_queue_stop(struct vdev *dev, struct vq *vq)
{
	struct serial *s = serial_of(dev);

	set_queue(s, vq->index, NULL);
	if (!--s->num_started)
		serial_ports_detach(s);
}

static enum serve_verdict serve_rx(struct serial_slot *slot, struct chain *c)
{
	ssize_t n;

	if (!c->writable.bytes)
		return SERVE_DONE;
	/* What nobody reads stays with who sent it. */
	if (!slot->port || (serial_multiport(slot->s) && !slot->guest_open))
		return SERVE_RETRY;
	n = chardev_readv(slot->port->chr, c->writable.iov, (unsigned int)c->writable.num_iov);
	if (n == 0) {
		chardev_want_read(slot->port->chr, true);
		return SERVE_RETRY;
	}
	if (n > 0)
		chain_wrote(c, (uint64_t)n);
	return SERVE_DONE;
}

static enum serve_verdict serve_tx(struct serial_slot *slot, struct chain *c)
{
	ssize_t n;

	if (!chain_skip(c, slot->tx_sent))
		slot->tx_sent = 0;
	if (slot->port && c->readable.bytes) {
		n = chardev_writev(
			slot->port->chr, c->readable.iov, (unsigned int)c->readable.num_iov);
		if (n >= 0 && (uint64_t)n < c->readable.bytes) {
			slot->tx_sent += (uint64_t)n;
			return SERVE_RETRY;
		}
	}
	slot->tx_sent = 0;
	chain_skip(c, c->readable.bytes);
	return SERVE_DONE;
}

static enum serve_verdict serial_serve(struct vdev *dev, struct vq *vq, struct chain *c)
{
	struct serial_slot *slot = vq->opaque;

	if (slot)
		return vq->index % 2 == SERIAL_RX ? serve_rx(slot, c) : serve_tx(slot, c);
	return vq->index == SERIAL_CTRL_RX ? serial_serve_ctrl_rx(serial_of(dev), c)
					   : serial_serve_ctrl_tx(serial_of(dev), vq, c);
}

static const struct option_spec serial_options[] = {
	{ "chardev", OPTION_STRING, offsetof(struct serial, chardev_spec), "null", 0, 0, NULL,
		"the console's other end: stdio, pty, unix:PATH, connect:PATH, file:PATH, null" },
	{ "max_ports", OPTION_U32, offsetof(struct serial, max_ports), "1", 1, SERIAL_PORTS_MAX,
		NULL,
		"room for so many ports (virtserialport, virtconsole); 31 where some are given and "
		"this is not" },
	{ "rows-first", OPTION_BOOL, offsetof(struct serial, rows_first), "off", 0, 0, NULL,
		"a port's size is told as rows and columns, as Linux before 6.16 takes it" },
	{ NULL },
};

const struct vdev_class virtio_serial_class = {
	.name = "virtio-serial",
	.description = "a console, or up to 511 ports",
	.virtio_id = 3,
	.instance_bytes = sizeof(struct serial),
	.config_bytes = sizeof(struct serial_config),
	.options = serial_options,
	.realize = serial_realize,
	.unrealize = serial_unrealize,
	.get_config = serial_get_config,
	.serve = serial_serve,
	.queue_start = serial_queue_start,
	.queue_stop = serial_queue_stop,
	.reset = serial_reset,
};
