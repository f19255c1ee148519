/* SPDX-License-Identifier: BSD-3-Clause */
/* The transcript's ring, which reply belongs to which request, and messages as fields. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "proto/transcript.h"
#include "proto/vhu_fields.h"

static int set_up(void **state)
{
	static struct transcript t;

	transcript_init(&t);
	transcript_begin(&t);
	*state = &t;
	return 0;
}

static int tear_down(void **state)
{
	transcript_deinit(*state);
	transcript_deinit(*state);
	return 0;
}

static struct transcript_entry *say(struct transcript *t, enum transcript_channel channel,
	bool from_backend, uint32_t request, uint32_t flags)
{
	const struct vhu_header header = vhu_header_make(request, flags, 8);

	return transcript_add(t, channel, from_backend, &header, "12345678", 8, 1);
}

static uint64_t ask(struct transcript *t, uint32_t request, uint32_t flags)
{
	return say(t, TRANSCRIPT_MAIN, false, request, flags)->serial;
}

/* The serial of what it answers. */
static uint64_t answer(struct transcript *t, uint32_t request)
{
	return say(t, TRANSCRIPT_MAIN, true, request, VHU_FLAG_REPLY)->request;
}

static void pairs(void **state)
{
	struct transcript *t = *state;
	uint64_t first = ask(t, VHU_GET_FEATURES, 0);
	uint64_t unasked = ask(t, VHU_SET_FEATURES, 0);
	uint64_t acked = ask(t, VHU_SET_FEATURES, VHU_NEED_REPLY);
	uint64_t second = ask(t, VHU_GET_FEATURES, 0);

	assert_int_equal(answer(t, VHU_GET_FEATURES), first);
	assert_int_equal(answer(t, VHU_SET_FEATURES), acked);
	assert_int_equal(answer(t, VHU_GET_FEATURES), second);
	assert_int_equal(answer(t, VHU_GET_FEATURES), 0);
	/* Unasked for, but there is one that it can mean. */
	assert_int_equal(answer(t, VHU_SET_FEATURES), unasked);
	assert_int_equal(transcript_get(t, first)->reply, second + 1);
	assert_int_equal(transcript_get(t, second)->reply, second + 3);
}

static void unknown_requests_may_be_answered(void **state)
{
	uint64_t asked = ask(*state, 4711, 0);

	assert_int_equal(answer(*state, 4711), asked);
}

static void a_new_front_end_answers_nothing_of_the_old(void **state)
{
	struct transcript *t = *state;

	ask(t, VHU_GET_FEATURES, 0);
	transcript_begin(t);
	assert_int_equal(answer(t, VHU_GET_FEATURES), 0);
	assert_int_equal(transcript_get(t, 2)->connection, 2);
}

static void channels_are_apart(void **state)
{
	struct transcript *t = *state;
	uint64_t asked;

	ask(t, 2, VHU_NEED_REPLY);
	asked = say(t, TRANSCRIPT_BACKEND, true, 2, VHU_NEED_REPLY)->serial;
	assert_int_equal(say(t, TRANSCRIPT_BACKEND, false, 2, VHU_FLAG_REPLY)->request, asked);
	say(t, TRANSCRIPT_BACKEND, true, 2, VHU_NEED_REPLY);
	transcript_begin_channel(t);
	assert_int_equal(say(t, TRANSCRIPT_BACKEND, false, 2, VHU_FLAG_REPLY)->request, 0);
	/* A reply's flag from who asks makes no reply. */
	assert_false(transcript_is_reply(say(t, TRANSCRIPT_MAIN, false, 2, VHU_FLAG_REPLY)));
	assert_int_equal(answer(t, 2), 1);
}

static void is_bounded(void **state)
{
	struct transcript *t = *state;
	struct transcript_entry *e;

	assert_int_equal(transcript_first(t), 1);
	assert_null(transcript_get(t, 1));
	for (unsigned int i = 0; i < 3 * TRANSCRIPT_ENTRIES; i++)
		ask(t, VHU_GET_FEATURES, 0);
	assert_int_equal(t->last, 3 * TRANSCRIPT_ENTRIES);
	assert_int_equal(transcript_first(t), 2 * TRANSCRIPT_ENTRIES + 1);
	assert_null(transcript_get(t, 0));
	assert_null(transcript_get(t, 2 * TRANSCRIPT_ENTRIES));
	assert_non_null(transcript_get(t, 2 * TRANSCRIPT_ENTRIES + 1));
	assert_null(transcript_get(t, t->last + 1));
	/* The oldest that is still there; the reply itself took the place of the first. */
	assert_int_equal(answer(t, VHU_GET_FEATURES), 2 * TRANSCRIPT_ENTRIES + 2);
	e = transcript_get(t, t->last);
	assert_int_equal(e->num_kept, 8);
	assert_int_equal(e->num_fds, 1);
	assert_memory_equal(e->payload, "12345678", 8);
}

