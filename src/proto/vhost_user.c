/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The protocol as tables. Refuses what is short, over-long, has surplus or missing descriptors, or
 * counts that disagree with its size. Limits that depend on a device are not known here.
 */
#include "proto/vhost_user.h"

#include <stdio.h>

#define U64	       sizeof(struct vhu_u64), sizeof(struct vhu_u64)
#define STATE	       sizeof(struct vhu_vring_state), sizeof(struct vhu_vring_state)
#define REGION	       sizeof(struct vhu_mem_region), sizeof(struct vhu_mem_region)
#define INFLIGHT       VHU_INFLIGHT_MIN_BYTES, sizeof(struct vhu_inflight)
#define EMPTY	       0, 0
#define NO_FDS	       0, 0
#define ONE_FD	       1, 1
#define AT_MOST_ONE_FD 0, 1

/* Requests that are known by name only are refused by whoever answers; their shape is loose. */
#define UNCHECKED 0, VHU_PAYLOAD_MAX, 0, VHU_FDS_MAX

static const struct vhu_rule rules[VHU_REQUEST_END] = {
	[VHU_GET_FEATURES] = { "GET_FEATURES", EMPTY, NO_FDS, VHU_REPLY_OWN, -1 },
	[VHU_SET_FEATURES] = { "SET_FEATURES", U64, NO_FDS, VHU_REPLY_ACK, -1 },
	[VHU_SET_OWNER] = { "SET_OWNER", EMPTY, NO_FDS, VHU_REPLY_ACK, -1 },
	[VHU_RESET_OWNER] = { "RESET_OWNER", EMPTY, NO_FDS, VHU_REPLY_ACK, -1 },
	[VHU_SET_MEM_TABLE] = { "SET_MEM_TABLE", 8, sizeof(struct vhu_mem_table), 0,
		VHU_REGIONS_MAX, VHU_REPLY_ACK, -1 },
	[VHU_SET_LOG_BASE] = { "SET_LOG_BASE", sizeof(struct vhu_log), sizeof(struct vhu_log),
		ONE_FD, VHU_REPLY_OWN, VHU_PF_LOG_SHMFD },
	/* Some send the payload of the kick descriptors along, flag included. */
	[VHU_SET_LOG_FD] = { "SET_LOG_FD", 0, sizeof(struct vhu_u64), AT_MOST_ONE_FD, VHU_REPLY_ACK,
		VHU_PF_LOG_SHMFD },
	[VHU_SET_VRING_NUM] = { "SET_VRING_NUM", STATE, NO_FDS, VHU_REPLY_ACK, -1 },
	[VHU_SET_VRING_ADDR] = { "SET_VRING_ADDR", sizeof(struct vhu_vring_addr),
		sizeof(struct vhu_vring_addr), NO_FDS, VHU_REPLY_ACK, -1 },
	[VHU_SET_VRING_BASE] = { "SET_VRING_BASE", STATE, NO_FDS, VHU_REPLY_ACK, -1 },
	[VHU_GET_VRING_BASE] = { "GET_VRING_BASE", STATE, NO_FDS, VHU_REPLY_OWN, -1 },
	[VHU_SET_VRING_KICK] = { "SET_VRING_KICK", U64, AT_MOST_ONE_FD, VHU_REPLY_ACK, -1 },
	[VHU_SET_VRING_CALL] = { "SET_VRING_CALL", U64, AT_MOST_ONE_FD, VHU_REPLY_ACK, -1 },
	[VHU_SET_VRING_ERR] = { "SET_VRING_ERR", U64, AT_MOST_ONE_FD, VHU_REPLY_ACK, -1 },
	[VHU_GET_PROTOCOL_FEATURES] = { "GET_PROTOCOL_FEATURES", EMPTY, NO_FDS, VHU_REPLY_OWN, -1 },
	[VHU_SET_PROTOCOL_FEATURES] = { "SET_PROTOCOL_FEATURES", U64, NO_FDS, VHU_REPLY_ACK, -1 },
	/* Some ask before they acknowledge MQ. */
	[VHU_GET_QUEUE_NUM] = { "GET_QUEUE_NUM", EMPTY, NO_FDS, VHU_REPLY_OWN, -1 },
	[VHU_SET_VRING_ENABLE] = { "SET_VRING_ENABLE", STATE, NO_FDS, VHU_REPLY_ACK, -1 },
	[VHU_SEND_RARP] = { "SEND_RARP", UNCHECKED, VHU_REPLY_ACK, VHU_PF_RARP },
	[VHU_NET_SET_MTU] = { "NET_SET_MTU", UNCHECKED, VHU_REPLY_ACK, VHU_PF_NET_MTU },
	[VHU_SET_BACKEND_REQ_FD] = { "SET_BACKEND_REQ_FD", EMPTY, ONE_FD, VHU_REPLY_ACK,
		VHU_PF_BACKEND_REQ },
	[VHU_IOTLB_MSG] = { "IOTLB_MSG", UNCHECKED, VHU_REPLY_ACK, -1 },
	[VHU_SET_VRING_ENDIAN] = { "SET_VRING_ENDIAN", UNCHECKED, VHU_REPLY_ACK,
		VHU_PF_CROSS_ENDIAN },
	[VHU_GET_CONFIG] = { "GET_CONFIG", VHU_CONFIG_HEADER_BYTES, sizeof(struct vhu_config),
		NO_FDS, VHU_REPLY_OWN, VHU_PF_CONFIG },
	[VHU_SET_CONFIG] = { "SET_CONFIG", VHU_CONFIG_HEADER_BYTES, sizeof(struct vhu_config),
		NO_FDS, VHU_REPLY_ACK, VHU_PF_CONFIG },
	/* Its form is a version's of QEMU: who answers has to know it, who passes it on has not. */
	[VHU_CREATE_CRYPTO_SESSION] = { "CREATE_CRYPTO_SESSION", 0, VHU_PAYLOAD_MAX, NO_FDS,
		VHU_REPLY_OWN, VHU_PF_CRYPTO_SESSION },
	[VHU_CLOSE_CRYPTO_SESSION] = { "CLOSE_CRYPTO_SESSION", U64, NO_FDS, VHU_REPLY_ACK,
		VHU_PF_CRYPTO_SESSION },
	[VHU_POSTCOPY_ADVISE] = { "POSTCOPY_ADVISE", UNCHECKED, VHU_REPLY_OWN, VHU_PF_PAGEFAULT },
	[VHU_POSTCOPY_LISTEN] = { "POSTCOPY_LISTEN", UNCHECKED, VHU_REPLY_ACK, VHU_PF_PAGEFAULT },
	[VHU_POSTCOPY_END] = { "POSTCOPY_END", UNCHECKED, VHU_REPLY_OWN, VHU_PF_PAGEFAULT },
	[VHU_GET_INFLIGHT_FD] = { "GET_INFLIGHT_FD", INFLIGHT, NO_FDS, VHU_REPLY_OWN,
		VHU_PF_INFLIGHT_SHMFD },
	[VHU_SET_INFLIGHT_FD] = { "SET_INFLIGHT_FD", INFLIGHT, ONE_FD, VHU_REPLY_ACK,
		VHU_PF_INFLIGHT_SHMFD },
	[VHU_GPU_SET_SOCKET] = { "GPU_SET_SOCKET", UNCHECKED, VHU_REPLY_ACK, -1 },
	[VHU_RESET_DEVICE] = { "RESET_DEVICE", EMPTY, NO_FDS, VHU_REPLY_ACK, VHU_PF_RESET_DEVICE },
	[VHU_VRING_KICK] = { "VRING_KICK", STATE, NO_FDS, VHU_REPLY_ACK,
		VHU_PF_INBAND_NOTIFICATIONS },
	[VHU_GET_MAX_MEM_SLOTS] = { "GET_MAX_MEM_SLOTS", EMPTY, NO_FDS, VHU_REPLY_OWN,
		VHU_PF_CONFIGURE_MEM_SLOTS },
	[VHU_ADD_MEM_REG] = { "ADD_MEM_REG", REGION, ONE_FD, VHU_REPLY_ACK,
		VHU_PF_CONFIGURE_MEM_SLOTS },
	/* Older front-ends send a descriptor along, which nobody needs. */
	[VHU_REM_MEM_REG] = { "REM_MEM_REG", REGION, AT_MOST_ONE_FD, VHU_REPLY_ACK,
		VHU_PF_CONFIGURE_MEM_SLOTS },
	[VHU_SET_STATUS] = { "SET_STATUS", U64, NO_FDS, VHU_REPLY_ACK, VHU_PF_STATUS },
	[VHU_GET_STATUS] = { "GET_STATUS", EMPTY, NO_FDS, VHU_REPLY_OWN, VHU_PF_STATUS },
	[VHU_GET_SHARED_OBJECT] = { "GET_SHARED_OBJECT", UNCHECKED, VHU_REPLY_OWN,
		VHU_PF_SHARED_OBJECT },
	[VHU_SET_DEVICE_STATE_FD] = { "SET_DEVICE_STATE_FD", UNCHECKED, VHU_REPLY_OWN,
		VHU_PF_DEVICE_STATE },
	[VHU_CHECK_DEVICE_STATE] = { "CHECK_DEVICE_STATE", UNCHECKED, VHU_REPLY_OWN,
		VHU_PF_DEVICE_STATE },
	[VHU_GET_SHMEM_CONFIG] = { "GET_SHMEM_CONFIG", UNCHECKED, VHU_REPLY_OWN, VHU_PF_SHMEM },
	[VHU_GET_VRING_BASE_SKIP_DRAIN] = { "GET_VRING_BASE_SKIP_DRAIN", UNCHECKED, VHU_REPLY_OWN,
		VHU_PF_GET_VRING_BASE_SKIP_DRAIN },
};

