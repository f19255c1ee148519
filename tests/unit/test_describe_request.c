/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * describe_request(): tables of requests and what becomes of them, and every type, queue and
 * length with bytes that lie at the very end of their allocation, so that the sanitizer sees any
 * look behind it.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "describe/describe.h"

#define BIT(n) (UINT64_C(1) << (n))
#define V1     BIT(32)

/* Bytes as they lie in memory. */
#define LE16(v) (uint8_t)(v), (uint8_t)((v) >> 8)
#define LE32(v) LE16(v), LE16((uint32_t)(v) >> 16)
#define LE64(v) LE32(v), LE32((uint64_t)(v) >> 32)

struct row {
	uint16_t id;
	unsigned queue, num_queues;
	uint64_t features;
	uint32_t readable, writable;
	uint8_t bytes[DESCRIBE_REQUEST_BYTES];
	const char *line;
	/* Some of the fields: a name, its value, its text or NULL. */
	struct {
		const char *name;
		uint64_t value;
		const char *text;
	} want[4];
};

static const struct row rows[] = {
	{ 2, 0, 1, V1, 16, 4097, { LE32(0), LE32(0), LE64(128) }, "read 4096 bytes at sector 128",
		{ { "type", 0, "IN" }, { "sector", 128 }, { "bytes", 4096 } } },
	{ 2, 0, 1, V1, 16 + 512, 1, { LE32(1), LE32(0), LE64(0x123456789abc) },
		"write 512 bytes at sector 20015998343868",
		{ { "type", 1, "OUT" }, { "sector", 0x123456789abc }, { "bytes", 512 } } },
	{ 2, 0, 1, V1, 16, 1, { LE32(4) }, "flush", { { "type", 4, "FLUSH" } } },
	{ 2, 0, 1, 0, 16, 1, { LE32(0x80000005) }, "flush",
		{ { "type", 0x80000005, "FLUSH_OUT" } } },
	{ 2, 0, 1, V1, 16, 21, { LE32(8) }, "get the serial number", { { "type", 8, "GET_ID" } } },
	{ 2, 0, 1, V1, 32, 1, { LE32(11), LE32(0), LE64(0), LE64(2048), LE32(64), LE32(0) },
		"discard 64 sectors at sector 2048",
		{ { "type", 11, "DISCARD" }, { "segments", 1 }, { "first-sector", 2048 },
			{ "first-sectors", 64 } } },
	{ 2, 0, 1, V1, 48, 1, { LE32(13), LE32(0), LE64(0), LE64(8), LE32(16), LE32(1) },
		"write zeroes to 2 ranges, the first 16 sectors at sector 8",
		{ { "segments", 2 }, { "first-unmap", 1 } } },
	{ 2, 0, 1, V1, 16, 1, { LE32(24), LE32(0), LE64(4096) }, "reset the zone at sector 4096",
		{ { "type", 24, "ZONE_RESET" }, { "sector", 4096 } } },
	{ 2, 0, 1, V1, 16, 1, { LE32(77), LE32(0), LE64(1) }, "unknown request type 77",
		{ { "type", 77 }, { "sector", 1 } } },
	/* Sizes that cannot be: the subtraction does not wrap. */
	{ 2, 0, 1, V1, 16, 0, { LE32(0), LE32(0), LE64(1) }, "read 0 bytes at sector 1",
		{ { "bytes", 0 } } },
	{ 4, 0, 1, V1, 0, 64, { 0 }, "64 random bytes wanted", { { "bytes", 64 } } },
	{ 3, 1, 2, V1, 6, 0, { 'h', 'e', 'l', 'l', 'o', '\n' }, "write 6 bytes",
		{ { "bytes", 6 }, { "text", 6, "hello." } } },
	{ 3, 0, 2, V1, 0, 4096, { 0 }, "receive buffer of 4096 bytes" },
	{ 3, 3, 4, V1 | BIT(1), 8, 0, { LE32(2), LE16(3), LE16(1) }, "PORT_READY, port 2, value 1",
		{ { "event", 3, "PORT_READY" }, { "port", 2 } } },
	{ 1, 0, 3, V1, 0, 1526, { 0 }, "receive buffer of 1526 bytes" },
	{ 1, 1, 3, V1 | BIT(17), 12 + 60, 0,
		{ 1, 0, LE16(0), LE16(0), LE16(34), LE16(16), LE16(0), 0x52, 0x54, 0, 0x12, 0x34,
			0x56, 2, 0, 0, 0, 0, 1, 8, 0 },
		"send 60 bytes, IPv4",
		{ { "frame-bytes", 60 }, { "dst", 0x525400123456, "52:54:00:12:34:56" },
			{ "ethertype", 0x800, "IPv4" }, { "csum-start", 34 } } },
	{ 1, 1, 3, V1, 12 + 9000, 0, { 1, 0x81, LE16(54), LE16(1448) },
		"send 9000 bytes in TCPV4 segments of 1448",
		{ { "gso-type", 0x81, "TCPV4" }, { "gso-size", 1448 } } },
	/* A legacy header is two bytes shorter. */
	{ 1, 1, 2, 0, 10 + 42, 0,
		{ 0, 0, LE16(0), LE16(0), LE16(0), LE16(0), 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 2,
			0, 0, 0, 0, 1, 8, 6 },
		"send 42 bytes, ARP", { { "dst", 0xffffffffffff, "ff:ff:ff:ff:ff:ff" } } },
	{ 1, 2, 3, V1 | BIT(17), 8, 1, { 1, 1, 0x52, 0x54, 0, 1, 2, 3 }, "control MAC_ADDR_SET",
		{ { "command", 0x101, "MAC_ADDR_SET" },
			{ "mac", 0x525400010203, "52:54:00:01:02:03" } } },
	{ 1, 4, 5, V1 | BIT(17) | BIT(22), 4, 1, { 4, 0, LE16(2) }, "control MQ_VQ_PAIRS_SET",
		{ { "queue-pairs", 2 } } },
	{ 1, 2, 3, V1 | BIT(17), 4, 1, { 200, 7 }, "control command of an unknown kind",
		{ { "command", 200 << 8 | 7 } } },
	{ 5, 0, 3, V1, 8, 0, { LE32(0x100), LE32(0x101) }, "give up 2 pages, first frame 0x100",
		{ { "pages", 2 }, { "first-pfn", 0x100 } } },
	{ 5, 2, 3, V1 | BIT(1), 20, 0, { LE16(4), LE64(1000), LE16(99), LE64(1) },
		"2 memory statistics", { { "memfree", 1000 }, { "unknown-stat", 1 } } },
	{ 8, 2, 3, V1, 51, 108 + 4096,
		{ 1, 3, 0x40, 7, 0, 0, 0, 0, LE64(42), 0, 0, 0, 0x28, 0, 0, 0, 1, 0, 0, 0, 8 },
		"READ(10) 8 blocks at 256 on target 3 lun 7",
		{ { "opcode", 0x28, "READ(10)" }, { "target", 3 }, { "lun", 7 }, { "id", 42 } } },
	{ 8, 2, 3, V1, 51, 108,
		{ 1, 0, 0x40, 0, 0, 0, 0, 0, LE64(1), 0, 0, 0, 0x8a, 0, 0, 0, 0, 0, 0, 0, 1, 0 },
		"WRITE(16) at 256 on target 0 lun 0", { { "lba", 256 } } },
	{ 8, 2, 3, V1, 51, 108, { 1, 0, 0x40, 0, 0, 0, 0, 0, LE64(1), 0, 0, 0, 0xfe },
		"SCSI opcode 0xfe on target 0 lun 0", { { "opcode", 0xfe } } },
	{ 8, 0, 3, V1, 24, 1, { LE32(0), LE32(5), 1, 2, 0x40, 3, 0, 0, 0, 0, LE64(9) },
		"TMF, function LOGICAL_UNIT_RESET, target 2, lun 3, id 9",
		{ { "type", 0, "TMF" }, { "target", 2 }, { "id", 9 } } },
	{ 16, 0, 2, V1, 40, 24, { LE32(0x101), LE32(1), LE64(5), LE32(0), 0, 0, 0, 0, LE32(3) },
		"RESOURCE_CREATE_2D, flags 0x1, fence 5, context 0, ring 0, resource 3",
		{ { "resource", 3 } } },
	{ 17, 0, 1, V1, 16, 24, { LE16(2), 0, 0, 0, 0, 0, 0, LE16(1), 1 },
		"READ_CROSS, clock 1, counter 1" },
	{ 18, 0, 2, V1, 0, 8, { 0 }, "event buffer of 8 bytes" },
	{ 18, 1, 2, V1, 8, 0, { LE16(0x11), LE16(1), LE32(1) }, "LED CAPSL on",
		{ { "type", 0x11, "LED" }, { "code", 1, "CAPSL" }, { "value", 1 } } },
	{ 18, 1, 2, V1, 8, 0, { LE16(0x11), LE16(0), LE32(0) }, "LED NUML off" },
	{ 18, 1, 2, V1, 8, 0, { LE16(0x11), LE16(99), LE32(1) }, "LED, code 99, value 1" },
	{ 18, 1, 2, V1, 8, 0, { LE16(0x14), LE16(0), LE32(250) }, "REP DELAY 250" },
	{ 18, 1, 2, V1, 8, 0, { LE16(0xffff), LE16(1), LE32(1) }, "type 65535, code 1, value 1" },
	{ 19, 1, 3, V1, 44, 0,
		{ LE64(3), LE64(2), LE32(1024), LE32(22), LE32(100), LE16(1), LE16(5) },
		"RW 100 bytes from port 1024 to 2:22",
		{ { "op", 5, "RW" }, { "type", 1, "STREAM" }, { "src-cid", 3 },
			{ "dst-port", 22 } } },
	{ 20, 0, 2, V1, 72, 17, { LE32(0x000), LE32(3), LE64(7), LE64(0), LE32(16), LE32(32) },
		"CIPHER_ENCRYPT, algo AES_CBC, session 0x7, iv-len 16, src-len 32" },
	{ 20, 0, 2, V1, 72, 17, { LE32(0x100), LE32(0), LE64(7), LE64(0), LE32(3), LE32(32) },
		"HASH, session 0x7, src-len 3, result-len 32" },
	{ 20, 0, 2, V1 | BIT(0), 72, 17, { LE32(0x301), LE32(1), LE64(7), LE64(1), LE32(12) },
		"AEAD_DECRYPT, algo GCM, session 0x7, iv-len 12, aad-len 0" },
	{ 20, 0, 2, V1 | BIT(0), 56, 17, { LE32(0x301), LE32(0), LE64(7), LE64(0) },
		"AEAD_DECRYPT, stateless 1, iv-len 0, aad-len 0" },
	{ 20, 0, 2, V1 | 0x3f, 56, 17, { LE32(0x200), LE32(0), LE64(0), LE64(0), LE32(4), LE32(9) },
		"MAC, stateless 1, algo HMAC_SHA_256, key-len 9" },
	{ 20, 0, 2, V1 | 0x3f, 56, 17, { LE32(0x200), LE32(0), LE64(7), LE64(1), LE32(4), LE32(9) },
		"MAC, session 0x7" },
	{ 20, 0, 2, V1 | 0x3f, 100, 17, { LE32(0x000), LE32(0), LE64(0), LE64(0), LE32(3) },
		"CIPHER_ENCRYPT, stateless 1" },
	{ 20, 0, 2, V1, 72, 17, { LE32(0x600), LE32(1), LE64(7) }, "operation 1536, session 0x7" },
	{ 20, 1, 2, V1, 88, 16, { LE32(0x002), LE32(3) }, "CIPHER_CREATE_SESSION, algo AES_CBC" },
	{ 20, 1, 2, V1, 88, 16,
		{ LE32(0x202), LE32(0), LE64(0), LE32(26), LE32(16), LE32(32), LE32(0) },
		"MAC_CREATE_SESSION, algo CMAC_AES, result-len 16, key-len 32" },
	{ 20, 1, 2, V1, 88, 16, { LE32(0x404), LE32(0), LE64(0), LE32(1), LE32(2), LE32(607) },
		"AKCIPHER_CREATE_SESSION, algo RSA, key-type PRIVATE, key-len 607" },
	{ 20, 1, 2, V1, 72, 1, { LE32(0x405), LE32(0), LE64(0), LE64(7) },
		"AKCIPHER_DESTROY_SESSION, session 0x7" },
	{ 20, 1, 2, V1, 72, 1, { LE32(0x003), LE32(0), LE32(0), LE32(0), LE64(7) },
		"CIPHER_DESTROY_SESSION, session 0x7" },
	{ 23, 0, 2, V1, 36, 4,
		{ 3, 0, 0, 0, LE32(1), LE64(0x1000), LE64(0x1fff), LE64(0x80000000) },
		"MAP, domain 1, virt-start 0x1000, virt-end 0x1fff, phys-start 0x80000000" },
	{ 24, 0, 1, V1, 24, 10, { LE16(0), 0, 0, 0, 0, 0, 0, LE64(0x100000000), LE16(4) },
		"PLUG, addr 0x100000000, blocks 4" },
	{ 25, 0, 4, V1, 8, 4, { LE32(0x104), LE32(1) }, "PCM_START, stream 1" },
	{ 25, 2, 4, V1, 4 + 1024, 8, { LE32(1) }, "play 1024 bytes of sound", { { "stream", 1 } } },
	{ 26, 1, 2, V1, 80, 16 + 4096, { LE32(80), LE32(15), LE64(9), LE64(1), LE32(0), LE32(0) },
		"READ of node 1, unique 9", { { "opcode", 15, "READ" }, { "unique", 9 } } },
	{ 27, 0, 1, V1, 4, 4, { LE32(0) }, "FLUSH" },
	{ 28, 0, 1, V1, 1024, 512, { 0 }, "2 frames" },
	{ 32, 0, 1, V1, 8, 64, { LE32(0x14 << 10 | 5) },
		"clock, message 5, message-type 0, token 0" },
	{ 34, 0, 1, V1, 8, 5, { LE16(0x50 << 1), 0, 0, LE32(2) }, "read 4 bytes, address 0x50",
		{ { "address", 0x50 }, { "read", 1 } } },
	{ 34, 0, 1, V1, 10, 1, { LE16(0x34f4), 0, 0, LE32(1) }, "write 2 bytes, address 0x234",
		{ { "address", 0x234 }, { "fail-next", 1 } } },
	{ 36, 0, 3, V1, 24, 1, { LE16(1), LE16(8), 0, 0, 0, 0, LE32(0x4000), LE32(0x123) },
		"TX, can-id 0x123, bytes 8, flags 0x4000" },
	{ 41, 0, 2, V1, 8, 2, { LE16(5), LE16(3), LE32(1) }, "SET_VALUE, line 3, value 1" },
	{ 45, 0, 1, V1, 40, 9, { 1, 8, 0, 1, 1, 0, 0, 0, LE32(3), LE32(1000000) }, NULL,
		{ { "chip-select", 1 }, { "mode", 3 }, { "freq-hz", 1000000 } } },
	{ 48, 0, 2, V1, 20, 8, { LE32(3), LE32(0), LE32(1), LE32(4) }, "IOCTL, session 1, code 4" },
	{ 9, 0, 1, V1, 23, 100, { LE32(23), 116, LE16(1), LE32(5), LE64(4096), LE32(512) },
		"Tread, tag 1, size 23, fid 5, offset 4096, count 512" },
	{ 40, 0, 2, V1, 4, 0, { 1, LE16(0x0c03), 0 }, "command, opcode 0xc03, bytes 4" },
	{ 35, 0, 1, V1, 10, 20, { 0 }, "10 bytes to the device, room for 20 bytes back" },
	{ 0xffff, 3, 4, V1, 0, 0, { 0 }, "0 bytes to the device, room for 0 bytes back" },
};

