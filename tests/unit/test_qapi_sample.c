/* SPDX-License-Identifier: BSD-3-Clause */
/* Unions, alternates, boxed arguments and the like, by the schema sample/qapi/sample.json. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <cmocka.h>

#include <stdlib.h>
#include <string.h>

#include "base/alloc.h"
#include "base/cleanup.h"
#include "base/value.h"
#include "qapi/commands.h"
#include "qapi/events.h"

/* Figures, read strictly: what they look like written again, or the sentence. */
static const struct {
	const char *in, *out;
} figures[] = {
	{ "{'shape':'circle','name':'c','radius':-128}",
		"{\"shape\": \"circle\", \"name\": \"c\", \"radius\": -128}" },
	{ "{'radius':127,'weight':1,'id':'i','shape':'circle','name':'c'}",
		"{\"shape\": \"circle\", \"id\": \"i\", \"name\": \"c\", \"weight\": 1, "
		"\"radius\": 127}" },
	{ "{'shape':'square','side':9223372036854775807,'tags':['default']}",
		"{\"shape\": \"square\", \"side\": 9223372036854775807, \"tags\": [\"default\"]}" },
	{ "{'shape':'default'}", "{\"shape\": \"default\"}" },
	{ "{'shape':'default','side':1}", "Parameter 'side' is unexpected" },
	{ "{'shape':'circle','name':'c','radius':1,'side':1}", "Parameter 'side' is unexpected" },
	{ "{'shape':'circle','radius':1}", "Parameter 'name' is missing" },
	{ "{'shape':'circle','name':'c','radius':128}", "Parameter 'radius' expects int8_t" },
	{ "{'shape':'circle','name':'c','radius':'1'}",
		"Invalid parameter type for 'radius', expected: integer" },
	{ "{'shape':'square','side':9223372036854775808}",
		"Invalid parameter type for 'side', expected: integer" },
	{ "{'shape':'triangle'}", "Parameter 'shape' does not accept value 'triangle'" },
	{ "{'name':'c'}", "Parameter 'shape' is missing" },
	{ "{'shape':'circle','name':'c','radius':1,'weight':'x'}",
		"Invalid parameter type for 'weight', expected: number" },
};

static struct json_object *parse(const char *text)
{
	struct json_object *json = NULL;

	assert_int_equal(value_parse_json(text, strlen(text), &json, NULL), 0);
	return json;
}

static void test_union(_unused_ void **state)
{
	for (size_t i = 0; i < ARRAY_SIZE(figures); i++) {
		_cleanup_value_ struct json_object *json = parse(figures[i].in), *out = NULL;
		_cleanup_(qapi_cleanup_Figure) struct Figure *figure = NULL;
		_cleanup_free_ char *text = NULL;
		struct err err = { { 0 } };

		if (qapi_from_json_Figure(json, QAPI_STRICT, &figure, &err) == 0) {
			out = qapi_to_json_Figure(figure);
			text = value_to_text(out, NULL);
		}
		assert_string_equal(text ? text : err.msg, figures[i].out);
	}
}

static const struct {
	const char *in, *out;
} holders[] = {
	{ "{'where':'p'}", NULL },
	{ "{'where':4294967295}", NULL },
	{ "{'where':null}", NULL },
	{ "{'where':['a','b']}", NULL },
	{ "{'where':{'shape':'default'},'more':[1,'x',null],'anything':null,'flag':true,"
	  "'register':18446744073709551615}",
		NULL },
	{ "{'where':true}", "Invalid parameter type for 'where', expected: Where" },
	{ "{'where':1.5}", "Invalid parameter type for 'where', expected: Where" },
	{ "{'where':4294967296}", "Parameter 'where' expects uint32_t" },
	{ "{'where':{'shape':'circle'}}", "Parameter 'where.name' is missing" },
	{ "{'where':['a',1]}", "Invalid parameter type for 'where[1]', expected: string" },
	{ "{'where':'p','more':[1,{}]}", "Parameter 'more[1].shape' is missing" },
	{ "{'where':'p','flag':1}", "Invalid parameter type for 'flag', expected: boolean" },
	{ "{'where':{'shape':'default','x':1}}", "Parameter 'where.x' is unexpected" },
	{ "[]", "Invalid parameter type for 'null', expected: object" },
};

