/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Devices that are a part of another one: the ports of a virtio-serial, the units of a virtio-scsi.
 * They come and go like other devices do, by --device, device_add and device_del, and go with the
 * device that they belong to. Each kind has a file of its own. Main loop.
 */
#ifndef CONTROL_CHILDREN_H
#define CONTROL_CHILDREN_H

#include "base/option.h"
#include "control/control.h"
#include "control/news.h"
#include "qapi/commands.h"
#include "qom/qom.h"
#include "virtio/vdev.h"

struct control_child;
struct control_device;

struct child_class {
	const char *name; /* NULL ends the table */
	const char *description;
	const struct vdev_class *parent;
	const char *bus_type; /* QEMU's word for what it is plugged into */
	size_t options_bytes;
	const struct option_spec *options; /* in control_child.options */
	const struct qom_property *properties;
	/* Plugs it into child->parent. -errno with a sentence. */
	int (*add)(struct control_child *child, struct err *err);
	/* Takes it out again; control_child_gone() when that is done. */
	void (*remove)(struct control_child *child);
};

struct control_child {
	struct control *ctl;
	const struct child_class *cls;
	struct control_device *parent;
	char *id; /* NULL where none was given */
	struct qom_object *obj;
	bool unplugging;
	unsigned int num_changes; /* under way; it goes only after them */
	struct loop_work unplug_work;
	struct news news;
	struct control_child *next;

	char *bus; /* option; NULL: not given */
	void *options; /* owned; the class's */
	void *part; /* of the device: the class's to know */
};

extern const struct child_class *const control_child_classes[]; /* ends with NULL */
const struct child_class *control_child_class(const char *driver);
/* What all of them take. */
extern const struct option_spec control_child_options[];
struct json_object *control_child_get_realized(struct qom_object *obj);

/* As control_device_add() does, for a driver of that class. */
int control_child_add(struct control *ctl, const struct child_class *cls, struct json_object *args,
	struct err *err);
/* NULL where @obj is none. */
struct control_child *control_child_find(struct control *ctl, const struct qom_object *obj);
/* It goes; DEVICE_DELETED tells. */
void control_child_remove(struct control_child *child);
/* One of num_changes is through; where it is to go, it does now. */
void control_child_changed(struct control_child *child);
/* For child_class.remove: it is out of its device, and is freed. */
void control_child_gone(struct control_child *child);
/* Their device is gone. */
void control_children_gone(struct control *ctl, const struct control_device *parent);

/* Options that a device of @cls has because of what control_announce() was told. */
void control_child_prepare(struct control *ctl, const struct vdev_class *cls, const char *id,
	struct json_object *args);

int control_cmd_console_resize(struct qapi_call *call, const char *id, uint16_t cols, uint16_t rows,
	struct qapi_error *error);

#endif
