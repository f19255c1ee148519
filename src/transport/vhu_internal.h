/* SPDX-License-Identifier: BSD-3-Clause */
/* What the files of the vhost-user back-end share. Main loop. */
#ifndef TRANSPORT_VHU_INTERNAL_H
#define TRANSPORT_VHU_INTERNAL_H

#include "base/log.h"
#include "base/seat.h"
#include "proto/transcript.h"
#include "proto/usock.h"
#include "proto/vhost_user.h"
#include "transport/vhost_user.h"

/* A ring as the front-end set it up; what runs is vq->cfg and vq->enabled. */
struct vhu_ring {
	bool enabled; /* SET_VRING_ENABLE, or from the start where none of those comes */
	bool has_kick; /* between SET_VRING_KICK (or VRING_KICK) and GET_VRING_BASE */
	bool is_polled; /* SET_VRING_CALL said that nobody wants to be called */
	bool call_due, err_due; /* messages that the channel could not send yet */
	bool has_addr;
	bool told; /* SET_VRING_ENABLE came: features enable it no more */
	bool lost; /* it should run, but lies outside the memory table, or its record has no room */
	/* Addresses in the front-end's process: they outlive a memory table. */
	uint64_t desc, avail, used;
};

struct vhu;

/* Of the heap: if the transport goes first, the node has to stay until it is called. */
struct vhu_wait {
	struct vdev_wait wait;
	struct vhu *vhu; /* NULL: the transport is gone */
};

/* Our requests to the front-end, over the descriptor of SET_BACKEND_REQ_FD. */
struct vhu_channel {
	struct usock sock;
	struct loop_fd node;
	bool open;
	unsigned int next_ring; /* whose messages are next: none is forgotten over the others' */
	bool change_due; /* a CONFIG_CHANGE_MSG could not be sent yet */
};

/* Where requests in flight are recorded, as SET_INFLIGHT_FD gave it. */
struct vhu_region_inflight {
	struct gmem_region *region; /* owned; NULL: none */
	unsigned int num_queues, queue_size; /* as the front-end said; checked */
};

/* What SET_STATUS means. */
enum vhu_status_kind {
	/* Nothing was sent, or not enough to tell: the byte follows from the rings. */
	VHU_STATUS_UNKNOWN,
	/*
	 * A front-end that makes a byte up of its own doings, as QEMU does: FEATURES_OK before
	 * ACKNOWLEDGE and DRIVER, then all of it with DRIVER_OK, or never (vhost-user-rng of 7.2),
	 * and 0 whenever it stops, even if only the machine stands still. 7.2 asks for the vring
	 * bases after that 0.
	 */
	VHU_STATUS_COMPOSED,
	/* What the driver wrote is passed on, 0 is a reset. DPDK's virtio-user. */
	VHU_STATUS_DRIVER,
};

struct vhu {
	struct vdev *dev;

	/* Where front-ends come from. */
	struct seat seat; /* closed where we dial */
	char *dial; /* NULL: we do not */
	struct loop_timer redial;
	uint64_t redial_ms;
	bool offers_inband; /* constant */
	struct log_limit limit;
	struct transcript transcript; /* of all connections, for inspection */
	struct log_limit visits; /* comings and goings: nobody is to blame */

	/* The connection. */
	struct usock sock;
	struct loop_fd node;
	bool connected;
	bool closing; /* the socket is closed, the queues are not idle yet */
	struct vhu_wait *wait;
	struct vq *held; /* what is held by the wait; NULL: the whole device */
	void (*after_wait)(struct vhu *vhu); /* called while the device is held */

	/* What the front-end said; forgotten when it goes. */
	uint64_t protocol_features;
	bool features_set;
	enum vhu_status_kind status_kind;
	bool started; /* a ring ran since the last reset */
	bool reset_pending; /* features were set anew: SET_VRING_BASE tells a reset from a resume */
	struct vhu_ring *rings; /* dev->num_queues */
	struct vhu_region_inflight inflight;
	struct vhu_channel channel;
	struct dirty_log *log; /* of SET_LOG_BASE; NULL: none came */
	int log_fd; /* owned; of SET_LOG_FD */
	bool log_all; /* VHOST_F_LOG_ALL is acknowledged */
};

/* The message that a handler answers. */
struct vhu_call {
	uint32_t request;
	const union vhu_payload *payload;
	uint32_t payload_bytes;
	uint32_t index; /* of the queue, where the request names one; checked */
	/* For requests with a reply of their own. */
	union {
		struct vhu_u64 u64;
		struct vhu_vring_state state;
		struct vhu_config config;
		struct vhu_inflight inflight;
		struct vhu_session session;
		struct vhu_session2 session2;
		uint8_t session_bytes[sizeof(struct vhu_session2)];
	} reply;
	uint32_t reply_bytes;
	int reply_fd; /* owned; -1: none goes along */
};

struct vhu_handler {
	/* 0, or -errno with a sentence: well-formed, but not to be done. NULL: not supported. */
	int (*fn)(struct vhu *vhu, struct vhu_call *call, struct err *err);
	/* Do queues have to become idle for it? NULL: never. */
	bool (*needs_idle)(struct vhu *vhu, const struct vhu_call *call);
	/* Which ones: the one that the message names; else all. */
	bool one_ring;
	/* Where it is refused and nobody asked, nothing that is believed depends on it: no end. */
	bool harmless;
};

