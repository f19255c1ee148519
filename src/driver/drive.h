/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A guest's drivers without a guest: drives a vhost-user back-end with requests of one kind and
 * measures it. drive_new() connects and negotiates, drive_run() has worker threads keep the rings
 * full until the time is over, and the reports read what is left behind.
 */
#ifndef DRIVER_DRIVE_H
#define DRIVER_DRIVE_H

#include <json-c/json.h>
#include <stdio.h>

#include "base/err.h"
#include "base/util.h"

#define DRIVE_QUEUES_MAX  64
#define DRIVE_THREADS_MAX 64
#define DRIVE_DEPTH_MAX	  16384
#define DRIVE_BS_MAX	  (16u << 20)

/* As fio has them: what is read and written, and whether offsets are random. */
enum drive_rw {
	DRIVE_RW_DEFAULT, /* the device's own */
	DRIVE_RW_READ,
	DRIVE_RW_WRITE,
	DRIVE_RW_MIX,
	DRIVE_RW_RANDREAD,
	DRIVE_RW_RANDWRITE,
	DRIVE_RW_RANDMIX,
	DRIVE_RW_END,
};

/* A feature that a back-end may have. */
enum drive_wish { DRIVE_IF_OFFERED, DRIVE_ON, DRIVE_OFF };

struct drive_options {
	const char *connect; /* a socket, as base/host_open.h has it */
	const char *device; /* drive_device_names() */
	enum drive_rw rw;
	uint32_t mix_read; /* percent of reads */
	uint32_t bs; /* bytes of a request; 0: the device's own */
	uint64_t offset, size; /* bytes; size 0: to the end */
	uint32_t iodepth; /* requests at a queue at a time */
	uint32_t queues; /* of a network device: pairs */
	uint32_t queue_size; /* 0: large enough for iodepth */
	uint32_t threads; /* at most one a queue */
	uint32_t mem_slots; /* regions of memory */
	uint32_t fsync; /* a flush after so many writes of a queue; 0: none */
	uint64_t duration_ns; /* 0: no end by time */
	uint64_t requests; /* 0: no end by number */
	uint64_t seed, memory_bytes; /* memory 0: as much as is needed */
	enum drive_wish indirect, event_idx;
	bool packed, in_order, poll, verify, reconnect;
	bool progress; /* a line on standard error, now and then */
};

struct drive;

/* "blk", "net", "rng", "console"; NULL at the end. */
const char *drive_device_name(unsigned int i);
const char *drive_rw_name(enum drive_rw rw);

/*
 * Connects to the back-end and starts its rings. 0, or -errno with a sentence; -EINVAL where the
 * options are at fault and not the back-end.
 */
int drive_new(const struct drive_options *options, struct drive **ret, struct err *err);
/*
 * Until time, number or a signal (SIGINT, SIGTERM) ends it; waits for what is outstanding, and for
 * a signal's sake not long. 0, or -errno with a sentence: a request that failed, data that is
 * wrong, a back-end that is gone or cannot be believed. The reports are right after both.
 */
int drive_run(struct drive *d, struct err *err);
void drive_free(struct drive *d);

/* As fio prints its jobs. */
void drive_report_text(const struct drive *d, FILE *file);
/* All there is, options included; a new reference. */
struct json_object *drive_report_json(const struct drive *d);
/* Feature words as offered and as negotiated, without the protocol's own bit. */
uint64_t drive_features_offered(const struct drive *d);
uint64_t drive_features(const struct drive *d);
/* The virtio device id. */
unsigned int drive_device_id(const struct drive *d);

#endif
