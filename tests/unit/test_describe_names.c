/* SPDX-License-Identifier: BSD-3-Clause */
/* describe/: the status byte, vhost-user's protocol features, descriptor flags, the roles of queues
 * and the config space. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "describe/describe.h"

#define BIT(n) (UINT64_C(1) << (n))

static const struct describe_type *type(uint16_t id)
{
	return describe_type_by_id(id);
}

static void check_identifier(const char *string, const char *identifier)
{
	size_t n = strlen(identifier);

	assert_int_equal(strncmp(string, identifier, n), 0);
	assert_int_equal(strncmp(string + n, ": ", 2), 0);
	assert_true(string[n + 2] > ' ');
}

/* ---- status, protocols, flags ------------------------------------------------------------- */

static void test_status(void **state _unused_)
{
	static const char *const all[] = {
		"VIRTIO_CONFIG_S_ACKNOWLEDGE: Valid virtio device found",
		"VIRTIO_CONFIG_S_FAILED: Error in guest, device failed",
		"VIRTIO_CONFIG_S_NEEDS_RESET: Irrecoverable error, device needs reset",
		"VIRTIO_CONFIG_S_DRIVER: Guest OS compatible with device",
		"VIRTIO_CONFIG_S_FEATURES_OK: Feature negotiation complete",
		"VIRTIO_CONFIG_S_DRIVER_OK: Driver setup and ready",
	};
	const uint64_t suspend[2] = { BIT(43), 0 };
	const uint64_t none[2] = { 0, 0 };
	struct describe_names n;

	describe_status(0xcf, NULL, &n);
	assert_int_equal(n.num, ARRAY_SIZE(all));
	for (size_t i = 0; i < n.num; i++)
		assert_string_equal(n.name[i], all[i]);
	assert_int_equal(n.unknown, 0);

	describe_status(0x0f, NULL, &n);
	assert_int_equal(n.num, 4);
	assert_string_equal(n.name[1], all[3]);

	/* 0xb1 is in a recorded reply, with unknown-statuses 48. */
	describe_status(0xb1, NULL, &n);
	assert_int_equal(n.num, 2);
	assert_int_equal(n.unknown, 48);
	describe_status(0xb1, none, &n);
	assert_int_equal(n.unknown, 48);
	describe_status(0xb1, suspend, &n);
	assert_int_equal(n.num, 3);
	check_identifier(n.name[2], "VIRTIO_CONFIG_S_SUSPEND");
	assert_int_equal(n.unknown, 0x20);

	describe_status(0, NULL, &n);
	assert_int_equal(n.num + n.unknown, 0);
}

static void test_protocols(void **state _unused_)
{
	static const char *const by_bit[] = { "MQ", "LOG_SHMFD", "RARP", "REPLY_ACK", "NET_MTU",
		"BACKEND_REQ", "CROSS_ENDIAN", "CRYPTO_SESSION", "PAGEFAULT", "CONFIG",
		"BACKEND_SEND_FD", "HOST_NOTIFIER", "INFLIGHT_SHMFD", "RESET_DEVICE",
		"INBAND_NOTIFICATIONS", "CONFIGURE_MEM_SLOTS", "STATUS", "XEN_MMAP",
		"SHARED_OBJECT", "DEVICE_STATE", "GET_VRING_BASE_INFLIGHT", "GPA_ADDRESSES",
		"SHMEM", "GET_VRING_BASE_SKIP_DRAIN" };
	static const char *const recorded[] = {
		"VHOST_USER_PROTOCOL_F_CONFIGURE_MEM_SLOTS: Configuration for memory slots "
		"supported",
		"VHOST_USER_PROTOCOL_F_HOST_NOTIFIER: Host notifiers for specified VQs supported",
		"VHOST_USER_PROTOCOL_F_CONFIG: "
		"Vhost-user messaging for virtio device configuration space supported",
		"VHOST_USER_PROTOCOL_F_PAGEFAULT: "
		"Request servicing on userfaultfd for accessed pages supported",
		"VHOST_USER_PROTOCOL_F_BACKEND_REQ: "
		"Socket fd for back-end initiated requests supported",
		"VHOST_USER_PROTOCOL_F_REPLY_ACK: Requested operation status ack. supported",
		"VHOST_USER_PROTOCOL_F_LOG_SHMFD: Shared log memory fd supported",
		"VHOST_USER_PROTOCOL_F_MQ: Multiqueue protocol supported",
	};
	const size_t num_bits = ARRAY_SIZE(by_bit);
	struct describe_names n;

	describe_vhost_user_protocols(~UINT64_C(0), &n);
	assert_int_equal(n.num, num_bits);
	assert_int_equal(n.unknown, ~(BIT(num_bits) - 1));
	for (size_t i = 0; i < num_bits; i++) {
		char name[64];

		snprintf(name, sizeof(name), "VHOST_USER_PROTOCOL_F_%s", by_bit[num_bits - 1 - i]);
		check_identifier(n.name[i], name);
		describe_vhost_user_protocols(BIT(i), &n);
		assert_int_equal(n.num, 1);
		snprintf(name, sizeof(name), "VHOST_USER_PROTOCOL_F_%s", by_bit[i]);
		check_identifier(n.name[0], name);
		describe_vhost_user_protocols(~UINT64_C(0), &n);
	}
	describe_vhost_user_protocols(0x8b2b, &n);
	assert_int_equal(n.num, ARRAY_SIZE(recorded));
	for (size_t i = 0; i < n.num; i++)
		assert_string_equal(n.name[i], recorded[i]);
}

