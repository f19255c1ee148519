/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Which element is shown, and how: next or last, by position, available, in flight or used; and
 * that looking changes nothing, not in memory, not in the queue, not in the device.
 */
#include "vq_fixture.h"

#include <signal.h>

#include "base/alloc.h"
#include "inspect/element.h"
#include "qom/qom.h"
#include "inspect/sources.h"
#include "inspect/vhost.h"
#include "inspect/virtio.h"
#include "mem/guard.h"

#define NUM 8

static struct element look(struct fix *f, int index)
{
	uint16_t at = (uint16_t)index;
	struct element e;
	struct err err = { 0 };
	int r = element_read(f->vq, index < 0 ? NULL : &at, &e, &err);

	if (r < 0)
		print_message("# %s\n", err.msg);
	assert_int_equal(r, 0);
	return e;
}

static void expect_error(struct fix *f, int index, const char *part)
{
	uint16_t at = (uint16_t)index;
	struct element e;
	struct err err = { 0 };

	assert_true(element_read(f->vq, index < 0 ? NULL : &at, &e, &err) < 0);
	print_message("# %s\n", err.msg);
	assert_non_null(strstr(err.msg, part));
	assert_int_equal(e.chain.num, 0);
}

/* A chain of one indirect descriptor with two entries, offered but not kicked. */
static void offer_indirect(struct fix *f, uint16_t head)
{
	uint64_t table = TABLE_AT + head * 64u;

	set_desc(f, table, 0, DATA_AT, 16, NEXT, 1);
	set_desc(f, table, 1, DATA_AT + 64, 512, WRITE, 0);
	set_desc(f, DESC_AT, head, table, 32, INDIRECT, 0);
	offer(f, head);
}

static void expect_followed(struct fix *f, int index, uint16_t head)
{
	struct element e = look(f, index);

	assert_int_equal(e.head, head);
	assert_true(e.owned);
	assert_int_equal(e.chain.num, 2);
	assert_int_equal(e.chain.descs[0].len, 16);
	assert_int_equal(e.chain.descs[1].len, 512);
	assert_int_equal(e.chain.descs[1].flags, WRITE);
	element_free(&e);
}

static void expect_unfollowed(struct fix *f, int index, uint16_t head)
{
	struct element e = look(f, index);

	assert_int_equal(e.head, head);
	assert_false(e.owned);
	assert_int_equal(e.chain.num, 1);
	assert_int_equal(e.chain.descs[0].flags, INDIRECT);
	assert_int_equal(e.chain.descs[0].len, 32);
	element_free(&e);
}

static void test_nothing_yet(void **state)
{
	struct fix f;
	struct element e;

	(void)state;
	fix_init(&f, NUM, 0);
	for (int index = -1; index < 3; index++) {
		e = look(&f, index);
		assert_true(e.none);
		assert_int_equal(e.chain.num, 0);
		assert_int_equal(e.head, 0);
	}
	fix_reset(&f);
	expect_error(&f, -1, "Region caches not initialized");
	fix_deinit(&f);
}

static void test_available(void **state)
{
	struct fix f;

	(void)state;
	fix_init(&f, NUM, 1ull << 28);
	test_device(&f)->verdict = SERVE_RETRY;
	offer_indirect(&f, 5);
	offer_indirect(&f, 2);
	expect_followed(&f, -1, 5);
	kick(&f);
	expect_followed(&f, -1, 5);
	expect_followed(&f, 0, 5);
	expect_followed(&f, 1, 2);
	expect_followed(&f, 1 + 8 * 100, 2);
	fix_deinit(&f);
}

static void test_in_flight_then_used(void **state)
{
	struct test_device *td;
	struct fix f;

	(void)state;
	fix_init(&f, NUM, 0);
	td = test_device(&f);
	td->verdict = SERVE_HELD;
	offer_indirect(&f, 3);
	offer_indirect(&f, 6);
	kick(&f);
	assert_int_equal(td->num_held, 2);
	/* None waits: the one taken last. */
	expect_followed(&f, -1, 6);
	expect_followed(&f, 0, 3);
	vq_complete(f.vq, td->held[1]);
	td->held[1] = NULL;
	pump(&f);
	expect_unfollowed(&f, -1, 6);
	expect_followed(&f, 0, 3);
	/* Its table may be anybody's memory by now: garbage there is not looked at. */
	memset(ram(&f, TABLE_AT + 6 * 64), 0xff, 32);
	expect_unfollowed(&f, -1, 6);
	fix_deinit(&f);
}

