/* SPDX-License-Identifier: BSD-3-Clause */
/* The product's schema: arguments and their refusals, replies, events, pending calls. */
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
#include "qapi/introspect.h"

static struct qapi_call *pending;

static int fail_handler(struct qapi_call *call, const char *path, struct VirtioStatus **ret,
	struct qapi_error *error)
{
	assert_string_equal(call->ctx, "context");
	*ret = xnew(struct VirtioStatus); /* even a failing handler's result is not leaked */
	return qapi_error_set(error, QAPI_DEVICE_NOT_FOUND, "no %s", path);
}

static int element_handler(_unused_ struct qapi_call *call, const char *path, uint16_t queue,
	bool has_index, uint16_t index, struct VirtioQueueElement **ret,
	_unused_ struct qapi_error *error)
{
	struct VirtioRingDesc *desc = xnew(struct VirtioRingDesc);
	struct VirtioQueueElement *e = xnew(struct VirtioQueueElement);

	desc->addr = UINT64_MAX;
	desc->len = queue;
	qapi_append_strList(&desc->flags, xstrdup("write"));
	e->name = xstrdup(path);
	e->index = has_index ? index : 7;
	qapi_append_VirtioRingDescList(&e->descs, desc);
	e->avail = xnew(struct VirtioRingAvail);
	e->used = xnew(struct VirtioRingUsed);
	*ret = e;
	return 0;
}

static int list_handler(_unused_ struct qapi_call *call, _unused_ struct VirtioInfoList *ret,
	_unused_ struct qapi_error *error)
{
	return 0;
}

static int pending_handler(struct qapi_call *call, _unused_ struct qapi_error *error)
{
	pending = call;
	return QAPI_PENDING;
}

static int early_handler(struct qapi_call *call, _unused_ struct qapi_error *error)
{
	qapi_call_fail(call, QAPI_GENERIC_ERROR, "early %d", 1);
	return QAPI_PENDING;
}

static int raw_handler(_unused_ struct qapi_call *call, struct json_object *args,
	struct json_object **ret, _unused_ struct qapi_error *error)
{
	*ret = json_object_get(args);
	return 0;
}

static int silent_handler(_unused_ struct qapi_call *call, _unused_ struct qapi_error *error)
{
	return -12;
}

static int name_handler(
	_unused_ struct qapi_call *call, struct NameInfo **ret, _unused_ struct qapi_error *error)
{
	*ret = xnew(struct NameInfo);
	(*ret)->name = xstrdup("bad \xff utf-8");
	return 0;
}

static int capabilities_handler(_unused_ struct qapi_call *call, _unused_ bool has_enable,
	_unused_ const struct QMPCapabilityList *enable, _unused_ struct qapi_error *error)
{
	return 0;
}

static const struct qapi_handlers handlers = {
	.x_query_virtio = list_handler,
	.x_query_virtio_status = fail_handler,
	.x_query_virtio_queue_element = element_handler,
	.device_add = raw_handler,
	.stop = pending_handler,
	.cont = early_handler,
	.quit = silent_handler,
	.query_name = name_handler,
	.qmp_capabilities = capabilities_handler,
};

/* The reply as text: the result, or CLASS: SENTENCE. */
static void done(void *opaque, struct json_object *result, const struct qapi_error *error)
{
	char **text = opaque;

	assert_null(*text);
	if (error) {
		assert_null(result);
		*text = xasprintf("%s: %s", qapi_error_class_name(error->class), error->err.msg);
	} else {
		*text = value_to_text(result, NULL);
		json_object_put(result);
	}
}

static struct qapi_call *dispatch(const char *name, const char *args, char **ret)
{
	_cleanup_value_ struct json_object *json = NULL;
	const struct qapi_command *c = qapi_command_find(&handlers, name);

	assert_non_null(c);
	if (args)
		assert_int_equal(value_parse_json(args, strlen(args), &json, NULL), 0);
	return qapi_dispatch(&handlers, (char *)"context", c, json, done, ret);
}

#define ELEMENT "x-query-virtio-queue-element"
#define STATUS	"x-query-virtio-status"

