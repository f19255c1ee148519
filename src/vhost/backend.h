/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Somebody else who serves a device's rings, behind one interface: a vhost-user back-end
 * (vhost_user.c) or the kernel's vhost (vhost_kernel.c).
 *
 * All functions wait for what they ask, so they are called on the device's conversation thread
 * (vhost_worker.h) and nowhere else. They return 0 or -errno with a sentence. After -EREMOTEIO, it
 * refused, the back-end is as it was before; after anything else only close() makes sense.
 */
#ifndef VHOST_BACKEND_H
#define VHOST_BACKEND_H

#include "mem/dirty.h"
#include "mem/gmem.h"
#include "vhost/vhost_user_client.h"

struct vhost_backend;

/* A ring to start. Addresses are guest-physical; descriptors stay the caller's. */
struct vhost_vring {
	unsigned int index;
	uint32_t num; /* entries */
	uint32_t base; /* as SET_VRING_BASE has it */
	uint64_t desc, driver, device;
	const struct gmem *mem; /* where they lie; set_mem() came first */
	bool log; /* what is written into the ring is marked too ... */
	uint64_t log_addr; /* ... as written there */
	int kick, call, err; /* call -1: the driver polls; err -1: none */
};

struct vhost_backend_ops {
	const char *name;
	/*
	 * Takes over @fd, which is connected or opened, and negotiates: fills in what the struct
	 * says of the back-end. Its configuration space too, where it has one.
	 */
	int (*open)(struct vhost_backend *b, int fd, struct err *err);
	/* Idempotent. */
	void (*close)(struct vhost_backend *b);
	/* Before the first ring starts, and whenever none runs. @log_all: pages are marked. */
	int (*set_features)(
		struct vhost_backend *b, uint64_t features, bool log_all, struct err *err);
	/* No ring runs. */
	int (*set_mem)(struct vhost_backend *b, const struct gmem *mem, struct err *err);
	/* No ring runs. @signal_fd -1: none. */
	int (*set_log)(struct vhost_backend *b, const struct dirty_log *log, int signal_fd,
		struct err *err);
	int (*start_vring)(
		struct vhost_backend *b, const struct vhost_vring *vring, struct err *err);
	/* The ring stands still afterwards; *ret_base is where it goes on. */
	int (*stop_vring)(
		struct vhost_backend *b, unsigned int index, uint32_t *ret_base, struct err *err);
	/* Of a ring that runs. @fd -1: none. */
	int (*set_vring_fd)(
		struct vhost_backend *b, unsigned int index, bool is_kick, int fd, struct err *err);
	/* NULL where there is no such thing. */
	int (*get_config)(struct vhost_backend *b, struct err *err);
	int (*set_config)(struct vhost_backend *b, size_t offset, const void *bytes, size_t len,
		struct err *err);
	/* The driver reset the device; no ring runs. */
	int (*reset)(struct vhost_backend *b, struct err *err);
	/*
	 * A region for what is in flight in @num_queues rings of up to @queue_size: the one of
	 * before where there is one, else a new one that the back-end makes. Rings that start
	 * afterwards are recorded in it. Called where has_inflight.
	 */
	int (*set_inflight)(struct vhost_backend *b, unsigned int num_queues,
		unsigned int queue_size, struct err *err);
	/* The connection stands, and nothing came that nobody asked for. */
	int (*check_alive)(struct vhost_backend *b, struct err *err);
};

/* What a device of the kernel's is bound to. */
struct vhost_target {
	int tap_fd; /* vhost-net: the interface; -1: none */
	uint64_t guest_cid; /* vhost-vsock */
	const char *wwpn; /* vhost-scsi: the target's name */
	unsigned int num_served; /* rings that have to be there before it begins */
};

struct vhost_backend {
	const struct vhost_backend_ops *ops;
	const char *where; /* the caller's; for sentences */
	uint32_t config_bytes; /* wanted of the configuration space; 0: the caller makes it up */
	int channel_fd; /* caller's: to be handed over for the back-end's own requests; -1: none */

	/* What open() found. */
	uint64_t features; /* offered, without the connection's own bits */
	uint64_t raw_features; /* with them */
	uint64_t protocol_offered, protocol_features;
	unsigned int max_queues; /* 0: it does not say */
	bool can_log, has_inflight, has_channel;
	bool has_config; /* config is its own */
	uint8_t config[VHU_CONFIG_MAX];

	int fd; /* to watch for its end; -1: there is nothing to watch */
	const struct vhost_target *target; /* the caller's; NULL for vhost-user */
	int kernel_fd; /* vhost_kernel.c's */
	uint64_t kernel_started; /* its rings, a bit each */
	int kernel_kick[64]; /* owned. Of those that are started */
	struct vuc vuc; /* vhost_user.c's */
	/* Memory slots that the back-end has, once it was told of any. */
	struct gmem_region_desc slots[VUC_REGIONS_MAX];
	unsigned int num_slots;
	bool uses_slots;
	/* The region for what is in flight: outlives a connection. vhost_backend_forget(). */
	struct vuc_inflight inflight;
	bool has_region;
};

extern const struct vhost_backend_ops vhost_user_backend;
extern const struct vhost_backend_ops vhost_net_backend, vhost_vsock_backend, vhost_scsi_backend;

/* What is in flight is nobody's any more: the region of set_inflight() goes. Idempotent. */
void vhost_backend_forget(struct vhost_backend *b);

#endif