static void keeps_the_beginning_of_large_ones(void **state)
{
	const struct vhu_header header = vhu_header_make(99, 0, 65536);
	static uint8_t payload[65536];
	struct transcript_entry *e;

	memset(payload, 7, sizeof(payload));
	e = transcript_add(*state, TRANSCRIPT_MAIN, false, &header, payload, sizeof(payload), 0);
	assert_int_equal(e->num_kept, TRANSCRIPT_PAYLOAD_BYTES);
	assert_int_equal(e->payload[TRANSCRIPT_PAYLOAD_BYTES - 1], 7);
}

/* Of either form, the way there and back, and of what is no form at all. */
static void keeps_no_keys(void **state)
{
	static const uint32_t sizes[] = { 632, 1072, 40, 41, 633, 4096 };
	static uint8_t payload[4096];

	memset(payload, 0x5a, sizeof(payload));
	memset(payload, 1, VHU_SESSION_PUBLIC_BYTES);
	for (size_t i = 0; i < 2 * ARRAY_SIZE(sizes); i++) {
		uint32_t size = sizes[i / 2];
		const struct vhu_header header = vhu_header_make(
			VHU_CREATE_CRYPTO_SESSION, i & 1 ? VHU_FLAG_REPLY : 0, size);
		struct transcript_entry *e =
			transcript_add(*state, TRANSCRIPT_MAIN, i & 1, &header, payload, size, 0);

		assert_int_equal(e->num_kept, VHU_SESSION_PUBLIC_BYTES);
		for (size_t at = e->num_kept; at < sizeof(e->payload); at++)
			assert_int_equal(e->payload[at], 0);
	}
}

/* --- fields --- */

/* On the wire, wherever this runs. */
#if __BYTE_ORDER__ == __ORDER_BIG_ENDIAN__
#define WIRE64(v) __builtin_bswap64(v)
#else
#define WIRE64(v) (v)
#endif
static const uint8_t session[sizeof(struct vhu_session)] = { 0xff, 0xff, 0xff, 0xff, 0xff, 0xff,
	0xff, 0xff, 3, 0, 0, 0, 16, [32] = 1, [33] = 2, [56] = 0x5a };
static const uint8_t session2[sizeof(struct vhu_session2)] = { 4,
	4, [8] = 1, [12] = 2, [17] = 4, [40] = 0x5a };

#define U64(v) (uint64_t[]){ WIRE64(v) }, 8

static const struct {
	uint32_t request;
	bool channel, reply;
	const void *payload;
	size_t bytes;
	const char *line;
} lines[] = {
	{ VHU_GET_FEATURES, false, false, NULL, 0, "" },
	{ VHU_GET_FEATURES, false, true, U64(0x140000000), "value 0x140000000" },
	{ VHU_SET_FEATURES, false, true, U64(0), "result 0" },
	{ VHU_SET_PROTOCOL_FEATURES, false, false, U64(9),
		"protocol-features 0x9 names MQ REPLY_ACK" },
	{ VHU_SET_VRING_NUM, false, false, U64(0x8000000003), "index 3 num 128" },
	{ VHU_SET_VRING_NUM, false, false, U64(0x8000000003) - 1, "bytes 03000000800000" },
	{ VHU_SET_VRING_KICK, false, false, U64(0x101), "index 1 descriptor none" },
	{ VHU_SET_VRING_CALL, false, false, U64(1), "index 1 descriptor sent" },
	{ VHU_GET_QUEUE_NUM, false, true, U64(16), "value 16" },
	{ VHU_GET_CONFIG, false, true, "\x08\0\0\0\2\0\0\0\0\0\0\0\xab\xcd", 14,
		"offset 8 size 2 flags 0x0 bytes abcd" },
	{ VHU_SET_MEM_TABLE, false, false, "\1\0\0\0\0\0\0\0\0\0\1\0\0\0\0\0", 16,
		"num-regions 1" },
	{ VHU_SET_MEM_TABLE, false, false,
		"\1\0\0\0\0\0\0\0"
		"\0\0\1\0\0\0\0\0\0\x10\0\0\0\0\0\0\2\0\0\0\0\0\0\0\3\0\0\0\0\0\0\0",
		40, "num-regions 1 region-0 0x10000+0x1000 user 0x2 offset 0x3" },
	{ VHU_CREATE_CRYPTO_SESSION, false, false, session, sizeof(session),
		"op-type 1 cipher-algo 3 key-bytes 16 direction 2 hash-algo 0 auth-key-bytes 0 "
		"keys not kept" },
	{ VHU_CREATE_CRYPTO_SESSION, false, true, session, sizeof(session),
		"session -1 op-type 1 cipher-algo 3 key-bytes 16 direction 2 hash-algo 0 "
		"auth-key-bytes 0 keys not kept" },
	{ VHU_CREATE_CRYPTO_SESSION, false, false, session2, sizeof(session2),
		"operation 0x404 algo 1 key-type 2 key-bytes 1024 keys not kept" },
	{ VHU_CREATE_CRYPTO_SESSION, false, false, session2, 1071, "keys not kept" },
	{ VHU_CLOSE_CRYPTO_SESSION, false, false, U64(7), "value 7" },
	{ 4711, false, false, "hi", 2, "bytes 6869" },
	{ VHU_BACKEND_CONFIG_CHANGE_MSG, true, false, NULL, 0, "" },
	{ VHU_BACKEND_CONFIG_CHANGE_MSG, true, true, U64(5), "result 5" },
};

