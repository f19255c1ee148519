/* SPDX-License-Identifier: BSD-3-Clause */
/* The rules of the protocol: what is well-formed, and what is named as wrong. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "proto/vhost_user.h"

struct row {
	const char *name;
	uint32_t request, flags, size;
	unsigned int num_fds;
	enum vhu_fault fault;
	uint64_t first; /* the payload's first eight bytes */
};

#define ACK    (VHU_VERSION | VHU_NEED_REPLY)
#define MEM(n) ((uint64_t)(n))

static const struct row rows[] = {
	{ "empty", VHU_GET_FEATURES, 1, 0, 0, VHU_OK },
	{ "need reply", VHU_SET_OWNER, ACK, 0, 0, VHU_OK },
	{ "version 0", VHU_GET_FEATURES, 0, 0, 0, VHU_FAULT_VERSION },
	{ "version 2", VHU_GET_FEATURES, 2, 0, 0, VHU_FAULT_VERSION },
	{ "version 3", VHU_GET_FEATURES, 3, 0, 0, VHU_FAULT_VERSION },
	{ "a reply", VHU_GET_FEATURES, 5, 8, 0, VHU_FAULT_FLAGS },
	{ "bit 4", VHU_GET_FEATURES, 0x11, 0, 0, VHU_FAULT_FLAGS },
	{ "bit 31", VHU_GET_FEATURES, 0x80000001, 0, 0, VHU_FAULT_FLAGS },
	{ "payload where none is", VHU_GET_FEATURES, 1, 8, 0, VHU_FAULT_SIZE },
	{ "u64 short", VHU_SET_FEATURES, 1, 7, 0, VHU_FAULT_SIZE },
	{ "u64 empty", VHU_SET_FEATURES, 1, 0, 0, VHU_FAULT_SIZE },
	{ "u64 long", VHU_SET_FEATURES, 1, 9, 0, VHU_FAULT_SIZE },
	{ "state short", VHU_SET_VRING_NUM, 1, 4, 0, VHU_FAULT_SIZE },
	{ "state long", VHU_GET_VRING_BASE, 1, 12, 0, VHU_FAULT_SIZE },
	{ "addr short", VHU_SET_VRING_ADDR, 1, 39, 0, VHU_FAULT_SIZE },
	{ "addr long", VHU_SET_VRING_ADDR, 1, 41, 0, VHU_FAULT_SIZE },
	{ "size of 4 GiB", VHU_SET_VRING_ADDR, 1, UINT32_MAX, 0, VHU_FAULT_SIZE },
	{ "unknown request", 99, 1, 100, 3, VHU_OK },
	{ "unknown and huge", 99, 1, VHU_PAYLOAD_MAX + 1, 0, VHU_FAULT_SIZE },
	{ "request 0", 0, 1, 0, 0, VHU_OK },
	{ "request of all ones", UINT32_MAX, 1, 0, 0, VHU_OK },
	{ "surplus descriptor", VHU_SET_FEATURES, 1, 8, 1, VHU_FAULT_FDS },
	{ "descriptor missing", VHU_SET_BACKEND_REQ_FD, 1, 0, 0, VHU_FAULT_FDS },
	{ "two for one", VHU_SET_BACKEND_REQ_FD, 1, 0, 2, VHU_FAULT_FDS },
	{ "kick", VHU_SET_VRING_KICK, 1, 8, 1, VHU_OK, 0xff },
	{ "kick without, said so", VHU_SET_VRING_KICK, 1, 8, 0, VHU_OK, 0x1ff },
	{ "kick without, not said", VHU_SET_VRING_KICK, 1, 8, 0, VHU_FAULT_FDS, 0 },
	{ "kick with, denied", VHU_SET_VRING_KICK, 1, 8, 1, VHU_FAULT_FDS, 0x100 },
	{ "two kicks", VHU_SET_VRING_KICK, 1, 8, 2, VHU_FAULT_FDS, 0 },
	{ "bit 9 of a call", VHU_SET_VRING_CALL, 1, 8, 1, VHU_FAULT_INDEX, 0x200 },
	{ "index 0x10000 of an err", VHU_SET_VRING_ERR, 1, 8, 1, VHU_FAULT_INDEX, 0x10000 },
	{ "no region", VHU_SET_MEM_TABLE, 1, 8, 0, VHU_OK, MEM(0) },
	{ "one region", VHU_SET_MEM_TABLE, 1, 40, 1, VHU_OK, MEM(1) },
	{ "room for more regions", VHU_SET_MEM_TABLE, 1, 72, 1, VHU_OK, MEM(1) },
	{ "8 regions", VHU_SET_MEM_TABLE, 1, 264, 8, VHU_OK, MEM(8) },
	{ "9 regions", VHU_SET_MEM_TABLE, 1, 296, 8, VHU_FAULT_SIZE, MEM(9) },
	{ "9 regions claimed", VHU_SET_MEM_TABLE, 1, 264, 8, VHU_FAULT_LAYOUT, MEM(9) },
	{ "2^27 regions claimed", VHU_SET_MEM_TABLE, 1, 264, 8, VHU_FAULT_LAYOUT, MEM(1u << 27) },
	{ "fewer bytes than regions", VHU_SET_MEM_TABLE, 1, 40, 2, VHU_FAULT_LAYOUT, MEM(2) },
	{ "half a region", VHU_SET_MEM_TABLE, 1, 56, 1, VHU_FAULT_LAYOUT, MEM(1) },
	{ "fewer descriptors", VHU_SET_MEM_TABLE, 1, 72, 1, VHU_FAULT_FDS, MEM(2) },
	{ "more descriptors", VHU_SET_MEM_TABLE, 1, 40, 2, VHU_FAULT_FDS, MEM(1) },
	{ "slot", VHU_ADD_MEM_REG, 1, 40, 1, VHU_OK },
	{ "slot as a table", VHU_ADD_MEM_REG, 1, 32, 1, VHU_FAULT_SIZE },
	{ "slot without memory", VHU_ADD_MEM_REG, 1, 40, 0, VHU_FAULT_FDS },
	{ "slot goes", VHU_REM_MEM_REG, 1, 40, 0, VHU_OK },
	{ "slot goes, with memory", VHU_REM_MEM_REG, 1, 40, 1, VHU_OK },
	{ "slot goes, with too much", VHU_REM_MEM_REG, 1, 40, 2, VHU_FAULT_FDS },
	{ "slots asked", VHU_GET_MAX_MEM_SLOTS, 1, 8, 0, VHU_FAULT_SIZE },
	{ "session", VHU_CREATE_CRYPTO_SESSION, 1, 632, 0, VHU_OK },
	{ "session of a form to come", VHU_CREATE_CRYPTO_SESSION, 1, 4096, 0, VHU_OK },
	{ "session with a descriptor", VHU_CREATE_CRYPTO_SESSION, 1, 632, 1, VHU_FAULT_FDS },
	{ "session goes", VHU_CLOSE_CRYPTO_SESSION, 1, 8, 0, VHU_OK },
	{ "session goes, short", VHU_CLOSE_CRYPTO_SESSION, 1, 7, 0, VHU_FAULT_SIZE },
	{ "session goes, with a descriptor", VHU_CLOSE_CRYPTO_SESSION, 1, 8, 1, VHU_FAULT_FDS },
	{ "in-flight region asked", VHU_GET_INFLIGHT_FD, 1, 24, 0, VHU_OK },
	{ "in-flight region asked, unpadded", VHU_GET_INFLIGHT_FD, 1, 20, 0, VHU_OK },
	{ "in-flight region asked, short", VHU_GET_INFLIGHT_FD, 1, 19, 0, VHU_FAULT_SIZE },
	{ "in-flight region asked, long", VHU_GET_INFLIGHT_FD, 1, 25, 0, VHU_FAULT_SIZE },
	{ "in-flight region asked, with one", VHU_GET_INFLIGHT_FD, 1, 24, 1, VHU_FAULT_FDS },
	{ "in-flight region", VHU_SET_INFLIGHT_FD, 1, 24, 1, VHU_OK },
	{ "in-flight region, no file", VHU_SET_INFLIGHT_FD, 1, 24, 0, VHU_FAULT_FDS },
	{ "in-flight region, two files", VHU_SET_INFLIGHT_FD, 1, 24, 2, VHU_FAULT_FDS },
	{ "log", VHU_SET_LOG_BASE, 1, 16, 1, VHU_OK },
	{ "log by its address", VHU_SET_LOG_BASE, 1, 8, 0, VHU_FAULT_SIZE },
	{ "log without memory", VHU_SET_LOG_BASE, 1, 16, 0, VHU_FAULT_FDS },
	{ "log's signal", VHU_SET_LOG_FD, 1, 0, 1, VHU_OK },
	{ "log's signal goes", VHU_SET_LOG_FD, 1, 8, 0, VHU_OK },
	{ "in-band kick", VHU_VRING_KICK, 1, 8, 0, VHU_OK },
	{ "in-band kick with a descriptor", VHU_VRING_KICK, 1, 8, 1, VHU_FAULT_FDS },
	{ "config asked", VHU_GET_CONFIG, 1, 12 + 60, 0, VHU_OK, 60ull << 32 },
	{ "config asked, no room", VHU_GET_CONFIG, 1, 12, 0, VHU_OK, 60ull << 32 },
	{ "config short", VHU_GET_CONFIG, 1, 11, 0, VHU_FAULT_SIZE, 0 },
	{ "config asks for 257", VHU_GET_CONFIG, 1, 12, 0, VHU_FAULT_LAYOUT, 257ull << 32 },
	{ "config claims 4 GiB", VHU_GET_CONFIG, 1, 12, 0, VHU_FAULT_LAYOUT, ~0ull },
	{ "config size lies", VHU_GET_CONFIG, 1, 20, 0, VHU_FAULT_LAYOUT, 60ull << 32 },
	{ "config written", VHU_SET_CONFIG, 1, 16, 0, VHU_OK, 4ull << 32 },
	{ "config written, bytes missing", VHU_SET_CONFIG, 1, 12, 0, VHU_FAULT_LAYOUT, 4ull << 32 },
	{ "config written, bytes left", VHU_SET_CONFIG, 1, 20, 0, VHU_FAULT_LAYOUT, 4ull << 32 },
	{ "config over-long", VHU_SET_CONFIG, 1, 12 + 257, 0, VHU_FAULT_SIZE, 257ull << 32 },
};

