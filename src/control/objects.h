/* SPDX-License-Identifier: BSD-3-Clause */
/* Objects that are no devices, by a table of their types. Main loop. */
#ifndef CONTROL_OBJECTS_H
#define CONTROL_OBJECTS_H

#include "base/loop.h"
#include "base/option.h"
#include "control/control.h"
#include "qapi/commands.h"
#include "qom/qom.h"

struct control_object;

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
	struct loop_polling polling; /* as its options had it; the loop has what it is now */
	struct control_object *next;
};

/* NULL where there is none of that id. */
struct control_object *control_object_find(struct control *ctl, const char *id);
void control_objects_free(struct control *ctl);

/* The commands' handlers. */
int control_cmd_object_add(struct qapi_call *call, struct json_object *args,
	struct json_object **ret, struct qapi_error *error);
int control_cmd_object_del(struct qapi_call *call, const char *id, struct qapi_error *error);

#endif
