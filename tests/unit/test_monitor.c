/* SPDX-License-Identifier: BSD-3-Clause */
/* The monitor, through a socket pair: the words of its replies. */
#include "tests/unit/monitor_fixture.h"

static void test_greeting(void **state)
{
	struct fixture *f = *state;

	open_pair(f, false);
	turn(f);
	assert_string_equal(f->seen,
		"{\"QMP\": {\"version\": {\"qemu\": {\"major\": 9, \"minor\": 2, \"micro\": 0}, "
		"\"package\": \"ringside " RINGSIDE_VERSION "\"}, \"capabilities\": []}}\r\n");
	assert_string_equal(monitor_address(f->monitor), "stdio");
}

struct row {
	const char *in, *out;
};

static const struct row before_rows[] = {
	{ "{\"execute\":\"query-name\"}", EXPECTING },
	{ "{\"execute\":\"nosuch\"}", EXPECTING },
	{ "{}", GENERIC("QMP input lacks member 'execute'") },
	{ "{'exec-oob':'query-name'}", GENERIC("QMP input member 'exec-oob' is unexpected") },
	{ "{'execute':'qmp_capabilities','arguments':{'enable':['bogus']}}",
		GENERIC("Parameter 'enable[0]' does not accept value 'bogus'") },
	{ "{'execute':'qmp_capabilities','arguments':{'enable':['oob']}}",
		GENERIC("Capability oob not available") },
	{ "{'execute':'qmp_capabilities','arguments':{'enable':[]},'id':'first'}",
		"{\"return\": {}, \"id\": \"first\"}\r\n" },
	{ "{'execute':'qmp_capabilities'}",
		NOT_FOUND("Capabilities negotiation is already complete, command ignored") },
};

static const struct row rows[] = {
	{ "{'execute':'query-name','id':1}", "{\"return\": {}, \"id\": 1}\r\n" },
	{ "{'execute':'query-name','id':null}", "{\"return\": {}, \"id\": null}\r\n" },
	{ "{'id':{'a':[1,2.50,null,true,'\\u00e9']},'execute':'query-name'}",
		"{\"return\": {}, \"id\": {\"a\": [1, 2.5, null, true, \"\\u00E9\"]}}\r\n" },
	{ "{'execute':'query-name','id':'\\u0000'}", "{\"return\": {}, \"id\": \"\\u0000\"}\r\n" },
	{ "{'execute':'nosuch','id':'x'}",
		"{\"error\": {\"class\": \"CommandNotFound\", \"desc\": \"The command nosuch has "
		"not been found\"}, \"id\": \"x\"}\r\n" },
	{ "{'execute':'quit'}", NOT_FOUND("The command quit has not been found") },
	{ "{'execute':1,'id':'x'}",
		"{\"error\": {\"class\": \"GenericError\", \"desc\": \"QMP input member 'execute' "
		"must be a string\"}, \"id\": \"x\"}\r\n" },
	{ "{'execute':'query-name','bogus':1}", GENERIC("QMP input member 'bogus' is unexpected") },
	{ "{'execute':'query-name','arguments':[]}",
		GENERIC("QMP input member 'arguments' must be an object") },
	{ "{'execute':'query-name','arguments':{'x':1}}", GENERIC("Parameter 'x' is unexpected") },
	{ "{'execute':'x-query-virtio-status','arguments':{}}",
		GENERIC("Parameter 'path' is missing") },
	{ "{'execute':'x-query-virtio-status','arguments':{'path':'/\\u00e9'}}",
		GENERIC("Path /\\u00E9 is not a VirtIODevice") },
	{ "{'arguments':{}}", GENERIC("QMP input lacks member 'execute'") },
	{ "[]", GENERIC("QMP input must be a JSON object") },
	{ "'str'", GENERIC("QMP input must be a JSON object") },
	{ "1\n", GENERIC("QMP input must be a JSON object") },
	{ "nonsense\n", GENERIC("JSON parse error, invalid keyword 'nonsense'") },
	{ "{'execute':", "" },
	{ "{'execute':\n}", GENERIC("JSON parse error, expecting value") },
	{ "}\n", GENERIC("JSON parse error, expecting value") },
	{ "}}]\n", GENERIC("JSON parse error, expecting value") },
	{ "{'execute':'query-name','execute':'query-status'}",
		GENERIC("JSON parse error, duplicate key") },
	{ "{'execute':'query-name' 'x':1}",
		GENERIC("JSON parse error, expected separator in dict") },
	{ "\xff", GENERIC("JSON parse error, stray '\\uFFFD'") },
	{ "{'execute':\xff{'execute':'cont'}", GENERIC("JSON parse error, stray '\\uFFFD'") OK },
	{ "\x01\n", GENERIC("JSON parse error, stray '\\u0001'") },
	{ "{'execute':'query-name','id':%d}", GENERIC("JSON parse error, stray '%'") },
	{ "{'execute':'query-name','id':01}", GENERIC("JSON parse error, stray '01'") },
	{ "{'execute':'query-name','id':'a\\q'}",
		GENERIC("JSON parse error, invalid escape sequence in string") },
	{ "{'execute':'query-name','id':'\\ud800'}",
		GENERIC("JSON parse error, \\\\ud800 is not a valid Unicode character") },
	{ "{'execute':'query-name','id':'raw\ttab'}", GENERIC("JSON parse error, stray ''raw'") },
	/* A string that is left open ends with its line. */
	{ "{'execute':'open\n{'execute':'cont'}\n", GENERIC("JSON parse error, stray ''open'") OK },
	{ "{'execute':'a}]{[\\'','id':2}",
		"{\"error\": {\"class\": \"CommandNotFound\", \"desc\": \"The command a}]{[' has "
		"not been found\"}, \"id\": 2}\r\n" },
	{ "{'execute':'cont'}{'execute':'cont','id':2} \r\n {'execute':'cont','id':3}",
		OK "{\"return\": {}, \"id\": 2}\r\n{\"return\": {}, \"id\": 3}\r\n" },
	{ "{'execute':\n'cont'\n}\n", OK },
};