static void decode(const struct row *r, const void *bytes, size_t len, struct describe_fields *ret)
{
	uint64_t features[2] = { r->features, 0 };

	describe_request(describe_type_by_id(r->id), r->queue, r->num_queues, features, bytes, len,
		r->readable, r->writable, ret);
}

static void test_requests(void **state _unused_)
{
	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		const struct row *r = &rows[i];
		struct describe_fields f;

		decode(r, r->bytes, MIN(r->readable, sizeof(r->bytes)), &f);
		if (r->line)
			assert_string_equal(f.line, r->line);
		for (size_t k = 0; k < ARRAY_SIZE(r->want) && r->want[k].name; k++) {
			const struct describe_field *m = describe_field_get(&f, r->want[k].name);

			if (!m)
				fail_msg("row %zu (%s): no field %s", i, f.line, r->want[k].name);
			assert_int_equal(m->value, r->want[k].value);
			assert_string_equal(m->text, r->want[k].text ? r->want[k].text : "");
		}
	}
}

static void check_shape(const struct describe_fields *f)
{
	size_t n = strnlen(f->line, sizeof(f->line));

	assert_true(n > 0 && n < sizeof(f->line));
	for (size_t i = 0; i < n; i++)
		assert_in_range(f->line[i], 0x20, 0x7e);
	assert_true(f->num <= DESCRIBE_MAX_FIELDS);
	for (size_t i = 0; i < f->num; i++) {
		const struct describe_field *m = &f->field[i];

		assert_true(m->name[0]);
		n = strnlen(m->text, sizeof(m->text));
		assert_true(n < sizeof(m->text));
		for (size_t k = 0; k < n; k++)
			assert_in_range(m->text[k], 0x20, 0x7e);
	}
}

