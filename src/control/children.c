/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Child devices, from their options to their end, whatever their class. Refuses with QEMU's wording
 * a bus that there is not, and ids that are taken.
 */
#include "control/children.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/alloc.h"
#include "base/cleanup.h"
#include "base/value.h"
#include "control/devices.h"
#include "control/internal.h"
#include "control/ports.h"
#include "control/units.h"
#include "devices/serial.h"

const struct child_class *const control_child_classes[] = {
	&control_console_class,
	&control_port_class,
	&control_scsi_cd_class,
	&control_scsi_hd_class,
	NULL,
};

const struct child_class *control_child_class(const char *driver)
{
	for (size_t i = 0; driver && control_child_classes[i]; i++)
		if (!strcmp(control_child_classes[i]->name, driver))
			return control_child_classes[i];
	return NULL;
}

const struct option_spec control_child_options[] = {
	{ "bus", OPTION_STRING, offsetof(struct control_child, bus), NULL, 0, 0, NULL,
		"ID.0 of the device that it is a part of; where there is one only, it need not be "
		"named" },
	{ NULL },
};

struct json_object *control_child_get_realized(_unused_ struct qom_object *obj)
{
	return json_object_new_boolean(true);
}

/* --- who comes before whom on a command line --- */

/* The device's id in a bus's name, "ID.0"; NULL where it is none. The caller frees it. */
static char *bus_device(const char *bus)
{
	const char *dot = strrchr(bus, '.');

	return dot && !strcmp(dot, ".0") ? xasprintf("%.*s", (int)(dot - bus), bus) : NULL;
}

/* What control_announce() remembers of a device of @cls: @id is "" where no bus was named. */
static char *announcement(const struct vdev_class *cls, const char *id)
{
	return xasprintf("%s/%s", cls->name, id);
}

void control_announce(struct control *ctl, struct json_object *args)
{
	const char *driver = NULL, *bus = NULL;
	_cleanup_free_ char *id = NULL, *key = NULL;
	const struct child_class *cls;

	if (value_get_str(args, "driver", &driver, NULL) < 0 ||
		value_get_str(args, "bus", &bus, NULL) < 0)
		return;
	cls = control_child_class(driver);
	id = bus ? bus_device(bus) : xstrdup("");
	if (!cls || !id)
		return;
	if (!ctl->announced)
		ctl->announced = json_object_new_object();
	key = announcement(cls->parent, id);
	json_object_object_add(ctl->announced, key, NULL);
}

static bool is_announced(struct control *ctl, const struct vdev_class *cls, const char *id)
{
	_cleanup_free_ char *key = announcement(cls, id);

	return json_object_object_get_ex(ctl->announced, key, NULL);
}

void control_child_prepare(
	struct control *ctl, const struct vdev_class *cls, const char *id, struct json_object *args)
{
	if (cls != &virtio_serial_class || !ctl->announced ||
		json_object_object_get_ex(args, "max_ports", NULL))
		return;
	if (is_announced(ctl, cls, "") || (id && is_announced(ctl, cls, id)))
		json_object_object_add(
			args, "max_ports", json_object_new_int(SERIAL_PORTS_DEFAULT));
}

/* --- adding --- */

static struct control_device *find_parent(
	struct control *ctl, const struct child_class *cls, const char *bus, struct err *err)
{
	_cleanup_free_ char *id = bus ? bus_device(bus) : NULL;
	struct control_device *found = NULL;

	for (struct control_device *cdev = ctl->devices; cdev; cdev = cdev->next) {
		if (!cdev->dev || cdev->dev->cls != cls->parent || cdev->unplugging)
			continue;
		if (bus && (!id || !cdev->dev->id || strcmp(cdev->dev->id, id) != 0))
			continue;
		if (found) {
			err_set(err, -EINVAL,
				"there are several %s devices: bus=ID.0 has to name one",
				cls->parent->name);
			return NULL;
		}
		found = cdev;
	}
	if (!found && bus)
		err_set(err, -ENODEV, "Bus '%s' not found", bus);
	else if (!found)
		err_set(err, -ENODEV, "No '%s' bus found for this device", cls->bus_type);
	return found;
}

static void free_child(struct control_child *child)
{
	struct control_child **at;

	for (at = &child->ctl->children; *at && *at != child; at = &(*at)->next)
		;
	if (*at)
		*at = child->next;
	loop_work_cancel(child->ctl->config.loop, &child->unplug_work);
	control_news_free(&child->news);
	qom_free(child->obj);
	options_free(control_child_options, child);
	options_free(child->cls->options, child->options);
	free(child->options);
	free(child->id);
	free(child);
}

