/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Input devices of the host, through libevdev, which knows what the kernel tells of them and what
 * to do where it had to drop events. The library is loaded on first use.
 */
#include "backends/evdev.h"

#include <assert.h>
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <libevdev/libevdev.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/alloc.h"
#include "base/cleanup.h"
#include "base/host_open.h"

struct evdev {
	int fd;
	struct libevdev *dev;
	bool syncing; /* the kernel dropped something: differences come first */
	bool dry; /* the last read found nothing */
	int gone; /* the -errno of the end; 0: it is there */
	struct loop *loop; /* NULL: detached */
	struct loop_fd node;
	struct loop_work again; /* the library has read more than was taken from it */
	void (*ready)(void *opaque);
	void *opaque;
};

static struct {
	int (*new_from_fd)(int fd, struct libevdev **dev);
	void (*free)(struct libevdev *dev);
	int (*grab)(struct libevdev *dev, enum libevdev_grab_mode grab);
	const char *(*get_name)(const struct libevdev *dev);
	const char *(*get_uniq)(const struct libevdev *dev);
	int (*get_id_bustype)(const struct libevdev *dev);
	int (*get_id_vendor)(const struct libevdev *dev);
	int (*get_id_product)(const struct libevdev *dev);
	int (*get_id_version)(const struct libevdev *dev);
	int (*has_property)(const struct libevdev *dev, unsigned int prop);
	int (*has_event_code)(const struct libevdev *dev, unsigned int type, unsigned int code);
	const struct input_absinfo *(*get_abs_info)(const struct libevdev *dev, unsigned int code);
	int (*next_event)(struct libevdev *dev, unsigned int flags, struct input_event *ev);
	void (*set_log_priority)(enum libevdev_log_priority priority);
} lib;

static int load_library(struct err *err)
{
	static const struct {
		const char *name;
		void *place;
	} symbols[] = {
		{ "libevdev_new_from_fd", &lib.new_from_fd },
		{ "libevdev_free", &lib.free },
		{ "libevdev_grab", &lib.grab },
		{ "libevdev_get_name", &lib.get_name },
		{ "libevdev_get_uniq", &lib.get_uniq },
		{ "libevdev_get_id_bustype", &lib.get_id_bustype },
		{ "libevdev_get_id_vendor", &lib.get_id_vendor },
		{ "libevdev_get_id_product", &lib.get_id_product },
		{ "libevdev_get_id_version", &lib.get_id_version },
		{ "libevdev_has_property", &lib.has_property },
		{ "libevdev_has_event_code", &lib.has_event_code },
		{ "libevdev_get_abs_info", &lib.get_abs_info },
		{ "libevdev_next_event", &lib.next_event },
		{ "libevdev_set_log_priority", &lib.set_log_priority },
	};
	static void *handle;

	if (handle)
		return 0;
	handle = dlopen("libevdev.so.2", RTLD_NOW | RTLD_LOCAL);
	if (!handle)
		return err_set(
			err, -ENOENT, "evdev= needs libevdev (package libevdev2): %s", dlerror());
	for (size_t i = 0; i < ARRAY_SIZE(symbols); i++) {
		void *found = dlsym(handle, symbols[i].name);

		if (!found) {
			dlclose(handle);
			handle = NULL;
			return err_set(err, -ENOSYS,
				"evdev= needs another libevdev: this one has no %s",
				symbols[i].name);
		}
		memcpy(symbols[i].place, &found, sizeof(found));
	}
	/* It would print where our guest's console is. */
	lib.set_log_priority(LIBEVDEV_LOG_ERROR);
	return 0;
}

int evdev_open(const char *spec, struct evdev **ret, struct err *err)
{
	_cleanup_fd_ int fd = -1;
	struct libevdev *dev = NULL;
	int r = load_library(err);

	if (r < 0)
		return r;
	fd = host_open(spec, O_RDWR | O_NONBLOCK, 0, err);
	if (fd < 0)
		return fd;
	if (lib.new_from_fd(fd, &dev) < 0)
		return err_set(err, -EINVAL, "%s: is not an evdev device", spec);
	r = lib.grab(dev, LIBEVDEV_GRAB);
	if (r < 0) {
		lib.free(dev);
		return err_set(
			err, r, "%s: failed to get exclusive access: %s", spec, strerror(-r));
	}
	*ret = xnew(struct evdev);
	(*ret)->fd = take_fd(&fd);
	(*ret)->dev = dev;
	return 0;
}

