/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Finds, and makes, the folder of monitor sockets. Refuses a folder in the temporary directory that
 * somebody else made or can write to: a client would talk to whoever put a socket there.
 */
#include "base/rundir.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "base/alloc.h"
#include "base/cleanup.h"

/* The path, and whether it stands where others may write. */
static char *choose(bool *ret_shared)
{
	const char *runtime = getenv("XDG_RUNTIME_DIR");
	const char *tmp = getenv("TMPDIR");

	*ret_shared = false;
	if (runtime && runtime[0] == '/')
		return xasprintf("%s/ringside", runtime);
	if (geteuid() == 0)
		return xstrdup("/run/ringside");
	*ret_shared = true;
	return xasprintf(
		"%s/ringside-%u", tmp && tmp[0] == '/' ? tmp : "/tmp", (unsigned int)geteuid());
}

static int check(const char *path, bool shared, struct err *err)
{
	struct stat st;

	/* In a shared place a link is as foreign as a folder of somebody else's. */
	if ((shared ? lstat(path, &st) : stat(path, &st)) < 0)
		return err_set(
			err, -errno, "cannot look at folder '%s': %s", path, strerror(errno));
	if (!S_ISDIR(st.st_mode))
		return err_set(err, -ENOTDIR,
			"'%s' should be the folder of monitor sockets but is no folder; remove it "
			"or set XDG_RUNTIME_DIR",
			path);
	if (!shared)
		return 0;
	if (st.st_uid != geteuid())
		return err_set(err, -EPERM,
			"folder '%s' belongs to user %u, expected %u; set XDG_RUNTIME_DIR to a "
			"folder of yours",
			path, (unsigned int)st.st_uid, (unsigned int)geteuid());
	if (st.st_mode & 077)
		return err_set(err, -EPERM,
			"folder '%s' has mode %03o, expected 700; run 'chmod 700 %s'", path,
			(unsigned int)(st.st_mode & 0777), path);
	return 0;
}

int rundir_path(bool create, char **ret, struct err *err)
{
	bool shared;
	_cleanup_free_ char *path = choose(&shared);
	int r;

	if (create && mkdir(path, 0700) < 0 && errno != EEXIST)
		return err_set(err, -errno,
			"cannot make folder '%s' for the monitor's socket: %s; set XDG_RUNTIME_DIR "
			"to a folder that you can write to",
			path, strerror(errno));
	r = check(path, shared, err);
	if (r < 0)
		return r;
	*ret = take_ptr(path);
	return 0;
}

bool rundir_name_ok(const char *name)
{
	size_t len = strlen(name);

	return len > 0 && len <= RUNDIR_NAME_MAX_BYTES && name[0] != '.' && name[0] != '-' &&
	       strspn(name, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789._-+") ==
		       len;
}

int rundir_socket(const char *name, bool create, char **ret, struct err *err)
{
	_cleanup_free_ char *folder = NULL;
	_cleanup_free_ char *path = NULL;
	int r;

	if (!rundir_name_ok(name))
		return err_set(err, -EINVAL,
			"'%s' is no name for an instance: expected 1 to %d letters, digits and "
			"._-+ that do not begin with '.' or '-'",
			name, RUNDIR_NAME_MAX_BYTES);
	r = rundir_path(create, &folder, err);
	if (r < 0)
		return r;
	path = xasprintf("%s/%s" RUNDIR_SUFFIX, folder, name);
	if (strlen(path) >= sizeof(((struct sockaddr_un *)NULL)->sun_path))
		return err_set(err, -EINVAL,
			"socket path '%s' is longer than the %zu bytes that the kernel takes; set "
			"XDG_RUNTIME_DIR to a shorter one or choose a shorter name",
			path, sizeof(((struct sockaddr_un *)NULL)->sun_path) - 1);
	*ret = take_ptr(path);
	return 0;
}
