/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * What the subcommands that look share: a connection to the one monitor they look at, a user's word
 * made a device's path, harmful queries held back from QEMU, refusals explained. Blocking; a
 * failure is -errno with one sentence, as client/qmp_client.h says it.
 */
#ifndef CLIENT_SESSION_H
#define CLIENT_SESSION_H

#include <json-c/json.h>

#include "base/cmdline.h"
#include "base/err.h"
#include "client/harm.h"
#include "client/qmp_client.h"

#define SESSION_DEFAULT_TIMEOUT_S 5
#define SESSION_MAX_TIMEOUT_S	  3600
struct session {
	const char *program; /* "ringside info": in front of what is said while waiting */
	const char *qmp; /* as the user gave it; NULL: the one instance that runs */
	uint64_t timeout_s; /* 0: the default */
	bool allow_harm;
	bool quiet; /* say nothing while waiting */
	struct qmp_client *client; /* NULL until session_open() */
};

/* Options that several commands have; the struct they are read to begins with its session. */
extern const struct cmd_option session_options[], session_timeout_options[], session_harm_options[];

/* How a subcommand that looks is called. */
struct session_command {
	const char *program; /* "ringside info" */
	const struct cmd_option *const *tables;
	const char *usage; /* up to the options */
	void (*print_more)(void); /* NULL, or what stands between the usage and the options */
	const char *after; /* NULL, or what stands behind the options */
	/* What the words mean that are no options. */
	int (*check)(void *base, struct err *err);
};

/* False: that was all, help or a complaint; the process ends with *ret_status. */
bool session_parse(
	const struct session_command *command, int argc, char **argv, void *base, int *ret_status);

/* Connects. Fails also with what client/qmp_connect.h says about finding an instance. */
int session_open(struct session *session, struct err *err);
void session_close(struct session *session);
bool session_is_qemu(const struct session *session);

/* As qmp_client_execute(), and a refusal's sentence says more where that helps. */
int session_execute(struct session *session, const char *command, struct json_object *arguments,
	struct json_object **ret, struct err *err);
/* The reply of x-query-virtio: an array, empty where there is no device. */
int session_list(struct session *session, struct json_object **ret, struct err *err);
/*
 * @word's device. A part of a path that fits one device becomes that device's path, which old
 * versions of QEMU need; one that fits none is the server's to judge. -ENOTUNIQ: it fits several.
 * The caller frees *ret, which is set in any case.
 */
int session_resolve(struct session *session, const char *word, char **ret, struct err *err);
/* 0: the query may be sent. -EPERM: it does harm there, see harm_check(). */
int session_check_harm(
	struct session *session, enum harm_query query, const char *path, struct err *err);
/*
 * The reply of query-virtio-sources, NULL where the monitor does not tell: without the marks the
 * numbers are still worth showing.
 */
struct json_object *session_sources(struct session *session, const char *path);
/* {"path": @path} */
struct json_object *session_path_argument(const char *path);

/*
 * Ends a subcommand that got @r: writes what is left of standard output, says the sentence of a
 * failure, and returns the process's exit status.
 */
int session_finish(const char *program, int r, struct err *err);

#endif
