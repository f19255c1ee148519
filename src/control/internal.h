/* SPDX-License-Identifier: BSD-3-Clause */
/* What control's files share. Main loop. */
#ifndef CONTROL_INTERNAL_H
#define CONTROL_INTERNAL_H

#include "base/option.h"
#include "control/control.h"
#include "machine/machine.h"
#include "qapi/commands.h"
#include "qapi/events.h"
#include "qom/qom.h"
#include "transport/vhost_user.h"
#include "virtio/vdev.h"

/* How long devices and the guest may take to end before we go anyway. */
#define CONTROL_QUIT_TIMEOUT_MS 10000

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

struct control_object_type {
	const char *name;
	const char *description; /* for --object help */
	bool serves_queues; /* has a loop for devices */
	const struct option_spec *options; /* in struct control_object; may be empty */
	int (*start)(struct control_object *obj, struct err *err);
	void (*end)(struct control_object *obj);
	const struct qom_property *properties;
};

extern const struct control_object_type control_object_types[]; /* ends without a name */

struct control_object {
	const struct control_object_type *type;
	char *id;
	struct qom_object *qom;
	unsigned int num_users;
	struct loop loop; /* an iothread's */
	struct control_object *next;
};

/* A stop, cont or system_reset, under way or waiting for its turn. */
struct control_change {
	struct control *ctl;
	struct qapi_call *call;
	/* First step; later ones follow by callbacks, the last one is control_change_done(). */
	void (*begin)(struct control_change *change);
	struct machine_wait machine_wait;
	unsigned int num_waits; /* devices that are not idle yet */
	struct control_change *next;
};

struct control {
	struct control_config config;
	char *name;
	struct loop data_loop;
	struct qom_object *root, *peripheral, *anon, *objects_container;
	struct control_device *devices; /* newest first */
	struct control_object *objects;
	unsigned int num_anon, num_sockets;
	bool running;
	struct control_change *changes; /* the first one is under way */
	struct machine *machine; /* NULL: none */
	bool quitting, finished;
	enum ShutdownCause cause; /* that control_quit() was given, else none */
	int status; /* to exit with */
	struct loop_work quit_work, finished_work;
	struct loop_timer quit_timer;
};

static inline void control_emit(struct control *ctl, struct json_object *event)
{
	ctl->config.emit(ctl->config.opaque, event);
}

/* devices.c: quiesces the device, then frees it and all that stands for it. */
void control_device_remove(struct control_device *cdev);
/* machine.c: what the machine has to say. */
extern const struct machine_listener control_machine_listener;
/* control.c: the last steps, without an event. */
void control_begin_end(struct control *ctl);
/* control.c: a device is gone, or the machine: is that all? */
void control_check_finished(struct control *ctl);
/* objects.c: NULL where there is none of that id. */
struct control_object *control_object_find(struct control *ctl, const char *id);
extern const struct option_spec control_no_options[];
void control_objects_free(struct control *ctl);

/* Handlers, by file. */
int control_cmd_device_add(struct qapi_call *call, struct json_object *args,
	struct json_object **ret, struct qapi_error *error);
int control_cmd_device_del(struct qapi_call *call, const char *id, struct qapi_error *error);
int control_cmd_object_add(struct qapi_call *call, struct json_object *args,
	struct json_object **ret, struct qapi_error *error);
int control_cmd_object_del(struct qapi_call *call, const char *id, struct qapi_error *error);
int control_cmd_stop(struct qapi_call *call, struct qapi_error *error);
int control_cmd_cont(struct qapi_call *call, struct qapi_error *error);
int control_cmd_system_reset(struct qapi_call *call, struct qapi_error *error);
int control_cmd_qom_list(struct qapi_call *call, const char *path,
	struct ObjectPropertyInfoList *ret, struct qapi_error *error);
int control_cmd_qom_get(struct qapi_call *call, const char *path, const char *property,
	struct json_object **ret, struct qapi_error *error);
int control_cmd_qom_list_properties(struct qapi_call *call, const char *type,
	struct ObjectPropertyInfoList *ret, struct qapi_error *error);

#endif
