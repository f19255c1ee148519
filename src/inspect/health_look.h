/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The picture of a queue that health.h judges: gathered from what its owner publishes, from memory,
 * from what the messages said, and from what the kernel tells of descriptors. Nothing is read from
 * or written to a descriptor, nobody is asked. Main loop.
 */
#ifndef INSPECT_HEALTH_LOOK_H
#define INSPECT_HEALTH_LOOK_H

#include "describe/describe.h"
#include "inspect/health.h"
#include "virtio/vdev.h"

/* What somebody who looks again and again remembers of a queue. Zero-initialised: nothing yet. */
struct health_watch {
	uint64_t key; /* changes whenever something moves */
	uint64_t since_ns; /* when it was first seen as it is; 0: never looked */
	uint64_t rate_ns; /* empty_runs and popped below are of then */
	uint64_t popped, empty_runs;
	struct health_num empty_rate; /* a second, while nothing was taken */
};

/* Looks once more, cheaply: memory and what is published, no system call. True where it moved. */
bool health_watch_look(struct health_watch *watch, struct vq *vq, uint64_t now_ns);

/* Who looks, and what is remembered. */
struct health_scene {
	uint64_t now_ns; /* CLOCK_MONOTONIC */
	uint64_t threshold_ns;
	/* The watch of a queue, NULL where it is not watched. */
	const struct health_watch *(*watch_of)(void *opaque, const struct vq *vq);
	void *opaque;
};

/* Is a control message of the device unanswered right now? */
bool health_message_waits(const struct vdev *dev);

/* How the queue is; @vq NULL: the device, which has none. */
void health_gather(const struct health_scene *scene, struct vdev *dev, struct vq *vq,
	struct health_picture *ret, char role[DESCRIBE_ROLE_BYTES]);

#endif
