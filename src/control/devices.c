/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Devices come and go: options to a realized device with its transport and its place in the tree,
 * and back again. Refuses, with QEMU's wording where QEMU has one, what is missing, unknown or
 * there already; a device that fails half-way leaves nothing behind.
 */
#include "control/devices.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/alloc.h"
#include "base/cleanup.h"
#include "base/host_open.h"
#include "base/log.h"
#include "base/value.h"
#include "control/balloon.h"
#include "control/children.h"
#include "control/crypto.h"
#include "control/input.h"
#include "control/internal.h"
#include "devices/balloon.h"
#include "devices/crypto.h"
#include "devices/input.h"
#include "devices/registry.h"
#include "inspect/vhost.h"
#include "vhost/relay.h"
#include "vhost/vhost.h"

const struct option_spec control_device_options[] = {
	{ "iothread", OPTION_STRING, offsetof(struct control_device_options, iothread), NULL, 0, 0,
		NULL, "id of the iothread object that serves the queues" },
	{ NULL },
};

static const char *const mapping_type[] = { "IOThreadVirtQueueMappingList", NULL };

static const struct option_spec mapping_options[] = {
	{ "iothread-vq-mapping", OPTION_JSON, offsetof(struct control_device_options, vq_mapping),
		NULL, 0, 0, mapping_type,
		"JSON syntax only: a list of iothreads and, with vqs, the queues of each" },
	{ NULL },
};

const struct option_spec *control_mapping_options(const struct vdev_class *cls)
{
	return cls->takes_vq_mapping ? mapping_options : NULL;
}

/* --- the tree --- */

struct json_object *control_device_get_realized(struct qom_object *obj)
{
	const struct control_device *cdev = obj->opaque;

	return json_object_new_boolean(cdev->dev->realized);
}

struct json_object *control_device_get_queue_threads(struct qom_object *obj)
{
	const struct control_device *cdev = obj->opaque;
	struct VirtQueueThreadList list = { 0 };
	struct json_object *ret;

	vq_mapping_threads(cdev->ctl, cdev->dev, &list);
	ret = qapi_to_json_VirtQueueThreadList(&list);
	qapi_clear_VirtQueueThreadList(&list);
	return ret;
}

static const struct qom_property device_properties[] = {
	CONTROL_DEVICE_PROPERTIES,
	{ NULL },
};

/* Classes that have more of them. */
static const struct {
	const struct vdev_class *cls;
	const struct qom_property *properties;
} class_properties[] = {
	{ &virtio_balloon_class, control_balloon_properties },
	{ &virtio_crypto_class, control_crypto_properties },
	{ &virtio_keyboard_class, control_input_properties },
	{ &virtio_mouse_class, control_input_properties },
	{ &virtio_multitouch_class, control_input_properties },
	{ &virtio_tablet_class, control_input_properties },
#ifdef HAVE_LIBEVDEV
	{ &virtio_input_host_class, control_input_host_properties },
#endif
};

const struct qom_property *control_device_properties(const struct vdev_class *cls)
{
	for (size_t i = 0; i < ARRAY_SIZE(class_properties); i++)
		if (class_properties[i].cls == cls)
			return class_properties[i].properties;
	return device_properties;
}

static void add_device_tables(struct control_device *cdev, struct qom_object *obj)
{
	obj->properties = control_device_properties(cdev->dev->cls);
	obj->opaque = cdev;
	qom_add_table(obj, cdev->dev->cls->options, cdev->dev);
	if (cdev->dev->cls->relayed)
		return;
	qom_add_table(obj, vdev_common_options, cdev->dev);
	if (cdev->dev->cls->handed_over)
		return;
	qom_add_table(obj, control_device_options, &cdev->options);
	qom_add_table(obj, control_mapping_options(cdev->dev->cls), &cdev->options);
}

