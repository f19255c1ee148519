/* SPDX-License-Identifier: BSD-3-Clause */
/* What control's files share. Main loop. */
#ifndef CONTROL_INTERNAL_H
#define CONTROL_INTERNAL_H

#include "base/loop.h"
#include "base/option.h"
#include "control/control.h"
#include "control/watch.h"
#include "machine/machine.h"
#include "qapi/events.h"
#include "qom/qom.h"

/* How long devices and the guest may take to end before we go anyway. */
#define CONTROL_QUIT_TIMEOUT_MS 10000

struct control_change;
struct control_child;
struct control_device;
struct control_object;

struct control {
	struct control_config config;
	char *name;
	struct loop data_loop;
	struct qom_object *root, *peripheral, *anon, *objects_container;
	struct control_device *devices; /* newest first */
	struct control_child *children; /* newest first */
	struct json_object *announced; /* owned: ids that buses were named by, "": none was */
	struct control_object *objects;
	unsigned int num_anon, num_sockets;
	bool running;
	unsigned int num_stall_files;
	struct control_change *changes; /* the first one is under way */
	struct machine *machine; /* NULL: none */
	bool quitting, finished;
	enum ShutdownCause cause; /* that control_quit() was given, else none */
	int status; /* to exit with */
	struct loop_work quit_work, finished_work;
	struct loop_timer quit_timer;
	struct control_watching watching;
	struct loop_timer news_timer;
};

static inline void control_emit(struct control *ctl, struct json_object *event)
{
	ctl->config.emit(ctl->config.opaque, event);
}

/* An option table without a row. */
extern const struct option_spec control_no_options[];

/* The last steps, without an event. */
void control_begin_end(struct control *ctl);
/* A device is gone, or the machine: is that all? */
void control_check_finished(struct control *ctl);

#endif
