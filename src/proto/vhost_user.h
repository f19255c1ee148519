/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The vhost-user protocol on the wire (QEMU's docs/interop/vhost-user, "Vhost-user Protocol"):
 * message numbers, payloads, and what makes a message well-formed. Codecs only: no socket, no
 * device.
 *
 * The document says "native byte order"; every host that we run on is little-endian, and so is
 * this.
 */
#ifndef PROTO_VHOST_USER_H
#define PROTO_VHOST_USER_H

#include "base/le.h"
#include "base/util.h"

/* Requests that a front-end sends. */
enum vhu_request {
	VHU_GET_FEATURES = 1,
	VHU_SET_FEATURES = 2,
	VHU_SET_OWNER = 3,
	VHU_RESET_OWNER = 4,
	VHU_SET_MEM_TABLE = 5,
	VHU_SET_LOG_BASE = 6,
	VHU_SET_LOG_FD = 7,
	VHU_SET_VRING_NUM = 8,
	VHU_SET_VRING_ADDR = 9,
	VHU_SET_VRING_BASE = 10,
	VHU_GET_VRING_BASE = 11,
	VHU_SET_VRING_KICK = 12,
	VHU_SET_VRING_CALL = 13,
	VHU_SET_VRING_ERR = 14,
	VHU_GET_PROTOCOL_FEATURES = 15,
	VHU_SET_PROTOCOL_FEATURES = 16,
	VHU_GET_QUEUE_NUM = 17,
	VHU_SET_VRING_ENABLE = 18,
	VHU_SEND_RARP = 19,
	VHU_NET_SET_MTU = 20,
	VHU_SET_BACKEND_REQ_FD = 21,
	VHU_IOTLB_MSG = 22,
	VHU_SET_VRING_ENDIAN = 23,
	VHU_GET_CONFIG = 24,
	VHU_SET_CONFIG = 25,
	VHU_CREATE_CRYPTO_SESSION = 26,
	VHU_CLOSE_CRYPTO_SESSION = 27,
	VHU_POSTCOPY_ADVISE = 28,
	VHU_POSTCOPY_LISTEN = 29,
	VHU_POSTCOPY_END = 30,
	VHU_GET_INFLIGHT_FD = 31,
	VHU_SET_INFLIGHT_FD = 32,
	VHU_GPU_SET_SOCKET = 33,
	VHU_RESET_DEVICE = 34,
	VHU_VRING_KICK = 35,
	VHU_GET_MAX_MEM_SLOTS = 36,
	VHU_ADD_MEM_REG = 37,
	VHU_REM_MEM_REG = 38,
	VHU_SET_STATUS = 39,
	VHU_GET_STATUS = 40,
	VHU_GET_SHARED_OBJECT = 41,
	VHU_SET_DEVICE_STATE_FD = 42,
	VHU_CHECK_DEVICE_STATE = 43,
	VHU_GET_SHMEM_CONFIG = 44,
	VHU_GET_VRING_BASE_SKIP_DRAIN = 45,
	VHU_REQUEST_END, /* one above the largest */
};

/* Requests that a back-end sends, over the descriptor of SET_BACKEND_REQ_FD. */
enum vhu_backend_request {
	VHU_BACKEND_IOTLB_MSG = 1,
	VHU_BACKEND_CONFIG_CHANGE_MSG = 2,
	VHU_BACKEND_VRING_HOST_NOTIFIER_MSG = 3,
	VHU_BACKEND_VRING_CALL = 4,
	VHU_BACKEND_VRING_ERR = 5,
	VHU_BACKEND_SHARED_OBJECT_ADD = 6,
	VHU_BACKEND_SHARED_OBJECT_REMOVE = 7,
	VHU_BACKEND_SHARED_OBJECT_LOOKUP = 8,
	VHU_BACKEND_SHMEM_MAP = 9,
	VHU_BACKEND_SHMEM_UNMAP = 10,
	VHU_BACKEND_REQUEST_END,
};

/* Bits of the protocol feature word. */
enum vhu_protocol_feature {
	VHU_PF_MQ = 0,
	VHU_PF_LOG_SHMFD = 1,
	VHU_PF_RARP = 2,
	VHU_PF_REPLY_ACK = 3,
	VHU_PF_NET_MTU = 4,
	VHU_PF_BACKEND_REQ = 5,
	VHU_PF_CROSS_ENDIAN = 6,
	VHU_PF_CRYPTO_SESSION = 7,
	VHU_PF_PAGEFAULT = 8,
	VHU_PF_CONFIG = 9,
	VHU_PF_BACKEND_SEND_FD = 10,
	VHU_PF_HOST_NOTIFIER = 11,
	VHU_PF_INFLIGHT_SHMFD = 12,
	VHU_PF_RESET_DEVICE = 13,
	VHU_PF_INBAND_NOTIFICATIONS = 14,
	VHU_PF_CONFIGURE_MEM_SLOTS = 15,
	VHU_PF_STATUS = 16,
	VHU_PF_XEN_MMAP = 17,
	VHU_PF_SHARED_OBJECT = 18,
	VHU_PF_DEVICE_STATE = 19,
	VHU_PF_GET_VRING_BASE_INFLIGHT = 20,
	VHU_PF_GPA_ADDRESSES = 21,
	VHU_PF_SHMEM = 22,
	VHU_PF_GET_VRING_BASE_SKIP_DRAIN = 23,
	VHU_PF_END, /* one above the largest */
};

/* In the feature word: the front-end may ask for protocol features. Never a device's own bit. */
#define VHU_F_PROTOCOL_FEATURES 30
/* Likewise: what the back-end writes into guest memory is marked in the dirty log. */
#define VHU_F_LOG_ALL 26

/* Header flags. */
#define VHU_VERSION	 0x1u
#define VHU_VERSION_MASK 0x3u
#define VHU_FLAG_REPLY	 0x4u
#define VHU_NEED_REPLY	 0x8u
#define VHU_FLAGS_MASK	 (VHU_VERSION_MASK | VHU_FLAG_REPLY | VHU_NEED_REPLY)

/* Regions in one SET_MEM_TABLE. */
#define VHU_REGIONS_MAX 8
/* Bytes of configuration space in one message. */
#define VHU_CONFIG_MAX 256
/* The largest payload that a message may have, known or not. */
#define VHU_PAYLOAD_MAX 4096
/* Descriptors in one message, known or not. */
#define VHU_FDS_MAX 8

struct vhu_header {
	le32 request;
	le32 flags;
	le32 size; /* of the payload, in bytes */
};

struct vhu_u64 {
	le64 value;
};

/* KICK, CALL and ERR carry a queue's index and a flag in a u64. */
#define VHU_VRING_INDEX_MASK 0xffull
#define VHU_VRING_NO_FD	     0x100ull

struct vhu_vring_state {
	le32 index;
	le32 num;
};

/* flags of struct vhu_vring_addr: the used ring is logged too, at the address `log` */
#define VHU_VRING_LOG 1u

struct vhu_vring_addr {
	le32 index;
	le32 flags;
	/* Addresses in the front-end's process; log is guest-physical. */
	le64 desc;
	le64 used;
	le64 avail;
	le64 log;
};

struct vhu_region {
	le64 guest_addr;
	le64 size;
	le64 user_addr;
	le64 mmap_offset;
};

struct vhu_mem_table {
	le32 num_regions;
	le32 padding;
	struct vhu_region regions[VHU_REGIONS_MAX];
};

/* ADD_MEM_REG and REM_MEM_REG. */
struct vhu_mem_region {
	le64 padding;
	struct vhu_region region;
};

/* SET_LOG_BASE, with the descriptor of the log. */
struct vhu_log {
	le64 size; /* bytes */
	le64 offset; /* where it begins in the file */
};

#define VHU_CONFIG_HEADER_BYTES 12
/* flags of struct vhu_config */
#define VHU_CONFIG_WRITABLE 0
#define VHU_CONFIG_MIGRATE  1

struct vhu_config {
	le32 offset;
	le32 size;
	le32 flags;
	uint8_t data[VHU_CONFIG_MAX];
};

/* GET_INFLIGHT_FD, its reply, and SET_INFLIGHT_FD. */
struct vhu_inflight {
	le64 mmap_size; /* bytes; 0 in a reply: there is no region */
	le64 mmap_offset;
	le16 num_queues;
	le16 queue_size;
	le32 padding; /* most send it, as the compiler makes it */
};

#define VHU_INFLIGHT_MIN_BYTES 20

/*
 * CREATE_CRYPTO_SESSION and its reply. The document leaves their form to QEMU, whose structures
 * they are, as an x86-64 compiler lays them out.
 */
struct vhu_sym_setup {
	le32 cipher_algo;
	le32 key_bytes;
	le32 hash_algo;
	le32 result_bytes;
	le32 auth_key_bytes;
	le32 aad_bytes;
	uint8_t op_type;
	uint8_t direction;
	uint8_t hash_mode;
	uint8_t chain_order;
	le32 padding;
	le64 pointers[2]; /* in the front-end's process */
};

struct vhu_asym_setup {
	le32 algo;
	le32 key_type;
	le32 key_bytes;
	le32 padding;
	le64 pointer; /* in the front-end's process */
	le32 rsa_padding;
	le32 rsa_hash;
};

#define VHU_SESSION_KEY_MAX	 64
#define VHU_SESSION_AUTH_KEY_MAX 512
#define VHU_SESSION_ASYM_KEY_MAX 1024

/* QEMU 7.1 to 8.0. */
struct vhu_session {
	le64 id; /* in the reply; negative: there is no session */
	struct vhu_sym_setup setup;
	uint8_t key[VHU_SESSION_KEY_MAX];
	uint8_t auth_key[VHU_SESSION_AUTH_KEY_MAX];
};

/* op_code of struct vhu_session2 */
#define VHU_SESSION_CIPHER   0x002u
#define VHU_SESSION_AKCIPHER 0x404u

/* QEMU since 8.1. */
struct vhu_session2 {
	le64 op_code;
	union {
		struct {
			struct vhu_sym_setup setup;
			uint8_t key[VHU_SESSION_KEY_MAX];
			uint8_t auth_key[VHU_SESSION_AUTH_KEY_MAX];
		} sym;
		struct {
			struct vhu_asym_setup setup;
			uint8_t key[VHU_SESSION_ASYM_KEY_MAX];
		} asym;
	};
	le64 id;
};

/* In either form and either direction keys are behind these. */
#define VHU_SESSION_PUBLIC_BYTES 40

union vhu_payload {
	struct vhu_u64 u64;
	struct vhu_vring_state state;
	struct vhu_vring_addr addr;
	struct vhu_mem_table mem;
	struct vhu_mem_region mem_region;
	struct vhu_log log;
	struct vhu_config config;
	struct vhu_inflight inflight;
	struct vhu_session session;
	struct vhu_session2 session2;
	uint8_t bytes[VHU_PAYLOAD_MAX];
};

_Static_assert(sizeof(struct vhu_header) == 12 && sizeof(struct vhu_vring_addr) == 40 &&
		       sizeof(struct vhu_region) == 32 &&
		       sizeof(struct vhu_mem_table) == 8 + 32 * VHU_REGIONS_MAX &&
		       sizeof(struct vhu_mem_region) == 40 && sizeof(struct vhu_log) == 16 &&
		       sizeof(struct vhu_inflight) == 24 && sizeof(struct vhu_session) == 632 &&
		       offsetof(struct vhu_session, key) == 56 &&
		       sizeof(struct vhu_session2) == 1072 &&
		       offsetof(struct vhu_session2, asym.key) == VHU_SESSION_PUBLIC_BYTES &&
		       sizeof(struct vhu_config) == VHU_CONFIG_HEADER_BYTES + VHU_CONFIG_MAX,
	"as on the wire");

/* What a request is answered with. */
enum vhu_reply {
	VHU_REPLY_ACK, /* a u64 where NEED_REPLY and REPLY_ACK say so, else nothing */
	VHU_REPLY_OWN, /* a payload of its own, always */
	VHU_REPLY_NONE, /* nothing that anybody waits for */
};

/* A request's shape; sizes in bytes. */
struct vhu_rule {
	const char *name; /* NULL: no such request */
	uint16_t min_bytes, max_bytes;
	uint8_t min_fds, max_fds;
	enum vhu_reply reply;
	/* The bit that has to be negotiated, or -1. */
	int8_t feature;
};

/* NULL for a request that the protocol does not know. */
const struct vhu_rule *vhu_rule(uint32_t request);
/* "SET_VRING_NUM", "request 99"; the latter is written into @buf. */
const char *vhu_request_name(uint32_t request, char *buf, size_t buf_bytes);
/* NULL beyond the table. */
const char *vhu_backend_request_name(uint32_t request);
/* NULL for a bit that the protocol does not know. */
const char *vhu_protocol_feature_name(unsigned int bit);

/* Why a message is not well-formed, in the order in which it is looked at. */
enum vhu_fault {
	VHU_OK,
	VHU_FAULT_VERSION, /* flags: not version 1 */
	VHU_FAULT_FLAGS, /* flags: a reply, or bits that do not exist */
	VHU_FAULT_SIZE, /* payload shorter or longer than the request's */
	VHU_FAULT_FDS, /* too few or too many descriptors */
	VHU_FAULT_LAYOUT, /* the payload's own counts do not agree with its size */
	VHU_FAULT_INDEX, /* index bits or flags of a u64 that do not exist, or a flag that lies */
};

/* The offending value and its limit, for the log line. */
struct vhu_fault_info {
	enum vhu_fault fault;
	const char *what; /* "payload size", "descriptors", ... */
	uint64_t value;
	uint64_t min, max; /* the legal range */
};

/*
 * Is the request well-formed by its header, its payload's layout and its number of descriptors?
 * A request that the protocol does not know is judged by its header alone. @info may be NULL.
 */
enum vhu_fault vhu_check_header(const struct vhu_header *header, struct vhu_fault_info *info);
enum vhu_fault vhu_check(const struct vhu_header *header, const union vhu_payload *payload,
	unsigned int num_fds, struct vhu_fault_info *info);

/*
 * The queue index that a request names: true and *ret, undiminished; false for requests without
 * one. The message passed vhu_check().
 */
bool vhu_queue_index(uint32_t request, const union vhu_payload *payload, uint32_t *ret);

/*
 * How many of a payload's bytes may be kept and shown: all, but for messages with keys. Of request
 * and reply.
 */
size_t vhu_public_bytes(uint32_t request, size_t payload_bytes);

/* A header for a request, or for the reply to @request. */
struct vhu_header vhu_header_make(uint32_t request, uint32_t flags, uint32_t payload_bytes);

#endif