static void test_desc_flags(void **state _unused_)
{
	static const char *const all[] = { "used", "avail", "indirect", "write", "next" };
	static const uint16_t bits[] = { 0x8000, 0x80, 4, 2, 1 };
	struct describe_names n;

	describe_desc_flags(0xffff, &n);
	assert_int_equal(n.num, 5);
	for (size_t i = 0; i < n.num; i++)
		assert_string_equal(n.name[i], all[i]);
	assert_int_equal(n.unknown, 0x7f78);
	for (size_t i = 0; i < ARRAY_SIZE(bits); i++) {
		describe_desc_flags(bits[i], &n);
		assert_int_equal(n.num, 1);
		assert_string_equal(n.name[0], all[i]);
	}
	describe_desc_flags(0, &n);
	assert_int_equal(n.num, 0);
}

/* ---- queues and config -------------------------------------------------------------------- */

static const struct {
	uint16_t id;
	unsigned index, num;
	bool known;
	uint64_t features;
	const char *role;
} roles[] = {
	{ 1, 0, 3, true, BIT(17), "receiveq1" },
	{ 1, 1, 3, true, BIT(17), "transmitq1" },
	{ 1, 2, 3, true, BIT(17), "controlq" },
	{ 1, 2, 3, true, 0, "unused" },
	{ 1, 2, 9, true, BIT(17), "controlq" },
	{ 1, 3, 9, true, BIT(17), "unused" },
	{ 1, 8, 9, true, BIT(17), "unused" },
	{ 1, 2, 9, true, BIT(17) | BIT(22), "receiveq2" },
	{ 1, 7, 9, true, BIT(17) | BIT(22), "transmitq4" },
	{ 1, 8, 9, true, BIT(17) | BIT(22), "controlq" },
	{ 1, 8, 9, true, BIT(17) | BIT(60), "controlq" },
	/* A vhost-user back-end serves the data queues only. */
	{ 1, 3, 4, true, BIT(17) | BIT(22), "transmitq2" },
	{ 1, 2, 3, false, 0, "controlq" },
	{ 1, 1, 2, false, 0, "transmitq1" },
	{ 1, 9, 9, true, BIT(17) | BIT(22), "queue 9" },
	{ 2, 0, 1, true, 0, "requestq1" },
	{ 2, 3, 4, true, BIT(12), "requestq4" },
	{ 3, 0, 64, true, BIT(1), "receiveq(port0)" },
	{ 3, 1, 64, true, BIT(1), "transmitq(port0)" },
	{ 3, 2, 64, true, BIT(1), "control receiveq" },
	{ 3, 3, 64, true, BIT(1), "control transmitq" },
	{ 3, 4, 64, true, BIT(1), "receiveq(port1)" },
	{ 3, 63, 64, true, BIT(1), "transmitq(port30)" },
	{ 3, 2, 4, true, 0, "unused" },
	{ 4, 0, 1, true, 0, "requestq" },
	{ 5, 0, 5, true, 0, "inflateq" },
	{ 5, 2, 5, true, BIT(1), "statsq" },
	{ 5, 3, 5, true, BIT(1) | BIT(3) | BIT(5), "free_page_vq" },
	{ 5, 4, 5, true, BIT(1) | BIT(3) | BIT(5), "reporting_vq" },
	{ 5, 3, 4, true, BIT(1) | BIT(5), "reporting_vq" },
	{ 5, 4, 5, true, BIT(1) | BIT(5), "reporting_vq" },
	{ 5, 3, 4, true, BIT(1), "unused" },
	{ 5, 7, 9, false, 0, "unused" },
	{ 8, 0, 4, true, 0, "controlq" },
	{ 8, 1, 4, true, 0, "eventq" },
	{ 8, 2, 4, true, 0, "requestq1" },
	{ 8, 3, 4, true, 0, "requestq2" },
	{ 17, 1, 2, true, 0, "unused" },
	{ 17, 1, 2, true, 1, "alarmq" },
	{ 19, 1, 3, true, 0, "tx" },
	{ 20, 0, 2, true, 0, "dataq1" },
	{ 20, 1, 2, true, 0, "controlq" },
	{ 26, 0, 3, true, 0, "hiprio" },
	{ 26, 1, 3, true, 0, "requestq1" },
	{ 26, 1, 3, true, 1, "notification queue" },
	{ 26, 2, 3, true, 1, "requestq1" },
	{ 35, 5, 6, true, 0, "queue 5" },
	{ 0xffff, 0, 1, false, 0, "queue 0" },
	{ 2, 0xffffffff, 0xffffffff, false, 0, "requestq4294967296" },
};

