/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A small HTTP server for one text: GET /metrics. It answers one request a connection and closes
 * it. Whatever a client sends or does not take, it costs a bounded amount of memory for a bounded
 * time. Main loop.
 */
#ifndef MONITOR_METRICS_H
#define MONITOR_METRICS_H

#include <stdio.h>

#include "base/err.h"
#include "base/loop.h"

/* At a time; others wait in the socket's queue. */
#define METRICS_MAX_CLIENTS 8
/* Of a request with all its headers. */
#define METRICS_MAX_REQUEST_BYTES 8192
/* From accepting a client to the last byte that it took. */
#define METRICS_CLIENT_MS 5000

struct metrics_server;

/*
 * Listens on "HOST:PORT" (an empty HOST is loopback) or "unix:PATH". @write writes the text.
 * -errno with a sentence.
 */
int metrics_open(struct loop *loop, const char *address, void (*write)(void *opaque, FILE *out),
	void *opaque, struct metrics_server **ret, struct err *err);
/* NULL is fine. */
void metrics_free(struct metrics_server *server);
/* "tcp:127.0.0.1:9100", "unix:/run/x". */
const char *metrics_address(const struct metrics_server *server);

#endif
