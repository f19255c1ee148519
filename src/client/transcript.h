/* SPDX-License-Identifier: BSD-3-Clause */
/* The reply of query-vhost-user-transcript as text for people: a line a message. */
#ifndef CLIENT_TRANSCRIPT_H
#define CLIENT_TRANSCRIPT_H

#include "client/show.h"

/* @path: canonical, for the title. */
void transcript_show(const struct show *show, const char *path, struct json_object *reply);

#endif
