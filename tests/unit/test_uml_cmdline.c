/* SPDX-License-Identifier: BSD-3-Clause */
/* machine/uml_cmdline: what user-mode Linux is told, and what it cannot be told. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "machine/uml_cmdline.h"

static const struct machine_device two[] = {
	{ "disk0", 2, "/run/a" },
	{ NULL, 3, "/run/b" },
};

/* One row: the configuration's odd part, and the arguments from after the fixed ones on. */
struct good {
	const char *append;
	unsigned int num_devices;
	const char *initrd;
	const char *tail[6];
};

static const struct good good[] = {
	{ NULL, 0, NULL, { NULL } },
	{ "", 0, "/i", { NULL } },
	{ "  quiet\tpanic=-1\n", 0, NULL, { "quiet", "panic=-1" } },
	{ "a=\"b c\" d", 0, NULL, { "a=\"b c\"", "d" } },
	{ "\"x y=1 2\"", 0, NULL, { "\"x y=1 2\"" } },
	{ NULL, 2, NULL, { "virtio_uml.device=/run/a:2:0", "virtio_uml.device=/run/b:3:1" } },
	/* The user's words come last, so that they win. */
	{ "con=xterm", 1, NULL, { "virtio_uml.device=/run/a:2:0", "con=xterm" } },
	/* Only whole words are reserved. */
	{ "amem=1 memmap", 0, NULL, { "amem=1", "memmap" } },
};

static void test_good(void **state)
{
	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(good); i++) {
		struct machine_config cfg = {
			.memory_bytes = 256ull << 20,
			.append = good[i].append,
			.devices = two,
			.num_devices = good[i].num_devices,
		};
		struct err err = { 0 };
		char **argv, **at;

		assert_int_equal(uml_cmdline(&cfg, "/run/d", "/k", good[i].initrd, &argv, &err), 0);
		at = argv;
		assert_string_equal(*at++, "/k");
		assert_string_equal(*at++, "mem=262144K");
		if (good[i].initrd)
			assert_string_equal(*at++, "initrd=/i");
		assert_string_equal(*at++, "uml_dir=/run/d/");
		assert_string_equal(*at++, "umid=guest");
		assert_string_equal(*at++, "mconsole=notify:/run/d/notify");
		assert_string_equal(*at++, "con=null");
		assert_string_equal(*at++, "con0=fd:0,fd:1");
		for (size_t k = 0; good[i].tail[k]; k++)
			assert_string_equal(*at++, good[i].tail[k]);
		assert_null(*at);
		uml_argv_free(argv);
	}
}

struct bad {
	uint64_t memory_bytes;
	const char *socket;
	const char *append;
	const char *says; /* a part of the sentence */
};

#define MIB_128 (128ull << 20)

static const struct bad bad[] = {
	{ 0, "/s", NULL, "0 bytes of memory" },
	{ UML_MEMORY_MIN - 1, "/s", NULL, "expected 32 MiB" },
	{ UML_MEMORY_MAX + 1, "/s", NULL, "64 GiB" },
	{ UINT64_MAX, "/s", NULL, "64 GiB" },
	{ MIB_128, "", NULL, "1 to 107 bytes" },
	{ MIB_128, "/a:b", NULL, "without spaces, colons" },
	{ MIB_128, "/a b", NULL, "without spaces, colons" },
	{ MIB_128, "/a\"b", NULL, "without spaces, colons" },
	{ MIB_128, "/a\nb", NULL, "without spaces, colons" },
	{ MIB_128,
		"/0123456789012345678901234567890123456789012345678901234567890123456789"
		"0123456789012345678901234567890123456789",
		NULL, "1 to 107 bytes" },
	{ MIB_128, "/s", "mem=1G", "use --memory" },
	{ MIB_128, "/s", "quiet initrd=/x", "use --initrd" },
	{ MIB_128, "/s", "umid=x", "umid=" },
	{ MIB_128, "/s", "uml_dir=/x", "uml_dir=" },
	{ MIB_128, "/s", "mconsole=notify:/x", "mconsole=" },
	{ MIB_128, "/s", "con0=null", "con0=" },
	{ MIB_128, "/s", "a \"b c", "double quote" },
};

static void refused(const struct bad *row)
{
	const struct machine_device dev = { "disk0", 2, row->socket };
	struct machine_config cfg = {
		.memory_bytes = row->memory_bytes,
		.append = row->append,
		.devices = &dev,
		.num_devices = 1,
	};
	struct err err = { 0 };
	char **argv = NULL;

	assert_true(uml_cmdline(&cfg, "/run/d", "/k", NULL, &argv, &err) < 0);
	assert_null(argv);
	if (!strstr(err.msg, row->says))
		fail_msg("'%s' does not say '%s'", err.msg, row->says);
}

static void test_bad(void **state)
{
	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(bad); i++)
		refused(&bad[i]);
}

/* The longest line that fits fits; one byte more does not. */
static void test_length(void **state)
{
	struct machine_config cfg = { .memory_bytes = MIB_128 };
	static char append[UML_CMDLINE_MAX + 1];
	char **argv = NULL;
	struct err err = { 0 };
	size_t used = 0;

	(void)state;
	assert_int_equal(uml_cmdline(&cfg, "/run/d", "/k", NULL, &argv, &err), 0);
	for (size_t i = 0; argv[i]; i++)
		used += strlen(argv[i]) + 1;
	uml_argv_free(argv);
	argv = NULL;

	cfg.append = append;
	memset(append, 'x', UML_CMDLINE_MAX - used - 1);
	assert_int_equal(uml_cmdline(&cfg, "/run/d", "/k", NULL, &argv, &err), 0);
	uml_argv_free(argv);
	argv = NULL;
	append[UML_CMDLINE_MAX - used - 1] = 'x';
	assert_true(uml_cmdline(&cfg, "/run/d", "/k", NULL, &argv, &err) < 0);
	assert_non_null(strstr(err.msg, "4096 bytes"));
	assert_null(argv);
}

static void test_environment(void **state)
{
	char *env[] = { "A=1", "TMPDIR=/old", "TMPDIRS=2", NULL };
	char **got = uml_environment(env, "/new");

	(void)state;
	assert_string_equal(got[0], "A=1");
	assert_string_equal(got[1], "TMPDIRS=2");
	assert_string_equal(got[2], "TMPDIR=/new");
	assert_null(got[3]);
	uml_argv_free(got);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_good),
		cmocka_unit_test(test_bad),
		cmocka_unit_test(test_length),
		cmocka_unit_test(test_environment),
	};

	return cmocka_run_group_tests_name("uml_cmdline", tests, NULL, NULL);
}
