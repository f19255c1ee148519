/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * virtio-serial: one console, or up to 511 ports of which any may be a console (virtio 1.3,
 * "Console Device"). The functions are control's, on the main loop.
 */
#ifndef DEVICES_SERIAL_H
#define DEVICES_SERIAL_H

#include "virtio/vdev.h"

extern const struct vdev_class virtio_serial_class;

/* As many as VDEV_QUEUES_MAX queues are enough for. */
#define SERIAL_PORTS_MAX 511
/* What a device has room for where ports are given and max_ports= is not; QEMU's default. */
#define SERIAL_PORTS_DEFAULT 31
/* The number is chosen by serial_port_add(). */
#define SERIAL_PORT_ANY UINT32_MAX
#define SERIAL_NAME_MAX 255

struct serial_port;

struct serial_port_config {
	uint32_t nr; /* or SERIAL_PORT_ANY */
	const char *name; /* that the guest sees; NULL or "": none */
	const char *chardev; /* the text form of backends/chardev_spec.h */
	const char *label; /* for messages */
	bool console;
	/* May be NULL: the guest's program opened or closed it. */
	void (*guest_opened)(void *opaque, bool open);
	/* serial_port_remove() is through: the port is freed right after this. */
	void (*removed)(void *opaque);
	void *opaque;
};

/* Does the device have ports beside its one console? */
bool serial_has_ports(const struct vdev *dev);

/*
 * Opens the port's other end and plugs it in; a driver that runs is told. -errno with a sentence:
 * there is no room, or the number, the name or the chardev is not to be had.
 */
int serial_port_add(struct vdev *dev, const struct serial_port_config *config,
	struct serial_port **ret, struct err *err);
/*
 * Takes it out, whatever is on its way; once. removed() is called when that is done, maybe within
 * this call. Ports that are left when the device goes are freed with it, without a word; once
 * vdev_destroy() was called, none is added, removed or resized.
 */
void serial_port_remove(struct serial_port *port);
/* The terminal at the port's other end has this size now. Of a console. */
void serial_port_resize(struct serial_port *port, uint16_t cols, uint16_t rows);

uint32_t serial_port_nr(const struct serial_port *port);
bool serial_port_is_console(const struct serial_port *port);
/* Does the guest's program have it open? */
bool serial_port_guest_open(struct serial_port *port);
/* The console that the device has by chardev=; NULL: none. */
struct serial_port *serial_console(struct vdev *dev);

#endif
