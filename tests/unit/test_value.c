/* SPDX-License-Identifier: BSD-3-Clause */
/* base/value: JSON in and out, key=value, typed access. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <cmocka.h>

#include <stdlib.h>
#include <string.h>

#include "base/alloc.h"
#include "base/cleanup.h"
#include "base/value.h"

/* What goes in, and what comes out as text, or the sentence where @refused. */
struct row {
	const char *in, *out;
	bool refused;
};

static const struct row json_rows[] = {
	{ "null", "null" },
	{ " true\t", "true" },
	{ "[]", "[]" },
	{ "{}", "{}" },
	{ "{\"a\":1,\"b\":[1,2,{\"c\":null}]}", "{\"a\": 1, \"b\": [1, 2, {\"c\": null}]}" },
	{ "{'a':'it\\'s'}", "{\"a\": \"it's\"}" },
	{ "-9223372036854775808", "-9223372036854775808" },
	{ "9223372036854775808", "9223372036854775808" },
	{ "18446744073709551615", "18446744073709551615" },
	{ "18446744073709551616", "1.8446744073709552e+19" },
	{ "0.1", "0.1" },
	{ "2.50", "2.5" },
	{ "1e3", "1000" },
	{ "-0", "0" },
	{ "\"\\u00e9\\uD83D\\uDE00\\n\"", "\"\\u00E9\\uD83D\\uDE00\\n\"" },
	{ "\"\xc3\xa9\"", "\"\\u00E9\"" },
	{ "\"\\u0000\"", "\"\\u0000\"" },
	{ "nonsense", "JSON parse error, invalid keyword 'nonsense'", true },
	{ "", "JSON parse error, expecting value", true },
	{ "{\"a\":", "JSON parse error, expecting value", true },
	{ "}", "JSON parse error, expecting value", true },
	{ "01", "JSON parse error, stray '01'", true },
	{ "1.", "JSON parse error, stray '1.'", true },
	{ "-", "JSON parse error, stray '-'", true },
	{ "%d", "JSON parse error, stray '%'", true },
	{ "1e400", "JSON parse error, number out of range: '1e400'", true },
	{ "1 2", "JSON parse error, text after the value", true },
	{ "{\"a\":1,\"a\":2}", "JSON parse error, duplicate key", true },
	{ "{\"a\":1 \"b\":2}", "JSON parse error, expected separator in dict", true },
	{ "{\"a\":1,}", "JSON parse error, key is not a string in object", true },
	{ "{\"a\" 1}", "JSON parse error, missing : in object pair", true },
	{ "{\"a\\u0000\":1}", "JSON parse error, \\u0000 in a key", true },
	{ "[1 2]", "JSON parse error, expected separator in list", true },
	{ "[1,]", "JSON parse error, expecting value", true },
	{ "\"a\\q\"", "JSON parse error, invalid escape sequence in string", true },
	{ "\"\\u12\"", "JSON parse error, invalid escape sequence in string", true },
	{ "\"\\ud800\"", "JSON parse error, \\ud800 is not a valid Unicode character", true },
	{ "\"\\ud800\\u0041\"", "JSON parse error, \\ud800\\u0041 is not a valid Unicode character",
		true },
	{ "\"raw\ttab\"", "JSON parse error, stray '\"raw'", true },
	{ "\"open", "JSON parse error, stray '\"open'", true },
	{ "\"\xc0\x80\"", "JSON parse error, invalid UTF-8 sequence in string", true },
	{ "\"\xed\xa0\x80\"", "JSON parse error, invalid UTF-8 sequence in string", true },
	{ "\"\xf4\x90\x80\x80\"", "JSON parse error, invalid UTF-8 sequence in string", true },
	{ "\"\xe2\x82\"", "JSON parse error, invalid UTF-8 sequence in string", true },
};