static const struct {
	const char *command, *args, *reply;
} rows[] = {
	{ "x-query-virtio", NULL, "[]" },
	{ "x-query-virtio", "{}", "[]" },
	{ "x-query-virtio", "{'extra':1}", "GenericError: Parameter 'extra' is unexpected" },
	{ STATUS, NULL, "GenericError: Parameter 'path' is missing" },
	{ STATUS, "{'path':1}",
		"GenericError: Invalid parameter type for 'path', expected: string" },
	{ STATUS, "{'path':null}",
		"GenericError: Invalid parameter type for 'path', expected: string" },
	{ STATUS, "{'path':'a\\u0000b'}",
		"GenericError: Parameter 'path' contains a NUL character" },
	{ STATUS, "{'path':'p','extra':1}", "GenericError: Parameter 'extra' is unexpected" },
	{ STATUS, "{'path':'p'}", "DeviceNotFound: no p" },
	{ ELEMENT, "{'path':'p','queue':3}",
		"{\"name\": \"p\", \"index\": 7, \"descs\": [{\"addr\": 18446744073709551615, "
		"\"len\": 3, \"flags\": [\"write\"]}], \"avail\": {\"flags\": 0, \"idx\": 0, "
		"\"ring\": 0}, \"used\": {\"flags\": 0, \"idx\": 0}}" },
	{ ELEMENT, "{'path':'p'}", "GenericError: Parameter 'queue' is missing" },
	{ ELEMENT, "{'path':'p','queue':'0'}", "GenericError: Parameter 'queue' expects uint64" },
	{ ELEMENT, "{'path':'p','queue':0.0}", "GenericError: Parameter 'queue' expects uint64" },
	{ ELEMENT, "{'path':'p','queue':1.5}", "GenericError: Parameter 'queue' expects uint64" },
	{ ELEMENT, "{'path':'p','queue':1e2}", "GenericError: Parameter 'queue' expects uint64" },
	{ ELEMENT, "{'path':'p','queue':true}", "GenericError: Parameter 'queue' expects uint64" },
	{ ELEMENT, "{'path':'p','queue':null}", "GenericError: Parameter 'queue' expects uint64" },
	{ ELEMENT, "{'path':'p','queue':[]}", "GenericError: Parameter 'queue' expects uint64" },
	{ ELEMENT, "{'path':'p','queue':{}}", "GenericError: Parameter 'queue' expects uint64" },
	{ ELEMENT, "{'path':'p','queue':-1}", "GenericError: Parameter 'queue' expects uint16_t" },
	{ ELEMENT, "{'path':'p','queue':65536}",
		"GenericError: Parameter 'queue' expects uint16_t" },
	{ ELEMENT, "{'path':'p','queue':18446744073709551615}",
		"GenericError: Parameter 'queue' expects uint16_t" },
	{ ELEMENT, "{'path':'p','queue':18446744073709551616}",
		"GenericError: Parameter 'queue' expects uint64" },
	{ ELEMENT, "{'path':'p','queue':0,'index':65536}",
		"GenericError: Parameter 'index' expects uint16_t" },
	{ ELEMENT, "{'path':'p','queue':0,'index':null}",
		"GenericError: Parameter 'index' expects uint64" },
	{ "qmp_capabilities", "{'enable':'oob'}",
		"GenericError: Invalid parameter type for 'enable', expected: array" },
	{ "qmp_capabilities", "{'enable':['oob','bogus']}",
		"GenericError: Parameter 'enable[1]' does not accept value 'bogus'" },
	{ "qmp_capabilities", "{'enable':[1]}",
		"GenericError: Invalid parameter type for 'enable[0]', expected: string" },
	{ "device_add", "{'driver':'x','any':[1]}", "{\"driver\": \"x\", \"any\": [1]}" },
	{ "cont", NULL, "GenericError: early 1" },
	{ "quit", NULL, "GenericError: quit failed: Cannot allocate memory" },
	{ "query-name", NULL, "{\"name\": \"bad \\uFFFD utf-8\"}" },
};

