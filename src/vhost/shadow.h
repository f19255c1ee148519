/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The state of a device that a vhost-user back-end serves, concluded from the messages that go by:
 * a struct vdev is kept as if the device were ours, so that inspection finds everything where it
 * always is. What is concluded is what was said: a request counts as soon as it passes, whether or
 * not the back-end agrees. Main loop.
 */
#ifndef VHOST_SHADOW_H
#define VHOST_SHADOW_H

#include "proto/transcript.h"
#include "virtio/vdev.h"

/* As many as the protocol can name in a kick descriptor's message. */
#define SHADOW_QUEUES_MAX 256

/* Where a ring's areas are, as the front-end names them. */
struct shadow_areas {
	uint64_t desc, driver, device;
};

/* What SET_STATUS means; shadow.c says how that is told. */
enum shadow_status_kind {
	SHADOW_STATUS_UNKNOWN,
	SHADOW_STATUS_COMPOSED, /* by the front-end: the byte follows from the rings */
	SHADOW_STATUS_DRIVER,
};

struct shadow {
	struct vdev *dev; /* NULL: not initialised */
	struct vhost_view view; /* dev->view.vhost */
	struct vhost_view_ring rings[SHADOW_QUEUES_MAX];
	struct shadow_areas areas[SHADOW_QUEUES_MAX];
	struct gmem *mem; /* the memory table, mapped to be read; dev->mem unless a look disturbs */
	char memory_reason[192];
	struct log_limit limit;
	bool features_set;
	enum shadow_status_kind status_kind;
	bool needs_reset; /* the back-end said so */
	/* Configuration space as it was last read or written. */
	uint8_t config[VHU_CONFIG_MAX];
	uint32_t config_bytes; /* from 0 on, as far as anybody read */
	/* The region for what is in flight. */
	struct vhu_inflight inflight;
	int inflight_fd; /* owned; -1: none */
	struct gmem *inflight_mem; /* the same mapped; owned, view.inflight */
};

/* For realize(): @dev gets its queues, none of which is shown before somebody speaks of it. */
void shadow_init(struct shadow *s, struct vdev *dev);
/* The connection is over: memory and descriptors are let go of, the device is as new. */
void shadow_reset(struct shadow *s);
/* After shadow_reset(), for vdev_destroy(). Idempotent. */
void shadow_deinit(struct shadow *s);

/*
 * A request of the front-end passes; @fds stay the message's. False where it is not well-formed:
 * then nothing is concluded from it.
 */
bool shadow_request(struct shadow *s, const struct vhu_header *header,
	const union vhu_payload *payload, const int *fds, unsigned int num_fds);
/* A reply of the back-end passes: one with flags and size as they should be counts. */
void shadow_reply(struct shadow *s, const struct vhu_header *header,
	const union vhu_payload *payload, const int *fds, unsigned int num_fds);

/*
 * Before one of the two: where the used index of the split ring stands that the message starts or
 * stops, for the transcript.
 */
void shadow_witness(const struct shadow *s, struct transcript_entry *entry);

/* shadow_memory.c: the memory messages, and where the rings' areas are by what is mapped. */
void shadow_mem_table(struct shadow *s, const struct vhu_mem_table *table, const int *fds);
void shadow_add_region(struct shadow *s, const struct vhu_region *region, int fd);
/* The region of s->inflight, mapped. */
void shadow_map_inflight(struct shadow *s);
void shadow_rem_region(struct shadow *s, const struct vhu_region *region);
/* dev->mem, and every ring's areas, after any change of what they depend on. */
void shadow_place(struct shadow *s);

#endif
