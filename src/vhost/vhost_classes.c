/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The classes of devices whose rings somebody else serves: a row each. Types that have no row of
 * their own are vhost-user-device's, with virtio-id=.
 */
#include <ctype.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/if.h>
#include <linux/if_tun.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>

#include "base/cleanup.h"
#include "base/host_open.h"
#include "vhost/vhost.h"
#include "vhost/vhost_dev.h"

#define BIT(n)	    (1ull << (n))
#define FIELD(name) offsetof(struct vhost_dev, name)

/* Bytes of the largest configuration spaces that back-ends of the kind know; some refuse more. */
#define BLK_CONFIG_BYTES 60
#define FS_TAG_BYTES	 36
#define MAC_BYTES	 6

/* virtio 1.3, "Network Device", "Feature bits". */
#define NET_F_MAC 5
#define NET_F_MQ  22
/* Of the interface: checksums and segments, both ways. */
#define NET_TAP_FEATURES (BIT(0) | BIT(1) | BIT(7) | BIT(8) | BIT(9) | BIT(11) | BIT(12) | BIT(13))
/*
 * What needs a control queue, and a space that tells of a link: back-ends have neither, whoever
 * stands before them makes it up.
 */
#define NET_WITHOUT                                                                    \
	(BIT(2) | BIT(3) | BIT(16) | BIT(17) | BIT(18) | BIT(19) | BIT(20) | BIT(21) | \
		BIT(NET_F_MQ) | BIT(23) | BIT(57) | BIT(60) | BIT(63))
/* The bit that in the kernel's word is another one: VHOST_NET_F_VIRTIO_NET_HDR. */
#define NET_KERNEL_WITHOUT (NET_WITHOUT | BIT(VIRTIO_F_ANY_LAYOUT))

/* --- options --- */

#define NUM_QUEUES_OPTION                                                                          \
	{                                                                                          \
		"num-queues", OPTION_U32, FIELD(num_queues), "0", 0, VHOST_QUEUES_MAX, NULL,       \
			"how many queues it has; 0: as many as its kind has, or the back-end says" \
	}

#define USER_OPTIONS                                                                           \
	{ "connect", OPTION_STRING, FIELD(connect), NULL, 0, 0, NULL,                          \
		"the unix socket of the back-end that serves its rings, or fd=N" },            \
		NUM_QUEUES_OPTION,                                                             \
		{ "reconnect", OPTION_BOOL, FIELD(reconnect), "on", 0, 0, NULL,                \
			"dial the back-end again when it goes away" },                         \
	{                                                                                      \
		"watch", OPTION_BOOL, FIELD(watch), "off", 0, 0, NULL,                         \
			"look at the rings now and then, to go on with them after a back-end " \
			"without a record"                                                     \
	}

#define PATH_OPTION(def)                                             \
	{                                                            \
		"path", OPTION_STRING, FIELD(path), def, 0, 0, NULL, \
			"the kernel's device, a path or fd=N"        \
	}

static const struct option_spec user_options[] = { USER_OPTIONS, { NULL } };

static const struct option_spec fs_options[] = {
	USER_OPTIONS,
	{ "tag", OPTION_STRING, FIELD(tag), NULL, 0, 0, NULL,
		"the name by which the guest mounts it, where the back-end tells none" },
	{ NULL },
};

static const struct option_spec net_options[] = {
	USER_OPTIONS,
	{ "mac", OPTION_STRING, FIELD(mac), NULL, 0, 0, NULL,
		"the guest's address, 52:54:00:12:34:56; else the guest takes one" },
	{ NULL },
};

static const struct option_spec any_options[] = {
	USER_OPTIONS,
	{ "virtio-id", OPTION_U32, FIELD(virtio_id), "0", 0, UINT16_MAX, NULL,
		"the number of its type" },
	{ "config-size", OPTION_U32, FIELD(config_size), "0", 0, VDEV_CONFIG_MAX, NULL,
		"bytes of its configuration space" },
	{ NULL },
};

static const struct option_spec vsock_options[] = {
	{ "guest-cid", OPTION_U32, FIELD(guest_cid), "0", 0, 0, NULL,
		"the guest's address, from 3 on" },
	PATH_OPTION("/dev/vhost-vsock"),
	{ NULL },
};

