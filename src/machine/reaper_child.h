/* SPDX-License-Identifier: BSD-3-Clause */
/* The reaper's own process and what it tells us; machine/reaper.h has its purpose. */
#ifndef MACHINE_REAPER_CHILD_H
#define MACHINE_REAPER_CHILD_H

#include <stdint.h>
#include <sys/types.h>

struct reaper_spawn;

enum reaper_kind {
	REAPER_STARTED, /* value: the guest's process */
	REAPER_FAILED, /* value: an errno */
	REAPER_EXITED, /* value: a status of waitpid(); nothing is left */
};

/* One packet on the socket. We send none: our end's closing is the order to end the guest. */
struct reaper_report {
	uint32_t kind;
	int32_t value;
};

/* Forks the reaper, whose end of the socket is @fd. Returns its pid, or -1 with errno. */
pid_t reaper_child_fork(const struct reaper_spawn *spawn, int fd);

#endif
