/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The monitor's server: several clients at once, each with its greeting, its negotiation and its
 * requests, which run in order and one at a time. It speaks QMP, or to people. Everything runs on
 * the main loop. The commands themselves are the handlers' business; qmp_capabilities,
 * query-version, query-commands and query-qmp-schema are the monitor's own.
 */
#ifndef MONITOR_MONITOR_H
#define MONITOR_MONITOR_H

#include "base/err.h"
#include "base/listen.h"
#include "base/loop.h"
#include "qapi/commands.h"

/* Clients of one monitor at a time; another one is turned away. */
#define MONITOR_MAX_SESSIONS 16
/* While a client has more than this to read, its next request waits. */
#define MONITOR_PAUSE_OUTPUT_BYTES (1u << 20)
/* A client for which more than this waits (events go on) is dropped. */
#define MONITOR_MAX_OUTPUT_BYTES (8u << 20)
/* So is one whose next request waits and that read nothing for so long. */
#define MONITOR_STALL_MS 5000

struct monitor;

struct monitor_config {
	struct loop *loop;
	/* Both live as long as the monitor; @ctx is what a handler finds in call->ctx. */
	const struct qapi_handlers *handlers;
	void *ctx;
	/* Refuse every command that changes something. */
	bool read_only;
	/* Speak the human monitor's language (monitor/hmp.h) instead of QMP; not on tcp. */
	bool human;
};

/*
 * Listens on "unix:PATH" (with ",mode=0660", ",group=NAME" behind it if wanted), "unix:fd=N" (a
 * listening socket that we were started with), "tcp:HOST:PORT" (an empty HOST is loopback), or
 * serves one client on "stdio". -errno with a sentence.
 */
int monitor_open(const struct monitor_config *config, const char *address, struct monitor **ret,
	struct err *err);
/* Takes over a listening socket. */
struct monitor *monitor_open_listener(
	const struct monitor_config *config, struct listener *listener, struct err *err);
/*
 * Serves one client that writes to @in_fd and reads from @out_fd (they may be the same socket).
 * They are borrowed only for the call and left in the mode in which they are: the monitor opens its
 * own.
 */
int monitor_open_fds(const struct monitor_config *config, int in_fd, int out_fd,
	struct monitor **ret, struct err *err);
/*
 * Ends all sessions, after one last try to send what waits, and removes the socket. Calls that are
 * pending stay their handlers' to finish; nobody hears of it. NULL is fine.
 */
void monitor_free(struct monitor *monitor);

/* Sends @event (borrowed; see events.h) to every client that has negotiated. */
void monitor_emit(struct monitor *monitor, struct json_object *event);

/* "unix:/run/x.qmp", "tcp:127.0.0.1:4444", "stdio". Lives as long as the monitor. */
const char *monitor_address(const struct monitor *monitor);

#endif
