/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A machine: what runs a guest on our devices. A kind of machine is data, struct machine_ops; this
 * header is all that control sees of it. Everything here happens on the main loop.
 *
 * The order: machine_new() makes the private folder; the devices listen there, at
 * machine_socket_path(); machine_start() boots the guest, which connects to them. News come through
 * struct machine_listener, never from within a function that control called, except that
 * machine_free() tells nobody anything but those who wait.
 */
#ifndef MACHINE_MACHINE_H
#define MACHINE_MACHINE_H

#include "base/err.h"
#include "base/loop.h"
#include "base/util.h"

struct chardev;
struct machine;

enum machine_state {
	MACHINE_PRELAUNCH, /* machine_start() was not called, or failed */
	MACHINE_RUNNING,
	MACHINE_PAUSED,
	MACHINE_ENDED, /* the guest and every process of it are gone */
};

/* Why there is no guest any more. */
enum machine_end {
	MACHINE_END_GUEST_SHUTDOWN, /* it powered itself off */
	MACHINE_END_GUEST_PANIC,
	MACHINE_END_HOST_QUIT, /* machine_quit() */
	MACHINE_END_FAILED, /* killed, crashed, or never came as far as running Linux */
};

#define MACHINE_SENTENCE_BYTES 384

struct machine_exit {
	enum machine_end end;
	int status; /* what the process should exit with: 0 or 1 */
	/* For a status of 1, one sentence that says what happened; else empty. */
	char message[MACHINE_SENTENCE_BYTES];
};

/* News for control. Fields may be NULL. */
struct machine_listener {
	/* The guest's kernel runs: after the start, and after each reset. */
	void (*booted)(struct machine *m, void *opaque);
	/* The guest starts afresh. @by_guest: it rebooted itself, else machine_reset() did it. */
	void (*reset)(struct machine *m, void *opaque, bool by_guest);
	/* Its kernel gave up; exited() follows. @message is printable. */
	void (*panicked)(struct machine *m, void *opaque, const char *message);
	/* All of it is gone, what it wrote to its console is out. Once. May free the machine. */
	void (*exited)(struct machine *m, void *opaque, const struct machine_exit *ex);
	/* Whoever watched the console is gone; the guest goes on. */
	void (*console_closed)(struct machine *m, void *opaque);
	/* Ctrl-A x was typed on the console: calls for machine_quit(). */
	void (*quit_requested)(struct machine *m, void *opaque);
};

/* One device that the guest shall find. */
struct machine_device {
	const char *id; /* for messages; may be NULL */
	uint16_t virtio_id; /* virtio 1.3, "Device Types" */
	const char *socket; /* a vhost-user back-end listens there */
};

struct machine_config {
	const char *kernel; /* path or fd=N; NULL: the machine's default */
	const char *initrd; /* path or fd=N; NULL: none */
	const char *append; /* more kernel arguments; NULL: none */
	uint64_t memory_bytes;
	const struct machine_device *devices; /* in the order in which the guest finds them */
	unsigned int num_devices;
	/* Where the guest's console goes; claimed by the caller; outlives the machine. NULL:
	 * nowhere. */
	struct chardev *console;
	/* Ctrl-A x, said at the start: for a console on a terminal. */
	bool console_escape;
};

/* Somebody who waits for an operation. The node is the caller's until fn() is called. */
struct machine_wait {
	/* @r: 0, or -errno with a sentence in @err. May be called before the operation returns. */
	void (*fn)(struct machine_wait *wait, int r, const struct err *err);
};

/*
 * A kind of machine. Called through the functions below, which have checked the state: start() in
 * PRELAUNCH only, stop(), cont(), reset() and quit() only while there is a guest.
 */
struct machine_ops {
	const char *name;
	const char *description; /* one line for --help */
	size_t instance_bytes; /* of its struct, whose first member is struct machine */
	bool hotplug; /* devices can be added while the guest runs */

	int (*start)(struct machine *m, const struct machine_config *cfg, struct err *err);
	void (*stop)(struct machine *m, struct machine_wait *wait);
	void (*cont)(struct machine *m, struct machine_wait *wait);
	void (*reset)(struct machine *m, struct machine_wait *wait);
	/* Ends the guest, at once where @kill is true, else it may be asked first. exited()
	 * follows. */
	void (*quit)(struct machine *m, bool kill);
	/* Ends the guest at once, waits until it is gone, releases what start() made. Idempotent.
	 */
	void (*release)(struct machine *m);
};

struct machine {
	const struct machine_ops *ops;
	struct loop *loop;
	const struct machine_listener *listener;
	void *opaque; /* for the listener */
	enum machine_state state;
	char *dir; /* the private folder, mode 0700; removed at the end, also where we are killed */
};

/* All the kinds; ends with NULL. */
extern const struct machine_ops *const machine_kinds[];

/* The kind of that name, or NULL with a sentence that lists them. */
const struct machine_ops *machine_kind(const char *name, struct err *err);

/*
 * A machine without a guest. Makes the private folder, below $XDG_RUNTIME_DIR or the temporary
 * folder. NULL with a sentence where it cannot. @listener lives as long as the machine.
 */
struct machine *machine_new(const struct machine_ops *ops, struct loop *loop,
	const struct machine_listener *listener, void *opaque, struct err *err);
/* Ends the guest if there is one; no news come of that, but waits are answered. NULL is fine. */
void machine_free(struct machine *m);

/* Where device number @n should listen: short and free of odd characters. The caller frees it. */
char *machine_socket_path(const struct machine *m, unsigned int n);

/* Starts the guest. -errno with a sentence where this host or the configuration does not allow it.
 */
int machine_start(struct machine *m, const struct machine_config *cfg, struct err *err);

/* Stops the guest's processor. Of a guest that is stopped already: 0. Devices are the caller's. */
void machine_stop(struct machine *m, struct machine_wait *wait);
/* The reverse: the caller lets the devices go first. */
void machine_cont(struct machine *m, struct machine_wait *wait);
/* Starts the guest afresh, without asking it. A stopped guest stays stopped, as early as it can. */
void machine_reset(struct machine *m, struct machine_wait *wait);
/*
 * Ends the guest: exited() follows, also where the guest does not react. Where @kill is false, a
 * machine may ask the guest first, for a bounded time (uml does not: see there). Without a guest
 * nothing happens and nothing follows: false.
 */
bool machine_quit(struct machine *m, bool kill);
bool machine_has_guest(const struct machine *m);

/* 0 if a device may be added now, else -ENOTSUP and the sentence for it. */
int machine_check_hotplug(const struct machine *m, struct err *err);

/* For machine kinds. */
void machine_answer(struct machine_wait *wait, int r, const struct err *err);

#endif
