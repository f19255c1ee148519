/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A guest's end of vsock connections, for tests:
 *
 *   vsock_tool connect TYPE PORT BYTES   sends a pattern to the host, shuts down, reads a sum back
 *   vsock_tool echo TYPE PORT NUM        takes NUM connections, one after the other, and echoes
 *   vsock_tool many TYPE PORT NUM        NUM connections to the host at once, a word on each
 *   vsock_tool reset TYPE PORT           connects, sends, and closes with bytes unread
 *   vsock_tool pour TYPE PORT BYTES      sends zeroes to the host, and waits for its end
 *   vsock_tool drain TYPE PORT           reads what the host sends to its end
 *
 * TYPE is stream or seqpacket. Status 0: everything was as it should be.
 */
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

#include <linux/vm_sockets.h>

#define PIECE 5000

static int type;

static int die(const char *what)
{
	perror(what);
	exit(1);
}

static struct sockaddr_vm address(unsigned int cid, unsigned int port)
{
	return (struct sockaddr_vm){ .svm_family = AF_VSOCK, .svm_cid = cid, .svm_port = port };
}

static int dial(unsigned int port)
{
	struct sockaddr_vm addr = address(VMADDR_CID_HOST, port);
	int fd = socket(AF_VSOCK, type, 0);

	if (fd < 0 || connect(fd, (struct sockaddr *)&addr, sizeof(addr)) < 0)
		die("connect");
	return fd;
}

static void send_all(int fd, const uint8_t *bytes, size_t len)
{
	while (len) {
		ssize_t n = send(fd, bytes, len, MSG_NOSIGNAL);

		if (n <= 0)
			die("send");
		bytes += n;
		len -= (size_t)n;
	}
}

static int cmd_connect(unsigned int port, unsigned long bytes)
{
	int fd = dial(port);
	uint8_t piece[PIECE];
	char answer[64] = "", expected[64];
	uint64_t sum = 0;
	size_t got = 0;
	ssize_t n;

	for (unsigned long at = 0; at < bytes;) {
		size_t len = bytes - at < PIECE ? bytes - at : PIECE;

		for (size_t i = 0; i < len; i++) {
			piece[i] = (uint8_t)((at + i) * 2654435761u >> 13);
			sum = sum * 31 + piece[i];
		}
		send_all(fd, piece, len);
		at += len;
	}
	if (shutdown(fd, SHUT_WR) < 0)
		die("shutdown");
	while (got < sizeof(answer) - 1 &&
		(n = recv(fd, answer + got, sizeof(answer) - 1 - got, 0)) > 0)
		got += (size_t)n;
	snprintf(expected, sizeof(expected), "%lu %llu", bytes, (unsigned long long)sum);
	printf("sent %s, the host has %s\n", expected, answer);
	return strcmp(answer, expected) != 0;
}

static int cmd_echo(unsigned int port, unsigned long num)
{
	struct sockaddr_vm addr = address(VMADDR_CID_ANY, port);
	static uint8_t bytes[1 << 18];
	int fd = socket(AF_VSOCK, type, 0);

	if (fd < 0 || bind(fd, (struct sockaddr *)&addr, sizeof(addr)) < 0 || listen(fd, 512) < 0)
		die("listen");
	puts("listening");
	fflush(stdout);
	while (num--) {
		int peer = accept(fd, NULL, NULL);
		ssize_t n;

		if (peer < 0)
			die("accept");
		while ((n = recv(peer, bytes, sizeof(bytes), 0)) > 0)
			send_all(peer, bytes, (size_t)n);
		close(peer);
	}
	return 0;
}

static int cmd_many(unsigned int port, unsigned long num)
{
	struct rlimit limit = { num + 64, num + 64 };
	int *fds = calloc(num, sizeof(*fds));
	char word[16], back[16];

	setrlimit(RLIMIT_NOFILE, &limit);
	for (unsigned long i = 0; i < num; i++)
		fds[i] = dial(port);
	for (unsigned long i = 0; i < num; i++) {
		snprintf(word, sizeof(word), "%08lu", i);
		send_all(fds[i], (uint8_t *)word, 8);
	}
	for (unsigned long i = num; i--;) {
		snprintf(word, sizeof(word), "%08lu", i);
		if (recv(fds[i], back, 8, MSG_WAITALL) != 8 || memcmp(word, back, 8) != 0)
			die("a word");
		close(fds[i]);
	}
	return 0;
}

static int cmd_reset(unsigned int port, unsigned long unused)
{
	int fd = dial(port);

	(void)unused;
	send_all(fd, (const uint8_t *)"x", 1);
	sleep(1);
	return close(fd);
}

static uint8_t bulk[1 << 16];

static int cmd_pour(unsigned int port, unsigned long bytes)
{
	int fd = dial(port);

	for (; bytes > sizeof(bulk); bytes -= sizeof(bulk))
		send_all(fd, bulk, sizeof(bulk));
	send_all(fd, bulk, bytes);
	shutdown(fd, SHUT_WR);
	return recv(fd, bulk, 1, 0) != 0;
}

static int cmd_drain(unsigned int port, unsigned long unused)
{
	int fd = dial(port);
	ssize_t n;

	(void)unused;
	while ((n = recv(fd, bulk, sizeof(bulk), 0)) > 0)
		;
	return n < 0;
}

int main(int argc, char **argv)
{
	static const struct {
		const char *name;
		int (*fn)(unsigned int port, unsigned long number);
	} commands[] = { { "connect", cmd_connect }, { "echo", cmd_echo }, { "many", cmd_many },
		{ "reset", cmd_reset }, { "pour", cmd_pour }, { "drain", cmd_drain } };

	if (argc < 4)
		return 2;
	type = strcmp(argv[2], "seqpacket") ? SOCK_STREAM : SOCK_SEQPACKET;
	for (size_t i = 0; i < sizeof(commands) / sizeof(commands[0]); i++)
		if (!strcmp(argv[1], commands[i].name))
			return commands[i].fn((unsigned int)atol(argv[3]),
				argc > 4 ? (unsigned long)atol(argv[4]) : 0);
	return 2;
}
