/* SPDX-License-Identifier: BSD-3-Clause */
/* `ringside info features` and `findings`: replies as text for people. */
#ifndef CLIENT_FEATURES_H
#define CLIENT_FEATURES_H

#include "client/show.h"

/* The reply of query-virtio-negotiation. */
void features_show(const struct show *show, const char *path, struct json_object *reply);
/* The reply of query-vhost-user-findings. */
void findings_show(const struct show *show, const char *path, struct json_object *reply);

#endif
