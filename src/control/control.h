/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Whatever changes something: options become devices and objects, commands become actions, news
 * become events. Owns the devices, the objects, the object tree and the built-in data loop. Main
 * loop.
 */
#ifndef CONTROL_CONTROL_H
#define CONTROL_CONTROL_H

#include <json-c/json.h>
#include <stdio.h>

#include "base/err.h"
#include "base/loop.h"
#include "qapi/types.h"

struct control;
struct machine_ops;

struct control_config {
	struct loop *loop; /* the main loop */
	const char *name; /* of this run, or NULL; copied */
	/* NULL: no machine, devices are exported by their listen= or connect=. */
	const struct machine_ops *machine;
	bool has_stall_ms; /* else the default, and a relay watches only while somebody asks */
	uint32_t stall_ms; /* control/watch.h: the threshold */
	/* Where a file about each stuck queue goes; outlives control. NULL: nowhere. */
	const char *stall_dir;
	bool relay; /* then every device is a relay (vhost/relay.h), and no other can be */
	/* What a relay that does not say it itself has of reconnect= and outage-ms=; NULL: no word.
	 */
	bool relay_reconnect;
	const char *relay_outage_ms;
	/* An event for all monitors; takes over the reference. */
	void (*emit)(void *opaque, struct json_object *event);
	/*
	 * All has ended: the guest, where there is one, and the devices, or they did not in time.
	 * @status: what the process should exit with. Not from within a function of control's.
	 */
	void (*finished)(void *opaque, int status);
	void *opaque;
};

/* -errno with a sentence where a thread or a descriptor cannot be had. */
int control_new(const struct control_config *config, struct control **ret, struct err *err);
/*
 * After finished(), or before any device was made. NULL is fine. -EBUSY where a device still has
 * requests in flight that do not end: its loop lives on, and all that is left is _exit().
 */
int control_free(struct control *ctl);

/*
 * A device or an object by its options, as base/value.h reads them; @args is not changed. -errno
 * with a sentence.
 */
/* Before any is added: devices that will be, so that what comes first has room for its parts. */
void control_announce(struct control *ctl, struct json_object *args);
int control_device_add(struct control *ctl, struct json_object *args, struct err *err);
int control_object_add(struct control *ctl, struct json_object *args, struct err *err);

/* Begins the end; finished() follows. A second call makes haste with the guest. */
void control_quit(struct control *ctl, enum ShutdownCause cause);

/* What all queues count, as OpenMetrics text. */
void control_write_metrics(struct control *ctl, FILE *out);

#endif
