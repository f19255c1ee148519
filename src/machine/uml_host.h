/* SPDX-License-Identifier: BSD-3-Clause */
/* What user-mode Linux needs of the host, tried out before it is started. Main loop. */
#ifndef MACHINE_UML_HOST_H
#define MACHINE_UML_HOST_H

#include "base/err.h"

/* A file that the guest's process opens. Zero-initialised plus fd -1 it is none. */
struct uml_file {
	int fd; /* to hand over; -1: it is opened by name */
	char *name; /* as the guest's process names it */
};

/*
 * @spec is a path or fd=N; @what is the word for it in messages. It is opened once to see that it
 * can be read; a descriptor is handed over and known to the guest as number @guest_fd.
 */
int uml_file_init(
	struct uml_file *file, const char *spec, const char *what, int guest_fd, struct err *err);
void uml_file_deinit(struct uml_file *file);

/* The installed kernel, or NULL with a sentence that names the package. Static storage. */
const char *uml_default_kernel(struct err *err);

/* Traces a child for a moment, which is how user-mode Linux runs processes. -EPERM with a sentence.
 */
int uml_check_ptrace(struct err *err);

/*
 * Where the guest's memory file can be: /dev/shm if it has @bytes free and maps code, else @dir.
 * NULL with a sentence where neither has.
 */
const char *uml_memory_folder(uint64_t bytes, const char *dir, struct err *err);

#endif
