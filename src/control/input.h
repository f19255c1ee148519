/* SPDX-License-Identifier: BSD-3-Clause */
/* Input devices on the monitor: what somebody does with them, and their lights. Main loop. */
#ifndef CONTROL_INPUT_H
#define CONTROL_INPUT_H

#include "qapi/commands.h"
#include "qom/qom.h"

/* leds and the counters, beside what every device has; of virtio-input-host connected too. */
extern const struct qom_property control_input_properties[], control_input_host_properties[];

/* The command's handler. */
int control_cmd_input_send_event(struct qapi_call *call, const char *device, bool has_head,
	int64_t head, const struct InputEventList *events, struct qapi_error *error);

#endif