static void test_dispatch(_unused_ void **state)
{
	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		_cleanup_free_ char *reply = NULL;

		assert_null(dispatch(rows[i].command, rows[i].args, &reply));
		assert_non_null(reply);
		assert_string_equal(reply, rows[i].reply);
	}
}

static void test_pending(_unused_ void **state)
{
	_cleanup_free_ char *reply = NULL, *failed = NULL, *never = NULL;

	struct qapi_call *call = dispatch("stop", NULL, &reply);

	assert_ptr_equal(call, pending);
	assert_null(reply);
	qapi_call_return(pending, NULL);
	assert_string_equal(reply, "{}");
	dispatch("stop", NULL, &failed);
	qapi_call_fail(pending, QAPI_DEVICE_NOT_ACTIVE, "no machine");
	assert_string_equal(failed, "DeviceNotActive: no machine");
	qapi_call_abandon(dispatch("stop", NULL, &never));
	qapi_call_return(pending, json_object_new_int(1));
	assert_null(never);
}

static void test_commands(_unused_ void **state)
{
	static const char *const actions[] = { "balloon", "balloon-reclaim-free", "block_resize",
		"blockdev-change-medium", "blockdev-close-tray", "blockdev-open-tray",
		"console-resize", "cont", "device_add", "device_del", "eject", "input-send-event",
		"object-add", "object-del", "qom-set", "quit", "set_link", "stop", "system_reset",
		"virtqueue-call", "virtqueue-kick", "virtqueue-resume",
		"virtqueue-set-stall-threshold", "virtqueue-stop" };
	size_t num = 0;

	for (size_t i = 0; i < qapi_num_commands; i++) {
		if (i)
			assert_true(strcmp(qapi_commands[i - 1].name, qapi_commands[i].name) < 0);
		if (qapi_commands[i].action)
			assert_string_equal(qapi_commands[i].name, actions[num++]);
	}
	assert_int_equal(num, ARRAY_SIZE(actions));
	assert_null(qapi_command_find(&handlers, "nosuch"));
	assert_null(qapi_command_find(&handlers, "system_reset"));
}

static void test_optional(_unused_ void **state)
{
	struct VirtioDeviceFeatures f = { 0 };
	_cleanup_value_ struct json_object *bare = qapi_to_json_VirtioDeviceFeatures(&f);
	_cleanup_value_ struct json_object *full = NULL;
	_cleanup_free_ char *bare_text = value_to_text(bare, NULL), *full_text = NULL;

	assert_string_equal(bare_text, "{\"transports\": []}");
	f.has_dev_features = true;
	f.has_unknown_dev_features = true;
	full = qapi_to_json_VirtioDeviceFeatures(&f);
	full_text = value_to_text(full, NULL);
	assert_string_equal(full_text,
		"{\"transports\": [], \"dev-features\": [], \"unknown-dev-features\": 0}");
}

static void test_lenient(_unused_ void **state)
{
	static const char text[] = "{'name':'virtio-blk','isr':3,'newer':{},"
				   "'status':{'statuses':['a']}}";
	_cleanup_value_ struct json_object *json = NULL;
	struct VirtioStatus *s;
	struct err err = { { 0 } };

	assert_int_equal(value_parse_json(text, strlen(text), &json, &err), 0);
	assert_int_equal(qapi_from_json_VirtioStatus(json, QAPI_STRICT, &s, &err), -22);
	assert_string_equal(err.msg, "Parameter 'device-id' is missing");
	assert_null(s);
	assert_int_equal(qapi_from_json_VirtioStatus(json, QAPI_LENIENT, &s, &err), 0);
	assert_string_equal(s->name, "virtio-blk");
	assert_true(s->has_isr);
	assert_int_equal(s->isr, 3);
	assert_false(s->has_queue_sel);
	assert_null(s->guest_features);
	assert_int_equal(s->status->statuses.num, 1);
	assert_true(s->status->has_statuses);
	assert_false(s->status->has_unknown_statuses);
	qapi_free_VirtioStatus(s);
}

