/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * block_resize, eject and its kin: which disk or CD-ROM is meant, and the reply once it has
 * changed. Refuses with QEMU's wording what is no such device. A part that is taken away while it
 * changes goes when that is through.
 */
#include "control/media.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/alloc.h"
#include "control/children.h"
#include "control/devices.h"
#include "control/internal.h"
#include "devices/blk.h"
#include "devices/scsi.h"

/* One that is under way. */
struct change {
	struct media_change media;
	struct qapi_call *call;
	struct control_child *child; /* NULL: it is about a device, not about a part of one */
};

/* What a command names. */
struct medium {
	struct vdev *blk; /* NULL: it is a unit */
	struct scsi_unit *unit;
	struct control_child *child;
};

static void on_done(struct media_change *media, int result, const struct err *err)
{
	struct change *change = container_of(media, struct change, media);

	if (change->child)
		control_child_changed(change->child);
	if (result < 0)
		qapi_call_fail(change->call, QAPI_GENERIC_ERROR, "%s", err->msg);
	else
		qapi_call_return(change->call, NULL);
	free(change);
}

static struct change *begin(struct qapi_call *call, const struct medium *medium)
{
	struct change *change = xnew(struct change);

	*change = (struct change){ { on_done }, call, medium->child };
	if (medium->child)
		medium->child->num_changes++;
	return change;
}

/* What a handler returns: @r is 0 where on_done() was called, or will be. */
static int begun(struct change *change, int r)
{
	if (!r)
		return QAPI_PENDING;
	if (change->child)
		control_child_changed(change->child);
	free(change);
	return r;
}

/* The disk (@kind SCSI_DISK) or the CD-ROM that @name stands for. */
static int find(struct control *ctl, const char *name, enum scsi_kind kind, struct medium *ret,
	struct qapi_error *error)
{
	struct qom_object *obj = control_find_object(ctl, name);
	struct control_child *child = obj ? control_child_find(ctl, obj) : NULL;
	struct control_device *cdev = child ? child->parent : control_device_of(ctl, obj);

	*ret = (struct medium){ 0 };
	if (!cdev)
		return qapi_error_set(error, QAPI_DEVICE_NOT_FOUND, "Device '%s' not found", name);
	if (cdev->unplugging || (child && child->unplugging))
		return qapi_error_set(error, QAPI_GENERIC_ERROR,
			"Device %s is already in the process of unplug", name);
	if (child && child->cls->parent == &virtio_scsi_class) {
		ret->child = child;
		ret->unit = child->part;
	} else if (!child && cdev->dev->cls == &virtio_scsi_class) {
		ret->unit = scsi_own_unit(cdev->dev, kind);
	} else if (!child && cdev->dev->cls == &virtio_blk_class) {
		ret->blk = cdev->dev;
	}
	if (kind == SCSI_CD && !ret->unit)
		return qapi_error_set(
			error, QAPI_GENERIC_ERROR, "Device '%s' is not removable", name);
	if (!ret->unit && !ret->blk)
		return qapi_error_set(error, QAPI_GENERIC_ERROR,
			"'%s' is no disk: expected a virtio-blk, a scsi-hd, or a virtio-scsi with "
			"filename= or size=",
			name);
	return 0;
}

static int find_cd(struct qapi_call *call, const char *device, const char *id, struct medium *ret,
	struct qapi_error *error)
{
	if (!device == !id)
		return qapi_error_set(
			error, QAPI_GENERIC_ERROR, "Need exactly one of 'device' and 'id'");
	return find(call->ctx, device ? device : id, SCSI_CD, ret, error);
}

int control_cmd_block_resize(
	struct qapi_call *call, const char *device, int64_t size, struct qapi_error *error)
{
	struct medium medium;
	struct change *change;
	int r = find(call->ctx, device, SCSI_DISK, &medium, error);

	if (r < 0)
		return r;
	if (size <= 0)
		return qapi_error_set(
			error, QAPI_GENERIC_ERROR, "Parameter 'size' expects a >0 size");
	change = begin(call, &medium);
	if (medium.blk)
		r = blk_resize(medium.blk, (uint64_t)size, &change->media, &error->err);
	else
		r = scsi_unit_resize(medium.unit, (uint64_t)size, &change->media, &error->err);
	return begun(change, r);
}

int control_cmd_eject(struct qapi_call *call, const char *device, const char *id, bool has_force,
	bool force, struct qapi_error *error)
{
	struct medium medium;
	struct change *change;
	int r = find_cd(call, device, id, &medium, error);

	if (r < 0)
		return r;
	change = begin(call, &medium);
	return begun(change,
		scsi_unit_eject(medium.unit, has_force && force, &change->media, &error->err));
}

int control_cmd_blockdev_change_medium(struct qapi_call *call, const char *device, const char *id,
	const char *filename, const char *format, bool has_force, bool force,
	struct qapi_error *error)
{
	struct medium medium;
	struct change *change;
	int r = find_cd(call, device, id, &medium, error);

	if (r < 0)
		return r;
	if (format && strcmp(format, "raw") != 0)
		return qapi_error_set(error, QAPI_GENERIC_ERROR,
			"Unknown driver '%s': every image is 'raw' here", format);
	change = begin(call, &medium);
	return begun(change, scsi_unit_change_medium(medium.unit, filename, has_force && force,
				     &change->media, &error->err));
}

int control_cmd_blockdev_open_tray(struct qapi_call *call, const char *device, const char *id,
	bool has_force, bool force, struct qapi_error *error)
{
	struct medium medium;
	int r = find_cd(call, device, id, &medium, error);

	return r < 0 ? r : scsi_unit_move_tray(medium.unit, true, has_force && force, &error->err);
}

int control_cmd_blockdev_close_tray(
	struct qapi_call *call, const char *device, const char *id, struct qapi_error *error)
{
	struct medium medium;
	int r = find_cd(call, device, id, &medium, error);

	return r < 0 ? r : scsi_unit_move_tray(medium.unit, false, false, &error->err);
}