static const char *const backend_names[VHU_BACKEND_REQUEST_END] = {
	[VHU_BACKEND_IOTLB_MSG] = "BACKEND_IOTLB_MSG",
	[VHU_BACKEND_CONFIG_CHANGE_MSG] = "BACKEND_CONFIG_CHANGE_MSG",
	[VHU_BACKEND_VRING_HOST_NOTIFIER_MSG] = "BACKEND_VRING_HOST_NOTIFIER_MSG",
	[VHU_BACKEND_VRING_CALL] = "BACKEND_VRING_CALL",
	[VHU_BACKEND_VRING_ERR] = "BACKEND_VRING_ERR",
	[VHU_BACKEND_SHARED_OBJECT_ADD] = "BACKEND_SHARED_OBJECT_ADD",
	[VHU_BACKEND_SHARED_OBJECT_REMOVE] = "BACKEND_SHARED_OBJECT_REMOVE",
	[VHU_BACKEND_SHARED_OBJECT_LOOKUP] = "BACKEND_SHARED_OBJECT_LOOKUP",
	[VHU_BACKEND_SHMEM_MAP] = "BACKEND_SHMEM_MAP",
	[VHU_BACKEND_SHMEM_UNMAP] = "BACKEND_SHMEM_UNMAP",
};

static const char *const protocol_feature_names[] = {
	[VHU_PF_MQ] = "MQ",
	[VHU_PF_LOG_SHMFD] = "LOG_SHMFD",
	[VHU_PF_RARP] = "RARP",
	[VHU_PF_REPLY_ACK] = "REPLY_ACK",
	[VHU_PF_NET_MTU] = "NET_MTU",
	[VHU_PF_BACKEND_REQ] = "BACKEND_REQ",
	[VHU_PF_CROSS_ENDIAN] = "CROSS_ENDIAN",
	[VHU_PF_CRYPTO_SESSION] = "CRYPTO_SESSION",
	[VHU_PF_PAGEFAULT] = "PAGEFAULT",
	[VHU_PF_CONFIG] = "CONFIG",
	[VHU_PF_BACKEND_SEND_FD] = "BACKEND_SEND_FD",
	[VHU_PF_HOST_NOTIFIER] = "HOST_NOTIFIER",
	[VHU_PF_INFLIGHT_SHMFD] = "INFLIGHT_SHMFD",
	[VHU_PF_RESET_DEVICE] = "RESET_DEVICE",
	[VHU_PF_INBAND_NOTIFICATIONS] = "INBAND_NOTIFICATIONS",
	[VHU_PF_CONFIGURE_MEM_SLOTS] = "CONFIGURE_MEM_SLOTS",
	[VHU_PF_STATUS] = "STATUS",
	[VHU_PF_XEN_MMAP] = "XEN_MMAP",
	[VHU_PF_SHARED_OBJECT] = "SHARED_OBJECT",
	[VHU_PF_DEVICE_STATE] = "DEVICE_STATE",
	[VHU_PF_GET_VRING_BASE_INFLIGHT] = "GET_VRING_BASE_INFLIGHT",
	[VHU_PF_GPA_ADDRESSES] = "GPA_ADDRESSES",
	[VHU_PF_SHMEM] = "SHMEM",
	[VHU_PF_GET_VRING_BASE_SKIP_DRAIN] = "GET_VRING_BASE_SKIP_DRAIN",
};

