/* SPDX-License-Identifier: BSD-3-Clause */
/* A device as text, in a few lines. */
#ifndef CLIENT_SHOW_SUMMARY_H
#define CLIENT_SHOW_SUMMARY_H

#include "client/show.h"

/*
 * A device in the summary: its list entry, its status or the sentence that stands for it, and its
 * queues' status (an array; NULL entries are left out) or a sentence.
 */
struct show_device {
	const char *name, *path;
	struct json_object *status;
	const char *no_status;
	struct json_object *queues;
	const char *no_queues;
	struct json_object *sources; /* as in struct show; NULL: the monitor does not tell */
};
void show_summary(const struct show *show, const struct show_device *device);

#endif
