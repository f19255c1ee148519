/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * describe/: the tables keep their invariants, strings are those that QEMU's clients know, lists
 * come in the known order, and unknown bits stay numbers.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "describe/describe.h"

#define BIT(n) (UINT64_C(1) << (n))

static const struct describe_type *type(uint16_t id)
{
	return describe_type_by_id(id);
}

/* ---- tables ------------------------------------------------------------------------------- */

/* [A-Z0-9_]+: .+ in printable ASCII, and the identifier is its beginning. */
static void check_string(const char *string, const char *identifier)
{
	size_t n = strspn(string, "ABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_");

	assert_true(n > 0);
	assert_int_equal(strncmp(string + n, ": ", 2), 0);
	assert_true(string[n + 2] > ' ');
	assert_true(string[strlen(string) - 1] != '.');
	if (identifier) {
		assert_int_equal(n, strlen(identifier));
		assert_int_equal(strncmp(string, identifier, n), 0);
	}
	for (const char *p = string; *p; p++)
		assert_in_range(*p, 0x20, 0x7e);
}

static void check_bits(const struct describe_bit *table, size_t num, uint64_t seen[2])
{
	for (size_t i = 0; i < num; i++) {
		check_string(table[i].string, table[i].identifier);
		assert_true(table[i].bit < 128);
		if (describe_has_bit(seen, table[i].bit) && !table[i].legacy)
			fail_msg("bit %u twice: %s", table[i].bit, table[i].string);
		seen[table[i].bit / 64] |= BIT(table[i].bit % 64);
		for (size_t k = 0; k < i; k++)
			assert_string_not_equal(table[k].identifier, table[i].identifier);
	}
}

/* Fields do not overlap, rise, and are numbers of a size that can be read. */
static void check_config(const struct describe_type *t)
{
	for (size_t i = 0; i < t->num_config; i++) {
		const struct describe_config *c = &t->config[i];

		assert_true(c->size > 0 && c->need1 <= 128 && c->need2 <= 128);
		assert_true(c->need1 || !c->need2);
		if (c->kind == DESCRIBE_UINT) {
			assert_true(c->size == 1 || c->size == 2 || c->size == 4 || c->size == 8);
			assert_int_equal(c->offset % c->size, 0);
		}
		if (i)
			assert_true(c->offset >= c[-1].offset + c[-1].size);
		for (size_t k = 0; k < i; k++)
			assert_string_not_equal(t->config[k].name, c->name);
	}
}

static void test_tables(void **state _unused_)
{
	const struct describe_type *t;

	for (size_t row = 0; (t = describe_type_at(row)); row++) {
		uint64_t seen[2] = { 0, 0 };

		assert_true(t->id != 0 && t->name && t->name[0]);
		assert_ptr_equal(type(t->id), t);
		/* Device bits clash neither with the ring's nor with vhost's. */
		check_bits(describe_ring_bits, describe_num_ring_bits, seen);
		check_bits(describe_vhost_bits, describe_num_vhost_bits, seen);
		check_bits(t->features, t->num_features, seen);
		check_config(t);
		for (size_t other = 0; other < row; other++) {
			assert_string_not_equal(describe_type_at(other)->name, t->name);
			assert_true(describe_type_at(other)->id < t->id);
		}
		for (size_t i = 0; i < t->num_features; i++)
			if (t->features[i].legacy && (t->id != 1 || t->features[i].bit != 41))
				fail_msg("%s: a legacy bit that nobody listed", t->name);
	}
}

