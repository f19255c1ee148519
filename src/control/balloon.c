/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The balloon's commands and properties, with QEMU's names and sentences. Refuses to choose between
 * several balloons, and whatever needs a driver while there is none.
 */
#include "control/balloon.h"

#include <errno.h>
#include <inttypes.h>

#include "base/alloc.h"
#include "control/devices.h"
#include "control/internal.h"
#include "devices/balloon.h"

/* The balloon that @path names; without one the only one that there is. NULL, and an error. */
static struct vdev *find_balloon(struct control *ctl, const char *path, struct qapi_error *error)
{
	struct qom_object *obj = path ? qom_resolve(ctl->root, path, NULL) : NULL;
	struct vdev *found = NULL;

	for (struct control_device *cdev = ctl->devices; cdev; cdev = cdev->next) {
		if (!cdev->dev || cdev->dev->cls != &virtio_balloon_class)
			continue;
		if (path && (!obj || (obj != cdev->proxy && obj->vdev != cdev->dev)))
			continue;
		if (found) {
			qapi_error_set(error, QAPI_GENERIC_ERROR,
				"there are several balloons: path= has to name one");
			return NULL;
		}
		found = cdev->dev;
	}
	if (!found && path)
		qapi_error_set(error, QAPI_DEVICE_NOT_FOUND, "Path %s is no balloon", path);
	else if (!found)
		qapi_error_set(
			error, QAPI_DEVICE_NOT_ACTIVE, "No balloon device has been activated");
	return found;
}

int control_cmd_balloon(
	struct qapi_call *call, int64_t value, const char *path, struct qapi_error *error)
{
	struct vdev *dev = find_balloon(call->ctx, path, error);

	if (!dev)
		return -ENODEV;
	if (value <= 0)
		return qapi_error_set(
			error, QAPI_GENERIC_ERROR, "Parameter 'target' expects a size");
	return balloon_set_target(dev, (uint64_t)value, &error->err);
}

int control_cmd_query_balloon(struct qapi_call *call, const char *path, struct BalloonInfo **ret,
	struct qapi_error *error)
{
	struct vdev *dev = find_balloon(call->ctx, path, error);

	if (!dev)
		return -ENODEV;
	if (!(dev->status & VIRTIO_STATUS_DRIVER_OK))
		return qapi_error_set(error, QAPI_DEVICE_NOT_ACTIVE,
			"%s: no driver is there that could tell", vdev_label(dev));
	*ret = xnew(struct BalloonInfo);
	(*ret)->actual = (int64_t)balloon_actual_bytes(dev);
	return 0;
}

int control_cmd_balloon_reclaim_free(
	struct qapi_call *call, const char *path, struct qapi_error *error)
{
	struct vdev *dev = find_balloon(call->ctx, path, error);

	return dev ? balloon_reclaim_free(dev, &error->err) : -ENODEV;
}

/* --- properties --- */

/* By tag; QEMU's names, and in its manner those of the tags that it does not know. */
static const char *const stat_names[BALLOON_NUM_STATS] = {
	"stat-swap-in",
	"stat-swap-out",
	"stat-major-faults",
	"stat-minor-faults",
	"stat-free-memory",
	"stat-total-memory",
	"stat-available-memory",
	"stat-disk-caches",
	"stat-htlb-pgalloc",
	"stat-htlb-pgfail",
	"stat-oom-kills",
	"stat-alloc-stalls",
	"stat-async-scans",
	"stat-direct-scans",
	"stat-async-reclaims",
	"stat-direct-reclaims",
};

static struct vdev *vdev_of(struct qom_object *obj)
{
	return ((struct control_device *)obj->opaque)->dev;
}

static struct json_object *get_stats(struct qom_object *obj)
{
	struct json_object *ret = json_object_new_object(), *stats = json_object_new_object();
	struct balloon_stats now;
	bool whole = balloon_read_stats(vdev_of(obj), &now);

	/* What the driver did not tell is all ones, as in QEMU. */
	for (size_t i = 0; i < BALLOON_NUM_STATS; i++)
		json_object_object_add(stats, stat_names[i], json_object_new_uint64(now.value[i]));
	json_object_object_add(ret, "stats", stats);
	json_object_object_add(ret, "last-update", json_object_new_uint64(now.updated_s));
	if (!whole)
		json_object_object_add(ret, "torn", json_object_new_boolean(true));
	return ret;
}

static struct json_object *get_interval(struct qom_object *obj)
{
	return json_object_new_int64(balloon_polling(vdev_of(obj)));
}

static int set_interval(struct qom_object *obj, struct json_object *value, struct err *err)
{
	int64_t seconds;

	if (!json_object_is_type(value, json_type_int))
		return err_set(err, -EINVAL,
			"Invalid parameter type for 'guest-stats-polling-interval', expected: "
			"integer");
	seconds = json_object_get_int64(value);
	if (seconds < 0)
		return err_set(err, -EINVAL, "timer value must be greater than zero");
	if (seconds > UINT32_MAX)
		return err_set(err, -EINVAL, "timer value is too big");
	balloon_set_polling(vdev_of(obj), (uint32_t)seconds);
	return 0;
}

const struct qom_property control_balloon_properties[] = {
	CONTROL_DEVICE_PROPERTIES,
	{ "guest-stats", "guest statistics", get_stats },
	{ "guest-stats-polling-interval", "int", get_interval, set_interval },
	{ NULL },
};
