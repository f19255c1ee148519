/* SPDX-License-Identifier: BSD-3-Clause */
/* scsi-hd and scsi-cd: options to a unit of a virtio-scsi, and where it is. */
#include "control/units.h"

#include "control/devices.h"
#include "devices/scsi.h"

#define CONFIG(field) offsetof(struct scsi_unit_config, field)

/* Where it is, its image, what it says of itself, and how the host does the I/O. */
#define PLACE_OPTIONS                                                                           \
	{ "channel", OPTION_INT, CONFIG(channel), "0", 0, INT32_MAX, NULL, "0: there is one" }, \
		{ "scsi-id", OPTION_INT, CONFIG(target), "-1", (uint64_t)-1, INT32_MAX, NULL,   \
			"the target, up to 255; -1: the first without this unit" },             \
	{                                                                                       \
		"lun", OPTION_INT, CONFIG(lun), "-1", (uint64_t)-1, INT32_MAX, NULL,            \
			"the unit, up to 16383; -1: the target's first free one"                \
	}
#define TEXT_OPTIONS                                                           \
	{ "serial", OPTION_STRING, CONFIG(serial), NULL, 0, 0, NULL,           \
		"the serial number, 36 bytes at most" },                       \
		{ "vendor", OPTION_STRING, CONFIG(vendor), NULL, 0, 0, NULL,   \
			"who made it, 8 bytes at most" },                      \
		{ "product", OPTION_STRING, CONFIG(product), NULL, 0, 0, NULL, \
			"what it is, 16 bytes at most" },                      \
	{                                                                      \
		"ver", OPTION_STRING, CONFIG(version), NULL, 0, 0, NULL,       \
			"its version, 4 bytes at most"                         \
	}
#define HOST_OPTIONS                                                                      \
	{ "aio", OPTION_ENUM, CONFIG(aio), "auto", 0, 0, scsi_aio_choices,                \
		"how the host does the I/O; auto: at once what cannot wait, the rest by " \
		"io_uring" },                                                             \
		{ "direct", OPTION_BOOL, CONFIG(direct), "off", 0, 0, NULL,               \
			"bypass the host's page cache" },                                 \
	{                                                                                 \
		"locking", OPTION_BOOL, CONFIG(locking), "on", 0, 0, NULL,                \
			"lock the image against a second writer"                          \
	}

static const struct option_spec disk_options[] = {
	PLACE_OPTIONS,
	{ "filename", OPTION_STRING, CONFIG(filename), NULL, 0, 0, NULL,
		"raw image or block device (a path or fd=N)" },
	{ "size", OPTION_SIZE, CONFIG(size_bytes), "0", 0, INT64_MAX, NULL,
		"instead of filename: a disk of this size without storage, for measuring" },
	{ "read-only", OPTION_BOOL, CONFIG(read_only), "off", 0, 0, NULL, "refuse writes" },
	{ "removable", OPTION_BOOL, CONFIG(removable), "off", 0, 0, NULL,
		"says that its medium can be taken out, as a stick's" },
	{ "logical_block_size", OPTION_U32, CONFIG(logical_block_bytes), "512", 512,
		SCSI_LOGICAL_BLOCK_MAX, NULL, "the unit of every request, in bytes" },
	{ "discard", OPTION_BOOL, CONFIG(discard), "on", 0, 0, NULL, "take UNMAP" },
	{ "write-cache", OPTION_BOOL, CONFIG(write_cache), "on", 0, 0, NULL,
		"off: every write is stable when it is answered" },
	TEXT_OPTIONS,
	HOST_OPTIONS,
	{ NULL },
};

static const struct option_spec cd_options[] = {
	PLACE_OPTIONS,
	{ "filename", OPTION_STRING, CONFIG(filename), NULL, 0, 0, NULL,
		"image (a path or fd=N); it is opened for reading; without one there is no "
		"medium" },
	TEXT_OPTIONS,
	HOST_OPTIONS,
	{ NULL },
};

static struct json_object *get_channel(_unused_ struct qom_object *obj)
{
	return json_object_new_int(0);
}

static struct json_object *get_target(struct qom_object *obj)
{
	const struct control_child *child = obj->opaque;

	return json_object_new_int(scsi_unit_target(child->part));
}

static struct json_object *get_lun(struct qom_object *obj)
{
	const struct control_child *child = obj->opaque;

	return json_object_new_int(scsi_unit_lun(child->part));
}

static const struct qom_property unit_properties[] = {
	{ "realized", "bool", control_child_get_realized },
	/* Where it is, in the place of what was asked for. */
	{ "channel", "uint32", get_channel },
	{ "scsi-id", "uint32", get_target },
	{ "lun", "uint32", get_lun },
	{ NULL },
};

static void on_removed(void *opaque)
{
	control_child_gone(opaque);
}

static void on_tray_moved(void *opaque, bool open)
{
	control_news_tray(opaque, open);
}

static int add(struct control_child *child, enum scsi_kind kind, struct err *err)
{
	struct scsi_unit_config *config = child->options;
	struct scsi_unit *unit = NULL;
	int r;

	config->kind = kind;
	config->label = child->id ? child->id : child->cls->name;
	config->removed = on_removed;
	config->tray_moved = on_tray_moved;
	config->opaque = child;
	r = scsi_unit_add(child->parent->dev, config, &unit, err);
	child->part = unit;
	return r;
}

static int add_disk(struct control_child *child, struct err *err)
{
	return add(child, SCSI_DISK, err);
}

static int add_cd(struct control_child *child, struct err *err)
{
	return add(child, SCSI_CD, err);
}

static void remove_unit(struct control_child *child)
{
	scsi_unit_remove(child->part);
}

const struct child_class control_scsi_hd_class = {
	.name = "scsi-hd",
	.description = "a disk of a virtio-scsi",
	.parent = &virtio_scsi_class,
	.bus_type = "SCSI",
	.options_bytes = sizeof(struct scsi_unit_config),
	.options = disk_options,
	.properties = unit_properties,
	.add = add_disk,
	.remove = remove_unit,
};

const struct child_class control_scsi_cd_class = {
	.name = "scsi-cd",
	.description = "a CD-ROM of a virtio-scsi",
	.parent = &virtio_scsi_class,
	.bus_type = "SCSI",
	.options_bytes = sizeof(struct scsi_unit_config),
	.options = cd_options,
	.properties = unit_properties,
	.add = add_cd,
	.remove = remove_unit,
};
