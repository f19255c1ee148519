/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Tries what user-mode Linux would need later, where a failure could only be read from its output:
 * kernel and initrd that can be read, tracing, room for the memory file.
 */
#include "machine/uml_host.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ptrace.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/alloc.h"
#include "base/cleanup.h"
#include "base/host_open.h"

static const char *const default_kernels[] = { "/usr/bin/linux.uml", "/usr/bin/linux" };

const char *uml_default_kernel(struct err *err)
{
	size_t i;

	for (i = 0; i < ARRAY_SIZE(default_kernels); i++)
		if (access(default_kernels[i], F_OK) == 0)
			return default_kernels[i];
	err_set(err, -ENOENT,
		"there is no user-mode Linux kernel at %s: install the package user-mode-linux, or "
		"name one with --kernel",
		default_kernels[0]);
	return NULL;
}

int uml_file_init(
	struct uml_file *file, const char *spec, const char *what, int guest_fd, struct err *err)
{
	_cleanup_fd_ int fd = host_open(spec, O_RDONLY, 0, err);
	struct stat st;
	int inherited;

	if (fd < 0)
		return err_prefix(err, fd, "%s", what);
	if (fstat(fd, &st) < 0 || !S_ISREG(st.st_mode))
		return err_set(err, -EINVAL, "%s '%s' is no regular file", what, spec);
	if (host_spec_fd(spec, &inherited)) {
		file->name = xasprintf("/proc/self/fd/%d", guest_fd);
		file->fd = take_fd(&fd);
		return 0;
	}
	/* The kernel's command line has no quoting for it. */
	if (strpbrk(spec, " \t\n\""))
		return err_set(err, -EINVAL,
			"%s '%s' has a space or a quote in its name: expected none; hand it over "
			"as fd=N",
			what, spec);
	file->name = strchr(spec, '/') ? xstrdup(spec) : xasprintf("./%s", spec);
	return 0;
}

void uml_file_deinit(struct uml_file *file)
{
	close_fd(&file->fd);
	free(take_ptr(file->name));
}

int uml_check_ptrace(struct err *err)
{
	pid_t pid = fork();
	int status = 0, r = 0;

	if (pid == 0) {
		if (ptrace(PTRACE_TRACEME, 0, NULL, NULL) < 0)
			_exit(1);
		kill(getpid(), SIGSTOP);
		_exit(1);
	}
	if (pid < 0)
		return err_set(err, -errno, "cannot start a process: %m");
	while (waitpid(pid, &status, 0) < 0 && errno == EINTR)
		;
	if (!WIFSTOPPED(status))
		r = -EPERM;
	else if (ptrace(PTRACE_SETOPTIONS, pid, NULL, (void *)PTRACE_O_TRACESYSGOOD) < 0)
		r = -EPERM;
	if (WIFSTOPPED(status)) {
		kill(pid, SIGKILL);
		while (waitpid(pid, &status, 0) < 0 && errno == EINTR)
			;
	}
	if (r == 0)
		return 0;
	return err_set(err, r,
		"user-mode Linux cannot run here: tracing a process (ptrace) is not permitted; in "
		"a "
		"container allow it, for instance with --cap-add=SYS_PTRACE");
}

static bool has_room(const char *folder, uint64_t bytes, bool *noexec)
{
	struct statvfs fs;

	if (statvfs(folder, &fs) < 0 || access(folder, W_OK | X_OK) < 0)
		return false;
	*noexec = fs.f_flag & ST_NOEXEC;
	return !*noexec && fs.f_bavail >= bytes / (fs.f_frsize ? fs.f_frsize : 1);
}

const char *uml_memory_folder(uint64_t bytes, const char *dir, struct err *err)
{
	const char *const folders[] = { "/dev/shm", dir, "/tmp" };
	bool noexec;
	size_t i;

	for (i = 0; i < ARRAY_SIZE(folders); i++)
		if (has_room(folders[i], bytes, &noexec))
			return folders[i];
	err_set(err, -ENOSPC,
		"the guest's memory of %" PRIu64 " MiB has no room: neither /dev/shm nor '%s' has "
		"that much free on a file system that may map code; use a smaller --memory",
		bytes >> 20, dir);
	return NULL;
}