static const struct option_spec kernel_net_options[] = {
	{ "ifname", OPTION_STRING, FIELD(ifname), NULL, 0, 0, NULL,
		"the tap interface, which is made where there is none" },
	{ "tapfd", OPTION_STRING, FIELD(tapfd), NULL, 0, 0, NULL,
		"a tap that is open already, with IFF_VNET_HDR: fd=N" },
	{ "mac", OPTION_STRING, FIELD(mac), NULL, 0, 0, NULL,
		"the guest's address; else the guest takes one" },
	PATH_OPTION("/dev/vhost-net"),
	{ NULL },
};

static const struct option_spec kernel_scsi_options[] = {
	{ "wwpn", OPTION_STRING, FIELD(wwpn), NULL, 0, 0, NULL,
		"the target in the kernel's configuration: naa.5001405..." },
	PATH_OPTION("/dev/vhost-scsi"),
	{ NULL },
};

/* --- dialling --- */

static int prepare_user(struct vhost_dev *vd, struct err *err)
{
	int fd;

	if (!vd->connect)
		return err_set(err, -EINVAL,
			"%s: connect= is missing: the socket of the back-end that serves its rings",
			vd->cls.name);
	if (host_spec_fd(vd->connect, &fd))
		vd->reconnect = false;
	vd->where = vd->connect;
	return 0;
}

static int dial_user(struct vhost_dev *vd, struct err *err)
{
	return host_connect_unix(vd->connect, err);
}

static int prepare_any(struct vhost_dev *vd, struct err *err)
{
	if (!vd->virtio_id)
		return err_set(err, -EINVAL,
			"%s: virtio-id= is missing: the number of its type (2 is a disk)",
			vd->cls.name);
	vd->cls.virtio_id = (uint16_t)vd->virtio_id;
	vd->cls.config_bytes = vd->config_size;
	return prepare_user(vd, err);
}

static int prepare_fs(struct vhost_dev *vd, struct err *err)
{
	if (vd->tag && (!*vd->tag || strlen(vd->tag) > FS_TAG_BYTES))
		return err_set(
			err, -EINVAL, "tag=%s: expected 1 to %d bytes", vd->tag, FS_TAG_BYTES);
	return prepare_user(vd, err);
}

static int parse_mac(const char *text, uint8_t *ret)
{
	for (unsigned int i = 0; i < MAC_BYTES; i++, text += 3) {
		unsigned int byte;

		if (!isxdigit(text[0]) || !isxdigit(text[1]) ||
			text[2] != (i + 1 < MAC_BYTES ? ':' : '\0') ||
			sscanf(text, "%2x", &byte) != 1)
			return -EINVAL;
		ret[i] = (uint8_t)byte;
	}
	return ret[0] & 1 ? -EINVAL : 0;
}

static int take_mac(struct vhost_dev *vd, struct err *err)
{
	if (!vd->mac)
		return 0;
	if (parse_mac(vd->mac, vd->config) < 0)
		return err_set(err, -EINVAL,
			"mac=%s: expected an address of one station, as 52:54:00:12:34:56",
			vd->mac);
	vd->extra_features |= BIT(NET_F_MAC);
	return 0;
}

static int prepare_net(struct vhost_dev *vd, struct err *err)
{
	int r = take_mac(vd, err);

	return r < 0 ? r : prepare_user(vd, err);
}

static int dial_kernel(struct vhost_dev *vd, struct err *err)
{
	return host_open(vd->path, O_RDWR, 0, err);
}

static void prepare_kernel(struct vhost_dev *vd)
{
	vd->where = vd->path;
	vd->target.num_served = vd->type->num_served ? vd->type->num_served : vd->type->num_queues;
}

static int prepare_vsock(struct vhost_dev *vd, struct err *err)
{
	/* 0 to 2 are the hypervisor, the local one and the host. */
	if (vd->guest_cid < 3 || vd->guest_cid == UINT32_MAX)
		return err_set(err, -EINVAL,
			"guest-cid=%u: expected the guest's address, from 3 on", vd->guest_cid);
	prepare_kernel(vd);
	vd->target.guest_cid = vd->guest_cid;
	return 0;
}

static int prepare_scsi(struct vhost_dev *vd, struct err *err)
{
	if (!vd->wwpn)
		return err_set(
			err, -EINVAL, "%s: wwpn= is missing: the target's name", vd->cls.name);
	prepare_kernel(vd);
	vd->target.wwpn = vd->wwpn;
	return 0;
}