/* vhu_messages.c */
uint64_t vhu_offered_protocol_features(const struct vhu *vhu);
bool vhu_negotiated(const struct vhu *vhu, enum vhu_protocol_feature bit);
/* Handles messages until none is whole, the connection waits or ends. */
void vhu_process(struct vhu *vhu);

/* vhost_user.c */
/*
 * Holds the queue @vq, or the device where it is NULL, and calls @fn once that is idle; until then
 * the connection is not read. @fn, or what it calls, ends that by vhu_release().
 */
void vhu_when_idle(struct vhu *vhu, struct vq *vq, void (*fn)(struct vhu *vhu));
void vhu_release(struct vhu *vhu);
/* Ends the connection; the queues stop, the device is reset, and the next front-end may come. */
void vhu_close(struct vhu *vhu);
/* Waits for what the connection needs next; after anything that changes that. */
void vhu_watch(struct vhu *vhu);
/* A message goes by, for the transcript; @num_fds go along. */
void vhu_note(struct vhu *vhu, enum transcript_channel channel, bool is_ours,
	const struct vhu_header *header, const void *payload, size_t bytes, unsigned int num_fds);
const char *vhu_where(const struct vhu *vhu);

/* vhu_vring.c */
#define VHU_RING_HANDLER(name) int name(struct vhu *vhu, struct vhu_call *call, struct err *err)
VHU_RING_HANDLER(vhu_set_vring_num);
VHU_RING_HANDLER(vhu_set_vring_addr);
VHU_RING_HANDLER(vhu_set_vring_base);
VHU_RING_HANDLER(vhu_get_vring_base);
VHU_RING_HANDLER(vhu_set_vring_kick);
VHU_RING_HANDLER(vhu_set_vring_call);
VHU_RING_HANDLER(vhu_set_vring_err);
VHU_RING_HANDLER(vhu_set_vring_enable);
VHU_RING_HANDLER(vhu_vring_kick);
bool vhu_ring_not_idle(struct vhu *vhu, const struct vhu_call *call);
bool vhu_ring_stopping(struct vhu *vhu, const struct vhu_call *call);
bool vhu_base_not_idle(struct vhu *vhu, const struct vhu_call *call);
bool vhu_ring_disabled(struct vhu *vhu, const struct vhu_call *call);
bool vhu_any_ring(const struct vhu *vhu);
/* Does DRIVER_OK follow from the rings? */
bool vhu_status_is_derived(const struct vhu *vhu);
/*
 * After any message: which rings are ready, where they lie by the memory table at hand, and the
 * status that follows. -EFAULT where a ring that should run from now on cannot be found.
 */
int vhu_update(struct vhu *vhu, struct err *err);
/*
 * Resets the device, which is idle. Call and error descriptors stay the rings'. @keep_rings: so
 * does everything else that the front-end has said.
 */
void vhu_reset(struct vhu *vhu, bool keep_rings);
void vhu_signal_errors(struct vhu *vhu);

/* An eventfd, a socket or a pipe, or -1: 0. Else -EINVAL with a sentence that names @what. */
int vhu_check_signal_fd(int fd, const char *what, struct err *err);

/* vhu_memory.c; all queues are idle */
VHU_RING_HANDLER(vhu_set_mem_table);
VHU_RING_HANDLER(vhu_get_max_mem_slots);
VHU_RING_HANDLER(vhu_add_mem_reg);
VHU_RING_HANDLER(vhu_rem_mem_reg);

/* vhu_log.c */
VHU_RING_HANDLER(vhu_set_log_base);
VHU_RING_HANDLER(vhu_set_log_fd);
bool vhu_log_not_idle(struct vhu *vhu, const struct vhu_call *call);
/* VHOST_F_LOG_ALL came or went. All queues are idle where it did. */
void vhu_log_switch(struct vhu *vhu, bool on);
/* Forgets the log; idempotent. All queues are idle. */
void vhu_log_drop(struct vhu *vhu);

/* vhu_inflight.c */
VHU_RING_HANDLER(vhu_get_inflight_fd);
VHU_RING_HANDLER(vhu_set_inflight_fd);
/* Before the queue, which is idle, starts: its part of the region. -EINVAL: there is no room. */
int vhu_inflight_place(struct vhu *vhu, unsigned int i, struct err *err);
/* All queues are idle: there is no region any more. What lies in it stays as it is. */
void vhu_inflight_drop(struct vhu *vhu);

/* vhu_session.c; queues run meanwhile */
VHU_RING_HANDLER(vhu_create_session);
VHU_RING_HANDLER(vhu_close_session);

/* vhu_channel.c */
extern const struct usock_framing vhu_framing;
int vhu_channel_open(struct vhu *vhu, int fd, struct err *err);
void vhu_channel_close(struct vhu *vhu);
void vhu_channel_config_changed(struct vhu *vhu);
/* Notifications of a queue, where they are messages. */
void vhu_channel_call(struct vhu *vhu, unsigned int queue);
void vhu_channel_err(struct vhu *vhu, unsigned int queue);

#endif
