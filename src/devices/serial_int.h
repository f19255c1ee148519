/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * What the files of virtio-serial share. All queues of a device are on one loop, and so is what its
 * ports are at: the slots. While no queue runs they are the main loop's.
 */
#ifndef DEVICES_SERIAL_INT_H
#define DEVICES_SERIAL_INT_H

#include <stdatomic.h>

#include "backends/chardev.h"
#include "devices/serial.h"

/* virtio 1.3, "Console Device", "Feature bits" */
#define VIRTIO_CONSOLE_F_SIZE	   0
#define VIRTIO_CONSOLE_F_MULTIPORT 1

enum { SERIAL_RX, SERIAL_TX, SERIAL_CTRL_RX, SERIAL_CTRL_TX };

struct serial;
struct serial_slot;

/* What there is to say to the driver of one port, in the order in which it is said. */
enum serial_news {
	NEWS_REMOVE = 0x01,
	NEWS_ADD = 0x02,
	NEWS_CONSOLE = 0x04,
	NEWS_RESIZE = 0x08,
	NEWS_NAME = 0x10,
	NEWS_CLOSE = 0x20,
	NEWS_OPEN = 0x40,
};

/*
 * Something that the main loop has to do to a slot: on the loop that has it while a queue runs, on
 * the main loop once all are idle.
 */
struct serial_errand {
	struct serial_port *port;
	void (*fn)(struct serial_port *port);
	struct loop_post post;
	struct vdev_wait wait;
};

struct serial_port {
	struct serial *s;
	struct serial_slot *slot;
	uint32_t nr;
	bool console;
	char *name; /* NULL: none */
	char *label;
	struct chardev *chr;
	void (*guest_opened)(void *opaque, bool open);
	void (*removed)(void *opaque);
	void *opaque;

	_Atomic uint32_t size; /* columns in the low half, rows in the high one; 0: not known */
	_Atomic bool guest_open, open_posted, resize_posted;
	bool guest_open_told; /* the main loop's */
	struct serial_errand add, remove, resize;
	struct loop_post open_post, removed_post; /* to the main loop */
};

/* A port's number, whether there is a port or not. */
struct serial_slot {
	struct serial *s;
	struct serial_port *port; /* NULL: none */
	struct vq *rx, *tx; /* NULL while stopped */
	uint64_t tx_sent; /* bytes of the transmit queue's next chain that are out already */
	/* Of what goes over the control queues: */
	uint8_t news;
	bool in_line;
	bool told; /* the driver knows of a port of this number */
	bool ready; /* and can do with it */
	bool told_open; /* that somebody is at the other end */
	bool guest_open; /* a program of the guest is at its end */
	struct serial_slot *next; /* in the line of those with news */
};

struct serial {
	struct vdev dev;
	/* Options. */
	char *chardev_spec;
	uint32_t max_ports;
	bool rows_first;

	/* The main loop's. */
	char *bus_name;
	struct serial_port **ports; /* by number; max_ports */
	struct serial_port *console; /* of chardev=; NULL: none */

	/* The queues' loop's. */
	unsigned int num_started;
	struct serial_slot *slots; /* max_ports */
	struct vq *ctrl_rx; /* NULL while stopped */
	bool driver_ready; /* it takes news */
	struct serial_slot *line_first, *line_last;
	struct log_limit limit;
};

static inline struct serial *serial_of(const struct vdev *dev)
{
	return container_of(dev, struct serial, dev);
}

/* Constant while a queue runs. */
static inline bool serial_multiport(const struct serial *s)
{
	return virtio_features_has(&s->dev.driver_features, VIRTIO_CONSOLE_F_MULTIPORT);
}

/* serial.c: the other end has something to read, or takes something, or is another one. */
extern const struct chardev_ops serial_chardev_ops;
void serial_slot_resume(struct serial_slot *slot);

/* serial_ports.c */
int serial_ports_attach(struct serial *s, struct loop *loop, struct err *err);
void serial_ports_detach(struct serial *s);
/* Main loop, idle: no program of the guest is at any. */
void serial_ports_reset(struct serial *s);
/* Main loop, idle: all of them. */
void serial_ports_free(struct serial *s);
/* What a program of the guest did to its end. */
void serial_slot_set_guest_open(struct serial_slot *slot, bool open);

/* serial_control.c */
void serial_ctrl_plugged(struct serial_slot *slot);
void serial_ctrl_unplugged(struct serial_slot *slot);
/* The driver is told of this, once it knows the port; of others that there are not, nothing. */
void serial_ctrl_tell(struct serial_slot *slot, enum serial_news news);
/* Whoever was at the other end is gone, or somebody came. */
void serial_ctrl_host_opened(struct serial_slot *slot, bool open);
/* As if nothing had been said yet. */
void serial_ctrl_forget(struct serial *s);
enum serve_verdict serial_serve_ctrl_rx(struct serial *s, struct chain *c);
enum serve_verdict serial_serve_ctrl_tx(struct serial *s, struct vq *vq, struct chain *c);

#endif
