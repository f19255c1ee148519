/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Copies that a device leaves for later: what must be made at once, that nothing else is written,
 * and that all of it is there when the driver is shown the answers; on either ring, and for batches
 * of fewer and more than are kept.
 */
#include "packed_driver.h"

#include "virtio/vq_copies.h"

#define RING	  256u
#define ROOM	  64u
#define UNTOUCHED 0xee

static uint8_t source[4096];

/* --- which ones can wait --- */

static const struct {
	uint32_t pieces[3];
	uint32_t num_head, len;
	bool logged, waits;
} cases[] = {
	{ { 100 }, 12, 64, false, true },
	{ { 76 }, 12, 64, false, true },
	{ { 75 }, 12, 64, false, false },
	{ { 76, 100 }, 12, 64, false, true },
	{ { 75, 100 }, 12, 64, false, false },
	{ { 12, 64 }, 12, 64, false, false },
	{ { 100 }, 12, 4, false, true },
	{ { 100 }, 12, 3, false, false },
	{ { 100 }, 0, 16, false, true },
	{ { 100 }, 16, 0, false, true },
	{ { 100 }, 0, 0, false, false },
	{ { 100 }, 10, 64, false, true },
	{ { 100 }, 12, 64, true, false },
	{ { 100 }, 12, UINT32_MAX, false, false },
};

static void test_which(void **state)
{
	static uint8_t bytes[400];
	static struct vq_copies copies;
	size_t i, k;

	(void)state;
	for (i = 0; i < ARRAY_SIZE(cases); i++) {
		uint32_t all = cases[i].num_head + cases[i].len;
		struct iovec iov[3] = { 0 };
		struct chain c = { .writable = { .iov = iov },
			.dirty = cases[i].logged ? (void *)bytes : NULL };
		uint8_t *head;

		memset(bytes, UNTOUCHED, sizeof(bytes));
		for (k = 0; k < 3 && cases[i].pieces[k]; k++) {
			iov[k] = (struct iovec){ bytes + c.writable.bytes, cases[i].pieces[k] };
			c.writable.bytes += cases[i].pieces[k];
			c.writable.num_iov++;
		}
		head = vq_copy_later(&copies, &c, cases[i].num_head, source, cases[i].len);
		if (!head == cases[i].waits)
			fail_msg("row %zu", i);
		assert_int_equal(copies.num, cases[i].waits);
		assert_int_equal(c.written, cases[i].waits ? all : 0);
		if (!head)
			continue;
		memset(head, 'h', cases[i].num_head);
		for (k = 0; k < sizeof(bytes); k++)
			assert_int_equal(bytes[k], UNTOUCHED);
		vq_make_copies(&copies);
		for (k = 0; k < cases[i].num_head; k++)
			assert_int_equal(bytes[k], 'h');
		assert_memory_equal(bytes + cases[i].num_head, source, cases[i].len);
		for (k = all; k < sizeof(bytes); k++)
			assert_int_equal(bytes[k], UNTOUCHED);
	}
}

/* --- behind a queue --- */

static struct vq_copies device_copies;
static struct fix fix;
static unsigned int num_early; /* copies that serve() found made although they could wait */

static uint64_t buffer_at(unsigned int i)
{
	return DATA_AT + i * 0x100ull;
}

static enum serve_verdict put(struct vq *vq, struct chain *c)
{
	unsigned int n = test_device(&fix)->num_served - 1;
	uint8_t *head;

	vq->copies = &device_copies;
	/* The one before it, unless the list was full then. */
	if (device_copies.num && *(uint8_t *)ram(&fix, buffer_at((n - 1) % RING)) != UNTOUCHED)
		num_early++;
	head = vq_copy_later(&device_copies, c, 12, source + n % 1000, 40);
	assert_non_null(head);
	memset(head, (int)n & 0x7f, 12);
	return SERVE_DONE;
}

static void check(unsigned int from, unsigned int num)
{
	unsigned int n, k;

	for (n = from; n < from + num; n++) {
		const uint8_t *at = ram(&fix, buffer_at(n % RING));

		for (k = 0; k < 12; k++)
			assert_int_equal(at[k], n & 0x7f);
		assert_memory_equal(at + 12, source + n % 1000, 40);
		assert_int_equal(at[52], UNTOUCHED);
	}
}

static const unsigned int batches[] = { 1, 2, 31, 32, 33, 63, 64, 65, 128, 250 };

static void test_split(void **state)
{
	unsigned int i, n, at = 0;

	(void)state;
	num_early = 0;
	fix_init(&fix, RING, 0);
	test_device(&fix)->serve = put;
	for (i = 0; i < ARRAY_SIZE(batches); i++) {
		for (n = at; n < at + batches[i]; n++) {
			memset(ram(&fix, buffer_at(n % RING)), UNTOUCHED, ROOM);
			set_desc(&fix, DESC_AT, n % RING, buffer_at(n % RING), ROOM, WRITE, 0);
			offer(&fix, (uint16_t)(n % RING));
		}
		kick(&fix);
		assert_int_equal(used_idx(&fix), (uint16_t)n);
		assert_int_equal(le32_get(used(&fix)->ring[(n - 1) % RING].len), 52);
		check(at, batches[i]);
		at = n;
	}
	assert_int_equal(num_early, 0);
	fix_deinit(&fix);
}

static void test_packed(void **state)
{
	static struct pdriver d;
	unsigned int i, n, at = 0;
	uint32_t len;
	uint16_t id;

	(void)state;
	num_early = 0;
	fix_init(&fix, RING, PACKED);
	pd_init(&d, &fix);
	test_device(&fix)->serve = put;
	for (i = 0; i < ARRAY_SIZE(batches); i++) {
		for (n = at; n < at + batches[i]; n++) {
			struct pdesc one = { buffer_at(n % RING), ROOM, WRITE };

			memset(ram(&fix, buffer_at(n % RING)), UNTOUCHED, ROOM);
			pd_offer(&d, (uint16_t)(n % RING), &one, 1);
		}
		kick(&fix);
		for (n = at; n < at + batches[i]; n++) {
			assert_true(pd_take(&d, &id, &len));
			assert_int_equal(id, n % RING);
			assert_int_equal(len, 52);
		}
		check(at, batches[i]);
		at = n;
	}
	assert_int_equal(num_early, 0);
	fix_deinit(&fix);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_which),
		cmocka_unit_test(test_split),
		cmocka_unit_test(test_packed),
	};

	for (size_t i = 0; i < sizeof(source); i++)
		source[i] = (uint8_t)(i * 7 >> 2 ^ i);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