static void add_to_tree(struct control_device *cdev)
{
	struct control *ctl = cdev->ctl;
	const struct vdev *dev = cdev->dev;
	_cleanup_free_ char *type = xasprintf("%s-device", dev->cls->name);
	_cleanup_free_ char *anon = NULL;
	struct qom_object *backend;

	if (!dev->id)
		anon = xasprintf("device[%u]", ctl->num_anon++);
	cdev->proxy = qom_add(
		dev->id ? ctl->peripheral : ctl->anon, dev->id ? dev->id : anon, dev->cls->name);
	add_device_tables(cdev, cdev->proxy);
	if (!dev->cls->relayed)
		qom_add_table(cdev->proxy, vhost_user_options, &cdev->transport);
	backend = qom_add(cdev->proxy, "virtio-backend", type);
	add_device_tables(cdev, backend);
	backend->vdev = cdev->dev;
}

/* --- adding --- */

/* A run that relays has one kind of device, which need not be named. */
static const struct vdev_class *find_class(struct control *ctl, const char *driver, struct err *err)
{
	const struct vdev_class *cls = NULL;

	if (ctl->config.relay && (!driver || !strcmp(driver, relay_class.name)))
		return &relay_class;
	if (ctl->config.relay)
		err_set(err, -ENODEV,
			"'%s' is not a valid device model name: here every device is a %s; what it "
			"relays is said by type=%s",
			driver, relay_class.name, driver);
	else if (!driver)
		err_set(err, -EINVAL, "Parameter 'driver' is missing");
	else if (!(cls = device_class_find(driver)) && !(cls = vhost_class_find(driver)))
		err_set(err, -ENODEV, "'%s' is not a valid device model name", driver);
	return cls;
}

static int check_new(struct control *ctl, struct json_object *args, const char **ret_id,
	const struct vdev_class **ret_cls, struct err *err)
{
	const char *driver = NULL, *bus = NULL;
	int r = value_get_str(args, "driver", &driver, err);

	/* Or the end would wait for devices that come as fast as others go. */
	if (ctl->quitting)
		return err_set(err, -ESHUTDOWN, "no device is added any more: this run is ending");
	if (r < 0 || value_get_str(args, "id", ret_id, err) < 0 ||
		value_get_str(args, "bus", &bus, err) < 0)
		return -EINVAL;
	if (!driver && !ctl->config.relay)
		return err_set(err, -EINVAL, "Parameter 'driver' is missing");
	if (*ret_id && !qom_id_well_formed(*ret_id))
		return err_set(err, -EINVAL, "Parameter 'id' expects an identifier");
	*ret_cls = find_class(ctl, driver, err);
	if (!*ret_cls)
		return -ENODEV;
	if (bus)
		return err_set(err, -ENODEV, "Bus '%s' not found", bus);
	if (*ret_id && qom_child(ctl->peripheral, *ret_id))
		return err_set(err, -EEXIST, "Duplicate device ID '%s'", *ret_id);
	return ctl->machine ? machine_check_hotplug(ctl->machine, err) : 0;
}

/* A relay's options are its class's, all of them. */
static int take_relay_options(
	struct control_device *cdev, struct json_object *args, struct err *err)
{
	const struct option_spec *const tables[] = { relay_class.options, NULL };
	const struct control_config *config = &cdev->ctl->config;
	uint16_t virtio_id = 0;
	int r;

	/* What the run says of all its relays. */
	if (config->relay_reconnect && !json_object_object_get_ex(args, "reconnect", NULL))
		json_object_object_add(args, "reconnect", json_object_new_boolean(true));
	if (config->relay_outage_ms && !json_object_object_get_ex(args, "outage-ms", NULL))
		json_object_object_add(
			args, "outage-ms", value_new_string(config->relay_outage_ms));
	r = options_take(relay_class.options, cdev->dev, args, err);
	if (!r)
		r = options_none_left("a relay", args, tables, err);
	if (!r && relay_type_option(cdev->dev))
		r = inspect_virtio_id(relay_type_option(cdev->dev), &virtio_id, err);
	if (!r)
		relay_set_virtio_id(cdev->dev, virtio_id);
	return r;
}

