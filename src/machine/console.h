/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The guest's console: bytes between the guest's standard streams, a socket pair, and a character
 * device. Bounded both ways: while the chardev takes nothing, nothing is read from the guest, which
 * then keeps its output or drops it; while the guest takes nothing, nothing is read from the
 * chardev. Without a chardev the output is read and dropped. Main loop.
 */
#ifndef MACHINE_CONSOLE_H
#define MACHINE_CONSOLE_H

#include "backends/chardev.h"
#include "base/err.h"
#include "base/loop.h"

#define CONSOLE_OUT_BYTES  16384
#define CONSOLE_IN_BYTES   2048
#define CONSOLE_LINE_BYTES 160

struct console {
	struct loop *loop;
	struct chardev *chr; /* NULL: none */
	struct loop_fd guest;
	/* Everything the guest wrote is out, or given up: after console_finish(). Once. */
	void (*finished)(struct console *con);
	/* The chardev's peer is gone. */
	void (*closed)(struct console *con);
	/* Ctrl-A x */
	void (*quit)(struct console *con);

	bool escape; /* Ctrl-A begins a command */
	bool prefixed; /* Ctrl-A was the last byte */
	bool finishing, guest_gone;
	struct loop_timer patience;
	/* The last line that the guest wrote, printable: why a kernel that never came up gave up.
	 */
	char line[CONSOLE_LINE_BYTES];
	size_t line_len;
	bool line_ended;

	char out[CONSOLE_OUT_BYTES]; /* to the chardev: [out_start, out_end) */
	size_t out_start, out_end;
	/* To the guest; twice, since one Ctrl-A that is held back may come with what follows it. */
	char in[2 * CONSOLE_IN_BYTES];
	size_t in_start, in_end;
};

/*
 * The callbacks are set. *ret_guest_fd is the guest's end, the caller's to close once the guest has
 * it. -errno with a sentence.
 */
int console_init(struct console *con, struct loop *loop, struct chardev *chr, bool escape,
	int *ret_guest_fd, struct err *err);
/* Idempotent, zeroed is fine. */
void console_deinit(struct console *con);
/* All processes of the guest are gone: finished() follows, never from in here. */
void console_finish(struct console *con);

#endif
