/* SPDX-License-Identifier: BSD-3-Clause */
/* Devices, from their options to their end. Main loop. */
#ifndef CONTROL_DEVICES_H
#define CONTROL_DEVICES_H

#include "base/option.h"
#include "control/control.h"
#include "control/news.h"
#include "control/vq_mapping.h"
#include "control/watch.h"
#include "qapi/commands.h"
#include "qom/qom.h"
#include "transport/vhost_user.h"
#include "virtio/vdev.h"

/* The options of a device that are neither its own nor its transport's. */
struct control_device_options {
	char *iothread; /* id of the object whose loop serves the queues; NULL: the built-in one */
	struct json_object *vq_mapping; /* owned; NULL: none */
};

extern const struct option_spec control_device_options[];
/* In struct control_device_options too: what the class takes because of takes_vq_mapping, or NULL.
 */
const struct option_spec *control_mapping_options(const struct vdev_class *cls);
/* What a device shows besides its options; the object's opaque is a struct control_device. */
const struct qom_property *control_device_properties(const struct vdev_class *cls);
/* What every device shows, for the tables of classes that show more. */
#define CONTROL_DEVICE_PROPERTIES                                                        \
	{ "realized", "bool", control_device_get_realized },                             \
	{                                                                                \
		"queue-threads", "VirtQueueThreadList", control_device_get_queue_threads \
	}
struct json_object *control_device_get_realized(struct qom_object *obj);
struct json_object *control_device_get_queue_threads(struct qom_object *obj);

struct control_device {
	struct control *ctl;
	struct vdev *dev;
	struct qom_object *proxy; /* its parent in the tree; what device_del names */
	struct control_device_options options;
	struct vhost_user_config transport;
	struct vq_mapping mapping;
	bool unplugging;
	struct loop_work unplug_work;
	struct vdev_wait gone;
	struct news news;
	struct control_watch *watches; /* owned; num_watches, by queue */
	unsigned int num_watches;
	struct control_device *next;
};

/* Of the device, not of its parent; the caller frees it. */
char *control_device_path(const struct control_device *cdev);
/* By id, or by the path of the device that the id stands for; NULL: there is none. */
struct qom_object *control_find_object(struct control *ctl, const char *id);
/* The device that @obj (may be NULL) is, or stands for; NULL: none. */
struct control_device *control_device_of(struct control *ctl, const struct qom_object *obj);
/* Quiesces the device, then frees it and all that stands for it; DEVICE_DELETED tells. */
void control_device_remove(struct control_device *cdev);

/* For one that does not come to rest before the process ends: removes the file of its socket. */
void control_device_abandon(struct control_device *cdev);

/* The commands' handlers. */
int control_cmd_device_add(struct qapi_call *call, struct json_object *args,
	struct json_object **ret, struct qapi_error *error);
int control_cmd_device_del(struct qapi_call *call, const char *id, struct qapi_error *error);

#endif
