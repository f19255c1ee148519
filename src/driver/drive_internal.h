/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A drive's inside. Queues belong to their worker's thread while workers run, and to whoever called
 * drive_new() before and after. The thread of drive_run() has the connection.
 */
#ifndef DRIVER_DRIVE_INTERNAL_H
#define DRIVER_DRIVE_INTERNAL_H

#include <pthread.h>
#include <stdatomic.h>

#include "driver/drive.h"
#include "driver/histogram.h"
#include "driver/memory.h"
#include "driver/pattern.h"
#include "driver/ring.h"
#include "vhost/vhost_user_client.h"

#define BIT(n) (1ull << (n))

/* Buffers of one request. */
#define DRIVE_BUFS_MAX 66

enum drive_dir { DRIVE_READ, DRIVE_WRITE, DRIVE_SYNC, DRIVE_DIRS };

/* One of a queue's requests; its memory stays the same all the time. */
struct drive_request {
	uint64_t start_ns;
	uint64_t block; /* blk: of the queue's own */
	uint32_t generation; /* blk, --verify */
	uint8_t dir; /* enum drive_dir */
	bool outstanding;
	uint8_t num_out, num_in;
	struct dring_buf *bufs;
	uint8_t *head, *data; /* head: DRIVE_HEAD_BYTES */
	uint64_t head_addr, data_addr;
};

#define DRIVE_HEAD_BYTES 64

/* What becomes of a queue's requests. */
enum dqueue_role {
	DQUEUE_ACTIVE, /* has its number of requests, and they come back */
	DQUEUE_LISTENING, /* has its number of answers; what is outstanding at the end stays so */
	DQUEUE_BACKGROUND, /* ends with the others */
	DQUEUE_IDLE, /* has no requests */
};

enum dqueue_phase {
	DQUEUE_RUNNING,
	DQUEUE_DRAINING,
	DQUEUE_CHECKING, /* reads back what it wrote */
	DQUEUE_DONE,
};

struct dqueue;

struct dqueue_ops {
	/* Fills the next request in; false: there is none, at least now. */
	bool (*next)(struct dqueue *q, struct drive_request *req);
	/* @len bytes were written: 0, or -errno with q->err. */
	int (*done)(struct dqueue *q, struct drive_request *req, uint32_t len);
};

struct dqueue_stats {
	uint64_t ios[DRIVE_DIRS], bytes[DRIVE_DIRS];
	uint64_t kicks, kicks_suppressed, calls;
	uint64_t verified, unverified; /* blocks */
	struct histogram lat[DRIVE_DIRS];
};

struct dqueue {
	struct drive *d;
	const struct dqueue_ops *ops;
	unsigned int index; /* the ring's */
	enum dqueue_role role;
	enum dqueue_phase phase;
	struct dring ring;
	int kick, call, err_fd;
	struct drive_request *reqs;
	struct dring_buf *bufs;
	uint32_t *free; /* indices of requests; a stack */
	uint32_t num_free, depth;
	uint64_t quota, submitted, answered;
	uint64_t random;
	_Atomic uint64_t shown; /* requests answered, for the progress line */
	struct err err;

	/* blk: the blocks that are this queue's alone. */
	uint64_t first_block, num_blocks, next_block, check_block;
	uint32_t *blocks; /* --verify: generation, and a bit while a request is out */
	uint32_t writes_since_sync;
	/* net: buffers that still belong to the packet at hand. */
	unsigned int rx_more;
	uint32_t base; /* GET_VRING_BASE's answer at the end */

	struct dqueue_stats stats;
};

struct drive_worker {
	struct drive *d;
	pthread_t thread;
	bool started;
	struct dqueue *queues[DRIVE_QUEUES_MAX * 2];
	unsigned int num_queues;
	int epoll, wake;
	_Atomic bool done;
};

/* A type of device. */
struct drive_kind {
	const char *name;
	unsigned int id;
	uint32_t bs;
	enum drive_rw rw;
	uint64_t features; /* of its own, wanted where offered */
	unsigned int config_bytes;
	unsigned int rings_each; /* for each of --queues */
	const struct dqueue_ops *ops[2]; /* of each ring of those */
	/*
	 * Judges options by features and configuration: sets d->max_bufs, d->data_bytes. 0 or
	 * -errno with a sentence. NULL: one buffer of d->opts.bs.
	 */
	int (*check)(struct drive *d, struct err *err);
	enum dqueue_role (*role)(const struct drive *d, unsigned int which);
	/* Prepares a queue and its requests' memory; may be NULL. */
	void (*prepare)(struct dqueue *q);
};

extern const struct drive_kind drive_blk, drive_net, drive_rng, drive_console;

struct drive {
	struct drive_options opts;
	const struct drive_kind *kind;
	struct vuc vuc;
	uint64_t offered, features;
	uint64_t protocol_features;
	uint8_t config[VHU_CONFIG_MAX];
	bool has_config;
	struct dring_config ring_cfg;
	struct dmem mem;
	struct vuc_inflight inflight;
	unsigned int max_bufs;
	uint32_t data_bytes; /* of a request's buffer */
	uint32_t piece_bytes; /* blk: at most in one of its buffers */
	uint64_t num_blocks; /* blk: of bs, from offset */
	uint32_t first_generation;
	struct dqueue *queues;
	unsigned int num_rings;
	struct drive_worker workers[DRIVE_THREADS_MAX];
	unsigned int num_workers;

	/* Written by drive_run(), read by workers. */
	_Atomic bool stop; /* nothing new */
	_Atomic bool abandon; /* come home at once */
	_Atomic bool skip_check; /* nothing is read back */
	int done_fd; /* a worker came home, or failed */
	_Atomic bool failed; /* a queue has its q->err */

	uint64_t start_ns, end_ns;
	unsigned int reconnects;
	bool interrupted;
};

static inline bool drive_writes(const struct drive *d)
{
	return d->opts.rw != DRIVE_RW_READ && d->opts.rw != DRIVE_RW_RANDREAD;
}

static inline bool drive_reads(const struct drive *d)
{
	return d->opts.rw != DRIVE_RW_WRITE && d->opts.rw != DRIVE_RW_RANDWRITE;
}

static inline bool drive_is_random(const struct drive *d)
{
	return d->opts.rw >= DRIVE_RW_RANDREAD;
}

/* drive_connect.c: negotiate from a fresh connection to running rings, and again after a loss. */
int drive_negotiate(struct drive *d, struct err *err);
int drive_start_rings(struct drive *d, struct err *err);
int drive_stop_rings(struct drive *d, struct err *err);
/* One attempt; where drive_is_away() says so of its outcome, another may go better. */
int drive_reconnect(struct drive *d, struct err *err);
bool drive_is_away(int code);

/* drive_setup.c: memory, rings and requests. */
int drive_setup(struct drive *d, struct err *err);
void drive_teardown(struct drive *d);

/* drive_worker.c */
int drive_start_workers(struct drive *d, struct err *err);
void drive_wake_workers(struct drive *d);
void drive_join_workers(struct drive *d);

/* A buffer of a request. */
static inline struct dring_buf dring_buf(uint64_t addr, uint32_t len)
{
	return (struct dring_buf){ addr, len };
}

#endif
