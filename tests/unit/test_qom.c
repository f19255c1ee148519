/* SPDX-License-Identifier: BSD-3-Clause */
/* The object tree: paths as QEMU 8.2 and later look them up, properties, ids. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <errno.h>
#include <string.h>

#include <cmocka.h>

#include "base/cleanup.h"
#include "base/value.h"
#include "qom/qom.h"

/* The tree that devices make; disk0 and device[0] both have a child virtio-backend, net0 a twin. */
static struct qom_object *make_tree(void)
{
	struct qom_object *root = qom_new_root(), *machine, *peripheral, *anon, *disk, *objects;

	machine = qom_add(root, "machine", "none-machine");
	peripheral = qom_add(machine, "peripheral", "container");
	anon = qom_add(machine, "peripheral-anon", "container");
	objects = qom_add(root, "objects", "container");
	disk = qom_add(peripheral, "disk0", "virtio-blk");
	qom_add(disk, "virtio-backend", "virtio-blk-device");
	qom_add(qom_add(anon, "device[0]", "virtio-rng"), "virtio-backend", "virtio-rng-device");
	qom_add(objects, "io0", "iothread");
	qom_add_link(disk, "iothread", qom_child(objects, "io0"));
	qom_add(qom_add(peripheral, "objects", "odd"), "only", "odd");
	return root;
}

struct path {
	const char *path;
	const char *canonical; /* NULL: not found */
	bool ambiguous;
};

static const struct path paths[] = {
	{ "/", "/" },
	{ "//", "/" },
	{ "/machine", "/machine" },
	{ "/machine/", "/machine" },
	{ "//machine///peripheral", "/machine/peripheral" },
	{ "/machine/peripheral/disk0/virtio-backend", "/machine/peripheral/disk0/virtio-backend" },
	{ "/machine/peripheral/disk0/virtio-backend/", "/machine/peripheral/disk0/virtio-backend" },
	{ "/machine/peripheral-anon/device[0]/virtio-backend",
		"/machine/peripheral-anon/device[0]/virtio-backend" },
	{ "/machine/peripheral/disk0/virtio-backendx", NULL },
	{ "/machine/peripheral/disk0/virtio-backen", NULL },
	{ "/machine/peripheral/disk", NULL },
	{ "/nope", NULL },
	{ "/disk0", NULL },
	{ "/.", NULL },
	{ "/machine/..", NULL },
	/* links */
	{ "/machine/peripheral/disk0/iothread", "/objects/io0" },
	{ "/machine/peripheral/disk0/iothread/x", NULL },
	/* partial */
	{ "disk0", "/machine/peripheral/disk0" },
	{ "disk0/", "/machine/peripheral/disk0" },
	{ "disk0//virtio-backend", "/machine/peripheral/disk0/virtio-backend" },
	{ "peripheral/disk0", "/machine/peripheral/disk0" },
	{ "device[0]/virtio-backend", "/machine/peripheral-anon/device[0]/virtio-backend" },
	{ "machine/peripheral", "/machine/peripheral" },
	{ "disk0/iothread", "/objects/io0" },
	{ "only", "/machine/peripheral/objects/only" },
	{ "nope", NULL },
	{ "disk", NULL },
	{ "virtio-backend", NULL, true },
	{ "objects", NULL, true },
	{ "", NULL, true },
};

static void test_paths(void **state)
{
	struct qom_object *root = make_tree();

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(paths); i++) {
		bool ambiguous = !paths[i].ambiguous;
		struct qom_object *obj = qom_resolve(root, paths[i].path, &ambiguous);
		_cleanup_free_ char *canonical = obj ? qom_path(obj) : NULL;

		print_message("# '%s'\n", paths[i].path);
		assert_int_equal(ambiguous, paths[i].ambiguous);
		assert_int_equal(!obj, !paths[i].canonical);
		if (obj)
			assert_string_equal(canonical, paths[i].canonical);
	}
	qom_free(root);
}

static void test_names_are_unique(void **state)
{
	struct qom_object *root = make_tree();

	(void)state;
	assert_null(qom_add(root, "machine", "container"));
	assert_null(qom_add(root, "", "container"));
	assert_null(qom_add(root, "a/b", "container"));
	assert_null(qom_add_link(root, "machine", qom_child(root, "objects")));
	qom_free(root);
}

static void test_walk_and_free(void **state)
{
	struct qom_object *root = make_tree(), *peripheral;
	unsigned int before = 0, after = 0;

	(void)state;
	for (struct qom_object *at = qom_walk(root, NULL); at; at = qom_walk(root, at)) {
		/* Parents come before children, older siblings before younger ones. */
		assert_true(!at->parent || at->serial > at->parent->serial);
		before++;
	}
	peripheral = qom_resolve(root, "/machine/peripheral", NULL);
	qom_free(qom_child(peripheral, "disk0"));
	for (struct qom_object *at = qom_walk(root, NULL); at; at = qom_walk(root, at))
		after++;
	assert_int_equal(before - after, 3);
	assert_null(qom_resolve(root, "disk0", NULL));
	assert_ptr_equal(qom_resolve(root, "only", NULL)->parent->parent, peripheral);
	/* A walk below an object stays below it. */
	for (struct qom_object *at = qom_walk(peripheral, NULL); at; at = qom_walk(peripheral, at))
		assert_int_not_equal(strcmp(at->name, "device[0]"), 0);
	qom_free(root);
	qom_free(NULL);
}

