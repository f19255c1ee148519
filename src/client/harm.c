/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Knows what QEMU's introspection does to which device type in which version (seen in 7.2, read in
 * the sources up to 10.2). What is not known to be harmless is refused.
 */
#include "client/harm.h"

#include <errno.h>
#include <string.h>

#include "base/value.h"

#define ANY_VERSION 65535

/* What serves the device's rings. */
enum backing {
	BACKING_VHOST_USER, /* always a vhost-user back-end */
	BACKING_VHOST_KERNEL, /* the kernel: its ring index can be read without a stop */
	BACKING_MAYBE, /* QEMU itself, or any vhost; its status tells */
};

/*
 * Types that are not QEMU's own devices. The status of a device whose back-end has started needs a
 * function that some types lack, and some had only in [from, below): there QEMU crashes. Device
 * types without a feature table end in an abort at any time.
 */
static const struct rule {
	const char *type;
	enum backing backing;
	unsigned int from, below; /* versions whose status query is safe */
	bool no_table;
} rules[] = {
	{ "vhost-user-blk", BACKING_VHOST_USER, 0, ANY_VERSION },
	{ "vhost-user-fs-device", BACKING_VHOST_USER, 0, ANY_VERSION },
	{ "vhost-user-vsock-device", BACKING_VHOST_USER, 0, ANY_VERSION },
	{ "vhost-user-gpu", BACKING_VHOST_USER, 0, ANY_VERSION },
	{ "vhost-user-rng", BACKING_VHOST_USER, 0, 900 },
	{ "vhost-user-input", BACKING_VHOST_USER, 0, 900 },
	{ "vhost-user-scsi", BACKING_VHOST_USER, 900, ANY_VERSION },
	{ "vhost-user-i2c-device", BACKING_VHOST_USER, 0, 0, true },
	{ "vhost-user-spi-device", BACKING_VHOST_USER, 0, 0, true },
	/* These take any device type that the user names. */
	{ "vhost-user-device", BACKING_VHOST_USER, 0, 0, true },
	{ "vhost-user-test-device", BACKING_VHOST_USER, 0, 0, true },
	{ "vhost-vsock-device", BACKING_VHOST_KERNEL, 0, ANY_VERSION },
	{ "vhost-scsi", BACKING_VHOST_KERNEL, 0, ANY_VERSION },
	{ "virtio-net-device", BACKING_MAYBE, 0, ANY_VERSION },
	{ "virtio-crypto-device", BACKING_MAYBE, 0, ANY_VERSION },
};

static const struct rule *find_rule(const char *type)
{
	/* gpio, sound, scmi and whatever comes: their base class lacks the function. */
	static const struct rule other_vhost_user = { "vhost-user-", BACKING_VHOST_USER, 0, 0 };
	static const struct rule other_vhost = { "vhost-", BACKING_VHOST_KERNEL, 0, 0 };

	for (size_t i = 0; i < ARRAY_SIZE(rules); i++)
		if (!strcmp(rules[i].type, type))
			return &rules[i];
	if (!strncmp(type, "vhost-user-", strlen("vhost-user-")))
		return &other_vhost_user;
	return strncmp(type, "vhost-", strlen("vhost-")) ? NULL : &other_vhost;
}

/* What carries a device is none itself: QEMU answers each query with that. */
static bool is_proxy(const char *type)
{
	return strstr(type, "-pci") || strstr(type, "-ccw");
}

int harm_check_type(enum harm_query query, const char *type, unsigned int version,
	bool *ret_ask_status, struct err *err)
{
	const struct rule *rule = find_rule(type);

	*ret_ask_status = false;
	if (is_proxy(type))
		return 0;
	if (query == HARM_ELEMENT)
		return err_set(err, -EPERM,
			"QEMU walks the descriptors of an element that may be long used, and on "
			"what "
			"it finds there it marks the device broken or aborts with the whole guest");
	if (!rule && strncmp(type, "virtio-", strlen("virtio-")) != 0)
		return err_set(err, -EPERM,
			"what this query does to QEMU's object type '%s' is not known", type);
	if (!rule)
		return 0;
	if (query == HARM_QUEUE && rule->backing == BACKING_VHOST_USER)
		return err_set(err, -EPERM,
			"QEMU asks the back-end of a %s for its ring base, which stops the ring, "
			"and "
			"the guest's requests hang",
			type);
	if (query == HARM_STATUS && rule->no_table)
		return err_set(err, -EPERM,
			"QEMU has no feature names for a %s and may abort with the whole guest",
			type);
	if (version < rule->from || version >= rule->below)
		return err_set(err, -EPERM,
			"this QEMU crashes with the whole guest when it is asked about a %s whose "
			"back-end has started",
			type);
	*ret_ask_status = query == HARM_QUEUE && rule->backing == BACKING_MAYBE;
	return 0;
}

int harm_check_vhost(struct json_object *status, struct err *err)
{
	struct json_object *started = NULL, *vhost = NULL, *cap = NULL;

	json_object_object_get_ex(status, "vhost-started", &started);
	if (json_object_is_type(started, json_type_boolean) && !json_object_get_boolean(started))
		return 0;
	json_object_object_get_ex(status, "vhost-dev", &vhost);
	/* Kernel back-ends have capabilities of their own kind; a vhost-user one has none. */
	if (json_object_object_get_ex(vhost, "backend-cap", &cap) &&
		json_object_get_int64(cap) != 0)
		return 0;
	return err_set(err, -EPERM,
		"the device uses a vhost back-end; if that is a vhost-user one, QEMU asks it for "
		"its "
		"ring base, which stops the ring, and the guest's requests hang");
}

static struct json_object *path_argument(const char *path)
{
	struct json_object *arguments = json_object_new_object();

	json_object_object_add(arguments, "path", value_new_string(path));
	return arguments;
}

/* The device's QOM type, a JSON string. -ENODEV: there is no such object. */
static int get_type(
	struct qmp_client *client, const char *path, struct json_object **ret, struct err *err)
{
	_cleanup_value_ struct json_object *arguments = path_argument(path);
	int r;

	json_object_object_add(arguments, "property", json_object_new_string("type"));
	r = qmp_client_execute(client, "qom-get", arguments, ret, err);
	if (r == -EREMOTEIO && !strcmp(qmp_client_error_class(client), "DeviceNotFound"))
		return -ENODEV;
	if (r == -EREMOTEIO)
		return err_prefix(err, -EPERM, "the device's type cannot be found out");
	if (r == 0 && !json_object_is_type(*ret, json_type_string))
		return err_set(err, -EPERM, "the device's type cannot be found out");
	return r;
}

int harm_check(struct qmp_client *client, enum harm_query query, const char *path, struct err *err)
{
	const struct qmp_client_server *server = qmp_client_server(client);
	_cleanup_value_ struct json_object *type = NULL, *status = NULL, *arguments = NULL;
	bool ask_status;
	int r;

	if (server->is_ringside)
		return 0;
	r = get_type(client, path, &type, err);
	if (r == -ENODEV) /* so the query has nothing to harm, and says it in the server's words */
		return 0;
	if (r < 0)
		return r;
	r = harm_check_type(query, json_object_get_string(type),
		server->major * 100 + server->minor, &ask_status, err);
	if (r < 0 || !ask_status)
		return r;
	arguments = path_argument(path);
	r = qmp_client_execute(client, "x-query-virtio-status", arguments, &status, err);
	if (r == -EREMOTEIO)
		return err_prefix(err, -EPERM, "the device's status cannot be read");
	return r < 0 ? r : harm_check_vhost(status, err);
}
