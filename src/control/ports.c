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

struct port_options {
	char *name, *chardev;
	uint32_t nr;
};

static const struct option_spec port_options[] = {
	{ "nr", OPTION_U32, offsetof(struct port_options, nr), "4294967295", 0, UINT32_MAX, NULL,
		"the port's number; without it the first free one" },
	{ "name", OPTION_STRING, offsetof(struct port_options, name), NULL, 0, 0, NULL,
		"by which the guest finds it: /sys/class/virtio-ports/*/name" },
	{ "chardev", OPTION_STRING, offsetof(struct port_options, chardev), "null", 0, 0, NULL,
		"the port's other end: stdio, pty, unix:PATH, connect:PATH, file:PATH, null" },
	{ NULL },
};

static struct json_object *get_nr(struct qom_object *obj)
{
	const struct control_child *child = obj->opaque;

	return json_object_new_int64(serial_port_nr(child->part));
}

static struct json_object *get_guest_open(struct qom_object *obj)
{
	const struct control_child *child = obj->opaque;

	return json_object_new_boolean(serial_port_guest_open(child->part));
}

static const struct qom_property port_properties[] = {
	{ "realized", "bool", control_child_get_realized },
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
	const struct port_options *options = child->options;
	const struct serial_port_config config = {
		.nr = options->nr,
		.name = options->name,
		.chardev = options->chardev,
		.label = child->id ? child->id : child->cls->name,
		.console = console,
		.guest_opened = on_guest_opened,
		.removed = on_removed,
		.opaque = child,
	};
	struct serial_port *port = NULL;
	int r;

	if (!serial_has_ports(child->parent->dev))
		return err_set(err, -ENOSPC,
			"%s has its one console and no room for ports: give it max_ports=",
			vdev_label(child->parent->dev));
	r = serial_port_add(child->parent->dev, &config, &port, err);
	child->part = port;
	return r;
}

static int add_port(struct control_child *child, struct err *err)
{
	return add(child, false, err);
}

static int add_console(struct control_child *child, struct err *err)
{
	return add(child, true, err);
}

static void remove_port(struct control_child *child)
{
	serial_port_remove(child->part);
}

const struct child_class control_console_class = {
	.name = "virtconsole",
	.description = "a console port of a virtio-serial",
	.parent = &virtio_serial_class,
	.bus_type = "virtio-serial-bus",
	.options_bytes = sizeof(struct port_options),
	.options = port_options,
	.properties = port_properties,
	.add = add_console,
	.remove = remove_port,
};

const struct child_class control_port_class = {
	.name = "virtserialport",
	.description = "a port of a virtio-serial that the guest finds by its name",
	.parent = &virtio_serial_class,
	.bus_type = "virtio-serial-bus",
	.options_bytes = sizeof(struct port_options),
	.options = port_options,
	.properties = port_properties,
	.add = add_port,
	.remove = remove_port,
};

/* The console that @id stands for: a virtconsole, or the one that a virtio-serial has by chardev=.
 */
static struct serial_port *find_console(struct control *ctl, const char *id)
{
	struct qom_object *obj = *id == '/' ? qom_resolve(ctl->root, id, NULL)
					    : qom_child(ctl->peripheral, id);
	struct control_child *child = obj ? control_child_find(ctl, obj) : NULL;

	if (child && (child->cls->parent != &virtio_serial_class || child->unplugging ||
			     child->parent->unplugging))
		return NULL;
	if (child)
		return serial_port_is_console(child->part) ? child->part : NULL;
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
