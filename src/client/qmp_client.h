/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A blocking QMP client for command-line tools, for our monitor and for QEMU's (from 7.2). One
 * thread, no loop: each call returns with a result, with the server's refusal, or at its deadline.
 * What the server sends is bounded and never trusted; json-c objects carry it, so that members
 * which a newer or an older server has or lacks are the caller's to judge.
 */
#ifndef CLIENT_QMP_CLIENT_H
#define CLIENT_QMP_CLIENT_H

#include <json-c/json.h>

#include "base/err.h"
#include "base/util.h"

#define QMP_CLIENT_TIMEOUT_MS 5000
/* One message of a server; more is refused. */
#define QMP_CLIENT_MAX_MESSAGE_BYTES (4u << 20)

struct qmp_client;

struct qmp_client_options {
	/* "unix:PATH", "tcp:HOST:PORT" ("tcp:[::1]:PORT", "tcp::PORT" is loopback), or a path. */
	const char *address;
	/* For the connection with its greeting, and again for each request; 0 is the default. */
	unsigned int timeout_ms;
	/* Called for each event that arrives while a reply is awaited; NULL: they are skipped. */
	void (*on_event)(void *opaque, const char *name, struct json_object *event);
	/* Called once, with a sentence, where a server takes the connection and then stays silent.
	 */
	void (*on_wait)(void *opaque, const char *sentence);
	void *opaque;
};

/* What the greeting says. */
struct qmp_client_server {
	unsigned int major, minor, micro; /* of QEMU's interface */
	const char *package; /* "" where it gives none; lives as long as the client */
	bool is_ringside; /* our package name; anything else is treated as QEMU */
};

/*
 * Connects, reads the greeting and negotiates. -errno with a sentence: -ENOENT (no such socket),
 * -ECONNREFUSED (nobody listens), -ETIMEDOUT (silent), -EPROTO (no QMP server), -EMSGSIZE,
 * -ECONNRESET.
 */
int qmp_client_open(
	const struct qmp_client_options *options, struct qmp_client **ret, struct err *err);
void qmp_client_close(struct qmp_client *client);

/*
 * Runs one command and waits for its reply. @arguments (borrowed, may be NULL) is its object. 0:
 * *ret is a new reference to what it returned (NULL for a JSON null). -EREMOTEIO: the server
 * refused; the sentence is the server's, made printable, and qmp_client_error_class() tells the
 * class. Anything else is the connection's failure: it is closed then and further calls are
 * -ENOTCONN.
 */
int qmp_client_execute(struct qmp_client *client, const char *command,
	struct json_object *arguments, struct json_object **ret, struct err *err);
/* Of the last refusal, "" where there was none. Lives until the next call. */
const char *qmp_client_error_class(const struct qmp_client *client);
const struct qmp_client_server *qmp_client_server(const struct qmp_client *client);
/* The address as it was given. */
const char *qmp_client_address(const struct qmp_client *client);

/* Replaces control characters, which could steer a terminal, by '?'; in place. */
void qmp_client_make_printable(char *text);

#endif
