/* SPDX-License-Identifier: BSD-3-Clause */
/* The crypto device's properties: numbers alone, nothing of a session. */
#include "control/crypto.h"

#include "control/devices.h"
#include "devices/crypto.h"

static struct json_object *get_sessions(struct qom_object *obj)
{
	struct vdev *dev = ((struct control_device *)obj->opaque)->dev;
	/* NULL: the device is about to go. */
	struct crypto_sessions *sessions = virtio_crypto_sessions(dev);

	return json_object_new_int64(sessions ? crypto_sessions_num(sessions) : 0);
}

const struct qom_property control_crypto_properties[] = {
	CONTROL_DEVICE_PROPERTIES,
	{ "sessions", "uint32", get_sessions },
	{ NULL },
};