/* The ids of virtio 1.4, "Device Types", and QEMU's 37, with QEMU's names where it has one. */
static const struct {
	uint16_t id;
	const char *name;
} known_types[] = {
	{ 1, "virtio-net" },
	{ 2, "virtio-blk" },
	{ 3, "virtio-serial" },
	{ 4, "virtio-rng" },
	{ 5, "virtio-balloon" },
	{ 6, "virtio-iomem" },
	{ 7, "virtio-rpmsg" },
	{ 8, "virtio-scsi" },
	{ 9, "virtio-9p" },
	{ 10, "virtio-mac-wlan" },
	{ 11, "virtio-rproc-serial" },
	{ 12, "virtio-caif" },
	{ 13, "virtio-mem-balloon" },
	{ 16, "virtio-gpu" },
	{ 17, "virtio-clk" },
	{ 18, "virtio-input" },
	{ 19, "vhost-vsock" },
	{ 20, "virtio-crypto" },
	{ 21, "virtio-signal" },
	{ 22, "virtio-pstore" },
	{ 23, "virtio-iommu" },
	{ 24, "virtio-mem" },
	{ 25, "virtio-sound" },
	{ 26, "virtio-user-fs" },
	{ 27, "virtio-pmem" },
	{ 28, "virtio-rpmb" },
	{ 29, "virtio-mac-hwsim" },
	{ 30, "virtio-vid-encoder" },
	{ 31, "virtio-vid-decoder" },
	{ 32, "virtio-scmi" },
	{ 33, "virtio-nitro-sec-mod" },
	{ 34, "vhost-user-i2c" },
	{ 35, "virtio-watchdog" },
	{ 36, "virtio-can" },
	{ 37, "virtio-dmabuf" },
	{ 38, "virtio-param-serv" },
	{ 39, "virtio-audio-pol" },
	{ 40, "virtio-bluetooth" },
	{ 41, "virtio-gpio" },
	{ 42, "virtio-rdma" },
	{ 43, "virtio-camera" },
	{ 44, "virtio-ism" },
	{ 45, "virtio-spi" },
	{ 46, "virtio-tee" },
	{ 47, "virtio-cpu-balloon" },
	{ 48, "virtio-media" },
	{ 49, "virtio-usb" },
};

static void test_names(void **state _unused_)
{
	static const uint16_t unknown[] = { 0, 14, 15, 50, 0x1000, 0xffff };
	struct describe_features f;

	for (size_t i = 0; i < ARRAY_SIZE(known_types); i++) {
		assert_int_equal(type(known_types[i].id)->id, known_types[i].id);
		assert_string_equal(type(known_types[i].id)->name, known_types[i].name);
		assert_ptr_equal(describe_type_at(i), type(known_types[i].id));
	}
	assert_null(describe_type_at(ARRAY_SIZE(known_types)));
	for (size_t i = 0; i < ARRAY_SIZE(unknown); i++)
		assert_string_equal(type(unknown[i])->name, "unknown");
	describe_features((uint64_t[2]){ 3, 0 }, type(0xffff), false, &f);
	assert_int_equal(f.num_device, 0);
	assert_int_equal(f.unknown[0], 3);
}

/* ---- strings ------------------------------------------------------------------------------ */

