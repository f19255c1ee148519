/* SPDX-License-Identifier: BSD-3-Clause */
/* The client's parts that need no server: which queries harm QEMU, tables, names of instances. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/rundir.h"
#include "base/value.h"
#include "client/harm.h"
#include "client/text.h"

enum expect { SENT, REFUSED, ASK };

static const struct {
	enum harm_query query;
	const char *type;
	unsigned int version;
	enum expect expect;
} harm_rows[] = {
	{ HARM_STATUS, "virtio-blk-device", 702, SENT },
	{ HARM_QUEUE, "virtio-blk-device", 702, SENT },
	{ HARM_VHOST_QUEUE, "virtio-blk-device", 702, SENT },
	{ HARM_ELEMENT, "virtio-blk-device", 702, REFUSED },
	{ HARM_ELEMENT, "virtio-blk-device", 1100, REFUSED },
	{ HARM_STATUS, "virtio-net-device", 702, SENT },
	{ HARM_QUEUE, "virtio-net-device", 702, ASK },
	{ HARM_QUEUE, "virtio-crypto-device", 902, ASK },
	{ HARM_STATUS, "vhost-user-blk", 702, SENT },
	{ HARM_VHOST_QUEUE, "vhost-user-blk", 1000, SENT },
	{ HARM_QUEUE, "vhost-user-blk", 702, REFUSED },
	{ HARM_QUEUE, "vhost-vsock-device", 702, SENT },
	{ HARM_STATUS, "vhost-user-rng", 702, SENT },
	{ HARM_STATUS, "vhost-user-rng", 802, SENT },
	{ HARM_STATUS, "vhost-user-rng", 900, REFUSED },
	{ HARM_VHOST_QUEUE, "vhost-user-rng", 1002, REFUSED },
	{ HARM_STATUS, "vhost-user-scsi", 702, REFUSED },
	{ HARM_STATUS, "vhost-user-scsi", 902, SENT },
	{ HARM_STATUS, "vhost-user-i2c-device", 702, REFUSED },
	{ HARM_STATUS, "vhost-user-i2c-device", 1002, REFUSED },
	{ HARM_VHOST_QUEUE, "vhost-user-i2c-device", 702, REFUSED },
	{ HARM_STATUS, "vhost-user-spi-device", 1100, REFUSED },
	{ HARM_STATUS, "vhost-user-gpio-device", 702, REFUSED },
	{ HARM_STATUS, "vhost-user-snd", 900, REFUSED },
	{ HARM_STATUS, "vhost-user-of-the-future", 1100, REFUSED },
	{ HARM_STATUS, "vhost-vdpa-device", 900, REFUSED },
	{ HARM_STATUS, "something-else", 702, REFUSED },
	{ HARM_STATUS, "", 702, REFUSED },
	{ HARM_QUEUE, "vhost-user-blk-pci", 702, SENT },
	{ HARM_ELEMENT, "virtio-rng-pci-transitional", 702, SENT },
};

static void test_harm_types(_unused_ void **state)
{
	for (size_t i = 0; i < ARRAY_SIZE(harm_rows); i++) {
		struct err err = { 0 };
		bool ask = true;
		int r = harm_check_type(
			harm_rows[i].query, harm_rows[i].type, harm_rows[i].version, &ask, &err);
		enum expect got = r < 0 ? REFUSED : ask ? ASK : SENT;

		if (got != harm_rows[i].expect || (r < 0 && !err.msg[0]))
			fail_msg("row %zu, %s in %u: %d '%s'", i, harm_rows[i].type,
				harm_rows[i].version, r, err.msg);
	}
}

static const struct {
	const char *status;
	bool sent;
} vhost_rows[] = {
	{ "{'vhost-started': false}", true },
	{ "{'vhost-started': true, 'vhost-dev': {'backend-cap': 2}}", true },
	{ "{'vhost-started': true, 'vhost-dev': {'backend-cap': 0}}", false },
	{ "{'vhost-started': true, 'vhost-dev': {}}", false },
	{ "{'vhost-started': true, 'vhost-dev': 7}", false },
	{ "{'vhost-started': true}", false },
	{ "{'vhost-started': 0}", false },
	{ "{}", false },
	{ "[]", false },
	{ "null", false },
};

static void test_harm_vhost(_unused_ void **state)
{
	for (size_t i = 0; i < ARRAY_SIZE(vhost_rows); i++) {
		const char *text = vhost_rows[i].status;
		struct json_object *status = NULL;
		struct err err = { 0 };

		assert_int_equal(value_parse_json(text, strlen(text), &status, &err), 0);
		if ((harm_check_vhost(status, &err) == 0) != vhost_rows[i].sent)
			fail_msg("%s: '%s'", text, err.msg);
		json_object_put(status);
	}
}

static void test_printable(_unused_ void **state)
{
	static const struct {
		const char *in, *out;
	} rows[] = {
		{ "", "" },
		{ "plain", "plain" },
		{ "\033[31mred\r\n\t\177", "?[31mred????" },
		{ "\xc3\xa9\xe2\x82\xac", "\xc3\xa9\xe2\x82\xac" },
		{ "\xc2\x9b"
		  "31m",
			"??31m" },
		{ "\xc2\xa0", "\xc2\xa0" },
		{ "cut \xc2", "cut \xc2" },
	};

	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		char *text = strdup(rows[i].in);

		qmp_client_make_printable(text);
		assert_string_equal(text, rows[i].out);
		free(text);
	}
}

/* Prints a table at @width and compares. */
static void check_table(unsigned int width, const char *expected)
{
	char *text = NULL;
	size_t len;
	struct text_out out = { .file = open_memstream(&text, &len), .width = width };
	struct text_table t = { .num_columns = 3, .right = 1 << 1, .indent = 1 };

	text_table_row(&t);
	text_table_cell(&t, 0, TEXT_BOLD, "a");
	text_table_cell(&t, 1, TEXT_PLAIN, "12345");
	text_table_cell(&t, 2, TEXT_PLAIN, "%s\n", "first and long");
	text_table_row(&t);
	text_table_cell(&t, 0, TEXT_PLAIN, "\xc3\xa9\xc3\xa9\xc3\xa9");
	text_table_cell(&t, 1, TEXT_PLAIN, "1");
	text_table_row(&t);
	text_table_cell(&t, 2, TEXT_PLAIN, "\xc3\xa9\xc3\xa9\xc3\xa9\xc3\xa9\xc3\xa9\xc3\xa9");
	text_table_row(&t);
	text_table_print(&t, &out);
	fclose(out.file);
	assert_string_equal(text, expected);
	free(text);
	assert_null(t.cells);
}