static void describes(void **state)
{
	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(lines); i++) {
		const struct vhu_header header =
			vhu_header_make(lines[i].request, 0, (uint32_t)lines[i].bytes);
		struct vhu_fields fields;
		char line[VHU_LINE_BYTES];

		vhu_describe(&header, lines[i].channel, lines[i].reply, lines[i].payload,
			lines[i].bytes, &fields);
		vhu_fields_line(&fields, line);
		assert_string_equal(line, lines[i].line);
	}
}

/* Every request with every length of whatever: nothing is read beyond it, all of it is text. */
static void describes_anything(void **state)
{
	static const uint8_t fills[] = { 0, 1, 8, 0x41, 0xff };
	uint8_t payload[TRANSCRIPT_PAYLOAD_BYTES];
	struct vhu_fields fields;
	char line[VHU_LINE_BYTES];

	(void)state;
	for (size_t f = 0; f < ARRAY_SIZE(fills); f++) {
		memset(payload, fills[f], sizeof(payload));
		for (uint32_t request = 0; request < 50; request++)
			for (size_t bytes = 0; bytes <= sizeof(payload); bytes++) {
				const struct vhu_header header =
					vhu_header_make(request, 0, bytes & 4 ? 632 : 1072);

				vhu_describe(&header, bytes & 1, bytes & 2,
					payload + sizeof(payload) - bytes, bytes, &fields);
				assert_true(fields.num <= VHU_FIELDS_MAX);
				vhu_fields_line(&fields, line);
				assert_true(strlen(line) < VHU_LINE_BYTES);
			}
	}
}

static void names(void **state)
{
	char buf[32];

	(void)state;
	assert_string_equal(vhu_message_name(VHU_GET_FEATURES, false, buf, 32), "GET_FEATURES");
	assert_string_equal(vhu_message_name(99, false, buf, 32), "request 99");
	assert_string_equal(
		vhu_message_name(VHU_BACKEND_VRING_CALL, true, buf, 32), "BACKEND_VRING_CALL");
	assert_string_equal(vhu_message_name(99, true, buf, 32), "back-end request 99");
	assert_string_equal(vhu_message_name(0, true, buf, 32), "back-end request 0");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(pairs, set_up, tear_down),
		cmocka_unit_test_setup_teardown(
			unknown_requests_may_be_answered, set_up, tear_down),
		cmocka_unit_test_setup_teardown(
			a_new_front_end_answers_nothing_of_the_old, set_up, tear_down),
		cmocka_unit_test_setup_teardown(channels_are_apart, set_up, tear_down),
		cmocka_unit_test_setup_teardown(is_bounded, set_up, tear_down),
		cmocka_unit_test_setup_teardown(
			keeps_the_beginning_of_large_ones, set_up, tear_down),
		cmocka_unit_test_setup_teardown(keeps_no_keys, set_up, tear_down),
		cmocka_unit_test(describes),
		cmocka_unit_test(describes_anything),
		cmocka_unit_test(names),
	};

	return cmocka_run_group_tests_name("transcript", tests, NULL, NULL);
}
