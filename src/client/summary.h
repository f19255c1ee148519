/* SPDX-License-Identifier: BSD-3-Clause */
/* `ringside info` without a verb: every device with its state and its queues. */
#ifndef CLIENT_SUMMARY_H
#define CLIENT_SUMMARY_H

#include "client/session.h"
#include "client/show.h"

/*
 * Asks and shows. @document: an array, borrowed, that gets what would be shown; NULL: it is shown.
 */
int summary_run(struct session *session, const struct show *show, struct json_object *document,
	struct err *err);

#endif
