/* SPDX-License-Identifier: BSD-3-Clause */
/* Commands about disks and CD-ROMs that change while they are used. Main loop. */
#ifndef CONTROL_MEDIA_H
#define CONTROL_MEDIA_H

#include "qapi/commands.h"

int control_cmd_block_resize(
	struct qapi_call *call, const char *device, int64_t size, struct qapi_error *error);
int control_cmd_eject(struct qapi_call *call, const char *device, const char *id, bool has_force,
	bool force, struct qapi_error *error);
int control_cmd_blockdev_change_medium(struct qapi_call *call, const char *device, const char *id,
	const char *filename, const char *format, bool has_force, bool force,
	struct qapi_error *error);
int control_cmd_blockdev_open_tray(struct qapi_call *call, const char *device, const char *id,
	bool has_force, bool force, struct qapi_error *error);
int control_cmd_blockdev_close_tray(
	struct qapi_call *call, const char *device, const char *id, struct qapi_error *error);

#endif
