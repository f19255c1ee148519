/* SPDX-License-Identifier: BSD-3-Clause */
/* The table of device classes. */
#include "devices/registry.h"

#include <string.h>

#include "devices/balloon.h"
#include "devices/blk.h"
#include "devices/crypto.h"
#include "devices/input.h"
#include "devices/net.h"
#include "devices/rng.h"
#include "devices/scsi.h"
#include "devices/serial.h"
#include "devices/vsock.h"

const struct vdev_class *const device_classes[] = {
	&virtio_balloon_class,
	&virtio_blk_class,
	&virtio_crypto_class,
#ifdef HAVE_LIBEVDEV
	&virtio_input_host_class,
#endif
	&virtio_keyboard_class,
	&virtio_mouse_class,
	&virtio_multitouch_class,
	&virtio_net_class,
	&virtio_rng_class,
	&virtio_scsi_class,
	&virtio_serial_class,
	&virtio_tablet_class,
	&virtio_vsock_class,
	NULL,
};

const struct vdev_class *device_class_find(const char *name)
{
	for (size_t i = 0; device_classes[i]; i++) {
		if (!strcmp(device_classes[i]->name, name))
			return device_classes[i];
	}
	return NULL;
}