static const struct row keyval_rows[] = {
	{ "", "{}" },
	{ "virtio-blk", "{\"driver\": \"virtio-blk\"}" },
	{ "virtio-blk,id=b0", "{\"driver\": \"virtio-blk\", \"id\": \"b0\"}" },
	{ "driver=x,filename=/a,,b=c", "{\"driver\": \"x\", \"filename\": \"/a,b=c\"}" },
	{ "x,v=", "{\"driver\": \"x\", \"v\": \"\"}" },
	{ "x,a.b.c=1,a.d=2", "{\"driver\": \"x\", \"a\": {\"b\": {\"c\": \"1\"}, \"d\": \"2\"}}" },
	{ "x,l.1=b,l.0=a", "{\"driver\": \"x\", \"l\": [\"a\", \"b\"]}" },
	{ "x,m.0.iothread=io0,m.0.vqs.0=1",
		"{\"driver\": \"x\", \"m\": [{\"iothread\": \"io0\", \"vqs\": [\"1\"]}]}" },
	{ "x,", "{\"driver\": \"x\"}" },
	{ "x,\xff=1",
		"'\xff' is not an option name; expected letters, digits, '-' and '_', with "
		"dots between the parts",
		true },
	{ "x,v=\xff", "{\"driver\": \"x\", \"v\": \"\\uFFFD\"}" },
	{ "x,y", "'y' has no value; expected KEY=VALUE", true },
	{ "x,a=1,a=2", "option 'a' is given more than once", true },
	{ "x,driver=y", "option 'driver' is given more than once", true },
	{ "x,a=1,a.b=2", "option 'a.b': 'a' was given a value already, it cannot have parts too",
		true },
	{ "x,a.b=2,a=1", "option 'a' is given more than once", true },
	{ "x,l.0=a,l.2=c", "list 'l' lacks element 1; expected l.0, l.1 and so on", true },
	{ "x,l.0=a,l.b=c", "list 'l' lacks element 0; expected l.0, l.1 and so on", true },
	{ "x,l.00=a", "list 'l' lacks element 0; expected l.0, l.1 and so on", true },
	{ "x,a..b=1",
		"'a..b' is not an option name; expected letters, digits, '-' and '_', with "
		"dots between the parts",
		true },
};

static int parse_json(const char *text, struct json_object **ret, struct err *err)
{
	return value_parse_json(text, strlen(text), ret, err);
}

static int parse_keyval(const char *text, struct json_object **ret, struct err *err)
{
	return value_parse_keyval(text, "driver", ret, err);
}

static void check_rows(const struct row *rows, size_t num,
	int (*parse)(const char *text, struct json_object **ret, struct err *err))
{
	for (size_t i = 0; i < num; i++) {
		_cleanup_value_ struct json_object *value = NULL;
		_cleanup_free_ char *text = NULL;
		struct err err = { { 0 } };
		int r = parse(rows[i].in, &value, &err);

		if (r == 0)
			text = value_to_text(value, NULL);
		assert_string_equal(r == 0 ? text : err.msg, rows[i].out);
		assert_int_equal(r, rows[i].refused ? -22 : 0);
	}
}

static void test_json(_unused_ void **state)
{
	check_rows(json_rows, ARRAY_SIZE(json_rows), parse_json);
}

static void test_keyval(_unused_ void **state)
{
	check_rows(keyval_rows, ARRAY_SIZE(keyval_rows), parse_keyval);
}

static int parse_nested(unsigned int depth, struct err *err)
{
	_cleanup_value_ struct json_object *value = NULL;
	char text[2 * (VALUE_MAX_DEPTH + 1)];

	memset(text, '[', depth);
	memset(text + depth, ']', depth);
	return value_parse_json(text, 2 * depth, &value, err);
}

static void test_bounds(_unused_ void **state)
{
	struct err err = { { 0 } };
	_cleanup_value_ struct json_object *value = NULL;
	_cleanup_free_ char *many = xcalloc(VALUE_MAX_TOKENS, 2);

	assert_int_equal(parse_nested(VALUE_MAX_DEPTH, &err), 0);
	assert_int_equal(parse_nested(VALUE_MAX_DEPTH + 1, &err), -22);
	assert_string_equal(err.msg, "JSON nesting depth limit exceeded");
	for (size_t i = 0; i < VALUE_MAX_TOKENS; i++)
		memcpy(many + 2 * i, i ? "1," : " [", 2);
	assert_int_equal(value_parse_json(many, 2 * VALUE_MAX_TOKENS, &value, &err), -22);
	assert_string_equal(err.msg, "JSON token count limit exceeded");
}

static void test_option(_unused_ void **state)
{
	_cleanup_value_ struct json_object *value = NULL, *list = NULL;
	struct err err = { { 0 } };

	assert_int_equal(value_parse_option("{'driver':'x','n':1}", "driver", &value, &err), 0);
	assert_true(json_object_object_get_ex(value, "n", NULL));
	assert_int_equal(value_parse_option("{'driver':'x'", "driver", &list, &err), -22);
}

/* Typed access to member "v" of the option object in. */
enum how { AS_STR, AS_BOOL, AS_U64, AS_SIZE, AS_LIST, AS_OBJECT };

