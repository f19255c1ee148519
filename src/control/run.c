/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * stop, cont and system_reset. Each takes its time (a guest's processor, requests in flight), so
 * each answers later; they run one after the other, whoever asks for them.
 */
#include "control/run.h"

#include <errno.h>
#include <stdlib.h>

#include "base/alloc.h"
#include "control/devices.h"
#include "control/internal.h"

static void done(struct control_change *change, int r, const struct err *err)
{
	struct control *ctl = change->ctl;

	if (r < 0)
		qapi_call_fail(change->call, QAPI_GENERIC_ERROR, "%s", err->msg);
	else
		qapi_call_return(change->call, NULL);
	ctl->changes = change->next;
	free(change);
	if (ctl->changes)
		ctl->changes->begin(ctl->changes);
}

static int enqueue(struct qapi_call *call, void (*begin)(struct control_change *change))
{
	struct control_change *change = xnew(struct control_change);
	struct control *ctl = call->ctx;
	struct control_change **at;

	change->ctl = ctl;
	change->call = call;
	change->begin = begin;
	for (at = &ctl->changes; *at; at = &(*at)->next)
		;
	*at = change;
	if (ctl->changes == change)
		begin(change);
	return QAPI_PENDING;
}

/* --- stop --- */

/* A device that the first change waits for; it holds the device until then. */
struct stop_wait {
	struct vdev_wait wait;
	struct control_change *change;
	struct vdev *held; /* NULL: it goes away and is held by whoever takes it away */
};

static void stop_step_done(struct control_change *change)
{
	if (--change->num_waits)
		return;
	control_emit(change->ctl, qapi_event_stop());
	done(change, 0, NULL);
}

static void on_idle(struct vdev_wait *wait)
{
	struct stop_wait *w = container_of(wait, struct stop_wait, wait);
	struct control_change *change = w->change;

	if (w->held)
		vdev_release(w->held);
	free(w);
	stop_step_done(change);
}

static void stop_devices(struct control_change *change)
{
	struct control *ctl = change->ctl;

	ctl->running = false;
	/* One for ourselves: a device that is idle already answers at once. */
	change->num_waits = 1;
	for (struct control_device *cdev = ctl->devices; cdev; cdev = cdev->next) {
		struct stop_wait *w = xnew(struct stop_wait);

		w->wait.fn = on_idle;
		w->change = change;
		w->held = cdev->unplugging ? NULL : cdev->dev;
		change->num_waits++;
		vdev_set_vm_running(cdev->dev, false);
		if (w->held)
			vdev_hold(w->held);
		vdev_when_idle(cdev->dev, &w->wait);
	}
	stop_step_done(change);
}

static void on_machine_stopped(struct machine_wait *wait, int r, const struct err *err)
{
	struct control_change *change = container_of(wait, struct control_change, machine_wait);

	if (r < 0)
		done(change, r, err);
	else
		stop_devices(change);
}

static void begin_stop(struct control_change *change)
{
	struct control *ctl = change->ctl;

	if (!ctl->running) {
		done(change, 0, NULL);
		return;
	}
	if (!ctl->machine) {
		stop_devices(change);
		return;
	}
	change->machine_wait.fn = on_machine_stopped;
	machine_stop(ctl->machine, &change->machine_wait);
}

/* Who looks on has nothing to stop. */
static int refuse_in_relay(struct qapi_call *call, struct qapi_error *error)
{
	const struct control *ctl = call->ctx;

	if (!ctl->config.relay)
		return 0;
	return qapi_error_set(error, QAPI_GENERIC_ERROR,
		"A relay runs nothing: stop and cont are the front-end's monitor's");
}

int control_cmd_stop(struct qapi_call *call, struct qapi_error *error)
{
	int r = refuse_in_relay(call, error);

	if (r < 0)
		return r;
	return enqueue(call, begin_stop);
}

/* --- cont --- */

static void on_machine_cont(struct machine_wait *wait, int r, const struct err *err)
{
	struct control_change *change = container_of(wait, struct control_change, machine_wait);

	if (r >= 0)
		control_emit(change->ctl, qapi_event_resume());
	done(change, r, err);
}

static void begin_cont(struct control_change *change)
{
	struct control *ctl = change->ctl;

	if (ctl->running) {
		done(change, 0, NULL);
		return;
	}
	ctl->running = true;
	for (struct control_device *cdev = ctl->devices; cdev; cdev = cdev->next)
		vdev_set_vm_running(cdev->dev, true);
	change->machine_wait.fn = on_machine_cont;
	if (ctl->machine)
		machine_cont(ctl->machine, &change->machine_wait);
	else
		on_machine_cont(&change->machine_wait, 0, NULL);
}

int control_cmd_cont(struct qapi_call *call, struct qapi_error *error)
{
	int r = refuse_in_relay(call, error);

	if (r < 0)
		return r;
	return enqueue(call, begin_cont);
}

/* --- system_reset --- */

static void on_machine_reset(struct machine_wait *wait, int r, const struct err *err)
{
	done(container_of(wait, struct control_change, machine_wait), r, err);
}

static void begin_reset(struct control_change *change)
{
	change->machine_wait.fn = on_machine_reset;
	machine_reset(change->ctl->machine, &change->machine_wait);
}

int control_cmd_system_reset(struct qapi_call *call, struct qapi_error *error)
{
	struct control *ctl = call->ctx;

	if (!ctl->machine)
		return qapi_error_set(error, QAPI_GENERIC_ERROR,
			"There is no machine to reset: these devices are exported to another one");
	return enqueue(call, begin_reset);
}
