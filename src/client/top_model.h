/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * What `ringside top` knows: devices and their queues, sampled again and again from one monitor. A
 * Ringside monitor is asked what it can tell (verdicts, statistics); what it lacks, or QEMU does,
 * is concluded from the five commands as far as they go, and what is only a bound is marked.
 */
#ifndef CLIENT_TOP_MODEL_H
#define CLIENT_TOP_MODEL_H

#include "client/session.h"

/* Beyond that devices are not listed. */
#define TOP_MAX_DEVICES 4096
#define TOP_MAX_QUEUES	1024 /* of a device */
/* With more devices, verdicts about those that are not on the screen come every so many samples. */
#define TOP_BULK_DEVICES 64
#define TOP_BULK_EVERY	 5
/* Without a verdict of the server: requests in flight and no answer for so long is called stuck. */
#define TOP_STUCK_S 5

enum top_severity { TOP_UNKNOWN, TOP_OK, TOP_NOTED, TOP_STUCK };

/* A number that may not be known (-1), and may be a bound only. */
struct top_number {
	int64_t value;
	bool rough;
};

struct top_queue {
	bool asked; /* something is known */
	bool on_screen; /* the screen's to set: such ones are asked about every time */
	int64_t size, waiting, in_flight; /* -1: not known */
	struct top_number oldest_ns, rate; /* rate: answers a second */
	int64_t latency_ns; /* median of the last interval; -1: not known */
	enum top_severity severity;
	char *verdict, *sentence, *advice, *role; /* NULL: none */
	int64_t avail_idx, last_avail_idx, used_idx; /* -1: not known */

	/* What the next sample is compared with. */
	uint64_t used_ns, moved_ns, counted_ns;
	int64_t completed; /* -1: not counted there */
	uint64_t *buckets;
	size_t num_buckets;
};

struct top_device {
	char *path, *name, *type;
	struct top_queue *queues;
	unsigned int num_queues;
	/* Where there is no queue to say it of. */
	struct top_queue self;
};

/* What a monitor understands. */
struct top_abilities {
	bool health, stats, inflight, elements, transcript;
};

struct top_model {
	struct session session;
	struct top_abilities can;
	struct top_device *devices;
	size_t num_devices;
	char *server, *vm_name, *vm_status;
	uint64_t sampled_ns; /* CLOCK_MONOTONIC; 0: never */
	unsigned int num_samples;
	bool all; /* this sample is about every queue */
	/* Why there is no connection; "" while there is one. */
	struct err problem;
	uint64_t problem_ns; /* since when */
};

/* The connection is of no use any more, because of @err. */
void top_model_lost(struct top_model *model, const struct err *err);
/* Connects. A failure leaves what is known, and is in @problem too. */
int top_connect(struct top_model *model, struct err *err);
void top_model_deinit(struct top_model *model);
/*
 * Takes a sample; connects again where the connection was lost. @wanted: devices whose queues are
 * on the screen (by index, @num_wanted of them); NULL: all. Failure: @problem tells.
 */
void top_sample(struct top_model *model, const size_t *wanted, size_t num_wanted);

/* Empties and frees what a queue owns. */
void top_queue_clear(struct top_queue *queue);
/* The queue, made where the device has fewer. NULL beyond TOP_MAX_QUEUES. */
struct top_queue *top_device_queue(struct top_device *device, unsigned int index);
/* Forgets queues from @num on. */
void top_device_trim(struct top_device *device, unsigned int num);
/* Sets a string that the model owns. @text may be NULL. */
void top_set_text(char **where, const char *text);

#endif