static void test_queue_roles(void **state _unused_)
{

	for (size_t i = 0; i < ARRAY_SIZE(roles); i++) {
		uint64_t words[2] = { roles[i].features, 0 };
		char role[DESCRIBE_ROLE_BYTES];

		describe_queue_role(type(roles[i].id), roles[i].index, roles[i].num,
			roles[i].known ? words : NULL, role);
		assert_string_equal(role, roles[i].role);
	}
}

static const struct describe_config *config_field(uint16_t id, const char *name)
{
	for (size_t i = 0; i < type(id)->num_config; i++)
		if (!strcmp(type(id)->config[i].name, name))
			return &type(id)->config[i];
	fail_msg("%s has no %s", type(id)->name, name);
	return NULL;
}

static void test_config(void **state _unused_)
{
	static const struct {
		uint16_t id, offset, size;
		const char *name;
	} rows[] = {
		{ 1, 8, 2, "max_virtqueue_pairs" },
		{ 1, 24, 4, "supported_tunnel_types" },
		{ 2, 0, 8, "capacity" },
		{ 2, 20, 4, "blk_size" },
		{ 2, 32, 1, "writeback" },
		{ 2, 34, 2, "num_queues" },
		{ 2, 56, 1, "write_zeroes_may_unmap" },
		{ 2, 68, 4, "secure_erase_sector_alignment" },
		{ 2, 92, 1, "zoned.model" },
		{ 3, 8, 4, "emerg_wr" },
		{ 8, 32, 4, "max_lun" },
		{ 19, 0, 8, "guest_cid" },
		{ 20, 48, 8, "max_size" },
		{ 23, 36, 1, "bypass" },
		{ 24, 48, 8, "requested_size" },
		{ 26, 0, 36, "tag" },
	};
	const struct describe_config *pairs = config_field(1, "max_virtqueue_pairs");

	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		const struct describe_config *c = config_field(rows[i].id, rows[i].name);

		assert_int_equal(c->offset, rows[i].offset);
		assert_int_equal(c->size, rows[i].size);
	}
	assert_true(describe_config_exists(pairs, NULL));
	assert_false(describe_config_exists(pairs, (uint64_t[2]){ ~(BIT(22) | BIT(60)), 0 }));
	assert_true(describe_config_exists(pairs, (uint64_t[2]){ BIT(22), 0 }));
	assert_true(describe_config_exists(pairs, (uint64_t[2]){ BIT(60), 0 }));
	assert_true(describe_config_exists(config_field(2, "capacity"), (uint64_t[2]){ 0, 0 }));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_status),
		cmocka_unit_test(test_protocols),
		cmocka_unit_test(test_desc_flags),
		cmocka_unit_test(test_queue_roles),
		cmocka_unit_test(test_config),
	};

	return cmocka_run_group_tests_name("describe_names", tests, NULL, NULL);
}