/* What QEMU 7.2 printed for real guests; id 0 is a ring bit. */
static const struct {
	uint16_t id;
	unsigned bit;
	const char *string;
} recorded_strings[] = {
	{ 0, 24,
		"VIRTIO_F_NOTIFY_ON_EMPTY: Notify when device runs out of avail. descs. on "
		"VQ" },
	{ 0, 27, "VIRTIO_F_ANY_LAYOUT: Device accepts arbitrary desc. layouts" },
	{ 0, 28, "VIRTIO_RING_F_INDIRECT_DESC: Indirect descriptors supported" },
	{ 0, 29, "VIRTIO_RING_F_EVENT_IDX: Used & avail. event fields enabled" },
	{ 0, 32, "VIRTIO_F_VERSION_1: Device compliant for v1 spec (legacy)" },
	{ 0, 33, "VIRTIO_F_IOMMU_PLATFORM: Device can be used on IOMMU platform" },
	{ 1, 0,
		"VIRTIO_NET_F_CSUM: Device handling packets with partial checksum "
		"supported" },
	{ 1, 1,
		"VIRTIO_NET_F_GUEST_CSUM: Driver handling packets with partial checksum "
		"supported" },
	{ 1, 2,
		"VIRTIO_NET_F_CTRL_GUEST_OFFLOADS: Control channel offloading reconfig. "
		"supported" },
	{ 1, 6, "VIRTIO_NET_F_GSO: Handling GSO-type packets supported" },
	{ 1, 20, "VIRTIO_NET_F_CTRL_RX_EXTRA: Extra RX mode control supported" },
	{ 1, 23, "VIRTIO_NET_F_CTRL_MAC_ADDR: MAC address set through control channel" },
	{ 2, 1, "VIRTIO_BLK_F_SIZE_MAX: Max segment size is size_max" },
	{ 2, 2, "VIRTIO_BLK_F_SEG_MAX: Max segments in a request is seg_max" },
	{ 2, 4, "VIRTIO_BLK_F_GEOMETRY: Legacy geometry available" },
	{ 2, 6, "VIRTIO_BLK_F_BLK_SIZE: Block size of disk available" },
	{ 2, 9, "VIRTIO_BLK_F_FLUSH: Flush command supported" },
	{ 2, 10, "VIRTIO_BLK_F_TOPOLOGY: Topology information available" },
	{ 2, 11,
		"VIRTIO_BLK_F_CONFIG_WCE: Cache writeback and writethrough modes "
		"supported" },
	{ 2, 12, "VIRTIO_BLK_F_MQ: Multiqueue supported" },
	{ 2, 13, "VIRTIO_BLK_F_DISCARD: Discard command supported" },
	{ 2, 14, "VIRTIO_BLK_F_WRITE_ZEROES: Write zeroes command supported" },
	{ 3, 1, "VIRTIO_CONSOLE_F_MULTIPORT: Multiple ports for device supported" },
	{ 3, 2, "VIRTIO_CONSOLE_F_EMERG_WRITE: Emergency write supported" },
	{ 5, 1, "VIRTIO_BALLOON_F_STATS_VQ: Guest memory stats VQ available" },
	{ 5, 4, "VIRTIO_BALLOON_F_PAGE_POISON: Guest page poisoning enabled" },
	{ 8, 1, "VIRTIO_SCSI_F_HOTPLUG: Reporting and handling hot-plug events supported" },
	{ 8, 2, "VIRTIO_SCSI_F_CHANGE: Reporting and handling LUN changes supported" },
	{ 23, 0, "VIRTIO_IOMMU_F_INPUT_RANGE: Range of available virtual addrs. available" },
	{ 23, 1, "VIRTIO_IOMMU_F_DOMAIN_RANGE: Number of supported domains available" },
	{ 23, 2, "VIRTIO_IOMMU_F_MAP_UNMAP: Map and unmap requests available" },
	{ 23, 4, "VIRTIO_IOMMU_F_PROBE: Probe requests available" },
	{ 23, 5, "VIRTIO_IOMMU_F_MMIO: VIRTIO_IOMMU_MAP_F_MMIO flag available" },
	{ 23, 6, "VIRTIO_IOMMU_F_BYPASS_CONFIG: Bypass field of IOMMU config available" },
};

static void test_recorded_strings(void **state _unused_)
{

	for (size_t i = 0; i < ARRAY_SIZE(recorded_strings); i++) {
		uint64_t words[2] = { 0, 0 };
		struct describe_features f;

		words[recorded_strings[i].bit / 64] = BIT(recorded_strings[i].bit % 64);
		describe_features(words, type(recorded_strings[i].id), false, &f);
		assert_int_equal(f.num_transports, recorded_strings[i].id == 0);
		assert_int_equal(f.num_device, recorded_strings[i].id != 0);
		assert_string_equal(recorded_strings[i].id ? f.device[0] : f.transports[0],
			recorded_strings[i].string);
		assert_int_equal(f.unknown[0] | f.unknown[1], 0);
	}
}

