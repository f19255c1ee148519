/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * virtserialport and virtconsole: options to a port of a virtio-serial, what the guest does with it
 * to an event, and the size of a console's terminal.
 */
#include "control/ports.h"

#include <errno.h>

#include "control/devices.h"
#include "control/internal.h"
#include "devices/serial.h"

const struct option_spec control_port_options[] = {
	{ "bus", OPTION_STRING, offsetof(struct control_child, bus), NULL, 0, 0, NULL,
		"ID.0 of a virtio-serial; where there is one only, it need not be named" },
	{ "nr", OPTION_U32, offsetof(struct control_child, nr), "4294967295", 0, UINT32_MAX, NULL,
		"the port's number; without it the first free one" },
	{ "name", OPTION_STRING, offsetof(struct control_child, name), NULL, 0, 0, NULL,
		"by which the guest finds it: /sys/class/virtio-ports/*/name" },
	{ "chardev", OPTION_STRING, offsetof(struct control_child, chardev), "null", 0, 0, NULL,
		"the port's other end: stdio, pty, unix:PATH, connect:PATH, file:PATH, null" },
	{ NULL },
};

static struct json_object *get_realized(_unused_ struct qom_object *obj)
{
	return json_object_new_boolean(true);
}

static struct json_object *get_nr(struct qom_object *obj)
{
	const struct control_child *child = obj->opaque;

	return json_object_new_int64(serial_port_nr(child->port));
}

static struct json_object *get_guest_open(struct qom_object *obj)
{
	const struct control_child *child = obj->opaque;

	return json_object_new_boolean(serial_port_guest_open(child->port));
}

const struct qom_property control_port_properties[] = {
	{ "realized", "bool", get_realized },
	/* The one that it has, in the place of the one that was asked for. */
	{ "nr", "uint32", get_nr },
	{ "guest-open", "bool", get_guest_open },
	{ NULL },
};

static void on_guest_opened(void *opaque, bool open)
{
	control_news_port(opaque, open);
}

static void on_removed(void *opaque)
{
	control_child_gone(opaque);
}

static int add(struct control_child *child, bool console, struct err *err)
{
	const struct serial_port_config config = {
		.nr = child->nr,
		.name = child->name,
		.chardev = child->chardev,
		.label = child->id ? child->id : child->cls->name,
		.console = console,
		.guest_opened = on_guest_opened,
		.removed = on_removed,
		.opaque = child,
	};

	if (!serial_has_ports(child->parent->dev))
		return err_set(err, -ENOSPC,
			"%s has its one console and no room for ports: give it max_ports=",
			vdev_label(child->parent->dev));
	return serial_port_add(child->parent->dev, &config, &child->port, err);
}

int control_port_add(struct control_child *child, struct err *err)
{
	return add(child, false, err);
}

int control_console_add(struct control_child *child, struct err *err)
{
	return add(child, true, err);
}

void control_port_remove(struct control_child *child)
{
	serial_port_remove(child->port);
}

/* The console that @id stands for: a virtconsole, or the one that a virtio-serial has by chardev=.
 */
static struct serial_port *find_console(struct control *ctl, const char *id)
{
	struct qom_object *obj = *id == '/' ? qom_resolve(ctl->root, id, NULL)
					    : qom_child(ctl->peripheral, id);
	struct control_child *child = obj ? control_child_find(ctl, obj) : NULL;

	if (child && (child->unplugging || child->parent->unplugging))
		return NULL;
	if (child)
		return serial_port_is_console(child->port) ? child->port : NULL;
	for (struct control_device *cdev = ctl->devices; obj && cdev; cdev = cdev->next)
		if (cdev->proxy == obj && !cdev->unplugging &&
			cdev->dev->cls == &virtio_serial_class && serial_has_ports(cdev->dev))
			return serial_console(cdev->dev);
	return NULL;
}

int control_cmd_console_resize(struct qapi_call *call, const char *id, uint16_t cols, uint16_t rows,
	struct qapi_error *error)
{
	struct serial_port *port = find_console(call->ctx, id);

	if (!port)
		return qapi_error_set(error, QAPI_DEVICE_NOT_FOUND,
			"'%s' is no console whose driver could be told: expected a virtconsole, or "
			"a virtio-serial with chardev= and max_ports=",
			id);
	serial_port_resize(port, cols, rows);
	return 0;
}
