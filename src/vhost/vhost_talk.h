/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A device's conversation with who serves its rings, on a thread of its own: the other side may
 * take its time, and nobody but this device waits for it. The main loop posts jobs and hears of
 * their ends in the order in which it posted them.
 */
#ifndef VHOST_VHOST_TALK_H
#define VHOST_VHOST_TALK_H

#include <semaphore.h>

#include "base/loop.h"
#include "vhost/backend.h"

enum vhost_job_kind {
	VHOST_JOB_OPEN,
	VHOST_JOB_START,
	VHOST_JOB_STOP,
	VHOST_JOB_FD,
	VHOST_JOB_READ_CONFIG,
	VHOST_JOB_WRITE_CONFIG,
	VHOST_JOB_RESET,
	VHOST_JOB_LOST, /* made here: the connection ended while nobody asked anything */
	VHOST_JOB_NOTHING, /* comes back at once */
};

struct vhost_talk;

/* What to do, and what came of it. */
struct vhost_job {
	struct loop_post post;
	struct vhost_talk *talk;
	enum vhost_job_kind kind;
	unsigned int connection; /* the caller's number of it */
	sem_t *done; /* posted in the place of talk->done(); then the job is the caller's */

	int fd; /* owned. OPEN, FD: the descriptor; -1: none */
	int channel_fd; /* owned. OPEN: the back-end's own; -1: none */
	unsigned int index; /* START, STOP, FD: the ring's */
	bool is_kick; /* FD */

	/* START: what has to be told before the ring, and the ring. Both references are held. */
	bool tell_features, tell_inflight;
	uint64_t features;
	bool log_all;
	unsigned int num_queues, queue_size; /* of the region for what is in flight */
	struct gmem *tell_mem; /* NULL: it has it */
	struct dirty_log *tell_log; /* NULL: it has it, or there is none */
	int log_fd; /* owned */
	struct gmem *mem;
	struct vhost_vring vring; /* its descriptors are owned */

	/* WRITE_CONFIG, and what READ_CONFIG found. */
	size_t offset, len;
	uint8_t config[VHU_CONFIG_MAX];

	bool began; /* START: it came as far as the ring itself */
	bool has_region; /* START: what is in flight is noted in one */
	uint32_t base; /* what STOP found */
	int r; /* 0 or -errno with a sentence; -ENOTCONN: there is no connection */
	struct err err;
};

struct vhost_talk {
	_Atomic unsigned int num_refs; /* the owner's and one for each job under way */
	struct loop *main_loop;
	/* Main loop: a job ended. NULL once the owner has left. The job is freed afterwards. */
	void (*done)(void *owner, struct vhost_job *job);
	void *owner;
	/* The thread's. The owner may read what open() found once it heard of OPEN's end. */
	struct loop loop;
	struct vhost_backend backend;
	bool is_open;
	unsigned int connection;
	struct loop_fd watch;
};

/* Starts the thread. @where outlives it. */
int vhost_talk_new(const struct vhost_backend_ops *ops, const char *where, struct loop *main_loop,
	struct vhost_talk **ret, struct err *err);
/*
 * The owner leaves: the thread ends, with what it has at hand; who could keep it waiting was shut
 * down before. done() is not called any more.
 */
void vhost_talk_end(struct vhost_talk *talk);

struct vhost_job *vhost_job_new(
	struct vhost_talk *talk, enum vhost_job_kind kind, unsigned int connection);
void vhost_job_free(struct vhost_job *job);
/* Hands the job over. */
void vhost_job_post(struct vhost_job *job);
/* The connection is not to be used any more, by what came of the job? */
bool vhost_job_lost(const struct vhost_job *job);

#endif
