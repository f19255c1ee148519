/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Whatever changes something: options become devices and objects, commands become actions, news
 * become events. Owns the devices, the objects, the object tree and the built-in data loop. Main
 * loop.
 */
#ifndef CONTROL_CONTROL_H
#define CONTROL_CONTROL_H

#include <json-c/json.h>

#include "base/err.h"
#include "base/loop.h"
#include "qapi/types.h"

struct control;
struct machine_config;
struct machine_ops;
struct qapi_handlers;

struct control_config {
	struct loop *loop; /* the main loop */
	const char *name; /* of this run, or NULL; copied */
	/* NULL: no machine, devices are exported by their listen= or connect=. */
	const struct machine_ops *machine;
	/* An event for all monitors; takes over the reference. */
	void (*emit)(void *opaque, struct json_object *event);
	/*
	 * All has ended: the guest, where there is one, and the devices, or they did not in time.
	 * @status: what the process should exit with. Not from within a function of control's.
	 */
	void (*finished)(void *opaque, int status);
	void *opaque;
};

/* -errno with a sentence where a thread or a descriptor cannot be had. */
int control_new(const struct control_config *config, struct control **ret, struct err *err);
/* After finished(), or before any device was made. NULL is fine. */
void control_free(struct control *ctl);

/* The handlers of all commands here; their calls' context is the control. */
extern const struct qapi_handlers control_handlers;

/*
 * A device or an object by its options, as base/value.h reads them from the command line or a
 * monitor;
 * @args is not changed. -errno with a sentence.
 */
int control_device_add(struct control *ctl, struct json_object *args, struct err *err);
int control_object_add(struct control *ctl, struct json_object *args, struct err *err);

/*
 * With a machine: starts the guest on the devices that were made so far; of @machine all is set but
 * the devices. -errno with a sentence.
 */
int control_start_guest(struct control *ctl, const struct machine_config *machine, struct err *err);

/* Begins the end; finished() follows. A second call makes haste with the guest. */
void control_quit(struct control *ctl, enum ShutdownCause cause);

/*
 * For the command line's help, on standard output: the list of drivers or objects, or what one
 * takes. -EINVAL with a sentence where there is no such driver.
 */
void control_help_devices(void);
int control_help_device(const char *driver, bool with_machine, struct err *err);
void control_help_objects(void);

#endif