static void test_next_after_wrap(void **state)
{
	struct fix f;

	(void)state;
	fix_init(&f, NUM, 0);
	test_device(&f)->verdict = SERVE_DONE;
	for (int i = 0; i < 65536 - 2; i += 4) {
		for (int j = 0; j < 4 && i + j < 65536 - 2; j++) {
			set_desc(&f, DESC_AT, 1, DATA_AT, 7, 0, 0);
			offer(&f, 1);
		}
		kick(&f);
	}
	assert_int_equal(view(&f).last_avail_idx, 65534);
	test_device(&f)->verdict = SERVE_RETRY;
	offer_indirect(&f, 4);
	offer_indirect(&f, 5);
	offer_indirect(&f, 6);
	assert_int_equal(f.avail_idx, 1);
	expect_followed(&f, -1, 4);
	expect_followed(&f, 65534, 4);
	expect_followed(&f, 65535, 5);
	expect_followed(&f, 0, 6);
	/* All indices 0 after a whole turn is not the same as a fresh queue. */
	avail(&f)->idx = le16_make(0);
	f.avail_idx = 0;
	test_device(&f)->verdict = SERVE_DONE;
	kick(&f);
	assert_int_equal(view(&f).last_avail_idx, 0);
	expect_unfollowed(&f, -1, 5);
	fix_deinit(&f);
}

static void test_bad_chain_is_named(void **state)
{
	struct fix f;

	(void)state;
	fix_init(&f, NUM, 0);
	set_desc(&f, DESC_AT, 0, DATA_AT, 1, NEXT, 4);
	set_desc(&f, DESC_AT, 4, DATA_AT, 1, NEXT, 9);
	offer(&f, 0);
	expect_error(&f, -1, "descriptor 4 names descriptor 9 as next");
	assert_false(f.dev->broken);
	kick(&f);
	assert_true(f.dev->broken);
	expect_error(&f, -1, "descriptor 4 names descriptor 9 as next");
	fix_deinit(&f);
}

static void test_bad_head(void **state)
{
	struct fix f;

	(void)state;
	fix_init(&f, NUM, 0);
	offer(&f, NUM);
	expect_error(&f, -1, "names descriptor 8 as a head");
	expect_error(&f, 0, "names descriptor 8 as a head");
	kick(&f);
	assert_true(f.dev->broken);
	fix_deinit(&f);
}

static void test_index_too_far(void **state)
{
	struct fix f;

	(void)state;
	fix_init(&f, NUM, 0);
	avail(&f)->idx = le16_make(NUM + 1);
	kick(&f);
	assert_true(f.dev->broken);
	expect_error(&f, -1, "available index 9 is 9 ahead of 0, in a ring of 8");
	fix_deinit(&f);
}

static void test_stale_loop(void **state)
{
	struct fix f;

	(void)state;
	fix_init(&f, NUM, 0);
	test_device(&f)->verdict = SERVE_DONE;
	push_one(&f, 0, DATA_AT, 1, 0);
	/* The driver's free list may look like anything. */
	set_desc(&f, DESC_AT, 0, DATA_AT, 1, NEXT, 0);
	expect_error(&f, -1, "was used already");
	assert_false(f.dev->broken);
	fix_deinit(&f);
}

/* cmocka takes the signal for itself before each test. */
static struct sigaction guard_action;

static void test_truncated_file(void **state)
{
	struct fix f;

	(void)state;
	assert_int_equal(sigaction(SIGBUS, &guard_action, NULL), 0);
	fix_init(&f, NUM, 0);
	test_device(&f)->verdict = SERVE_RETRY;
	offer_indirect(&f, 0);
	kick(&f);
	assert_int_equal(ftruncate(f.memfd, (off_t)TABLE_AT), 0);
	expect_error(&f, -1, "the memory behind it is gone");
	assert_int_equal(ftruncate(f.memfd, 0), 0);
	expect_error(&f, -1, "the memory behind it is gone");
	assert_false(gmem_poisoned(f.mem));
	assert_false(f.dev->broken);
	/* So that the fixture's end finds its memory. */
	assert_int_equal(ftruncate(f.memfd, RAM_END), 0);
	fix_deinit(&f);
}

