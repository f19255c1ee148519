/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * virtio-serial: bytes between two queues and a chardev. No MULTIPORT: port 0 alone, which Linux
 * makes a console of. Payload goes between the guest's buffers and the kernel, unread by us.
 *
 * A transmit chain that the chardev takes only in part keeps its place in the ring, and the device
 * remembers how far it came: so a stop never has to wait for a slow reader.
 */
#include "devices/serial.h"

#include <errno.h>

#include "backends/chardev_spec.h"
#include "base/le.h"

#define SERIAL_QUEUE_SIZE 128

enum { SERIAL_RX, SERIAL_TX, SERIAL_NUM_QUEUES };

/* virtio 1.3, "Device configuration layout" of the console. */
struct serial_config {
	le16 cols, rows;
	le32 max_nr_ports;
	le32 emerg_wr;
};

struct serial {
	struct vdev dev;
	char *chardev_spec;
	struct chardev *chr;
	/* The queues' loop: */
	unsigned int num_started;
	bool attached;
	struct vq *rx, *tx; /* NULL while stopped */
	uint64_t tx_sent; /* bytes of the transmit queue's next chain that are out already */
};

static struct serial *serial_of(struct vdev *dev)
{
	return container_of(dev, struct serial, dev);
}

static int serial_realize(struct vdev *dev, struct err *err)
{
	struct serial *s = serial_of(dev);
	struct chardev_config config;
	int r;

	r = chardev_parse_spec(s->chardev_spec, &config, err);
	if (!r) {
		config.id = vdev_label(dev);
		r = chardev_open(&config, &s->chr, err);
	}
	if (r < 0)
		return r;
	if (config.kind == CHARDEV_PTY)
		log_info("%s: console at %s", vdev_label(dev), chardev_address(s->chr));
	vdev_set_queues(dev, SERIAL_NUM_QUEUES, SERIAL_QUEUE_SIZE);
	return 0;
}

static void serial_unrealize(struct vdev *dev)
{
	chardev_free(serial_of(dev)->chr);
	serial_of(dev)->chr = NULL;
}

static void serial_get_config(struct vdev *dev, void *config)
{
	struct serial_config *c = config;

	(void)dev;
	c->max_nr_ports = le32_make(1);
}

static void serial_reset(struct vdev *dev)
{
	serial_of(dev)->tx_sent = 0;
}

static void on_readable(void *opaque)
{
	struct serial *s = opaque;

	/* Silent until serve() found the chardev dry again: the ring may have no room either. */
	chardev_want_read(s->chr, false);
	if (s->rx)
		vq_resume(s->rx);
}

static void on_writable(void *opaque)
{
	struct serial *s = opaque;

	if (s->tx)
		vq_resume(s->tx);
}

static void on_event(void *opaque, enum chardev_event event)
{
	struct serial *s = opaque;

	(void)event;
	/* A peer that left takes no more: what waits for it is dropped. One that came may read. */
	on_writable(s);
	on_readable(s);
}

static const struct chardev_ops serial_chardev_ops = {
	.readable = on_readable,
	.writable = on_writable,
	.event = on_event,
};

static int serial_queue_start(struct vdev *dev, struct vq *vq, struct err *err)
{
	struct serial *s = serial_of(dev);
	int r;

	s->num_started++;
	if (!s->attached) {
		r = chardev_attach(s->chr, vq->loop, &serial_chardev_ops, s, err);
		if (r < 0)
			return r;
		s->attached = true;
	}
	if (vq->index == SERIAL_RX)
		s->rx = vq;
	else
		s->tx = vq;
	return 0;
}

static void serial_queue_stop(struct vdev *dev, struct vq *vq)
{
	struct serial *s = serial_of(dev);

	if (vq->index == SERIAL_RX)
		s->rx = NULL;
	else
		s->tx = NULL;
	if (--s->num_started)
		return;
	chardev_detach(s->chr);
	s->attached = false;
}

static enum serve_verdict serve_rx(struct serial *s, struct chain *c)
{
	ssize_t n;

	if (!c->writable.bytes)
		return SERVE_DONE;
	n = chardev_readv(s->chr, c->writable.iov, (unsigned int)c->writable.num_iov);
	if (n == 0) {
		chardev_want_read(s->chr, true);
		return SERVE_RETRY;
	}
	if (n > 0)
		chain_wrote(c, (uint64_t)n);
	return SERVE_DONE;
}

static enum serve_verdict serve_tx(struct serial *s, struct chain *c)
{
	ssize_t n;

	if (!chain_skip(c, s->tx_sent))
		s->tx_sent = 0;
	if (c->readable.bytes) {
		n = chardev_writev(s->chr, c->readable.iov, (unsigned int)c->readable.num_iov);
		if (n >= 0 && (uint64_t)n < c->readable.bytes) {
			s->tx_sent += (uint64_t)n;
			return SERVE_RETRY;
		}
	}
	s->tx_sent = 0;
	chain_skip(c, c->readable.bytes);
	return SERVE_DONE;
}

static enum serve_verdict serial_serve(struct vdev *dev, struct vq *vq, struct chain *c)
{
	struct serial *s = serial_of(dev);

	return vq->index == SERIAL_RX ? serve_rx(s, c) : serve_tx(s, c);
}

static const struct option_spec serial_options[] = {
	{ "chardev", OPTION_STRING, offsetof(struct serial, chardev_spec), "null", 0, 0, NULL,
		"the console's other end: stdio, pty, unix:PATH, connect:PATH, file:PATH, null" },
	{ NULL },
};

const struct vdev_class virtio_serial_class = {
	.name = "virtio-serial",
	.description = "console",
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
