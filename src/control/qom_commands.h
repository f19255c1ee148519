/* SPDX-License-Identifier: BSD-3-Clause */
/* The handlers of the commands that show the object tree. Main loop. */
#ifndef CONTROL_QOM_COMMANDS_H
#define CONTROL_QOM_COMMANDS_H

#include "qapi/commands.h"

int control_cmd_qom_list(struct qapi_call *call, const char *path,
	struct ObjectPropertyInfoList *ret, struct qapi_error *error);
int control_cmd_qom_get(struct qapi_call *call, const char *path, const char *property,
	struct json_object **ret, struct qapi_error *error);
int control_cmd_qom_set(struct qapi_call *call, const char *path, const char *property,
	struct json_object *value, struct qapi_error *error);
int control_cmd_qom_list_properties(struct qapi_call *call, const char *type,
	struct ObjectPropertyInfoList *ret, struct qapi_error *error);

#endif
