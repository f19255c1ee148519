/* SPDX-License-Identifier: BSD-3-Clause */
/* `ringside info iothreads`: the threads that serve queues, and which queues each serves. */
#ifndef CLIENT_IOTHREADS_H
#define CLIENT_IOTHREADS_H

#include "client/qmp_client.h"
#include "client/show.h"

/*
 * @reply: of query-iothreads. A Ringside monitor is asked what each thread serves; where it does
 * not tell, as QEMU does not, that is left out.
 */
void iothreads_show(const struct show *show, struct qmp_client *client, struct json_object *reply);

#endif
