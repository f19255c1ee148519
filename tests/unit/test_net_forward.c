/* SPDX-License-Identifier: BSD-3-Clause */
/* hostfwd= of a user-mode network: what it says, and what is refused with a sentence. */
#include <arpa/inet.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "backends/net_int.h"

static const struct {
	const char *text;
	bool good, udp;
	const char *host;
	uint16_t host_port;
	const char *guest;
	uint16_t guest_port;
} rows[] = {
	{ "tcp::8080-:80", true, false, "127.0.0.1", 8080, "0.0.0.0", 80 },
	{ "::8080-:80", true, false, "127.0.0.1", 8080, "0.0.0.0", 80 },
	{ "udp:0.0.0.0:1-10.0.2.15:65535", true, true, "0.0.0.0", 1, "10.0.2.15", 65535 },
	{ "tcp:127.0.0.1:22-:22", true, false, "127.0.0.1", 22, "0.0.0.0", 22 },
	{ .text = "" },
	{ .text = "tcp" },
	{ .text = "tcp::8080" },
	{ .text = "tcp::8080-80" },
	{ .text = "tcp::8080-:" },
	{ .text = "tcp::-:80" },
	{ .text = "tcp::0-:80" },
	{ .text = "tcp::65536-:80" },
	{ .text = "tcp::8080-:65536" },
	{ .text = "tcp::8080-:8080808080808080" },
	{ .text = "tcp::8080x-:80" },
	{ .text = "tcp::8080-:80 " },
	{ .text = "tcp::+8080-:80" },
	{ .text = "sctp::8080-:80" },
	{ .text = "tcp:localhost:8080-:80" },
	{ .text = "tcp:1.2.3:8080-:80" },
	{ .text = "tcp:255.255.255.255.255:8080-:80" },
	{ .text = "tcp::8080-nobody:80" },
};

static void test_forwards(void **state)
{
	struct net_forward got;
	struct in_addr addr;
	size_t i;

	(void)state;
	for (i = 0; i < ARRAY_SIZE(rows); i++) {
		struct err err = { 0 };
		int r = net_parse_forward(rows[i].text, strlen(rows[i].text), &got, &err);

		if ((r == 0) != rows[i].good)
			fail_msg("'%s'", rows[i].text);
		if (!rows[i].good) {
			assert_non_null(strstr(err.msg, "expected [tcp|udp]:"));
			continue;
		}
		assert_int_equal(got.udp, rows[i].udp);
		assert_int_equal(got.host_port, rows[i].host_port);
		assert_int_equal(got.guest_port, rows[i].guest_port);
		inet_pton(AF_INET, rows[i].host, &addr);
		assert_int_equal(got.host_addr, addr.s_addr);
		inet_pton(AF_INET, rows[i].guest, &addr);
		assert_int_equal(got.guest_addr, addr.s_addr);
	}
	/* Only so many bytes are looked at. */
	assert_int_equal(net_parse_forward("tcp::8080-:80+x", 13, &got, NULL), 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = { cmocka_unit_test(test_forwards) };

	return cmocka_run_group_tests(tests, NULL, NULL);
}
