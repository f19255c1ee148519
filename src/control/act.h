/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * What an operator does to a queue on purpose: the kick or the interrupt that got lost, sent by
 * hand; a queue of ours stopped and let go on. Each is logged. Main loop.
 */
#ifndef CONTROL_ACT_H
#define CONTROL_ACT_H

#include "qapi/commands.h"

int control_cmd_virtqueue_kick(
	struct qapi_call *call, const char *path, uint16_t queue, struct qapi_error *error);
int control_cmd_virtqueue_call(
	struct qapi_call *call, const char *path, uint16_t queue, struct qapi_error *error);
int control_cmd_virtqueue_stop(
	struct qapi_call *call, const char *path, uint16_t queue, struct qapi_error *error);
int control_cmd_virtqueue_resume(
	struct qapi_call *call, const char *path, uint16_t queue, struct qapi_error *error);

#endif