/* A truncated request has a subset of the whole one's fields, with the same values. */
static void test_truncated(void **state _unused_)
{
	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		struct describe_fields whole;

		decode(&rows[i], rows[i].bytes, sizeof(rows[i].bytes), &whole);
		for (size_t len = 0; len <= sizeof(rows[i].bytes); len++) {
			uint8_t *copy = malloc(len ? len : 1);
			struct describe_fields f;

			assert_non_null(copy);
			memcpy(copy, rows[i].bytes, len);
			decode(&rows[i], copy, len, &f);
			free(copy);
			check_shape(&f);
			for (size_t k = 0; k < f.num; k++) {
				const struct describe_field *m =
					describe_field_get(&whole, f.field[k].name);

				assert_non_null(m);
				if (strcmp(m->name, "text"))
					assert_int_equal(m->value, f.field[k].value);
			}
		}
	}
}

/* Every type, the first queues, every length, with and without features, under several bytes. */
static void test_any_bytes(void **state _unused_)
{
	static const uint64_t words[][2] = { { 0, 0 }, { ~UINT64_C(0), ~UINT64_C(0) },
		{ V1 | BIT(17) | BIT(22), 0 } };
	const struct describe_type *t;
	uint32_t seed = 1;

	for (size_t row = 0; (t = describe_type_at(row)); row++)
		for (unsigned queue = 0; queue < 6; queue++)
			for (size_t len = 0; len <= DESCRIBE_REQUEST_BYTES; len++)
				for (unsigned pass = 0; pass < 24; pass++) {
					const uint64_t *f = pass % 4 == 3 ? NULL : words[pass % 4];
					uint8_t *bytes = malloc(len ? len : 1);
					struct describe_fields fields;

					assert_non_null(bytes);
					for (size_t i = 0; i < len; i++) {
						seed = seed * 1664525 + 1013904223;
						/* Small numbers reach more commands. */
						bytes[i] = pass < 4    ? 0xff
							   : pass < 12 ? seed >> 29
								       : seed >> 24;
					}
					describe_request(t, queue, 5 + pass % 2, f, bytes, len,
						pass % 3 ? 0xffffffff : len, pass % 5 ? 4097 : 0,
						&fields);
					check_shape(&fields);
					free(bytes);
				}
}

/* More bytes than are looked at, and none at all. */
static void test_bounds(void **state _unused_)
{
	uint8_t many[64] = { 0 };
	struct describe_fields f;

	memset(many, 'x', sizeof(many));
	describe_request(describe_type_by_id(3), 1, 2, NULL, many, sizeof(many), 64, 0, &f);
	assert_int_equal(strlen(describe_field_get(&f, "text")->text), DESCRIBE_REQUEST_BYTES);
	describe_request(describe_type_by_id(2), 0, 1, NULL, NULL, 16, 16, 4097, &f);
	assert_int_equal(f.num, 0);
	assert_true(f.line[0]);
	assert_null(describe_field_get(&f, "type"));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_requests),
		cmocka_unit_test(test_truncated),
		cmocka_unit_test(test_any_bytes),
		cmocka_unit_test(test_bounds),
	};

	return cmocka_run_group_tests_name("describe_request", tests, NULL, NULL);
}
