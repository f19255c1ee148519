/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The front-end's side of vhost-user (QEMU's docs/interop/vhost-user): dials a back-end and sends
 * it one message at a time. Every function waits for the reply where there is one, never longer
 * than reply_ms, so it is for a thread that may wait: control path. One thread at a
 * time. What a back-end answers is checked for its form and for what was asked before it is used.
 *
 * All functions that return int: 0, or -errno with a sentence that names the socket and the
 * message: -ECONNRESET where the back-end closed, -ETIMEDOUT where it stayed silent, -EPROTO where
 * its answer makes no sense, -EREMOTEIO where it refused. After the first three only vuc_close()
 * makes sense.
 */
#ifndef VHOST_VHOST_USER_CLIENT_H
#define VHOST_VHOST_USER_CLIENT_H

#include "base/err.h"
#include "base/util.h"
#include "proto/usock.h"
#include "proto/vhost_user.h"

/* How long a back-end may take for one answer. */
#define VUC_REPLY_TIMEOUT_MS 10000
/* Regions of memory that we ever hand over, however many slots a back-end offers. */
#define VUC_REGIONS_MAX 64

struct vuc {
	struct usock sock; /* sock.fd is for poll(): readable between messages means gone */
	char *where; /* owned; for sentences */
	uint64_t features; /* as the back-end offers them, without the protocol's own bit */
	bool has_protocol; /* it offered VHU_F_PROTOCOL_FEATURES */
	uint64_t protocol_offered;
	uint64_t protocol_features; /* negotiated */
	unsigned int reply_ms; /* how long an answer may take; VUC_REPLY_TIMEOUT_MS unless set */
};

/* Memory that the back-end may map; @fd stays the caller's. */
struct vuc_region {
	uint64_t guest_addr;
	uint64_t size; /* bytes */
	uint64_t user_addr; /* where it lies in the process whose addresses name the rings */
	uint64_t file_offset;
	int fd;
};

/* A ring to start. The areas lie in a region that was handed over; descriptors stay the caller's.
 */
struct vuc_vring {
	unsigned int index;
	unsigned int num; /* entries */
	uint32_t base; /* for SET_VRING_BASE */
	uint64_t desc, driver, device; /* user addresses */
	bool log; /* what is written into the ring is marked in the dirty log ... */
	uint64_t log_addr; /* ... as written at this guest-physical address */
	int kick, call, err; /* call -1: nobody wants to be called; err -1: none */
};

/* The region in which a back-end notes what is in flight. */
struct vuc_inflight {
	uint64_t mmap_size, mmap_offset;
	unsigned int num_queues, queue_size;
	int fd; /* owned; -1: none */
};

/* Dials @spec (base/host_open.h). vuc_close() is right after a failure too. */
int vuc_open(struct vuc *c, const char *spec, struct err *err);
/* The same with @fd, which is connected and taken over; @where is copied. */
void vuc_attach(struct vuc *c, int fd, const char *where);
/* Idempotent; right for a zeroed struct. */
void vuc_close(struct vuc *c);
/* Nothing came that nobody asked for, and the connection stands: 0, else -errno as above. */
int vuc_check_alive(struct vuc *c, struct err *err);

/*
 * SET_OWNER, GET_FEATURES, and where the back-end has them the protocol features: of @wanted those
 * that are offered.
 */
int vuc_negotiate(struct vuc *c, uint64_t wanted_protocol_features, struct err *err);
bool vuc_has(const struct vuc *c, enum vhu_protocol_feature bit);
/* @features have to be among those offered; the protocol's own bit is added where it is due. */
int vuc_set_features(struct vuc *c, uint64_t features, struct err *err);
/* How many queues (of a network device: pairs) the back-end has; 1 where it cannot say. */
int vuc_get_queue_num(struct vuc *c, unsigned int *ret, struct err *err);
/* The first @bytes (at most VHU_CONFIG_MAX) of the configuration space; needs VHU_PF_CONFIG. */
int vuc_get_config(struct vuc *c, void *buf, size_t bytes, struct err *err);
/*
 * Hands the memory over: one table, or region by region where @one_by_one and the back-end has
 * slots for it, or where there are more than a table holds.
 */
int vuc_set_memory(struct vuc *c, const struct vuc_region *regions, unsigned int num,
	bool one_by_one, struct err *err);
/* Everything that a ring needs, with its kick last; it is enabled by vuc_enable_vring(). */
int vuc_start_vring(struct vuc *c, const struct vuc_vring *vring, struct err *err);
int vuc_enable_vring(struct vuc *c, unsigned int index, bool on, struct err *err);
/* GET_VRING_BASE: the ring stands still afterwards. */
int vuc_stop_vring(struct vuc *c, unsigned int index, uint32_t *ret_base, struct err *err);
/* The region for @num_queues rings of @queue_size; ret->fd is the caller's to close. */
int vuc_get_inflight(struct vuc *c, unsigned int num_queues, unsigned int queue_size,
	struct vuc_inflight *ret, struct err *err);
int vuc_set_inflight(struct vuc *c, const struct vuc_inflight *inflight, struct err *err);
/* Any message without a reply of its own, confirmed where the back-end can. @fds stay the caller's.
 */
int vuc_tell(struct vuc *c, uint32_t request, const void *payload, size_t bytes, const int *fds,
	unsigned int num_fds, struct err *err);
int vuc_tell_u64(struct vuc *c, uint32_t request, uint64_t value, const int *fd, struct err *err);
/*
 * Any message with one, which has to be @min to @max bytes and lies in c->sock.payload until the
 * next message. @fd: NULL, or one that goes along.
 */
int vuc_ask(struct vuc *c, uint32_t request, const void *payload, size_t bytes, const int *fd,
	size_t min, size_t max, struct err *err);
/* One descriptor of KICK, CALL or ERR, @fd -1: none. */
int vuc_set_vring_fd(struct vuc *c, uint32_t request, unsigned int index, int fd, struct err *err);
/* Need VHU_PF_STATUS. */
int vuc_set_status(struct vuc *c, uint8_t status, struct err *err);
int vuc_get_status(struct vuc *c, uint8_t *ret, struct err *err);

#endif