static void test_table(_unused_ void **state)
{
	check_table(0, " a    12345  first and long?\n \xc3\xa9\xc3\xa9\xc3\xa9      1\n"
		       "             \xc3\xa9\xc3\xa9\xc3\xa9\xc3\xa9\xc3\xa9\xc3\xa9\n\n");
	check_table(18, " a    12345  fi...\n \xc3\xa9\xc3\xa9\xc3\xa9      1\n"
			"             \xc3\xa9\xc3\xa9...\n\n");
	/* Nothing of it fits: then it is not cut at all. */
	check_table(5, " a    12345  first and long?\n \xc3\xa9\xc3\xa9\xc3\xa9      1\n"
		       "             \xc3\xa9\xc3\xa9\xc3\xa9\xc3\xa9\xc3\xa9\xc3\xa9\n\n");
}

static void test_names(_unused_ void **state)
{
	static const struct {
		const char *name;
		bool ok;
	} rows[] = {
		{ "a", true },
		{ "1234", true },
		{ "a.b_c-d+e", true },
		{ "", false },
		{ ".a", false },
		{ "-a", false },
		{ "a/b", false },
		{ "..", false },
		{ "a b", false },
		{ "a\n", false },
		{ "\xc3\xa9", false },
	};
	char longest[RUNDIR_NAME_MAX_BYTES + 2];

	for (size_t i = 0; i < ARRAY_SIZE(rows); i++)
		assert_int_equal(rundir_name_ok(rows[i].name), rows[i].ok);
	memset(longest, 'x', sizeof(longest));
	longest[RUNDIR_NAME_MAX_BYTES + 1] = '\0';
	assert_false(rundir_name_ok(longest));
	longest[RUNDIR_NAME_MAX_BYTES] = '\0';
	assert_true(rundir_name_ok(longest));
}

/* With the variable: made with the mode, found again, refused where a socket's path has no room. */
static void test_rundir(_unused_ void **state)
{
	char base[] = "/tmp/test-client-XXXXXX";
	char path[256];
	char *got = NULL;
	struct err err = { 0 };
	struct stat st;

	assert_non_null(mkdtemp(base));
	setenv("XDG_RUNTIME_DIR", base, 1);
	snprintf(path, sizeof(path), "%s/ringside", base);
	assert_int_equal(rundir_path(false, &got, &err), -ENOENT);
	assert_non_null(strstr(err.msg, path));
	assert_int_equal(rundir_path(true, &got, &err), 0);
	assert_string_equal(got, path);
	free(got);
	assert_int_equal(stat(path, &st), 0);
	assert_int_equal(st.st_mode & 0777, 0700);
	assert_int_equal(rundir_socket("x", false, &got, &err), 0);
	assert_int_equal(strcmp(got + strlen(got) - strlen("/x.qmp"), "/x.qmp"), 0);
	free(got);
	assert_int_equal(rundir_socket("a/b", true, &got, &err), -EINVAL);
	rmdir(path);
	/* A file in its place. */
	fclose(fopen(path, "w"));
	assert_int_equal(rundir_path(true, &got, &err), -ENOTDIR);
	unlink(path);
	rmdir(base);
	/* A parent that is not there. */
	assert_int_equal(rundir_path(true, &got, &err), -ENOENT);
	memset(path, 'd', 120);
	path[0] = '/';
	path[120] = '\0';
	setenv("XDG_RUNTIME_DIR", path, 1);
	assert_true(rundir_socket("x", false, &got, &err) < 0);
	unsetenv("XDG_RUNTIME_DIR");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_harm_types),
		cmocka_unit_test(test_harm_vhost),
		cmocka_unit_test(test_printable),
		cmocka_unit_test(test_table),
		cmocka_unit_test(test_names),
		cmocka_unit_test(test_rundir),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
