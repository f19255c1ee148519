/* SPDX-License-Identifier: BSD-3-Clause */
/* Objects that are no devices, by a table of their types. An object in use stays. */
#include "control/objects.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/alloc.h"
#include "base/cleanup.h"
#include "base/value.h"
#include "control/internal.h"
#include "control/iothreads.h"

const struct control_object_type control_object_types[] = {
	{
		.name = "iothread",
		.description =
			"a thread with a loop of its own, for the queues of the devices that "
			"name it",
		.serves_queues = true,
		.options = control_iothread_options,
		.properties = control_iothread_properties,
		.start = control_iothread_start,
		.end = control_iothread_end,
	},
	{ NULL },
};

struct control_object *control_object_find(struct control *ctl, const char *id)
{
	for (struct control_object *obj = ctl->objects; obj; obj = obj->next) {
		if (!strcmp(obj->id, id))
			return obj;
	}
	return NULL;
}

static const struct control_object_type *find_type(const char *name)
{
	for (const struct control_object_type *type = control_object_types; type->name; type++) {
		if (!strcmp(type->name, name))
			return type;
	}
	return NULL;
}

static int check_new(struct control *ctl, struct json_object *args, const char **ret_id,
	const struct control_object_type **ret_type, struct err *err)
{
	const char *name = NULL;

	if (value_get_str(args, "qom-type", &name, err) < 0 ||
		value_get_str(args, "id", ret_id, err) < 0)
		return -EINVAL;
	if (!name)
		return err_set(err, -EINVAL, "Parameter 'qom-type' is missing");
	*ret_type = find_type(name);
	if (!*ret_type)
		return err_set(
			err, -EINVAL, "Parameter 'qom-type' does not accept value '%s'", name);
	if (!*ret_id)
		return err_set(err, -EINVAL, "Parameter 'id' is missing");
	if (!qom_id_well_formed(*ret_id))
		return err_set(err, -EINVAL, "Parameter 'id' expects an identifier");
	if (qom_child(ctl->objects_container, *ret_id))
		return err_set(err, -EEXIST,
			"attempt to add duplicate property '%s' to object (type 'container')",
			*ret_id);
	return 0;
}

static void free_object(struct control_object *obj)
{
	qom_free(obj->qom);
	options_free(obj->type->options, obj);
	free(obj->id);
	free(obj);
}

static int take_options(struct control_object *obj, struct json_object *args, struct err *err)
{
	const struct option_spec *tables[] = { obj->type->options, NULL };
	_cleanup_free_ char *what = xasprintf("object '%s'", obj->type->name);
	_cleanup_value_ struct json_object *rest = NULL;
	int r;

	if (json_object_deep_copy(args, &rest, NULL) < 0)
		return err_set(err, -ENOMEM, "no memory for the options of an object");
	json_object_object_del(rest, "qom-type");
	json_object_object_del(rest, "id");
	options_defaults(obj->type->options, obj);
	r = options_take(obj->type->options, obj, rest, err);
	return r < 0 ? r : options_none_left(what, rest, tables, err);
}

int control_object_add(struct control *ctl, struct json_object *args, struct err *err)
{
	const struct control_object_type *type = NULL;
	struct control_object *obj;
	const char *id = NULL;
	int r = check_new(ctl, args, &id, &type, err);

	if (r < 0)
		return r;
	obj = xnew(struct control_object);
	obj->type = type;
	obj->id = xstrdup(id);
	r = take_options(obj, args, err);
	if (!r)
		r = type->start(obj, err);
	if (r < 0) {
		free_object(obj);
		return r;
	}
	obj->qom = qom_add(ctl->objects_container, id, type->name);
	obj->qom->properties = type->properties;
	obj->qom->opaque = obj;
	qom_add_table(obj->qom, type->options, obj);
	obj->next = ctl->objects;
	ctl->objects = obj;
	return 0;
}

void control_objects_free(struct control *ctl)
{
	while (ctl->objects) {
		struct control_object *obj = ctl->objects;

		ctl->objects = obj->next;
		obj->type->end(obj);
		free_object(obj);
	}
}

int control_cmd_object_add(struct qapi_call *call, struct json_object *args,
	_unused_ struct json_object **ret, struct qapi_error *error)
{
	return control_object_add(call->ctx, args, &error->err);
}

int control_cmd_object_del(struct qapi_call *call, const char *id, struct qapi_error *error)
{
	struct control *ctl = call->ctx;
	struct control_object **at = &ctl->objects, *obj;

	while (*at && strcmp((*at)->id, id) != 0)
		at = &(*at)->next;
	obj = *at;
	if (!obj)
		return qapi_error_set(error, QAPI_GENERIC_ERROR, "object '%s' not found", id);
	if (obj->num_users)
		return qapi_error_set(
			error, QAPI_GENERIC_ERROR, "object '%s' is in use, can not be deleted", id);
	*at = obj->next;
	obj->type->end(obj);
	free_object(obj);
	return 0;
}
