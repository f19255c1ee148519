/* SPDX-License-Identifier: BSD-3-Clause */
/* The monitor's view of the object tree. */
#include "control/qom_commands.h"

#include <string.h>

#include "base/alloc.h"
#include "base/cleanup.h"
#include "base/value.h"
#include "control/children.h"
#include "control/devices.h"
#include "control/internal.h"
#include "control/objects.h"
#include "devices/registry.h"

static void add_info(void *opaque, const char *name, const char *type)
{
	struct ObjectPropertyInfo *info = xnew(struct ObjectPropertyInfo);

	info->name = xstrdup(name);
	info->type = xstrdup(type);
	qapi_append_ObjectPropertyInfoList(opaque, info);
}

int control_cmd_qom_list(struct qapi_call *call, const char *path,
	struct ObjectPropertyInfoList *ret, struct qapi_error *error)
{
	struct control *ctl = call->ctx;
	bool ambiguous;
	struct qom_object *obj = qom_resolve(ctl->root, path, &ambiguous);

	if (ambiguous)
		return qapi_error_set(error, QAPI_GENERIC_ERROR, "Path '%s' is ambiguous", path);
	if (!obj)
		return qapi_error_set(error, QAPI_DEVICE_NOT_FOUND, "Device '%s' not found", path);
	qom_each_property(obj, add_info, ret);
	return 0;
}

int control_cmd_qom_get(struct qapi_call *call, const char *path, const char *property,
	struct json_object **ret, struct qapi_error *error)
{
	struct control *ctl = call->ctx;
	struct qom_object *obj = qom_resolve(ctl->root, path, NULL);

	if (!obj)
		return qapi_error_set(error, QAPI_DEVICE_NOT_FOUND, "Device '%s' not found", path);
	if (!qom_get(obj, property, ret))
		return qapi_error_set(error, QAPI_GENERIC_ERROR, "Property '%s.%s' not found",
			obj->type, property);
	return 0;
}

int control_cmd_qom_set(struct qapi_call *call, const char *path, const char *property,
	struct json_object *value, struct qapi_error *error)
{
	struct control *ctl = call->ctx;
	struct qom_object *obj = qom_resolve(ctl->root, path, NULL);

	if (!obj)
		return qapi_error_set(error, QAPI_DEVICE_NOT_FOUND, "Device '%s' not found", path);
	return qom_set(obj, property, value, &error->err);
}

/* --- types --- */

static bool has_info(const struct ObjectPropertyInfoList *list, const char *name)
{
	for (size_t i = 0; i < list->num; i++) {
		if (!strcmp(list->items[i]->name, name))
			return true;
	}
	return false;
}

/* @specs may be NULL. */
static void add_table(struct ObjectPropertyInfoList *list, const struct option_spec *specs)
{
	for (; specs && specs->name; specs++) {
		if (has_info(list, specs->name))
			continue;
		add_info(list, specs->name, options_type_name(specs));
		if (specs->help)
			list->items[list->num - 1]->description = xstrdup(specs->help);
		if (!specs->def)
			continue;
		list->items[list->num - 1]->has_default_value = true;
		list->items[list->num - 1]->default_value = value_new_string(specs->def);
	}
}

static void add_properties(
	struct ObjectPropertyInfoList *list, const struct qom_property *properties)
{
	for (; properties && properties->name; properties++) {
		if (!has_info(list, properties->name))
			add_info(list, properties->name, properties->type);
	}
}

/* @name names the class's device, or its part behind the transport ("virtio-blk-device"). */
static bool names_class(const char *name, const struct vdev_class *cls, bool *ret_proxy)
{
	size_t len = strlen(cls->name);

	if (strncmp(name, cls->name, len) != 0)
		return false;
	*ret_proxy = !name[len];
	return !name[len] || !strcmp(name + len, "-device");
}

int control_cmd_qom_list_properties(_unused_ struct qapi_call *call, const char *type,
	struct ObjectPropertyInfoList *ret, struct qapi_error *error)
{
	bool proxy;

	add_info(ret, "type", "string");
	if (!strcmp(type, "container"))
		return 0;
	for (size_t i = 0; device_classes[i]; i++) {
		if (!names_class(type, device_classes[i], &proxy))
			continue;
		add_properties(ret, control_device_properties(device_classes[i]));
		add_table(ret, device_classes[i]->options);
		add_table(ret, vdev_common_options);
		add_table(ret, control_device_options);
		add_table(ret, control_mapping_options(device_classes[i]));
		if (proxy)
			add_table(ret, vhost_user_options);
		return 0;
	}
	if (control_child_class(type)) {
		add_table(ret, control_child_options);
		add_table(ret, control_child_class(type)->options);
		add_properties(ret, control_child_class(type)->properties);
		return 0;
	}
	for (const struct control_object_type *t = control_object_types; t->name; t++) {
		if (strcmp(t->name, type) != 0)
			continue;
		/* A property that is an option too has the option's description. */
		add_table(ret, t->options);
		add_properties(ret, t->properties);
		return 0;
	}
	return qapi_error_set(error, QAPI_DEVICE_NOT_FOUND, "Class '%s' not found", type);
}
