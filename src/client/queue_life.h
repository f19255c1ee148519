/* SPDX-License-Identifier: BSD-3-Clause */
/* What a queue does, as text: its events, its requests in flight, its ring. */
#ifndef CLIENT_QUEUE_LIFE_H
#define CLIENT_QUEUE_LIFE_H

#include "client/show.h"

void queue_life_show_trace(
	const struct show *show, const char *path, unsigned int queue, struct json_object *reply);
void queue_life_show_inflight(const struct show *show, const char *path, struct json_object *reply);
void queue_life_show_elements(
	const struct show *show, const char *path, unsigned int queue, struct json_object *reply);

#endif
