/* SPDX-License-Identifier: BSD-3-Clause */
/* What --device and --object take, printed from the tables that read them. */
#include "control/help.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "control/children.h"
#include "control/devices.h"
#include "control/internal.h"
#include "control/objects.h"
#include "devices/registry.h"
#include "vhost/relay.h"
#include "vhost/vhost.h"

void control_help_devices(void)
{
	const struct vdev_class *cls;

	for (size_t i = 0; device_classes[i]; i++)
		printf("  %-24s %s\n", device_classes[i]->name, device_classes[i]->description);
	for (size_t i = 0; control_child_classes[i]; i++)
		printf("  %-24s %s\n", control_child_classes[i]->name,
			control_child_classes[i]->description);
	for (size_t i = 0; (cls = vhost_class_at(i)); i++)
		printf("  %-24s %s\n", cls->name, cls->description);
}

void control_help_objects(void)
{
	for (const struct control_object_type *t = control_object_types; t->name; t++)
		printf("  %-16s %s\n", t->name, t->description);
}

static void print_table(const struct option_spec *specs)
{
	for (const struct option_spec *s = specs; s->name; s++) {
		printf("  %s=<%s>", s->name, options_type_name(s));
		for (size_t i = 0; s->type == OPTION_ENUM && s->choices[i]; i++)
			printf("%s%s", i ? "|" : " ", s->choices[i]);
		if (s->def)
			printf(" (default %s)", s->def);
		printf("\n      %s\n", s->help);
	}
}

int control_help_object(const char *type, struct err *err)
{
	const struct control_object_type *t = control_object_types;

	while (t->name && strcmp(t->name, type) != 0)
		t++;
	if (!t->name)
		return err_set(err, -EINVAL,
			"there is no object type '%s'; '--object help' lists them", type);
	printf("%s: %s\n", t->name, t->description);
	print_table(t->options);
	return 0;
}

void control_help_relay(void)
{
	printf("%s: %s\n", relay_class.name, relay_class.description);
	print_table(relay_class.options);
}

int control_help_device(const char *driver, bool with_machine, struct err *err)
{
	const struct child_class *child = control_child_class(driver);
	const struct vdev_class *cls = device_class_find(driver);

	if (child) {
		printf("%s: %s\n", child->name, child->description);
		print_table(control_child_options);
		print_table(child->options);
		return 0;
	}
	if (!cls)
		cls = vhost_class_find(driver);
	if (!cls)
		return err_set(err, -EINVAL,
			"'%s' is not a valid device model name; '--device help' lists them",
			driver);
	printf("%s: %s\n", cls->name, cls->description);
	print_table(cls->options);
	printf("every device:\n");
	print_table(vdev_common_options);
	if (!cls->handed_over)
		print_table(control_device_options);
	if (cls->takes_vq_mapping)
		print_table(control_mapping_options(cls));
	if (with_machine)
		return 0;
	printf("how it is exported:\n");
	print_table(vhost_user_options);
	return 0;
}