static int open_tap(struct vhost_dev *vd, struct err *err)
{
	struct ifreq request = { .ifr_flags = IFF_TAP | IFF_NO_PI | IFF_VNET_HDR };
	_cleanup_fd_ int fd = host_open(vd->tapfd ? vd->tapfd : "/dev/net/tun", O_RDWR, 0, err);
	/* With virtio 1 a header always has room for the number of buffers. */
	int header_bytes = 12;

	if (fd < 0)
		return fd;
	if (vd->ifname) {
		if (strlen(vd->ifname) >= sizeof(request.ifr_name))
			return err_set(err, -EINVAL, "ifname=%s: expected at most %zu bytes",
				vd->ifname, sizeof(request.ifr_name) - 1);
		memcpy(request.ifr_name, vd->ifname, strlen(vd->ifname));
		if (ioctl(fd, TUNSETIFF, &request) < 0)
			return err_set(err, -errno, "ifname=%s: %s", vd->ifname, strerror(errno));
	}
	if (ioctl(fd, TUNSETVNETHDRSZ, &header_bytes) < 0)
		return err_set(err, -errno, "%s=%s: it is no tap with headers (IFF_VNET_HDR): %s",
			vd->ifname ? "ifname" : "tapfd", vd->ifname ? vd->ifname : vd->tapfd,
			strerror(errno));
	return take_fd(&fd);
}

static int prepare_kernel_net(struct vhost_dev *vd, struct err *err)
{
	int r = take_mac(vd, err);

	if (r < 0)
		return r;
	if (!vd->ifname == !vd->tapfd)
		return err_set(err, -EINVAL, "%s: expected %s of ifname= and tapfd=", vd->cls.name,
			vd->ifname ? "only one" : "one");
	prepare_kernel(vd);
	vd->target.tap_fd = open_tap(vd, err);
	vd->extra_features |= NET_TAP_FEATURES;
	return vd->target.tap_fd < 0 ? vd->target.tap_fd : 0;
}

/* --- spaces that no back-end tells --- */

static int no_config(_unused_ struct vhost_dev *vd, _unused_ struct err *err)
{
	return 0;
}

static int fs_config(struct vhost_dev *vd, struct err *err)
{
	le32 queues = le32_make(vd->num_queues - 1);

	if (!vd->tag)
		return err_set(err, -EINVAL,
			"%s: the back-end on %s tells no tag: tag= does, the name by which the "
			"guest mounts it",
			vd->cls.name, vd->where);
	memcpy(vd->config, vd->tag, strlen(vd->tag));
	memcpy(vd->config + FS_TAG_BYTES, &queues, sizeof(queues));
	return 0;
}

static int vsock_config(struct vhost_dev *vd, _unused_ struct err *err)
{
	le64 cid = le64_make(vd->guest_cid);

	memcpy(vd->config, &cid, sizeof(cid));
	return 0;
}

/* virtio 1.3, "SCSI Host Device", "Device configuration layout": what all its back-ends can. */
static int scsi_config(struct vhost_dev *vd, _unused_ struct err *err)
{
	const struct {
		le32 num_queues, seg_max, max_sectors, cmd_per_lun, event_info_size, sense_size,
			cdb_size;
		le16 max_channel, max_target;
		le32 max_lun;
	} config = {
		.num_queues = le32_make(vd->num_queues - 2),
		.seg_max = le32_make(126),
		.max_sectors = le32_make(0xffff),
		.cmd_per_lun = le32_make(128),
		.event_info_size = le32_make(16),
		.sense_size = le32_make(96),
		.cdb_size = le32_make(32),
		.max_target = le16_make(255),
		.max_lun = le32_make(16383),
	};

	_Static_assert(sizeof(config) == 36, "as in the specification");
	memcpy(vd->config, &config, sizeof(config));
	return 0;
}

/* --- the rows --- */

#define CLASS(cls_name, id, bytes, opts, text)                                                   \
	{                                                                                        \
		.name = cls_name, .description = text, .virtio_id = id, .handed_over = true,     \
		.instance_bytes = sizeof(struct vhost_dev), .config_bytes = bytes,               \
		.options = opts, .realize = vhost_dev_realize, .unrealize = vhost_dev_unrealize, \
		.get_config = vhost_dev_get_config, .set_config = vhost_dev_set_config,          \
		.reset = vhost_dev_reset                                                         \
	}

