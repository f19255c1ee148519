/* SPDX-License-Identifier: BSD-3-Clause */
/* Where a monitor is: addresses, and the folder of running instances. Command-line tools; blocking.
 */
#ifndef CLIENT_QMP_CONNECT_H
#define CLIENT_QMP_CONNECT_H

#include "base/err.h"
#include "base/util.h"

/*
 * Connects to "unix:PATH", "tcp:HOST:PORT" or a bare path until @deadline_ns (CLOCK_MONOTONIC). The
 * descriptor, non-blocking, or -errno with a sentence.
 */
int qmp_connect(const char *address, uint64_t deadline_ns, struct err *err);

/*
 * The address of the one instance that runs for this user, into *ret, which the caller frees.
 * Sockets that nobody listens on are passed over. -ENOENT where none runs, -EEXIST where several
 * do: the sentence lists their names.
 */
int qmp_discover(char **ret, struct err *err);
/*
 * What the user wrote after --qmp, as an address that the caller frees: a bare word that is no file
 * but the name of an instance stands for that instance's socket; anything else stays as it is.
 */
char *qmp_address_of(const char *word);

#endif
