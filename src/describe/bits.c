/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The bits that belong to no device type: ring and transport features, vhost's own, the device
 * status, vhost-user's protocol features and descriptor flags. Each table is in list order.
 */
#include "describe/describe.h"

/* Virtio 1.4, "Reserved Feature Bits"; 24 and 27 are from its legacy sections. */
const struct describe_bit describe_ring_bits[] = {
	DESCRIBE_BIT(29, "VIRTIO_RING_F_EVENT_IDX", "Used & avail. event fields enabled"),
	DESCRIBE_BIT(28, "VIRTIO_RING_F_INDIRECT_DESC", "Indirect descriptors supported"),
	DESCRIBE_BIT(DESCRIBE_F_SUSPEND, "VIRTIO_F_SUSPEND", "Driver can suspend the device"),
	DESCRIBE_BIT(41, "VIRTIO_F_ADMIN_VQ", "Administration virtqueues exposed"),
	DESCRIBE_BIT(40, "VIRTIO_F_RING_RESET", "Driver can reset single queues"),
	DESCRIBE_BIT(39, "VIRTIO_F_NOTIF_CONFIG_DATA",
		"Driver notifies with the value that the device gave for the queue"),
	DESCRIBE_BIT(38, "VIRTIO_F_NOTIFICATION_DATA",
		"Driver passes ring positions in its notifications"),
	DESCRIBE_BIT(37, "VIRTIO_F_SR_IOV", "Single root I/O virtualization supported"),
	DESCRIBE_BIT(36, "VIRTIO_F_ORDER_PLATFORM",
		"Memory accesses need the barriers of the platform's devices"),
	DESCRIBE_BIT(
		35, "VIRTIO_F_IN_ORDER", "Buffers are used in the order they were made available"),
	DESCRIBE_BIT(34, "VIRTIO_F_RING_PACKED", "Packed virtqueue layout supported"),
	DESCRIBE_BIT(33, "VIRTIO_F_IOMMU_PLATFORM", "Device can be used on IOMMU platform"),
	DESCRIBE_BIT(DESCRIBE_F_VERSION_1, "VIRTIO_F_VERSION_1",
		"Device compliant for v1 spec (legacy)"),
	DESCRIBE_BIT(27, "VIRTIO_F_ANY_LAYOUT", "Device accepts arbitrary desc. layouts"),
	DESCRIBE_BIT(24, "VIRTIO_F_NOTIFY_ON_EMPTY",
		"Notify when device runs out of avail. descs. on VQ"),
};
const size_t describe_num_ring_bits = ARRAY_SIZE(describe_ring_bits);

const struct describe_bit describe_vhost_bits[] = {
	DESCRIBE_BIT(30, "VHOST_USER_F_PROTOCOL_FEATURES",
		"Vhost-user protocol features negotiation supported"),
	DESCRIBE_BIT(26, "VHOST_F_LOG_ALL", "Logging write descriptors supported"),
};
const size_t describe_num_vhost_bits = ARRAY_SIZE(describe_vhost_bits);

static const struct describe_bit status_bits[] = {
	DESCRIBE_BIT(0, "VIRTIO_CONFIG_S_ACKNOWLEDGE", "Valid virtio device found"),
	DESCRIBE_BIT(7, "VIRTIO_CONFIG_S_FAILED", "Error in guest, device failed"),
	DESCRIBE_BIT(6, "VIRTIO_CONFIG_S_NEEDS_RESET", "Irrecoverable error, device needs reset"),
	DESCRIBE_BIT(1, "VIRTIO_CONFIG_S_DRIVER", "Guest OS compatible with device"),
	DESCRIBE_BIT(3, "VIRTIO_CONFIG_S_FEATURES_OK", "Feature negotiation complete"),
	DESCRIBE_BIT(2, "VIRTIO_CONFIG_S_DRIVER_OK", "Driver setup and ready"),
};

static const struct describe_bit suspend_bit[] = {
	DESCRIBE_BIT(4, "VIRTIO_CONFIG_S_SUSPEND", "Device suspended by the driver"),
};