/* Identifiers by bit: those QEMU labels wrongly, and those that came after it. */
static const struct {
	uint16_t id;
	unsigned bit;
	const char *identifier;
} identifiers[] = {
	{ 0, 34, "VIRTIO_F_RING_PACKED" },
	{ 0, 35, "VIRTIO_F_IN_ORDER" },
	{ 0, 36, "VIRTIO_F_ORDER_PLATFORM" },
	{ 0, 37, "VIRTIO_F_SR_IOV" },
	{ 0, 38, "VIRTIO_F_NOTIFICATION_DATA" },
	{ 0, 39, "VIRTIO_F_NOTIF_CONFIG_DATA" },
	{ 0, 40, "VIRTIO_F_RING_RESET" },
	{ 0, 41, "VIRTIO_F_ADMIN_VQ" },
	{ 0, 43, "VIRTIO_F_SUSPEND" },
	{ 1, 3, "VIRTIO_NET_F_MTU" },
	{ 1, 22, "VIRTIO_NET_F_MQ" },
	{ 1, 42, "VIRTIO_NET_F_GUEST_RSC6" },
	{ 1, 50, "VIRTIO_NET_F_DEVICE_STATS" },
	{ 1, 51, "VIRTIO_NET_F_HASH_TUNNEL" },
	{ 1, 52, "VIRTIO_NET_F_VQ_NOTF_COAL" },
	{ 1, 53, "VIRTIO_NET_F_NOTF_COAL" },
	{ 1, 54, "VIRTIO_NET_F_GUEST_USO4" },
	{ 1, 55, "VIRTIO_NET_F_GUEST_USO6" },
	{ 1, 56, "VIRTIO_NET_F_HOST_USO" },
	{ 1, 57, "VIRTIO_NET_F_HASH_REPORT" },
	{ 1, 59, "VIRTIO_NET_F_GUEST_HDRLEN" },
	{ 1, 60, "VIRTIO_NET_F_RSS" },
	{ 1, 61, "VIRTIO_NET_F_RSC_EXT" },
	{ 1, 62, "VIRTIO_NET_F_STANDBY" },
	{ 1, 63, "VIRTIO_NET_F_SPEED_DUPLEX" },
	{ 1, 64, "VIRTIO_NET_F_RSS_CONTEXT" },
	{ 1, 65, "VIRTIO_NET_F_GUEST_UDP_TUNNEL_GSO" },
	{ 1, 66, "VIRTIO_NET_F_GUEST_UDP_TUNNEL_GSO_CSUM" },
	{ 1, 67, "VIRTIO_NET_F_HOST_UDP_TUNNEL_GSO" },
	{ 1, 68, "VIRTIO_NET_F_HOST_UDP_TUNNEL_GSO_CSUM" },
	{ 1, 69, "VIRTIO_NET_F_OUT_NET_HEADER" },
	{ 1, 70, "VIRTIO_NET_F_IPSEC" },
	{ 2, 15, "VIRTIO_BLK_F_LIFETIME" },
	{ 2, 16, "VIRTIO_BLK_F_SECURE_ERASE" },
	{ 2, 17, "VIRTIO_BLK_F_ZONED" },
	{ 5, 3, "VIRTIO_BALLOON_F_FREE_PAGE_HINT" },
	{ 5, 5, "VIRTIO_BALLOON_F_REPORTING" },
	{ 8, 3, "VIRTIO_SCSI_F_T10_PI" },
	{ 16, 4, "VIRTIO_GPU_F_CONTEXT_INIT" },
	{ 16, 5, "VIRTIO_GPU_F_BLOB_ALIGNMENT" },
	{ 17, 0, "VIRTIO_RTC_F_ALARM" },
	{ 19, 0, "VIRTIO_VSOCK_F_STREAM" },
	{ 19, 1, "VIRTIO_VSOCK_F_SEQPACKET" },
	{ 19, 2, "VIRTIO_VSOCK_F_NO_IMPLIED_STREAM" },
	{ 20, 0, "VIRTIO_CRYPTO_F_REVISION_1" },
	{ 20, 5, "VIRTIO_CRYPTO_F_AKCIPHER_STATELESS_MODE" },
	{ 24, 2, "VIRTIO_MEM_F_PERSISTENT_SUSPEND" },
	{ 25, 0, "VIRTIO_SND_F_CTLS" },
	{ 26, 0, "VIRTIO_FS_F_NOTIFICATION" },
	{ 27, 0, "VIRTIO_PMEM_F_SHMEM_REGION" },
	{ 32, 1, "VIRTIO_SCMI_F_SHARED_MEMORY" },
	{ 34, 0, "VIRTIO_I2C_F_ZERO_LENGTH_REQUEST" },
	{ 36, 3, "VIRTIO_CAN_F_LATE_TX_ACK" },
	{ 41, 0, "VIRTIO_GPIO_F_IRQ" },
};

static void test_identifiers(void **state _unused_)
{

	for (size_t i = 0; i < ARRAY_SIZE(identifiers); i++) {
		uint64_t words[2] = { 0, 0 };
		struct describe_features f;
		const char *got;

		words[identifiers[i].bit / 64] = BIT(identifiers[i].bit % 64);
		describe_features(words, type(identifiers[i].id), false, &f);
		assert_int_equal(f.num_transports + f.num_device, 1);
		got = identifiers[i].id ? f.device[0] : f.transports[0];
		check_string(got, identifiers[i].identifier);
	}
}

/* ---- lists -------------------------------------------------------------------------------- */

static void check_list(const char *const *got, size_t num, const char *const *want, size_t num_want)
{
	assert_int_equal(num, num_want);
	for (size_t i = 0; i < num; i++)
		check_string(got[i], want[i]);
}

#define CHECK_LIST(got, num, want) check_list(got, num, want, ARRAY_SIZE(want))

