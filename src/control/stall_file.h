/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * What is known of a queue at the moment it is found stuck, in a file: by the time that somebody
 * looks it may have gone on, or the recorder may have forgotten. Main loop; the disk is written on
 * a thread of its own.
 */
#ifndef CONTROL_STALL_FILE_H
#define CONTROL_STALL_FILE_H

#include "inspect/health.h"
#include "virtio/vq.h"

/* Files of one run: a queue that is stuck again and again does not fill the disk. */
#define STALL_FILES_MAX 64

struct control_device;

/*
 * Writes FOLDER/ID-queueN-TIME.json: the verdict, the requests in flight, the recorder and the
 * ring. Nothing happens without --stall-dir. What cannot be written is a line in the log.
 */
void control_stall_file(
	struct control_device *cdev, const struct vq *vq, const struct health_verdict *verdict);

#endif
