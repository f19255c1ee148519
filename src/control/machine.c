/* SPDX-License-Identifier: BSD-3-Clause */
/* The machine's news become events; the start of the guest on the devices at hand. */
#include "control/machine.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/alloc.h"
#include "base/cleanup.h"
#include "base/log.h"
#include "control/devices.h"
#include "control/internal.h"

static void on_reset(_unused_ struct machine *m, void *opaque, bool by_guest)
{
	struct control *ctl = opaque;

	control_emit(
		ctl, qapi_event_reset(by_guest, by_guest ? SHUTDOWN_CAUSE_GUEST_RESET
							 : SHUTDOWN_CAUSE_HOST_QMP_SYSTEM_RESET));
}

static void on_panicked(_unused_ struct machine *m, _unused_ void *opaque, const char *message)
{
	const char *hint = "";

	if (strstr(message, "Unable to mount root fs"))
		hint = "; it has nothing to start from: --initrd gives it a first file system";
	log_error("the guest's kernel panicked: %s%s", message, hint);
}

static void on_exited(_unused_ struct machine *m, void *opaque, const struct machine_exit *ex)
{
	struct control *ctl = opaque;

	/* A panic was told of when it came. */
	if (ex->message[0] && ex->end != MACHINE_END_GUEST_PANIC)
		log_error("%s", ex->message);
	ctl->status = ex->status;
	if (ctl->quitting) {
		control_check_finished(ctl);
		return;
	}
	control_emit(
		ctl, qapi_event_shutdown(ex->end != MACHINE_END_FAILED,
			     ex->end == MACHINE_END_GUEST_SHUTDOWN ? SHUTDOWN_CAUSE_GUEST_SHUTDOWN
			     : ex->end == MACHINE_END_GUEST_PANIC  ? SHUTDOWN_CAUSE_GUEST_PANIC
								   : SHUTDOWN_CAUSE_HOST_ERROR));
	control_begin_end(ctl);
}

static void on_quit_requested(_unused_ struct machine *m, void *opaque)
{
	control_quit(opaque, SHUTDOWN_CAUSE_HOST_UI);
}

const struct machine_listener control_machine_listener = {
	.reset = on_reset,
	.panicked = on_panicked,
	.exited = on_exited,
	.quit_requested = on_quit_requested,
};

int control_start_guest(struct control *ctl, const struct machine_config *machine, struct err *err)
{
	struct machine_config config = *machine;
	_cleanup_free_ struct machine_device *devices = NULL;
	unsigned int n = 0;

	for (struct control_device *cdev = ctl->devices; cdev; cdev = cdev->next)
		n++;
	devices = xnew_n(struct machine_device, n);
	config.devices = devices;
	config.num_devices = n;
	/* The list has the newest first, the guest finds the oldest first. */
	for (struct control_device *cdev = ctl->devices; cdev; cdev = cdev->next) {
		devices[--n] = (struct machine_device){
			.id = cdev->dev->id,
			.virtio_id = cdev->dev->cls->virtio_id,
			.socket = cdev->transport.listen,
		};
	}
	return machine_start(ctl->machine, &config, err);
}
