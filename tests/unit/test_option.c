/* SPDX-License-Identifier: BSD-3-Clause */
/* Option tables: every type from text and from JSON, what is refused and how that is said. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "base/option.h"

struct thing {
	char *name, *text;
	bool on, off;
	uint32_t count;
	uint64_t size;
	int mode;
	struct json_object *map;
	int64_t number;
};

static const char *const modes[] = { "auto", "fast", "slow", NULL };

static const struct option_spec specs[] = {
	{ "name", OPTION_STRING, offsetof(struct thing, name), NULL, 0, 0, NULL, "a name" },
	{ "text", OPTION_STRING, offsetof(struct thing, text), "hello", 0, 0, NULL, "a text" },
	{ "on", OPTION_BOOL, offsetof(struct thing, on), "on", 0, 0, NULL, "a switch" },
	{ "off", OPTION_BOOL, offsetof(struct thing, off), NULL, 0, 0, NULL, "a switch" },
	{ "count", OPTION_U32, offsetof(struct thing, count), "4", 1, 100, NULL, "a number" },
	{ "size", OPTION_SIZE, offsetof(struct thing, size), "1M", 0, 0, NULL, "a size" },
	{ "mode", OPTION_ENUM, offsetof(struct thing, mode), "fast", 0, 0, modes, "a choice" },
	{ "map", OPTION_JSON, offsetof(struct thing, map), NULL, 0, 0, NULL, "a list" },
	{ "number", OPTION_INT, offsetof(struct thing, number), "-3", (uint64_t)-5, 0, NULL, "" },
	{ NULL },
};

/* One member, taken; how the field then reads as JSON; or what the sentence says. */
static const struct {
	const char *args, *option, *value, *error;
} rows[] = {
	{ "{}", "name", "null", NULL },
	{ "{}", "text", "\"hello\"", NULL },
	{ "{}", "on", "true", NULL },
	{ "{}", "off", "false", NULL },
	{ "{}", "count", "4", NULL },
	{ "{}", "size", "1048576", NULL },
	{ "{}", "mode", "\"fast\"", NULL },
	{ "{}", "map", "null", NULL },
	{ "{}", "number", "-3", NULL },
	{ "{'name':'x'}", "name", "\"x\"", NULL },
	{ "{'text':''}", "text", "\"\"", NULL },
	{ "{'on':'off'}", "on", "false", NULL },
	{ "{'on':false}", "on", "false", NULL },
	{ "{'off':'yes'}", "off", "true", NULL },
	{ "{'off':'true'}", "off", "true", NULL },
	{ "{'off':true}", "off", "true", NULL },
	{ "{'count':'1'}", "count", "1", NULL },
	{ "{'count':100}", "count", "100", NULL },
	{ "{'count':'0x10'}", "count", "16", NULL },
	{ "{'size':'0'}", "size", "0", NULL },
	{ "{'size':'3k'}", "size", "3072", NULL },
	{ "{'size':'2G'}", "size", "2147483648", NULL },
	{ "{'size':'15E'}", "size", "17293822569102704640", NULL },
	{ "{'size':18446744073709551615}", "size", "18446744073709551615", NULL },
	{ "{'size':'18446744073709551615'}", "size", "18446744073709551615", NULL },
	{ "{'mode':'slow'}", "mode", "\"slow\"", NULL },
	{ "{'map':[1,2]}", "map", "[1,2]", NULL },
	{ "{'map':{'a':1}}", "map", "{'a':1}", NULL },
	{ "{'number':-5}", "number", "-5", NULL },
	{ "{'number':'0x10'}", "number", "16", NULL },
	{ "{'number':9223372036854775807}", "number", "9223372036854775807", NULL },
	{ "{'name':1}", NULL, NULL, "option 'name': '1' is not a string" },
	{ "{'name':null}", NULL, NULL, "option 'name'" },
	{ "{'name':['x']}", NULL, NULL, "option 'name'" },
	{ "{'on':'maybe'}", NULL, NULL, "option 'on': 'maybe' is not 'on' or 'off'" },
	{ "{'on':1}", NULL, NULL, "option 'on': '1' is not a boolean" },
	{ "{'on':'ON'}", NULL, NULL, "option 'on'" },
	{ "{'on':''}", NULL, NULL, "option 'on'" },
	{ "{'count':0}", NULL, NULL, "'0' is not a number within 1 and 100" },
	{ "{'count':'101'}", NULL, NULL, "within 1 and 100" },
	{ "{'count':-1}", NULL, NULL, "'-1' is not a number" },
	{ "{'count':'-1'}", NULL, NULL, "'-1' is not" },
	{ "{'count':' 1'}", NULL, NULL, "' 1' is not" },
	{ "{'count':'1 '}", NULL, NULL, "'1 ' is not" },
	{ "{'count':'1k'}", NULL, NULL, "'1k' is not" },
	{ "{'count':1.5}", NULL, NULL, "option 'count'" },
	{ "{'count':'4294967297'}", NULL, NULL, "within 1 and 100" },
	{ "{'count':''}", NULL, NULL, "option 'count'" },
	{ "{'count':true}", NULL, NULL, "option 'count'" },
	{ "{'size':'16E'}", NULL, NULL, "'16E' is not a size in bytes" },
	{ "{'size':'18446744073709551616'}", NULL, NULL, "is not a size" },
	{ "{'size':'1KB'}", NULL, NULL, "'1KB' is not" },
	{ "{'size':'1X'}", NULL, NULL, "'1X' is not" },
	{ "{'size':'K'}", NULL, NULL, "'K' is not" },
	{ "{'size':'+1'}", NULL, NULL, "'+1' is not" },
	{ "{'mode':'medium'}", NULL, NULL, "'medium' is not one of auto, fast, slow" },
	{ "{'mode':1}", NULL, NULL, "option 'mode'" },
	{ "{'map':'x'}", NULL, NULL, "'map'" },
	{ "{'map':1}", NULL, NULL, "'map'" },
	{ "{'number':-6}", NULL, NULL, "number value must be in range [-5, 9223372036854775807]" },
	{ "{'number':'9223372036854775808'}", NULL, NULL, "Parameter 'number' expects integer" },
	{ "{'number':''}", NULL, NULL, "Parameter 'number' expects integer" },
	{ "{'number':' 1'}", NULL, NULL, "Parameter 'number' expects integer" },
	{ "{'number':'+1'}", NULL, NULL, "Parameter 'number' expects integer" },
	{ "{'number':'-'}", NULL, NULL, "Parameter 'number' expects integer" },
	{ "{'number':'1k'}", NULL, NULL, "Parameter 'number' expects integer" },
	{ "{'number':1.0}", NULL, NULL, "parameter type for 'number', expected: integer" },
	{ "{'number':null}", NULL, NULL, "parameter type for 'number', expected: integer" },
};