static void test_rings_outside_memory(void **state)
{
	struct fix f;

	(void)state;
	fix_init(&f, NUM, 0);
	fix_reset(&f);
	f.vq->cfg = (struct vq_config){ NUM, DESC_AT, RAM_END, USED_AT, 0, 0 };
	expect_error(&f, -1, "available ring at 0x400000 lies outside guest memory");
	f.vq->cfg = (struct vq_config){ NUM, DESC_AT, AVAIL_AT, UINT64_MAX - 1, 0, 0 };
	expect_error(&f, -1, "used ring at 0x");
	/* Before DRIVER_OK it works all the same. */
	f.vq->cfg = (struct vq_config){ NUM, DESC_AT, AVAIL_AT, USED_AT, 0, 0 };
	f.avail_idx = 0;
	offer_indirect(&f, 7);
	expect_followed(&f, -1, 7);
	vdev_set_mem(f.dev, NULL);
	expect_error(&f, -1, "Region caches not initialized");
	fix_deinit(&f);
}

static struct qom_object *tree_of(struct fix *f)
{
	struct qom_object *root = qom_new_root();

	qom_add(root, "t0", "virtio-test")->vdev = f->dev;
	return root;
}

/* Every query, many times, on a device with something waiting and something in flight. */
static void test_nothing_is_touched(void **state)
{
	static uint8_t before[RAM_END];
	struct vq_view view_before;
	struct qom_object *root;
	struct err err = { 0 };
	struct fix f;

	(void)state;
	fix_init(&f, NUM, 1ull << 29);
	root = tree_of(&f);
	test_device(&f)->verdict = SERVE_HELD;
	offer_indirect(&f, 3);
	kick(&f);
	test_device(&f)->verdict = SERVE_RETRY;
	offer_indirect(&f, 4);
	memcpy(before, f.ram, RAM_END);
	view_before = view(&f);
	for (int i = 0; i < 1000; i++) {
		struct VirtioQueueElement *element = NULL;
		struct VirtQueueStatus *queue = NULL;
		struct VirtioStatus *status = NULL;
		uint16_t index = (uint16_t)i;

		assert_int_equal(inspect_queue_element(
					 root, "/t0", 0, i % 2 ? &index : NULL, &element, &err),
			0);
		assert_int_equal(inspect_queue_status(root, "t0", 0, &queue, &err), 0);
		assert_int_equal(inspect_status(root, "//t0/", &status, &err), 0);
		qapi_free_VirtioQueueElement(element);
		qapi_free_VirtQueueStatus(queue);
		qapi_free_VirtioStatus(status);
	}
	assert_memory_equal(before, f.ram, RAM_END);
	struct vq_view view_after = view(&f);
	assert_memory_equal(
		&view_before.counters, &view_after.counters, sizeof(struct vq_counters));
	assert_int_equal(view_before.shadow_avail_idx, view_after.shadow_avail_idx);
	assert_false(f.dev->broken);
	qom_free(root);
	fix_deinit(&f);
}

/* The note of @member, "" where it has none. The caller frees it. */
static char *note_of(struct qom_object *root, const char *member)
{
	struct VirtioMemberInfoList list = { 0 };
	struct err err = { 0 };
	char *note = NULL;

	assert_int_equal(inspect_sources(root, "/t0", &list, &err), 0);
	for (size_t i = 0; i < list.num; i++)
		if (!strcmp(list.items[i]->member, member))
			note = xstrdup(list.items[i]->note ? list.items[i]->note : "");
	qapi_clear_VirtioMemberInfoList(&list);
	assert_non_null(note);
	return note;
}

static void expect_note(struct qom_object *root, const char *member, const char *part)
{
	char *note = note_of(root, member);

	print_message("# %s: %s\n", member, note);
	if (*part)
		assert_non_null(strstr(note, part));
	else
		assert_string_equal(note, "");
	free(note);
}

