/* SPDX-License-Identifier: BSD-3-Clause */
/* A queue and its requests as text; the rest is client/show.h. @path: canonical, for the title. */
#ifndef CLIENT_SHOW_QUEUE_H
#define CLIENT_SHOW_QUEUE_H

#include "client/show.h"

void show_queue(
	const struct show *show, const char *path, unsigned int queue, struct json_object *reply);
void show_vhost_queue(
	const struct show *show, const char *path, unsigned int queue, struct json_object *reply);
void show_element(
	const struct show *show, const char *path, unsigned int queue, struct json_object *reply);

#endif
