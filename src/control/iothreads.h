/* SPDX-License-Identifier: BSD-3-Clause */
/* Iothreads: loops on threads of their own, for the queues of devices. Main loop. */
#ifndef CONTROL_IOTHREADS_H
#define CONTROL_IOTHREADS_H

#include "control/objects.h"

/* The object type's parts. */
extern const struct option_spec control_iothread_options[];
extern const struct qom_property control_iothread_properties[];
int control_iothread_start(struct control_object *obj, struct err *err);
void control_iothread_end(struct control_object *obj);

/* The object of that id where it is one that serves queues, else -ENOENT with a sentence. */
int control_iothread_find(
	struct control *ctl, const char *id, struct control_object **ret, struct err *err);

int control_cmd_query_iothreads(
	struct qapi_call *call, struct IOThreadInfoList *ret, struct qapi_error *error);

#endif
