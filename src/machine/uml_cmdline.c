/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Command lines of user-mode Linux. The kernel gets its arguments as one line, joined by spaces,
 * and has no way to quote a socket's name, so names with characters that mean something there are
 * refused. Kernel arguments that come last win; those that would cut our ties to the guest are
 * refused.
 */
#include "machine/uml_cmdline.h"

#include <ctype.h>
#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <sys/un.h>

#include "base/alloc.h"
#include "base/cleanup.h"

struct args {
	char **argv;
	size_t num;
	size_t bytes; /* as the kernel will count them */
};

static void add(struct args *args, char *text)
{
	args->argv = xreallocarray(args->argv, args->num + 2, sizeof(*args->argv));
	args->argv[args->num++] = text;
	args->argv[args->num] = NULL;
	args->bytes += strlen(text) + 1;
}

static void args_deinit(struct args *args)
{
	uml_argv_free(args->argv);
}

void uml_argv_free(char **argv)
{
	size_t i;

	for (i = 0; argv && argv[i]; i++)
		free(argv[i]);
	free(argv);
}

static int add_device(
	struct args *args, const struct machine_device *dev, unsigned int n, struct err *err)
{
	const char *id = dev->id ? dev->id : "without an id";
	const char *c;

	for (c = dev->socket; *c; c++)
		if ((unsigned char)*c <= ' ' || strchr(":\"'\\", *c))
			return err_set(err, -EINVAL,
				"device %s listens on '%s', which user-mode Linux cannot be told: "
				"expected a path without spaces, colons and quotes",
				id, dev->socket);
	if (!*dev->socket || strlen(dev->socket) >= sizeof(((struct sockaddr_un *)0)->sun_path))
		return err_set(err, -EINVAL,
			"device %s listens on '%s': expected a socket's path of 1 to %zu bytes", id,
			dev->socket, sizeof(((struct sockaddr_un *)0)->sun_path) - 1);
	/* The number names the platform device, so that names do not depend on what comes with it.
	 */
	add(args, xasprintf("virtio_uml.device=%s:%u:%u", dev->socket, dev->virtio_id, n));
	return 0;
}

static const struct {
	const char *prefix;
	const char *instead;
} reserved[] = {
	{ "mem=", "use --memory" },
	{ "initrd=", "use --initrd" },
	{ "umid=", "ringside finds the guest by it" },
	{ "uml_dir=", "ringside finds the guest by it" },
	{ "mconsole=", "ringside listens there" },
	{ "con0=", "the console goes where --console says" },
};

static int add_word(struct args *args, const char *word, size_t len, struct err *err)
{
	size_t i;

	for (i = 0; i < ARRAY_SIZE(reserved); i++)
		if (!strncmp(word, reserved[i].prefix, strlen(reserved[i].prefix)))
			return err_set(err, -EINVAL, "--append cannot set '%s': %s",
				reserved[i].prefix, reserved[i].instead);
	add(args, xstrndup(word, len));
	return 0;
}

/* As the kernel splits: at white space that is not between double quotes; quotes stay. */
static int add_append(struct args *args, const char *text, struct err *err)
{
	while (*text) {
		const char *word;
		bool quoted = false;
		int r;

		while (isspace((unsigned char)*text))
			text++;
		for (word = text; *text && (quoted || !isspace((unsigned char)*text)); text++)
			quoted ^= *text == '"';
		if (quoted)
			return err_set(err, -EINVAL,
				"--append has a double quote without its partner: '%s'", word);
		r = text > word ? add_word(args, word, (size_t)(text - word), err) : 0;
		if (r < 0)
			return r;
	}
	return 0;
}

static int check_memory(uint64_t bytes, struct err *err)
{
	if (bytes >= UML_MEMORY_MIN && bytes <= UML_MEMORY_MAX)
		return 0;
	return err_set(err, -EINVAL,
		"machine 'uml' cannot have %" PRIu64
		" bytes of memory: expected %llu MiB to %llu GiB",
		bytes, UML_MEMORY_MIN >> 20, UML_MEMORY_MAX >> 30);
}

int uml_cmdline(const struct machine_config *cfg, const char *dir, const char *kernel,
	const char *initrd, char ***ret, struct err *err)
{
	_cleanup_(args_deinit) struct args args = { 0 };
	unsigned int i;
	int r;

	r = check_memory(cfg->memory_bytes, err);
	if (r < 0)
		return r;
	add(&args, xstrdup(kernel));
	add(&args, xasprintf("mem=%" PRIu64 "K", cfg->memory_bytes >> 10));
	if (initrd)
		add(&args, xasprintf("initrd=%s", initrd));
	add(&args, xasprintf("uml_dir=%s/", dir));
	add(&args, xstrdup("umid=" UML_UMID));
	add(&args, xasprintf("mconsole=notify:%s/notify", dir));
	/* Without the first, further consoles would look for terminal programs on the host. */
	add(&args, xstrdup("con=null"));
	add(&args, xstrdup("con0=fd:0,fd:1"));
	for (i = 0; i < cfg->num_devices; i++) {
		r = add_device(&args, &cfg->devices[i], i, err);
		if (r < 0)
			return r;
	}
	r = cfg->append ? add_append(&args, cfg->append, err) : 0;
	if (r < 0)
		return r;
	if (args.bytes > UML_CMDLINE_MAX)
		return err_set(err, -E2BIG,
			"the guest's command line has %zu bytes: user-mode Linux takes %d; use "
			"fewer devices or a shorter --append",
			args.bytes, UML_CMDLINE_MAX);
	*ret = take_ptr(args.argv);
	return 0;
}

char **uml_environment(char *const *env, const char *tmpdir)
{
	struct args args = { 0 };

	for (; *env; env++)
		if (strncmp(*env, "TMPDIR=", 7))
			add(&args, xstrdup(*env));
	add(&args, xasprintf("TMPDIR=%s", tmpdir));
	return args.argv;
}