static int take_options(struct control_device *cdev, struct json_object *args, struct err *err)
{
	const struct vdev_class *cls = cdev->dev->cls;
	bool exported = !cdev->ctl->machine;
	const struct option_spec *mapping = control_mapping_options(cls);
	const struct option_spec *tables[6] = { cls->options, vdev_common_options };
	size_t num = 2;
	_cleanup_free_ char *what = xasprintf("device '%s'", cls->name);
	int r;

	json_object_object_del(args, "driver");
	json_object_object_del(args, "id");
	options_defaults(control_device_options, &cdev->options);
	options_defaults(vhost_user_options, &cdev->transport);
	if (cls->relayed)
		return take_relay_options(cdev, args, err);
	r = options_take(cls->options, cdev->dev, args, err);
	if (!r)
		r = options_take(vdev_common_options, cdev->dev, args, err);
	/* Of queues that our loops serve. */
	if (!cls->handed_over)
		tables[num++] = control_device_options;
	if (!r && !cls->handed_over)
		r = options_take(control_device_options, &cdev->options, args, err);
	if (!r)
		r = options_take(mapping, &cdev->options, args, err);
	if (!r && exported)
		r = options_take(vhost_user_options, &cdev->transport, args, err);
	if (mapping)
		tables[num++] = mapping;
	if (exported)
		tables[num++] = vhost_user_options;
	return r < 0 ? r : options_none_left(what, args, tables, err);
}

char *control_device_path(const struct control_device *cdev)
{
	_cleanup_free_ char *proxy = qom_path(cdev->proxy);

	return xasprintf("%s/virtio-backend", proxy);
}

static void free_device(struct control_device *cdev)
{
	struct control_device **at;

	for (at = &cdev->ctl->devices; *at && *at != cdev; at = &(*at)->next)
		;
	if (*at)
		*at = cdev->next;
	vq_mapping_deinit(&cdev->mapping);
	control_news_free(&cdev->news);
	free(cdev->watches);
	qom_free(cdev->proxy);
	options_free(control_device_options, &cdev->options);
	options_free(mapping_options, &cdev->options);
	options_free(vhost_user_options, &cdev->transport);
	free(cdev);
}

static int start_device(struct control_device *cdev, struct err *err)
{
	struct control *ctl = cdev->ctl;
	int r = vq_mapping_init(&cdev->mapping, ctl, cdev->dev, cdev->options.iothread,
		cdev->options.vq_mapping, err);

	if (!r)
		r = vdev_realize(cdev->dev, err);
	if (!r)
		r = vq_mapping_apply(&cdev->mapping, ctl, cdev->dev, err);
	if (r < 0)
		return r;
	vdev_set_vm_running(cdev->dev, ctl->running);
	if (cdev->dev->cls->relayed)
		return 0;
	if (ctl->machine)
		cdev->transport.listen = machine_socket_path(ctl->machine, ctl->num_sockets++);
	return vhost_user_attach(cdev->dev, &cdev->transport, err);
}

int control_device_add(struct control *ctl, struct json_object *args, struct err *err)
{
	_cleanup_value_ struct json_object *rest = NULL;
	const struct vdev_class *cls = NULL;
	struct control_device *cdev;
	const char *id = NULL, *driver = NULL;
	int r = value_get_str(args, "driver", &driver, err);

	if (r >= 0 && !ctl->config.relay && control_child_class(driver))
		return control_child_add(ctl, control_child_class(driver), args, err);
	if (r >= 0)
		r = check_new(ctl, args, &id, &cls, err);
	if (r < 0)
		return r;
	if (json_object_deep_copy(args, &rest, NULL) < 0)
		return err_set(err, -ENOMEM, "no memory for the options of a device");
	cdev = xnew(struct control_device);
	cdev->ctl = ctl;
	cdev->dev = vdev_new(cls, id, ctl->config.loop, &ctl->data_loop);
	control_child_prepare(ctl, cls, id, rest);
	r = take_options(cdev, rest, err);
	if (!r)
		r = start_device(cdev, err);
	if (r < 0) {
		/* None of its queues ever ran: it goes at once. */
		vdev_destroy(cdev->dev, NULL);
		free_device(cdev);
		return r;
	}
	add_to_tree(cdev);
	/* From now on its news have a name. */
	cdev->dev->owner = cdev;
	cdev->next = ctl->devices;
	ctl->devices = cdev;
	control_watch_wake(ctl);
	return 0;
}

