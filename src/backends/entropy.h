/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Entropy: what a random number device stands on. The kernel's generator by default, else a
 * character device, pipe or file. Opened on the main loop, used on the loop that it is attached to.
 * Never blocks: a source that has nothing now says so and calls when it has.
 */
#ifndef BACKENDS_ENTROPY_H
#define BACKENDS_ENTROPY_H

#include <sys/types.h>
#include <sys/uio.h>

#include "base/err.h"
#include "base/loop.h"

/* One entropy_read() gives this much at most, so that no request keeps a loop busy for long. */
#define ENTROPY_READ_MAX_BYTES (64 * 1024)
/* How long until a source that cannot be waited for (/dev/hwrng, say) is tried again. */
#define ENTROPY_RETRY_MS 100

struct entropy;

/*
 * @filename: what host_open() takes, or NULL for the kernel's generator. -errno with a sentence.
 * Main loop.
 */
int entropy_open(const char *filename, struct entropy **ret, struct err *err);
/* It is detached. NULL is fine. Main loop. */
void entropy_free(struct entropy *entropy);

/*
 * From now on @loop uses it, alone. @ready is called on @loop once after each entropy_read() that
 * returned -EAGAIN, when it is worth another try. -EBUSY where it is attached already; -errno with
 * a sentence. On @loop.
 */
int entropy_attach(struct entropy *entropy, struct loop *loop, void (*ready)(void *opaque),
	void *opaque, struct err *err);
/* @ready is not called any more. Idempotent. On that loop. */
void entropy_detach(struct entropy *entropy);

/*
 * Fills the front of @iov. Returns the number of bytes (fewer than asked for is usual), -EAGAIN
 * where the source is dry, -ENODATA where a regular file has come to its end (for good), -EFAULT
 * where a buffer is not there, -EINVAL where there is no room at all, another -errno where the
 * source fails. Buffers are handed to the kernel and to nobody else.
 */
ssize_t entropy_read(struct entropy *entropy, const struct iovec *iov, unsigned int num_iov);

#endif
