/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Reads the reply of query-virtio-sources. @sources may be NULL, or anything that a server sent:
 * what is not there is "". Results are borrowed from @sources.
 */
#ifndef CLIENT_SOURCES_H
#define CLIENT_SOURCES_H

#include <json-c/json.h>

/* The note of @member; "" where there is none. */
const char *sources_note(struct json_object *sources, const char *member);
/* The same of a queue's member. */
const char *sources_queue_note(struct json_object *sources, unsigned int queue, const char *member);
/* "requestq": what the queue is for; "" where the monitor does not tell. */
const char *sources_role(struct json_object *sources, unsigned int queue);
/*
 * What stands beside the member called @prefix and @member: "(unknown: this transport does not
 * carry it)", or "". The caller frees it.
 */
char *sources_mark(struct json_object *sources, const char *prefix, const char *member);

#endif