const struct vhu_rule *vhu_rule(uint32_t request)
{
	if (request >= ARRAY_SIZE(rules) || !rules[request].name)
		return NULL;
	return &rules[request];
}

const char *vhu_request_name(uint32_t request, char *buf, size_t buf_bytes)
{
	const struct vhu_rule *rule = vhu_rule(request);

	if (rule)
		return rule->name;
	snprintf(buf, buf_bytes, "request %u", request);
	return buf;
}

const char *vhu_backend_request_name(uint32_t request)
{
	return request < ARRAY_SIZE(backend_names) ? backend_names[request] : NULL;
}

const char *vhu_protocol_feature_name(unsigned int bit)
{
	return bit < ARRAY_SIZE(protocol_feature_names) ? protocol_feature_names[bit] : NULL;
}

static enum vhu_fault fault(struct vhu_fault_info *info, enum vhu_fault code, const char *what,
	uint64_t value, uint64_t min, uint64_t max)
{
	if (info)
		*info = (struct vhu_fault_info){ code, what, value, min, max };
	return code;
}

enum vhu_fault vhu_check_header(const struct vhu_header *header, struct vhu_fault_info *info)
{
	uint32_t flags = le32_get(header->flags), size = le32_get(header->size);
	const struct vhu_rule *rule = vhu_rule(le32_get(header->request));
	uint32_t min = rule ? rule->min_bytes : 0, max = rule ? rule->max_bytes : VHU_PAYLOAD_MAX;

