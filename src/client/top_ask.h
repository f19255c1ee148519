/* SPDX-License-Identifier: BSD-3-Clause */
/* The questions that a sample consists of, and what is concluded from their replies. */
#ifndef CLIENT_TOP_ASK_H
#define CLIENT_TOP_ASK_H

#include "client/top_model.h"

/*
 * Each: 0, also where the server refuses or QEMU must not be asked (then that is the queue's
 * sentence); only a lost connection fails.
 */

/* Verdicts about one device, or about all where it is NULL. */
int top_ask_health(struct top_model *model, struct top_device *device, struct err *err);
/* Counters and service times, likewise. */
int top_ask_stats(struct top_model *model, struct top_device *device, struct err *err);
/* What the five commands tell about a device and its queues; for a monitor without verdicts. */
int top_ask_basic(struct top_model *model, struct top_device *device, struct err *err);

/* The device at @path, NULL where there is none. */
struct top_device *top_find_device(struct top_model *model, const char *path);

#endif