static const struct {
	const char *in;
	enum how how;
	int found;
	uint64_t value;
	const char *sentence;
} access_rows[] = {
	{ "{}", AS_STR, 0 },
	{ "{'v':null}", AS_U64, 0 },
	{ "{'v':'x'}", AS_STR, 1 },
	{ "{'v':1}", AS_STR, -22, 0, "'v' is 1; expected a string" },
	{ "{'v':'a\\u0000b'}", AS_STR, -22, 0, "'v' is \"a\\u0000b\"; expected a string" },
	{ "v=on", AS_BOOL, 1, 1 },
	{ "v=no", AS_BOOL, 1, 0 },
	{ "{'v':true}", AS_BOOL, 1, 1 },
	{ "v=maybe", AS_BOOL, -22, 0, "'v' is \"maybe\"; expected on or off" },
	{ "v=10", AS_U64, 1, 10 },
	{ "v=0x10", AS_U64, 1, 16 },
	{ "{'v':100}", AS_U64, 1, 100 },
	{ "v=9", AS_U64, -22, 0, "'v' is \"9\"; expected a whole number from 10 to 100" },
	{ "v=101", AS_U64, -22, 0, "'v' is \"101\"; expected a whole number from 10 to 100" },
	{ "v=-1", AS_U64, -22, 0, "'v' is \"-1\"; expected a whole number from 10 to 100" },
	{ "{'v':-1}", AS_U64, -22, 0, "'v' is -1; expected a whole number from 10 to 100" },
	{ "v=1K", AS_U64, -22, 0, "'v' is \"1K\"; expected a whole number from 10 to 100" },
	{ "v=99999999999999999999", AS_SIZE, -22, 0,
		"'v' is \"99999999999999999999\"; expected a number of bytes, with K, M, G or T "
		"behind it if you like" },
	{ "v=2M", AS_SIZE, 1, 2 << 20 },
	{ "v=512", AS_SIZE, 1, 512 },
	{ "v=16777216T", AS_SIZE, -22, 0,
		"'v' is \"16777216T\"; expected a number of bytes, with K, M, G or T behind it if "
		"you like" },
	{ "v.0=a", AS_LIST, 1 },
	{ "v=a", AS_LIST, -22, 0, "'v' is \"a\"; expected a list" },
	{ "v.a=a", AS_OBJECT, 1 },
	{ "v=a", AS_OBJECT, -22, 0, "'v' is \"a\"; expected an object" },
};

static int get(struct json_object *obj, enum how how, uint64_t *ret, struct err *err)
{
	const char *s;
	struct json_object *o;
	bool b = false;
	int r;

	switch (how) {
	case AS_STR: return value_get_str(obj, "v", &s, err);
	case AS_BOOL:
		r = value_get_bool(obj, "v", &b, err);
		*ret = b;
		return r;
	case AS_U64: return value_get_u64(obj, "v", 10, 100, ret, err);
	case AS_SIZE: return value_get_size(obj, "v", ret, err);
	case AS_LIST: return value_get_list(obj, "v", &o, err);
	default: return value_get_object(obj, "v", &o, err);
	}
}

static void test_access(_unused_ void **state)
{
	for (size_t i = 0; i < ARRAY_SIZE(access_rows); i++) {
		_cleanup_value_ struct json_object *obj = NULL;
		struct err err = { { 0 } };
		uint64_t value = 0;

		assert_int_equal(value_parse_option(access_rows[i].in, NULL, &obj, &err), 0);
		assert_int_equal(get(obj, access_rows[i].how, &value, &err), access_rows[i].found);
		assert_int_equal(value, access_rows[i].value);
		assert_string_equal(
			err.msg, access_rows[i].sentence ? access_rows[i].sentence : "");
	}
}

static void test_known(_unused_ void **state)
{
	static const char *const known[] = { "id", "size" };
	_cleanup_value_ struct json_object *obj = NULL;
	struct err err = { { 0 } };

	assert_int_equal(value_parse_keyval("id=1,siz=2", NULL, &obj, &err), 0);
	assert_int_equal(value_check_known(obj, "virtio-x", known, 2, &err), -22);
	assert_string_equal(err.msg, "virtio-x has no option 'siz'; it takes: id, size");
	json_object_object_del(obj, "siz");
	assert_int_equal(value_check_known(obj, "virtio-x", known, 2, &err), 0);
}

int main(void)
{
	static const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_json),
		cmocka_unit_test(test_keyval),
		cmocka_unit_test(test_bounds),
		cmocka_unit_test(test_option),
		cmocka_unit_test(test_access),
		cmocka_unit_test(test_known),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
