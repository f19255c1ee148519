/* SPDX-License-Identifier: BSD-3-Clause */
/* Devices, from their options to their end. Main loop. */
#ifndef CONTROL_DEVICES_H
#define CONTROL_DEVICES_H

#include "base/option.h"
#include "control/control.h"
#include "qapi/commands.h"
#include "qom/qom.h"
#include "transport/vhost_user.h"
#include "virtio/vdev.h"

struct control_object;

/* The options of a device that are neither its own nor its transport's. */
struct control_device_options {
	char *iothread; /* id of the object whose loop serves the queues; NULL: the built-in one */
};

extern const struct option_spec control_device_options[];

struct control_device {
	struct control *ctl;
	struct vdev *dev;
	struct qom_object *proxy; /* its parent in the tree; what device_del names */
	struct control_device_options options;
	struct vhost_user_config transport;
	struct control_object *iothread;
	bool unplugging;
	struct loop_work unplug_work;
	struct vdev_wait gone;
	struct control_device *next;
};

/* Quiesces the device, then frees it and all that stands for it; DEVICE_DELETED tells. */
void control_device_remove(struct control_device *cdev);

/* For one that does not come to rest before the process ends: removes the file of its socket. */
void control_device_abandon(struct control_device *cdev);

/* The commands' handlers. */
int control_cmd_device_add(struct qapi_call *call, struct json_object *args,
	struct json_object **ret, struct qapi_error *error);
int control_cmd_device_del(struct qapi_call *call, const char *id, struct qapi_error *error);

#endif