static void check_rows(struct fixture *f, const struct row *table, size_t num)
{
	for (size_t i = 0; i < num; i++) {
		assert_string_equal(say(f, table[i].in), table[i].out);
		if (!table[i].out[0])
			say(f, "\xff"); /* leaves nothing half said behind */
		/* Byte by byte it is the same; qmp_capabilities works only once, though. */
		if (table != rows)
			continue;
		f->seen_len = 0;
		for (const char *c = table[i].in; *c; c++) {
			assert_int_equal(send(f->client, c, 1, MSG_NOSIGNAL), 1);
			loop_run_once(&f->loop, 0);
		}
		turn(f);
		assert_string_equal(f->seen, table[i].out);
		if (!table[i].out[0])
			say(f, "\xff");
	}
}

static void test_negotiation(void **state)
{
	struct fixture *f = *state;

	open_pair(f, false);
	turn(f);
	check_rows(f, before_rows, ARRAY_SIZE(before_rows));
}

static void test_wording(void **state)
{
	struct fixture *f = *state;

	open_pair(f, false);
	negotiate(f);
	check_rows(f, rows, ARRAY_SIZE(rows));
}

static void test_own_commands(void **state)
{
	struct fixture *f = *state;

	open_pair(f, false);
	negotiate(f);
	assert_string_equal(say(f, "{'execute':'query-commands'}"),
		"{\"return\": [{\"name\": \"cont\"}, {\"name\": \"human-monitor-command\"}, "
		"{\"name\": \"qmp_capabilities\"}, {\"name\": \"query-commands\"}, {\"name\": "
		"\"query-name\"}, {\"name\": "
		"\"query-qmp-schema\"}, {\"name\": \"query-version\"}, {\"name\": \"stop\"}, "
		"{\"name\": \"x-query-virtio-status\"}]}\r\n");
	assert_non_null(strstr(say(f, "{'execute':'query-version'}"), "\"major\": 9"));
	assert_non_null(strstr(say(f, "{'execute':'query-qmp-schema'}"), "\"meta-type\""));
	assert_string_equal(say(f, "{'execute':'query-qmp-schema','arguments':{'a':1}}"),
		GENERIC("Parameter 'a' is unexpected"));
}

static void test_read_only(void **state)
{
	struct fixture *f = *state;

	open_pair(f, true);
	negotiate(f);
	assert_string_equal(say(f, "{'execute':'cont'}"),
		GENERIC("This monitor is read-only, it does not run 'cont'; use one that may "
			"change things"));
	assert_string_equal(order, "");
	assert_string_equal(say(f, "{'execute':'query-name'}"), OK);
}

int main(void)
{
	static const struct CMUnitTest tests[] = {
		CASE(test_greeting),
		CASE(test_negotiation),
		CASE(test_wording),
		CASE(test_own_commands),
		CASE(test_read_only),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
