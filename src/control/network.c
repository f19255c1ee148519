/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * set_link: of our own network cards. Refuses devices that are none, and those whose rings somebody
 * else serves: what goes through them is not ours to drop.
 */
#include "control/network.h"

#include "control/devices.h"
#include "control/internal.h"
#include "devices/net.h"

int control_cmd_set_link(
	struct qapi_call *call, const char *name, bool up, struct qapi_error *error)
{
	struct control *ctl = call->ctx;
	struct control_device *cdev = control_device_of(ctl, control_find_object(ctl, name));

	if (!cdev || cdev->unplugging)
		return qapi_error_set(error, QAPI_DEVICE_NOT_FOUND, "Device '%s' not found", name);
	if (cdev->dev->cls != &virtio_net_class)
		return qapi_error_set(error, QAPI_GENERIC_ERROR,
			"Device '%s' is a %s: only a virtio-net has a link to switch", name,
			cdev->dev->cls->name);
	virtio_net_set_link(cdev->dev, up);
	return 0;
}