	if ((flags & VHU_VERSION_MASK) != VHU_VERSION)
		return fault(info, VHU_FAULT_VERSION, "version in flags", flags & VHU_VERSION_MASK,
			VHU_VERSION, VHU_VERSION);
	if (flags & ~(VHU_VERSION_MASK | VHU_NEED_REPLY))
		return fault(info, VHU_FAULT_FLAGS, "flags", flags, VHU_VERSION,
			VHU_VERSION | VHU_NEED_REPLY);
	if (size < min || size > max)
		return fault(info, VHU_FAULT_SIZE, "payload size", size, min, max);
	return VHU_OK;
}

static enum vhu_fault check_mem_table(const struct vhu_mem_table *mem, uint32_t size,
	unsigned int num_fds, struct vhu_fault_info *info)
{
	uint32_t n = le32_get(mem->num_regions);

	/* user-mode Linux always sends room for two regions and counts one. */
	if (n > VHU_REGIONS_MAX)
		return fault(info, VHU_FAULT_LAYOUT, "number of regions", n, 0, VHU_REGIONS_MAX);
	if (size < 8 + n * sizeof(mem->regions[0]) || (size - 8) % sizeof(mem->regions[0]))
		return fault(info, VHU_FAULT_LAYOUT, "payload size", size,
			8 + n * sizeof(mem->regions[0]), sizeof(*mem));
	if (num_fds != n)
		return fault(info, VHU_FAULT_FDS, "descriptors", num_fds, n, n);
	return VHU_OK;
}