static int check_new(
	struct control *ctl, struct json_object *args, const char **ret_id, struct err *err)
{
	if (ctl->quitting)
		return err_set(err, -ESHUTDOWN, "no device is added any more: this run is ending");
	if (value_get_str(args, "id", ret_id, err) < 0)
		return -EINVAL;
	if (*ret_id && !qom_id_well_formed(*ret_id))
		return err_set(err, -EINVAL, "Parameter 'id' expects an identifier");
	if (*ret_id && qom_child(ctl->peripheral, *ret_id))
		return err_set(err, -EEXIST, "Duplicate device ID '%s'", *ret_id);
	return 0;
}

static int take_options(struct control_child *child, struct json_object *args, struct err *err)
{
	const struct option_spec *const tables[] = { control_child_options, child->cls->options,
		NULL };
	_cleanup_free_ char *what = xasprintf("device '%s'", child->cls->name);
	int r;

	options_defaults(child->cls->options, child->options);
	json_object_object_del(args, "driver");
	json_object_object_del(args, "id");
	r = options_take(control_child_options, child, args, err);
	if (!r)
		r = options_take(child->cls->options, child->options, args, err);
	return r < 0 ? r : options_none_left(what, args, tables, err);
}

static void add_to_tree(struct control_child *child)
{
	struct control *ctl = child->ctl;
	_cleanup_free_ char *anon = child->id ? NULL : xasprintf("device[%u]", ctl->num_anon++);

	child->obj = qom_add(child->id ? ctl->peripheral : ctl->anon, child->id ? child->id : anon,
		child->cls->name);
	child->obj->properties = child->cls->properties;
	child->obj->opaque = child;
	qom_add_table(child->obj, control_child_options, child);
	qom_add_table(child->obj, child->cls->options, child->options);
	child->next = ctl->children;
	ctl->children = child;
}

int control_child_add(struct control *ctl, const struct child_class *cls, struct json_object *args,
	struct err *err)
{
	_cleanup_value_ struct json_object *rest = NULL;
	struct control_child *child;
	const char *id = NULL;
	int r = check_new(ctl, args, &id, err);

	if (r < 0)
		return r;
	if (json_object_deep_copy(args, &rest, NULL) < 0)
		return err_set(err, -ENOMEM, "no memory for the options of a device");
	child = xnew(struct control_child);
	child->ctl = ctl;
	child->cls = cls;
	child->options = xcalloc(1, cls->options_bytes);
	child->id = id ? xstrdup(id) : NULL;
	r = take_options(child, rest, err);
	if (!r) {
		child->parent = find_parent(ctl, cls, child->bus, err);
		r = child->parent ? cls->add(child, err) : -ENODEV;
	}
	if (r < 0) {
		free_child(child);
		return r;
	}
	add_to_tree(child);
	return 0;
}

/* --- removing --- */

struct control_child *control_child_find(struct control *ctl, const struct qom_object *obj)
{
	for (struct control_child *child = ctl->children; child; child = child->next)
		if (child->obj == obj)
			return child;
	return NULL;
}

static void on_unplug_work(struct loop_work *work)
{
	struct control_child *child = container_of(work, struct control_child, unplug_work);

	/* With its device it goes anyway, and after what changes it. */
	if (!child->parent->unplugging && !child->num_changes)
		child->cls->remove(child);
}

void control_child_changed(struct control_child *child)
{
	if (!--child->num_changes && child->unplugging)
		loop_work_add(child->ctl->config.loop, &child->unplug_work);
}

void control_child_remove(struct control_child *child)
{
	child->unplugging = true;
	child->unplug_work.fn = on_unplug_work;
	/* Later, so that a reply goes out before the event. */
	loop_work_add(child->ctl->config.loop, &child->unplug_work);
}

void control_child_gone(struct control_child *child)
{
	struct control *ctl = child->ctl;
	_cleanup_free_ char *path = qom_path(child->obj);

	if (!ctl->quitting)
		control_emit(ctl, qapi_event_device_deleted(child->id, path));
	free_child(child);
}

void control_children_gone(struct control *ctl, const struct control_device *parent)
{
	for (struct control_child *child = ctl->children, *next; child; child = next) {
		next = child->next;
		if (child->parent == parent)
			control_child_gone(child);
	}
}
