/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Character devices: the host's end of a serial port or a console. Opened on the main loop; its
 * bytes flow on the loop that it is attached to. Nothing is buffered here: bytes go straight
 * between the caller's iovecs and the kernel, which alone touches them.
 *
 * Nobody there: while no peer is connected, what is written is dropped and counts as written, so
 * that a guest never hangs on a console that nobody watches. A peer that is connected and does not
 * read does hold the writer up.
 */
#ifndef BACKENDS_CHARDEV_H
#define BACKENDS_CHARDEV_H

#include <sys/types.h>
#include <sys/uio.h>

#include "base/err.h"
#include "base/loop.h"
#include "base/util.h"

enum chardev_kind {
	CHARDEV_NULL, /* swallows everything, never has anything */
	CHARDEV_STDIO, /* standard input and output; a terminal is made raw and restored */
	CHARDEV_PTY, /* a new pseudo-terminal, which outlives those who open and close it */
	CHARDEV_SOCKET, /* a unix stream socket: server or client; one peer at a time */
	CHARDEV_FILE, /* output only */
};

struct chardev_config {
	enum chardev_kind kind;
	const char *id; /* for messages */
	const char *
		path; /* CHARDEV_SOCKET, CHARDEV_FILE: path or fd=N (a server's: a listening one) */
	bool server; /* CHARDEV_SOCKET: listen, else connect once when opened */
	mode_t mode; /* of the socket file; 0: 0600 */
	const char *group; /* of the socket file, or NULL */
	bool append; /* CHARDEV_FILE: after what is there instead of replacing it */
	/* CHARDEV_STDIO: ^C, ^Z and ^\ still make signals. Off: the guest gets them. */
	bool signal;
};

enum chardev_event {
	CHARDEV_OPENED, /* a peer is there now */
	CHARDEV_CLOSED, /* and gone */
};

/* Called on the loop that it is attached to, never from within one of the functions below. */
struct chardev_ops {
	/* There may be something to read; again and again while there is, until paused. */
	void (*readable)(void *opaque);
	/* Once after a write that took less than it was given: worth another try. */
	void (*writable)(void *opaque);
	void (*event)(void *opaque, enum chardev_event event);
};

struct chardev;

/* -errno with a sentence. From here on a server listens and a pty has its name. Main loop. */
int chardev_open(const struct chardev_config *config, struct chardev **ret, struct err *err);
/* It is detached. Restores the terminal, removes the socket file. NULL is fine. Main loop. */
void chardev_free(struct chardev *chr);

const char *chardev_id(const struct chardev *chr);
/* Where the peer is found: the pty's path, the socket's, the file's; else the kind's name. */
const char *chardev_address(const struct chardev *chr);

/*
 * A chardev serves one user: claimed when that is configured, on the main loop. @user is copied;
 * -EBUSY with a sentence that names the user that has it.
 */
int chardev_claim(struct chardev *chr, const char *user, struct err *err);
void chardev_release(struct chardev *chr);
/* The user's name, or NULL. */
const char *chardev_user(const struct chardev *chr);

/*
 * From now on @loop moves the bytes. Reading begins paused. A server takes connections only while
 * it is attached. -EBUSY where it is attached already; -errno with a sentence. On @loop.
 */
int chardev_attach(struct chardev *chr, struct loop *loop, const struct chardev_ops *ops,
	void *opaque, struct err *err);
/* No callback comes any more; a connected peer stays. Idempotent. On that loop. */
void chardev_detach(struct chardev *chr);

/* Is a peer there? True for stdio and file, for null never. On its loop. */
bool chardev_is_open(const struct chardev *chr);

/*
 * Whether readable() is wanted; a caller without room for input pauses instead of reading nothing.
 * A peer that goes away is noticed at the latest when reading is resumed. On its loop.
 */
void chardev_want_read(struct chardev *chr, bool want);
/*
 * Returns the number of bytes, 0 where there are none now, -EFAULT where a buffer is not there. The
 * end of a peer is no return value: it comes as CHARDEV_CLOSED. On its loop.
 */
ssize_t chardev_readv(struct chardev *chr, const struct iovec *iov, unsigned int num_iov);
/*
 * Returns the number of bytes taken: fewer than given, or 0, means that writable() will come. All
 * of them where nobody is there (see above). -EFAULT where a buffer is not there. On its loop.
 */
ssize_t chardev_writev(struct chardev *chr, const struct iovec *iov, unsigned int num_iov);

/*
 * Puts back the terminal's settings if a stdio chardev changed them; idempotent. For the way out
 * after a fatal signal: async-signal-safe. chardev_free() and exit() do it by themselves.
 */
void chardev_restore_terminal(void);

#endif