void evdev_free(struct evdev *evdev)
{
	if (!evdev)
		return;
	assert(!evdev->loop);
	lib.free(evdev->dev);
	close_fd(&evdev->fd);
	free(evdev);
}

/* --- what it is --- */

const char *evdev_name(const struct evdev *evdev)
{
	const char *name = lib.get_name(evdev->dev);

	return name ? name : "";
}

const char *evdev_serial(const struct evdev *evdev)
{
	const char *serial = lib.get_uniq(evdev->dev);

	return serial ? serial : "";
}

struct evdev_ids evdev_ids(const struct evdev *evdev)
{
	return (struct evdev_ids){
		(uint16_t)lib.get_id_bustype(evdev->dev),
		(uint16_t)lib.get_id_vendor(evdev->dev),
		(uint16_t)lib.get_id_product(evdev->dev),
		(uint16_t)lib.get_id_version(evdev->dev),
	};
}

bool evdev_has_property(const struct evdev *evdev, unsigned int property)
{
	return lib.has_property(evdev->dev, property);
}

bool evdev_has_code(const struct evdev *evdev, unsigned int type, unsigned int code)
{
	return lib.has_event_code(evdev->dev, type, code);
}

struct evdev_axis evdev_axis(const struct evdev *evdev, unsigned int code)
{
	const struct input_absinfo *info = lib.get_abs_info(evdev->dev, code);

	if (!info)
		return (struct evdev_axis){ 0 };
	return (struct evdev_axis){ info->minimum, info->maximum, info->fuzz, info->flat,
		info->resolution };
}

/* --- what it sends, and is sent --- */

static void tell(struct evdev *evdev)
{
	evdev->ready(evdev->opaque);
	if (evdev->gone)
		loop_fd_del(&evdev->node);
	else if (!evdev->dry && evdev->loop)
		loop_work_add(evdev->loop, &evdev->again);
}

static void on_again(struct loop_work *work)
{
	tell(container_of(work, struct evdev, again));
}

static void on_event(struct loop_fd *node, uint32_t revents)
{
	struct evdev *evdev = container_of(node, struct evdev, node);

	/* What is left is read before the end is told. */
	if (revents & (EPOLLHUP | EPOLLERR) && !(revents & EPOLLIN))
		evdev->gone = -ENODEV;
	tell(evdev);
}

int evdev_attach(struct evdev *evdev, struct loop *loop, void (*ready)(void *opaque), void *opaque,
	struct err *err)
{
	struct evdev_event ignored;

	evdev->ready = ready;
	evdev->opaque = opaque;
	evdev->node.fd = evdev->fd;
	evdev->node.fn = on_event;
	evdev->again.fn = on_again;
	evdev->loop = loop;
	while (evdev_read(evdev, &ignored) > 0)
		;
	/* One that is gone stays silent. */
	return evdev->gone ? 0 : loop_fd_add(loop, &evdev->node, EPOLLIN, err);
}

bool evdev_is_gone(const struct evdev *evdev)
{
	return evdev->gone;
}

void evdev_detach(struct evdev *evdev)
{
	if (!evdev->loop)
		return;
	loop_fd_del(&evdev->node);
	loop_work_cancel(evdev->loop, &evdev->again);
	evdev->loop = NULL;
}

int evdev_read(struct evdev *evdev, struct evdev_event *ret)
{
	struct input_event event;
	int r = -EAGAIN;

	evdev->dry = false;
	while (!evdev->gone) {
		r = lib.next_event(evdev->dev,
			evdev->syncing ? LIBEVDEV_READ_FLAG_SYNC : LIBEVDEV_READ_FLAG_NORMAL,
			&event);
		if (r == -EINTR)
			continue;
		if (r < 0 && r != -EAGAIN)
			evdev->gone = r;
		if (r < 0 && !evdev->syncing)
			break;
		if (r < 0) {
			evdev->syncing = false;
			continue;
		}
		if (r == LIBEVDEV_READ_STATUS_SYNC && !evdev->syncing) {
			/* The event says only that some were dropped. */
			evdev->syncing = true;
			continue;
		}
		*ret = (struct evdev_event){ event.type, event.code, event.value };
		return 1;
	}
	evdev->dry = true;
	return evdev->gone;
}

void evdev_write(struct evdev *evdev, const struct evdev_event *event)
{
	const struct input_event events[] = {
		{ .type = event->type, .code = event->code, .value = event->value },
		{ .type = EV_SYN, .code = SYN_REPORT },
	};

	if (write(evdev->fd, events, sizeof(events)) < 0 && errno == ENODEV)
		evdev->gone = -ENODEV;
}