static void test_lenient_wrong_type(_unused_ void **state)
{
	static const char text[] = "{'status':{'statuses':['a',{}]}}";
	static const char foreign[] = "[{'member':'x','source':'telepathy'}]";
	_cleanup_value_ struct json_object *json = NULL, *json2 = NULL;
	struct VirtioMemberInfoList list;
	struct VirtioStatus *s;
	struct err err = { { 0 } };

	assert_int_equal(value_parse_json(text, strlen(text), &json, &err), 0);
	assert_int_equal(qapi_from_json_VirtioStatus(json, QAPI_LENIENT, &s, &err), -22);
	assert_string_equal(
		err.msg, "Invalid parameter type for 'status.statuses[1]', expected: string");
	assert_int_equal(value_parse_json(foreign, strlen(foreign), &json2, &err), 0);
	assert_int_equal(qapi_from_json_VirtioMemberInfoList(json2, QAPI_STRICT, &list, &err), -22);
	assert_int_equal(list.num, 0);
	assert_int_equal(qapi_from_json_VirtioMemberInfoList(json2, QAPI_LENIENT, &list, &err), 0);
	assert_false(list.items[0]->has_source);
	qapi_clear_VirtioMemberInfoList(&list);
}

static void test_events(_unused_ void **state)
{
	struct json_object *events[] = { qapi_event_stop(), qapi_event_device_deleted(NULL, "/m"),
		qapi_event_reset(true, SHUTDOWN_CAUSE_GUEST_RESET) };
	static const char *const texts[] = {
		"{\"event\": \"STOP\"}",
		"{\"event\": \"DEVICE_DELETED\", \"data\": {\"path\": \"/m\"}}",
		"{\"event\": \"RESET\", \"data\": {\"guest\": true, \"reason\": \"guest-reset\"}}",
	};

	for (size_t i = 0; i < ARRAY_SIZE(events); i++) {
		_cleanup_free_ char *text = NULL;
		struct json_object *when, *part;

		assert_true(json_object_object_get_ex(events[i], "timestamp", &when));
		assert_true(json_object_object_get_ex(when, "seconds", &part));
		assert_true(json_object_get_int64(part) > 1000000000);
		assert_true(json_object_object_get_ex(when, "microseconds", &part));
		assert_in_range(json_object_get_int64(part), 0, 999999);
		json_object_object_del(events[i], "timestamp");
		text = value_to_text(events[i], NULL);
		assert_string_equal(text, texts[i]);
		json_object_put(events[i]);
	}
}

/* The reply of query-qmp-schema is itself of the schema's type, and comes out as it went in. */
static void test_schema_describes_itself(_unused_ void **state)
{
	_cleanup_value_ struct json_object *json = NULL, *back = NULL;
	struct SchemaInfoList list;
	struct err err = { { 0 } };
	bool seen = false;

	assert_int_equal(
		value_parse_json(qapi_schema_text, strlen(qapi_schema_text), &json, &err), 0);
	assert_int_equal(qapi_from_json_SchemaInfoList(json, QAPI_STRICT, &list, &err), 0);
	for (size_t i = 0; i < list.num; i++) {
		struct SchemaInfo *info = list.items[i];

		if (strcmp(info->name, STATUS) != 0)
			continue;
		seen = true;
		assert_int_equal(info->meta_type, SCHEMA_META_TYPE_COMMAND);
		assert_string_equal(info->features.items[0], "unstable");
		assert_non_null(info->u.command->ret_type);
	}
	assert_true(seen);
	back = qapi_to_json_SchemaInfoList(&list);
	assert_true(json_object_equal(json, back));
	qapi_clear_SchemaInfoList(&list);
}

int main(void)
{
	static const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_dispatch),
		cmocka_unit_test(test_pending),
		cmocka_unit_test(test_commands),
		cmocka_unit_test(test_optional),
		cmocka_unit_test(test_lenient),
		cmocka_unit_test(test_lenient_wrong_type),
		cmocka_unit_test(test_events),
		cmocka_unit_test(test_schema_describes_itself),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