/* --- properties --- */

struct thing {
	bool flag;
	uint32_t count;
	char *text;
};

static const struct option_spec thing_options[] = {
	{ "flag", OPTION_BOOL, offsetof(struct thing, flag) },
	{ "count", OPTION_U32, offsetof(struct thing, count) },
	{ "text", OPTION_STRING, offsetof(struct thing, text) },
	{ NULL },
};

static const struct option_spec again_options[] = {
	{ "count", OPTION_U32, offsetof(struct thing, count) },
	{ NULL },
};

static struct json_object *get_answer(struct qom_object *obj)
{
	return json_object_new_int(*(int *)obj->opaque);
}

static int set_answer(struct qom_object *obj, struct json_object *value, struct err *err)
{
	if (!json_object_is_type(value, json_type_int))
		return err_set(err, -EDOM, "not an answer");
	*(int *)obj->opaque = json_object_get_int(value);
	return 0;
}

static const struct qom_property thing_properties[] = { { "answer", "int", get_answer, set_answer },
	{ "fixed", "int", get_answer }, { NULL } };

static void collect(void *opaque, const char *name, const char *type)
{
	char *text = opaque;

	strcat(text, name);
	strcat(text, ":");
	strcat(text, type);
	strcat(text, " ");
}

static void test_properties(void **state)
{
	struct qom_object *root = make_tree();
	struct qom_object *obj = qom_add(root, "thing", "a-thing");
	struct thing thing = { .flag = true, .count = 7 };
	struct json_object *value = NULL;
	char text[512] = "";
	int answer = 42;

	(void)state;
	obj->properties = thing_properties;
	obj->opaque = &answer;
	qom_add_table(obj, thing_options, &thing);
	qom_add_table(obj, again_options, &thing);
	qom_add(obj, "kid", "a-kid");
	qom_add_link(obj, "io", qom_child(qom_child(root, "objects"), "io0"));
	qom_each_property(obj, collect, text);
	assert_string_equal(text,
		"type:string answer:int fixed:int flag:bool count:uint32 text:str "
		"kid:child<a-kid> io:link<iothread> ");
	assert_true(qom_get(obj, "type", &value));
	assert_string_equal(json_object_get_string(value), "a-thing");
	json_object_put(value);
	assert_true(qom_get(obj, "answer", &value));
	assert_int_equal(json_object_get_int(value), 42);
	json_object_put(value);
	assert_true(qom_get(obj, "count", &value));
	assert_int_equal(json_object_get_int(value), 7);
	json_object_put(value);
	assert_true(qom_get(obj, "io", &value));
	assert_string_equal(json_object_get_string(value), "/objects/io0");
	json_object_put(value);
	assert_true(qom_get(obj, "kid", &value));
	assert_string_equal(json_object_get_string(value), "/thing/kid");
	json_object_put(value);
	assert_true(qom_get(obj, "text", &value));
	assert_string_equal(json_object_get_string(value), "");
	json_object_put(value);
	assert_false(qom_get(obj, "nope", &value));
	assert_false(qom_get(obj, "", &value));
	qom_free(root);
}

static void test_set(void **state)
{
	static const struct {
		const char *name, *sentence;
		int result;
	} refused[] = {
		{ "fixed", "Property 'a-thing.fixed' is not writable", -EACCES },
		{ "count", "Property 'a-thing.count' is not writable", -EACCES },
		{ "type", "Property 'a-thing.type' is not writable", -EACCES },
		{ "kid", "Property 'a-thing.kid' is not writable", -EACCES },
		{ "nope", "Property 'a-thing.nope' not found", -ENOENT },
		{ "answer", "not an answer", -EDOM },
	};
	struct qom_object *obj = qom_add(qom_new_root(), "thing", "a-thing");
	_cleanup_value_ struct json_object *text = json_object_new_string("5");
	_cleanup_value_ struct json_object *number = json_object_new_int(5);
	struct thing thing = { .count = 7 };
	struct err err = { 0 };
	int answer = 42;

	(void)state;
	obj->properties = thing_properties;
	obj->opaque = &answer;
	qom_add_table(obj, thing_options, &thing);
	qom_add(obj, "kid", "a-kid");
	for (size_t i = 0; i < ARRAY_SIZE(refused); i++) {
		assert_int_equal(qom_set(obj, refused[i].name, text, &err), refused[i].result);
		assert_string_equal(err.msg, refused[i].sentence);
	}
	assert_int_equal(answer, 42);
	assert_int_equal(qom_set(obj, "answer", number, &err), 0);
	assert_int_equal(answer, 5);
	qom_free(obj->parent);
}

static void test_ids(void **state)
{
	static const char *const good[] = { "a", "disk0", "Z", "a-b.c_d", "x--" };
	static const char *const bad[] = { "", "0", "1bad", "-a", ".a", "_a", "a/b", "a b", "a[0]",
		"\xc3\xa9" };

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(good); i++)
		assert_true(qom_id_well_formed(good[i]));
	for (size_t i = 0; i < ARRAY_SIZE(bad); i++)
		assert_false(qom_id_well_formed(bad[i]));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_paths),
		cmocka_unit_test(test_names_are_unique),
		cmocka_unit_test(test_walk_and_free),
		cmocka_unit_test(test_properties),
		cmocka_unit_test(test_set),
		cmocka_unit_test(test_ids),
	};

	return cmocka_run_group_tests_name("qom", tests, NULL, NULL);
}
