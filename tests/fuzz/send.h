/* SPDX-License-Identifier: BSD-3-Clause */
/* Bytes and descriptors into a unix socket, as whoever is hostile sends them. */
#ifndef TESTS_FUZZ_SEND_H
#define TESTS_FUZZ_SEND_H

#include <stdbool.h>
#include <string.h>
#include <sys/socket.h>

#include "tests/fuzz/fuzz.h"

#define FUZZ_SEND_FDS_MAX 16

/* @fds stay the caller's. False where the socket does not take it. */
static inline bool fuzz_send(
	int sock, const struct iovec *iov, size_t num_iov, const int *fds, unsigned int num_fds)
{
	union {
		char bytes[CMSG_SPACE(FUZZ_SEND_FDS_MAX * sizeof(int))];
		struct cmsghdr align;
	} control = { 0 };
	struct msghdr msg = { .msg_iov = (struct iovec *)(uintptr_t)iov, .msg_iovlen = num_iov };

	FUZZ_CHECK(num_fds <= FUZZ_SEND_FDS_MAX);
	if (num_fds) {
		msg.msg_control = &control;
		msg.msg_controllen = CMSG_SPACE(num_fds * sizeof(int));
		control.align.cmsg_level = SOL_SOCKET;
		control.align.cmsg_type = SCM_RIGHTS;
		control.align.cmsg_len = CMSG_LEN(num_fds * sizeof(int));
		memcpy(CMSG_DATA(&control.align), fds, num_fds * sizeof(int));
	}
	return sendmsg(sock, &msg, MSG_DONTWAIT | MSG_NOSIGNAL) >= 0;
}

#endif
