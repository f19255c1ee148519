/* SPDX-License-Identifier: BSD-3-Clause */
/* What every fuzz target has: libFuzzer's entry. A target aborts where something is wrong. */
#ifndef TESTS_FUZZ_FUZZ_H
#define TESTS_FUZZ_FUZZ_H

#include <fcntl.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* Open descriptors of low numbers, which is where what a run forgets is left. */
static inline unsigned int fuzz_open_fds(void)
{
	unsigned int num = 0;

	for (int fd = 0; fd < 64; fd++)
		num += fcntl(fd, F_GETFD) >= 0;
	return num;
}

/* Like assert(), in every kind of build. */
#define FUZZ_CHECK(condition)                                                           \
	do {                                                                            \
		if (!(condition)) {                                                     \
			fprintf(stderr, "%s:%d: %s\n", __FILE__, __LINE__, #condition); \
			abort();                                                        \
		}                                                                       \
	} while (0)

/* Of the linker: with --wrap=X (meson.build) calls of X come here, and X itself is __real_X. */
#define FUZZ_WRAPPED(type, name, ...)    \
	type __real_##name(__VA_ARGS__); \
	type __wrap_##name(__VA_ARGS__); \
	type __wrap_##name(__VA_ARGS__)

#endif
