/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * One forwarded port from text, as QEMU's hostfwd= has it, but for one thing: without an address it
 * listens on the loopback address, and not for the whole world.
 */
#include <arpa/inet.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "backends/net_int.h"

/* From *at up to @end or @until, which is passed over: a copy into @ret; false where it does not
 * fit or @until is not there. */
static bool part(const char **at, const char *end, char until, char *ret, size_t size)
{
	const char *stop = memchr(*at, until, (size_t)(end - *at));
	size_t len;

	if (!stop)
		return false;
	len = (size_t)(stop - *at);
	if (len >= size)
		return false;
	memcpy(ret, *at, len);
	ret[len] = '\0';
	*at = stop + 1;
	return true;
}

static bool address(const char *text, uint32_t otherwise, uint32_t *ret)
{
	struct in_addr addr;

	if (!text[0]) {
		*ret = htonl(otherwise);
		return true;
	}
	if (inet_pton(AF_INET, text, &addr) != 1)
		return false;
	*ret = addr.s_addr;
	return true;
}

static bool port(const char *text, uint16_t *ret)
{
	unsigned long n = 0;
	const char *c;

	for (c = text; *c >= '0' && *c <= '9' && n <= UINT16_MAX; c++)
		n = n * 10 + (unsigned long)(*c - '0');
	if (*c || c == text || !n || n > UINT16_MAX)
		return false;
	*ret = (uint16_t)n;
	return true;
}

int net_parse_forward(const char *text, size_t len, struct net_forward *ret, struct err *err)
{
	char protocol[8], host[INET_ADDRSTRLEN], host_port[8], guest[INET_ADDRSTRLEN],
		guest_port[8];
	const char *at = text, *end = text + len;
	size_t left;

	*ret = (struct net_forward){ 0 };
	if (!part(&at, end, ':', protocol, sizeof(protocol)) ||
		!part(&at, end, ':', host, sizeof(host)) ||
		!part(&at, end, '-', host_port, sizeof(host_port)) ||
		!part(&at, end, ':', guest, sizeof(guest)))
		goto bad;
	left = (size_t)(end - at);
	if (left >= sizeof(guest_port))
		goto bad;
	memcpy(guest_port, at, left);
	guest_port[left] = '\0';
	ret->udp = !strcmp(protocol, "udp");
	if ((protocol[0] && !ret->udp && strcmp(protocol, "tcp") != 0) ||
		!address(host, INADDR_LOOPBACK, &ret->host_addr) ||
		!address(guest, INADDR_ANY, &ret->guest_addr) ||
		!port(host_port, &ret->host_port) || !port(guest_port, &ret->guest_port))
		goto bad;
	return 0;
bad:
	return err_set(err, -EINVAL,
		"hostfwd='%.*s': expected [tcp|udp]:[HOSTADDR]:HOSTPORT-[GUESTADDR]:GUESTPORT, "
		"several "
		"with a + between them",
		(int)len, text);
}