int control_cmd_device_add(struct qapi_call *call, struct json_object *args,
	_unused_ struct json_object **ret, struct qapi_error *error)
{
	return control_device_add(call->ctx, args, &error->err);
}

/* --- removing --- */

static void on_gone(struct vdev_wait *wait)
{
	struct control_device *cdev = container_of(wait, struct control_device, gone);
	struct control *ctl = cdev->ctl;
	_cleanup_free_ char *proxy = qom_path(cdev->proxy);
	_cleanup_free_ char *backend = control_device_path(cdev);

	cdev->dev = NULL;
	control_children_gone(ctl, cdev);
	if (!ctl->quitting) {
		const char *name = cdev->proxy->parent == ctl->peripheral ? cdev->proxy->name
									  : NULL;

		control_emit(ctl, qapi_event_device_deleted(NULL, backend));
		control_emit(ctl, qapi_event_device_deleted(name, proxy));
	}
	free_device(cdev);
	control_check_finished(ctl);
}

static void on_unplug_work(struct loop_work *work)
{
	struct control_device *cdev = container_of(work, struct control_device, unplug_work);

	vdev_destroy(cdev->dev, &cdev->gone);
}

void control_device_remove(struct control_device *cdev)
{
	cdev->unplugging = true;
	cdev->gone.fn = on_gone;
	cdev->unplug_work.fn = on_unplug_work;
	/* Later, so that a reply goes out before the events. */
	loop_work_add(cdev->ctl->config.loop, &cdev->unplug_work);
}

void control_device_abandon(struct control_device *cdev)
{
	const char *path = cdev->transport.listen;
	int fd;

	log_warn("%s: requests in flight did not end", vdev_label(cdev->dev));
	if (path && !host_spec_fd(path, &fd))
		unlink(path);
}

struct qom_object *control_find_object(struct control *ctl, const char *id)
{
	return *id == '/' ? qom_resolve(ctl->root, id, NULL) : qom_child(ctl->peripheral, id);
}

static struct control_device *find_device(struct control *ctl, const struct qom_object *obj)
{
	for (struct control_device *cdev = ctl->devices; cdev; cdev = cdev->next) {
		if (obj && cdev->proxy == obj)
			return cdev;
	}
	return NULL;
}

struct control_device *control_device_of(struct control *ctl, const struct qom_object *obj)
{
	struct control_device *cdev = obj ? ctl->devices : NULL;

	while (cdev && cdev->proxy != obj && (!obj->vdev || cdev->dev != obj->vdev))
		cdev = cdev->next;
	return cdev;
}

int control_cmd_device_del(struct qapi_call *call, const char *id, struct qapi_error *error)
{
	struct control *ctl = call->ctx;
	struct qom_object *obj = control_find_object(ctl, id);
	struct control_device *cdev = find_device(ctl, obj);
	struct control_child *child = obj ? control_child_find(ctl, obj) : NULL;

	if (!cdev && !child)
		return qapi_error_set(error, QAPI_DEVICE_NOT_FOUND, "Device '%s' not found", id);
	if (cdev ? cdev->unplugging : child->unplugging)
		return qapi_error_set(error, QAPI_GENERIC_ERROR,
			"Device %s is already in the process of unplug", id);
	if (cdev)
		control_device_remove(cdev);
	else
		control_child_remove(child);
	return 0;
}
