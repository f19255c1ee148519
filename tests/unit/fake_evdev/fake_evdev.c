/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * In the place of libevdev.so.2: the device is a socket, over which a test sends events and gets
 * what is written to the device. Like the library it reads more at once than it hands on.
 * SYN_DROPPED begins what the kernel had to drop, and FAKE_SYNCED ends it; FAKE_BUSY as the first
 * event is a device that somebody else has grabbed.
 */
#include "fake_evdev.h"

#include <errno.h>
#include <libevdev/libevdev.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#define BATCH 100

struct libevdev {
	int fd;
	size_t first, num; /* of the batch, what is not handed on yet */
	struct input_event batch[BATCH];
};

static const struct {
	unsigned int type, code;
} codes[] = { { EV_KEY, KEY_A }, { EV_KEY, KEY_MAX }, { EV_REL, REL_X }, { EV_ABS, ABS_Y },
	{ EV_MSC, MSC_SCAN }, { EV_SW, SW_LID }, { EV_LED, LED_CAPSL }, { EV_LED, LED_MAIL },
	{ EV_SND, SND_BELL }, { EV_REP, REP_DELAY }, { EV_FF, FF_RUMBLE } };

int libevdev_new_from_fd(int fd, struct libevdev **dev)
{
	int type;
	socklen_t len = sizeof(type);

	if (getsockopt(fd, SOL_SOCKET, SO_TYPE, &type, &len) < 0)
		return -errno;
	*dev = calloc(1, sizeof(**dev));
	(*dev)->fd = fd;
	return 0;
}

void libevdev_free(struct libevdev *dev)
{
	free(dev);
}

int libevdev_grab(struct libevdev *dev, enum libevdev_grab_mode grab)
{
	struct input_event first;

	if (grab != LIBEVDEV_GRAB)
		abort();
	if (recv(dev->fd, &first, sizeof(first), MSG_PEEK | MSG_DONTWAIT) == sizeof(first) &&
		first.type == FAKE_BUSY)
		return -EBUSY;
	return 0;
}

const char *libevdev_get_name(const struct libevdev *dev)
{
	(void)dev;
	return "Fake Device";
}

const char *libevdev_get_uniq(const struct libevdev *dev)
{
	(void)dev;
	return NULL;
}

int libevdev_get_id_bustype(const struct libevdev *dev)
{
	(void)dev;
	return BUS_USB;
}

int libevdev_get_id_vendor(const struct libevdev *dev)
{
	(void)dev;
	return 0x1234;
}

int libevdev_get_id_product(const struct libevdev *dev)
{
	(void)dev;
	return 0x5678;
}

int libevdev_get_id_version(const struct libevdev *dev)
{
	(void)dev;
	return 0x9abc;
}

int libevdev_has_property(const struct libevdev *dev, unsigned int prop)
{
	(void)dev;
	return prop == INPUT_PROP_POINTER;
}

int libevdev_has_event_code(const struct libevdev *dev, unsigned int type, unsigned int code)
{
	(void)dev;
	for (size_t i = 0; i < sizeof(codes) / sizeof(codes[0]); i++)
		if (codes[i].type == type && codes[i].code == code)
			return 1;
	return 0;
}

const struct input_absinfo *libevdev_get_abs_info(const struct libevdev *dev, unsigned int code)
{
	static const struct input_absinfo info = { 17, -100, 100, 3, 5, 40 };

	(void)dev;
	return code == ABS_Y ? &info : NULL;
}

static int fill(struct libevdev *dev)
{
	ssize_t n = recv(dev->fd, dev->batch, sizeof(dev->batch), MSG_DONTWAIT);

	if (n < 0)
		return -errno;
	dev->first = 0;
	dev->num = (size_t)n / sizeof(dev->batch[0]);
	return n ? 0 : -ENODEV;
}

int libevdev_next_event(struct libevdev *dev, unsigned int flags, struct input_event *ev)
{
	int r = dev->num ? 0 : fill(dev);

	if (r < 0)
		return r;
	*ev = dev->batch[dev->first++];
	dev->num--;
	if (ev->type == FAKE_SYNCED)
		return -EAGAIN;
	if (flags & LIBEVDEV_READ_FLAG_SYNC)
		return LIBEVDEV_READ_STATUS_SYNC;
	return ev->type == EV_SYN && ev->code == SYN_DROPPED ? LIBEVDEV_READ_STATUS_SYNC
							     : LIBEVDEV_READ_STATUS_SUCCESS;
}

void libevdev_set_log_priority(enum libevdev_log_priority priority)
{
	(void)priority;
}