static void test_notes_of_sources(void **state)
{
	struct test_device *td;
	struct qom_object *root;
	struct fix f;

	(void)state;
	fix_init(&f, NUM, 0);
	root = tree_of(&f);
	td = test_device(&f);
	expect_note(root, "queue.0.queue-index", "its role is requestq");
	expect_note(root, "queue.0.inuse", "");
	td->verdict = SERVE_HELD;
	offer_indirect(&f, 3);
	kick(&f);
	/* The type's own words; a lie in memory changes nothing, the device has loaded it. */
	memset(ram(&f, TABLE_AT + 3 * 64), 0xff, 32);
	expect_note(root, "queue.0.inuse", "one in flight is head 3, 512 random bytes wanted");
	vq_complete(f.vq, td->held[0]);
	td->num_held = 0;
	pump(&f);
	expect_note(root, "queue.0.inuse", "");
	expect_note(root, "broken", "");
	vq_break(f.vq, "descriptor 7 is beyond 3");
	pump(&f);
	expect_note(root, "broken", "queue 0: descriptor 7 is beyond 3");
	qom_free(root);
	fix_deinit(&f);
}

struct refusal {
	const char *path;
	uint16_t queue;
	const char *status, *queue_status, *vhost, *element; /* NULL: answered */
};

static const struct refusal refusals[] = {
	{ "/nope", 0, "Path /nope is not a realized VirtIODevice",
		"Path /nope is not a VirtIODevice", "Path /nope is not a VirtIODevice",
		"Path /nope is not a VirtIO device" },
	{ "", 0, "Path  is not a realized VirtIODevice", "Path  is not a VirtIODevice",
		"Path  is not a VirtIODevice", "Path  is not a VirtIO device" },
	{ "/t0", 1, NULL, "Invalid virtqueue number 1", "Error: vhost device has not started yet",
		"Invalid virtqueue number 1" },
	{ "/t0", 65535, NULL, "Invalid virtqueue number 65535",
		"Error: vhost device has not started yet", "Invalid virtqueue number 65535" },
	{ "/t0", 0, NULL, NULL, "Error: vhost device has not started yet", NULL },
};

static void expect_refusal(int r, const struct err *err, const char *sentence)
{
	assert_int_equal(r < 0, sentence != NULL);
	if (sentence)
		assert_string_equal(err->msg, sentence);
}

static void test_refusals(void **state)
{
	struct qom_object *root;
	struct fix f;

	(void)state;
	fix_init(&f, NUM, 0);
	root = tree_of(&f);
	for (size_t i = 0; i < ARRAY_SIZE(refusals); i++) {
		const struct refusal *row = &refusals[i];
		struct VirtioQueueElement *element = NULL;
		struct VirtVhostQueueStatus *vhost = NULL;
		struct VirtQueueStatus *queue = NULL;
		struct VirtioStatus *status = NULL;
		struct err err = { 0 };

		expect_refusal(inspect_status(root, row->path, &status, &err), &err, row->status);
		expect_refusal(inspect_queue_status(root, row->path, row->queue, &queue, &err),
			&err, row->queue_status);
		expect_refusal(
			inspect_vhost_queue_status(root, row->path, row->queue, &vhost, &err), &err,
			row->vhost);
		expect_refusal(
			inspect_queue_element(root, row->path, row->queue, NULL, &element, &err),
			&err, row->element);
		qapi_free_VirtioQueueElement(element);
		qapi_free_VirtQueueStatus(queue);
		qapi_free_VirtioStatus(status);
	}
	qom_free(root);
	fix_deinit(&f);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_nothing_yet),
		cmocka_unit_test(test_available),
		cmocka_unit_test(test_in_flight_then_used),
		cmocka_unit_test(test_next_after_wrap),
		cmocka_unit_test(test_bad_chain_is_named),
		cmocka_unit_test(test_bad_head),
		cmocka_unit_test(test_index_too_far),
		cmocka_unit_test(test_stale_loop),
		cmocka_unit_test(test_truncated_file),
		cmocka_unit_test(test_rings_outside_memory),
		cmocka_unit_test(test_nothing_is_touched),
		cmocka_unit_test(test_notes_of_sources),
		cmocka_unit_test(test_refusals),
	};

	guard_install();
	sigaction(SIGBUS, NULL, &guard_action);
	return cmocka_run_group_tests_name("inspect_element", tests, NULL, NULL);
}
