/* SPDX-License-Identifier: BSD-3-Clause */
/* What is remarkable in the messages of a device (proto/lint.h). Pure readers. Main loop. */
#ifndef INSPECT_FINDINGS_H
#define INSPECT_FINDINGS_H

#include "base/err.h"
#include "proto/lint.h"
#include "qapi/types.h"
#include "qom/qom.h"
#include "virtio/vdev.h"

/* Where a device has none: NULL. */
const struct transcript *inspect_transcript_of(const struct vdev *dev);
/*
 * The device's messages as they stand now, with what waits for @unanswered_ms: a copy, which the
 * caller frees. NULL for a device without a transcript.
 */
struct lint *inspect_lint(const struct vdev *dev, uint64_t unanswered_ms);
/* -ENODEV with a sentence where no transcript is kept. */
int inspect_findings(struct qom_object *root, const char *path, uint64_t unanswered_ms,
	struct VhostUserFindingList *ret, struct err *err);

#endif
