/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The beginning and the end: the object tree's frame, the built-in data loop, and the way out, on
 * which the guest goes first and then the devices. Both get some time; who does not go in it is
 * left behind.
 */

#include "control/control.h"

#include <errno.h>
#include <stdlib.h>

#include "base/alloc.h"
#include "base/log.h"
#include "control/devices.h"
#include "control/internal.h"
#include "control/machine.h"
#include "control/objects.h"

const struct option_spec control_no_options[] = { { NULL } };

static void on_quit_work(struct loop_work *work);
static void on_quit_timer(struct loop_timer *timer);
static void on_finished_work(struct loop_work *work);

static char *machine_type(const struct control *ctl)
{
	return xasprintf("%s-machine", ctl->machine ? ctl->machine->ops->name : "none");
}

static void make_tree(struct control *ctl)
{
	char *type = machine_type(ctl);
	struct qom_object *machine;

	ctl->root = qom_new_root();
	machine = qom_add(ctl->root, "machine", type);
	ctl->objects_container = qom_add(ctl->root, "objects", "container");
	ctl->peripheral = qom_add(machine, "peripheral", "container");
	ctl->anon = qom_add(machine, "peripheral-anon", "container");
	free(type);
}

int control_new(const struct control_config *config, struct control **ret, struct err *err)
{
	struct control *ctl = xnew(struct control);
	int r;

	ctl->config = *config;
	ctl->name = config->name ? xstrdup(config->name) : NULL;
	ctl->running = true;
	ctl->quit_work.fn = on_quit_work;
	ctl->quit_timer.fn = on_quit_timer;
	ctl->finished_work.fn = on_finished_work;
	ctl->news_timer.fn = control_news_on_timer;
	control_watch_init(ctl);
	vdev_set_listener(&control_vdev_listener);
	r = loop_init(&ctl->data_loop, "data", err);
	if (!r)
		r = loop_thread_start(&ctl->data_loop, err);
	if (!r && config->machine) {
		ctl->machine = machine_new(
			config->machine, config->loop, &control_machine_listener, ctl, err);
		r = ctl->machine ? 0 : -EIO;
	}
	if (r < 0) {
		control_free(ctl);
		return r;
	}
	make_tree(ctl);
	*ret = ctl;
	return 0;
}

int control_free(struct control *ctl)
{
	if (!ctl)
		return 0;
	loop_work_cancel(ctl->config.loop, &ctl->quit_work);
	loop_work_cancel(ctl->config.loop, &ctl->finished_work);
	loop_timer_cancel(&ctl->quit_timer);
	loop_timer_cancel(&ctl->news_timer);
	control_watch_stop(ctl);
	vdev_set_listener(NULL);
	machine_free(ctl->machine);
	if (ctl->devices) {
		for (struct control_device *cdev = ctl->devices; cdev; cdev = cdev->next)
			control_device_abandon(cdev);
		return -EBUSY;
	}
	control_objects_free(ctl);
	loop_thread_join(&ctl->data_loop);
	loop_deinit(&ctl->data_loop);
	json_object_put(ctl->announced);
	qom_free(ctl->root);
	free(ctl->name);
	free(ctl);
	return 0;
}

/* --- the way out --- */

static void on_finished_work(struct loop_work *work)
{
	struct control *ctl = container_of(work, struct control, finished_work);

	ctl->config.finished(ctl->config.opaque, ctl->status);
}

static void finish(struct control *ctl)
{
	if (ctl->finished)
		return;
	ctl->finished = true;
	loop_timer_cancel(&ctl->quit_timer);
	loop_work_add(ctl->config.loop, &ctl->finished_work);
}

void control_check_finished(struct control *ctl)
{
	if (!ctl->quitting || machine_has_guest(ctl->machine))
		return;
	if (!ctl->devices) {
		finish(ctl);
		return;
	}
	for (struct control_device *cdev = ctl->devices, *next; cdev; cdev = next) {
		next = cdev->next;
		if (!cdev->unplugging)
			control_device_remove(cdev);
	}
}

static void on_quit_work(struct loop_work *work)
{
	struct control *ctl = container_of(work, struct control, quit_work);

	if (ctl->cause != SHUTDOWN_CAUSE_NONE)
		control_emit(ctl, qapi_event_shutdown(false, ctl->cause));
	machine_quit(ctl->machine, false);
	control_check_finished(ctl);
}

static void on_quit_timer(struct loop_timer *timer)
{
	struct control *ctl = container_of(timer, struct control, quit_timer);

	log_warn("some devices did not come to rest within %u s; ending anyway",
		CONTROL_QUIT_TIMEOUT_MS / 1000);
	machine_quit(ctl->machine, true);
	finish(ctl);
}

void control_begin_end(struct control *ctl)
{
	ctl->quitting = true;
	loop_timer_set(ctl->config.loop, &ctl->quit_timer,
		now_ns() + CONTROL_QUIT_TIMEOUT_MS * NSEC_PER_MSEC);
	/* Later, so that the reply to who asked for it goes out first. */
	loop_work_add(ctl->config.loop, &ctl->quit_work);
}

void control_quit(struct control *ctl, enum ShutdownCause cause)
{
	if (ctl->quitting) {
		machine_quit(ctl->machine, true);
		return;
	}
	ctl->cause = cause;
	control_begin_end(ctl);
}