#define USER(kind, id, bytes, queues)                                                      \
	{                                                                                  \
		.cls = CLASS("vhost-user-" kind, id, bytes, user_options,                  \
			"rings served by a vhost-user back-end"),                          \
		.ops = &vhost_user_backend, .num_queues = queues, .prepare = prepare_user, \
		.dial = dial_user                                                          \
	}

static const struct vhost_type types[] = {
	{
		.cls = CLASS("vhost-user-blk", 2, BLK_CONFIG_BYTES, user_options,
			"a disk that a vhost-user back-end serves"),
		.ops = &vhost_user_backend,
		.num_queues = 1,
		.as_many = true,
		.prepare = prepare_user,
		.dial = dial_user,
	},
	{
		.cls = CLASS("vhost-user-net", 1, 12, net_options,
			"a network device that a vhost-user back-end serves"),
		.ops = &vhost_user_backend,
		.num_queues = 2,
		.without = NET_WITHOUT,
		.prepare = prepare_net,
		.dial = dial_user,
		.make_config = no_config,
	},
	{
		.cls = CLASS("vhost-user-fs", 26, 40, fs_options,
			"a file system that a vhost-user back-end serves"),
		.ops = &vhost_user_backend,
		.num_queues = 2,
		.prepare = prepare_fs,
		.dial = dial_user,
		.make_config = fs_config,
	},
	{
		.cls = CLASS("vhost-user-scsi", 8, 36, user_options,
			"a SCSI host that a vhost-user back-end serves"),
		.ops = &vhost_user_backend,
		.num_queues = 3,
		.prepare = prepare_user,
		.dial = dial_user,
		.make_config = scsi_config,
	},
	USER("console", 3, 12, 2),
	USER("rng", 4, 0, 1),
	USER("balloon", 5, 16, 2),
	USER("rpmsg", 7, 0, 2),
	USER("9p", 9, 0, 1),
	USER("rproc-serial", 11, 0, 2),
	USER("gpu", 16, 16, 2),
	USER("rtc", 17, 0, 2),
	USER("input", 18, 136, 2),
	USER("vsock", 19, 8, 3),
	USER("crypto", 20, 56, 2),
	USER("iommu", 23, 40, 2),
	USER("mem", 24, 56, 1),
	USER("snd", 25, 12, 4),
	USER("pmem", 27, 16, 1),
	USER("rpmb", 28, 3, 1),
	USER("scmi", 32, 0, 2),
	USER("i2c", 34, 0, 1),
	USER("can", 36, 2, 3),
	USER("bt", 40, 1, 2),
	USER("gpio", 41, 8, 2),
	USER("spi", 45, 32, 1),
	USER("media", 48, 40, 2),
	{
		.cls = CLASS("vhost-user-device", 0, 0, any_options,
			"any type of device that a vhost-user back-end serves"),
		.ops = &vhost_user_backend,
		.as_many = true,
		.prepare = prepare_any,
		.dial = dial_user,
	},
	{
		.cls = CLASS("vhost-vsock", 19, 8, vsock_options,
			"sockets between guest and host that the kernel serves"),
		.ops = &vhost_vsock_backend,
		.num_queues = 3,
		.num_served = 2,
		.prepare = prepare_vsock,
		.dial = dial_kernel,
		.make_config = vsock_config,
	},
	{
		.cls = CLASS("vhost-net", 1, 12, kernel_net_options,
			"a network device on a tap that the kernel serves"),
		.ops = &vhost_net_backend,
		.num_queues = 2,
		.without = NET_KERNEL_WITHOUT,
		.prepare = prepare_kernel_net,
		.dial = dial_kernel,
		.make_config = no_config,
	},
	{
		.cls = CLASS("vhost-scsi", 8, 36, kernel_scsi_options,
			"a SCSI host that the kernel serves"),
		.ops = &vhost_scsi_backend,
		.num_queues = 3,
		.prepare = prepare_scsi,
		.dial = dial_kernel,
		.make_config = scsi_config,
	},
};

const struct vdev_class *vhost_class_at(size_t row)
{
	return row < ARRAY_SIZE(types) ? &types[row].cls : NULL;
}

const struct vdev_class *vhost_class_find(const char *name)
{
	for (size_t i = 0; i < ARRAY_SIZE(types); i++)
		if (!strcmp(types[i].cls.name, name))
			return &types[i].cls;
	return NULL;
}
