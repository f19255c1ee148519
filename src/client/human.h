/* SPDX-License-Identifier: BSD-3-Clause */
/* Numbers for people, in a few columns. */
#ifndef CLIENT_HUMAN_H
#define CLIENT_HUMAN_H

#include "base/util.h"

#define HUMAN_BYTES 16

/* "0", "812", "12.3k", "4.56M": at most five columns. Returns @buf. */
const char *human_count(char buf[static HUMAN_BYTES], double number);
/* "850ns", "12.3us", "4.5ms", "12.3s", "5m12s", "3h05m", "12d": at most six columns. */
const char *human_time(char buf[static HUMAN_BYTES], uint64_t ns);

#endif