static enum vhu_fault check_config(const struct vhu_config *config, uint32_t request, uint32_t size,
	struct vhu_fault_info *info)
{
	uint32_t claimed = le32_get(config->size), there = size - VHU_CONFIG_HEADER_BYTES;

	if (claimed > VHU_CONFIG_MAX)
		return fault(
			info, VHU_FAULT_LAYOUT, "configuration size", claimed, 0, VHU_CONFIG_MAX);
	/* Who asks need not send the bytes along. */
	if (claimed == there || (request == VHU_GET_CONFIG && !there))
		return VHU_OK;
	return fault(info, VHU_FAULT_LAYOUT, "configuration size", claimed, there, there);
}

static enum vhu_fault check_vring_fd(
	const struct vhu_u64 *u64, unsigned int num_fds, struct vhu_fault_info *info)
{
	uint64_t value = le64_get(u64->value);
	unsigned int expected = value & VHU_VRING_NO_FD ? 0 : 1;

	if (value & ~(VHU_VRING_INDEX_MASK | VHU_VRING_NO_FD))
		return fault(info, VHU_FAULT_INDEX, "queue index and flag", value, 0,
			VHU_VRING_INDEX_MASK | VHU_VRING_NO_FD);
	if (num_fds != expected)
		return fault(info, VHU_FAULT_FDS, "descriptors", num_fds, expected, expected);
	return VHU_OK;
}

enum vhu_fault vhu_check(const struct vhu_header *header, const union vhu_payload *payload,
	unsigned int num_fds, struct vhu_fault_info *info)
{
	uint32_t request = le32_get(header->request), size = le32_get(header->size);
	const struct vhu_rule *rule = vhu_rule(request);
	enum vhu_fault bad = vhu_check_header(header, info);

	if (bad)
		return bad;
	if (!rule)
		return VHU_OK;
	if (num_fds < rule->min_fds || num_fds > rule->max_fds)
		return fault(
			info, VHU_FAULT_FDS, "descriptors", num_fds, rule->min_fds, rule->max_fds);
	switch (request) {
	case VHU_SET_MEM_TABLE: return check_mem_table(&payload->mem, size, num_fds, info);
	case VHU_GET_CONFIG:
	case VHU_SET_CONFIG: return check_config(&payload->config, request, size, info);
	case VHU_SET_VRING_KICK:
	case VHU_SET_VRING_CALL:
	case VHU_SET_VRING_ERR: return check_vring_fd(&payload->u64, num_fds, info);
	default: return VHU_OK;
	}
}

bool vhu_queue_index(uint32_t request, const union vhu_payload *payload, uint32_t *ret)
{
	switch (request) {
	case VHU_SET_VRING_NUM:
	case VHU_SET_VRING_BASE:
	case VHU_GET_VRING_BASE:
	case VHU_VRING_KICK:
	case VHU_SET_VRING_ENABLE: *ret = le32_get(payload->state.index); return true;
	case VHU_SET_VRING_ADDR: *ret = le32_get(payload->addr.index); return true;
	case VHU_SET_VRING_KICK:
	case VHU_SET_VRING_CALL:
	case VHU_SET_VRING_ERR:
		*ret = (uint32_t)(le64_get(payload->u64.value) & VHU_VRING_INDEX_MASK);
		return true;
	default: return false;
	}
}

size_t vhu_public_bytes(uint32_t request, size_t payload_bytes)
{
	return request == VHU_CREATE_CRYPTO_SESSION
		       ? MIN(payload_bytes, (size_t)VHU_SESSION_PUBLIC_BYTES)
		       : payload_bytes;
}

struct vhu_header vhu_header_make(uint32_t request, uint32_t flags, uint32_t payload_bytes)
{
	return (struct vhu_header){ le32_make(request), le32_make(VHU_VERSION | flags),
		le32_make(payload_bytes) };
}