/* The vhost-user protocol document, "Protocol features". */
static const struct describe_bit protocol_bits[] = {
	DESCRIBE_BIT(23, "VHOST_USER_PROTOCOL_F_GET_VRING_BASE_SKIP_DRAIN",
		"A ring can be stopped without waiting for what is in flight"),
	DESCRIBE_BIT(22, "VHOST_USER_PROTOCOL_F_SHMEM", "Shared memory regions of the back-end"),
	DESCRIBE_BIT(
		21, "VHOST_USER_PROTOCOL_F_GPA_ADDRESSES", "Rings are named by guest addresses"),
	DESCRIBE_BIT(20, "VHOST_USER_PROTOCOL_F_GET_VRING_BASE_INFLIGHT",
		"A stopped ring may leave requests in flight"),
	DESCRIBE_BIT(19, "VHOST_USER_PROTOCOL_F_DEVICE_STATE",
		"Back-end state can be moved to another back-end"),
	DESCRIBE_BIT(18, "VHOST_USER_PROTOCOL_F_SHARED_OBJECT", "Objects shared between back-ends"),
	DESCRIBE_BIT(17, "VHOST_USER_PROTOCOL_F_XEN_MMAP", "Memory is mapped the way Xen needs it"),
	DESCRIBE_BIT(
		16, "VHOST_USER_PROTOCOL_F_STATUS", "Device status is told and asked by messages"),
	DESCRIBE_BIT(15, "VHOST_USER_PROTOCOL_F_CONFIGURE_MEM_SLOTS",
		"Configuration for memory slots supported"),
	DESCRIBE_BIT(14, "VHOST_USER_PROTOCOL_F_INBAND_NOTIFICATIONS",
		"Kicks and calls can be messages instead of fds"),
	DESCRIBE_BIT(13, "VHOST_USER_PROTOCOL_F_RESET_DEVICE", "Message that resets the device"),
	DESCRIBE_BIT(12, "VHOST_USER_PROTOCOL_F_INFLIGHT_SHMFD",
		"Requests in flight are tracked in shared memory"),
	DESCRIBE_BIT(11, "VHOST_USER_PROTOCOL_F_HOST_NOTIFIER",
		"Host notifiers for specified VQs supported"),
	DESCRIBE_BIT(10, "VHOST_USER_PROTOCOL_F_BACKEND_SEND_FD",
		"Back-end can pass fds in its requests"),
	DESCRIBE_BIT(9, "VHOST_USER_PROTOCOL_F_CONFIG",
		"Vhost-user messaging for virtio device configuration space supported"),
	DESCRIBE_BIT(8, "VHOST_USER_PROTOCOL_F_PAGEFAULT",
		"Request servicing on userfaultfd for accessed pages supported"),
	DESCRIBE_BIT(7, "VHOST_USER_PROTOCOL_F_CRYPTO_SESSION", "Messages for crypto sessions"),
	DESCRIBE_BIT(
		6, "VHOST_USER_PROTOCOL_F_CROSS_ENDIAN", "Byte order of a legacy ring can be set"),
	DESCRIBE_BIT(5, "VHOST_USER_PROTOCOL_F_BACKEND_REQ",
		"Socket fd for back-end initiated requests supported"),
	DESCRIBE_BIT(4, "VHOST_USER_PROTOCOL_F_NET_MTU", "Front-end tells the MTU"),
	DESCRIBE_BIT(
		3, "VHOST_USER_PROTOCOL_F_REPLY_ACK", "Requested operation status ack. supported"),
	DESCRIBE_BIT(
		2, "VHOST_USER_PROTOCOL_F_RARP", "Back-end can announce itself after a migration"),
	DESCRIBE_BIT(1, "VHOST_USER_PROTOCOL_F_LOG_SHMFD", "Shared log memory fd supported"),
	DESCRIBE_BIT(0, "VHOST_USER_PROTOCOL_F_MQ", "Multiqueue protocol supported"),
};

static void name_bits(struct describe_names *ret, const struct describe_bit *table, size_t num)
{
	for (size_t i = 0; i < num; i++) {
		uint64_t mask = UINT64_C(1) << table[i].bit;

		if (!(ret->unknown & mask))
			continue;
		ret->name[ret->num++] = table[i].string;
		ret->unknown &= ~mask;
	}
}

void describe_status(uint8_t status, const uint64_t *features, struct describe_names *ret)
{
	*ret = (struct describe_names){ .unknown = status };
	name_bits(ret, status_bits, ARRAY_SIZE(status_bits));
	if (features && describe_has_bit(features, DESCRIBE_F_SUSPEND))
		name_bits(ret, suspend_bit, ARRAY_SIZE(suspend_bit));
}

void describe_vhost_user_protocols(uint64_t word, struct describe_names *ret)
{
	*ret = (struct describe_names){ .unknown = word };
	name_bits(ret, protocol_bits, ARRAY_SIZE(protocol_bits));
}

static const struct describe_bit *find_bit(
	const struct describe_bit *table, size_t num, unsigned bit)
{
	for (size_t i = 0; i < num; i++)
		if (table[i].bit == bit)
			return &table[i];
	return NULL;
}

const struct describe_bit *describe_protocol_bit(unsigned bit)
{
	return find_bit(protocol_bits, ARRAY_SIZE(protocol_bits), bit);
}

const struct describe_bit *describe_feature_bit(
	const struct describe_type *type, unsigned bit, bool vhost_word, bool version_1)
{
	const struct describe_bit *own = type ? find_bit(type->features, type->num_features, bit)
					      : NULL;
	const struct describe_bit *ring = find_bit(describe_ring_bits, describe_num_ring_bits, bit);
	const struct describe_bit *vhost =
		vhost_word ? find_bit(describe_vhost_bits, describe_num_vhost_bits, bit) : NULL;

	/* As describe_features() has it. */
	if (ring && !(own && own->legacy && !version_1))
		return ring;
	return vhost ? vhost : own;
}

void describe_desc_flags(uint16_t flags, struct describe_names *ret)
{
	static const struct describe_bit flag_bits[] = {
		{ .bit = 15, .string = "used" },
		{ .bit = 7, .string = "avail" },
		{ .bit = 2, .string = "indirect" },
		{ .bit = 1, .string = "write" },
		{ .bit = 0, .string = "next" },
	};

	*ret = (struct describe_names){ .unknown = flags };
	name_bits(ret, flag_bits, ARRAY_SIZE(flag_bits));
}
