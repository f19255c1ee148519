/* SPDX-License-Identifier: BSD-3-Clause */
/* The command line of a user-mode Linux kernel, and the environment that goes with it. */
#ifndef MACHINE_UML_CMDLINE_H
#define MACHINE_UML_CMDLINE_H

#include "machine/machine.h"

/* Below $dir: the kernel's own folder, with the socket of its management console. */
#define UML_UMID "guest"

/* What the kernel itself takes as a command line; all arguments and a separator after each. */
#define UML_CMDLINE_MAX 4095
/* User-mode Linux needs about this much to unpack a small initramfs. */
#define UML_MEMORY_MIN (32ull << 20)
#define UML_MEMORY_MAX (64ull << 30)

/*
 * Builds argv, ended by NULL: @kernel, then what ringside sets, then one argument a device, then
 * cfg->append, split at white space outside double quotes. @kernel and @initrd (may be NULL) are
 * names that the guest's process can open. Refuses, with a sentence: memory out of bounds, sockets
 * whose names the kernel would cut at a colon, space or quote, or that are too long, append
 * arguments that undo what ringside sets, and a line that is too long altogether. *ret is for
 * uml_argv_free().
 */
int uml_cmdline(const struct machine_config *cfg, const char *dir, const char *kernel,
	const char *initrd, char ***ret, struct err *err);

/* A copy of the environment @env with TMPDIR set to @tmpdir; for uml_argv_free(). */
char **uml_environment(char *const *env, const char *tmpdir);

void uml_argv_free(char **argv);

#endif
