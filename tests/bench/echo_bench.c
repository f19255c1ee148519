/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The two ends of a conversation in lines over a unix socket.
 *
 *   echo_bench answer SOCKET BYTES     answers each line with one of BYTES, until the client goes
 *   echo_bench ask SOCKET COUNT LINE   asks COUNT times, one after the other; `qmp:` before SOCKET
 *                                      takes a monitor's greeting and enters command mode first
 *
 * `ask` prints one JSON object: the round trip in nanoseconds (mean and percentiles) and the bytes
 * of the last answer.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "base/util.h"

#define LINE_MAX_BYTES (1 << 20)

static char line[LINE_MAX_BYTES];

static void die(const char *what)
{
	fprintf(stderr, "echo_bench: %s: %s\n", what, strerror(errno));
	exit(1);
}

/* Reads up to the end of a line; 0 where the other end went. */
static size_t read_line(int fd)
{
	size_t have = 0;

	while (!have || line[have - 1] != '\n') {
		ssize_t n = read(fd, line + have, sizeof(line) - have);

		if (n < 0)
			die("read");
		if (!n)
			return 0;
		have += (size_t)n;
	}
	return have;
}

static void write_all(int fd, const char *from, size_t len)
{
	while (len) {
		ssize_t n = write(fd, from, len);

		if (n < 0)
			die("write");
		from += n;
		len -= (size_t)n;
	}
}

static struct sockaddr_un address(const char *path)
{
	struct sockaddr_un addr = { .sun_family = AF_UNIX };

	snprintf(addr.sun_path, sizeof(addr.sun_path), "%s", path);
	return addr;
}

static int answer(const char *path, size_t bytes)
{
	struct sockaddr_un addr = address(path);
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0), client;
	char *reply = malloc(bytes);

	memset(reply, 'x', bytes);
	reply[bytes - 1] = '\n';
	if (bind(fd, (struct sockaddr *)&addr, sizeof(addr)) < 0 || listen(fd, 1) < 0)
		die(path);
	client = accept(fd, NULL, NULL);
	if (client < 0)
		die("accept");
	while (read_line(client))
		write_all(client, reply, bytes);
	free(reply);
	return 0;
}

static int by_value(const void *a, const void *b)
{
	uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;

	return (x > y) - (x < y);
}

static void report(uint64_t *ns, size_t count, size_t bytes)
{
	uint64_t sum = 0;
	size_t i;

	for (i = 0; i < count; i++)
		sum += ns[i];
	qsort(ns, count, sizeof(*ns), by_value);
	printf("{\"count\": %zu, \"mean_ns\": %llu, \"p50_ns\": %llu, \"p99_ns\": %llu, "
	       "\"max_ns\": %llu, \"bytes\": %zu}\n",
		count, (unsigned long long)(sum / count), (unsigned long long)ns[count / 2],
		(unsigned long long)ns[count * 99 / 100], (unsigned long long)ns[count - 1], bytes);
}

static int ask(const char *path, size_t count, const char *request)
{
	static const char capabilities[] = "{\"execute\":\"qmp_capabilities\"}\n";
	bool is_qmp = !strncmp(path, "qmp:", 4);
	struct sockaddr_un addr = address(path + (is_qmp ? 4 : 0));
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	size_t len = strlen(request), bytes = 0, i;
	uint64_t *ns = calloc(count, sizeof(*ns));
	char *with_end = malloc(len + 2);

	snprintf(with_end, len + 2, "%s\n", request);
	if (connect(fd, (struct sockaddr *)&addr, sizeof(addr)) < 0)
		die(path);
	if (is_qmp) {
		read_line(fd);
		write_all(fd, capabilities, sizeof(capabilities) - 1);
		read_line(fd);
	}
	for (i = 0; i < count; i++) {
		uint64_t start = now_ns();

		write_all(fd, with_end, len + 1);
		bytes = read_line(fd);
		ns[i] = now_ns() - start;
		if (!bytes || (is_qmp && strncmp(line, "{\"return\"", 9))) {
			fprintf(stderr, "echo_bench: %.200s\n", bytes ? line : "no answer");
			return 1;
		}
	}
	report(ns, count, bytes);
	free(with_end);
	free(ns);
	return 0;
}

int main(int argc, char **argv)
{
	if (argc == 4 && !strcmp(argv[1], "answer"))
		return answer(argv[2], MAX(strtoul(argv[3], NULL, 0), 1ul));
	if (argc == 5 && !strcmp(argv[1], "ask"))
		return ask(argv[2], MAX(strtoul(argv[3], NULL, 0), 1ul), argv[4]);
	fprintf(stderr, "usage: echo_bench answer SOCKET BYTES\n"
			"       echo_bench ask [qmp:]SOCKET COUNT LINE\n");
	return 2;
}