static void check_rows(void **state)
{
	static union vhu_payload payload;

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		const struct row *row = &rows[i];
		struct vhu_header header = { le32_make(row->request), le32_make(row->flags),
			le32_make(row->size) };
		struct vhu_fault_info info = { VHU_OK };
		enum vhu_fault got;

		memset(&payload, 0, sizeof(payload));
		payload.u64.value = le64_make(row->first);
		got = vhu_check(&header, &payload, row->num_fds, &info);
		if (got != row->fault)
			print_error("row '%s'\n", row->name);
		assert_int_equal(got, row->fault);
		assert_int_equal(info.fault, row->fault);
		if (got) {
			assert_non_null(info.what);
			/* What the log says is out of its range is out of it, descriptors' flag
			 * aside. */
			if (got == VHU_FAULT_SIZE || got == VHU_FAULT_FDS)
				assert_true(info.value < info.min || info.value > info.max);
		}
	}
}

static void indices_are_whole(void **state)
{
	static const uint32_t requests[] = { VHU_SET_VRING_NUM, VHU_SET_VRING_ADDR,
		VHU_SET_VRING_BASE, VHU_GET_VRING_BASE, VHU_SET_VRING_ENABLE, VHU_VRING_KICK };
	static union vhu_payload payload;
	uint32_t index;

	(void)state;
	payload.state.index = le32_make(0x10001);
	for (size_t i = 0; i < ARRAY_SIZE(requests); i++) {
		assert_true(vhu_queue_index(requests[i], &payload, &index));
		assert_int_equal(index, 0x10001);
	}
	payload.u64.value = le64_make(0x1fe);
	assert_true(vhu_queue_index(VHU_SET_VRING_CALL, &payload, &index));
	assert_int_equal(index, 0xfe);
	assert_false(vhu_queue_index(VHU_SET_FEATURES, &payload, &index));
	assert_false(vhu_queue_index(99, &payload, &index));
}

static void names(void **state)
{
	char buf[32];

	(void)state;
	for (uint32_t i = 1; i < VHU_REQUEST_END; i++)
		assert_non_null(vhu_rule(i));
	assert_null(vhu_rule(0));
	assert_null(vhu_rule(VHU_REQUEST_END));
	assert_string_equal(vhu_request_name(VHU_GET_STATUS, buf, sizeof(buf)), "GET_STATUS");
	assert_string_equal(vhu_request_name(UINT32_MAX, buf, sizeof(buf)), "request 4294967295");
	for (uint32_t i = 1; i < VHU_BACKEND_REQUEST_END; i++)
		assert_non_null(vhu_backend_request_name(i));
	assert_null(vhu_backend_request_name(VHU_BACKEND_REQUEST_END));
	for (unsigned int i = 0; i < VHU_PF_END; i++)
		assert_non_null(vhu_protocol_feature_name(i));
	assert_null(vhu_protocol_feature_name(64));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(check_rows),
		cmocka_unit_test(indices_are_whole),
		cmocka_unit_test(names),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