static void test_net_order(void **state _unused_)
{
	static const char *const transports[] = {
		"VIRTIO_RING_F_EVENT_IDX",
		"VIRTIO_RING_F_INDIRECT_DESC",
		"VIRTIO_F_IOMMU_PLATFORM",
		"VIRTIO_F_VERSION_1",
		"VIRTIO_F_ANY_LAYOUT",
		"VIRTIO_F_NOTIFY_ON_EMPTY",
	};
	static const char *const device[] = {
		"VHOST_USER_F_PROTOCOL_FEATURES",
		"VIRTIO_NET_F_GSO",
		"VIRTIO_NET_F_CTRL_MAC_ADDR",
		"VIRTIO_NET_F_GUEST_ANNOUNCE",
		"VIRTIO_NET_F_CTRL_RX_EXTRA",
		"VIRTIO_NET_F_CTRL_VLAN",
		"VIRTIO_NET_F_CTRL_RX",
		"VIRTIO_NET_F_CTRL_VQ",
		"VIRTIO_NET_F_STATUS",
		"VIRTIO_NET_F_MRG_RXBUF",
		"VIRTIO_NET_F_HOST_UFO",
		"VIRTIO_NET_F_HOST_ECN",
		"VIRTIO_NET_F_HOST_TSO6",
		"VIRTIO_NET_F_HOST_TSO4",
		"VIRTIO_NET_F_GUEST_UFO",
		"VIRTIO_NET_F_GUEST_ECN",
		"VIRTIO_NET_F_GUEST_TSO6",
		"VIRTIO_NET_F_GUEST_TSO4",
		"VIRTIO_NET_F_MAC",
		"VIRTIO_NET_F_CTRL_GUEST_OFFLOADS",
		"VIRTIO_NET_F_GUEST_CSUM",
		"VIRTIO_NET_F_CSUM",
	};
	uint64_t words[2] = {
		0x7fe7 | BIT(15) | 0xbf0000 | BIT(24) | BIT(27) | BIT(28) | BIT(29) | BIT(30) |
			BIT(32) | BIT(33),
		0,
	};
	struct describe_features f;

	words[0] &= ~(BIT(22) | BIT(3));
	describe_features(words, type(1), true, &f);
	CHECK_LIST(f.transports, f.num_transports, transports);
	CHECK_LIST(f.device, f.num_device, device);
	assert_int_equal(f.unknown[0], 0);

	/* Between driver and device bit 30 is nobody's. */
	describe_features(words, type(1), false, &f);
	CHECK_LIST(f.transports, f.num_transports, transports);
	check_list(f.device, f.num_device, device + 1, ARRAY_SIZE(device) - 1);
	assert_int_equal(f.unknown[0], BIT(30));
}

static void test_blk_order(void **state _unused_)
{
	/* vhost-dev features of a vhost-user-blk device, as QEMU 7.2 listed them. */
	static const char *const recorded[] = {
		"VHOST_USER_F_PROTOCOL_FEATURES",
		"VHOST_F_LOG_ALL",
		"VIRTIO_BLK_F_CONFIG_WCE",
		"VIRTIO_BLK_F_FLUSH",
		"VIRTIO_BLK_F_WRITE_ZEROES",
		"VIRTIO_BLK_F_DISCARD",
		"VIRTIO_BLK_F_MQ",
		"VIRTIO_BLK_F_TOPOLOGY",
		"VIRTIO_BLK_F_BLK_SIZE",
		"VIRTIO_BLK_F_SEG_MAX",
		"VIRTIO_BLK_F_SIZE_MAX",
	};
	uint64_t words[2] = { BIT(1) | BIT(2) | BIT(6) | BIT(9) | BIT(10) | BIT(11) | BIT(12) |
				      BIT(13) | BIT(14) | BIT(26) | BIT(30),
		0 };
	struct describe_features f;

	describe_features(words, type(2), true, &f);
	CHECK_LIST(f.device, f.num_device, recorded);
	assert_int_equal(f.unknown[0], 0);
	describe_features(words, type(2), false, &f);
	assert_int_equal(f.num_device, ARRAY_SIZE(recorded) - 2);
	assert_int_equal(f.unknown[0], BIT(26) | BIT(30));
}

