/* SPDX-License-Identifier: BSD-3-Clause */
/* The command line of `ringside serve`, `ringside run` and `ringside relay`, as a struct. */
#ifndef BIN_HOST_OPTIONS_H
#define BIN_HOST_OPTIONS_H

#include "base/cmdline.h"
#include "machine/machine.h"

#define HOST_DEFAULT_MEMORY "256M"

/* Which of them. */
enum host_kind { HOST_SERVE, HOST_RUN, HOST_RELAY };

struct host_options {
	/* As they were written. */
	const char *name;
	struct cmd_list qmp, monitor, objects, devices;
	bool read_only;
	const char *metrics; /* NULL: not served */
	const char *stall_text;
	const char *stall_dir; /* NULL: none */
	const char *ready_fd_text;
	bool reconnect; /* relay */
	const char *outage_ms;
	const char *machine_name, *kernel, *initrd, *append, *memory_text, *console;

	/* What follows from it. */
	const struct machine_ops *machine; /* NULL: serve and relay */
	int ready_fd; /* -1: none */
	bool has_stall_ms;
	uint32_t stall_ms;
	uint64_t memory_bytes;
};

/*
 * 0 with @ret filled in; 1 where help was asked for, and printed; -EINVAL with a sentence. Either
 * way host_options_free() releases it.
 */
int host_options_parse(
	int argc, char **argv, enum host_kind kind, struct host_options *ret, struct err *err);
void host_options_free(struct host_options *options);

#endif