/* Single quotes are easier to read in C. */
static struct json_object *parse(const char *text)
{
	char copy[128];
	struct json_object *value;
	char *p;

	snprintf(copy, sizeof(copy), "%s", text);
	for (p = copy; *p; p++)
		if (*p == '\'')
			*p = '"';
	value = json_tokener_parse(copy);
	assert_true(value || !strcmp(text, "null"));
	return value;
}

static const struct option_spec *spec_of(const char *name)
{
	const struct option_spec *spec;

	for (spec = specs; strcmp(spec->name, name) != 0; spec++)
		;
	return spec;
}

static void test_values(void **state)
{
	size_t i;

	(void)state;
	for (i = 0; i < ARRAY_SIZE(rows); i++) {
		struct json_object *args = parse(rows[i].args), *got, *want;
		struct thing thing = { 0 };
		struct err err = { 0 };
		int r;

		options_defaults(specs, &thing);
		r = options_take(specs, &thing, args, &err);
		if (rows[i].error) {
			if (r != -EINVAL || !strstr(err.msg, rows[i].error))
				fail_msg("%s: %d, '%s'", rows[i].args, r, err.msg);
		} else {
			if (r)
				fail_msg("%s: %s", rows[i].args, err.msg);
			got = options_get(spec_of(rows[i].option), &thing);
			want = parse(rows[i].value);
			if (!json_object_equal(got, want))
				fail_msg("%s: %s is %s", rows[i].args, rows[i].option,
					json_object_to_json_string(got));
			json_object_put(got);
			json_object_put(want);
			assert_int_equal(json_object_object_length(args), 0);
		}
		json_object_put(args);
		options_free(specs, &thing);
		options_free(specs, &thing);
	}
}

static void test_what_is_left(void **state)
{
	static const struct option_spec more[] = {
		{ "extra", OPTION_BOOL, offsetof(struct thing, on), NULL, 0, 0, NULL, "" }, { NULL }
	};
	const struct option_spec *const tables[] = { more, specs, NULL };
	struct json_object *args = parse("{'count':7,'colour':'red','name':'n'}");
	struct thing thing = { 0 };
	struct err err = { 0 };

	(void)state;
	options_defaults(specs, &thing);
	assert_int_equal(options_take(specs, &thing, args, &err), 0);
	assert_int_equal(thing.count, 7);
	assert_string_equal(thing.name, "n");
	assert_int_equal(options_none_left("device 'x'", args, tables, &err), -EINVAL);
	assert_string_equal(err.msg, "device 'x' has no option 'colour'; it knows: extra, name, "
				     "text, on, off, count, size, mode, map, number");
	json_object_object_del(args, "colour");
	assert_int_equal(options_none_left("device 'x'", args, tables, &err), 0);
	json_object_put(args);
	options_free(specs, &thing);
	/* No table is an empty one. */
	options_defaults(NULL, &thing);
	options_free(NULL, &thing);
}

static void test_type_names(void **state)
{
	static const char *const names[] = { "str", "str", "bool", "bool", "uint32", "size", "enum",
		"json", "int" };
	size_t i;

	(void)state;
	for (i = 0; specs[i].name; i++)
		assert_string_equal(options_type_name(&specs[i]), names[i]);
}

static void test_setting_twice(void **state)
{
	/* What was there is freed, of strings and of trees: the leak checker watches. */
	struct thing thing = { 0 };
	struct err err = { 0 };
	int i;

	(void)state;
	options_defaults(specs, &thing);
	for (i = 0; i < 3; i++) {
		struct json_object *args = parse("{'name':'x','text':'y','map':[1]}");

		assert_int_equal(options_take(specs, &thing, args, &err), 0);
		json_object_put(args);
	}
	assert_string_equal(thing.text, "y");
	options_free(specs, &thing);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_values),
		cmocka_unit_test(test_what_is_left),
		cmocka_unit_test(test_type_names),
		cmocka_unit_test(test_setting_twice),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