static void test_ring_order(void **state _unused_)
{
	static const char *const want[] = {
		"VIRTIO_RING_F_EVENT_IDX",
		"VIRTIO_RING_F_INDIRECT_DESC",
		"VIRTIO_F_SUSPEND",
		"VIRTIO_F_ADMIN_VQ",
		"VIRTIO_F_RING_RESET",
		"VIRTIO_F_NOTIF_CONFIG_DATA",
		"VIRTIO_F_NOTIFICATION_DATA",
		"VIRTIO_F_SR_IOV",
		"VIRTIO_F_ORDER_PLATFORM",
		"VIRTIO_F_IN_ORDER",
		"VIRTIO_F_RING_PACKED",
		"VIRTIO_F_IOMMU_PLATFORM",
		"VIRTIO_F_VERSION_1",
		"VIRTIO_F_ANY_LAYOUT",
		"VIRTIO_F_NOTIFY_ON_EMPTY",
	};
	struct describe_features f;

	describe_features((uint64_t[2]){ ~UINT64_C(0), ~UINT64_C(0) }, NULL, false, &f);
	CHECK_LIST(f.transports, f.num_transports, want);
	assert_int_equal(f.num_device, 0);
}

/* Every bit of 128 is either in a list or unknown, for every type and both kinds of word. */
static void test_all_bits(void **state _unused_)
{
	const uint64_t all[2] = { ~UINT64_C(0), ~UINT64_C(0) };
	const struct describe_type *t;

	for (size_t row = 0; (t = describe_type_at(row)); row++)
		for (int vhost = 0; vhost < 2; vhost++) {
			struct describe_features f;
			size_t unknown;

			describe_features(all, t, vhost, &f);
			unknown = __builtin_popcountll(f.unknown[0]) +
				  __builtin_popcountll(f.unknown[1]);
			assert_int_equal(f.num_transports + f.num_device + unknown, 128);
			assert_int_equal(f.num_transports, describe_num_ring_bits);
			assert_int_equal(!!(f.unknown[0] & BIT(30)), !vhost);
			assert_int_equal(!!(f.unknown[0] & BIT(26)), !vhost);
			assert_true(f.unknown[0] & BIT(44));
			if (t->id != 1) {
				assert_true(f.unknown[0] & BIT(42));
				assert_int_equal(f.unknown[1], ~UINT64_C(0));
			}
		}
}

static void test_high_bits(void **state _unused_)
{
	static const char *const want[] = {
		"VIRTIO_NET_F_IPSEC",
		"VIRTIO_NET_F_GUEST_UDP_TUNNEL_GSO_CSUM",
		"VIRTIO_NET_F_RSS_CONTEXT",
		"VIRTIO_NET_F_SPEED_DUPLEX",
	};
	struct describe_features f;

	describe_features(
		(uint64_t[2]){ BIT(63) | BIT(58), BIT(0) | BIT(2) | BIT(6) | BIT(7) | BIT(63) },
		type(1), false, &f);
	CHECK_LIST(f.device, f.num_device, want);
	assert_int_equal(f.unknown[0], BIT(58));
	assert_int_equal(f.unknown[1], BIT(7) | BIT(63));
}

/* 41 was Windows' receive coalescing long before it became the administration queues. */
static void test_bit_41(void **state _unused_)
{
	struct describe_features f;

	describe_features((uint64_t[2]){ BIT(41), 0 }, type(1), false, &f);
	assert_int_equal(f.num_transports, 0);
	assert_int_equal(f.num_device, 1);
	check_string(f.device[0], "VIRTIO_NET_F_GUEST_RSC4");
	describe_features((uint64_t[2]){ BIT(41) | BIT(32), 0 }, type(1), false, &f);
	assert_int_equal(f.num_transports, 2);
	check_string(f.transports[0], "VIRTIO_F_ADMIN_VQ");
	assert_int_equal(f.num_device, 0);
	describe_features((uint64_t[2]){ BIT(41), 0 }, type(2), false, &f);
	assert_int_equal(f.num_transports, 1);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_tables),
		cmocka_unit_test(test_names),
		cmocka_unit_test(test_recorded_strings),
		cmocka_unit_test(test_identifiers),
		cmocka_unit_test(test_net_order),
		cmocka_unit_test(test_blk_order),
		cmocka_unit_test(test_ring_order),
		cmocka_unit_test(test_all_bits),
		cmocka_unit_test(test_high_bits),
		cmocka_unit_test(test_bit_41),
	};

	return cmocka_run_group_tests_name("describe", tests, NULL, NULL);
}
