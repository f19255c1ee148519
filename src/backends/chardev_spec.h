/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The text form of a chardev, as an option carries it: `stdio`, `pty`, `null`, `unix:PATH` (we
 * listen), `connect:PATH` (we connect), `file:PATH`. Any PATH may be fd=N.
 */
#ifndef BACKENDS_CHARDEV_SPEC_H
#define BACKENDS_CHARDEV_SPEC_H

#include "backends/chardev.h"

/* Fills @ret, whose path points into @spec. -EINVAL with a sentence that lists the forms. */
int chardev_parse_spec(const char *spec, struct chardev_config *ret, struct err *err);

#endif
