/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A small process between us and the guest, so that nothing of the guest outlives us, even if we
 * are killed by SIGKILL. It is a session leader and a subreaper: every process that the guest
 * forks, whatever group or session that one moves to, becomes its child in the end. When the
 * guest's first process ends, or the socket to us closes, it kills all of them, waits for each,
 * removes the private folder if we are gone, and tells us the guest's status. Main loop.
 */
#ifndef MACHINE_REAPER_H
#define MACHINE_REAPER_H

#include <sys/types.h>

#include "base/err.h"
#include "base/loop.h"

/* Descriptors that a guest gets besides 0, 1 and 2: they are 3 and 4 there. */
#define REAPER_EXTRA_FDS      2
#define REAPER_FIRST_EXTRA_FD 3

struct reaper_spawn {
	const char *program;
	char *const *argv;
	char *const *envp;
	int stdio_fd; /* becomes 0, 1 and 2 */
	int extra_fds[REAPER_EXTRA_FDS]; /* -1: none */
	const char *dir; /* to remove if we are gone; NULL: none */
};

struct reaper {
	struct loop_fd node; /* the socket to it; closing it ends the guest */
	pid_t pid; /* its own, 0: none */
	pid_t guest; /* leader of the guest's process group */
	/* All processes are gone. @wait_status is the guest's, as waitpid() gives it. Once. */
	void (*exited)(struct reaper *reaper, int wait_status);
};

/* ->exited is set. Returns when the program was executed; -errno with a sentence if it cannot be.
 */
int reaper_start(struct reaper *reaper, struct loop *loop, const struct reaper_spawn *spawn,
	struct err *err);
/* Kills the guest, whatever it waits for; exited() follows. */
void reaper_kill(struct reaper *reaper);
/* Kills the guest and waits for the end; exited() is not called. Idempotent, zeroed is fine. */
void reaper_deinit(struct reaper *reaper);

#endif