static void test_alternate(_unused_ void **state)
{
	for (size_t i = 0; i < ARRAY_SIZE(holders); i++) {
		_cleanup_value_ struct json_object *json = parse(holders[i].in), *out = NULL;
		_cleanup_(qapi_cleanup_Holder) struct Holder *holder = NULL;
		struct err err = { { 0 } };
		int r = qapi_from_json_Holder(json, QAPI_STRICT, &holder, &err);

		if (r == 0) {
			assert_null(holders[i].out);
			out = qapi_to_json_Holder(holder);
			assert_true(json_object_equal(json, out));
		} else {
			assert_string_equal(err.msg, holders[i].out);
		}
	}
}

static struct qapi_call *pending;

static int draw(_unused_ struct qapi_call *call, const struct Figure *arg, struct Figure **ret,
	_unused_ struct qapi_error *error)
{
	*ret = xnew(struct Figure);
	(*ret)->shape = arg->shape;
	return 0;
}

static int hold(struct qapi_call *call, const struct Where *where, bool has_more,
	const struct WhereList *more, bool has_anything, _unused_ struct json_object *anything,
	bool has_flag, bool flag, bool has_register, _unused_ uint64_t q_register,
	_unused_ struct HolderList *ret, _unused_ struct qapi_error *error)
{
	assert_int_equal(where->branch, WHERE_BRANCH_PATH);
	assert_true(has_more && !has_anything && has_flag && flag && !has_register);
	assert_int_equal(more->items[0]->u.number, 5);
	pending = call;
	return QAPI_PENDING;
}

static int a_number(
	_unused_ struct qapi_call *call, int64_t *ret, _unused_ struct qapi_error *error)
{
	*ret = -42;
	return 0;
}

static void done(void *opaque, struct json_object *result, const struct qapi_error *error)
{
	assert_null(error);
	*(char **)opaque = value_to_text(result, NULL);
	json_object_put(result);
}

static void test_commands(_unused_ void **state)
{
	static const struct qapi_handlers handlers = { draw, hold, a_number };
	static const char *const names[] = { "draw", "hold", "a-number" };
	static const char *const args[] = { "{'shape':'square','side':1}",
		"{'where':'p','more':[5],'flag':true}", "{}" };
	static const char *const replies[] = { "{\"shape\": \"square\"}",
		"[{\"where\": null, \"flag\": true}]", "-42" };

	for (size_t i = 0; i < ARRAY_SIZE(names); i++) {
		_cleanup_value_ struct json_object *json = parse(args[i]);
		_cleanup_free_ char *reply = NULL;
		const struct qapi_command *c = qapi_command_find(&handlers, names[i]);

		if (qapi_dispatch(&handlers, NULL, c, json, done, &reply)) {
			struct HolderList list = { 0 };
			struct Holder *h = xnew(struct Holder);

			h->has_flag = h->flag = true;
			qapi_append_HolderList(&list, h);
			qapi_return_hold(pending, &list);
			assert_int_equal(list.num, 0);
		}
		assert_string_equal(reply, replies[i]);
	}
}

static void test_events(_unused_ void **state)
{
	struct Figure figure = { .shape = SHAPE_DEFAULT, .id = (char *)"i" };
	struct Where where = { .branch = WHERE_BRANCH_NUMBER, .u.number = 3 };
	struct intList list = { 0 };
	_cleanup_value_ struct json_object *drawn = qapi_event_drawn(&figure), *held = NULL;
	_cleanup_free_ char *drawn_text = NULL, *held_text = NULL;

	qapi_append_intList(&list, -1);
	held = qapi_event_held(&where, &list, true, SHAPE_CIRCLE);
	qapi_clear_intList(&list);
	json_object_object_del(drawn, "timestamp");
	json_object_object_del(held, "timestamp");
	drawn_text = value_to_text(drawn, NULL);
	held_text = value_to_text(held, NULL);
	assert_string_equal(drawn_text,
		"{\"event\": \"DRAWN\", \"data\": {\"shape\": \"default\", \"id\": \"i\"}}");
	assert_string_equal(held_text,
		"{\"event\": \"HELD\", \"data\": {\"where\": 3, \"list\": [-1], \"shape\": "
		"\"circle\"}}");
}

int main(void)
{
	static const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_union),
		cmocka_unit_test(test_alternate),
		cmocka_unit_test(test_commands),
		cmocka_unit_test(test_events),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
